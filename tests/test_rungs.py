"""Successive halving: which trials run on, what decides, and what it costs."""

import dataclasses
from functools import cache

import pytest
from factories import make_record

from benchmark.config.compose import cell_of, choices_of
from benchmark.config.halving import Tuning, cells_below, lay_out, rungs, stops
from benchmark.config.trials import BEYOND, cost_of, draw, edges, move_edges, select
from benchmark.errors import InputError, NoSelectionError, VacantPlaceError
from benchmark.records import Measurement, Store
from benchmark.sweeps import trial_table

SEARCH = cell_of(["task=nmt", "method=lora"]).method.search
EDGE, MIDDLE = 1, 2  # trials of LoRA: one of the highest rates, and one within its range and list
EXTRA = BEYOND + EDGE
WORDS = ["task=nmt", "method=lora", "budget=reference", "phase=tune"]


@cache
def choices(*words):
    return choices_of(cell_of(["task=nmt", "method=lora", "budget=reference", *words]))


def record(trial, loss, until=None, seed=0, taken=None, size=10):
    """Make a tuning record that took so many steps itself, a quarter of a second each."""
    words = [f"seed={seed}", *([f"until={until}"] if until else [])]
    words += [f"method.{knob}={value}" for knob, value in draw("lora", SEARCH, trial).items()]
    config = choices("phase=tune", *words) | {"trial": trial or None}
    last, own = until or 120, taken or until or 120
    measured = [Measurement("train", "loss", 1.0, last), Measurement("cost", "trainable_params", size)]
    measured += [Measurement("valid", "loss", loss)] if loss is not None else []
    measured += [Measurement("cost", "train_seconds", last / 4)]
    if last > own:
        measured += [Measurement("cost", "inherited_steps", last - own)]
        measured += [Measurement("cost", "inherited_seconds", (last - own) / 4)]
    end = {} if loss is not None else {"status": "failed", "reason": "DivergedError: nan"}
    return make_record(config, *measured, backbone="mbart_cldr", environment={}, **end)


def first(losses=(5.0, 4.0, 3.0, 2.0, None, 6.0)):
    return [record(trial, loss, until=30) for trial, loss in enumerate(losses)]


def second(losses=((3, 2.5), (2, 1.5), (1, 4.5))):
    return [record(trial, loss, until=60, taken=30) for trial, loss in dict(losses).items()]


def third(losses=((2, (1.0, 3.0)), (3, (1.5, 1.75)))):
    return [
        record(trial, loss, seed=seed, taken=60 if seed == 0 else 120)
        for trial, both in dict(losses).items()
        for seed, loss in enumerate(both)
    ]


def tuning(records, search=SEARCH):
    return Tuning("lora", search, choices()["budget"] | {"steps": 120, "evaluations": 4}, records)


def test_the_rungs_and_the_winners_seeds_take_at_most_one_and_a_half_times_the_steps_of_four_short_trials():
    ends = stops({"steps": 120, "evaluations": 4})
    assert ends == [30, 60, 120, 120]
    steps, known = 0, {}
    for rung, end in list(zip(rungs(), ends, strict=True))[:-1]:
        for seed in rung.seeds:
            steps += rung.trials * (end - known.get(seed, 0))
            known[seed] = end
    steps += (3 - len(known)) * 120  # of the winner's three seeds, those that no finalist had
    assert steps == 750
    assert steps <= 1.5 * (4 * 40 + 3 * 120)


def test_a_rung_stops_at_the_validation_nearest_to_its_share_of_two_at_the_later():
    assert stops({"steps": 300, "evaluations": 5}) == [60, 180, 300, 300]
    with pytest.raises(InputError, match=r"evaluations: 2 given, but tuning stops after 0.25, 0.5, 1 of the steps"):
        stops({"steps": 40, "evaluations": 2})


def test_cells_are_laid_out_and_know_what_they_wait_for():
    assert len(lay_out(("rung=0", "task=nmt"))) == 6
    assert lay_out(("rung=2", "task=nmt")) == [
        ("rung=2", "task=nmt", f"seed={seed}", f"place={place}") for seed in (0, 1) for place in (0, 1)
    ]
    assert cells_below(("rung=0", "task=nmt", "seed=0", "place=4")) == []
    assert cells_below(("task=nmt", "rung=2", "seed=1", "place=1")) == [
        ("rung=1", "task=nmt", "seed=0", f"place={place}") for place in (0, 1, 2)
    ]
    assert lay_out(("trial=3", "task=nmt")) == [("trial=3", "task=nmt")]
    with pytest.raises(InputError, match="rung: 4 given, 0 to 3 wanted"):
        cells_below(("rung=4",))


def test_the_better_half_goes_on_and_one_that_failed_loses():
    assert tuning([]).entrants(0) == [0, 1, 2, 3, 4, 5]
    assert tuning(first()).entrants(1) == [3, 2, 1]
    assert tuning([*first(), *second()]).entrants(2) == [2, 3]
    with pytest.raises(NoSelectionError, match="rung 0 of tuning is not complete: trial 4 lacks seed 0"):
        tuning(first()[:4]).entrants(1)
    with pytest.raises(NoSelectionError, match="rung 1 of tuning is not complete: trial 1 lacks seed 0"):
        tuning([*first(), *second()[:2]]).entrants(2)


def test_the_finalists_are_compared_by_the_mean_of_their_seeds():
    found = tuning([*first(), *second(), *third()])
    assert found.standing(2) == [(3, 1.625), (2, 2.0)]
    with pytest.raises(NoSelectionError, match="trial 3 lacks seed 1"):
        tuning([*first(), *second(), *third()[:3]]).standing(2)


def test_fewer_trials_than_places_leave_places_vacant():
    alone = [record(0, 3.0, until=30), record(0, 2.0, until=60, taken=30), *third({0: (1.0, 1.0)})]
    one = tuning(alone, search={})
    assert [one.trial(rung, 0) for rung in (0, 1, 2)] == [0, 0, 0]
    for rung, reason in ((0, "its default is its only trial"), (1, "1 trial is left"), (2, "1 trial is left")):
        with pytest.raises(VacantPlaceError, match=reason):
            one.trial(rung, 1)
    lost = tuning(first([None] * 6))
    with pytest.raises(VacantPlaceError, match="no trial is left"):
        lost.trial(1, 0)


def test_a_draw_that_cannot_run_loses_as_one_that_fails():
    records = first()
    records[3] = dataclasses.replace(records[3], status="skipped", reason="rank 32 does not fit", measurements=())
    assert tuning(records).entrants(1) == [2, 1, 0]
    found = select(
        [*records, *second(((2, 1.5), (1, 2.5), (0, 4.5))), *third(((2, (1, 1)), (1, (2, 2))))], choices(), SEARCH
    )
    assert (found.trial, found.trials) == (2, 5)


def test_an_edge_is_gone_beyond_once_and_by_a_quarter_of_the_range():
    space = {"low": 1e-4, "high": 1e-0}
    trial = next(t for t in range(1, 99) if draw("lora", {"lr": space}, t)["lr"] > 10**-0.4)
    lowest = next(t for t in range(1, 99) if draw("lora", {"lr": space}, t)["lr"] < 10**-3.6)
    for one, factor in ((trial, 10), (lowest, 0.1)):
        value = draw("lora", {"lr": space}, one)["lr"]
        assert draw("lora", {"lr": space}, BEYOND + one)["lr"] == pytest.approx(value * factor, rel=1e-3)
        assert edges({"lr": space}, draw("lora", {"lr": space}, BEYOND + one))
        assert move_edges("lora", {"lr": space}, BEYOND + one) == {}
    assert draw("lora", SEARCH, EXTRA)["rank"] == draw("lora", SEARCH, EDGE)["rank"] == 16  # no end of its list
    with pytest.raises(
        InputError, match=f"trial: {BEYOND + MIDDLE} given, but no value of trial {MIDDLE} is at the edge"
    ):
        cell_of(["task=nmt", "method=lora", f"trial={BEYOND + MIDDLE}"])


@pytest.mark.parametrize(
    ("values", "lowest", "highest"),
    [
        ([4, 8, 16, 32], 2, 64),
        ([1, 5, 20], None, 80),  # of a number of tokens nothing lies below 1
        ([2, 4, 12], 1, 36),
        ([0.005, 0.02, 0.08], 0.00125, 0.32),
        ([64, 256], None, None),  # two values have no middle
        ([False, True, None], None, None),
    ],
)
def test_a_list_of_numbers_goes_on_by_its_last_ratio(values, lowest, highest):
    search = {"knob": values}
    for trial in range(1, 20):
        value = draw("lora", search, trial)["knob"]
        wanted = {values[0]: lowest, values[-1]: highest}.get(value)
        assert move_edges("lora", search, trial) == (
            {} if wanted is None else {"knob": pytest.approx(wanted, rel=1e-3)}
        )
        if wanted is not None:
            assert edges(search, draw("lora", search, BEYOND + trial))


def test_only_a_winner_at_an_edge_has_a_trial_beyond_it():
    before = [*first((9, 1, 2, 9, 9, 9)), *second({EDGE: 1, MIDDLE: 2, 0: 5})]
    edge = tuning([*before, *third({EDGE: (1, 1), MIDDLE: (2, 2)})])
    assert edge.trial(3, 0) == EXTRA
    middle = tuning([*before, *third({EDGE: (2, 2), MIDDLE: (1, 1)})])
    with pytest.raises(VacantPlaceError, match="the best trial does not lie at the edge of a range or list"):
        middle.trial(3, 0)
    with pytest.raises(NoSelectionError, match=f"rung 3 of tuning is not complete: trial {EXTRA} lacks seed 0"):
        edge.standing(3)
    beyond = [record(EXTRA, loss, seed=seed) for seed, loss in enumerate((0.5, 0.75))]
    assert select([*edge.records, *beyond], choices(), SEARCH).trial == EXTRA
    worse = [record(EXTRA, None), record(EXTRA, 0.75, seed=1)]
    assert select([*edge.records, *worse], choices(), SEARCH).trial == EDGE


def test_a_lower_loss_on_the_way_is_no_reason_to_choose_a_trial_that_was_dropped():
    records = [*first((0.1, 4, 3, 2, None, 6)), *second(), *third()]
    found = select(records, choices(), SEARCH)
    assert (found.trial, found.loss, found.trials, found.seeds) == (3, 1.625, 6, (0, 1))
    assert found.steps == 6 * 30 + 3 * 30 + 2 * 60 + 2 * 120
    assert found.seconds == found.steps / 4
    stay = {r.run_id for r in records if r.config["trial"] == 3}
    assert set(found.dropped) == {r.run_id for r in records} - stay
    with pytest.raises(NoSelectionError, match="no trial ran the whole budget"):
        select([*first(), *second()], choices(), SEARCH)


def test_what_a_run_took_itself_leaves_out_what_it_went_on_from():
    assert [cost_of(r) for r in (first()[0], second()[0], third()[0])] == [(30, 7.5), (30, 7.5), (60, 15.0)]


@pytest.fixture(autouse=True)
def nothing_shipped(monkeypatch, tmp_path):
    """Shipped records of the same setting would count as well."""
    monkeypatch.setattr("benchmark.records.folders.RESULTS", tmp_path / "installed")


def stored(tmp_path, records):
    for one in records:
        Store(tmp_path / "runs").append(dataclasses.replace(one, environment={"device": "cpu"}), None)


def test_a_place_is_resolved_from_the_records_and_is_the_same_cell_as_by_hand(tmp_path):
    stored(tmp_path, [*first(), *second()])
    given = [*WORDS, f"results={tmp_path}"]
    cell = cell_of([*given, "rung=2", "place=1", "seed=1"])
    assert choices_of(cell) == choices_of(cell_of([*WORDS, "trial=3", "seed=1"]))
    assert (cell.trial, cell.until, cell.budget.steps) == (3, None, 120)
    assert cell.notes["tuning"]["standing"] == [(2, 1.5), (3, 2.5), (1, 4.5)]
    half = cell_of([*given, "rung=1", "place=0", "seed=0"])
    assert (half.trial, half.until, half.lr) == (3, 60, cell.lr)
    gone = {r.run_id for r in first() if r.config["trial"] not in (1, 2, 3)}
    assert set(half.notes["tuning"]["dropped"]) == gone
    with pytest.raises(InputError, match="rung 2 of tuning is not complete: trial 2 lacks seed 0"):
        cell_of([*given, "rung=3", "place=0", "seed=0"])
    with pytest.raises(InputError, match="only tuning has rungs: phase=tune"):
        cell_of([*given, "phase=final", "rung=1", "place=0"])
    other = [word for word in given if word != "budget=reference"]
    with pytest.raises(InputError, match="no tuning record"):
        cell_of([*other, "rung=1", "place=0", "seed=0"])  # those there had another budget


def test_the_final_run_waits_for_all_rungs(tmp_path):
    given = ["task=nmt", "method=lora", "budget=reference", "trial=selected", f"results={tmp_path}"]
    stored(tmp_path, [*first((9, 1, 2, 9, 9, 9)), *second({EDGE: 1, MIDDLE: 2, 0: 5})])
    stored(tmp_path, third({EDGE: (1, 1)}))
    with pytest.raises(InputError, match=f"rung 2 of tuning is not complete: trial {MIDDLE} lacks seed 0"):
        cell_of(given)
    stored(tmp_path, third({MIDDLE: (2, 2)}))
    with pytest.raises(InputError, match=f"rung 3 of tuning is not complete: trial {EXTRA} lacks seed 0"):
        cell_of(given)
    stored(tmp_path, [record(EXTRA, 3.0, seed=seed) for seed in (0, 1)])
    chosen = cell_of(given)
    assert (chosen.trial, chosen.notes["selected"]["trials"]) == (EDGE, 7)
    assert chosen.notes["selected"]["steps"] == 630 + 240


def test_a_pair_that_cannot_run_has_no_places(tmp_path):
    words = ["task=text_generation", "method=head", "budget=reference", "phase=tune", f"results={tmp_path}"]
    with pytest.raises(VacantPlaceError, match="comes pretrained"):
        cell_of([*words, "rung=1", "place=0"])


def test_what_became_of_each_trial_is_told():
    records = [*first(), *second(), *third()]
    assert [trial_table.ending(trial, records) for trial in range(6)] == [
        "dropped after step 30: valid loss 5, 4 of 6",
        "dropped after step 60: valid loss 4.5, 3 of 3",
        "valid loss 2, 2 of 2",
        "chosen: valid loss 1.625, 1 of 2",
        "failed: DivergedError: nan",
        "dropped after step 30: valid loss 6, 5 of 6",
    ]
    assert trial_table.ending(0, first()) == "after step 30: valid loss 5, 4 of 6"
    shown = list(trial_table.rows(records))
    assert [row[4] for row in shown] == [30, 60, 240, 240, 30, 30, 630]
    assert shown[1][3] == "lr=0.0259 rank=16"

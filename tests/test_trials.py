"""Trials: what is drawn, which one is selected, and what a tuning cell may see."""

import hashlib
import math
import statistics
from dataclasses import dataclass, replace
from functools import cache

import pytest
from factories import run_cell
from omegaconf import OmegaConf
from scipy import stats

from benchmark.config.build import build
from benchmark.config.compose import CONFIGS, cell_of, choices_of
from benchmark.config.registry import names as names_in
from benchmark.config.trials import BEYOND, draw, edges, ranking, select, set_knob
from benchmark.engine import data
from benchmark.errors import InputError, NoSelectionError
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from benchmark.report.views import views
from tasks.toy import Toy

SEARCH = {"lr": {"low": 1e-4, "high": 1e-1}, "rank": [4, 8, 16, 32]}


def test_a_draw_depends_on_method_knob_and_trial_alone():
    drawn = draw("lora", SEARCH, 3)
    assert drawn == draw("lora", dict(reversed(SEARCH.items())), 3)
    more = draw("lora", SEARCH | {"alpha": [1, 2]}, 3)
    assert {knob: more[knob] for knob in SEARCH} == drawn
    assert draw("lora", SEARCH, 0) == {}
    assert draw("lora", SEARCH, 4) != drawn != draw("dora", SEARCH, 3)


def test_draws_are_log_uniform_and_even():
    drawn = [draw("lora", SEARCH, trial) for trial in range(1, BEYOND)]
    places = [math.log10(d["lr"] / 1e-4) / 3 for d in drawn]
    assert stats.kstest(places, "uniform").pvalue > 0.01
    counts = [sum(d["rank"] == rank for d in drawn) for rank in SEARCH["rank"]]
    assert stats.chisquare(counts).pvalue > 0.01
    assert abs(stats.spearmanr(places, [d["rank"] for d in drawn]).statistic) < 0.06


def gap(places):
    """Star discrepancy: largest difference between range and trial shares."""
    ordered, n = sorted(places), len(places)
    return max(max((i + 1) / n - x, x - i / n) for i, x in enumerate(ordered))


def hashed(method, knob, trial):
    """Where the trials lay before: independent hashes."""
    return int.from_bytes(hashlib.sha256(f"{method} {knob} {trial}".encode()).digest()[:7]) / 2**56


@pytest.mark.parametrize("many", [4, 8, 16])
def test_few_trials_leave_no_part_of_a_range_out(many):
    space = {"low": 1e-4, "high": 1e-1}
    drawn = {(m, k): [] for m in ("lora", "ssf", "mam", "ia3", "full") for k in ("lr", "alpha", "dropout")}
    for (method, knob), places in drawn.items():
        for trial in range(1, many + 1):
            places.append(math.log10(draw(method, {knob: space}, trial)[knob] / 1e-4) / 3)
        assert sorted(int(place * many) for place in places) == list(range(many))
        assert gap(places) < 1.001 / many  # of numbers rounded to four digits
    before = [gap([hashed(m, k, trial) for trial in range(1, many + 1)]) for m, k in drawn]
    assert statistics.fmean(map(gap, drawn.values())) < 0.6 * statistics.fmean(before)
    assert len({tuple(int(place * many) for place in places) for places in drawn.values()}) > len(drawn) / 2  # orders


def test_five_trials_and_the_default_are_spread():
    for method in ("lora", "dora", "ssf", "mam", "ia3"):
        places = sorted(math.log(draw(method, SEARCH, t)["lr"] / 1e-4) / math.log(1e3) if t else 0.5 for t in range(6))
        assert max(b - a for a, b in zip([0, *places], [*places, 1], strict=True)) < 0.5


def test_an_edge_is_named():
    assert edges(SEARCH, {"lr": 1.2e-4, "rank": 8}) == ["lr=0.00012 is near its lowest"]
    assert edges(SEARCH, {"lr": 3e-3, "rank": 32}) == ["rank=32 is near its highest"]
    assert edges({"alignment": [False, True], "first": [1, 7]}, {"alignment": True, "first": 7}) == []


def method_of(name, knobs=None):
    """Build a method from its file with some knobs set."""
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / "method" / f"{name}.yaml"))
    for knob, value in (knobs or {}).items():
        set_knob(node, knob, value)
    return build(node, "method")


def test_every_trial_can_be_built_and_lies_in_its_range():
    for name in names_in("method"):
        default = method_of(name)
        drawn = [method_of(name, draw(name, default.search, trial)) for trial in (1, 2)]
        if "lr" in default.search:
            low, high = (default.search["lr"][end] for end in ("low", "high"))
            assert len({method.lr for method in [default, *drawn]}) == 3, name
            assert all(low <= method.lr <= high for method in drawn), name


def test_a_word_of_the_users_beats_a_draw():
    cell = cell_of(["task=nmt", "method=lora", "trial=3", "method.rank=2"])
    free = cell_of(["task=nmt", "method=lora", "trial=3"])
    assert (cell.method.rank, cell.method.lr) == (2, free.method.lr)
    assert (cell.notes.get("explicit"), free.notes.get("explicit")) == (["rank"], None)


def test_what_nobody_chose_leaves_a_cells_name_alone():
    plain = choices_of(cell_of(["task=nmt", "method=lora"]))
    assert run_id(plain) == run_id(
        choices_of(cell_of(["task=nmt", "method=lora", "phase=final", "trial=0", "fraction=1"]))
    )
    for word in ("phase=tune", "trial=1", "seed_init=1", "seed_order=1", "seed_sample=1"):
        assert run_id(choices_of(cell_of(["task=nmt", "method=lora", word]))) != run_id(plain)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("phase=tuning", "phase: 'tuning' given, tune or final wanted"),
        ("trial=-1", "trial: -1 given, at least 0 and at most"),
        ("trial=best", "trial: 'best' given, int wanted"),
        ("trial=selected", "no tuning record .*run phase=tune first"),
    ],
)
def test_a_wrong_phase_or_trial_is_refused(word, reason, tmp_path):
    with pytest.raises(InputError, match=reason):
        cell_of(["task=nmt", "method=waveft", word, f"results={tmp_path}"])  # of which no tuning is shipped


@dataclass(frozen=True, kw_only=True)
class Guarded(Toy):
    """Toy data of which nobody may read a test example's text."""

    def splits(self):
        return {
            name: split if name in ("train", "valid") else Untouchable(split)
            for name, split in super().splits().items()
        }


class Untouchable(list):
    """Examples that may only be counted, and hashed for the fingerprint."""

    seen = 0

    def __iter__(self):
        Untouchable.seen += 1
        assert Untouchable.seen <= 4  # two test splits: looked through for what cannot be used, and hashed
        return super().__iter__()


def test_tuning_scores_valid_and_cannot_see_a_test_split(toy_cell):
    Untouchable.seen = 0
    cell = toy_cell("causal_lm", "lora", "phase=tune", f"data._target_={__name__}.Guarded")
    result = data.Result()
    assert data.read(cell, result).keys() == {"train", "valid"}
    final = run_cell(toy_cell("causal_lm", "lora"))
    assert result.data["fingerprint"] == final.data["fingerprint"]
    Untouchable.seen = 0
    tuned = run_cell(cell)
    assert {m.split for m in tuned.measurements} == {"train", "valid", "cost"}
    assert tuned.examples == []
    valid = [[m for m in r.measurements if m.split == "valid"] for r in (tuned, final)]
    assert valid[0] == valid[1]  # the same training


@cache
def choices(*words):
    return choices_of(cell_of(["task=nmt", "method=lora", *words]))


def record(trial, seed, loss, size=10, status="done", bleu=None, **more):
    config = choices("phase=tune", f"trial={trial}", f"seed={seed}") | more
    measured = (
        () if loss is None else (Measurement("valid", "loss", loss), Measurement("cost", "trainable_params", size))
    )
    measured += () if bleu is None else (Measurement("valid", "bleu", bleu),)
    return Record(
        run_id=run_id(config), task="nmt", method="lora", backbone="mbart_cldr", seed=seed, status=status,
        config=config, data={"metric": "bleu"}, measurements=measured,
    )  # fmt: skip


FINAL = {"config": choices(), "free": ("lr", "rank")}


def test_the_lowest_mean_valid_loss_is_selected():
    records = [record(t, s, v) for t, values in enumerate([(3, 3), (1, 4), (2, 5)]) for s, v in enumerate(values)]
    found = select(records, **FINAL)
    assert (found.trial, found.loss, found.trials, found.seeds) == (1, 2.5, 3, (0, 1))
    assert len(found.runs) == 6


def test_the_loss_decides_and_not_the_score_of_few_answers():
    assert (
        select([record(0, 0, 1.5, bleu=10), record(1, 0, 1.25, bleu=30), record(2, 0, 4, bleu=99)], **FINAL).trial == 1
    )


def test_trials_that_keep_the_untrained_state_are_told_apart_by_what_they_reached():
    looks = {0: [4.0, 3.5], 1: [3.2, 3.1], 2: [3.3, 3.6]}
    runs = {}
    for trial, losses in looks.items():
        points = [
            Measurement("valid", "loss", loss, step) for step, loss in zip((0, 30, 60), (3.0, *losses), strict=True)
        ]
        one = record(trial, 0, 3.0, size=10 - trial)
        runs[trial] = [replace(one, measurements=(*points, *one.measurements))]
    assert ranking(runs) == [(1, 3.1), (2, 3.3), (0, 3.5)]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_never_wins(loss):
    assert select([record(0, 0, 7), record(1, 0, loss)], **FINAL).trial == 0


def test_losses_over_other_examples_of_valid_are_not_compared():
    budget = FINAL["config"]["budget"]
    few = [record(t, 0, loss, budget=budget | {"max_valid": 40}) for t, loss in enumerate([5, 1])]
    own = [record(t, 0, loss) for t, loss in enumerate([2, 3])]
    assert select([*few, *own], **FINAL).trial == 0


def test_ties_go_to_fewer_parameters_then_to_the_lower_trial():
    assert select([record(0, 0, 5, size=20), record(1, 0, 5, size=10), record(2, 0, 5, size=10)], **FINAL).trial == 1
    assert select([record(1, 0, 5), record(0, 0, 5)], **FINAL).trial == 0


def test_a_failed_trial_counts_and_never_wins():
    found = select([record(0, 0, 9), record(1, 0, None, status="failed"), record(2, 0, 1, status="failed")], **FINAL)
    assert (found.trial, found.trials) == (0, 3)
    with pytest.raises(NoSelectionError, match="every trial failed"):
        select([record(0, 0, None, status="failed")], **FINAL)


def test_tuning_that_is_not_complete_selects_nothing():
    with pytest.raises(NoSelectionError, match="tuning is not complete, trial 1 lacks seed 1"):
        select([record(0, 0, 1), record(0, 1, 1), record(1, 0, 9)], **FINAL)


def test_other_cells_and_final_scores_are_not_looked_at():
    other = choices("task.target_language=ta")["task"]
    strangers = [record(1, 0, 0.1, task=other), record(2, 0, 0.1, phase=None)]
    assert select([record(0, 0, 1), *strangers], **FINAL).runs == (record(0, 0, 1).run_id,)
    with pytest.raises(NoSelectionError, match="no tuning record"):
        select(strangers, **FINAL)


def test_cheaper_tuning_is_taken_where_there_is_no_other_and_said():
    budget = FINAL["config"]["budget"] | {"steps": 50}
    cheap = [record(t, 0, v, budget=budget) for t, v in enumerate([1, 7])]
    found = select(cheap, **FINAL)
    assert (found.trial, found.budget["steps"]) == (0, 50)
    own = [record(t, 0, v) for t, v in enumerate([8, 1])]
    assert select([*cheap, *own], **FINAL).trial == 1
    third = [record(0, 0, 1, fraction=0.1)]
    with pytest.raises(NoSelectionError, match="tuning had 2 budgets"):
        select([*cheap, *third], **FINAL)


def test_a_pair_that_cannot_run_needs_no_tuning(tmp_path):
    cell = cell_of(["task=text_generation", "method=head", "trial=selected", f"results={tmp_path}"])
    assert cell.trial == 0
    assert "selected" not in cell.notes
    assert "comes pretrained" in cell.conflict()


def test_a_selected_trial_is_resolved_before_the_cell_is_named(tmp_path):
    store = Store(tmp_path / "runs")
    for trial, valid in enumerate([4, 2, 0.5, 3]):
        store.append(record(trial, 0, valid), None)
    chosen = cell_of(["task=nmt", "method=lora", "trial=selected", f"results={tmp_path}"])
    plain = cell_of(["task=nmt", "method=lora", "trial=2"])
    assert run_id(choices_of(chosen)) == run_id(choices_of(plain))
    assert (chosen.notes["selected"]["trial"], chosen.notes["selected"]["loss"]) == (2, 0.5)
    assert chosen.method == plain.method
    with pytest.raises(InputError, match="phase=tune needs numbers"):
        cell_of(["task=nmt", "method=lora", "trial=selected", "phase=tune", f"results={tmp_path}"])


def final(trial, **more):
    run = record(trial, 0, 1)
    config = {k: v for k, v in run.config.items() if k != "phase"} | more
    return replace(run, run_id=run_id(config), config=config)


def seen(records):
    return {view: [r for _, r in runs] for view, runs in views([("runs", r) for r in records]).items()}


def test_views_never_mix():
    tuning = [record(t, 0, v) for t, v in enumerate([2, 5, 4])]
    finals = {"default": final(0), "drawn": final(1), "sized": final(0, size=100)}
    found = {
        view: [r for _, r in runs] for view, runs in views([("runs", r) for r in [*tuning, *finals.values()]]).items()
    }
    assert found == {
        "": [finals["default"]], "tuned": [finals["default"]], "trials": [finals["drawn"]], "sized": [finals["sized"]],
    }  # fmt: skip
    tuning.append(record(3, 0, 1))
    late = final(3)
    found = {
        view: [r for _, r in runs] for view, runs in views([("runs", r) for r in [*tuning, final(0), late]]).items()
    }
    assert [r.run_id for r in found["tuned"]] == [late.run_id]
    assert "trials" not in found


def test_what_is_skipped_is_skipped_in_the_tuned_view_too():
    skipped = replace(final(0), run_id="5", method="head", status="skipped")
    told = replace(final(2), data={"metric": "bleu", "selected": {"trial": 2}})
    found = seen([skipped, told])
    assert found == {"": [skipped], "tuned": [skipped, told]}
    assert seen([skipped]) == {"": [skipped]}


def test_without_the_tuning_records_the_records_word_counts():
    told = replace(final(2), data={"metric": "bleu", "selected": {"trial": 2}})
    assert views([("reference", told)]) == {"tuned": [("reference", told)]}

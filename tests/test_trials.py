"""Trials: what is drawn, and what a tuning cell may see."""

import hashlib
import math
import statistics
from dataclasses import dataclass

import pytest
from factories import run_cell
from omegaconf import OmegaConf
from scipy import stats

from benchmark.config.build import build
from benchmark.config.compose import cell_of, choices_of
from benchmark.config.registry import CONFIGS
from benchmark.config.registry import names as names_in
from benchmark.config.trials import BEYOND, draw, edges, set_knob
from benchmark.engine import data
from benchmark.errors import InputError
from benchmark.identity import run_id
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

"""Statistics against known truths and against other implementations."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from factories import DRAWN_EXAMPLES, draw_counts, draw_sample, draw_world
from scipy import stats

from benchmark.report.statistics import estimates as statistics
from benchmark.report.statistics.bootstrap import prepare
from benchmark.report.statistics.estimates import Sample, against, estimate, holm, needed, split, ties
from benchmark.report.statistics.evidence import Evidence


def coverage(seeds, seed_spread, item_spread, noise, tries=1500):
    rng, held = np.random.default_rng(1), 0
    for _ in range(tries):
        found = estimate(draw_sample(draw_world(rng, seeds, seed_spread, item_spread, noise)))
        held += found.low <= 0.5 <= found.high
    return held / tries


@pytest.mark.parametrize(
    ("seeds", "seed_spread", "item_spread", "noise"),
    [
        (3, 0.0, 0.2, 0.1),
        (3, 0.05, 0.1, 0.1),
        (3, 0.01, 0.1, 0.05),
        (5, 0.02, 0.2, 0.1),
        (5, 0.1, 0.0, 0.1),
        (1, 0, 0.2, 0.1),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, seed_spread, item_spread, noise):
    assert 0.93 <= coverage(seeds, seed_spread, item_spread, noise) <= 0.985


def test_intervals_are_wide_where_neither_examples_nor_seeds_differ():
    assert 0.97 < coverage(3, 0.0, 0.0, 0.3) < 1  # the price of not trusting three seeds that agree


@pytest.mark.slow
@pytest.mark.parametrize(("seed_spread", "noise"), [(0.0, 0.1), (0.01, 0.1), (0.02, 0.1), (0.1, 0.1)])
def test_a_difference_that_is_not_there_is_found_no_more_often_than_it_says(seed_spread, noise):
    rng, found, tries = np.random.default_rng(2), 0, 1500
    for _ in range(tries):
        items = rng.normal(0, 0.2, DRAWN_EXAMPLES)
        one, other = (draw_sample(draw_world(rng, 3, seed_spread, 0, noise, items=items)) for _ in range(2))
        found += estimate(one.paired(other)).p < 0.05
    assert found / tries <= 0.06


def test_three_seeds_that_agree_by_chance_prove_nothing():
    better = {s: np.zeros(DRAWN_EXAMPLES) for s in range(3)}
    for s in better:
        better[s][s] = 1.0  # each seed has another one example more
    found = estimate(draw_sample(better).paired(draw_sample({s: np.zeros(DRAWN_EXAMPLES) for s in range(3)})))
    assert found.value == pytest.approx(0.01)
    assert found.p > 0.05


def test_pairing_finds_what_two_intervals_hide():
    rng = np.random.default_rng(3)
    items = rng.normal(0, 0.3, DRAWN_EXAMPLES)
    one, other = (draw_sample(draw_world(rng, 3, 0.0, 0, 0.05, effect, items)) for effect in (0.0, 0.05))
    alone, paired = (estimate(one), estimate(other)), estimate(other.paired(one))
    assert alone[0].high > alone[1].low
    assert paired.low > 0
    assert paired.p < 0.01


def test_where_examples_do_not_matter_it_is_students_test():
    rng = np.random.default_rng(4)
    tables = [dict(enumerate(rng.normal(0, 1, 5))) for _ in range(2)]
    one, other = (Sample(table, {s: np.full(300, v) for s, v in table.items()}, "same", 10**6) for table in tables)
    ours = estimate(one.paired(other))
    theirs = stats.ttest_rel(list(one.scores.values()), list(other.scores.values()))
    assert (ours.p, ours.examples) == (pytest.approx(theirs.pvalue, rel=1e-3), 10**6)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-3)


def test_without_predictions_there_is_no_interval():
    found = estimate(Sample({0: 0.5, 1: 0.5, 2: 0.5}, {}))
    assert (found.value, found.low, found.high, found.p) == (0.5, None, None, None)


def test_other_examples_are_not_compared_and_unknown_ones_by_seed_alone():
    rng = np.random.default_rng(5)
    one, other = draw_sample(draw_world(rng, 3, 0, 0.1, 0.1)), draw_sample(draw_world(rng, 3, 0, 0.1, 0.1))
    assert one.paired(Sample(other.scores, other.draws, "others", DRAWN_EXAMPLES)) is None
    assert one.paired(Sample(other.scores, {})).draws == {}
    assert one.paired(Sample({7: 0.1}, {})) is None


def test_correction_is_holms_step_down():
    values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": None}
    assert holm(values) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": None}) == {}


def test_who_shares_a_letter_is_not_told_apart_and_who_is_told_apart_shares_none():
    rng = np.random.default_rng(6)
    items = rng.normal(0, 0.2, DRAWN_EXAMPLES)
    samples = {
        f"m{i}": draw_sample(draw_world(rng, 3, 0.004, 0, 0.1, effect, items))
        for i, effect in enumerate(np.linspace(0, 0.1, 8))
    }
    letters = ties(samples)
    pairs = list(itertools.combinations(samples, 2))
    adjusted = holm({f"{a} {b}": estimate(samples[a].paired(samples[b])).p for a, b in pairs})
    assert {bool(set(letters[a]) & set(letters[b])) for a, b in pairs} == {True, False}
    for a, b in pairs:
        assert bool(set(letters[a]) & set(letters[b])) == (adjusted[f"{a} {b}"] >= 0.05)
    best = max(samples, key=lambda name: np.mean(list(samples[name].scores.values())))
    assert "a" in letters[best]


def test_ties_are_computed_once_whatever_the_settings_are_called(tmp_path, monkeypatch):
    rng = np.random.default_rng(8)
    samples = {
        f"m{i}": draw_sample(draw_world(rng, 3, 0.004, 0, 0.1, effect)) for i, effect in enumerate((0.0, 0.05, 0.1))
    }
    expected = ties(samples)
    assert Evidence(tmp_path).ties(samples) == expected
    calls = []
    monkeypatch.setattr(statistics, "ties", lambda given: (calls.append(len(given)), ties(given))[1])
    renamed = {f"another {name}": one for name, one in reversed(samples.items())}
    assert Evidence(tmp_path).ties(renamed) == {f"another {name}": letters for name, letters in expected.items()}
    assert calls == []
    Evidence(tmp_path).ties(dict(list(samples.items())[:2]))
    assert calls == [2]  # fewer are compared: another correction
    (kept, *_) = sorted((tmp_path / ".cache" / "ties").rglob("*.json"))
    kept.write_text("[")
    assert Evidence(tmp_path).ties(samples) == expected
    (tmp_path / "file").write_text("")
    assert Evidence(tmp_path / "file").ties(samples) == expected  # nowhere to keep it


def test_differences_from_a_reference_are_corrected_for_their_number():
    rng = np.random.default_rng(7)
    items = rng.normal(0, 0.2, DRAWN_EXAMPLES)
    samples = {
        name: draw_sample(draw_world(rng, 3, 0.0, 0, 0.1, effect, items))
        for name, effect in {"lora": 0.0, "same": 0.0, "better": 0.1, "worse": -0.1}.items()
    }
    found = against("lora", samples)
    assert set(found) == {"same", "better", "worse"}
    assert [found[n].clear for n in ("same", "better", "worse")] == [False, True, True]
    assert all(d.adjusted >= d.p for d in found.values())


def test_variance_is_shared_out_by_the_expected_mean_squares():
    # by hand: mean squares of methods 2 * (2^2 + 2^2) = 16, of seeds 2 * (1 + 1) = 4, of the rest 4 * 0.5^2 = 1;
    # so the components are (16 - 1) / 2, (4 - 1) / 2 and 1, ten in all
    samples = {"a": Sample({0: 1.0, 1: 2.0}, {}), "b": Sample({0: 4.0, 1: 7.0}, {})}
    assert split(samples) == pytest.approx({"method": 0.75, "seed": 0.15, "rest": 0.1})
    assert split({"a": samples["a"]}) is None


@pytest.mark.parametrize("effects", [(0.0, 0.0), (2.0, 1.0)])
def test_shares_of_variance_are_those_of_the_world(effects):
    rng, found = np.random.default_rng(80), []
    for _ in range(400):
        method, seed = (
            effect * rng.normal(0, 1, shape) for effect, shape in zip(effects, [(25, 1), (1, 3)], strict=True)
        )
        table = method + seed + rng.normal(0, 1, (25, 3))
        found.append(split({str(m): Sample(dict(enumerate(row)), {}) for m, row in enumerate(table)})["method"])
    true = effects[0] ** 2 / (sum(effect**2 for effect in effects) + 1)
    # cut at zero it lies a little above nothing; sums of squares would say 0.32
    assert np.mean(found) == pytest.approx(true, abs=0.08)


def rivals(rng, gap=0.0, seeds=3, examples=100, by_seed=0.01, by_example=0.1, methods=2):
    """Score methods on the same examples and seeds; the first leads by a gap."""
    easy, weights = rng.normal(0, 0.3, examples), draw_counts(examples) / examples
    samples = {}
    for m in range(methods):
        own = rng.normal(0, by_example, examples)  # what a method makes of an example, whatever the seed
        values = {s: easy + own + rng.normal(gap * (m == 0), by_seed) for s in range(seeds)}
        scores = {s: float(v.mean()) for s, v in values.items()}
        draws = {s: weights @ v for s, v in values.items()}
        samples[str(m)] = Sample(scores, draws, "same", examples)
    return samples


@pytest.mark.parametrize(("gap", "examples"), [(0.06, 100), pytest.param(0.015, 2500, marks=pytest.mark.slow)])
def test_so_many_seeds_find_a_gap_four_times_in_five(gap, examples):
    rng = np.random.default_rng(9)
    sizes = {"examples": examples, "by_seed": 0.03}
    wanted = needed(rivals(rng, seeds=12, methods=6, **sizes), gap)
    samples = [rivals(rng, gap, wanted.seeds, **sizes) for _ in range(300)]
    found = [against("1", one)["0"] for one in samples]
    assert 0.7 < np.mean([d.clear and d.estimate.value > 0 for d in found]) < 0.93


def test_where_examples_are_too_few_no_seeds_are_enough():
    rng = np.random.default_rng(10)
    few = needed(rivals(rng, methods=8, seeds=6, examples=80), 0.01)
    assert few.seeds is None
    # two methods' own noise of 0.1 each: 2 * 0.01 / n = (0.01 / 2.8)^2
    assert few.examples == pytest.approx(2 * 0.01 * (2.8 / 0.01) ** 2, rel=0.25)
    enough = needed(rivals(rng, methods=8, seeds=6, examples=2 * few.examples), 0.01)
    assert 2 < enough.seeds < 100
    assert needed({"a": rivals(rng)["0"]}, 1) is None
    assert needed({m: replace(s, draws={}) for m, s in rivals(rng).items()}, 1) is None


def test_two_samples_of_stored_answers_differ_by_what_their_scores_do():
    rows = [[{"target": ["a"], "prediction": "a" if i < right else "b"} for i in range(100)] for right in (90, 70)]
    one, other = (
        Sample({0: n}, {0: prepare("accuracy", r, {})(draw_counts(DRAWN_EXAMPLES))}, "same", 100)
        for n, r in zip((0.9, 0.7), rows, strict=True)
    )
    found = estimate(one.paired(other))
    assert found.value == pytest.approx(0.2)
    assert found.error == pytest.approx(np.sqrt(0.2 * 0.8 / 100), rel=0.15)  # twenty examples differ, by the binomial

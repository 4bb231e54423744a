"""Statistics against worlds whose truth is known, and against other implementations."""

import itertools

import numpy as np
import pytest
from scipy import stats

from benchmark.report import statistics
from benchmark.report.evidence import Evidence
from benchmark.report.resampling import counts, prepared
from benchmark.report.statistics import Sample, against, estimate, holm, seeds_needed, split, ties

EXAMPLES = 100
DRAWS = counts([str(i) for i in range(EXAMPLES)], 300)


def world(rng, seeds, seed_spread, item_spread, noise, effect=0.0, items=None):
    """Draw a value for each seed and example: items that all seeds share, seeds, and chance."""
    items = rng.normal(0, item_spread, EXAMPLES) if items is None else items
    levels = 0.5 + effect + rng.normal(0, seed_spread, seeds)
    return {s: levels[s] + items + rng.normal(0, noise, EXAMPLES) for s in range(seeds)}


def sample(values):
    return Sample(
        {s: float(v.mean()) for s, v in values.items()},
        {s: DRAWS @ v / EXAMPLES for s, v in values.items()},
        "same",
        EXAMPLES,
    )


def coverage(seeds, seed_spread, item_spread, noise, tries=1500):
    rng, held = np.random.default_rng(1), 0
    for _ in range(tries):
        found = estimate(sample(world(rng, seeds, seed_spread, item_spread, noise)))
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
    assert 0.93 <= coverage(seeds, seed_spread, item_spread, noise) <= 0.97


def test_intervals_are_wide_where_neither_examples_nor_seeds_differ():
    assert 0.97 < coverage(3, 0.0, 0.0, 0.3) < 1  # the price of not trusting three seeds that agree


@pytest.mark.parametrize(("seed_spread", "noise"), [(0.0, 0.1), (0.01, 0.1), (0.02, 0.1), (0.1, 0.1)])
def test_a_difference_that_is_not_there_is_found_no_more_often_than_it_says(seed_spread, noise):
    rng, found, tries = np.random.default_rng(2), 0, 1500
    for _ in range(tries):
        items = rng.normal(0, 0.2, EXAMPLES)
        one, other = (sample(world(rng, 3, seed_spread, 0, noise, items=items)) for _ in range(2))
        found += estimate(one.paired(other)).p < 0.05
    assert 0.005 <= found / tries <= 0.06


def test_three_seeds_that_agree_by_chance_prove_nothing():
    better = {s: np.zeros(EXAMPLES) for s in range(3)}
    for s in better:
        better[s][s] = 1.0  # each seed has another one example more
    found = estimate(sample(better).paired(sample({s: np.zeros(EXAMPLES) for s in range(3)})))
    assert found.value == pytest.approx(0.01)
    assert found.p > 0.05


def test_pairing_finds_what_two_intervals_hide():
    rng = np.random.default_rng(3)
    items = rng.normal(0, 0.3, EXAMPLES)
    one, other = (sample(world(rng, 3, 0.0, 0, 0.05, effect, items)) for effect in (0.0, 0.05))
    alone, paired = (estimate(one), estimate(other)), estimate(other.paired(one))
    assert alone[0].high > alone[1].low
    assert paired.low > 0
    assert paired.p < 0.01


def test_with_one_example_set_and_no_draws_it_is_students_test():
    rng = np.random.default_rng(4)
    one, other = (Sample(dict(enumerate(rng.normal(0, 1, 5))), {}) for _ in range(2))
    ours = estimate(one.paired(other))
    theirs = stats.ttest_rel(list(one.scores.values()), list(other.scores.values()))
    assert (ours.p, ours.examples) == (pytest.approx(theirs.pvalue), 0)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()))


def test_one_seed_without_predictions_has_no_interval():
    found = estimate(Sample({0: 0.5}, {}))
    assert (found.value, found.low, found.high, found.p) == (0.5, None, None, None)


def test_other_examples_are_not_compared_and_unknown_ones_by_seed_alone():
    rng = np.random.default_rng(5)
    one, other = sample(world(rng, 3, 0, 0.1, 0.1)), sample(world(rng, 3, 0, 0.1, 0.1))
    assert one.paired(Sample(other.scores, other.draws, "others", EXAMPLES)) is None
    assert one.paired(Sample(other.scores, {})).draws == {}
    assert one.paired(Sample({7: 0.1}, {})) is None


def test_correction_is_holms_step_down():
    values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": None}
    assert holm(values) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": None}) == {}


def test_who_shares_a_letter_is_not_told_apart_and_who_is_told_apart_shares_none():
    rng = np.random.default_rng(6)
    items = rng.normal(0, 0.2, EXAMPLES)
    samples = {
        f"m{i}": sample(world(rng, 3, 0.004, 0, 0.1, effect, items)) for i, effect in enumerate(np.linspace(0, 0.1, 8))
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
    samples = {f"m{i}": sample(world(rng, 3, 0.004, 0, 0.1, effect)) for i, effect in enumerate((0.0, 0.05, 0.1))}
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
    items = rng.normal(0, 0.2, EXAMPLES)
    samples = {
        name: sample(world(rng, 3, 0.0, 0, 0.1, effect, items))
        for name, effect in {"lora": 0.0, "same": 0.0, "better": 0.1, "worse": -0.1}.items()
    }
    found = against("lora", samples)
    assert set(found) == {"same", "better", "worse"}
    assert [found[n].clear for n in ("same", "better", "worse")] == [False, True, True]
    assert all(d.adjusted >= d.p for d in found.values())


def test_variance_is_shared_out_as_by_a_two_way_anova():
    import pandas as pd
    from statsmodels.api import stats as anova
    from statsmodels.formula.api import ols

    rng = np.random.default_rng(8)
    table = rng.normal(0, 1, (5, 1)) + rng.normal(0, 0.5, (1, 3)) + rng.normal(0, 0.3, (5, 3))
    samples = {str(m): Sample(dict(enumerate(row)), {}) for m, row in enumerate(table)}
    rows = [{"m": m, "s": s, "y": table[m, s]} for m in range(5) for s in range(3)]
    squares = anova.anova_lm(ols("y ~ C(m) + C(s)", pd.DataFrame(rows)).fit())["sum_sq"]
    expected = (squares / squares.sum()).tolist()
    assert list(split(samples).values()) == pytest.approx(expected)
    assert split({"a": samples["0"]}) is None


def test_so_many_seeds_find_a_gap_four_times_in_five():
    rng = np.random.default_rng(9)
    samples = {str(m): Sample(dict(enumerate(rng.normal(0, 0.01, 200))), {}) for m in range(4)}
    needed, tries = seeds_needed(samples, 0.015), 2000
    found = [
        stats.ttest_rel(rng.normal(0.015, 0.01, needed), rng.normal(0, 0.01, needed)).pvalue < 0.05
        for _ in range(tries)
    ]
    assert 0.78 < np.mean(found) < 0.9
    assert seeds_needed(samples, 1e-9) is None
    assert seeds_needed({"a": samples["0"]}, 1) is None


def test_two_samples_of_stored_answers_differ_by_what_their_scores_do():
    rows = [[{"target": ["a"], "prediction": "a" if i < right else "b"} for i in range(100)] for right in (90, 70)]
    one, other = (
        Sample({0: n}, {0: prepared("accuracy", r, {})(DRAWS)}, "same", 100)
        for n, r in zip((0.9, 0.7), rows, strict=True)
    )
    found = estimate(one.paired(other))
    assert found.value == pytest.approx(0.2)
    assert found.error == pytest.approx(np.sqrt(0.2 * 0.8 / 100), rel=0.15)  # twenty examples differ, by the binomial

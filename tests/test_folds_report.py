"""Folds in tables and tests: one score by seed, examples of all folds drawn together."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from factories import run_record, table_rows
from scipy import stats

from benchmark import compare
from benchmark.identity import run_id
from benchmark.records import Measurement, Store
from benchmark.report.comparisons import comparisons, tables
from benchmark.report.frame import load
from benchmark.report.overrides import setting
from benchmark.report.statistics.estimates import against, estimate
from benchmark.report.statistics.evidence import Evidence

pytestmark = pytest.mark.usefixtures("undrawn")

SIZES = (30, 25, 20, 15, 10)  # test examples of the folds
RIGHT = {"lora": (24, 11, 18, 6, 9), "full": (27, 20, 17, 12, 9)}


def record(method, fold, seed=0, right=None, group=None, **changes):
    """Make a run whose first answers are right, and its rows."""
    size = SIZES[fold or 0]
    right = RIGHT[method][fold or 0] if right is None else right
    rows = [
        {"split": "test", "id": f"{fold} {i}", "target": ["yes"], "prediction": "yes" if i < right else "no"}
        | ({} if group is None else {"group": f"{fold} {group(i)}"})
        for i in range(size)
    ]
    config = changes.pop("config", {})
    data = {"fingerprint": f"f{fold}", "metric": "accuracy"} | ({} if fold is None else {"pool": "p1"})
    values = {"measurements": (Measurement("test", "accuracy", right / size),)} if rows else {}
    one = run_record(method, seed, **{"data": data, **values, **changes})
    config = one.config | ({} if fold is None else {"fold": fold, "folds": 5}) | config
    return replace(one, config=config, run_id=run_id(config | {"name": method})), rows


def store(results, *made):
    for one, rows in made:
        Store(results / "runs").append(one, rows)
    return results


def members_of(results):
    (members,) = tables(load(results)).values()
    return members


def five(method, **changes):
    return [record(method, fold, **changes) for fold in range(5)]


def test_a_score_is_the_mean_over_folds_and_varies_with_the_examples_of_all_of_them(tmp_path):
    members = members_of(store(tmp_path, *five("lora"), *five("full")))
    assert [(one.method, one.folds, len(one.rounds), len(one.records)) for one in members] == [
        ("full", [0, 1, 2, 3, 4], 1, 5),
        ("lora", [0, 1, 2, 3, 4], 1, 5),
    ]
    samples = {one.method: sample for one, sample in Evidence(tmp_path).samples(members).items()}
    by_fold = {method: np.array(right) / SIZES for method, right in RIGHT.items()}
    assert samples["lora"].mean() == pytest.approx(by_fold["lora"].mean())
    both = samples["full"].paired(samples["lora"])
    assert both.scores == {0: pytest.approx((by_fold["full"] - by_fold["lora"]).mean())}
    assert (both.size, both.drawn) == (100, 100)
    # the variance of a mean of folds, by hand: every example weighs 1 / (5 * the size of its fold)
    gains = [
        (np.arange(size) < full).astype(float) - (np.arange(size) < lora)
        for size, full, lora in zip(SIZES, RIGHT["full"], RIGHT["lora"], strict=True)
    ]
    influence = np.concatenate([(gain - both.mean()) / (5 * len(gain)) for gain in gains])
    assert both.draws[0].std(ddof=1) == pytest.approx(np.sqrt((influence**2).sum()), rel=0.08)
    difference = against("lora", samples)["full"]
    assert difference.estimate.seeds == 1
    away = both.mean() / np.sqrt((influence**2).sum() * 100 / 99)
    assert difference.p == pytest.approx(2 * stats.t.sf(away, 99), rel=0.25)


def test_a_fold_of_one_group_counts_as_one_group(tmp_path):
    made = [record(method, fold, group=lambda _: "all") for method in RIGHT for fold in range(5)]
    samples = Evidence(store(tmp_path, *made)).samples(members_of(tmp_path))
    found = {one.method: (sample.drawn, estimate(sample).few) for one, sample in samples.items()}
    assert found == {"lora": (5, True), "full": (5, True)}
    (sample,) = (sample for one, sample in samples.items() if one.method == "lora")
    # folds that are drawn twice count twice: the variance of a mean of five numbers
    spread = np.std(np.array(RIGHT["lora"]) / SIZES) / np.sqrt(5)
    assert sample.draws[0].std() == pytest.approx(spread, rel=0.08)


def test_seeds_are_averaged_over_folds_first(tmp_path):
    second = [record("lora", fold, seed=3, right=right) for fold, right in enumerate((20, 15, 15, 7, 4))]
    (one,) = members_of(store(tmp_path, *five("lora"), *second))
    means = [np.mean(np.array(right) / SIZES) for right in (RIGHT["lora"], (20, 15, 15, 7, 4))]
    assert one.values("test", "accuracy") == pytest.approx(means)
    sample = Evidence(tmp_path).sample(one)
    assert sample.scores == {0: pytest.approx(means[0]), 3: pytest.approx(means[1])}
    assert sample.variance() == pytest.approx(np.var(means, ddof=1))
    (row,) = table_rows(tmp_path)["lora"]
    assert f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}" in row[3]
    assert "2 x 5 folds" in row


def test_a_setting_that_lacks_a_fold_is_compared_with_none_that_has_it(tmp_path):
    lost = record("full", 2, status="failed", reason="out of memory", measurements=(), data={})
    members = members_of(store(tmp_path, *five("lora"), *[r for r in five("full") if r[0].config["fold"] != 2], lost))
    assert {one.method: one.settings["folds"] for one in members} == {"lora": "5", "full": "5 without 2"}
    assert [sorted(c.methods) for c in comparisons(members)] == [["lora"], ["full"]]
    rows = table_rows(tmp_path)
    assert "full (folds=5 without 2)" in rows
    assert next(cell for cell in rows["full (folds=5 without 2)"][0] if "folds of" in cell).startswith(
        "1 x 4 folds of 5 runs"
    )
    assert "seed 0, fold 2 failed: out of memory" in (tmp_path / "tables" / "nmt.md").read_text()


def test_a_seed_that_lacks_a_fold_is_left_out_and_named(tmp_path):
    (one,) = members_of(store(tmp_path, *five("lora"), *[record("lora", fold, seed=1) for fold in (0, 3)]))
    assert one.values("test", "accuracy") == pytest.approx([np.mean(np.array(RIGHT["lora"]) / SIZES)])
    assert Evidence(tmp_path).sample(one).scores.keys() == {0}
    assert "1 x 5 folds" in str(table_rows(tmp_path))
    assert "seed 1 lacks fold 1, 2, 4: left out" in (tmp_path / "tables" / "nmt.md").read_text()


def test_folds_share_no_comparison_with_runs_without_and_with_other_folds(tmp_path):
    plain = record("lora", None, right=12)
    ten = [record("full", fold, config={"folds": 10}) for fold in range(5)]
    made = [*five("lora"), *five("full"), plain, *ten]
    sets = [
        sorted({(one.method, one.settings.get("folds")) for one in c.members})
        for members in tables(load(store(tmp_path, *made))).values()
        for c in comparisons(members)
    ]
    assert sorted(sets, key=str) == [
        [("full", "10 without 5 6 7 8 9")],
        [("full", "5"), ("lora", "5")],
        [("lora", None)],
    ]


def test_each_fold_may_have_a_trial_of_its_own(tmp_path):
    def tuned(fold, trial):
        method = {"rank": 2**trial, "alpha": 1, "search": {"rank": [1, 2, 4]}}
        one, rows = record("lora", fold, config={"method": method, "trial": trial or None, "budget": {"name": "b"}})
        return replace(one, data=one.data | {"selected": {"trial": trial, "trials": 3, "at_edge": []}}), rows

    made = [tuned(fold, trial) for fold, trial in enumerate((1, 2, 2, 0, 1))]
    found = tables(load(store(tmp_path, *made)))
    (one,) = found["nmt", "b_tuned"]
    assert (len(one.rounds), one.folds) == (1, [0, 1, 2, 3, 4])
    assert one.settings["method.alpha"] == "1"


def test_all_folds_are_asked_for_in_one_command():
    one = replace(record("lora", 2)[0], data={"overrides": ["method=lora", "fold=2", "seed=1", "trial=3"]})
    assert setting(one) == ["method=lora", "trial=3", "fold=0,1,2,3,4"]
    chosen = replace(one, data=one.data | {"selected": {"trial": 3}})
    assert setting(chosen) == ["method=lora", "trial=selected", "fold=0,1,2,3,4"]
    assert setting(replace(one, config={})) == ["method=lora", "trial=3"]


def test_two_methods_are_compared_over_their_folds(tmp_path, capsys):
    made = [record(m, fold, seed=seed) for m, fold, seed in itertools.product(RIGHT, range(5), (0, 1))]
    assert compare.main(["full", "lora", f"results={store(tmp_path, *made)}"]) == 0
    shown = capsys.readouterr().out
    gap = np.mean((np.array(RIGHT["full"]) - RIGHT["lora"]) / SIZES)
    assert f"{gap:+.4f}" in shown
    assert "2 x 5 folds" in shown
    assert " win " in shown
    assert "test examples of all folds are drawn together" in shown


def test_answers_in_the_tests_of_two_folds_are_no_evidence(tmp_path):
    made = five("lora")
    made[1][1][0]["id"] = made[0][1][0]["id"]
    (one,) = members_of(store(tmp_path, *made))
    with pytest.warns(UserWarning, match="an example is in the tests of two folds"):
        sample = Evidence(tmp_path).sample(one)
    assert not sample.draws

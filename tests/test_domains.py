"""Across tasks: ranks, outcomes and gains against counts by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from factories import answered_record, draw_sample, draw_world, publish_records
from scipy import stats

from benchmark.identity import run_id
from benchmark.records import Store
from benchmark.records.configurations import Configuration
from benchmark.report import __main__ as report
from benchmark.report.comparisons import tables
from benchmark.report.frame import load
from benchmark.report.statistics import ranks as over
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.ranks import Outcomes, TaskScores
from benchmark.report.statistics.samples import Sample

pytestmark = pytest.mark.usefixtures("undrawn")


def task_scores(task, **scores):
    """Make scores on which other test examples would change nothing."""
    samples = {
        method: Sample(dict(enumerate(values)), {s: np.full(100, v) for s, v in enumerate(values)}, "same", 80)
        for method, values in scores.items()
    }
    return TaskScores(
        task, "net", {method: Configuration("net", "pretrained", method, {}) for method in samples}, samples
    )


def test_ranks_are_means_over_tasks_among_methods_that_have_all():
    first = task_scores("a", lora=[3, 3], ia3=[2, 2], full=[1, 1], head=[9, 9])
    second = task_scores("b", lora=[1, 1], ia3=[1, 1], full=[2, 2])
    found = over.ranks([first, second])
    assert {name: rank.mean for name, rank in found.items()} == {"lora": 1.75, "ia3": 2.25, "full": 2.0}
    assert found["lora"].by_task == {"a": 1, "b": 2.5}
    assert all(rank.low == rank.mean == rank.high for rank in found.values())  # seeds agree, nothing else varies


def test_drawn_scores_vary_as_students_t_says_and_together():
    scores = {"lora": [1.0, 5.0, 3.0], "ia3": [2.0, 6.0, 4.0], "full": [5.0, 1.0, 3.0]}
    one, same, opposite = over._drawn(task_scores("a", **scores), list(scores), 50_000, np.random.default_rng(1))
    assert np.quantile(one, 0.975) - 3 == pytest.approx(stats.t.isf(0.025, 2) * 2 / math.sqrt(3), rel=0.1)
    assert same - one == pytest.approx(np.ones(len(one)))
    assert opposite + one == pytest.approx(np.full(len(one), 6.0))


def test_all_methods_meet_the_same_drawn_examples():
    hard = np.random.default_rng(3).normal(0, 1, 400)  # what a drawn test set does to every method
    samples = {
        method: Sample({0: level, 1: level}, dict.fromkeys(range(2), level + worth * hard), "same", 80)
        for method, level, worth in (("lora", 3.0, 1.0), ("ia3", 5.0, 2.0))
    }
    groups = {method: Configuration("net", "pretrained", method, {}) for method in samples}
    one, other = over._drawn(TaskScores("a", "net", groups, samples), list(samples), 500, np.random.default_rng(1))
    assert one.std() > 0.8
    assert other - 5 == pytest.approx(2 * (one - 3))


@pytest.mark.parametrize(
    ("effects", "tries"), [([0, 0], 60), ([0, 0.01, 0.02, 0.04], 60), ([0.01 * i for i in range(8)], 40)]
)
def test_the_true_mean_rank_lies_in_its_interval_at_least_as_often_as_it_says(effects, tries):
    rng, true, held = np.random.default_rng(0), stats.rankdata(-np.array(effects)), 0
    for _ in range(tries):
        found = over.ranks([simulated(rng, effects) for _ in range(3)], draws=300)
        held += sum(found[str(i)].low <= true[i] <= found[str(i)].high for i in range(len(effects)))
    assert held / tries / len(effects) >= 0.94


def simulated(rng, effects, noise=0.1):
    items = rng.normal(0, 0.1, 100)
    samples = {
        str(i): draw_sample(draw_world(rng, 3, 0.02 * (noise > 0.05), 0, noise, e, items))
        for i, e in enumerate(effects)
    }
    return TaskScores("a", "net", {name: Configuration("net", "pretrained", name, {}) for name in samples}, samples)


def test_methods_far_apart_have_narrow_ranks_though_examples_differ_more():
    found = over.ranks([simulated(np.random.default_rng(0), [0.5, 0.0], noise=0.01)])
    assert (found["0"].low, found["0"].high) == (1, 1)


def test_a_method_with_one_seed_varies_with_its_examples_alone():
    drawn = over._drawn(task_scores("a", lora=[1.0, 3.0], ia3=[2.0]), ["lora", "ia3"], 500, np.random.default_rng(0))
    assert drawn[0].std() > 0.5
    assert set(drawn[1]) == {2.0}


def test_wins_ties_and_losses_are_counted_by_task():
    far, near = [10.0, 10.1, 9.9], [5.0, 5.1, 4.9]
    scores = [
        task_scores("a", lora=near, ia3=far),
        task_scores("b", lora=far, ia3=near),
        task_scores("c", lora=near, ia3=[5.2, 4.8, 5.0]),
    ]
    assert over.outcomes(scores, "lora") == {"ia3": Outcomes(1, 1, 1)}
    assert over.outcomes(scores, "full") == {}


def test_a_win_is_to_be_above_the_reference():
    far, near = [10.0, 10.1, 9.9], [5.0, 5.1, 4.9]
    scores = [task_scores(task, lora=near, ia3=far) for task in "ab"] + [task_scores("c", lora=far, ia3=near)]
    assert over.outcomes(scores, "lora") == {"ia3": Outcomes(win=2, tie=0, loss=1)}
    assert over.outcomes(scores, "ia3") == {"lora": Outcomes(win=1, tie=0, loss=2)}


def test_gains_lie_between_the_head_and_full_fine_tuning():
    whole = task_scores("a", head=[1.0, 1.1, 0.9], frozen=[0.0] * 3, lora=[2.0, 2.0, 2.0], full=[3.0, 3.1, 2.9])
    assert over.gains(whole) == pytest.approx({"head": 0, "frozen": -0.5, "lora": 0.5, "full": 1})
    assert over.gains(task_scores("b", frozen=[1.0, 1.1], full=[1.0, 1.3])) == {}  # full is not clearly above
    assert over.gains(task_scores("c", lora=[1.0, 1.1], full=[2.0, 2.1])) == {}


def test_of_several_backbones_the_one_with_most_methods_stands_for_its_task(tmp_path):
    for method, backbone, rank in [
        ("lora", "x", 8),
        ("ia3", "x", 8),
        ("full", "y", 8),
        ("bitfit", "x", 8),
        ("bitfit", "x", 4),
    ]:
        run, rows = answered_record(method, 0, 50)
        method_ = run.config["method"] | {"rank": rank}
        changed = replace(run, backbone=backbone, config=run.config | {"method": method_})
        Store(tmp_path / "published/reference").append(
            replace(changed, run_id=run_id(changed.config | {"m": [method, backbone]})), rows
        )
    [(_, groups)] = tables(load(tmp_path)).items()
    [found] = over.task_scores({"nmt": groups}, Evidence(tmp_path))
    assert (found.backbone, set(found.samples), found.unclear) == ("x", {"lora", "ia3"}, ("bitfit",))


def two_tasks(results, **changes):
    """Record four methods on two tasks; changes: of the configuration."""
    for task, flip in (("nmt", 0), ("speech", 40)):
        for method, right in (("lora", 80 - flip), ("ia3", 78 - flip), ("full", 60), ("frozen", 5)):
            for seed in (0, 1, 2):
                run, rows = answered_record(method, seed, right + seed)
                config = run.config | changes
                run = replace(run, task=task, config=config, run_id=run_id({"of": [task, method, seed], **changes}))
                Store(results / "published/reference").append(run, rows)


def table(results, name):
    lines = (results / "tables" / f"{name}.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows if len(row) > 5}


def test_a_part_of_the_data_is_another_comparison(tmp_path):
    two_tasks(tmp_path / "whole")
    two_tasks(tmp_path / "both")
    two_tasks(tmp_path / "both", fraction=0.1)
    for name in ("whole", "both"):
        assert report.main([f"results={tmp_path / name}"]) == 0
    for name in ("ranking", "methods_", "certainty"):
        assert table(tmp_path / "both", name) == table(tmp_path / "whole", name)
    text = (tmp_path / "both" / "tables" / "nmt.csv").read_text().splitlines()
    ours = [line.split(",") for line in text if ",ia3" in line]
    assert [line[2] for line in ours] == ["ia3", "ia3 (fraction=0.1)"]
    assert ours[0][3:8] == ours[1][3:8]  # each is compared with those of its own part


def test_tables_over_tasks_say_who_leads_and_how_sure_that_is(tmp_path):
    two_tasks(tmp_path)
    assert report.main([f"results={tmp_path}"]) == 0
    cells = table(tmp_path, "ranking")
    assert [cells[m][1] for m in ("lora", "full", "ia3", "frozen")] == ["1.5", "2.0", "2.5", "4.0"]
    assert cells["lora"][4] == "1 / 0 / 1"
    # (80 - 5) / (60 - 5) and (40 - 5) / (60 - 5)
    assert cells["lora"][5:7] == ["1.36", "0.64"]
    sure = (tmp_path / "tables" / "certainty.csv").read_text()
    assert sure.count("100 %,0 %,0 %") == 2  # every method's seeds go up alike: by hand, less than half a percent
    assert sure.count("5 of 6") == 2  # two of a hundred examples are all that tell LoRA from IA3


def test_a_single_task_has_no_table_over_tasks(tmp_path):
    results = publish_records(tmp_path, *(answered_record(m, 0, 50)[0] for m in ("lora", "ia3")))
    assert report.main([f"results={results}"]) == 0
    assert not list((results / "tables").glob("ranking*"))

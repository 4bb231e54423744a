"""Claims of others: which of our runs they mean, and the verdicts."""

import csv
import itertools
import math
from dataclasses import replace

import pytest
from factories import answered_record

from benchmark.identity import run_id
from benchmark.records import Store
from benchmark.report import __main__ as report
from benchmark.report.comparisons import tables
from benchmark.report.frame import load
from benchmark.report.published import claims, verdicts
from benchmark.report.published.claims import Requirement, Setting
from benchmark.report.statistics.evidence import Evidence

pytestmark = pytest.mark.usefixtures("undrawn")


def put(results, method, right, seeds=3, rank=8, **settings):
    for seed in range(seeds):
        run, rows = answered_record(method, seed, right + seed)
        config = run.config | settings | {"method": {"rank": rank}}
        Store(results / "published/reference").append(
            replace(run, config=config, run_id=run_id(config | {"m": method})), rows
        )


def judge(results):
    return verdicts.Judge(tables(load(results)), Evidence(results))


def setting(method, **changes):
    return Setting("nmt", "tiny_mt", method, changes)


def less(measured, one, other, margin=0.0):
    return measured.difference(Requirement(one, other, margin))


def test_a_difference_is_that_of_the_runs_that_a_claim_means(tmp_path):
    put(tmp_path, "lora", 80)
    put(tmp_path, "full", 60)
    put(tmp_path, "lora", 20, fraction=0.03)
    put(tmp_path, "full", 50, fraction=0.03)
    measured = judge(tmp_path)
    assert less(measured, setting("lora"), setting("full"))[0] == pytest.approx(0.2)
    few = [setting(method, fraction=0.03) for method in ("lora", "full")]
    assert less(measured, *few)[0] == pytest.approx(-0.3)
    half = 1.984 * math.sqrt(0.3 * 0.7 / 99)  # thirty examples of a hundred tell them apart, whatever the seed
    assert less(measured, setting("lora"), few[1]) == pytest.approx((0.3, 0.3 - half, 0.3 + half, 0), abs=0.01)
    # a standard error and a half from the margin: 0.137 in Student's distribution with 99 degrees of freedom
    margin = -0.3 + 1.5 * half / 1.984
    assert less(measured, setting("lora"), few[1], margin).p == pytest.approx(0.137, abs=0.05)
    assert less(measured, setting("lora", fraction=0.5), setting("full")) is None
    assert less(measured, setting("lora"), replace(setting("full"), backbone="other")) is None


def test_a_setting_that_could_be_any_of_several_is_none(tmp_path):
    for rank, right in ((8, 80), (4, 70)):
        put(tmp_path, "lora", right, rank=rank)
    put(tmp_path, "full", 60)
    assert less(judge(tmp_path), setting("lora"), setting("full")) is None
    named = setting("lora", **{"method.rank": 4})
    assert less(judge(tmp_path), named, setting("full"))[0] == pytest.approx(0.1)


def test_the_budget_with_most_seeds_counts(tmp_path):
    for method, few, many in (("lora", 20, 80), ("full", 60, 60)):
        put(tmp_path, method, few, seeds=1, budget={"name": "quick"})
        put(tmp_path, method, many, budget={"name": "long"})
    assert less(judge(tmp_path), setting("lora"), setting("full"))[0] == pytest.approx(0.2)


def test_the_table_gives_each_claim_a_verdict_with_its_numbers(tmp_path):
    for method, right in (("lora", 80), ("full", 40), ("ia3", 79)):
        put(tmp_path, method, right)
    beats = {"a": ("lora", "full"), "b": ("full", "lora"), "c": ("lora", "ia3"), "d": ("lora", "dora")}
    entries = [
        f"  - {{id: {name}, study: s, where: p. 1, words: It is so., original: large, task: nmt, backbone: tiny_mt, "
        f"check: {{beats: {{better: [{one}], worse: [{other}]}}}}}}"
        for name, (one, other) in beats.items()
    ]
    (tmp_path / claims.FILE).write_text("\n".join(["claims:", *entries]))
    assert report.main([f"results={tmp_path}"]) == 0
    _, *found = csv.reader((tmp_path / "tables" / "claims.csv").read_text().splitlines())
    assert [row[3] for row in found] == ["confirmed", "not confirmed", "inconclusive", "not tested"]
    assert found[0][4].startswith("lora less full: +0.4000 (+0.")
    assert found[0][4].endswith("3 seeds")
    assert found[3][4] == "not run beside each other, or without predictions: lora, dora"


def test_an_own_run_tests_a_claim_beside_a_shipped_one(tmp_path):
    for seed in (0, 1, 2):
        Store(tmp_path / "published/reference").append(*answered_record("full", seed, 60))
        Store(tmp_path / "runs").append(*answered_record("lora", seed, 80))
    assert less(judge(tmp_path), setting("lora"), setting("full")).value == pytest.approx(0.2)


def test_what_has_no_answers_tests_nothing(tmp_path):
    for method, seed in itertools.product(("lora", "full"), (0, 1, 2)):
        bare = answered_record(method, seed, 80)[0]
        Store(tmp_path / "published/reference").append(bare, None)
    assert less(judge(tmp_path), setting("lora"), setting("full")) is None

"""Figures: they show what records hold, readable, and drawn once."""

from __future__ import annotations

import itertools
import math
import os
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from benchmark.report import frame
from benchmark.report.costs import Cost, front, unsteady
from benchmark.report.figures import best_of, curves, data_size, known, learning_rate, ranks
from benchmark.report.figures.drawing import lines, names, press, style
from benchmark.report.figures.drawing.trials import trials
from benchmark.report.material import Material, material

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import figures as command  # noqa: E402

HOSTILE = ["$x_1$ costs 5 % & more", r"$\frac{$", "a\nb\tc", "<b>#{}~^\\", "long_" * 30, "\x00\u202e", "'\"`"]
CAPABILITIES = (
    "method,network,status,kinds,merges,dead,reason\nlora,llama,runs,causal_lm,yes,,\nlora,gpt2,refused,,,,no\n"
)


def run(method: str = "lora", score: float = 0.5, **told: object) -> Record:
    """Make a record; told: what else it is, by short names."""
    given = {
        "task": "protein", "seed": 0, "budget": "b", "phase": None, "trial": None, "lr": 1e-3, "fraction": None,
        "backbone": "tiny", "weights": "pretrained", "trained": 1000.0, "step": 0.1, "memory": 2e8, "train": 500,
        "shifted": score / 2, "retention": 0.2, "environment": {}, "status": "done",
    }  # fmt: skip
    assert not told.keys() - given.keys()
    given |= told
    config = {
        "task": {"name": given["task"]}, "method": {"name": method, "lr": given["lr"]},
        "backbone": {"name": given["backbone"], "weights": given["weights"]}, "budget": {"name": given["budget"]},
        "seed": given["seed"], "phase": given["phase"], "trial": given["trial"], "fraction": given["fraction"],
    }  # fmt: skip
    curve = [Measurement("train", "loss", 4 / (n + 1), n) for n in range(1, 41)]
    curve += [Measurement("valid", "loss", 3 / n, 10 * n) for n in range(1, 5)]
    split = "valid" if given["phase"] else "test"
    measured = [*curve, Measurement(split, "spearman", score), Measurement("test/fold", "spearman", given["shifted"])]
    measured.append(Measurement("pretraining", "retention", given["retention"]))
    costs = {"seconds_per_step": "step", "peak_memory_bytes": "memory", "trainable_params": "trained"}
    measured += [Measurement("cost", name, given[short]) for name, short in costs.items()]
    done = given["status"] == "done"
    return Record(
        run_id=run_id(config), task=given["task"], method=method, backbone=given["backbone"], seed=given["seed"],
        status=given["status"], reason=None if done else "why", config=config,
        data={"fingerprint": "f", "metric": "spearman", "sizes": {"train": given["train"]}},
        environment={"device": "cpu", **given["environment"]}, measurements=measured if done else (),
    )  # fmt: skip


def of(*records: Record, results: Path = Path(os.devnull, "nowhere")) -> Material:
    return material([("reference", record) for record in records], results)


def everything() -> list[Record]:
    """Make records that every figure has something of."""
    finals = [
        run(method, 0.3 + 0.1 * i, task=task, seed=seed, trained=0.0 if method == "frozen" else 10.0 ** (i + 2))
        for task in ("protein", "speech")
        for i, method in enumerate(("frozen", "lora", "ia3", "full"))
        for seed in (0, 1)
    ]
    tuning = [
        run(m, 0.1 * t + 0.2, phase="tune", trial=t or None, lr=10.0 ** (t - 4))
        for m in ("lora", "ia3")
        for t in range(4)
    ]
    sizes = [
        run(m, 0.2 * f + 0.1 * (m == "lora") * (f < 0.5), task="nmt", fraction=f, train=int(1000 * f))
        for m in ("lora", "full")
        for f in (0.1, 0.3, 1.0)
    ]
    return [*finals, *tuning, *sizes]


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    ten = [run(m, 0.3 + i / 10, task=f"t{n}", budget="ten") for n in range(10) for i, m in enumerate(("a", "b", "c"))]
    for record in [*everything(), *ten]:
        Store(tmp_path / "published/reference").append(record, None)
    (tmp_path / "capabilities.csv").write_text(CAPABILITIES)
    return tmp_path


def publish(found: Material) -> int:
    return len(press.publish(press.every(found), found.results))


def pictures(found: Material, figure: str) -> list[press.Picture]:
    return list(press.pictures(figure, known()[figure], found))


# what is drawn


def test_the_front_is_what_nothing_cheaper_or_equal_beats() -> None:
    #        a alone at 1, b worse and dearer, c better, d as good as c and dearer, e best, f equal to e
    costs, scores = [1, 2, 3, 4, 5, 5], [0.2, 0.1, 0.4, 0.4, 0.9, 0.9]
    assert front(exact(costs), scores) == [True, False, True, False, True, True]
    random = np.random.default_rng(0)
    costs, scores = random.integers(0, 9, 60), random.integers(0, 9, 60)
    for cost, score, on in zip(costs, scores, front(exact(costs), scores), strict=True):
        better = (costs <= cost) & (scores >= score) & ((costs < cost) | (scores > score))
        assert on == (not better.any())


def exact(costs: Iterable[float]) -> list[Cost]:
    return [Cost(cost, cost, cost) for cost in costs]


def test_a_cost_is_less_only_where_no_measurement_says_otherwise() -> None:
    best, near, cheap = Cost(10, 8, 12), Cost(7, 5, 9), Cost(6, 5, 7)
    assert front([best, near, cheap], [0.9, 0.5, 0.5]) == [True, False, True]
    assert front([best, near, cheap], [0.9, 0.5, 0.4]) == [True, False, False]  # near costs no more, as far as seen
    assert front([near, cheap], [0.5, 0.5]) == [True, True]
    assert unsteady([(8, 12), (5,), (), (7, 7), (0, 3)]) == [0.5]


def test_a_plateau_ends_where_the_line_falls_below_95_percent() -> None:
    # from 1.0 at 1e-3 down to 0.9 at 1e-2 and to 0.5 at 1e-4: 0.95 is half a decade right, a tenth of one left
    found = learning_rate.plateau([1e-4, 1e-3, 1e-2], [0.5, 1.0, 0.9])
    assert np.log10([found.low, found.high]) == pytest.approx([-3.1, -2.5])
    assert (found.decades, found.open) == (pytest.approx(0.6), False)
    flat = learning_rate.plateau([1e-2, 1e-4, 1e-3], [0.97, 0.96, 1.0])
    assert (flat.decades, flat.open) == (pytest.approx(2.0), True)
    # a second hill beyond a valley is no part of it, and below zero the level lies below the best
    assert learning_rate.plateau([1e-4, 1e-3, 1e-2], [1.0, 0.0, 1.0]).decades == pytest.approx(0.05)
    assert learning_rate.plateau([1e-4, 1e-3], [-1.0, -2.0]).decades == pytest.approx(0.05)


def tried(method: str, settings: dict[str, object], score: float, trial: int, **told: object) -> Record:
    """Make a tuning trial that drew other settings beside its learning rate."""
    one = run(method, score, phase="tune", trial=trial or None, lr=10.0 ** (trial - 4), **told)
    config = one.config | {"method": one.config["method"] | settings}
    return replace(one, run_id=run_id(config), config=config)


def test_a_line_says_where_more_than_the_learning_rate_was_drawn() -> None:
    alone = [tried("ia3", {"first": 1}, 0.3 + t / 10, t) for t in range(3)]
    along = [tried("lora", {"rank": 2**t, "targets": [t]}, 0.3 + t / 10, t) for t in range(4)]
    table = learning_rate.data(of(*alone, *along)).drop_duplicates("method").set_index("method")
    assert dict(table["others"]) == {"ia3": "", "lora": "rank, targets"}
    assert dict(table["trials"]) == {"ia3": 3, "lora": 4}
    for width in style.WIDTHS:
        with matplotlib.rc_context(style.RC):
            sheet = learning_rate.draw(learning_rate.data(of(*alone, *along)), width)
        assert {axes.get_title("left") or axes.get_title() for axes in sheet.axes} == {"ia3", "lora*"}
        assert any("other settings too; 3 to 4 trials each" in text.get_text() for text in sheet.texts)


def test_an_open_plateau_without_a_width_has_no_number() -> None:
    # the best comes last and after a steep line, last and after a flat one, and between two others
    scores = {"steep": (-1.0, 1.0), "flat": (0.9, 1.0), "closed": (0.0, 1.0, 0.0)}
    table = learning_rate.data(of(*(tried(m, {}, s, t) for m, found in scores.items() for t, s in enumerate(found))))
    with matplotlib.rc_context(style.RC):
        drawn = learning_rate.draw(table, "two").axes
    names = {axes.get_title("left") or axes.get_title(): axes.get_title("right") for axes in drawn}
    assert names == {"steep": "", "flat": "≥ 0.5", "closed": "0.1"}


def test_the_expected_best_of_k_is_that_of_all_choices() -> None:
    scores = [0.3, 0.1, 0.7, 0.7, -0.2, 0.5]
    by_hand = [np.mean([max(c) for c in itertools.combinations(scores, k)]) for k in range(1, 7)]
    assert best_of.expected_best(scores) == pytest.approx(by_hand)


def test_a_failed_trial_counts_as_the_worst_of_its_board() -> None:
    tried = [("lora", 0, 0.6), ("lora", 1, 0.8), ("ia3", 0, 0.2), ("ia3", 1, 0.4)]
    records = [run(m, s, phase="tune", trial=t or None, lr=0.1 * (t + 1)) for m, t, s in tried]
    records.append(run("lora", phase="tune", trial=2, lr=0.3, status="failed"))
    table = best_of.data(of(*records))
    lora = table[table["method"] == "lora"]
    assert list(lora["expected"]) == pytest.approx([(0.6 + 0.8 + 0.2) / 3, (0.8 + 0.6 + 0.8) / 3, 0.8])
    assert set(lora["failed"]) == {1}


def test_trials_that_went_on_stand_as_they_were_when_all_were_there() -> None:
    def tried(trial: int, score: float, until: int | None) -> Record:
        one = run("lora", score, phase="tune", trial=trial or None, lr=0.1 * (trial + 1))
        config = one.config | {"until": until}
        return replace(one, run_id=run_id(config), config=config)

    first = [tried(trial, score, 30) for trial, score in enumerate((0.25, 0.5, 0.125))]
    table = trials(of(*first, tried(1, 0.75, 60), tried(0, 0.625, 60), tried(1, 0.875, None)))
    assert dict(zip(table["trial"], table["score"], strict=True)) == {0: 0.25, 1: 0.5, 2: 0.125}
    assert set(table["board"]) == {"until=30"}


def test_the_crossover_is_where_the_lines_meet_on_log_sizes() -> None:
    # 0.1 ahead at 100, 0.3 behind at 10,000: a quarter of two decades beyond 100
    full = {100: 0.4, 10_000: 0.9}
    assert data_size.crossover({100: 0.5, 10_000: 0.6}, full) == pytest.approx(100 * 10**0.5)
    assert math.isnan(data_size.crossover({100: 0.5, 10_000: 0.95}, full))  # never overtaken
    assert math.isnan(data_size.crossover({100: 0.3, 10_000: 0.6}, full))  # behind from the start
    twice = data_size.crossover({1: 1.0, 10: 0.0, 100: 1.0, 1000: 0.0}, {1: 0.0, 10: 1.0, 100: 0.0, 1000: 1.0})
    assert twice == pytest.approx(100 * 10**0.5)  # the last time counts


def test_sizes_of_one_method_are_one_line_with_its_crossover() -> None:
    table = data_size.data(of(*everything()))
    assert set(table["task"]) == {"nmt"}
    lora = table[table["label"] == "lora"]
    assert list(lora["train"]) == [100, 300, 1000]
    assert list(lora["score"]) == pytest.approx([0.12, 0.16, 0.2])
    # lora is 0.1 ahead at 300 and even at 1,000: full is never ahead
    assert lora["crossover"].isna().all()


def test_a_line_is_named_by_what_tells_it_from_others_that_are_drawn() -> None:
    def sized(targets: str, rank: int, *fractions: float) -> list[Record]:
        made = [run("lora", 0.1 * rank * f, fraction=f, train=int(1000 * f)) for f in fractions]
        configs = [one.config | {"method": one.config["method"] | {"targets": targets, "rank": rank}} for one in made]
        return [replace(one, run_id=run_id(c), config=c) for one, c in zip(made, configs, strict=True)]

    alone = data_size.data(of(*sized("default", 8, 0.1, 1.0), *sized("query", 8, 1.0)))
    assert set(alone["label"]) == {"lora"}
    several = data_size.data(
        of(*sized("default", 8, 0.1, 1.0), *sized("default", 1, 0.1, 1.0), *sized("query", 8, 1.0))
    )
    assert list(several["label"]) == ["lora, rank=1"] * 2 + ["lora, rank=8"] * 2


def test_a_curve_is_the_mean_where_all_seeds_have_a_value_in_even_stretches() -> None:
    one, other = {1: 4.0, 2: 2.0, 3: 9.0}, {1: 2.0, 2: 0.0}
    assert curves.averaged([one, other]) == [(1.0, 3.0), (2.0, 1.0)]
    assert curves.averaged([{n: float(n) for n in range(1, 7)}], most=3) == [(1.5, 1.5), (3.5, 3.5), (5.5, 5.5)]
    assert curves.averaged([{}]) == []


def test_a_cost_comes_from_the_runs_that_measured_it_best() -> None:
    shared = {"shared": True, "cells_before": 3}
    lora, ia3 = run("lora", step=9.0, environment=shared), run("ia3", step=5.0, trained=7.0, environment=shared)
    drawn = known()["step_time"].data(of(lora, ia3)).set_index("method")
    assert (dict(drawn["cost"]), set(drawn["measured"])) == ({"lora": 9000, "ia3": 5000}, {"beside other runs"})
    assert known()["memory"].data(of(lora, ia3)).empty  # of a process that had run others before
    made = [run("lora", 0.0, budget="cost", step=s, seed=i, memory=3e8) for i, s in enumerate((1.0, 3.0, 2.0))]
    drawn = known()["step_time"].data(of(lora, *made)).set_index("method")
    assert (dict(drawn["cost"]), set(drawn["measured"])) == ({"lora": 2000}, {"alone"})  # the median
    drawn = known()["step_time"].data(of(lora, ia3, *made)).set_index("method")
    assert dict(drawn["cost"]) == {"lora": 9000, "ia3": 5000}  # ia3 was not measured so: the two do not mix
    made.append(run("ia3", 0.0, budget="cost", step=1.5, trained=7.0))
    drawn = known()["step_time"].data(of(lora, ia3, *made)).set_index("method")
    assert (dict(drawn["cost"]), set(drawn["measured"])) == ({"lora": 2000, "ia3": 1500}, {"alone"})
    assert dict(known()["memory"].data(of(lora, *made)).set_index("method")["cost"]) == {"lora": 300}
    other = run("lora", 0.0, budget="cost", step=1.0, trained=8.0)  # another rank
    assert dict(known()["step_time"].data(of(lora, other)).set_index("method")["cost"]) == {"lora": 9000}
    assert "cost" not in set(known()["parameters"].data(of(lora, *made))["budget"])  # their scores mean nothing


def test_random_weights_and_fewer_data_are_no_part_of_a_front() -> None:
    best = run("ia3", 0.99, weights="random", trained=1.0)
    few = run("full", 0.98, fraction=0.1, train=50, trained=1.0)
    table = known()["parameters"].data(of(run("lora", 0.5), best, few)).set_index("method")
    assert dict(table["front"]) == {"lora": True, "ia3": False}


def test_a_shifted_test_is_drawn_by_its_own_headline() -> None:
    one = run(seed=0, shifted=0.1)
    own = (*one.measurements, Measurement("test/fold", "rmse", 7.5))
    found = of(replace(one, data={**one.data, "headlines": {"test/fold": "rmse"}}, measurements=own))
    shift = known()["shift"].data(found).iloc[0]
    assert (shift["metric"], shift["measured"], shift["shifted"]) == ("spearman", "rmse", 7.5)
    (picture,) = pictures(found, "shift")
    axes = known()["shift"].draw(picture.table, "two").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "test Spearman (mean over seeds)",
        "test/fold rmse (mean over seeds)",
    )


def test_shift_and_retention_are_means_over_seeds() -> None:
    found = of(run(seed=0, shifted=0.1, retention=-0.1), run(seed=1, shifted=0.3, retention=0.4))
    shift, retention = known()["shift"].data(found).iloc[0], known()["retention"].data(found).iloc[0]
    assert (shift["shift"], shift["score"], shift["shifted"]) == ("fold", 0.5, pytest.approx(0.2))
    assert retention["retention"] == pytest.approx(0.15)


def test_ranks_are_by_task_with_the_mean_first() -> None:
    table = known()["ranks"].data(of(*everything()))
    full = table[table["method"] == "full"]
    # on nmt full and lora alone were run, and score alike on all the data; on parts of it is another comparison
    assert dict(zip(full["task"], full["rank"], strict=True)) == {"nmt": 1.5, "protein": 1, "speech": 1}
    assert set(table["method"]) == {"full", "lora"}
    assert table["mean_rank"].is_monotonic_increasing


def test_marks_of_one_method_and_rank_stand_apart_within_their_row() -> None:
    table = pd.DataFrame({"method": ["a", "a", "a", "a", "b"], "rank": [1.0, 1.0, 1.0, 2.0, 1.0]})
    first, second, third, *alone = ranks.offsets(table)
    assert alone == [0, 0]
    assert -0.5 < first < second < third < 0.5
    assert second - first == pytest.approx(third - second)


@pytest.mark.parametrize("figure", sorted(known()))
def test_a_title_holds_no_name_of_a_file(figure: str, shipped: Path) -> None:
    for picture in pictures(material(frame.load(shipped), shipped), figure)[:2]:
        with matplotlib.rc_context(style.RC):
            drawn = known()[figure].draw(picture.table, "two")
        texts = [text.get_text() for part in (drawn, *drawn.axes) for text in part.texts]
        texts += [axes.get_title(side) for axes in drawn.axes for side in ("left", "center")]
        assert known()[figure].TITLE in texts
        assert not [text for text in texts if "_tuned" in text or "until=" in text]


def test_without_a_known_cost_there_is_nothing_to_draw_against() -> None:
    assert pictures(of(run("frozen", trained=0.0, memory=math.nan)), "memory") == []


# how it is drawn


@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("figure", known())
def test_every_figure_is_drawn_from_a_plain_table(figure: str, width: str, shipped: Path) -> None:
    drawn = pictures(material(frame.load(shipped), shipped), figure)
    assert drawn
    for picture in drawn:
        kinds = {type(value) for value in picture.table.to_dict("tight")["data"][0]}
        assert kinds <= {str, int, float, bool, type(None)}
        assert all(picture.table[column].nunique() == 1 for column in known()[figure].BY)
    files = press.render(drawn[0], width)
    assert files["png"].startswith(b"\x89PNG")
    assert b"CreationDate" not in files["pdf"]
    assert b"/Type3" not in files["pdf"]
    box = [float(n) for n in files["pdf"].split(b"/MediaBox [")[1].split(b"]")[0].split()]
    assert box[2] == pytest.approx(72 * style.WIDTHS[width], abs=0.1)
    assert press.render(drawn[0], width) == files


@pytest.mark.parametrize("figure", sorted(known().keys() - {"capability", "learning_rate", "ranks"}))
def test_both_axes_say_what_they_show(figure: str, shipped: Path) -> None:
    picture = pictures(material(frame.load(shipped), shipped), figure)[0]
    with matplotlib.rc_context(style.RC):
        for width in style.WIDTHS:
            all_axes = known()[figure].draw(picture.table, width).axes
            assert all(axes.get_xlabel() for axes in (all_axes[-1:] if width == "one" else all_axes))
            assert all(axes.get_ylabel() for axes in (all_axes if width == "one" else all_axes[:1]))


@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("figure", known())
def test_no_label_and_no_key_is_cut_by_the_sheet(figure: str, width: str, shipped: Path) -> None:
    with matplotlib.rc_context(style.RC):
        sheet = known()[figure].draw(pictures(material(frame.load(shipped), shipped), figure)[0].table, width)
        style.within(sheet)
        sheet.draw_without_rendering()
        for axes in sheet.axes:
            key = axes.get_legend()
            for text in (axes.xaxis.label, axes.yaxis.label, *(key.get_texts() if key else ())):
                box = text.get_window_extent()
                if text.get_text():
                    assert box.x0 >= 0 <= box.y0, text
                    assert box.x1 <= sheet.bbox.x1, text
                    assert box.y1 <= sheet.bbox.y1, text


@pytest.mark.parametrize("figure", known())
def test_a_figure_without_data_is_not_drawn(figure: str) -> None:
    assert pictures(of(run(status="failed")), figure) == []


@pytest.mark.parametrize("figure", ["parameters", "memory", "step_time", "shift", "retention", "curves"])
def test_a_single_point_is_drawn(figure: str) -> None:
    (picture,) = pictures(of(run()), figure)
    assert len(press.render(picture)["png"]) > 3000


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_hostile_names_are_text_and_stay_in_the_folder(tmp_path: Path) -> None:
    records = [
        run(name, 0.4 + i / 50, task=task, backbone=HOSTILE[0], phase=phase, trial=t or None, lr=0.1 * t + 0.1)
        for task in ("../up", "$a_b$")
        for i, name in enumerate(HOSTILE)
        for phase, t in ((None, 0), ("tune", 0), ("tune", 1))
    ]
    assert publish(of(*records, results=tmp_path)) > 10
    assert {path.name for path in tmp_path.iterdir()} == {"figures", ".cache"}
    stems = {path.stem for path in (tmp_path / "figures" / "parameters").glob("*.png")}
    assert len(stems) == 2
    assert not any("/" in stem or "$" in stem for stem in stems)
    assert style.shown(HOSTILE[2]) == "a b c"
    assert style.shown("\ud800\x00\u202e") == "???"
    assert len(style.shown(HOSTILE[4])) == style.LONGEST


def crowd(many: int) -> pd.DataFrame:
    random = np.random.default_rng(1)
    records = [
        run(f"method_{i}", 0.5 + random.normal() / 20, trained=float(int(10 ** random.uniform(4, 5))))
        for i in range(many)
    ]
    return known()["parameters"].data(of(*records, run("frozen", 0.3, trained=0.0)))


@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("many", [8, 30, 60])
def test_names_in_a_crowd_cover_no_mark_and_no_name(many: int, width: str) -> None:
    table = crowd(many)
    with matplotlib.rc_context(style.RC):
        (axes,) = known()["parameters"].draw(table, width).axes
        written = [text for text in axes.texts if text.get_text().startswith(("method_", "frozen"))]
        boxes = [text.get_window_extent() for text in written]
    marks = axes.transData.transform(table[table["cost"] > 0][["cost", "score"]].to_numpy())
    shown = {text.get_text() for text in written}
    assert not [1 for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]
    assert not [1 for box in boxes for mark in marks if box.contains(*mark)]
    assert all(axes.bbox.contains(*corner) for box in boxes for corner in (box.p0, box.p1))
    assert set(table[table["front"]]["label"]) <= shown  # these always find room
    if many == 8:
        assert len(shown) == 9
    if len(shown) < len(table) and width == "two":
        assert any(f"{len(table) - len(shown)} not named" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize("figure", ["parameters", "best_of"])
def test_names_stand_at_the_same_place_of_a_sheet_with_other_dots(figure: str) -> None:
    tuned = [tried(m, {}, 0.3 + t / 10, t) for t in range(3) for m in ("lora", "ia3")]
    picture = pictures(of(*everything(), *tuned), figure)[-1]
    with matplotlib.rc_context(style.RC):
        drawn = known()[figure].draw(picture.table, "two")
        names = [text for text in drawn.axes[0].texts if text.get_text() in {"lora", "ia3", "full"}]
        places = []
        for dots in (style.DPI, 72):  # the second are those of a PDF
            drawn.dpi = dots
            boxes = [text.get_window_extent() for text in names]
            places.append([(box.x0 / drawn.bbox.width, box.y0 / drawn.bbox.height) for box in boxes])
    assert names
    assert np.ravel(places[0]) == pytest.approx(np.ravel(places[1]), abs=0.02)


def test_names_at_the_ends_of_lines_keep_apart_and_in_order() -> None:
    figure = style.sheet("two", 4.1)
    axes = style.plain(figure, right=1.25)
    ends = {f"m{i}": np.array([[0, 0], [1, height]]) for i, height in enumerate([0.5, 0.501, 0.5, 0.9, 0.0, 0.502])}
    looks = lines.highlighted(pd.Series({name: line[-1, 1] for name, line in ends.items()}), {n: n for n in ends})
    lines.draw(axes, ends, looks)
    assert lines.name(axes, ends, looks) == 0
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert not [1 for one, other in itertools.combinations(boxes.values(), 2) if one.overlaps(other)]
    middles = {name: (box.y0 + box.y1) / 2 for name, box in boxes.items()}
    assert sorted(middles, key=middles.get) == ["m4", "m0", "m2", "m1", "m5", "m3"]
    # a name alone stands where its line ends
    assert middles["m3"] == pytest.approx(axes.transData.transform((1, 0.9))[1], abs=2)


def test_of_many_lines_the_known_and_the_best_have_a_colour() -> None:
    scores = pd.Series({f"m{i}": i / 100 for i in range(30)} | {"lora": 0.05, "full": 0.9, "frozen": 0.0})
    assert set(lines.highlighted(scores, {name: name for name in scores.index})) == {"lora", "full", "frozen"}
    assert "m29" in lines.highlighted(scores.drop("full"), {name: name for name in scores.index})


def test_a_name_without_room_is_left_out_and_counted() -> None:
    figure = style.sheet("one", 1.0)
    axes = style.plain(figure)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    assert names.write(axes, [names.Name(f"name {i}", 0.5, 0.5, "#000000") for i in range(9)]) > 0
    assert len(axes.texts) < 9


# what is cached


def test_a_second_report_draws_nothing_and_a_damaged_entry_is_drawn_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, drawn, folder = of(run(), results=tmp_path), [], tmp_path / "figures"
    draw = press.render
    monkeypatch.setattr(press, "render", lambda picture, *more: (drawn.append(picture), draw(picture, *more))[1])
    many = publish(found)
    first = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert len(drawn) == many == len(first) / 2
    assert publish(found) == len(drawn)  # as many pictures, none drawn again
    kept = sorted((tmp_path / ".cache" / "figures").iterdir())
    assert len(kept) == many
    kept[0].write_bytes(b"cut short")
    content = bytearray(kept[1].read_bytes())
    content[len(content) // 2] ^= 255  # the archive's own checksum finds it
    kept[1].write_bytes(bytes(content))
    with zipfile.ZipFile(kept[2], "w") as archive:
        archive.writestr("pdf", b"alone")
    kept[3].unlink()
    drawn.clear()
    publish(found)
    assert len(drawn) == 4
    assert {path: path.read_bytes() for path in first} == first


def test_other_rows_or_other_code_are_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, draw = [], press.render
    monkeypatch.setattr(press, "render", lambda picture, *more: (drawn.append(picture), draw(picture, *more))[1])
    for score, times in ((0.5, 1), (0.5, 0), (0.6, 1)):
        press.publish(pictures(of(run(score=score)), "parameters"), tmp_path)
        assert len(drawn) == times
        drawn.clear()
    monkeypatch.setattr(press, "_code", lambda figure: b"other")
    press.publish(pictures(of(run(score=0.6)), "parameters"), tmp_path)
    assert len(drawn) == 1


@pytest.mark.parametrize("figure", known())
def test_the_page_knows_of_every_row_where_it_is_drawn(figure: str, shipped: Path) -> None:
    picture = pictures(material(frame.load(shipped), shipped), figure)[0]
    with matplotlib.rc_context(style.RC):
        style.within(drawn := known()[figure].draw(picture.table, "two"))
        marks = style.marks(drawn)
    assert {row for *_, row in marks} == set(picture.table.index)
    assert all(0 < x < 1 and 0 < y < 1 for x, y, _ in marks)


def test_figures_of_before_are_deleted_and_foreign_files_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    publish(of(run(), run(task="gone"), results=tmp_path))
    assert (folder / "parameters" / "gone_b.png").exists()
    (folder / "mine.png").write_bytes(b"\x89PNG drawn by hand")
    publish(of(run(), results=tmp_path))
    left = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    assert not [path for path in left if "gone" in path]
    assert len(list((tmp_path / ".cache" / "figures").iterdir())) == 6
    assert {"mine.png", "parameters/protein_b.png", "parameters/protein_b.pdf"} <= left


def test_a_folder_that_cannot_be_written_to_costs_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("a file")
    assert publish(of(run(), results=tmp_path)) == 6


# the command


def test_without_arguments_the_command_lists_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in known())


def test_the_command_draws_what_was_asked_for(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shipped / "paper"
    asked = ["parameters", "width=one", "task=speech", f"results={shipped}", f"out={out}"]
    assert command.main(asked) == 0
    assert sorted(path.name for path in out.iterdir()) == ["parameters_speech_b.pdf", "parameters_speech_b.png"]
    assert capsys.readouterr().out.splitlines() == [str(out / f"parameters_speech_b.{k}") for k in ("pdf", "png")]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["parametres"], "did you mean parameters"),
        (["parameters", "width=three"], "width=three"),
        (["parameters", "taks=speech"], "did you mean task"),
        (["parameters", "task=speach"], "did you mean speech"),
        (["capability", "task=speech"], "not drawn by task"),
        (["parameters", "memory"], "one figure is wanted"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(
    asked: list[str], said: str, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([*asked, f"results={shipped}"]) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_draw_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["parameters", f"results={tmp_path}"]) == 1
    assert "nothing to draw" in capsys.readouterr().out

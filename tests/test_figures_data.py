"""What figures show: fronts, plateaus, curves, ranks, as computed by hand."""

import itertools
import math
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawings import figure_record, figure_records, material_of, pictures_of, trial_record

from benchmark.identity import run_id
from benchmark.records import Measurement
from benchmark.report import frame
from benchmark.report.costs import Cost, front, unsteady
from benchmark.report.figures import best_of, curves, data_size, known, learning_rate, ranks
from benchmark.report.figures.drawing import style
from benchmark.report.figures.drawing.trials import trials
from benchmark.report.material import material


def test_the_front_is_what_nothing_cheaper_or_equal_beats():
    #        a alone at 1, b worse and dearer, c better, d as good as c and dearer, e best, f equal to e
    costs, scores = [1, 2, 3, 4, 5, 5], [0.2, 0.1, 0.4, 0.4, 0.9, 0.9]
    assert front(exact(costs), scores) == [True, False, True, False, True, True]
    random = np.random.default_rng(0)
    costs, scores = random.integers(0, 9, 60), random.integers(0, 9, 60)
    for cost, score, on in zip(costs, scores, front(exact(costs), scores), strict=True):
        better = (costs <= cost) & (scores >= score) & ((costs < cost) | (scores > score))
        assert on == (not better.any())


def exact(costs):
    return [Cost(cost, cost, cost) for cost in costs]


def test_a_cost_is_less_only_where_no_measurement_says_otherwise():
    best, near, cheap = Cost(10, 8, 12), Cost(7, 5, 9), Cost(6, 5, 7)
    assert front([best, near, cheap], [0.9, 0.5, 0.5]) == [True, False, True]
    assert front([best, near, cheap], [0.9, 0.5, 0.4]) == [True, False, False]  # near costs no more, as far as seen
    assert front([near, cheap], [0.5, 0.5]) == [True, True]
    assert unsteady([(8, 12), (5,), (), (7, 7), (0, 3)]) == [0.5]


def test_a_plateau_ends_where_the_line_falls_below_95_percent():
    # from 1.0 at 1e-3 down to 0.9 at 1e-2 and to 0.5 at 1e-4: 0.95 is half a decade right, a tenth of one left
    found = learning_rate.plateau([1e-4, 1e-3, 1e-2], [0.5, 1.0, 0.9])
    assert np.log10([found.low, found.high]) == pytest.approx([-3.1, -2.5])
    assert (found.decades, found.open) == (pytest.approx(0.6), False)
    flat = learning_rate.plateau([1e-2, 1e-4, 1e-3], [0.97, 0.96, 1.0])
    assert (flat.decades, flat.open) == (pytest.approx(2.0), True)
    # a second hill beyond a valley is no part of it, and below zero the level lies below the best
    assert learning_rate.plateau([1e-4, 1e-3, 1e-2], [1.0, 0.0, 1.0]).decades == pytest.approx(0.05)
    assert learning_rate.plateau([1e-4, 1e-3], [-1.0, -2.0]).decades == pytest.approx(0.05)


def test_a_line_says_where_more_than_the_learning_rate_was_drawn():
    alone = [trial_record("ia3", {"first": 1}, 0.3 + t / 10, t) for t in range(3)]
    along = [trial_record("lora", {"rank": 2**t, "targets": [t]}, 0.3 + t / 10, t) for t in range(4)]
    table = learning_rate.data(material_of(*alone, *along)).drop_duplicates("method").set_index("method")
    assert dict(table["others"]) == {"ia3": "", "lora": "rank, targets"}
    assert dict(table["trials"]) == {"ia3": 3, "lora": 4}
    for width in style.WIDTHS:
        with matplotlib.rc_context(style.RC):
            sheet = learning_rate.draw(learning_rate.data(material_of(*alone, *along)), width)
        assert {axes.get_title("left") or axes.get_title() for axes in sheet.axes} == {"ia3", "lora*"}
        assert any("other settings too; 3 to 4 trials each" in text.get_text() for text in sheet.texts)


def test_an_open_plateau_without_a_width_has_no_number():
    # the best comes last and after a steep line, last and after a flat one, and between two others
    scores = {"steep": (-1.0, 1.0), "flat": (0.9, 1.0), "closed": (0.0, 1.0, 0.0)}
    table = learning_rate.data(
        material_of(*(trial_record(m, {}, s, t) for m, found in scores.items() for t, s in enumerate(found)))
    )
    with matplotlib.rc_context(style.RC):
        drawn = learning_rate.draw(table, "two").axes
    names = {axes.get_title("left") or axes.get_title(): axes.get_title("right") for axes in drawn}
    assert names == {"steep": "", "flat": "≥ 0.5", "closed": "0.1"}


def test_the_expected_best_of_k_is_that_of_all_choices():
    scores = [0.3, 0.1, 0.7, 0.7, -0.2, 0.5]
    by_hand = [np.mean([max(c) for c in itertools.combinations(scores, k)]) for k in range(1, 7)]
    assert best_of.expected_best(scores) == pytest.approx(by_hand)


def test_a_failed_trial_counts_as_the_worst_of_its_board():
    tried = [("lora", 0, 0.6), ("lora", 1, 0.8), ("ia3", 0, 0.2), ("ia3", 1, 0.4)]
    records = [figure_record(m, s, phase="tune", trial=t or None, lr=0.1 * (t + 1)) for m, t, s in tried]
    records.append(figure_record("lora", phase="tune", trial=2, lr=0.3, status="failed"))
    table = best_of.data(material_of(*records))
    lora = table[table["method"] == "lora"]
    assert list(lora["expected"]) == pytest.approx([(0.6 + 0.8 + 0.2) / 3, (0.8 + 0.6 + 0.8) / 3, 0.8])
    assert set(lora["failed"]) == {1}


def test_trials_that_went_on_stand_as_they_were_when_all_were_there():
    def tried(trial, score, until):
        one = figure_record("lora", score, phase="tune", trial=trial or None, lr=0.1 * (trial + 1))
        config = one.config | {"until": until}
        return replace(one, run_id=run_id(config), config=config)

    first = [tried(trial, score, 30) for trial, score in enumerate((0.25, 0.5, 0.125))]
    table = trials(material_of(*first, tried(1, 0.75, 60), tried(0, 0.625, 60), tried(1, 0.875, None)))
    assert dict(zip(table["trial"], table["score"], strict=True)) == {0: 0.25, 1: 0.5, 2: 0.125}
    assert set(table["board"]) == {"until=30"}


def test_the_crossover_is_where_the_lines_meet_on_log_sizes():
    # 0.1 ahead at 100, 0.3 behind at 10,000: a quarter of two decades beyond 100
    full = {100: 0.4, 10_000: 0.9}
    assert data_size.crossover({100: 0.5, 10_000: 0.6}, full) == pytest.approx(100 * 10**0.5)
    assert math.isnan(data_size.crossover({100: 0.5, 10_000: 0.95}, full))  # never overtaken
    assert math.isnan(data_size.crossover({100: 0.3, 10_000: 0.6}, full))  # behind from the start
    twice = data_size.crossover({1: 1.0, 10: 0.0, 100: 1.0, 1000: 0.0}, {1: 0.0, 10: 1.0, 100: 0.0, 1000: 1.0})
    assert twice == pytest.approx(100 * 10**0.5)  # the last time counts


def test_sizes_of_one_method_are_one_line_with_its_crossover():
    table = data_size.data(material_of(*figure_records()))
    assert set(table["task"]) == {"nmt"}
    lora = table[table["label"] == "lora"]
    assert list(lora["train"]) == [100, 300, 1000]
    assert list(lora["score"]) == pytest.approx([0.12, 0.16, 0.2])
    # lora is 0.1 ahead at 300 and even at 1,000: full is never ahead
    assert lora["crossover"].isna().all()


def test_a_line_is_named_by_what_tells_it_from_others_that_are_drawn():
    def sized(targets, rank, *fractions):
        made = [figure_record("lora", 0.1 * rank * f, fraction=f, train=int(1000 * f)) for f in fractions]
        configs = [one.config | {"method": one.config["method"] | {"targets": targets, "rank": rank}} for one in made]
        return [replace(one, run_id=run_id(c), config=c) for one, c in zip(made, configs, strict=True)]

    alone = data_size.data(material_of(*sized("default", 8, 0.1, 1.0), *sized("query", 8, 1.0)))
    assert set(alone["label"]) == {"lora"}
    several = data_size.data(
        material_of(*sized("default", 8, 0.1, 1.0), *sized("default", 1, 0.1, 1.0), *sized("query", 8, 1.0))
    )
    assert list(several["label"]) == ["lora, rank=1"] * 2 + ["lora, rank=8"] * 2


def test_a_curve_is_the_mean_where_all_seeds_have_a_value_in_even_stretches():
    one, other = {1: 4.0, 2: 2.0, 3: 9.0}, {1: 2.0, 2: 0.0}
    assert curves.averaged([one, other]) == [(1.0, 3.0), (2.0, 1.0)]
    assert curves.averaged([{n: float(n) for n in range(1, 7)}], most=3) == [(1.5, 1.5), (3.5, 3.5), (5.5, 5.5)]
    assert curves.averaged([{}]) == []


def test_a_cost_comes_from_the_runs_that_measured_it_best():
    shared = {"shared": True, "cells_before": 3}
    lora, ia3 = (
        figure_record("lora", step=9.0, environment=shared),
        figure_record("ia3", step=5.0, trained=7.0, environment=shared),
    )
    drawn = known()["step_time"].data(material_of(lora, ia3)).set_index("method")
    assert (dict(drawn["cost"]), set(drawn["measured"])) == ({"lora": 9000, "ia3": 5000}, {"beside other runs"})
    assert known()["memory"].data(material_of(lora, ia3)).empty  # of a process that had run others before
    made = [
        figure_record("lora", 0.0, budget="cost", step=s, seed=i, memory=3e8) for i, s in enumerate((1.0, 3.0, 2.0))
    ]
    drawn = known()["step_time"].data(material_of(lora, *made)).set_index("method")
    assert (dict(drawn["cost"]), set(drawn["measured"])) == ({"lora": 2000}, {"alone"})  # the median
    drawn = known()["step_time"].data(material_of(lora, ia3, *made)).set_index("method")
    assert dict(drawn["cost"]) == {"lora": 9000, "ia3": 5000}  # ia3 was not measured so: the two do not mix
    made.append(figure_record("ia3", 0.0, budget="cost", step=1.5, trained=7.0))
    drawn = known()["step_time"].data(material_of(lora, ia3, *made)).set_index("method")
    assert (dict(drawn["cost"]), set(drawn["measured"])) == ({"lora": 2000, "ia3": 1500}, {"alone"})
    assert dict(known()["memory"].data(material_of(lora, *made)).set_index("method")["cost"]) == {"lora": 300}
    other = figure_record("lora", 0.0, budget="cost", step=1.0, trained=8.0)  # another rank
    assert dict(known()["step_time"].data(material_of(lora, other)).set_index("method")["cost"]) == {"lora": 9000}
    assert "cost" not in set(
        known()["parameters"].data(material_of(lora, *made))["budget"]
    )  # their scores mean nothing


def test_random_weights_and_fewer_data_are_no_part_of_a_front():
    best = figure_record("ia3", 0.99, weights="random", trained=1.0)
    few = figure_record("full", 0.98, fraction=0.1, train=50, trained=1.0)
    table = known()["parameters"].data(material_of(figure_record("lora", 0.5), best, few)).set_index("method")
    assert dict(table["front"]) == {"lora": True, "ia3": False}


def test_a_shifted_test_is_drawn_by_its_own_headline():
    one = figure_record(seed=0, shifted=0.1)
    own = (*one.measurements, Measurement("test/fold", "rmse", 7.5))
    found = material_of(replace(one, data={**one.data, "headlines": {"test/fold": "rmse"}}, measurements=own))
    shift = known()["shift"].data(found).iloc[0]
    assert (shift["metric"], shift["measured"], shift["shifted"]) == ("spearman", "rmse", 7.5)
    (picture,) = pictures_of(found, "shift")
    axes = known()["shift"].draw(picture.table, "two").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "test Spearman (mean over seeds)",
        "test/fold rmse (mean over seeds)",
    )


def test_shift_and_retention_are_means_over_seeds():
    found = material_of(
        figure_record(seed=0, shifted=0.1, retention=-0.1), figure_record(seed=1, shifted=0.3, retention=0.4)
    )
    shift, retention = known()["shift"].data(found).iloc[0], known()["retention"].data(found).iloc[0]
    assert (shift["shift"], shift["score"], shift["shifted"]) == ("fold", 0.5, pytest.approx(0.2))
    assert retention["retention"] == pytest.approx(0.15)


def test_ranks_are_by_task_with_the_mean_first():
    table = known()["ranks"].data(material_of(*figure_records()))
    full = table[table["method"] == "full"]
    # on nmt full and lora alone were run, and score alike on all the data; on parts of it is another comparison
    assert dict(zip(full["task"], full["rank"], strict=True)) == {"nmt": 1.5, "protein": 1, "speech": 1}
    assert set(table["method"]) == {"full", "lora"}
    assert table["mean_rank"].is_monotonic_increasing


def test_marks_of_one_method_and_rank_stand_apart_within_their_row():
    table = pd.DataFrame({"method": ["a", "a", "a", "a", "b"], "rank": [1.0, 1.0, 1.0, 2.0, 1.0]})
    first, second, third, *alone = ranks.offsets(table)
    assert alone == [0, 0]
    assert -0.5 < first < second < third < 0.5
    assert second - first == pytest.approx(third - second)


@pytest.mark.parametrize("figure", sorted(known()))
def test_a_title_holds_no_name_of_a_file(figure, figure_results):
    for picture in pictures_of(material(frame.load(figure_results), figure_results), figure)[:2]:
        with matplotlib.rc_context(style.RC):
            drawn = known()[figure].draw(picture.table, "two")
        texts = [text.get_text() for part in (drawn, *drawn.axes) for text in part.texts]
        texts += [axes.get_title(side) for axes in drawn.axes for side in ("left", "center")]
        assert known()[figure].TITLE in texts
        assert not [text for text in texts if "_tuned" in text or "until=" in text]


def test_without_a_known_cost_there_is_nothing_to_draw_against():
    assert pictures_of(material_of(figure_record("frozen", trained=0.0, memory=math.nan)), "memory") == []

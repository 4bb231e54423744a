"""Selection: which trial is chosen, and which view a record belongs to."""

import math
from dataclasses import replace
from functools import cache

import pytest
from factories import make_record

from benchmark.config.compose import cell_of, choices_of
from benchmark.config.trials import ranking, select
from benchmark.errors import InputError, NoSelectionError
from benchmark.identity import run_id
from benchmark.records import Measurement, Store
from benchmark.report.views import views


@cache
def choices(*words):
    return choices_of(cell_of(["task=nmt", "method=lora", *words]))


def record(trial, seed, loss, size=10, status="done", bleu=None, **more):
    config = choices("phase=tune", f"trial={trial}", f"seed={seed}") | more
    found = {
        ("valid", "loss"): loss,
        ("cost", "trainable_params"): None if loss is None else size,
        ("valid", "bleu"): bleu,
    }
    measured = [Measurement(*names, value) for names, value in found.items() if value is not None]
    return make_record(config, *measured, backbone="mbart_cldr", status=status, environment={}, data={"metric": "bleu"})


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

"""The score of a constant answer, and another score as the headline: both by hand-computed values."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from factories import UNWEIGHTED, run_cell
from hydra.utils import get_class

from benchmark import run
from benchmark.config.compose import cell_of, choices_of
from benchmark.config.headlines import headline_of, offered
from benchmark.config.registry import names, node
from benchmark.errors import InputError
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from benchmark.records.configurations import configurations
from benchmark.records.headline import agreed, lower_is_better
from benchmark.report import frame
from benchmark.report.__main__ import judge
from benchmark.report.comparisons import tables
from benchmark.report.page.shelf import COLUMNS, Shelf
from benchmark.report.tables.overview import overview
from benchmark.report.tables.scores import table
from benchmark.sweeps import screen
from benchmark.types import Example, Task
from tasks.answers.classification import Classification
from tasks.answers.tagging import Tagging
from tasks.speech import SpeakerVerification
from tasks.text_generation import TextGeneration

YES = [("yes",)] * 12 + [("no",)]


def examples(*targets):
    return [Example(str(i), "", (target,)) for i, target in enumerate(targets)]


def test_a_class_for_all_has_the_shares_of_training_as_its_probabilities():
    answer, scores = Classification(**UNWEIGHTED).constant(examples(*["yes"] * 9, "no"), YES)
    assert answer == "yes"
    by_hand = {"accuracy": 12 / 13, "balanced_accuracy": 1 / 2, "macro_f1": 0.96 / 2, "mcc": 0.0}
    by_hand |= {"auroc": 0.5, "aupr": 12 / 13, "log_loss": -(12 * math.log(0.9) + math.log(0.1)) / 13}
    assert {name: scores[name] for name in by_hand} == pytest.approx(by_hand)


def test_one_label_for_every_position_that_counts():
    answer, scores = Tagging().constant(examples(("H", "H", None), ("E",)), [(("H", None, "E"),), (("H",),)])
    assert (answer, scores["accuracy"]) == ("H", pytest.approx(2 / 3))


def test_one_text_for_all_is_the_most_frequent_first_target_and_asks_no_further_metric():
    task = generation(metrics=[__file__])  # no metric: it would break
    answer, scores = task.constant(examples("no", "yes", "yes "), YES)
    assert (answer, scores["exact_match"]) == ("yes", pytest.approx(100 * 12 / 13))
    assert task.constant(examples("b", "a"), YES).answer == "a"  # as frequent: the first by name
    assert "perplexity" not in scores


def test_clips_that_are_all_alike_tell_no_two_speakers_apart():
    task = SpeakerVerification(
        **UNWEIGHTED, description="", version=1, data=None, skip_bad=False, max_seconds=1.0, noise=None
    )
    scores = task.constant(examples("ann", "bob"), [("cid",), ("cid",), ("dan",)]).scores
    assert scores["verification_accuracy"] == 0.5


def generation(**changes):
    fields = {"description": "", "version": 1, "data": None, "template": "{source}", "order": None, "extract": None}
    limits = {"max_source_tokens": 8, "max_target_tokens": 8, "metrics": [], "allow_metric_code": False}
    return TextGeneration(**{**fields, **limits, **changes})


@pytest.fixture(scope="session")
def overrides(tiny_causal, tmp_path_factory):
    """A task of 13 answers of which 12 are yes."""
    folder = tmp_path_factory.mktemp("yes")
    for name in ("train", "valid", "test"):
        rows = [json.dumps({"q": f"{name} {i}", "a": "no" if i == 5 else "yes"}) for i in range(13)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    files = [f"data.{name}={folder / name}.jsonl" for name in ("train", "valid", "test")]
    columns = ["data.columns.source=q", "data.columns.target=a", "backbone=causal_lm", "backbone.lr_scale=1"]
    budget = ["budget=smoke", "budget.steps=2", f"backbone.checkpoint={tiny_causal}"]
    return ["method=lora", "task=text_generation", "data=files", *files, *columns, *budget]


def test_a_run_holds_the_constant_answers_scores_beside_its_own(overrides):
    result = run_cell(cell_of(overrides))
    found = {(m.split, m.name): m.value for m in result.measurements if m.name.startswith("majority_")}
    assert result.data["majority"] == "yes"
    assert {found[split, "majority_exact_match"] for split in ("valid", "test")} == {100 * 12 / 13}
    assert {name for _, name in found} == {f"majority_{name}" for name in ("bleu", "chrf", "rouge_l", "exact_match")}


def record(method="lora", seed=0, task="yes", headline=None, **values):
    config = {"task": {"name": task}, "method": {"name": method}, "backbone": {}, "budget": {"name": "b"}, "seed": seed}
    data = {"metric": "bleu", "fingerprint": "f", "majority": "yes"} | ({"headline": headline} if headline else {})
    measured = [Measurement("test", name, value) for name, value in values.items()]
    names = {"task": task, "method": method, "backbone": "tiny", "seed": seed, "status": "done"}
    return Record(run_id=f"{method} {seed}", config=config, data=data, measurements=tuple(measured), **names)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bleu": 40.0, "exact_match": 92.0, "majority_exact_match": 92.0}, ["'yes': exact_match 92)"]),
        ({"bleu": 40.0, "majority_bleu": 41.0}, ["'yes': bleu 41)"]),
        ({"bleu": 40.0, "exact_match": 92.1, "majority_bleu": 39.0, "majority_exact_match": 92.0}, []),
        ({"bleu": 40.0, "exact_match": 2.0}, []),  # of an older record
        ({"bleu": 1.5}, ["bleu 1.50 of 100 is near zero"]),
        ({"bleu": 2.5}, []),
    ],
)
def test_the_screen_says_which_scores_are_at_their_floor(values, said, capsys, monkeypatch):
    monkeypatch.setattr(screen, "console", screen.Console(width=300))
    notes = screen.notes(record(**values))
    screen.line(record(**values))
    line = capsys.readouterr().out
    for text in (notes, line):
        assert [part in text for part in said] == [True] * len(said)
        assert ("not above one answer" in text or "near zero" in text) == bool(said)


def test_tables_mark_the_mean_that_is_not_above_one_answer():
    floor = {"majority_bleu": 40.0}
    runs = [record("lora", seed, bleu=bleu, **floor) for seed, bleu in enumerate((39.0, 41.0))]  # 40 in the mean
    runs += [record("full", seed, bleu=bleu, **floor) for seed, bleu in enumerate((39.0, 42.0))]
    runs += [record("frozen", bleu=1.0)]  # of an older version
    [members] = tables([("yours", one) for one in runs]).values()
    made = table("yes", members)
    marked = {row[2]: "§" in row[3] for row in made.rows}
    assert marked == {"lora": True, "full": False, "frozen": False}
    assert "§ not above one answer for every example" in made.legend
    assert "§" not in table("yes", [one for one in members if one.method == "full"]).legend
    both = overview("b", {"yes": members, "no": configurations([("yours", record(task="no", bleu=1.0))])})
    assert {row[0]: "§" in row[1] for row in both.rows} == marked
    known = configurations([("yours", one) for one in runs])
    assert "§ not above" in screen.comparison(runs[0], known).caption


# Another headline


def test_a_headline_is_no_choice(overrides):
    plain, other = cell_of(overrides), cell_of([*overrides, "task.metric=exact_match"])
    assert (plain.headline, other.headline) == (None, "exact_match")
    assert choices_of(plain) == choices_of(other)
    assert cell_of([*overrides, "task.metric=bleu"]).headline is None  # the task's own


@pytest.mark.parametrize(
    ("task", "metric", "reason"),
    [
        ("text_generation", "exact_mach", "did you mean exact_match"),
        ("nmt", "exact_match", "no score 'exact_match'.*known: bleu, chrf"),
        ("nmt", "perplexity", "of perplexity lower is better"),
        ("protein", "mse", "of mse lower is better"),
        ("speech", "balanced_accuracy", "did you mean .*accuracy"),
        ("speech", "[accuracy]", "task.metric: "),
    ],
)
def test_a_headline_that_is_no_score_or_has_the_wrong_order_is_refused(task, metric, reason):
    with pytest.raises(InputError, match=reason):
        cell_of([f"task={task}", "method=lora", f"task.metric={metric}"])


@pytest.mark.parametrize("name", names("task"))
def test_every_task_lists_its_headline_among_scores_of_which_higher_is_better(name):
    fields = node("task", name)
    task = object.__new__(get_class(fields["_target_"]))  # without the data that some have to be given
    task.__dict__.update({**fields, "_metrics": {}})
    assert task.metric in task.scores()
    assert not any(map(lower_is_better, task.scores()))


def test_the_scores_that_are_listed_are_those_that_are_computed():
    classes = Classification(**UNWEIGHTED).constant(examples("yes", "no"), YES).scores
    labels = Tagging().constant(examples(("H",)), [(("H",),)]).scores
    texts = generation().constant(examples("yes"), YES).scores
    for listed, computed in ((Classification(**UNWEIGHTED), classes), (Tagging(), labels), (generation(), texts)):
        assert set(listed.scores()) == {score for score in computed if not lower_is_better(score)}


def test_a_metric_of_the_configuration_may_be_the_headline():
    task = generation()
    task.__dict__["_metrics"] = {
        "mine": SimpleNamespace(compute=lambda predictions, references: {"mine": 1.0, "wer": 0.0})
    }
    assert task.scores()[-2:] == ("mine", "wer")
    assert lower_is_better("wer")


def test_a_task_that_lists_no_scores_offers_those_that_it_computes():
    scores = {"own": 1.0, "other": 0.5, "brier": 0.1}
    listless = type("Listless", (TextGeneration,), {"metric": "own", "scores": Task.scores, "score": lambda *_: scores})
    listless.extract = None
    task = object.__new__(listless)
    assert {"own", "other"} == {*offered(task)}
    assert headline_of(task, "other") == "other"
    with pytest.raises(InputError, match="did you mean other"):
        headline_of(task, "othr")


def test_the_page_marks_a_run_at_its_floor(tmp_path):
    low, high = record(bleu=40.0, majority_bleu=41.0), record(seed=1, bleu=42.0, majority_bleu=41.0)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in Shelf([("yours", low), ("yours", high)]).rows()]
    assert [(row["score"], row["marks"]) for row in rows] == [(40, "§"), (42, "")]
    assert "not above one answer" in rows[0]["reason"]


def test_a_cell_that_is_recorded_under_another_headline_is_shown_and_not_run(overrides, tmp_path, capsys):
    words = [*overrides, f"results={tmp_path}", "device=cpu"]
    first = run.execute(*words)
    capsys.readouterr()
    again = run.execute(*words, "task.metric=exact_match")
    shown = capsys.readouterr().out
    assert (again.created, again.run_id) == (first.created, first.run_id)
    assert "already recorded" in shown
    assert "exact_match on test, same task" in shown
    assert (first.headline(), again.headline()) == ("bleu", "exact_match")
    [stored] = Store(tmp_path / "runs").records()
    assert stored == first
    other = run.execute(*words, "seed=1", "task.metric=exact_match")
    assert other.headline() == "exact_match"
    assert run.execute(*words, "seed=1").headline() == "bleu"
    assert "bleu on test, same task" in capsys.readouterr().out
    assert run_id(other.config) == other.run_id
    sweep = ["-m", *words, "seed=0,1"]
    assert run.main(sweep) == 0
    capsys.readouterr()
    assert run.main([*sweep, "task.metric=exact_match"]) == 0
    assert "estimated time" not in capsys.readouterr().out  # which is that of missing cells
    assert run.main([*sweep, "task.metric=exact_mach"]) == 2
    assert "did you mean exact_match" in capsys.readouterr().err


def test_all_records_of_a_task_have_one_headline():
    scores = {"bleu": 1.0, "exact_match": 50.0}
    runs = [("yours", record("lora", seed, headline=name, **scores)) for seed, name in enumerate((None, "exact_match"))]
    runs += [("yours", record("full", headline="exact_match", **scores)), ("yours", record(task="no", bleu=3.0))]
    shown, said = agreed(runs)
    assert [r.headline() for _, r in shown] == ["exact_match"] * 3 + ["bleu"]
    assert said == ["runs of yes name several headlines (bleu, exact_match): shown by exact_match; metric= chooses"]
    runs += [("shipped", record("dora", seed, bleu=1.0)) for seed in range(3)]  # without exact match
    assert {r.headline() for _, r in agreed(runs)[0]} == {"bleu"}
    shown, said = agreed(runs, "exact_match")
    assert {r.headline() for _, r in shown if r.task == "yes"} == {"exact_match"}
    assert {r.headline() for _, r in shown if r.task == "no"} == {"bleu"}  # it has no such score
    assert said == []
    for asked, reason in (("exact_mach", "did you mean exact_match"), ("perplexity", "lower is better")):
        with pytest.raises(InputError, match=reason):
            agreed(runs, asked)


def test_a_table_never_mixes_headlines(tmp_path):
    store = Store(tmp_path / "runs")
    for method, headline in (("lora", None), ("full", "exact_match"), ("dora", "exact_match")):
        one = record(method, headline=headline, bleu=1.0, exact_match=50.0)
        store.append(replace(one, run_id=run_id(one.config)), None)
    with pytest.warns(UserWarning, match="several headlines"):
        runs = frame.load(tmp_path)
    [members] = tables(runs).values()
    made = table("yes", members)
    assert made.header[3] == "test exact_match"
    assert {row[3] for row in made.rows} == {"50.00"}
    assert set(frame.tidy(runs)["metric"]) == {"exact_match"}


@pytest.mark.parametrize(("name", "drawn"), [("rouge_l", False), ("exact_match", True), ("bleu", True)])
def test_a_table_says_where_a_score_has_no_bootstrap(name, drawn):
    one = record(headline=name, bleu=1.0, exact_match=1.0, rouge_l=1.0)
    legend = table("yes", configurations([("yours", one)])).legend
    assert ("no bootstrap over test examples is made" in legend) != drawn


def test_claims_are_not_judged_by_another_score_than_they_are_about(capsys):
    runs = [("yours", record(task="nmt", bleu=1.0, exact_match=1.0).under("exact_match"))]
    results = Path(__file__).parents[1] / "results"
    assert judge(SimpleNamespace(runs=runs, results=results)) is None
    assert "claims are left out: another score of nmt is shown" in capsys.readouterr().err


def test_shifted_tests_are_shown_by_the_headline_that_was_asked_for():
    one = replace(record(bleu=1.0), data={"metric": "bleu", "headlines": {"test/names": "chrf++"}})
    assert one.headline("test/names") == "chrf++"
    other = one.under("exact_match")
    assert {other.headline(split) for split in ("test", "test/names")} == {"exact_match"}
    assert [other.under(name).headline("test/names") for name in ("bleu", None)] == ["chrf++"] * 2
    assert other == one  # its answers are looked up by what was recorded


def test_a_plug_ins_task_has_its_own_headline_alone():
    assert Task.scores(SimpleNamespace(metric="points")) == ("points",)
    assert Task.constant(None, [], []) is None

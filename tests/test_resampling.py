"""Scores of drawn test sets are the tasks' own scores of the repeated rows."""

import numpy as np
import pytest

from benchmark.report.statistics.bootstrap import SCORES, counts, groups_of, prepare, redraw
from tasks.scores import by_class, by_edits, by_probability, by_value, log_loss, unlikelihood
from tasks.text import likelihood_scores

RNG = np.random.default_rng(0)
WORDS = ["a", "cat", "sat", "on", "the", "mat", "again", "quite"]


def texts(n):
    return [" ".join(RNG.choice(WORDS, RNG.integers(1, 9))) for _ in range(n)]


def bleu(targets, said):
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize="13a").corpus_score(said, [[t[0] for t in targets], [t[-1] for t in targets]]).score


CASES = {  # metric -> targets, answers, the score as the task computes it
    "bleu": ([[a, b] for a, b in zip(texts(30), texts(30), strict=True)], texts(30), bleu),
    "accuracy": (
        [[x] for x in RNG.choice(list("abc"), 30)],
        list(RNG.choice(list("abcd"), 30)),
        lambda t, p: by_class([x[0] for x in t], p)["accuracy"],
    ),
    "exact_match": (
        [[f" {a}\n", b] for a, b in zip(RNG.choice(list("abc"), 30), RNG.choice(list("abc"), 30), strict=True)],
        list(RNG.choice(list("abcd"), 30)),
        lambda t, p: 100 * np.mean([said in (x[0].strip(), x[1]) for x, said in zip(t, p, strict=True)]),
    ),
    "macro_f1": (
        [[x] for x in RNG.choice(list("abcdefgh"), 30)],  # some draws lack a class
        list(RNG.choice(list("abcdefghi"), 30)),
        lambda t, p: by_class([x[0] for x in t], p)["macro_f1"],
    ),
    "balanced_accuracy": (
        [[x] for x in RNG.choice(list("abcdefgh"), 30)],
        list(RNG.choice(list("abcdefghi"), 30)),
        lambda t, p: by_class([x[0] for x in t], p)["balanced_accuracy"],
    ),
    "character_accuracy": (
        [[x] for x in texts(30)],
        texts(30),
        lambda t, p: by_edits([x[0] for x in t], p)["character_accuracy"],
    ),
    "spearman": (
        [[float(x)] for x in RNG.integers(0, 9, 30)],  # with ties
        [float(x) for x in RNG.integers(0, 9, 30)],
        lambda t, p: by_value([x[0] for x in t], p)["spearman"],
    ),
}
CASES["unweighted_average_recall"] = CASES["balanced_accuracy"]
SIGNATURES = {"bleu": "nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"}


@pytest.mark.parametrize("metric", CASES)
def test_a_drawn_score_is_the_tasks_score_of_the_repeated_rows(metric):
    targets, answers, task_score = CASES[metric]
    rows = [{"target": t, "prediction": p} for t, p in zip(targets, answers, strict=True)]
    drawn = np.vstack([np.ones(30, int), counts([str(i) for i in range(30)], 20)])
    expected = [task_score([targets[i] for i in np.repeat(range(30), w)], list(np.repeat(answers, w))) for w in drawn]
    assert prepare(metric, rows, SIGNATURES)(drawn) == pytest.approx(expected, abs=1e-9)
    assert len(set(np.round(expected, 6))) > 5


def test_probabilities_are_ranked_as_the_task_ranks_them():
    truth = list(RNG.choice(["no", "yes"], 40))
    rows = [
        {"target": [t], "probabilities": {"no": 1 - p, "yes": p}} for t, p in zip(truth, RNG.random(40), strict=True)
    ]
    drawn = counts([str(i) for i in range(40)], 10)
    expected = [
        by_probability([truth[i] for i in np.repeat(range(40), w)], [rows[i] for i in np.repeat(range(40), w)])["aupr"]
        for w in drawn
    ]
    assert prepare("aupr", rows, {})(drawn) == pytest.approx(expected)


def likelihoods(unit, n=25):
    return [
        {"target": ["x"], "prediction": "x", "nll": float(v), "tokens": 3, unit: int(k)}
        for v, k in zip(RNG.gamma(2, 3, n), RNG.integers(1, 9, n), strict=True)
    ]


def classes(n=25):
    rows = []
    for _ in range(n):
        odds = dict(zip("abc", RNG.dirichlet([1, 1, 1]).round(6).tolist(), strict=True))
        rows.append({"target": [RNG.choice(list("abc"))], "prediction": max(odds, key=odds.get), "probabilities": odds})
    return [*rows, {"target": ["b"], "prediction": "", "probabilities": {}}]


PROPER = {  # metric -> stored rows, the score as the task computes it
    "bits_per_byte": (likelihoods("bytes"), lambda rows: likelihood_scores(rows)["bits_per_byte"]),
    "log_loss": (classes(), lambda rows: log_loss([row["target"][0] for row in rows], rows)["log_loss"]),
    "nats_per_character": (likelihoods("characters"), lambda rows: unlikelihood("n", rows, "characters")["n"]),
    "mse": (
        [{"target": [float(t)], "prediction": float(p)} for t, p in zip(RNG.random(25), RNG.random(25), strict=True)],
        lambda rows: by_value([r["target"][0] for r in rows], [r["prediction"] for r in rows])["mse"],
    ),
    "log_loss of residues": (likelihoods("positions"), lambda rows: unlikelihood("n", rows, "positions")["n"]),
}


@pytest.mark.parametrize("metric", PROPER)
def test_a_drawn_proper_score_is_the_tasks_score_of_the_repeated_rows(metric):
    rows, task_score = PROPER[metric]
    drawn = np.vstack([np.ones(len(rows), int), counts([str(i) for i in range(len(rows))], 20)])
    expected = [task_score([rows[i] for i in np.repeat(range(len(rows)), weights)]) for weights in drawn]
    assert prepare(metric.split()[0], rows, {})(drawn) == pytest.approx(expected)
    assert len(set(np.round(expected, 6))) > 15


def test_whole_groups_are_drawn_and_an_example_without_one_is_its_own():
    rows = [{"group": group} for group in ("ann", "bob", "ann", None, "bob", None, "ann")]
    groups = groups_of(rows)
    drawn = counts([str(i) for i in range(7)], 400, groups)
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, 0] == drawn[:, 6]).all()
    assert (drawn[:, 1] == drawn[:, 4]).all()
    assert (drawn[:, [0, 1, 3, 5]].sum(1) == 4).all()  # as many groups as there are
    assert np.unique(drawn[:, [0, 1, 3, 5]], axis=0).shape[0] > 30
    assert drawn[:, [0, 1, 3, 5]].mean(0) == pytest.approx(np.ones(4), abs=0.15)
    assert groups_of([{"id": "1"}, {"id": "2"}]) is None


def test_positions_count_each_and_what_was_cut_off_is_wrong():
    rows = [{"target": [["H", None, "E"]], "prediction": ["H", "H"]}, {"target": [["C"]], "prediction": ["C"]}]
    assert prepare("accuracy", rows, {})(np.array([[1, 1], [2, 0]])) == pytest.approx([2 / 3, 1 / 2])


def unscored():
    """Return rows by score; a drawn set without the third row has nothing to divide by."""
    sizes, odds = [0, 0, 9, 0, 0, 0, 0], [0.3, 0.9, 0.4, 0.2, 0.6, 0.1, 0.7]
    probabilities = [{"no": 1 - p, "yes": p} for p in odds]
    texts = [{"target": ["x"], "nll": 3.0 * n, "bytes": n} for n in sizes]
    labels = [{"target": ["yes" if i == 2 else "no"], "probabilities": p} for i, p in enumerate(probabilities)]
    return {"bits_per_byte": texts, "aupr": labels}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ["bits_per_byte", "aupr"])
def test_another_set_stands_for_one_that_has_no_score(metric):
    drawn = counts([str(i) for i in range(7)], 300)
    scores = prepare(metric, unscored()[metric], {})(drawn)
    assert (np.isnan(scores) == (drawn[:, 2] == 0)).all()
    assert 60 < np.isnan(scores).sum() < 140  # (6 / 7) ** 7 of 300 is 102
    known = redraw(scores)
    assert np.array_equal(known[~np.isnan(scores)], scores[~np.isnan(scores)])
    assert known.mean() == pytest.approx(np.nanmean(scores), rel=0.05)
    assert known.std() == pytest.approx(np.nanstd(scores), rel=0.1)
    assert redraw(np.full(4, np.nan)).size == 0


def test_same_examples_are_drawn_alike_and_as_often_as_there_are():
    ids = [f"test/{i}" for i in range(50)]
    assert (counts(ids, 100) == counts(list(ids), 100)).all()
    assert (counts(ids, 100).sum(1) == 50).all()
    assert (counts(ids, 100) != counts(ids[::-1], 100)).any()


def test_a_score_that_is_no_sum_and_rows_that_lack_something_have_no_draws():
    assert prepare("verification_accuracy", [{"target": ["a"], "prediction": "a"}], {}) is None
    assert prepare("bleu", [{"target": ["a"], "prediction": "a"}], {}) is None  # no signature: tokenised how?
    assert all(prepare(metric, [{"id": "1"}], SIGNATURES) is None for metric in SCORES)
    assert prepare("accuracy", [], {}) is None

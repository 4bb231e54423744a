"""Headline scores of test sets drawn with replacement (bootstrap).

A drawn set is a count for each stored example.

A score is prepared once from the rows of a record, and then computed for many draws at a time from sums over examples.
It is the score that the task computes of the same rows, each repeated as often as it is counted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.report.statistics import labels, rankings

DRAWS = 1000
LEAST = 5e-7  # probabilities are stored with six digits
Row = Mapping[str, Any]
Score = Callable[[np.ndarray], np.ndarray]  # counts [draws, examples] -> scores [draws]


def counts(ids: Sequence[str], draws: int = DRAWS, groups: Sequence[str] | None = None) -> np.ndarray:
    """Draw counts of examples, [draws, examples].

    The same examples give the same draws, so that differences are paired.

    Where examples come in groups, whole groups are drawn: those of one speaker are no independent evidence.
    """
    seed = int.from_bytes(hashlib.sha256("\n".join(ids).encode("utf-8", "surrogatepass")).digest()[:8])
    drawn_groups = range(len(ids)) if groups is None else groups
    numbers = {group: number for number, group in enumerate(dict.fromkeys(drawn_groups))}
    drawn = np.random.default_rng(seed).multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=draws)
    return drawn[:, [numbers[group] for group in drawn_groups]]


def groups_of(rows: Sequence[Row]) -> list[str] | None:
    """Name the group of each row; None where no row has a group.

    A row without a group is a group by itself.
    """
    groups = [row.get("group") for row in rows]
    if not any(group is not None for group in groups):
        return None
    return [f"example {number}" if group is None else f"group {group}" for number, group in enumerate(groups)]


def prepare(metric: str, rows: Sequence[Row], signatures: Mapping[str, str]) -> Score | None:
    """Prepare a headline score for drawn sets.

    None for a score that is no sum over examples, or where rows lack a field.
    """
    score = SCORES.get(metric) or rankings.named(metric)
    if score is None or not rows:
        return None
    try:
        return score(rows, signatures.get(metric, ""))
    except (KeyError, TypeError, ValueError, IndexError, StopIteration, ZeroDivisionError):  # rows of another version
        return None


def over_folds(scores: Sequence[Score], drawn: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Average the scores of the folds of one seed, each by the share of its examples that is drawn.

    Sets are drawn from the examples of all folds, [draws, examples], fold by fold; a fold may happen to have none. If
    every example is drawn once, this is the mean over the folds.
    """
    if len(scores) == 1:
        return scores[0](drawn)
    total, weights = np.zeros(len(drawn)), np.zeros(len(drawn))
    for score, part in zip(scores, np.split(drawn, np.cumsum(sizes)[:-1], axis=1), strict=True):
        share = part.mean(1)
        there = share > 0
        total[there] += share[there] * score(part[there])
        weights += share
    return total / weights


def redraw(scores: np.ndarray) -> np.ndarray:
    """Put other drawn sets in place of those that have no score.

    A score may lack what it divides by: there are sets without a byte of text, or without a true positive. Which sets
    these are follows from the targets, so that settings stay paired. Empty where no set has a score.
    """
    defined = scores[np.isfinite(scores)]
    return np.where(np.isfinite(scores), scores, np.resize(defined, len(scores))) if defined.size else defined


def _bleu(rows: Sequence[Row], signature: str) -> Score:
    from sacrebleu.metrics import BLEU

    options = dict(part.split(":", 1) for part in signature.split("|"))
    metric = BLEU(tokenize=options["tok"], smooth_method=options["smooth"], effective_order=True)  # of sentences only
    sentences = [metric.sentence_score(row["prediction"], row["target"]) for row in rows]
    table = np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in sentences])

    def score(drawn: np.ndarray) -> np.ndarray:
        sums = (drawn @ table).astype(int)
        parts = [(list(s[:4]), list(s[4:8]), s[8], s[9]) for s in sums.tolist()]
        return np.array([BLEU.compute_bleu(*part, smooth_method=options["smooth"]).score for part in parts])

    return score


def _ratio(top: Sequence[float], bottom: Sequence[float]) -> Score:
    columns = np.array([top, bottom], dtype=float).T

    def score(drawn: np.ndarray) -> np.ndarray:
        sums = drawn @ columns
        return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(drawn), np.nan), where=sums[:, 1] > 0)

    return score


def _accuracy(rows: Sequence[Row], _: str) -> Score:
    right, asked = [], []
    for row in rows:
        target, answer = row["target"][0], row["prediction"]
        if isinstance(target, list):  # a label per position; one that was cut off is a wrong answer
            answer = [*answer, *[""] * (len(target) - len(answer))]
            pairs = [(str(t), a) for t, a in zip(target, answer, strict=True) if t is not None]
        else:
            pairs = [(str(target), answer)]
        right.append(sum(t == a for t, a in pairs))
        asked.append(len(pairs))
    return _ratio(right, asked)


def _accuracy_unnormalised(rows: Sequence[Row], _: str) -> Score:
    """Prepare the share of rows whose likeliest choice is right; without choices, the answer is looked at."""
    costs = [[choice["nll"] for choice in row["choices"]] for row in rows]
    chosen = [str(1 + c.index(min(c))) if c else row["prediction"] for c, row in zip(costs, rows, strict=True)]
    return _accuracy([{**row, "prediction": answer} for row, answer in zip(rows, chosen, strict=True)], "")


def _exact_match(rows: Sequence[Row], _: str) -> Score:
    right = [row["prediction"] in map(str.strip, row["target"]) for row in rows]
    return _ratio([100.0 * hit for hit in right], np.ones(len(rows)))


def _extracted_match(rows: Sequence[Row], _: str) -> Score:
    return _ratio([100.0 * (row["extracted"] in row["expected"]) for row in rows], np.ones(len(rows)))


def _character_accuracy(rows: Sequence[Row], _: str) -> Score:
    import jiwer

    aligned = [jiwer.process_characters(row["target"][0], row["prediction"]) for row in rows]
    wrong = [f.substitutions + f.deletions + f.insertions for f in aligned]
    length = [f.substitutions + f.deletions + f.hits for f in aligned]
    return _ratio([n - w for n, w in zip(length, wrong, strict=True)], length)


def _by_class(measure: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., Score]:
    """Average a measure of (hits, true, answered) over the drawn classes."""

    def prepare(rows: Sequence[Row], _: str) -> Score:
        _, true, answered = labels.marks(rows)

        def score(drawn: np.ndarray) -> np.ndarray:
            support = drawn @ true
            values = measure(drawn @ (true & answered), support, drawn @ answered)
            return np.where(support > 0, values, 0).sum(1) / (support > 0).sum(1)

        return score

    return prepare


def _f1(hits: np.ndarray, true: np.ndarray, answered: np.ndarray) -> np.ndarray:
    return 2 * hits / np.maximum(true + answered, 1)


def _recall(hits: np.ndarray, true: np.ndarray, answered: np.ndarray) -> np.ndarray:
    return hits / np.maximum(true, 1)


def _spearman(rows: Sequence[Row], _: str) -> Score:
    columns = [np.array([float(row["target"][0]) for row in rows]), np.array([row["prediction"] for row in rows])]
    ties = [np.unique(values, return_inverse=True)[1] for values in columns]

    def ranks(drawn: np.ndarray, tie: np.ndarray) -> np.ndarray:
        sizes = drawn @ np.eye(tie.max() + 1)[tie]  # of each group of equal values
        return (sizes.cumsum(1) - sizes + (sizes + 1) / 2)[:, tie]

    def score(drawn: np.ndarray) -> np.ndarray:
        one, other = (ranks(drawn, tie) for tie in ties)
        total = drawn.sum(1, keepdims=True)
        one, other = (r - (drawn * r).sum(1, keepdims=True) / total for r in (one, other))
        spread = np.sqrt((drawn * one**2).sum(1) * (drawn * other**2).sum(1))
        return np.divide((drawn * one * other).sum(1), spread, out=np.zeros(len(drawn)), where=spread > 0)

    return score


def _aupr(rows: Sequence[Row], _: str) -> Score:
    from sklearn.metrics import average_precision_score

    if isinstance(rows[0]["target"][0], list):  # of labels: hundreds of curves for each draw would take minutes
        raise TypeError("lists of labels")
    classes = list(rows[0]["probabilities"])
    chosen = classes[1:] if len(classes) == 2 else classes
    truth = np.array([str(row["target"][0]) for row in rows])
    likely = {c: np.array([row["probabilities"][c] for row in rows]) for c in chosen}

    def one(weights: np.ndarray) -> float:
        held = [c for c in chosen if weights[truth == c].any()]
        precisions = [average_precision_score(truth == c, likely[c], sample_weight=weights) for c in held]
        return float(np.mean(precisions)) if held else np.nan

    return lambda drawn: np.array([one(weights) for weights in drawn])


def _bits_per_byte(rows: Sequence[Row], _: str) -> Score:
    return _ratio([row["nll"] / math.log(2) for row in rows], [row["bytes"] for row in rows])


def _log_loss(rows: Sequence[Row], _: str) -> Score:
    """Prepare log loss, from stored likelihoods or class probabilities.

    Without an answer, all classes count as equally likely.
    """
    if "positions" in rows[0]:
        return _ratio([row["nll"] for row in rows], [row["positions"] for row in rows])
    classes = next(list(row["probabilities"]) for row in rows if row["probabilities"])
    likely = [row["probabilities"][str(row["target"][0])] if row["probabilities"] else 1 / len(classes) for row in rows]
    return _ratio(-np.log(np.maximum(likely, LEAST)), np.ones(len(rows)))


def _mse(rows: Sequence[Row], _: str) -> Score:
    return _ratio([(float(row["target"][0]) - row["prediction"]) ** 2 for row in rows], np.ones(len(rows)))


def _nats_per_character(rows: Sequence[Row], _: str) -> Score:
    return _ratio([row["nll"] for row in rows], [row["characters"] for row in rows])


SCORES: dict[str, Callable[[Sequence[Row], str], Score]] = {
    "bleu": _bleu,
    "accuracy": _accuracy,
    "accuracy_unnormalised": _accuracy_unnormalised,
    "exact_match": _exact_match,
    "extracted_match": _extracted_match,
    "character_accuracy": _character_accuracy,
    "balanced_accuracy": _by_class(_recall),
    "unweighted_average_recall": _by_class(_recall),
    "macro_f1": _by_class(_f1),
    "spearman": _spearman,
    "aupr": _aupr,
    "auroc": labels.auroc,
    "micro_f1": labels.micro_f1,
    "binary_log_loss": labels.binary_log_loss,
    "bits_per_byte": _bits_per_byte,
    "log_loss": _log_loss,
    "mse": _mse,
    "nats_per_character": _nats_per_character,
}

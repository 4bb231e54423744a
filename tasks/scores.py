"""Scores of answers, by scikit-learn, scipy and jiwer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from benchmark.types import Prediction

LEAST = 5e-7  # smallest probability in a logarithm, since answers store six digits
LEAST_OF_LABELS = 5e-5  # likewise, where they store four
BINS = 15  # of the calibration error (Guo et al. 2017, arXiv 1706.04599)


def by_class(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """Score classes; balanced accuracy is unweighted average recall."""
    from sklearn import metrics

    options = {"labels": sorted(set(truth)), "average": "macro", "zero_division": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes that are never predicted, or missing here
        scores = {
            "accuracy": metrics.accuracy_score(truth, predicted),
            "balanced_accuracy": metrics.recall_score(truth, predicted, **options),
            "macro_f1": metrics.f1_score(truth, predicted, **options),
            "mcc": metrics.matthews_corrcoef(truth, predicted),
        }
    return {name: float(value) for name, value in scores.items()}


def by_label(truth: Sequence[Sequence[str]], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Score lists of labels.

    Ranking scores are means over the labels that some examples have and some lack, F1 over those that any has. An
    empty answer holds every label for as likely as not.
    """
    from sklearn import metrics

    known = [name for p in predictions for name in p["probabilities"]]
    named = (name for part in (*truth, *(p["prediction"] for p in predictions)) for name in part)
    names = sorted({*known, *named})
    if not names:
        return {}
    sets = [set(t) for t in truth], [set(p["prediction"]) for p in predictions]
    true, answered = (np.array([[name in one for name in names] for one in part]) for part in sets)
    there = true.any(0)
    scores = {
        "micro_f1": metrics.f1_score(true, answered, average="micro", zero_division=0),
    }
    if there.any():
        scores["macro_f1"] = metrics.f1_score(true[:, there], answered[:, there], average="macro", zero_division=0)
    if known:
        table = np.array([[p["probabilities"].get(name, 0.5) for name in names] for p in predictions])
        varied = [i for i in range(len(names)) if there[i] and not true[:, i].all()]
        for name, score in (("auroc", metrics.roc_auc_score), ("aupr", metrics.average_precision_score)):
            scores |= {name: np.mean([score(true[:, i], table[:, i]) for i in varied])} if varied else {}
        likely = np.where(true, table, 1 - table)
        scores["binary_log_loss"] = -np.log(np.maximum(likely, LEAST_OF_LABELS)).mean()
    return {name: float(value) for name, value in scores.items()}


def by_value(truth: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """Score numbers; the rank correlation of constant answers counts as 0."""
    from scipy.stats import spearmanr
    from sklearn import metrics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spearman = float(spearmanr(truth, predicted).statistic) if len(truth) > 1 else math.nan
    scores = {
        "spearman": 0.0 if math.isnan(spearman) else spearman,
        "rmse": float(metrics.root_mean_squared_error(truth, predicted)),
        "mse": float(metrics.mean_squared_error(truth, predicted)),
    }
    return scores | ({"r2": float(metrics.r2_score(truth, predicted))} if len(set(truth)) > 1 else {})


def by_edits(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """Score texts by edits of characters and of words."""
    import jiwer

    cer, wer = float(jiwer.cer(list(truth), list(predicted))), float(jiwer.wer(list(truth), list(predicted)))
    return {"character_accuracy": 1 - cer, "cer": cer, "wer": wer}


def log_loss(truth: Sequence[str], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Average -log of the true class's probability; uniform for an empty answer.

    Empty where a true class has no probabilities.
    """
    classes = next((set(p["probabilities"]) for p in predictions if p["probabilities"]), set())
    if not classes or not set(truth) <= classes:
        return {}
    likely = [
        p["probabilities"][label] if p["probabilities"] else 1 / len(classes)
        for label, p in zip(truth, predictions, strict=True)
    ]
    return {"log_loss": float(-np.log(np.maximum(likely, LEAST)).mean())}


def unlikelihood(name: str, predictions: Sequence[Prediction], unit: str) -> dict[str, float]:
    """Average the stored negative log-likelihoods (nats); empty without any."""
    known = [p for p in predictions if p.get("nll") is not None]
    count = sum(p[unit] for p in known)
    return {name: sum(p["nll"] for p in known) / count} if count else {}


def by_probability(truth: Sequence[str], predictions: Sequence[Prediction]) -> dict[str, float]:
    """Score probabilities: calibration and ranking, one-vs-rest."""
    from sklearn import metrics

    answered = [(label, p["probabilities"]) for label, p in zip(truth, predictions, strict=True) if p["probabilities"]]
    if not answered:
        return {}
    classes = list(answered[0][1])
    table = np.array([[p[c] for c in classes] for _, p in answered])
    hits = np.array([[label == c for c in classes] for label, _ in answered])
    scores = {"ece": calibration_error(table.max(1), hits[np.arange(len(table)), table.argmax(1)])}
    if not hits.any(0).all() or hits.all(0).any():  # curves need positive and negative examples of each class
        return scores
    chosen = [1] if len(classes) == 2 else range(len(classes))
    for name, score in (("auroc", metrics.roc_auc_score), ("aupr", metrics.average_precision_score)):
        scores[name] = float(np.mean([score(hits[:, i], table[:, i]) for i in chosen]))
    return scores


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Compute the expected calibration error."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    inside = [bins == b for b in np.unique(bins)]
    return float(sum(abs(correct[bin_].mean() - confidence[bin_].mean()) * bin_.mean() for bin_ in inside))

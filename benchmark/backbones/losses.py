"""Losses of new heads, each a mean over the items that task.items() counts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from benchmark.types import IGNORED, Head, Kind

BLANK = 0  # CTC's class for no character
Mask = torch.Tensor | None  # 1 for positions without padding


def over_known(total: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Average over labels that count; the loss of a batch without any is 0."""
    return total / (labels != IGNORED).sum().clamp(min=1)


def weighted(losses: torch.Tensor, weights: torch.Tensor, gamma: float) -> torch.Tensor:
    """Multiply cross-entropies by weights and by (1 - p) ** gamma, p the true answer's probability.

    The focal loss of Lin et al. 2017 (arXiv 1708.02002). The sum is not divided by the weights: a batch in parts has
    the gradient of the whole.
    """
    return losses * weights * (-torch.expm1(-losses)).clamp(min=1e-12) ** gamma if gamma else losses * weights


def regress(logits: torch.Tensor, labels: torch.Tensor, _: Mask, head: Head) -> torch.Tensor:
    return F.mse_loss(logits.squeeze(-1), labels)


def classify(logits: torch.Tensor, labels: torch.Tensor, _: Mask, head: Head) -> torch.Tensor:
    if not head.weights and not head.focal:
        return over_known(F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"), labels)
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    weights = logits.new_tensor(head.weights or [1.0] * logits.shape[-1])
    return over_known(weighted(losses, weights[labels.clamp(min=0)], head.focal).sum(), labels)


def multilabel(logits: torch.Tensor, labels: torch.Tensor, _: Mask, head: Head) -> torch.Tensor:
    """Average the binary cross-entropies of all labels of all examples."""
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    absent, present = logits.new_tensor(head.weights or [1.0] * 2 * logits.shape[-1]).chunk(2)
    return weighted(losses, torch.where(labels > 0, present, absent), head.focal).mean()


def rerank(logits: torch.Tensor, labels: torch.Tensor, _: Mask, head: Head) -> torch.Tensor:
    """Average over queries the cross-entropy of a softmax over a query's candidates with their shares of relevance.

    A bound of MRR and nDCG (Bruch et al. 2019), which compares the candidates of one query alone (Gao et al. 2021,
    arXiv 2101.08751).

    labels: grades, shape (queries, most candidates), IGNORED where a query has fewer.
    logits: shape (candidates of all queries, 1), those of the first query first.
    """
    there = labels != IGNORED
    scores = torch.full_like(labels, -torch.inf, dtype=logits.dtype).masked_scatter(there, logits.squeeze(-1))
    grades = labels.masked_fill(~there, 0)
    shares = grades / grades.sum(1, keepdim=True).clamp(min=1)
    return -(shares * scores.log_softmax(-1).masked_fill(~there, 0)).sum(1).mean()


def tag(logits: torch.Tensor, labels: torch.Tensor, _: Mask, head: Head) -> torch.Tensor:
    total = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="sum")
    return over_known(total, labels)


def ctc(logits: torch.Tensor, labels: torch.Tensor, mask: Mask, head: Head) -> torch.Tensor:
    """Compute the CTC loss per character; an answer longer than its frames adds none."""
    frames = mask.sum(1) if mask is not None else torch.full((len(logits),), logits.shape[1], device=logits.device)
    counted = labels != IGNORED
    with torch.autocast(logits.device.type, enabled=False):
        total = F.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1), labels[counted], frames.long(), counted.sum(1),
            blank=BLANK, reduction="sum", zero_infinity=True,
        )  # fmt: skip
    return over_known(total, labels)


LOSSES: dict[Kind, Callable[[torch.Tensor, torch.Tensor, Mask, Head], torch.Tensor]] = {
    Kind.CLASSIFY: classify,
    Kind.MULTILABEL: multilabel,
    Kind.REGRESS: regress,
    Kind.RERANK: rerank,
    Kind.TAG: tag,
    Kind.CTC: ctc,
}

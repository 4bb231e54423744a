"""Written answers of networks that generate text: batches, likelihoods, greedy decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.types import IGNORED, Kind

if TYPE_CHECKING:
    import torch
    from torch import nn


def add(counts: dict[str, int], name: str, number: int = 1) -> None:
    """Add to a count; 0 adds no entry."""
    if number:
        counts[name] = counts.get(name, 0) + number


def pad_rows(rows: Sequence[Sequence[int]], value: int, left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of ids to one length; return them with their mask."""
    import torch

    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), value, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        span = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[i, span] = torch.tensor(row, dtype=torch.long)
        mask[i, span] = 1
    return ids, mask


def on_device(batch: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Move a batch to the device of a network."""
    device = next(model.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}


def target_nll(logits: torch.Tensor, labels: torch.Tensor, kind: Kind) -> list[float]:
    """Sum the negative log-likelihood of each row's labels, in nats.

    Logits may have more positions than labels, for virtual tokens before the input.
    """
    import torch

    logits = logits[:, -labels.shape[1] :].float()
    if kind == Kind.CAUSAL_LM:  # a position predicts the next one
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    return losses.double().sum(1).tolist()


def likelihoods(model: nn.Module, batch: Mapping[str, torch.Tensor], kind: Kind) -> list[float]:
    """Compute the negative log-likelihood (nats) of the true answer of each row of a batch."""
    batch = on_device(batch, model)
    return target_nll(model(**batch).logits, batch["labels"], kind)


def write(model: nn.Module, inputs: Mapping[str, torch.Tensor], processor: Any, most: int, **forced: int) -> list[str]:
    """Decode at most so many tokens greedily; return the texts behind the prompts.

    The prompt is the input of a decoder, or decoder_input_ids.
    """
    inputs = on_device(inputs, model)
    prompt = inputs.get("input_ids" if processor.kind == Kind.CAUSAL_LM else "decoder_input_ids")
    written = model.generate(**inputs, max_new_tokens=most, do_sample=False, num_beams=1, **forced)
    start = 0 if prompt is None else prompt.shape[1]
    return [processor.text(row).strip() for row in written[:, start:]]

"""Answers of labelled examples: class, number, label per position, text.

Each class is one half of a task; the other half reads images, proteins or speech, see labelled.py.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmark.errors import InputError
from benchmark.types import IGNORED, Constant, Example, Head, Kind, Prediction
from tasks.scores import by_class, by_edits, by_probability, by_value, log_loss, unlikelihood
from tasks.tables import label

if TYPE_CHECKING:
    import torch

    from benchmark.types import Features


class Classification:
    """Half of a task with one class per example."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CLASSIFY,)
    proper: ClassVar[str | None] = "log_loss"
    pair: ClassVar[bool] = False

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        return Head(kind, labels=in_order({str(e.targets[0]) for e in train}), pair=self.pair)

    def settled(self, target: Any) -> str:
        return label(target)

    def stratum(self, example: Example) -> str:
        return str(example.targets[0])

    def unknown(self, example: Example, head: Head) -> str | None:
        """Give the reason why a label is unknown."""
        label = str(example.targets[0])
        return None if label in head.labels else f"label {label!r} is not among the training labels"

    def label(self, example: Example, head: Head, length: int) -> int:
        return head.labels.index(str(example.targets[0]))

    def labels(self, labels: Sequence[int], width: int) -> torch.Tensor:
        import torch

        return torch.tensor(labels)

    def answers(self, output: Any, features: Sequence[Features], head: Head) -> list[Prediction]:
        """Give the most likely class, and the probability of each."""
        rows = output.logits.softmax(-1).cpu().tolist()
        return [
            {
                "prediction": head.labels[max(range(len(row)), key=row.__getitem__)],
                "probabilities": {label: round(p, 6) for label, p in zip(head.labels, row, strict=True)},
            }
            for row in rows
        ]

    def nothing(self) -> Prediction:
        return {"prediction": "", "probabilities": {}}

    def scores(self) -> tuple[str, ...]:
        return "accuracy", "balanced_accuracy", "macro_f1", "mcc", "auroc", "aupr"

    def constant(self, train: Sequence[Example], targets: Sequence[tuple[Any, ...]]) -> Constant:
        """Answer with the class of most training examples, and with the share of each as its probability."""
        counts = Counter(str(e.targets[0]) for e in train)
        shares = {name: round(counts[name] / len(train), 6) for name in in_order(set(counts))}
        answer = commonest(counts.elements())
        one = {**self.nothing(), "prediction": answer, "probabilities": shares}
        return Constant(answer, self.score([one] * len(targets), targets))

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[Any, ...]]) -> dict[str, float]:
        """Score classes, and the probabilities behind them."""
        truth = [str(t[0]) for t in targets]
        predicted = [p["prediction"] for p in predictions]
        return by_class(truth, predicted) | by_probability(truth, predictions) | log_loss(truth, predictions)


class Regression:
    """Half of a task with one number per example."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.REGRESS,)
    proper: ClassVar[str | None] = "mse"
    pair: ClassVar[bool] = False

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        """Raises InputError where the training targets do not differ."""
        values = [float(e.targets[0]) for e in train]
        centre, scale = float(np.mean(values)), float(np.std(values))
        if not scale > 0:
            raise InputError(f"all {len(values)} training targets are {centre:g}: nothing to learn (data.columns)")
        return Head(kind, centre=centre, scale=scale, pair=self.pair)

    def stratum(self, example: Example) -> None:
        return None

    def unknown(self, example: Example, head: Head) -> str | None:
        """Give the reason why a target is not a number."""
        return None if math.isfinite(example.targets[0]) else f"target {example.targets[0]!r} is no finite number"

    def label(self, example: Example, head: Head, length: int) -> float:
        return (float(example.targets[0]) - head.centre) / head.scale

    def labels(self, labels: Sequence[float], width: int) -> torch.Tensor:
        import torch

        return torch.tensor(labels, dtype=torch.float32)

    def answers(self, output: Any, features: Sequence[Features], head: Head) -> list[Prediction]:
        """Give numbers in the unit of the targets."""
        return [{"prediction": value * head.scale + head.centre} for value in output.logits.squeeze(-1).tolist()]

    def scores(self) -> tuple[str, ...]:
        return "spearman", "r2"

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[float, ...]]) -> dict[str, float]:
        """Score ranks and distances."""
        return by_value([float(t[0]) for t in targets], [p["prediction"] for p in predictions])


class Tagging:
    """Half of a task with one label per position, None where it does not count."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.TAG,)
    proper: ClassVar[str | None] = "log_loss"
    pair: ClassVar[bool] = False

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        return Head(kind, labels=in_order({str(tag) for e in train for tag in e.targets[0] if tag is not None}))

    def stratum(self, example: Example) -> None:
        return None

    def unknown(self, example: Example, head: Head) -> str | None:
        """Give the reason why a label is unknown."""
        strange = sorted({str(tag) for tag in example.targets[0] if tag is not None} - set(head.labels))
        return f"label {strange[0]!r} is not among the training labels" if strange else None

    def label(self, example: Example, head: Head, length: int) -> list[int]:
        """Label the positions that are read; labels unknown to the head do not train."""
        indices = {label: i for i, label in enumerate(head.labels)}
        return [indices.get(str(tag), IGNORED) if tag is not None else IGNORED for tag in example.targets[0][:length]]

    def labels(self, labels: Sequence[Sequence[int]], width: int) -> torch.Tensor:
        return pad_labels(labels, width)

    def answers(self, output: Any, features: Sequence[Features], head: Head) -> list[Prediction]:
        """Give each read position's label, and the true labels' surprisal (nats)."""
        rows = output.logits.argmax(-1).cpu().tolist()
        predicted = [[head.labels[c] for c in row[: f["length"]]] for row, f in zip(rows, features, strict=True)]
        return [
            {"prediction": labels, **self._unlikely(logits, f)}
            for labels, logits, f in zip(predicted, output.logits, features, strict=True)
        ]

    def _unlikely(self, logits: torch.Tensor, features: Features) -> Prediction:
        """Sum -log of the true labels' probabilities where they count."""
        import torch

        if "label" not in features:
            return {}
        label = torch.tensor(features["label"], device=logits.device)
        losses = torch.nn.functional.cross_entropy(
            logits[: len(label)].float(), label, ignore_index=IGNORED, reduction="none"
        )
        return {"nll": float(losses.double().sum()), "positions": int((label != IGNORED).sum())}

    def nothing(self) -> Prediction:
        return {"prediction": [], "nll": 0.0, "positions": 0}

    def scores(self) -> tuple[str, ...]:
        return "accuracy", "balanced_accuracy", "macro_f1", "mcc"

    def constant(self, train: Sequence[Example], targets: Sequence[tuple[Any, ...]]) -> Constant:
        """Answer every position with the label of most training positions."""
        answer = commonest(str(tag) for e in train for tag in e.targets[0] if tag is not None)
        answers = [{**self.nothing(), "prediction": [answer] * len(tags)} for tags, *_ in targets]
        return Constant(answer, self.score(answers, targets))

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[Any, ...]]) -> dict[str, float]:
        """Score all counting positions as one population; cut ones are wrong."""
        truth, predicted = [], []
        for answer, (tags, *_) in zip(predictions, targets, strict=True):
            read = [*answer["prediction"], *[""] * (len(tags) - len(answer["prediction"]))]
            pairs = [(str(tag), tagged) for tag, tagged in zip(tags, read, strict=True) if tag is not None]
            truth += [tag for tag, _ in pairs]
            predicted += [tagged for _, tagged in pairs]
        return by_class(truth, predicted) | unlikelihood("log_loss", predictions, "positions")


class Transcription:
    """Half of a task with a line of text per example, by characters.

    Connectionist temporal classification, Graves et al. 2006.
    """

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CTC,)
    proper: ClassVar[str | None] = "nats_per_character"
    pair: ClassVar[bool] = False

    def settled(self, target: Any) -> str:
        if isinstance(target, list | tuple | dict):
            raise ValueError(f"{target!r:.40} stands where one transcript is wanted")  # noqa: TRY004 - broken content
        return "" if target is None else str(target)

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        return Head(kind, labels=tuple(sorted({c for e in train for c in e.targets[0]})))

    def stratum(self, example: Example) -> None:
        return None

    def unknown(self, example: Example, head: Head) -> str | None:
        """Give the reason why a transcript is unusable."""
        return None if example.targets[0] else "the transcript is empty"

    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        """Encode as usual, and count answers that do not fit into their frames."""
        features = super().encode(example, processor, counts)
        if features and frames_of(features.get("label", ())) > processor.frames(features["length"]):
            counts["answers_longer_than_frames"] = counts.get("answers_longer_than_frames", 0) + 1
        return features

    def label(self, example: Example, head: Head, length: int) -> list[int]:
        return [1 + head.labels.index(c) for c in example.targets[0] if c in head.labels]

    def labels(self, labels: Sequence[Sequence[int]], width: int) -> torch.Tensor:
        return pad_labels(labels, max(map(len, labels)))

    def answers(self, output: Any, features: Sequence[Features], head: Head) -> list[Prediction]:
        """Decode greedily: best class per frame, repeats merged, blanks dropped.

        Adds the negative log-likelihood of the true text over all alignments.
        """
        rows = output.logits.argmax(-1).cpu().tolist()
        frames = [len(row) for row in rows] if output.mask is None else output.mask.sum(1).int().tolist()
        texts = (collapse(row[:n], head) for row, n in zip(rows, frames, strict=True))
        return [
            {"prediction": " ".join(text.split()), **self._unlikely(logits[:n], f)}
            for text, logits, n, f in zip(texts, output.logits, frames, features, strict=True)
        ]

    def _unlikely(self, logits: torch.Tensor, features: Features) -> Prediction:
        """Give the text's negative log-likelihood (nats); 0 characters if impossible."""
        import torch

        if "label" not in features:
            return {}
        label = features["label"]
        if not label or frames_of(label) > len(logits):
            return {"nll": 0.0, "characters": 0}
        likely = logits.double().cpu().log_softmax(-1)
        loss = torch.nn.functional.ctc_loss(likely, torch.tensor(label), (len(likely),), (len(label),), reduction="sum")
        return {"nll": float(loss), "characters": len(label)}

    def nothing(self) -> Prediction:
        return {"prediction": "", "nll": 0.0, "characters": 0}

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[str, ...]]) -> dict[str, float]:
        """Score errors over all characters, or words, of the references."""
        edits = by_edits([t[0] for t in targets], [p["prediction"] for p in predictions])
        return edits | unlikelihood("nats_per_character", predictions, "characters")


def frames_of(label: Sequence[int]) -> int:
    """Count the frames of a text: one a character, a blank between equal ones."""
    return len(label) + sum(one == other for one, other in pairwise(label))


def collapse(classes: Sequence[int], head: Head) -> str:
    """Turn one class per frame into text."""
    shown = [c for i, c in enumerate(classes) if c and (i == 0 or c != classes[i - 1])]
    return "".join(head.labels[c - 1] for c in shown)


def pad_labels(rows: Sequence[Sequence[int]], width: int) -> torch.Tensor:
    """Pad rows of labels with IGNORED."""
    import torch

    return torch.tensor([[*row, *[IGNORED] * (width - len(row))] for row in rows], dtype=torch.long)


def commonest(answers: Iterable[str]) -> str:
    """Choose the answer given most often; of several the first by name."""
    counts = Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer))


def in_order(labels: set[str]) -> tuple[str, ...]:
    """Sort labels, numbers by value."""
    return tuple(sorted(labels, key=lambda label: (not label.isdigit(), int(label) if label.isdigit() else 0, label)))

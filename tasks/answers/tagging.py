"""Answer with one label per position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.types import IGNORED, Constant, Example, Head, Kind, Prediction
from tasks.answers.labels import commonest, in_order, pad_labels
from tasks.scores import by_class, unlikelihood

if TYPE_CHECKING:
    import torch

    from benchmark.types import Features


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

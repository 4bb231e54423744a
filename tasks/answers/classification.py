"""Answer with one class per example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.types import Constant, Example, Head, Kind, Prediction
from tasks.answers.labels import commonest, in_order
from tasks.answers.weights import Weighted
from tasks.scores import by_class, by_probability, log_loss
from tasks.tables import label

if TYPE_CHECKING:
    import torch

    from benchmark.types import Features


class Classification(Weighted):
    """Half of a task with one class per example."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CLASSIFY,)
    proper: ClassVar[str | None] = "log_loss"
    pair: ClassVar[bool] = False

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        counts = Counter(str(e.targets[0]) for e in train)
        labels = in_order(set(counts))
        return Head(kind, labels=labels, pair=self.pair, **self.loss([counts[name] for name in labels], len(train)))

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

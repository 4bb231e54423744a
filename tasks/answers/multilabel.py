"""Answer with any number of labels per example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import Constant, Example, Head, Kind, Prediction
from tasks.answers.labels import in_order
from tasks.answers.weights import Weighted
from tasks.scores import by_label
from tasks.tables import label, strip_cell

if TYPE_CHECKING:
    import torch

    from benchmark.types import Features

THRESHOLD = 0.5  # probability from which a label is answered
DIGITS = 4  # of stored probabilities, of which there may be hundreds per example


class Multilabel(Weighted):
    """Half of a task with a list of labels per example, which may be empty."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.MULTILABEL,)
    metric: ClassVar[str] = "auroc"
    proper: ClassVar[str | None] = "binary_log_loss"
    pair: ClassVar[bool] = False

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        counts = Counter(name for e in train for name in e.targets[0])
        labels = in_order(set(counts))
        present = [counts[name] for name in labels]
        of_each = [self.loss([len(train) - number, number], len(train)) for number in present]
        weights = tuple(one["weights"][side] for side in (0, 1) for one in of_each if one["weights"])
        return Head(kind, labels=labels, pair=self.pair, weights=weights, focal=self.focal or 0.0)

    def check_varied(self, head: Head, number: int) -> None:
        """Refuse training examples without labels. Raises InputError."""
        if not head.labels:
            raise InputError(f"none of the {number:,} training examples has a label: nothing to learn (data.columns)")

    def settled(self, target: Any) -> tuple[str, ...]:
        target = strip_cell(target)
        if target is None:
            raise ValueError("no list of labels; where none applies, an empty list is wanted")
        if isinstance(target, str):
            remedy = "name what separates them, 'data.columns.separator=\";\"'"
            raise ValueError(f"{target!r:.40} is one text, a list of labels is wanted: {remedy}")  # noqa: TRY004
        if not isinstance(target, list | tuple | set | frozenset):
            raise ValueError(f"{target!r:.40} is no list of labels")  # noqa: TRY004 - broken content
        return in_order({label(one) for one in target})

    def stratum(self, example: Example) -> None:
        return None

    def unknown(self, example: Example, head: Head) -> str | None:
        """Give the reason why a label is unknown."""
        strange = sorted(set(example.targets[0]) - set(head.labels))
        return f"label {strange[0]!r} is not among the training labels" if strange else None

    def lacking(self, targets: Sequence[tuple[Any, ...]], head: Head) -> str | None:
        """Say where no label can be ranked: each is in all examples, or in none."""
        counts = Counter(name for t in targets for name in t[0])
        varied = any(0 < number < len(targets) for number in counts.values())
        return None if varied else "no label that some rows have and some lack"

    def label(self, example: Example, head: Head, length: int) -> list[int]:
        """Give 1 for each label that the example has, else 0."""
        known = set(example.targets[0])
        return [int(name in known) for name in head.labels]

    def labels(self, labels: Sequence[Sequence[int]], width: int) -> torch.Tensor:
        import torch

        return torch.tensor(labels, dtype=torch.float32)

    def answers(self, output: Any, features: Sequence[Features], head: Head) -> list[Prediction]:
        """Give the labels that are likelier than not, and the probability of each label."""
        rows = output.logits.double().sigmoid().cpu().tolist()
        return [answered(dict(zip(head.labels, row, strict=True))) for row in rows]

    def nothing(self) -> Prediction:
        return {"prediction": [], "probabilities": {}}

    def scores(self) -> tuple[str, ...]:
        return "auroc", "aupr", "micro_f1", "macro_f1"

    def constant(self, train: Sequence[Example], targets: Sequence[tuple[Any, ...]]) -> Constant:
        """Answer with the share of training examples that have each label."""
        counts = Counter(name for e in train for name in e.targets[0])
        one = {**self.nothing(), **answered({name: counts[name] / len(train) for name in in_order(set(counts))})}
        return Constant(", ".join(one["prediction"]) or "no label", self.score([one] * len(targets), targets))

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[Any, ...]]) -> dict[str, float]:
        """Score labels, and the probabilities behind them."""
        return by_label([t[0] for t in targets], predictions)


def answered(likely: dict[str, float]) -> Prediction:
    """Turn probabilities by label into an answer."""
    return {
        "prediction": [name for name, p in likely.items() if p >= THRESHOLD],
        "probabilities": {name: round(p, DIGITS) for name, p in likely.items()},
    }

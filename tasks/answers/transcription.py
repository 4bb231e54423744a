"""Answer with a line of text, by characters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.types import Example, Head, Kind, Prediction
from tasks.answers.labels import pad_labels
from tasks.scores import by_edits, unlikelihood

if TYPE_CHECKING:
    import torch

    from benchmark.types import Features


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

    def answer(self, example: Example, features: Features, processor: Any, counts: dict[str, int]) -> Features:
        """Encode as usual, and count answers that do not fit into their frames."""
        answer = super().answer(example, features, processor, counts)
        if frames_of(answer["label"]) > processor.frames(features["length"]):
            counts["answers_longer_than_frames"] = counts.get("answers_longer_than_frames", 0) + 1
        return answer

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

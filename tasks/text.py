"""Base of tasks from text to text: generation and translation."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError, refusing, story
from benchmark.types import IGNORED, Constant, Example, Features, Kind, Prediction, Splits, Task
from benchmark.types.folds import Fold
from tasks.answers.labels import commonest
from tasks.common import Data, Reading
from tasks.folds import read_splits
from tasks.generation import add, likelihoods, pad_rows, write
from tasks.tables import text
from tasks.text_rows import FIELD, apply_template

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class TextToText(Task):
    """Task that reads a source text and writes a target text."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CAUSAL_LM, Kind.SEQ2SEQ)
    proper: ClassVar[str] = "bits_per_byte"
    placeholder: ClassVar[str] = "?"
    fold: ClassVar[Fold | None] = None  # of a view: in_fold() of benchmark/types/folds.py
    ranked: ClassVar[tuple[str, ...]]  # scores of its own of which higher is better

    data: Data
    template: str  # input of the network, with {source} or columns
    max_source_tokens: int
    max_target_tokens: int
    metrics: list[str]  # further Hugging Face evaluate metrics: a local folder, or name@revision of the hub
    allow_metric_code: bool  # a metric of the hub is a program

    def __post_init__(self) -> None:
        fields = FIELD.findall(self.template)
        if not fields or len({*fields}) < len(fields):
            raise InputError(
                f"task.template: {self.template!r} given, a text with one {{source}} wanted, or with columns, each once"
            )
        if fields != ["source"] and not hasattr(self.data, "columns"):
            raise InputError(f"task.template: {self.template!r} names columns, this data has a {{source}} alone")
        for name in self.metrics:
            if not Path(name).exists() and not (self.allow_metric_code and "@" in name):
                raise InputError(
                    f"task.metrics: {name!r} is no local folder; from the hub it executes code, which takes "
                    f"name@revision and task.allow_metric_code=true"
                )

    def languages(self) -> tuple[str, str] | None:
        """Name the source and target language, if the checkpoint needs them."""
        return None

    @cached_property
    def frame(self) -> str:
        """Template with one {source} in place of all its columns."""
        places = [*FIELD.finditer(self.template)]
        return f"{self.template[: places[0].start()]}{{source}}{self.template[places[-1].end() :]}"

    @property
    def inner(self) -> str:
        """Part of the template that makes the source: {source}, or columns with text."""
        places = [*FIELD.finditer(self.template)]
        return self.template[places[0].start() : places[-1].end()]

    @cached_property
    def table(self) -> Data:
        """Data with the source that the template's columns make."""
        return self.data if self.inner == "{source}" else apply_template(self.data, self.inner)

    def files(self) -> Mapping[str, Path]:
        return self.data.local()

    @cached_property
    def reading(self) -> Reading:
        return getattr(self.table, "reading", None) or Reading()

    def source(self, given: Any) -> Any:
        """Take a text, or the columns of a template by their names."""
        return (
            FIELD.sub(lambda found: text(given, found[1], "input"), self.inner) if isinstance(given, Mapping) else given
        )

    def splits(self) -> Splits:
        assert self._metrics is not None  # loaded first, so that a missing one is refused before training
        return read_splits(self.table, self.fold, self.reading)

    def unpinned(self) -> list[str]:
        return self.data.unpinned()

    def longest(self, kind: Kind) -> int:
        most = self.max_source_tokens, self.max_target_tokens
        return sum(most) if kind == Kind.CAUSAL_LM else max(most)

    def largest(self, kind: Kind) -> tuple[float, int]:
        return self.max_source_tokens, self.max_target_tokens

    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        """Tokenise source and first target, cut at their ends; count the cuts."""
        full, answer = example.source, example.targets[0]

        def read(text: str) -> list[int]:
            return processor.source(text, self.frame, self.languages())

        source, (lead, target) = read(full), processor.target(answer, self.frame, self.languages())
        if source == read("") or not target:
            add(counts, "empty_examples")
            return None
        for name, content, ids in (("sources", full, source), ("targets", answer, target)):
            if processor.unknown in ids:
                add(counts, f"unknown_tokens_in_{name}")
                add(counts, f"unreadable_{name}", processor.lost(content) > 0.5)
        if len(source) > self.max_source_tokens:
            add(counts, "truncated_sources")
            # the longest beginning that fits, within its tag and template
            fits = bisect_right(range(1, len(full)), self.max_source_tokens, key=lambda n: len(read(full[:n])))
            source = read(full[: max(fits, 1)])
        target_ids = target[: self.max_target_tokens - len(lead) - 1]
        add(counts, "truncated_targets", target_ids != target)
        return {
            "source": source,
            "target": [*lead, *target_ids, processor.end],
            # of the tokens that are kept, since the likelihood is of these
            "bytes": len((answer if target_ids == target else processor.text(target_ids)).encode()),
        }

    def unreadable(self, counts: Mapping[str, int], number: int) -> str | None:
        for name in ("sources", "targets"):
            if (unreadable := counts.get(f"unreadable_{name}", 0)) > number / 2:
                return f"{unreadable:,} of {number:,} {name} are mostly characters that the backbone has no token for"
        return None

    def length(self, features: Features) -> int:
        return len(features["source"]) + len(features["target"])

    def collate(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        """Pad on the right; of a decoder source and target are one sequence."""
        pad = processor.tokenizer.pad_token_id
        sources, targets = [f["source"] for f in features], [f["target"] for f in features]
        if processor.kind == Kind.SEQ2SEQ:
            ids, mask = pad_rows(sources, pad)
            return {"input_ids": ids, "attention_mask": mask, "labels": pad_rows(targets, IGNORED)[0]}
        ids, mask = pad_rows([s + t for s, t in zip(sources, targets, strict=True)], pad)
        labels, _ = pad_rows([[IGNORED] * len(s) + t for s, t in zip(sources, targets, strict=True)], IGNORED)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def items(self, batch: Mapping[str, torch.Tensor]) -> int:
        """Count target tokens, the end token among them."""
        return int((batch["labels"] != IGNORED).sum())

    def tokens(self, batch: Mapping[str, torch.Tensor]) -> int:
        read = int(batch["attention_mask"].sum())
        # the sequence of a decoder contains the targets; its labels begin with the ignored source
        return read if bool((batch["labels"][:, 0] == IGNORED).all()) else read + self.items(batch)

    def nothing(self) -> Prediction:
        return {"prediction": "", "nll": 0.0, "tokens": 0, "bytes": 0}

    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Decode greedily; add the negative log-likelihood (nats) of the true target."""
        unlikely = likelihoods(model, self.collate(features, processor), processor.kind)
        texts = self._generate(model, features, processor)
        return [
            {"prediction": text, "nll": nll, "tokens": len(f["target"]), "bytes": f["bytes"]}
            for text, nll, f in zip(texts, unlikely, features, strict=True)
        ]

    def _generate(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[str]:
        pad, left = processor.tokenizer.pad_token_id, processor.kind == Kind.CAUSAL_LM
        ids, mask = pad_rows([f["source"] for f in features], pad, left)
        lead = processor.target("", self.frame, self.languages())[0]
        forced = {"forced_bos_token_id": lead[0]} if lead else {}
        return write(model, {"input_ids": ids, "attention_mask": mask}, processor, self.max_target_tokens, **forced)

    def scores(self) -> tuple[str, ...]:
        """Name its own scores, and those that the configuration's metrics give a right answer."""
        with refusing("task.metrics: their scores cannot be named"):
            more = self.extra_scores(["a b"], [("a b",)], dict.fromkeys(self.ranked, 0.0))
        return *self.ranked, *more

    def constant(self, train: Sequence[Example], targets: Sequence[tuple[str, ...]]) -> Constant:
        """Answer with the text of most training examples; further metrics are not asked, they may take long."""
        answer = commonest(e.targets[0].strip() for e in train)
        one = {**self.nothing(), "prediction": answer}
        return Constant(answer, replace(self, metrics=[]).score([one] * len(targets), targets))

    def extra_scores(
        self, texts: Sequence[str], targets: Sequence[tuple[str, ...]], known: Mapping[str, float]
    ) -> dict[str, float]:
        """Compute the metrics of task.metrics; a taken name gets its metric's as prefix.

        A metric that raises or exits gives no score, since a run must not end on it; the reason is in `missing`.
        """
        scores: dict[str, float] = {}
        for name, metric in self._metrics.items():
            try:
                given = metric.compute(predictions=list(texts), references=[t[0] for t in targets])
                found = {key: float(value) for key, value in given.items() if isinstance(value, (int, float))}
            except (Exception, SystemExit) as error:
                self.missing[name] = story(error)
                continue
            scores |= {key if key not in {**known, **scores} else f"{name}_{key}": found[key] for key in found}
        return scores

    @cached_property
    def _metrics(self) -> dict[str, Any]:
        loaded = {}
        for name in self.metrics:
            import evaluate

            path, _, revision = name.partition("@")
            try:
                loaded[Path(path).name] = evaluate.load(path, **({"revision": revision} if revision else {}))
            except (Exception, SystemExit) as error:  # it is a program
                raise InputError(f"task.metrics: {name!r} cannot be loaded: {story(error)}") from error
        return loaded


def likelihood_scores(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Compute perplexity per target token, and bits per UTF-8 byte of the target.

    End tokens count as tokens, not as bytes. Bits per byte may be compared across tokenizers, perplexity may not.
    """
    nll, tokens, read = (sum(p[key] for p in predictions) for key in ("nll", "tokens", "bytes"))
    if not tokens:
        return {}
    return {"perplexity": math.exp(min(nll / tokens, 700.0)), "bits_per_byte": nll / math.log(2) / read}


def bleu(tokenizer: str) -> Any:
    """Make sacrebleu's BLEU with one of its tokenizers."""
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer)


def signature(metric: Any, targets: Sequence[tuple[str, ...]]) -> str:
    """Give a sacrebleu metric's signature, which depends on the number of references."""
    metric.corpus_score([t[0] for t in targets], streams(targets))
    return str(metric.get_signature())


def streams(targets: Sequence[tuple[str, ...]]) -> list[list[str | None]]:
    """Turn references per example into sacrebleu's streams; missing ones are None."""
    most = max(len(t) for t in targets)
    return [[t[i] if i < len(t) else None for t in targets] for i in range(most)]

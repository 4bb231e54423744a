"""Scores of configurations by seed and drawn test set, cached."""

from __future__ import annotations

import io
import json
import re
import statistics
import sys
import warnings
import zlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np

from benchmark.records import Record, sources
from benchmark.records.configurations import Configuration
from benchmark.records.folds import Round, fold_values
from benchmark.report import cache
from benchmark.report.comparisons import comparisons
from benchmark.report.statistics import bootstrap, estimates, samples, scales, seeds, tails
from benchmark.report.statistics.samples import Sample, moderate
from benchmark.report.statistics.scales import scale

DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    OSError,
    EOFError,
    RuntimeError,  # an archive with a password, or packed in a way that is not known
    MemoryError,  # a shape that no memory holds
    BadZipFile,
    zlib.error,
)  # or not there
TIES = re.compile(r"[a-z]*(\(\d+\))*")  # letters of groups
DRAWN = np.dtype("float32")
Name = TypeVar("Name", bound=Hashable)
Rows = Sequence[dict[str, Any]]
Examples = tuple[str, int, int]  # of a split: which they are, how many, in how many groups


class Evidence:
    """Reads stored answers; results/.cache holds what it computes of them."""

    def __init__(self, results: Path, by_group: bool = True) -> None:
        self.stores, self.by_group = sources(results), by_group
        this = sys.modules[__name__]
        self.draws = results / ".cache" / "draws" / cache.code([bootstrap, this])
        self.letters = results / ".cache" / "ties" / cache.code([estimates, samples, scales, seeds, tails, this])
        self.known: dict[tuple[str, ...], Sample | None] = {}

    def ties(self, samples: Mapping[Name, Sample]) -> dict[Name, str]:
        """Return estimates.ties of configurations, cached."""
        content = {name: _content(sample) for name, sample in samples.items()}
        ordered = sorted(samples, key=content.__getitem__)
        path = self.letters / f"{cache.digest(*(content[name].encode() for name in ordered))}.json"
        with suppress(TypeError, ValueError, RecursionError):
            letters = json.loads(cache.read(path))  # type: ignore[arg-type]
            if len(letters) == len(ordered) and all(isinstance(one, str) and TIES.fullmatch(one) for one in letters):
                return dict(zip(ordered, letters, strict=True))
        letters = estimates.ties({name: samples[name] for name in ordered})
        cache.write(path, json.dumps([letters[name] for name in ordered]).encode())
        return letters

    def samples(self, members: Iterable[Configuration], proper: bool = False) -> dict[Configuration, Sample]:
        """Collect the seeds of configurations, moderated per comparison."""
        collected = {}
        for comparison in comparisons(members):
            known = {one: sample for one in comparison.members if (sample := self.sample(one, proper=proper))}
            collected |= moderate(known)
        return collected

    def sample(self, one: Configuration, split: str = "test", proper: bool = False) -> Sample | None:
        """Collect the seeds of a configuration; None without a score.

        Draws need all seeds on the same examples.
        """
        metric = (one.proper() if proper else one.metric()) or ""
        # a cell has a record on each type of device, under the same run_id
        where = (one.source, one.settings.get("device", ""))
        key = (split, metric, *where, *(record.run_id for record in one.records))
        if key not in self.known:
            self.known[key] = self._sample(one, split, metric)
        return self.known[key]

    def _sample(self, one: Configuration, split: str, metric: str) -> Sample | None:
        known = [runs for runs in one.rounds if fold_values(runs, split, metric)]
        if not known or len({runs[0].seed for runs in known}) < len(known):  # two scores of a seed: nothing to pair
            return None
        scores = {runs[0].seed: statistics.fmean(fold_values(runs, split, metric)) for runs in known}
        drawn = {runs[0].seed: self._drawn(runs, one.source, split, metric) for runs in known}
        met = {examples for examples, _ in drawn.values()}
        if len(met) > 1:
            return Sample(scores, {}, scale=scale(metric))
        [examples] = met
        draws = {seed: values for seed, (_, values) in drawn.items() if values.size}
        return Sample(scores, draws, *examples, scale=scale(metric))

    def _drawn(self, runs: Round, source: str, split: str, metric: str) -> tuple[Examples, np.ndarray]:
        """Return which examples a split has, and the score on each drawn set of them."""
        store = self.stores.get(source)
        texts = [*(run.to_json() for run in runs), split, metric, self.by_group]
        # predictions can come, and go, after the record
        answers = [store.stored(run) if store else b"" for run in runs]
        name = cache.digest(json.dumps(texts).encode("utf-8", "surrogatepass"), *answers)
        path = self.draws / name[:2] / f"{name}.npz"
        with (
            suppress(*DAMAGED),
            np.load(io.BytesIO(cache.read(path) or b"")) as file,
        ):
            draws = file["draws"]
            if draws.dtype != DRAWN or draws.shape not in ((0,), (bootstrap.DRAWS,)):
                raise ValueError("no drawn scores")
            return (str(file["examples"]), int(file["size"]), int(file["groups"])), draws
        try:
            (examples, size, groups), draws = self._draw(runs, [_rows(store, run, split) for run in runs], metric)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # an older record's
            warnings.warn(f"{runs[0].run_id}: its answers are left out, they are no answers ({error})", stacklevel=2)
            return ("", 0, 0), np.zeros(0, DRAWN)
        np.savez(file := io.BytesIO(), examples=examples, size=size, groups=groups, draws=draws)
        cache.write(path, file.getvalue())
        return (examples, size, groups), draws

    def _draw(self, runs: Round, parts: Sequence[Rows], metric: str) -> tuple[Examples, np.ndarray]:
        rows = [row for part in parts for row in part]
        ids = [str(row.get("id")) for row in rows]
        groups = bootstrap.groups_of(rows) if self.by_group else None
        if len(runs) > 1 and len({*ids}) < len(ids):
            raise ValueError("an example is in the tests of two folds")
        prepared = [bootstrap.prepare(metric, part, run.signatures) for part, run in zip(parts, runs, strict=True)]
        # an id names an example of its data, whatever part of them was trained on
        prints = [run.data.get("fingerprint") for run in runs]
        data = json.dumps([*prints, ids]).encode("utf-8", "surrogatepass")
        draws = np.zeros(0, DRAWN)
        if scores := [score for score in prepared if score] if None not in prepared else []:
            drawn = bootstrap.counts(ids, groups=groups)
            draws = bootstrap.redraw(bootstrap.over_folds(scores, drawn, [*map(len, parts)])).astype(DRAWN)
        return (cache.digest(data, length=16) if rows else "", len(rows), len(set(groups or ()))), draws


def _rows(store: Any, record: Record, split: str) -> Rows:
    try:
        return [row for row in store.examples(record) if row.get("split") == split]
    except (AttributeError, OSError, ValueError, EOFError):  # none are stored, or the file is cut short
        return []


def _content(sample: Sample) -> str:
    parts = [sorted(sample.scores.items()), sample.examples, sample.size, sorted(sample.draws)]
    parts += [sample.groups, sample.spreads, sample.scale.better]
    draws = (np.ascontiguousarray(sample.draws[seed]).tobytes() for seed in sorted(sample.draws))
    return cache.digest(json.dumps(parts).encode(), *draws, length=64)

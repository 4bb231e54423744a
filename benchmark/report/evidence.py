"""The headline scores of a group's seeds, with those of drawn test sets; what was computed once is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmark.records import Record, sources
from benchmark.report import resampling, samples, scales, seeds, statistics, tails
from benchmark.report.groups import ANY_SOURCE, Group
from benchmark.report.samples import Sample, together
from benchmark.report.scales import scale


def _version(*modules: ModuleType) -> str:
    """Name the code: other code draws other numbers."""
    code = [Path(str(name)).read_bytes() for name in (*(module.__file__ for module in modules), __file__)]
    return hashlib.sha256(b"".join(code)).hexdigest()[:16]


Mark = tuple[str, int, int]  # of a split's examples: which they are, how many, in how many groups


class Evidence:
    """Reads predictions beside records. What it computes lies under a name made of what went in and of the code."""

    def __init__(self, results: Path) -> None:
        self.stores = sources(results)
        self.kept = results / ".cache" / "draws" / _version(resampling)
        self.told = results / ".cache" / "ties" / _version(statistics, samples, scales, seeds, tails)
        self.samples: dict[tuple[str, ...], Sample | None] = {}

    def ties(self, samples: Mapping[str, Sample]) -> dict[str, str]:
        """Letter settings as statistics.ties does, which compares each with each."""
        marks = {name: _mark(sample) for name, sample in samples.items()}
        ordered = sorted(samples, key=lambda name: (marks[name], name))
        path = self.told / f"{hashlib.sha256(''.join(marks[name] for name in ordered).encode()).hexdigest()[:24]}.json"
        with suppress(OSError, ValueError):
            if len(letters := json.loads(path.read_text(encoding="utf-8"))) == len(ordered):
                return dict(zip(ordered, letters, strict=True))
        found = statistics.ties({name: samples[name] for name in ordered})
        _keep(path, lambda scratch: scratch.write_text(json.dumps([found[name] for name in ordered])))
        return found

    def beside(self, groups: Sequence[Group], proper: bool = False) -> dict[int, Sample]:
        """Collect the seeds of groups, by their places; how seeds vary is learnt from all under the same conditions."""
        boards: dict[tuple, dict[str, Sample]] = {}
        for place, group in enumerate(groups):
            if sample := self.sample(group, proper=proper):
                boards.setdefault(group.shared(ANY_SOURCE), {})[str(place)] = sample
        return {int(place): sample for board in boards.values() for place, sample in together(board).items()}

    def sample(self, group: Group, split: str = "test", proper: bool = False) -> Sample | None:
        """Collect the seeds of a group; None without a score. Draws are there where all seeds met the same examples."""
        metric = (group.proper() if proper else group.metric()) or ""
        # a cell has a record on each type of device, under the same run_id
        where = (group.settings.get(key, "") for key in ("source", "device"))
        key = (split, metric, *where, *(record.run_id for record in group.records))
        if key not in self.samples:
            self.samples[key] = self._sample(group, split, metric)
        return self.samples[key]

    def _sample(self, group: Group, split: str, metric: str) -> Sample | None:
        done = [r for r in group.done if r.value(split, metric) is not None]
        if not done or len({r.seed for r in done}) < len(done):  # two records of a seed: nothing to pair
            return None
        scores = {r.seed: r.value(split, metric) for r in done}
        found = {r.seed: self._drawn(r, group.settings.get("source", ""), split, metric) for r in done}
        marks = {mark for mark, _ in found.values()}
        if len(marks) > 1:
            return Sample(scores, {}, scale=scale(metric))
        [mark] = marks
        draws = {seed: drawn for seed, (_, drawn) in found.items() if drawn.size}
        return Sample(scores, draws, *mark, scale=scale(metric))

    def _drawn(self, record: Record, source: str, split: str, metric: str) -> tuple[Mark, np.ndarray]:
        """Give which examples a split has, and the score on each drawn set of them."""
        content = json.dumps([record.to_json(), split, metric]).encode("utf-8", "surrogatepass")
        name = hashlib.sha256(content + self._answers(record, source)).hexdigest()[:24]
        path = self.kept / name[:2] / f"{name}.npz"
        with suppress(FileNotFoundError, ValueError, KeyError, OSError, EOFError), np.load(path) as kept:
            return (str(kept["mark"]), int(kept["size"]), int(kept["groups"])), kept["draws"]
        mark, draws = self._draw(record, source, split, metric)
        _keep(path, lambda scratch: np.savez(scratch, mark=mark[0], size=mark[1], groups=mark[2], draws=draws))
        return mark, draws

    def _draw(self, record: Record, source: str, split: str, metric: str) -> tuple[Mark, np.ndarray]:
        rows = [row for row in self._rows(record, source) if row.get("split") == split]
        ids, groups = [str(row.get("id")) for row in rows], resampling.groups_of(rows)
        score = resampling.prepared(metric, rows, record.signatures)
        # an id names an example of its data: which part of them it was trained on is no matter
        told = [record.data.get("fingerprint"), ids]
        mark = hashlib.sha256(json.dumps(told).encode("utf-8", "surrogatepass")).hexdigest()[:16] if rows else ""
        draws = np.zeros(0) if score is None else score(resampling.counts(ids, groups=groups)).astype("float32")
        return (mark, len(rows), len(set(groups or ()))), draws

    def _answers(self, record: Record, source: str) -> bytes:
        """Name what is stored beside a record: it can come, and go, after the record."""
        return self.stores[source].stored(record) if source in self.stores else b""

    def _rows(self, record: Record, source: str) -> Sequence[dict]:
        try:
            return self.stores[source].examples(record)
        except (KeyError, OSError, ValueError, EOFError):  # none were kept, or the file is cut short
            return []


def _mark(sample: Sample) -> str:
    told = [sorted(sample.scores.items()), sample.examples, sample.size, sorted(sample.draws)]
    told += [sample.groups, sample.spreads, sample.scale.better]
    content = b"".join(np.ascontiguousarray(sample.draws[seed]).tobytes() for seed in sorted(sample.draws))
    return hashlib.sha256(json.dumps(told).encode() + content).hexdigest()


def _keep(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all; in a folder that cannot be written to, nothing is kept."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.stem}.{os.getpid()}{path.suffix}")
        write(scratch)
        os.replace(scratch, path)

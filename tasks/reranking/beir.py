"""Queries, corpus and judgements in files of their own, as in BEIR and TREC."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.errors import InputError, path_of
from benchmark.types import Example, Splits
from tasks.common import Data
from tasks.reranking.bm25 import Bm25
from tasks.reranking.queries import Gathered, as_examples, candidate
from tasks.reranking.rows import grade, named
from tasks.reranking.scores import check_installed
from tasks.splits import check_apart, check_shares, complete
from tasks.tables import content_of, lines_of, rows, table_files

FIELDS = {3: (0, 1, 2), 6: (0, 2, 3)}  # of a run: query, document, rank, by how many a line has
QRELS = {3: (0, 1, 2), 4: (0, 2, 3)}  # of judgements: query, document, grade


@dataclass(frozen=True, kw_only=True)
class Beir(Data):
    """Candidates are those of a run file, where a split has one, else what BM25 retrieves from the corpus."""

    folder: str
    queries: str  # JSON lines with _id and text, or another table
    corpus: str  # likewise, with title
    qrels: dict[str, str]  # split -> judgements: query, document, grade, or as TREC has them
    runs: dict[str, str]  # split -> a retriever's run: query, document, rank, or as TREC has them
    candidates: int  # the first ones of each query
    shares: dict[str, float]  # split without judgements -> its share of train

    def __post_init__(self) -> None:
        check_shares(self.qrels, self.shares)
        check_apart({name: self._path(file) for name, file in self.qrels.items()}, self.reading)
        if strange := [name for name in self.runs if name not in self.qrels]:
            raise InputError(f"data.runs.{strange[0]}: a split without judgements (data.qrels.{strange[0]})")

    def splits(self) -> Splits:
        """Read every split. Raises InputError for a missing file, query or document."""
        splits = {name: self._read(name, file) for name, file in self.qrels.items()}
        return complete(splits, self.shares, self.reading)

    def local(self) -> dict[str, Path]:
        files = {"queries": self.queries, "corpus": self.corpus}
        files |= {f"qrels {name}": file for name, file in self.qrels.items()}
        files |= {f"run {name}": file for name, file in self.runs.items()}
        paths = {}
        for name, file in files.items():
            with suppress(InputError):  # raised again when the data is read
                (paths[name],) = table_files(self._path(file))
        return paths

    def _path(self, file: str) -> str:
        return str(path_of(self.folder) / file)

    @cached_property
    def _texts(self) -> tuple[dict[str, str], dict[str, str]]:
        """Texts of queries and of documents by id."""
        return tuple(self._by_id(file) for file in (self.queries, self.corpus))

    def _by_id(self, file: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, row in enumerate(rows(self._path(file)), 1):
            try:
                name, text = named(row)
                if name is None:
                    raise ValueError("no _id")
            except ValueError as error:
                raise InputError(f"{self._path(file)}, row {number}: {error}") from error
            if found.setdefault(name, text) != text:
                raise InputError(f"{self._path(file)}, row {number}: the id {name!r} has another text before")
        return found

    @cached_property
    def _index(self) -> Bm25:
        check_installed()
        return Bm25([*self._texts[1].values()])

    def _read(self, split: str, file: str) -> list[Example]:
        queries, corpus = self._texts
        judged: dict[str, dict[str, int]] = {}
        for query, document, value in read_lines(self._path(file), QRELS):
            judged.setdefault(query, {})[document] = grade(value)
        if missing := [query for query in judged if query not in queries]:
            raise InputError(f"{self._path(file)}: judges the query {missing[0]!r}, which {self.queries} lacks")
        retrieved = self._run(split) if split in self.runs else None
        documents, gathered = [*corpus], []
        for query, grades in judged.items():
            if retrieved is None:
                found = [documents[i] for i in self._index.best(queries[query], self.candidates)]
            else:
                found = retrieved.get(query, [])[: self.candidates]
            missed = sum(value > 0 for name, value in grades.items() if name not in found)
            self.reading.count(split, "relevant_ones_that_are_no_candidates", missed)
            graded = [candidate(name, corpus[name], grades.get(name, 0)) for name in found]
            gathered.append(Gathered(f"{split}/{query}", queries[query], None, graded))
        return as_examples(split, gathered, True, self.folder, self.reading)

    def _run(self, split: str) -> Mapping[str, list[str]]:
        """Read the documents of each query in the order of their ranks."""
        file, ranks = self._path(self.runs[split]), {}
        for query, document, rank in read_lines(file, FIELDS):
            if document not in self._texts[1]:
                raise InputError(f"{file}: names the document {document!r}, which {self.corpus} lacks")
            ranks.setdefault(query, []).append((grade(rank), document))
        return {query: [document for _, document in sorted(found)] for query, found in ranks.items()}


def read_lines(file: str, layouts: Mapping[int, tuple[int, int, int]]) -> list[tuple[str, str, str]]:
    """Read three fields of each line, separated by blanks; a first line without a number is a header.

    Raises InputError.
    """
    (path,) = table_files(file)
    found = []
    for number, line in enumerate(lines_of(content_of(path)), 1):
        cells = line.split()
        if not cells:
            continue
        if len(cells) not in layouts:
            wanted = " or ".join(map(str, layouts))
            raise InputError(f"{file}, line {number}: {len(cells)} fields, {wanted} wanted")
        one, other, value = (cells[place] for place in layouts[len(cells)])
        if value.lstrip("-").isdecimal():
            found.append((one, other, value))
        elif number > 1:
            raise InputError(f"{file}, line {number}: {value!r} is no whole number")
    return found

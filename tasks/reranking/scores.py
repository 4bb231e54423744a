"""Scores of rankings by ir-measures (trec_eval), and what must be installed for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from benchmark.errors import InputError

PACKAGES = {"ir_measures": "ir-measures", "bm25s": "bm25s"}  # module -> package


def check_installed() -> None:
    """Refuse a run without the packages of the extra `rerank`. Raises InputError."""
    if missing := [package for module, package in PACKAGES.items() if find_spec(module) is None]:
        raise InputError(
            f"reranking is scored by {' and '.join(missing)}, which this Python lacks: pip install {' '.join(missing)}"
        )


def by_query(
    rankings: Sequence[Sequence[str]], relevance: Sequence[Mapping[str, int]], names: Sequence[str]
) -> dict[str, list[float]]:
    """Score each ranking of ids, best first; names are such as ndcg_10, mrr_10, recall_5.

    The gain of nDCG is the grade itself, as in trec_eval. The library gets ranks, so that no tie is left to it.
    """
    import ir_measures

    kinds = {"ndcg": ir_measures.nDCG, "mrr": ir_measures.RR, "recall": ir_measures.R}
    measures = {kinds[kind] @ int(cut): name for name in names for kind, cut in [name.split("_")]}
    run = {str(i): {name: float(-rank) for rank, name in enumerate(ids)} for i, ids in enumerate(rankings)}
    known = {str(i): dict(grades) for i, grades in enumerate(relevance)}
    values = {name: [0.0] * len(rankings) for name in names}
    for one in ir_measures.iter_calc([*measures], known, run):
        values[measures[one.measure]][int(one.query_id)] = one.value
    return values


def averages(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Average over queries."""
    return {name: sum(each) / len(each) for name, each in values.items() if each}

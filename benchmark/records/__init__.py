"""Records: what a run leaves behind, and where it is kept."""

from benchmark.records.folders import YOURS, published, shipped, sources
from benchmark.records.packed import PackedStore
from benchmark.records.record import MARK, SEEDS, UNTRAINED, Measurement, Record, thin
from benchmark.records.store import Store

__all__ = [
    "MARK", "SEEDS", "UNTRAINED", "YOURS", "Measurement", "PackedStore", "Record", "Store", "published", "shipped",
    "sources", "thin",
]  # fmt: skip

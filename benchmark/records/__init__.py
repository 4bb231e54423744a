"""Records of runs, and the folders that store them."""

from benchmark.records.answers import answers_digest
from benchmark.records.folders import YOURS, file_name, published, shipped, sources
from benchmark.records.headline import MAJORITY, floor_notes, lower_is_better
from benchmark.records.packed import PackedStore
from benchmark.records.record import MARK, SEEDS, UNTRAINED, Measurement, Record, thin
from benchmark.records.repeats import REPEATS, repeat_warnings
from benchmark.records.store import Store

__all__ = [
    "MAJORITY", "MARK", "REPEATS", "SEEDS", "UNTRAINED", "YOURS", "Measurement", "PackedStore", "Record", "Store",
    "answers_digest", "file_name", "floor_notes", "lower_is_better", "published", "repeat_warnings", "shipped",
    "sources", "thin",
]  # fmt: skip

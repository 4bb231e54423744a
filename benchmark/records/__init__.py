"""Records: what a run leaves behind, and where it is kept."""

from benchmark.records.record import MARK, SEEDS, UNTRAINED, Measurement, Record, thin
from benchmark.records.store import Store

__all__ = ["MARK", "SEEDS", "UNTRAINED", "Measurement", "Record", "Store", "thin"]

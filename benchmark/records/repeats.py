"""Examples of one split that another holds as well, and the warnings about them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.records.record import Record

REPEATS = "examples_that_are_also_in_"  # before the name of a split: a count of the data
WARNED = 0.5  # share of such examples; fewer are counted alone
WHY = {  # of a split that repeats another
    ("test", "train"): "so that its scores are of what was learnt by heart",
    ("test", "valid"): "so that it took part in choosing the checkpoint",
    ("valid", "train"): "so that it chooses the checkpoint that knows the training data best",
}


def repeat_warnings(record: Record) -> Iterator[str]:
    """Write which splits mostly repeat another one's examples, input and answer."""
    sizes = record.data.get("sizes", {})
    for split, counts in record.data.get("counts", {}).items():
        for name, number in (counts if isinstance(counts, dict) else {}).items():
            other, size = name.removeprefix(REPEATS), sizes.get(split)
            reason = WHY.get((split.partition("/")[0], other))
            if reason and isinstance(number, int) and isinstance(size, int) and size and number >= WARNED * size:
                many = f"all {size:,}" if number == size else f"{number:,} of {size:,}"
                yield f"warning: {many} examples of {split} are also in {other}, {reason}"

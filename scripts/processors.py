"""Measurement of how much the score of one seed differs between processors.

python scripts/processors.py results=DIR OVERRIDES

Each cell that the overrides name runs under four settings of the libraries' vector instructions and threads, all else
being equal. Printed per seed, split and score: the value under each setting and the range of the values, then the
largest range of each score.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from benchmark.records import Store

INSTRUCTIONS = {  # as torch, MKL and oneDNN name them
    "avx2": ("avx2", "AVX2", "AVX2"),
    "avx512": ("avx512", "AVX512", "AVX512_CORE"),
}
SETTINGS = (("avx2", 1), ("avx2", 2), ("avx512", 1), ("avx512", 2))
SPLITS = ("valid", "test")
SCORES = ("bleu", "chrf++", "loss", "perplexity", "bits_per_byte")


def main(arguments: list[str]) -> None:
    """Run the cells under each setting and print the table."""
    given = [a for a in arguments if not a.startswith("results=")]
    folder = Path(next(a for a in arguments if a.startswith("results=")).partition("=")[2])
    values = defaultdict(list)  # of a method, a seed, a split and a score under each setting
    for instructions, threads in SETTINGS:
        results = folder / f"{instructions}-{threads}"
        run(["-m", *given, f"results={results}", "device=cpu", "force=true"], instructions, threads)
        for record in Store(results / "runs").records():
            for m in record.measurements:
                if m.name in SCORES and m.split in SPLITS and m.step is None:
                    values[record.method, record.seed, m.split, m.name].append(m.value)
    ranges = defaultdict(float)
    for (method, seed, split, name), found in sorted(values.items()):
        print(method, seed, split, name, *(f"{value:.4f}" for value in found), f"range {max(found) - min(found):.4f}")
        ranges[name] = max(ranges[name], max(found) - min(found))
    print({name: round(value, 4) for name, value in ranges.items()})


def run(overrides: list[str], instructions: str, threads: int) -> None:
    """Run cells in a new process, which reads these settings when it starts."""
    aten, mkl, onednn = INSTRUCTIONS[instructions]
    settings = {"ATEN_CPU_CAPABILITY": aten, "MKL_ENABLE_INSTRUCTIONS": mkl, "ONEDNN_MAX_CPU_ISA": onednn}
    settings["OMP_NUM_THREADS"] = str(threads)
    subprocess.run([sys.executable, "-m", "benchmark.run", *overrides], env=os.environ | settings, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])

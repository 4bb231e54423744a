"""The embedded data are identical on every processor and thread count."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from omegaconf import OmegaConf
from threadpoolctl import threadpool_info

from benchmark.config.registry import CONFIGS

pytest.importorskip("babel", reason='the embedded data needs pip install -e ".[embedded]"')
pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')
pytest.importorskip("espeakng_loader", reason='the embedded data needs pip install -e ".[embedded]"')

NO_VECTORS = "AVX2 FMA3 AVX512F AVX512_SKX AVX512_ICL X86_V3 X86_V4"  # NumPy's names, of two of its generations
SETTINGS = [  # OPENBLAS_CORETYPE, threads, ATEN_CPU_CAPABILITY, NPY_DISABLE_CPU_FEATURES
    ("Haswell", 2, "avx2", ""),
    ("Sandybridge", 1, "default", ""),
    ("Haswell", 1, "default", NO_VECTORS),
    ("Katmai", 2, "default", NO_VECTORS),  # OpenBLAS has one set of kernels for this and Prescott
    (None, 1, None, ""),  # the machine's own
]
NAMES = ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES")
MAKE = """
import json, sys
from benchmark.config.compose import cell_of
from benchmark.engine.data import fingerprint
from threadpoolctl import threadpool_info
made = {task: cell_of([f"task={task}", "method=frozen"]).task.splits() for task in sys.argv[1:]}
prints = {f"{task} {name}": fingerprint({name: rows}) for task, splits in made.items() for name, rows in splits.items()}
print(json.dumps([prints, sorted({pool["architecture"] for pool in threadpool_info() if "architecture" in pool})]))
"""
pytestmark = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512")
    or not any(pool["internal_api"] == "openblas" for pool in threadpool_info()),
    reason="only OpenBLAS on an x86-64 processor with AVX2 can be told to add in another processor's order",
)


def embedded_tasks():
    """List the tasks whose own data need no download."""
    for file in sorted((CONFIGS / "task").glob("*.yaml")):
        (data,) = (entry["override /data"] for entry in OmegaConf.load(file).defaults if "override /data" in entry)
        if OmegaConf.load(CONFIGS / "data" / f"{data}.yaml")["_target_"].startswith("tasks.embedded."):
            yield file.stem


def made(tasks, setting, cache):
    """Make tasks' data in a process with an empty cache; return fingerprints."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment |= {name: str(value) for name, value in zip(NAMES, setting, strict=True) if value is not None}
    environment |= {"BENCHMARK_CACHE_DIR": str(cache), "OPENBLAS_NUM_THREADS": str(setting[1])}
    command = [sys.executable, "-c", MAKE, *tasks]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    prints, architectures = json.loads(done.stdout)
    assert setting[0] in (None, *architectures)  # else nothing is compared
    return prints


def differing(tasks, settings, folder):
    """List the splits that are not the same under all settings."""
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(made, tasks, setting, folder / str(i)) for i, setting in enumerate(settings)]
        first, *others = (job.result() for job in asked)
    assert all(other.keys() == first.keys() for other in others)
    return [name for name in first if any(other[name] != first[name] for other in others)]


@pytest.mark.slow
def test_all_embedded_data_are_the_same_in_the_arithmetic_of_every_processor(tmp_path):
    tasks = list(embedded_tasks())
    known = {"text_generation", "nmt", "medical_images", "protein", "speech", "speech_recognition", "language_id"}
    assert known <= set(tasks)
    assert differing(tasks, SETTINGS, tmp_path) == []

"""Environment of a run: code, machine, package versions; no personal data."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

# Versions that can change a number: the stack, the scores, and packages whose content the embedded tasks read.
PACKAGES = (
    "accelerate",
    "babel",
    "crosspeft",
    "datasets",
    "espeakng-loader",
    "evaluate",
    "hydra-core",
    "jiwer",
    "matplotlib",
    "networkx",
    "numpy",
    "pandas",
    "peft",
    "pillow",
    "rapidfuzz",
    "rouge-score",
    "sacrebleu",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "sentencepiece",
    "soundfile",
    "soxr",
    "sympy",
    "timm",
    "tokenizers",
    "torch",
    "transformers",
)


def environment(device: str) -> dict[str, Any]:
    """Describe code and machine; torch is asked only if the run has loaded it."""
    torch = sys.modules.get("torch")
    kind = device.partition(":")[0]
    return {
        **code(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": kind,
        "device_name": torch.cuda.get_device_name(device) if torch and kind == "cuda" else cpu(),
        "threads": torch.get_num_threads() if torch else None,
        # A load above the number of cores shows that the machine was shared, so that times are not the method's.
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": versions(),
    }


@functools.cache  # later commits do not change the code of a running process
def code() -> dict[str, Any]:
    """Give the commit, and say whether files differ from it."""
    commit = _git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": None if commit is None else bool(_git("status", "--porcelain"))}


def versions() -> dict[str, str]:
    """Give the version of each installed package of PACKAGES."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def cpu() -> str:
    """Name the processor's model, or at least its architecture."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(errors="replace").splitlines() if listing.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed as a package: a repository further up is another project
        return None
    # Inside a hook, GIT_DIR and the like would point to another repository.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None

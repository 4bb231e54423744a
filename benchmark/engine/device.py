"""Which device a run gets, and whether it is there for this run alone."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from benchmark.errors import InputError

DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # without one there is no GPU to ask torch for
QUERY = ("--query-compute-apps=pid,used_memory", "--format=csv,noheader")


def device_of(setting: str) -> str:
    """Choose the device type. Raises InputError where it is not there."""
    driver = any(Path(driver).exists() for driver in DRIVERS)
    if setting == "cpu" or (setting == "auto" and os.name == "posix" and not driver):
        return "cpu"
    import torch

    if setting == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda: torch sees no CUDA device here")
    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.cache  # before this process takes memory itself
def check_alone(device: str) -> None:
    """Refuse a GPU on which another process holds memory.

    Its costs would be wrong. Raises InputError.
    """
    if device == "cuda" and (held := others()):
        raise InputError(f"device=cuda: {held[0]} is held by another process; wait for it, or mark costs: shared=true")


def others() -> list[str]:
    """List other processes' memory on the visible GPUs, by the driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    which = [f"--id={visible}"] if visible else []
    answer = subprocess.run([program, *which, *QUERY], capture_output=True, text=True, check=False)
    rows = [line.split(",") for line in answer.stdout.splitlines() if "," in line]
    return [f"{memory.strip()} (process {pid.strip()})" for pid, memory in rows if pid.strip() != str(os.getpid())]

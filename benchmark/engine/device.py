"""Device of a run, and whether other processes use it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from benchmark.errors import InputError

DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # without one there is no GPU, and torch is not imported
QUERY = ("--query-compute-apps=pid,used_memory", "--format=csv,noheader")


def device_of(setting: str) -> str:
    """Choose the device type. Raises InputError where there is none of that type."""
    driver = any(Path(driver).exists() for driver in DRIVERS)
    if setting == "cpu" or (setting == "auto" and os.name == "posix" and not driver):
        return "cpu"
    import torch

    if setting == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda: torch finds no CUDA device here; use device=cpu, or install torch with CUDA")
    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.cache  # only the first answer is right: later this process uses memory too
def check_alone(device: str) -> None:
    """Raise InputError for a GPU that another process uses: costs would be wrong."""
    if device == "cuda" and (uses := other_processes()):
        raise InputError(
            f"device=cuda: another process uses {uses[0]}; wait for it, or give shared=true, which marks the costs"
        )


def other_processes() -> list[str]:
    """List the memory of other processes on the visible GPUs, by nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    selection = [f"--id={visible}"] if visible else []
    answer = subprocess.run([program, *selection, *QUERY], capture_output=True, text=True, check=False)
    rows = [line.split(",") for line in answer.stdout.splitlines() if "," in line]
    return [f"{memory.strip()} (process {pid.strip()})" for pid, memory in rows if pid.strip() != str(os.getpid())]

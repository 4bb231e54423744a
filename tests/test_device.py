"""A GPU with somebody else's memory on it gives no trusted cost."""

import os

import pytest

from benchmark.engine import device
from benchmark.errors import InputError


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Stand in for the driver's program: it lists what it is told to."""

    def says(text):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{text}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        device.check_alone.cache_clear()

    yield says
    device.check_alone.cache_clear()


def test_a_gpu_that_is_held_is_refused_by_process_and_memory(driver):
    driver("4711, 2340 MiB\\n")
    with pytest.raises(InputError, match=r"another process uses 2340 MiB \(process 4711\); .* shared=true"):
        device.check_alone("cuda")


def test_a_free_gpu_our_own_memory_and_a_cpu_pass(driver):
    for text in ("", f"{os.getpid()}, 500 MiB\\n", "No devices were found\\n"):
        driver(text)
        device.check_alone("cuda")
    driver("4711, 2340 MiB\\n")
    device.check_alone("cpu")


def test_without_a_driver_torch_is_not_asked(monkeypatch):
    monkeypatch.setattr(device, "DRIVERS", ("/no/such/driver",))
    assert device.device_of("auto") == device.device_of("cpu") == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="torch finds no CUDA device here"):
        device.device_of("cuda")

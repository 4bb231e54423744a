"""Tiny checkpoints for the toy data, built once per session without network."""

import atexit
import functools
import os
import shutil
import tempfile

os.environ["HF_HOME"] = tempfile.mkdtemp()  # what the libraries write does not go to the user's home
os.environ.setdefault("BENCHMARK_CACHE_DIR", f"{os.environ['HF_HOME']}/crosspeft")  # nor what the tasks prepare
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import sys
from typing import NamedTuple

import pytest
import torch
from absl import logging as absl_logging
from transformers.utils.logging import disable_progress_bar

from benchmark.config import registry

# Hydra closes every log handler when it starts, and this one (of rouge-score) its stream: pytest's own, were it not for
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
torch.set_num_threads(1)
disable_progress_bar()

SHORT = "task.max_target_tokens=12"  # twice the longest toy answer: a random network writes as much as it may


def pytest_addoption(parser):
    families = ["ordinary", "others", "all"]
    parser.addoption("--families", default=families[0], choices=families, help="whose networks the gate takes")
    parser.addoption("--added", help="a folder with methods of its own, for the gate")


def pytest_configure(config):
    if config.getoption("added"):
        registry.add(config.getoption("added"))


# markers of tests that run only where -m names them
ASKED_FOR = ("slow", "chaos", "slurm", "browser", "mutants", "networks")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each worker whole files, so that shared fixtures are made once."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_make_parametrize_id(val):
    """Name bytes by their length: packed ones hold the time of packing, so that workers would collect unlike names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config, items):
    chosen = config.getoption("-m")
    left_out = [item for item in items if any(item.get_closest_marker(m) and m not in chosen for m in ASKED_FOR)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def toy_tokenizer():
    import networks  # takes seconds, which tests without a network need not wait for

    return networks.toy_tokenizer()


@pytest.fixture(scope="session")
def tiny_causal(toy_tokenizer, tmp_path_factory):
    """Folder of a random Llama, for backbone=causal_lm and data=toy."""
    import networks

    return networks.save_toy("causal_lm", toy_tokenizer, tmp_path_factory.mktemp("tiny_causal"))


@pytest.fixture(scope="session")
def tiny_seq2seq(toy_tokenizer, tmp_path_factory):
    """Folder of a random mBART."""
    import networks

    return networks.save_toy("seq2seq", toy_tokenizer, tmp_path_factory.mktemp("tiny_seq2seq"))


@pytest.fixture(scope="session")
def toy_cell(tiny_causal, tiny_seq2seq):
    """Build a cell on the toy data: toy_cell("causal_lm", "lora", "budget.steps=2")."""
    from benchmark.config.compose import cell_of

    backbones = {"causal_lm": (tiny_causal, "text_generation"), "seq2seq": (tiny_seq2seq, "nmt")}

    @functools.cache  # composing takes longer than most of what tests ask of a cell
    def make(kind, method, *words):
        folder, task = backbones[kind]
        chosen = [f"task={task}", f"method={method}", f"backbone={kind}", "data=toy", "budget=smoke", SHORT]
        return cell_of([*chosen, f"backbone.checkpoint={folder}", "backbone.lr_scale=1", *words])

    return make


@pytest.fixture(scope="session")
def timm_folder(tmp_path_factory):
    """Save a tiny checkpoint in timm's layout: timm_folder("resnet50", channels=1)."""
    import networks

    return lambda name, *more, **options: networks.save_timm(tmp_path_factory.mktemp(name), name, *more, **options)


@pytest.fixture(scope="session")
def image_archive(tmp_path_factory):
    from factories import write_image_archive

    return write_image_archive(tmp_path_factory.mktemp("npz") / "halves.npz")


@pytest.fixture(scope="session")
def image_cell(timm_folder, image_archive):
    """Build a cell on the archive of images: image_cell("resnet50", "method=lora")."""
    from benchmark.config.compose import cell_of

    folder_of = functools.cache(timm_folder)

    def make(architecture, *overrides, channels=3):
        chosen = ["task=medical_images", "data=image_npz", f"data.file={image_archive}", "task.size=12", "budget=smoke"]
        chosen += ["backbone=timm_network", f"backbone.checkpoint={folder_of(architecture, channels)}"]
        return cell_of([*chosen, "backbone.lr_scale=1", *overrides])

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Build the checkpoint of a hub configuration, once: checkpoint("gpt2_medium")."""
    from checkpoints import LEARNT, save_text

    return functools.cache(lambda name: save_text(LEARNT[name], tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="session")
def toy_shape(tiny_causal):
    shape = ["task=text_generation", "data=toy", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
    return [*shape, "budget=smoke", SHORT]


@pytest.fixture
def toy_sweep(toy_shape, tmp_path):
    """A sweep of four toy cells."""
    return ["-m", *toy_shape, "method=lora,ia3", "seed=0,1", "device=cpu", f"results={tmp_path}"]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def command_overrides(toy_shape, results):
    """A call that works, of two steps; a later override of the same key wins."""
    sizes = ["data.train=24", "data.test=8", "budget.steps=2"]
    return ["method=lora", *toy_shape, *sizes, "device=cpu", f"results={results}"]


@pytest.fixture
def call(command_overrides, tmp_path, monkeypatch, capfd):
    """Run in this process, in an empty folder, with no shipped records."""
    from benchmark import run

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("benchmark.records.folders.RESULTS", tmp_path / "installed")

    def perform(*more):
        capfd.readouterr()
        status = run.main([*command_overrides, *more])
        return Outcome(status, *capfd.readouterr())

    return perform


@pytest.fixture
def figure_results(tmp_path):
    """Results of which every figure has something."""
    from drawings import ship_figures

    return ship_figures(tmp_path)


@pytest.fixture
def undrawn(monkeypatch):
    """Write figures without drawing them, where a test reads tables, of which a report draws several each time."""
    from benchmark.report.figures.drawing import press

    empty = {kind: press.SIGNS.get(kind, b"[]") for kind in (*press.METADATA, press.MARKS)}
    monkeypatch.setattr(press, "render", lambda picture: empty)

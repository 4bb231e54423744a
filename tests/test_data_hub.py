"""Data and checkpoints of the hub: asked by name, refused soon without a network."""

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
from huggingface_hub import constants

from benchmark import run
from benchmark.backbones import hub
from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from tasks.data import Hub

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def asked(monkeypatch):
    """Stand in for the hub, noting requests; rows as in OPUS-100 and Tatoeba."""
    calls = []

    def load_dataset(path, name, *, revision, split):
        calls.append((path, name, revision, split))
        if path.startswith("mteb"):
            return [{"sentence1": f"ta {i}", "sentence2": f"en {i}", "lang": "tam-eng"} for i in range(4)]
        return [{"translation": {"en": f"{split} {i}", "ta": f"ta {split} {i}"}} for i in range(8)]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_the_hub_is_asked_for_what_the_configuration_names(asked):
    pin = "0123456789" * 4
    cell = cell_of(["task=opus100_ta", "method=frozen", f"data.revision={pin}"])
    splits = cell.task.splits()
    opus = "Helsinki-NLP/opus-100"
    assert asked == [
        (opus, "en-ta", pin, "train"),
        (opus, "en-ta", pin, "validation"),
        (opus, "en-ta", pin, "test"),
        ("mteb/tatoeba-bitext-mining", "tam-eng", None, "test"),
    ]
    assert list(splits) == ["train", "valid", "test", "test/tatoeba"]
    assert splits["valid"][1][1:3] == ("validation 1", ("ta validation 1",))
    assert splits["test/tatoeba"][1][1:3] == ("en 1", ("ta 1",))


def test_a_shift_takes_from_its_own_set_what_it_does_not_name(asked):
    shifts = {
        "later": {"split": "test_2"},
        "news": {"id": "mteb/x", "split": "s", "columns": {"source": "sentence2", "target": "sentence1"}},
    }
    columns = {"source": "translation.en", "target": "translation.ta"}
    names = {"train": "train", "valid": "dev", "test": "test"}
    options = {"description": "", "id": "a/b", "config": "c", "revision": "r", "merge": True, "shares": {}}
    Hub(splits_of=names, shifts=shifts, columns=columns, **options).splits()
    assert asked[3:] == [("a/b", "c", "r", "test_2"), ("mteb/x", None, None, "s")]


@pytest.mark.parametrize(  # inputs of each split; labelled sets give a quarter and a tenth of each class
    ("task", "sizes"), [("opus100_ta", [21, 3, 8]), ("solubility", [20, 4, 8]), ("cremad", [42, 6, 16])]
)
def test_what_a_set_of_the_hub_lacks_is_drawn_from_train_with_equal_inputs_together(task, sizes, tmp_path, monkeypatch):
    sequences = [(a + b + c) * 3 for a in "ACDE" for b in "FGHI" for c in "KLMN"]
    sound = []
    for number in range(64):
        soundfile.write(tmp_path / "a.wav", np.sin(np.arange(99) * (0.1 + number / 99)), 8000)
        sound.append({"bytes": (tmp_path / "a.wav").read_bytes(), "path": None})
    columns = {
        "opus100_ta": {"translation": [{"en": f"en {i // 2}", "ta": f"ta {i}"} for i in range(64)]},
        "solubility": {
            "sequences": [sequences[i // 2] for i in range(64)],
            "labels": [str(i // 2 % 2) for i in range(64)],
        },
        "cremad": {"audio": sound, "label": ["ab"[i % 2] for i in range(64)]},
    }
    table = datasets.Dataset.from_dict(columns[task])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    words = ["~data.splits_of.valid", "~data.splits_of.test", "+data.shares.test=0.25"]
    words += ["~data.shifts.tatoeba"] if task == "opus100_ta" else []
    data = cell_of([f"task={task}", "method=frozen" if task == "opus100_ta" else "method=head", *words]).task.data
    splits = data.splits()
    sources = [{str(e.source) for e in part} for part in splits.values()]
    assert list(splits) == ["train", "valid", "test"]
    assert [len(part) for part in sources] == sizes
    assert len(set.union(*sources)) == sum(sizes)
    assert {len(e.targets) for e in splits["test"]} == {2 if task == "opus100_ta" else 1}
    assert data.reading.notes["drawn_from_train"].startswith("test 0.25 (16 examples), valid 0.1 (")


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("+data.shifts.x.splt=test", "data.shifts.x.splt: no such key; did you mean split?"),
        ("+data.shifts.x.id=a/b", "data.shifts.x.split: required"),
        ("~data.splits_of.train", "data.splits_of.train: required"),
        ("+data.shares.valid=0.1", "split valid: name its rows"),
        ("+data.splits_of.dev=x", "data.splits_of.dev: no such key"),
    ],
)
def test_a_hub_node_with_a_wrong_key_is_refused(key, wanted):
    with pytest.raises(InputError) as refusal:
        cell_of(["task=opus100_ta", "method=frozen", key])
    assert wanted in str(refusal.value)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach 'x'\nmore"), ConnectionError(), ValueError("BuilderConfig not found"),
        RuntimeError("Dataset scripts are no longer supported"), datasets.exceptions.DatasetNotFoundError("no set"),
        datasets.exceptions.DatasetGenerationError("broken off"),
    ],
    ids=lambda error: f"{type(error).__name__} {str(error)[:5]}",
)  # fmt: skip
def test_what_the_hub_cannot_give_is_refused_with_what_to_do_instead(error, monkeypatch):
    def load_dataset(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError) as refusal:
        cell_of(["task=e2e_nlg", "method=frozen"]).task.splits()
    line = str(refusal.value)
    reason = str(error).partition("\n")[0] or type(error).__name__
    for word in ("tuetschek/e2e_nlg", reason, "data=files data.train=F", "data.columns.source=COLUMN"):
        assert word in line
    assert "\n" not in line


def test_a_record_names_what_the_hub_may_change(asked, tiny_seq2seq, tmp_path, capfd):
    base = [
        "task=opus100_ta", "method=frozen", "backbone=seq2seq", f"backbone.checkpoint={tiny_seq2seq}", "budget=smoke",
        "device=cpu", "task.max_target_tokens=8", f"results={tmp_path}",
    ]  # fmt: skip
    pin = "0123456789" * 4
    for more, unpinned in (
        ([], ["Helsinki-NLP/opus-100", "mteb/tatoeba-bitext-mining"]),
        ([f"data.revision={pin}"], ["mteb/tatoeba-bitext-mining"]),
        ([f"data.revision={pin}", f"data.shifts.tatoeba.revision={pin}"], None),
        (["data.revision=main", f"data.shifts.tatoeba.revision={pin}"], ["Helsinki-NLP/opus-100"]),
    ):
        assert run.main([*base, *more]) == 0
        newest = max(tmp_path.glob("runs/*/*/*.json"), key=lambda p: p.stat().st_mtime_ns)
        assert json.loads(newest.read_text())["data"].get("unpinned") == unpinned
        shown = capfd.readouterr().out
        assert ("unpinned: " + ", ".join(unpinned) in shown) if unpinned else ("unpinned" not in shown)


@pytest.fixture
def cached(tiny_causal, tmp_path, monkeypatch):
    """Commit of a cached checkpoint me/tiny, in the layout of the hub's cache."""
    commit = "fedcba9876" * 4
    home = tmp_path / "cache" / "models--me--tiny"
    shutil.copytree(tiny_causal, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return commit


def test_a_fetched_checkpoint_runs_without_a_network_and_is_unpinned_unless_by_commit(cached, tmp_path):
    base = [
        "task=nmt",
        "data=toy",
        "method=frozen",
        "backbone=causal_lm",
        "backbone.checkpoint=me/tiny",
        "budget=smoke",
    ]
    for more, unpinned in (([], ["me/tiny"]), ([f"backbone.revision={cached}"], None)):
        assert run.main([*base, "task.max_target_tokens=8", "device=cpu", f"results={tmp_path / 'r'}", *more]) == 0
        newest = max(tmp_path.glob("r/runs/*/*/*.json"), key=lambda p: p.stat().st_mtime_ns)
        assert json.loads(newest.read_text())["data"].get("unpinned") == unpinned


class Refusing(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(401)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoints():
    """A closed port, a silent listener, and a server with given answers."""
    with (
        socket.socket() as free,
        socket.socket() as silent,
        http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server,
    ):
        free.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = {"closed": free.getsockname()[1], "silent": silent.getsockname()[1], "answers": server.server_port}
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        server.shutdown()


@pytest.mark.parametrize(("place", "offline"), [("closed", True), ("silent", True), ("answers", False)])
def test_a_hub_that_does_not_answer_is_noticed_soon(place, offline, endpoints, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoints[place])
    monkeypatch.setattr(hub, "PATIENCE", 0.5)
    started = time.monotonic()
    assert hub.is_offline.__wrapped__() is offline
    assert time.monotonic() - started < 5


def test_a_resolver_that_does_not_answer_is_not_waited_for(endpoints, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoints["answers"])
    monkeypatch.setattr(hub, "PATIENCE", 0.1)
    woken = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: woken.wait(20) and [])
    started = time.monotonic()
    assert hub.is_offline.__wrapped__()
    assert time.monotonic() - started < 5
    woken.set()


@pytest.mark.slow
def test_without_a_network_hub_data_and_checkpoints_are_refused_within_seconds(endpoints, tiny_causal, tmp_path):
    program = f"""
import time, datasets, torch, transformers  # none of them is what is timed
from benchmark.run import main
for more in (['backbone=causal_lm', 'backbone.checkpoint={tiny_causal}'], ['backbone=gpt2_medium']):
    started = time.monotonic()
    short = ['task.max_source_tokens=96', 'task.max_target_tokens=96']  # the tiny network has 256 positions
    assert main(['method=frozen', 'task=e2e_nlg', 'budget=smoke', 'results={tmp_path}/r', *short, *more]) == 2
    print("seconds:", time.monotonic() - started)
"""
    unset = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    alone = {**unset, "HF_ENDPOINT": endpoints["closed"], "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("refused: ")]
    assert len(lines) == 2
    assert "tuetschek/e2e_nlg" in lines[0]
    assert "data=files" in lines[0]
    assert "openai-community/gpt2-medium" in lines[1]
    assert "backbone.checkpoint=DIR" in lines[1]
    seconds = [float(line.partition("seconds:")[2]) for line in done.stdout.splitlines() if "seconds:" in line]
    assert max(seconds) < 10, "the hub's clients alone retry for 23 seconds and more"
    assert not (tmp_path / "r").exists()

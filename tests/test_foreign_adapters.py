"""A saved adapter whose cell.json was written by somebody else: refused in one sentence, and nothing is imported."""

import json
import os
import shutil
from pathlib import Path

import pytest

from benchmark import saved
from benchmark.errors import InputError

MADE = Path(__file__).parent / "made_before" / "lora"
CLASSES = [
    "os.system",
    "benchmark.types.os",
    "benchmark.methods.hf_peft.os",
    "benchmark.run.main",
    "builtins.eval",
    5,
    {},
]
CALL = {"_target_": "os.mkdir", "_args_": ["OUT"], "_partial_": False, "_convert_": "all"}
INSIDE = [
    "method.options",
    "method.options.deep",
    "method.search.lr",
    "backbone.head_lr.x",
    "task.data.x",
    "task.skip_bad",
]


def adapter(folder, path, value):
    """Change one value of an adapter's cell; None takes it away."""
    shutil.copytree(MADE, folder / "adapter")
    content = json.loads((MADE / "cell.json").read_text())
    del content["digest"]
    node = content["config"]
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    if value is None:
        del node[last]
    (folder / "adapter" / "cell.json").write_text(json.dumps(content).replace("OUT", str(folder / "made")))
    return folder / "adapter"


CASES = [
    *((f"{noun}._target_", name) for noun in ("task", "method", "backbone", "budget", "task.data") for name in CLASSES),
    *((path, value) for path in INSIDE for value in (CALL, [CALL], {"inner": [CALL]})),
    *((f"{noun}.{key}", ["x"]) for noun in ("method", "task") for key in ("_args_", "_partial_", "_convert_")),
    *(
        (path, text)
        for path in ("method.lr", "task.max_residues", "seed")
        for text in ("${oc.env:HOME}", "${seed}", "x")
    ),
    *((path, None) for path in ("task", "method", "backbone", "budget", "seed", "backbone.checkpoint")),
    ("backbone.checkpoint", {"name": "../../records", "sha256": "0"}),
    ("backbone.checkpoint", "/etc/passwd"),
    ("method.rank", -1),
]


@pytest.mark.parametrize(("path", "value"), CASES, ids=str)
def test_a_foreign_cell_is_refused_and_calls_nothing(path, value, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"called with {command}"))
    with pytest.raises(InputError) as refused:
        saved.load(adapter(tmp_path, path, value))
    assert len(str(refused.value).splitlines()) == 1
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b"null", b'{"config": {}}'])
def test_a_cell_that_is_no_record_is_refused_by_folder(content, tmp_path):
    shutil.copytree(MADE, tmp_path / "adapter")
    (tmp_path / "adapter" / "cell.json").write_bytes(content)
    with pytest.raises(InputError, match="adapter' cannot be loaded: "):
        saved.load(tmp_path / "adapter")

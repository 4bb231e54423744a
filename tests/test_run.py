"""The run: one call makes one record, and the same call none."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import sacrebleu
import torch
from factories import final_value, json_records, read_files

from benchmark.config.compose import cell_of, choices_of
from benchmark.config.overrides import make_portable
from benchmark.engine import train
from benchmark.identity import run_id
from benchmark.records import Store

REPOSITORY = Path(__file__).resolve().parents[1]
PUBLIC = {  # what others read; the issue's own list
    "schema", "run_id", "task", "method", "backbone", "seed", "status", "reason", "config", "environment",
    "measurements",
}  # fmt: skip


def test_a_run_leaves_one_record_with_everything_that_others_read(call, results):
    assert call("seed=3").status == 0
    (path,) = results.glob("runs/text_generation/lora/*.json")
    record = json.loads(path.read_text())
    assert record.keys() >= PUBLIC
    assert path.name == f"{record['run_id']}.json"
    assert (record["task"], record["method"], record["backbone"]) == ("text_generation", "lora", "causal_lm")
    assert (record["seed"], record["status"], record["reason"]) == (3, "done", None)
    assert record["config"]["method"]["rank"] == 16
    assert record["config"]["budget"]["steps"] == 2
    assert record["environment"]["device"] == "cpu"
    assert record["environment"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert record["data"]["metric"] == "bleu"
    assert record["data"]["sizes"] == {"train": 24, "valid": 8, "test": 8, "test/longer": 8}
    assert f"version:{sacrebleu.__version__}" in record["signatures"]["bleu"]
    layer = [*(f"mlp.{x}_proj" for x in ("down", "gate", "up")), *(f"self_attn.{x}_proj" for x in "koqv")]
    wrapped = [f"{i}.{name}" for i in "01" for name in layer]
    assert [name.partition("model.layers.")[2] for name in record["modules"]] == wrapped
    assert {"split", "name", "value", "step"} == set().union(*record["measurements"])
    # hidden 32, feed-forward 64, rank 16: four square projections and three between 32 and 64, in two layers
    assert final_value(record, "cost", "trainable_params") == 2 * 16 * (4 * (32 + 32) + 3 * (32 + 64))
    for split in ("valid", "test", "test/longer"):
        assert 0 <= final_value(record, split, "bleu") <= 100


def test_a_record_holds_the_overrides_that_make_its_cell(call, results, tiny_causal):
    call("seed=3", "method.rank=4", "phase=tune", "trial=2", "shared=true")
    (record,) = Store(results / "runs").records()
    changed = [override for override in record.overrides if not override.startswith(("task", "data", "b"))]
    assert changed == ["method=lora", "seed=3", "method.rank=4", "phase=tune", "trial=2"]
    assert f"backbone.checkpoint={Path(tiny_causal).name}" in record.overrides
    assert (record.trial, record.tuning, record.budget_name, record.seed) == (2, True, "smoke", 3)
    here = [o.replace(Path(tiny_causal).name, str(tiny_causal)) for o in record.overrides]
    assert run_id(choices_of(cell_of(here))) == record.run_id


@pytest.mark.parametrize(
    ("override", "kept"),
    [
        ("data.train=/data/some where/x.csv", "data.train=x.csv"),
        ("+data.files={all:/no/such/f.fa,test:'/b/c d.fa'}", "+data.files={all:f.fa,test:'c d.fa'}"),
        ("backbone.checkpoint=timm/resnet50", "backbone.checkpoint=timm/resnet50"),
        ("data.folder=~/images", "data.folder=images"),
        ("method.targets=[q,v]", "method.targets=[q,v]"),
        ("task.template='{source} / {target}'", "task.template='{source} / {target}'"),
    ],
)
def test_an_override_of_a_record_names_no_folder_of_this_machine(override, kept):
    assert make_portable([override], 0, None) == [kept]


def test_the_command_reaches_its_first_step_in_at_most_eight_frames(call, monkeypatch):
    """Ours alone; one more than is seen here is the line that calls main()."""
    stacks, learn = [], train.learn

    def watched(*given):
        stacks.append([frame.name for frame in traceback.extract_stack() if "/benchmark/" in frame.filename])
        return learn(*given)

    monkeypatch.setattr(train, "learn", watched)
    assert call().status == 0
    assert stacks[0][0] == "main"
    assert 1 + len([*stacks[0], "learn"]) <= 8, stacks[0]


def test_a_record_holds_no_place_of_this_machine(call, results, tiny_causal):
    call("method=full", f"save={results.parent / 'kept'}")
    text = "".join(p.read_text() for p in [*results.rglob("*.json"), *(results.parent / "kept").rglob("*.json")])
    assert Path(tiny_causal).name in text
    for place in (Path(tiny_causal).parent, results.parent, REPOSITORY, Path.home()):
        assert str(place) not in text


def test_a_recorded_cell_is_skipped_and_says_so(call, results):
    call()
    before = read_files(results)
    again = call()
    assert again.status == 0
    about, already, *_ = again.out.splitlines()
    assert about == "lora on text_generation: backbone causal_lm, budget smoke, seed 0"
    assert already.startswith("already recorded")
    assert "force=true" in already
    assert read_files(results) == before


def test_force_keeps_the_old_record_under_a_number(call, results):
    call()
    before = read_files(results)
    assert call("force=true").status == 0
    after = read_files(results)
    for name, content in before.items():
        stem, dot, suffix = name.partition(".")
        assert after[f"{stem}.1{dot}{suffix}"] == content
    assert len(after) == 2 * len(before)


def test_a_recorded_cell_of_another_device_type_skips_nothing(call, results):
    call()
    (path,) = results.rglob("*.json")
    record = json.loads(path.read_text())
    record["environment"]["device"] = "cuda"
    del record["digest"]
    path.write_text(json.dumps(record))
    assert "already recorded" not in call().out
    found = [json.loads(path.read_text()) for path in results.rglob("*.json")]
    assert sorted(record["environment"]["device"] for record in found) == ["cpu", "cuda"]


def test_a_moved_checkpoint_is_the_same_cell_and_a_changed_one_is_not(call, results, tiny_causal, tmp_path):
    call()
    moved = shutil.copytree(tiny_causal, tmp_path / "deep" / "down" / Path(tiny_causal).name)
    assert "already recorded" in call(f"backbone.checkpoint={moved}").out
    assert "already recorded" in call(f"backbone.checkpoint={os.path.relpath(moved)}").out
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    assert "already recorded" not in call(f"backbone.checkpoint={moved}").out
    assert len({r["run_id"] for r in json_records(results)}) == 2


def test_moved_results_are_found_again(call, results, tmp_path):
    call()
    results.rename(tmp_path / "moved")
    assert "already recorded" in call(f"results={tmp_path / 'moved'}").out
    assert not results.exists()


@pytest.mark.skipif(os.name != "posix", reason="signals and pseudo-terminals are POSIX's")
@pytest.mark.slow
def test_ctrl_c_leaves_no_half_written_file(call, command_overrides, results):
    call()
    before = read_files(results)
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark.run", *command_overrides, "seed=1", "budget.steps=1000000"],
        cwd=REPOSITORY,
        stderr=inside,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
        # a shell without job control lets what it starts in the background ignore the signal, and so would our child
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(inside)
    shown, deadline = b"", time.monotonic() + 60
    while not re.search(rb"[1-9]\d*/1000000", shown) and time.monotonic() < deadline:
        shown += os.read(terminal, 1000)
    process.send_signal(signal.SIGINT)
    rest = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while more := os.read(terminal, 1000):
            rest += more
    assert process.wait(20) == 130
    os.close(terminal)
    assert b"stopped" in rest
    assert b"Traceback" not in rest
    assert read_files(results) == before

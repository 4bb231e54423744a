"""Calls that cannot run: refused in one line, or recorded as a result."""

import functools
import itertools
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from factories import json_records, read_files

from benchmark import run
from benchmark.engine import train

REPOSITORY = Path(__file__).resolve().parents[1]


def folder(path, **files):
    path.mkdir()
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


REFUSED = {  # words -> what the line must hold
    "method=lra": ["method=lra", "did you mean lora"],
    "task=text_generatoin": ["task=text_generatoin", "did you mean text_generation"],
    "backbone=mbart_cldrr": ["backbone=mbart_cldrr", "did you mean mbart_cldr"],
    "budget=smok": ["budget=smok", "did you mean smoke"],
    "data=tooy": ["data=tooy", "did you mean toy"],
    "-m method=lora,dorra": ["method=dorra", "did you mean dora"],
    "method=": ["method=", "known: adalora"],
    "method.rank=abc": ["method.rank", "'abc'", "int"],
    "method.lr=fast": ["method.lr", "'fast'", "float"],
    "method.lr=nan": ["lr", "nan"],
    "budget.steps=2.5": ["budget.steps", "2.5", "int"],
    "budget.steps=0": ["budget.steps", "0", "at least 1"],
    "budget.precision=fp8": ["budget.precision", "fp8", "bf16"],
    "seed=x": ["seed", "'x'", "int"],
    "seed=1,2": ["seed=1,2", "--multirun"],
    "force=perhaps": ["force", "'perhaps'", "bool"],
    "method.rnk=3": ["method.rnk", "did you mean rank"],
    "+method.rnk=3": ["method.rnk", "did you mean rank"],
    "methd.rank=3": ["methd.rank", "did you mean method"],
    "sed=3": ["sed", "did you mean seed"],
    "method.options.alpha=3": ["method.options.alpha", "did you mean lora_alpha", "+method.options.alpha"],
    "+method.options.alpha=3": ["method.options.alpha", "did you mean lora_alpha"],
    "method.targets=[qury]": ["qury", "did you mean query"],
    "~method.rank": ["method.rank", "required"],
    "lora": ["lora", "VALUE"],
    "--multi": ["--multi", "did you mean --multirun"],
    "device=gpu": ["device", "'gpu'", "cuda"],
    "backbone.checkpoint=/no/where": ["backbone.checkpoint", "/no/where"],
    "backbone.checkpoint=EMPTY": ["no config.json", "note.txt", "model.safetensors"],
    "method=full backbone.checkpoint=EMPTY": ["no config.json"],
    "backbone.checkpoint=BROKEN": ["config.json", "as JSON"],
    "backbone.checkpoint=NAMELESS": ["config.json", "model_type"],
    "backbone=seq2seq": ["causal_lm network", "backbone=causal_lm"],
    "backbone.checkpoint=SEQ2SEQ": ["seq2seq network", "backbone=seq2seq"],
    "backbone.weights=noise": ["backbone.weights", "'noise'", "random"],
    "task.template=plain": ["task.template", "{source}"],
    "task.metrics=[accuracy]": ["task.metrics", "accuracy", "allow_metric_code"],
    "results=FILE": ["results", "not a writable folder"],
    "save=FILE/deep": ["save", "not a writable folder"],
    "save=EMPTY": ["save", "not empty"],
    "save=": ["save", "has no value"],
    "method=bitfit": ["llama", "bias"],
}


@pytest.mark.parametrize("given", REFUSED)
def test_a_wrong_call_is_refused_in_one_line_and_writes_nothing(given, call, results, tiny_seq2seq, tmp_path):
    places = {
        "EMPTY": folder(tmp_path / "empty", note__txt=""),
        "BROKEN": folder(tmp_path / "broken", config__json="{"),
        "NAMELESS": folder(tmp_path / "nameless", config__json="{}"),
        "SEQ2SEQ": tiny_seq2seq,
        "FILE": folder(tmp_path / "files", file="") / "file",
    }
    before = read_files(tmp_path)
    text = functools.reduce(lambda text, name: text.replace(name, str(places[name])), places, given)
    outcome = call(*text.split(" "))
    assert outcome.status == 2
    assert re.fullmatch(r"(\w+ on \w+: .*\n)?", outcome.out)  # what it is about is printed before it is built
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("refused: ")
    for wanted in REFUSED[given]:
        assert wanted in outcome.err
    assert read_files(tmp_path) == before


@pytest.mark.parametrize("needed", ["method", "task"])
def test_a_call_without_method_or_task_says_what_there_is(needed, command_overrides, capfd):
    assert run.main([word for word in command_overrides if not word.startswith(f"{needed}=")]) == 2
    line = capfd.readouterr().err
    assert f"{needed}=? is missing" in line
    assert {"method": "houlsby", "task": "nmt"}[needed] in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the call asks for")
def test_a_device_that_is_not_there_is_refused(call, results):
    outcome = call("device=cuda")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "device=cuda" in outcome.err
    assert not results.exists()


def test_an_unknown_word_is_refused_before_torch_is_imported(command_overrides):
    program = (
        "import sys\n"
        "from benchmark.run import main\n"
        f"for more in (['method=lra'], ['method.rnk=3'], ['--multi'], ['--help']):\n"
        f"    assert main([*{command_overrides!r}, *more]) == (0 if more == ['--help'] else 2), more\n"
        "    assert not {'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules), more\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_file_of_every_group(capfd):
    assert run.main(["--help"]) == 0
    page = capfd.readouterr().out
    for file in REPOSITORY.glob("configs/*/*.yaml"):
        if file.parent.name not in ("pretrain", "sweep", "network"):  # no choices of a run
            section = page.partition(f"\n{file.parent.name}=\n")[2].partition("\n\n")[0]
            assert re.search(rf"^  {re.escape(file.stem)} +\S", section, re.MULTILINE), file


def test_an_impossible_pair_is_a_skipped_record_of_a_sweep(call, results):
    outcome = call("-m", "method=bitfit,lora")
    assert outcome.status == 0
    assert {r["method"]: r["status"] for r in json_records(results)} == {"bitfit": "skipped", "lora": "done"}
    skipped = next(r for r in json_records(results) if r["method"] == "bitfit")
    assert "bias" in skipped["reason"]
    assert skipped["measurements"] == []
    single = call("method=bitfit")
    assert (single.status, single.err.count("\n")) == (2, 1), "a skipped record excuses no single call"


def test_a_pair_that_breaks_when_attached_ends_no_sweep(call, results, monkeypatch):
    def attach(self, model, cell):
        raise RuntimeError("no such layer")

    monkeypatch.setattr("benchmark.methods.houlsby.Houlsby.attach", attach)
    assert call("-m", "method=houlsby,lora").status == 0
    assert {r["method"]: (r["status"], r["reason"]) for r in json_records(results)} == {
        "houlsby": ("skipped", "houlsby cannot be attached to this llama network: RuntimeError: no such layer"),
        "lora": ("done", None),
    }


def test_a_sweep_flag_may_stand_anywhere(call, results):
    assert call("method=frozen", "-m", "seed=0,1").status == 0
    assert [r["seed"] for r in json_records(results)] == [0, 1]


def test_a_diverged_run_is_recorded_with_its_step_and_a_sweep_goes_on(call, results, monkeypatch):
    call()
    before = read_files(results)
    learn, steps = train.learn, itertools.count(1)

    def diverging(run, *arguments):
        loss = learn(run, *arguments)
        return math.nan if run.cell.method.lr == 0.5 and next(steps) == 2 else loss

    monkeypatch.setattr(train, "learn", diverging)
    outcome = call("-m", "method.lr=0.5,1e-3")
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    _, failed, done = json_records(results)
    assert (failed["status"], done["status"]) == ("failed", "done")
    assert re.search(r"loss became (nan|inf) at step 2\b", failed["reason"])
    assert failed["reason"] in outcome.err
    assert not [m for m in failed["measurements"] if m["split"].startswith("test")]
    assert before.items() <= read_files(results).items()

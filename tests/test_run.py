"""The run: one call makes one record; faults are refused in one line."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import peft
import pytest
import sacrebleu
import torch
import transformers

from benchmark import run, saved
from benchmark.config.compose import cell_of, choices_of
from benchmark.config.overrides import make_portable
from benchmark.engine import train
from benchmark.identity import run_id
from benchmark.records import Record, Store
from benchmark.records.packed import pack

REPOSITORY = Path(__file__).resolve().parents[1]
PUBLIC = {  # what others read; the issue's own list
    "schema", "run_id", "task", "method", "backbone", "seed", "status", "reason", "config", "environment",
    "measurements",
}  # fmt: skip


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def words(tiny_causal, tmp_path) -> list[str]:
    """A call that works, of two steps; a later word of the same key wins."""
    return [
        "method=lora", "task=text_generation", "task.max_target_tokens=20", "data=toy", "data.train=24", "data.test=8",
        "budget=smoke", "budget.steps=2", "device=cpu",
        "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}", f"results={tmp_path / 'results'}",
    ]  # fmt: skip


@pytest.fixture
def call(words, tmp_path, monkeypatch, capfd) -> Callable[..., Outcome]:
    """Run in this process, in an empty folder, with no shipped records."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr("benchmark.records.folders.RESULTS", tmp_path / "installed")

    def perform(*more: str) -> Outcome:
        capfd.readouterr()
        status = run.main([*words, *more])
        return Outcome(status, *capfd.readouterr())

    return perform


@pytest.fixture
def results(tmp_path) -> Path:
    return tmp_path / "results"


def records(folder: Path) -> list[dict]:
    """Read every current record as plain JSON, in the order they were made."""
    found = [p for p in folder.glob("runs/*/*/*.json") if re.fullmatch(r"[0-9a-f]{12}\.json", p.name)]
    return [json.loads(p.read_text()) for p in sorted(found, key=lambda p: p.stat().st_mtime_ns)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def value(record: dict, split: str, name: str) -> float:
    (found,) = [m["value"] for m in record["measurements"] if (m["split"], m["name"], m["step"]) == (split, name, None)]
    return found


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
    assert value(record, "cost", "trainable_params") == 2 * 16 * (4 * (32 + 32) + 3 * (32 + 64))
    for split in ("valid", "test", "test/longer"):
        assert 0 <= value(record, split, "bleu") <= 100


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


def test_a_run_says_what_it_does_before_it_loads_torch_also_to_a_file(words, tmp_path):
    """Within five seconds of computing: of a busy machine's clock nothing is said."""
    program = f"""
import sys, time
from benchmark import run
def stop(*given):
    sys.exit(f"{{open(sys.argv[1]).read()}} {{'torch' in sys.modules}} {{time.process_time() < 5}}")
run.assemble = stop
run.main({words!r})
"""
    place = tmp_path / "said"
    with place.open("w") as file:
        command = [sys.executable, "-c", program, place]
        done = subprocess.run(command, cwd=REPOSITORY, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    line = "lora on text_generation: backbone causal_lm, budget smoke, seed 0"
    assert done.stderr.splitlines() == [line, " False True"]


def test_a_record_holds_no_place_of_this_machine(call, results, tiny_causal):
    call("method=full", f"save={results.parent / 'kept'}")
    text = "".join(p.read_text() for p in [*results.rglob("*.json"), *(results.parent / "kept").rglob("*.json")])
    assert Path(tiny_causal).name in text
    for place in (Path(tiny_causal).parent, results.parent, REPOSITORY, Path.home()):
        assert str(place) not in text


def test_a_recorded_cell_is_skipped_and_says_so(call, results):
    call()
    before = contents(results)
    again = call()
    assert again.status == 0
    about, already, *_ = again.out.splitlines()
    assert about == "lora on text_generation: backbone causal_lm, budget smoke, seed 0"
    assert already.startswith("already recorded")
    assert "force=true" in already
    assert contents(results) == before


def test_force_keeps_the_old_record_under_a_number(call, results):
    call()
    before = contents(results)
    assert call("force=true").status == 0
    after = contents(results)
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
    assert len({r["run_id"] for r in records(results)}) == 2


def test_moved_results_are_found_again(call, results, tmp_path):
    call()
    results.rename(tmp_path / "moved")
    assert "already recorded" in call(f"results={tmp_path / 'moved'}").out
    assert not results.exists()


def folder(path: Path, **files: str) -> Path:
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
    before = contents(tmp_path)
    text = functools.reduce(lambda text, name: text.replace(name, str(places[name])), places, given)
    outcome = call(*text.split(" "))
    assert outcome.status == 2
    assert re.fullmatch(r"(\w+ on \w+: .*\n)?", outcome.out)  # what it is about is printed before it is built
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("refused: ")
    for wanted in REFUSED[given]:
        assert wanted in outcome.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("needed", ["method", "task"])
def test_a_call_without_method_or_task_says_what_there_is(needed, words, capfd):
    assert run.main([word for word in words if not word.startswith(f"{needed}=")]) == 2
    line = capfd.readouterr().err
    assert f"{needed}=? is missing" in line
    assert {"method": "houlsby", "task": "nmt"}[needed] in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the call asks for")
def test_a_device_that_is_not_there_is_refused(call, results):
    outcome = call("device=cuda")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "device=cuda" in outcome.err
    assert not results.exists()


def test_an_unknown_word_is_refused_before_torch_is_imported(words):
    program = (
        "import sys\n"
        "from benchmark.run import main\n"
        f"for more in (['method=lra'], ['method.rnk=3'], ['--multi'], ['--help']):\n"
        f"    assert main([*{words!r}, *more]) == (0 if more == ['--help'] else 2), more\n"
        "    assert not {'torch', 'transformers', 'peft', 'datasets'} & set(sys.modules), more\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_file_of_every_group(capfd):
    assert run.main(["--help"]) == 0
    page = capfd.readouterr().out
    for file in REPOSITORY.glob("configs/*/*.yaml"):
        if file.parent.name not in ("pretrain", "sweep"):
            section = page.partition(f"\n{file.parent.name}=\n")[2].partition("\n\n")[0]
            assert re.search(rf"^  {re.escape(file.stem)} +\S", section, re.MULTILINE), file


def test_an_impossible_pair_is_a_skipped_record_of_a_sweep(call, results):
    outcome = call("-m", "method=bitfit,lora")
    assert outcome.status == 0
    assert {r["method"]: r["status"] for r in records(results)} == {"bitfit": "skipped", "lora": "done"}
    skipped = next(r for r in records(results) if r["method"] == "bitfit")
    assert "bias" in skipped["reason"]
    assert skipped["measurements"] == []
    single = call("method=bitfit")
    assert (single.status, single.err.count("\n")) == (2, 1), "a skipped record excuses no single call"


def test_a_pair_that_breaks_when_attached_ends_no_sweep(call, results, monkeypatch):
    def attach(self, model, cell):
        raise RuntimeError("no such layer")

    monkeypatch.setattr("benchmark.methods.houlsby.Houlsby.attach", attach)
    assert call("-m", "method=houlsby,lora").status == 0
    assert {r["method"]: (r["status"], r["reason"]) for r in records(results)} == {
        "houlsby": ("skipped", "houlsby cannot be attached to this llama network: RuntimeError: no such layer"),
        "lora": ("done", None),
    }


def test_a_sweep_flag_may_stand_anywhere(call, results):
    assert call("method=frozen", "-m", "seed=0,1").status == 0
    assert [r["seed"] for r in records(results)] == [0, 1]


def test_a_diverged_run_is_recorded_with_its_step_and_a_sweep_goes_on(call, results, monkeypatch):
    call()
    before = contents(results)
    learn, steps = train.learn, itertools.count(1)

    def diverging(run, *arguments):
        loss = learn(run, *arguments)
        return math.nan if run.cell.method.lr == 0.5 and next(steps) == 2 else loss

    monkeypatch.setattr(train, "learn", diverging)
    outcome = call("-m", "method.lr=0.5,1e-3")
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    _, failed, done = records(results)
    assert (failed["status"], done["status"]) == ("failed", "done")
    assert re.search(r"loss became (nan|inf) at step 2\b", failed["reason"])
    assert failed["reason"] in outcome.err
    assert not [m for m in failed["measurements"] if m["split"].startswith("test")]
    assert before.items() <= contents(results).items()


def test_no_control_character_reaches_an_output_that_is_no_terminal(call, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # build servers set it; it asks for colour, not for a bar
    assert call().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_steps_loss_speed_and_time_left(call, monkeypatch):
    for name, setting in {"TERM": "xterm-256color", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, setting)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert call("budget.steps=40").status == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert re.search(r"train .*\d+/40 .*\d\.\d/s .*\d:\d\d:\d\d .*loss \d\.\d+", shown)
    assert "predict test" in shown


def test_the_screen_shows_scores_of_every_split_and_the_costs(call, results):
    screen = call().out
    (record,) = records(results)
    header = next(line for line in screen.splitlines() if "score" in line)
    assert re.findall(r"[\w/]+", header) == ["score", "valid", "test", "test/longer"]
    row = next(line for line in screen.splitlines() if "perplexity" in line)
    wanted = [f"{value(record, split, 'perplexity'):.2f}" for split in ("valid", "test", "test/longer")]
    assert re.findall(r"\d+\.\d+", row) == wanted
    params = int(value(record, "cost", "trainable_params"))
    share = 100 * params / value(record, "cost", "params")
    for text in (f"{params:,} ({share:.2f} %)", "tokens/s", "peak memory", "adapter on disk", "selected step"):
        assert text in screen


def ship(results: Path, installed: Path, **changes: str) -> None:
    """Publish the only record, with other words in its data."""
    (path,) = results.glob("runs/*/*/*.json")
    record = Record.from_json(path.read_text())
    (folder := installed / "published" / "one").mkdir(parents=True)
    pack(folder, [(replace(record, data=record.data | changes), None)], {})


def test_shipped_records_are_compared_with_and_skip_nothing(call, results, tmp_path):
    call("seed=1")
    ship(results, tmp_path / "installed")
    shutil.rmtree(results)
    shipped = contents(tmp_path / "installed")
    outcome = call("seed=1")
    assert "already recorded" not in outcome.out
    assert len(records(results)) == 1
    table = outcome.out.partition("same task, backbone and device type")[2]
    assert re.search(r"lora +│ shipped", table)
    assert re.search(r"lora +│ yours .*<- this", table)
    assert "differs" not in outcome.out
    assert contents(tmp_path / "installed") == shipped


def test_other_data_than_the_shipped_is_said_and_not_compared(call, results, tmp_path):
    call("seed=1")
    ship(results, tmp_path / "installed", fingerprint="0123456789abcdef")
    outcome = call()
    assert "differs from that of the shipped results" in outcome.out
    assert not re.search(r"│ shipped", outcome.out)


@pytest.mark.parametrize("method", ["lora", "houlsby"])
def test_a_saved_adapter_answers_as_the_run_did(method, call, results, tiny_causal, tmp_path):
    place = tmp_path / "adapter"
    assert call(f"method={method}", "method.lr=0.05", f"save={place}").status == 0
    names = {p.name for p in place.iterdir()}
    assert {Path(name).suffix for name in names} == {".safetensors", ".json"}
    (record,) = Store(results / "runs").records()
    assert Record.from_json((place / "cell.json").read_text()) == record
    rows = [row for row in Store(results / "runs").examples(record) if row["split"] == "test"]
    adapted = saved.load(place, checkpoint=tiny_causal)
    answers = adapted.answer([row["id"] for row in rows])  # the toy's ids are its sources
    assert answers == [row["prediction"] for row in rows]
    with torch.no_grad():
        for name, parameter in adapted.model.named_parameters():
            parameter.mul_(0 if "lora_B" in name or "adapter.up" in name else 1)
    assert adapted.answer([row["id"] for row in rows]) != answers, "the adapter decides the answers"


def test_an_adapter_saved_before_a_choice_existed_is_loaded(call, tiny_causal, tmp_path):
    call(f"save={tmp_path / 'adapter'}")
    cell = tmp_path / "adapter" / "cell.json"
    record = json.loads(cell.read_text())
    del record["config"]["method"]["search"], record["config"]["budget"]["max_test"], record["digest"]
    cell.write_text(json.dumps(record))
    assert saved.load(tmp_path / "adapter", checkpoint=tiny_causal).cell.budget.max_test is None


def test_a_saved_adapter_refuses_another_backbone(call, tiny_causal, tmp_path):
    call(f"save={tmp_path / 'adapter'}")
    with pytest.raises(saved.InputError, match=Path(tiny_causal).name):
        saved.load(tmp_path / "adapter")
    other = shutil.copytree(tiny_causal, tmp_path / "other")
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    with pytest.raises(saved.InputError, match="differ"):
        saved.load(tmp_path / "adapter", checkpoint=other)
    with pytest.raises(saved.InputError, match=r"cell\.json"):
        saved.load(tmp_path)


def test_peft_alone_loads_a_saved_lora_and_answers_the_same(call, results, tiny_causal, tmp_path):
    call("task=nmt", "method.lr=0.05", f"save={tmp_path / 'adapter'}")
    (record,) = Store(results / "runs").records()
    rows = [row for row in Store(results / "runs").examples(record) if row["split"] == "test"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_causal)
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_causal)

    def answers(model: torch.nn.Module) -> list[str]:
        written = []
        for row in rows:
            ids = torch.tensor([tokenizer(f"<s>{row['id']}", add_special_tokens=False)["input_ids"]])
            mask = torch.ones_like(ids)
            ended = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=20, do_sample=False)
            written.append(tokenizer.decode(ended[0, ids.shape[1] :], skip_special_tokens=True).strip())
        return written

    wanted = [row["prediction"] for row in rows]
    assert answers(network) != wanted
    assert answers(peft.PeftModel.from_pretrained(network, tmp_path / "adapter").eval()) == wanted


@pytest.mark.skipif(os.name != "posix", reason="signals and pseudo-terminals are POSIX's")
@pytest.mark.slow
def test_ctrl_c_leaves_no_half_written_file(call, words, results):
    call()
    before = contents(results)
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark.run", *words, "seed=1", "budget.steps=1000000"],
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
    assert contents(results) == before

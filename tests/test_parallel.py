"""Two processes give the weights, answers and losses of one, up to rounding."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import run_cell
from safetensors.torch import load_file

from benchmark.config.compose import cell_of, choices_of
from benchmark.engine import distributed, sharding
from benchmark.engine.distributed import ALONE, Group
from benchmark.identity import run_id

HERE = Path(__file__).parent
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
UNEVEN = ("budget.batch_size=7", "budget.micro_batches=3", "data.train=16", "budget.steps=8", "budget.clip=0.1")


def launched(*words, **variables):
    """Start two processes on a thread each; local ones need no address."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE.parent}:{HERE}", **variables}
    return subprocess.run([*LAUNCH, *words], capture_output=True, text=True, env=surroundings, timeout=240)


@pytest.fixture(scope="module")
def words_of(tiny_causal, tiny_seq2seq):
    folders = {"causal_lm": (tiny_causal, "text_generation"), "seq2seq": (tiny_seq2seq, "nmt")}

    def make(kind, method, *more):
        folder, task = folders[kind]
        chosen = [f"task={task}", f"method={method}", f"backbone={kind}", "data=toy", "budget=smoke"]
        short = ["task.max_target_tokens=20", "data.test=7", "method.lr=0.01"]
        return [*chosen, f"backbone.checkpoint={folder}", "backbone.lr_scale=1", *short, *more]

    return make


CELLS = {  # name -> kind, method, choices; micro-batches of 3, 3 and 1 examples: shares of 2 and 1, and of none
    "lora": ("causal_lm", "lora", *UNEVEN),
    "full": ("seq2seq", "full", *UNEVEN),
    "houlsby": ("seq2seq", "houlsby", "budget.weight_decay=0.1", *UNEVEN),
    "lora in pieces": ("causal_lm", "lora", "budget.shard=true", *UNEVEN),
    "houlsby in pieces": ("seq2seq", "houlsby", "budget.shard=true", *UNEVEN),
    "unweighted": ("causal_lm", "lora", *UNEVEN),
    "dropout": ("causal_lm", "lora", "budget.dropout=0.3", *UNEVEN),
    "dropout again": ("causal_lm", "lora", "budget.dropout=0.3", *UNEVEN),
}
ODD = ("unweighted", "dropout", "dropout again")  # cells that no single process agrees with


def together(folder, cells):
    """Run cells by two processes; return all measurements, answers, adapters."""
    folder.mkdir(exist_ok=True)
    (folder / "cells.json").write_text(json.dumps(cells))
    done = launched(str(HERE / "together.py"), str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: (json.loads((folder / name / "result.json").read_text()), adapter(folder / name)) for name in cells}


def adapter(folder):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


@pytest.fixture(scope="module")
def pairs(words_of, tmp_path_factory):
    """Each cell by two processes and, with nothing in pieces, by one."""
    cells = {name: words_of(*choices) for name, choices in CELLS.items()}
    found = together(tmp_path_factory.mktemp("together"), cells)
    place = tmp_path_factory.mktemp("alone")
    pairs = {}
    for name, words in cells.items():
        alone = run_cell(cell_of([w for w in words if "shard" not in w]), save=place / name)
        pairs[name] = (found[name], ((alone.measurements, alone.examples, alone.modules), adapter(place / name)))
    return pairs


def curve(measurements):
    """Every number of a run that is no time and no memory, by split, name and step."""
    kept = ("params", "checkpoint_bytes")
    return {(s, n, step): v for s, n, v, step in measurements if s != "cost" or n.endswith(kept)}


def apart(one, other):
    """The largest difference of two adapters of the same names and shapes."""
    assert {n: t.shape for n, t in one.items()} == {n: t.shape for n, t in other.items()}
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CELLS if name not in ODD])
def test_two_processes_give_what_one_gives(name, pairs):
    ((measured, rows, modules, held, _), weights), ((alone, answers, wrapped), expected) = pairs[name]
    assert curve(measured) == pytest.approx(curve(alone), rel=1e-4)
    assert len(curve(alone)) > 8 + 2 + 8  # losses, looks at valid, scores
    assert [{**row, "nll": pytest.approx(row["nll"], rel=1e-4)} for row in answers] == rows
    assert apart(weights, expected) < 2e-5
    assert modules == wrapped
    assert 0.5 < held < 0.9 if "pieces" in name else held == 1  # embeddings and what is trained stay whole
    assert {n for s, n, *_ in alone if s == "cost"} - {n for s, n, *_ in measured if s == "cost"} == (
        {n for s, n, *_ in alone if n.endswith("merged")} if "pieces" in name else set()
    )
    losses = [v for (s, _, step), v in curve(alone).items() if s == "train" and step]
    assert losses[-1] < losses[0] - 0.1  # else equal weights would say little


@pytest.mark.slow
def test_a_mean_of_means_would_be_seen(pairs):
    ((measured, *_), weights), ((alone, *_), expected) = pairs["unweighted"]
    assert curve(measured) != pytest.approx(curve(alone), rel=1e-2)
    assert apart(weights, expected) > 1e-2


@pytest.mark.slow
def test_each_process_drops_out_by_itself_and_the_same_every_time(pairs):
    (((*_, seeds), weights), _), ((_, again), _) = pairs["dropout"], pairs["dropout again"]
    assert seeds == [0, 1]
    assert apart(weights, again) == 0


def test_shares_are_dealt_out_and_nothing_is_left():
    parts = [Group(rank, 3).share(range(8)) for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert ALONE.share(range(3)) == [0, 1, 2]
    assert ALONE.gather({"a": (1,)}) == [{"a": (1,)}]
    assert ALONE.sum(1, 0.1) == [1, 0.1]


def recorded(folder):
    return [json.loads(p.read_text()) for p in folder.glob("runs/*/*/*.json")]


@pytest.mark.slow
def test_the_command_prints_and_records_once_and_says_how_many_processes(words_of, tmp_path):
    words = [*words_of("causal_lm", "lora", "budget.steps=3"), f"results={tmp_path}", f"save={tmp_path}/adapter"]
    done = launched("-m", "benchmark.run", *words, "device=cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("recorded in") == 1
    (record,) = recorded(tmp_path)
    assert record["status"] == "done"
    assert record["environment"]["processes"] == 2
    assert (tmp_path / "adapter" / "cell.json").is_file()


@pytest.mark.slow
def test_a_process_that_breaks_ends_the_others_and_the_record_says_which(words_of, tmp_path):
    words = [*words_of("causal_lm", "lora", "budget.steps=3"), f"results={tmp_path}", "device=cpu"]
    done = launched(str(HERE / "together.py"), "broken", *words)
    assert done.returncode != 0
    (record,) = recorded(tmp_path)
    assert record["status"] == "failed"
    assert record["reason"] == "process 1 of 2: MemoryError: no room for this batch"
    assert done.stderr.count("failed: process 1 of 2") == 1


@pytest.mark.parametrize(
    ("processes", "choices", "reason"),
    [
        (1, ("causal_lm", "lora", "budget.shard=true"), "needs several processes: torchrun"),
        (2, ("causal_lm", "full", "budget.shard=true"), "full trains every parameter of the blocks"),
        (2, ("causal_lm", "shadow", "budget.shard=true"), "shadow uses the weights of blocks outside"),
        (2, ("causal_lm", "lora", "budget.shard=true"), None),
        (2, ("seq2seq", "full"), None),
        (1, ("seq2seq", "lora"), None),
    ],
)
def test_what_cannot_lie_in_pieces_is_refused_before_it_is_loaded(processes, choices, reason, words_of, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    found = sharding.refusal(cell_of(words_of(*choices)))
    assert found is None if reason is None else reason in found


def test_running_statistics_are_refused_to_several_processes(monkeypatch):
    words = ["task=medical_images", "backbone=cnn_textures"]
    cells = {name: cell_of([*words, f"method={name}"]) for name in ("full", "lora")}
    assert distributed.refusal(cells["full"]) is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "trains the running statistics of resnet" in distributed.refusal(cells["full"])
    assert distributed.refusal(cells["lora"]) is None


def test_a_choice_that_nobody_makes_names_no_other_cell(words_of):
    words = words_of("causal_lm", "lora")
    plain, cut = (cell_of([*words, f"budget.shard={value}"]) for value in ("null", "true"))
    older = choices_of(plain)
    del older["budget"]["shard"]
    assert run_id(choices_of(plain)) == run_id(older) == run_id(choices_of(cell_of(words)))
    assert run_id(choices_of(cut)) != run_id(older)

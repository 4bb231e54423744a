"""A state of a paused run that is damaged: one sentence, and the run begins anew with the same numbers."""

import json
import shutil

import pytest
import torch
from factories import AfterChecks, run_cell
from safetensors.torch import load_file, save_file

from benchmark.engine.checkpoint import REST, TENSORS, Pause, Paused
from benchmark.errors import InputError


def numbers(cell, pause=None):
    result = run_cell(cell, pause=pause)
    return [m for m in result.measurements if m.split != "cost"], result.examples


def cut(folder):
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[: len(content) // 2])


def reshaped(folder, digest=True, part="model."):
    tensors = load_file(folder / TENSORS)
    name = next(name for name in tensors if name.startswith(part))
    save_file({**tensors, name: torch.zeros(3)}, folder / TENSORS)
    edited(folder, {} if digest else {"digest": None})


def edited(folder, changes):
    rest = json.loads((folder / REST).read_text()) | changes
    (folder / REST).write_text(json.dumps({key: value for key, value in rest.items() if value is not None}))


DAMAGE = {
    "no tensors": lambda folder: (folder / TENSORS).write_bytes(b""),
    "cut tensors": cut,
    "other shapes": reshaped,
    "other shapes of old code": lambda folder: reshaped(folder, digest=False),
    "other shapes of the optimiser": lambda folder: reshaped(folder, part="optimizer."),
    "an empty file": lambda folder: (folder / REST).write_text(""),
    "an empty object": lambda folder: (folder / REST).write_text("{}"),
    "a list": lambda folder: (folder / REST).write_text("[]"),
    "no utf-8": lambda folder: (folder / REST).write_bytes(b"\xff\xfe"),
    "another step": lambda folder: edited(folder, {"step": 1}),
}


@pytest.fixture(scope="module")
def paused(toy_cell, tmp_path_factory):
    """Pause a run once: its cell, its numbers without a stop, the folder of its state."""
    cell, folder = toy_cell("causal_lm", "lora", "budget.dropout=0.1"), tmp_path_factory.mktemp("paused") / "state"
    with pytest.raises(Paused):
        run_cell(cell, pause=AfterChecks(folder, 3))
    return cell, numbers(cell), folder


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_begins_anew_with_one_sentence(paused, tmp_path, capsys, damage):
    cell, whole, state = paused
    folder = shutil.copytree(state, tmp_path / ".a.paused")
    DAMAGE[damage](folder)
    capsys.readouterr()
    assert numbers(cell, Pause(folder)) == whole
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"the state in {folder} is damaged (")
    assert line.endswith("): this run begins anew")


def test_a_state_that_breaks_while_it_is_loaded_is_refused_with_the_folder_to_delete(toy_cell, tmp_path):
    cell, folder = toy_cell("causal_lm", "lora"), tmp_path / ".a.paused"
    with pytest.raises(Paused):
        run_cell(cell, pause=AfterChecks(folder, 3))
    edited(folder, {"digest": None, "groups": [{}, {}, {}]})
    with pytest.raises(InputError, match=r"\.a\.paused is of another version, delete it"):
        run_cell(cell, pause=Pause(folder))

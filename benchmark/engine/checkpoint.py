"""Checkpoints of a run: training state on disk, and the signals that ask for it."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.engine.distributed import ALONE, Group, is_first, process_count
from benchmark.engine.environment import code
from benchmark.errors import refusing, story
from benchmark.records import Measurement
from benchmark.types import TUNE

if TYPE_CHECKING:
    import torch
    from torch import nn

    from benchmark.cell import Cell
    from benchmark.engine.meter import Meter

SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR2") if hasattr(signal, name)
]  # the second is a launcher's warning before the first
TENSORS, REST = "state.safetensors", "state.json"


class Paused(BaseException):
    """Run that stopped on request with its state on disk; not an Exception."""

    def __init__(self, signum: int, handler: Any, step: int | None) -> None:
        super().__init__(signum)
        self.signum, self.handler, self.step = signum, handler, step


@dataclass
class Training:
    """State that a training step changes."""

    model: nn.Module
    cell: Cell
    optimizer: Any
    schedule: Any
    best: Any
    meter: Meter
    numerics: int  # version of a step's arithmetic (train.NUMERICS)
    step: int = 0
    points: list[Measurement] = field(default_factory=list)  # of the curves

    def note(self, point: Measurement) -> Measurement:
        """Store a point of the curves, and return it."""
        self.points.append(point)
        return point

    def tensors(self) -> dict[str, torch.Tensor]:
        """Collect the tensors of the state."""
        import numpy as np
        import torch

        tensors = {f"model.{name}": tensor for name, tensor in self.moving()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.state.items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        tensors |= {f"method.{name}": value for name, value in self.cell.method.progress(self.model).items()}
        tensors |= {
            "random.torch": torch.get_rng_state(),
            "random.numpy": torch.from_numpy(np.random.get_state()[1].astype("int64")),
        }
        if self.meter.device.startswith("cuda"):
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.meter.device)
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}

    def rest(self) -> dict[str, Any]:
        """Collect the rest of the state as JSON."""
        import numpy as np

        groups = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.state_dict()["param_groups"]]
        schedule = {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"}
        return {
            "numerics": self.numerics,
            "processes": process_count(),
            "device": self.meter.device,
            "step": self.step,
            "points": self.points,
            "best": self.best.loss,
            "groups": groups,
            "schedule": schedule,
            "meter": self.meter.state(),
            "python": random.getstate(),
            "numpy": list(np.random.get_state()[2:]),
        }

    def load(self, tensors: dict[str, torch.Tensor], saved: dict[str, Any]) -> None:
        """Restore the state."""
        import numpy as np
        import torch

        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, inner = name.partition(".")
            parts.setdefault(part, {})[inner] = tensor
        with torch.no_grad():
            for name, tensor in self.moving():
                tensor.copy_(parts["model"][name])
        device = self.meter.device
        self.best.state = {name: tensor.to(device) for name, tensor in parts.get("best", {}).items()}
        self.best.loss = saved["best"]
        self.optimizer.load_state_dict(_optimizer(self.optimizer, parts.get("optimizer", {}), saved["groups"]))
        self.schedule.load_state_dict(self.schedule.state_dict() | saved["schedule"])
        self.cell.method.resume(
            self.model, {name: tensor.to(device) for name, tensor in parts.get("method", {}).items()}
        )
        self.meter.resume(saved["meter"], saved["ended"])
        self.step, self.points = saved["step"], [Measurement(*point) for point in saved["points"]]
        version, state, gauss = saved["python"]
        random.setstate((version, tuple(state), gauss))
        np.random.set_state(("MT19937", parts["random"]["numpy"].numpy().astype("uint32"), *saved["numpy"]))
        torch.set_rng_state(parts["random"]["torch"])
        if "cuda" in parts["random"]:
            torch.cuda.set_rng_state(parts["random"]["cuda"], device)

    def moving(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield what a step changes of the network, and its buffers."""
        yield from ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)
        yield from self.model.named_buffers()


def _optimizer(optimizer: Any, tensors: dict[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Combine a saved optimiser state with the present parameter groups."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, inner = name.partition(".")
        state.setdefault(int(index), {})[inner] = value
    present = optimizer.state_dict()["param_groups"]
    return {"state": state, "param_groups": [group | saved for group, saved in zip(present, groups, strict=True)]}


def _digest(folder: Path, rest: dict[str, Any]) -> str:
    """Hash a state: its file of tensors and all else."""
    with open(folder / TENSORS, "rb") as file:
        tensors = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(f"{tensors} {json.dumps(rest)}".encode()).hexdigest()


class Pause:
    """Requests to stop a run, and the folder of its checkpoint.

    A tuning run leaves its checkpoint when it ends. A run of the same training to a later step continues from it, and
    so does the final run of the trial, which only answers. Deleting such a folder costs only time. anew: ignore the
    checkpoint of a run that ended at this step, since this step is to be run again.
    """

    def __init__(self, folder: Path, anew: bool = False) -> None:
        self.folder, self.anew = folder, anew
        self.begun = code()  # the code that took the first step
        self.saved_end = False  # the state of the last step is on disk
        self.asked: tuple[int, Any] | None = None  # first signal, and its previous handler
        self.training: Training | None = None

    def begin(self, training: Training) -> bool:
        """Restore the checkpoint if there is one that fits; return whether it did."""
        self.training = training
        try:
            state = self._read(training)
        except Exception as error:  # nothing is loaded yet; a damaged file can end in anything
            if is_first() and not isinstance(error, FileNotFoundError):
                print(f"the state in {self.folder} is damaged ({story(error)}): this run begins anew", flush=True)
            return False
        if state:
            with refusing(f"the state in {self.folder} is of another version, delete it"):
                training.load(*state)
            self.begun = state[1]["begun"]
        return state is not None

    def _read(self, training: Training) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Read the state; None where it does not fit. ValueError for one that is not what was written."""
        from safetensors.torch import load_file

        rest = json.loads((self.folder / REST).read_text())
        if rest.pop("digest", None) not in (None, _digest(self.folder, rest)):  # the first states had none
            raise ValueError("its content is not what a run wrote")
        if not self._fits(rest, training):
            return None
        tensors = load_file(self.folder / TENSORS)
        for name, tensor in training.moving():
            if tensors[f"model.{name}"].shape != tensor.shape:
                raise ValueError(f"{name} has another shape")
        return tensors, rest

    def _fits(self, rest: dict[str, Any], training: Training) -> bool:
        """Say whether a checkpoint continues to the same numbers as a run without pause."""
        if "code" in rest:  # format of old checkpoints: "{'commit': ..., 'dirty': ...} 1 cpu"
            commit, _, where = rest["code"].rpartition("} ")
            processes, device = where.split()
            rest |= {"numerics": 1, "processes": int(processes), "device": device}
            rest["begun"] = ast.literal_eval(commit + "}")
        state = [rest[name] for name in ("numerics", "processes", "device")]
        ended_here = rest["ended"] and rest["step"] == training.cell.last
        return (
            state == [training.numerics, process_count(), training.meter.device]
            and rest["step"] <= training.cell.last
            and not (self.anew and ended_here)
        )

    def end(self) -> None:
        """Save the checkpoint of a finished tuning run, with its last weights."""
        # Each of several processes has a random generator, and a checkpoint holds the state of one alone.
        if self.training is not None and self.training.cell.phase == TUNE and process_count() == 1:
            self._save(self.training, ended=True)
            self.saved_end = True

    def check(self, group: Group = ALONE) -> None:
        """Save the checkpoint and raise Paused if any process of the run got a signal."""
        if not sum(group.sum(self.asked is not None)):
            return
        if self.training is not None and group.first and not self.saved_end:  # after the end it has the best weights
            self._save(self.training)
        request = self.asked or (signal.SIGTERM, None)
        raise Paused(*request, self.training.step if self.training else None)

    def _save(self, training: Training, ended: bool = False) -> None:
        from safetensors.torch import save_file

        self._sweep()
        scratch = self.folder.with_name(f"{self.folder.name}.{os.getpid()}")
        scratch.mkdir(parents=True)
        try:
            save_file(training.tensors(), scratch / TENSORS)
            rest = {"begun": self.begun, "ended": ended, **training.rest()}
            (scratch / REST).write_text(json.dumps({**rest, "digest": _digest(scratch, rest)}))
            shutil.rmtree(self.folder, ignore_errors=True)
            scratch.rename(self.folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def ask(self, number: int, handler: Any) -> None:
        """Note the first signal.

        Raises Paused at once where no state could be lost.
        """
        if self.asked is None:
            self.asked = number, handler
            # Libraries, data and weights may take longer than a scheduler waits; several processes stop together.
            if self.training is None and process_count() == 1:
                raise Paused(number, handler, None)

    def pass_on(self) -> None:
        """End the process if a signal came too late to stop this run."""
        if self.asked is not None:
            leave(Paused(*self.asked, None))

    def forget(self) -> None:
        """Remove a checkpoint that no run will continue."""
        self._sweep()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove incomplete files of a killed process; needs the cell's lease."""
        for path in self.folder.parent.glob(f"{self.folder.name}.*"):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def listening(pause: Pause) -> Iterator[None]:
    """Let signals ask for a pause; has no effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def ask(number: int, _: Any) -> None:
        pause.ask(number, handlers[number])

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            with suppress(TypeError):  # one that was not set from Python
                signal.signal(number, handler)


def leave(paused: Paused) -> None:
    """Call the signal's previous handler, which may requeue the job; then exit."""
    if callable(paused.handler):
        with suppress(Exception):  # requeueing a job ends this process while the handler waits
            paused.handler(paused.signum, None)
    raise SystemExit(128 + paused.signum)

"""Compare plans with measured peaks: python scripts/plan_check.py [cpu|cuda] [METHOD ...].

Each shipped network takes three real training steps on the largest examples, each method in a fresh process. Prints the
plan's peak, that of the tensors that were alive (CPU: counted by torch's dispatcher, CUDA: by its allocator), and the
growth of the process (CPU: its resident set, CUDA: reserved memory), with the errors of the plan. On Linux the process
keeps freed memory, unless MALLOC_MMAP_THRESHOLD_=65536 stands before the command.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

TASKS = (
    "text_generation",
    "nmt",
    "protein",
    "medical_images",
    "medical_images/cnn_textures",
    "speech",
    "speech_recognition",
)
METHODS = ("lora", "houlsby", "ia3", "full", "frozen")
STEPS = 3


def main(arguments: list[str]) -> int:
    """Print a line per pair, and the largest errors."""
    if arguments[:1] == ["one"]:
        print(json.dumps(one(*arguments[1:])))
        return 0
    device = next((word for word in arguments if word in ("cpu", "cuda")), "cpu")
    methods = [word for word in arguments if word != device] or METHODS
    print(f"{'task':<28}{'method':<10}{'plan':>9}{'tensors':>9}{'error':>9}{'process':>9}{'error':>9}  [MB, %]")
    errors: list[tuple[float, float]] = []
    for task in TASKS:
        for method in methods:
            command = [sys.executable, "-W", "ignore", __file__, "one", task, method, device]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{task:<28}{method:<10} failed: {done.stderr.strip().splitlines()[-1]}")
                continue
            plan, tensors, process = json.loads(done.stdout.splitlines()[-1])
            errors.append((100 * (plan / tensors - 1), 100 * (plan / process - 1)))
            numbers = plan / 1e6, tensors / 1e6, errors[-1][0], process / 1e6, errors[-1][1]
            print(f"{task:<28}{method:<10}" + "".join(f"{number:>9.1f}" for number in numbers), flush=True)
    for name, column in zip(("tensors", "process"), zip(*errors, strict=True), strict=True):
        print(f"largest error, {name}: {max(column, key=abs):.1f} %")
    return 0


def one(task: str, method: str, device: str) -> tuple[int, int, int]:
    """Plan and measure one pair in this process, in bytes: plan, tensors, process."""
    import torch
    import transformers  # noqa: F401  so that the process does not grow by it later

    from benchmark.config.compose import cell_of
    from benchmark.engine.context import Run
    from benchmark.engine.meter import Meter
    from benchmark.engine.train import learn, set_up, training_mode
    from benchmark.plan.estimate import plan
    from benchmark.plan.ledger import Ledger
    from benchmark.plan.sample import head_of, sample
    from benchmark.plan.step import size

    torch.manual_seed(0)
    task, _, backbone = task.partition("/")
    cell = cell_of([f"task={task}", f"method={method}", "budget=cost", *([f"backbone={backbone}"] * bool(backbone))])
    planned = plan(cell, device)
    if planned.refused or planned.unmeasured:
        raise SystemExit(planned.refused or planned.unmeasured)
    meter, run = Meter(device), Run(cell, device)
    model, _ = cell.load(head_of(cell, None))
    run.model = cell.method.attach(model, cell).to(device)
    stored = [*run.model.parameters(), *run.model.buffers()]
    trains = any(p.requires_grad for p in run.model.parameters())
    ledger = Ledger(stored)
    with meter.phase("train"), ledger if device == "cpu" else nullcontext():
        if trains:
            training = set_up(run)
            training.best.keep(1.0, 0)
            training_mode(run.model, cell)
        shapes = sample(cell, run.model, cell.budget.batch_size)
        batch = {name: real(name, tensor, cell) for name, tensor in shapes.items()}
        if "labels" not in batch:  # of CTC: ten characters each
            batch["labels"] = torch.ones(cell.budget.batch_size, 10, dtype=torch.long)
        for _ in range(STEPS):
            if trains:
                learn(run, training.optimizer, [(batch, cell.task.items(batch))])
                training.optimizer.zero_grad()
            else:
                run.model(**{name: tensor.to(device) for name, tensor in batch.items()}).loss.item()
    peaks: dict[str, Any] = meter.memory["train"]
    if device == "cpu":
        return planned.step.peak, size(stored) + ledger.peak, peaks["memory"]
    return planned.step.peak, peaks["allocated"], peaks["reserved"]


def real(name: str, tensor: Any, cell: Any) -> Any:
    """Fill a tensor of the sample with values that the network takes."""
    import torch

    if tensor.is_floating_point():
        return torch.randn(tensor.shape)
    ones = torch.ones(tensor.shape, dtype=torch.long)
    return 5 * ones if name == "input_ids" or (name == "labels" and not cell.kind.new_head) else ones


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

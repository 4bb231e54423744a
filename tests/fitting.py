"""Fitting tiny networks: real ones in double precision, and a line through points."""

import itertools
from types import SimpleNamespace

import torch
from torch import nn

from benchmark.capabilities.probe import batches
from benchmark.engine import runner
from benchmark.engine.context import Run
from benchmark.engine.train import Encoded, fit
from benchmark.types import Budget, Head, Method


def prepare(cell, dtype=torch.float64):
    """Load and attach in double precision; return the run and encoded splits."""
    runner.seed_everything(cell.seed)
    model, processor = cell.backbone.load(cell.budget, Head(cell.kind))
    splits = cell.task.splits()
    encoded = Encoded(*([cell.task.encode(e, processor, {}) for e in splits[name]] for name in ("train", "valid")))
    return Run(cell, model=cell.method.attach(model.to(dtype), cell).to(dtype), processor=processor), encoded


def copy_state(model):
    """Copy all parameters and buffers."""
    tensors = itertools.chain(model.named_parameters(), model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors}


def equal_states(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Everything(Method):
    """Train what requires a gradient already."""

    def attach(self, model, cell):
        return model

    def save(self, model, folder):
        raise NotImplementedError

    restore = save


class Following(Everything):
    """The same, running statistics included."""

    trains_buffers = True


class Line(nn.Module):
    """y = w x in double precision, from w = 0."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(self.line.weight)

    def forward(self, x, y):
        return SimpleNamespace(loss=((self.line(x) - y) ** 2).mean())


class Normed(nn.Module):
    """A line behind a normalisation with running statistics."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1, dtype=torch.float64)
        self.line = Line()
        self.norm.requires_grad_(False)

    def forward(self, x, y):
        return self.line(self.norm(x), y)


class Points:
    """Pairs of numbers; every pair is one item."""

    def length(self, feature):
        return 1

    def mates(self, feature, processor):
        return None

    def collate(self, features, processor):
        rows = torch.tensor(features, dtype=torch.float64)
        return {"x": rows[:, :1], "y": rows[:, 1:]}

    def items(self, batch):
        return len(batch["x"])

    def tokens(self, batch):
        return 0


BUDGET = Budget(
    description="", steps=12, batch_size=4, micro_batches=1, warmup=0.0, weight_decay=0.0, clip=0.0, dropout=0.0,
    precision="fp32", evaluations=12, eval_batch_size=3, max_valid=100, max_test=None, max_seconds=None, shard=None,
)  # fmt: skip


def weighted_examples(count):
    return [(float(i % 5 + 1), 2.0 * (i % 5 + 1) + (i % 3)) for i in range(count)]


def run_and_data(model, train, valid=None, budget=BUDGET, method=Everything, lr=0.1):
    chosen = method(description="", lr=lr, search={}, sized_by=None)
    cell = SimpleNamespace(task=Points(), method=chosen, budget=budget, last=budget.steps, seed_of=lambda _: 0, lr=lr)
    return Run(cell, model=model), Encoded(train, valid or train[:7])


def fit_model(model, budget, train, valid=None, **options):
    """Fit; return the network, the measurements, and the state at each."""
    points, states = [], []
    for point in fit(*run_and_data(model, train, valid, budget, **options)):
        points.append(point)
        states.append(copy_state(model))
    return model, points, states


def train_steps(method, model, network, steps, lr=0.05):
    optimizer = torch.optim.AdamW(method.groups(model, lr), lr=lr)
    for number, inputs in zip(range(1, steps + 1), batches(network, None), strict=False):
        model.train()(**inputs).loss.backward()
        optimizer.step()
        method.after_step(model, number)
        optimizer.zero_grad()
    return model.eval()

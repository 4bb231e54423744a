"""Fitting tiny networks: real ones in double precision, and a line through points."""

import itertools
import math
from types import SimpleNamespace

import torch
from torch import nn

from benchmark.capabilities.probe import batches
from benchmark.engine import runner
from benchmark.engine.context import Run
from benchmark.engine.train import Encoded, fit
from benchmark.types import Budget, Head, Kind, Method


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


def adamw_by_hand(model, stream, budget, lr, head_lr=None):
    """Yield each step's loss of AdamW (Loshchilov and Hutter 2019, algorithm 2), clipped, with warm-up and cosine."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for _, p in named]
    warm = budget.warmup * budget.steps
    for t, batch in enumerate(stream, 1):
        done = (t - 1 - warm) / (budget.steps - warm)
        factor = t / (warm + 1) if t - 1 < warm else (1 + math.cos(math.pi * done)) / 2
        loss = model(**batch).loss
        gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=head_lr is not None)
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients if g is not None))
        with torch.no_grad():
            for (name, p), g, (m, v) in zip(named, gradients, moments, strict=True):
                if g is None:  # ESM's head of contacts
                    continue
                now = factor * (head_lr if head_lr and "new_head" in name else lr)
                g = g * min(1.0, budget.clip / (norm + 1e-6))
                m.copy_(0.9 * m + 0.1 * g)
                v.copy_(0.999 * v + 0.001 * g**2)
                if p.ndim > 1:  # no vector decays
                    p.mul_(1 - now * budget.weight_decay)
                p.sub_(now * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8))
        yield loss.item()


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


def nll_by_hand(model, processor, features):
    """Sum -log p(token | all before it) over one target, without padding."""
    source, target = features["source"], features["target"]
    if processor.kind == Kind.CAUSAL_LM:
        ids = torch.tensor([source + target])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        logits = logits[-len(target) - 1 : -1]
    else:
        ids, read = torch.tensor([source]), torch.tensor([[processor.tokenizer.eos_token_id, *target[:-1]]])
        mask = torch.ones_like(ids)
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=read).logits[0]
    return sum(-torch.log_softmax(row.double(), 0)[token].item() for row, token in zip(logits, target, strict=True))

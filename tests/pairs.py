"""Pairs of a method and a tiny network, built once and trained as the loop trains, for the gate."""

import copy
import csv
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

import torch
from counts import TINY

from benchmark.capabilities.networks import NETWORKS, bare, batch, cell
from benchmark.capabilities.probe import method_of, smallest
from benchmark.engine.train import training_mode
from benchmark.types import Kind

KINDS = {"bert": Kind.MULTILABEL, "xlm-roberta": Kind.REGRESS, "gpt2 states": Kind.MULTILABEL}
KINDS |= {"esm": Kind.TAG, "t5 encoder": Kind.REGRESS, "wav2vec2": Kind.CTC, "hubert": Kind.TAG, "wavlm": Kind.REGRESS}
CAPABILITIES = Path(__file__).parents[1] / "results" / "capabilities.csv"


@cache
def method(name):
    return method_of(name, TINY.get(name))


@cache
def known():
    rows = csv.DictReader(CAPABILITIES.open()) if CAPABILITIES.exists() else []
    return {(row["method"], row["network"]): row for row in rows}


def runs(name, network):
    """Look the pair up; a method that nobody has probed yet is asked itself."""
    row = known().get((name, network))
    return row["status"] == "runs" if row else Pair(name, network).cell.conflict() is None


def kind(network):
    return KINDS.get(network) or NETWORKS[network][2][0]


@cache
def built(network):
    return bare(network, kind(network))


def fresh(network):
    return copy.deepcopy(built(network))


def data(network, **options):
    return batch(network, kind(network), **options)


def stream(network):
    return (data(network, seed=seed) for seed in range(10**6))


class Pair:
    """A method on a network. The claims are asked in turn of one model: as attached first, then trained."""

    def __init__(self, name, network):
        self.name, self.network, self.method = name, network, method(name)

    @cached_property
    def cell(self):
        """Take the smallest knobs where the default ones are too large for a network so tiny."""
        where = cell(self.network, self.method, KINDS.get(self.network))
        return replace(where, method=smallest(where.method)) if where.conflict() else where

    def attached(self):
        torch.manual_seed(0)
        model = self.cell.method.attach(fresh(self.network), self.cell)
        if self.cell.method.calibrates:
            self.cell.method.calibrate(model, stream(self.network), self.cell)
        return model

    @cached_property
    def model(self):
        return self.attached()


def logits(model, network, seed=5):
    with torch.no_grad():
        return model.eval()(**data(network, seed=seed)).logits


@cache
def bare_logits(network):
    return logits(fresh(network), network)


@cache
def bare_loss(network):
    return loss(fresh(network), network)


def close(one, other, tolerance=1e-5):
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance * max(1.0, other.abs().max().item()))


def trainable(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def steps(model, pair, number, lr=0.05):
    """Train as the loop does; yield the gradients of each step."""
    training_mode(model, pair.cell)
    optimizer = torch.optim.AdamW(pair.cell.method.groups(model, lr), lr=lr, weight_decay=0.0)
    optimizer.zero_grad()
    for step, inputs in zip(range(1, number + 1), stream(pair.network), strict=False):
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        pair.cell.method.after_step(model, step)
        yield {key: p.grad for key, p in trainable(model).items()}
        optimizer.zero_grad()


def loss(model, network):
    with torch.no_grad():
        return sum(model.eval()(**data(network, seed=-seed)).loss.item() for seed in range(1, 4)) / 3

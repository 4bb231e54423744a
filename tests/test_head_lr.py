"""The new head learns at the backbone's rate; full decay is reported."""

import dataclasses
from pathlib import Path

import pytest
import torch
from fitting import adamw_by_hand
from omegaconf import OmegaConf

from benchmark.capabilities.networks import NETWORKS, bare, cell
from benchmark.capabilities.probe import method_of
from benchmark.config.build import build
from benchmark.config.compose import cell_of, choices_of
from benchmark.engine.context import Run
from benchmark.engine.optimiser import groups
from benchmark.engine.train import Encoded, fit
from benchmark.errors import InputError
from benchmark.identity import run_id
from benchmark.types import Kind

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
METHODS = sorted(f.stem for f in (CONFIGS / "method").glob("*.yaml"))
BACKBONES = sorted(f.stem for f in (CONFIGS / "backbone").glob("*.yaml"))
HEADED = [name for name, row in NETWORKS.items() if row[2][0].new_head]
RATE = 0.0371


def placed(name):
    """Attach a method to the first tiny network with a fitting new head, or None."""
    method = method_of(name)
    for network in HEADED:
        place = cell(network, method)
        rates = {kind: RATE if kind == place.kind else 0.5 for kind in Kind if kind.new_head}
        place = dataclasses.replace(place, backbone=dataclasses.replace(place.backbone, head_lr=rates))
        if place.conflict() is None:
            torch.manual_seed(0)
            return method.attach(bare(network), place), place
    return None


def test_no_method_moves_the_rate_of_the_head():
    moved, without = {}, []
    for name in METHODS:
        if (found := placed(name)) is None:
            without.append(name)
            continue
        model, place = found
        made = groups(model, place)
        rates = [(p, group["lr"]) for group in made for p in group["params"]]
        assert len({id(p) for p, _ in rates}) == len(rates), f"{name}: a parameter in two groups"
        of = {id(p): lr for p, lr in rates}
        trained = {key: of[id(p)] for key, p in model.named_parameters() if p.requires_grad}
        assert len(of) == len(trained), name
        head = {lr for key, lr in trained.items() if "new_head" in key}
        rest = {lr for key, lr in trained.items() if "new_head" not in key}
        if head != {RATE} or RATE in rest:
            moved[name] = head, rest
    assert moved == {}
    assert "frozen" in without
    assert len(METHODS) - len(without) > 50, without


ROWS = [("MKVLAAGIV", 1.5), ("GSTNQWYF", -0.5), ("ACDEFGHIKL", 0.25), ("PPLLKKEE", 2.0), ("MNQRSTVW", -1.0)]


@pytest.fixture
def protein(tmp_path):
    """Build a cell of protein regression on the embedded network and five sequences."""

    def make(method, *words):
        files = [f"data.files.{name}={tmp_path / name}.csv" for name in ("train", "valid", "test")]
        for name in ("train", "valid", "test"):
            (tmp_path / f"{name}.csv").write_text("\n".join(["sequence,target", *(f"{s},{t}" for s, t in ROWS)]))
        chosen = ["task=protein_regression", "data=protein_splits", f"method={method}", "budget=smoke", *files]
        return cell_of([*chosen, "backbone.lr_scale=0.5", "backbone.head_lr.regress=0.003", *words])

    return make


SHORT = ("budget.steps=8", "budget.warmup=0.25", "budget.weight_decay=0.2", "budget.clip=0.5", "budget.batch_size=5")


def prepared(cell):
    torch.manual_seed(0)
    train = cell.task.splits()["train"]
    model, processor = cell.backbone.load(cell.budget, cell.task.head(cell.kind, train))
    features = [cell.task.encode(e, processor, {}) for e in train]
    return cell.method.attach(model.double(), cell).double(), processor, features


@pytest.mark.parametrize("method", ["lora", "full", "houlsby"])
def test_a_run_is_adamw_with_the_scaled_rate_for_the_method_and_the_backbones_for_the_head(method, protein):
    cell = protein(method, *SHORT, "method.lr=0.02")
    model, processor, features = prepared(cell)
    fitted = fit(Run(cell, model=model, processor=processor), Encoded(features, features))
    losses = [point.value for point in fitted if point.split == "train"]

    model, processor, features = prepared(cell)
    stream = [cell.task.collate(features, processor)] * 8  # the whole data in each batch: its order does not matter
    expected = list(adamw_by_hand(model.train(), stream, cell.budget, 0.02 * 0.5, 0.003))
    assert losses == pytest.approx(expected, rel=1e-6)
    assert expected[-1] < expected[0] - 0.01


def test_the_head_alone_learns_at_the_backbones_rate_and_takes_none_of_its_own(protein):
    cell = protein("head", *SHORT)
    assert cell.method.search == {}
    assert {group["lr"] for group in groups(prepared(cell)[0], cell)} == {0.003}
    with_rate = protein("head", "method.lr=0.02").conflict()
    assert with_rate == "method.lr=0.02: the head learns at backbone.head_lr, set it to 0.0"


# Weight decay


@pytest.mark.parametrize("name", ["ia3", "ssf", "ln_tuning", "bitfit", "lora", "dora", "head"])
def test_decay_draws_matrices_to_zero_and_leaves_vectors_and_what_begins_at_one(name):
    model, place = placed(name)
    before = {key: p.detach().clone() for key, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(groups(model, place), lr=1.0, weight_decay=0.1)
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.zeros_like(p)
    optimizer.step()
    for key, p in model.named_parameters():
        if p.requires_grad:
            lr = RATE if "new_head" in key else place.lr
            vector = len(before[key].shape) == 1 or "ia3_l" in key
            expected = before[key] * (1.0 if vector else 1 - 0.1 * lr)
            torch.testing.assert_close(p.detach(), expected, rtol=1e-6, atol=0, msg=key)
    kinds = {len(p.shape) for p in before.values()}
    assert kinds == {1, 2}, "both are seen"


# What names a run, and what is refused


def test_the_rate_of_its_own_head_names_a_run_and_those_of_other_heads_do_not(protein):
    def name(*words):
        return run_id(choices_of(protein("lora", *words)))

    assert name("backbone.head_lr.tag=0.5", "backbone.head_lr.classify=0.7") == name()
    assert name("backbone.head_lr.regress=0.004") != name()


def test_a_kind_without_a_rate_is_refused_before_anything_is_loaded(protein, monkeypatch):
    cell = protein("lora")
    bereft = dataclasses.replace(cell, backbone=dataclasses.replace(cell.backbone, head_lr={"tag": 0.1}))
    for load in ("load", "skeleton"):
        monkeypatch.setattr(type(cell.backbone), load, None)
    said = "backbone.head_lr has no learning rate for a regress head: +backbone.head_lr.regress=0.01"
    assert bereft.conflict() == said


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        (
            {"regres": 0.1},
            "backbone.head_lr.regres: no such kind of new head (known: classify, multilabel, regress, rerank, tag",
        ),
        ({"causal_lm": 0.1}, "backbone.head_lr.causal_lm: no such kind"),
    ],
)
def test_a_rate_that_is_none_is_refused(rates, said, protein):
    with pytest.raises(InputError) as error:
        dataclasses.replace(protein("lora").backbone, head_lr=rates)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("rate", ["0", "inf"])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(InputError, match=r"backbone.head_lr.regress: .* given, a number above 0"):
        cell_of(["task=protein", "method=lora", f"backbone.head_lr.regress={rate}"])


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_a_rate_for_each_head_that_is_new_on_it(name):
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / "backbone" / f"{name}.yaml"))
    elsewhere = node["checkpoint"] == "???" or node["checkpoint"].startswith("fetched/")
    here = {"checkpoint": "embedded/esm_lattice"} if elsewhere else {}
    backbone = build(node | here, "backbone")
    assert set(backbone.head_lr or {}) == {kind for kind in backbone.kinds if kind.new_head}

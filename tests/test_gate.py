"""The gate: what every method must hold on every architecture that it does not refuse.

`pytest` runs one network per kind, `pytest --families all` every one.
"""

import csv
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from counts import COUNTS, TINY

from benchmark.backbones.roles import FAMILIES, _roles
from benchmark.capabilities.networks import NETWORKS, bare, batch, cell
from benchmark.capabilities.probe import method_of, smallest
from benchmark.config.registry import fact
from benchmark.config.registry import names as names_in
from benchmark.engine.train import training_mode
from benchmark.types import IGNORED, Category, Kind

pytestmark = pytest.mark.gate
ONE_PER_KIND = ("llama", "mbart", "vision_transformer", "esm", "wav2vec2")
KINDS = {"esm": Kind.TAG, "t5 encoder": Kind.REGRESS, "wav2vec2": Kind.CTC, "hubert": Kind.TAG, "wavlm": Kind.REGRESS}
CAPABILITIES = Path(__file__).parents[1] / "results" / "capabilities.csv"


@cache
def method(name):
    return method_of(name, TINY.get(name))


@cache
def place(name, network):
    """Put the method on the network, with its smallest knobs where the default ones are too large for one so tiny."""
    where = cell(network, method(name), KINDS.get(network))
    return replace(where, method=smallest(where.method)) if where.conflict() else where


@cache
def known():
    rows = csv.DictReader(CAPABILITIES.open()) if CAPABILITIES.exists() else []
    return {(row["method"], row["network"]): row for row in rows}


def runs(name, network):
    """Look the pair up; a method that nobody has probed yet is asked itself."""
    row = known().get((name, network))
    return row["status"] == "runs" if row else place(name, network).conflict() is None


ASKED = {  # of which methods a test asks something; of all where it is not named
    "test_merged_is_the_same_network": lambda name: method(name).mergeable,
    "test_compiles": lambda name: method(name).compiles,
    "test_learns_without_its_head": lambda name: name not in ("frozen", "head"),  # nothing is left that could learn
    "test_two_halves_make_a_whole": lambda name: name != "frozen",
    "test_recomputing_activations_changes_nothing": lambda name: name != "frozen" and method(name).recomputes,
}


COSTLY = ("test_compiles",)  # seconds for each pair: without --families all, on one network


def pytest_generate_tests(metafunc):
    if "network" in metafunc.fixturenames:
        one_per_kind = ONE_PER_KIND[:1] if metafunc.function.__name__ in COSTLY else ONE_PER_KIND
        networks = NETWORKS if metafunc.config.getoption("families") == "all" else one_per_kind
        choose = ASKED.get(metafunc.function.__name__, lambda name: True)
        pairs = [(m, n) for m in names_in("method") if choose(m) for n in networks if runs(m, n)]
        metafunc.parametrize(("name", "network"), pairs, ids=["-".join(pair) for pair in pairs])


def kind(network):
    return KINDS.get(network) or NETWORKS[network][2][0]


def fresh(network):
    return bare(network, kind(network))


def data(network, **options):
    return batch(network, kind(network), **options)


def stream(network):
    return (data(network, seed=seed) for seed in range(10**6))


def attached(name, network):
    torch.manual_seed(0)
    where = place(name, network)
    model = where.method.attach(fresh(network), where)
    if where.method.calibrates:
        where.method.calibrate(model, stream(network), where)
    return model


def logits(model, network, seed=5):
    with torch.no_grad():
        return model.eval()(**data(network, seed=seed)).logits


def close(one, other, tolerance=1e-5):
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance * max(1.0, other.abs().max().item()))


def trainable(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def steps(model, name, network, number, lr=0.05):
    """Train as the loop does; yield the gradients of each step, and the number of the step."""
    where = place(name, network)
    training_mode(model, where)
    optimizer = torch.optim.AdamW(where.method.groups(model, lr), lr=lr, weight_decay=0.0)
    for number_, inputs in zip(range(1, number + 1), stream(network), strict=False):
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        where.method.after_step(model, number_)
        yield {key: p.grad for key, p in trainable(model).items()}
        optimizer.zero_grad()


def trained(name, network, number=3):
    model = attached(name, network)
    if trainable(model):
        for _ in steps(model, name, network, number):
            pass
    return model.eval()


# FRoD puts each weight together from single-precision factors. On tiny T5 decoders its shared basis is so badly
# conditioned that logits are off by 1e-5 on one processor and 2e-5 on another; everywhere else 1e-6 is reached.
ROUNDED = {("frod", "t5"): 1e-4, ("frod", "mt5"): 1e-4}


def test_begins_as_the_bare_network(name, network):
    start, expected = logits(attached(name, network), network), logits(fresh(network), network)
    if method(name).changes_output_at_init:
        assert torch.isfinite(start).all()
        assert not torch.equal(start, expected), "it says that it departs, and does not"
    else:
        close(start, expected, ROUNDED.get((name, network), 1e-5))


def test_trains_exactly_what_it_says(name, network):
    model = attached(name, network)
    before = {key: tensor.clone() for key, tensor in [*model.named_parameters(), *model.named_buffers()]}
    alive = set()
    if trainable(model):
        for gradients in steps(model, name, network, 10):
            alive |= {key for key, g in gradients.items() if g is not None and g.abs().max() > 0}
    assert not trainable(model).keys() - alive - dead(name, network), "never got a gradient"
    frozen = {key: p for key, p in model.named_parameters() if not p.requires_grad}
    if not method(name).trains_buffers:
        frozen |= dict(model.named_buffers())
    assert [key for key, tensor in frozen.items() if not torch.equal(tensor, before[key])] == []


def dead(name, network):
    """Name what the table of capabilities reports as never having had a gradient."""
    row = known().get((name, network))
    return set(row["dead"].split()) if row else set()


def test_trains_as_many_parameters_as_the_formula(name, network):
    if (name, network) not in COUNTS:
        pytest.skip("no formula for this pair; each method has one on its main networks")
    counted = sum(p.numel() for key, p in trainable(attached(name, network)).items() if ".new_head." not in f".{key}")
    assert counted == COUNTS[name, network]


@pytest.mark.parametrize("name", names_in("method"))
def test_has_a_formula_wherever_the_readme_s_tests_look(name):
    assert [n for n in ONE_PER_KIND if runs(name, n) and (name, n) not in COUNTS] == []


def test_comes_back_from_its_file(name, network, tmp_path):
    model = trained(name, network)
    place(name, network).method.save(model, tmp_path)
    assert {f.suffix for f in tmp_path.rglob("*") if f.is_file()} <= {".safetensors", ".json"}
    restored = place(name, network).method.restore(fresh(network), tmp_path, place(name, network))
    close(logits(restored, network), logits(model, network), 1e-6)


def test_merged_is_the_same_network(name, network):
    model = trained(name, network)
    expected = logits(model, network)
    merged = place(name, network).method.merge(model)
    close(logits(merged, network), expected, 1e-4)
    shapes = {key: tensor.shape for key, tensor in merged.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in fresh(network).state_dict().items()}


ROLES = [(network, role) for network in (*ONE_PER_KIND, "gpt2", "t5") for role in sorted(_roles(NETWORKS[network][0]))]


@pytest.mark.parametrize(("where", "role"), ROLES, ids=["-".join(pair) for pair in ROLES])
def test_an_adapter_of_any_role_is_trained_and_merged_or_refused(where, role):
    """Of tied weights one adapter would be merged into both, and what nobody calls has no gradient."""
    peft_type = "LN_TUNING" if role == "norm" else "LORA"
    fused = next((m.split() for m in FAMILIES[NETWORKS[where][0]].modules.values() if role in m.split()), [role])
    on_role = replace(
        method("lora"), peft_type=peft_type, rank=None if role == "norm" else 2, targets=fused, options={}
    )
    placed = cell(where, on_role, KINDS.get(where))
    if reason := placed.conflict():
        tied = where in ("mbart", "gpt2", "t5") and role in ("embedding", "head")
        assert ("shares its weight with" if tied else "network has no module with the role") in reason
        return
    torch.manual_seed(0)
    model = on_role.attach(fresh(where), placed)
    training_mode(model, placed)
    optimizer = torch.optim.AdamW(on_role.groups(model, 0.05), lr=0.05)
    silent = {*trainable(model)}
    for _, inputs in zip(range(3), stream(where), strict=False):
        model(**inputs).loss.backward()
        silent -= {key for key, p in trainable(model).items() if p.grad is not None and p.grad.abs().max() > 0}
        optimizer.step()
        optimizer.zero_grad()
    assert silent == set()
    expected = logits(model, where)
    close(logits(on_role.merge(model), where), expected, 1e-4)


def test_learns_without_its_head(name, network):
    frozen = loss(fresh(network), network)
    reached = math.inf
    for lr in (0.02, 0.2):
        model = attached(name, network)
        for key, p in model.named_parameters():
            if ".new_head." in f".{key}":
                p.requires_grad_(False)
        for number, _ in enumerate(steps(model, name, network, 100, lr)):
            if number % 5 == 4:
                reached = min(reached, loss(model, network))
                training_mode(model, place(name, network))
            if reached < 0.9 * frozen:
                return
    raise AssertionError(f"{reached:.3f} after 100 steps, the frozen network has {frozen:.3f}")


def loss(model, network):
    with torch.no_grad():
        return sum(model.eval()(**data(network, seed=-seed)).loss.item() for seed in range(1, 4)) / 3


def test_computes_in_bf16(name, network):
    model, plain = attached(name, network), fresh(network)
    training_mode(model, place(name, network))
    with torch.autocast("cpu", torch.bfloat16):
        found = model(**data(network)).loss
        rounded = plain(**data(network)).loss.item()
    if found.requires_grad:
        found.backward()
    slack = 0.1 + 2 * abs(rounded - plain(**data(network)).loss.item())  # what rounding does to the bare network
    assert found.item() == pytest.approx(model(**data(network)).loss.item(), rel=0.1, abs=slack)
    assert all(torch.isfinite(p.grad).all() for p in trainable(model).values() if p.grad is not None)


def gradients(model, *batches_):
    """Accumulate over batches, each weighted by its share of what is asked; noise is the same every time."""
    torch.manual_seed(0)
    counts = [items(inputs) for inputs in batches_]
    for inputs, count in zip(batches_, counts, strict=True):
        (model(**inputs).loss * (count / sum(counts))).backward()
    found = {key: p.grad.clone() for key, p in trainable(model).items() if p.grad is not None}
    model.zero_grad()
    return found


def items(inputs):
    labels = inputs["labels"]
    causal = labels.dtype == torch.long and labels.shape == inputs.get("input_ids", torch.empty(0)).shape
    return max(int((labels[:, 1:] if causal else labels).ne(IGNORED).sum()), 1)


def same(one, other, tolerance):
    assert one.keys() == other.keys()
    scale = max([1.0, *(g.abs().max().item() for g in other.values())])
    for key in other:
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=tolerance * scale, msg=key)


def test_two_halves_make_a_whole(name, network):
    model = attached(name, network)
    model.eval()  # statistics of a batch are not those of its halves
    whole = data(network)
    halves = [{key: tensor[part] for key, tensor in whole.items()} for part in (slice(0, 2), slice(2, 4))]
    if NETWORKS[network][2][0] == Kind.SEQ2SEQ:  # there every position of the answers counts
        weights = [half["labels"].ne(IGNORED).sum() for half in halves]
        assert weights[0] == weights[1]
    assert trainable(model)
    same(gradients(model, *halves), gradients(model, whole), 1e-4)


def test_recomputing_activations_changes_nothing(name, network):
    model = attached(name, network)
    training_mode(model, place(name, network))
    expected = gradients(model, data(network))
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    encoder = getattr(inner, "encoder", inner)
    if hasattr(encoder, "set_grad_checkpointing"):
        encoder.set_grad_checkpointing(True)
    else:
        encoder = inner if kind(network) in (Kind.CAUSAL_LM, Kind.SEQ2SEQ) else encoder
        encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    same(gradients(model, data(network)), expected, 1e-4)


def test_compiles(name, network):
    model = attached(name, network)
    expected = logits(model, network)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")
    close(logits(compiled, network), expected)


def test_what_a_method_says_of_itself():
    for name in names_in("method"):
        found = method_of(name)
        category, paper = (fact("method", name, key) for key in ("category", "paper"))
        assert category in list(Category), name
        assert paper or category == Category.REFERENCE, name
        assert found.lr == 0 or math.isclose(
            math.sqrt(found.search["lr"]["low"] * found.search["lr"]["high"]), found.lr, rel_tol=0.05
        ), f"{name}: the default learning rate is not in the middle of its range"
        for knob in found.search.keys() - {"lr"}:
            given, wanted = found, knob.split(".")
            for part in wanted:
                given = given[part] if isinstance(given, dict) else getattr(given, part)
            values = found.search[knob]
            inside = given in values if isinstance(values, list) else values["low"] <= given <= values["high"]
            assert inside, f"{name}: the default of {knob} is not in its range"

"""The gate: what every method must hold on every architecture that it does not refuse.

`pytest` runs one network per kind, `pytest --families others` all further ones, `pytest --families all` every one; the
last two also compile. A pair of method and network is one test, and each claim about it a subtest.
"""

import math
from dataclasses import replace

import pytest
import torch
from counts import COUNTS
from pairs import (
    KINDS,
    Pair,
    bare_logits,
    bare_loss,
    built,
    close,
    data,
    fresh,
    kind,
    known,
    logits,
    loss,
    method,
    runs,
    steps,
    stream,
    trainable,
)

from benchmark.backbones.roles import FAMILIES, _roles
from benchmark.capabilities.networks import NETWORKS, cell
from benchmark.capabilities.probe import method_of
from benchmark.config.registry import fact
from benchmark.config.registry import names as names_in
from benchmark.engine.train import training_mode
from benchmark.types import IGNORED, Category, Kind

pytestmark = pytest.mark.gate
ONE_PER_KIND = ("llama", "vision_transformer", "esm", "wav2vec2", "mbart")
ON_EVERY_KIND = ("bitfit", "houlsby", "lora", "prefix_mlp", "ssf")  # one for each way in which methods are attached


# FRoD puts each weight together from single-precision factors. On tiny T5 decoders its shared basis is so badly
# conditioned that logits are off by 1e-5 on one processor and 2e-5 on another; everywhere else 1e-6 is reached.
ROUNDED = {("frod", "t5"): 1e-4, ("frod", "mt5"): 1e-4}


def begins_as_the_bare_network(pair, _):
    network = pair.network
    start, expected = logits(pair.model, network), bare_logits(network)
    if pair.method.changes_output_at_init:
        assert torch.isfinite(start).all()
        assert not torch.equal(start, expected), "it says that it departs, and does not"
    else:
        close(start, expected, ROUNDED.get((pair.name, network), 1e-5))


def trains_exactly_what_it_says(pair, _):
    model = pair.model
    before = {key: tensor.clone() for key, tensor in [*model.named_parameters(), *model.named_buffers()]}
    row = known().get((pair.name, pair.network))
    silent = trainable(model).keys() - set(row["dead"].split() if row else ())  # but for what the table reports
    for number, gradients in enumerate(steps(model, pair, 10) if trainable(model) else ()):
        silent -= {key for key, g in gradients.items() if g is not None and g.abs().max() > 0}
        if number > 1 and not silent:
            break
    assert not silent, "never got a gradient"
    frozen = {key: p for key, p in model.named_parameters() if not p.requires_grad}
    if not pair.method.trains_buffers:
        frozen |= dict(model.named_buffers())
    assert [key for key, tensor in frozen.items() if not torch.equal(tensor, before[key])] == []


def trains_as_many_parameters_as_the_formula(pair, _):
    if (pair.name, pair.network) in COUNTS:  # each method has a formula on its main networks
        counted = sum(p.numel() for key, p in trainable(pair.model).items() if ".new_head." not in f".{key}")
        assert counted == COUNTS[pair.name, pair.network]


def comes_back_from_its_file(pair, folder):
    model, method, network = pair.model, pair.cell.method, pair.network
    method.save(model, folder)
    assert {f.suffix for f in folder.rglob("*") if f.is_file()} <= {".safetensors", ".json"}
    restored = method.restore(fresh(network), folder, pair.cell)
    close(logits(restored, network), logits(model, network), 1e-6)


def merged_is_the_same_network(pair, _):
    model, network = pair.model, pair.network
    expected = logits(model, network)
    merged = pair.cell.method.merge(model)
    close(logits(merged, network), expected, 1e-4)
    shapes = {key: tensor.shape for key, tensor in merged.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in built(network).state_dict().items()}


def learns_without_its_head(pair, _):
    frozen = bare_loss(pair.network)
    reached = math.inf
    for lr in (0.02, 0.2):
        model = pair.attached()
        for key, p in model.named_parameters():
            if ".new_head." in f".{key}":
                p.requires_grad_(False)
        for number, _ in enumerate(steps(model, pair, 100, lr)):
            if number % 5 == 4:
                reached = min(reached, loss(model, pair.network))
                training_mode(model, pair.cell)
            if reached < 0.9 * frozen:
                return
    raise AssertionError(f"{reached:.3f} after 100 steps, the frozen network has {frozen:.3f}")


def computes_in_bf16(pair, _):
    model, plain, inputs = pair.model, built(pair.network), data(pair.network)
    training_mode(model, pair.cell)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(**inputs).loss
        rounded = plain(**inputs).loss.item()
    if found.requires_grad:
        found.backward()
    slack = 0.1 + 2 * abs(rounded - plain(**inputs).loss.item())  # what rounding does to the bare network
    assert found.item() == pytest.approx(model(**inputs).loss.item(), rel=0.1, abs=slack)
    assert all(torch.isfinite(p.grad).all() for p in trainable(model).values() if p.grad is not None)


def gradients(model, *batches):
    """Accumulate over batches, each weighted by its share of what is asked; noise is the same every time."""
    model.zero_grad()
    torch.manual_seed(0)
    counts = [items(inputs) for inputs in batches]
    for inputs, count in zip(batches, counts, strict=True):
        (model(**inputs).loss * (count / sum(counts))).backward()
    return {key: p.grad.clone() for key, p in trainable(model).items() if p.grad is not None}


def items(inputs):
    labels = inputs["labels"]
    causal = labels.dtype == torch.long and labels.shape == inputs.get("input_ids", torch.empty(0)).shape
    return max(int((labels[:, 1:] if causal else labels).ne(IGNORED).sum()), 1)


def same(one, other, tolerance):
    assert one.keys() == other.keys()
    scale = max([1.0, *(g.abs().max().item() for g in other.values())])
    for key in other:
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=tolerance * scale, msg=key)


def two_halves_make_a_whole(pair, _):
    model = pair.model.eval()  # statistics of a batch are not those of its halves
    whole = data(pair.network)
    halves = [{key: tensor[part] for key, tensor in whole.items()} for part in (slice(0, 2), slice(2, 4))]
    if NETWORKS[pair.network][2][0] == Kind.SEQ2SEQ:  # there every position of the answers counts
        weights = [half["labels"].ne(IGNORED).sum() for half in halves]
        assert weights[0] == weights[1]
    assert trainable(model)
    same(gradients(model, *halves), gradients(model, whole), 1e-4)


def recomputing_activations_changes_nothing(pair, _):
    model, network = pair.model, pair.network
    training_mode(model, pair.cell)
    expected = gradients(model, data(network))
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    encoder = getattr(inner, "encoder", inner)
    if hasattr(encoder, "set_grad_checkpointing"):
        encoder.set_grad_checkpointing(True)
    else:
        encoder = inner if kind(network) in (Kind.CAUSAL_LM, Kind.SEQ2SEQ) else encoder
        encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    same(gradients(model, data(network)), expected, 1e-4)


def compiles(pair, _):
    model = pair.attached()
    expected = logits(model, pair.network)
    torch._dynamo.reset()
    close(logits(torch.compile(model, backend="aot_eager"), pair.network), expected)


CLAIMS = {  # in the order in which they are asked -> the methods of which each is asked
    begins_as_the_bare_network: lambda name: True,
    trains_as_many_parameters_as_the_formula: lambda name: True,
    computes_in_bf16: lambda name: True,
    trains_exactly_what_it_says: lambda name: True,  # from here on the model is trained
    comes_back_from_its_file: lambda name: True,
    learns_without_its_head: lambda name: name not in ("frozen", "head"),  # nothing is left that could learn
    two_halves_make_a_whole: lambda name: name != "frozen",
    recomputing_activations_changes_nothing: lambda name: name != "frozen" and method(name).recomputes,
    # last: it takes the method out of the model
    merged_is_the_same_network: lambda name: method(name).mergeable,
}
COSTLY = {compiles: lambda name: method(name).compiles}  # three seconds for each pair: not in the ordinary tests


def ordinary(name):
    """List the networks on which the ordinary tests check a method: the first kind that it runs on; a few on all."""
    kinds = [network for network in ONE_PER_KIND if runs(name, network)]
    return kinds if name in ON_EVERY_KIND else kinds[:1]


def asked(name, network, families):
    """List the claims that a run with these families checks of a pair."""
    chosen = {} if families == "others" and network in ordinary(name) else CLAIMS
    chosen = chosen if families == "ordinary" else COSTLY | chosen
    return [claim for claim, of in chosen.items() if of(name)]


def pytest_generate_tests(metafunc):
    if "claims" in metafunc.fixturenames:
        families = metafunc.config.getoption("families")
        chosen = ordinary if families == "ordinary" else lambda name: [n for n in NETWORKS if runs(name, n)]
        pairs = [(name, network) for name in names_in("method") for network in chosen(name)]
        found = [(*pair, claims) for pair in pairs if (claims := asked(*pair, families))]
        metafunc.parametrize(("name", "network", "claims"), found, ids=["-".join(pair[:2]) for pair in found])


def test_holds(name, network, claims, subtests, tmp_path):
    pair = Pair(name, network)
    for claim in claims:
        with subtests.test(claim.__name__):
            claim(pair, tmp_path)


def test_has_a_formula_wherever_the_readme_s_tests_look():
    pairs = {(name, n) for name in names_in("method") for n in ONE_PER_KIND if runs(name, n)}
    assert pairs - COUNTS.keys() == set()


@pytest.mark.parametrize("where", [*ONE_PER_KIND, "gpt2", "t5"])
def test_an_adapter_of_any_role_is_trained_and_merged_or_refused(where, subtests):
    for role in sorted(_roles(NETWORKS[where][0])):
        with subtests.test(role):
            check_role(where, role)


def check_role(where, role):
    """Of tied weights one adapter would be merged into both, and what nobody calls has no gradient."""
    fused = next((m.split() for m in FAMILIES[NETWORKS[where][0]].modules.values() if role in m.split()), [role])
    lora, norm = replace(method("lora"), rank=2, options={}), method("ln_tuning")
    on_role = replace(norm if role == "norm" else lora, targets=fused)
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

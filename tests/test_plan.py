"""Plans on networks without weights: sizes, memory and work, against counts by hand and real networks."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from pairs import method, runs
from torch import nn

from benchmark.backbones.vision import VisionNetwork
from benchmark.capabilities.networks import BUDGET, NETWORKS, bare, cell, head
from benchmark.config import registry
from benchmark.config.compose import cell_of
from benchmark.engine.train import training_mode
from benchmark.plan.estimate import count, plan
from benchmark.plan.ledger import Kernels, Ledger
from benchmark.plan.outlines import SHAPES, outlined
from benchmark.plan.sample import ANSWERS, INPUTS, head_of, sample
from benchmark.plan.step import size, take_step
from benchmark.types import Head, Input, Kind

FLOAT, LONG = 4, 8  # bytes
PUBLISHED = {  # parameters of the network or encoder, as people who loaded the weights of the hub report them
    "llama_3_2_1b": 1_235_814_400,
    "gpt2_medium": 354_823_168,
    "qwen3_600m": 596_049_920,
    "nllb_200_600m": 615_073_792,
    "mbart_large_50": 610_879_488,
    "mt5_small": 300_176_768,
    "whisper_tiny_text": 37_760_640,
    "whisper_small_text": 241_734_912,
}
MASK = 768  # the vector for masked frames, which a run does without
ENCODERS = {
    "esm2_8m": 7_512_474 - (320 * 320 + 320 + 2 * 320 + 33),  # without the head for masked residues
    "prot_t5": 1_208_141_824,
    "wav2vec2_base": 94_371_712 - MASK,
    "hubert_base": 94_371_712 - MASK,
    "wavlm_base_plus": 94_381_936 - MASK,
    "whisper_tiny": 8_208_384,
    "whisper_small": 88_154_112,
    "bert_base": 109_482_240 - (768 * 768 + 768),  # without the pooler
    "roberta_base": 124_645_632 - (768 * 768 + 768),
    "xlm_r_base": 278_043_648 - (768 * 768 + 768),
    "deberta_v3_base": 183_831_552,
    "modernbert_base": 149_014_272,
}


class Layers(nn.Sequential):
    """Encoder of images of 3 x 2 x 2 pixels, 12 -> 5 -> 4."""

    num_features = 4
    pretrained_cfg = {"input_size": (3, 2, 2)}  # noqa: RUF012

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 4))


def by_hand(trained=("",), **budget):
    """Plan a step of 6 images into 3 classes, of which the named modules train."""
    with torch.device("meta"):
        model = VisionNetwork(Layers(), Head(Kind.CLASSIFY, ("a", "b", "c")))
    for name, p in model.named_parameters():
        p.requires_grad_(name.startswith(trained))
    groups = lambda model, lr: [{"params": [p for p in model.parameters() if p.requires_grad], "lr": lr}]  # noqa: E731
    place = SimpleNamespace(
        task=SimpleNamespace(reads=Input.IMAGE, pair=False), kind=Kind.CLASSIFY, lr=0.1, head_lr=0.1,
        budget=dataclasses.replace(BUDGET, batch_size=6, **budget),
        method=SimpleNamespace(trains_buffers=False, groups=groups),
    )  # fmt: skip
    return take_step(model, place, "cpu")


def test_the_bytes_of_a_small_network_are_those_by_hand():
    step, weights = by_hand(), FLOAT * (12 * 5 + 5 + 5 * 4 + 4 + 4 * 3 + 3)
    assert (step.weights, step.gradients, step.kept) == (weights, weights, weights)
    assert step.optimiser == 2 * weights + 6 * FLOAT  # two moments, and a count of steps for each tensor
    kept = FLOAT * 6 * (12 + 5 + 4 + 3) + LONG * 6  # inputs of the three maps, log-probabilities, labels
    assert kept <= step.activations <= kept + 4 * LONG  # and single numbers of the mean
    most = step.optimiser + 3 * weights + step.activations  # activations go while gradients come
    assert most - weights < step.peak <= most


def test_a_part_that_is_frozen_below_needs_neither_states_nor_activations():
    step, head = by_hand(trained=("new_head",)), FLOAT * (4 * 3 + 3)
    assert (step.gradients, step.kept, step.optimiser) == (head, head, 2 * head + 2 * FLOAT)
    assert step.activations == by_hand().activations - FLOAT * 6 * 5
    assert by_hand(trained=("nothing",)).optimiser == 0


def test_the_flops_of_a_small_network_are_those_by_hand():
    forward = 2 * 6 * (12 * 5 + 5 * 4 + 4 * 3)
    assert by_hand().flops == 2 * forward + 2 * 6 * (5 * 4 + 4 * 3)  # no gradient of the images
    assert by_hand(trained=("new_head",)).flops == forward + 2 * 6 * 4 * 3
    assert by_hand(micro_batches=3).flops == by_hand().flops


def test_smaller_parts_of_a_batch_need_less_and_accumulate_gradients():
    whole, parts = by_hand(), by_hand(micro_batches=3)
    assert parts.activations < whole.activations / 2
    assert (parts.gradients, parts.optimiser) == (whole.gradients, whole.optimiser)
    assert parts.passing >= parts.activations + parts.gradients


def test_attention_costs_four_products_of_its_lengths_and_keeps_no_matrix_of_them():
    batch, heads, length, width = 2, 3, 64, 8
    with Ledger() as ledger, Kernels("fp32", "cpu"), torch.device("meta"):
        query, key, value = (torch.empty(batch, heads, length, width, requires_grad=True) for _ in range(3))
        before = ledger.live
        out = nn.functional.scaled_dot_product_attention(query, key, value)
    assert ledger.flops == 4 * batch * heads * length**2 * width
    assert ledger.live - before == FLOAT * batch * heads * length * (width + 1)  # the output, a number per query
    assert out.shape == query.shape


def test_with_dropout_attention_on_a_processor_keeps_its_matrix():
    kept = []
    for device in ("cpu", "cuda"):
        with Ledger() as ledger, Kernels("fp32", device), torch.device("meta"):
            query = torch.empty(2, 3, 64, 8, requires_grad=True)
            out = nn.functional.scaled_dot_product_attention(query, query, query, dropout_p=0.1)
            kept.append(ledger.live)
        del out
    assert kept[0] > kept[1] + FLOAT * 2 * 3 * 64 * 64


def test_bf16_computes_maps_in_two_bytes_and_losses_in_four():
    with Kernels("bf16", "cuda"), torch.device("meta"):
        out = nn.Linear(4, 3)(torch.empty(2, 4))
        assert (out.dtype, out.log_softmax(-1).dtype) == (torch.bfloat16, torch.float32)
    with Kernels("fp32", "cuda"), torch.device("meta"):
        assert nn.Linear(4, 3)(torch.empty(2, 4)).dtype == torch.float32


SEVERAL = ("lora", "houlsby", "ia3", "bitfit", "full", "frozen", "ssf", "vera", "adalora")
ON = ("llama", "gpt2", "mbart", "mt5", "vision_transformer", "swin_transformer", "esm", "wav2vec2", "whisper")
PAIRS = [
    *((name, network) for name in SEVERAL for network in ON if runs(name, network)),
    ("prefix_tuning", "llama"),
    ("norm_tuning", "resnet"),
    ("norm_tuning", "convnext"),
    ("vpt_deep", "vision_transformer"),
]


def attached(model, place):
    own = set(model.parameters())
    return count(place.method.attach(model, place), own)


@pytest.mark.parametrize(("name", "network"), PAIRS)
def test_a_network_without_weights_trains_what_the_real_one_does(name, network):
    place = cell(network, method(name))
    of = head(place.kind)
    planned, real = (
        attached(make(), place) for make in (lambda: place.backbone.outline(place.budget, of), lambda: bare(network))
    )
    assert planned == real
    assert planned["trained"] > 0 or name == "frozen"
    pretrained = planned["trained"] - planned["added"] - planned["head"]
    assert {"full": planned["added"] == 0, "lora": pretrained == 0}.get(name, True)


@pytest.mark.parametrize(("task", "name"), [("protein", "lora"), ("medical_images", "bitfit")])
def test_the_peak_is_that_of_the_tensors_of_a_real_step(task, name):
    place = cell_of([f"task={task}", f"method={name}", "budget.batch_size=3", "budget.steps=1", "budget.evaluations=1"])
    planned = plan(place, "cpu", labels=3)
    model = place.method.attach(place.load(head_of(place, 3))[0], place)
    training_mode(model, place)
    batch = {key: torch.ones(t.shape, dtype=t.dtype) for key, t in sample(place, model, 3).items()}
    own, kept = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}, {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**batch).loss
    inputs = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in batch.values()}
    assert planned.step.activations == pytest.approx(sum(s.nbytes() for s in (kept | inputs).values()), rel=0.02)
    assert planned.step.weights == size([*model.parameters(), *model.buffers()])
    assert planned.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert loss.requires_grad


def test_recomputation_needs_fewer_activations_and_more_work():
    place = cell_of(["task=text_generation", "method=lora", "budget.batch_size=2"])
    planned = plan(place, "cpu")
    assert planned.recomputed.activations < planned.step.activations / 3
    assert planned.recomputed.peak < planned.step.peak
    assert 1.2 < planned.recomputed.flops / planned.step.flops < 1.6  # one more forward pass, beside two thirds
    assert planned.recomputed.optimiser == planned.step.optimiser


def test_a_method_that_cannot_run_is_refused_with_its_reason():
    bitfit, pissa = (plan(cell_of(["task=text_generation", f"method={name}"]), "cpu") for name in ("bitfit", "pissa"))
    assert "llama has no bias vectors to train" in bitfit.refused
    assert "pissa reads the values of the weights" in pissa.refused


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_shape_has_as_many_parameters_as_the_published_network(name):
    decoders = dict.fromkeys(("llama", "gpt2_", "qwen3"), "text_generation")
    task = (decoders | {"whisp": "speech_recognition"}).get(name[:5], "nmt")
    place = outlined(cell_of([f"task={task}", "method=frozen", f"backbone={name}"]))
    model = place.backbone.skeleton(place.budget, head_of(place, None))
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", ENCODERS)
def test_the_shape_of_an_encoder_has_as_many_parameters_as_the_published_one(name):
    reads = registry.node("backbone", name)["_target_"].split(".")[2]
    task = {"protein": "protein", "text": "language_id", "speech": "speech"}[reads]
    place = outlined(cell_of([f"task={task}", "method=frozen", f"backbone={name}"]))
    model = place.backbone.skeleton(place.budget, head_of(place, None))
    assert sum(p.numel() for p in model.encoder.parameters()) == ENCODERS[name]


def test_every_kind_of_answer_and_of_input_has_a_sample():
    assert (set(ANSWERS), set(INPUTS)) == (set(Kind), set(Input))


def test_every_backbone_of_the_hub_has_a_shape():
    def needs(name):
        checkpoint = registry.node("backbone", name)["checkpoint"]
        return "/" in checkpoint and not checkpoint.startswith(("embedded/", "fetched/", "timm/"))

    def loaded(names):
        return {registry.node("backbone", name)["checkpoint"] for name in names}

    assert loaded(folder.name for folder in SHAPES.iterdir()) == loaded(filter(needs, registry.names("backbone")))


def test_another_checkpoint_does_not_take_the_shape_of_the_named_one(tiny_causal):
    mine = ["backbone=llama_3_2_1b", f"backbone.checkpoint={tiny_causal}"]
    place = cell_of(["task=text_generation", "method=lora", *mine])
    model = outlined(place).backbone.skeleton(place.budget, Head(Kind.CAUSAL_LM))
    assert sum(p.numel() for p in model.parameters()) < 1e6


def test_every_network_of_the_gate_has_an_outline():
    for network in NETWORKS:
        place = cell(network, method("frozen"))
        assert all(p.is_meta for p in place.backbone.outline(place.budget, head(place.kind)).parameters())

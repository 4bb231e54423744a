"""A new head on an encoder: outputs, losses, and what retention compares."""

import itertools
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.backbones import headed
from benchmark.backbones.headed import Headed, NewHead, average, outputs
from benchmark.types import Head, Kind

ABC = ("a", "b", "c")


class Embedded(Headed):
    """An encoder that looks its states up: one row per symbol, symbol 0 is padding."""

    def __init__(self, head, width=4):
        super().__init__(nn.Embedding(7, width), width, head)

    def states(self, ids):
        return self.encoder(ids), ids != 0


def network(head):
    torch.manual_seed(0)
    return Embedded(head)


IDS = torch.tensor([[1, 2, 3, 4, 5], [6, 5, 0, 0, 0]])


@pytest.mark.parametrize(
    ("head", "count"),
    [(Head(Kind.CLASSIFY, ABC), 3), (Head(Kind.TAG, ABC), 3), (Head(Kind.REGRESS), 1), (Head(Kind.CTC, ABC), 4)],
)
def test_a_head_has_an_output_per_answer(head, count):
    assert outputs(head) == count
    assert network(head)(ids=IDS).logits.shape[-1] == count


def test_padding_is_no_part_of_the_average():
    states = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [-9.0], [7.0]]])
    assert average(states, torch.tensor([[1, 1, 0], [1, 0, 0]])).tolist() == [[2.0], [5.0]]
    model = network(Head(Kind.CLASSIFY, ABC))
    assert torch.allclose(model(ids=IDS).logits[1:], model(ids=IDS[1:, :2]).logits)


def test_the_order_of_two_partners_does_not_matter():
    model = network(Head(Kind.REGRESS, pair=True))
    two = torch.tensor([[1, 2], [3, 4]])
    assert model(ids=torch.cat([two, two.flip(0)])).logits.shape == (2, 1)
    one_way, other_way = model(ids=IDS[:, :2]).logits, model(ids=IDS[:, :2].flip(0)).logits
    assert torch.equal(one_way, other_way)
    assert not torch.equal(one_way, model(ids=two).logits)


def test_mixed_layers_begin_as_their_mean_and_their_weights_learn():
    head = NewHead(4, Head(Kind.CLASSIFY, ABC), layers=3)
    layers = [torch.randn(2, 5, 4) for _ in range(3)]
    expected = head.project(torch.stack(layers).mean(0).mean(1))
    assert torch.allclose(head(layers, None), expected, atol=1e-6)
    head(layers, None).sum().backward()
    assert head.mix.grad.abs().sum() > 0


def test_losses_are_those_of_the_formulas():
    logits = network(Head(Kind.CLASSIFY, ABC))(ids=IDS).logits
    by_hand = -sum(logits[i].softmax(-1)[c].log() for i, c in enumerate((2, 0))) / 2
    loss = network(Head(Kind.CLASSIFY, ABC))(ids=IDS, labels=torch.tensor([2, 0])).loss
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)

    values = network(Head(Kind.REGRESS))(ids=IDS).logits[:, 0].tolist()
    loss = network(Head(Kind.REGRESS))(ids=IDS, labels=torch.tensor([1.0, -2.0])).loss
    assert loss.item() == pytest.approx(((values[0] - 1) ** 2 + (values[1] + 2) ** 2) / 2, rel=1e-5)

    labels = torch.tensor([[0, 1, -100, 2, 0], [1, -100, -100, -100, -100]])
    logits = network(Head(Kind.TAG, ABC))(ids=IDS).logits.log_softmax(-1)
    counted = [-logits[i, j, labels[i, j]].item() for i, j in itertools.product((0, 1), range(5)) if labels[i, j] >= 0]
    loss = network(Head(Kind.TAG, ABC))(ids=IDS, labels=labels).loss
    assert loss.item() == pytest.approx(sum(counted) / 5, rel=1e-5)


def collapse(path):
    return tuple(k for k, _ in itertools.groupby(path) if k)


def test_ctc_is_the_sum_over_all_paths_per_character_and_padding_is_no_frame():
    model = network(Head(Kind.CTC, ABC))
    labels = torch.tensor([[1, 2, -100], [3, -100, -100]])
    loss = model(ids=IDS, labels=labels).loss.item()
    probabilities = model(ids=IDS).logits.softmax(-1)
    total = 0.0
    for row, frames, answer in ((0, 5, (1, 2)), (1, 2, (3,))):
        paths = (p for p in itertools.product(range(4), repeat=frames) if collapse(p) == answer)
        total -= math.log(sum(math.prod(probabilities[row, t, c].item() for t, c in enumerate(p)) for p in paths))
    assert loss == pytest.approx(total / 3, rel=1e-4)


def test_an_answer_longer_than_its_frames_is_no_infinite_loss():
    loss = network(Head(Kind.CTC, ABC))(ids=IDS[1:, :2], labels=torch.tensor([[1, 2, 3, 1]])).loss
    assert loss.item() == 0


@pytest.mark.parametrize("kind", [Kind.TAG, Kind.CLASSIFY])
def test_a_batch_in_which_nothing_counts_has_no_loss(kind):
    labels = torch.full((2,) if kind == Kind.CLASSIFY else (2, 5), -100)
    loss = network(Head(kind, ABC))(ids=IDS, labels=labels).loss
    loss.backward()
    assert loss.item() == 0


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A held-out batch as scripts/pretrain.py writes it, beside a folder called tiny."""
    monkeypatch.setattr(headed, "HELD_OUT", tmp_path / "held_out")
    (tmp_path / "held_out").mkdir()
    torch.manual_seed(1)
    head = NewHead(4, Head(Kind.TAG, tuple("uvwxy")))
    tensors = {f"head.{name}": t.contiguous() for name, t in head.state_dict().items()}
    batch = {"ids": IDS, "labels": IDS.clamp(max=4)}
    save_file({**tensors, **batch}, tmp_path / "held_out" / "tiny.safetensors", metadata={"kind": "tag"})
    return tmp_path, head


def test_retention_reads_the_encoder_alone_and_nothing_changed_is_exactly_zero(shipped):
    folder, head = shipped
    model = network(Head(Kind.CLASSIFY, ABC))
    bare = headed.pretraining_loss(model, folder / "tiny")
    expected = nn.functional.cross_entropy(head.project(model.encoder(IDS)).flatten(0, 1), IDS.clamp(max=4).flatten())
    assert bare == pytest.approx(expected.item(), rel=1e-5)
    with torch.no_grad():
        model.new_head.project.weight.add_(1.0)  # the task's own head is not what was pretrained
    assert headed.pretraining_loss(model, folder / "tiny") - bare == 0
    with torch.no_grad():
        model.encoder.weight.mul_(-3.0)
    assert headed.pretraining_loss(model, folder / "tiny") != bare


def test_only_an_embedded_checkpoint_comes_with_held_out_data(shipped, tmp_path):
    folder, _ = shipped
    assert headed.pretraining_loss(network(Head(Kind.REGRESS)), folder / "other") is None
    assert headed.pretraining_loss(network(Head(Kind.REGRESS)), folder / "elsewhere" / "tiny") is None

"""Lattice proteins against literature and sums by hand, and the network that ships."""

import itertools
import math

import numpy as np
import pytest
import torch
from factories import corpus_of
from omegaconf import OmegaConf

from benchmark.backbones.protein import STANDARD
from benchmark.config.compose import cell_of
from benchmark.config.registry import CONFIGS
from benchmark.types import Example, Kind
from tasks.embedded.evolution import evolve, identity, lattice, mutate
from tasks.embedded.lattice import RESIDUES, UNITS, compact_folds, contact_energies, contacts

EMBEDDED = CONFIGS.parent / "benchmark" / "backbones" / "embedded"


@pytest.mark.parametrize(
    ("shape", "number"),
    [
        ((3, 3), 5),
        ((4, 4), 69),
        ((5, 5), 1_081),  # directed Hamiltonian paths of the square, 8,648, by its 8 symmetries (OEIS A096969)
        pytest.param((3, 3, 3), 103_346, marks=pytest.mark.slow),  # Shakhnovich and Gutin 1990
    ],
)
def test_there_are_as_many_compact_folds_as_the_literature_says(shape, number):
    assert sum(1 for _ in compact_folds(shape)) == number


def test_folds_visit_every_site_by_steps_of_one_and_none_is_another_ones_image():
    walks = [[divmod(site, 4) for site in fold] for fold in compact_folds((4, 4))]
    for walk in walks:
        assert len(set(walk)) == 16
        assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in itertools.pairwise(walk))
    turned = {tuple((b, 3 - a) for a, b in walk) for walk in walks} | {tuple((b, a) for a, b in walk) for walk in walks}
    straight = {tuple(walk) for walk in walks}
    assert len(straight) == 69
    assert not turned & straight


def test_contacts_of_a_snake_are_those_seen_on_paper():
    snake = [0, 1, 2, 5, 4, 3, 6, 7, 8]  # 0 1 2 / 5 4 3 / 6 7 8
    assert contacts(snake, (3, 3)) == [(0, 5), (1, 4), (3, 8), (4, 7)]


def test_contact_energies_are_the_published_ones():
    table, place = contact_energies(), RESIDUES.index
    assert table.shape == (20, 20)
    assert np.array_equal(table, table.T)
    published = {"CC": -5.44, "LL": -7.37, "FI": -6.84, "KK": -0.12, "DR": -2.29, "EK": -1.80, "PP": -1.75}
    assert {pair: float(table[place(pair[0]), place(pair[1])]) / UNITS for pair in published} == published
    assert np.array_equal(table, np.round(table))  # whole numbers: their sums are exact in any order


def naive_stability(sequence, fold, shape):
    energies = [
        sum(int(contact_energies()[sequence[i], sequence[j]]) for i, j in contacts(walk, shape)) / UNITS
        for walk in compact_folds(shape)
    ]
    own = energies.pop(fold)
    return -math.log(math.fsum(math.exp(-e) for e in energies)) - own


def test_stability_is_the_free_energy_of_the_other_folds_minus_the_own_energy():
    grid = lattice((3, 3))
    sequences = np.random.default_rng(0).integers(20, size=(12, 9))
    folds = np.arange(12) % 5
    expected = [naive_stability(s, f, (3, 3)) for s, f in zip(sequences.tolist(), folds, strict=True)]
    assert grid.stability(sequences, folds) == pytest.approx(expected, abs=1e-12)


def test_a_chain_of_one_residue_has_one_energy_and_no_stable_fold():
    grid = lattice((5, 5))
    leucine = np.full((1, 25), RESIDUES.index("L"))
    assert (grid.energies(leucine) == 16 * -737).all()
    assert grid.stability(leucine, np.array([7])) == pytest.approx([-math.log(1080)], abs=1e-12)


def test_evolution_finds_the_odds_that_it_promises():
    """Metropolis walks end where reweighting random sequences says."""
    grid, rng = lattice((3, 3)), np.random.default_rng(0)
    folds = np.zeros(400, dtype=int)
    means = {}
    for selection in (0.0, 1.0):
        *_, last = evolve(grid, folds, selection, 600, rng)
        means[selection] = grid.stability(last, folds).mean()
    random = grid.stability(rng.integers(20, size=(400_000, 9)), np.zeros(400_000, dtype=int)).astype(float)
    weights = np.exp(random)  # the same average by reweighting instead of by walking
    assert means[0.0] == pytest.approx(random.mean(), abs=0.3)
    assert means[1.0] == pytest.approx((weights * random).sum() / weights.sum(), abs=0.3)


def test_mutants_differ_where_they_should_and_identity_counts_it():
    rng = np.random.default_rng(0)
    parents = rng.integers(20, size=(500, 25))
    changed = (mutate(parents, [4, 6], rng) != parents).sum(1)
    assert set(changed.tolist()) == {4, 5, 6}
    assert identity(mutate(parents, [5, 5], rng), parents) == pytest.approx(np.full(500, 0.8))


def test_the_tasks_folds_are_easier_to_be_stable_in_than_others():
    data = OmegaConf.load(CONFIGS / "data" / "lattice.yaml")
    grid, rng = lattice((5, 5)), np.random.default_rng(1)
    chosen = np.repeat([*data.folds, *data.shifted_folds], 4)
    other = rng.choice(1081, 24, replace=False)
    *_, evolved = evolve(grid, np.concatenate([chosen, other]), data.selection, 300, rng)
    stability = grid.stability(evolved, np.concatenate([chosen, other]))
    assert stability[: len(chosen)].mean() > stability[len(chosen) :].mean() + 2


@pytest.fixture(scope="module")
def splits():
    return cell_of(["method=head", "task=protein", "backbone=protein_encoder", "backbone.checkpoint=a/b"]).task.splits()


def test_splits_share_no_parent_and_targets_are_exact(splits):
    data = OmegaConf.load(CONFIGS / "data" / "lattice.yaml")
    assert list(splits) == ["train", "valid", "test", "test/mutations", "test/fold"]
    groups = {name: {e.group for e in examples} for name, examples in splits.items()}
    texts = {name: {e.source for e in examples} for name, examples in splits.items()}
    for one, other in itertools.combinations(splits, 2):
        assert not groups[one] & groups[other]
        assert not texts[one] & texts[other]
    grid = lattice((5, 5))
    for name, folds in (("test", data.folds), ("test/mutations", data.folds), ("test/fold", data.shifted_folds)):
        parents = [int(e.group.rpartition("parent")[2]) for e in splits[name]]
        sequences = np.array([[RESIDUES.index(a) for a in e.source] for e in splits[name]])
        exact = grid.stability(sequences, np.resize(folds, max(parents) + 1)[parents])
        assert [e.targets[0] for e in splits[name]] == [round(float(kt), 4) for kt in exact]


@pytest.mark.slow
def test_pretraining_saw_nothing_near_any_split(splits):
    recipe = OmegaConf.load(CONFIGS / "pretrain" / "esm_lattice.yaml")
    assert recipe.away_from == "lattice"
    corpus = corpus_of("esm_lattice")
    trained, held_out = corpus.sequences(splits)
    assert len(trained) > 10_000
    letters = np.array([list(e.source) for examples in splits.values() for e in examples])
    for sequence in [*trained[::400], *held_out[::40]]:
        text = np.array([RESIDUES[i] for i in sequence])
        assert (letters == text).mean(1).max() <= recipe.corpus.most_identity
    assert identity(held_out, trained).max() < 0.8


def test_a_sequence_near_the_task_is_left_out_of_pretraining(splits):
    corpus = corpus_of("esm_lattice", chains=64, steps=50, taken=2, held_out=16)
    plain, _ = corpus.sequences({"test": splits["test"][:1]})
    near = "".join(RESIDUES[i] for i in plain[5])
    without, _ = corpus.sequences({"test": [Example("", near, (0.0,))]})
    assert near in {"".join(RESIDUES[i] for i in row) for row in plain}
    assert near not in {"".join(RESIDUES[i] for i in row) for row in without}


def test_the_shipped_checkpoint_is_small_16_bit_and_has_a_card():
    from safetensors import safe_open

    folder = EMBEDDED / "esm_lattice"
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 13e6
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {str(weights.get_slice(key).get_dtype()) for key in weights.keys()} == {"F16"}  # noqa: SIM118
    card = (folder / "README.md").read_text()
    assert "python scripts/pretrain.py esm_lattice" in card
    assert "Final loss" in card


def test_the_shipped_checkpoint_knows_every_residue_and_remembers():
    cell = cell_of(["task=protein", "method=head"])
    model, processor = cell.backbone.load(
        cell.budget, cell.task.head(Kind.REGRESS, [Example("", "", (x,)) for x in (0.0, 1.0)])
    )
    assert len(set(processor.ids(STANDARD + "XBZUO"))) == 25
    assert processor.ids("J") == processor.ids("X")
    assert processor.longest is None  # rotary: real proteins are longer than 25
    model.eval()
    bare = cell.backbone.pretraining_loss(model)
    assert bare < 2.4  # nats per masked residue; twenty residues at random have ln 20 = 3.0
    torch.manual_seed(1)  # draws differ by a third in what they make it forget
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(torch.randn_like(p), alpha=0.05)
    assert cell.backbone.pretraining_loss(model) > bare + 0.05

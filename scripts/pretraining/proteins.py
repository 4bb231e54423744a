"""Pretrain an ESM-shaped encoder on masked residues of lattice proteins.

Devlin et al. 2019; Lin et al. 2023.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional as F
from transformers import EsmConfig, EsmModel, EsmTokenizer
from transformers.models.esm import modeling_esm

from benchmark.backbones.protein import ProteinNetwork
from benchmark.config.build import build
from benchmark.config.registry import CONFIGS
from benchmark.types import IGNORED, Head, Kind
from scripts.pretraining.common import Batch, Pretraining
from tasks.embedded.lattice import RESIDUES

VOCABULARY = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]  # ESM-2's
LETTERS = torch.tensor([VOCABULARY.index(letter) for letter in RESIDUES])
CLS, PAD, EOS, MASK = (VOCABULARY.index(f"<{name}>") for name in ("cls", "pad", "eos", "mask"))
RARE = torch.tensor([VOCABULARY.index(letter) for letter in "XBUZO"])


def prepare(recipe: DictConfig) -> Pretraining:
    """Evolve the sequences, initialise the network."""
    corpus = build(OmegaConf.to_container(recipe.corpus), "corpus")
    task = build(OmegaConf.to_container(OmegaConf.load(CONFIGS / "data" / f"{recipe.away_from}.yaml")), "data")
    trained, held_out = corpus.sequences(task.splits())
    print(f"{len(trained):,} sequences, {len(held_out):,} held out", flush=True)
    modeling_esm.gelu = F.gelu  # the same function in one pass instead of five
    config = EsmConfig(
        **recipe.model, vocab_size=len(VOCABULARY), pad_token_id=PAD, mask_token_id=MASK, attn_implementation="eager"
    )  # eager: short sequences make the fused attention's backward pass slow on a CPU
    module = ProteinNetwork(EsmModel(config, add_pooling_layer=False), Head(Kind.TAG, tuple(RESIDUES)), 1, 1)
    head = module.new_head.state_dict(keep_vars=True)
    return Pretraining(
        module=module, batches=batches(trained, recipe), save=lambda folder: save(module.encoder, folder),
        unit="masked residue", kind=Kind.TAG, head=head,
        held_out=mask_residues(held_out, recipe.masked, torch.Generator().manual_seed(recipe.seed)),
    )  # fmt: skip


def batches(sequences: np.ndarray, recipe: DictConfig) -> Iterator[Batch]:
    """Yield batches without end; some join sequences, to reach lengths above 25."""
    rng, generator = np.random.default_rng(recipe.seed), torch.Generator().manual_seed(recipe.seed)
    while True:
        sample = sequences[rng.integers(len(sequences), size=recipe.batch_size)]
        joined = recipe.joined if rng.random() < recipe.joined_share else 1
        yield mask_residues(sample.reshape(len(sample) // joined, -1), recipe.masked, generator)


def mask_residues(sequences: np.ndarray, share: float, generator: torch.Generator) -> Batch:
    """Choose residues to predict: 80 % masked, 10 % replaced, 10 % unchanged."""
    labels = torch.from_numpy(sequences).long()
    shape = labels.shape
    ids = LETTERS[labels]
    chosen = torch.rand(shape, generator=generator) < share
    fate = torch.rand(shape, generator=generator)
    any_letter = torch.cat([LETTERS, RARE])  # rare ones get an embedding this way
    ids = torch.where(
        chosen & (fate < 0.9), any_letter[torch.randint(len(any_letter), shape, generator=generator)], ids
    )
    ids = torch.where(chosen & (fate < 0.8), MASK, ids)
    edges = torch.ones(len(ids), 1, dtype=torch.long)
    ids = torch.cat([CLS * edges, ids, EOS * edges], 1)
    labels = torch.where(chosen, labels, IGNORED)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def save(encoder: EsmModel, folder: Path) -> None:
    """Write the encoder and ESM-2's tokenizer."""
    encoder.config._attn_implementation = None  # each run chooses its own
    encoder.eval().half().save_pretrained(folder)
    with tempfile.TemporaryDirectory() as scratch:
        vocabulary = Path(scratch) / "vocab.txt"
        vocabulary.write_text("\n".join(VOCABULARY))
        EsmTokenizer(str(vocabulary)).save_pretrained(folder)

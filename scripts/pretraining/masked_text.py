"""Pretrain a BERT-shaped encoder on masked tokens of documents (Devlin et al. 2019)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from benchmark.backbones.text import TextNetwork
from benchmark.config.build import build
from benchmark.types import IGNORED, Head, Kind
from scripts.pretraining.common import Batch, Pretraining
from tasks.common import Corpus

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROLES = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
KEPT, REPLACED = 0.1, 0.1  # of the chosen tokens; the others are masked


def prepare(recipe: DictConfig) -> Pretraining:
    """Train the tokenizer, initialise the network, open the corpus."""
    corpus = build(OmegaConf.to_container(recipe.corpus), "corpus")
    tokenizer = train_tokenizer(corpus, recipe.vocabulary)
    config = BertConfig(
        **OmegaConf.to_container(recipe.model),
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )  # fmt: skip - eager: short sequences make the fused attention's backward pass slow on a CPU
    vocabulary = tuple(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    encoder = BertModel(config, add_pooling_layer=False)
    module = TextNetwork(encoder, Head(Kind.TAG, vocabulary), "average")

    def save(folder: Path) -> None:
        encoder.config._attn_implementation = None  # each run chooses its own
        encoder.eval().half().save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    generator = torch.Generator().manual_seed(recipe.seed)
    held_out = [text for _, text in corpus.held_out()]
    return Pretraining(
        module=module, batches=batches(corpus, tokenizer, recipe), save=save, unit="masked token", kind=Kind.TAG,
        head=module.new_head.state_dict(keep_vars=True), held_out=masked(held_out, tokenizer, recipe, generator),
    )  # fmt: skip


def train_tokenizer(corpus: Corpus, size: int) -> PreTrainedTokenizerFast:
    """Learn byte-level pairs, with BERT's template for one text and for two."""
    inner = Tokenizer(models.BPE(unk_token=ROLES["unk"]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
    )
    inner.train_from_iterator(corpus.texts(), trainer)
    cls, sep = ROLES["cls"], ROLES["sep"]
    inner.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(token, inner.token_to_id(token)) for token in (cls, sep)],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{role}_token": token for role, token in ROLES.items()},
    )  # fmt: skip


def batches(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: DictConfig) -> Iterator[Batch]:
    """Yield batches without end, of documents of like length."""
    rng, generator = random.Random(recipe.seed), torch.Generator().manual_seed(recipe.seed)
    documents = (text for _, text in corpus.pairs(rng))
    while True:
        window = sorted((next(documents) for _ in range(20 * recipe.batch_size)), key=len)
        chunks = [window[i : i + recipe.batch_size] for i in range(0, len(window), recipe.batch_size)]
        rng.shuffle(chunks)
        yield from (masked(chunk, tokenizer, recipe, generator) for chunk in chunks)


def masked(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, recipe: DictConfig, generator: torch.Generator
) -> Batch:
    """Choose tokens to predict: most are masked, some replaced, some unchanged."""
    read = tokenizer(list(texts), padding=True, truncation=True, max_length=recipe.context, return_tensors="pt")
    ids, shape = read["input_ids"], read["input_ids"].shape
    chosen = (torch.rand(shape, generator=generator) < recipe.masked) & (ids >= len(SPECIAL))
    labels, fate = torch.where(chosen, ids, IGNORED), torch.rand(shape, generator=generator)
    random_ids = torch.randint(len(SPECIAL), len(tokenizer), shape, generator=generator)
    ids = torch.where(chosen & (fate > KEPT), random_ids, ids)
    ids = torch.where(chosen & (fate > KEPT + REPLACED), tokenizer.mask_token_id, ids)
    return {"input_ids": ids, "attention_mask": read["attention_mask"], "labels": labels}

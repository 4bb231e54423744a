"""Pretrain a decoder on documents, or an encoder-decoder on pairs of texts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from benchmark.config.build import build
from scripts.pretraining.common import Batch, Pretraining
from tasks.common import Corpus

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]


def prepare(recipe: DictConfig) -> Pretraining:
    """Train the tokenizer, initialise the network, open the corpus."""
    corpus = build(OmegaConf.to_container(recipe.corpus), "corpus")
    tokenizer = train_tokenizer(corpus, recipe)
    model = fresh_model(recipe, tokenizer)

    def save(folder: Path) -> None:
        model.eval().half().save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return Pretraining(
        module=model, batches=batches(corpus, tokenizer, recipe), save=save, unit="token",
        held_out=held_out(corpus, tokenizer, recipe),
    )  # fmt: skip


def held_out(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: DictConfig) -> Batch:
    """Encode the corpus's held-out pairs as one batch."""
    pairs = corpus.held_out()
    if recipe.model.model_type != "llama":
        return _padded(pairs, tokenizer, recipe.context)
    texts = [tokenizer.bos_token + text + tokenizer.eos_token for _, text in pairs]
    batch = tokenizer(texts, padding=True, truncation=True, max_length=recipe.context, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


def train_tokenizer(corpus: Corpus, recipe: DictConfig) -> PreTrainedTokenizerFast:
    """Learn byte-level pairs; language tags are single tokens."""
    spoken = [*recipe.corpus.parallel, *recipe.corpus.monolingual] if recipe.tags else []
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[*SPECIAL, *(f"<{code}>" for code in spoken)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(corpus.texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        mask_token="<mask>", clean_up_tokenization_spaces=False,
    )  # fmt: skip


def fresh_model(recipe: DictConfig, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """Initialise the network; a decoder starts from the end token, as mBART's does."""
    shape = {
        **OmegaConf.to_container(recipe.model),
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = AutoConfig.for_model(**shape)
    if config.is_encoder_decoder:
        config.decoder_start_token_id = tokenizer.eos_token_id
        config.forced_eos_token_id = None
        return AutoModelForSeq2SeqLM.from_config(config)
    return AutoModelForCausalLM.from_config(config)


def batches(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: DictConfig) -> Iterator[Batch]:
    """Yield batches without end: padded pairs, or documents packed into rows."""
    rng = random.Random(recipe.seed)
    pairs = corpus.pairs(rng)
    while True:
        if recipe.model.model_type == "llama":
            rows = torch.tensor([_packed(pairs, tokenizer, recipe.context) for _ in range(recipe.batch_size)])
            yield {"input_ids": rows, "labels": rows}
            continue
        window = [next(pairs) for _ in range(20 * recipe.batch_size)]
        window.sort(key=lambda pair: len(pair[0].encode()) + len(pair[1].encode()))  # like lengths: little padding
        chunks = [window[i : i + recipe.batch_size] for i in range(0, len(window), recipe.batch_size)]
        rng.shuffle(chunks)
        yield from (_padded(chunk, tokenizer, recipe.context) for chunk in chunks)


def _padded(pairs: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, length: int) -> Batch:
    options = {"padding": True, "truncation": True, "max_length": length, "return_tensors": "pt"}
    source = tokenizer([s + tokenizer.eos_token for s, _ in pairs], **options)
    target = tokenizer([t + tokenizer.eos_token for _, t in pairs], **options)
    labels = target["input_ids"].masked_fill(target["attention_mask"] == 0, -100)
    return {"input_ids": source["input_ids"], "attention_mask": source["attention_mask"], "labels": labels}


def _packed(pairs: Iterator[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, length: int) -> list[int]:
    """Fill a row from a document's start, so that the network sees beginnings."""
    row: list[int] = []
    while len(row) < length:
        row += [tokenizer.bos_token_id, *tokenizer(next(pairs)[1])["input_ids"], tokenizer.eos_token_id]
    return row[:length]

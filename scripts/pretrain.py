"""Pretrain an embedded backbone by its recipe: python scripts/pretrain.py <name> [out=DIR] [field=value ...].

Writes an ordinary Hugging Face checkpoint (config, 16-bit safetensors, tokenizer) and a card beside it.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
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
    get_cosine_schedule_with_warmup,
)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmark.build import build  # noqa: E402
from tasks.common import Corpus  # noqa: E402

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]


def main(arguments: list[str]) -> None:
    """Read the recipe, train, save."""
    name, *overrides = arguments
    recipe = OmegaConf.merge(
        OmegaConf.load(ROOT / f"configs/pretrain/{name}.yaml"),
        {"out": str(ROOT / f"benchmark/backbones/embedded/{name}")},
        OmegaConf.from_dotlist(overrides),
    )
    torch.manual_seed(recipe.seed)
    corpus = build(OmegaConf.to_container(recipe.corpus), "corpus")
    tokenizer = train_tokenizer(corpus, recipe)
    model = fresh_model(recipe, tokenizer)
    started = time.monotonic()
    losses = list(train(model, batches(corpus, tokenizer, recipe), recipe))
    save(model, tokenizer, recipe, name, losses, time.monotonic() - started)


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


def batches(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: DictConfig) -> Iterator[dict]:
    """Yield batches for ever: (source, target) pairs padded, or documents packed into rows of the context's length."""
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


def _padded(pairs: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, length: int) -> dict:
    options = {"padding": True, "truncation": True, "max_length": length, "return_tensors": "pt"}
    source = tokenizer([s + tokenizer.eos_token for s, _ in pairs], **options)
    target = tokenizer([t + tokenizer.eos_token for _, t in pairs], **options)
    labels = target["input_ids"].masked_fill(target["attention_mask"] == 0, -100)
    return {"input_ids": source["input_ids"], "attention_mask": source["attention_mask"], "labels": labels}


def _packed(pairs: Iterator[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, length: int) -> list[int]:
    """Fill a row from the start of a document on, so that the network knows how documents begin."""
    row: list[int] = []
    while len(row) < length:
        row += [tokenizer.bos_token_id, *tokenizer(next(pairs)[1])["input_ids"], tokenizer.eos_token_id]
    return row[:length]


def train(model: PreTrainedModel, stream: Iterator[dict], recipe: DictConfig) -> Iterator[float]:
    """Yield the loss of every step."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=recipe.lr,
        betas=(0.9, 0.98),
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, int(recipe.warmup * recipe.steps), recipe.steps)
    model.train()
    started = time.monotonic()
    for step, batch in zip(range(1, recipe.steps + 1), stream, strict=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step}  loss {loss.item():.3f}  {(time.monotonic() - started) / step:.3f} s/step", flush=True)
        yield loss.item()


def save(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    recipe: DictConfig,
    name: str,
    losses: list[float],
    seconds: float,
) -> None:
    """Write the checkpoint in 16 bits and its card."""
    out = Path(recipe.out)
    model.eval().half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    last = losses[-200:]
    size = sum(f.stat().st_size for f in out.iterdir()) / 1e6
    (out / "README.md").write_text(
        f"# {name}\n\n"
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {size:.1f} MB. "
        f"Made by `python scripts/pretrain.py {name}` from `configs/pretrain/{name}.yaml`.\n\n"
        f"- Steps: {recipe.steps} of {recipe.batch_size} examples, {seconds / 60:.0f} minutes on "
        f"{torch.get_num_threads()} CPU threads (bf16 autocast).\n"
        f"- Final loss (mean of the last {len(last)} steps): {sum(last) / len(last):.3f} nats per token.\n"
        f"- Data: `{recipe.corpus._target_}`, disjoint from every split of the tasks "
        f"(`tests/test_embedded.py` asserts it on sources and targets).\n\n"
        f"```yaml\n{OmegaConf.to_yaml(recipe.corpus)}```\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])

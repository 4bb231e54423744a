"""Tiny checkpoints for the toy data, built once per session without network."""

import atexit
import functools
import os
import shutil
import tempfile

os.environ["HF_HOME"] = tempfile.mkdtemp()  # what the libraries write does not go to the user's home
os.environ.setdefault("BENCHMARK_CACHE_DIR", f"{os.environ['HF_HOME']}/crosspeft")  # nor what the tasks prepare
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import sys

import pytest
import torch
import transformers
from absl import logging as absl_logging
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.utils.logging import disable_progress_bar

from benchmark.config import registry
from tasks.toy import Toy

# Hydra closes every log handler when it starts, and this one (of rouge-score) its stream: pytest's own, were it not for
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
torch.set_num_threads(1)
disable_progress_bar()


def pytest_addoption(parser):
    families = ["ordinary", "others", "all"]
    parser.addoption("--families", default=families[0], choices=families, help="whose networks the gate takes")
    parser.addoption("--added", help="a folder with methods of its own, for the gate")


def pytest_configure(config):
    if config.getoption("added"):
        registry.add(config.getoption("added"))


ASKED_FOR = ("slow", "chaos", "slurm", "browser", "mutants")  # markers of tests that run only where -m names them


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each worker whole files, so that shared fixtures are made once."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_make_parametrize_id(val):
    """Name bytes by their length: packed ones hold the time of packing, so that workers would collect unlike names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config, items):
    chosen = config.getoption("-m")
    left_out = [item for item in items if any(item.get_closest_marker(m) and m not in chosen for m in ASKED_FOR)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
MBART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 256,
    "forced_eos_token_id": None,
}


@pytest.fixture(scope="session")
def toy_tokenizer():
    """A byte-level BPE tokenizer of the toy strings; every byte is a token."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    splits = Toy(description="", train=64, test=16).splits()
    texts = [text for examples in splits.values() for e in examples for text in (e.source, *e.targets)]
    inner.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **SPECIAL)


def _saved(config, auto, tokenizer, folder):
    torch.manual_seed(0)
    auto.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _ids(tokenizer):
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    return {"vocab_size": len(tokenizer)} | {name: getattr(tokenizer, name) for name in names}


@pytest.fixture(scope="session")
def tiny_causal(toy_tokenizer, tmp_path_factory):
    """Folder of a random Llama shape, for backbone=causal_lm and data=toy."""
    config = transformers.LlamaConfig(**LLAMA, **_ids(toy_tokenizer))
    return _saved(config, transformers.AutoModelForCausalLM, toy_tokenizer, tmp_path_factory.mktemp("tiny_causal"))


@pytest.fixture(scope="session")
def tiny_seq2seq(toy_tokenizer, tmp_path_factory):
    """The folder of a random mBART shape, whose decoder starts from the end token."""
    ids = _ids(toy_tokenizer)
    config = transformers.MBartConfig(**MBART, **ids, decoder_start_token_id=ids["eos_token_id"])
    return _saved(config, transformers.AutoModelForSeq2SeqLM, toy_tokenizer, tmp_path_factory.mktemp("tiny_seq2seq"))


@pytest.fixture(scope="session")
def toy_cell(tiny_causal, tiny_seq2seq):
    """Build a cell on the toy data: toy_cell("causal_lm", "lora", "budget.steps=2")."""
    from benchmark.config.compose import cell_of

    backbones = {"causal_lm": (tiny_causal, "text_generation"), "seq2seq": (tiny_seq2seq, "nmt")}

    @functools.cache  # composing takes longer than most of what tests ask of a cell
    def make(kind, method, *words):
        folder, task = backbones[kind]
        chosen = [f"task={task}", f"method={method}", f"backbone={kind}", "data=toy", "budget=smoke"]
        return cell_of([*chosen, f"backbone.checkpoint={folder}", "backbone.lr_scale=1", *words])

    return make

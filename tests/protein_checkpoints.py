"""Tiny checkpoints of proteins as the hub or a package has them."""

import json

import torch
import transformers
from networks import shake
from tokenizers import Tokenizer, models, processors

from benchmark.backbones.protein import STANDARD
from benchmark.capabilities.networks import BERT, ESM, T5
from benchmark.networks import antiberty, residues, roberta_fairseq

ESM_TOKENS = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]


def save_esm(folder, **changes):
    """Save an ESM with its language model's head, as the hub has it."""
    torch.manual_seed(0)
    tokens = {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32, "token_dropout": True}
    sizes = {"max_position_embeddings": 1026, "emb_layer_norm_before": False}
    config = transformers.EsmConfig(**ESM | tokens | sizes | changes)
    (folder / "vocab.txt").write_text("\n".join(ESM_TOKENS))
    transformers.EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    shake(transformers.EsmForMaskedLM(config)).half().save_pretrained(folder)
    return folder


def save_residues(folder, network, tokens, named):
    """Save a network of antibodies with the files that a fetched one has."""
    for name, content in residues.tokenizer(tokens, named, 40).items():
        (folder / name).write_text(json.dumps(content))
    shake(network).save_pretrained(folder)
    return folder


def save_antiberty(folder):
    torch.manual_seed(0)
    config = transformers.BertConfig(**BERT | {"max_position_embeddings": 40}, vocab_size=25, pad_token_id=0)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *STANDARD]
    return save_residues(folder, transformers.BertForMaskedLM(config), tokens, antiberty.NAMED)


def save_sapiens(folder):
    torch.manual_seed(0)
    config = transformers.RobertaConfig(**BERT | {"max_position_embeddings": 40}, vocab_size=25, type_vocab_size=1)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *STANDARD, "<mask>"]
    return save_residues(folder, transformers.RobertaForMaskedLM(config), tokens, roberta_fairseq.NAMED)


def save_protein_t5(folder):
    torch.manual_seed(0)
    config = transformers.T5Config(**T5, vocab_size=32, decoder_start_token_id=0)
    shake(transformers.T5ForConditionalGeneration(config)).half().save_pretrained(folder)
    return folder


def save_prot_t5(folder):
    """Save a T5 whose tokenizer knows a residue as a word: ▁A."""
    pieces = [*((token, 0.0) for token in ("<pad>", "</s>", "<unk>")), *((f"▁{a}", -2.0) for a in f"{STANDARD}XUZOB")]
    transformers.T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder)
    return save_protein_t5(folder)


def save_ankh(folder):
    """Save a T5 whose tokenizer knows letters, and takes a sequence as a list of them."""
    tokens = ["<pad>", "</s>", "<unk>", *STANDARD, "X"]
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, "<unk>"))
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(folder)
    return save_protein_t5(folder)

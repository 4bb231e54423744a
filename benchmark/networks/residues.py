"""Tokenizer files of networks with one token for each residue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def tokenizer(tokens: Sequence[str], named: Mapping[str, str], longest: int) -> dict[str, dict[str, Any]]:
    """Write the files of a tokenizer that takes every letter for itself.

    named: token of each of the roles bos, eos, pad, unk and mask.
    """
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    ids = {token: i for i, token in enumerate(tokens)}
    frame = [
        {"SpecialToken": {"id": named["bos"], "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": named["eos"], "type_id": 0}},
    ]
    special = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in (named["bos"], named["eos"])}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": ids[t], "content": t, **flags} for t in sorted(named.values(), key=ids.get)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False},
        "post_processor": {"type": "TemplateProcessing", "single": frame, "pair": frame, "special_tokens": special},
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": named["unk"]},
    }
    settings = {
        "tokenizer_class": "TokenizersBackend",
        "backend": "tokenizers",
        "clean_up_tokenization_spaces": False,
        "model_max_length": longest,
        **{f"{role}_token": token for role, token in named.items()},
    }
    return {"tokenizer.json": whole, "tokenizer_config.json": settings}

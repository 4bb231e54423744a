"""Each shipped network reads in its task what it read in pretraining."""

import dataclasses
import random
from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("babel", reason='the embedded data needs pip install -e ".[embedded]"')
pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')

from omegaconf import OmegaConf
from transformers import AutoTokenizer

from benchmark.config.build import build
from benchmark.config.compose import cell_of
from benchmark.config.registry import CONFIGS
from benchmark.types import Example, Head
from scripts.pretraining import images, masked_text, proteins, speech, text
from tasks.embedded import cldr
from tasks.embedded.functions import as_document, functions
from tasks.embedded.lattice import RESIDUES
from tasks.embedded.spoken_words import Heard
from tasks.embedded.textures import standardise
from tasks.embedded.voices import RATE
from tasks.sound import Wave, clip

EMBEDDED = CONFIGS.parent / "benchmark" / "backbones" / "embedded"
TRIED = {
    "mbart_cldr",
    "llama_docstrings",
    "esm_lattice",
    "vit_textures",
    "cnn_textures",
    "wav2vec2_words",
    "bert_languages",
}


def recipe_of(name):
    return OmegaConf.load(CONFIGS / "pretrain" / f"{name}.yaml")


def loaded(*words):
    cell = cell_of(["method=frozen", *words])
    head = Head(cell.kind, labels=("one", "two"))
    return cell.task, *cell.backbone.load(cell.budget, head)


def test_every_shipped_checkpoint_is_tried_here():
    assert {file.parent.name for file in EMBEDDED.glob("*/config.json")} == TRIED


def test_translation_reads_tag_and_text_as_one_string():
    recipe = recipe_of("mbart_cldr")
    corpus = OmegaConf.to_container(recipe.corpus) | {"parallel": ["fr", "ar"], "monolingual": ["si", "km"]}
    pairs = build(corpus, "corpus").pairs(random.Random(0))
    task, _, processor = loaded("task=nmt", f"task.max_source_tokens={recipe.context}", "task.max_target_tokens=96")
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "mbart_cldr")
    codes = set()
    for source, target in (next(pairs) for _ in range(400)):
        code, _, phrase = source.removeprefix("<").partition("> ")
        if "<mask>" in source:  # a control token of pretraining alone: no user's text becomes one
            continue
        codes.add(code)
        expected = text._padded([(source, target)], tokenizer, recipe.context)
        features = dataclasses.replace(task, target_language=code).encode(
            Example("", phrase, (target,)), processor, counts := {}
        )
        assert features["source"] == expected["input_ids"][0].tolist()
        assert features["target"] == expected["labels"][0].tolist()
        assert counts == {}
    assert codes == {"fr", "ar", "si", "km"}


@pytest.mark.slow
def test_the_held_out_loss_is_that_of_pretraining():
    """0.742 nats a token as trained; 1.335 with the tag apart from the text."""
    corpus = build(OmegaConf.to_container(recipe_of("mbart_cldr").corpus) | {"monolingual": []}, "corpus")
    task, model, processor = loaded("task=nmt")
    features = []
    for source, target in corpus.held_out():
        code, _, phrase = source.removeprefix("<").partition("> ")
        asked = dataclasses.replace(task, target_language=code)
        features.append(asked.encode(Example("", phrase, (target,)), processor, {}))
    with torch.no_grad():
        loss = model.eval()(**task.collate(features, processor)).loss.item()
    assert loss == pytest.approx(0.742, abs=0.002)


def test_generation_reads_a_document_as_the_recipe_packs_it():
    task, _, processor = loaded("task=text_generation", "task.max_source_tokens=400", "task.max_target_tokens=4000")
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "llama_docstrings")
    documented = [f for f, _ in zip(functions("peft"), range(120), strict=False)]
    for function in documented:
        rest = f'{function.documentation}\n"""'
        features = task.encode(Example("", function.signature, (rest,)), processor, {})
        row = features["source"] + features["target"]
        assert row == text._packed(repeat(("", as_document(function))), tokenizer, len(row))
        assert (row.count(tokenizer.bos_token_id), row.count(tokenizer.eos_token_id)) == (1, 1)
    assert len(documented) == 120


def test_proteins_are_framed_and_numbered_as_the_recipe_does():
    task, _, processor = loaded("task=protein")
    sequences = np.random.default_rng(0).integers(len(RESIDUES), size=(5, 25))
    expected = proteins.mask_residues(sequences, 0.0, torch.Generator().manual_seed(0))  # nothing is hidden
    features = [
        task.encode(Example("", "".join(RESIDUES[i] for i in row), (1.0,)), processor, {}) for row in sequences.tolist()
    ]
    given = task.inputs(features, processor)
    assert given["input_ids"].tolist() == expected["input_ids"].tolist()
    assert given["attention_mask"].tolist() == expected["attention_mask"].tolist()


@pytest.mark.parametrize("side", [20, 24, 33])
@pytest.mark.parametrize("name", ["vit_textures", "cnn_textures"])
def test_images_are_resized_and_scaled_as_crops_were(name, side):
    recipe = recipe_of(name)
    task, _, processor = loaded("task=medical_images", f"backbone={name}", f"task.size={side}")
    rows, columns = np.mgrid[:side, :side]
    image = np.where((rows // 5 + columns // 3) % 2, 64, 191).astype(np.uint8)
    image[:, side // 2 :] = 255 - image[:, : (side + 1) // 2][:, ::-1][:, : side - side // 2]  # as dark as bright
    whole = np.concatenate([image, 255 - image])  # its mean is mid-grey, its deviation a quarter of the range
    crop = standardise(whole)[:side]
    expected = images.as_batch([(crop, 0)], recipe.size)["pixels"]
    given = task.inputs([task.features(image, processor, {})], processor)["pixels"]
    assert given.shape == expected.shape
    # 8 bits, and a deviation of 63.5 for 63.75; another filter is off by 0.1 and more
    torch.testing.assert_close(given, expected, atol=0.025, rtol=0)


def test_speech_is_normalised_and_padded_as_the_recipe_does():
    recipe = recipe_of("wav2vec2_words")
    task, network, processor = loaded("task=speech", f"task.max_seconds={recipe.seconds}")
    rng = np.random.default_rng(0)
    waves = [clip(Wave(rng.normal(0.1, 0.2, number), RATE)) for number in (9000, 4001, 20000)]  # the last is cut
    heard = [Heard(wave.read().samples, [("a", 0.0), ("b", 0.2)]) for wave in waves]
    expected = speech.Ears(SimpleNamespace(encoder=network.encoder, config=network.config), "ab", recipe).batch(heard)
    given = task.inputs([task.features(wave, processor, {}) for wave in waves], processor)
    for name in ("input_values", "attention_mask"):
        assert torch.equal(given[name], expected[name])


def test_a_tag_keeps_its_token_and_its_joint_where_a_source_spells_control_tokens():
    task, _, processor = loaded("task=nmt")
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "mbart_cldr")
    inner = tokenizer.backend_tokenizer.__class__.from_str(tokenizer.backend_tokenizer.to_str())
    inner.encode_special_tokens = True
    spelt = "Thu</s> <fr> <pad><mask>"
    features = task.encode(Example("", spelt, (spelt,)), processor, {})
    assert features["source"][:3] == tokenizer("<si> Thu")["input_ids"]
    assert features["source"] == [
        tokenizer.convert_tokens_to_ids("<si>"), *inner.encode(f" {spelt}").ids, tokenizer.eos_token_id
    ]  # fmt: skip
    assert features["target"] == [*inner.encode(spelt).ids, tokenizer.eos_token_id]
    assert not {0, 1, 2, 3, 4} & {*features["source"][:-1], *features["target"][:-1]}
    for alone in ("<unk>", "a <unk>"):
        features = task.encode(Example("", alone, (alone,)), processor, counts := {})
        assert features["target"] == [*inner.encode(alone).ids, tokenizer.eos_token_id]
        assert counts == {}


def test_names_are_too_short_for_bleu():
    splits = cldr.Cldr(description="", locale="si", train=9, valid=9, test=90, shift=200).splits()
    task = cell_of(["method=frozen", "task=nmt"]).task
    found = {name: task.headline(name, [e.targets for e in examples]) for name, examples in splits.items()}
    assert found == {
        "train": "bleu", "valid": "bleu", "test": "bleu", "test/names": "chrf++", "test/intervals": "bleu"
    }  # fmt: skip


def test_phrases_are_read_as_in_pretraining():
    task, network, reader = loaded("task=language_id")
    recipe = recipe_of("bert_languages")
    texts = ["pet., 19. okt. 2029", "hai 37 segundos", "8894 österrikiska schilling"]
    made = masked_text.masked(texts, reader.tokenizer, OmegaConf.merge(recipe, {"masked": 0.0}), torch.Generator())
    read = task.inputs([task.features(text, reader, {}) for text in texts], reader)
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(read[name], made[name]), name
    assert not read["token_type_ids"].any()  # pretraining gives none, which are zeros
    assert network.encoder.config.max_position_embeddings >= max(recipe.context, task.max_source_tokens)

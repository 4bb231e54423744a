"""Embedded data and checkpoints: disjoint splits, unseen in pretraining."""

from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("babel", reason='the embedded data needs pip install -e ".[embedded]"')
pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')

from factories import corpus_of

from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from tasks.embedded import cldr, phrases
from tasks.embedded.functions import Function, functions

EMBEDDED = Path(cldr.__file__).parents[2] / "benchmark" / "backbones" / "embedded"


def splits_of(*overrides):
    return cell_of(["method=frozen", *overrides]).task.splits()


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [["task=nmt"], ["task=nmt", "task.target_language=yo"], ["task=text_generation"]])
def test_no_two_splits_share_a_source_or_a_target(overrides):
    splits = splits_of(*overrides)
    assert list(splits)[:3] == ["train", "valid", "test"]
    assert len(splits) > 3
    for (_, one), (_, other) in combinations(splits.items(), 2):
        assert len(one) >= 100
        assert not {e.source for e in one} & {e.source for e in other}
        assert not {t for e in one for t in e.targets} & {t for e in other for t in e.targets}
    ids = [e.id for examples in splits.values() for e in examples]
    assert len(ids) == len(set(ids))


def file_of(name):
    """Find the source file of a function by its dotted name alone."""
    package, *parts = name.split(".")
    place = Path(find_spec(package).origin).parent
    for part in parts:
        if (place / f"{part}.py").is_file():
            return place / f"{part}.py"
        if not (place / part).is_dir():
            break
        place /= part
    return place / "__init__.py"


@pytest.mark.slow
def test_no_source_file_stands_in_two_splits():
    splits = splits_of("task=text_generation")
    files = {name: {file_of(e.id) for e in examples} for name, examples in splits.items()}
    assert all(file.is_file() for found in files.values() for file in found)
    assert all(len(found) > 20 for found in files.values())
    assert not [pair for pair in combinations(files, 2) if files[pair[0]] & files[pair[1]]]
    assert {name: len({e.group for e in examples}) for name, examples in splits.items()} == {
        name: len(found) for name, found in files.items()
    }  # the audit's groups are these files
    assert (len(splits["valid"]), len(splits["test"])) == (200, 300)


def test_splits_are_the_same_in_every_order_of_asking():
    first = splits_of("task=nmt", "task.target_language=zu")
    splits_of("task=nmt", "task.target_language=he")  # babel resolved Zulu's months to Hebrew's after this
    phrases.render_all.cache_clear()
    assert splits_of("task=nmt", "task.target_language=zu") == first


def test_no_target_is_a_fallback_to_english_or_to_a_code():
    for examples in splits_of("task=nmt").values():
        for example in examples:
            assert example.source != example.targets[0]
            assert any("\u0d80" <= c <= "\u0dff" for c in example.targets[0])  # the Sinhala block


def test_shifted_domains_never_train():
    splits = cldr.task_pairs("si")
    for name, domain in (("test/names", "name "), ("test/intervals", "interval ")):
        assert all(e.id.startswith(f"si/{domain}") for e in splits[name])
        assert not any(e.id.startswith(f"si/{domain}") for split in ("train", "valid", "test") for e in splits[split])


@pytest.mark.slow
def test_translation_pretraining_saw_no_string_of_any_split_of_any_of_its_locales():
    corpus = corpus_of("mbart_cldr")
    texts = set(corpus.texts())
    assert len(texts) > 100_000
    for code in (*corpus.parallel, *corpus.monolingual):
        for examples in cldr.task_pairs(code).values():  # before any size limit: more than any split holds
            assert not texts & {e.source for e in examples}
            assert not texts & {e.targets[0] for e in examples}


def test_low_resource_locales_are_never_seen_beside_english():
    corpus = corpus_of("mbart_cldr")
    assert not set(corpus.parallel) & set(corpus.monolingual)
    assert "si" in corpus.monolingual


@pytest.mark.slow
def test_language_model_pretraining_saw_no_signature_and_no_sentence_of_any_split():
    documents = corpus_of("llama_docstrings").texts()
    assert len(documents) > 10_000
    splits = splits_of("task=text_generation")
    sources = {e.source for examples in splits.values() for e in examples}
    targets = {e.targets[0] for examples in splits.values() for e in examples}
    for document in documents:
        signature, _, documentation = document.partition('\n    """')
        assert signature not in sources
        first = Function("", "", "", documentation.removesuffix('\n"""')).sentence
        assert first not in targets
        assert not targets & {" ".join(line.split()) for line in documentation.splitlines()}


def test_a_docstring_is_read_as_python_reads_it():
    import inspect

    import scipy.linalg

    read = next(f for f in functions("scipy") if f.name == "scipy.linalg._basic.solve")
    assert inspect.cleandoc(scipy.linalg.solve.__doc__) == read.documentation
    assert read.signature.splitlines()[1].startswith("def solve(a, b, ")


def test_unknown_locale_and_missing_package_are_named():
    with pytest.raises(InputError, match=r"CLDR has no locale 'sinhala' .near: "):
        splits_of("task=nmt", "task.target_language=sinhala")
    with pytest.raises(InputError, match=r"the package 'nothere' is not installed"):
        splits_of("task=text_generation", "data.packages=[nothere]")


@pytest.mark.parametrize("name", ["mbart_cldr", "llama_docstrings", "bert_languages"])
def test_shipped_checkpoint_is_small_16_bit_and_has_a_card(name):
    from safetensors import safe_open

    folder = EMBEDDED / name
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 13e6
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {str(weights.get_slice(key).get_dtype()) for key in weights.keys()} == {"F16"}  # noqa: SIM118
    card = (folder / "README.md").read_text()
    assert f"python scripts/pretrain.py {name}" in card
    assert "Final loss" in card

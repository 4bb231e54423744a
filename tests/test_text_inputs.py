"""What a network reads of a text and what it learns."""

import pytest
from factories import generation_task, translation_task

from benchmark.backbones.transformer import TextProcessor
from benchmark.errors import InputError
from benchmark.types import Example, Kind

KINDS = ["causal_lm", "seq2seq"]


@pytest.fixture
def processors(toy_tokenizer):
    """Processors with and without language tokens; 'e' can stand for English."""
    plain = {kind: TextProcessor(toy_tokenizer, Kind(kind), "", {}) for kind in KINDS}
    return {**plain, "codes": TextProcessor(toy_tokenizer, Kind.SEQ2SEQ, "", {"en": "e", "si": "s"})}


def words(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_decoder_reads_source_and_target_as_one_and_learns_target_and_end(processors, toy_tokenizer):
    counts = {}
    features = generation_task(template="say {source}!").encode(
        Example("", "12", ("one two",)), processors["causal_lm"], counts
    )
    source = [1, *words(toy_tokenizer, "say "), *words(toy_tokenizer, "12"), *words(toy_tokenizer, "!")]
    target = [*words(toy_tokenizer, "one two"), 2]
    assert features == {"source": source, "target": target, "bytes": 7}
    assert counts == {}

    other = {"source": [1, 5], "target": [9, 2], "bytes": 1}
    batch = generation_task().collate([features, other], processors["causal_lm"])
    empty = len(source) + len(target) - 4
    assert batch["input_ids"].tolist() == [source + target, [1, 5, 9, 2] + [0] * empty]
    assert batch["attention_mask"].tolist() == [[1] * len(source + target), [1] * 4 + [0] * empty]
    assert batch["labels"].tolist() == [[-100] * len(source) + target, [-100, -100, 9, 2] + [-100] * empty]
    assert generation_task().items(batch) == len(target) + 2
    assert generation_task().tokens(batch) == len(source + target) + 4


def test_an_encoder_reads_the_source_and_a_decoder_learns_target_and_end(processors, toy_tokenizer):
    features = translation_task().encode(Example("", "12", ("one two",)), processors["seq2seq"], {})
    source, target = [*words(toy_tokenizer, "12"), 2], [*words(toy_tokenizer, "one two"), 2]
    assert features == {"source": source, "target": target, "bytes": 7}

    other = {"source": [5] * len(source) + [2], "target": [9, 2], "bytes": 1}
    batch = translation_task().collate([features, other], processors["seq2seq"])
    assert batch["input_ids"].tolist() == [[*source, 0], other["source"]]
    assert batch["attention_mask"].tolist() == [[1] * len(source) + [0], [1] * (len(source) + 1)]
    assert batch["labels"].tolist() == [target, [9, 2] + [-100] * (len(target) - 2)]
    assert translation_task().items(batch) == len(target) + 2
    assert translation_task().tokens(batch) == 2 * len(source) + 1 + len(target) + 2


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_tokens_are_counted_whatever_the_widths_of_source_and_target(width, processors):
    features = [{"source": [5] * width, "target": [6, 7, 2], "bytes": 2}, {"source": [5], "target": [2], "bytes": 1}]
    for kind in KINDS:
        batch = generation_task().collate(features, processors[kind])
        assert generation_task().tokens(batch) == width + 3 + 1 + 1


def test_a_checkpoint_that_knows_languages_is_told_both(processors, toy_tokenizer):
    features = translation_task().encode(Example("", "12", ("one two",)), processors["codes"], {})
    english, sinhala = toy_tokenizer.convert_tokens_to_ids(["e", "s"])
    assert features["source"] == [english, *words(toy_tokenizer, "12"), 2]
    assert features["target"] == [sinhala, *words(toy_tokenizer, "one two"), 2]
    with pytest.raises(InputError, match=r"no code for language 'ta' \(known: en, si\)"):
        translation_task(target_language="ta").encode(Example("", "12", ("one",)), processors["codes"], {})


def test_a_tag_tells_the_target_language(toy_tokenizer):
    processor = TextProcessor(toy_tokenizer, Kind.SEQ2SEQ, "to {target} from {source}: ", {})
    features = translation_task().encode(Example("", "12", ("one",)), processor, {})
    assert toy_tokenizer.decode(features["source"]) == "to si from en: 12</s>"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_long_is_cut_at_its_end_and_counted(kind, processors, toy_tokenizer):
    task = generation_task(max_source_tokens=8, max_target_tokens=4, template="<{source}>")
    source, target, counts = "1234567890" * 2, "six seven eight nine one two", {}
    features = task.encode(Example("", source, (target,)), processors[kind], counts)
    assert counts == {"truncated_sources": 1, "truncated_targets": 1}
    assert (len(features["source"]), len(features["target"])) == (8, 4)
    assert features["target"] == [*words(toy_tokenizer, target)[:3], 2]
    read = toy_tokenizer.decode(features["source"], skip_special_tokens=True)
    assert read[0] + read[-1] == "<>"
    assert source.startswith(read[1:-1])
    assert features["bytes"] == len(toy_tokenizer.decode(words(toy_tokenizer, target)[:3]))

    task.encode(Example("", source, ("six",)), processors[kind], counts)
    task.encode(Example("", "1", ("six",)), processors[kind], counts)
    assert counts == {"truncated_sources": 2, "truncated_targets": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_beginning_that_fits_is_read_with_tag_and_template_whole(kind, toy_tokenizer):
    processor = TextProcessor(toy_tokenizer, Kind(kind), "<{target}> ", {})
    source = "five six\u00e9 seven eight"
    for most in range(12, 30):
        task, counts = translation_task(max_source_tokens=most, template="say {source}!"), {}
        features = task.encode(Example("", source, ("1",)), processor, counts)
        read = toy_tokenizer.decode(features["source"], skip_special_tokens=True)
        assert read.startswith("<si> say f")
        assert read.endswith("!")
        kept = read.removeprefix("<si> say ").removesuffix("!")
        assert source.startswith(kept)
        assert len(features["source"]) <= most
        if counts:
            assert counts == {"truncated_sources": 1}
            longer = toy_tokenizer(f"<si> say {source[: len(kept) + 1]}!", add_special_tokens=False)["input_ids"]
            assert len(longer) + 1 > most
        else:
            assert kept == source


@pytest.mark.parametrize(("source", "target"), [("", "one"), ("1", ""), ("", "")])
def test_an_example_without_a_token_is_counted_and_not_learnt(source, target, processors):
    counts = {}
    assert generation_task().encode(Example("", source, (target,)), processors["causal_lm"], counts) is None
    assert counts == {"empty_examples": 1}


@pytest.mark.parametrize("template", ["no place", "{source} and {source}"])
def test_a_template_without_one_place_for_the_source_is_refused(template):
    with pytest.raises(InputError, match=r"task.template: .*one \{source\} wanted"):
        generation_task(template=template)

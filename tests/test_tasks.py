"""Text tasks: inputs and scores, against sums by hand and libraries."""

import json
import math
import random
import sys

import pytest
import sacrebleu
import torch
from factories import run_cell

from benchmark.backbones.transformer import TextProcessor
from benchmark.engine.data import Result, read
from benchmark.errors import InputError
from benchmark.records import Record, Store
from benchmark.types import Example, Head, Kind
from tasks.nmt import Translation
from tasks.text import likelihood_scores
from tasks.text_generation import TextGeneration
from tasks.toy import Toy

KINDS = ["causal_lm", "seq2seq"]
METHODS = ["frozen", "lora", "prompt_tuning", "prefix_tuning"]
COMMON = {"description": "", "version": 1, "data": Toy(description="", train=64, test=16), "metrics": []}
LIMITS = {"max_source_tokens": 24, "max_target_tokens": 12, "allow_metric_code": False}


def generation(**changes):
    return TextGeneration(**{"template": "{source}\n", "order": None, **COMMON, **LIMITS, **changes})


def translation(**changes):
    languages = {"source_language": "en", "target_language": "si", "bleu_tokenizer": "13a", "across_processors": None}
    return Translation(**{"template": "{source}", **COMMON, **LIMITS, **languages, **changes})


TASKS = [generation(), translation()]


def answers(texts):
    return [{"prediction": text, "nll": 8.0, "tokens": 4, "bytes": 16} for text in texts]


# Scores of known answers


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_perfect_answers_score_100_others_less_and_empty_ones_0(task):
    headline = {"bleu", "chrf", "rouge_l", "exact_match", "chrf++"}
    for split, examples in task.splits().items():
        targets = [e.targets for e in examples]
        texts = [t for (t,) in targets]
        perfect, shuffled, empty = (
            {name: value for name, value in task.score(answers(given), targets).items() if name in headline}
            for given in (texts, random.Random(0).sample(texts, len(texts)), [""] * len(texts))
        )
        assert perfect == pytest.approx(dict.fromkeys(perfect, 100.0)), split
        assert len(perfect) in (2, 4)
        assert all(shuffled[name] < 80 for name in perfect), split
        assert empty == dict.fromkeys(perfect, 0.0), split


def test_any_of_several_references_counts():
    targets = [("a red house by the sea", "the sea has a red house"), ("one", "two", "a small dog on a big mat")]
    texts = ["the sea has a red house", "a small dog on a big mat"]
    scores = generation().score(answers(texts), targets)
    assert [scores[name] for name in ("bleu", "chrf", "rouge_l", "exact_match")] == pytest.approx([100.0] * 4)
    first = generation().score(answers(texts), [t[:1] for t in targets])
    assert all(first[name] < 70 for name in ("bleu", "chrf", "rouge_l", "exact_match"))


def test_scores_are_those_of_the_library_called_directly():
    texts = ["the cat sat on a mat", "two dogs ran in the park today", "a bird"]
    first = ["the cat sat on the mat", "two dogs were running in the park", "a bird sings"]
    second = ["a cat was on the mat", "dogs ran in the park today", "the bird"]
    targets = list(zip(first, second, strict=True))
    written, translated = (task.score(answers(texts), targets) for task in TASKS)
    bleu = sacrebleu.corpus_bleu(texts, [first, second]).score
    assert 20 < bleu < 80
    assert written["bleu"] == translated["bleu"] == bleu
    assert written["chrf"] == sacrebleu.corpus_chrf(texts, [first, second]).score
    assert translated["chrf++"] == sacrebleu.corpus_chrf(texts, [first, second], word_order=2).score
    assert written["chrf"] != translated["chrf++"]


def test_bleu_is_the_number_worked_out_by_hand():
    # Clipped by the best reference: 5 of 7 words, 4 of 6 pairs, 2 of 5 triples, 1 of 4 quadruples; as long as the
    # nearest reference, so no penalty.
    targets = [("the cat is on the mat", "there is a cat on the mat")]
    by_hand = 100 * (5 / 7 * 4 / 6 * 2 / 5 * 1 / 4) ** 0.25
    for task in TASKS:
        assert task.score(answers(["the cat the cat on the mat"]), targets)["bleu"] == pytest.approx(by_hand)


def test_the_number_of_references_may_differ_by_example():
    # The pieces of the two examples add up: 5 + 3 of 7 + 4 words, 4 + 2 of 6 + 3, 2 + 1 of 5 + 2, 1 + 0 of 4 + 1.
    targets = [("the cat is on the mat", "there is a cat on the mat"), ("one two three four",)]
    texts = ["the cat the cat on the mat", "one two three five"]
    by_hand = 100 * (8 / 11 * 6 / 9 * 3 / 7 * 1 / 5) ** 0.25
    assert generation().score(answers(texts), targets)["bleu"] == pytest.approx(by_hand)


def test_rouge_l_is_the_longest_common_subsequence_worked_out_by_hand():
    # "a c d" is common: precision 3/4, recall 3/5
    scores = generation().score(answers(["a c x d"]), [("a b c d e",)])
    assert scores["rouge_l"] == pytest.approx(100 * 2 * 0.75 * 0.6 / (0.75 + 0.6))


def test_exact_match_is_of_the_text_not_of_the_blanks_around_it():
    scores = generation().score(answers(["one two", "one  two", "One two"]), [(" one two\n",)] * 3)
    assert scores["exact_match"] == pytest.approx(100 / 3)


def test_a_tokenizer_of_characters_gives_a_language_without_blanks_its_pieces():
    targets, texts = [("ကခဂဃငစ",)], ["ကခဂဃငဆ"]  # the last of six letters is wrong
    assert translation().score(answers(texts), targets)["bleu"] == 0
    by_hand = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert translation(bleu_tokenizer="char").score(answers(texts), targets)["bleu"] == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("zh", "zh"), ("zh_Hant", "zh"), ("yue", "zh"), ("th", "char"), ("km", "char"), ("lo", "char"), ("my", "char"),
     ("bo", "char"), ("khm_Khmr", "char"), ("si", "13a"), ("de", "13a"), ("mya", "char"), ("tha", "char")],
)  # fmt: skip
def test_bleus_tokenizer_follows_the_target_language(language, tokenizer):
    task = translation(target_language=language, bleu_tokenizer=None)
    assert f"tok:{tokenizer}" in task.signatures([("a b c d",)])["bleu"]
    targets, texts = [("ကခဂဃငစ",)], ["ကခဂဃငဆ"]
    assert (
        task.score(answers(texts), targets)["bleu"]
        == sacrebleu.corpus_bleu(texts, [["ကခဂဃငစ"]], tokenize=tokenizer).score
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"target_language": "th", "bleu_tokenizer": "13a"}, "13a needs blanks between words, th has none: give char"),
        ({"target_language": "zh", "bleu_tokenizer": "intl"}, "intl needs blanks between words, zh has none: give zh,"),
        ({"bleu_tokenizer": "14a"}, "no tokenizer '14a' of sacrebleu; did you mean 13a?"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_cannot_tell_the_targets_words_is_refused(changes, reason):
    with pytest.raises(InputError, match=r"task\.bleu_tokenizer: ") as refusal:
        translation(**changes)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(("language", "module"), [("ja", "MeCab"), ("ko", "mecab_ko")])
def test_a_tokenizer_with_a_dictionary_is_taken_where_it_is_installed_and_else_the_remedy_told(
    language, module, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    for name in [n for n in sys.modules if n.startswith("sacrebleu.tokenizers.tokenizer_") and "mecab" in n]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=rf"pip install 'sacrebleu\[{language}\]', or task.bleu_tokenizer=char"):
        translation(target_language=language, bleu_tokenizer=None)
    assert translation(target_language=language, bleu_tokenizer="char").tokenizer == "char"


def test_a_shifted_test_of_short_references_has_chrf_for_its_headline():
    short, long = ("one two three",), ("one two three four",)
    task = translation()
    assert task.headline("test/a", [short, short, long]) == "chrf++"
    assert task.headline("test/a", [short, long]) == "bleu"
    assert task.headline("test", [short, short, long]) == "bleu"  # the headline of a comparison
    # a point is a word of its own to the tokenizer, a blank is none
    assert task.headline("test/a", [("one two three.",)]) == "bleu"
    assert translation(target_language="th", bleu_tokenizer=None).headline("test/a", [("กขคง",)]) == "bleu"


def test_the_record_names_the_headline_of_each_split(toy_cell, tmp_path):
    files = {
        "train": lines(tmp_path / "train.jsonl", [("1", "one two three four")] * 3),
        "valid": lines(tmp_path / "valid.jsonl", [("2", "one two three four")]),
        "test": lines(tmp_path / "test.jsonl", [("3", "one two three four")]),
    }
    names = lines(tmp_path / "names.jsonl", [("4", "one"), ("5", "two")])
    cell = toy_cell("seq2seq", "frozen", "data=files", *(f"data.{k}={v}" for k, v in files.items()),
                    f"+data.shifts.names={names}")  # fmt: skip
    result = Result()
    read(cell, result)
    record = Record(run_id="0" * 12, task="t", method="m", backbone="b", seed=0, config={}, status="done",
                    data=result.data)  # fmt: skip
    assert result.data["headlines"] == {"test/names": "chrf++"}
    assert [record.headline(), record.headline("valid"), record.headline("test/names")] == ["bleu", "bleu", "chrf++"]


def test_signatures_name_settings_references_and_version():
    one, two = [("a b c d",)], [("a b c d", "e f g h")]
    version = sacrebleu.__version__
    assert generation().signatures(one)["bleu"] == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}"
    assert "nrefs:2" in generation().signatures(two)["bleu"]
    assert "tok:char" in translation(bleu_tokenizer="char").signatures(one)["bleu"]
    assert "nw:2" in translation().signatures(one)["chrf++"]
    for task in TASKS:
        assert task.signatures(one).keys() <= task.score(answers(["a b c d"]), one).keys()


def test_perplexity_is_per_token_and_bits_are_per_byte_of_what_was_read():
    # 12 nats over 6 tokens, 12 bytes; what is empty was not read.
    given = [
        {"nll": 8.0, "tokens": 4, "bytes": 5},
        {"nll": 4.0, "tokens": 2, "bytes": 7},
        {"nll": 0.0, "tokens": 0, "bytes": 0},
    ]
    scores = likelihood_scores(given)
    assert scores == {"perplexity": pytest.approx(math.exp(2)), "bits_per_byte": pytest.approx(1 / math.log(2))}
    assert likelihood_scores(given[2:]) == {}


# Networks: random weights, loud enough that a wrong position or a read padding would show


@pytest.fixture(scope="module")
def networks(toy_cell):
    """Give (cell, network, processor) by kind and method, each made once."""
    made = {}

    def make(kind, method="frozen"):
        if (kind, method) not in made:
            words = ("task.max_target_tokens=12", "task.template='{source}\n'")
            cell = toy_cell(kind, method, *words)
            model, processor = cell.backbone.load(cell.budget, Head(cell.kind))
            torch.manual_seed(1)
            model = cell.method.attach(model, cell).eval()
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(torch.randn_like(p), alpha=0.3)
            made[kind, method] = cell, model, processor
        return made[kind, method]

    return make


EXAMPLES = [
    Example("a", "7", ("seven",)),
    Example("b", "40213", ("four zero two one three",)),
    Example("c", "five hundred", ("500",)),
    Example("d", "98", ("nine eight",)),
]


def encoded(cell, processor):
    return [cell.task.encode(e, processor, {}) for e in EXAMPLES]


def nll_by_hand(model, processor, features):
    """Sum -log p(token | all before it) over one target, without padding."""
    source, target = features["source"], features["target"]
    if processor.kind == Kind.CAUSAL_LM:
        ids = torch.tensor([source + target])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        logits = logits[-len(target) - 1 : -1]
    else:
        ids, read = torch.tensor([source]), torch.tensor([[processor.tokenizer.eos_token_id, *target[:-1]]])
        mask = torch.ones_like(ids)
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=read).logits[0]
    return sum(-torch.log_softmax(row.double(), 0)[token].item() for row, token in zip(logits, target, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_nll_is_the_walk_over_the_target_in_any_batch_and_behind_virtual_tokens(method, kind, networks):
    cell, model, processor = networks(kind, method)
    features = encoded(cell, processor)
    by_hand = [nll_by_hand(model, processor, f) for f in features]
    assert min(by_hand) > 5
    together = cell.task.predict(model, features, processor)
    alone = [cell.task.predict(model, [f], processor)[0] for f in features]
    backwards = cell.task.predict(model, features[::-1], processor)[::-1]
    for batch in (together, alone, backwards):
        assert [a["nll"] for a in batch] == pytest.approx(by_hand, rel=1e-4)
    assert [a["tokens"] for a in together] == [len(f["target"]) for f in features]

    scores = likelihood_scores(together)
    tokens, size = sum(len(f["target"]) for f in features), sum(len(e.targets[0]) for e in EXAMPLES)
    assert scores["perplexity"] == pytest.approx(math.exp(sum(by_hand) / tokens), rel=1e-4)
    assert scores["bits_per_byte"] == pytest.approx(sum(by_hand) / math.log(2) / size, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_the_training_loss_is_the_mean_of_the_same_nll(method, kind, networks):
    cell, model, processor = networks(kind, method)
    features = encoded(cell, processor)
    batch = cell.task.collate(features, processor)
    predicted = cell.task.predict(model, features, processor)
    assert cell.task.items(batch) == sum(a["tokens"] for a in predicted)
    mean = sum(a["nll"] for a in predicted) / sum(a["tokens"] for a in predicted)
    assert model(**batch).loss.item() == pytest.approx(mean, rel=1e-5)


@torch.no_grad()
def test_padding_on_the_left_gives_the_same_nll(networks):
    cell, model, processor = networks("causal_lm")
    features = encoded(cell, processor)
    right = [a["nll"] for a in cell.task.predict(model, features, processor)]
    rows = [f["source"] + f["target"] for f in features]
    longest = max(map(len, rows))
    ids = torch.tensor([[processor.tokenizer.pad_token_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    chances = torch.log_softmax(logits.double(), 2)
    left = [
        -sum(chances[i, longest - len(f["target"]) + k - 1, token].item() for k, token in enumerate(f["target"]))
        for i, f in enumerate(features)
    ]
    assert right == pytest.approx(left, rel=1e-4)
    flipped = TextProcessor(processor.tokenizer, processor.kind, "", {})
    side, flipped.tokenizer.padding_side = flipped.tokenizer.padding_side, "left"
    try:
        assert [a["nll"] for a in cell.task.predict(model, encoded(cell, flipped), flipped)] == right
    finally:
        flipped.tokenizer.padding_side = side


def greedy_by_hand(model, processor, features, most):
    """Choose the likeliest token again and again for one example."""
    eos, written = processor.tokenizer.eos_token_id, []
    for _ in range(most):
        if processor.kind == Kind.CAUSAL_LM:
            ids = torch.tensor([features["source"] + written])
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        else:
            ids, read = torch.tensor([features["source"]]), torch.tensor([[eos, *written]])
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=read).logits
        token = int(logits[0, -1].argmax())
        if token == eos:
            break
        written.append(token)
    return processor.tokenizer.decode(written, skip_special_tokens=True).strip()


PAIRS = [(method, kind) for method in METHODS for kind in KINDS]


@pytest.mark.parametrize(("method", "kind"), PAIRS)
@torch.no_grad()
def test_an_answer_is_the_likeliest_next_token_again_and_again_in_any_batch(method, kind, networks):
    cell, model, processor = networks(kind, method)
    features = encoded(cell, processor)
    by_hand = [greedy_by_hand(model, processor, f, 12) for f in features]
    assert len(set(by_hand)) > 1
    assert [a["prediction"] for a in cell.task.predict(model, features, processor)] == by_hand
    assert [cell.task.predict(model, [f], processor)[0]["prediction"] for f in features] == by_hand


# What a network sees


@pytest.fixture
def processors(toy_tokenizer):
    """Processors with and without language tokens; 'e' can stand for English."""
    plain = {kind: TextProcessor(toy_tokenizer, Kind(kind), "", {}) for kind in KINDS}
    return {**plain, "codes": TextProcessor(toy_tokenizer, Kind.SEQ2SEQ, "", {"en": "e", "si": "s"})}


def words(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_decoder_reads_source_and_target_as_one_and_learns_target_and_end(processors, toy_tokenizer):
    counts = {}
    features = generation(template="say {source}!").encode(
        Example("", "12", ("one two",)), processors["causal_lm"], counts
    )
    source = [1, *words(toy_tokenizer, "say "), *words(toy_tokenizer, "12"), *words(toy_tokenizer, "!")]
    target = [*words(toy_tokenizer, "one two"), 2]
    assert features == {"source": source, "target": target, "bytes": 7}
    assert counts == {}

    other = {"source": [1, 5], "target": [9, 2], "bytes": 1}
    batch = generation().collate([features, other], processors["causal_lm"])
    empty = len(source) + len(target) - 4
    assert batch["input_ids"].tolist() == [source + target, [1, 5, 9, 2] + [0] * empty]
    assert batch["attention_mask"].tolist() == [[1] * len(source + target), [1] * 4 + [0] * empty]
    assert batch["labels"].tolist() == [[-100] * len(source) + target, [-100, -100, 9, 2] + [-100] * empty]
    assert generation().items(batch) == len(target) + 2
    assert generation().tokens(batch) == len(source + target) + 4


def test_an_encoder_reads_the_source_and_a_decoder_learns_target_and_end(processors, toy_tokenizer):
    features = translation().encode(Example("", "12", ("one two",)), processors["seq2seq"], {})
    source, target = [*words(toy_tokenizer, "12"), 2], [*words(toy_tokenizer, "one two"), 2]
    assert features == {"source": source, "target": target, "bytes": 7}

    other = {"source": [5] * len(source) + [2], "target": [9, 2], "bytes": 1}
    batch = translation().collate([features, other], processors["seq2seq"])
    assert batch["input_ids"].tolist() == [[*source, 0], other["source"]]
    assert batch["attention_mask"].tolist() == [[1] * len(source) + [0], [1] * (len(source) + 1)]
    assert batch["labels"].tolist() == [target, [9, 2] + [-100] * (len(target) - 2)]
    assert translation().items(batch) == len(target) + 2
    assert translation().tokens(batch) == 2 * len(source) + 1 + len(target) + 2


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_tokens_are_counted_whatever_the_widths_of_source_and_target(width, processors):
    features = [{"source": [5] * width, "target": [6, 7, 2], "bytes": 2}, {"source": [5], "target": [2], "bytes": 1}]
    for kind in KINDS:
        batch = generation().collate(features, processors[kind])
        assert generation().tokens(batch) == width + 3 + 1 + 1


def test_a_checkpoint_that_knows_languages_is_told_both(processors, toy_tokenizer):
    features = translation().encode(Example("", "12", ("one two",)), processors["codes"], {})
    english, sinhala = toy_tokenizer.convert_tokens_to_ids(["e", "s"])
    assert features["source"] == [english, *words(toy_tokenizer, "12"), 2]
    assert features["target"] == [sinhala, *words(toy_tokenizer, "one two"), 2]
    with pytest.raises(InputError, match=r"no code for language 'ta' \(known: en, si\)"):
        translation(target_language="ta").encode(Example("", "12", ("one",)), processors["codes"], {})


def test_a_tag_tells_the_target_language(toy_tokenizer):
    processor = TextProcessor(toy_tokenizer, Kind.SEQ2SEQ, "to {target} from {source}: ", {})
    features = translation().encode(Example("", "12", ("one",)), processor, {})
    assert toy_tokenizer.decode(features["source"]) == "to si from en: 12</s>"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_long_is_cut_at_its_end_and_counted(kind, processors, toy_tokenizer):
    task = generation(max_source_tokens=8, max_target_tokens=4, template="<{source}>")
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
        task, counts = translation(max_source_tokens=most, template="say {source}!"), {}
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
    assert generation().encode(Example("", source, (target,)), processors["causal_lm"], counts) is None
    assert counts == {"empty_examples": 1}


@pytest.mark.parametrize("template", ["no place", "{source} and {source}"])
def test_a_template_without_one_place_for_the_source_is_refused(template):
    with pytest.raises(InputError, match=r"task.template: .*one \{source\} wanted"):
        generation(template=template)


# Whole runs


def recorded(result, folder):
    """Write the record of a run and read it back."""
    fields = {"run_id": "0" * 12, "task": "t", "method": "m", "backbone": "b", "seed": 0, "config": {}}
    record = Record(
        **fields,
        status="done",
        data=result.data,
        signatures=result.signatures,
        measurements=tuple(result.measurements),
    )
    store = Store(folder)
    store.append(record, result.examples)
    (found,) = store.records()
    return found, store.examples(found)


@pytest.mark.parametrize("kind", KINDS)
def test_every_score_comes_back_exactly_from_the_examples_beside_the_record(kind, toy_cell, tmp_path):
    # Enough steps for some words to be right, which the assertion on BLEU needs.
    cell = toy_cell(kind, "full", "method.lr=0.01", "budget.steps=100", "task.max_target_tokens=16")
    record, rows = recorded(run_cell(cell), tmp_path)
    for split, examples in cell.task.splits().items():
        if not split.startswith("test"):
            continue
        mine = [row for row in rows if row["split"] == split]
        assert [(row["id"], tuple(row["target"])) for row in mine] == [(e.id, e.targets) for e in examples]
        again = cell.task.score(mine, [tuple(row["target"]) for row in mine])
        assert again == {name: record.value(split, name) for name in again}
        assert (
            again["bleu"]
            == sacrebleu.corpus_bleu([row["prediction"] for row in mine], [[row["target"][0] for row in mine]]).score
        )
        assert 0 < again["bleu"] < 100
    assert record.signatures == cell.task.signatures([e.targets for e in cell.task.splits()["test"]])


def lines(path, rows):
    path.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in rows))
    return path


def test_an_empty_example_is_counted_and_still_scored(toy_cell, tmp_path):
    good = [(str(i), "one two three four") for i in range(10, 18)]
    files = {
        "train": lines(tmp_path / "train.jsonl", [*good, ("", "lost")]),
        "valid": lines(tmp_path / "valid.jsonl", [*good[:3], ("5", "")]),
        "test": lines(tmp_path / "test.jsonl", [*good[:4], ("99", ""), ("77", "six " * 40)]),
    }
    words = ["data=files", *(f"data.{split}={file}" for split, file in files.items())]
    cell = toy_cell("causal_lm", "lora", *words, "budget.steps=2", "task.max_target_tokens=16")
    record, rows = recorded(run_cell(cell), tmp_path)
    assert record.data["counts"] == {
        "train": {"empty_examples": 1},
        "valid": {"empty_examples": 1},
        "test": {"empty_examples": 1, "truncated_targets": 1},
    }
    assert record.data["sizes"] == {"train": 9, "valid": 4, "test": 6}
    assert len(rows) == 6
    assert (rows[4]["prediction"], rows[4]["nll"], rows[4]["tokens"]) == ("", 0.0, 0)
    bleu = sacrebleu.corpus_bleu([row["prediction"] for row in rows], [[row["target"][0] for row in rows]]).score
    assert record.value("test", "bleu") == bleu
    nats, tokens = sum(row["nll"] for row in rows), sum(row["tokens"] for row in rows)
    assert record.value("test", "perplexity") == pytest.approx(math.exp(nats / tokens))
    cut = len("six " * 40) - 1 - rows[5]["bytes"]  # a cell's own blanks around its text are stripped
    assert cut > 80  # 16 tokens are not 40 words
    size = sum(len(row["target"][0]) for row in rows) - cut
    assert record.value("test", "bits_per_byte") == pytest.approx(nats / math.log(2) / size)


METRIC = """
import datasets
import evaluate


class {name}(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({{"predictions": text, "references": text}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {{"{key}": sum(map(len, predictions)) / sum(map(len, references)), "note": "no number"}}
"""


def metric(folder, name, key):
    (folder / name).mkdir()
    (folder / name / f"{name}.py").write_text(METRIC.format(name=name.title(), key=key))
    return str(folder / name)


def test_a_metric_of_ones_own_is_recorded_beside_the_headline(toy_cell, tmp_path):
    found = ",".join([metric(tmp_path, "longer", "ratio"), metric(tmp_path, "again", "ratio")])
    cell = toy_cell("causal_lm", "lora", "budget.steps=2", f"task.metrics=[{found}]", "task.max_target_tokens=16")
    record, rows = recorded(run_cell(cell), tmp_path / "results")
    for split in ("test", "test/longer"):
        mine = [row for row in rows if row["split"] == split]
        by_hand = sum(len(row["prediction"]) for row in mine) / sum(len(row["target"][0]) for row in mine)
        assert record.value(split, "ratio") == record.value(split, "again_ratio") == pytest.approx(by_hand)
        assert record.value(split, "bleu") is not None
    assert "note" not in {m.name for m in record.measurements}


def test_a_metric_never_takes_the_place_of_a_score_of_the_task(tmp_path):
    task = generation(metrics=[metric(tmp_path, "mine", "bleu")])
    scores = task.score(answers(["one two three four"]), [("one two three four",)])
    assert scores["bleu"] == pytest.approx(100.0)
    assert scores["mine_bleu"] == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "allowed"), [("accuracy", False), ("accuracy", True), ("accuracy@main", False)])
def test_a_metric_of_the_hub_needs_a_revision_and_leave_to_execute(name, allowed):
    with pytest.raises(InputError, match=r"task.metrics: '.*name@revision and task.allow_metric_code=true"):
        generation(metrics=[name], allow_metric_code=allowed)
    assert generation(metrics=["accuracy@0123abc"], allow_metric_code=True).metrics == ["accuracy@0123abc"]

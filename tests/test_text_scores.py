"""Scores of texts against sums by hand and the libraries."""

import math
import random
import sys

import pytest
import sacrebleu
from factories import answers_of, generation_task, translation_task, write_pairs

from benchmark.engine.data import Result, read
from benchmark.errors import InputError
from benchmark.records import Record
from tasks.text import likelihood_scores

TASKS = [generation_task(), translation_task()]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_perfect_answers_score_100_others_less_and_empty_ones_0(task):
    headline = {"bleu", "chrf", "rouge_l", "exact_match", "chrf++"}
    for split, examples in task.splits().items():
        targets = [e.targets for e in examples]
        texts = [t for (t,) in targets]
        perfect, shuffled, empty = (
            {name: value for name, value in task.score(answers_of(given), targets).items() if name in headline}
            for given in (texts, random.Random(0).sample(texts, len(texts)), [""] * len(texts))
        )
        assert perfect == pytest.approx(dict.fromkeys(perfect, 100.0)), split
        assert len(perfect) in (2, 4)
        assert all(shuffled[name] < 80 for name in perfect), split
        assert empty == dict.fromkeys(perfect, 0.0), split


def test_any_of_several_references_counts():
    targets = [("a red house by the sea", "the sea has a red house"), ("one", "two", "a small dog on a big mat")]
    texts = ["the sea has a red house", "a small dog on a big mat"]
    scores = generation_task().score(answers_of(texts), targets)
    assert [scores[name] for name in ("bleu", "chrf", "rouge_l", "exact_match")] == pytest.approx([100.0] * 4)
    first = generation_task().score(answers_of(texts), [t[:1] for t in targets])
    assert all(first[name] < 70 for name in ("bleu", "chrf", "rouge_l", "exact_match"))


def test_scores_are_those_of_the_library_called_directly():
    texts = ["the cat sat on a mat", "two dogs ran in the park today", "a bird"]
    first = ["the cat sat on the mat", "two dogs were running in the park", "a bird sings"]
    second = ["a cat was on the mat", "dogs ran in the park today", "the bird"]
    targets = list(zip(first, second, strict=True))
    written, translated = (task.score(answers_of(texts), targets) for task in TASKS)
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
        assert task.score(answers_of(["the cat the cat on the mat"]), targets)["bleu"] == pytest.approx(by_hand)


def test_the_number_of_references_may_differ_by_example():
    # The pieces of the two examples add up: 5 + 3 of 7 + 4 words, 4 + 2 of 6 + 3, 2 + 1 of 5 + 2, 1 + 0 of 4 + 1.
    targets = [("the cat is on the mat", "there is a cat on the mat"), ("one two three four",)]
    texts = ["the cat the cat on the mat", "one two three five"]
    by_hand = 100 * (8 / 11 * 6 / 9 * 3 / 7 * 1 / 5) ** 0.25
    assert generation_task().score(answers_of(texts), targets)["bleu"] == pytest.approx(by_hand)


def test_rouge_l_is_the_longest_common_subsequence_worked_out_by_hand():
    # "a c d" is common: precision 3/4, recall 3/5
    scores = generation_task().score(answers_of(["a c x d"]), [("a b c d e",)])
    assert scores["rouge_l"] == pytest.approx(100 * 2 * 0.75 * 0.6 / (0.75 + 0.6))


def test_exact_match_is_of_the_text_not_of_the_blanks_around_it():
    scores = generation_task().score(answers_of(["one two", "one  two", "One two"]), [(" one two\n",)] * 3)
    assert scores["exact_match"] == pytest.approx(100 / 3)


def test_a_tokenizer_of_characters_gives_a_language_without_blanks_its_pieces():
    targets, texts = [("ကခဂဃငစ",)], ["ကခဂဃငဆ"]  # the last of six letters is wrong
    assert translation_task().score(answers_of(texts), targets)["bleu"] == 0
    by_hand = 100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25
    assert translation_task(bleu_tokenizer="char").score(answers_of(texts), targets)["bleu"] == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("zh", "zh"), ("zh_Hant", "zh"), ("yue", "zh"), ("th", "char"), ("km", "char"), ("lo", "char"), ("my", "char"),
     ("bo", "char"), ("khm_Khmr", "char"), ("si", "13a"), ("de", "13a"), ("mya", "char"), ("tha", "char")],
)  # fmt: skip
def test_bleus_tokenizer_follows_the_target_language(language, tokenizer):
    task = translation_task(target_language=language, bleu_tokenizer=None)
    assert f"tok:{tokenizer}" in task.signatures([("a b c d",)])["bleu"]
    targets, texts = [("ကခဂဃငစ",)], ["ကခဂဃငဆ"]
    assert (
        task.score(answers_of(texts), targets)["bleu"]
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
        translation_task(**changes)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(("language", "module"), [("ja", "MeCab"), ("ko", "mecab_ko")])
def test_a_tokenizer_with_a_dictionary_is_taken_where_it_is_installed_and_else_the_remedy_told(
    language, module, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    for name in [n for n in sys.modules if n.startswith("sacrebleu.tokenizers.tokenizer_") and "mecab" in n]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=rf"pip install 'sacrebleu\[{language}\]', or task.bleu_tokenizer=char"):
        translation_task(target_language=language, bleu_tokenizer=None)
    assert translation_task(target_language=language, bleu_tokenizer="char").tokenizer == "char"


def test_a_shifted_test_of_short_references_has_chrf_for_its_headline():
    short, long = ("one two three",), ("one two three four",)
    task = translation_task()
    assert task.headline("test/a", [short, short, long]) == "chrf++"
    assert task.headline("test/a", [short, long]) == "bleu"
    assert task.headline("test", [short, short, long]) == "bleu"  # the headline of a comparison
    # a point is a word of its own to the tokenizer, a blank is none
    assert task.headline("test/a", [("one two three.",)]) == "bleu"
    assert translation_task(target_language="th", bleu_tokenizer=None).headline("test/a", [("กขคง",)]) == "bleu"


def test_the_record_names_the_headline_of_each_split(toy_cell, tmp_path):
    files = {
        "train": write_pairs(tmp_path / "train.jsonl", [("1", "one two three four")] * 3),
        "valid": write_pairs(tmp_path / "valid.jsonl", [("2", "one two three four")]),
        "test": write_pairs(tmp_path / "test.jsonl", [("3", "one two three four")]),
    }
    names = write_pairs(tmp_path / "names.jsonl", [("4", "one"), ("5", "two")])
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
    assert (
        generation_task().signatures(one)["bleu"] == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}"
    )
    assert "nrefs:2" in generation_task().signatures(two)["bleu"]
    assert "tok:char" in translation_task(bleu_tokenizer="char").signatures(one)["bleu"]
    assert "nw:2" in translation_task().signatures(one)["chrf++"]
    for task in TASKS:
        assert task.signatures(one).keys() <= task.score(answers_of(["a b c d"]), one).keys()


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

"""Languages of CLDR phrases: splits apart, labels that the text alone decides, pretraining text apart."""

from collections import Counter
from itertools import combinations

import pytest
import torch
from factories import corpus_of

from benchmark.backbones.headed import pretraining_loss
from benchmark.config.compose import cell_of
from benchmark.types import Head, Kind
from tasks.embedded import languages
from tasks.embedded.phrases import render_all, split_of

FEW = ("da", "nb")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Render two languages, without the cache."""
    patch = pytest.MonkeyPatch()
    patch.setenv("BENCHMARK_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    languages.rendered.cache_clear()
    languages.phrases.cache_clear()
    yield languages.task_phrases(FEW)
    patch.undo()


def test_no_text_is_in_two_splits_or_of_two_languages(few):
    for one, other in combinations(few.values(), 2):
        assert not {e.source for e in one} & {e.source for e in other}
    named = {}
    for part in few.values():
        for example in part:
            named.setdefault(example.source, set()).add(example.targets)
    assert {len(targets) for targets in named.values()} == {1}
    assert min(Counter(e.targets[0] for e in few["test"]).values()) > 50


def test_what_two_languages_write_alike_is_left_out(few):
    both = set(render_all("da")) & set(render_all("nb")) - {None}
    assert len(both) > 1000  # most words are the same
    assert not both & {e.source for part in few.values() for e in part}


def test_the_cache_gives_what_babel_renders(few):
    languages.rendered.cache_clear()
    assert languages.rendered(("en", "und", *FEW))["nb"] == [text or "" for text in render_all("nb")]


def test_pretraining_reads_other_items_and_no_text_of_a_split(few):
    corpus = languages.LanguageCorpus(languages=[*FEW], others=[], most=3, held=5)
    texts = set(corpus.texts())
    assert len(texts) > 5000
    assert not texts & {e.source for part in few.values() for e in part}
    rendered = {text: item for item, text in zip(languages.items(), render_all("da"), strict=True) if text}
    assert all(
        split_of(rendered[text]) == "pretrain" for text in texts if text in rendered and text not in render_all("nb")
    )
    assert {text for _, text in corpus.held_out()} <= {e.source for e in few["valid"]}


@pytest.mark.slow
def test_pretraining_of_the_shipped_network_saw_no_text_of_any_split():
    texts = set(corpus_of("bert_languages").texts())
    splits = cell_of(["task=language_id", "method=head"]).task.splits()
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 4000, "valid": 400, "test": 1200, "test/names": 600, "test/intervals": 600
    }  # fmt: skip
    assert not texts & {e.source for part in splits.values() for e in part}


def test_the_shipped_encoder_knows_held_out_phrases():
    cell = cell_of(["task=language_id", "method=head"])
    torch.manual_seed(0)
    model, _ = cell.backbone.load(cell.budget, Head(Kind.CLASSIFY, labels=FEW))
    known = pretraining_loss(model.eval(), cell.backbone.found())
    assert known < 3.5 < 7.3  # a guess among 1,500 tokens costs log(1500) = 7.3
    assert model.new_head.project.out_features == 2

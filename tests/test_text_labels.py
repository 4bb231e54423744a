"""Texts with labels: networks under a new head, pairs, own files, and what is refused."""

import functools
import json

import pytest
import torch
import transformers
from checkpoints import READERS, save_reader
from factories import run_cell, write_files
from torch import nn

from benchmark.backbones import roles
from benchmark.capabilities.networks import NETWORKS, bare
from benchmark.config.compose import cell_of
from benchmark.config.registry import CONFIGS
from benchmark.errors import InputError
from benchmark.types import Bad, Head
from tasks.text_generation import TextGeneration

TEXTS = ["one two three", "7", "nine 8 seven six five four"]
ENCODERS = ("bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give the folder of a configuration's tiny checkpoint, each made once."""
    return functools.cache(lambda name: save_reader(name, tmp_path_factory.mktemp(name)))


def table(rows, header="text,label"):
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def make(folder, tmp_path):
    """Build a cell on a tiny checkpoint and a table of one file per split."""

    def cell(name, *words, task="text_classification", train=("one two,a", "three,b", "7 8,a"), header="text,label"):
        (tmp_path / "train.csv").write_text(table(train, header))
        columns = ["data.columns.source=text", "data.columns.target=label"]
        files = [
            f"data.{split}={tmp_path / split}.csv"
            for split in ("valid", "test")
            if (tmp_path / f"{split}.csv").exists()
        ]
        return cell_of(
            [f"task={task}", f"backbone={name}", f"backbone.checkpoint={folder(name)}", "method=lora", "budget=smoke",
             f"data.train={tmp_path / 'train.csv'}", *columns, *files, "task.max_source_tokens=24", *words]
        )  # fmt: skip

    return cell


def loaded(cell, labels=("a", "b", "c")):
    torch.manual_seed(1)
    model, reader = cell.backbone.load(cell.budget, Head(cell.kind, labels=labels))
    return model.eval(), reader


def test_every_configuration_of_texts_under_a_head_is_tried_here():
    files = (CONFIGS / "backbone").glob("*.yaml")
    found = {f.stem for f in files if "_target_: benchmark.backbones.text." in f.read_text()}
    assert found - {"bert_languages"} == set(READERS)


def pooled(states, mask, pooling):
    if pooling == "average":
        return torch.stack([row[: int(m.sum())].mean(0) for row, m in zip(states, mask, strict=True)])
    return torch.stack(
        [row[0 if pooling == "first" else int(m.sum()) - 1] for row, m in zip(states, mask, strict=True)]
    )


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("texts", [TEXTS, list(zip(TEXTS, reversed(TEXTS), strict=True))])
def test_logits_are_those_of_the_librarys_own_network_under_a_linear_layer(make, folder, name, texts):
    cell = make(name)
    model, reader = loaded(cell)
    features = [cell.task.features(text, reader, {}) for text in texts]
    batch = cell.task.inputs(features, reader)
    library = transformers.AutoModel.from_pretrained(folder(name), dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder(name), padding_side="right")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    pairs = isinstance(texts[0], tuple)
    if pairs and cell.backbone.joint:
        read = tokenizer(["\n".join(both) for both in texts], padding=True, return_tensors="pt")
    else:
        read = tokenizer(
            *(map(list, zip(*texts, strict=True)) if pairs else [texts]), padding=True, return_tensors="pt"
        )
    with torch.no_grad():
        states = library(**read).last_hidden_state
        pooling = {"bert_base": "first"}.get(name, "last" if cell.backbone.joint else "average")
        expected = model.new_head.project(pooled(states, read["attention_mask"], pooling))
        torch.testing.assert_close(model(**batch).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["bert_base", "deberta_v3_base", "llama_docstrings_states"])
def test_padding_and_the_batch_change_no_answer(make, name):
    cell = make(name)
    model, reader = loaded(cell)
    features = [cell.task.features(text, reader, {}) for text in TEXTS]
    with torch.no_grad():
        together = model(**cell.task.inputs(features, reader)).logits
        alone = torch.cat([model(**cell.task.inputs([f], reader)).logits for f in features])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["bert_base", "roberta_base", "xlm_r_base", "deberta_v3_base", "llama_docstrings_states"]
)
def test_what_a_user_writes_becomes_no_control_token(make, name):
    cell = make(name)
    _, reader = loaded(cell)
    special = set(reader.tokenizer.all_special_ids) - {reader.tokenizer.unk_token_id}

    def control(text):
        return [i for i in cell.task.features(text, reader, {})["row"]["input_ids"] if i in special]

    spelt = "one " + " ".join(reader.tokenizer.all_special_tokens) + " two"
    assert control(spelt) == control("one two")


def test_long_texts_are_cut_and_counted_and_an_empty_one_is_no_example(make):
    cell = make("roberta_base", "task.max_source_tokens=7")
    _, reader = loaded(cell)
    counts = {}
    features = cell.task.features(("one two three four five six", "7"), reader, counts)
    ids = features["row"]["input_ids"]
    assert len(ids) == 7
    assert counts == {"truncated_sources": 1}
    sep = reader.tokenizer.sep_token_id
    assert [i == sep for i in ids].count(True) == 3  # the shorter text of the pair is whole, within its template
    assert cell.task.features("  ", reader, {})["length"] == 0


def test_a_pair_has_types_where_the_network_reads_them(make):
    cell = make("bert_base")
    model, reader = loaded(cell)
    batch = cell.task.inputs(
        [cell.task.features(pair, reader, {}) for pair in (("one", "two two"), ("7", "8"))], reader
    )
    assert batch["token_type_ids"].sum(1).tolist() == [3, 2]
    with torch.no_grad():
        other = model(**batch | {"token_type_ids": torch.zeros_like(batch["token_type_ids"])}).logits
        assert not torch.allclose(model(**batch).logits, other)


PAIRS = [f"{'one' if i % 2 else 'two'},{'three' if i % 3 else 'four'},{'yes' if i % 2 else 'no'}" for i in range(40)]


def test_a_table_of_pairs_trains_and_answers_and_rows_of_one_text_stay_apart(make):
    cell = make("text_encoder", "data.columns.partner=other", train=PAIRS, header="text,other,label")
    splits = cell.task.splits()
    assert splits["train"][0].source[0] in ("one", "two")
    assert sum(map(len, splits.values())) == 40
    assert {e.targets for part in splits.values() for e in part} == {("yes",), ("no",)}
    result = run_cell(cell)
    named = {(m.split, m.name): m.value for m in result.measurements if m.step is None}
    assert 0 <= named["test", "macro_f1"] <= 1
    assert {"log_loss", "majority_macro_f1"} <= {name for split, name in named if split == "test"}


def test_numbers_and_lists_of_labels_are_read_from_texts(make, tmp_path):
    rows = [{"text": f"{i} one", "label": i / 2} for i in range(12)]
    cell = make("text_encoder", task="text_regression")
    write_files(tmp_path, train__csv=table([f"{r['text']},{r['label']}" for r in rows]))
    splits = cell.task.splits()
    assert {e.targets[0] for part in splits.values() for e in part} == {i / 2 for i in range(12)}
    (tmp_path / "lists.json").write_text(
        json.dumps([{"text": f"{i}", "label": ["a", "b"][: i % 3]} for i in range(30)])
    )
    several = make("text_encoder", f"data.train={tmp_path / 'lists.json'}", task="text_multilabel")
    found = {e.targets[0] for part in several.task.splits().values() for e in part}
    assert found == {(), ("a",), ("a", "b")}


@pytest.mark.parametrize(
    ("task", "train", "test", "words"),
    [
        ("text_classification", ["one,a", "two,a", "3,a"], ["one,a"], "the 3 training examples are of class 'a' alone"),
        ("text_regression", ["one,1", "two,1", "3,1"], ["one,1"], "all 3 training targets are 1: nothing to learn"),
    ],
)
def test_one_class_or_one_number_is_refused(make, tmp_path, task, train, test, words):
    write_files(tmp_path, test__csv=table(test), valid__csv=table(train))
    with pytest.raises(InputError, match=words):
        make("text_encoder", task=task, train=train).task.splits()


@pytest.mark.parametrize(
    ("task", "bad", "words"),
    [
        ("text_classification", "two,c", "label 'c' is not among the training labels"),
        ("text_regression", "two,high", "the target 'high' is no number"),
        ("text_regression", "two,inf", "the target 'inf' is no finite number"),
    ],
)
def test_a_bad_answer_is_a_bad_row_with_its_reason(make, tmp_path, task, bad, words):
    good = ["one,1", "two,2", "3,1"]
    write_files(tmp_path, valid__csv=table(good), test__csv=table([*good, bad]))
    splits = make("text_encoder", task=task, train=good).task.splits()
    (reason,) = [e.source.reason for e in splits["test"] if isinstance(e.source, Bad)]
    assert words in reason
    assert "test/3" in reason


def test_the_other_half_of_the_networks_is_named(make, folder):
    with pytest.raises(InputError, match="is a gpt2 network: backbone=text_decoder loads it"):
        assert make("text_encoder", f"backbone.checkpoint={folder('text_decoder')}").backbone.family
    with pytest.raises(InputError, match="is a bert network: backbone=text_encoder loads it"):
        assert make("text_decoder", f"backbone.checkpoint={folder('text_encoder')}").backbone.family
    with pytest.raises(InputError, match=r"backbone.pooling: 'mean' given"):
        make("text_encoder", "backbone.pooling=mean")


def test_a_task_that_writes_texts_has_no_second_one(tmp_path):
    write_files(tmp_path, train__csv=table(["one,a,b", "two,c,d"], "source,target,other"))
    cell = cell_of(
        [
            "task=text_generation",
            "method=lora",
            f"data.train={tmp_path}/train.csv",
            "data=files",
            "data.columns.partner=other",
        ]
    )
    assert isinstance(cell.task, TextGeneration)
    with pytest.raises(InputError, match="this task writes texts"):
        cell.task.splits()


@pytest.mark.parametrize("network", ENCODERS)
def test_roles_are_those_of_real_modules(network):
    modules = {n: m for n, m in bare(network).named_modules() if not n.startswith("new_head")}
    family = NETWORKS[network][0]
    assert roles.resolve(modules, family, ["default"]) == [n for n, m in modules.items() if isinstance(m, nn.Linear)]
    assert roles.resolve(modules, family, ["norm"]) == [
        n for n, m in modules.items() if "Norm" in type(m).__name__ and getattr(m, "weight", None) is not None
    ]
    tokens = [n for n, m in modules.items() if isinstance(m, nn.Embedding) and m.num_embeddings == 50]
    assert roles.resolve(modules, family, ["embedding"]) == tokens
    assert [s for s in roles.FAMILIES[family].modules if not any(f".{n}".endswith(f".{s}") for n in modules)] == []
    biases = any(n.endswith(".bias") for n, _ in bare(network).encoder.named_parameters())
    assert roles.FAMILIES[family].biases == biases


def test_a_decoder_without_its_words_has_no_loss_of_pretraining(make):
    rows = [f"{'one' if i % 2 else 'two'} {i},{'a' if i % 2 else 'b'}" for i in range(30)]
    words = ["backbone.checkpoint=embedded/llama_docstrings", "budget.steps=2"]
    cell = make("llama_docstrings_states", *words, train=rows)
    model, _ = loaded(cell, ("a", "b"))
    assert cell.backbone.pretraining_loss(model) is None

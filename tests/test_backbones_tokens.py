"""Checkpoints of the hub: what they read, and how their answers are made."""

import json
import shutil

import pytest
import torch
import transformers
from checkpoints import CODES, LEARNT, SOURCES, answer_sources, hub_overrides, load_hub

from benchmark import run
from benchmark.types import Example, Kind


@pytest.mark.parametrize("name", LEARNT)
def test_sources_and_targets_are_what_the_checkpoints_own_tokenizer_makes(name, checkpoint):
    made, _, processor = load_hub(name, checkpoint(name))
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint(name))
    tag = "translate en to sw: " if name == "mt5_small" else ""
    for source in SOURCES:
        features = made.task.encode(Example("", source, ("two one",)), processor, {})
        begin = [tokenizer.bos_token_id] if name == "gpt2_medium" else []  # GPT-2's adds nothing by itself
        assert features["source"] == [*begin, *tokenizer(tag + source)["input_ids"]]
        assert tokenizer.unk_token_id not in features["source"] or tokenizer.unk_token_id == begin[0]
        if made.kind == Kind.SEQ2SEQ:
            assert features["target"] == tokenizer(text_target="two one")["input_ids"]
        else:
            plain = tokenizer("two one", add_special_tokens=False)["input_ids"]
            assert features["target"] == [*plain, tokenizer.eos_token_id]
        if name in CODES:
            firsts = tokenizer.convert_ids_to_tokens([features["source"][0], features["target"][0]])
            assert tuple(firsts) == CODES[name]


def likeliest_again_and_again(model, source, forced, end, most):
    """Answer by the loss pass alone, taking the likeliest next token."""
    written = [forced]
    while len(written) < most and written[-1] != end:
        ids, labels = torch.tensor([source]), torch.tensor([[*written, end]])
        written.append(int(model(input_ids=ids, labels=labels).logits[0, len(written)].argmax()))
    return written


@pytest.mark.parametrize("name", CODES)
@torch.no_grad()
def test_generation_starts_where_the_loss_pass_starts(name, checkpoint, tmp_path):
    """mBART checkpoints name a start language; the loss pass starts at the end token."""
    folder = shutil.copytree(checkpoint(name), tmp_path / "begins_with_a_language")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    language = tokenizer.convert_tokens_to_ids(CODES[name][1])
    (folder / "config.json").write_text(json.dumps(config | {"decoder_start_token_id": language}))
    made, model, processor = load_hub(name, folder)
    _, written = answer_sources(made, model, processor)
    for source, row in zip(SOURCES, written.tolist(), strict=True):
        features = made.task.encode(Example("", source, ("?",)), processor, {})
        by_hand = likeliest_again_and_again(model, features["source"], language, tokenizer.eos_token_id, 12)
        assert row[1 : 1 + len(by_hand)] == by_hand
    assert {row[0] for row in written.tolist()} == {tokenizer.eos_token_id if name == "mbart_large_50" else language}


@pytest.mark.parametrize("name", LEARNT)
def test_what_a_user_writes_becomes_no_control_token(name, checkpoint):
    made, _, processor = load_hub(name, checkpoint(name), "task.max_target_tokens=60")
    special = set(processor.tokenizer.all_special_ids) | {
        i for i, token in processor.tokenizer.added_tokens_decoder.items() if token.special
    }
    special -= {processor.tokenizer.unk_token_id} - {processor.tokenizer.eos_token_id}

    def control(features, side):
        return [i for i in features[side] if i in special]

    plain = made.task.encode(Example("", "one two", ("two one",)), processor, {})
    for token in processor.tokenizer.convert_ids_to_tokens(sorted(special)):
        for text in (token, f"one {token} two", f"{token}{token}one"):
            features = made.task.encode(Example("", text, (text,)), processor, {})
            assert control(features, "source") == control(plain, "source")
            assert control(features, "target") == control(plain, "target")
            if LEARNT[name] in ("gpt2", "qwen3", "llama"):  # byte by byte, nothing is lost
                assert processor.text(features["target"]) == text


TIDY = ("clean_up_tokenization_spaces", "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output")


@pytest.mark.parametrize("name", ["gpt2_medium", "qwen3_600m", "llama_3_2_1b"])
def test_blanks_before_points_are_the_networks_own(name, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint(name), tmp_path / "tidy")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | dict.fromkeys(TIDY, True)))
    made, model, processor = load_hub(name, folder)
    said = "one , two . do n't"
    ids = processor.tokenizer(said, add_special_tokens=False)["input_ids"]
    model.generate = lambda input_ids, **_: torch.cat([input_ids, torch.tensor([ids])], 1)
    features = [made.task.encode(Example("", "7", ("?",)), processor, {})]
    assert made.task.predict(model, features, processor)[0]["prediction"] == said


def test_a_decoders_answer_is_tokenised_behind_the_templates_end(checkpoint, tmp_path):
    """Llama 2's tokenizer would put a start token into the middle of a document."""
    folder = shutil.copytree(checkpoint("llama_3_2_1b"), tmp_path / "marked")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    inner["pre_tokenizer"]["add_prefix_space"] = True
    (folder / "tokenizer.json").write_text(json.dumps(inner))
    made, _, processor = load_hub("llama_3_2_1b", folder, "task.template='{source}\n'")
    features = made.task.encode(Example("", "7", ("two one",)), processor, {})
    whole = processor.tokenizer("7\ntwo one", add_special_tokens=False)["input_ids"]
    assert [*features["source"][1:], *features["target"][:-1]] == whole
    assert processor.text(whole) == " 7\ntwo one"


def test_unknown_tokens_are_counted_and_what_is_mostly_unknown_is_refused(checkpoint, tmp_path, capfd):
    folder = checkpoint("mt5_small")
    made, _, processor = load_hub("mt5_small", folder)
    counts = {}
    for source, target in (("one two", "two"), ("one two Ж", "two"), ("Жщ one", "дом Ж"), ("один", "one two Ж")):
        assert made.task.encode(Example("", source, (target,)), processor, counts)
    assert counts == {
        "unknown_tokens_in_sources": 3, "unknown_tokens_in_targets": 2, "unreadable_sources": 1, "unreadable_targets": 1
    }  # fmt: skip
    rows = {"train": ["дом", "два", "one"], "valid": ["one"], "test": ["one"]}
    for name, targets in rows.items():
        text = "".join(json.dumps({"source": "one", "target": target}) + "\n" for target in targets)
        (tmp_path / f"{name}.jsonl").write_text(text)
    files = [f"data.{name}={tmp_path / name}.jsonl" for name in rows]
    base = [word for word in hub_overrides("mt5_small", folder) if not word.startswith("data")]
    results = f"results={tmp_path / 'results'}"
    assert run.main([*base, "method.rank=4", "data=files", *files, "device=cpu", results]) == 2
    line = capfd.readouterr().err
    assert "split train: 2 of 3 targets are mostly characters that the backbone has no token for" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("name", CODES)
def test_an_answer_is_forced_to_begin_with_its_language(name, checkpoint):
    made, model, processor = load_hub(name, checkpoint(name))
    _, written = answer_sources(made, model, processor)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint(name))
    assert {tuple(tokenizer.convert_ids_to_tokens(row[:2])) for row in written} == {("</s>", CODES[name][1])}


@pytest.mark.parametrize("name", LEARNT)
def test_training_reads_a_written_answer_as_the_network_wrote_it(name, checkpoint):
    """Greedy ids, given back as labels, are the likeliest at every position."""
    made, model, processor = load_hub(name, checkpoint(name))
    _, written = answer_sources(made, model, processor)
    decoder = made.kind == Kind.CAUSAL_LM
    features = [made.task.encode(Example("", source, ("?",)), processor, {}) for source in SOURCES]
    start = max(len(f["source"]) for f in features) if decoder else 1
    end, forced = processor.tokenizer.eos_token_id, 1 if name in CODES else 0
    for feature, row in zip(features, written[:, start:].tolist(), strict=True):
        feature["target"] = [*(row[: row.index(end)] if end in row else row), end]  # as every target ends
    batch = made.task.collate(features, processor)
    with torch.no_grad():
        likeliest = model(**batch).logits.argmax(-1)
    for place, (feature, row) in enumerate(zip(features, written[:, start:].tolist(), strict=True)):
        first = len(feature["source"]) - 1 if decoder else 0
        said = likeliest[place, first : first + len(feature["target"])].tolist()
        for position in range(forced, len(feature["target"]) - (end not in row)):
            assert said[position] == feature["target"][position]
    assert len({tuple(f["target"]) for f in features}) > 1, "the answers depend on their sources"


@pytest.mark.parametrize("name", LEARNT)
def test_padding_changes_no_answer(name, checkpoint):
    made, model, processor = load_hub(name, checkpoint(name))
    together, _ = answer_sources(made, model, processor)
    assert together == [answer_sources(made, model, processor, [source])[0][0] for source in SOURCES]
    assert len(set(together)) > 1


@pytest.mark.parametrize("name", ["gpt2_medium", "mbart_large_50"])
def test_a_checkpoints_own_way_of_generating_changes_no_answer(name, checkpoint, tmp_path):
    wild = {
        "do_sample": True, "temperature": 9.0, "num_beams": 3, "repetition_penalty": 5.0, "min_length": 11,
        "no_repeat_ngram_size": 1, "bad_words_ids": [[5]], "suppress_tokens": list(range(4, 40)), "max_length": 3,
    }  # fmt: skip
    folder = shutil.copytree(checkpoint(name), tmp_path / "wild")
    (folder / "generation_config.json").write_text(json.dumps(wild))
    config = json.loads((folder / "config.json").read_text())  # where older checkpoints keep such settings
    (folder / "config.json").write_text(json.dumps(config | {"num_beams": 5, "max_length": 4, "early_stopping": True}))
    assert answer_sources(*load_hub(name, folder))[0] == answer_sources(*load_hub(name, checkpoint(name)))[0]

"""Backbones of the hub as tiny random checkpoints with their tokenizers."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from networks import BART, CONFIGS
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn

from benchmark import run
from benchmark.cell import Cell
from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.types import Example, Head, Kind
from tasks.toy import DIGITS, Toy

CORPUS = [*DIGITS, "translate en to sw: ", *(" ".join(DIGITS[i:] + DIGITS[:i]) for i in range(10)), "0123456789 " * 3]
SOURCES = ["7", "305", "one two three four", "9 8 7 six five"]  # of different lengths: batches are padded
LEARNT = {  # configuration -> architecture
    "gpt2_medium": "gpt2",
    "qwen3_600m": "qwen3",
    "llama_3_2_1b": "llama",
    "mt5_small": "mt5",
    "mbart_large_50": "mbart",
    "nllb_200_600m": "m2m_100",
}
CODES = {"mbart_large_50": ("en_XX", "sw_KE"), "nllb_200_600m": ("eng_Latn", "swh_Latn")}
DROPS = {  # as the published configurations of these families have them: none of it may survive
    "gpt2": {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1},
    "qwen3": {"attention_dropout": 0.1},
    "llama": {"attention_dropout": 0.1},
    "mt5": {"dropout_rate": 0.1},
    "mbart": {"dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "encoder_layerdrop": 0.05},
    "m2m_100": {"dropout": 0.1, "attention_dropout": 0.1, "encoder_layerdrop": 0.05, "decoder_layerdrop": 0.05},
}


def bytewise(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]], Tokenizer]:
    """Learn a byte-level BPE, as GPT-2, Qwen and Llama 3 have one."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=letters, show_progress=False),
    )
    learnt = json.loads(inner.to_str())["model"]
    return learnt["vocab"], [tuple(merge) for merge in learnt["merges"]], inner


def pieces(special: list[str]) -> list[tuple[str, float]]:
    """Write a fixed unigram vocabulary like those of T5 and mBART."""
    known = sorted({f"▁{word}" for text in CORPUS for word in text.split()})
    letters = sorted({letter for text in CORPUS for letter in text if not letter.isspace()})
    scores = [*((word, -1.0) for word in known), ("▁", -3.0), *((letter, -4.0) for letter in letters)]
    return [*((token, 0.0) for token in special), *scores]


def gpt2() -> transformers.PreTrainedTokenizerBase:
    vocab, merges, _ = bytewise(["<|endoftext|>"])
    return transformers.GPT2Tokenizer(vocab=vocab, merges=merges)


def qwen3() -> transformers.PreTrainedTokenizerBase:
    vocab, merges, _ = bytewise(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return transformers.Qwen2Tokenizer(vocab=vocab, merges=merges)


def llama() -> transformers.PreTrainedTokenizerBase:
    """Llama 3's generic tokenizer: a start token on every text, no padding."""
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    _, _, inner = bytewise([begin, end])
    inner.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, inner.token_to_id(begin))]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=begin, eos_token=end)


def mt5() -> transformers.PreTrainedTokenizerBase:
    return transformers.T5Tokenizer(vocab=pieces(["<pad>", "</s>", "<unk>"]), extra_ids=0)


def mbart() -> transformers.PreTrainedTokenizerBase:
    return transformers.MBart50Tokenizer(vocab=pieces(["<unk>", "<s>", "</s>"]), src_lang="en_XX", tgt_lang="sw_KE")


def m2m_100() -> transformers.PreTrainedTokenizerBase:
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    inner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=120, special_tokens=special, show_progress=False))
    learnt = json.loads(inner.to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    return transformers.NllbTokenizer(vocab=learnt["vocab"], merges=merges, src_lang="eng_Latn", tgt_lang="swh_Latn")


TOKENIZERS = {maker.__name__: maker for maker in (gpt2, qwen3, llama, mt5, mbart, m2m_100)}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Callable[[str], Path]:
    """Build the checkpoint of a hub configuration, once."""
    made: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in made:
            family = LEARNT[name]
            tokenizer = TOKENIZERS[family]()
            made[name] = tmp_path_factory.mktemp(name)
            tokenizer.save_pretrained(made[name])
            kind, shape = CONFIGS[family]
            special = {key: getattr(tokenizer, key) for key in ("pad_token_id", "bos_token_id", "eos_token_id")}
            start = {"decoder_start_token_id": tokenizer.pad_token_id if family == "mt5" else tokenizer.eos_token_id}
            positions = "n_positions" if family == "gpt2" else "max_position_embeddings"
            sizes = {"vocab_size": len(tokenizer), **({} if family == "mt5" else {positions: 128})}
            config = kind(
                **shape | DROPS[family] | special | (start if shape is BART or family == "mt5" else {}) | sizes
            )
            torch.manual_seed(0)
            auto = (
                transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
            )
            model = auto.from_config(config)
            with torch.no_grad():  # else a random network says one word for ever, or nothing but language tokens
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.3)
                for matrix in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
                    matrix[tokenizer.all_special_ids] *= 0.1
            model.half().save_pretrained(made[name])
        return made[name]

    return build


def words(name: str, folder: Path) -> list[str]:
    return [
        f"backbone={name}", f"backbone.checkpoint={folder}", "task=nmt", "data=toy", "data.train=16", "data.test=6",
        "task.source_language=en", "task.target_language=sw", "task.max_target_tokens=12", "method=lora",
        "budget=smoke", "budget.steps=2",
    ]  # fmt: skip


def cell(name: str, folder: Path, *more: str) -> Cell:
    return cell_of([*words(name, folder), *more])


def loaded(name: str, folder: Path, *more: str) -> tuple[Cell, nn.Module, object]:
    made = cell(name, folder, *more)
    model, processor = made.backbone.load(made.budget, Head(made.kind))
    return made, model.eval(), processor


def spoken(
    made: Cell, model: nn.Module, processor: object, sources: list[str] = SOURCES
) -> tuple[list[str], torch.Tensor]:
    """Answer sources as one batch; return the answers and their ids."""
    written, generate = [], model.generate
    model.generate = lambda **options: written.append(generate(**options)) or written[-1]
    features = [made.task.encode(Example("", source, ("?",)), processor, {}) for source in sources]
    with torch.no_grad():
        answers = made.task.predict(model, features, processor)
    model.generate = generate
    return [answer["prediction"] for answer in answers], written[0]


def test_every_configuration_of_the_hub_is_tried_here():
    folder = Path(__file__).resolve().parents[1] / "configs" / "backbone"
    texts = {file.stem: file.read_text() for file in folder.glob("*.yaml")}
    given = {
        name: re.search(r"^checkpoint: (\S+)", text, re.MULTILINE)[1]
        for name, text in texts.items()
        if "_target_: benchmark.backbones.transformer." in text
    }
    assert {
        name for name, place in given.items() if re.fullmatch(r"[^/]+/[^/]+", place) and "embedded" not in place
    } == (set(LEARNT))


@pytest.mark.parametrize("name", LEARNT)
def test_a_checkpoint_of_the_architecture_trains_lora_and_generates(name, checkpoint, tmp_path):
    folder = checkpoint(name)
    adapter = tmp_path / "adapter"
    status = run.main(
        [*words(name, folder), "method.rank=4", "device=cpu", f"results={tmp_path / 'results'}", f"save={adapter}"]
    )
    assert status == 0
    (path,) = (tmp_path / "results").glob("runs/nmt/lora/*.json")
    record = json.loads(path.read_text())
    assert record["config"]["backbone"]["checkpoint"]["name"] == folder.name
    assert [m["step"] for m in record["measurements"] if (m["split"], m["name"]) == ("train", "loss")] == [1, 2]
    tensors = load_file(adapter / "adapter_model.safetensors")
    moved = {name.partition(".lora_B")[0] for name, tensor in tensors.items() if "lora_B" in name and tensor.any()}
    assert {name.partition("base_model.model.")[2] for name in moved} == set(record["modules"])
    with gzip.open(path.with_suffix(".examples.jsonl.gz"), "rt") as rows:
        answers = {row["id"]: row["prediction"] for row in map(json.loads, rows) if row["split"] == "test"}
    assert answers.keys() == {e.id for e in Toy(description="", train=16, test=6).splits()["test"]}
    assert any(answers.values())


@pytest.mark.parametrize("name", LEARNT)
def test_sources_and_targets_are_what_the_checkpoints_own_tokenizer_makes(name, checkpoint):
    made, _, processor = loaded(name, checkpoint(name))
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


def likeliest_again_and_again(model: nn.Module, source: list[int], forced: int, end: int, most: int) -> list[int]:
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
    made, model, processor = loaded(name, folder)
    _, written = spoken(made, model, processor)
    for source, row in zip(SOURCES, written.tolist(), strict=True):
        features = made.task.encode(Example("", source, ("?",)), processor, {})
        by_hand = likeliest_again_and_again(model, features["source"], language, tokenizer.eos_token_id, 12)
        assert row[1 : 1 + len(by_hand)] == by_hand
    assert {row[0] for row in written.tolist()} == {tokenizer.eos_token_id if name == "mbart_large_50" else language}


@pytest.mark.parametrize("name", LEARNT)
def test_what_a_user_writes_becomes_no_control_token(name, checkpoint):
    made, _, processor = loaded(name, checkpoint(name), "task.max_target_tokens=60")
    special = set(processor.tokenizer.all_special_ids) | {
        i for i, token in processor.tokenizer.added_tokens_decoder.items() if token.special
    }
    special -= {processor.tokenizer.unk_token_id} - {processor.tokenizer.eos_token_id}

    def control(features: dict, side: str) -> list[int]:
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
    made, model, processor = loaded(name, folder)
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
    made, _, processor = loaded("llama_3_2_1b", folder, "task.template='{source}\n'")
    features = made.task.encode(Example("", "7", ("two one",)), processor, {})
    whole = processor.tokenizer("7\ntwo one", add_special_tokens=False)["input_ids"]
    assert [*features["source"][1:], *features["target"][:-1]] == whole
    assert processor.text(whole) == " 7\ntwo one"


def test_unknown_tokens_are_counted_and_what_is_mostly_unknown_is_refused(checkpoint, tmp_path, capfd):
    folder = checkpoint("mt5_small")
    made, _, processor = loaded("mt5_small", folder)
    counts: dict[str, int] = {}
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
    base = [word for word in words("mt5_small", folder) if not word.startswith("data")]
    results = f"results={tmp_path / 'results'}"
    assert run.main([*base, "method.rank=4", "data=files", *files, "device=cpu", results]) == 2
    line = capfd.readouterr().err
    assert "split train: 2 of 3 targets are mostly characters that the backbone has no token for" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "method", "source", "target", "reason"),
    [
        ("llama_3_2_1b", "lora", 100, 28, None),
        ("llama_3_2_1b", "lora", 100, 29, "reads up to 129 tokens, backbone llama_3_2_1b has 128 positions"),
        ("gpt2_medium", "lora", 120, 12, "reads up to 132 tokens, backbone gpt2_medium has 128 positions"),
        ("llama_3_2_1b", "prompt_tuning", 80, 28, None),
        ("llama_3_2_1b", "prompt_tuning", 81, 28, "up to 109 tokens behind 20 virtual ones of the method, backbone"),
        ("llama_3_2_1b", "cpt", 60, 5, "reads up to 65 tokens behind 64 virtual ones of the method, backbone"),
        ("llama_3_2_1b", "prefix_flat", 100, 28, None),  # its keys have no positions
        ("mbart_large_50", "lora", 128, 128, None),  # encoder and decoder have positions of their own
        ("mbart_large_50", "lora", 12, 129, "reads up to 129 tokens, backbone mbart_large_50 has 128 positions"),
        ("mbart_large_50", "prefix_tuning", 12, 109, "reads up to 109 tokens behind 20 virtual ones of the method"),
        ("nllb_200_600m", "lora", 130, 12, "reads up to 130 tokens, backbone nllb_200_600m has 128 positions"),
        ("mt5_small", "prompt_tuning", 4000, 4000, None),  # relative positions have no end
    ],
)
def test_source_target_and_virtual_tokens_fit_the_positions(name, method, source, target, reason, checkpoint):
    limits = [f"task.max_source_tokens={source}", f"task.max_target_tokens={target}"]
    chosen = [f"method={method}" if word == "method=lora" else word for word in words(name, checkpoint(name))]
    chosen = [word for word in chosen if not word.startswith("task.max")]
    said = cell_of([*chosen, *limits, *["method.rank=4"] * (method == "lora")]).conflict()
    assert said is None if reason is None else reason in said
    assert reason is None or "task.max_source_tokens" in said


@pytest.mark.parametrize("name", CODES)
def test_an_answer_is_forced_to_begin_with_its_language(name, checkpoint):
    made, model, processor = loaded(name, checkpoint(name))
    _, written = spoken(made, model, processor)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint(name))
    assert {tuple(tokenizer.convert_ids_to_tokens(row[:2])) for row in written} == {("</s>", CODES[name][1])}


@pytest.mark.parametrize("name", LEARNT)
def test_training_reads_a_written_answer_as_the_network_wrote_it(name, checkpoint):
    """Greedy ids, given back as labels, are the likeliest at every position."""
    made, model, processor = loaded(name, checkpoint(name))
    _, written = spoken(made, model, processor)
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
    made, model, processor = loaded(name, checkpoint(name))
    together, _ = spoken(made, model, processor)
    assert together == [spoken(made, model, processor, [source])[0][0] for source in SOURCES]
    assert len(set(together)) > 1


@pytest.mark.parametrize("name", CODES)
def test_a_language_that_the_checkpoint_does_not_know_is_refused_by_key(name, checkpoint, tmp_path, capfd):
    base = [*words(name, checkpoint(name)), "device=cpu", f"results={tmp_path / 'results'}"]
    for more, wanted in (
        ("task.target_language=tlh", ["backbone.codes", "'tlh'", "sw"]),
        ("task.source_language=tlh", ["backbone.codes", "'tlh'"]),
        ("backbone.codes.sw=qq_QQ", ["backbone.codes.sw", "'qq_QQ'", "tokenizer"]),
    ):
        assert run.main([*base, more]) == 2
        line = capfd.readouterr().err
        assert line.count("\n") == 1
        assert all(word in line for word in wanted), line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", LEARNT)
def test_the_budget_sets_every_dropout_and_no_layer_is_dropped(name, checkpoint):
    _, model, _ = loaded(name, checkpoint(name), "budget.dropout=0.25")
    rates: dict[str, set[float]] = {"dropout": set(), "layerdrop": set()}
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            rates["dropout"].add(module.p)
        for key, value in vars(module).items():
            if isinstance(value, (int, float)) and "drop" in key:
                rates["layerdrop" if "layerdrop" in key else "dropout"].add(float(value))
    assert rates["dropout"] == {0.25}
    assert rates["layerdrop"] <= {0.0}
    _, model, processor = loaded(name, checkpoint(name), "budget.dropout=0.0")
    ids = torch.tensor([processor.tokenizer("one two")["input_ids"]])
    model.train()
    assert torch.equal(*(model(input_ids=ids, labels=ids).logits for _ in range(2)))


@pytest.mark.parametrize("name", ["llama_3_2_1b", "mbart_large_50"])
def test_pretrained_weights_are_the_files_in_full_precision_and_random_ones_are_the_seeds(name, checkpoint):
    def state(seed: int, *more: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return loaded(name, checkpoint(name), *more)[1].state_dict()

    pretrained, file = state(0), load_file(checkpoint(name) / "model.safetensors")
    assert {tensor.dtype for tensor in file.values()} == {torch.float16}
    for key, tensor in file.items():
        assert pretrained[key].dtype == torch.float32
        assert torch.equal(pretrained[key], tensor.float())
    first, same, other = (state(seed, "backbone.weights=random") for seed in (1, 1, 2))
    matrices = [key for key, tensor in first.items() if tensor.dim() == 2 and "proj" in key]
    assert matrices
    for key in matrices:
        assert torch.equal(first[key], same[key])
        assert not torch.equal(first[key], other[key])
        assert not torch.equal(first[key], pretrained[key])


def test_weights_that_run_code_when_loaded_are_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama_3_2_1b"), tmp_path / "pickled")
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"safetensors") as refusal:
        loaded("llama_3_2_1b", folder)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", LEARNT)
def test_a_folder_without_a_tokenizer_is_refused(name, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint(name), tmp_path / "mute")
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(InputError, match="tokenizer") as refusal:
        loaded(name, folder)
    assert "\n" not in str(refusal.value)


def test_a_tokenizer_without_an_end_token_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama_3_2_1b"), tmp_path / "endless")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "eos_token"}))
    with pytest.raises(InputError, match="no end token"):
        loaded("llama_3_2_1b", folder)


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
    assert spoken(*loaded(name, folder))[0] == spoken(*loaded(name, checkpoint(name)))[0]

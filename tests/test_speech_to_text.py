"""The whole Whisper: its prompt, loss and decoding against the library's own, and what is refused."""

import math
import shutil

import jiwer
import numpy as np
import pytest
import soundfile
import torch
import transformers
from checkpoints import SPOKEN, save_whisper
from factories import run_cell, write_metadata
from networks import attach

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.capabilities.networks import TOKENS, batch
from benchmark.config.compose import cell_of, choices_of
from benchmark.errors import InputError
from benchmark.records import Record
from benchmark.saved import CELL, load
from benchmark.types import IGNORED, Bad, Example, Head, Kind
from tasks.sound import Wave, clip

SETTINGS = {"suppress_tokens": [79, 52], "begin_suppress_tokens": [54]}  # what this random network likes to write
TEXTS = ["seven", "one two three <|en|> four", "six one"]


def words(folder, *more, language="sw", method="lora"):
    return [
        "task=speech_recognition", f"method={method}", "backbone=speech_to_text", f"backbone.checkpoint={folder}",
        f"task.language={language}", "task.max_target_tokens=14", "budget=smoke", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoints of several languages, and of English alone."""
    made = tmp_path_factory.mktemp("whisper")
    return {several: save_whisper(made / str(several), several, **SETTINGS) for several in (True, False)}


@pytest.fixture(scope="module", params=[True, False], ids=["multilingual", "english"])
def loaded(request, folders):
    """Task, network, processor, encoded clips, and the library's own network."""
    folder = folders[request.param]
    cell = cell_of(words(folder, language="sw" if request.param else "null"))
    assert cell.conflict() is None
    model, processor = cell.load(Head(cell.kind))
    library = transformers.WhisperForConditionalGeneration.from_pretrained(folder)
    features = [cell.task.encode(e, processor, {}) for e in clips()]
    return cell.task, model.eval(), processor, features, library.eval()


def clips():
    rng = np.random.default_rng(0)
    waves = [Wave(rng.uniform(-0.5, 0.5, n).astype(np.float32), 16_000) for n in (9000, 15_000, 4000)]
    return [Example(str(n), clip(w), (t,)) for n, (w, t) in enumerate(zip(waves, TEXTS, strict=True))]


def prompt_of(loaded):
    task, _, processor, _, _ = loaded
    return processor.tokenizer.convert_ids_to_tokens(processor.prompt(task.language))


def test_the_prompt_names_language_and_task_only_where_there_are_several(loaded):
    named = ["<|sw|>", "<|transcribe|>"] if loaded[0].language else []
    assert prompt_of(loaded) == ["<|startoftranscript|>", *named, "<|notimestamps|>"]
    rows = loaded[0].collate(loaded[3], loaded[2])["decoder_input_ids"]
    assert loaded[2].tokenizer.convert_ids_to_tokens(rows[1])[: len(named) + 2] == prompt_of(loaded)


def test_the_loss_is_the_librarys_with_the_prompt_ignored(loaded):
    """The library shifts labels itself, so that it is given the prompt as labels, and then no loss of it."""
    task, model, processor, features, library = loaded
    batch = task.collate(features, processor)
    prompt = processor.prompt(task.language)
    totals, count = [], 0
    for number, f in enumerate(features):
        labels = torch.tensor([[*prompt[1:], *f["target"]]])
        with torch.no_grad():
            whole = library(input_features=batch["input_features"][number : number + 1], labels=labels)
        of_text = torch.nn.functional.cross_entropy(
            whole.logits[0, len(prompt) - 1 :], labels[0, len(prompt) - 1 :], reduction="sum"
        )
        totals.append(of_text.item())
        count += len(f["target"])
    assert task.items(batch) == count == int((batch["labels"] != IGNORED).sum())
    with torch.no_grad():
        assert model(**batch).loss.item() == pytest.approx(sum(totals) / count, rel=1e-5)
        answers = task.predict(model, features, processor)
    assert [a["nll"] for a in answers] == pytest.approx(totals, rel=1e-5)
    assert [a["characters"] for a in answers] == [5, 25, 7]
    assert task.score(answers, [(t,) for t in TEXTS])["nats_per_character"] == pytest.approx(sum(totals) / 37, rel=1e-5)


def test_answers_are_those_of_the_librarys_own_decoding(loaded):
    task, model, processor, features, library = loaded
    heard = processor([f["samples"] for f in features])["input_features"]
    options = {"language": task.language, "task": "transcribe"} if task.language else {}
    ids = library.generate(heard, **options, max_new_tokens=14, do_sample=False, num_beams=1)
    said = [" ".join(t.split()) for t in processor.tokenizer.batch_decode(ids, skip_special_tokens=True)]
    with torch.no_grad():
        answers = task.predict(model, features, processor)
    assert [a["prediction"] for a in answers] == said
    assert len(set(said)) == 3
    assert not set(ids.flatten().tolist()) & {79, 52}
    assert 54 not in ids[:, 0]
    assert model.generation_config.suppress_tokens == [79, 52]


def test_a_clip_is_answered_alike_alone_and_beside_longer_ones(loaded):
    task, model, processor, features, _ = loaded
    with torch.no_grad():
        together = task.predict(model, features, processor)
        alone = [task.predict(model, [f], processor)[0] for f in features]
    silence = [{**f, "samples": np.pad(f["samples"], (0, 1000))} for f in features]  # as the extractor pads
    with torch.no_grad():
        padded = task.predict(model, silence, processor)
    for others in (alone, padded):
        assert [o["prediction"] for o in others] == [t["prediction"] for t in together]
        assert [o["nll"] for o in others] == pytest.approx([t["nll"] for t in together], rel=1e-5)


def test_control_tokens_in_a_transcript_are_text(loaded):
    processor = loaded[2]
    ids = processor.target("go <|en|> now<|endoftext|>")
    assert not set(ids) & set(processor.tokenizer.all_special_ids)
    assert processor.text(ids) == " go <|en|> now<|endoftext|>"


def test_cuts_and_transcripts_that_are_never_written_are_counted(loaded):
    task, _, processor, _, _ = loaded
    never = processor.tokenizer.decode([79])
    source, counts = clips()[0].source, {}
    texts = ("one " * 30, f"a{never}", "b")
    features = [task.encode(Example("", source, (text,)), processor, counts) for text in texts]
    assert {n: c for n, c in counts.items() if "resampled" not in n} == {
        "truncated_targets": 1,
        "answers_with_suppressed_tokens": 1,
    }
    assert len(features[0]["target"]) == 14
    assert features[0]["characters"] == len("one " * 13) - 1  # thirteen words and the end token


def test_scores_are_those_of_jiwer(loaded):
    answers = [{"prediction": p, "nll": 1.0, "characters": 4} for p in ("one too three", "six")]
    scores = loaded[0].score(answers, [("one two three",), ("six one",)])
    assert scores["wer"] == jiwer.wer(["one two three", "six one"], ["one too three", "six"]) == 2 / 5
    assert scores["cer"] == pytest.approx((1 + 4) / 20)
    assert scores["character_accuracy"] == pytest.approx(1 - 5 / 20)


@pytest.mark.parametrize(
    ("several", "language", "reason"),
    [
        (True, "null", "a prompt of this checkpoint names the language of the clips, such as task.language=en"),
        (True, "ens", "no language of this checkpoint; did you mean en? (known: de, en, sw)"),
        (True, "german", "did you mean de"),
        (True, "fr", f"no language of this checkpoint (known: {', '.join(SPOKEN)})"),
        (False, "en", "this checkpoint knows English alone, its prompts name no language"),
    ],
)
def test_a_language_that_the_checkpoint_does_not_know_is_refused_before_loading(several, language, reason, folders):
    refusal = cell_of(words(folders[several], language=language)).conflict()
    assert refusal.startswith(f"task.language={language} on backbone speech_to_text: ")
    assert reason in refusal


def test_an_encoder_reads_no_language():
    refusal = cell_of(["task=speech_recognition", "method=lora", "task.language=en"]).conflict()
    assert refusal == "task.language=en on backbone wav2vec2_words: an encoder with a new head reads no language"


def test_prompt_and_answer_fit_the_positions(folders):
    assert cell_of(words(folders[True], "task.max_target_tokens=36")).conflict() is None
    refusal = cell_of(words(folders[True], "task.max_target_tokens=37")).conflict()
    assert "reads up to 41 tokens, backbone speech_to_text has 40 positions" in refusal
    assert refusal.endswith("lower task.max_target_tokens")


@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning", "p_tuning"])
def test_virtual_tokens_before_sound_are_refused(method, folders):
    assert "whisper is none here" in cell_of(words(folders[True], method=method)).conflict()


def test_a_checkpoint_without_its_parts_is_refused_by_name(folders, tmp_path):
    for file, what in (("tokenizer.json", "tokenizer"), ("preprocessor_config.json", "feature extractor")):
        shutil.copytree(folders[True], tmp_path / file)
        (tmp_path / file / file).unlink()
        with pytest.raises(InputError, match=f"no {what} in"):
            cell_of(words(tmp_path / file)).conflict()


def test_roles_are_those_of_every_linear_layer_of_both_stacks(loaded):
    modules = dict(loaded[1].named_modules())
    linear = [n for n, m in modules.items() if isinstance(m, torch.nn.Linear) and n != "proj_out"]
    assert roles.resolve(modules, "whisper", ["default"]) == linear
    assert roles.resolve(modules, "whisper", ["head"]) == ["proj_out"]
    assert roles.resolve(modules, "whisper", ["embedding"]) == ["model.decoder.embed_tokens"]
    assert sum("encoder_attn" in n for n in roles.resolve(modules, "whisper", ["query"])) == 2
    assert blocks_of(loaded[1], "whisper") == [f"model.{s}.layers.{i}" for s in ("encoder", "decoder") for i in (0, 1)]


@pytest.mark.parametrize("method", ["lora", "houlsby_inv", "lst", "loreft", "prefix_mlp"])
def test_an_adapted_network_writes_its_likeliest_next_token(method):
    _, model = attach(method, "whisper text", 0.3)
    inputs = {name: tensor for name, tensor in batch("whisper text", size=2).items() if name != "labels"}
    ids = inputs["decoder_input_ids"] = inputs["decoder_input_ids"][:, :4]
    with torch.no_grad():
        written = model.eval().generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)
        for _ in range(6):
            logits = model(**inputs | {"decoder_input_ids": ids}).logits[:, -1]
            logits[:, TOKENS["eos_token_id"]] = -math.inf
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], 1)
    assert written.tolist() == ids.tolist()


def record_noise(folder):
    """Record clips of noise of several lengths, each with words; return the overrides of their data."""
    rng, rows = np.random.default_rng(0), []
    for number, part in enumerate(["train"] * 12 + ["valid"] * 4 + ["test"] * 5):
        samples = 0.3 * rng.standard_normal((3000, 5000, 9000)[number % 3]).clip(-3, 3)
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
        rows.append(f"{number}.wav,{TEXTS[number % 2 * 2]},,{part}")
    write_metadata(folder, rows, header="file_name,text,speaker,part")
    named = [f"+data.splits_of.{split}=[{split}]" for split in ("train", "valid", "test")]
    columns = ["data.columns.target=text", "data.columns.split=part"]
    return ["data=audio_folder", f"data.folder={folder}", *columns, *named]


def test_a_saved_adapter_answers_alike(folders, tmp_path):
    data = record_noise(tmp_path)
    more = ["method.lr=0.01", "backbone.lr_scale=1.0", "budget.steps=8", "budget.evaluations=1"]
    cell = cell_of(words(folders[True], *data, *more))
    (tmp_path / "kept").mkdir()
    result = run_cell(cell, save=tmp_path / "kept")
    record = Record(
        run_id="0", seed=0, config=choices_of(cell), task="speech_recognition", method="lora",
        backbone="speech_to_text", status="done", data=result.data,
    )  # fmt: skip
    (tmp_path / "kept" / CELL).write_text(record.to_json())
    rows = [row for row in result.examples if row["split"] == "test"]
    adapted = load(tmp_path / "kept", folders[True])
    examples = [e for e in cell.task.splits()["test"] if not isinstance(e.source, Bad)]
    assert adapted.answer([e.source for e in examples]) == [row["prediction"] for row in rows]
    bare, processor = cell.load(Head(Kind.SEQ2SEQ))
    features = [cell.task.encode(e, processor, {}) for e in examples]
    with torch.no_grad():
        before = cell.task.predict(bare.eval(), features, processor)
        after = cell.task.predict(adapted.model, features, processor)
    assert [a["nll"] for a in after] == pytest.approx([row["nll"] for row in rows], rel=1e-4)
    assert sum(a["nll"] for a in after) < sum(b["nll"] for b in before) - 1  # it has learnt something
    (scored,) = [m.value for m in result.measurements if (m.split, m.name) == ("test", "nats_per_character")]
    assert math.isclose(scored, sum(r["nll"] for r in rows) / sum(r["characters"] for r in rows), rel_tol=1e-6)

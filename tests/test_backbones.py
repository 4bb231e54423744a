"""Checkpoints of the hub: how they are loaded and what is refused."""

import gzip
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import CODES, LEARNT, hub_overrides, load_hub
from safetensors.torch import load_file
from torch import nn

from benchmark import run
from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from tasks.toy import Toy


def test_every_configuration_of_the_hub_is_tried_here():
    folder = Path(__file__).resolve().parents[1] / "configs" / "backbone"
    texts = {file.stem: file.read_text() for file in folder.glob("*.yaml")}
    given = {
        name: re.search(r"^checkpoint: (\S+)", text, re.MULTILINE)[1]
        for name, text in texts.items()
        if "_target_: benchmark.backbones.transformer." in text
    }
    here = ("embedded/", "fetched/")
    assert {name for name, place in given.items() if "/" in place and not place.startswith(here)} == set(LEARNT)


@pytest.mark.parametrize("name", LEARNT)
def test_a_checkpoint_of_the_architecture_trains_lora_and_generates(name, checkpoint, tmp_path):
    folder = checkpoint(name)
    adapter = tmp_path / "adapter"
    status = run.main(
        [
            *hub_overrides(name, folder),
            "method.rank=4",
            "device=cpu",
            f"results={tmp_path / 'results'}",
            f"save={adapter}",
        ]
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
    chosen = [f"method={method}" if word == "method=lora" else word for word in hub_overrides(name, checkpoint(name))]
    chosen = [word for word in chosen if not word.startswith("task.max")]
    said = cell_of([*chosen, *limits, *["method.rank=4"] * (method == "lora")]).conflict()
    assert said is None if reason is None else reason in said
    assert reason is None or "task.max_source_tokens" in said


@pytest.mark.parametrize("name", CODES)
def test_a_language_that_the_checkpoint_does_not_know_is_refused_by_key(name, checkpoint, tmp_path, capfd):
    base = [*hub_overrides(name, checkpoint(name)), "device=cpu", f"results={tmp_path / 'results'}"]
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
    _, model, _ = load_hub(name, checkpoint(name), "budget.dropout=0.25")
    rates = {"dropout": set(), "layerdrop": set()}
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            rates["dropout"].add(module.p)
        for key, value in vars(module).items():
            if isinstance(value, (int, float)) and "drop" in key:
                rates["layerdrop" if "layerdrop" in key else "dropout"].add(float(value))
    assert rates["dropout"] == {0.25}
    assert rates["layerdrop"] <= {0.0}
    _, model, processor = load_hub(name, checkpoint(name), "budget.dropout=0.0")
    ids = torch.tensor([processor.tokenizer("one two")["input_ids"]])
    model.train()
    assert torch.equal(*(model(input_ids=ids, labels=ids).logits for _ in range(2)))


@pytest.mark.parametrize("name", ["llama_3_2_1b", "mbart_large_50"])
def test_pretrained_weights_are_the_files_in_full_precision_and_random_ones_are_the_seeds(name, checkpoint):
    def state(seed, *more):
        torch.manual_seed(seed)
        return load_hub(name, checkpoint(name), *more)[1].state_dict()

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
        load_hub("llama_3_2_1b", folder)
    assert str(folder) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", LEARNT)
def test_a_folder_without_a_tokenizer_is_refused(name, checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint(name), tmp_path / "mute")
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(InputError, match="tokenizer") as refusal:
        load_hub(name, folder)
    assert "\n" not in str(refusal.value)


def test_a_tokenizer_without_an_end_token_is_refused(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama_3_2_1b"), tmp_path / "endless")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "eos_token"}))
    with pytest.raises(InputError, match="no end token"):
        load_hub("llama_3_2_1b", folder)

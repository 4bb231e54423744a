"""The importer: PEFT's result files arrive complete, marked, repeatably."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.importer import __main__ as importer
from benchmark.report.published import quoted

ROOT = Path(__file__).resolve().parents[1]


def result(**changes):
    """Make a result file as huggingface/peft wrote it in July 2026."""
    evaluation = {"valid accuracy": 0.4, "train loss": 0.9, "eval time": 11.8, "tokens / sec": 6377.5}
    content = {
        "run_info": {
            "created_at": "2026-07-15T01:51:04+00:00",
            "total_time": 1260.7,
            "experiment_name": "lora/llama-3.2-3B-rank32",
            "peft_branch": "main",
            "train_config": {
                "model_id": "meta-llama/Llama-3.2-3B",
                "dtype": "bfloat16",
                "max_steps": 500,
                "eval_steps": 250,
                "query_template": "Question: {query} Think step by step.\nAnswer:",
                "seed": 0,
                "optimizer_type": "AdamW",
                "optimizer_kwargs": {"lr": 0.0001, "weight_decay": 0.1},
                "init_kv_cache_prefix": None,
            },
            "peft_config": {"peft_type": "LORA", "r": 32, "target_modules": ["q_proj", "v_proj"], "use_dora": False},
            "error_msg": "",
        },
        "train_info": {
            "accelerator_memory_reserved_avg": 14_000_000_000,
            "accelerator_memory_max": 20_800_000_000,
            "accelerator_memory_reserved_99th": 18_000_000_000,
            "train_time": 942.5,
            "file_size": 36_715_216,
            "num_trainable_params": 9_175_040,
            "num_total_params": 3_221_924_864,
            "status": "success",
            "metrics": [
                {"step": 250, "train time": 33.0, **evaluation},
                {"step": 500, "train time": 32.0, **evaluation},
                {"step": 500, "test accuracy": 0.478, "train loss": 0.6, "forgetting": 0.05},
            ],
        },
        "meta_info": {
            "model_info": {"sha": "13afe51", "created_at": "2024-09-18T15:23:48+00:00"},
            "dataset_info": {"metamath": {"sha": "aa4f34d"}, "gsm8k": {"sha": "740312a"}},
            "package_info": {"peft-version": "0.19.2.dev0", "peft-commit-hash": "d787f51", "torch-version": "2.13.0"},
            "system_info": {"system": "Linux", "accelerator": "NVIDIA L40S"},
            "pytorch_info": "PyTorch built with: ...",
        },
    }
    for key, value in changes.items():
        part, _, name = key.partition("__")
        content[part][name] = value
    return content


def imported(folder, **files):
    """Import files given by name; returns metric -> result of each."""
    results = folder / "results"
    (folder / "given").mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "given" / f"{name}.json").write_text(text)
    importer.main([importer.hf_comparison.STUDY, str(folder / "given"), f"results={results}"])
    target = results / "quoted" / "imported" / "hf-method-comparison"
    return {path.stem: {one.metric: one for one in quoted.read(path)} for path in sorted(target.glob("*.json"))}


def test_a_result_comes_over_whole(tmp_path):
    found = imported(tmp_path, run=result())["run"]
    score, forgetting = found["test accuracy"], found["forgetting"]
    assert (score.value, score.unit, forgetting.value) == (0.478, "fraction", 0.05)
    assert (score.method, score.backbone, score.trainable_params) == ("lora", "meta-llama/Llama-3.2-3B", 9_175_040)
    assert score.costs == {
        "seconds_per_step": 65.0 / 500,  # the steps alone, without what the file calls train_time
        "train_and_test_seconds": 942.5,
        "peak_memory_bytes": 20_800_000_000,
        "checkpoint_bytes": 36_715_216,
        "params": 3_221_924_864,
    }
    assert (score.settings["lr"], score.settings["seed"], score.settings["device"]) == (0.0001, 0, "NVIDIA L40S")
    assert score.settings["packages"] == {"peft": "0.19.2.dev0", "torch": "2.13.0"}
    assert score.settings["experiment"] == "lora/llama-3.2-3B-rank32"
    assert score.settings["train_config"]["max_steps"] == 500
    assert score.settings["created"] == "2026-07-15T01:51:04+00:00"
    assert (score.status, score.provenance, score.comparable) == ("done", "quoted", False)
    for word in ("task", "backbone", "one seed", "learning rate", "evaluation"):
        assert word in score.why


@pytest.mark.parametrize(
    ("config", "optimizer", "method"),
    [
        (None, "AdamW", "full"),
        ({"peft_type": "LORA", "use_dora": True}, "AdamW", "dora"),
        ({"peft_type": "LORA", "use_rslora": True}, "AdamW", "rslora"),
        ({"peft_type": "LORA"}, "lora-fa", "lora_fa"),
        ({"peft_type": "P_TUNING"}, "AdamW", "p_tuning"),
    ],
)
def test_methods_have_our_names(tmp_path, config, optimizer, method):
    content = result(run_info__peft_config=config)
    content["run_info"]["train_config"]["optimizer_type"] = optimizer
    assert imported(tmp_path, run=content)["run"]["test accuracy"].method == method


def test_what_is_no_number_is_absent(tmp_path):
    content = result(train_info__file_size=99999999)  # their word for a size that could not be told
    content["train_info"]["metrics"][-1]["forgetting"] = float("nan")
    content["train_info"]["metrics"][1]["step"] = 10**400
    found = imported(tmp_path, run=content)["run"]
    assert list(found) == ["test accuracy"]
    assert "checkpoint_bytes" not in found["test accuracy"].costs
    assert found["test accuracy"].costs["seconds_per_step"] == 33.0 / 250


def test_files_of_june_2025_have_other_keys(tmp_path):
    content = result(run_info__created_at="2025-06-20T18:02:43+00:00")
    content["train_info"]["cuda_memory_max"] = content["train_info"].pop("accelerator_memory_max")
    content["meta_info"]["system_info"] = {"gpu": "NVIDIA L40S"}
    found = imported(tmp_path, run=content)["run"]
    assert found["test accuracy"].costs["peak_memory_bytes"] == 20_800_000_000
    assert found["test accuracy"].settings["device"] == "NVIDIA L40S"
    assert "correction" in found["forgetting"].why
    assert "correction" not in found["test accuracy"].why


def test_images_come_over_too(tmp_path):
    metrics = [{"step": 750, "test dino_similarity": 0.743, "drift": 0.288, "train loss": 0.68}]
    found = imported(tmp_path, run=result(train_info__metrics=metrics))["run"]
    assert {name: one.value for name, one in found.items()} == {"test dino_similarity": 0.743, "drift": 0.288}
    assert "seconds_per_step" not in found["drift"].costs


def test_a_cancelled_run_is_kept_with_its_reason(tmp_path):
    content = result(train_info__status="canceled", run_info__error_msg="CUDA out of memory")
    content["train_info"]["metrics"] = content["train_info"]["metrics"][:1]
    one = imported(tmp_path, run=content)["run"]["test accuracy"]
    assert (one.status, one.reason, one.value) == ("cancelled", "CUDA out of memory", None)
    assert one.costs["seconds_per_step"] == 33.0 / 250
    failed = result(train_info__status="failed", train_info__metrics=[])
    assert imported(tmp_path, run=failed)["run"]["test accuracy"].reason == "no reason given"


def test_a_second_import_gives_the_same_bytes(tmp_path):
    def written():
        return {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.json")}

    imported(tmp_path, one=result(), two=result(run_info__peft_config=None))
    first = written()
    imported(tmp_path)
    assert len(first) == 2
    assert written() == first


BROKEN = {
    "cut_off": ('{"run_info": {', "cannot be read"),
    "a_list": ("[]", "holds no mapping"),
    "adapter_config": ('{"peft_type": "LORA"}', "no result of method_comparison, it has no run_info"),
    "no_metrics": (result(train_info__metrics=None), "metrics is no list"),
    "no_score": (result(train_info__metrics=[]), "no final metric"),
    "odd_status": (result(train_info__status="maybe"), "status=maybe is none of"),
    "listed_status": (result(train_info__status=["success"]), "status is missing"),
    "no_model": (result(run_info__train_config={}), "model_id is missing"),
    "infinite": (json.dumps(result()).replace('"lr": 0.0001', '"lr": 1e999'), "JSON"),
    "deep": ("[" * 100_000, "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_something_else_is_named_and_the_others_are_read(tmp_path, name, capsys):
    content, reason = BROKEN[name]
    assert list(imported(tmp_path, **{name: content, "sound": result()})) == ["sound"]
    out, err = capsys.readouterr()
    assert f"{name}.json" in err
    assert reason in err
    assert len(err.splitlines()) == 1
    assert "1 imported into" in out
    assert "1 left out" in out


def test_nothing_imported_is_status_1(tmp_path, capsys):
    (tmp_path / "odd.json").write_text("{}")
    assert importer.main(["hf-method-comparison", str(tmp_path), f"results={tmp_path / 'results'}"]) == 1
    assert "0 imported" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "takes a kind, a folder"),
        (["hf-method-comparison"], "takes a kind, a folder"),
        (["hf-method-comparison", "{}", "results="], "takes a kind, a folder"),
        (["hf-method-comparison", "{}", "more"], "takes a kind, a folder"),
        (["v-petl", "{}"], "v-petl: no such kind"),
        (["hf-method-comparison", "{}/absent"], "absent: no such folder"),
        (["hf-method-comparison", "{}"], "holds no JSON file"),
    ],
)
def test_a_call_that_makes_no_sense_is_status_2(tmp_path, words, reason, capsys):
    assert importer.main([word.format(tmp_path) for word in words]) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert len(err.splitlines()) == 1


def test_the_command_needs_no_torch():
    code = (
        "import sys; from benchmark.importer.__main__ import main; main(['--help']); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m benchmark.importer")

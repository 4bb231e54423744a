"""Result files of Hugging Face PEFT's method_comparison, as quoted results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.errors import MalformedError
from benchmark.report import facts

STUDY = "hf-method-comparison"
Content = dict[str, Any]
STATUSES = {"success": "done", "failed": "failed", "canceled": "cancelled"}
NO_SIZE = 99999999  # written by their code for a checkpoint of unknown size
HEADLINES = {  # their final metric -> what it measures, unit
    "test accuracy": ("MetaMathQA, tested on GSM8K", "fraction"),
    "test dino_similarity": ("images of one subject", "cosine"),
}
BESIDE = {"forgetting": "nats per token", "drift": "cosine distance"}
VARIANTS = {"use_dora": "dora", "use_rslora": "rslora"}  # one peft_type, several methods of ours
CORRECTED = "2026-07"  # huggingface/peft#3419


class _ForeignError(ValueError):
    """Content of a file that is not a result; the message says why."""


def quotable(path: Path) -> Content:
    """Turn a result file of Hugging Face PEFT into quoted results.

    Raises MalformedError.
    """
    try:
        return _quotable(path, facts.read(path))
    except _ForeignError as error:
        raise MalformedError(f"{path}: {error}") from None


def _quotable(path: Path, content: Content) -> Content:
    run, train, meta = (_part(content, key) for key in ("run_info", "train_info", "meta_info"))
    configured, metrics = _part(run, "train_config"), _metrics(train)
    shared = {
        "study": STUDY,
        "source": f"huggingface/peft method_comparison, PEFT {_packages(meta).get('peft', 'of unknown version')}",
        "where": f"{path.name}, created {run.get('created_at')}",
        "method": _method(run.get("peft_config"), configured),
        "backbone": _text(configured, "model_id"),
        "trainable_params": _whole(train.get("num_trainable_params")),
        "costs": _costs(train, metrics),
        "settings": _settings(run, meta),
        "provenance": "quoted",
        "comparable": False,
    }
    shared |= _end(run, train)
    rows = list(_rows(metrics, shared))
    if not rows:
        raise _ForeignError(f"holds no final metric ({', '.join(HEADLINES)}) though it ended well")
    return shared | {"rows": rows}


def _part(content: Content, key: str) -> Content:
    part = content.get(key)
    if not isinstance(part, dict):
        raise _ForeignError(f"no result of method_comparison, it has no {key}")
    return part


def _mapping(content: Content, key: str) -> Content:
    """Return an optional mapping."""
    return content[key] if isinstance(content.get(key), dict) else {}


def _text(content: Content, key: str) -> str:
    if not isinstance(content.get(key), str):
        raise _ForeignError(f"{key} is missing")
    return content[key]


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and _number(value) is not None and value >= 0 else None


def _metrics(train: Content) -> list[Content]:
    metrics = train.get("metrics")
    if not isinstance(metrics, list) or not all(isinstance(entry, dict) for entry in metrics):
        raise _ForeignError("metrics is no list of mappings")
    return metrics


def _packages(meta: Content) -> dict[str, str]:
    info = _mapping(meta, "package_info")
    return {key.removesuffix("-version"): info[key] for key in info if key.endswith("-version") and info[key]}


def _method(peft: Any, configured: Content) -> str:
    """Give the registry's name of the method, or their name."""
    if not isinstance(peft, dict):
        return "full"
    variants = [name for key, name in VARIANTS.items() if peft.get(key)]
    if configured.get("optimizer_type") == "lora-fa":
        variants.append("lora_fa")
    return variants[0] if variants else _text(peft, "peft_type").lower()


def _costs(train: Content, metrics: list[Content]) -> dict[str, float]:
    timed = [m for m in metrics if _number(m.get("train time")) is not None and _whole(m.get("step"))]
    spent = sum(m["train time"] for m in timed)
    size = train.get("file_size")
    values = {
        "seconds_per_step": spent / max(m["step"] for m in timed) if timed else None,
        # June 2025: cuda_memory_max
        "peak_memory_bytes": train.get("accelerator_memory_max", train.get("cuda_memory_max")),
        "checkpoint_bytes": None if size == NO_SIZE else size,
        "params": train.get("num_total_params"),
        "train_and_test_seconds": train.get("train_time"),
    }
    return {name: value for name, value in values.items() if _number(value) is not None and value >= 0}


def _settings(run: Content, meta: Content) -> Content:
    configured, system = run["train_config"], _mapping(meta, "system_info")
    return {
        "experiment": _text(run, "experiment_name"),
        "lr": _mapping(configured, "optimizer_kwargs").get("lr"),
        "seed": configured.get("seed"),
        "created": run.get("created_at"),
        "branch": run.get("peft_branch"),
        "device": system.get("accelerator", system.get("gpu")),
        "packages": _packages(meta),
        "train_config": configured,
        "peft_config": run.get("peft_config"),
    }


def _end(run: Content, train: Content) -> Content:
    status = _text(train, "status")
    if status not in STATUSES:
        raise _ForeignError(f"status={status} is none of {', '.join(STATUSES)}")
    ended = {"status": STATUSES[status]}
    return ended if status == "success" else ended | {"reason": str(run.get("error_msg") or "no reason given")}


def _rows(metrics: list[Content], shared: Content) -> Iterator[Content]:
    final = {key: value for entry in metrics for key, value in entry.items() if _number(value) is not None}
    for name, (task, unit) in HEADLINES.items():
        if name in final:
            named = {"task": task, "why": _why(shared, "")}
            yield named | {"metric": name, "value": final[name], "unit": unit}
            for metric in BESIDE:
                if metric in final:
                    why = _why(shared, metric)
                    yield named | {"metric": metric, "value": final[metric], "unit": BESIDE[metric], "why": why}
            return
    if shared["status"] != "done":
        valid = {f"test {key[6:]}" for entry in metrics for key in entry if key.startswith("valid ")}
        name = next((name for name in HEADLINES if name in valid), "test accuracy")
        yield {"task": HEADLINES[name][0], "metric": name, "why": _why(shared, "")}


def _why(shared: Content, metric: str) -> str:
    parts = [
        "another task and backbone",
        f"one seed ({shared['settings']['seed']})",
        "a learning rate that was not searched for in one way for all methods",
        "seconds_per_step a mean, ours a median",
        "train_and_test_seconds with evaluation in it",
    ]
    if "checkpoint_bytes" in shared["costs"] and shared["method"] == "full":
        parts.append("checkpoint_bytes an estimate")
    if metric == "forgetting" and str(shared["settings"]["created"]) < CORRECTED:
        parts.append("forgetting as it was measured before its correction in July 2026")
    return f"Not comparable: {', '.join(parts)}."

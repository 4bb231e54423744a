"""Records, cells and small data files that several tests make."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.config.compose import cell_of
from benchmark.engine import data, runner
from benchmark.engine.context import Run
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from tasks.nmt import Translation
from tasks.text_generation import TextGeneration
from tasks.toy import Toy


def run_cell(cell, **context):
    """Run on the CPU without recording it; return what came of it."""
    run = Run(cell, **context)
    runner.measure(run, data.read(cell, run.result, run.reuse))
    return run.result


# Images


def write_image_archive(file):
    """Write an npz like MedMNIST's: class 0 bright on the left, class 1 on the right."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, number in (("train", 32), ("val", 8), ("test", 12)):
        labels = np.arange(number) % 2
        images = rng.integers(0, 60, (number, 12, 12), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 6 * label : 6 * label + 6] += 150
        arrays |= {f"{split}_images": images, f"{split}_labels": labels[:, None].astype(np.uint8)}
    np.savez(file, **arrays)
    return file


def png(file, value=100, size=(10, 10), mode="L"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(file)
    return file


def image_task(*overrides):
    chosen = ["task=medical_images", "method=head", "task.size=8", "backbone.weights=random"]
    return cell_of([*chosen, *overrides]).task


def write_files(folder, **files):
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def write_metadata(folder, rows, header="file_name,label,speaker,part"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.csv").write_text("\n".join([header, *rows]) + "\n")


COMMON = {"description": "", "version": 1, "data": Toy(description="", train=64, test=16), "metrics": []}


LIMITS = {"max_source_tokens": 24, "max_target_tokens": 12, "allow_metric_code": False}


def generation_task(**changes):
    return TextGeneration(**{"template": "{source}\n", "order": None, **COMMON, **LIMITS, **changes})


def translation_task(**changes):
    languages = {"source_language": "en", "target_language": "si", "bleu_tokenizer": "13a", "across_processors": None}
    return Translation(**{"template": "{source}", **COMMON, **LIMITS, **languages, **changes})


def answers_of(texts):
    return [{"prediction": text, "nll": 8.0, "tokens": 4, "bytes": 16} for text in texts]


def write_pairs(path, rows):
    path.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in rows))
    return path


def stored_records(folder):
    return {r.run_id: r for r in Store(Path(folder) / "runs").records()}


def json_records(folder: Path) -> list[dict]:
    """Read every current record as plain JSON, in the order they were made."""
    found = [p for p in folder.glob("runs/*/*/*.json") if re.fullmatch(r"[0-9a-f]{12}\.json", p.name)]
    return [json.loads(p.read_text()) for p in sorted(found, key=lambda p: p.stat().st_mtime_ns)]


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def final_value(record: dict, split: str, name: str) -> float:
    (found,) = [m["value"] for m in record["measurements"] if (m["split"], m["name"], m["step"]) == (split, name, None)]
    return found


MT_CHOICES = {"task": {"_target_": "tasks.nmt.Nmt", "locale": "si"}, "method": {"rank": 8, "lr": 0.01}, "seed": 1}


MT_ROWS = [{"id": "a", "prediction": "ව", "target": ["වම"]}, {"id": "b", "prediction": "", "target": ["x", "y"]}]


def mt_record(device: str = "cpu", status: str = "done", bleu: float = 41.25, **changes: object) -> Record:
    values = {
        "run_id": run_id(MT_CHOICES),
        "task": "nmt",
        "method": "lora",
        "backbone": "mbart_cldr",
        "seed": 1,
        "status": status,
        "created": "2025-01-02T03:04:05+00:00",
        "config": MT_CHOICES,
        "data": {"fingerprint": "ab12", "metric": "bleu", "sizes": {"train": 10}},
        "modules": ["decoder.q", "decoder.v"],
        "signatures": {"bleu": "nrefs:1|case:mixed"},
        "environment": {"device": device, "commit": None},
        "measurements": (
            Measurement("valid", "loss", 1 / 3, 10),
            Measurement("valid", "loss", 0.1),
            Measurement("test", "bleu", bleu),
        ),
    }
    return Record(**values | changes)

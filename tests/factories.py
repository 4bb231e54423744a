"""Records, cells and small data files that several tests make."""

import json
import re
import signal
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from benchmark.config.build import build
from benchmark.config.compose import cell_of
from benchmark.config.registry import CONFIGS
from benchmark.engine import data, runner
from benchmark.engine.checkpoint import Pause
from benchmark.engine.context import Run
from benchmark.errors import InputError
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from benchmark.report import __main__ as report
from benchmark.report.statistics.bootstrap import counts
from benchmark.report.statistics.estimates import Sample
from benchmark.types import Input
from tasks import tables
from tasks.answers.transcription import Transcription
from tasks.answers.weights import Weighted
from tasks.nmt import Translation
from tasks.text_generation import TextGeneration
from tasks.toy import Toy

UNWEIGHTED = {"class_weights": None, "focal": None}  # the loss of a task with classes


def corpus_of(name, **changes):
    """Build the corpus that a shipped network was pretrained on."""
    recipe = OmegaConf.to_container(OmegaConf.load(CONFIGS / "pretrain" / f"{name}.yaml"))
    return build(recipe["corpus"] | changes, "corpus")


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


def refused_table(path, content):
    """Write a file that is no table; return the sentence that refuses it."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as refusal:
        tables.rows(str(path))
    return str(refusal.value)


def write_metadata(folder, rows, header="file_name,label,speaker,part"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.csv").write_text("\n".join([header, *rows]) + "\n")


COMMON = {"description": "", "version": 1, "data": Toy(description="", train=64, test=16), "metrics": []}
LIMITS = {"max_source_tokens": 24, "max_target_tokens": 12, "allow_metric_code": False}


def generation_task(**changes):
    return TextGeneration(**{"template": "{source}\n", "order": None, "extract": None, **COMMON, **LIMITS, **changes})


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


def json_records(folder):
    """Read every current record as plain JSON, in the order they were made."""
    found = [p for p in folder.glob("runs/*/*/*.json") if re.fullmatch(r"[0-9a-f]{12}\.json", p.name)]
    return [json.loads(p.read_text()) for p in sorted(found, key=lambda p: p.stat().st_mtime_ns)]


def read_files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def final_value(record, split, name):
    (found,) = [m["value"] for m in record["measurements"] if (m["split"], m["name"], m["step"]) == (split, name, None)]
    return found


MT_CHOICES = {"task": {"_target_": "tasks.nmt.Nmt", "locale": "si"}, "method": {"rank": 8, "lr": 0.01}, "seed": 1}
MT_ROWS = [{"id": "a", "prediction": "ව", "target": ["වම"]}, {"id": "b", "prediction": "", "target": ["x", "y"]}]


def make_record(choices, *measurements, **changes):
    """Make a finished record of a configuration."""
    values = {
        "run_id": run_id(choices),
        "task": "nmt",
        "method": "lora",
        "backbone": "tiny_mt",
        "seed": choices.get("seed", 0),
        "status": "done",
        "config": choices,
        "environment": {"device": "cpu", "device_name": "chip"},
        "measurements": measurements,
    }
    return Record(**values | changes)


def mt_record(device="cpu", status="done", bleu=41.25, **changes):
    values = {
        "backbone": "mbart_cldr",
        "status": status,
        "created": "2025-01-02T03:04:05+00:00",
        "data": {"fingerprint": "ab12", "metric": "bleu", "sizes": {"train": 10}},
        "modules": ["decoder.q", "decoder.v"],
        "signatures": {"bleu": "nrefs:1|case:mixed"},
        "environment": {"device": device, "commit": None},
    }
    curve = Measurement("valid", "loss", 1 / 3, 10), Measurement("valid", "loss", 0.1)
    return make_record(MT_CHOICES, *curve, Measurement("test", "bleu", bleu), **values | changes)


def run_record(method="lora", seed=0, bleu=30.0, trained=50_000, **changes):
    config = {
        "task": {"locale": "si"},
        "method": {"description": f"seed {seed}", "rank": changes.pop("rank", 8)},
        "backbone": {"weights": changes.pop("weights", "pretrained")},
        "seed": seed,
    }
    measured = (
        Measurement("valid", "loss", 5.0, 10),
        Measurement("test", "bleu", bleu),
        Measurement("test", "perplexity", 4.0),
        Measurement("test/names", "bleu", bleu / 2),
        Measurement("cost", "seconds_per_step", 0.1234567891 + seed),
        Measurement("cost", "peak_memory_bytes", 2e8),
        Measurement("cost", "params", 5_812_345),
        Measurement("cost", "trainable_params", trained),
        Measurement("cost", "checkpoint_bytes", 200_001),
    )
    values = {"run_id": run_id(config | {"name": method}), "data": {"fingerprint": "f1", "metric": "bleu"}}
    values["environment"] = {"device": "cpu", "device_name": "chip", "commit": "c0ffee"}
    return make_record(config, *measured, **values | {"method": method} | changes)


def lost_record(status, reason, **changes):
    return run_record(status=status, reason=reason, data={}, measurements=(), **changes)


def publish_records(results, *records):
    for one in records:
        Store(results / "published/reference").append(one, None)
    return results


def table_rows(results, task="nmt"):
    """Read the Markdown table as its readers do: method -> cells of its rows."""
    assert report.main([f"results={results}"]) == 0
    lines = (results / "tables" / f"{task}.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")][2:]
    return {name: [row for row in cells if row[2] == name] for name in (row[2] for row in cells)}


def answered_record(method, seed, right, first=0):
    """Make a run with so many of a hundred answers right, from one on."""
    rows = [
        {"split": "test", "id": str(i), "target": ["yes"], "prediction": "yes" if first <= i < first + right else "no"}
        for i in range(100)
    ]
    measured = [Measurement("test", "accuracy", right / 100), Measurement("cost", "trainable_params", 5)]
    data = {"fingerprint": "f1", "metric": "accuracy", "sample": "s1"}
    return run_record(method, seed, data=data, measurements=tuple(measured)), rows


def untrained_record(one):
    return replace(one, measurements=(*one.measurements, Measurement("valid", "selected_step", 0.0)))


DRAWN_EXAMPLES = 100


@cache
def draw_counts(examples):
    """Draw test sets of this many examples once, since it takes long."""
    return counts([str(i) for i in range(examples)], 300)


def draw_world(rng, seeds, seed_spread, item_spread, noise, effect=0.0, items=None):
    """Draw a value per seed and example: shared items, seeds, and chance."""
    items = rng.normal(0, item_spread, DRAWN_EXAMPLES) if items is None else items
    levels = 0.5 + effect + rng.normal(0, seed_spread, seeds)
    return {s: levels[s] + items + rng.normal(0, noise, DRAWN_EXAMPLES) for s in range(seeds)}


def draw_sample(values):
    return Sample(
        {s: float(v.mean()) for s, v in values.items()},
        {s: draw_counts(DRAWN_EXAMPLES) @ v / DRAWN_EXAMPLES for s, v in values.items()},
        "same",
        DRAWN_EXAMPLES,
    )


RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


class StubTask(SimpleNamespace):
    """A task of which only the data counts."""

    def splits(self):
        return self.data


def stub_task(data, answer=Transcription, reads=Input.TEXT):
    kind = answer(**UNWEIGHTED) if issubclass(answer, Weighted) else answer()
    borrowed = {name: getattr(kind, name) for name in ("kinds", "stratum", "score")}
    return StubTask(data=data, reads=reads, nothing=lambda: {"probabilities": {}}, **borrowed)


def random_sequences(seed, number, length=40):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(RESIDUES), length)) for _ in range(number)]


class AfterChecks(Pause):
    """Asks for a pause at the n-th moment at which one is possible."""

    def __init__(self, folder, moment):
        super().__init__(folder)
        self.left = moment

    def check(self, group):
        self.left -= 1
        if not self.left:
            self.asked = signal.SIGTERM, None
        super().check(group)

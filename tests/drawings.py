"""Records of which every figure has something, and what is drawn of them."""

import os
from dataclasses import replace
from pathlib import Path

from factories import make_record, publish_records

from benchmark.identity import run_id
from benchmark.records import Measurement
from benchmark.report.figures import known
from benchmark.report.figures.drawing import press
from benchmark.report.material import material

CAPABILITIES = (
    "method,network,status,kinds,merges,dead,reason\nlora,llama,runs,causal_lm,yes,,\nlora,gpt2,refused,,,,no\n"
)


def figure_record(method="lora", score=0.5, **told):
    """Make a record; told: what else it is, by short names."""
    given = {
        "task": "protein", "seed": 0, "budget": "b", "phase": None, "trial": None, "lr": 1e-3, "fraction": None,
        "backbone": "tiny", "weights": "pretrained", "trained": 1000.0, "step": 0.1, "memory": 2e8, "train": 500,
        "shifted": score / 2, "retention": 0.2, "environment": {}, "status": "done",
    }  # fmt: skip
    assert not told.keys() - given.keys()
    given |= told
    config = {
        "task": {"name": given["task"]}, "method": {"name": method, "lr": given["lr"]},
        "backbone": {"name": given["backbone"], "weights": given["weights"]}, "budget": {"name": given["budget"]},
        "seed": given["seed"], "phase": given["phase"], "trial": given["trial"], "fraction": given["fraction"],
    }  # fmt: skip
    curve = [Measurement("train", "loss", 4 / (n + 1), n) for n in range(1, 41)]
    curve += [Measurement("valid", "loss", 3 / n, 10 * n) for n in range(1, 5)]
    split = "valid" if given["phase"] else "test"
    measured = [*curve, Measurement(split, "spearman", score), Measurement("test/fold", "spearman", given["shifted"])]
    measured.append(Measurement("pretraining", "retention", given["retention"]))
    costs = {"seconds_per_step": "step", "peak_memory_bytes": "memory", "trainable_params": "trained"}
    measured += [Measurement("cost", name, given[short]) for name, short in costs.items()]
    done = given["status"] == "done"
    return make_record(
        config, *(measured if done else ()), task=given["task"], method=method, backbone=given["backbone"],
        status=given["status"], reason=None if done else "why", environment={"device": "cpu", **given["environment"]},
        data={"fingerprint": "f", "metric": "spearman", "sizes": {"train": given["train"]}},
    )  # fmt: skip


def material_of(*records, results=Path(os.devnull, "nowhere")):
    return material([("reference", record) for record in records], results)


def figure_records():
    """Make records that every figure has something of."""
    finals = [
        figure_record(
            method, 0.3 + 0.1 * i, task=task, seed=seed, trained=0.0 if method == "frozen" else 10.0 ** (i + 2)
        )
        for task in ("protein", "speech")
        for i, method in enumerate(("frozen", "lora", "ia3", "full"))
        for seed in (0, 1)
    ]
    tuning = [
        figure_record(m, 0.1 * t + 0.2, phase="tune", trial=t or None, lr=10.0 ** (t - 4))
        for m in ("lora", "ia3")
        for t in range(4)
    ]
    sizes = [
        figure_record(m, 0.2 * f + 0.1 * (m == "lora") * (f < 0.5), task="nmt", fraction=f, train=int(1000 * f))
        for m in ("lora", "full")
        for f in (0.1, 0.3, 1.0)
    ]
    return [*finals, *tuning, *sizes]


def publish_all(found):
    return len(press.publish(press.every(found), found.results))


def pictures_of(found, figure):
    return list(press.pictures(figure, known()[figure], found))


def trial_record(method, settings, score, trial, **told):
    """Make a tuning trial that drew other settings beside its learning rate."""
    one = figure_record(method, score, phase="tune", trial=trial or None, lr=10.0 ** (trial - 4), **told)
    config = one.config | {"method": one.config["method"] | settings}
    return replace(one, run_id=run_id(config), config=config)


def ship_figures(folder):
    """Publish records of two tasks for every figure, and of ten tasks for the ranks."""
    ranked = [
        figure_record(method, 0.3 + i / 10, task=f"t{n}", budget="ten")
        for n in range(10)
        for i, method in enumerate(("a", "b", "c"))
    ]
    (folder / "capabilities.csv").write_text(CAPABILITIES)
    return publish_records(folder, *figure_records(), *ranked)

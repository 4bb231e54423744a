"""Train LoRA anew beside its records, without this benchmark's loop: python scripts/independent.py nmt protein.

Of the benchmark it takes the data and what the records say of settings and modules. Tokens, network, head, training and
scores come from transformers, peft, torch, sacrebleu and scipy. Words: results=DIR, budget=NAME, seeds=3.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sacrebleu
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import spearmanr, ttest_ind
from torch import nn
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, EsmModel, get_cosine_schedule_with_warmup

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmark.reading import draw, fingerprint  # noqa: E402
from benchmark.records import Record, Store  # noqa: E402
from benchmark.saved import task_of  # noqa: E402
from benchmark.screen import key  # noqa: E402
from benchmark.types import Example  # noqa: E402

EMBEDDED = ROOT / "benchmark" / "backbones" / "embedded"
WORDS = {"results": "results/reference", "budget": "reference", "seeds": "3"}


@dataclass
class Subject:
    """A network with LoRA, how a batch of examples is learnt, and how a test is scored."""

    model: nn.Module
    loss: Callable[[Sequence[Example]], torch.Tensor]
    score: Callable[[Sequence[Example]], float]


def main(arguments: list[str]) -> None:
    """Print for each task what the records scored, and what the same settings score here."""
    given = WORDS | dict(a.split("=", 1) for a in arguments if "=" in a)
    for task in (a for a in arguments if "=" not in a):
        store = Store(Path(given["results"]), read_only=True)
        records = recorded(store, task, given["budget"])
        metric = records[0].data["metric"]
        data = splits_of(records[0], store)
        scores = {
            "records": [record.value("test", metric) for record in records],
            "independent": [rerun(records[0], data, seed) for seed in range(int(given["seeds"]))],
        }
        print(f"{task} test {metric}, Welch's p = {ttest_ind(*scores.values(), equal_var=False).pvalue:.2f}")
        for name, found in scores.items():
            mean, spread = statistics.fmean(found), statistics.stdev(found)
            print(
                f"  {name:12} {mean:.4g} +- {spread:.2g} ({', '.join(f'{score:.4g}' for score in found)})", flush=True
            )


def recorded(store: Store, task: str, budget: str) -> list[Record]:
    """Find the setting of LoRA on pretrained weights and all training data that has most seeds."""
    settings: dict[str, list[Record]] = {}
    for record in store.of(task, "lora"):
        config = record.config
        whole = config.get("phase") != "tune" and config.get("fraction") is None and record.status == "done"
        if whole and config["backbone"]["weights"] == "pretrained" and config["budget"]["name"] == budget:
            settings.setdefault(key(record), []).append(record)
    found = max(settings.values(), key=len, default=[])
    if len(found) < 2:
        raise SystemExit(f"no two seeds of LoRA on {task} under budget={budget} in {store.folder}: run them first")
    return found


def splits_of(record: Record, store: Store) -> dict[str, list[Example]]:
    """Give the examples that the record's run trained on, looked at, and was tested on."""
    splits, asked = task_of(record).splits(), {row["id"] for row in store.examples(record) if row["split"] == "test"}
    if fingerprint(splits) != record.data["fingerprint"]:
        raise SystemExit(f"the data of {record.task} differs from the records': pip install with -c constraints.txt")
    valid = sorted(splits["valid"], key=lambda e: draw(e.id))[: record.config["budget"]["max_valid"]]
    return {"train": list(splits["train"]), "valid": valid, "test": [e for e in splits["test"] if e.id in asked]}


def adapted(record: Record, model: nn.Module, prefix: str = "") -> nn.Module:
    """Put LoRA on the modules that the record names."""
    method = record.config["method"]
    modules = [name.removeprefix(prefix) for name in record.modules]
    return get_peft_model(model, LoraConfig(r=method["rank"], target_modules=modules, **method["options"]))


def translation(record: Record, train: Sequence[Example]) -> Subject:
    """An encoder-decoder; the source is pretraining's: `<si> text</s>`."""
    task, folder = record.config["task"], EMBEDDED / record.config["backbone"]["checkpoint"]["name"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = adapted(record, AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32))

    def tokens(texts: Sequence[str]) -> Any:
        return tokenizer([text + tokenizer.eos_token for text in texts], padding=True, return_tensors="pt")

    def source(examples: Sequence[Example]) -> Any:
        read = tokens([f"<{task['target_language']}> {e.source}" for e in examples])
        return {name: read[name] for name in ("input_ids", "attention_mask")}

    def loss(examples: Sequence[Example]) -> torch.Tensor:
        said = tokens([e.targets[0] for e in examples])
        labels = said["input_ids"].masked_fill(said["attention_mask"] == 0, -100)
        return model(**source(examples), labels=labels).loss

    def score(examples: Sequence[Example]) -> float:
        options = {"max_new_tokens": task["max_target_tokens"], "do_sample": False, "num_beams": 1}
        written = model.generate(**source(examples), **options)
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        return sacrebleu.corpus_bleu([t.strip() for t in texts], [[e.targets[0] for e in examples]]).score

    return Subject(model, loss, score)


def protein(record: Record, train: Sequence[Example]) -> Subject:
    """An encoder under a linear head on the mean residue, which learns standardised targets."""
    folder = EMBEDDED / record.config["backbone"]["checkpoint"]["name"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), record.config["budget"]["dropout"])
    encoder = EsmModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False, **rates)
    head = nn.Linear(encoder.config.hidden_size, 1)
    model = nn.ModuleDict({"encoder": adapted(record, encoder, "encoder."), "head": head})
    known = [e.targets[0] for e in train]
    centre, scale = statistics.fmean(known), statistics.pstdev(known)

    def said(examples: Sequence[Example]) -> torch.Tensor:
        read = tokenizer([e.source for e in examples], padding=True, return_tensors="pt")
        states = model["encoder"](**read).last_hidden_state
        special = sum(read["input_ids"] == i for i in (tokenizer.cls_token_id, tokenizer.eos_token_id))
        residues = (read["attention_mask"] - special).unsqueeze(-1)
        return model["head"]((states * residues).sum(1) / residues.sum(1)).squeeze(-1)

    def loss(examples: Sequence[Example]) -> torch.Tensor:
        wanted = torch.tensor([(e.targets[0] - centre) / scale for e in examples])
        return nn.functional.mse_loss(said(examples), wanted)

    def score(examples: Sequence[Example]) -> float:
        return float(spearmanr(said(examples).tolist(), [e.targets[0] for e in examples]).statistic)

    return Subject(model, loss, score)


SUBJECTS = {"nmt": translation, "protein": protein}


def rerun(record: Record, data: dict[str, list[Example]], seed: int) -> float:
    """Train with the record's settings and a shuffle of its own; score the state of the lowest valid loss."""
    torch.manual_seed(seed)
    subject, budget = SUBJECTS[record.task](record, data["train"]), record.config["budget"]
    trained = {name: p for name, p in subject.model.named_parameters() if p.requires_grad}
    backbone = record.config["backbone"]
    lr = record.config["method"]["lr"] * backbone["lr_scale"]
    of_head = (backbone.get("head_lr") or {}).get("regress", lr)
    groups = [{"params": [p], "lr": of_head if name.startswith("head.") else lr} for name, p in trained.items()]
    optimizer = torch.optim.AdamW(groups, weight_decay=budget["weight_decay"])
    steps, size = budget["steps"], budget["batch_size"]
    schedule = get_cosine_schedule_with_warmup(optimizer, round(budget["warmup"] * steps), steps)
    looks = {round(steps * (i + 1) / budget["evaluations"]) for i in range(budget["evaluations"])}
    best, order = (math.inf, {}), []
    for step in range(1, steps + 1):
        order = order if len(order) >= size else torch.randperm(len(data["train"])).tolist()
        chosen, order = order[:size], order[size:]
        subject.model.train()
        subject.loss([data["train"][i] for i in chosen]).backward()
        nn.utils.clip_grad_norm_(trained.values(), budget["clip"])
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step in looks:
            subject.model.eval()
            with torch.no_grad():
                loss = subject.loss(data["valid"]).item()
            best = min(best, (loss, {n: p.detach().clone() for n, p in trained.items()}), key=lambda one: one[0])
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(best[1][name])
        return subject.score(data["test"])


if __name__ == "__main__":
    main(sys.argv[1:])

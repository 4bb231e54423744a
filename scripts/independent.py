"""Train LoRA again by transformers' Trainer and peft.

python scripts/independent.py [nmt] [protein] [results=DIR]

The shipped records of LoRA give the settings and the scores to meet; the examples come from the task. All else is the
two libraries' own: encoding, adapter, batches, optimiser, schedule, choice of the best state, answers. So the two
programs share no order of examples and no initialisation, and agree within the spread over seeds, not to a digit.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from sacrebleu.metrics import BLEU
from scipy.stats import spearmanr, ttest_ind
from torch import nn
from torch.utils.data import Sampler
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    EsmModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
    set_seed,
)
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmark.config.compose import cell_of  # noqa: E402
from benchmark.engine.data import Result, read  # noqa: E402
from benchmark.records import Record, published  # noqa: E402
from benchmark.report.overrides import overrides  # noqa: E402
from benchmark.types import Example  # noqa: E402

Row = dict[str, Any]
CHECKPOINTS = ROOT / "benchmark" / "backbones" / "embedded"
PROJECTIONS = {  # names of all linear layers of the blocks
    "nmt": ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
    "protein": r"encoder\.layer\.\d+\.(attention\.self\.(query|key|value)|.*\.dense)",
}


class Regressor(nn.Module):
    """ESM encoder, the average over its residues, and one linear output."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.config.hidden_size, 1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> Row:
        """Return squared error and predictions, without first and last token."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        inside = attention_mask.clone()
        inside[:, 0] = 0
        inside[torch.arange(len(inside)), attention_mask.sum(1) - 1] = 0
        mean = (states * inside.unsqueeze(-1)).sum(1) / inside.sum(1, keepdim=True)
        answers = self.head(mean).squeeze(-1)
        return {"loss": nn.functional.mse_loss(answers, labels), "logits": answers}


class LikeLength(Sampler[int]):
    """Shuffle each epoch, with similar lengths within every 20 batches."""

    def __init__(self, lengths: Sequence[int], size: int, seed: int) -> None:
        self.lengths, self.size, self.draws = lengths, size, np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = self.draws.permutation(len(self.lengths))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), 20 * self.size):
            window = order[start : start + 20 * self.size]
            window = window[np.argsort(np.take(self.lengths, window), kind="stable")]
            batches += np.split(window, range(self.size, len(window), self.size))
        for index in self.draws.permutation(len(batches)):
            yield from batches[index].tolist()


class Shuffled(Trainer):
    """Trainer with shuffled batches of similar length; `group_by_length` would sort."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        rows = self.train_dataset if train_dataset is None else train_dataset
        return LikeLength(rows["length"], self.args.train_batch_size, self.args.seed)


def train(model: nn.Module, head: list[nn.Parameter], config: Row, seed: int, rows: Row, collate: Callable) -> None:
    """Train by the record's budget; restore the state of the lowest validation loss."""
    budget, steps = config["budget"], config["budget"]["steps"]
    looks = steps // budget["evaluations"]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=budget["batch_size"], max_grad_norm=budget["clip"],
            per_device_eval_batch_size=budget["eval_batch_size"], eval_strategy="steps", eval_steps=looks,
            save_steps=looks, save_total_limit=2, load_best_model_at_end=True, metric_for_best_model="eval_loss",
            seed=seed, report_to="none", disable_tqdm=True, remove_unused_columns=False, use_cpu=True,
            logging_strategy="no",
        )  # fmt: skip
        rest = [p for p in model.parameters() if p.requires_grad and all(p is not parameter for parameter in head)]
        groups = [{"params": rest, "lr": config["method"]["lr"] * config["backbone"]["lr_scale"]}]
        groups += [{"params": head, "lr": config["backbone"]["head_lr"]["regress"]}] if head else []
        optimizer = torch.optim.AdamW(groups, weight_decay=budget["weight_decay"])
        schedule = get_cosine_schedule_with_warmup(optimizer, round(budget["warmup"] * steps), steps)
        trainer = Shuffled(
            model, arguments, data_collator=collate, train_dataset=rows["train"], eval_dataset=rows["valid"],
            optimizers=(optimizer, schedule),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def adapter(config: Row, task: str) -> LoraConfig:
    """Describe LoRA by the record's rank and alpha."""
    method = config["method"]
    options = {"r": method["rank"], "lora_alpha": method["options"]["lora_alpha"], "lora_dropout": 0.0}
    return LoraConfig(**options, target_modules=PROJECTIONS[task])


def tables(splits: Mapping[str, Sequence[Example]]) -> dict[str, Dataset]:
    """Tabulate source, target and length, by which batches are made."""
    return {
        name: Dataset.from_list(
            [
                {"source": e.source, "target": e.targets[0], "length": len(e.source) + len(str(e.targets[0]))}
                for e in split
            ]
        )
        for name, split in splits.items()
    }


def translation(config: Row, rows: dict[str, Dataset], seed: int) -> float:
    """Adapt the shipped mBART and return its BLEU on test."""
    checkpoint = CHECKPOINTS / config["backbone"]["checkpoint"]["name"]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = get_peft_model(
        AutoModelForSeq2SeqLM.from_pretrained(checkpoint, dtype=torch.float32), adapter(config, "nmt")
    )
    tag = config["backbone"]["tag"].format(target=config["task"]["target_language"])

    def sources(texts: Sequence[str]) -> Any:
        texts = [tag + text + tokenizer.eos_token for text in texts]
        return tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)

    def collate(examples: Sequence[Row]) -> Row:
        targets = tokenizer([e["target"] + tokenizer.eos_token for e in examples], padding=True, return_tensors="pt")
        labels = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, -100)
        return {**sources([e["source"] for e in examples]), "labels": labels}

    train(model, [], config, seed, rows, collate)
    model.eval()
    answers: list[str] = []
    for start in range(0, len(rows["test"]), 32):
        written = model.generate(
            **sources(rows["test"][start : start + 32]["source"]), num_beams=1, do_sample=False,
            max_new_tokens=config["task"]["max_target_tokens"],
        )  # fmt: skip
        answers += tokenizer.batch_decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    references = [list(rows["test"]["target"])]
    return BLEU(tokenize="13a").corpus_score([text.strip() for text in answers], references).score


def stability(config: Row, rows: dict[str, Dataset], seed: int) -> float:
    """Adapt the shipped ESM and return its rank correlation on test."""
    checkpoint = CHECKPOINTS / config["backbone"]["checkpoint"]["name"]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    encoder = EsmModel.from_pretrained(checkpoint, dtype=torch.float32, add_pooling_layer=False)
    model = Regressor(get_peft_model(encoder, adapter(config, "protein")))
    values = rows["train"]["target"]
    centre, scale = statistics.fmean(values), statistics.pstdev(values)

    def collate(examples: Sequence[Row]) -> Row:
        read = tokenizer([e["source"] for e in examples], padding=True, return_tensors="pt")
        return {**read, "labels": torch.tensor([(e["target"] - centre) / scale for e in examples])}

    train(model, list(model.head.parameters()), config, seed, rows, collate)
    with torch.no_grad():
        predictions = model.eval()(**collate(list(rows["test"])))["logits"]
    return float(spearmanr(predictions, rows["test"]["target"]).statistic)


def shipped(results: Path, task: str) -> list[Record]:
    """Read the finished final records of LoRA by seed.

    A missing comparison ends the program.
    """
    records = (record for store in published(results).values() for record in store.of(task, "lora"))
    finished = [r for r in records if r.status == "done" and not r.tuning]
    if not finished:
        raise SystemExit(f"{results}/published holds no finished final record of lora on {task}")
    return sorted(finished, key=lambda record: record.seed)


def main(arguments: Sequence[str]) -> None:
    """Print both programs' scores by seed, and their means and deviations."""
    logging.disable_progress_bar()
    results = Path(dict(a.split("=", 1) for a in arguments if "=" in a).get("results", ROOT / "results"))
    for task, run in (("nmt", translation), ("protein", stability)):
        if (chosen := [a for a in arguments if "=" not in a]) and task not in chosen:
            continue
        ours, theirs = [], []
        for record in shipped(results, task):
            set_seed(record.seed)
            rows = tables(read(cell_of(overrides(record)), Result()))
            ours.append(record.value("test", record.data["metric"]))
            theirs.append(run(record.config, rows, record.seed))
            print(f"{task} seed {record.seed}: record {ours[-1]:.4g}, transformers and peft {theirs[-1]:.4g}")
        for name, scores in (("record", ours), ("transformers and peft", theirs)):
            print(f"{task} {name}: {statistics.fmean(scores):.4g} ± {statistics.stdev(scores):.2g}")
        print(f"{task}: p = {ttest_ind(ours, theirs, equal_var=False).pvalue:.2f} (Welch's test over seeds)")


if __name__ == "__main__":
    main(sys.argv[1:])

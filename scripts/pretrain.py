"""Pretraining of an embedded backbone by its recipe.

python scripts/pretrain.py <name> [out=DIR] [field=value ...]

Writes a checkpoint (configuration, 16-bit safetensors), its card, and held_out/<name>.safetensors: a batch that
pretraining does not use, by which a run measures forgetting.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from transformers import get_cosine_schedule_with_warmup

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.pretraining.common import Pretraining  # noqa: E402


def main(arguments: list[str]) -> None:
    """Read the recipe, train, save."""
    name, *overrides = arguments
    recipe = OmegaConf.merge(
        OmegaConf.load(ROOT / f"configs/pretrain/{name}.yaml"),
        {"out": str(ROOT / f"benchmark/backbones/embedded/{name}")},
        OmegaConf.from_dotlist(overrides),
    )
    torch.manual_seed(recipe.seed)
    prepared = importlib.import_module(f"scripts.pretraining.{recipe.domain}").prepare(recipe)
    parameters = sum(p.numel() for p in prepared.module.parameters())
    started = time.monotonic()
    losses = list(train(prepared, recipe))
    seconds = time.monotonic() - started
    out = Path(recipe.out)
    save_held_out(prepared, out)
    prepared.save(out)
    (out / "README.md").write_text(card(prepared, recipe, name, parameters, losses, seconds))


def train(prepared: Pretraining, recipe: DictConfig) -> Iterator[float]:
    """Yield the loss of every step."""
    model = prepared.module
    decayed = [p for p in model.parameters() if p.ndim > 1]
    undecayed = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": undecayed, "weight_decay": 0.0}],
        lr=recipe.lr,
        betas=(0.9, 0.98),
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, int(recipe.warmup * recipe.steps), recipe.steps)
    model.train()
    started = time.monotonic()
    for step, batch in zip(range(1, recipe.steps + 1), prepared.batches, strict=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step}  loss {loss.item():.3f}  {(time.monotonic() - started) / step:.3f} s/step", flush=True)
        yield loss.item()


def save_held_out(prepared: Pretraining, out: Path) -> None:
    """Write the held-out batch and an encoder's pretraining head, in fp32."""
    head = {f"head.{name}": tensor.detach().float().contiguous() for name, tensor in prepared.head.items()}
    batch = {name: tensor.contiguous() for name, tensor in prepared.held_out.items()}
    file = out.parent / "held_out" / f"{out.name}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({**head, **batch}, file, metadata={"kind": prepared.kind} if prepared.kind else None)


def card(
    prepared: Pretraining, recipe: DictConfig, name: str, parameters: int, losses: list[float], seconds: float
) -> str:
    """Describe the checkpoint and how it was made, in Markdown."""
    last = losses[-200:]
    size = sum(f.stat().st_size for f in Path(recipe.out).iterdir()) / 1e6
    return (
        f"# {name}\n\n"
        f"{parameters:,} parameters in pretraining, {size:.1f} MB. "
        f"Made by `python scripts/pretrain.py {name}` from `configs/pretrain/{name}.yaml`.\n\n"
        f"- Steps: {recipe.steps} of {recipe.batch_size} examples, {seconds / 60:.0f} minutes on "
        f"{torch.get_num_threads()} CPU threads ({'bf16 autocast' if recipe.bf16 else 'fp32'}).\n"
        f"- Final loss (mean of the last {len(last)} steps): {sum(last) / len(last):.3f} nats per {prepared.unit}.\n"
        f"- Data: `{recipe.corpus._target_}`, disjoint from every split of the tasks "
        f"(the tests assert it).\n\n"
        f"```yaml\n{OmegaConf.to_yaml(recipe.corpus)}```\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])

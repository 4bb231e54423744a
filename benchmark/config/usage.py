"""Help page of the command."""

from __future__ import annotations

from benchmark.config import registry
from benchmark.config.registry import GROUPS
from benchmark.config.with_hydra import GRID


def usage() -> str:
    """Write the help page: every option of every group."""
    lines = [
        "python -m benchmark.run method=M task=T [backbone=B] [budget=P] [data=D] [seed=N] [any.field=value]",
        "",
        "Adapt one backbone to one task by one method, measure it, and record it.",
    ]
    for group in (*GROUPS, GRID):
        known = registry.descriptions(group)
        width = max(map(len, known))
        lines += ["", f"{group}=", *(f"  {name:<{width}}  {text}" for name, text in known.items())]
    lines += [
        "",
        "Less data: fraction=0.05 (of the training examples; 0.05 lies within 0.1)  seed_sample=0 (draws them)",
        "Cross-validation: -m fold=0,1,2,3,4 (folds=5; every example is in the test of one fold, groups stay together)",
        "Tuning: +sweep=tune, then +sweep=final; by hand phase=tune trial=0,1,2,3 (draws of method.search)",
        "Equal sizes: size=100000 (size_of=params|bytes)  Seeds of one part: seed_init=0  seed_order=0",
        "Run options: seed=0  results=results  device=auto|cpu|cuda  force=true (run again)  retry=failed",
        "  plugins=DIR (your own configs/ and modules)  save=DIR (save the adapter)",
        "  shared=true (others use the device)  attempts=3  cells_per_job=8  fresh=true",
        "Any field of a configuration: method.lr=1e-3 budget.steps=1000 task.target_language=ta",
        "Another headline: task.metric=exact_match (any score of which higher is better; trains nothing anew)",
        "Your own texts: data=files data.train=F data.valid=F data.test=F data.columns.source=C data.columns.target=C",
        "  with labels: task=text_classification (or text_multilabel, text_regression; a pair: data.columns.partner=C)",
        "Your own images: task=medical_images data=image_folder data.folder=DIR (or image_table, image_npz)",
        "Your own proteins: task=protein_regression data.files.all=F (or protein_classification, _residues, _pairs)",
        "Your own speech: task=speech data=audio_folder data.folder=DIR data.columns.target=C (or speech_recognition)",
        "Your own checkpoint: backbone.checkpoint=DIR of backbone=causal_lm, seq2seq, text_encoder, text_decoder,",
        "  protein_encoder, speech_encoder, speech_to_text or timm_network",
        "Duplicates and groups across a task's splits: python -m benchmark.audit task=T",
        "Several processes in one run: torchrun --nproc-per-node 2 -m benchmark.run ... (budget.shard=true: in pieces)",
        "Several runs: -m method=lora,dora seed=0,1,2, or a named sweep: +sweep=nmt15 seed=0,1,2; the same command",
        "  goes on; hydra/launcher=joblib uses the cores, hydra/launcher=slurm a cluster",
        "Progress of a sweep: python -m benchmark.status +sweep=nmt15",
        "Compare two methods: python -m benchmark.compare lora dora [task=T]",
        "Memory, FLOPs and sizes before a run: python -m benchmark.plan task=T method=A,B [max_memory_gb=24]",
        "Choose a method: python -m benchmark.advise task=T [max_memory_gb=8] [max_params=1e6] [mergeable=true]",
    ]
    return "\n".join(lines)

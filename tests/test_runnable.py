"""What runs where, as read off configurations, and the overrides of records."""

import shlex

import pytest
from hydra.utils import get_class

from benchmark.config.build import build
from benchmark.config.compose import cell_of, choices_of
from benchmark.identity import run_id
from benchmark.records import Record, shipped
from benchmark.report import runnable
from benchmark.report.overrides import setting

OURS = [
    "bert_languages",
    "cnn_textures",
    "esm_lattice",
    "llama_docstrings",
    "mbart_cldr",
    "vit_textures",
    "wav2vec2_words",
]
TIMM = ["clip_vit_base", "convnext_tiny", "resnet50", "swin_tiny", "vit_base", "vit_base_mae"]


def test_a_backbone_is_the_network_that_its_checkpoint_says():
    for name in [*OURS, *TIMM]:
        backbone = build(dict(runnable.described("backbone", name)), "backbone")
        assert runnable.networks(name) == [backbone.family], name
    yours = {name for name in runnable.names("backbone") if len(runnable.networks(name)) > 1}
    texts = {"causal_lm", "seq2seq", "text_encoder", "text_decoder"}
    assert yours == texts | {"protein_encoder", "speech_encoder", "timm_network"}


def test_what_a_backbone_reads_and_answers_is_what_its_class_declares():
    for name in runnable.names("backbone"):
        target = runnable.described("backbone", name)["_target_"]
        kinds = runnable.ANSWERS[".".join(target.split(".")[-2:])]
        assert set(kinds.split()) <= set(get_class(target).kinds), name
    for task in runnable.names("task"):
        of = runnable.described("task", task)
        for name in runnable.names("backbone"):
            reads = get_class(runnable.described("backbone", name)["_target_"]).reads
            assert (runnable.domain(name) == runnable.domain(of["backbone"])) == (
                reads == get_class(of["_target_"]).reads
            )


@pytest.mark.parametrize(
    "said",
    [
        "method=lora task=nmt task.target_language=ta method.rank=4 method.options.lora_alpha=7",
        "method=dora task=protein trial=3 fraction=0.1 budget=quick budget.steps=7",
        "method=lora task=text_generation data=toy backbone.weights=random",
        """method=houlsby task=text_generation data=toy size=20000 "task.template='say, {source}: '\"""",
        "method=houlsby task=medical_images backbone=cnn_textures data.stride=13",
        "method=houlsby task=protein backbone.head_lr.regress=0.0123",
    ],
)
def test_the_words_of_a_record_compose_its_setting(said):
    cell = cell_of(shlex.split(said))
    chosen = choices_of(cell)
    named = {noun: chosen[noun]["name"] for noun in ("task", "method", "backbone")}
    again = setting(Record(run_id="0", seed=0, status="done", config=chosen, data=dict(cell.notes), **named))
    assert [word for word in again if "head_lr" in word] == [word for word in shlex.split(said) if "head_lr" in word]
    assert run_id(choices_of(cell_of(again))) == run_id(chosen)


def test_the_words_of_shipped_records_compose_them():
    for record in list(shipped("*", "*"))[::60]:
        seeds = [f"{key}={value}" for key, value in record.config.items() if "seed" in key and value is not None]
        if record.status == "done":
            assert run_id(choices_of(cell_of([*setting(record), *seeds]))) == record.run_id, record

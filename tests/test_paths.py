"""A path may hold any sign: it is quoted once, and no grammar takes it apart."""

import json
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from benchmark import run, status
from benchmark.config.overrides import quote_path, remove_quotes
from benchmark.config.with_hydra import compose_config
from benchmark.errors import InputError

ODD = ["a b", "a,b", "a=b", "(a)", "a[0]", "{a}", "o'clock", 'say "hi"', "ümläut", "a;b&c#d", "$HOME ${x}", "end\\"]


@pytest.mark.parametrize("name", ODD)
def test_a_path_reaches_the_configuration_as_it_was_given(name, tmp_path):
    (tmp_path / name).write_text("source,target\na,b\n")
    path = str(tmp_path / name)
    files = [f"data.{split}={path}" for split in ("train", "valid", "test")]
    columns = ["data.columns.source=source", "data.columns.target=target"]
    config, _ = compose_config(
        ["task=text_generation", "method=lora", "data=files", *files, *columns, f"results={path}/out"]
    )
    assert (config.results, config.data.train, config.data.test) == (f"{path}/out", path, path)
    for override in (f"results={path}", f"data.train={path}"):
        assert remove_quotes(quote_path(override).partition("=")[2]) == path
        assert quote_path(quote_path(override)) == quote_path(override)


def test_a_value_that_is_no_path_keeps_its_meaning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for override in ("seed=0,1", "method.targets=[query,value]", "data.files={train: a.csv}", "results=plain/a-b_1.x"):
        assert quote_path(override) == override
    Path("a,b").touch()
    assert quote_path("data.train=a,b") == "data.train='a,b'"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a, b=(c)", "[ü] 'x'"])
def test_runs_sweeps_and_status_use_the_same_odd_folder(name, tmp_path, tiny_causal, capsys):
    results = tmp_path / name
    overrides = ["task=text_generation", "data=toy", "backbone=causal_lm", "budget=smoke", "device=cpu"]
    overrides += [f"backbone.checkpoint={tiny_causal}", "budget.steps=1", "budget.evaluations=1", f"results={results}"]
    assert status.main([*overrides, "method=lora,ia3"]) == 1
    assert "2" in capsys.readouterr().out
    assert os.listdir(tmp_path) == []  # a look creates nothing
    assert run.main([*overrides, "method=lora"]) == 0
    assert run.main(["-m", *overrides, "method=lora,ia3"]) == 0
    assert "2 cells: 2 done; 0 to run" in capsys.readouterr().out
    assert status.main([*overrides, "method=lora,ia3"]) == 0
    assert os.listdir(tmp_path) == [name]
    records = [json.loads(file.read_text()) for file in results.glob("runs/*/*/*.json")]
    assert sorted((record["method"], record["status"]) for record in records) == [("ia3", "done"), ("lora", "done")]


def test_a_value_that_the_grammar_refuses_says_how_to_quote(capsys):
    assert run.main(["method=lora", "task=nmt", "task.template=a(b"]) == 2
    assert """twice: key='"a,b"'""" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("data.splits_of.valid={set: held}", "splits_of.valid", {"set": "held"}),  # not the words of the file as well
        (
            "data.splits_of={train: {part: a}, test: {part: b}}",
            "splits_of",
            {"train": {"part": "a"}, "test": {"part": "b"}},
        ),
        ("data.splits_of={}", "splits_of", {}),
        ("+data.shifts.far={set: far}", "shifts", {"far": {"set": "far"}}),
        (
            "data.files={sequence: 'a b.fasta', labels: l.fasta}",
            "files",
            {"sequence": "a b.fasta", "labels": "l.fasta"},
        ),
        ("data.files.mask=null", "files.mask", None),
    ],
)
def test_a_node_replaces_the_one_at_its_key(override, key, expected):
    files = ["data.files.sequence=s.fasta", "data.files.labels=l.fasta"]
    config, _ = compose_config(["task=protein_residues", "method=lora", "data=protein_fasta_labels", *files, override])
    assert OmegaConf.select(config.data, key) == expected


def test_a_node_at_an_unknown_key_is_refused():
    for override, wrong in (("data.split_of={train: a}", "data.split_of"), ("dta.files={a: b}", "dta.files")):
        with pytest.raises(InputError, match=rf"{wrong}: no such key"):
            compose_config(["task=protein_regression", "method=lora", override])

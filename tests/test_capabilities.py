"""The table of capabilities: complete, true of a sample, shown on its page."""

import csv
import re
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from benchmark.backbones.roles import FAMILIES
from benchmark.capabilities import __main__ as command
from benchmark.capabilities.networks import NETWORKS, bare, batch, cell
from benchmark.capabilities.page import page
from benchmark.capabilities.probe import TINY, method_of, probe
from benchmark.config.registry import names as names_in
from benchmark.records import shipped
from benchmark.report import runnable
from benchmark.report.figures import capability

ROWS = {(row.method, row.network): row for row in command.read(command.TABLE)}
CARRIERS = {"lora": {"vision_transformer", "mbart"}, "frozen": {"esm", "llama"}, "bitfit": {"llama", "gpt2"}}


def test_every_architecture_has_a_tiny_network():
    assert {family for family, *_ in NETWORKS.values()} == set(FAMILIES)


def test_the_table_decides_every_pair():
    assert set(ROWS) == {(method, network) for method in names_in("method") for network in NETWORKS}
    for pair, row in ROWS.items():
        assert row.status in ("runs", "refused"), pair
        assert row.reason if row.status == "refused" else row.kinds, pair


def test_nothing_that_ran_is_called_refused():
    ran = {(record.method, record.backbone) for record in shipped("*", "*") if record.status == "done"}
    assert ran
    assert {(m, b): runnable.capable(b)[m].reason for m, b in ran if not runnable.capable(b)[m].runs} == {}


@pytest.mark.parametrize("name", TINY)
def test_too_large_for_a_tiny_network_is_no_refusal(name):
    assert cell("llama", method_of(name)).conflict()
    assert probe(name, method_of(name), "llama").status == "runs"
    assert ROWS[name, "llama"].status == "runs"


def test_the_key_of_the_figure_has_the_shades_of_its_cells():
    kinds = {"merges": ("runs", "yes"), "runs": ("runs", "no"), "refused": ("refused", "")}
    rows = [("lora", kind, *kinds[kind], "") for kind in kinds]
    figure = capability.draw(pd.DataFrame(rows, columns=capability.COLUMNS), "two")
    (cells,) = figure.axes[0].collections
    cells.update_scalarmappable()
    key = [text.get_color() for text in figure.texts if text.get_text() == "■"]
    assert [to_hex(color) for color in cells.get_facecolors()] == [color.lower() for color in key]


def test_nothing_that_a_peft_method_trains_is_dead():
    # full fine-tuning alone trains what the loss of a task does not reach: a mask token, a head for contacts
    assert {row.method for row in ROWS.values() if row.dead} <= {"full"}


@pytest.mark.parametrize(("name", "network"), [(m, n) for m, networks in CARRIERS.items() for n in sorted(networks)])
def test_the_table_is_what_a_probe_finds(name, network):
    assert probe(name, method_of(name), network) == ROWS[name, network]


def test_the_page_is_made_of_the_table():
    assert command.PAGE.read_text() == page(list(ROWS.values()), names_in("method"))


def test_a_crash_is_told_and_never_written_down(monkeypatch, tmp_path, capsys):
    def crash(name, method, network):
        raise RuntimeError("boom")

    monkeypatch.setattr(command, "probe", crash)
    monkeypatch.setattr(command, "TABLE", tmp_path / "capabilities.csv")
    monkeypatch.setattr(command, "PAGE", tmp_path / "docs" / "methods.md")
    assert command.main(["method=lora"]) == 1
    assert "crashed: lora on llama: RuntimeError: boom" in capsys.readouterr().err
    assert list(csv.DictReader((tmp_path / "capabilities.csv").open())) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=lorra"], "refused: method=lorra: no such method; did you mean lora"),
        (["lora"], "refused: lora: method=NAME,NAME wanted, or nothing for all"),
    ],
)
def test_a_wrong_call_is_refused(words, said, capsys):
    assert command.main(words) == 2
    assert capsys.readouterr().err.startswith(said)


def test_no_two_methods_are_the_same():
    """Equal choices under two names would count twice."""
    made = {name: method_of(name) for name in names_in("method")}
    choices = {
        name: repr(replace(method, description="", lr=0.0, search={}, sized_by=None)) for name, method in made.items()
    }
    assert len(set(choices.values())) == len(choices)
    assert len({re.sub("[^a-z0-9]", "", name) for name in made}) == len(made)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_tiny_network_reads_its_batches(network):
    for kind in NETWORKS[network][2]:
        loss = bare(network, kind)(**batch(network, kind)).loss
        assert loss.isfinite()
        assert loss > 0

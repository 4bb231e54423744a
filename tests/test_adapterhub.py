"""Comparison with AdapterHub: its table has all listed cases, rightly rated."""

import csv
import os
from pathlib import Path

import pytest
import torch

from benchmark.capabilities.networks import bare, cell
from benchmark.capabilities.probe import method_of
from scripts.adapterhub import TABLE, fill, layers, ours
from scripts.adapterhub_cases import CASES

FOLDER = os.environ.get("ADAPTERHUB_FOLDER")
METHODS = [
    "houlsby", "houlsby_inv", "pfeiffer", "pfeiffer_inv", "parallel", "scaled_parallel", "compacter", "compacter_pp",
    "prefix_flat", "prefix_mlp", "mam", "unipelt", "loreft", "noreft", "direft",
]  # fmt: skip


def rows(table):
    with Path(table).open(newline="") as file:
        return list(csv.DictReader(file))


def holds(found):
    """Check every row's claim against its numbers."""
    for row in found:
        said = (row["method"], row["network"], row["remark"])
        assert float(row["bare"]) < 1e-5, said
        if row["remark"].startswith("equal"):
            assert float(row["difference"]) < 1e-5, said
            assert float(row["effect"]) > 0.1, said  # the method did something
        else:
            assert row["remark"].startswith("differs"), said
            assert float(row["difference"]) > 0.1, said


def test_the_table_has_the_cases_that_are_listed_and_an_equal_one_of_every_method():
    found = rows(TABLE)
    listed = [(case.method, network, case.remark) for case in CASES for network in case.networks]
    assert [(row["method"], row["network"], row["remark"]) for row in found] == listed
    assert {row["method"] for row in found if row["remark"].startswith("equal")} == set(METHODS)
    assert {row["adapters"] for row in found} == {"1.3.0"}


def test_what_is_called_equal_is_equal_and_what_differs_differs():
    holds(rows(TABLE))


def test_nothing_is_left_empty_and_nothing_without_a_place():
    case = next(case for case in CASES if case.method == "pfeiffer")
    method = method_of("pfeiffer", case.ours)
    model = method.attach(bare("llama"), cell("llama", method))
    with pytest.raises(ValueError, match=r"nothing for model\.layers\.0\.adapter\.down"):
        fill(model, {}, case, "llama")
    with pytest.raises(ValueError, match="no place for elsewhere"):
        fill(model, {"elsewhere": torch.zeros(1)}, case, "llama")


def test_a_flat_prefix_falls_into_layers_keys_and_values():
    name = "pool.prefix_tunings.a.self_prefix.control_trans"
    whole = torch.arange(3 * 2 * 2 * 16)
    found = layers(name, whole, "llama")
    assert list(found) == [f"model.layers.{layer}.self_attn.prefix.states" for layer in range(2)]
    # of token 1: the values of layer 1 are the last of four stretches
    assert torch.equal(found["model.layers.1.self_attn.prefix.states"][1, 1], whole.view(3, 4, 16)[1, 3])


@pytest.mark.skipif(not FOLDER, reason="ADAPTERHUB_FOLDER names no folder of `scripts/adapterhub.py theirs`")
def test_our_half_run_again_says_the_same(tmp_path):
    ours(Path(FOLDER), tmp_path / "table.csv")
    found = rows(tmp_path / "table.csv")
    holds(found)
    assert [row["remark"] for row in found] == [row["remark"] for row in rows(TABLE)]

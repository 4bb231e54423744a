"""Every number of a configuration has a range, checked before loading."""

import dataclasses
import math
from typing import get_type_hints

import pytest
from hydra.utils import get_class

from benchmark import run
from benchmark.config.build import convert
from benchmark.config.ranges import OTHERS, RANGES, check_range, range_of
from benchmark.config.registry import names, node
from benchmark.errors import InputError

GROUPS = ("task", "method", "backbone", "budget", "data")


def numbers():
    """Yield every numeric field of the registry with the values of its files."""
    for group in GROUPS:
        for name in names(group):
            described = node(group, name)
            hints = get_type_hints(get_class(described["_target_"]))
            for field in dataclasses.fields(get_class(described["_target_"])):
                if any(word in str(hints[field.name]) for word in ("int", "float")) and field.name != "search":
                    yield f"{group}.{field.name}", described.get(field.name)


def test_what_the_registry_holds_is_in_range_and_what_is_no_number_is_not():
    for key, value in numbers():
        if not (isinstance(value, str) or key == "task.across_processors"):  # an interpolation; a fact
            check_range(value, key)
        for wrong in (math.nan, math.inf, -math.inf, 1e308, -1e308, 10**400):
            with pytest.raises(InputError, match=key):
                check_range({"inside": [wrong]}, key)


def test_a_range_is_that_of_its_own_key_then_of_the_node_around_it():
    assert range_of("task.size") == (1, 4096) != range_of("size")
    assert range_of("backbone.head_lr.tag") == RANGES["head_lr"]
    assert range_of("data.elsewhere") == OTHERS
    check_range({"options": {"alpha": -0.5}, "shares": {"valid": 0.1}}, "method")
    check_range(True, "budget.shard")


@pytest.mark.parametrize(
    "override",
    [
        "seed=-1", "seed=4294967296", "seed_order=-3", "fraction=1.5", "trial=-1", "until=0", "size=0",
        "method.lr=nan", "method.lr=-1e-3", "method.lr=1e308", "method.rank=1000000", "method.rank=0",
        "backbone.lr_scale=0", "backbone.lr_scale=inf", "budget.clip=-1", "budget.weight_decay=-0.1",
        "budget.weight_decay=2", "budget.steps=0", "budget.steps=100000000000", "budget.batch_size=1000000000",
        "budget.max_test=0", "budget.max_seconds=0", "task.max_source_tokens=0", "task.max_target_tokens=9999999",
        "data.train=0.5", "data.test=-4", "method.options.lora_dropout=nan", "attempts=0", "cells_per_job=0",
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_refused_and_nothing_is_written(override, tmp_path, capsys):
    words = ["method=lora", "task=nmt", f"results={tmp_path / 'results'}", "device=cpu"]
    sweeps = ["-m"] if override.startswith("cells_per_job") else []
    assert run.main([*sweeps, *words, override]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"refused: {override.partition('=')[0]}: "), error
    assert error.count("\n") == 1
    assert not (tmp_path / "results" / "runs").exists()


@pytest.mark.parametrize(("override", "hint"), [("+sed=1", "seed"), ("++budgets.steps=3", "budget"), ("+x.y=1", "")])
def test_an_unknown_key_at_the_root_is_refused(override, hint, capsys):
    assert run.main(["method=lora", "task=nmt", override]) == 2
    error = capsys.readouterr().err
    assert "no such key" in error
    assert hint in error.partition("(known")[0]


def test_a_list_without_an_end_is_refused_before_it_is_laid_out(tmp_path, capsys):
    for override in ("seed=range(0,100000000)", "seed=range(0,400)"):
        words = ["-m", "method=glob(*)", "task=nmt", "trial=range(0,9)", f"results={tmp_path / 'results'}", override]
        assert run.main(words) == 2
        assert "cells given, at most 100,000 wanted" in capsys.readouterr().err


@pytest.mark.parametrize("key", sorted({key for key, _ in numbers()} - {"task.across_processors"}))
def test_every_number_refuses_texts_and_what_fills_the_memory(key):
    group, name = key.split(".")
    classes = [get_class(node(group, one)["_target_"]) for one in names(group)]
    hint = next(hints[name] for hints in map(get_type_hints, classes) if name in hints)
    for wrong in ("abc", "${oc.env:HOME}"):
        if "str" not in str(hint):
            with pytest.raises(InputError, match=key):
                convert(wrong, hint, key)
    for wrong in (-200, 10**13, 2**63):  # noise may be -100 dB, a size 10**12 bytes
        if "options" not in key:
            with pytest.raises(InputError, match=key):
                check_range(wrong, key)

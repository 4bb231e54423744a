"""What is known before weights are loaded, and what merging may not change."""

import pytest
from factories import run_cell

from benchmark.config.compose import cell_of
from benchmark.errors import InputError


def test_what_merges_is_timed_both_ways(toy_cell):
    names = {}
    for method in ("lora", "houlsby"):
        measured = run_cell(toy_cell("causal_lm", method, "budget.steps=2")).measurements
        names[method] = {m.name for m in measured if m.name.startswith("predict_seconds_per_example")}
    assert names["houlsby"] == {"predict_seconds_per_example"}
    assert names["lora"] == names["houlsby"] | {
        "predict_seconds_per_example_unmerged",
        "predict_seconds_per_example_merged",
    }


def test_what_does_not_fit_is_known_before_any_weights_are_loaded(toy_cell, monkeypatch):
    cell = toy_cell("causal_lm", "houlsby")
    attach = type(cell.method).attach

    def refuse(self, model, cell):
        assert all(p.is_meta for p in model.parameters())
        attach(self, model, cell)
        raise InputError("no room for it")

    monkeypatch.setattr(type(cell.method), "attach", refuse)
    assert cell.conflict() == "no room for it"


def test_whatever_a_rehearsal_raises_is_the_reason_and_an_interrupt_is_none(toy_cell, monkeypatch):
    cell = toy_cell("causal_lm", "houlsby")

    def fail(error):
        def attach(self, model, cell):
            raise error

        monkeypatch.setattr(type(cell.method), "attach", attach)

    fail(RuntimeError("shapes (3, 4) and (5,)\n  at line 7"))
    assert cell.conflict() == ("houlsby cannot be attached to this llama network: RuntimeError: shapes (3, 4) and (5,)")
    with pytest.raises(RuntimeError):  # for a table of capabilities it is a crash, no refusal
        cell.rehearse()
    fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        cell.conflict()


def test_what_a_library_cannot_wrap_is_refused_in_its_words():
    words = ["task=medical_images", "backbone=resnet50", "backbone.weights=random"]
    grouped = [*words, "backbone.checkpoint=timm/resnext50_32x4d"]
    for method, said in (("hra", "HRA does not support"), ("boft", "BOFT does not support")):
        assert cell_of([*grouped, f"method={method}"]).conflict() == (
            f"{method.upper()} does not fit this resnet network: {said} Conv2d layers with groups > 1 (got groups=32)."
        )
        assert "groups" not in (cell_of([*words, f"method={method}"]).conflict() or "")


def merged_as(cell, monkeypatch, merge):
    """Run with another way of merging; give the costs and the data of the record."""
    monkeypatch.setattr(type(cell.method), "merge", merge)
    result = run_cell(cell)
    return {m.name for m in result.measurements if m.name.endswith("merged")}, result.data.get("missing")


def test_a_merged_network_that_is_another_one_is_not_timed_and_the_record_says_why(toy_cell, monkeypatch):
    cell = toy_cell("causal_lm", "lora", "budget.steps=2")
    merge = type(cell.method).merge
    both = {"predict_seconds_per_example_unmerged", "predict_seconds_per_example_merged"}
    assert merged_as(cell, monkeypatch, merge) == (both, None)

    def moved(by):
        def hook(network, given, answer):
            answer.logits = answer.logits + by

        def off(method, model):
            merged = merge(method, model)
            merged.register_forward_hook(hook)
            return merged

        return off

    assert merged_as(cell, monkeypatch, moved(0.0005)) == (both, None)  # as rounding may
    timed, missing = merged_as(cell, monkeypatch, moved(0.25))
    assert timed == set()
    said = "MergeError: logits of the merged network differ by 0.25, where the largest is "
    assert missing["merged"].startswith(said)

    def broken(method, model):
        raise NotImplementedError("Merging is not supported for groups > 1")

    timed, missing = merged_as(cell, monkeypatch, broken)
    assert (timed, missing) == (set(), {"merged": "NotImplementedError: Merging is not supported for groups > 1"})


def test_what_trains_nothing_is_not_timed_merged(toy_cell):
    measured = run_cell(toy_cell("causal_lm", "frozen")).measurements
    assert not any(m.name.endswith("merged") for m in measured)

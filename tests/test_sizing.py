"""Equal sizes: the knob's value is the best of all, and the run has it."""

from types import SimpleNamespace

import pytest
from factories import run_cell

from benchmark.capabilities.probe import method_of
from benchmark.config import sizing
from benchmark.config.compose import cell_of
from benchmark.config.registry import names as names_in
from benchmark.config.sizing import attach_to_skeleton, count_trainable, solve, with_knob
from benchmark.errors import InputError


def test_the_rank_of_lora_follows_its_formula():
    # ESM: six wrapped maps per block of width 144 and feed-forward 288: rank times (inputs + outputs)
    cell = cell_of(["task=protein", "method=lora"])
    per_rank = count_trainable(cell, with_knob(cell.method, "rank", 1))
    for wanted in (5 * per_rank, 5.4 * per_rank, 5.6 * per_rank):
        found = solve(cell_of(["task=protein", "method=lora", f"size={round(wanted)}"]))
        assert (found.knob, found.reached) == ("rank", found.value * per_rank)
    sized = cell_of(["task=protein", "method=lora", f"size={round(5.6 * per_rank)}"])
    assert sized.method.rank == 6
    assert sized.notes["size"] == {
        "wanted": round(5.6 * per_rank), "of": "params", "knob": "rank", "value": 6, "reached": 6 * per_rank,
    }  # fmt: skip


def test_of_all_values_the_one_is_taken_that_comes_closest(monkeypatch):
    sizes = {value: 3 * value + value**2 // 10 for value in range(1, 60)}  # there is no larger one

    def measured(cell, value):
        if value not in sizes:
            raise InputError("larger than the layer")
        return sizes[value]

    monkeypatch.setattr(sizing, "with_knob", lambda method, knob, value: value)
    monkeypatch.setitem(sizing.MEASURES, "params", measured)
    method = SimpleNamespace(sized_by="rank", weightless=True)
    for wanted in range(1, 600):
        found = solve(SimpleNamespace(method=method, names={}, size=wanted, size_of="params"))
        assert found.reached == sizes[found.value]
        assert abs(found.reached - wanted) == min(abs(size - wanted) for size in sizes.values())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["houlsby", "loha", "prefix_flat", "compacter", "fourierft", "unilora"])
def test_no_other_value_comes_closer(method):
    cell = cell_of(["task=protein", f"method={method}", "size=9000"])
    assert cell.method.sized_by == cell.notes["size"]["knob"]
    value, reached = cell.notes["size"]["value"], cell.notes["size"]["reached"]
    for other in (value - 1, value + 1):
        try:
            found = count_trainable(cell, with_knob(cell.method, cell.method.sized_by, other))
        except InputError:
            continue
        assert abs(found - 9000) >= abs(reached - 9000)


@pytest.mark.slow
def test_every_sized_method_grows_with_its_knob():
    assert len([name for name in names_in("method") if method_of(name).sized_by]) > 50
    grown = []
    for method in ("lora", "hra", "vera", "lokr", "mam", "unipelt", "vblora"):
        cell = cell_of(["task=nmt", f"method={method}"])
        try:
            sizes = [count_trainable(cell, with_knob(cell.method, cell.method.sized_by, value)) for value in (4, 8)]
        except InputError:
            continue
        assert sizes[0] < sizes[1], method
        grown.append(method)
    assert len(grown) >= 5  # of those that fit, so that the loop has looked at some


@pytest.mark.parametrize("size_of", ["params", "bytes"])
def test_a_sized_run_is_as_large_as_said(toy_cell, size_of):
    cell = toy_cell("causal_lm", "houlsby", "size=3000" if size_of == "params" else "size=20000", f"size_of={size_of}")
    costs = {m.name: m.value for m in run_cell(cell).measurements if m.split == "cost"}
    reached = costs["trainable_params"] if size_of == "params" else costs["checkpoint_bytes"]
    assert cell.notes["size"]["reached"] == reached
    assert abs(reached - cell.size) / cell.size < 0.1
    assert any(p.requires_grad for p in attach_to_skeleton(cell, cell.method).parameters())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["method=bitfit", "size=100"], "bitfit has no setting for its size"),
        (["method=pissa", "size=100"], "pissa needs loaded weights"),
        (["method=lora", "size=0"], "size: 0 given, at least 1 and"),
        (["method=lora", "size=10", "size_of=flops"], "size_of: 'flops' given, params or bytes wanted"),
    ],
)
def test_a_size_that_cannot_be_is_refused(words, reason):
    with pytest.raises(InputError, match=reason):
        cell_of(["task=protein", *words])

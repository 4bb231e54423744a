"""Named sweeps: what they go over exists, and the command takes them."""

import pytest
from omegaconf import OmegaConf

from benchmark.compose import CONFIGS, GROUPS, check_options, names_in, usage
from benchmark.run import for_hydra
from benchmark.types import Unusable


@pytest.mark.parametrize("name", names_in("sweep"))
def test_what_a_sweep_goes_over_exists(name):
    sweep = OmegaConf.load(CONFIGS / "sweep" / f"{name}.yaml")
    assert sweep.description in usage()
    for group, values in sweep.hydra.sweeper.params.items():
        chosen = [value.strip() for value in values.split(",")]
        assert len(chosen) == len(set(chosen))
        if group in GROUPS:
            assert set(chosen) <= set(names_in(group))


def test_the_architectures_of_low_resource_translation_are_fifteen():
    sweep = OmegaConf.load(CONFIGS / "sweep" / "nmt15.yaml")
    assert len(sweep.hydra.sweeper.params.method.split(",")) == 15


def test_a_sweep_is_several_runs():
    expected = ["-m", "+sweep=nmt15", "seed=0,1"]
    assert for_hydra(["sweep=nmt15", "seed=0,1"]) == for_hydra(["+sweep=nmt15", "seed=0,1", "--multirun"]) == expected
    assert for_hydra(["method=lora"]) == ["method=lora"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["sweep=nmt51"], "no such sweep; did you mean nmt15"),
        (["sweep=nmt15", "method=lora"], "method=: the sweep goes over it"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(words, reason):
    with pytest.raises(Unusable, match=reason):
        check_options(words)

"""Successive halving: which trials run to which step."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmark.config.trials import BEYOND, move_edges, ranking
from benchmark.errors import InputError, NoSelectionError, VacantPlaceError
from benchmark.records import Record
from benchmark.types import validation_steps

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "tuning.yaml"


@dataclass(frozen=True)
class Rung:
    """Step of tuning."""

    trials: int  # that run in it, the best of the rung below
    share: float  # of the budget's steps, after which it stops
    seeds: tuple[int, ...]


@functools.cache
def rungs() -> tuple[Rung, ...]:
    """Read the rungs, and add the one of the trial beyond the edge."""
    config: Any = OmegaConf.to_container(OmegaConf.load(CONFIG))
    listed = [Rung(rung["trials"], rung["share"], tuple(rung["seeds"])) for rung in config["rungs"]]
    return (*listed, Rung(1, listed[-1].share, listed[-1].seeds))


def stops(budget: Mapping[str, Any]) -> list[int]:
    """Give each rung's last step: the validation nearest to its share.

    Of two equally near ones the later.

    Raises InputError where a rung would end where the one below it did.
    """
    steps, shares = validation_steps(budget["steps"], budget["evaluations"]), [rung.share for rung in rungs()]
    ends = [min(steps, key=lambda step: (abs(step - share * budget["steps"]), -step)) for share in shares]
    if len(set(ends)) < len(set(shares)):
        wanted = ", ".join(f"{share:g}" for share in dict.fromkeys(shares))
        raise InputError(
            f"budget.evaluations: {budget['evaluations']} given, but tuning stops after {wanted} of the steps, each at "
            "a validation of its own: give more evaluations, or run the trials in full (trial=0,1,2,3)"
        )
    return ends


def lay_out(overrides: tuple[str, ...]) -> list[tuple[str, ...]]:
    """List the cells of overrides that name a rung; other overrides are one cell."""
    rung = rung_of(overrides)
    if rung is None or any(override.startswith("place=") for override in overrides):
        return [overrides]
    seeds, trials = rungs()[rung].seeds, range(rungs()[rung].trials)
    return [(*overrides, f"seed={seed}", f"place={place}") for seed in seeds for place in trials]


def cells_below(overrides: tuple[str, ...]) -> list[tuple[str, ...]]:
    """List the cells of the rung below, whose records decide who enters this one."""
    rung = rung_of(overrides)
    if not rung:
        return []
    others = [override for override in overrides if override.partition("=")[0] not in ("rung", "seed", "place")]
    return lay_out((f"rung={rung - 1}", *others))


def rung_of(overrides: Sequence[str]) -> int | None:
    """Give the rung that overrides name.

    Raises InputError where there is no such rung.
    """
    values = [override.partition("=")[2] for override in overrides if override.startswith("rung=")]
    if not values:
        return None
    if not values[-1].isdecimal() or int(values[-1]) >= len(rungs()):
        raise InputError(f"rung: {values[-1]} given, 0 to {len(rungs()) - 1} wanted (configs/tuning.yaml)")
    return int(values[-1])


@dataclass(frozen=True)
class Tuning:
    """Tuning records of one method, and the trials that run next."""

    method: str
    search: Mapping[str, Any]
    budget: Mapping[str, Any]
    records: Sequence[Record]  # of this budget

    def stop(self, rung: int) -> int:
        """Give the step after which a rung stops."""
        return stops(self.budget)[rung]

    def trial(self, rung: int, place: int) -> int:
        """Give the trial at a position of a rung.

        Raises VacantPlaceError, or NoSelectionError.
        """
        entrants = self.entrants(rung)
        if place >= len(entrants):
            raise VacantPlaceError(self._vacancy(rung, len(entrants)))
        return entrants[place]

    def entrants(self, rung: int) -> list[int]:
        """List the trials that run in a rung, the best first. Raises NoSelectionError."""
        if rung == 0:
            return list(range(rungs()[0].trials)) if self.search else [0]  # with nothing to draw there is one trial
        before = [trial for trial, _ in self.standing(rung - 1)]
        if rung < len(rungs()) - 1:
            return before[: rungs()[rung].trials]
        return [BEYOND + trial for trial in before[:1] if move_edges(self.method, self.search, trial)]

    def standing(self, rung: int) -> list[tuple[int, float]]:
        """Order a rung's trials by validation loss, without failed ones.

        Raises NoSelectionError.
        """
        trials, seeds, stop = self.entrants(rung), rungs()[rung].seeds, self.stop(rung)
        known = {(r.trial, r.seed): r for r in self.records if (r.config.get("until") or self.budget["steps"]) == stop}
        for trial, seed in itertools.product(trials, seeds):
            if (trial, seed) not in known:
                raise NoSelectionError(f"rung {rung} of tuning is not complete: trial {trial} lacks seed {seed}")
        return ranking({trial: [known[trial, seed] for seed in seeds] for trial in trials})

    def dropped(self, rung: int) -> list[str]:
        """Name the runs of the rung below whose trials do not enter a rung."""
        if rung == 0 or rung == len(rungs()) - 1:
            return []
        stay, ended = self.entrants(rung), set(self.entrants(rung - 1))
        return [r.run_id for r in self.records if r.trial in ended and r.trial not in stay]

    def _vacancy(self, rung: int, left: int) -> str:
        if rung == 0:
            return "this method has nothing to tune: its default is its only trial"
        if rung == len(rungs()) - 1:
            return (
                "the best trial does not lie at the edge of a range or list"
                if self.standing(rung - 1)
                else "no trial is left"
            )
        return f"{left or 'no'} trial{'s are' if left > 1 else ' is'} left"

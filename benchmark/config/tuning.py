"""Trial of a cell by the tuning records: of a rung, or the selected one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.cell import Cell
from benchmark.config.build import convert
from benchmark.config.halving import Tuning, rung_of, rungs
from benchmark.config.trials import draw, edges, select, tuning_records
from benchmark.errors import InputError, NoSelectionError, VacantPlaceError
from benchmark.records import Record, Store, shipped
from benchmark.types import TUNE


def select_trial(
    cell: Cell, choices: dict[str, Any], search: Mapping[str, Any], results: Path
) -> dict[str, Any] | None:
    """Give the selected trial and its evidence; None for an incompatible pair.

    Raises InputError.
    """
    if cell.phase == TUNE:
        raise InputError(
            "trial=selected: phase=tune needs numbers, as in trial=0,1,2,3; only the final phase can select a trial"
        )
    try:
        known = tuning_records(records_of(cell, results), choices, search)
        selection = select(known, choices, search)
        if any(record.config.get("until") for record in known):
            tuning = Tuning(cell.names["method"], search, selection.budget, known)
            tuning.standing(len(rungs()) - 1)  # raises unless every rung is complete
    except NoSelectionError as error:
        if cell.conflict():  # not tuned for the same reason, which the run gives
            return None
        raise InputError(str(error)) from error
    at_edge = edges(search, draw(cell.names["method"], search, selection.trial))
    return {**dataclasses.asdict(selection), "at_edge": at_edge}


def trial_of_rung(
    cell: Cell, choices: dict[str, Any], search: Mapping[str, Any], tree: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the trial at a position of a rung, its last step and its evidence.

    Raises InputError where the rung below is not complete, VacantPlaceError where no trial is left for the position.
    """
    rung, place = rung_of([f"rung={tree['rung']}"]), convert(tree["place"], int, "place")
    if cell.phase != TUNE:
        raise InputError(f"rung: {rung} given, but only tuning has rungs: phase=tune")
    try:
        known = records_of(cell, Path(tree["results"])) if rung else []
        known = tuning_records(known, choices, search, same_budget=True) if rung else []
        tuning = Tuning(cell.names["method"], search, choices["budget"], known)
        entrant = {"rung": rung, "place": place, "trial": tuning.trial(rung, place), "until": tuning.stop(rung)}
        standing = tuning.standing(rung - 1) if rung else []
    except (NoSelectionError, VacantPlaceError) as error:
        if reason := cell.conflict():
            raise VacantPlaceError(reason) from error
        raise (error if isinstance(error, VacantPlaceError) else InputError(str(error))) from error
    return {**entrant, "standing": standing, "dropped": tuning.dropped(rung)}


def records_of(cell: Cell, results: Path) -> list[Record]:
    """Read the records of a cell's task and method, the user's before shipped ones."""
    names = cell.names["task"], cell.names["method"]
    return list({record.run_id: record for record in (*shipped(*names), *Store(results / "runs").of(*names))}.values())

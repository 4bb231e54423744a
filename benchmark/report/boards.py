"""Settings of one task and backbone that may be held against each other: all but the method is the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmark.records import Record
from benchmark.report.frame import Run
from benchmark.report.groups import ANY_SOURCE, Group, differences, grouped
from benchmark.report.views import MEASURING

MEANINGLESS = (MEASURING, "smoke")  # budgets whose scores say nothing
LIKE = 2.0  # times as many examples, or as few, are a like number
ENOUGH = 3  # seeds
MANY = 2.0  # times as many methods are many more


@dataclass(frozen=True)
class Board:
    """The settings of one budget, view, device type and data, each a group of seeds."""

    budget: str
    view: str
    groups: tuple[Group, ...]
    lost: tuple[Group, ...] = ()  # under this budget and view they gave no number

    @property
    def examples(self) -> int:
        """How many examples its runs trained on."""
        return max((r.data.get("sizes") or {}).get("train", 0) for g in self.groups for r in g.done)

    @property
    def methods(self) -> set[str]:
        """Name the methods that gave a number."""
        return {group.method for group in self.groups}

    @property
    def weight(self) -> int:
        """How much there is to choose by; a second seed of a method counts more than another method's first."""
        most: dict[str, int] = {}
        for group in self.groups:
            most[group.method] = max(len(group.done), most.get(group.method, 0))
        return sum(min(count, ENOUGH) ** 2 for count in most.values())

    def records(self) -> list[Record]:
        """List the runs that gave numbers."""
        return [record for group in self.groups for record in group.done]

    def distance(self, examples: int | None) -> float:
        """Say how many times as many examples are wanted, or as few; 1 where that is no matter."""
        if examples is None or not self.examples:
            return 1.0
        return max(self.examples / examples, examples / self.examples)


def boards(runs: Iterable[Run], backbone: str) -> list[Board]:
    """Sort the final runs of one task on a pretrained backbone; records of both sources stand side by side."""
    found = []
    for (_, name), groups in grouped(list(runs)).items():
        mine = [g for g in groups if g.backbone == backbone and not g.control and g.records]
        sides: dict[tuple, list[Group]] = {}
        for group in mine:
            if group.done:
                sides.setdefault(group.shared(ANY_SOURCE), []).append(group)
        lost = tuple(g for g in mine if not g.done)
        for members in sides.values():
            budget = str((members[0].done[0].config.get("budget") or {}).get("name") or "")
            told = tuple(replace(g, differences=own) for g, own in differences(members))
            found.append(Board(budget, name.removeprefix(budget).strip("_"), told, lost))
    return found


def best(known: Sequence[Board], examples: int | None = None) -> list[Board]:
    """Sort boards by what they tell: a like number of examples first, then most methods and seeds, then most steps."""

    def order(board: Board) -> tuple:
        far = board.distance(examples)
        steps = (board.groups[0].done[0].config.get("budget") or {}).get("steps") or 0
        return round(math.log2(far), 1) if far > LIKE else 0, -board.weight, -steps, board.budget, board.view

    return sorted((b for b in known if b.budget not in MEANINGLESS), key=order)


def wider(board: Board, known: Sequence[Board]) -> Board | None:
    """Find the best board of the same budget and view that has many more methods, on another number of examples."""
    alike = [b for b in best(known) if (b.budget, b.view) == (board.budget, board.view)]
    many = [b for b in alike if len(b.methods) > MANY * len(board.methods) and b.distance(board.examples) > LIKE]
    return next(iter(many), None)

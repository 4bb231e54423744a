"""Mutants: every change listed in mutants/ breaks the test it names."""

import compileall
import multiprocessing
import os
import py_compile
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.mutants

ROOT = Path(__file__).parents[1]
NEEDED = ("benchmark", "configs", "scripts", "tasks", "tests", "pyproject.toml", "results/capabilities.csv")
OURS = ("PYTEST", "HF_HOME", "BENCHMARK_CACHE")  # what this run of pytest has set for itself begins so
FAILED, LONGEST = 1, 300  # pytest's status where a test failed, unlike one that could not be run; seconds
MUTANTS = {
    f"{file.stem}: {name}": mutant
    for file in sorted((ROOT / "tests" / "mutants").glob("*.yaml"))
    for name, mutant in yaml.safe_load(file.read_text(encoding="utf-8")).items()
}
GROUPS = sorted({name.partition(":")[0] for name in MUTANTS})
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["peft", "hydra", "pandas", "scipy.stats", "sacrebleu"])  # take seconds: once is enough


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """Copy what the tests need, once per worker; no records are among it."""
    copy = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            (copy / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    # byte code is taken by the hash of its source: by time and size, a mutant of the same size would not be seen
    compileall.compile_dir(copy, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return copy


def run(tree, *tests):
    """Run tests of the copy in a process; return status (None: too long), output."""
    (tree / "scratch").mkdir(exist_ok=True)
    child = FORKS.Process(target=within, args=(tree, tests))
    child.start()
    child.join(LONGEST)
    status = child.exitcode
    child.kill()
    child.join()
    shutil.rmtree(tree / "scratch")
    return status, (tree / "said").read_text(encoding="utf-8", errors="replace")


def within(tree, tests):
    """Import the copy instead of this tree; its files stay in the copy."""
    os.chdir(tree)
    sys.path[:] = [str(tree), *(place for place in sys.path if place not in ("", str(ROOT), str(ROOT / "tests")))]
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    sys.dont_write_bytecode = True
    tempfile.tempdir = str(tree / "scratch")
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": tempfile.tempdir}
    said = os.open(tree / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.exit(int(pytest.main(["-x", "--tb=short", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])))


@pytest.mark.parametrize("group", GROUPS)
def test_the_named_tests_pass_on_the_code_as_it_is(group, tree):
    status, said = run(tree, *sorted({m["caught_by"] for name, m in MUTANTS.items() if name.startswith(f"{group}:")}))
    assert status == 0, said[-3000:]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name, tree):
    mutant = MUTANTS[name]
    file, old, test = tree / mutant["file"], mutant["old"], mutant["caught_by"]
    text = file.read_text(encoding="utf-8")
    found = text.count(old)
    assert found == 1, f"{mutant['file']} has {old!r} {found} times instead of once: bring the list up to date"
    try:
        file.write_text(text.replace(old, mutant["new"]), encoding="utf-8")
        status, said = run(tree, test)
    finally:
        file.write_text(text, encoding="utf-8")
    if status == 0 and "passed" not in said:
        pytest.skip(f"{test} is skipped here")
    assert status == FAILED, f"{test} does not notice it (status {status})\n{said[-3000:]}"

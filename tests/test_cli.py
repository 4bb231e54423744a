"""The command crosspeft, and the names that a Python program imports."""

import fnmatch
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest

import benchmark
from benchmark import cli
from benchmark.errors import InputError

ROOT = Path(__file__).parents[1]
SHIPPED = ("benchmark", "tasks", "configs", "results/published/reference")  # folders that the code reads
LAZY = "import sys; {}; print(sorted({{'torch', 'hydra', 'pandas', 'transformers'}} & sys.modules.keys()))"


def test_alone_and_with_help_it_lists_every_verb(capsys):
    assert cli.main([]) == 0
    alone = capsys.readouterr().out
    assert cli.main(["--help"]) == 0
    assert capsys.readouterr().out == alone
    assert [line.split()[0] for line in alone.splitlines() if line.startswith("  ")] == list(cli.VERBS)


def test_the_project_installs_the_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"crosspeft": "benchmark.cli:entry"}


def test_a_wheel_holds_every_file_that_the_code_reads():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages, names = setuptools["packages"]["find"]["include"], setuptools["package-data"]["*"]
    files = [path for folder in SHIPPED for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [ROOT / "results/capabilities.csv", ROOT / "results/claims.yaml", *ROOT.glob("results/quoted/*.yaml")]
    read = [path for path in files if path.suffix not in (".py", ".pyc")]
    assert len(read) > 250
    for path in read:
        package = ".".join(path.parent.relative_to(ROOT).parts)
        assert any(fnmatch.fnmatchcase(package, pattern) for pattern in packages), path
        assert any(fnmatch.fnmatchcase(path.name, pattern) for pattern in names), path


def test_an_unknown_verb_is_refused_with_those_that_are_near(capsys):
    assert cli.main(["reprot"]) == 2
    assert capsys.readouterr().err.startswith("refused: reprot: no such verb; did you mean report? (known: advise,")


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(verb, capsys):
    assert cli.main([verb, "--help"]) == 0
    assert f"python -m benchmark.{verb} " in capsys.readouterr().out


def test_a_verb_passes_its_arguments_and_status_on(capsys):
    assert cli.main(["run", "method=lroa", "task=nmt"]) == 2
    assert "method=lroa: no such method; did you mean road or lora" in capsys.readouterr().err


@pytest.mark.parametrize(
    "statement", ["import benchmark", "from benchmark.cli import main; main(['--help'])", "import benchmark.report"]
)
def test_what_takes_seconds_is_imported_only_when_it_is_needed(statement):
    done = subprocess.run([sys.executable, "-c", LAZY.format(statement)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_program_imports_the_same_modules_in_any_order():
    code = "from benchmark import run, load, report; import benchmark.run, benchmark.report; "
    code += "assert benchmark.run is run and benchmark.report is report and callable(load)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = benchmark.rnu


def test_a_program_runs_a_cell_once_and_gets_its_record(tmp_path):
    small = ("data=toy", "task.max_target_tokens=12", "backbone.weights=random", "budget=smoke", "budget.steps=2")
    overrides = ("method=bitfit", "task=nmt", *small, "device=cpu", f"results={tmp_path}")
    record = benchmark.run.execute(*overrides)
    assert (record.status, record.method, record.seed) == ("done", "bitfit", 0)
    assert benchmark.run.execute(*overrides).to_json() == record.to_json()  # read, with the time of the first run in it


def test_a_program_gets_an_error_where_the_command_prints_a_line(tmp_path):
    with pytest.raises(InputError, match="method=lroa"):
        benchmark.run.execute("method=lroa", "task=protein", f"results={tmp_path}")


def test_a_program_makes_the_report_that_the_command_makes(tmp_path, capsys):
    benchmark.report.build(tmp_path)
    assert "no records in" in capsys.readouterr().out


def test_a_run_from_python_hides_the_warnings_of_libraries(monkeypatch, recwarn):
    monkeypatch.setattr(benchmark.run, "perform", lambda *_: warnings.warn("deprecated", FutureWarning, stacklevel=1))
    benchmark.run.execute("method=lora", "task=nmt", "budget=smoke")
    assert [str(warning.message) for warning in recwarn] == []


def test_a_list_without_trials_says_so(tmp_path, capsys):
    assert cli.main(["status", "+sweep=tune", "task=nmt", "method=lora", f"results={tmp_path}", "--trials"]) == 1
    assert capsys.readouterr().out.strip() == "no trial of this sweep is recorded"

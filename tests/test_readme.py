"""The two commands of the README, and the output that it shows."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from benchmark.sweeps import screen

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINES = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
OUTPUT = README.partition("```text\n")[2].partition("```")[0]
EXACT = re.compile(r"trainable parameters │ ([\d,]+ \([\d.]+ %\)).*adapter on disk │ ([\d,]+ kB)", re.DOTALL)


def scores(text):
    """Read the table of scores: score -> its values on valid and test."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    return {name: [float(v) for v in values[:2] if v] for name, *values in rows if name in tolerances()}


def tolerances():
    """Read the sentence that states them: score -> how far it may be off."""
    stated = README.partition("\nTolerance:")[2].partition("A test runs")[0]
    found = re.findall(r"([\d.]+)(?: of these)? for (.+?)(?:, |\.\s)", " ".join(stated.split()) + " ")
    names = {"BLEU": "bleu", "chrF++": "chrf++", "bits per byte": "bits_per_byte"}
    return {names.get(name, name): float(value) for value, both in found for name in both.split(" and ")}


def test_the_readme_states_a_tolerance_for_every_score_that_it_shows():
    assert tolerances() == {"bleu": 7, "chrf++": 4, "perplexity": 0.15, "loss": 0.1, "bits_per_byte": 0.05}
    assert {name: len(values) for name, values in scores(OUTPUT).items()} == dict.fromkeys(tolerances(), 2) | {
        "loss": 1
    }
    assert EXACT.search(OUTPUT)


def test_the_readme_shows_the_labels_that_the_screen_has_now():
    assert [label for label, *_ in screen.COSTS.values() if label not in OUTPUT] == []


def test_each_of_the_two_commands_is_one_line_that_makes_installs_and_runs():
    assert [line.rpartition(" && ")[2] for line in LINES] == [
        "python -m benchmark.run method=lora task=nmt",
        "pytest -n auto",
    ]
    for line in LINES:
        subprocess.run(["bash", "-n", "-c", line], check=True)
        steps = [shlex.split(step)[:2] for step in line.split(" && ")]
        assert steps[:3] == [["python3", "-m"], [".", ".venv/bin/activate"], ["pip", "install"]]


@pytest.mark.parametrize(("name", "line"), zip(("main", "tests"), LINES, strict=True))
def test_ci_takes_each_command_from_the_readme(name, line):
    found = subprocess.run([ROOT / ".ci/readme", name], capture_output=True, text=True, check=True).stdout
    assert found == f"{line}\n"
    assert f".ci/readme {name}" in (ROOT / ".ci/run").read_text()


@pytest.mark.slow
def test_the_main_command_prints_what_the_readme_shows(tmp_path):
    printed = os.environ.get("README_OUTPUT")  # of .ci/run, which has run the whole line
    output = Path(printed).read_text() if printed else run_main(tmp_path)
    assert EXACT.search(output).groups() == EXACT.search(OUTPUT).groups()
    values, shown = scores(output), scores(OUTPUT)
    for name, most in tolerances().items():
        assert values[name] == pytest.approx(shown[name], abs=most), name


def run_main(results):
    """Run the last part of the main command, and give what it prints."""
    words = [*shlex.split(LINES[0].rpartition(" && ")[2]), f"results={results}", "device=cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

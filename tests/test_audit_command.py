"""The audit as a command: cards, refusals, and real sets."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import random_sequences, stub_task

from benchmark.audit import __main__ as command
from benchmark.audit import duplicates
from benchmark.audit.findings import audit
from benchmark.types import Example, Input
from tasks.answers.classification import Classification

ROOT = Path(__file__).parents[1]
REAL = os.environ.get("BENCHMARK_DATA_DIR")
real = pytest.mark.skipif(not REAL, reason="BENCHMARK_DATA_DIR is not set: no real files to try")


def test_what_a_cap_keeps_depends_neither_on_the_process_nor_on_the_order():
    program = (
        "from benchmark.audit.duplicates import sample; from benchmark.types import Example;"
        "print(*(e.id for e in sample([Example(str(i), '', ()) for i in reversed(range(50))], 9)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    call = [sys.executable, "-c", program]
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    kept = [e.id for e in duplicates.sample([Example(str(i), "", ()) for i in range(50)], 9)]
    assert done.stdout.split() == kept
    assert len(set(kept)) == 9


@pytest.fixture
def files(tmp_path):
    """Overrides for three files of the user's own with one planted row."""
    for name, seed in (("train", 0), ("valid", 1), ("test", 2)):
        sources = [*random_sequences(seed, 6), *([random_sequences(0, 1)[0]] if name == "test" else [])]
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([["mr", "ref"], *([s, f"{name} | {i}"] for i, s in enumerate(sources))])
    named = [f"data.{name}={tmp_path / name}.csv" for name in ("train", "valid", "test")]
    return ["task=text_generation", "data=files", *named, "data.columns.source=mr", "data.columns.target=ref"]


def test_a_leak_in_own_files_is_told_at_the_top_and_the_status_is_0(files, capsys):
    assert command.main(files) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("`python -m benchmark.audit task=text_generation data=files data.train=train.csv ")
    assert out[2] == "- LEAK: 1 of 7 sources of test stand in train (0 with the same target)"


@pytest.mark.slow
def test_every_process_says_the_same(files, capfd):
    assert command.main(files) == 0
    here = capfd.readouterr().out
    call = [sys.executable, "-m", "benchmark.audit", *files]
    done = subprocess.run(
        call, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == here


def test_a_card_keeps_what_was_printed_and_its_own_words(files, tmp_path, monkeypatch, capsys):
    (tmp_path / "task").mkdir()
    card = tmp_path / "task" / "text_generation.md"
    card.write_text("# text_generation\n\nBy hand.\n\n## Audit\n")
    monkeypatch.setattr(command, "CONFIGS", tmp_path)
    assert command.main([*files, "write=true"]) == 0
    once = card.read_text()
    assert once.startswith(f"# text_generation\n\nBy hand.\n\n## Audit\n\n{command.BEGIN}\n")
    assert once.endswith(f"{command.END}\n")
    assert once[once.index(command.BEGIN) :].splitlines()[2:-2] == capsys.readouterr().out.splitlines()[:-1]
    assert str(tmp_path) not in once
    assert command.main([*files, "write=true"]) == 0
    assert card.read_text() == once


def test_no_backbone_is_needed(files, capsys):
    assert command.main([*files, "backbone=causal_lm", "backbone.checkpoint=nowhere"]) == 0
    assert "LEAK" in capsys.readouterr().out


def test_a_card_with_half_a_mark_is_left_alone():
    with pytest.raises(command.InputError, match="once each"):
        command.insert(f"text {command.BEGIN} text", "audit")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ([], "task=? is missing"),
        (["task=nmtt"], "task=nmtt: no such task; did you mean nmt?"),
        (["task=nmt", "task.target_langage=ta"], "task.target_langage: no such key; did you mean target_language"),
        (["task=nmt", "write=perhaps"], "write: 'perhaps' given, bool wanted"),
        (["task=nmt,e2e_nlg"], "one audit is of one task"),
        (["task=nmt", "-m"], "one audit is of one task"),
        (
            ["task=nmt", "data=files", "data.train=no.csv", "data.valid=none.csv", "data.test=never.csv"],
            "no file 'no.csv'",
        ),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_in_one_line(call, said, capsys):
    assert command.main(call) == 2
    err = capsys.readouterr().err
    assert err.startswith("refused: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_terminal_gets_every_line_of_the_findings(files, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    assert command.main(files) == 0
    out = capsys.readouterr().out
    assert "LEAK: 1 of 7 sources of test stand in train (0 with the same target)" in out
    assert "source [characters]" in out
    assert "test to train" in out


@real
def test_pneumoniamnist_has_eight_images_in_both_train_and_valid(capsys):
    file = next((Path(REAL) / "pneumoniamnist").glob("*.npz"))
    assert command.main(["task=medical_images", "data=image_npz", f"data.file={file}"]) == 0
    out = capsys.readouterr().out
    found = [line for line in out.splitlines() if line.startswith("- ")]
    assert found == ["- LEAK: 8 of 524 sources of valid stand in train (8 with the same target)"]
    assert "| test | 624 | 0 | 28 x 28 |" in out
    assert "| 1 | 3,494 (74.2 %) | 389 (74.2 %) | 390 (62.5 %) |" in out  # the set's own counts


@real
def test_fsdd_shares_all_its_speakers_between_its_official_splits():
    folder = Path(REAL) / "fsdd"
    data = {"train": [], "test": []}
    with open(folder / "metadata.csv", newline="") as file:
        for row in csv.DictReader(file):
            name = row["file_name"]
            data[row["official_split"]].append(Example(name, name, (row["digit"],), row["speaker"]))
    made = audit(stub_task(data, Classification, Input.AUDIO))
    assert made.findings[0].startswith("LEAK: 6 of 6 groups of test stand in train (george, jackson, lucas, ")

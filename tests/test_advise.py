"""Advice: what is recommended, by which records, and that commands compose."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from factories import make_record

from benchmark.advise import __main__ as advise
from benchmark.config.compose import cell_of, choices_of
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from benchmark.sweeps.grid import expand

ROOT = Path(__file__).resolve().parents[1]
PLACE = ("task=protein", "backbone=esm_lattice")


@cache
def config(*said):
    return choices_of(cell_of(said))


def made(method, seed=0, right=80, trained=5_000, **changes):
    """Make a run of a real setting with so many of a hundred examples right."""
    said, rows = changes.pop("words", ("budget=quick",)), changes.pop("rows", True)
    chosen = config(f"method={method}", *PLACE, *said) | {"seed": seed}
    values = {"seconds_per_step": 0.1, "train_seconds": 4.0, "peak_memory_bytes": 9e8, "params": 1e6}
    values |= {"trainable_params": trained} | changes.pop("costs", {})
    truth = [float(i) for i in range(100)]
    told = [
        {"split": "test", "id": str(i), "target": [t], "prediction": t if i < right else 0.0}
        for i, t in enumerate(truth)
    ]
    score = changes.pop("score", right / 100)
    measured = [Measurement("test", "spearman", score), *(Measurement("cost", *pair) for pair in values.items())]
    names = {"task": "protein", "method": method, "backbone": "esm_lattice"}
    data = {"data": {"fingerprint": "f", "metric": "spearman", "sample": "s", "sizes": {"train": 400}}}
    return make_record(chosen, *measured, **names | data | changes), told if rows else None


def asked(results, capsys, *said, runs=(), status=0):
    for one in runs:
        Store(results / "published/reference").append(*one)
    assert advise.main(["task=protein", f"results={results}", *said]) == status
    return capsys.readouterr().out


def lines(text, start):
    """Split the lines that begin with a word, commands left out."""
    return [line.split() for line in text.splitlines() if line.startswith(f"{start} ")]


def joined(text):
    return " ".join(text.split())


def commands(text):
    whole = text.replace("\\\n", " ")
    return [shlex.split(line, comments=True)[3:] for line in whole.splitlines() if "-m benchmark.run " in line]


THREE = tuple(
    made(name, seed, right + seed, trained, costs={"seconds_per_step": step})
    for name, right, trained, step in (("lora", 80, 50_000, 0.2), ("houlsby", 79, 5_000, 0.1), ("full", 20, 9e5, 0.3))
    for seed in (0, 1, 2)
)


def test_the_fronts_the_ties_and_the_costs_are_those_of_the_records(tmp_path, capsys):
    text = asked(tmp_path, capsys, runs=THREE)
    # scores are means over three seeds: 0.81 and 0.80 of the same examples, 0.21 far below
    assert [row[:2] for row in (*lines(text, "lora"), *lines(text, "houlsby"))] == [
        ["lora", "0.810"],
        ["houlsby", "0.800"],
    ]
    assert text.startswith("Try lora; tied with houlsby; clearly worse: full.\n")
    (lora,), (houlsby,) = lines(text, "lora"), lines(text, "houlsby")
    assert lora[5:] == ["3", "best", "50,000", "900", "MB", "200", "ms", "size,", "memory,", "step"]
    assert houlsby[5:] == ["3", "tied", "5,000", "900", "MB", "100", "ms", "size,", "step"]
    assert not lines(text, "full")  # dearer and worse
    assert "Thin: one budget is recorded" in text
    assert "fewer than" not in text
    assert "Measurements of one setting differ" not in text  # each was measured alike


def test_how_far_measurements_of_one_setting_differ_is_said(tmp_path, capsys):
    runs = [made("lora", s, costs={"seconds_per_step": 0.1 + 0.02 * s}) for s in (0, 1)]
    assert "differ by 20 % in step (median)" in joined(asked(tmp_path, capsys, runs=runs))


def test_a_results_folder_that_was_given_stands_in_every_command(tmp_path, capsys, monkeypatch):
    said = commands(asked(tmp_path, capsys, runs=[made("lora"), made("ia3", right=79, trained=10)]))
    assert said
    assert all(words[-1] == f"results={tmp_path}" for words in said)
    text = asked(tmp_path, capsys, "backbone=esm2_8m", status=1)
    assert all(words[-1] == f"results={tmp_path}" for words in commands(text))
    assert advise.main(["task=solubility", f"results={tmp_path}"]) == 1
    assert "ask with task=protein." in joined(capsys.readouterr().out)
    (tmp_path / "results").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert advise.main(["task=protein"]) == 0
    assert "results=" not in capsys.readouterr().out


def test_every_command_composes_and_is_the_recorded_setting(tmp_path, capsys):
    runs = [made("lora", words=("budget=quick", "trial=2")), made("ia3", right=79, trained=10)]
    text = asked(tmp_path, capsys, runs=runs)
    single = [words for words in commands(text) if not words[0].startswith(("-m", "+sweep"))]
    ids = {run_id(choices_of(cell_of([*words, "seed=0"]))) for words in single}
    assert ids <= {record.run_id for record, _ in runs}
    assert single
    grids = [words for words in commands(text) if words not in single]
    assert grids
    for grid in grids:
        assert all("task=protein" in cell for cell in expand(grid).cells)


def test_budgets_fractions_and_trials_are_never_held_against_each_other(tmp_path, capsys):
    runs = [made("lora", s, 50) for s in (0, 1, 2)]
    runs += [
        made("full", 0, 90, words=("budget=standard",)),
        made("houlsby", 0, 95, words=("budget=quick", "fraction=0.5")),
    ]
    runs += [made("ia3", 0, 99, words=("budget=quick", "trial=1"))]
    text = asked(tmp_path, capsys, runs=runs)
    assert "0.500" in text
    assert not any(score in text for score in ("0.900", "0.950", "0.990"))
    assert "standard (1 method, 1 seed, 400 examples)" in text
    assert "0.900" in asked(tmp_path, capsys, "budget=standard")
    assert "0.950" not in asked(tmp_path, capsys, "budget=standard")


def test_limits_exclude_and_say_what_came_nearest(tmp_path, capsys):
    text = asked(tmp_path, capsys, "max_params=1e4", "max_memory_gb=1", runs=THREE)
    assert "max_params=10000 excludes 6 of" not in text
    assert "max_params=10000 excludes 2 of 3." in text
    assert "max_memory_gb=1 excludes 0 of 3." in text
    assert lines(text, "houlsby")[0][6] == "best"
    text = asked(tmp_path, capsys, "mergeable=true")
    assert "mergeable=true excludes 1 of 3." in text
    assert not lines(text, "houlsby")
    text = asked(tmp_path, capsys, "max_params=10", status=1)
    assert "max_params=10 excludes 3 of 3; the nearest miss is houlsby: 5,000, score 0.800." in text
    text = asked(tmp_path, capsys, "max_memory_gb=0.5", status=1)
    assert "max_memory_gb=0.5 excludes 3 of 3; the nearest miss is lora: 900 MB" in text


def test_a_time_among_others_is_a_bound_and_memory_after_others_is_none(tmp_path, capsys):
    busy = {"device": "cpu", "device_name": "chip", "shared": True}
    runs = [made("lora", environment=busy), made("ia3", right=70, trained=9, environment=busy | {"cells_before": 3})]
    text = asked(tmp_path, capsys, "max_memory_gb=1", runs=runs)
    (lora,), (ia3,) = lines(text, "lora"), lines(text, "ia3")
    assert lora[8:12] == ["900", "MB", "≤100", "ms"]
    assert ia3[8:11] == ["–", "≤100", "ms"]
    assert "an upper bound" in text
    assert "The memory of 1 of 2 is not known" in joined(text)
    # beside runs that were there to measure costs, alone, those count
    cost = [
        made(m, 0, 80, trained, words=("budget=cost",), costs={"seconds_per_step": 0.01, "peak_memory_bytes": 7e8})
        for m, trained in (("lora", 5_000), ("ia3", 9))
    ]
    text = asked(tmp_path, capsys, runs=cost)
    assert [row[8:12] for name in ("lora", "ia3") for row in lines(text, name)] == [["700", "MB", "10.0", "ms"]] * 2
    assert "Measured in separate runs (+sweep=cost, another number of examples a step): memory, step." in joined(text)


def test_evidence_on_as_many_examples_is_preferred_and_its_distance_told(tmp_path, capsys):
    small = {"fingerprint": "f", "metric": "spearman", "sample": "s", "sizes": {"train": 40}}
    runs = [*THREE, made("ia3", 0, 60, words=("budget=quick", "fraction=0.1"), data=small)]
    text = asked(tmp_path, capsys, "examples=50", runs=runs)
    assert lines(text, "ia3")[0][1] == "0.600"
    assert "No run has about" not in text
    text = asked(tmp_path, capsys, "examples=4000")
    assert lines(text, "lora")[0][1] == "0.810"
    assert "No run has about 4,000 training examples. The nearest has 400, 10 times fewer:" in " ".join(text.split())


def test_a_view_is_chosen_by_its_name(tmp_path, capsys):
    runs = [*THREE, *(made("lora", s, 95, words=("budget=quick", "trial=3")) for s in range(3))]
    text = asked(tmp_path, capsys, "view=defaults", runs=runs)
    assert lines(text, "lora")[0][1] == "0.810"
    assert "Also recorded: quick trials (1 method, 3 seeds, 400 examples)" in " ".join(text.split())
    assert lines(asked(tmp_path, capsys, "view=trials"), "lora")[0][1] == "0.950"
    text = asked(tmp_path, capsys, "view=tuned", status=1)
    assert "no run has that budget and view. Recorded are quick (3 methods, 3 seeds, 400 examples)" in " ".join(
        text.split()
    )
    assert advise.main(["task=protein", f"results={tmp_path}", "view=tunned"]) == 2
    assert "view=tunned: no such view; did you mean tuned" in capsys.readouterr().err


def test_thin_evidence_is_said_to_be_thin(tmp_path, capsys):
    text = " ".join(asked(tmp_path, capsys, runs=[made("lora", rows=False), made("ia3", right=79, rows=False)]).split())
    assert "Thin: 2 of 2 have fewer than 3 seeds" in text
    assert (
        "To run more seeds of those above: python -m benchmark.run -m method=lora task=protein budget=quick seed=0,1,2"
        in text
    )
    assert "Thin: 2 of 2 have no stored answers, so no interval and no test." in text
    assert "Thin: none of the 2 is clearly worse than the best" in text
    assert re.search(r"\d+ methods can run but are not recorded here \(\d+ nowhere\): adalora", text)


def test_without_records_it_names_the_nearest_task_and_how_to_make_some(tmp_path, capsys):
    Store(tmp_path / "runs").append(*made("lora"))
    assert advise.main(["task=solubility", f"results={tmp_path}"]) == 1
    text = capsys.readouterr().out
    assert "The nearest task is protein, 1 run" in text
    grids = commands(text)
    assert [grid[:2] for grid in grids] == [["+sweep=tune", "+sweep=core"], ["+sweep=final", "+sweep=core"]]
    assert all("task=solubility" in cell for grid in grids for cell in expand(grid).cells)
    assert "protein is recorded on esm_lattice" in asked(tmp_path, capsys, "backbone=esm2_8m", status=1)
    text = asked(tmp_path / "none", capsys, status=1)
    assert "To make records" in text
    assert "there is no finished run of protein on esm_lattice with a test score" in joined(text)
    assert f"No records in {tmp_path / 'none'}: there is no such folder." in joined(text)


def test_names_in_records_do_not_steer_the_terminal(tmp_path, capsys):
    hostile = "[red]x$(touch y)"
    record, rows = made("lora")
    text = asked(
        tmp_path, capsys, runs=[made("ia3", right=70), (Record(**record.__dict__ | {"method": hostile}), rows)]
    )
    assert "'method=[red]x$(touch y)'" in text
    assert "\x1b" not in asked(
        tmp_path / "signs", capsys, runs=[made("ia3"), (Record(**record.__dict__ | {"method": "x\x1b[31my"}), rows)]
    )
    assert max(map(len, text.splitlines())) <= 101


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([], "task=\\? is missing .*known: .*protein"),
        (["task=protien"], "task=protien: no such task; did you mean protein"),
        (["task=protein", "backbone=esm_latice"], "no such backbone; did you mean esm_lattice"),
        (["task=protein", "backbone=vit_base"], "does not read what task protein gives .*known: .*esm_lattice"),
        (["task=protein", "budget=quik"], "no such budget; did you mean quick"),
        (["task=protein", "max_memory=8"], "max_memory=: not known here; did you mean max_memory_gb"),
        (["task=protein", "max_memory_gb=abc"], "max_memory_gb=abc: a positive number is wanted"),
        (["task=protein", "max_memory_gb=-1"], "max_memory_gb=-1: a positive number is wanted"),
        (["task=protein", "max_params=nan"], "max_params=nan: a positive number is wanted"),
        (["task=protein", "examples=0"], "examples=0: a positive number is wanted"),
        (["task=protein", "mergeable=maybe"], "mergeable=maybe: no such mergeable .*known: false, true"),
        (["task=nmt", "task=protein"], "task=protein: task=nmt is given before it, one of them is wanted"),
        (["task=protein", "lora"], "lora: an argument is KEY=VALUE"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_in_one_line(said, told, tmp_path, capsys):
    assert advise.main([*said, f"results={tmp_path}"]) == 2
    shown = capsys.readouterr()
    assert re.match(f"refused: .*{told}", shown.err)
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_advice_needs_no_torch(tmp_path):
    for one in THREE:
        Store(tmp_path / "published/reference").append(*one)
    code = (
        "import sys; from benchmark.advise.__main__ import main; "
        f"sys.exit(main(['task=protein', 'results={tmp_path}']) or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lora" in done.stdout


def test_advice_marks_what_is_untrained(tmp_path, capsys):
    first, rows = made("lora")
    kept = replace(first, measurements=(*first.measurements, Measurement("valid", "selected_step", 0.0)))
    text = asked(tmp_path, capsys, runs=((kept, rows), made("ia3", right=60), made("full", right=70)))
    assert [line[1] for line in lines(text, "lora")] == ["0.800‡"]
    assert "Thin (‡): lora: at least one seed is untrained" in joined(text)

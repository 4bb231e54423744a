"""What a run shows: progress, scores, shipped records beside it."""

import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from factories import final_value, json_records, read_files

from benchmark.records import Record
from benchmark.records.packed import pack

REPOSITORY = Path(__file__).resolve().parents[1]


def test_a_run_says_what_it_does_before_it_loads_torch_also_to_a_file(command_overrides, tmp_path):
    """Within five seconds of computing: of a busy machine's clock nothing is said."""
    program = f"""
import sys, time
from benchmark import run
def stop(*given):
    sys.exit(f"{{open(sys.argv[1]).read()}} {{'torch' in sys.modules}} {{time.process_time() < 5}}")
run.assemble = stop
run.main({command_overrides!r})
"""
    place = tmp_path / "said"
    with place.open("w") as file:
        command = [sys.executable, "-c", program, place]
        done = subprocess.run(command, cwd=REPOSITORY, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    line = "lora on text_generation: backbone causal_lm, budget smoke, seed 0"
    assert done.stderr.splitlines() == [line, " False True"]


def test_no_control_character_reaches_an_output_that_is_no_terminal(call, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # build servers set it; it asks for colour, not for a bar
    assert call().err == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_steps_loss_speed_and_time_left(call, monkeypatch):
    for name, setting in {"TERM": "xterm-256color", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, setting)
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert call("budget.steps=40").status == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert re.search(r"train .*\d+/40 .*\d\.\d/s .*\d:\d\d:\d\d .*loss \d\.\d+", shown)
    assert "predict test" in shown


def test_the_screen_shows_scores_of_every_split_and_the_costs(call, results):
    screen = call().out
    (record,) = json_records(results)
    header = next(line for line in screen.splitlines() if "score" in line)
    assert re.findall(r"[\w/]+", header) == ["score", "valid", "test", "test/longer"]
    row = next(line for line in screen.splitlines() if "perplexity" in line)
    wanted = [f"{final_value(record, split, 'perplexity'):.2f}" for split in ("valid", "test", "test/longer")]
    assert re.findall(r"\d+\.\d+", row) == wanted
    params = int(final_value(record, "cost", "trainable_params"))
    share = 100 * params / final_value(record, "cost", "params")
    for text in (f"{params:,} ({share:.2f} %)", "tokens/s", "peak memory", "adapter on disk", "selected step"):
        assert text in screen


def ship(results, installed, **changes):
    """Publish the only record, with other words in its data."""
    (path,) = results.glob("runs/*/*/*.json")
    record = Record.from_json(path.read_text())
    (folder := installed / "published" / "one").mkdir(parents=True)
    pack(folder, [(replace(record, data=record.data | changes), None)], {})


def test_shipped_records_are_compared_with_and_skip_nothing(call, results, tmp_path):
    call("seed=1")
    ship(results, tmp_path / "installed")
    shutil.rmtree(results)
    shipped = read_files(tmp_path / "installed")
    outcome = call("seed=1")
    assert "already recorded" not in outcome.out
    assert len(json_records(results)) == 1
    table = outcome.out.partition("same task, backbone and device type")[2]
    assert re.search(r"lora +│ shipped", table)
    assert re.search(r"lora +│ yours .*<- this", table)
    assert "differs" not in outcome.out
    assert read_files(tmp_path / "installed") == shipped


def test_other_data_than_the_shipped_is_said_and_not_compared(call, results, tmp_path):
    call("seed=1")
    ship(results, tmp_path / "installed", fingerprint="0123456789abcdef")
    outcome = call()
    assert "differs from that of the shipped results" in outcome.out
    assert not re.search(r"│ shipped", outcome.out)

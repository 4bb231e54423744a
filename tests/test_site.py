"""The page: all runs and cells, nothing loaded, hostile text stays text."""

import csv
import json
import random
import re
from pathlib import Path

import pytest
from site_pages import (
    CLOSING,
    HOSTILE,
    RECORDS,
    Reader,
    block_of,
    page_record,
    unpack_block,
    write_figures,
    write_report,
)

from benchmark.config.compose import PATHS, cell_of, choices_of
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store, shipped
from benchmark.report import __main__ as report
from benchmark.report import overrides
from benchmark.report.page import build, registry

ROOT = Path(__file__).resolve().parents[1]
METHODS = sorted(path.stem for path in (ROOT / "configs" / "method").glob("*.yaml"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("results"), RECORDS)


@pytest.fixture(scope="module")
def page(results):
    return (results / "site" / "index.html").read_text(encoding="utf-8")


def test_every_run_is_listed_and_every_measurement_of_it_is_there(page):
    index, details = json.loads(block_of(page, "index")), json.loads(unpack_block(page, "records"))
    assert sorted(row[0] for row in index["rows"]) == sorted(details) == sorted(r.run_id for r in RECORDS)
    for one in RECORDS:
        told = details[one.run_id]
        points = [[f"{m.split} {m.name}", m.step, m.value] for m in one.measurements if m.step is not None]
        final = [[m.split, m.name, m.value] for m in one.measurements if m.step is None]
        assert told["final"] == final
        assert [[name, *point] for name, curve in told["curves"].items() for point in curve] == points
        assert told["config"] == one.config
        assert told["file"] == f"published/reference: nmt/{one.method}/{one.run_id}"


def test_two_records_of_one_id_are_two_runs(tmp_path):
    Store(tmp_path / "published/reference").append(page_record(bleu=1.0), None)
    Store(tmp_path / "runs").append(page_record(bleu=2.0), None)
    assert report.main([f"results={tmp_path}"]) == 0
    rows = json.loads(block_of((tmp_path / "site" / "index.html").read_text(), "index"))["rows"]
    same = page_record().run_id
    assert [(row[0], row[11], row[16]) for row in rows] == [(same, 1, "shipped"), (f"{same}-2", 2, "yours")]
    badges = {(e["class"]) for _, e in Reader((tmp_path / "site" / "index.html").read_text()).elements if "class" in e}
    assert {"badge shipped", "badge yours"} <= badges


def test_a_badge_says_whose_runs_a_table_holds(page, tmp_path):
    Store(tmp_path / "runs").append(page_record(), None)
    assert report.main([f"results={tmp_path}"]) == 0
    for text, kind in ((page, "shipped"), ((tmp_path / "site" / "index.html").read_text(encoding="utf-8"), "yours")):
        task = text.partition('data-route="task/nmt"')[2].partition("</template>")[0]
        headings = re.findall(r"<h2>.*?</h2>", task)
        assert headings
        assert [re.findall(r'"badge (shipped|yours)"', heading) for heading in headings[:1]] == [[kind]]


def test_every_wide_table_can_be_reached_and_is_named(page):
    boxes = [attrs for _, attrs in Reader(page).elements if (attrs.get("class") or "").split()[:1] == ["scroll"]]
    assert boxes
    assert all((box["role"], box["tabindex"]) == ("region", "0") and box["aria-label"] for box in boxes)


def test_the_rows_of_a_task_are_those_of_its_table(results, page):
    with open(results / "tables" / "nmt_quick.csv", newline="", encoding="utf-8") as file:
        wanted = [row for row in csv.reader(file) if len(row) > 1][1:]
    shown = [[" ".join(cell.split()) for cell in row] for _, row in Reader(page).rows["task/nmt"]]
    shown = [row for row in shown if row[:1] == ["tiny_mt"]]
    for row in wanted:  # what nobody has run says so
        row[3] = "missing" if row[3] == "–" and row[-1] == "–" else row[3]
    assert len(wanted) == 20  # ten methods from two checkpoints
    assert shown == wanted


def test_failed_skipped_and_missing_look_different_and_say_why(page):
    reader = Reader(page)
    looks = {(row[2], row[1]): state for state, row in reader.rows["task/nmt"] if row[:1] == ["tiny_mt"]}
    named = [("dora", "pretrained"), ("bitfit", "pretrained"), ("lora", "small"), ("lora", "pretrained")]
    assert [looks[key] for key in named] == ["failed", "skipped", "missing", "done"]
    titles = {attrs.get("title") for tag, attrs in reader.elements if tag == "tr"}
    assert {f"failed: loss is nan {CLOSING}", "skipped: no biases", "not run"} <= titles


def test_an_untrained_run_says_so_in_its_row_and_in_the_list_of_runs(tmp_path):
    one = page_record("lora")
    kept = Measurement("valid", "selected_step", 0.0)
    write_report(tmp_path, [page_record("full"), Record(**vars(one) | {"measurements": (*one.measurements, kept)})])
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    reader, words = Reader(text), "untrained: no validation had a lower loss than the one before the first step"
    scores = {row[2]: row[3] for _, row in reader.rows["task/nmt"] if row[:1] == ["tiny_mt"]}
    assert scores == {"lora": "30.00‡", "full": "30.00"}
    assert words in {attrs.get("title") for tag, attrs in reader.elements if tag == "tr"}
    assert json.loads(block_of(text, "index"))["rows"][1][-1] == words


def test_numbers_of_others_stand_apart(page):
    reader = Reader(page)
    for route in ("task/nmt", "method/lora", "quoted", "quoted/1"):
        assert "77.125" in reader.text[route]
    apart = re.sub(r'<section class="apart">.*?</section>', "", page, flags=re.DOTALL)
    left = Reader(apart).text
    assert [route for route, text in left.items() if "77.125" in text] == ["quoted", "quoted/1"]
    assert "77.125" not in block_of(page, "index") + unpack_block(page, "figures") + unpack_block(page, "records")
    assert [row[8] for _, row in reader.rows["quoted"] if row] == ["quoted", "derived"]
    assert "arXiv 1234.5678v2" in reader.text["quoted/1"]


def test_hostile_text_makes_no_element_and_no_attribute(page):
    reader = Reader(page)
    scripts = [attrs for tag, attrs in reader.elements if tag == "script"]
    assert [attrs.get("id") for attrs in scripts] == [
        "index", "pack-records", "pack-figures", "pack-datatables", "pack-datatables_style", None,
    ]  # fmt: skip
    assert {tag for tag, _ in reader.elements} & {"img", "iframe", "object", "embed", "base", "form", "b"} == set()
    assert [name for _, attrs in reader.elements for name in attrs if name.startswith("on")] == []
    for name in HOSTILE:
        assert f"method/{build.route(name)}" in reader.rows
        assert name in reader.text[f"method/{build.route(name)}"]
    assert "49" not in reader.text[f"method/{build.route(HOSTILE[3])}"].split()[:1]


def test_nothing_is_loaded_from_elsewhere(page):
    reader = Reader(page)
    loads = [
        (tag, name, value)
        for tag, attrs in reader.elements
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "action", "data", "poster") and not str(value).startswith("#")
    ]
    assert {(tag, name) for tag, name, _ in loads} == {("a", "href")}
    assert all(str(value).startswith("https://arxiv.org/abs/") for _, _, value in loads)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1] + unpack_block(page, "datatables_style")
    assert re.findall(r"url\((?!data:)|@import|https?:", style) == []
    assert "default-src &#39;none&#39;" in page


def test_same_records_same_bytes_wherever_they_lie(results, page, tmp_path):
    shuffled = random.Random(0).sample(RECORDS, len(RECORDS))
    assert (write_report(tmp_path, shuffled) / "site" / "index.html").read_text(encoding="utf-8") == page
    assert str(results) not in page + unpack_block(page, "records")


def test_every_method_has_a_formula():
    assert registry.methods() == METHODS
    assert [name for name in METHODS if not registry.method(name, []).formula] == []


@pytest.mark.parametrize(
    ("name", "paper", "arxiv", "category"),
    [
        ("lora", "Hu et al. 2022, arXiv 2106.09685", "2106.09685", "reparameterised"),
        ("houlsby", "Houlsby et al. 2019, arXiv 1902.00751", "1902.00751", "additive"),
        ("hira", "Huang et al. 2025, ICLR", "", "reparameterised"),
        ("frozen", "", "", "reference"),
        ("no_such", "", "", ""),
    ],
)
def test_what_is_known_of_a_method_is_read_off_its_files(name, paper, arxiv, category):
    found = registry.method(name, [{"method": "lora", "network": "llama", "status": "runs"}])
    assert (found.paper, found.arxiv, found.category) == (paper, arxiv, category)
    assert found.runs_on() == (["llama"] if name == "lora" else [])
    assert "(" not in found.what


def test_a_card_is_shown_without_its_title_and_its_marks(page):
    card = Reader(page).text["task/nmt"]
    assert "Unicode Common Locale Data Repository" in card
    assert "<!--" not in card
    assert "# nmt" not in card


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("30.00 ± 3.00", "30.00"),
        ("-0.3000*", "-0.3000"),
        ("+2.5", "2.5"),
        ("5.55 to 20.45", "5.55"),
        ("5,812,345", "5812345"),
        ("1.2e-05", "1.2e-05"),
        ("failed (a)", ""),
        ("–", ""),
        ("", ""),
    ],
)
def test_a_cell_is_sorted_by_its_first_number(cell, value):
    assert build.order(cell) == value


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return write_figures(tmp_path_factory.mktemp("figures"))


def test_every_figure_is_on_the_page_and_leads_to_its_runs(figures):
    page = (figures / "site" / "index.html").read_text(encoding="utf-8")
    drawn, settings = json.loads(unpack_block(page, "figures")), json.loads(block_of(page, "index"))["settings"]
    assert {name.partition("/")[0] for name in drawn} == {"protein_b", "speech_b", "nmt_b", "ranking_b", "capability"}
    costs = {"trainable parameters", "peak memory", "time of a step"}
    more = {"forgetting", "shift, fold", "training curves", "learning rate", "tuning"}
    assert {tab for name, _, tab in (key.partition("/") for key in drawn) if name == "protein_b"} == costs | more
    assert "nmt_b/data size" in drawn
    assert all(one["drawing"].startswith("<?xml") and "<svg" in one["drawing"] for one in drawn.values())
    for tab in ("forgetting", "shift, fold"):
        routes = [route for *_, route in drawn[f"protein_b/{tab}"]["marks"]]
        assert len(routes) == 4
        assert {route.partition("/")[2] for route in routes} <= settings.keys()
    texts = [text for *_, text, _ in drawn["protein_b/trainable parameters"]["marks"]]
    assert any(text.startswith("lora\n") and "trainable parameters: " in text for text in texts)
    assert any("refused" in text and "reason: " in text for *_, text, _ in drawn["capability/capability"]["marks"])


SHIPPED = list(shipped("*", "*"))


@pytest.mark.parametrize("number", range(0, len(SHIPPED), 57))
def test_the_command_of_a_shipped_record_names_the_same_cell(number):
    one = SHIPPED[number]
    assert run_id(choices_of(cell_of(overrides.overrides(one))), PATHS) == one.run_id


@pytest.mark.parametrize(
    "words",
    [
        ["method=lora", "trial=2"],
        ["method=lora", "trial=3", "method.rank=4", "phase=tune"],
        ["method=bitfit", "budget=quick", "budget.steps=7", "fraction=0.25", "seed=4", "seed_init=1"],
        ["method=lora", "task.target_language=ta", "data.train=300"],
        ["method=lora", 'task.template="a, {source}: (b)\\n"'],
        ["method=lora", "backbone.weights=random", "method.targets=[query,value]"],
        ["method=lora", "+method.options.use_dora=true"],
        ["method=houlsby", "size=100000", "size_of=params"],
        ["method=lora", "data=toy"],
        ["method=lora", r"task.template='\"{source}\\\\'", "backbone.tag='10'"],
    ],
    ids=" ".join,
)
def test_the_command_says_every_choice(words):
    cell = cell_of(["task=nmt", *words])
    config = choices_of(cell)
    made = page_record(
        cell.names["method"], cell.seed, config=config, run_id=run_id(config, PATHS), data=dict(cell.notes)
    )
    assert run_id(choices_of(cell_of(overrides.overrides(made))), PATHS) == made.run_id


def test_a_command_can_be_pasted():
    made = page_record(data={"overrides": ["task=nmt", 'task.template="say \\"it\'s\\": {source}"', "method=lora"]})
    assert """ 'task.template="say \\"it'"'"'s\\": {source}"' """ in overrides.command(made)

"""The page: all runs and cells, nothing loaded, hostile text stays text."""

from __future__ import annotations

import base64
import csv
import json
import random
import re
import shutil
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from test_figures import CAPABILITIES, everything

from benchmark.config.compose import PATHS, cell_of, choices_of
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store, shipped
from benchmark.report import __main__ as report
from benchmark.report import overrides
from benchmark.report.page import build, registry

ROOT = Path(__file__).resolve().parents[1]
METHODS = sorted(path.stem for path in (ROOT / "configs" / "method").glob("*.yaml"))
HOSTILE = ["<script>alert(1)", "<img src=x onerror=alert(1)>", '" onmouseover="alert(1)', "{{ 7 * 7 }}", "%3Cb%3E"]
CLOSING = "</script></template><script>alert(1)</script>"


def record(method: str = "lora", seed: int = 0, bleu: float = 30.0, trained: float = 50_000, **changes: Any) -> Record:
    config = {
        "task": {"name": "nmt"},
        "method": {"name": method},
        "backbone": {"name": "tiny_mt", "weights": changes.pop("weights", "pretrained")},
        "budget": {"name": "quick"},
        "seed": seed,
    }
    values = {
        "run_id": run_id(config),
        "task": "nmt",
        "method": method,
        "backbone": "tiny_mt",
        "seed": seed,
        "status": "done",
        "config": config,
        "data": {"fingerprint": "f1", "metric": "bleu"},
        "environment": {"device": "cpu", "device_name": "chip"},
        "measurements": (
            Measurement("valid", "loss", 5.0, 10),
            Measurement("valid", "loss", 4.0, 20),
            Measurement("test", "bleu", bleu),
            Measurement("cost", "seconds_per_step", 0.125),
            Measurement("cost", "peak_memory_bytes", 2e8),
            Measurement("cost", "params", 5_812_345),
            Measurement("cost", "trainable_params", trained),
        ),
    }
    return Record(**values | changes)


def lost(status: str, reason: str, **changes: Any) -> Record:
    return record(status=status, reason=reason, data={}, measurements=(), **changes)


RECORDS = [
    *(record("lora", seed, 30.0 + seed) for seed in range(3)),
    record("full", bleu=40.25, trained=5_812_345),
    record("frozen", bleu=2.5, trained=0),
    record("full", bleu=1.0, weights="small"),
    lost("failed", f"loss is nan {CLOSING}", method="dora"),
    lost("skipped", "no biases", method="bitfit"),
    *(record(name, bleu=9.0 + i, trained=100 + i) for i, name in enumerate(HOSTILE)),
]
QUOTED = """
study: su
source: arXiv 1234.5678v2
where: Table 1
task: nmt
metric: bleu
provenance: quoted
comparable: false
why: Another language </script><script>alert(1)</script>
rows:
  - {method: lora, backbone: mbart_large_50, value: 77.125, settings: {lr: 0.125}}
  - {method: full, backbone: mbart_large_50, value: 78.5, provenance: derived}
"""
CLAIMS = """
claims:
  - {id: first, study: su, where: Table 1, words: Full is better than LoRA., original: another network, task: nmt,
     backbone: tiny_mt, check: {beats: {better: [full], worse: [lora]}}}
"""


def made(results: Path, records: list[Record]) -> Path:
    """Write records and what stands beside them, and build the report."""
    for one in records:
        Store(results / "published/reference").append(one, None)
    (results / "quoted").mkdir()
    (results / "quoted" / "su.yaml").write_text(QUOTED)
    (results / "claims.yaml").write_text(CLAIMS)
    assert report.main([f"results={results}"]) == 0
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("results"), RECORDS)


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return (results / "site" / "index.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Elements of a page with attributes, and the rows of each template."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: dict[str, list[tuple[str, list[str]]]] = {}
        self.text: dict[str, str] = {}
        self.route, self.inside = "outside", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        self.inside = tag == "td" or (self.inside and tag != "tr")
        if tag == "template":
            self.route = str(found["data-route"])
        if tag == "tr":
            self.rows.setdefault(self.route, []).append((found.get("class") or "", []))
        if tag == "td":
            self.rows[self.route][-1][1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"
        self.route = "outside" if tag == "template" else self.route

    def handle_data(self, data: str) -> None:
        self.text[self.route] = self.text.get(self.route, "") + data
        if self.inside:
            self.rows[self.route][-1][1][-1] += data


def block(page: str, name: str) -> str:
    """Give the text of one block of data."""
    found = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return found[1]


def packed(page: str, name: str) -> str:
    return zlib.decompress(base64.b64decode(block(page, f"pack-{name}"))).decode()


def test_every_run_is_listed_and_every_measurement_of_it_is_there(page: str) -> None:
    index, details = json.loads(block(page, "index")), json.loads(packed(page, "records"))
    assert sorted(row[0] for row in index["rows"]) == sorted(details) == sorted(r.run_id for r in RECORDS)
    for one in RECORDS:
        told = details[one.run_id]
        points = [[f"{m.split} {m.name}", m.step, m.value] for m in one.measurements if m.step is not None]
        final = [[m.split, m.name, m.value] for m in one.measurements if m.step is None]
        assert told["final"] == final
        assert [[name, *point] for name, curve in told["curves"].items() for point in curve] == points
        assert told["config"] == one.config
        assert told["file"] == f"published/reference: nmt/{one.method}/{one.run_id}"


def test_two_records_of_one_id_are_two_runs(tmp_path: Path) -> None:
    Store(tmp_path / "published/reference").append(record(bleu=1.0), None)
    Store(tmp_path / "runs").append(record(bleu=2.0), None)
    assert report.main([f"results={tmp_path}"]) == 0
    rows = json.loads(block((tmp_path / "site" / "index.html").read_text(), "index"))["rows"]
    same = record().run_id
    assert [(row[0], row[11], row[15]) for row in rows] == [(same, 1, "shipped"), (f"{same}-2", 2, "yours")]
    badges = {(e["class"]) for _, e in Reader((tmp_path / "site" / "index.html").read_text()).elements if "class" in e}
    assert {"badge shipped", "badge yours"} <= badges


def test_a_badge_says_whose_runs_a_table_holds(page: str, tmp_path: Path) -> None:
    Store(tmp_path / "runs").append(record(), None)
    assert report.main([f"results={tmp_path}"]) == 0
    for text, kind in ((page, "shipped"), ((tmp_path / "site" / "index.html").read_text(encoding="utf-8"), "yours")):
        task = text.partition('data-route="task/nmt"')[2].partition("</template>")[0]
        headings = re.findall(r"<h2>.*?</h2>", task)
        assert headings
        assert [re.findall(r'"badge (shipped|yours)"', heading) for heading in headings[:1]] == [[kind]]


def test_every_wide_table_can_be_reached_and_is_named(page: str) -> None:
    boxes = [attrs for _, attrs in Reader(page).elements if (attrs.get("class") or "").split()[:1] == ["scroll"]]
    assert boxes
    assert all((box["role"], box["tabindex"]) == ("region", "0") and box["aria-label"] for box in boxes)


def test_the_rows_of_a_task_are_those_of_its_table(results: Path, page: str) -> None:
    with open(results / "tables" / "nmt_quick.csv", newline="", encoding="utf-8") as file:
        wanted = [row for row in csv.reader(file) if len(row) > 1][1:]
    shown = [[" ".join(cell.split()) for cell in row] for _, row in Reader(page).rows["task/nmt"]]
    shown = [row for row in shown if row[:1] == ["tiny_mt"]]
    for row in wanted:  # what nobody has run says so
        row[3] = "missing" if row[3] == "–" and row[-1] == "–" else row[3]
    assert len(wanted) == 20  # ten methods from two checkpoints
    assert shown == wanted


def test_failed_skipped_and_missing_look_different_and_say_why(page: str) -> None:
    reader = Reader(page)
    looks = {(row[2], row[1]): state for state, row in reader.rows["task/nmt"] if row[:1] == ["tiny_mt"]}
    named = [("dora", "pretrained"), ("bitfit", "pretrained"), ("lora", "small"), ("lora", "pretrained")]
    assert [looks[key] for key in named] == ["failed", "skipped", "missing", "done"]
    titles = {attrs.get("title") for tag, attrs in reader.elements if tag == "tr"}
    assert {f"failed: loss is nan {CLOSING}", "skipped: no biases", "not run"} <= titles


def test_an_untrained_run_says_so_in_its_row_and_in_the_list_of_runs(tmp_path: Path) -> None:
    one = record("lora")
    kept = Measurement("valid", "selected_step", 0.0)
    made(tmp_path, [record("full"), Record(**vars(one) | {"measurements": (*one.measurements, kept)})])
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    reader, words = Reader(text), "untrained: no validation had a lower loss than the one before the first step"
    scores = {row[2]: row[3] for _, row in reader.rows["task/nmt"] if row[:1] == ["tiny_mt"]}
    assert scores == {"lora": "30.00‡", "full": "30.00"}
    assert words in {attrs.get("title") for tag, attrs in reader.elements if tag == "tr"}
    assert json.loads(block(text, "index"))["rows"][1][-1] == words


def test_numbers_of_others_stand_apart(page: str) -> None:
    reader = Reader(page)
    for route in ("task/nmt", "method/lora", "quoted", "quoted/1"):
        assert "77.125" in reader.text[route]
    apart = re.sub(r'<section class="apart">.*?</section>', "", page, flags=re.DOTALL)
    left = Reader(apart).text
    assert [route for route, text in left.items() if "77.125" in text] == ["quoted", "quoted/1"]
    assert "77.125" not in block(page, "index") + packed(page, "figures") + packed(page, "records")
    assert [row[8] for _, row in reader.rows["quoted"] if row] == ["quoted", "derived"]
    assert "arXiv 1234.5678v2" in reader.text["quoted/1"]


def test_hostile_text_makes_no_element_and_no_attribute(page: str) -> None:
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


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    reader = Reader(page)
    loads = [
        (tag, name, value)
        for tag, attrs in reader.elements
        for name, value in attrs.items()
        if name in ("src", "href", "srcset", "action", "data", "poster") and not str(value).startswith("#")
    ]
    assert {(tag, name) for tag, name, _ in loads} == {("a", "href")}
    assert all(str(value).startswith("https://arxiv.org/abs/") for _, _, value in loads)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1] + packed(page, "datatables_style")
    assert re.findall(r"url\((?!data:)|@import|https?:", style) == []
    assert "default-src &#39;none&#39;" in page


def test_same_records_same_bytes_wherever_they_lie(results: Path, page: str, tmp_path: Path) -> None:
    shuffled = random.Random(0).sample(RECORDS, len(RECORDS))
    assert (made(tmp_path, shuffled) / "site" / "index.html").read_text(encoding="utf-8") == page
    assert str(results) not in page + packed(page, "records")


def test_every_method_has_a_formula() -> None:
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
def test_what_is_known_of_a_method_is_read_off_its_files(name: str, paper: str, arxiv: str, category: str) -> None:
    found = registry.method(name, [{"method": "lora", "network": "llama", "status": "runs"}])
    assert (found.paper, found.arxiv, found.category) == (paper, arxiv, category)
    assert found.runs_on() == (["llama"] if name == "lora" else [])
    assert "(" not in found.what


def test_a_card_is_shown_without_its_title_and_its_marks(page: str) -> None:
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
def test_a_cell_is_sorted_by_its_first_number(cell: str, value: str) -> None:
    assert build.order(cell) == value


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    (folder / "capabilities.csv").write_text(CAPABILITIES)
    return made(folder, everything())


def test_every_figure_is_on_the_page_and_leads_to_its_runs(figures: Path) -> None:
    page = (figures / "site" / "index.html").read_text(encoding="utf-8")
    drawn, settings = json.loads(packed(page, "figures")), json.loads(block(page, "index"))["settings"]
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
def test_the_command_of_a_shipped_record_names_the_same_cell(number: int) -> None:
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
def test_the_command_says_every_choice(words: list[str]) -> None:
    cell = cell_of(["task=nmt", *words])
    config = choices_of(cell)
    made = record(cell.names["method"], cell.seed, config=config, run_id=run_id(config, PATHS), data=dict(cell.notes))
    assert run_id(choices_of(cell_of(overrides.overrides(made))), PATHS) == made.run_id


def test_a_command_can_be_pasted() -> None:
    made = record(data={"overrides": ["task=nmt", 'task.template="say \\"it\'s\\": {source}"', "method=lora"]})
    assert """ 'task.template="say \\"it'"'"'s\\": {source}"' """ in overrides.command(made)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "these tests need chromium: apt-get install chromium"
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """One page in the browser, with all that went wrong or was asked for."""

    def __init__(self, browser: Any, results: Path, **options: Any) -> None:
        self.page = browser.new_context(**options).new_page()
        self.address, self.wrong = (results / "site" / "index.html").as_uri(), []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append("a dialog"), dialog.dismiss()))
        self.page.on("request", lambda r: self.wrong.append(r.url) if r.url.startswith("http") else None)
        self.page.on("download", lambda _: self.wrong.append("a download"))

    def go(self, route: str) -> Any:
        self.page.goto(f"{self.address}#{route}")
        self.ready(route)
        return self.page

    def ready(self, route: str) -> None:
        self.page.wait_for_selector(f'main[data-ready="{route}"]')

    def arrive(self, kind: str) -> None:
        self.page.wait_for_url(re.compile(f"#{kind}/"))
        self.ready(self.page.url.partition("#")[2])

    def column(self, place: int) -> list[str]:
        return [t.strip() for t in self.page.locator(f"table.board tbody td:nth-child({place})").all_inner_texts()]

    def shows(self, place: int, wanted: set[str]) -> bool:
        """Whether a column holds just that within ten seconds."""
        for _ in range(100):
            if set(self.column(place)) == wanted:
                return True
            self.page.wait_for_timeout(100)
        return False


@pytest.fixture
def visit(browser: Any, results: Path) -> Iterator[Visit]:
    made = Visit(browser, results)
    yield made
    made.page.context.close()
    assert made.wrong == []


@pytest.mark.browser
def test_every_kind_of_page_opens_without_a_complaint(visit: Visit) -> None:
    for route in ("", "tasks", "methods", "runs", "quoted", "quoted/1", "claims", "task/nmt", "method/lora"):
        assert visit.go(route).locator("h1").count() == 1
    visit.go(f"run/{RECORDS[0].run_id}")
    assert visit.page.locator("pre").first.inner_text() == overrides.command(RECORDS[0])
    assert visit.page.locator("svg.curve polyline").count() > 0
    assert "Nothing here" in visit.go("no/such").locator("h1").inner_text()


@pytest.mark.browser
def test_a_column_sorts_by_number_and_what_is_none_comes_last(visit: Visit) -> None:
    visit.go("task/nmt")
    heading = visit.page.locator("table.board th", has_text="test bleu").locator(".dt-column-title")
    for sign, order in ((1, "ascending"), (-1, "descending")):
        heading.click()
        visit.page.wait_for_selector(f"table.board th[aria-sort={order}]")  # the table is sorted after the click
        cells = visit.column(4)
        numbers = [float(cell.split()[0]) for cell in cells if cell[:1].isdigit()]
        assert len(numbers) == 9
        assert numbers == sorted(numbers, reverse=sign < 0)
        assert all(not cell[:1].isdigit() for cell in cells[9:])


@pytest.mark.browser
def test_the_box_that_scrolls_shows_its_edges_and_takes_the_keyboard(browser: Any, results: Path) -> None:
    visit = Visit(browser, results, viewport={"width": 500, "height": 800})
    visit.go("task/nmt")
    box = visit.page.locator(".scroll:has(table.board)").first
    width, seen = box.evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert width > seen
    assert "gradient" in box.evaluate("box => getComputedStyle(box).backgroundImage")
    box.focus()
    visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_timeout(500)
    assert visit.page.evaluate("document.activeElement.scrollLeft") > 0
    assert visit.wrong == []
    visit.page.context.close()


@pytest.mark.browser
def test_a_filter_leaves_what_matches(visit: Visit) -> None:
    visit.go("task/nmt")
    field = visit.page.locator("section[data-section=nmt_quick] .dt-search input")
    field.fill("bitfit")
    assert visit.shows(3, {"bitfit"})
    field.fill("<script>")
    assert visit.shows(3, {HOSTILE[0]})
    field.fill("")
    visit.page.locator("table.board th", has_text="weights").locator("button").last.click()
    visit.page.locator(".dtcc-dropdown input").fill("small")
    visit.page.wait_for_selector("table.board:not(:has(tr:nth-child(11)))")
    assert visit.shows(2, {"small"})


@pytest.mark.browser
def test_a_number_leads_to_its_runs_and_a_run_to_its_record(visit: Visit) -> None:
    visit.go("task/nmt")
    visit.page.locator("table.board tbody tr", has_text="lora").first.locator("td:nth-child(4) a").click()
    visit.arrive("setting")
    wanted = sorted(r.run_id for r in RECORDS if r.method == "lora")
    assert sorted(visit.page.locator("main table tbody tr td:first-child").all_inner_texts()) == wanted
    visit.page.get_by_role("link", name=RECORDS[1].run_id).click()
    visit.ready(f"run/{RECORDS[1].run_id}")
    shown = visit.page.locator("main").inner_text()
    assert "python -m benchmark.run method=lora task=nmt" in shown
    for number in ("31", "0.125", "200,000,000", "5,812,345", "50,000"):
        assert visit.page.locator("td.number", has_text=re.compile(f"^{number}$")).count() == 1


@pytest.mark.browser
def test_hostile_names_are_read_as_they_are(visit: Visit) -> None:
    for name in HOSTILE:
        visit.go(f"method/{build.route(name)}")
        assert visit.page.locator("h1").inner_text() == name
        visit.page.locator("main .runs td a").first.click()
        visit.arrive("run")
        assert visit.page.locator("h1").inner_text().startswith(f"{name} on nmt")
    visit.go("task/nmt")
    visit.page.locator("table.board th", has_text="method").locator(".dt-column-title").click()
    assert set(HOSTILE) < set(visit.column(3))
    found = visit.page.evaluate("document.querySelectorAll('img, [onmouseover], [onerror], main script').length")
    assert found == 0


@pytest.mark.browser
def test_a_mark_says_what_it_is_and_leads_to_its_runs(visit: Visit) -> None:
    visit.go("task/nmt")
    mark = visit.page.locator(".plot .mark[aria-label^='lora']").first
    mark.hover()
    shown = visit.page.locator(".hint").inner_text()
    assert shown.startswith("lora\n")
    assert "score: 31" in shown
    assert "trainable parameters: 50,000" in shown
    mark.click()
    visit.arrive("setting")
    assert visit.page.locator("h1").inner_text().startswith("lora on nmt")


@pytest.mark.browser
def test_every_figure_of_the_page_is_drawn(browser: Any, figures: Path) -> None:
    visit = Visit(browser, figures)
    for route in ("", "methods", "task/protein", "task/nmt"):
        page = visit.go(route)
        for box in page.locator(".figure").all():
            box.scroll_into_view_if_needed()
            for button in box.locator(".tabs button").all():
                if button.is_visible():
                    button.click()
                    assert button.get_attribute("aria-pressed") == "true"
                box.locator(".plot svg .mark").first.wait_for()
                assert box.locator(".plot svg").bounding_box()["height"] > 100
    visit.page.context.close()
    assert visit.wrong == []


@pytest.mark.browser
def test_light_and_dark_follow_the_system_and_the_switch(browser: Any, results: Path) -> None:
    def back(visit: Visit) -> str:
        return visit.page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = (Visit(browser, results, color_scheme=scheme) for scheme in ("light", "dark"))
    light.go("task/nmt"), dark.go("task/nmt")
    assert (back(light), back(dark)) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")
    switch = dark.page.locator("#theme")
    switch.click()
    assert (switch.inner_text(), back(dark)) == ("theme: light", back(light))
    switch.click()
    dark.page.emulate_media(color_scheme="light")
    assert (switch.inner_text(), back(dark)) == ("theme: dark", "rgb(21, 24, 28)")
    dark.page.reload()
    dark.ready("task/nmt")
    assert back(dark) == "rgb(21, 24, 28)"
    assert light.wrong + dark.wrong == []

"""The page in a browser: sorting, filters, links, light and dark."""

import re
import shutil

import pytest
from site_pages import HOSTILE, RECORDS, write_figures, write_report

from benchmark.report import overrides
from benchmark.report.page import build


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("results"), RECORDS)


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return write_figures(tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "these tests need chromium: apt-get install chromium"
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """One page in the browser, with all that went wrong or was asked for."""

    def __init__(self, browser, results, **options):
        self.page = browser.new_context(**options).new_page()
        self.address, self.wrong = (results / "site" / "index.html").as_uri(), []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append("a dialog"), dialog.dismiss()))
        self.page.on("request", lambda r: self.wrong.append(r.url) if r.url.startswith("http") else None)
        self.page.on("download", lambda _: self.wrong.append("a download"))

    def go(self, route):
        self.page.goto(f"{self.address}#{route}")
        self.ready(route)
        return self.page

    def ready(self, route):
        self.page.wait_for_selector(f'main[data-ready="{route}"]')

    def arrive(self, kind):
        self.page.wait_for_url(re.compile(f"#{kind}/"))
        self.ready(self.page.url.partition("#")[2])

    def column(self, place):
        return [t.strip() for t in self.page.locator(f"table.board tbody td:nth-child({place})").all_inner_texts()]

    def shows(self, place, wanted):
        """Whether a column holds just that within ten seconds."""
        for _ in range(100):
            if set(self.column(place)) == wanted:
                return True
            self.page.wait_for_timeout(100)
        return False


@pytest.fixture
def visit(browser, results):
    made = Visit(browser, results)
    yield made
    made.page.context.close()
    assert made.wrong == []


@pytest.mark.browser
def test_every_kind_of_page_opens_without_a_complaint(visit):
    for route in ("", "tasks", "methods", "runs", "quoted", "quoted/1", "claims", "task/nmt", "method/lora"):
        assert visit.go(route).locator("h1").count() == 1
    visit.go(f"run/{RECORDS[0].run_id}")
    assert visit.page.locator("pre").first.inner_text() == overrides.command(RECORDS[0])
    assert visit.page.locator("svg.curve polyline").count() > 0
    assert "Nothing here" in visit.go("no/such").locator("h1").inner_text()


@pytest.mark.browser
def test_a_column_sorts_by_number_and_what_is_none_comes_last(visit):
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
def test_the_box_that_scrolls_shows_its_edges_and_takes_the_keyboard(browser, results):
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
def test_a_filter_leaves_what_matches(visit):
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
def test_a_number_leads_to_its_runs_and_a_run_to_its_record(visit):
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
def test_hostile_names_are_read_as_they_are(visit):
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
def test_a_mark_says_what_it_is_and_leads_to_its_runs(visit):
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
def test_every_figure_of_the_page_is_drawn(browser, figures):
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
def test_light_and_dark_follow_the_system_and_the_switch(browser, results):
    def back(visit):
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

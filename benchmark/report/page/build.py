"""Write the page: one HTML file that loads nothing.

Pages are inert templates, data are JSON, libraries and records are packed.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import json
import re
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from benchmark.errors import MalformedError
from benchmark.report.page import contents, gallery, registry
from benchmark.report.page.shelf import COLUMNS, Shelf
from benchmark.report.published import quoted
from benchmark.report.tables.scores import explain_marks
from benchmark.report.views import budget_text

HERE = Path(__file__).parent
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def write(results: Path, report: contents.Report) -> Path:
    """Write site/index.html, and say where it lies."""
    path = results / "site" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(results, report), encoding="utf-8", errors="backslashreplace", newline="\n")
    return path


def page(results: Path, report: contents.Report) -> str:
    """Compose the whole page as text."""
    shelf = Shelf(report.runs)
    shown = {one.table.name: contents.lines(one, shelf) for one in report.tables}
    figures = gallery.gallery(report, shown)
    capability, others = registry.capabilities(results), _quoted(results)
    names = sorted({*registry.methods(), *(record.method for _, record in report.runs)})
    script, style = _asset("page.js"), _asset("page.css")
    template = environment().get_template("page.html")
    return template.render(
        runs=report.runs,
        tables=report.tables,
        shown=shown,
        tasks={task: registry.card(task) for task in sorted({record.task for _, record in report.runs})},
        methods=[registry.method(name, capability) for name in names],
        summaries={name: contents.summary(name, report.tables, shown) for name in names},
        origins=contents.origins(report.runs),
        beside=contents.BESIDE,
        overviews=[contents.over_tasks(table, report.tables, shown) for table in report.overviews],
        quotes=others,
        quote_table=contents.quotes(others),
        claims=report.claims,
        marks=explain_marks(one for table in report.tables for one in table.members),
        figures=figures,
        index={"columns": COLUMNS, "rows": shelf.rows(), "settings": shelf.settings},
        packs=_packs(shelf, figures),
        script=Markup(script),
        style=Markup(style),
        policy=_policy(script),
    )


def _quoted(results: Path) -> list[quoted.Quoted]:
    """Read the numbers of others; none, with a warning, where they are malformed."""
    try:
        return quoted.load(results)
    except MalformedError as error:
        print(f"warning: numbers of others are left out: {error}", file=sys.stderr)
        return []


def environment() -> Environment:
    """Make the Jinja environment: escaped, with errors for unknown names."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    made.filters |= {"route": route, "markdown": lambda text: Markup(MARKDOWN.render(text)), "order": order}
    made.filters |= {"budget": budget_text, "heading": contents.heading}
    return made


def route(*parts: str) -> str:
    """Name a page so that an address can hold it."""
    return "/".join(quote(str(part), safe="", errors="backslashreplace") for part in parts)


def order(cell: str) -> str:
    """Return the number that a cell is sorted by; empty where it has none."""
    number = re.match(r"≤?([+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?)", cell)
    return number[1].replace(",", "").lstrip("+") if number else ""


def _packs(shelf: Shelf, figures: Mapping[str, gallery.Tabs]) -> dict[str, str]:
    """Pack records, drawings and libraries, which the browser unpacks later."""
    drawings = {f"{name}/{tab}": drawn for name, tabs in figures.items() for tab, drawn in tabs.items()}
    content = {"records": shelf.details(), "figures": drawings}
    texts = {name: json.dumps(part, separators=(",", ":"), allow_nan=False) for name, part in content.items()}
    return {name: _pack(text.encode()) for name, text in texts.items()} | _libraries()


@functools.cache
def _libraries() -> dict[str, str]:
    folder = _package("itables") / "html"
    files = {"datatables": "dt_bundle.js", "datatables_style": "dt_bundle.css"}
    return {name: _pack((folder / file).read_bytes()) for name, file in files.items()}


def _pack(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode()


def _package(name: str) -> Path:
    """Find an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the page needs {name}: pip install -e . -c constraints.txt")
    return Path(spec.submodule_search_locations[0])


def _asset(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Return the policy that forbids loading, and scripts from elsewhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}' blob:",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "font-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{kind} {source}" for kind, source in allowed.items())

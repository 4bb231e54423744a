"""README and docs/: commands compose, links work, nothing loads from outside."""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from benchmark import cli
from benchmark.config.with_hydra import compose_config
from benchmark.sweeps.grid import expand, is_sweep
from scripts import pages

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "results/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PATH = re.compile(r"`((?:benchmark|tasks|configs|scripts|tests|results|\.ci|\.github)/[^`\s]*)`")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
PLACEHOLDER = re.compile(r"\b(NAME|TASK|METHOD|DIR|VERB|[TBPS])\b")
LOADS = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}


def blocks(page, language):
    """Give the code blocks of a page in a language."""
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def commands(page):
    """Give the commands of a page as lists of words, each continued line joined."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split(" && "):
                words = shlex.split(part, comments=True)
                if words:
                    yield words


def runs():
    """Give the overrides of every run, sweep or status that a page shows."""
    found = {}
    for page in PAGES:
        for words in commands(page):
            verb = next((word for word in words if word in ("benchmark.run", "benchmark.status")), None)
            if verb:
                overrides = [w for w in words[words.index(verb) + 1 :] if not w.startswith("--")]
                found[shlex.join(overrides)] = overrides
    return [overrides for line, overrides in found.items() if not PLACEHOLDER.search(line) and overrides]


@pytest.mark.parametrize("overrides", runs(), ids=" ".join)
def test_every_run_that_is_shown_composes(overrides):
    if is_sweep(overrides) or any("=" in word and "," in word.partition("=")[2] for word in overrides):
        grid = expand(overrides)
        compose_config([*grid.cells[0], *(word for word in grid.options if not word.lstrip("+").startswith("hydra"))])
    else:
        compose_config(overrides)


def test_every_module_and_script_that_is_shown_exists():
    missing, shown = [], 0
    for page in PAGES:
        for words in commands(page):
            line = shlex.join(words)
            for module in re.findall(r"-m (benchmark\.\w+)", line):
                shown += 1
                missing += [] if importlib.util.find_spec(module) else [f"{page.name}: {module}"]
            for script in re.findall(r"(?:python |^)(scripts/\w+\.\w+)", line):
                shown += 1
                missing += [] if (ROOT / script).is_file() else [f"{page.name}: {script}"]
            if words[0] == "crosspeft" and len(words) > 1:
                missing += [] if words[1] in cli.VERBS else [f"{page.name}: {words[1]}"]
    assert shown > 30
    assert missing == []


def test_every_link_leads_to_a_file():
    dead = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path = target.partition("#")[0]
            if path and "://" not in path and not path.startswith("reference/"):  # these are made with the site
                dead += [] if (page.parent / path).exists() else [f"{page.name}: {target}"]
    assert dead == []


def test_every_path_in_the_documents_exists():
    gone, shown = [], 0
    for page in [page for page in PAGES if page.name != "CHANGELOG.md"]:  # that names what was removed
        for path in PATH.findall(page.read_text()):
            if not PLACEHOLDER.search(path) and "*" not in path and path != "results/runs/":  # a user's
                shown += 1
                gone += [] if (ROOT / path).exists() else [f"{page.name}: {path}"]
    assert shown > 40
    assert gone == []


def test_the_example_of_a_method_is_the_file_it_names():
    shown = yaml.safe_load(blocks(ROOT / "docs/add-a-method.md", "yaml")[0])
    there = yaml.safe_load((ROOT / "configs/method/loha.yaml").read_text())
    assert shown == {key: there[key] for key in shown}


LISTED = {  # page, the header of a table's first column -> the folder that has every name in that column
    ("README.md", "`task=`"): "task",
    ("docs/quickstart.md", "Budget"): "budget",
    ("docs/own-checkpoint.md", "`backbone=`"): "backbone",
    ("docs/sweeps.md", "`+sweep=`"): "sweep",
}


@pytest.mark.parametrize(("page", "header"), LISTED)
def test_the_names_in_a_table_are_in_the_registry(page, header):
    table = (ROOT / page).read_text().partition(f"\n| {header} |")[2].partition("\n\n")[0].splitlines()[2:]
    names = [name for row in table for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    folder = ROOT / "configs" / LISTED[page, header]
    assert len(names) > 4
    assert [name for name in names if not (folder / f"{name}.yaml").is_file()] == []


def test_the_table_of_networks_is_what_their_configurations_say():
    table = (ROOT / "docs/networks.md").read_text().partition("\n| `backbone=` |")[2].partition("\n\n")[0]
    shown = {}
    for row in table.splitlines()[2:]:
        names, packages, _, licence, needs, _ = (cell.strip() for cell in row.strip("| ").split("|"))
        facts = (re.findall(r"`([^`]+)`", packages), licence, needs.split())
        shown |= dict.fromkeys(re.findall(r"`(\w+)`", names), facts)
    files = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / "configs/network").glob("*.yaml")}
    wheels = {name: [wheel["requirement"] for wheel in node["wheels"]] for name, node in files.items()}
    assert shown == {name: (wheels[name], node["licence"], node["needs"]) for name, node in files.items()}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


class Loaded(HTMLParser):
    """What a page makes a browser load from another host."""

    def __init__(self, text):
        super().__init__()
        self.found = re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']+", text)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        target = given.get(LOADS.get(tag, "")) or ""
        if re.match(r"(https?:)?//", target) and not (tag == "link" and given.get("rel") == "canonical"):
            self.found.append(f"{tag} {target}")


def test_what_a_page_loads_from_elsewhere_is_noticed():
    page = '<script src="https://a.org/b.js"></script><link rel="stylesheet" href="//a.org/c.css">'
    page += '<a href="https://a.org">read, not loaded</a>'
    page += (
        "<style>@import 'https://a.org/d.css'; @font-face {src: url(https://a.org/e.woff2)}</style><img src='f.png'>"
    )
    assert len(Loaded(page).found) == 4


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere():
    pytest.importorskip("zensical")
    build = subprocess.run([sys.executable, "scripts/pages.py"], cwd=ROOT, capture_output=True, text=True)
    assert build.returncode == 0, build.stdout + build.stderr
    built = sorted((ROOT / "site").rglob("*.html"))
    names = {page.relative_to(ROOT / "site").as_posix() for page in built}
    for group, folder in (("method", "methods"), ("task", "tasks")):
        wanted = {f"reference/{folder}/{path.stem}.html" for path in (ROOT / "configs" / group).glob("*.yaml")}
        assert wanted - names == set()
    texts = [*built, *(ROOT / "site").rglob("*.css")]
    assert {f"{path.name}: {item}" for path in texts for item in Loaded(path.read_text()).found} == set()
    assert not [path for path in (ROOT / "site").rglob("*") if path.suffix in (".woff", ".woff2", ".ttf")]


def test_files_that_name_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["authors"] == project["authors"]
    assert f"\n## {project['version']}\n" in (ROOT / "CHANGELOG.md").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]
    assert f"ruff=={hooks['rev'].removeprefix('v')}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_workflow_runs_what_ci_runs_and_nothing_else():
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["all"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]


def test_the_builder_refuses_an_argument_that_it_does_not_know(capsys):
    assert pages.main(["--page"]) == 2
    assert "refused: --page" in capsys.readouterr().err

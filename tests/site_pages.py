"""The page of the report: records with hostile names, and what a reader sees."""

import base64
import re
import zlib
from html.parser import HTMLParser

from drawings import CAPABILITIES, figure_records
from factories import publish_records, run_record

from benchmark.identity import run_id
from benchmark.records import Measurement
from benchmark.report import __main__ as report

HOSTILE = ["<script>alert(1)", "<img src=x onerror=alert(1)>", '" onmouseover="alert(1)', "{{ 7 * 7 }}", "%3Cb%3E"]
CLOSING = "</script></template><script>alert(1)</script>"


def page_record(method="lora", seed=0, bleu=30.0, trained=50_000, **changes):
    config = {
        "task": {"name": "nmt"},
        "method": {"name": method},
        "backbone": {"name": "tiny_mt", "weights": changes.pop("weights", "pretrained")},
        "budget": {"name": "quick"},
        "seed": seed,
    }
    measured = (
        Measurement("valid", "loss", 5.0, 10),
        Measurement("valid", "loss", 4.0, 20),
        Measurement("test", "bleu", bleu),
        Measurement("cost", "seconds_per_step", 0.125),
        Measurement("cost", "peak_memory_bytes", 2e8),
        Measurement("cost", "params", 5_812_345),
        Measurement("cost", "trainable_params", trained),
    )
    values = {"config": config, "run_id": run_id(config), "measurements": measured}
    return run_record(method, seed, **values | changes)


def lost_page_record(status, reason, **changes):
    return page_record(status=status, reason=reason, data={}, measurements=(), **changes)


RECORDS = [
    *(page_record("lora", seed, 30.0 + seed) for seed in range(3)),
    page_record("full", bleu=40.25, trained=5_812_345),
    page_record("frozen", bleu=2.5, trained=0),
    page_record("full", bleu=1.0, weights="small"),
    lost_page_record("failed", f"loss is nan {CLOSING}", method="dora"),
    lost_page_record("skipped", "no biases", method="bitfit"),
    *(page_record(name, bleu=9.0 + i, trained=100 + i) for i, name in enumerate(HOSTILE)),
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


def write_report(results, records):
    """Write records and what stands beside them, and build the report."""
    publish_records(results, *records)
    (results / "quoted").mkdir()
    (results / "quoted" / "su.yaml").write_text(QUOTED)
    (results / "claims.yaml").write_text(CLAIMS)
    assert report.main([f"results={results}"]) == 0
    return results


class Reader(HTMLParser):
    """Elements of a page with attributes, and the rows of each template."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.rows = {}
        self.text = {}
        self.route, self.inside = "outside", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        self.inside = tag == "td" or (self.inside and tag != "tr")
        if tag == "template":
            self.route = str(found["data-route"])
        if tag == "tr":
            self.rows.setdefault(self.route, []).append((found.get("class") or "", []))
        if tag == "td":
            self.rows[self.route][-1][1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "td"
        self.route = "outside" if tag == "template" else self.route

    def handle_data(self, data):
        self.text[self.route] = self.text.get(self.route, "") + data
        if self.inside:
            self.rows[self.route][-1][1][-1] += data


def block_of(page, name):
    """Give the text of one block of data."""
    found = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return found[1]


def unpack_block(page, name):
    return zlib.decompress(base64.b64decode(block_of(page, f"pack-{name}"))).decode()


def write_figures(folder):
    """Build the report of records that every figure has something of."""
    (folder / "capabilities.csv").write_text(CAPABILITIES)
    return write_report(folder, figure_records())

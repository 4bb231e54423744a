"""Tables of the report: comparable runs are averaged, others kept apart."""

from dataclasses import replace

import pytest
from factories import answered_record, lost_record, publish_records, run_record, table_rows, untrained_record

from benchmark.identity import run_id
from benchmark.records import Measurement, Store
from benchmark.report.figures.drawing import press
from benchmark.report.frame import load
from benchmark.report.material import material

pytestmark = pytest.mark.usefixtures("undrawn")


def test_means_and_spreads_are_those_computed_by_hand(tmp_path):
    # 10, 13, 16: mean 13, squared distances 9 + 0 + 9, over n - 1 = 2 gives 9, root 3
    found = table_rows(
        publish_records(tmp_path, *(run_record(seed=s, bleu=b) for s, b in enumerate((10.0, 13.0, 16.0))))
    )
    (row,) = found["lora"]
    # 50,000 of 5,812,345 are 0.860 %; the median step of 0.123, 1.123 and 2.123 s is 1,123 ms
    assert row[:3] == ["tiny_mt", "pretrained", "lora"]
    assert row[3:6] == ["13.00 ± 3.00", "– †", "–"]  # no predictions, no interval
    assert row[6:10] == ["6.5000 ± 1.5000", "4.0000 ± 0.0000", "3", "–"]
    # stored: 200,001 bytes are 50,000 numbers of 4
    assert row[10:] == ["0.860", "0.860", "0.860", "1123", "200", "0.200"]


def test_a_shifted_tests_own_headline_stands_in_its_column(tmp_path):
    one = run_record(bleu=12.0)
    one = replace(
        one, data={**one.data, "headlines": {"test/names": "chrf++"}},
        measurements=(*one.measurements, Measurement("test/names", "chrf++", 37.0)),
    )  # fmt: skip
    (row,) = table_rows(publish_records(tmp_path, one))["lora"]
    head = (tmp_path / "tables" / "nmt.md").read_text()
    assert "test/names chrf++" in head
    assert "test/names bleu" not in head
    assert (row[3], row[6]) == ("12.00", "37.00")


def test_one_seed_has_no_spread(tmp_path):
    (row,) = table_rows(publish_records(tmp_path, run_record(bleu=12.5)))["lora"]
    assert row[3] == "12.50"


@pytest.mark.parametrize(
    "other",
    [
        {"environment": {"device": "cuda", "device_name": "card"}},
        {"rank": 16},
        {"weights": "random"},
        {"backbone": "other_mt"},
    ],
)
def test_runs_that_differ_in_more_than_the_seed_are_not_pooled(other, tmp_path):
    found = table_rows(publish_records(tmp_path, run_record(seed=0, bleu=10.0), run_record(seed=1, bleu=20.0, **other)))
    scores = [row[3] for same in found.values() for row in same]
    assert sorted(scores) == ["10.00", "20.00"]
    named = {tuple(row[:3]) for same in found.values() for row in same}
    assert len(named) == 2


def test_unlike_data_share_no_table_no_axis_and_no_figure(tmp_path):
    own = {"fingerprint": "f2-own", "metric": "bleu"}
    publish_records(tmp_path, run_record(bleu=10.0), run_record("ia3", bleu=11.0))
    for seed in (0, 1, 2):  # more runs than are shipped: the shipped data have the name all the same
        Store(tmp_path / "runs").append(run_record(seed=seed, bleu=20.0, data=own), None)
    assert {name: row[0][3] for name, row in table_rows(tmp_path).items()} == {"lora": "10.00", "ia3": "11.00"}
    assert {name: row[0][3] for name, row in table_rows(tmp_path, "nmt_f2-own").items()} == {"lora": "20.00 ± 0.00"}
    made = material(load(tmp_path), tmp_path)
    drawn = [picture.table for picture in press.every(made) if picture.figure == "parameters"]
    assert [sorted(set(table["score"])) for table in drawn] == [[10.0, 11.0], [20.0]]


def test_a_label_names_what_differs(tmp_path):
    same_rank = run_record("full", trained=5_812_345)
    assert set(table_rows(publish_records(tmp_path, run_record(), run_record(seed=1, rank=16), same_rank))) == {
        "lora (method.rank=8)",
        "lora (method.rank=16)",
        "full",
    }


def test_own_runs_stand_beside_shipped_ones_of_the_same_cell(tmp_path):
    publish_records(tmp_path, run_record(bleu=10.0))
    Store(tmp_path / "runs").append(run_record(bleu=20.0), None)
    found = table_rows(tmp_path)
    assert {name: row[0][3] for name, row in found.items()} == {
        "lora (source=reference)": "10.00",
        "lora (source=yours)": "20.00",
    }


def test_a_failed_a_skipped_and_a_missing_run_look_different(tmp_path):
    reason = "a|b: 100% of $x_1 & {y}#~^\\ <z>\nnext line"
    found = table_rows(
        publish_records(
            tmp_path,
            run_record(),
            lost_record("failed", "loss is nan", seed=1),
            lost_record("failed", reason, method="dora"),
            lost_record("skipped", "no biases", method="bitfit"),
            run_record("full", weights="large"),
            run_record("lora", weights="random"),
        )
    )
    # done twice, never run on the other weights; of a control nothing is missing
    assert sorted((row[1], row[3]) for row in found["lora"]) == [
        ("large", "–"),
        ("pretrained", "30.00"),
        ("random", "30.00"),
    ]
    assert [row[1] for row in found["full"]] == ["large", "pretrained"]
    assert found["lora"][1][8] == "1 of 2 (a)"
    assert found["dora"][1][3].startswith("failed (")
    assert found["bitfit"][1][3].startswith("skipped (")
    text = (tmp_path / "tables" / "nmt.md").read_text()
    assert "- (a) seed 1 failed: loss is nan\n" in text
    assert r"failed: a\|b: 100% of $x_1 & {y}#\~^\\ \<z\> next line" in text
    tex = (tmp_path / "tables" / "nmt.tex").read_text()
    assert (
        r"a\textbar{}b: 100\% of \$x\_1 \& \{y\}\#\textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"\textless{}z\textgreater{} next line"
    ) in tex
    widths = {line.replace(r"\&", "").count("&") for line in tex.splitlines() if line.endswith(r" \\")}
    assert len(widths) == 1


def test_times_from_different_machines_say_so(tmp_path):
    other = {"device": "cpu", "device_name": "older chip"}
    (row,) = table_rows(publish_records(tmp_path, run_record(), run_record(seed=1, environment=other)))["lora"]
    assert row[13].endswith("(a)")
    assert "(a) costs from different machines: chip, older chip" in (tmp_path / "tables" / "nmt.md").read_text()


def test_an_interval_a_tie_and_a_difference_are_those_of_the_stored_answers(tmp_path):
    for one in (answered_record("lora", 0, 80), answered_record("ia3", 0, 78), answered_record("full", 0, 50, 50)):
        Store(tmp_path / "published/reference").append(*one)
    found = {name: row[3:8] for name, [row] in table_rows(tmp_path).items()}
    # 80 of 100: 0.8 -/+ 1.984 * sqrt(0.8 * 0.2 / 99), drawn a thousand times
    low, high = map(float, found["lora"][1].split(" to "))
    assert (low, high) == (pytest.approx(0.720, abs=0.01), pytest.approx(0.880, abs=0.01))
    assert [row[0] for row in found.values()] == ["0.5000", "0.7800", "0.8000"]
    assert {name: row[2] for name, row in found.items()} == {"lora": "a", "ia3": "a", "full": "b"}
    assert {name: row[3] for name, row in found.items()} == {"lora": "–", "ia3": "-0.0200", "full": "-0.3000\\*"}
    assert found["ia3"][4] == "+0.2800\\*"


def test_what_was_drawn_is_kept_and_a_record_without_its_answers_joins(tmp_path, monkeypatch):
    for one in (answered_record("lora", 0, 80), answered_record("ia3", 0, 70)):
        Store(tmp_path / "published/reference").append(*one)
    Store(tmp_path / "published/reference").append(answered_record("bitfit", 0, 60)[0], None)
    first = table_rows(tmp_path)
    assert first["bitfit"][0][3:6] == ["0.6000", "– †", "–"]
    with monkeypatch.context() as patched:
        patched.setattr("benchmark.report.statistics.bootstrap.prepare", None)
        assert table_rows(tmp_path) == first  # nothing is drawn again
    kept = {path: path.read_bytes() for path in (tmp_path / "published/reference").rglob("*.jsonl.gz")}
    for path in kept:
        path.write_bytes(b"cut short")
    assert {row[4] for [row] in table_rows(tmp_path).values()} == {"– †"}
    for path, content in kept.items():
        path.write_bytes(content)
    for path in (tmp_path / ".cache").rglob("*.npz"):
        path.write_bytes(b"broken")
    assert table_rows(tmp_path) == first


def test_an_own_run_of_a_reference_takes_it_from_nobody(tmp_path):
    for seed in (0, 1, 2):
        for name, right in (("lora", 80), ("ia3", 70)):
            Store(tmp_path / "published/reference").append(*answered_record(name, seed, right))
    before = table_rows(tmp_path)["ia3"][0]
    Store(tmp_path / "runs").append(*answered_record("lora", 0, 60))
    found = table_rows(tmp_path)
    assert found["ia3 (source=reference)"][0][3:] == before[3:]
    assert found["lora (source=yours)"][0][6] == "-0.2000\\*"  # from the shipped one


def test_what_differs_in_more_than_its_method_is_held_against_nothing(tmp_path):
    made = [answered_record(name, 0, right) for name, right in (("lora", 80), ("ia3", 40))]
    longer, answers = answered_record("dora", 0, 90)
    config = longer.config | {"budget": longer.config.get("budget", {}) | {"steps": 999}}
    made.append((replace(longer, config=config, run_id=run_id(config)), answers))
    for one in made:
        Store(tmp_path / "published/reference").append(*one)
    found = {name.split(" ")[0]: row[5:7] for name, [row] in table_rows(tmp_path).items()}
    assert found == {"lora": ["a", "–"], "ia3": ["b", "-0.4000\\*"], "dora": ["–", "–"]}


def test_a_cell_on_two_types_of_device_has_two_scores(tmp_path):
    card = {"device": "cuda", "device_name": "card"}
    for right, changes in ((10, {}), (50, {"environment": card})):
        one, answers = answered_record("lora", 0, right)
        Store(tmp_path / "published/reference").append(replace(one, **changes), answers)
    intervals = {row[3]: row[4] for same in table_rows(tmp_path).values() for row in same}
    assert intervals["0.1000"].startswith("0.0")
    assert intervals["0.5000"].startswith("0.4")


def test_a_score_of_which_a_seed_is_untrained_is_marked_and_the_mark_is_told(tmp_path):
    runs = [run_record("lora", 0, 30.0), untrained_record(run_record("lora", 1, 10.0)), run_record("full", 0, 31.0)]
    named = replace(runs[2], task="qa"), untrained_record(replace(runs[0], task="qa", run_id="1"))
    found = {name: row[3] for name, [row] in table_rows(publish_records(tmp_path, *runs, *named)).items()}
    assert found == {"lora": "20.00 ± 14.14‡", "full": "31.00"}
    tables = {path.stem: path.read_text() for path in (tmp_path / "tables").glob("*.md")}
    assert "‡ at least one seed is untrained: no validation" in tables["nmt"]
    across = next(text for name, text in tables.items() if name.startswith("methods"))
    assert [row.split(" | ")[1::2] for row in across.splitlines() if row.startswith("| lora")] == [["20.0‡", "30.0‡"]]
    assert "‡ at least one seed" in across


def test_without_an_untrained_seed_nothing_speaks_of_one(tmp_path):
    table_rows(publish_records(tmp_path, run_record("lora"), run_record("full")))
    assert "untrained" not in (tmp_path / "tables" / "nmt.md").read_text()

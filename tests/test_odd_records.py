"""Records, answers, caches and claims that are not what they say: left out by name, or made again."""

import gzip
import io
import json
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from drawings import figure_record, material_of, pictures_of
from factories import MT_ROWS, answered_record, mt_record, run_record

from benchmark.errors import MalformedError
from benchmark.records import PackedStore, Store
from benchmark.records import packed as packing
from benchmark.records.configurations import configurations
from benchmark.report import __main__ as report
from benchmark.report import frame
from benchmark.report.figures.drawing import press
from benchmark.report.material import material
from benchmark.report.published import claims
from benchmark.report.statistics.evidence import Evidence


def changed(path, value):
    """Change one value of a stored record; a record without a digest is an early one."""
    content = json.loads(path.read_text())
    del content["digest"]
    node = content
    *parents, last = value[0].split(".")
    for key in parents:
        node = node.setdefault(key, {})
    node[last] = value[1]
    path.write_text(json.dumps(content))


DEEP = json.loads("[" * 60 + "]" * 60)


@pytest.mark.parametrize(
    "value",
    [
        ("config.seed", [3]), ("config.seed_init", {}), ("config.seed_order", "5"),
        ("config.phase", {}), ("config.until", "60"), ("config.size", 1.5), ("config.budget", {"steps": "60"}),
        ("config.budget", {"precision": []}), ("config.method.search", ["lr"]), ("config.task.x", 10**400),
        ("config.task.x", DEEP), ("config.task.file", {"name": "a", "sha256": 5}), ("config.backbone", []),
        ("data.sizes", {"train": "ten"}), ("data.headlines", "ab"), ("data.overrides", [1]), ("data.proper", "a\nb"),
        ("data.selected", {"trial": 1}), ("data.selected", {"trial": 1, "trials": "3"}),
        ("data.size", {"knob": "rank"}),
        ("data.reading", []), ("data.counts", {"test": 5}), ("data.unpinned", "metric"), ("data.missing", 5),
        ("environment.device_name", {}), ("environment.versions", {"torch": float("nan")}), ("modules", [1]),
        ("signatures", {"bleu": None, "chrf": {}}), ("created", "\ud800"), ("config.budget", {"batch_size": "8"}),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_left_out_by_name(value, tmp_path):
    path = Store(tmp_path).append(mt_record(), None)
    changed(path, value)
    with pytest.warns(UserWarning, match=f"{path.name} is left out, it is no record .*is not of the type or range"):
        assert not list(Store(tmp_path).records())


@pytest.mark.parametrize("digest", [True, False])
def test_a_key_that_comes_twice_is_left_out_by_name(digest, tmp_path):
    path = Store(tmp_path).append(mt_record(), None)
    if not digest:
        changed(path, ("reason", None))
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 0, "seed": 1'))
    with pytest.warns(UserWarning, match=f"{path.name} is left out, .*'seed' stands there twice"):
        assert not list(Store(tmp_path).records())


@pytest.mark.parametrize("target", ["nowhere", "0123456789ab.json"], ids=["to nothing", "to itself"])
def test_a_link_is_left_out_by_name_once(target, tmp_path):
    path = Store(tmp_path).append(mt_record(), None)
    link = path.with_name("0123456789ab.json")
    link.symlink_to(target)
    with pytest.warns(UserWarning, match=f"{link.name} is left out") as caught:
        assert list(Store(tmp_path).records()) == [mt_record()]
    assert len(caught) == 1


def test_a_file_that_would_fill_the_memory_is_left_out_by_its_size(tmp_path, monkeypatch):
    path = Store(tmp_path).append(mt_record(), MT_ROWS)
    monkeypatch.setattr("benchmark.records.answers.MOST", 100)
    with pytest.warns(UserWarning, match=f"{path.name} is left out, .* bytes"):
        assert not list(Store(tmp_path).records())


@pytest.mark.parametrize(
    "content", [b"", gzip.compress(b'{"prediction": NaN}\n'), gzip.compress(b'"text"\n')], ids=["none", "NaN", "text"]
)
def test_early_answers_that_are_damaged_are_refused_by_name(content, tmp_path):
    store = Store(tmp_path)  # an early record holds no digest of its answers
    answers = store.append(mt_record(), MT_ROWS).with_suffix(".examples.jsonl.gz")
    answers.write_bytes(content)
    with pytest.warns(UserWarning, match=answers.name), pytest.raises(MalformedError, match=answers.name):
        store.examples(mt_record())
    answers.unlink()
    answers.symlink_to("nowhere")
    with pytest.raises(MalformedError, match=answers.name):
        list(store.versions("*", "*"))


@pytest.mark.parametrize("about", ["[]", "null", '"text"', "[" * 100_000, "pipe", "folder", '{"schema": 9}'])
def test_a_set_with_an_odd_description_is_left_out_by_name(about, tmp_path):
    packing.pack(tmp_path, [(mt_record(), MT_ROWS)], {})
    assert list(PackedStore(tmp_path).records()) == [mt_record()]
    file = tmp_path / packing.ABOUT
    file.unlink()
    {"pipe": os.mkfifo, "folder": os.mkdir}.get(about, lambda path: path.write_text(about))(file)
    with pytest.warns(UserWarning, match=f"{tmp_path} is left out"):
        assert not list(PackedStore(tmp_path).records())


def test_a_set_leaves_out_the_record_that_is_none(tmp_path, monkeypatch):
    odd = replace(mt_record(), run_id="0123456789ab", data={"sizes": {"train": "ten"}})
    packing.pack(tmp_path, [(odd, None), (mt_record(), MT_ROWS)], {})
    with pytest.warns(UserWarning, match="nmt/lora/0123456789ab is left out, .*data.sizes"):
        assert list(PackedStore(tmp_path).records()) == [mt_record()]
    assert PackedStore(tmp_path).examples(mt_record()) == MT_ROWS


@pytest.mark.filterwarnings("ignore")
def test_half_a_character_ends_no_report(tmp_path, capsys):
    texts = {"overrides": ["task=\udcff"], "reading": {"a": "\ud800"}, "fingerprint": "f\ud800", "majority": "\ud800"}
    first = run_record(data={"metric": "bleu", **texts})
    other = run_record("ia3", seed=1, weights="\ud800", data={"metric": "bleu", **texts}, reason="\ud800")
    for one in (first, other, run_record("dora", status="failed", reason="no \udcff.csv")):
        Store(tmp_path / "runs").append(one, None)
    runs = frame.load(tmp_path)
    table = frame.tidy(runs)
    frame.write(table, tmp_path / "runs.csv")
    made = material(runs, tmp_path)
    assert len(runs) == len(table) == 3
    assert "\\ud800" in (tmp_path / "runs.csv").read_text()
    assert {"f\\ud800"} == {one.settings["data fingerprint"] for one in configurations(runs) if one.done}
    for key in made.tables:
        report.table_of(made, key)
    assert [*press.every(made)]


def other_json(content):
    return lambda parts: {**parts, press.MARKS: content}


PARTS = {
    "junk": lambda parts: dict.fromkeys(parts, b"\xff\xfe"),
    "a part is missing": lambda parts: {"pdf": parts["pdf"]},
    "no picture": lambda parts: {**parts, "png": b"<html>"},
    "marks are null": other_json(b"null"),
    "marks are texts": other_json(b'[[0.5, 0.5, "0"]]'),
    "marks of other rows": other_json(b"[[0.5, 0.5, 99]]"),
    "marks nested deep": other_json(b"[" * 100_000),
}
BYTES = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[-9:],
    "a password": lambda content: content.replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
}


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """One picture with the archive that a first report made of it."""
    folder = tmp_path_factory.mktemp("figures")
    shown = pictures_of(material_of(figure_record(), results=folder), "parameters")
    press.publish(shown, folder)
    (archive,) = (folder / ".cache" / "figures").iterdir()
    return folder, shown, archive, archive.read_bytes()


@pytest.mark.parametrize("damage", [*PARTS, *BYTES, "folder", "pipe"])
def test_a_damaged_picture_in_the_cache_is_drawn_again(damage, picture, monkeypatch):
    folder, shown, archive, content = picture
    drawn = [press._read(archive, len(shown[0].table))]
    assert drawn != [None]
    monkeypatch.setattr(press, "render", lambda one, *more: drawn.append(one.path) or drawn[0])
    archive.unlink()
    if damage in PARTS:
        with zipfile.ZipFile(archive, "w") as packed:
            for name, part in PARTS[damage](drawn[0]).items():
                packed.writestr(name, part)
    else:
        {"folder": os.mkdir, "pipe": os.mkfifo}.get(damage, lambda path: path.write_bytes(BYTES[damage](content)))(
            archive
        )
    press.publish(shown, folder)
    archive.rmdir() if damage == "folder" else archive.unlink()
    archive.write_bytes(content)
    assert drawn[1:] == [shown[0].path]


@pytest.mark.parametrize(
    "draws", [np.array(["a"]), np.zeros((2, 3), "float32"), np.zeros(7, "float32"), np.zeros(1000, complex), "pipe"]
)
def test_damaged_draws_and_ties_are_made_again(draws, tmp_path):
    for method, right in (("lora", 90), ("ia3", 20)):
        for seed in (0, 1):
            Store(tmp_path / "runs").append(*answered_record(method, seed, right + seed))
    members = configurations(frame.load(tmp_path))

    def letters():
        evidence = Evidence(tmp_path)
        return {one.method: letter for one, letter in evidence.ties(evidence.samples(members)).items()}

    first = letters()
    assert sorted(first.values()) == ["a", "b"]
    for file in (tmp_path / ".cache").rglob("*.npz"):
        file.unlink()
        if isinstance(draws, str):
            os.mkfifo(file)
            continue
        np.savez(packed := io.BytesIO(), examples="x", size=1, groups=1, draws=draws)
        file.write_bytes(packed.getvalue())
    for content in ("[5, 5]", '[{}, "a"]', "null", '"ab"', '["<b>", "a"]', "[" * 100_000):
        for file in (tmp_path / ".cache" / "ties").rglob("*.json"):
            file.write_text(content)
        assert letters() == first


CLAIMS = [
    "", "[1, 2]", "claims: {}", "claims: [a]", "claims:\n- {id: a, foo: 1}", "claims:\n- {1: 2}", "a: \0", "[" * 5000,
    "claims: !!python/object/apply:os.mkdir [OUT]", "claims: !!python/name:os.system", "claims: &a [*a]",
    "claims:\n- {id: [a], study: s, where: w, words: w, original: o, check: {untested: x}}",
    "claims:\n- {id: a, study: s, where: w, words: w, original: o, task: t, backbone: b, check: {beats: {1: [lora]}}}",
]  # fmt: skip


@pytest.mark.parametrize("text", [*CLAIMS, "folder", "pipe", "link"])
def test_claims_that_are_none_are_left_out_in_one_line(text, tmp_path, capsys):
    path, out = tmp_path / claims.FILE, tmp_path / "out"
    {"folder": os.mkdir, "pipe": os.mkfifo, "link": lambda p: p.symlink_to(p.name)}.get(
        text, lambda p: p.write_text(text.replace("OUT", str(out)))
    )(path)
    made = material([("yours", run_record())], tmp_path)
    assert report.judge(made) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: claims are left out: ")
    assert not out.exists()

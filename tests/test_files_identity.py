"""Files of every domain: one byte names another run, lists are no class."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from benchmark.config.compose import cell_of, choices_of
from benchmark.identity import run_id
from benchmark.types import Bad


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), value).save(path)


def make_folder(root):
    for split in ("train", "val", "test"):
        for kind in "ab":
            picture(root / "scans" / split / kind / "0.png", 90)
    return ["task=medical_images", "data=image_folder", "data.folder=scans"], root / "scans/test/a/0.png"


def make_linked_class(root):
    words, _ = make_folder(root)
    (root / "scans/test/a").rename(root / "elsewhere")
    (root / "scans/test/a").symlink_to(root / "elsewhere")
    return words, root / "elsewhere/0.png"


def make_image_table(root):
    for i in range(6):
        picture(root / "img" / f"{i}.png", 40 * i)
    (root / "labels.csv").write_text(
        "image,label,split\n" + "".join(f"img/{i}.png,{'ab'[i % 2]},train\n" for i in range(6))
    )
    return ["task=medical_images", "data=image_table", "data.train=labels.csv"], root / "img/3.png"


def make_shifted_table(root):
    words, _ = make_image_table(root)
    picture(root / "far" / "0.png", 70)
    (root / "far" / "labels.csv").write_text("image,label\n0.png,a\n")
    return [*words, "+data.shifts.far=far/labels.csv"], root / "far/0.png"


def make_archive(root):
    arrays = {f"{w}_images": np.zeros((2, 8, 8), np.uint8) for w in ("train", "val", "test")}
    np.savez(root / "a.npz", **arrays, **{f"{w}_labels": np.arange(2) for w in ("train", "val", "test")})
    return ["task=medical_images", "data=image_npz", "data.file=a.npz"], root / "a.npz"


def make_parallel(root):
    for side in ("en", "yo"):
        (root / f"pair.{side}").write_text("one\ntwo\n")
    columns = ["data.columns.source=en", "data.columns.target=yo"]
    return ["task=text_generation", "data=files", "data.train=pair", *columns], root / "pair.yo"


def make_texts(root):
    for name in ("train", "far"):
        (root / f"{name}.csv").write_text("source,target\na,b\n")
    return ["task=text_generation", "data=files", "data.train=train.csv", "+data.shifts.far=far.csv"], root / "far.csv"


def make_proteins(root):
    for name in ("all", "far"):
        (root / f"{name}.csv").write_text("sequence,target\nMK,1\n")
    files = ["data.files={train: all.csv}", "+data.shifts.far=far.csv"]
    return ["task=protein_regression", "data=protein_splits", "data.files.train=all.csv", files[1]], root / "far.csv"


def make_fasta(root):
    for name in ("seqs", "labels"):
        (root / name).write_text(">a SET=train\nMK\n")
    return ["task=protein_residues", "data.files.sequence=seqs", "data.files.labels=labels"], root / "labels"


def make_recordings(root):
    (root / "clips").mkdir()
    soundfile.write(root / "clips" / "a.wav", np.full(800, 0.5), 8000)
    (root / "clips" / "metadata.csv").write_text("file_name,label\na.wav,x\n")
    return ["task=speech", "data=audio_folder", "data.folder=clips"], root / "clips/a.wav"


def make_recordings_elsewhere(root):
    words, file = make_recordings(root)
    file.rename(root / "a.wav")
    (root / "clips" / "metadata.csv").write_text("file_name,label\n../a.wav,x\n")
    return words, root / "a.wav"


def make_packed(root):
    (root / "train.csv.gz").write_bytes(gzip.compress(b"source,target\na,b\n", mtime=0))
    return ["task=text_generation", "data=files", "data.train=train.csv.gz"], root / "train.csv.gz"


def make_image_behind_a_link(root):
    words, file = make_image_table(root)
    (root / "store").mkdir()
    file.rename(root / "store" / "3.png")
    file.symlink_to(root / "store" / "3.png")
    return words, root / "store" / "3.png"


def make_mask(root):
    words, _ = make_fasta(root)
    (root / "mask").write_text(">a\n01\n")
    return [*words, "data.files.mask=mask"], root / "mask"


MAKERS = [
    make_folder, make_linked_class, make_image_table, make_shifted_table, make_archive, make_parallel, make_texts,
    make_proteins, make_fasta, make_recordings, make_recordings_elsewhere,
    make_packed, make_image_behind_a_link, make_mask,
]  # fmt: skip


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_one_byte_of_one_file_names_another_run(make, tmp_path, monkeypatch):
    names = []
    for place in ("one", "other"):  # wherever it lies
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        words, file = make(tmp_path / place)
        names.append(
            run_id(choices_of(cell_of([*words, "method=head" if "text" not in words[0] else "method=frozen"])))
        )
    assert names[0] == names[1]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    after = run_id(choices_of(cell_of([*words, "method=head" if "text" not in words[0] else "method=frozen"])))
    assert after != names[1]


def test_a_list_of_classes_is_a_bad_row_for_every_domain(tmp_path):
    picture(tmp_path / "0.png", 9)
    lines = [{"image": "0.png", "label": v} for v in ("a", "b", ["a", "b"], None)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    words = [f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "valid", "test")]
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.jsonl").write_text((tmp_path / "t.jsonl").read_text())
    task = cell_of(["task=medical_images", "method=head", "data=image_table", *words]).task
    reasons = [e.source.reason for e in task.splits()["train"] if isinstance(e.source, Bad)]
    assert "row 3: ['a', 'b'] stands where one class is wanted" in reasons[0]
    assert "row 4: image 0.png: no image or no label" in reasons[1]

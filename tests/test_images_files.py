"""A user's images: folders, tables and archives."""

import csv
import shutil
from collections import Counter

import numpy as np
import pytest
from factories import image_task, png, run_cell
from PIL import Image

from benchmark.config.compose import cell_of, task_of
from benchmark.errors import InputError
from benchmark.types import Bad
from tasks.image_files import ImageTable

pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')


@pytest.fixture
def folders(tmp_path):
    for split, number in (("train", 4), ("val", 2), ("test", 2)):
        for label, value in (("benign", 40), ("malignant", 200)):
            for i in range(number):
                png(tmp_path / split / label / f"{i}.png", value)
    return tmp_path


def test_a_folder_of_classes_is_read(folders):
    (folders / "train" / "benign" / "notes.txt").write_text("no image")
    task = image_task("data=image_folder", f"data.folder={folders}")
    splits = task.splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 8, "valid": 4, "test": 4}
    assert all(e.source.shape == (8, 8) for examples in splits.values() for e in examples)
    assert {(e.targets[0], int(e.source[0, 0])) for e in splits["test"]} == {("benign", 40), ("malignant", 200)}
    with pytest.raises(InputError, match=r"nothere.*no folder with a folder per class"):
        image_task("data=image_folder", f"data.folder={folders}/nothere").splits()


def test_what_a_folder_holds_beside_images_is_counted_and_hidden_folders_are_no_classes(folders):
    train = folders / "train"
    (train / "benign" / "notes.txt").write_text("no image")
    (train / "benign" / "scan.dcm").write_bytes(b"DICM")
    (train / "loose.png").write_bytes((train / "benign" / "0.png").read_bytes())
    png(train / ".ipynb_checkpoints" / "0.png")
    png(train / "benign" / ".0.png")
    pages = [Image.new("L", (9, 9), 40 * i) for i in range(3)]
    pages[0].save(train / "benign" / "pages.tiff", save_all=True, append_images=pages[1:])
    task = image_task("data=image_folder", f"data.folder={folders}")
    assert len(task.splits()["train"]) == 9
    assert task.reading.counts == {
        "train": {
            "files_beside_the_class_folders_not_read": 1,
            "files_not_read (.txt)": 1,
            "files_not_read (.dcm)": 1,
            "images_of_several_pages_of_which_the_first_is_read": 1,
        }
    }


def test_a_class_whose_files_are_all_unreadable_is_refused_and_one_without_test_too(folders):
    for file in (folders / "test" / "malignant").iterdir():
        file.rename(file.with_suffix(".pgm"))
    Image.new("L", (9, 9), 200).save(folders / "test" / "malignant" / "0.pgm")
    Image.new("L", (9, 9), 200).save(folders / "test" / "malignant" / "1.pgm")
    task = image_task("data=image_folder", f"data.folder={folders}")
    assert len(task.splits()["test"]) == 4
    for file in (folders / "test" / "malignant").iterdir():
        file.rename(file.with_suffix(".dcm"))
    with pytest.raises(InputError, match=r"malignant.*none of its 2 files can be read \(.dcm\)"):
        image_task("data=image_folder", f"data.folder={folders}").splits()
    for file in (folders / "test" / "malignant").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="split test has no readable image of class 'malignant'"):
        image_task("data=image_folder", f"data.folder={folders}").splits()


def test_a_valid_split_without_a_class_is_noted_a_class_unknown_to_train_refused(folders):
    shutil.rmtree(folders / "val" / "malignant")
    task = image_task("data=image_folder", f"data.folder={folders}")
    task.splits()
    assert task.reading.notes == {"valid_has": "no readable image of class 'malignant'"}
    for split in ("val", "test"):
        png(folders / split / "unclear" / "0.png")
        parts = image_task("data=image_folder", f"data.folder={folders}").splits()
        (bad,) = [e.source for e in parts["valid" if split == "val" else split] if isinstance(e.source, Bad)]
        assert "label 'unclear' is not among the training labels" in bad.reason
        shutil.rmtree(folders / split / "unclear")
    for split in ("train", "test"):
        shutil.rmtree(folders / split / "malignant")
    with pytest.raises(InputError, match="the 4 training examples are of class 'benign' alone: nothing to learn"):
        image_task("data=image_folder", f"data.folder={folders}").splits()


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_the_folder_of_valid_has_one_of_its_usual_names(name, folders):
    (folders / "val").rename(folders / name)
    task = image_task("data=image_folder", f"data.folder={folders}")
    assert {n: len(part) for n, part in task.splits().items()} == {"train": 8, "valid": 4, "test": 4}
    assert task.reading.notes == {}
    with pytest.raises(InputError, match=r"vlaid'?: no folder with a folder per class"):
        image_task("data=image_folder", f"data.folder={folders}", "data.splits_of.valid=vlaid").splits()


def test_splits_without_a_folder_are_drawn_in_each_class_and_said(folders):
    for name in ("val", "test"):
        shutil.rmtree(folders / name)
    for label in ("benign", "malignant"):
        for i in range(4, 20):
            png(folders / "train" / label / f"{i}.png", 90)
    task = image_task("data=image_folder", f"data.folder={folders}")
    splits = task.splits()
    assert {name: Counter(e.targets[0] for e in part) for name, part in splits.items()} == {
        name: {"benign": number, "malignant": number} for name, number in (("train", 14), ("valid", 2), ("test", 4))
    }
    assert task.reading.notes["drawn_from_train"] == (
        "test 0.2 (8 examples), valid 0.1 (4 examples), by the hash of the example, in each class"
    )
    with pytest.raises(InputError, match="valid and test are the same"):
        image_task(
            "data=image_folder", f"data.folder={folders}", "data.splits_of.valid=x", "data.splits_of.test=x"
        ).splits()


def test_a_share_of_train_becomes_a_split_that_has_no_folder(folders):
    words = ["data=image_folder", f"data.folder={folders}", "+data.shares.valid=0.5"]
    task = image_task(*words, "~data.splits_of.valid")
    splits = task.splits()
    assert len(splits["train"]) + len(splits["valid"]) == 8
    assert not {e.id for e in splits["train"]} & {e.id for e in splits["valid"]}
    with pytest.raises(InputError, match="split valid: name its rows"):
        image_task(*words)


def test_a_broken_image_is_named_and_may_be_skipped(folders):
    (folders / "train" / "benign" / "0.png").write_bytes(b"\x89PNG no more")
    png(folders / "test" / "benign" / "1.png").write_bytes(png(folders / "x.png", size=(64, 64)).read_bytes()[:80])
    words = ["task=medical_images", "data=image_folder", f"data.folder={folders}", "task.size=8", "budget=smoke"]
    words += ["method=head", "backbone.weights=random"]
    with pytest.raises(
        InputError, match=r"image train/benign/0.png cannot be decoded \(.*and 1 more.*task.skip_bad=true"
    ):
        run_cell(cell_of(words))
    counts = run_cell(cell_of([*words, "task.skip_bad=true"])).data["counts"]
    assert {name: part.get("bad_examples") for name, part in counts.items()} == {"train": 1, "valid": None, "test": 1}


def table(file, rows):
    with open(file, "w", newline="") as lines:
        csv.writer(lines).writerows([["path", "dx", "part", "patient"], *rows])
    return file


COLUMNS = "data.columns={image: path, label: dx, split: part, group: patient}"


def test_a_table_of_paths_names_file_and_row_of_what_is_missing(tmp_path):
    png(tmp_path / "images" / "a.png")
    rows = [[f"images/{name}.png", label, part, "p1"] for name, label, part in (
        ("a", "yes", "train"), ("a", "no", "train"), ("b", "no", "train"), ("a", "no", "val"), ("a", "yes", "test"),
        ("a", "perhaps", "test"), ("a", "no", "unused"))]  # fmt: skip
    file = table(tmp_path / "all.csv", rows)
    splits = image_task("data=image_table", f"data.train={file}", COLUMNS).splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 4, "valid": 1, "test": 2}
    assert splits["train"][3].source == Bad("all.csv, row 7: no split is called 'unused' (data.words)")
    assert splits["train"][2].source == Bad("all.csv, row 3: image images/b.png: no such file")
    assert splits["train"][0].group == "p1"
    assert "label 'perhaps' is not among the training labels" in splits["test"][1].source.reason
    elsewhere = table(
        tmp_path / "sub.csv", [["a.png", "yes", part, p] for p, part in (("p", "train"), ("q", "train"), ("r", "test"))]
    )
    words = [f"data.train={elsewhere}", f"data.root={tmp_path}/images", COLUMNS, "~data.words.valid"]
    splits = image_task("data=image_table", *words, "+data.shares.valid=0.5").data.splits()
    assert (splits["train"] + splits["valid"])[0].source.content == tmp_path / "images" / "a.png"
    with pytest.raises(InputError, match="no column 'image'; it has path, dx, part, patient"):
        image_task("data=image_table", f"data.train={file}", "data.columns={image: image, label: dx}").splits()


def test_one_table_per_split(tmp_path):
    png(tmp_path / "a.png")
    files = {s: table(tmp_path / f"{s}.csv", [["a.png", s, "", "p"]]) for s in ("train", "valid", "test", "other")}
    words = [f"data.{s}={files[s]}" for s in ("train", "valid", "test")] + [f"+data.shifts.other={files['other']}"]
    splits = image_task("data=image_table", *words, "data.columns={image: path, label: dx}").data.splits()
    assert {name: [e.targets for e in examples] for name, examples in splits.items()} == {
        "train": [("train",)], "valid": [("valid",)], "test": [("test",)], "test/other": [("other",)]
    }  # fmt: skip


def test_a_group_stays_together_whatever_else_there_is(tmp_path):
    rows = [[f"{i}.png", "a", "", f"patient {i % 40}"] for i in range(200)]
    options = {"description": "", "valid": None, "test": None, "shifts": {}, "root": None, "words": {}}
    columns = {"image": "path", "label": "dx", "group": "patient"}
    shares = {"valid": 0.2, "test": 0.3}
    whole = table(tmp_path / "whole.csv", rows)
    splits = ImageTable(train=str(whole), columns=columns, shares=shares, **options).splits()
    groups = {name: {e.group for e in examples} for name, examples in splits.items()}
    assert all(groups.values())
    assert len(set.union(*groups.values())) == sum(map(len, groups.values())) == 40
    half = table(tmp_path / "half.csv", rows[:100])
    again = ImageTable(train=str(half), columns=columns, shares=shares, **options).splits()
    assert all({e.group for e in examples} <= groups[name] for name, examples in again.items())


def test_an_npz_is_read_and_a_wrong_one_refused(image_archive, tmp_path):
    task = image_task("data=image_npz", f"data.file={image_archive}", "+data.names.1=right")
    splits = task.splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 32, "valid": 8, "test": 12}
    assert [e.targets[0] for e in splits["test"][:2]] == ["0", "right"]
    arrays = dict(np.load(image_archive))
    np.savez(
        tmp_path / "more.npz", **arrays | {"test_labels": arrays["test_labels"] + 2 * (np.arange(12) == 5)[:, None]}
    )
    reason = image_task("data=image_npz", f"data.file={tmp_path}/more.npz").splits()["test"][5].source.reason
    assert reason == "example test/more.npz, row 5: label '3' is not among the training labels"
    for change, words in (
        ({"val_labels": np.full((8, 14), 2)}, r"val_labels is \(8, 14\), one class per image \(8\) wanted"),
        ({"train_images": arrays["train_images"] / 255}, "train_images is float64 .* uint8"),
        ({"test_images": None}, "cannot be read as npz"),  # an object, which would be unpickled
    ):
        np.savez(tmp_path / "wrong.npz", **{**arrays, **change})
        with pytest.raises(InputError, match=words):
            image_task("data=image_npz", f"data.file={tmp_path}/wrong.npz").splits()
    del arrays["val_images"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(InputError, match=r"no array 'val_images'; it has train_images"):
        image_task("data=image_npz", f"data.file={tmp_path}/less.npz").splits()
    with pytest.raises(InputError, match=r"no file .*nothere.npz"):
        image_task("data=image_npz", "data.file=nothere.npz").splits()


def test_images_are_read_at_the_backbones_own_size_unless_told(folders, timm_folder):
    words = ["task=medical_images", "method=head", "data=image_folder", f"data.folder={folders}"]
    assert cell_of(words).task.size == 24
    assert cell_of([*words, "backbone=timm_network", f"backbone.checkpoint={timm_folder('resnet50')}"]).task.size == 32
    assert cell_of([*words, "task.size=9"]).task.size == 9
    assert cell_of([*words, "backbone=vit_base", "backbone.weights=random"]).task.size == 224
    assert task_of([*words])[1].splits()["test"][0].source.shape == (24, 24)
    assert cell_of(words[:2]).task.size == 20  # the section's patches, of which records are shipped

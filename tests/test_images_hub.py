"""Images of the hub, and a real set."""

import io
import os
import re
from collections import Counter
from pathlib import Path

import datasets
import pytest
from factories import image_task, run_cell
from PIL import Image

from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.types import Bad, Example
from tasks.common import Reading
from tasks.image_files import ImageHub
from tasks.splits import complete

pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')


def encoded(value):
    buffer = io.BytesIO()
    Image.new("L", (6, 6), value).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_set_of_the_hub_is_decoded_here_and_named_classes_are_read(monkeypatch):
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"]),
         "lesion": datasets.Value("string"), "key": datasets.Value("string")}
    )  # fmt: skip
    images = [{"bytes": b"broken" if i == 7 else encoded(i), "path": None} for i in range(60)]
    content = {"image": images, "label": [i % 2 for i in range(60)], "lesion": [f"l{i // 4}" for i in range(60)]}
    content["key"] = [str(min(i, 57)) for i in range(60)]  # the last two come twice
    made = datasets.Dataset.from_dict(content, features)
    monkeypatch.setattr(ImageHub, "load", lambda self, part: made)
    task = image_task("data=skin_lesions", "data.columns={image: image, label: label, group: lesion, id: key}")
    splits = task.splits()
    assert sum(map(len, splits.values())) == 60
    groups = [{e.group for e in examples} for examples in splits.values()]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups))
    bad = sorted(e.source.reason for examples in splits.values() for e in examples if isinstance(e.source, Bad))
    where = "marmal88/skin_cancer (train+validation+test), row"
    assert bad[:2] == [f"{where} {i}: image 57 is repeated, it is first in row 57" for i in (58, 59)]
    assert bad[2].startswith(f"{where} 7 cannot be decoded")
    assert len(bad) == 3
    assert {e.targets[0] for examples in splits.values() for e in examples} == {"no", "yes"}
    with pytest.raises(InputError, match="no column 'dx'; it has image, label, lesion, key"):
        image_task("data=skin_lesions").splits()


def of_hub(labels):
    """Make a table as the hub's: images, each with its label."""
    images = [{"bytes": encoded(9), "path": None}] * len(labels)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features)


def test_a_label_that_training_never_saw_is_told_by_data_set_and_row(monkeypatch):
    tables = {"train": of_hub(["a", "b"] * 20), "test": of_hub(["a", "b", "c"])}
    monkeypatch.setattr(ImageHub, "load", lambda self, part: tables[part["split"]])
    reason = image_task("data=chest_xray").splits()["test"][2].source.reason
    assert reason.startswith("example test/hf-vision/chest-xray-pneumonia (test), row 2: label 'c' is not among")


def test_rows_without_an_id_are_all_different(monkeypatch):
    monkeypatch.setattr(ImageHub, "load", lambda self, part: of_hub(["a", "b"] * 20))
    splits = image_task("data=chest_xray").splits()
    assert len(splits["test"]) == 40
    assert not [e for examples in splits.values() for e in examples if isinstance(e.source, Bad)]


@pytest.mark.parametrize("name", ["bloodmnist", "skin_lesions", "chest_xray"])
def test_the_hub_sets_say_how_to_do_without_a_network(name):
    task = cell_of([f"task={name}", "method=head"]).task
    assert task.unpinned() == [task.data.id]
    with pytest.raises(InputError, match=re.escape(f"the data set {task.data.id!r} cannot be downloaded")):
        task.splits()


def test_shares_are_as_large_as_they_are_said():
    examples = [Example(f"train/{i}", None, ("ab"[i % 4 == 0],)) for i in range(4000)]
    for group, slack in ((None, 1), ("g", 100)):  # four standard deviations of a binomial count
        given = [e._replace(group=group and f"{group}{i // 2}") for i, e in enumerate(examples)]
        dealt = complete({"train": given}, {"valid": 0.1, "test": 0.2}, Reading())
        sizes = {name: len(part) for name, part in dealt.items()}
        assert sum(sizes.values()) == 4000
        assert abs(sizes["valid"] - 400) <= slack
        assert abs(sizes["test"] - 800) <= slack
        assert len({e.id.partition("/")[2] for part in dealt.values() for e in part}) == 4000


DATA = os.environ.get("BENCHMARK_DATA_DIR")


def test_pneumonia_mnist():
    if not DATA:
        pytest.skip("BENCHMARK_DATA_DIR is not set")
    (file,) = Path(DATA, "pneumoniamnist").glob("*.npz")
    words = ["data=image_npz", f"data.file={file}", "+data.names.0=normal", "+data.names.1=pneumonia", "task.size=28"]
    cell = cell_of(["task=medical_images", "method=head", "budget=smoke", *words, "backbone=vit_textures"])
    splits = cell.task.splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 4708, "valid": 524, "test": 624}
    assert Counter(e.targets[0] for e in splits["test"]) == {
        "pneumonia": 390,
        "normal": 234,
    }  # MedMNIST v2, as published
    scores = {m.name for m in run_cell(cell).measurements if m.split == "test"}
    assert {"macro_f1", "auroc", "ece"} <= scores

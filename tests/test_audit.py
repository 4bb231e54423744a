"""The audit: planted duplicates are reported, clean data pass, cards match."""

from types import SimpleNamespace

import numpy as np
import pytest
from factories import random_sequences, stub_task

from benchmark.audit import description, duplicates, leaks
from benchmark.audit.duplicates import energies, nearest, similarity, small
from benchmark.audit.findings import audit
from benchmark.types import Bad, Example, Input, Kind
from tasks.answers.classification import Classification
from tasks.answers.regression import Regression
from tasks.answers.tagging import Tagging


def rows(split, sources, targets=None, groups=None):
    targets = targets or [f"answer {split} {i}" for i in range(len(sources))]
    groups = groups or [None] * len(sources)
    return [
        Example(f"{split}/{i}", s, (t,), g) for i, (s, t, g) in enumerate(zip(sources, targets, groups, strict=True))
    ]


def section(made, title):
    return next(s for s in made.sections if s.title == title)


def entry(made, title, name, column):
    header, *found = section(made, title).table
    return next(row for row in found if row[0] == name)[header.index(column)]


def subsequence(one, other):
    """Length of the longest common subsequence, by the textbook's table."""
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            table[i, j] = table[i - 1, j - 1] + 1 if a == b else max(table[i - 1, j], table[i, j - 1])
    return table[-1, -1]


def clean():
    return {
        "train": rows("train", random_sequences(0, 30)),
        "valid": rows("valid", random_sequences(1, 8)),
        "test": rows("test", random_sequences(2, 8)),
    }


def test_clean_data_is_called_clean():
    made = audit(stub_task(clean()))
    assert [line.partition(":")[0] for line in made.findings] == ["CLEAN"]
    assert section(made, "Groups").table[1] == ["all splits", "no groups given"]
    assert entry(made, "Sizes", "train", "examples") == "30"
    assert entry(made, "Sizes", "test", "source [characters]") == "40 / 40 / 40"


def test_planted_duplicates_are_counted_within_and_across_splits():
    data = clean()
    first, second = data["train"][:2]
    data["test"] += [first._replace(id="a"), second._replace(id="b", targets=("another",))]
    data["train"] += [first._replace(id="c"), second._replace(id="d", targets=("else", *second.targets))]
    made = audit(stub_task(data))
    assert made.findings[0] == "LEAK: 2 of 10 sources of test stand in train (1 with the same target)"
    equal = "of these with an equal target"
    assert [entry(made, "Exact duplicates", "within train", c) for c in ("equal sources", equal)] == ["2", "2"]
    assert [entry(made, "Exact duplicates", "test in train", c) for c in ("equal sources", equal)] == ["2", "1"]
    assert entry(made, "Exact duplicates", "test in valid", "equal sources") == "0"
    assert not any(line.startswith("NEAR") for line in made.findings)  # equal ones are not counted again


def test_a_planted_near_duplicate_is_found_by_name():
    data = clean()
    source = data["train"][17].source
    data["test"].append(Example("planted", source[:20] + ("A" if source[20] != "A" else "C") + source[21:], ("x",)))
    made = audit(stub_task(data))
    assert made.findings[1] == "NEAR: 1 of 9 examples of test are at 0.9 or more to one of train, without being equal"
    assert entry(made, "Near-duplicates", "test to train", "its ids") == "train/17 ~ planted"
    assert entry(made, "Near-duplicates", "test to train", "highest") == "0.975"  # 39 of 40 letters
    assert made.findings[0].startswith("CLEAN")


def test_similarity_of_strings_is_twice_the_common_subsequence_over_the_lengths():
    ones, others = random_sequences(3, 5, 31), random_sequences(4, 6, 23)
    expected = [[2 * subsequence(a, b) / (len(a) + len(b)) for b in others] for a in ones]
    np.testing.assert_allclose(similarity(ones, others), expected, rtol=1e-6)


def test_sequence_identity_is_called_so_for_proteins_alone():
    assert "sequence identity" in section(audit(stub_task(clean(), reads=Input.PROTEIN)), "Near-duplicates").note
    assert "sequence identity" not in section(audit(stub_task(clean())), "Near-duplicates").note


def test_a_pair_is_alike_only_if_both_parts_are_in_either_order():
    a, b, c, d = random_sequences(5, 4)
    found = similarity([(a, b)], [(a, b), (b, a), (a, c), (c, d)])[0]
    assert found[0] == found[1] == 1
    assert found[2] == pytest.approx(similarity([b], [c])[0, 0])
    assert found[3] < 0.8


def test_an_image_at_another_contrast_size_or_in_colour_is_a_near_duplicate():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 32, 32)).astype(np.uint8)
    again = [
        (images[3] * 0.5 + 40).astype(np.uint8),
        np.kron(images[4], np.ones((2, 2), np.uint8)),
        np.repeat(images[5][..., None], 3, axis=2),
    ]
    train, test = rows("train", list(images[:15])), rows("test", [*again, *images[15:]])
    found = nearest(train, test)
    assert (found.like, found.compared, found.unequal) == (3, (15, 8), 8)
    assert [earlier.id for _, earlier in found.pairs[:3]] == ["train/3", "train/4", "train/5"]


def test_a_small_image_is_compared_by_its_correlation():
    rng = np.random.default_rng(1)
    one, other = rng.random((2, 16, 16))
    assert small(one) @ small(other) == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    large = rng.random((64, 48))
    means = large.reshape(16, 4, 16, 3).mean((1, 3)).ravel()
    assert small(large) @ small(one) == pytest.approx(np.corrcoef(means, one.ravel())[0, 1])


@pytest.mark.parametrize("shape", [(3, 5), (7, 40), (1, 1)])
def test_an_array_smaller_than_its_reduction_is_compared_too(shape):
    array = np.random.default_rng(2).random(shape)
    assert np.isfinite(small(array)).all()


def tone(frequency, seconds=0.5, rate=8000):
    time = np.arange(int(seconds * rate)) / rate
    return (np.sin(2 * np.pi * frequency * time) * np.exp(-3 * time)).astype(np.float32)


def test_a_quieter_and_noisier_copy_of_a_sound_is_a_near_duplicate_and_another_sound_is_not():
    noise = np.random.default_rng(0).standard_normal(4000) * 0.005
    train = rows("train", [tone(f) for f in (300, 700, 1500, 3100)])
    test = rows("test", [0.3 * tone(700), tone(1500) + noise, tone(2300)])
    found = nearest(train, test)
    assert found.like == 2
    assert [earlier.id for _, earlier in found.pairs[:2]] == ["train/1", "train/2"]
    assert energies(tone(1000)).mean(0).argmax() == pytest.approx(1000 * 125 / 8000, abs=1)  # 125 samples a stretch


def test_what_is_read_when_needed_is_opened_and_measured_in_seconds():
    def clip(samples):
        return SimpleNamespace(read=lambda: SimpleNamespace(samples=samples, rate=8000))

    data = {name: rows(name, [clip(tone(f))]) for name, f in (("train", 300), ("valid", 900), ("test", 300.01))}
    made = audit(stub_task(data, reads=Input.AUDIO))
    assert entry(made, "Sizes", "train", "source [seconds]") == "0.5 / 0.5 / 0.5"
    assert entry(made, "Near-duplicates", "test to train", "at 0.99 or more").startswith("1 ")


def test_a_group_on_both_sides_is_a_leak_and_one_of_two_tests_is_none():
    data = clean()
    data["train"] = rows("train", random_sequences(0, 3), groups=["ann", "bob", "ann"])
    data["valid"] = rows("valid", random_sequences(1, 2), groups=["cid", None])
    data["test"] = rows("test", random_sequences(2, 3), groups=["bob", "dora", "dora"])
    data["test/noise"] = rows("test/noise", random_sequences(3, 1), groups=["dora"])
    made = audit(stub_task(data))
    assert [line for line in made.findings if line.startswith("LEAK")] == [
        "LEAK: 1 of 2 groups of test stand in train (bob)"
    ]
    assert entry(made, "Groups", "valid", "groups") == "1 (1 examples without)"
    assert entry(made, "Groups", "test/noise in test", "groups") == "1 (dora)"


def test_classes_are_counted_with_their_shares():
    data = {
        "train": rows("train", random_sequences(0, 4), ["a", "a", "a", "b"]),
        "valid": rows("valid", random_sequences(1, 2), ["a", "b"]),
    }
    made = audit(stub_task(data, Classification))
    assert entry(made, "Class balance", "a", "train") == "3 (75.0 %)"
    assert entry(made, "Class balance", "b", "valid") == "1 (50.0 %)"
    assert section(made, "Exact duplicates").table[0][-1] == "of these with an equal target"  # a class is no text


def test_labels_of_positions_are_counted_where_they_count():
    data = {"train": [Example("0", "ACD", (["H", "H", None],)), Example("1", "AC", (["E", "H"],))]}
    made = audit(stub_task(data, Tagging, Input.PROTEIN))
    assert entry(made, "Class balance", "H", "train") == "3 (75.0 %)"
    assert section(made, "Class balance").note == "positions"


def test_numbers_are_described():
    data = {
        "train": rows("train", random_sequences(0, 3), [1.0, 2.0, 6.0]),
        "test": rows("test", random_sequences(1, 3), [4.0, 5.0, 9.0]),
    }
    made = audit(stub_task(data, Regression, Input.PROTEIN))
    assert section(made, "Targets").table[1] == ["train", "3", f"{np.std([1, 2, 6]):.4g}", "1", "2", "6"]
    assert {s.title for s in made.sections} >= {"Sizes", "Copying"}


def test_copying_scores_the_target_of_the_nearest_training_source():
    sources = random_sequences(6, 4)
    data = {
        "train": rows("train", sources, ["a", "b", "a", "b"]),
        "test": rows("test", [s[:-1] + "X" for s in sources], ["a", "b", "b", "a"]),
    }
    assert entry(audit(stub_task(data, Classification)), "Copying", "accuracy", "test") == "0.5"


def test_bad_rows_and_empty_splits_are_told():
    data = clean()
    data["train"].append(Example("bad", Bad("images.csv, row 7: x.png cannot be decoded"), ("x",)))
    data["valid"] = []
    made = audit(stub_task(data))
    assert "BAD: 1 in train, the first: images.csv, row 7: x.png cannot be decoded" in made.findings
    assert "EMPTY: valid has no example that can be used" in made.findings
    assert [entry(made, "Sizes", "train", c) for c in ("examples", "bad rows")] == ["30", "1"]


def test_a_cap_is_stated_and_hides_no_exact_duplicate(monkeypatch):
    for module in (duplicates, leaks, description):
        monkeypatch.setattr(module, "MOST", (20, 5))
    data = clean()
    data["test"].append(data["train"][-1]._replace(id="planted"))
    made = audit(stub_task(data))
    assert "At most 5 x 20 examples are compared, drawn by hash: that applied" in section(made, "Near-duplicates").note
    assert entry(made, "Near-duplicates", "test to train", "compared") == "5 x 20"
    assert made.findings[0] == "LEAK: 1 of 9 sources of test stand in train (1 with the same target)"
    assert "drawn" not in section(audit(stub_task({"train": data["valid"][:4]})), "Sizes").note


def test_kinds_that_name_no_class_have_no_balance():
    assert Kind.CTC in stub_task({}).kinds
    assert all(s.title != "Class balance" for s in audit(stub_task(clean())).sections)

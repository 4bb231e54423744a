"""How figures are drawn: readable, whole, names apart."""

import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
from drawings import figure_record, figure_records, material_of, pictures_of, publish_all, trial_record

from benchmark.report import frame
from benchmark.report.figures import known
from benchmark.report.figures.drawing import lines, names, press, style
from benchmark.report.material import material

HOSTILE = ["$x_1$ costs 5 % & more", r"$\frac{$", "a\nb\tc", "<b>#{}~^\\", "long_" * 30, "\x00\u202e", "'\"`"]


@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("figure", known())
def test_every_figure_is_drawn_from_a_plain_table(figure, width, figure_results):
    drawn = pictures_of(material(frame.load(figure_results), figure_results), figure)
    assert drawn
    for picture in drawn:
        kinds = {type(value) for value in picture.table.to_dict("tight")["data"][0]}
        assert kinds <= {str, int, float, bool, type(None)}
        assert all(picture.table[column].nunique() == 1 for column in known()[figure].BY)
    files = press.render(drawn[0], width)
    assert files["png"].startswith(b"\x89PNG")
    assert b"CreationDate" not in files["pdf"]
    assert b"/Type3" not in files["pdf"]
    box = [float(n) for n in files["pdf"].split(b"/MediaBox [")[1].split(b"]")[0].split()]
    assert box[2] == pytest.approx(72 * style.WIDTHS[width], abs=0.1)
    assert press.render(drawn[0], width) == files


@pytest.mark.parametrize("figure", sorted(known().keys() - {"capability", "learning_rate", "ranks"}))
def test_both_axes_say_what_they_show(figure, figure_results):
    picture = pictures_of(material(frame.load(figure_results), figure_results), figure)[0]
    with matplotlib.rc_context(style.RC):
        for width in style.WIDTHS:
            all_axes = known()[figure].draw(picture.table, width).axes
            assert all(axes.get_xlabel() for axes in (all_axes[-1:] if width == "one" else all_axes))
            assert all(axes.get_ylabel() for axes in (all_axes if width == "one" else all_axes[:1]))


@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("figure", known())
def test_no_label_and_no_key_is_cut_by_the_sheet(figure, width, figure_results):
    with matplotlib.rc_context(style.RC):
        sheet = known()[figure].draw(
            pictures_of(material(frame.load(figure_results), figure_results), figure)[0].table, width
        )
        style.within(sheet)
        sheet.draw_without_rendering()
        for axes in sheet.axes:
            key = axes.get_legend()
            for text in (axes.xaxis.label, axes.yaxis.label, *(key.get_texts() if key else ())):
                box = text.get_window_extent()
                if text.get_text():
                    assert box.x0 >= 0 <= box.y0, text
                    assert box.x1 <= sheet.bbox.x1, text
                    assert box.y1 <= sheet.bbox.y1, text


@pytest.mark.parametrize("figure", known())
def test_a_figure_without_data_is_not_drawn(figure):
    assert pictures_of(material_of(figure_record(status="failed")), figure) == []


@pytest.mark.parametrize("figure", ["parameters", "memory", "step_time", "shift", "retention", "curves"])
def test_a_single_point_is_drawn(figure):
    (picture,) = pictures_of(material_of(figure_record()), figure)
    assert len(press.render(picture)["png"]) > 3000


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_hostile_names_are_text_and_stay_in_the_folder(tmp_path):
    records = [
        figure_record(
            name, 0.4 + i / 50, task=task, backbone=HOSTILE[0], phase=phase, trial=t or None, lr=0.1 * t + 0.1
        )
        for task in ("../up", "$a_b$")
        for i, name in enumerate(HOSTILE)
        for phase, t in ((None, 0), ("tune", 0), ("tune", 1))
    ]
    assert publish_all(material_of(*records, results=tmp_path)) > 10
    assert {path.name for path in tmp_path.iterdir()} == {"figures", ".cache"}
    stems = {path.stem for path in (tmp_path / "figures" / "parameters").glob("*.png")}
    assert len(stems) == 2
    assert not any("/" in stem or "$" in stem for stem in stems)
    assert style.shown(HOSTILE[2]) == "a b c"
    assert style.shown("\ud800\x00\u202e") == "???"
    assert len(style.shown(HOSTILE[4])) == style.LONGEST


def crowd(many):
    random = np.random.default_rng(1)
    records = [
        figure_record(f"method_{i}", 0.5 + random.normal() / 20, trained=float(int(10 ** random.uniform(4, 5))))
        for i in range(many)
    ]
    return known()["parameters"].data(material_of(*records, figure_record("frozen", 0.3, trained=0.0)))


@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("many", [8, 30, 60])
def test_names_in_a_crowd_cover_no_mark_and_no_name(many, width):
    table = crowd(many)
    with matplotlib.rc_context(style.RC):
        (axes,) = known()["parameters"].draw(table, width).axes
        written = [text for text in axes.texts if text.get_text().startswith(("method_", "frozen"))]
        boxes = [text.get_window_extent() for text in written]
    marks = axes.transData.transform(table[table["cost"] > 0][["cost", "score"]].to_numpy())
    shown = {text.get_text() for text in written}
    assert not [1 for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]
    assert not [1 for box in boxes for mark in marks if box.contains(*mark)]
    assert all(axes.bbox.contains(*corner) for box in boxes for corner in (box.p0, box.p1))
    assert set(table[table["front"]]["label"]) <= shown  # these always find room
    if many == 8:
        assert len(shown) == 9
    if len(shown) < len(table) and width == "two":
        assert any(f"{len(table) - len(shown)} not named" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize("figure", ["parameters", "best_of"])
def test_names_stand_at_the_same_place_of_a_sheet_with_other_dots(figure):
    tuned = [trial_record(m, {}, 0.3 + t / 10, t) for t in range(3) for m in ("lora", "ia3")]
    picture = pictures_of(material_of(*figure_records(), *tuned), figure)[-1]
    with matplotlib.rc_context(style.RC):
        drawn = known()[figure].draw(picture.table, "two")
        names = [text for text in drawn.axes[0].texts if text.get_text() in {"lora", "ia3", "full"}]
        places = []
        for dots in (style.DPI, 72):  # the second are those of a PDF
            drawn.dpi = dots
            boxes = [text.get_window_extent() for text in names]
            places.append([(box.x0 / drawn.bbox.width, box.y0 / drawn.bbox.height) for box in boxes])
    assert names
    assert np.ravel(places[0]) == pytest.approx(np.ravel(places[1]), abs=0.02)


def test_names_at_the_ends_of_lines_keep_apart_and_in_order():
    figure = style.sheet("two", 4.1)
    axes = style.plain(figure, right=1.25)
    ends = {f"m{i}": np.array([[0, 0], [1, height]]) for i, height in enumerate([0.5, 0.501, 0.5, 0.9, 0.0, 0.502])}
    looks = lines.highlighted(pd.Series({name: line[-1, 1] for name, line in ends.items()}), {n: n for n in ends})
    lines.draw(axes, ends, looks)
    assert lines.name(axes, ends, looks) == 0
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert not [1 for one, other in itertools.combinations(boxes.values(), 2) if one.overlaps(other)]
    middles = {name: (box.y0 + box.y1) / 2 for name, box in boxes.items()}
    assert sorted(middles, key=middles.get) == ["m4", "m0", "m2", "m1", "m5", "m3"]
    # a name alone stands where its line ends
    assert middles["m3"] == pytest.approx(axes.transData.transform((1, 0.9))[1], abs=2)


def test_of_many_lines_the_known_and_the_best_have_a_colour():
    scores = pd.Series({f"m{i}": i / 100 for i in range(30)} | {"lora": 0.05, "full": 0.9, "frozen": 0.0})
    assert set(lines.highlighted(scores, {name: name for name in scores.index})) == {"lora", "full", "frozen"}
    assert "m29" in lines.highlighted(scores.drop("full"), {name: name for name in scores.index})


def test_a_name_without_room_is_left_out_and_counted():
    figure = style.sheet("one", 1.0)
    axes = style.plain(figure)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    assert names.write(axes, [names.Name(f"name {i}", 0.5, 0.5, "#000000") for i in range(9)]) > 0
    assert len(axes.texts) < 9

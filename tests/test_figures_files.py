"""Files of figures: drawn once, cleaned up, and the command for them."""

import zipfile

import matplotlib
import pytest
from drawings import figure_record, material_of, pictures_of, publish_all

from benchmark.report import frame
from benchmark.report.figures import known
from benchmark.report.figures.drawing import press, style
from benchmark.report.material import material
from scripts import figures as command


def test_a_second_report_draws_nothing_and_a_damaged_entry_is_drawn_anew(tmp_path, monkeypatch):
    found, drawn, folder = material_of(figure_record(), results=tmp_path), [], tmp_path / "figures"
    draw = press.render
    monkeypatch.setattr(press, "render", lambda picture, *more: (drawn.append(picture), draw(picture, *more))[1])
    many = publish_all(found)
    first = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert len(drawn) == many == len(first) / 2
    assert publish_all(found) == len(drawn)  # as many pictures, none drawn again
    kept = sorted((tmp_path / ".cache" / "figures").iterdir())
    assert len(kept) == many
    kept[0].write_bytes(b"cut short")
    content = bytearray(kept[1].read_bytes())
    content[len(content) // 2] ^= 255  # the archive's own checksum finds it
    kept[1].write_bytes(bytes(content))
    with zipfile.ZipFile(kept[2], "w") as archive:
        archive.writestr("pdf", b"alone")
    kept[3].unlink()
    drawn.clear()
    publish_all(found)
    assert len(drawn) == 4
    assert {path: path.read_bytes() for path in first} == first


def test_other_rows_or_other_code_are_drawn_anew(tmp_path, monkeypatch):
    drawn, draw = [], press.render
    monkeypatch.setattr(press, "render", lambda picture, *more: (drawn.append(picture), draw(picture, *more))[1])
    for score, times in ((0.5, 1), (0.5, 0), (0.6, 1)):
        press.publish(pictures_of(material_of(figure_record(score=score)), "parameters"), tmp_path)
        assert len(drawn) == times
        drawn.clear()
    monkeypatch.setattr(press, "_code", lambda figure: b"other")
    press.publish(pictures_of(material_of(figure_record(score=0.6)), "parameters"), tmp_path)
    assert len(drawn) == 1


@pytest.mark.parametrize("figure", known())
def test_the_page_knows_of_every_row_where_it_is_drawn(figure, figure_results):
    picture = pictures_of(material(frame.load(figure_results), figure_results), figure)[0]
    with matplotlib.rc_context(style.RC):
        style.within(drawn := known()[figure].draw(picture.table, "two"))
        marks = style.marks(drawn)
    assert {row for *_, row in marks} == set(picture.table.index)
    assert all(0 < x < 1 and 0 < y < 1 for x, y, _ in marks)


def test_figures_of_before_are_deleted_and_foreign_files_are_not(tmp_path):
    folder = tmp_path / "figures"
    publish_all(material_of(figure_record(), figure_record(task="gone"), results=tmp_path))
    assert (folder / "parameters" / "gone_b.png").exists()
    (folder / "mine.png").write_bytes(b"\x89PNG drawn by hand")
    publish_all(material_of(figure_record(), results=tmp_path))
    left = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    assert not [path for path in left if "gone" in path]
    assert len(list((tmp_path / ".cache" / "figures").iterdir())) == 6
    assert {"mine.png", "parameters/protein_b.png", "parameters/protein_b.pdf"} <= left


def test_a_folder_that_cannot_be_written_to_costs_the_cache_alone(tmp_path):
    (tmp_path / ".cache").write_text("a file")
    assert publish_all(material_of(figure_record(), results=tmp_path)) == 6


def test_without_arguments_the_command_lists_the_figures(capsys):
    assert command.main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in known())


def test_the_command_draws_what_was_asked_for(figure_results, capsys):
    out = figure_results / "paper"
    asked = ["parameters", "width=one", "task=speech", f"results={figure_results}", f"out={out}"]
    assert command.main(asked) == 0
    assert sorted(path.name for path in out.iterdir()) == ["parameters_speech_b.pdf", "parameters_speech_b.png"]
    assert capsys.readouterr().out.splitlines() == [str(out / f"parameters_speech_b.{k}") for k in ("pdf", "png")]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["parametres"], "did you mean parameters"),
        (["parameters", "width=three"], "width=three"),
        (["parameters", "taks=speech"], "did you mean task"),
        (["parameters", "task=speach"], "did you mean speech"),
        (["capability", "task=speech"], "not drawn by task"),
        (["parameters", "memory"], "one figure is wanted"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(asked, said, figure_results, capsys):
    assert command.main([*asked, f"results={figure_results}"]) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_draw_is_said(tmp_path, capsys):
    assert command.main(["parameters", f"results={tmp_path}"]) == 1
    assert "nothing to draw" in capsys.readouterr().out

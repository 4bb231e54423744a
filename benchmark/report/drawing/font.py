"""The letters of figures: DejaVu Sans without its layout tables.

Each PDF takes its letters out of the font anew, and most of that time goes to ligatures of scripts that nobody writes
here. Without them a figure takes half as long, and "fi" is two letters that can be searched for.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from fontTools import subset
from matplotlib import font_manager

WHOLE, LEAN = "DejaVu Sans", "CrossPEFT Sans"
LETTERS = (*range(0x20, 0x250), *range(0x370, 0x530), *range(0x2000, 0x2800))  # Latin, Greek, Cyrillic, signs


@cache
def families() -> list[str]:
    """Register the lean font and return what to set text in; a letter that it lacks comes from the whole one."""
    options = subset.Options(drop_tables=["GSUB", "GPOS", "GDEF", "FFTM"], notdef_outline=True)
    font = subset.load_font(font_manager.findfont(WHOLE), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=LETTERS)
    subsetter.subset(font)
    for entry in font["name"].names:
        if entry.nameID in (1, 4, 6, 16):
            entry.string = LEAN if entry.nameID != 6 else LEAN.replace(" ", "")
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subset.save_font(font, str(folder / "lean.ttf"), options)
    font_manager.fontManager.addfont(folder / "lean.ttf")
    return [LEAN, WHOLE]

"""Single figures of a comparison, as for a paper.

python scripts/figures.py FIGURE [width=one|two] [task=T] [budget=B]
results=DIR holds the records ("results" unless given), out=DIR gets PDF and PNG ("." unless given); width is that of
one column (3.3 in) or two (6.9 in, unless given). A budget has its view in its name: reference, reference_tuned.
Without arguments it lists the figures.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmark.errors import near  # noqa: E402
from benchmark.report import frame  # noqa: E402
from benchmark.report.figures import known  # noqa: E402
from benchmark.report.figures.drawing import press  # noqa: E402
from benchmark.report.figures.drawing.style import WIDTHS  # noqa: E402
from benchmark.report.material import Material, material  # noqa: E402

GIVEN = ("width", "task", "budget", "results", "out")
NARROWED = ("task", "budget")


def main(arguments: list[str]) -> int:
    """Draw one figure; return 1 where there is nothing to draw, 2 for a wrong call."""
    figures = known()
    if not arguments or set(arguments) & {"-h", "--help"}:
        print(str(__doc__).strip() + "\n")
        for name, module in figures.items():
            print(f"  {name:{max(map(len, figures))}} {str(module.__doc__).partition(chr(10))[0]}")
        return 0
    names = [word for word in arguments if "=" not in word]
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    if len(names) != 1:
        return refuse(f"one figure is wanted, {len(names)} given{near('', figures)}")
    if names[0] not in figures:
        return refuse(f"no figure {names[0]!r}{near(names[0], figures)}")
    if unknown := sorted(given.keys() - set(GIVEN)):
        return refuse(f"{unknown[0]}=: not known here{near(unknown[0], GIVEN)}")
    if (width := given.get("width", "two")) not in WIDTHS:
        return refuse(f"width={width}{near(width, WIDTHS)}")
    results = Path(given.get("results", "results"))
    data = material(frame.load(results), results)
    return draw(names[0], data, given, width)


def draw(name: str, data: Material, given: dict[str, str], width: str) -> int:
    """Write the chosen pictures."""
    pictures = list(press.pictures(name, known()[name], data))
    for key in NARROWED:
        if key in given and pictures:
            if key not in pictures[0].table:
                return refuse(f"{key}=: {name} is not drawn by {key}")
            there = {str(picture.table[key].iloc[0]) for picture in pictures}
            if given[key] not in there:
                return refuse(f"no {name} for {key}={given[key]}{near(given[key], there)}")
            pictures = [picture for picture in pictures if str(picture.table[key].iloc[0]) == given[key]]
    if not pictures:
        print(f"nothing to draw: {data.results} has no records with what {name} shows")
        return 1
    for picture in pictures:
        stem = "_".join(filter(None, (name, picture.name)))
        for path in press.write(Path(given.get("out", ".")) / stem, press.render(picture, width)):
            print(path)
    return 0


def refuse(reason: str) -> int:
    """Print the reason of a refusal; return 2."""
    print(f"refused: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

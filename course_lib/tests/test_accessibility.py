"""The course can be read without seeing the pictures, without telling colours apart, and without a mouse.

Held here: alt text, headings, words of links, contrast (WCAG 2.1: words 4.5:1, what a figure draws 3:1), the
ground of figures in the dark, the size of words in drawings. That a figure is followed by words is held by
test_notebooks, what a browser shows by the tests marked ``browser`` and by `make book-check`.
"""

import base64
import io
import re
import sys
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest
from PIL import Image

from course_lib import plots, serve_page, widgets_kit

matplotlib.use("agg")
ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS, FIGURES = ROOT / "notebooks", ROOT / "figures"
if not NOTEBOOKS.is_dir():
    pytest.skip("installed without the lessons", allow_module_level=True)
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
PAGES = [*sorted(NOTEBOOKS.glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
PAGES += [ROOT / "data" / "README.md", *sorted((ROOT / "data" / "checkpoints").glob("*/card.md"))]
DRAWINGS = sorted(FIGURES.glob("*.svg"))
TEXTS = [*LESSONS, *PAGES]
every_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
every_drawing = pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.stem)

IMAGE = re.compile(r"!\[(?P<alt>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
LINK = re.compile(r"(?<!!)\[(?P<words>(?:[^\[\]]|!?\[[^\]]*\](?:\([^)]*\))?)*)\]\((?P<target>[^)\s]+)\)")
SAYS_NOTHING = {"here", "this", "that", "link", "this link", "click here", "more", "read more", "page", "see"}
LIGHT, DARK = "#ffffff", "#111111"  # the grounds of JupyterLab's light and dark theme


def prose(path: Path) -> str:
    """The Markdown of a lesson or a page, without code blocks."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, 4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def test_there_is_something_to_look_at():
    assert len(LESSONS) >= 18 and len(PAGES) >= 8 and len(DRAWINGS) >= 17


# --- words for those who do not see


@every_text
def test_alt_text_says_what_a_picture_shows(path):
    for image in IMAGE.finditer(prose(path)):
        words = " ".join(image["alt"].split())
        badge = re.match(r"https://\S+(badge|shields\.io)", image["target"])
        assert len(words) >= (10 if badge else 60), f"{image['target']}: say what it shows, not {words!r}"
        assert not re.match(r"(an? )?(image|picture|photo|figure|screenshot) of\b", words, re.I), words
        assert not re.fullmatch(r"\S+\.(png|svg|jpe?g)", words), f"a file's name says nothing: {words}"


@every_text
def test_one_title_and_headings_without_jumps(path):
    levels = [len(marks) for marks in re.findall(r"^(#{1,6}) ", prose(path), re.M)]
    assert levels.count(1) == 1 and levels[0] == 1, "one heading of the first rank, at the beginning"
    for before, after in zip(levels, levels[1:], strict=False):
        assert after <= before + 1, f"a heading of rank {after} follows one of rank {before}"


@every_text
def test_words_of_links_say_where_they_lead(path):
    for link in LINK.finditer(prose(path)):
        words = " ".join(link["words"].strip(" *`").split())
        assert len(words) >= 2 and words.lower() not in SAYS_NOTHING, f"{words!r} leads to {link['target']}"
        assert not words.startswith("http"), f"give {words} a name"
        lesson = re.fullmatch(r"(?:[Ll]esson )?(\d\d)(?: ·.*)?", words)
        if lesson:
            assert Path(link["target"]).name.startswith(lesson[1]), f"{words!r} leads to {link['target']}"


# --- colours


def test_contrast_is_that_of_wcag():
    assert plots.contrast("black", "white") == pytest.approx(21)
    assert plots.contrast("white", "white") == 1
    assert plots.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert plots.contrast("#0072B2", "white") == plots.contrast("white", "#0072B2")


def test_colours_of_plots_stand_out():
    for colour in (plots.REAL, plots.FAKE, plots.GREY, plots.GREEN):
        assert plots.contrast(colour, LIGHT) >= 3, colour
        assert plots.contrast(plots.INK.get(colour, colour), LIGHT) >= 4.5, f"words in {colour}"


@pytest.mark.parametrize("name", ["gray", "cividis", "PRGn", "Blues"])
def test_numbers_on_a_coloured_square_stand_out_whatever_the_colour(name):
    for share in np.linspace(0, 1, 101):
        ground = matplotlib.colormaps[name](share)[:3]
        assert plots.contrast(plots.ink_on(ground), ground) >= 4.5, (name, share)


def test_words_in_plots_have_colours_for_words():
    """No call that writes into a plot takes FAKE, which is for lines only."""
    source = Path(plots.__file__).read_text(encoding="utf-8")
    calls = re.findall(r"\.(?:text|annotate|set_title|suptitle)\((?:[^()]|\([^()]*\))*\)", source)
    assert len(calls) > 30
    for call in calls:
        assert not re.search(r"color=(FAKE|looks|colour)\b", call), call


def words_in(drawing: Path) -> list[tuple[str, str, float]]:
    """(words, colour, size as a share of the drawing's width) of every text that matplotlib wrote as SVG."""
    svg = drawing.read_text(encoding="utf-8")
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    found = []
    for words, attributes in re.findall(r'<g id="text_\d+">\s*<!--\s*(.*?)\s*-->\s*<g([^>]*)>', svg, re.S):
        colour = re.search(r"fill: (#[0-9a-f]{6})", attributes)
        size = 100 * float(re.search(r"scale\(([\d.]+)", attributes)[1])
        found.append((words, colour[1] if colour else "#000000", size / width))
    return found


@every_drawing
def test_words_in_a_drawing_stand_out(path):
    words = words_in(path)
    assert words
    for text, colour, _ in words:
        if colour != LIGHT:  # white words stand on dark squares of their own
            assert plots.contrast(colour, LIGHT) >= 4.5, f"{text!r} in {colour}"


# Drawings with words that are smaller than they should be; shorten this list, never lengthen it.
SMALL = {"lesson_08"}


@every_drawing
def test_words_in_a_drawing_can_be_read_at_200_per_cent(path):
    """A window of 1280 pixels at 200 % leaves a figure some 1,200 pixels: then 11 is the least."""
    words, _, share = min(words_in(path), key=lambda found: found[2])
    least = 9.5 if path.stem in SMALL else 11
    assert 1200 * share >= least, f"{words!r} has {1200 * share:.1f} pixels"


@every_drawing
def test_a_drawing_has_a_white_ground_of_its_own(path):
    first = re.search(r'<g id="patch_1">.*?style="fill: (#\w+)', path.read_text(encoding="utf-8"), re.S)
    assert first and first[1] == "#ffffff"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_figures_of_a_lesson_have_a_ground_of_their_own(path):
    """Transparent figures put black words on a black page wherever the theme is dark."""
    for cell in nbformat.read(path, 4).cells:
        for output in cell.get("outputs", []):
            png = output.get("data", {}).get("image/png")
            if png:
                image = Image.open(io.BytesIO(base64.b64decode(png)))
                clear = image.convert("RGBA").getextrema()[3][0] if image.mode in ("RGBA", "LA", "P") else 255
                assert clear == 255, cell.source[:80]


def styles() -> dict[str, str]:
    """The style sheets of the widgets, by module."""
    found = {}
    for path in sorted(Path(plots.__file__).parent.glob("widgets*.py")):
        for sheet in re.findall(r"<style>.*?</style>", path.read_text(encoding="utf-8"), re.S):
            found[path.stem] = found.get(path.stem, "") + sheet
    return found


def test_widgets_take_the_colour_of_words_from_the_page():
    """A fixed colour would be illegible in one of the two themes."""
    assert len(styles()) >= 2
    for module, sheet in styles().items():
        for value in re.findall(r"[;{\s]color:\s*([^;}]+)", sheet):
            assert re.match(r"(inherit|currentColor|var\(--jp-)", value), f"{module}: color: {value}"


def test_fixed_colours_of_widgets_stand_out_in_both_themes():
    for module, sheet in styles().items():
        for declaration in re.findall(r"(?:outline|border[a-z-]*):[^;}]*", sheet):
            for colour in re.findall(r"#[0-9a-fA-F]{6}\b", declaration):
                for ground in (LIGHT, DARK):
                    assert plots.contrast(colour, ground) >= 3, f"{module}: {declaration} on {ground}"
    for colour in (
        plots.REAL,
        plots.FAKE,
        widgets_kit.FOCUS,
    ):  # bars, borders, the frame of what has the focus
        assert min(plots.contrast(colour, ground) for ground in (LIGHT, DARK)) >= 3


def test_the_page_of_the_service_stands_out_in_both_themes():
    pairs = dict(re.findall(r"([\w-]+): light-dark\((#\w+, #\w+)\)", serve_page.STYLE))
    both = {name: values.split(", ") for name, values in pairs.items()}
    assert {"--real", "--fake", "--line", "background", "color"} <= set(both)
    for theme in (0, 1):
        ground = expand(both["background"][theme])
        assert plots.contrast(expand(both["color"][theme]), ground) >= 4.5
        for name in ("--real", "--fake", "--line"):
            assert plots.contrast(expand(both[name][theme]), ground) >= 3, (name, theme)


def expand(colour: str) -> str:
    """#abc is short for #aabbcc."""
    return "#" + "".join(2 * c for c in colour[1:]) if len(colour) == 4 else colour


# --- plain English, as a report


def test_the_report_on_readability_has_a_line_for_each_lesson(capsys):
    sys.path.insert(0, str(NOTEBOOKS))
    import readability

    assert readability.main([]) == 0
    printed = capsys.readouterr().out
    for path in LESSONS:
        assert path.stem in printed
    easy = readability.measure("The cat sat on the mat. It was warm. The dog came in.")
    hard = readability.measure("Notwithstanding considerable epistemological reservations, practitioners "
                               "habitually operationalise heterogeneous representations.")  # fmt: skip
    assert easy.ease > 90 > 20 > hard.ease
    assert (easy.sentences, easy.words) == (3, 13)
    assert readability.plain(
        "# Title\n\nSee [lesson 03](03.ipynb), `code` and $x^2$.\n\n| a | b |\n|---|---|\n"
    ) == ("See lesson 03, and .")

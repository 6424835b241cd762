"""A deck of slides from a lesson, by rules; `make editions` calls it for every lesson.

The rules, so that nobody has to tag a cell by hand:

* a `##` heading begins a new column of slides, a `###` heading a new slide below (space goes through all);
* lists, tables, pictures, formulas and "Predict, then run" are shown whole; of any other paragraph its first
  sentence, and the whole text is in the speaker's notes (key S);
* a slide takes what has room on it; what code gave appears with the next key, below it or on the next slide;
* set-up, hints, solutions and further reading are left out; of a self-check the question is shown, and the
  answer is in the notes. A cell tagged `no-slide` is left out, one tagged `solution` always.

A deck is one HTML file with everything in it: reveal.js (from the package sphinx-revealjs, of the extra
`slides`), pictures, and formulas as MathML. It asks nothing of the network. `?print-pdf` behind the address
lays it out for printing.
"""

import base64
import html
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 1280, 720
LEFT_OUT = ("Further reading",)
SENTENCE = re.compile(r"(?<=[.!?:])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z0-9*`“(])")
FORMULA = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
BADGE = re.compile(r"^\[!\[Open in Colab\].*$", re.MULTILINE)

STYLE = """
.reveal { font-family: system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; color: #1a1a1a; }
.reveal-viewport { background: #fff; }
.reveal .slides section { text-align: left; height: auto; padding: 0 10px; box-sizing: border-box; }
.reveal .slides .jp-Cell, .reveal .slides .jp-RenderedHTMLCommon { padding: 0; margin: 0; max-width: none; }
.reveal .slides .jp-RenderedHTMLCommon { font-size: 28px; line-height: 1.4; color: inherit; }
.reveal .slides h1 { font-size: 54px; } .reveal .slides h2 { font-size: 42px; }
.reveal .slides h3 { font-size: 36px; }
.reveal .slides h1, .reveal .slides h2, .reveal .slides h3 { margin: 0 0 .5em; line-height: 1.2; }
.reveal .slides p, .reveal .slides ul, .reveal .slides ol { margin: 0 0 .6em; }
.reveal .slides table { font-size: 24px; display: table; margin: 0 0 .6em; }
.reveal .slides pre, .reveal .slides code { font-size: 18px; line-height: 1.4; white-space: pre-wrap; }
.reveal .slides p code, .reveal .slides li code, .reveal .slides td code { font-size: .85em; }
.reveal .slides img { display: block; margin: 0 auto; max-width: 1220px; max-height: 560px;
  width: auto; height: auto; }
.reveal .slides .jp-RenderedImage img { min-height: 320px; }
.reveal .slides .jp-InputArea-editor { padding: 10px; border: 1px solid #bbb; background: #f7f7f7; }
.reveal .slides .jp-Cell-inputWrapper, .reveal .slides .jp-Cell-outputWrapper { margin: 0; }
.reveal .slides :is(.jp-InputPrompt, .jp-OutputPrompt, .jp-Collapser) { display: none; }
.reveal math { font-size: 34px; }
#where { position: fixed; left: 16px; bottom: 8px; z-index: 9; color: #595959; }
#where { font: 15px system-ui, sans-serif; }
.reveal .controls { font-size: 5px; bottom: 30px; } .reveal .jp-OutputArea-output pre { color: #1a1a1a; }
.reveal .slide-number { background: none; color: #595959; font-size: 15px; }
@media print { #where { display: none; } }
"""
# Slides of different length: each is made smaller until it fits; reveal.js itself only scales the whole deck.
SCRIPT = """
const height = %d;
function fit(slide) {
  if (!slide || slide.dataset.fitted) return;
  slide.style.zoom = 1;
  let zoom = 1;
  while (slide.scrollHeight * zoom > height && zoom > 0.4) slide.style.zoom = zoom -= 0.04;
  slide.dataset.fitted = zoom.toFixed(2);
}
function shown(event) {
  fit(event.currentSlide);
  document.getElementById("where").textContent = event.currentSlide.dataset.where || "";
}
const deck = new Reveal(document.querySelector(".reveal"), {
  width: %d, height: height, margin: 0.04, center: false, hash: true, slideNumber: "c/t", transition: "none",
  pdfMaxPagesPerSlide: 1, plugins: [RevealNotes],
});
deck.on("ready", shown);
deck.on("slidechanged", shown);
deck.on("pdf-ready", () => document.querySelectorAll(".slides section:not(.stack)").forEach(fit));
Promise.all([...document.images].map((image) => image.decode().catch(() => 0))).then(() => deck.initialize());
"""
INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Real or Fake? The slides</title>
<style>body {{ font: 18px/1.6 system-ui, sans-serif; max-width: 46em; margin: 2em auto }}</style>
</head><body><h1>The slides</h1>
<p>Space goes on, Shift and space goes back, Esc shows all slides, S opens the speaker's notes, F fills the
screen, B makes it black. Each deck is one file and needs no network.</p>
<ul>
{items}
</ul></body></html>
"""


# ------------------------------------------------------------------------------------------ text into blocks
@dataclass
class Block:
    """A piece of Markdown: `heading`, `details`, `paragraph` or `whole` (a list, a table, a picture, …)."""

    kind: str
    text: str
    level: int = 0


def blocks(source: str) -> Iterator[Block]:
    """The pieces of a Markdown cell, in order."""
    source = BADGE.sub("", source).replace(
        "](../figures/", "](figures/"
    )  # nbconvert embeds nothing from ".."
    lines = source.split("\n")
    gathered: list[str] = []

    def flush() -> Iterator[Block]:
        text = "\n".join(gathered).strip("\n")
        gathered.clear()
        if text.strip():
            whole = re.match(r"\||[-*+] |\d+\. |!\[|\$\$|>|```|<|\*\*Predict", text)
            yield Block("whole" if whole else "paragraph", text)

    number = 0
    while number < len(lines):
        line = lines[number]
        fence = line.startswith("```")
        if fence or line.startswith("<details"):
            yield from flush()
            end = number + 1
            while end < len(lines) and not (
                lines[end].startswith("```") if fence else "</details>" in lines[end]
            ):
                end += 1
            text = "\n".join(lines[number : end + 1])
            yield Block("whole" if fence else "details", text)
            number = end
        elif heading := re.match(r"(#{1,4}) +(.*)", line):
            yield from flush()
            yield Block("heading", heading[2], len(heading[1]))
        elif line.strip():
            gathered.append(line)
        else:
            yield from flush()
        number += 1
    yield from flush()


def short(paragraph: str) -> str:
    """The first sentence of a paragraph, or two if the first is very short; markup is never cut in two."""
    text = " ".join(paragraph.split())
    if len(text) <= 150:
        return text
    sentences = SENTENCE.split(text)
    taken = sentences.pop(0)
    while sentences and (
        len(taken) < 50 or taken.count("`") % 2 or taken.count("*") % 2 or not closed(taken)
    ):
        taken += " " + sentences.pop(0)
    return re.sub(r":$", " …", taken)


def closed(text: str) -> bool:
    """Is every bracket and quotation mark that opens closed again?"""
    pairs = (("(", ")"), ("[", "]"))
    return all(text.count(a) == text.count(b) for a, b in pairs) and text.count('"') % 2 == 0


def height_of(cell: NotebookNode) -> float:
    """About how many pixels a cell takes on a slide; `fit` in the page mends what this gets wrong."""
    if cell.cell_type == "markdown":
        return sum(map(height_of_text, blocks(cell.source)))
    if not cell.outputs:
        return 27 * (cell.source.count("\n") + 1) + 36
    total = 0.0
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            wide, high = struct.unpack(">II", base64.b64decode(data["image/png"][:64])[16:24])
            total += high * min(1220 / wide, 560 / high, max(1, 320 / high)) + 20
        else:
            text = output.get("text") or data.get("text/plain") or "\n".join(output.get("traceback", []))
            total += 27 * (text.count("\n") + 1) + 16
    return total


def height_of_text(block: Block) -> float:
    """The same for a piece of Markdown."""
    text = block.text
    if block.kind == "heading":
        return 80
    if text.startswith("!["):
        return 420
    if text.startswith(("$$", "<math")):
        return 110
    if text.startswith("```"):
        return 27 * text.count("\n") + 30
    if text.startswith("|"):
        rows = [row for row in text.split("\n") if not re.match(r"\|[\s:|-]+\|$", row)]
        return sum(44 * -(-len(row) // 105) for row in rows) + 20
    items = re.split(r"\n(?=[-*+] |\d+\. )", text)
    return sum(40 * -(-len(item) // 88) for item in items) + 22


# --------------------------------------------------------------------------------------- a lesson into slides
class Deck:
    """The slides of a lesson: cells with the `slideshow` metadata that nbconvert's reveal template reads."""

    def __init__(self, lesson: NotebookNode):
        self.cells: list[NotebookNode] = []
        self.section, self.heading, self.title = "", "", ""
        self.left_out = False  # is this a section that is not shown?
        self.begin = "slide"  # the next cell begins a slide: in a new column, or below; "" if it need not
        self.height = 0.0  # of the slide so far
        self.notes: NotebookNode | None = None
        for cell, following in zip(lesson.cells, [*lesson.cells[1:], None], strict=True):
            if cell.cell_type == "markdown":
                self.markdown(cell.source)
            elif not self.left_out:
                self.code(cell, described_by(following))

    def add(self, cell: NotebookNode, kind: str = "-", keep_free: float = 0) -> None:
        """Put a cell on the slide, or on a new one if it has no room (and `keep_free` pixels below it)."""
        high = height_of(cell)
        if self.height and self.height + high + keep_free > HEIGHT:
            self.begin = self.begin or "subslide"
        if self.begin:
            kind, self.begin, self.height, self.notes = self.begin, "", 0, None
            if self.heading:
                self.append(nbformat.v4.new_markdown_cell(self.heading), kind)
                kind = "-"
                self.height = 80
        self.append(cell, kind)
        self.height += high

    def append(self, cell: NotebookNode, kind: str) -> None:
        cell["id"] = f"slide-{len(self.cells):04d}"
        cell.metadata["slideshow"] = {"slide_type": kind}
        if kind in ("slide", "subslide"):
            where = " · ".join(part for part in (self.title, self.section) if part)
            cell.metadata["slideshow"]["data"] = {"where": re.sub(r"[`*]", "", where)}
        self.cells.append(cell)

    def say(self, text: str) -> None:
        """Add to the notes of this slide."""
        if self.notes is None:
            self.notes = nbformat.v4.new_markdown_cell("")
            last_start = max(n for n, cell in enumerate(self.cells) if "data" in cell.metadata["slideshow"])
            after = self.cells[last_start + 1 :]  # directly behind the first cell: never inside a fragment
            del self.cells[last_start + 1 :]
            self.append(self.notes, "notes")
            for cell in after:
                self.append(cell, cell.metadata["slideshow"]["slide_type"])
        self.notes.source = f"{self.notes.source}\n\n{mathml(text)}".strip()

    def markdown(self, source: str) -> None:
        """What is shown of a Markdown cell; its whole text is said."""
        for block in blocks(source):
            if block.kind == "heading":
                if block.level == 1:
                    self.title = block.text
                if block.level == 2:
                    self.section, self.left_out = block.text, block.text in LEFT_OUT
                self.heading = f"{'#' * min(block.level, 3)} {block.text}"
                self.begin = "slide" if block.level <= 2 or self.begin == "slide" else "subslide"
            elif not self.left_out:
                shown, said = block.text, ""
                if block.kind == "details":
                    if not self.section.endswith("heck yourself"):
                        continue  # a hint, or an answer that the text asks for
                    shown, said = split_details(block.text)
                elif block.kind == "paragraph":
                    shown, said = short(block.text), block.text
                announces = shown.startswith("**Predict") or shown.endswith((":", "…", "**"))
                keep_free = 160 if announces else 0  # for what belongs right below it
                self.add(nbformat.v4.new_markdown_cell(mathml(shown)), keep_free=keep_free)
                if said and said != shown:
                    self.say(said)

    def code(self, cell: NotebookNode, alt: str) -> None:
        """Code, and what it gave: with the next key, below it or, where it has no room, on a new slide."""
        tags = set(cell.metadata.get("tags", []))
        if tags & {"solution", "no-slide"} or cell.source.startswith("# Set-up:") or not cell.source.strip():
            return
        self.add(nbformat.v4.new_code_cell(cell.source))
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                output.metadata["image/png"] = {"alt": alt}
            shown = nbformat.v4.new_code_cell("", outputs=[output], metadata={"tags": ["deck-output"]})
            self.add(shown, "fragment")


def described_by(cell: NotebookNode | None) -> str:
    """The words that stand below a figure in every lesson, for those who cannot see it."""
    text = cell.source if cell is not None and cell.cell_type == "markdown" else ""
    first = next((block.text for block in blocks(text) if block.kind == "paragraph"), "figure")
    return " ".join(re.sub(r"[`*]", "", first).split())


def split_details(text: str) -> tuple[str, str]:
    """Summary and content of a collapsed block."""
    found = re.match(r"<details[^>]*>\s*<summary>(.*?)</summary>(.*?)</details>", text, re.DOTALL)
    return (found[1].strip(), found[2].strip()) if found else ("", text)


def plain(markdown: str) -> str:
    """A heading without its markup, fit for an attribute."""
    return html.escape(re.sub(r"[`*]", "", markdown), quote=True)


def mathml(markdown: str) -> str:
    """Formulas as MathML, which browsers draw without a script."""
    from latex2mathml.converter import convert

    return FORMULA.sub(lambda found: convert(found[1], display="block"), markdown)


# ----------------------------------------------------------------------------------------------- into a file
def reveal_folder() -> Path:
    """Where reveal.js lies."""
    package = find_spec("sphinx_revealjs")
    if package is None or package.origin is None:
        raise SystemExit('The slides need reveal.js: pip install -e ".[slides]"')
    return Path(package.origin).parent / "_static" / "revealjs"


def exporter():
    """nbconvert's exporter for slides, its template without anything that is fetched from the network."""
    from jinja2 import DictLoader
    from nbconvert import SlidesExporter
    from traitlets.config import Config

    reveal = reveal_folder()
    scripts = [
        (reveal / "dist" / "reveal.js").read_text(encoding="utf-8"),
        (reveal / "plugin" / "notes" / "notes.js").read_text(encoding="utf-8"),
        SCRIPT % (HEIGHT, WIDTH),
    ]
    scripts = [re.sub(r"\n//# sourceMappingURL=.*", "", script) for script in scripts]
    style = (reveal / "dist" / "reveal.css").read_text(encoding="utf-8") + STYLE
    template = """{%- extends 'reveal/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_css -%}<style>{{ resources.deck_style }}</style>{%- endblock -%}
{%- block data_png scoped -%}<div class="jp-RenderedImage jp-OutputArea-output">
<img src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}"
 alt="{{ output | get_metadata('alt', 'image/png') | escape_html }}"></div>
{%- endblock -%}
{%- block footer_js -%}<div id="where"></div>
{% for script in resources.deck_scripts %}<script>{{ script }}</script>
{% endfor %}{%- endblock -%}
"""
    config = Config()
    config.TagRemovePreprocessor.enabled = True
    config.TagRemovePreprocessor.remove_input_tags = {"deck-output"}
    made = SlidesExporter(
        config=config,
        extra_loaders=[DictLoader({"deck.html.j2": template})],
        template_file="deck.html.j2",
        embed_images=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    return made, {"deck_style": style, "deck_scripts": scripts}


def write_decks(lessons: Sequence[Path], folder: Path) -> None:
    """A deck for each lesson, and an index."""
    folder.mkdir(parents=True)
    converter, parts = exporter()
    items = []
    for path in lessons:
        deck = Deck(nbformat.read(path, as_version=4))
        notebook = nbformat.v4.new_notebook(
            cells=deck.cells, metadata={"title": deck.title, "language_info": {"name": "python"}}
        )
        resources = {"metadata": {"name": path.stem, "path": str(ROOT)}, **parts}
        text, _ = converter.from_notebook_node(notebook, resources=resources)
        # reveal.css and its theme are in the file already; the template's links would be asked of the network
        text, links = re.subn(r'<link[^>]*href="https?://[^>]*>', "", text)
        if links != 2:
            raise SystemExit(f"nbconvert's reveal template has changed: {links} style sheets in place of 2")
        (folder / f"{path.stem}.html").write_text(text, encoding="utf-8")
        items.append(f'<li><a href="{path.stem}.html">{html.escape(deck.title)}</a></li>')
    (folder / "index.html").write_text(INDEX.format(items="\n".join(items)), encoding="utf-8")

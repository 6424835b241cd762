"""How plain is the English of the lessons? A report, not a gate: `python notebooks/readability.py`.

For each lesson and page: sentences, words, words in a sentence (the mean, and what nine of ten do not
exceed), and Flesch's reading ease (R. Flesch, "A new readability yardstick", Journal of Applied Psychology
32(3), 1948, doi 10.1037/h0057532): 206.835 − 1.015 · words per sentence − 84.6 · syllables per word. 60 to 70
is plain English, below 30 a scientific paper. Headings, tables, code, formulas, addresses of links and the
bibliographies are left out. Syllables are counted as groups of vowels, so a value is good to a few points.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat

NOTEBOOKS = Path(__file__).resolve().parent


class Measured(NamedTuple):
    """What was counted in a text."""

    sentences: int
    words: int
    mean: float  # words in a sentence
    long: int  # nine of ten sentences have at most so many words
    ease: float  # Flesch's reading ease


def plain(text: str) -> str:
    """The sentences of a Markdown text, without what nobody reads aloud."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    text = re.sub(r"\$\$?.*?\$\$?", "", text, flags=re.S)
    text = re.sub(r"^(#.*|\|.*|\s{4,}.*)$", "", text, flags=re.M)
    text = re.sub(r"`[^`]*`|<[^>]+>", "", text)
    text = re.sub(r"!\[(?:[^\[\]]|\[[^\]]*\])*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*(?:[-*>]|\d+\.)\s+", "", text, flags=re.M)
    return " ".join(text.replace("*", "").split())


def syllables(word: str) -> int:
    """Groups of vowels, without a silent e at the end."""
    word = word.lower()
    groups = len(re.findall(r"[aeiouy]+", word))
    silent = word.endswith("e") and not word.endswith(("le", "ee")) and groups > 1
    return max(1, groups - silent)


def measure(text: str) -> Measured:
    """Count a plain text; a sentence ends at . ! or ? before a space."""
    lengths, counted = [], 0
    for sentence in re.split(r"(?<=[.!?])[\"”')]*\s+", text):
        words = re.findall(r"[A-Za-z][A-Za-z'’-]*", sentence)
        if words:
            lengths.append(len(words))
            counted += sum(map(syllables, words))
    if not lengths:
        return Measured(0, 0, 0.0, 0, 0.0)
    total = sum(lengths)
    mean = total / len(lengths)
    long = sorted(lengths)[int(0.9 * (len(lengths) - 1))]
    return Measured(len(lengths), total, mean, long, 206.835 - 1.015 * mean - 84.6 * counted / total)


def prose(path: Path) -> str:
    """The sentences of a lesson or a page."""
    if path.suffix == ".md":
        return plain(path.read_text(encoding="utf-8"))
    cells = nbformat.read(path, as_version=4).cells
    texts = (cell.source.split("## Further reading")[0] for cell in cells if cell.cell_type == "markdown")
    return " ".join(map(plain, texts))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", nargs="*", type=Path, help="notebooks and pages (default: all beside this)")
    options = parser.parse_args(arguments)
    texts = options.texts or [
        *sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")),
        *(path for path in sorted(NOTEBOOKS.glob("*.md")) if path.stem != "bibliography"),
    ]
    print(
        f"{'text':26} {'sentences':>9} {'words':>6} {'per sentence':>12} {'9 of 10':>8} {'reading ease':>13}"
    )
    for path in texts:
        m = measure(prose(path))
        print(f"{path.stem:26} {m.sentences:9} {m.words:6} {m.mean:12.1f} {m.long:8} {m.ease:13.0f}")
    print("Reading ease: 60 to 70 is plain English, below 30 a scientific paper.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

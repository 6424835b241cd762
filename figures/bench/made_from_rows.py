"""What is made from figures/bench/bench.json: the README's table, figures/roofline.svg, gpu_estimate.md.

`python figures/bench/run_bench.py --table` writes all three; tests hold them to the file.
"""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEGIN = "<!-- made by `python figures/bench/run_bench.py --table`: change nothing here by hand -->"
END = "<!-- end of what is made -->"


def number(value: float) -> str:
    """About three digits, never an exponent: 70051.4 -> 70,051; 18.462 -> 18.5; 0.16402 -> 0.164."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def met(row: dict) -> bool:
    return row["ratio"] >= row["goal"]


def table(rows: list[dict]) -> list[str]:
    """Lines of Markdown; a column for goals where any row has one."""
    goals = any(row["goal"] is not None for row in rows)
    lines = ["| what, against what | ours | peer | | times better |" + " goal |" * goals]
    lines.append("|---|--:|--:|---|--:|" + "---|" * goals)
    for row in rows:
        cells = [row["name"], number(row["ours"]), number(row["peer"]), row["unit"], number(row["ratio"])]
        if goals:
            cells.append(f"{row['goal']:g}: {'met' if met(row) else '**missed**'}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def machines(recorded: dict) -> str:
    """What it was measured on, one sentence."""
    places: dict[tuple, list[str]] = {}
    for part, machine in recorded["machines"].items():
        key = (machine["processor"], machine["threads"], machine["torch"].split("+")[0])
        places.setdefault(key, []).append(part)
    told = [f"{processor}, {threads} threads, PyTorch {torch}" for processor, threads, torch in places]
    if len(told) > 1:
        told = [f"{words} ({', '.join(parts)})" for words, parts in zip(told, places.values(), strict=True)]
    return f"Measured on: {'; '.join(told)}."


def section(recorded: dict) -> str:
    """All that stands between the two marks in the README."""
    rows = recorded["rows"]
    aimed = [row for row in rows if row["goal"] is not None]
    others = [row for row in rows if row["goal"] is None]
    lines = [
        BEGIN,
        "",
        f"{sum(map(met, aimed))} of {len(aimed)} goals are met. The goal is the least that *times better*",
        "should be; where a bound was set, such as 15 s, the bound is the peer and the goal 1.",
        machines(recorded),
        "",
        *table(aimed),
    ]  # fmt: skip
    if others:
        lines += ["", f"<details><summary>{len(others)} more rows, which have no goal</summary>", ""]
        lines += [*table(others), "", "</details>"]
    if alt := roofline(rows):
        lines += ["", f"![{alt}](figures/roofline.svg)"]
    return "\n".join([*lines, "", END])


def roofline(rows: list[dict]) -> str | None:
    """Words for those who cannot see the drawing; None where the rows for it were not measured."""
    sys.path.insert(0, str(ROOT / "figures"))
    import roofline as drawing

    found = drawing.read(rows)
    return None if found is None else drawing.words(found)


def put(text: str, made: str) -> str:
    """The README with the new section in place of the old one. ValueError if the marks are not there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"README.md has to hold these two lines, each once: {BEGIN} and {END}")
    return text[: text.index(BEGIN)] + made + text[text.index(END) + len(END) :]


def write(file: Path, readme: Path = ROOT / "README.md") -> list[Path]:
    """Make everything anew; returns the files written."""
    import gpu_estimate

    recorded = json.loads(file.read_text(encoding="utf-8"))
    fresh = readme.with_name(f".{readme.name}.new")
    fresh.write_text(put(readme.read_text(encoding="utf-8"), section(recorded)), encoding="utf-8")
    os.replace(fresh, readme)
    written = [readme, gpu_estimate.write()]
    if roofline(recorded["rows"]):
        import roofline as drawing

        drawing.write(recorded["rows"])
        written.append(Path(drawing.__file__).with_suffix(".svg"))
    return written

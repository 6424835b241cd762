"""What is in `studio`: the tables of the data card, counted from the lists in data/studio.

    python data/describe_studio.py            print the tables as Markdown
    python data/describe_studio.py --update   write them into data/README.md

For every attribute: how many real and fake pictures have each value, and the chi-square test's p-value for
"the attribute is independent of the label". With eleven attributes one p-value below 0.05 is to be expected.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import chi2_contingency

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- tables: data/describe_studio.py -->\n", "<!-- end of tables -->\n"
NOT_ATTRIBUTES = ("id", "split", "label", "person")


def tables(people: pd.DataFrame) -> str:
    """Markdown: pictures by split and label, then one row for each value of each attribute."""
    people = people.fillna("none")
    ages = ["to 30", "31 to 45", "46 to 60", "over 60"]
    people["age"] = pd.cut(people["age"], [0, 30, 45, 60, 200], labels=ages)
    sizes = pd.crosstab(people["split"], people["label"]).loc[["train", "valid", "test"], ["real", "fake"]]
    lines = ["| split | real | fake |", "|---|---|---|"]
    lines += [f"| {split} | {row.real} | {row.fake} |" for split, row in sizes.iterrows()]
    lines += ["", "| attribute | real / fake of each value | p (independent of the label) |", "|---|---|---|"]
    for name in people.columns.drop(list(NOT_ATTRIBUTES)):
        counts = pd.crosstab(people[name], people["label"])[["real", "fake"]]
        values = ", ".join(f"{value} {row.real}/{row.fake}" for value, row in counts.iterrows())
        lines.append(f"| {name.replace('_', ' ')} | {values} | {chi2_contingency(counts).pvalue:.2f} |")
    return "\n".join(lines) + "\n"


def spliced_table(studio: Path) -> str:
    """Markdown: how many pictures have each region re-drawn, and how much of the picture the masks cover."""
    listing = pd.read_csv(studio / "spliced" / "spliced.csv")
    listing["share"] = [np.asarray(Image.open(studio / mask)).mean() for mask in listing["mask"]]
    lines = ["| re-drawn region | pictures | share of the picture: least, median, most |", "|---|---|---|"]
    for region, share in listing.groupby("region")["share"]:
        numbers = ", ".join(f"{100 * v:.1f} %" for v in (share.min(), share.median(), share.max()))
        lines.append(f"| {region} | {len(share)} | {numbers} |")
    return "\n".join(lines) + "\n"


def unseen_table(studio: Path) -> str:
    """Markdown: pictures and people of each unseen generator, and the untouched pictures to match."""
    listing = pd.read_csv(studio / "unseen" / "unseen.csv").fillna({"generator": "(untouched)"})
    lines = ["| unseen generator | pictures | people | label |", "|---|---|---|---|"]
    for generator, rows in listing.groupby("generator"):
        label = "/".join(rows["label_str"].unique())
        lines.append(f"| {generator} | {len(rows)} | {rows['person'].nunique()} | {label} |")
    return "\n".join(lines) + "\n"


def card_with(card: str, text: str) -> str:
    """The data card with everything between the two marks replaced by the tables."""
    before, _, rest = card.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        sys.exit(f"data/README.md: put back the marks {BEGIN.strip()!r} and {END.strip()!r}.")
    return before + BEGIN + text + END + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the tables into data/README.md")
    options = parser.parse_args()
    studio = HERE / "studio"
    for name in ("people.csv", "spliced/spliced.csv", "unseen/unseen.csv"):
        listing = studio / name
        if not listing.is_file():
            sys.exit(f"{listing}: there is no such file; make the data with data/make_studio.py.")
    text = "\n".join(
        [tables(pd.read_csv(studio / "people.csv")), unseen_table(studio), spliced_table(studio)]
    )
    if not options.update:
        print(text, end="")
        return
    card = HERE / "README.md"
    part = card.with_name("README.md.part")
    part.write_text(card_with(card.read_text(encoding="utf-8"), text), encoding="utf-8")
    os.replace(part, card)


if __name__ == "__main__":
    main()

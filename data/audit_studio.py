"""Print the shortcut audit of a data set; exit status 1 when a bound is broken.

python data/audit_studio.py                            # the embedded set, and its parts unseen/ and spliced/
python data/audit_studio.py hardrvsf --root FOLDER     # any set that course_lib.load knows

The fakes in unseen/ and spliced/ have no training images of their own, so they are audited twice: with crude
features learnt on studio's training images, and learnt on one half of the people and judged on the other.
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np

from course_lib import CourseError, FaceDataset, audit, load, load_spliced, load_unseen, unseen_generators


def halves(data: FaceDataset) -> tuple[FaceDataset, FaceDataset]:
    """Every other person: images i and n/2 + i of `data` show the same one, and stay together."""
    person = np.arange(len(data)) % (len(data) // 2)
    return data.subset(person % 2 == 0), data.subset(person % 2 == 1)


def parts(train: FaceDataset) -> Iterator[tuple[str, FaceDataset, FaceDataset]]:
    """(title, what to learn on, what to judge on) for everything in `studio` beside its splits."""
    sets = [(f"unseen {name}", load_unseen(name)) for name in unseen_generators()]
    for title, data in [*sets, ("spliced", load_spliced().as_dataset())]:
        yield f"{title}, learnt on studio's training images", train, data
        yield f"{title}, learnt on every other person of it", *halves(data)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Print the shortcut audit; exit status 1 when a bound is broken."
    )
    parser.add_argument(
        "name", nargs="?", default="studio", help="a data set's name, or a folder (default: studio)"
    )
    parser.add_argument("--root", help="where the data set lies")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        sets = load(options.name, options.root)
        reports = {f"{options.name}, its own splits": audit(sets, seed=options.seed)}
        if options.name == "studio" and options.root is None:
            for title, train, test in parts(sets.train):
                reports[title] = audit(train, test, seed=options.seed)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    for title, report in reports.items():
        print(f"== {title}\n{report}\n")
    return 0 if all(report.clean for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Print the shortcut audit of a data set; exit status 1 when a bound is broken.

python data/audit_studio.py                            # the embedded set
python data/audit_studio.py hardrvsf --root FOLDER     # any set that course_lib.load knows
"""

import argparse
import sys

from course_lib import CourseError, audit, load


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
        report = audit(load(options.name, options.root), seed=options.seed)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    print(report)
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())

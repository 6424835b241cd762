"""Say which torch is installed, and fail if it is not of the kind that a job is about: a check of the check.

    python .github/which_torch.py lowest|current|pre-release
"""

import re
import sys
from importlib.metadata import requires, version

from packaging.requirements import Requirement
from packaging.version import Version


def kind_of(torch: str, specifier: str) -> str:
    """``"pre-release"``, ``"lowest"`` (the first minor release that `specifier` admits) or ``"current"``."""
    found, lowest = Version(torch), Version(re.search(r">=\s*([\d.]+)", specifier).group(1))
    if found.is_prerelease:
        return "pre-release"
    return "lowest" if found.release[:2] == lowest.release[:2] else "current"


def main(wanted: str) -> int:
    line = next(line for line in requires("facenest-course") if Requirement(line).name == "torch")
    torch = version("torch")
    kind = kind_of(torch, str(Requirement(line).specifier))
    print(f"torch {torch}, torchvision {version('torchvision')}: {kind}")
    if kind != wanted:
        print(f"this job is about the {wanted} version, so it proves nothing; is its index set?")
    return int(kind != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

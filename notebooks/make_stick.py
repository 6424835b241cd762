"""A USB stick from which the course installs without a network: `make stick STICK=/path/of/the/stick`.

It makes one folder on the stick, `real-or-fake`:

* `wheels/`: every package that the course needs, as a wheel, for *this* system and *this* Python. Wheels that
  are there from before stay, so the second call is quick, and so one stick can serve several systems: call it
  once on each.
* `course/`: the lessons, the library and the embedded data. `--student` takes the lessons without solutions.
* `install.py`: run with Python on the other machine. It copies the course there, makes an environment, fills
  it from `wheels/` alone, and checks the data. It asks nothing of the network.
* `README.txt`, and `stick.json`, which says what ought to be there; it is written last.

pip's own settings decide where the wheels come from. With the torch that it takes by default on Linux (CUDA)
they have some gigabytes; with an index of CPU builds in the settings the stick is much smaller.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent
ROOT = NOTEBOOKS.parent
FOLDER = "real-or-fake"
PARTS = (
    "notebooks",
    "course_lib",
    "data",
    "figures",
    "environment.yml",
    "README.md",
    "LICENSE",
    "pyproject.toml",
    "Makefile",
    "CONTRIBUTING.md",
    "CITATION.cff",
)
LEFT_OUT = shutil.ignore_patterns(
    "__pycache__",
    "runs",
    ".ipynb_checkpoints",
    "downloads",
    "studio_work",
    "*.part",
    "*.egg-info",
    ".DS_Store",
)
README = """Real or Fake? Build FaceNeSt: the course on a stick

1. You need Python itself. This stick serves: {systems}.
   `python --version` (Windows: `py --version`) says what you have.
2. In this folder:

       python install.py                    into the folder {folder} in your home
       python install.py WHERE              into another one

   Nothing is downloaded. It takes some minutes, most of them for copying.
3. At its end it says how to start. Open lesson 00.

The same folder can be copied to a machine's disk first; that is quicker than many sticks.
"""


def system() -> dict[str, str]:
    """What wheels depend on: Python's version, the operating system, the processor."""
    return {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "system": platform.system(),
        "machine": platform.machine(),
    }


def in_words(one: dict[str, str]) -> str:
    return f"Python {one['python']} on {one['system']} {one['machine']}"


def requirements(extras: Sequence[str]) -> list[str]:
    """What the course needs, from pyproject.toml, with that of the named extras."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10: pip carries a copy
        from pip._vendor import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = list(project["dependencies"])
    for extra in extras:
        if extra not in project["optional-dependencies"]:
            known = ", ".join(project["optional-dependencies"])
            raise SystemExit(f"There is no extra {extra!r}; those of pyproject.toml are {known}.")
        needed += project["optional-dependencies"][extra]
    return needed


def collect_wheels(needed: Sequence[str], wheels: Path) -> None:
    """Fetch, or build where there is only source, a wheel for everything in `needed` and what that needs."""
    command = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", str(wheels), "--find-links", str(wheels)]
    if subprocess.run([*command, *needed]).returncode:
        raise SystemExit("pip could not collect the wheels, see above. The stick is not finished.")


def copy_course(course: Path, student: bool) -> None:
    """The course as a fresh folder in the place of an older one."""
    part = course.with_name(course.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, part / name, ignore=LEFT_OUT)
        elif source.is_file():
            shutil.copyfile(source, part / name)
    if student:
        import nbformat
        from make_editions import student as without_solutions

        for path in sorted((part / "notebooks").glob("[0-9][0-9]_*.ipynb")):
            notebook = without_solutions(nbformat.read(path, as_version=4))
            path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")
    shutil.rmtree(course, ignore_errors=True)
    os.replace(part, course)


def make_stick(stick: Path, needed: Sequence[str], student: bool = False) -> Path:
    """Fill the folder `real-or-fake` on the stick; returns it."""
    if not stick.is_dir():
        raise SystemExit(f"{stick}: there is no such folder; is the stick in?")
    folder = stick / FOLDER
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    note = folder / "stick.json"
    systems = json.loads(note.read_text(encoding="utf-8"))["systems"] if note.is_file() else []
    note.unlink(missing_ok=True)  # from here on the stick is unfinished
    collect_wheels(needed, wheels)
    copy_course(folder / "course", student)
    shutil.copyfile(NOTEBOOKS / "stick_install.py", folder / "install.py")
    if system() not in systems:
        systems.append(system())
    served = ";\n   ".join(map(in_words, systems))
    (folder / "README.txt").write_text(README.format(systems=served, folder=FOLDER), encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in sorted(wheels.glob("*.whl"))}
    part = note.with_name("stick.json.part")
    part.write_text(json.dumps({"systems": systems, "wheels": sizes}, indent=1), encoding="utf-8")
    os.replace(part, note)
    print(f"{folder}: {len(sizes)} wheels, {sum(sizes.values()) / 1e9:.1f} GB; serves {in_words(system())}")
    return folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "stick", type=Path, metavar="STICK", help="the folder under which the stick is mounted"
    )
    parser.add_argument("--student", action="store_true", help="take the lessons without solutions")
    parser.add_argument(
        "--extras", nargs="*", default=["serve", "export"], metavar="EXTRA", help="default: serve export"
    )
    options = parser.parse_args(arguments)
    make_stick(options.stick.resolve(), requirements(options.extras), options.student)
    return 0


if __name__ == "__main__":
    sys.exit(main())

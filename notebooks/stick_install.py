"""Install the course from this stick, without a network: python install.py [WHERE]

Needs Python and nothing else. `make stick` put this file here; the README beside it says for which systems.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

STICK = Path(__file__).resolve().parent


def refuse(sentence):
    """End with one sentence."""
    sys.exit(sentence)


def check_stick():
    """Is the stick whole, and is it for a machine like this one? Returns what it says of itself."""
    try:
        stick = json.loads((STICK / "stick.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        refuse(
            "This stick was not finished: stick.json is missing or damaged. Make it again with `make stick`."
        )
    here = {
        "python": "{}.{}".format(*sys.version_info[:2]),
        "system": platform.system(),
        "machine": platform.machine(),
    }
    if here not in stick["systems"]:
        words = ["Python {python} on {system} {machine}".format(**one) for one in [here, *stick["systems"]]]
        refuse(f"You have {words[0]}; this stick serves {'; '.join(words[1:])}. Use such a Python.")
    for name, size in stick["wheels"].items():
        wheel = STICK / "wheels" / name
        if not wheel.is_file() or wheel.stat().st_size != size:
            refuse(f"wheels/{name} is missing or cut off: the stick is damaged. Copy or make it again.")
    return stick


def free_for(target):
    """Refuse a folder that holds something else, and a disk that is too full."""
    if target.exists() and any(target.iterdir()):
        refuse(f"{target} is there already. Name another folder: python install.py WHERE")
    home = next(folder for folder in [target, *target.parents] if folder.is_dir())
    wheels = sum(path.stat().st_size for path in (STICK / "wheels").glob("*.whl"))
    needed = 2.5 * wheels + 100e6  # a wheel is packed; unpacked it has about twice its size
    free = shutil.disk_usage(home).free
    if free < needed:
        refuse(f"{home} has {free / 1e9:.1f} GB free, and about {needed / 1e9:.1f} GB are needed.")


def run(*command):
    """Run a step; pip may look into the wheelhouse only, whatever else is set on this machine."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    settings.update(PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_CONFIG_FILE=os.devnull)
    if subprocess.run([str(part) for part in command], env=settings).returncode:
        refuse("This step failed, see above: " + " ".join(str(part) for part in command))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("where", nargs="?", type=Path, default=Path.home() / "real-or-fake", metavar="WHERE")
    parser.add_argument("--no-check", action="store_true", help="do not check the embedded data at the end")
    options = parser.parse_args()
    target = options.where.expanduser().resolve()
    check_stick()
    free_for(target)

    print(f"1 of 4: copying the course to {target}", flush=True)
    shutil.copytree(STICK / "course", target, dirs_exist_ok=True)
    print("2 of 4: making an environment", flush=True)
    try:
        run(sys.executable, "-m", "venv", target / ".venv")
    except SystemExit:
        refuse(
            "This Python cannot make environments. On Debian and Ubuntu: install the package python3-venv."
        )
    windows = os.name == "nt"
    scripts = target / ".venv" / ("Scripts" if windows else "bin")
    python = scripts / ("python.exe" if windows else "python")
    print("3 of 4: installing from the stick, some minutes", flush=True)
    wanted = ["--no-index", "--find-links", STICK / "wheels", "-r", STICK / "requirements.txt"]
    run(python, "-m", "pip", "install", "--quiet", *wanted)
    # The course itself is used where it lies, beside its data: a line in a .pth file puts it on the path.
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    (packages / "real_or_fake.pth").write_text(f"{target}\n", encoding="utf-8")
    if not windows:  # so that `make lab` installs nothing
        (target / ".venv" / ".lab-installed").touch()
    print("4 of 4: checking the data", flush=True)
    if not options.no_check:
        run(python, "-m", "course_lib", "data", "verify", "studio")
    jupyter = scripts / ("jupyter.exe" if windows else "jupyter")
    print(f"\nDone. To start:\n\n    cd {target}\n    {jupyter} lab notebooks/00_start_here.ipynb")


if __name__ == "__main__":
    main()

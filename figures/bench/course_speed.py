"""How long the course takes: every lesson from top to bottom, and `make lab` to a page that is ready.

    python figures/bench/course_speed.py --lessons 03 12    these lessons, each once
    python figures/bench/course_speed.py --lab              `make lab` alone

Lessons are run as `make notebooks` runs them, each in a clean kernel, in a temporary copy: the stored ones
stay as they are, and no training left from before is continued. `make lab` is timed on an environment that is
there already, from the command until Chromium shows the first lesson with an idle kernel.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ALL, LONGEST, LAB, TESTS = 25.0, 3.0, 15.0, 30.0  # minutes, minutes, seconds, minutes: the bounds set
READY = ".jp-Notebook-ExecutionIndicator[data-status=idle]"


def run_lessons(lessons: list[Path], timeout: int = 900) -> dict[str, float]:
    """Name -> seconds from the start of the kernel until the lesson is stored. Raises what a cell raises."""
    sys.path.insert(0, str(ROOT / "notebooks"))
    import make_notebooks

    taken = {}
    with tempfile.TemporaryDirectory(prefix="course-speed-") as place:
        folder = Path(place) / "notebooks"
        folder.mkdir()
        for page in (*LESSONS, *(ROOT / "notebooks").glob("*.md")):
            shutil.copy(page, folder)
        shutil.copytree(ROOT / "figures", Path(place) / "figures")
        for lesson in lessons:
            start = time.perf_counter()
            shutil.copy(lesson, folder)
            make_notebooks.run(folder / lesson.name, timeout)
            taken[lesson.name] = time.perf_counter() - start
            print(f"{lesson.name}: {taken[lesson.name]:.0f} s", file=sys.stderr, flush=True)
    return taken


def why_no_lab() -> str | None:
    """One sentence where `make lab` cannot be timed, else None."""
    if shutil.which("make") is None or not (ROOT / ".venv" / ".lab-installed").exists():
        return "it needs make, and the environment that `make lab` makes"
    if chromium() is None:
        return "it needs Chromium (on Debian: apt-get install chromium)"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "it needs the package playwright: pip install 'facenest-course[test]'"
    return None


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def kept(path: Path):
    """JupyterLab saves what it shows, with its own metadata: afterwards the file is as it was."""
    before = path.read_bytes()
    try:
        yield
    finally:
        if path.read_bytes() != before:
            fresh = path.with_name(f".{path.name}.new")
            fresh.write_bytes(before)
            fresh.replace(path)


def seconds_to_a_page(page, folder: Path, patience: float = 180) -> float:
    """From `make lab` to the first lesson with an idle kernel, in a browser that is open already."""
    token = "for-this-measurement"  # the log does not show it
    arguments = f"--no-browser --port=0 --IdentityProvider.token={token}"
    command = ["make", "lab", f"LAB_ARGS={arguments}", f"LAYOUT={folder / 'layout'}"]
    places = {"JUPYTER_RUNTIME_DIR": "runtime", "JUPYTER_CONFIG_DIR": "config", "IPYTHONDIR": "ipython"}
    environment = os.environ | {name: str(folder / place) for name, place in places.items()}
    log = folder / "lab.log"
    start = time.perf_counter()
    with log.open("w") as file:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        while not (address := re.search(r"(http://127\.0\.0\.1:\d+/lab\S*)\?token", log.read_text())):
            if server.poll() is not None or time.perf_counter() - start > patience:
                raise RuntimeError(f"`make lab` gave no address:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        page.goto(f"{address[1]}?token={token}")
        page.wait_for_selector(READY, timeout=1000 * patience)
        return time.perf_counter() - start
    finally:  # all of the group: `make` may end before the server that it began
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
            for _ in range(200):
                server.poll()
                os.killpg(server.pid, 0)
                time.sleep(0.1)
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def time_lab(runs: int) -> list[float]:
    """Seconds of each run, after one that warms up; a new browser page and new settings for each."""
    from playwright.sync_api import sync_playwright

    flags, times = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [], []
    with sync_playwright() as playwright, kept(LESSONS[0]):
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        try:
            for _ in range(runs + 1):
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                with tempfile.TemporaryDirectory(prefix="course-lab-") as folder:
                    times.append(seconds_to_a_page(page, Path(folder)))
                page.close()
                print(f"make lab: {times[-1]:.1f} s", file=sys.stderr, flush=True)
        finally:
            browser.close()
    return times[1:]


def tests_rows(row, command: tuple[str, ...] = ("make", "test")) -> list[dict]:
    """One `make test` in this folder, its environment there before the clock starts. A failure is no time."""
    subprocess.run(["make", "--silent", ".venv/.test-installed"], cwd=ROOT, check=True)
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True)
    words = f"make test: library, browser and every lesson, on a warm environment, against {TESTS:g} minutes"
    return [row(words, (time.perf_counter() - start) / 60, TESTS, "min", False, 1, 1)]


def rows(row, runs: int, lessons: list[Path] | None = None) -> list[dict]:
    """For bench.json: the peer is the bound that was set. `row` makes a row."""
    made = []
    if reason := why_no_lab():
        print(f"The time of `make lab` is left out: {reason}.", file=sys.stderr)
    else:
        words = f"make lab to a page that is ready, on a warm environment, against {LAB:g} s"
        made.append(row(words, statistics.median(time_lab(runs)), LAB, "s", False, runs, 1))
    taken = run_lessons(lessons or LESSONS)
    slowest = max(taken, key=taken.__getitem__)
    words = f"all {len(taken)} lessons from top to bottom, the sum, against {ALL:g} minutes"
    made.append(row(words, sum(taken.values()) / 60, ALL, "min", False, 1, 1))
    words = f"the longest lesson ({slowest[:2]}) from top to bottom, against {LONGEST:g} minutes"
    made.append(row(words, taken[slowest] / 60, LONGEST, "min", False, 1, 1))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lessons", nargs="+", default=[], metavar="NN", help="run these lessons")
    parser.add_argument("--lab", action="store_true", help="time `make lab`")
    parser.add_argument("--rounds", type=int, default=5, help="of `make lab`")
    options = parser.parse_args()
    if not options.lab:
        chosen = [path for path in LESSONS if not options.lessons or path.name[:2] in options.lessons]
        taken = run_lessons(chosen)
        print(f"{len(taken)} lessons: {sum(taken.values()) / 60:.1f} minutes")
    elif reason := why_no_lab():
        sys.exit(f"`make lab` is not timed: {reason}.")
    else:
        print(f"make lab: median {statistics.median(time_lab(options.rounds)):.1f} s")


if __name__ == "__main__":
    main()

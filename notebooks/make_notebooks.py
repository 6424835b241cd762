"""Run every lesson from a clean kernel and store it in one normal form: `make notebooks`.

A second run gives no diff: what differs from run to run without telling a reader anything
(progress bars, widget state, object addresses, time stamps, tracebacks' paths) is not stored.
`--check` runs nothing and only says whether the stored notebooks are in normal form and begin with `SET_UP`.

The first code cell of every lesson is `SET_UP`, and this is the only place where it is written:
`--set-up` writes it into the lessons and runs nothing (outside Colab the cell prints nothing).
"""

import argparse
import glob
import os
import re
import shutil
import sys
import time
from pathlib import Path

import nbformat

from course_lib import __version__

NOTEBOOKS = Path(__file__).resolve().parent
ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SET_UP = f"""\
# Set-up: does nothing on your own machine; in Colab it installs the course and fetches its pictures.
import importlib.util, subprocess, sys
if "google.colab" in sys.modules:
    import importlib.metadata
    TAG = "v{__version__}"
    missing = TAG[1:] not in [d.version for d in importlib.metadata.distributions(name="facenest-course")]
    if missing:  # --no-deps: Colab's own torch, numpy and pandas stay as they are
        course = f"git+https://github.com/real-or-fake-course/real-or-fake@{{TAG}}"
        pip = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", course],
                             capture_output=True, text=True)
        if pip.returncode:
            raise RuntimeError(f"The course could not be installed: {{pip.stderr}}")
    from course_lib.colab import set_up
    set_up(TAG, installed_now=missing)"""


def normalise_output(output: dict) -> dict | None:
    """One output in its normal form, or None where nothing of it is worth storing."""
    kind = output["output_type"]
    if kind == "stream":
        if output["name"] == "stderr":  # progress bars and warnings: different on every machine
            return None
        output["text"] = ADDRESS.sub("0xADDRESS", output["text"])
    elif kind == "error":  # the last line teaches; the rest are paths of somebody's machine
        output["evalue"] = ANSI.sub("", output["evalue"])
        output["traceback"] = [f"{output['ename']}: {output['evalue']}"]
    else:
        output["data"].pop(WIDGET_VIEW, None)  # a view without its state shows nothing
        output["metadata"] = {}
        if "text/plain" in output["data"]:
            output["data"]["text/plain"] = ADDRESS.sub("0xADDRESS", output["data"]["text/plain"])
        if not output["data"]:
            return None
    return output


def merge_streams(outputs: list) -> list:
    """Join neighbouring pieces of stdout: where a kernel cuts its output is chance."""
    merged: list = []
    for output in outputs:
        last = merged[-1] if merged else None
        if output["output_type"] == "stream" and last is not None and last["output_type"] == "stream":
            last["text"] += output["text"]
        else:
            merged.append(output)
    return merged


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without anything that depends on when, where or by whom it was run (in place)."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    code_cells = 0
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        tags = cell.metadata.get("tags", [])
        jupyter = cell.metadata.get("jupyter", {})
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in (("tags", tags), ("jupyter", jupyter)) if value}
        )
        if cell.cell_type != "code":
            continue
        if cell.source.strip():
            code_cells += 1
            cell.execution_count = code_cells
        outputs = [kept for kept in map(normalise_output, cell.outputs) if kept is not None]
        cell.outputs = merge_streams(outputs)
        for output in cell.outputs:
            if output["output_type"] == "execute_result":
                output["execution_count"] = cell.execution_count
    return notebook


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write next to the target, then rename: an interruption leaves the old notebook whole."""
    part = path.with_name(path.name + f".{os.getpid()}.part")
    try:
        part.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def set_up_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The cell that is the same in every lesson: its first with code. ValueError if that is another one."""
    first = next((cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()), None)
    if first is None or not first.source.startswith("# Set-up:"):
        raise ValueError('the first code cell is to be the set-up cell, which begins with "# Set-up:"')
    return first


def write_set_up(path: Path) -> bool:
    """Put `SET_UP` into one lesson, if it differs; return whether it did. Nothing is run."""
    notebook = nbformat.read(path, as_version=4)
    cell = set_up_cell(notebook)
    if cell.source == SET_UP:
        return False
    cell.source, cell.outputs = SET_UP, []
    write(notebook, path)
    return True


def run(path: Path, timeout: int) -> None:
    """Run one notebook top to bottom in a clean kernel, without its earlier runs; store it in normal form."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for leftover in (path.parent / "runs").glob(path.name[:2] + "_*"):
        shutil.rmtree(leftover)  # a training left from before would be continued instead of run
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        leftover.unlink(missing_ok=True)  # of a run that was killed while it wrote
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            raise RuntimeError(f"{path.name}: cell {number} was not run")
    write(normalise(notebook), path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lessons", nargs="*", type=Path, help="notebooks (default: all beside this script)")
    parser.add_argument("--check", action="store_true", help="run nothing; report what is not in normal form")
    parser.add_argument(
        "--set-up", action="store_true", help="run nothing; write the set-up cell where it differs"
    )
    parser.add_argument("--timeout", type=int, default=600, help="seconds one cell may take (default 600)")
    options = parser.parse_args(arguments)
    lessons = options.lessons or sorted(NOTEBOOKS.glob("*.ipynb"))
    status = 0
    for path in lessons:
        if options.check:
            stored = path.read_text(encoding="utf-8")
            normal = nbformat.writes(normalise(nbformat.reads(stored, as_version=4)), version=4) + "\n"
            if stored != normal:
                print(f"{path.name}: not in normal form; run `make notebooks`")
                status = 1
            if set_up_cell(nbformat.reads(stored, as_version=4)).source != SET_UP:
                print(f"{path.name}: its set-up cell differs; run notebooks/make_notebooks.py --set-up")
                status = 1
            continue
        if options.set_up:
            try:
                print(f"{path.name}: {'written' if write_set_up(path) else 'has it'}")
            except ValueError as error:
                print(f"{path.name}: left as it was: {error}", file=sys.stderr)
                status = 1
            continue
        start = time.monotonic()
        try:
            run(path, options.timeout)
        except Exception as error:  # one broken lesson must not keep the others from being made
            print(f"{path.name}: FAILED, left as it was\n{ANSI.sub('', str(error))}", file=sys.stderr)
            status = 1
            continue
        print(f"{path.name}: {time.monotonic() - start:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())

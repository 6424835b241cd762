"""Run the lessons as Google Colab would: `make colab-check`. Needs a package index, git, and some minutes.

It builds an environment with the versions that Colab publishes and a stand-in for the package google.colab,
releases this checkout as Colab would find it (a git repository with the tag that the lessons name, and the
data archive beside it), and then runs, each in a fresh kernel and an empty folder:

* the set-up cell of every lesson, the first of them from nothing;
* the first three lessons from top to bottom (`--all`: every lesson; or name some).

In the end no package that was there before may have another version. The environment is kept in runs/colab
and used again; what a check installed into it is taken out before the next one.

Two things differ from Colab and are said in the output. Python is the one that runs this script, unless
`--python` names another. And torch, several GB, is borrowed by links from the environment that runs this
script; `--install-torch` installs Colab's own version instead, as another Python needs. With both, nothing
differs: `make colab-check CHECK_ARGS="--python python3.13 --install-torch"`.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import nbformat
from make_notebooks import NOTEBOOKS, set_up_cell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from packaging.requirements import Requirement

ROOT = NOTEBOOKS.parent
HOME = "https://github.com/real-or-fake-course/real-or-fake"
# Colab's published list of August 2026, as far as the course is concerned.
PYTHON = "3.13"
TORCH = {"torch": "2.11.0", "torchvision": "0.26.0"}
PINS = {
    "numpy": "2.1.3",
    "pandas": "2.2.3",
    "matplotlib": "3.10.0",
    "scikit-learn": "1.6.1",
    "pillow": "11.3.0",
    "ipywidgets": "7.7.1",
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
    "kagglehub": "1.0.2",
}
# There too, in versions that matter less; notebook 7 would bring all of JupyterLab with it.
UNPINNED = ("notebook<7", "scipy", "tqdm", "safetensors", "filelock", "packaging", "setuptools")

STAND_IN = {
    "__init__.py": '''"""A stand-in for the package of this name: what the course meets of it, and no more."""
''',
    "userdata.py": """class SecretNotFoundError(Exception):
    pass


def get(name):
    raise SecretNotFoundError(name)
""",
    "files.py": """def upload():
    raise RuntimeError("there is no browser here")
""",
    "output.py": """def enable_custom_widget_manager():
    print("the custom widget manager was switched on")
""",
    "shell.py": '''from ipykernel.zmqshell import ZMQInteractiveShell


class Shell(ZMQInteractiveShell):
    """Its full name is how kagglehub knows that it is in Colab."""
''',
    "kernel.py": """import google.colab  # as in Colab, it is loaded before any cell runs
from google.colab.shell import Shell
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp


class Kernel(IPythonKernel):
    shell_class = Shell


IPKernelApp.launch_instance(kernel_class=Kernel)
""",
}


def call(*command: str | Path, **options) -> str:
    """Run a command and return what it printed; SystemExit with its last words if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))[:200]}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


# --- the environment --------------------------------------------------------------------------------------


def versions(python: Path) -> dict[str, str]:
    """Name and version of every package that this Python finds."""
    code = (
        "import json; from importlib.metadata import distributions;"
        "print(json.dumps({d.metadata['Name'].lower(): d.version for d in distributions()}))"
    )
    return json.loads(call(python, "-I", "-c", code))


def site_packages(python: Path) -> Path:
    return Path(call(python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())


def borrow(python: Path, names: Iterable[str], prefix: str = "") -> None:
    """Link packages, and what they need, as far as it is missing, from the environment that runs this script.

    prefix: link only packages whose name begins so.
    """
    target, there = site_packages(python), set(versions(python))
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name.lower() in seen | there:
            continue
        seen.add(name.lower())
        distribution = metadata.distribution(name)
        for line in distribution.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                waiting.append(wanted.name)
        if not name.startswith(prefix):
            continue
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            source, link = Path(distribution.locate_file(top)).resolve(), target / top
            if source.exists() and not link.exists():
                link.symlink_to(source)


def install_exact_torch(python: Path, pins: list[str]) -> None:
    """Install Colab's own torch. Of CUDA's libraries, which nothing here uses, those at hand will do."""
    exact = [f"{name}=={version}" for name, version in TORCH.items()]
    call(python, "-m", "pip", "install", "-q", "--no-deps", *exact)
    needs = ("sympy", "networkx", "jinja2", "fsspec", "typing_extensions")
    call(python, "-m", "pip", "install", "-q", *needs, *pins)
    borrow(python, TORCH, prefix="nvidia")
    if subprocess.run([python, "-c", "import torch, torchvision"], capture_output=True).returncode:
        call(python, "-m", "pip", "install", "-q", *exact, *pins)


def environment(folder: Path, base_python: str, install_torch: bool) -> Path:
    """The Python of an environment like Colab's: built, or cleaned of what an earlier check installed."""
    python, record = folder / "bin" / "python", folder / "as_built.json"
    wanted = {"pins": PINS, "unpinned": UNPINNED, "python": base_python, "install_torch": install_torch}
    wanted = json.loads(json.dumps(wanted))
    if record.is_file():
        built = json.loads(record.read_text())
        now = versions(python)
        extra = sorted(now.keys() - built["versions"].keys())
        if extra:
            call(python, "-m", "pip", "uninstall", "-q", "-y", *extra)
        if built["wanted"] == wanted and versions(python) == built["versions"]:
            return python
    print(f"building an environment with Colab's versions in {folder.relative_to(ROOT)} …", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    call(base_python, "-m", "venv", folder)
    pins = [f"{name}=={version}" for name, version in PINS.items()]
    call(python, "-m", "pip", "install", "-q", "--upgrade", "pip")
    call(python, "-m", "pip", "install", "-q", *pins, *UNPINNED)
    if install_torch:
        install_exact_torch(python, pins)
    else:
        borrow(python, TORCH)
    package = site_packages(python) / "google" / "colab"  # without google/__init__.py, as in Colab
    package.mkdir(parents=True)
    for name, text in STAND_IN.items():
        (package / name).write_text(text, "utf-8")
    record.write_text(json.dumps({"wanted": wanted, "versions": versions(python)}, indent=1))
    return python


# --- the release ------------------------------------------------------------------------------------------


def release(folder: Path, commit: str | None) -> tuple[Path, Path]:
    """(git repository with the lessons' tag, folder with the data archive), made of this checkout.

    It holds the files that git knows, as they are now, or as they are in `commit`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    repository, archive = folder / "real-or-fake", folder / "release"
    repository.mkdir(parents=True)
    if commit:
        packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(repository, filter="data")
    else:
        for name in call("git", "ls-files", "-z", cwd=ROOT).split("\0"):
            if name and (ROOT / name).is_file():
                (repository / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, repository / name)
    ours = os.environ | {"PYTHONPATH": str(repository)}
    call(sys.executable, "-m", "course_lib", "data", "pack", "--out", archive, cwd=repository, env=ours)
    version = call(sys.executable, "-c", "import course_lib; print(course_lib.__version__)", cwd=repository)
    me = ("-c", "user.name=check", "-c", "user.email=check@localhost", "-c", "init.defaultBranch=main")
    call("git", *me, "init", "-q", cwd=repository)
    call("git", *me, "add", "--all", "--force", cwd=repository)
    call("git", *me, "commit", "-q", "-m", "as released", cwd=repository)
    call("git", *me, "tag", f"v{version.strip()}", cwd=repository)
    return repository, archive


# --- running ----------------------------------------------------------------------------------------------


def kernel(work: Path, python: Path, repository: Path, archive: Path) -> None:
    """Describe Colab's kernel to Jupyter. Git takes the course's address to be that of `repository`."""
    folder = work / "jupyter" / "kernels" / "colab"
    shutil.rmtree(work / "jupyter", ignore_errors=True)
    folder.mkdir(parents=True)
    env = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": HOME,
        "COURSE_DATA_URL": archive.as_uri(),
        "COURSE_CACHE_DIR": str(work / "cache"),
        "KAGGLEHUB_CACHE": str(work / "cache" / "kagglehub"),
        "PYTHONPATH": "",
        "PYTHONNOUSERSITE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else its kernel warns of frozen modules each time
    }
    argv = [str(python), "-m", "google.colab.kernel", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Colab", "language": "python", "env": env}
    (folder / "kernel.json").write_text(json.dumps(spec))
    os.environ["JUPYTER_PATH"] = str(work / "jupyter")


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs).strip()


def run(path: Path, content: Path, whole: bool) -> tuple[bool, str]:
    """Run a lesson alone in an empty folder, or only its set-up cell; (did it run, what to say about it)."""
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir(parents=True)
    notebook = nbformat.read(path, as_version=4)
    cell = set_up_cell(notebook)
    for other in notebook.cells:
        if other.cell_type == "code":
            other.outputs, other.execution_count = [], None
    if not whole:
        notebook.cells = [cell]
    resources = {"metadata": {"path": str(content)}}
    client = NotebookClient(notebook, timeout=900, kernel_name="colab", resources=resources)
    start = time.monotonic()
    try:
        client.execute()
    except CellExecutionError as error:
        return False, str(error)[-2500:]
    words = printed(cell)
    if words.count("\n") or not words.startswith("Colab: "):
        return False, f"the set-up cell did not say in one line what it did, but: {words!r}"
    took = f"{time.monotonic() - start:.0f} s"
    return True, f"{took}, {len(notebook.cells)} cells" if whole else f"{took}: {words}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lessons", nargs="*", help="numbers of lessons to run whole; default: 00 01 02")
    parser.add_argument("--all", action="store_true", help="run every lesson whole")
    parser.add_argument("--python", default=sys.executable, help="another Python to build the environment of")
    parser.add_argument("--install-torch", action="store_true", help="install Colab's torch, do not borrow")
    parser.add_argument("--commit", help="take the files of this commit, not those of the working tree")
    options = parser.parse_args(arguments)
    work = ROOT / "runs" / "colab"
    work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work / "cache", ignore_errors=True)

    name = "environment-exact" if options.install_torch else "environment"
    python = environment(work / name, options.python, options.install_torch)
    before = versions(python)
    have = call(python, "-I", "-c", "import platform; print(platform.python_version())").strip()
    print(f"Python {have} (Colab: {PYTHON})")
    for name, version in (TORCH | PINS).items():
        print(f"  {name} {before[name]}" + ("" if before[name] == version else f" (Colab: {version})"))

    repository, archive = release(work / "released", options.commit)
    kernel(work, python, repository, archive)
    lessons = sorted((repository / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    chosen = options.lessons or ["00", "01", "02"]
    jobs = [(path, False) for path in lessons]
    jobs += [(path, True) for path in lessons if options.all or path.name[:2] in chosen]
    failed, last = 0, ""
    for path, whole in jobs:
        ok, words = run(path, work / "content", whole)
        failed += not ok
        took, _, said = words.partition(": ")
        if said and said == last:
            words = f"{took}: the same"
        last = said or last
        what = "all cells" if whole else "set-up cell"
        print(f"{path.stem}, {what}: {'' if ok else 'FAILED, '}{words}", flush=True)

    after = versions(python)
    changed = {name: (old, after.get(name)) for name, old in before.items() if after.get(name) != old}
    for name, (old, new) in changed.items():
        print(f"CHANGED: {name} from {old} to {new}")
    added = ", ".join(f"{name} {after[name]}" for name in sorted(after.keys() - before.keys()))
    print(f"installed: {added}; changed: {len(changed)} of the {len(before)} packages that were there")
    print("all is well" if not failed and not changed else f"{failed} did not run")
    return 1 if failed or changed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The USB stick: filled, and installed from with the network cut.

A stand-in wheel takes the place of three gigabytes of PyTorch; everything else is the real thing.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
if not (NOTEBOOKS / "make_stick.py").is_file():
    pytest.skip("installed without the lessons", allow_module_level=True)
sys.path.insert(0, str(NOTEBOOKS))
import make_stick  # noqa: E402

NOWHERE = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}


def wheel(folder: Path, name: str, content: str) -> Path:
    """A wheel of one module, made by hand."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", content)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.fixture(scope="module")
def stick(tmp_path_factory):
    """A stick with the course and one stand-in package; the network is not needed to make it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(
        make_stick, "collect_wheels", lambda needed, wheels: wheel(wheels, "standin", "word = 'offline'")
    )
    mounted = tmp_path_factory.mktemp("usb")
    folder = make_stick.make_stick(mounted, ["standin>=1"], student=True)
    patch.undo()
    return folder


def install(folder: Path, *arguments) -> subprocess.CompletedProcess:
    """Run the stick's install.py, the network cut where the system lets us, else behind a dead proxy."""
    command = [sys.executable, "-I", str(folder / "install.py"), *map(str, arguments)]
    if (
        shutil.which("unshare")
        and not subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode
    ):
        command = ["unshare", "-rn", *command]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, capture_output=True, text=True, env=environment | NOWHERE)


def test_the_course_installs_with_the_network_cut(stick, tmp_path):
    target = tmp_path / "at home"
    result = install(stick, target, "--no-check")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"cd {target}" in result.stdout
    python = target / ".venv" / "bin" / "python"
    code = "import course_lib, standin; print(standin.word, course_lib.__file__)"
    told = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True)
    assert told.stdout.split(maxsplit=1) == ["offline", f"{target / 'course_lib' / '__init__.py'}\n"], (
        told.stderr
    )
    assert (target / "data" / "studio").is_dir() and (target / "data" / "SHA256SUMS").is_file()
    assert install(stick, target).stderr.startswith(f"{target} is there already")


def test_the_stick_holds_the_course_and_nothing_else(stick):
    assert sorted(path.name for path in stick.iterdir()) == sorted(
        ["wheels", "course", "install.py", "README.txt", "requirements.txt", "stick.json"]
    )
    course = stick / "course"
    assert {path.name for path in course.iterdir()} == set(make_stick.PARTS)
    assert not [
        path for path in course.rglob("*") if path.name in ("runs", "__pycache__", ".ipynb_checkpoints")
    ]
    for path in sorted((course / "notebooks").glob("*.ipynb")):  # made with student=True
        cells = nbformat.read(path, as_version=4).cells
        assert not any("solution" in cell.metadata.get("tags", []) for cell in cells)
    assert "Python {}.{}".format(*sys.version_info[:2]) in (stick / "README.txt").read_text()


def refused(stick: Path, tmp_path: Path, damage) -> str:
    """What install.py says of a copy of the stick's small files after some damage."""
    copy = tmp_path / "copy"
    shutil.copytree(stick, copy, ignore=shutil.ignore_patterns("course"))
    (copy / "course").mkdir()
    damage(copy)
    result = install(copy, tmp_path / "home")
    assert result.returncode == 1 and "Traceback" not in result.stderr and not (tmp_path / "home").exists()
    return result.stderr


def test_a_cut_wheel_is_named(stick, tmp_path):
    told = refused(stick, tmp_path, lambda copy: next((copy / "wheels").iterdir()).write_bytes(b"PK"))
    assert told.startswith("wheels/standin-1.0-py3-none-any.whl is missing or cut off: the stick is damaged.")


def test_an_unfinished_stick_is_refused(stick, tmp_path):
    assert "was not finished" in refused(stick, tmp_path, lambda copy: (copy / "stick.json").unlink())


def test_another_python_is_refused_with_what_is_needed(stick, tmp_path):
    def other(copy):
        note = json.loads((copy / "stick.json").read_text())
        note["systems"] = [{"python": "3.99", "system": "Plan9", "machine": "abacus"}]
        (copy / "stick.json").write_text(json.dumps(note))

    told = refused(stick, tmp_path, other)
    assert "this stick serves Python 3.99 on Plan9 abacus" in told


def test_without_a_stick_or_with_an_unknown_extra(tmp_path):
    with pytest.raises(SystemExit, match="is the stick in"):
        make_stick.make_stick(tmp_path / "gone", [])
    with pytest.raises(SystemExit, match="no extra 'magic'"):
        make_stick.requirements(["magic"])
    assert any(line.startswith("fastapi") for line in make_stick.requirements(["serve"]))
    assert not any(line.startswith("fastapi") for line in make_stick.requirements([]))


def test_a_failed_download_leaves_an_unfinished_stick(tmp_path, monkeypatch):
    monkeypatch.setattr(make_stick, "collect_wheels", lambda needed, wheels: 1 / 0)
    folder = tmp_path / make_stick.FOLDER
    folder.mkdir()
    (folder / "stick.json").write_text('{"systems": [], "wheels": {}}')
    with pytest.raises(ZeroDivisionError):
        make_stick.make_stick(tmp_path, [])
    assert not (folder / "stick.json").exists()

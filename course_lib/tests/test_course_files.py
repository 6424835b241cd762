"""The files around the course agree: lessons, README, drawings, licences, workflows, Binder, container."""

import json
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
if not (ROOT / "README.md").is_file() or not (ROOT / ".github").is_dir():
    pytest.skip("installed without a checkout", allow_module_level=True)
sys.path[:0] = [str(ROOT / "notebooks"), str(ROOT / ".github")]
import check_colab  # noqa: E402
import which_torch  # noqa: E402

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    tomllib = pytest.importorskip("tomli")

README = (ROOT / "README.md").read_text(encoding="utf-8")
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
FIGURES = ROOT / "figures"
ROW = re.compile(
    r"^\|[^|]*\| \[(?P<title>[^\]]*)\]\(notebooks/(?P<file>[^)]*)\) \| [^|]+ \| (?P<minutes>\d+) \|$", re.M
)
lesson_by_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def words(path: Path) -> str:
    """All Markdown of a lesson."""
    notebook = nbformat.read(path, as_version=4)
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def minutes(path: Path) -> int:
    return int(re.search(r"\*\*Time\*\*: about (\d+) minutes", words(path))[1])


def requirements() -> dict[str, Requirement]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = tomllib.loads(text)["project"]["dependencies"]
    return {Requirement(line).name: Requirement(line) for line in lines}


# --- lessons, README, drawings ----------------------------------------------------------------------------


def test_the_readme_lists_every_lesson_in_order():
    assert [row["file"] for row in ROW.finditer(README)] == [path.name for path in LESSONS]


@lesson_by_lesson
def test_the_readme_states_a_lesson_s_title_and_time(path):
    row = next(row for row in ROW.finditer(README) if row["file"] == path.name)
    heading = words(path).splitlines()[0]
    assert heading.startswith(f"# {row['title']}"), f"README {row['title']!r}, lesson {heading!r}"
    assert int(row["minutes"]) == minutes(path), "README and the lesson's **Time** differ"


def test_the_readme_s_sum_of_the_times():
    hours = sum(map(minutes, LESSONS)) / 60
    assert f"about {hours:.0f} hours altogether" in README


@lesson_by_lesson
def test_a_lesson_s_badge_opens_this_lesson(path):
    opened = re.search(r"\]\(https://colab\.research\.google\.com/github/([^)]*)\)", words(path))[1]
    assert opened == f"real-or-fake-course/real-or-fake/blob/main/notebooks/{path.name}"


@lesson_by_lesson
def test_a_lesson_builds_on_earlier_ones_only(path):
    needs = re.search(r"\*\*You need\*\*(.*?)\n\n", words(path), re.S)[1]
    for number in re.findall(r"\]\((\d\d)_\w+\.ipynb\)", needs):
        assert number < path.name[:2], f"{path.name} needs lesson {number}"


def opening_figures() -> dict[str, str]:
    """{file name of a drawing: what stands in its place for those who cannot see it}."""
    found = {}
    for path in LESSONS:
        for alt, name in re.findall(r"!\[([^\]]*)\]\(\.\./figures/([\w.]+)\)", words(path)):
            found[name] = alt
    return found


@lesson_by_lesson
def test_a_lesson_begins_with_a_picture_that_a_script_draws(path):
    first = nbformat.read(path, as_version=4).cells[0].source
    name = re.search(r"!\[[^\]]{40,}\]\(\.\./figures/([\w.]+)\)", first)[1]
    assert (FIGURES / name).is_file()
    if name.endswith(".svg"):
        assert name == f"lesson_{path.name[:2]}.svg"


def test_every_drawing_has_its_script_and_is_shown_somewhere():
    shown = set(opening_figures()) | set(re.findall(r"figures/([\w.]+\.(?:png|svg))", README))
    stored = {path.name for path in FIGURES.iterdir() if path.suffix in (".svg", ".png")}
    assert stored == shown
    for name in stored - {"uploader.png"}:  # a photograph of the screen
        assert (FIGURES / name).with_suffix(".py").is_file(), f"nothing draws {name}"


@pytest.mark.parametrize("name", sorted(name for name in opening_figures() if name.endswith(".svg")))
def test_the_numbers_in_a_drawing_s_description_are_in_the_drawing(name):
    """matplotlib keeps every text of a drawing as a comment. Numbers of two digits and more are compared;
    sizes such as 7×7 describe what is drawn, not what is written."""
    number = re.compile(r"(?<![\d,.×])\d[\d,.]*\d(?![\d×])")
    drawn = " ".join(re.findall(r"<!-- (.*?) -->", (FIGURES / name).read_text(encoding="utf-8"), re.S))
    missing = set(number.findall(opening_figures()[name])) - set(re.findall(r"\d[\d,.]*\d", drawn))
    assert not missing, f"{name}: its description speaks of {missing}, the drawing does not"


# --- licences ---------------------------------------------------------------------------------------------


def test_the_licences_are_stated():
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert licence.startswith("MIT License\n")
    for part in ("creativecommons.org/licenses/by/4.0/", "creativecommons.org/publicdomain/zero/1.0/"):
        assert part in licence
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        assert "MIT" in text and "CC BY 4.0" in text and "CC0" in text


# --- Binder and the dev container -------------------------------------------------------------------------


def test_binder_opens_lesson_00_and_needs_environment_yml_alone():
    address = urlparse(re.search(r"\]\((https://mybinder\.org/v2[^)]*)\)", README)[1])
    assert address.path == "/v2/gh/real-or-fake-course/real-or-fake/main"
    (target,) = parse_qs(address.query)["urlpath"]
    assert target.startswith("lab/tree/") and ROOT / target.removeprefix("lab/tree/") == LESSONS[0]
    # Any of these would be read beside environment.yml, or in its stead.
    for name in ("binder", ".binder", "postBuild", "start", "apt.txt", "runtime.txt", "requirements.txt"):
        assert not (ROOT / name).exists(), name
    assert not (ROOT / "Dockerfile").exists() and not (ROOT / "setup.py").exists()
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert set(environment) == {"name", "channels", "dependencies"}
    assert environment["channels"][0] == "conda-forge"
    # With "-e ." among pip's lines, repo2docker copies the repository before it makes the environment.
    assert {"pip": ["-e ."]} in environment["dependencies"]


def test_the_dev_container():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    command, target = container["postCreateCommand"].split()
    assert command == "make" and re.search(rf"^{target}:.*## ", make, re.M)
    first = LESSONS[0].relative_to(ROOT).as_posix()
    assert container["customizations"]["codespaces"]["openFiles"] == [first]
    assert first in container["postAttachCommand"]
    python = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:(\d+\.\d+)", container["image"])[1]
    assert Version(python) >= Version("3.10")
    interpreter = container["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter == "${containerWorkspaceFolder}/.venv/bin/python" and ".venv" in make


# --- GitHub -----------------------------------------------------------------------------------------------


def workflow(name: str) -> dict:
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    return {{True: "on"}.get(key, key): value for key, value in yaml.safe_load(text).items()}  # YAML's "on"


def commands(job: dict) -> str:
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_every_workflow_runs_commands_that_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        jobs = workflow(path.name)["jobs"]
        assert jobs, path.name
        for job in jobs.values():
            assert job.get("timeout-minutes", 60) <= 120
            for target in re.findall(r"^make ([a-z-]+)", commands(job), re.M):
                assert target in targets, f"{path.name}: make {target}"
            for script in re.findall(r"\.(?:ci|github)/[\w./-]+", commands(job)):
                assert (ROOT / script).is_file(), f"{path.name}: {script}"


def test_ci_runs_the_one_command_that_contributing_names():
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert ".ci/run" in commands(workflow("test.yml")["jobs"]["test"])
    assert "## The one command\n\n`make test`" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_three_kinds_of_torch_every_week():
    weekly = workflow("versions.yml")
    minute, hour, day, month, weekday = weekly["on"]["schedule"][0]["cron"].split()
    assert (day, month) == ("*", "*") and weekday.isdigit() and minute.isdigit() and hour.isdigit()
    job = weekly["jobs"]["versions"]
    assert job["strategy"]["matrix"]["torch"] == ["lowest", "current", "pre-release"]
    assert ".ci/run" in commands(job)


def test_the_lowest_versions_are_those_that_pyproject_admits():
    lines = (ROOT / ".github" / "constraints" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    lowest = {Requirement(line).name: Requirement(line) for line in lines if not line.startswith("#")}
    assert set(lowest) == {"torch", "torchvision"}
    for name, pinned in lowest.items():
        (start,) = [s.version for s in requirements()[name].specifier if s.operator == ">="]
        assert str(pinned.specifier) == f"=={start}.*"


@pytest.mark.parametrize(
    "torch, kind",
    [
        ("2.6.0", "lowest"),
        ("2.6.0+cpu", "lowest"),
        ("2.16.0", "current"),
        ("2.16.0.dev20261101+cpu", "pre-release"),
        ("2.15.0rc1", "pre-release"),
    ],
)
def test_a_job_notices_that_it_got_another_torch(monkeypatch, capsys, torch, kind):
    assert which_torch.kind_of(torch, ">=2.6,<3") == kind
    monkeypatch.setattr(which_torch, "version", lambda name: torch)
    assert which_torch.main(kind) == 0
    assert which_torch.main("current" if kind != "current" else "lowest") == 1
    assert "it proves nothing" in capsys.readouterr().out


def test_the_issue_and_pull_request_templates():
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) >= 3
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.name == "config.yml":
            assert set(form) == {"blank_issues_enabled"}
            continue
        assert {"name", "description", "body"} <= set(form), path.name
        ids = [part["id"] for part in form["body"]]
        assert len(ids) == len(set(ids)) and all(part["attributes"]["label"] for part in form["body"])
        assert {part["type"] for part in form["body"]} <= {"input", "textarea", "dropdown"}
    pull = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    assert "make test" in pull and "CC BY 4.0" in pull


# --- Colab's versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(check_colab.PINS.keys() | check_colab.TORCH.keys()))
def test_the_course_admits_the_version_that_colab_has(name):
    wanted = requirements().get(name)
    if wanted is not None:
        assert wanted.specifier.contains((check_colab.PINS | check_colab.TORCH)[name])
    else:
        assert name in ("ipykernel", "ipython")  # these come with JupyterLab


def test_the_stand_in_for_colab_is_python():
    for name, text in check_colab.STAND_IN.items():
        compile(text, name, "exec")

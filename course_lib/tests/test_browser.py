"""Lesson 16 as a learner meets it: a real JupyterLab, a real browser, real files.

One JupyterLab and one open lesson serve all tests here. The lesson is a copy in a temporary folder, and
Jupyter gets settings of its own, so neither the checkout nor anybody's configuration is read or changed.

Photographs from ``../shared/data/hard`` are used where they are; elsewhere pictures of the `studio` set.
``python course_lib/tests/test_browser.py`` draws the picture of the uploader for the lesson's head.
"""

import base64
import contextlib
import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
LESSON = ROOT / "notebooks" / "16_the_uploader.ipynb"
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "hard"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = float(os.environ.get("COURSE_TEST_PATIENCE", "1"))  # a factor for busy machines
# JupyterLab draws tracebacks and whatever goes to stderr alike.
ERROR_OUTPUT = ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']"
HOSTILE = '<img src=x onerror="window.hacked=1">.jpg'

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)"),
    pytest.mark.skipif(not LESSON.exists(), reason="needs lesson 16"),
]


# --- the stage: a JupyterLab, a browser, the lesson run from top to bottom


def settings(folder: Path) -> dict[str, str]:
    """Folders for Jupyter that are nobody's; the news pop-up off; all cells kept in the page."""
    wanted = {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},
    }
    for name, values in wanted.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "share",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    return {variable: str(folder / name) for variable, name in places.items()}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def jupyterlab(folder: Path):
    """A JupyterLab on the loopback whose root is `folder`/work; yields a function from path to address."""
    token, port = secrets.token_hex(16), free_port()
    environment = os.environ | settings(folder) | {"OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={folder / 'work'}"]
    # All files of one choice travel in one message, and the server drops messages above 10 MB unless told.
    command.append("--ServerApp.tornado_settings={'websocket_max_message_size': 134217728}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with (folder / "jupyter.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        base = f"http://127.0.0.1:{port}"
        for _ in range(int(480 * PATIENCE)):
            if server.poll() is not None:
                raise RuntimeError((folder / "jupyter.log").read_text()[-3000:])
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{base}/api?token={token}", timeout=5).close()
                break
            time.sleep(0.25)
        else:
            raise RuntimeError("JupyterLab does not answer")
        yield lambda path: f"{base}/lab/tree/{path}?token={token}&reset"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@contextlib.contextmanager
def browser_page(width=1280, height=1600):
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            # A listener from the start keeps file dialogues intercepted; otherwise a quick key is quicker.
            page.on("filechooser", lambda chooser: None)
            yield page
        finally:
            browser.close()


def wait_until_idle(page, seconds=120):
    """Wait until the kernel has nothing to do."""
    page.wait_for_selector(
        ".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=1000 * seconds * PATIENCE
    )


def prompts(page) -> list[str]:
    """What stands before the code cells: "[ ]:" not run, "[*]:" waiting or running, "[7]:" run."""
    return [text for text in page.locator(".jp-CodeCell .jp-InputPrompt").all_text_contents() if text]


def answer_dialogues(page) -> list[str]:
    """Say yes to whatever JupyterLab asks (on a slow start: which kernel?); returns what it asked."""
    asked, end = [], time.monotonic() + 30 * PATIENCE
    while page.locator(".jp-Dialog").count():
        asked.append(page.locator(".jp-Dialog").last.inner_text())
        assert time.monotonic() < end, f"JupyterLab keeps asking: {asked[-1]}"
        page.locator(".jp-Dialog .jp-mod-accept").last.click()
        page.wait_for_timeout(500)  # on a busy machine an answered question stays for a while
    return asked


def run_all(page, seconds=240):
    """Run → Run All Cells, and wait until every code cell has its number."""
    from playwright.sync_api import TimeoutError as ClickTimeout

    end, asked = time.monotonic() + seconds * PATIENCE, []

    def click_run_all():
        # A click that comes before the page and its kernel are connected is forgotten, and a question may
        # come up between two clicks; so the caller tries again.
        asked.extend(answer_dialogues(page))
        with contextlib.suppress(ClickTimeout):
            page.get_by_role("menuitem", name="Run", exact=True).click(timeout=10_000)
            page.get_by_role("menuitem", name="Run All Cells", exact=True).click(timeout=10_000)
        page.wait_for_timeout(5_000)

    while "[ ]:" in prompts(page):
        assert time.monotonic() < end, f"not every cell was run: {prompts(page)}; JupyterLab asked: {asked}"
        click_run_all()
        while "[*]:" in prompts(page):
            page.wait_for_timeout(500)
            assert time.monotonic() < end, f"the lesson still runs after {seconds} s: {prompts(page)}"
        wait_until_idle(page)
        errors = page.locator(ERROR_OUTPUT).all_inner_texts()
        if errors and "[ ]:" in prompts(page):  # JupyterLab stops at the first error that no tag announces
            raise AssertionError("the lesson stopped: " + "\n".join(errors)[-2000:])


@contextlib.contextmanager
def open_lesson(folder: Path, lesson: Path | None = None):
    """The lesson, or another notebook, run from top to bottom in a browser: (page, the stored notebook)."""
    import nbformat

    lesson = lesson or LESSON
    stored = folder / "work" / "notebooks" / lesson.name
    stored.parent.mkdir(parents=True)
    if (ROOT / "figures").is_dir():
        shutil.copytree(ROOT / "figures", folder / "work" / "figures")
    notebook = nbformat.read(lesson, as_version=4)
    for cell in notebook.cells:  # outputs on the page are then outputs of this run
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, stored)
    with jupyterlab(folder) as address, browser_page() as page:
        page.set_default_timeout(60_000 * PATIENCE)
        page.goto(address(f"notebooks/{lesson.name}"))
        wait_until_idle(page)
        run_all(page)
        yield page, stored


@contextlib.contextmanager
def open_pieces(folder: Path, code: list[str]):
    """A notebook of these cells, run from top to bottom in a browser; yields the page."""
    import nbformat

    source = folder / "pieces.ipynb"
    # A notebook that names no kernel makes JupyterLab ask which one, sometimes in the middle of a run.
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(text) for text in code]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), source)
    with open_lesson(folder, source) as (page, _):
        yield page


def test_a_question_of_jupyterlab_does_not_stop_a_run(lesson):
    page, _ = lesson
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Change Kernel…", exact=True).click()
    page.locator(".jp-Dialog").wait_for()
    assert any("kernel" in question.lower() for question in answer_dialogues(page))
    assert not page.locator(".jp-Dialog").count()


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with open_lesson(folder) as opened:
        yield opened


@pytest.fixture
def uploader(lesson):
    """The finished uploader of the lesson, empty."""
    page, _ = lesson
    box = page.locator(".course-uploader")
    box.scroll_into_view_if_needed()
    box.locator(".cu-clear").click()
    box.locator(".cu-status-text", has_text="No picture yet").wait_for()
    return box


def studio_pictures(label: int, count: int) -> list[Path]:
    from course_lib import load

    test = load("studio").test
    return [Path(path) for path, y in zip(test.paths, test.labels, strict=True) if y == label][:count]


def pictures(count: int = 2) -> list[Path]:
    """`count` real and `count` fake pictures: photographs where there are some."""
    if PHOTOGRAPHS.is_dir():
        names = [(kind, f"{kind}_{i}.jpg") for kind in ("real", "fake") for i in range(1, count + 1)]
        return [path for kind, name in names if (path := PHOTOGRAPHS / kind / name).exists()]
    return studio_pictures(0, count) + studio_pictures(1, count)


def choose(box, files, count: int | None = None):
    """Click the button, choose `files` (paths, or (name, bytes) pairs) and wait until all are judged."""
    page = box.page
    payload = [
        {"name": f[0], "mimeType": "image/jpeg", "buffer": f[1]} if isinstance(f, tuple) else f for f in files
    ]
    with page.expect_file_chooser() as chooser:
        box.locator(".cu-files").click()
    chooser.value.set_files(payload)
    number = len(files) if count is None else count
    words = "1 file judged" if number == 1 else f"{number} files judged"
    box.locator(".cu-status-text", has_text=words).wait_for(timeout=120_000 * PATIENCE)


def jpeg(width=64, height=64, quality=90) -> bytes:
    """A JPEG of noise."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


# --- the tests


def test_the_lesson_runs_without_an_unannounced_error(lesson):
    page, stored = lesson
    import nbformat

    announced = sum("raises-exception" in c.metadata.get("tags", []) for c in nbformat.read(stored, 4).cells)
    errors = page.locator(ERROR_OUTPUT)
    assert errors.count() == announced == 1
    assert "AttributeError" in errors.inner_text()


def test_verdicts_of_real_photographs_are_those_of_the_library(uploader, tmp_path):
    from course_lib import Detector, widgets

    files = pictures()
    choose(uploader, files)
    model = uploader.locator(".cu-chooser select").input_value()
    detector = Detector.load(model)
    scores = detector([str(f) for f in files])
    expected = [widgets.verdict_text(p, detector.threshold) for p in scores]
    rows = [row.locator("td").all_inner_texts() for row in uploader.locator(".cu-history tbody tr").all()]
    wholes = [row for row in reversed(rows) if row[2] == "whole"]  # a face may have been judged by itself too
    assert [row[1] for row in wholes] == [f.name for f in files]
    assert [row[3] for row in wholes] == expected
    assert [row[4] for row in wholes] == [f"{p:.4f}" for p in scores]
    assert all(re.fullmatch(r"(FAKE|REAL) (> )?\d\d\.\d %", words) for words in expected)
    assert uploader.locator(".cu-card .cu-name").all_inner_texts() == [f.name for f in files]
    bars = uploader.locator(".cu-bar").all()
    assert len(bars) == uploader.locator(".cu-verdict-text").count() >= len(files)
    assert all("threshold" in bar.get_attribute("aria-label") for bar in bars)
    for image in uploader.locator("img").all():
        assert image.get_attribute("alt") and image.evaluate("img => img.complete && img.naturalWidth > 0")
    uploader.screenshot(path=tmp_path / "verdicts.png")


def test_bad_files_get_a_sentence_each_and_good_ones_a_verdict(uploader, tmp_path):
    good = pictures(1)[0].read_bytes()
    files = [
        ("shopping list.jpg", b"milk, eggs, flour"),
        ("empty.jpg", b""),
        ("half.jpg", good[: len(good) // 2]),
        ("two words 🙂 é.jpg", good),
        ("same.jpg", good),
        ("same.jpg", jpeg()),
        ("wrong ending.png", good),
    ]
    choose(uploader, files)
    names = uploader.locator(".cu-card .cu-name").all_inner_texts()
    assert names == [name for name, _ in files[:5]] + ["same.jpg (2)", "wrong ending.png"]
    errors = uploader.locator(".cu-error-text").all_inner_texts()
    assert len(errors) == 3 and all(e.startswith("Not judged: ") and e.endswith(".") for e in errors)
    assert "not an image" in errors[0] and "empty" in errors[1] and "cut off" in errors[2]
    assert uploader.locator(".cu-verdict-text").count() == 4
    assert "Traceback" not in uploader.inner_text()
    uploader.screenshot(path=tmp_path / "bad files.png")


def test_a_photograph_of_many_megabytes(uploader):
    content = jpeg(4000, 3000, quality=97)
    assert 10_500_000 < len(content) < 64_000_000
    choose(uploader, [("large.jpg", content)])
    assert "4000 × 3000 pixels" in uploader.locator(".cu-card").inner_text()


def test_a_hostile_file_name_is_only_text(uploader):
    choose(uploader, [(HOSTILE, jpeg()), ("x" + HOSTILE, b"no image")])
    assert uploader.locator(".cu-card .cu-name").all_inner_texts() == [HOSTILE, "x" + HOSTILE]
    assert uploader.page.evaluate("window.hacked") is None
    assert uploader.locator("img[src=x]").count() == 0


def test_the_same_file_twice_and_clear(uploader):
    file = ("again.jpg", jpeg())
    choose(uploader, [file])
    choose(uploader, [file])
    uploader.locator(".cu-table summary", has_text="History (2)").wait_for()
    assert uploader.locator(".cu-card").count() == 2
    uploader.locator(".cu-clear").click()
    # The page follows the kernel piece by piece: each is waited for, and one that stays is a failure.
    uploader.locator(".cu-card").first.wait_for(state="detached")
    uploader.locator(".cu-history").wait_for(state="detached")


def test_another_model_judges_again(uploader):
    models = uploader.locator(".cu-chooser select option").all_inner_texts()
    assert models and uploader.locator(".cu-note", has_text=f"About the model {models[0]}").count() == 1
    if len(models) < 2:
        pytest.skip("needs two checkpoints")
    choose(uploader, pictures(1))
    uploader.get_by_label("Model:").select_option(models[1])
    uploader.locator(".cu-card", has_text=f"model {models[1]}").nth(1).wait_for()
    uploader.locator(".cu-note", has_text=f"About the model {models[1]}").wait_for()
    assert uploader.locator(".cu-card").count() == 2
    uploader.get_by_label("Model:").select_option(models[0])
    uploader.locator(".cu-card", has_text=f"model {models[0]}").nth(1).wait_for()


def test_the_keyboard_is_enough(uploader):
    page = uploader.page
    button = uploader.get_by_role("button", name=re.compile("Choose pictures"))
    button.focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "keys.jpg", "mimeType": "image/jpeg", "buffer": jpeg()})
    uploader.locator(".cu-card", has_text="keys.jpg").wait_for()
    button.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    page.keyboard.press("Tab")
    assert "cu-clear" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Tab")
    assert "cu-drop" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Tab")
    assert "cu-map-button" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Space")
    uploader.locator(".cu-pair").wait_for()
    uploader.locator(".cu-map-button").press("Space")
    uploader.locator(".cu-pair").wait_for(state="detached")
    page.keyboard.press("r")  # in JupyterLab a command for the cell, unless the page keeps it from that
    assert uploader.locator(".cu-drop").is_visible()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    uploader.locator(".cu-status-text", has_text="No picture yet").wait_for()


def drop(box, paths):
    """Drop files on the middle of the page, as the system's file manager does."""
    box.scroll_into_view_if_needed()
    place = box.bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + min(place["height"], 400) / 2
    session = box.page.context.new_cdp_session(box.page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})
    session.detach()


def test_pictures_are_dropped_on_the_page(uploader, tmp_path):
    # The browser's own file field is not a part of the page, so nothing could be dropped on the button.
    assert uploader.page.locator("input[type=file]").count() == 0
    files = pictures(1)
    drop(uploader, files)
    uploader.locator(".cu-status-text", has_text="2 files judged").wait_for(timeout=60_000 * PATIENCE)
    assert uploader.locator(".cu-card .cu-name").all_inner_texts() == [f.name for f in files]
    folder = tmp_path / "a folder"
    folder.mkdir()
    drop(uploader, [folder, files[0]])
    uploader.locator(".cu-status-text", has_text="1 file judged").wait_for(timeout=60_000 * PATIENCE)


def test_a_picture_is_pasted_from_the_clipboard(uploader):
    page = uploader.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    cells = page.locator(".jp-Cell").count()
    buffer = io.BytesIO()
    with Image.open(pictures(1)[0]) as image:
        image.convert("RGB").save(buffer, "PNG")
    uploader.locator(".cu-drop").focus()
    page.evaluate(
        """async text => {
          const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
          const item = new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})});
          await navigator.clipboard.write([item]);
        }""",
        base64.b64encode(buffer.getvalue()).decode(),
    )
    page.keyboard.press("Control+v")
    uploader.locator(".cu-card", has_text="pasted picture.png").wait_for(timeout=60_000 * PATIENCE)
    assert page.locator(".jp-Cell").count() == cells, "JupyterLab pasted a cell"


def test_a_heat_map_beside_its_picture(uploader):
    choose(uploader, pictures(1)[:1])
    button = uploader.get_by_role("button", name="Heat map")
    button.click()
    images = uploader.locator(".cu-map img")
    images.nth(1).wait_for(timeout=60_000 * PATIENCE)
    sizes = [image.bounding_box() for image in images.all()]
    assert abs(sizes[0]["y"] - sizes[1]["y"]) < 2 and sizes[0]["x"] < sizes[1]["x"]
    assert all(image.get_attribute("alt") for image in images.all())
    assert "no evidence" in uploader.locator(".cu-map").inner_text()
    uploader.get_by_role("button", name="Hide the heat map").click()
    uploader.locator(".cu-pair").wait_for(state="detached")


def test_the_history_is_saved_as_csv_and_json(uploader):
    files = pictures(1)
    choose(uploader, [*((f.name, f.read_bytes()) for f in files), ("=1+1.jpg", b"no picture")])
    for kind, ending in (("CSV", "csv"), ("JSON", "json")):
        with uploader.page.expect_download() as download:
            uploader.get_by_role("link", name=f"Save as {kind}").click()
        assert download.value.suggested_filename == f"verdicts.{ending}"
        text = Path(download.value.path()).read_text(encoding="utf-8-sig")
        assert all(f.name in text for f in files)
        assert ("'=1+1.jpg" in text) == (kind == "CSV")


def test_nothing_of_an_upload_is_in_the_saved_notebook(uploader, lesson):
    page, stored = lesson
    content = pictures(1)[0].read_bytes()
    choose(uploader, [("secret face.jpg", content)])
    uploader.locator(".cu-map-button").click()
    uploader.locator(".cu-pair").wait_for(timeout=60_000 * PATIENCE)
    shown = [image.get_attribute("src").split("base64,")[1] for image in uploader.locator("img").all()]
    assert len(shown) >= 3  # the small copy, the picture beside its map, the map
    page.evaluate("document.querySelector('.jp-Notebook').focus()")
    saved_at = stored.stat().st_mtime_ns
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Save Notebook(?! As)")).click()
    text, notebook = "", {}
    for _ in range(int(200 * PATIENCE)):
        if stored.stat().st_mtime_ns != saved_at:
            with contextlib.suppress(ValueError):  # half written
                text = stored.read_text(encoding="utf-8")
                notebook = json.loads(text)
                break
        time.sleep(0.1)
    assert notebook, "the notebook was not saved"
    assert any(cell.get("outputs") for cell in notebook["cells"]), "the run itself was saved"
    assert "widgets" not in notebook["metadata"]
    assert "secret face" not in text
    for data in (base64.b64encode(content).decode(), *shown):
        for start in range(0, len(data) - 40, max(1, len(data) // 20)):
            assert data[start : start + 40] not in text


def side_by_side(*paths: Path) -> bytes:
    """One JPEG of several portraits in a row, each twice as large."""
    portraits = [Image.open(path).convert("RGB").resize((256, 256)) for path in paths]
    row = Image.new("RGB", (300 * len(portraits), 300), "grey")
    for i, portrait in enumerate(portraits):
        row.paste(portrait, (300 * i + 22, 22))
    file = io.BytesIO()
    row.save(file, "JPEG", quality=92)
    return file.getvalue()


if __name__ == "__main__":  # the picture at the head of the lesson
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "figures" / "uploader.png"
    with tempfile.TemporaryDirectory() as folder, open_lesson(Path(folder)) as (page, _):
        box = page.locator(".course-uploader")
        if "studio" in box.locator(".cu-chooser option").all_inner_texts():
            box.get_by_label("Model:").select_option("studio")
        real, fake = studio_pictures(0, 1)[0], studio_pictures(1, 1)[0]
        files = [(fake.name, fake.read_bytes()), ("two people.jpg", side_by_side(real, fake))]
        choose(box, [*files, ("shopping list.jpg", b"milk, eggs, flour")])
        box.get_by_role("button", name="Heat map").first.click()
        box.get_by_role("button", name="Hide the heat map").first.wait_for()
        page.set_viewport_size({"width": 1280, "height": 2200})  # the whole piece at once
        page.wait_for_timeout(2000)  # until the map is drawn
        box.screenshot(path=target)
    print(f"wrote {target}")

"""The service's pages in a real browser: mouse, keyboard, many and bad files, hostile names, both themes.

The second page is lesson 17's Streamlit front end, taken from the lesson word for word.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import nbformat
import numpy as np
import pytest
from lesson_code import NOTEBOOKS
from test_browser import CHROMIUM, HOSTILE, PATIENCE, PHOTOGRAPHS, browser_page, free_port

from course_lib import Detector, load

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)"),
]


@contextlib.contextmanager
def service(*arguments):
    """The command, as anybody starts it; yields the address."""
    command = [sys.executable, "-m", "course_lib", "serve", "--port", "0", "--device", "cpu", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def stage():
    """(page, what the browser complained about, the detector) with the checkpoint `studio`."""
    with service("--checkpoint", "studio", "--max-mb", "1") as base, browser_page(900, 1200) as page:
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda r: r.url.startswith((base, "blob:", "data:")) or said.append(r.url))
        page.set_default_timeout(60_000 * PATIENCE)
        page.goto(base)
        until(page, "document.getElementById('model').textContent.includes('studio@')")
        yield page, said, Detector.load("studio", device="cpu")


@pytest.fixture(scope="module")
def pictures():
    """Two real and two fake ones of studio's test set."""
    test = load("studio").test
    return [Path(test.paths[i]) for y in (0, 1) for i in np.flatnonzero(test.labels == y)[:2]]


def until(page, condition: str) -> None:
    """Wait for a condition in JavaScript (playwright's own waiting is forbidden by the page's policy)."""
    end = time.monotonic() + 60 * PATIENCE
    while not page.evaluate(condition):
        assert time.monotonic() < end, (condition, page.locator("#status").inner_text())
        page.wait_for_timeout(100)


def give(page, *files):
    """Choose files, wait until the page says that all are done, and return the words of their cards."""
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Choose pictures").set_input_files(list(files))
    until(
        page,
        f"document.getElementById('status').textContent.startsWith('{len(files)} done:')",
    )
    return [" ".join(text.split()) for text in page.locator("#results li").all_inner_texts()]


def test_the_verdict_is_the_detectors_to_four_digits(stage, pictures):
    page, said, detector = stage
    cards = give(page, *map(str, pictures))
    for path, p in zip(pictures, detector(pictures), strict=True):
        (card,) = [text for text in cards if path.name in text]
        assert f"P(fake) {p:.4f}" in card and detector.id in card
        assert ("◆ FAKE" if detector.label(p) == "fake" else "● REAL") in card
    bars = [bar.get_attribute("aria-label") for bar in page.locator(".bar").all()]
    assert len(bars) == 4 and all(re.match(r"P\(fake\) .* the threshold of", words) for words in bars)
    until(page, "[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert all(image.get_attribute("alt") for image in page.locator("#results img").all()) and not said


def test_bad_files_get_a_sentence_and_stop_nothing(stage, pictures):
    page, said, _ = stage
    large = pictures[0].read_bytes() + bytes(1_100_000)
    files = [
        {"name": "letter.jpg", "mimeType": "image/jpeg", "buffer": b"Dear Anna"},
        {"name": HOSTILE, "mimeType": "image/jpeg", "buffer": b"no picture"},
        {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": large},
        {"name": "half.jpg", "mimeType": "image/jpeg", "buffer": pictures[0].read_bytes()[:900]},
        {"name": "good <b>one</b>.jpg", "mimeType": "image/jpeg", "buffer": pictures[0].read_bytes()},
    ]
    cards = give(page, *files)
    text = "\n".join(cards)
    assert text.count("✕ Not judged") == 4 and text.count("REAL") + text.count("FAKE") == 1
    for words in (
        "this is not an image",
        "at most 1 MB",
        "damaged or cut off",
        HOSTILE,
        "good <b>one</b>.jpg",
    ):
        assert words in text
    assert (
        page.evaluate("window.hacked") is None
        and page.locator("#results b, #results img[src=x]").count() == 0
    )
    assert (
        "1 called" in page.locator("#status").inner_text()
        and "4 not judged" in page.locator("#status").inner_text()
    )
    assert all("Failed to load resource" in line for line in said), said  # the browser notes each 4xx
    said.clear()


def test_many_files_with_keyboard_alone(stage, pictures):
    page, _, _ = stage
    page.reload()
    until(page, "document.getElementById('model').textContent.includes('studio@')")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([str(path) for path in pictures] * 3)
    until(page, "document.getElementById('status').textContent.startsWith('12 done:')")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "clear"
    page.keyboard.press("Enter")
    assert page.locator("#results li").count() == 0
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the summary: what the model has seen
    assert page.locator("#card").is_visible() and "What it saw" in page.locator("#card").inner_text()


def test_dropped_files_are_judged(stage, pictures):
    page, _, _ = stage
    page.get_by_role("button", name="Clear").click()
    bits = list(pictures[3].read_bytes())
    transfer = page.evaluate_handle(
        "(bits) => { const t = new DataTransfer();"
        "t.items.add(new File([new Uint8Array(bits)], 'dropped.jpg', {type: 'image/jpeg'})); return t; }",
        bits,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    until(page, "document.getElementById('status').textContent.startsWith('1 done:')")
    assert "dropped.jpg" in page.locator("#results li").inner_text()


LUMINANCE = """(selector) => {
  const light = (c) => { const [r, g, b] = c.match(/[0-9.]+/g).map((v) => {
    v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const text = light(getComputedStyle(document.querySelector(selector)).color);
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05); }"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_are_legible(stage, pictures, theme):
    page, _, _ = stage
    page.emulate_media(color_scheme=theme)
    give(page, str(pictures[0]), str(pictures[2]))
    for selector in (".verdict", ".small", "#status", "h1"):
        assert page.evaluate(LUMINANCE, selector) > 7, (theme, selector)
    page.emulate_media(color_scheme="light")


def test_a_number_below_a_half_is_explained(pictures, stage):
    page = stage[0].context.browser.new_page()
    with service("--checkpoint", "studio", "--threshold", "0") as base:
        page.goto(base)
        assert "FAKE" in give(page, str(pictures[0]))[0]
        page.get_by_text("below 50 % because this model's threshold is < 0.1 %").wait_for()
    page.close()


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_runs_out_of_the_page(stage, pictures, width):
    page, _, _ = stage
    page.set_viewport_size({"width": width, "height": 900})
    content = pictures[0].read_bytes()
    names = ("a" * 150 + ".jpg", "b.jpg")
    give(page, *({"name": name, "mimeType": "image/jpeg", "buffer": content} for name in names))
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.set_viewport_size({"width": 900, "height": 1200})


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs ../shared/data/hard")
def test_photographs(stage):
    page, _, detector = stage
    photographs = [
        *sorted((PHOTOGRAPHS / "real").glob("*.jpg"))[:2],
        *sorted((PHOTOGRAPHS / "fake").glob("*.jpg"))[:2],
    ]
    text = "\n".join(give(page, *map(str, photographs)))
    for path, p in zip(photographs, detector(photographs), strict=True):
        assert path.name in text and f"P(fake) {p:.4f}" in text


def test_a_service_that_is_gone_is_told(stage, pictures):
    page = stage[0].context.browser.new_page()
    with service("--checkpoint", "studio") as base:
        page.goto(base)
        until(page, "document.getElementById('model').textContent.includes('studio@')")
    page.get_by_label("Choose pictures").set_input_files(str(pictures[0]))
    page.get_by_text("the service does not answer").wait_for(timeout=60_000 * PATIENCE)
    page.close()


# ------------------------------------------------------------------------- the front end that a lesson writes
def lesson_text(name: str) -> str:
    """The text that lesson 17 gives to a variable."""
    for cell in nbformat.read(NOTEBOOKS / "17_beyond_the_notebook.ipynb", as_version=4).cells:
        for node in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                return ast.literal_eval(node.value)
    raise AssertionError(f"lesson 17 has no {name}")


@contextlib.contextmanager
def streamlit(folder: Path, base: str):
    """The front end, talking to the service at `base`; yields its own address."""
    (folder / "front.py").write_text(lesson_text("front"), encoding="utf-8")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(folder / "front.py"),
        "--server.headless",
        "true",
    ]
    command += ["--server.address", "127.0.0.1", "--server.port", str(port)]
    command += ["--browser.gatherUsageStats", "false", "--", base]
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"HOME": str(folder)})
    try:
        end = time.monotonic() + 60 * PATIENCE
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
                break
            assert time.monotonic() < end and process.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(not find_spec("streamlit"), reason="needs the extra front")
def test_the_streamlit_page_of_the_lesson(stage, pictures, tmp_path):
    """Photographs where there are some: the numbers are the detector's; a bad file is told."""
    _, _, detector = stage
    if PHOTOGRAPHS.is_dir():
        pictures = [next((PHOTOGRAPHS / kind).glob("*.jpg")) for kind in ("real", "fake")]
    page = stage[0].context.browser.new_page()
    page.set_default_timeout(60_000 * PATIENCE)
    with service("--checkpoint", "studio") as base, streamlit(tmp_path, base) as address:
        page.goto(address)
        page.get_by_text("not a proof about people").wait_for()
        files = [{"name": p.name, "mimeType": "image/jpeg", "buffer": p.read_bytes()} for p in pictures]
        files += [{"name": HOSTILE, "mimeType": "image/jpeg", "buffer": b"no picture"}]
        page.locator("input[type=file]").set_input_files(files)
        page.get_by_text("Not judged: status 415").wait_for()
        for path, p in zip(pictures, detector(pictures), strict=True):
            page.get_by_text(f"P(fake) {p:.4f}, fake from").first.wait_for()
            assert path.name in page.locator("body").inner_text()
        said = page.locator("body").inner_text()
        name = HOSTILE.replace('"', "%22")  # as browsers write quotation marks in a form
        assert (name in said or HOSTILE in said) and "this is not an image" in said and detector.id in said
        assert page.evaluate("window.hacked") is None and "Traceback" not in said
        assert page.locator("[data-testid=stException]").count() == 0
    page.close()


@pytest.mark.skipif(not find_spec("streamlit"), reason="needs the extra front")
def test_the_streamlit_page_without_a_service(stage, pictures, tmp_path):
    page = stage[0].context.browser.new_page()
    page.set_default_timeout(60_000 * PATIENCE)
    with streamlit(tmp_path, f"http://127.0.0.1:{free_port()}") as address:
        page.goto(address)
        page.locator("input[type=file]").set_input_files(str(pictures[0]))
        page.get_by_text("is the service running?").wait_for()
        assert page.locator("[data-testid=stException]").count() == 0
    page.close()

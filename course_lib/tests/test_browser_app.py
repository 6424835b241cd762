"""`make app` as a visitor meets it: Voilà, a real browser, a dropped photograph, no code to be seen."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from test_browser import CHROMIUM, PATIENCE, browser_page, drop, free_port, pictures, settings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)"),
]
pytest.importorskip("voila", reason="needs the extra app")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    port = free_port()
    environment = os.environ | settings(folder) | {"OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "course_lib.app", "--no-browser", "--port", str(port)]
    with (folder / "app.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(int(200 * PATIENCE)):
            assert server.poll() is None, (folder / "app.log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{address}voila/static/voila.js", timeout=5).close()
                break
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                time.sleep(0.25)
        else:
            raise AssertionError("Voilà does not answer")
        with browser_page() as opened:
            opened.set_default_timeout(60_000 * PATIENCE)
            opened.goto(address)
            yield opened
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def test_from_a_dropped_photograph_to_a_verdict(page, tmp_path):
    from course_lib import Detector

    box = page.locator(".course-uploader")
    box.locator(".cu-status-text", has_text="No picture yet").wait_for()
    assert "Uploader()" not in page.locator("body").inner_text(), "code is shown"
    files = pictures(1)
    drop(box, files)
    box.locator(".cu-status-text", has_text="2 files judged").wait_for()
    detector = Detector.load(box.locator(".cu-chooser select").input_value())
    rows = [row.locator("td").all_inner_texts() for row in box.locator(".cu-history tbody tr").all()]
    wholes = [row for row in reversed(rows) if row[2] == "whole"]
    assert [row[1] for row in wholes] == [f.name for f in files]
    assert [row[4] for row in wholes] == [f"{p:.4f}" for p in detector([str(f) for f in files])]
    box.screenshot(path=tmp_path / "app.png")


def test_a_file_that_is_no_picture_gets_a_sentence(page, tmp_path):
    box = page.locator(".course-uploader")
    (tmp_path / "list.jpg").write_bytes(b"milk, eggs, flour")
    drop(box, [tmp_path / "list.jpg"])
    box.locator(".cu-error-text", has_text="not an image").wait_for()
    assert not re.search('Traceback|File "', page.locator("body").inner_text())


def test_clear_by_the_keyboard(page):
    box = page.locator(".course-uploader")
    box.get_by_role("button", name="Clear").press("Enter")
    box.locator(".cu-card").first.wait_for(state="detached")

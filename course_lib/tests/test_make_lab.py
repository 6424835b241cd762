"""`make lab` verifies the data and serves the course, opening on its first lesson."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import test_browser as stage

ROOT = Path(__file__).resolve().parents[2]
FIRST = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))[:1]
pytestmark = [
    pytest.mark.browser,  # a server: not beside other tests
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
    pytest.mark.skipif(not (ROOT / ".venv/.lab-installed").exists(), reason="needs the environment of make"),
]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What `make lab` printed until its server was ready; the server runs until the test ends."""
    tmp_path = tmp_path_factory.mktemp("lab")
    lesson = ROOT / "notebooks" / FIRST[0]
    stored = lesson.read_bytes()  # JupyterLab saves what it shows, with its own metadata
    log = tmp_path / "lab.log"
    arguments = "--no-browser --port=0 --IdentityProvider.token=for-this-test"
    with log.open("w") as file:
        server = subprocess.Popen(
            ["make", "lab", f"LAB_ARGS={arguments}", f"LAYOUT={tmp_path / 'layout'}"],
            cwd=ROOT, stdout=file, stderr=file, start_new_session=True,
            env=os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")},
        )  # fmt: skip
    try:
        for _ in range(int(600 * stage.PATIENCE)):
            text = log.read_text()
            if "Use Control-C" in text:
                break
            assert server.poll() is None, text[-3000:]
            time.sleep(0.2)
        yield text
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        lesson.write_bytes(stored)


def test_opens_on_the_first_lesson_after_verifying_the_data(printed):
    address = re.search(r"(http://127\.0\.0\.1:\d+)(/lab\S*)\?token", printed)
    assert address, printed[-3000:]
    assert address[2] == f"/lab/tree/notebooks/{FIRST[0]}"
    page = urllib.request.urlopen(f"{address[1]}{address[2]}?token=for-this-test", timeout=20)
    assert page.status == 200
    assert printed.index("all is well") < printed.index("jupyter lab")
    # Several photographs chosen at once travel in one message; Jupyter drops those above 10 MB unless told.
    assert int(re.search(r"websocket_max_message_size': (\d+)", printed)[1]) >= 128_000_000


@pytest.mark.skipif(stage.CHROMIUM is None, reason="needs Chromium (on Debian: apt-get install chromium)")
def test_the_table_of_contents_is_open_beside_the_first_lesson(printed):
    address = re.search(r"(http://127\.0\.0\.1:\d+)(/lab\S*)\?token", printed)
    with stage.browser_page(height=900) as page:
        page.set_default_timeout(60_000 * stage.PATIENCE)
        page.goto(f"{address[1]}{address[2]}?token=for-this-test")
        headings = page.locator(".jp-TableOfContents .jp-tocItem-heading")
        headings.filter(has_text="1. Is everything in order?").first.wait_for()
        assert page.locator(".jp-TableOfContents").first.is_visible()
        headings.filter(has_text="Further reading").click()
        page.wait_for_function(  # looked up anew each time: JupyterLab draws only the cells on show
            """() => [...document.querySelectorAll('.jp-Notebook h2')].some(e => {
                const top = e.getBoundingClientRect().top;
                return e.textContent.includes('Further reading') && top > 0 && top < innerHeight; })"""
        )


def test_a_layout_that_is_there_already_is_kept(tmp_path):
    """The second `make lab` shows what the learner left, not the first layout again."""
    kept = tmp_path / "default-37a8.jupyterlab-workspace"
    command = ["make", "-n", "lab", f"LAYOUT={tmp_path}"]
    copying = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(line for line in copying.splitlines() if ".lab/" in line)
    for before, after in ((None, True), ("mine", False)):
        if before:
            kept.write_text(before)
        subprocess.run(line, shell=True, check=True, cwd=ROOT)
        assert ("toc:plugin" in kept.read_text()) == after

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

ROOT = Path(__file__).resolve().parents[2]
FIRST = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))[:1]
pytestmark = [
    pytest.mark.browser,  # a server: not beside other tests
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
    pytest.mark.skipif(not (ROOT / ".venv/.lab-installed").exists(), reason="needs the environment of make"),
]


@pytest.fixture
def printed(tmp_path):
    """What `make lab` printed until its server was ready; the server runs until the test ends."""
    log = tmp_path / "lab.log"
    arguments = "--no-browser --port=0 --IdentityProvider.token=for-this-test"
    with log.open("w") as file:
        server = subprocess.Popen(
            ["make", "lab", f"LAB_ARGS={arguments}"],
            cwd=ROOT, stdout=file, stderr=file, start_new_session=True,
            env=os.environ | {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")},
        )  # fmt: skip
    try:
        for _ in range(600):
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


def test_opens_on_the_first_lesson_after_verifying_the_data(printed):
    address = re.search(r"(http://127\.0\.0\.1:\d+)(/lab\S*)\?token", printed)
    assert address, printed[-3000:]
    assert address[2] == f"/lab/tree/notebooks/{FIRST[0]}"
    page = urllib.request.urlopen(f"{address[1]}{address[2]}?token=for-this-test", timeout=20)
    assert page.status == 200
    assert printed.index("all is well") < printed.index("jupyter lab")
    # Several photographs chosen at once travel in one message; Jupyter drops those above 10 MB unless told.
    assert int(re.search(r"websocket_max_message_size': (\d+)", printed)[1]) >= 128_000_000

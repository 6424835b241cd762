"""Photograph the page of the service (lesson 17): it is started, three files are given to it, Chromium looks.

    python figures/service_page.py

Needs the extras `serve` and `test`, and Chromium. The faces are embedded ones: none of them exists.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from course_lib import load

HERE = Path(__file__).resolve().parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def three_files() -> list[dict]:
    """A real face, a forged one, and a file that is no picture."""
    test = load("studio").test
    paths = [Path(test.paths[np.flatnonzero(test.labels == y)[0]]) for y in (0, 1)]
    files = [{"name": p.name, "mimeType": "image/jpeg", "buffer": p.read_bytes()} for p in paths]
    return [*files, {"name": "shopping list.jpg", "mimeType": "image/jpeg", "buffer": b"milk, eggs"}]


def main() -> None:
    command = [sys.executable, "-m", "course_lib", "serve", "--port", "0", "--checkpoint", "studio"]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = service.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 760, "height": 900})
            page.goto(address)
            page.get_by_label("Choose pictures").set_input_files(three_files())
            page.get_by_text("3 done:").wait_for()
            page.screenshot(path=HERE / "service_page.png", full_page=True)
            browser.close()
    finally:
        service.terminate()
        service.wait(30)


if __name__ == "__main__":
    main()

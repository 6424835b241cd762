"""The uploader of lesson 16 as a page of its own, without notebook, menus or code: ``make app``.

``python -m course_lib.app`` writes a notebook of one cell into a temporary folder and has Voilà serve it
(extra `app`: ``pip install "facenest-course[app]"``). The page is served to this computer only; each visit
gets a kernel of its own, which ends with the visit, so visitors do not see each other's pictures.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .errors import CourseError

CELL = "from course_lib import Uploader\n\nUploader()"
MESSAGE_BYTES = 134_217_728  # all files of one choice travel in one message
IDLE_SECONDS = 900  # a kernel that nobody used for so long is ended


def write_page(folder: Path) -> Path:
    """Write the notebook of the page into a folder; returns its path."""
    import nbformat

    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    page.metadata["title"] = "Real or fake?"
    page.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "real-or-fake.ipynb"
    nbformat.write(page, path)
    return path


def options(port: int) -> dict[str, object]:
    """Voilà's settings: this computer only, large messages, no tracebacks, idle kernels ended."""
    return {
        "ip": "127.0.0.1",
        "port": port,
        "tornado_settings": {"websocket_max_message_size": MESSAGE_BYTES},
        "config": {
            "VoilaConfiguration": {"show_tracebacks": False},
            "MappingKernelManager": {"cull_idle_timeout": IDLE_SECONDS, "cull_interval": 60},
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl+C; the exit status is 1 if it cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m course_lib.app", description="The uploader as a page.")
    parser.add_argument("--port", type=int, default=8866, help="port on this computer (default 8866)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    given = parser.parse_args(arguments)
    try:
        serve(given.port, not given.no_browser)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def serve(port: int, browser: bool = True) -> None:
    """Serve the page until it is stopped. Raises CourseError without Voilà."""
    if importlib.util.find_spec("voila") is None:
        raise CourseError('The page needs Voilà: pip install "facenest-course[app]".')
    from traitlets.config import Config
    from voila.app import Voila

    settings = options(port)
    settings["config"] = Config(settings["config"])
    with tempfile.TemporaryDirectory() as folder:
        page = write_page(Path(folder))
        print(f"The page: http://127.0.0.1:{port}/ (Ctrl+C ends it)", flush=True)
        Voila.launch_instance([str(page), *([] if browser else ["--no-browser"])], **settings)


if __name__ == "__main__":
    sys.exit(main())

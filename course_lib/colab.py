"""The course in Google Colab: what the first cell of every lesson does there, and Kaggle's secrets.

Colab brings torch, torchvision, numpy, pandas and some hundred other packages that were chosen to fit one
another, and a running kernel has many of them loaded. So nothing that is installed is ever changed here: the
lesson's first cell installs the course with ``--no-deps``, and `set_up` adds only packages that are not there
at all, with every installed version as a constraint.

The course's widgets are all made of ipywidgets' own parts, which Colab draws by itself; a test holds this.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__, embedded
from .errors import CourseError, DownloadError

COURSE = "facenest-course"
NEVER_TOUCHED = ("torch", "torchvision", "numpy", "pandas")
NOT_NEEDED = ("jupyterlab",)  # in Colab the notebook is already open
SECRETS = ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY")


def in_colab() -> bool:
    """Whether this kernel is one of Google Colab's; it loads ``google.colab`` before the first cell runs."""
    return "google.colab" in sys.modules


def set_up(tag: str, installed_now: bool = False) -> None:
    """Make this Colab kernel ready for a lesson and say in one line what was done; elsewhere do nothing.

    tag: the release the notebook names, for example ``"v0.1.0"``.
    installed_now: the calling cell has just installed the course itself.

    Raises CourseError if another version of the course is loaded, if Colab's own packages do not suffice, or
    if pip fails; DownloadError if the embedded data cannot be fetched.
    """
    if not in_colab():
        return
    if tag != f"v{__version__}":
        raise CourseError(
            f"this lesson needs the course's version {tag}, and v{__version__} is loaded; choose Runtime, "
            "Restart session in the menu, and run this cell again"
        )
    missing = missing_packages()
    if missing:
        install(missing)
    _allow_widgets()
    data_was_here = embedded.data_is_here()
    with contextlib.redirect_stderr(io.StringIO()):  # it announces itself too; one line is enough
        embedded.data_folder()

    news = [f"the course {tag}"] * installed_now + missing
    parts = [f"installed {' and '.join(news)}"] if news else [f"the course {tag} was installed already"]
    parts.append("its data was here already" if data_was_here else "fetched its data")
    kept = ", ".join(f"{name} {metadata.version(name)}" for name in NEVER_TOUCHED)
    print(f"Colab: {'; '.join(parts)}; left as they were: {kept}.")


def missing_packages() -> list[str]:
    """What the course needs and this environment lacks, as requirements for pip; see `install`.

    Raises CourseError where a package that is never touched is missing, or anything is there but too old.
    """
    from packaging.requirements import Requirement  # comes with matplotlib

    missing = []
    for line in metadata.requires(COURSE) or []:
        wanted = Requirement(line)
        if wanted.name in NOT_NEEDED or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            version = None
        if version is None and wanted.name not in NEVER_TOUCHED:
            missing.append(f"{wanted.name}{wanted.specifier}")
        elif version is None or not wanted.specifier.contains(version, prereleases=True):
            found = "none is" if version is None else f"{version} is"
            raise CourseError(
                f"the course needs {wanted.name} {wanted.specifier}, and {found} installed; Colab's own "
                "packages are not changed: choose Runtime, Change runtime type, and the latest version"
            )
    return missing


def install(requirements: Sequence[str]) -> None:
    """Install what is missing while every installed version stays; CourseError with pip's words otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("\n".join(installed_versions()) + "\n", "utf-8")
        command = [sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints), *requirements]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CourseError(f"pip could not install {', '.join(requirements)}: {done.stderr.strip()}")
    importlib.invalidate_caches()


def installed_versions() -> list[str]:
    """Each installed package as ``name==version``, sorted; versions that pip itself cannot read left out."""
    from packaging.version import InvalidVersion, Version

    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if not name or name.lower() in found:
            continue  # of two copies, the first is the one that is imported
        try:
            found[name.lower()] = f"{name}=={Version(distribution.version)}"
        except InvalidVersion:
            continue
    return [found[name] for name in sorted(found)]


def _allow_widgets() -> None:
    """Where somebody installed ipywidgets 8, Colab asks for its custom widget manager: switch it on.

    Colab's own version is 7, whose parts it draws without.
    """
    if int(metadata.version("ipywidgets").split(".")[0]) >= 8:
        from google.colab import output

        output.enable_custom_widget_manager()


# --- Kaggle ---------------------------------------------------------------------------------------------


def read_secrets() -> tuple[dict[str, str], list[str]]:
    """Kaggle's secrets among this Colab user's, and the names of those that this notebook may not read."""
    from google.colab import userdata

    found, closed = {}, []
    for name in SECRETS:
        try:
            value = (userdata.get(name) or "").strip()
        except Exception as error:  # Colab has a class of its own for "is not there", one for "no access"
            if type(error).__name__ == "NotebookAccessError":
                closed.append(name)
            continue
        if value:
            found[name] = value
    return found, closed


def hand_over_secrets(kagglehub: Any) -> None:
    """Give kagglehub the user name and key from Colab's secrets where there is no token.

    kagglehub looks for the token KAGGLE_API_TOKEN by itself, but stops looking where that one is missing.
    """
    if kagglehub.config.get_kaggle_credentials() is not None:  # token, environment or kaggle.json: they lead
        return
    found, _ = read_secrets()
    if {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= found.keys():
        kagglehub.config.set_kaggle_credentials(found["KAGGLE_USERNAME"], found["KAGGLE_KEY"])


def how_to_sign_in() -> str:
    """What to do in Colab when Kaggle wants to know who asks, as the end of a sentence."""
    found, closed = read_secrets()
    if closed:
        return f"open Secrets (the key on the left) and switch on notebook access for {' and '.join(closed)}"
    if found:
        return f"Kaggle did not accept the secret {' and '.join(found)}; make a new API token in its settings"
    return (
        "make an API token in the settings of your Kaggle account, open Secrets (the key on the left), add "
        "it there under the name KAGGLE_API_TOKEN, and switch on notebook access"
    )


# --- uploads --------------------------------------------------------------------------------------------


def choose_files() -> dict[str, bytes]:
    """Ask for files with Colab's own dialogue; {name: content}. It takes files that widgets there do not.

    Colab's dialogue also writes each file into the working folder: here a temporary one, so none stays.

    Raises DownloadError outside Colab.
    """
    if not in_colab():
        raise DownloadError("Colab's dialogue is only in Colab; use the first button of the page")
    from google.colab import files

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return dict(files.upload())
        finally:
            os.chdir(before)

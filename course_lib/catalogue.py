"""The public data sets this course knows by name, and how to get them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from . import colab
from .errors import DataError, DownloadError
from .images import printable

DOWNLOADS = Path(__file__).resolve().parent.parent / "data" / "downloads"  # git-ignored; yours to fill


@dataclass(frozen=True)
class Entry:
    """One data set. `layout` is "splits" (train/valid/test folders given) or "pool" (we split it).

    `counts` holds what the publisher put in: images for each split or class name that is known.
    """

    name: str
    title: str
    layout: str
    words: str
    licence: str
    handle: str = ""  # owner/name on Kaggle; empty for the embedded set
    size: str = ""
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def page(self) -> str:
        return f"https://www.kaggle.com/datasets/{self.handle}"


CATALOGUE = {
    entry.name: entry
    for entry in (
        Entry(
            "studio",
            "Studio: rendered people, faked by a neural generator",
            "splits",
            "Portraits of people who do not exist: path-traced and photographed by a simulated camera (real) "
            "or put out by a generator (fake). It ships with the course.",
            "CC0",
        ),
        Entry(
            "rvsf",
            "140k Real and Fake Faces",
            "splits",
            "70,000 photographs (FFHQ) and 70,000 StyleGAN faces, 256 x 256 JPEG, aligned; the generator was "
            "trained on those very photographs. In its CSV files real is 1: here, as everywhere, fake is 1.",
            "FFHQ photographs: CC BY-NC-SA 4.0, not for commercial use",
            "xhlulu/140k-real-and-fake-faces",
            "about 4 GB",
            {"train": 100_000, "valid": 20_000, "test": 20_000, "real": 70_000, "fake": 70_000},
        ),
        Entry(
            "hardrvsf",
            "Hard Fake vs Real Faces",
            "pool",
            "589 portraits (Unsplash) and 700 StyleGAN2 faces, 300 x 300 JPEG. Not hard at all: a 16 x 16 "
            "grey thumbnail tells the classes apart, because the portraits are cropped tighter: audit it.",
            "see the data set's page",
            "hamzaboulahia/hardfakevsrealfaces",
            "about 20 MB",
            {"real": 589, "fake": 700},
        ),
        Entry(
            "rvf10k",
            "Real vs Fake Faces, 10k",
            "splits",
            "A small brother of rvsf with train and valid only; half of valid serves as test.",
            "as rvsf: not for commercial use",
            "sachchitkunichetty/rvf10k",
        ),
        Entry(
            "deepfake-and-real",
            "Deepfake and Real Images",
            "splits",
            "Faces of 256 x 256 from several manipulations, in folders Train, Validation and Test.",
            "see the data set's page",
            "manjilkarki/deepfake-and-real-images",
            "",
            {"train": 140_002, "valid": 39_428, "test": 10_905},
        ),
    )
}


def describe(name: str | None = None) -> str:
    """The catalogue in words: one data set if `name` is given, else all of them."""
    chosen = CATALOGUE.values() if name is None else [CATALOGUE[name]]
    return "\n\n".join(
        f"{e.name}: {e.title}\n  {e.words}\n  licence: {e.licence}"
        + (f"\n  from: {e.page}" + (f" ({e.size})" if e.size else "") if e.handle else "")
        for e in chosen
    )


def already_here(name: str) -> Path | None:
    """The folder of a data set that lies on this machine, or None; asks no network.

    Looked into, in this order: the folder that the environment variable COURSE_<NAME> names (for example
    COURSE_HARDRVSF), ``data/downloads/<name>`` in a checkout of the course, kagglehub's cache.
    """
    if name not in CATALOGUE:
        raise DataError(
            f"there is no data set called {printable(str(name))!r}; known are {', '.join(CATALOGUE)}"
        )
    variable = f"COURSE_{name.upper().replace('-', '_')}"
    if chosen := os.environ.get(variable):
        if not Path(chosen).is_dir():
            raise DataError(
                f"{variable} names {printable(chosen)}, which is not a folder; correct or unset it"
            )
        return Path(chosen)
    if (DOWNLOADS / name).is_dir():
        return DOWNLOADS / name
    return _in_cache(CATALOGUE[name]) if CATALOGUE[name].handle else None


def _in_cache(entry: Entry) -> Path | None:
    """The newest complete version in kagglehub's cache, which marks a folder complete only at the end."""
    owner, dataset = entry.handle.split("/")
    cache = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub")
    home = cache / "datasets" / owner / dataset
    marks = [m for m in home.glob("*.complete") if m.stem.isdigit() and (home / "versions" / m.stem).is_dir()]
    return home / "versions" / max(marks, key=lambda m: int(m.stem)).stem if marks else None


def fetch(entry: Entry) -> Path:
    """The folder this data set lies in; downloaded by kagglehub, with a progress bar, if it is not here yet.

    We look first, because kagglehub itself asks the network for the newest version even when it has one.
    """
    if (found := already_here(entry.name)) is not None:
        return found
    by_hand = f'download it from {entry.page}, unpack it, and call load("{entry.name}", root="its folder")'
    try:
        import kagglehub
    except ImportError as error:
        raise DownloadError(
            f"{entry.name} is fetched with the package kagglehub, which is not installed; "
            f"pip install kagglehub, or {by_hand}"
        ) from error
    try:
        if colab.in_colab():
            colab.hand_over_secrets(kagglehub)
        return Path(kagglehub.dataset_download(entry.handle))
    except Exception as error:  # kagglehub lets the exceptions of several libraries through
        raise DownloadError(f"{entry.name} could not be downloaded, {_reason(error)}; {by_hand}") from error


def _reason(error: Exception) -> str:
    """Say in a few words what kagglehub's exception means for a learner."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    kind = type(error).__name__
    if status in (401, 403) or kind in ("UnauthenticatedError", "CredentialError"):
        how = (
            "make an account and, in its settings, an API token, "
            "and put it where kagglehub looks (KAGGLE_API_TOKEN, or kaggle.json in the folder .kaggle)"
        )
        if colab.in_colab():
            how = colab.how_to_sign_in()
        return f"because Kaggle wants you to be signed in: {how}"
    if status == 404 or kind == "NotFoundError":
        return "because Kaggle no longer has it under this name"
    if status is not None:
        return f"because Kaggle answered with status {status} (try again later)"
    if "Connection" in kind or "Timeout" in kind or "Proxy" in kind or kind in ("SSLError", "gaierror"):
        return "because there is no way to kaggle.com (is there a network?)"
    if isinstance(error, OSError) and error.strerror:
        return f"because its folder cannot be written ({error.strerror})"
    lines = str(error).strip().splitlines()
    return f"because of {kind}" + (f" ({lines[0]})" if lines else "")

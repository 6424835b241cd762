"""Where the course's own data lies, and how it gets there when the course was installed without it.

A checkout of the project carries ``data/`` itself. A ``pip install`` from a git URL does not: then the
archive of the release named in ``embedded.json`` is fetched once, checked against the SHA-256 written
there, and unpacked into a cache folder. Two environment variables change this:

* ``COURSE_DATA_DIR``: use this folder and look nowhere else;
* ``COURSE_CACHE_DIR``: keep caches here instead of in ``~/.cache/facenest-course``.

``COURSE_DATA_URL`` names a mirror: the address of the folder in which ``embedded-data-VERSION.tar`` lies.
"""

from __future__ import annotations

import contextlib
import difflib
import glob
import hashlib
import json
import os
import shutil
import sys
import tarfile
import uuid
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from .errors import CheckpointError, DataError, DownloadError
from .images import printable

BASE_URL = "https://github.com/real-or-fake-course/real-or-fake/releases/download/embedded-data-{version}"
PIN = Path(__file__).with_name("embedded.json")
SUMS = "SHA256SUMS"
EMBEDDED = ("studio", "checkpoints", "ablation", "README.md")  # what of data/ goes into the archive
MAX_BYTES, MAX_FILES = 100_000_000, 20_000  # the archive is about 25 MB; anything far above is not ours
TIMEOUT = 30.0  # seconds without a single byte
_BY_HAND = "clone the project instead, or unpack the data elsewhere and set COURSE_DATA_DIR to that folder"


def cache_folder() -> Path:
    """The folder for everything that can be made again; not created here."""
    return Path(os.environ.get("COURSE_CACHE_DIR") or Path.home() / ".cache" / "facenest-course")


def data_folder() -> Path:
    """The folder that holds ``studio/`` and ``checkpoints/``; fetched first, saying so, if it is nowhere."""
    return _folder_that_is_here() or _fetched_folder()


def data_is_here() -> bool:
    """Whether `data_folder` would answer without fetching anything."""
    return _folder_that_is_here() is not None or _cached_folder().is_dir()


def _folder_that_is_here() -> Path | None:
    """The folder that was chosen, or the checkout's own, or None."""
    chosen = os.environ.get("COURSE_DATA_DIR")
    if chosen:
        if not Path(chosen).is_dir():
            chosen = printable(chosen)
            raise DataError(f"COURSE_DATA_DIR names {chosen}, which is not a folder; correct or unset it")
        return Path(chosen)
    checkout = Path(__file__).resolve().parent.parent / "data"
    # Any folder may be called data; one with these in it is ours.
    if any((checkout / name).exists() for name in ("make_studio.py", "studio", "checkpoints")):
        return checkout
    return None


def checkpoint_folder(name: str) -> Path:
    """The folder of the shipped checkpoint `name`, for example ``studio`` or ``faces``."""
    parent = data_folder() / "checkpoints"
    names = sorted(p.name for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []
    if name in names:
        return parent / name
    near = difflib.get_close_matches(name, names, 1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif names:
        hint = f"those that ship are {', '.join(names)}"
    else:
        hint = "none is there yet, so train one first"
    raise CheckpointError(f"there is no checkpoint called {printable(name)!r}; {hint}")


# --- fetching ---------------------------------------------------------------------------------------------


def read_pin() -> tuple[str, str | None]:
    """(version, SHA-256 or None) of the embedded data that belongs to this version of the library."""
    pin = json.loads(PIN.read_text("utf-8"))
    return pin["version"], pin["sha256"]


def _cached_folder() -> Path:
    """Where fetched data goes; it gets this name only when it is complete."""
    return cache_folder() / f"embedded-data-{read_pin()[0]}"


def _fetched_folder() -> Path:
    version, sha256 = read_pin()
    folder = _cached_folder()
    if folder.is_dir():
        return folder
    if not sha256:
        raise DownloadError(f"this version of the course has no released data archive; {_BY_HAND}")
    base = os.environ.get("COURSE_DATA_URL") or BASE_URL.format(version=version)
    return fetch_embedded(f"{base.rstrip('/')}/embedded-data-{version}.tar", sha256, folder)


def fetch_embedded(url: str, sha256: str, folder: Path, timeout: float | None = None) -> Path:
    """Download the archive at `url`, check it, unpack it as `folder`. All of it appears, or nothing.

    Two processes may do this at once: each works in a folder of its own, and the first to finish wins.
    """
    print(f"The course's own data is not here yet: fetching {url} into {folder.parent}", file=sys.stderr)
    work = folder.parent / f".{folder.name}-{uuid.uuid4().hex}"
    lock = FileLock(work.with_name(f"{work.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(folder)
        with contextlib.suppress(OSError, NotImplementedError):  # a file system without locks
            lock.acquire()
        work.mkdir()
        archive = work / "archive.tar"
        found = _download(url, archive, TIMEOUT if timeout is None else timeout)
        if found != sha256:
            raise DownloadError(
                f"{url} gave something else than the released data (its SHA-256 is {found[:12]}…, "
                f"{sha256[:12]}… is expected); try again later, or {_BY_HAND}"
            )
        _extract(archive, work / "data")
        archive.unlink()  # whoever is killed behind the rename leaves an empty folder, and no more
        try:
            os.rename(work / "data", folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was quicker, with the very same files
                raise
        return folder
    except OSError as error:
        raise DownloadError(
            f"cannot write the data into {folder.parent} ({error.strerror or error}); "
            "free some space there, or set COURSE_CACHE_DIR to another folder"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.release()
        with contextlib.suppress(OSError):
            os.unlink(lock.lock_file)


def _clear_abandoned(folder: Path) -> None:
    """Delete what processes that were killed left of earlier tries. Whoever is at work holds a lock."""
    for mark in folder.parent.glob(f".{glob.escape(folder.name)}-*.lock"):
        lock = FileLock(mark)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError, NotImplementedError):
            continue
        shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
        lock.release()
        with contextlib.suppress(OSError):
            mark.unlink(missing_ok=True)


def _download(url: str, target: Path, timeout: float) -> str:
    """Write what `url` gives to `target` and return its SHA-256."""
    from tqdm.auto import tqdm

    digest, received = hashlib.sha256(), 0
    try:
        answer = urlopen(Request(url, headers={"User-Agent": "facenest-course"}), timeout=timeout)
    except HTTPError as error:
        answered = f"{error.code} {_words(error.reason)}"
        raise DownloadError(f"{url}: the server answered {answered}; {_BY_HAND}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = _words(getattr(error, "reason", error))
        raise DownloadError(f"cannot reach {url} ({reason}); check the network, or {_BY_HAND}") from error

    length = answer.headers.get("Content-Length") or ""
    expected = int(length) if length.isdigit() else None
    bar = tqdm(total=expected, unit="B", unit_scale=True, desc="embedded data", leave=False)
    with answer, bar, open(target, "wb") as file:
        while True:
            try:
                block = answer.read(1 << 16)
            except (OSError, HTTPException) as error:  # a time-out, a reset, a connection cut short
                reason = _words(error) or type(error).__name__
                stopped = f"{url}: stopped after {received:,} bytes ({reason}); try again"
                raise DownloadError(stopped) from error
            if not block:
                break
            received += len(block)
            if received > MAX_BYTES:
                raise DownloadError(f"{url}: over {MAX_BYTES:,} bytes, so this is not the course's data")
            file.write(block)
            digest.update(block)
            bar.update(len(block))
    if expected is not None and received != expected:
        raise DownloadError(f"{url}: stopped after {received:,} of {expected:,} bytes; try again")
    return digest.hexdigest()


def _words(reason: object) -> str:
    """What a server or the system says, on one line: some servers say rubbish, and Python hands it on."""
    return printable(" ".join(str(reason).split()))


def _extract(archive: Path, folder: Path) -> None:
    """Unpack plain files only. The checksum vouches for the archive; this is the second lock on the door."""
    total = count = 0
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                name = printable(member.name)
                odd = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
                if odd or not member.isfile():
                    raise DownloadError(f"the data archive holds {name!r}, which is no plain file below it")
                total, count = total + member.size, count + 1
                if total > MAX_BYTES or count > MAX_FILES:
                    raise DownloadError("the data archive unpacks to far more than the course's data has")
                target = folder.joinpath(*path.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as source, open(target, "wb") as file:
                    shutil.copyfileobj(source, file)
    except tarfile.TarError as error:
        raise DownloadError(f"the data archive cannot be unpacked ({error}); {_BY_HAND}") from error


# --- making and checking a release ------------------------------------------------------------------------


def embedded_files(folder: Path) -> list[str]:
    """The embedded files under `folder`: sorted relative paths with forward slashes, hidden ones left out."""
    found = []
    for name in EMBEDDED:
        top = folder / name
        for path in [top] if top.is_file() else top.rglob("*"):
            relative = path.relative_to(folder)
            if path.is_file() and not any(part.startswith(".") for part in relative.parts):
                found.append(relative.as_posix())
    return sorted(found)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_sums(folder: Path | None = None) -> Path:
    """Write ``SHA256SUMS`` for the embedded files, as the ``sha256sum`` command does, and return its path."""
    folder = folder or data_folder()
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in embedded_files(folder)]
    target = folder / SUMS
    temporary = target.with_name(f".{SUMS}-{uuid.uuid4().hex}")
    temporary.write_text("".join(lines), "utf-8", newline="\n")
    os.replace(temporary, target)
    return target


def verify_embedded(folder: Path | None = None) -> list[str]:
    """Compare the embedded files with ``SHA256SUMS``: one "path: missing|changed|extra" for each fault."""
    folder = folder or data_folder()
    sums = folder / SUMS
    if not sums.is_file():
        return [f"{SUMS}: missing"]
    expected: dict[str, str] = {}
    for line in sums.read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        expected[name] = digest
    present = set(embedded_files(folder))
    problems = []
    for name in sorted(expected.keys() | present):
        if name not in present:
            problems.append(f"{name}: missing")
        elif name not in expected:
            problems.append(f"{name}: extra, not in {SUMS}")
        elif _sha256(folder / name) != expected[name]:
            problems.append(f"{name}: changed")
    return problems


def pack_embedded(out_dir: str | Path, folder: Path | None = None) -> tuple[Path, str]:
    """Build the release archive; return its path and SHA-256. The same files always give the same bytes.

    Names are sorted, dates, owners and modes are fixed, and nothing is compressed (the JPEGs inside would not
    shrink, and compressors differ between versions).
    """
    folder = folder or data_folder()
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    version, _ = read_pin()
    target = out_dir / f"embedded-data-{version}.tar"
    temporary = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        with tarfile.open(temporary, "w:", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted([*embedded_files(folder), SUMS]):
                member = tarfile.TarInfo(name)  # by default mtime 0, uid 0, gid 0, mode 0o644, no owner
                member.size = (folder / name).stat().st_size
                with open(folder / name, "rb") as file:
                    tar.addfile(member, file)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target, _sha256(target)


def pin_embedded(version: str, sha256: str) -> None:
    """Write `version` and the archive's `sha256` into ``embedded.json``: a step of making a release."""
    temporary = PIN.with_name(f".{PIN.name}-{uuid.uuid4().hex}")
    temporary.write_text(json.dumps({"version": version, "sha256": sha256}, indent=2) + "\n", "utf-8")
    os.replace(temporary, PIN)

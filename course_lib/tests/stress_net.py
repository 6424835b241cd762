"""Stress: servers that stall, cut, lie; archives that climb out, link, or explode."""

from __future__ import annotations

import gzip
import http.server
import io
import random
import tarfile
import time
from pathlib import Path

from stress_kill import empty, make_archive, serving, tree
from stress_kit import Trials, mutate

from course_lib import DownloadError, embedded
from course_lib.embedded import fetch_embedded

MANNERS = (
    "good", "cut", "stall", "silent", "page", "gone", "broken", "moved", "circle", "drip", "long", "short",
    "nolength", "nolength-cut", "endless", "gzipped", "rude", "other",
)  # fmt: skip


class Moody(http.server.BaseHTTPRequestHandler):
    """Serves one archive in the manner that the path names, /MANNER/NUMBER/x.tar."""

    body = b""

    def do_GET(self):  # noqa: N802, the name http.server wants
        manner, number = self.path.strip("/").split("/")[:2]
        body, rng = self.body, random.Random(number)
        try:
            if manner in ("gone", "broken"):
                return self.send_error(404 if manner == "gone" else 500)
            if manner in ("moved", "circle"):
                self.send_response(302)
                self.send_header("Location", self.path.replace("moved", "good"))
                return self.end_headers()
            if manner == "rude":
                return self.wfile.write(rng.randbytes(2_000))
            if manner == "silent":
                return time.sleep(3)
            if manner == "page":
                body = b"<!DOCTYPE html><html>Please sign in</html>"
            elif manner == "other":
                body = mutate(rng, body, [body]) + b"x"
            elif manner == "gzipped":
                body = gzip.compress(body)
            self.send_response(200)
            if "length" not in manner and manner != "endless":
                announced = len(body) + {"long": 99, "short": -99}.get(manner, 0)
                self.send_header("Content-Length", str(announced))
            self.end_headers()
            at = rng.randrange(len(body))
            if "cut" in manner:
                self.wfile.write(body[:at])
            elif manner == "stall":
                self.wfile.write(body[:at])
                self.wfile.flush()
                time.sleep(3)
            elif manner == "drip":
                for start in range(0, len(body), len(body) // 20):
                    self.wfile.write(body[start : start + len(body) // 20])
                    self.wfile.flush()
                    time.sleep(0.02)
            elif manner == "endless":
                while True:
                    self.wfile.write(bytes(1 << 20))
            else:
                self.wfile.write(body)
        except OSError:
            return  # the client has had enough

    def log_message(self, *args):
        """Nothing on the screen."""


def network(trials: Trials) -> None:
    """A lost network at a random byte, and servers of all manners: the data, or one sentence and no trace."""
    archive, sha256, data = make_archive(trials.folder / "in", 12)
    Moody.body, whole = archive.read_bytes(), tree(data)
    out, good = trials.folder / "out", 0
    most, embedded.MAX_BYTES = embedded.MAX_BYTES, 5_000_000
    try:
        with serving(Moody) as address:
            while trials.more():
                empty(out)
                manner = MANNERS[trials.done % len(MANNERS)]
                url = f"{address}/{manner}/{trials.done}/x.tar"
                start = time.monotonic()
                if manner in ("good", "moved", "drip", "nolength"):
                    fetch_embedded(url, sha256, out / "data", timeout=0.5)
                    good += trials.check(tree(out / "data") == whole, f"{manner}: other files")
                else:
                    trials.refused(
                        DownloadError, lambda u=url: fetch_embedded(u, sha256, out / "data", 0.5), manner
                    )
                    trials.check(not list(out.iterdir()), f"{manner}: something stays behind")
                trials.check(time.monotonic() - start < 20, f"{manner}: {time.monotonic() - start:.0f} s")
                trials.done += 1
    finally:
        embedded.MAX_BYTES = most
    trials.notes.append(f"{len(MANNERS)} manners, {good} arrived whole")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar_of(*members: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for one in members:
            tar.addfile(one, io.BytesIO(bytes(one.size)))
    return file.getvalue()


def tricks(elsewhere: Path) -> dict[str, bytes]:
    """Archives that must be refused, by what is wrong with them; one aims at `elsewhere`, a whole path."""
    bomb = member("bomb", size=10**12)
    sparse = member("sparse", tarfile.GNUTYPE_SPARSE, size=10**12)
    found = {
        name: tar_of(member("studio/good", size=9), member(name, size=9))
        for name in (
            "../evil",
            "studio/../../evil",
            str(elsewhere),
            "c:evil",
            "studio\\..\\evil",
            "a/" * 60 + "../" * 61,
        )
    }
    for words, kind in (
        ("link out", tarfile.SYMTYPE), ("hard link", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE),
        ("device", tarfile.CHRTYPE), ("disk", tarfile.BLKTYPE), ("folder", tarfile.DIRTYPE),
    ):  # fmt: skip
        found[words] = tar_of(member("studio/x", kind, "/etc/passwd"), member("studio/x/evil"))
    found["a file as a folder"] = tar_of(member("a", size=1), member("a/b", size=1))
    found["an endless name"] = tar_of(member("x" * 5_000))
    found["bomb"] = bomb.tobuf() + bytes(1024)
    found["sparse bomb"] = sparse.tobuf() + bytes(1024)
    found["gzip bomb"] = gzip.compress(tar_of(member("zeros", size=50_000_000)))
    found["more files than allowed"] = tar_of(*(member(f"f{i}") for i in range(201)))
    found["NUL"] = tar_of(member("a\0b"), form=tarfile.PAX_FORMAT).replace(b"a\0b", b"\0\0b")
    return found


def archives(trials: Trials) -> None:
    """Archives that climb out, link or explode are refused, damaged ones too; nothing leaves the folder."""
    out, archive = trials.folder / "out", trials.folder / "x.tar"
    good, hostile = make_archive(trials.folder / "in", 6)[0].read_bytes(), tricks(trials.folder / "evil")
    embedded.MAX_FILES, most = 200, embedded.MAX_FILES
    head = good[:6_000] + bytes(1024)  # a few members: damage hits their headers more often
    refused = 0
    outside = {p for p in trials.folder.rglob("*")} | {archive}
    while trials.more():
        empty(out)
        if trials.done < len(hostile):
            name, content = list(hostile.items())[trials.done]
        else:
            rng = random.Random(f"{trials.seed} {trials.done}")
            name = f"damaged {trials.done}"
            content = mutate(
                rng, rng.choice([good, head, head, *list(hostile.values())[:12]]), list(hostile.values())[:14]
            )
            if rng.random() < 0.8:
                content = with_right_header_sums(content)
        archive.write_bytes(content)
        start = time.process_time()
        try:
            embedded._extract(archive, out / "data")
        except DownloadError as error:
            refused += 1
            trials.check("\n" not in str(error), f"{name}: not one line: {error}")
        except OSError as error:  # `fetch_embedded` turns these into its sentence
            refused += 1
            trials.check(
                trials.done >= len(hostile) or "file as" in name or "endless" in name, f"{name}: {error!r}"
            )
        except Exception as error:
            kept = trials.keep(content, f"archive-{trials.seed}-{trials.done}.tar")
            trials.check(False, f"{kept}: {type(error).__name__}: {error}")
        else:
            trials.check(trials.done >= len(hostile), f"{name} was unpacked")
        took = time.process_time() - start
        trials.check(took < 20, f"{name}: {took:.0f} s")
        sizes = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
        trials.check(sizes <= embedded.MAX_BYTES, f"{name}: unpacks to {sizes:,} bytes")
        links = [p for p in out.rglob("*") if p.is_symlink()]
        stray = {p for p in trials.folder.rglob("*") if out not in p.parents} - outside - {out}
        trials.check(not links and not stray, f"{name}: made {[*links, *stray][:2]}")
        trials.done += 1
    embedded.MAX_FILES = most
    trials.notes.append(f"{len(hostile)} tricks, {refused} refused")


def with_right_header_sums(content: bytes) -> bytes:
    """Damaged headers of a tar archive with the checksums that belong to them."""
    out = bytearray(content)
    for start in range(0, len(out) - 511, 512):
        if out[start + 257 : start + 262] == b"ustar":
            out[start + 148 : start + 156] = b" " * 8
            out[start + 148 : start + 156] = b"%06o\0 " % sum(out[start : start + 512])
    return bytes(out)


GROUPS = {"network": (network, 108), "archives": (archives, 2_000)}

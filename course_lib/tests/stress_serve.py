"""Stress: the service as the command starts it, and strangers who are slow, large, rude, or very many."""

from __future__ import annotations

import http.client
import os
import random
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stress_decode import seeds
from stress_kit import Trials, mutate
from toys import small_checkpoint

SECONDS = 2  # the service's --timeout here: no stranger may hold anything for much longer
MEMORY = 600  # MB that the service may grow by
BOUNDARY = b"three-green-apples"
NAMES = (
    "../../etc/passwd", "/etc/shadow", "C:\\Windows\\system.ini", "..", "a\0b.png", "x" * 4_000 + ".png",
    "\u202egnp.exe", "%2e%2e%2fevil.png", "file:///etc/passwd", "|ls", "`id`.png",
    "<script>alert(1)</script>.png", "con", "~/x.png",
)  # fmt: skip
KINDS = (
    "application/json", "text/plain", "image/png", "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/mixed; boundary=x", "application/x-www-form-urlencoded", "",
    "multipart/form-data; boundary=" + "b" * 5_000,
)  # fmt: skip


@contextmanager
def service(trials: Trials, *more: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """The command in a process of its own, in an empty folder; yields it and its port."""
    folder = small_checkpoint(trials.folder / "small")
    (trials.folder / "empty").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "course_lib", "serve", "--port", "0", "--checkpoint", str(folder)]
    command += ["--device", "cpu", "--timeout", str(SECONDS), *more]
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=trials.folder / "empty", env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    try:
        yield process, int(process.stdout.readline().rsplit(":", 1)[1])
    finally:
        process.kill()
        process.communicate()


def form(name: str, content: bytes) -> bytes:
    head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="' % BOUNDARY
    return head + name.encode() + b'"\r\n\r\n' + content + b"\r\n--%s--\r\n" % BOUNDARY


def ask(
    port: int, body: bytes | None = None, kind: str = "", path: str = "/predict/", **headers: str
) -> tuple[int, bytes]:
    """(status, content) of one request."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        kind = kind or f"multipart/form-data; boundary={BOUNDARY.decode()}"
        line.request("GET" if body is None else "POST", path, body, {"Content-Type": kind, **headers})
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def open_files(process: subprocess.Popen) -> int | None:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{process.pid}/fd"))


def megabytes(process: subprocess.Popen) -> float:
    with suppress(OSError):
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def closed_by_the_other(lines: list[socket.socket], until: float) -> int:
    """How many of these connections the service has ended by then."""
    rest, closed = list(lines), 0
    while rest and time.monotonic() < until:
        poll = select.poll()
        numbers = {line.fileno(): line for line in rest}
        for number in numbers:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(200):
            with suppress(OSError):
                if numbers[number].recv(65_536):
                    continue
            closed += 1
            rest.remove(numbers[number])
    return closed


def strangers(trials: Trials) -> None:
    """Wrong kinds, false lengths, path-like names, broken bodies: an honest status, nothing on the disk."""
    whole = [content for kind in ("PNG", "JPEG", "WEBP", "TIFF") for content in seeds(kind)]
    codes: dict[int | str, int] = {}
    with service(trials) as (process, port):
        ask(port, form("a.png", whole[6]))
        before = megabytes(process)
        while trials.more():
            rng, start = random.Random(f"{trials.seed} {trials.done}"), time.monotonic()
            body, kind, headers = form("a.png", rng.choice(whole)), "", {}
            what = ("name", "kind", "body", "length", "large", "chunks", "picture")[trials.done % 7]
            allowed: tuple = (200, 400, 413, 415, 422)
            if what == "name":
                name = rng.choice(NAMES)
                body = form(name, whole[6])
            elif what == "kind":
                kind = rng.choice(KINDS)
            elif what == "body":
                body = mutate(rng, body, [body, *whole])
            elif what == "length":  # it says more than it sends
                headers = {"Content-Length": str(len(body) + rng.choice((1, 10**6, 10**12)))}
                allowed = (400, 408, 413)
            elif what == "large":
                headers = {"Content-Length": "-5"} if rng.random() < 0.2 else {}
                body = body if headers else form("a.png", bytes(rng.choice((21_000_000, 70_000_000))))
                allowed = (400, 413, "cut")
            elif what == "chunks":
                body, allowed = iter([b"x" * 1_000_000] * 70), (400, 413, "cut")
            else:
                body = form("a.png", mutate(rng, rng.choice(whole), whole))
            try:
                status, content = ask(port, body, kind, **headers)
            except (ConnectionError, http.client.HTTPException):
                status, content = "cut", b""
            codes[status] = codes.get(status, 0) + 1
            trials.check(status in allowed, f"{what}: {status} {content[:200]!r}")
            trials.check(b"Traceback" not in content, f"{what}: a traceback")
            if what == "name" and status == 200:
                shown = content.decode().split('"name":"')[1].split('"')[0]
                trials.check("/" not in shown, f"name: shown as {shown!r}")
            took = time.monotonic() - start
            trials.check(took < 5 * SECONDS + 5, f"{what}: {took:.0f} s")
            trials.done += 1
        trials.check(ask(port, None, path="/health")[0] == 200, "it is dead")
        grown = megabytes(process) - before
        trials.check(grown < MEMORY, f"{grown:.0f} MB more than before")
        written = list((trials.folder / "empty").rglob("*"))
        trials.check(not written, f"it wrote {written[:3]}")
    told = ", ".join(f"{count} × {code}" for code, count in sorted(codes.items(), key=str))
    trials.notes.append(f"{told}, grown by {grown:.0f} MB")


def slow_loris(trials: Trials) -> None:
    """Connections that send a header, or a body, byte by byte, or nothing: ended soon; others are served."""
    header = b"POST /predict/ HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\nX-A: "
    kind = b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    with service(trials, "--at-once", "8") as (process, port):
        base = open_files(process)
        lines = []
        for number in range(trials.wanted):
            line = socket.create_connection(("127.0.0.1", port), timeout=10)
            if number % 4 == 1:
                line.sendall(header)  # never ends
            elif number % 4 == 2:
                line.sendall(header[:-5] + kind + b"--x\r\n")  # a body that never comes
            elif number % 4 == 3:
                line.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")  # one request, then half another
                line.recv(65_536)
                line.sendall(header)
            lines.append(line)
        start, end = time.monotonic(), time.monotonic() + 6 * SECONDS + 10
        slowest = 0.0
        while time.monotonic() - start < SECONDS:  # a byte now and then, as the real ones do
            for line in lines[1::4]:
                with suppress(OSError):
                    line.sendall(b"a")
            asked = time.monotonic()
            trials.check(ask(port, None, path="/health")[0] == 200, "others are not served")
            slowest = max(slowest, time.monotonic() - asked)
        closed = closed_by_the_other(lines, end)
        trials.check(
            closed == len(lines), f"{len(lines) - closed} of {len(lines)} connections are still held"
        )
        status, _ = ask(port, form("a.png", seeds("PNG")[0]))
        trials.check(status == 200, f"then a picture got {status}")
        for line in lines:
            line.close()
        time.sleep(1)
        left = open_files(process)
        trials.check(left is None or left <= base + 5, f"{left} files open, {base} before")
        trials.done = len(lines)
    trials.notes.append(f"{closed} ended by the service, others answered within {slowest:.1f} s")


def thousands(trials: Trials) -> None:
    """Thousands of open connections, and requests over them; memory and open files come back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 100_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, max(soft, trials.wanted + 500)), hard))
    lines = []
    with service(trials, "--timeout", "60") as (process, port):
        ask(port, form("a.png", seeds("PNG")[0]))
        base, before = open_files(process), megabytes(process)
        for _ in range(trials.wanted):
            lines.append(socket.create_connection(("127.0.0.1", port), timeout=30))
            trials.done += 1
        answered = 0
        for line in lines:
            with suppress(OSError):
                line.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for line in lines:
            with suppress(OSError):
                answered += line.recv(4_096).startswith(b"HTTP/1.1 200")
        trials.check(answered == len(lines), f"{answered} of {len(lines)} were answered")
        status, _ = ask(port, form("a.png", seeds("PNG")[0]))
        trials.check(status == 200, f"one more, with a picture, got {status}")
        grown = megabytes(process) - before
        trials.check(grown < MEMORY, f"{grown:.0f} MB more than before")
        for line in lines:
            line.close()
        end = time.monotonic() + 20
        while (left := open_files(process)) and left > base + 5 and time.monotonic() < end:
            time.sleep(0.2)
        trials.check(left is None or left <= base + 5, f"{left} files open, {base} before")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    trials.notes.append(f"{answered} answered, grown by {grown:.0f} MB")


def loopback(trials: Trials) -> None:
    """Nobody but this computer reaches the service unless it was told otherwise."""
    with service(trials) as (process, port):
        table = Path("/proc/net/tcp")
        rows = [row.split() for row in table.read_text().splitlines()[1:]] if table.exists() else []
        where = [row[1] for row in rows if row[3] == "0A"]  # those that listen
        mine = [place for place in where if place.endswith(f":{port:04X}")]
        trials.check(not where or mine == [f"0100007F:{port:04X}"], f"it listens at {mine}")
        own = [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
        for address in {a for a in own if not a.startswith("127.")}:
            with suppress(OSError):
                socket.create_connection((address, port), timeout=2).close()
                trials.check(False, f"it answers at {address}")
        trials.check(
            ask(port, None, path="/health", Host="evil.example")[0] == 400, "another host's name is taken"
        )
        trials.done = 1
    trials.notes.append(f"listens at {mine or 'loopback'}, tried {len(set(own))} own addresses")


GROUPS = {
    "serve-strangers": (strangers, 420),
    "serve-slow": (slow_loris, 400),
    "serve-thousands": (thousands, 3_000),
    "serve-loopback": (loopback, 1),
}

"""The service under load: many clients at once, real pictures, a minute. Prints JSON.

    python figures/bench/load_serve.py --clients 64 --seconds 60

A client sends a picture of `studio`'s test set, waits for the answer, and sends the next. Told 503, it waits
as many seconds as the answer says, as a polite program does. Counted: answers by status, pictures a second,
seconds until an answer that is a verdict (median and the 95th of 100), the same from the first asking on
(refusals and waiting included), and the memory of the service a third of the way and at the end. An answer
that is neither a verdict nor 503 ends it with an error. Clients and service share the machine, so all numbers
are worse than with the clients elsewhere. `make bench` has rows of it.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BOUNDARY = "three-green-apples"


@dataclass
class Load:
    """What the clients of one stretch of load were answered."""

    codes: Counter = field(default_factory=Counter)  # status, or the name of what broke the line: how often
    answered: list[float] = field(default_factory=list)  # seconds, of each request that got a verdict
    waited: list[float] = field(default_factory=list)  # the same, from the first asking on
    took: float = 0.0
    megabytes: tuple[float | None, float | None] = (None, None)  # a third of the way, at the end

    def rate(self) -> float:
        """Pictures a second."""
        return len(self.answered) / self.took


def bodies_of(count: int = 200) -> list[bytes]:
    """Requests with one picture each."""
    from course_lib import load

    return [body_of(Path(path)) for path in load("studio").test.paths[:count]]


def body_of(path: Path) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    return head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


@contextlib.contextmanager
def service(*arguments: str) -> Iterator[tuple[int, int]]:
    """The command, as anybody starts it; yields (port, process id)."""
    command = [sys.executable, "-m", "course_lib", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline().rsplit(":", 1)[1]), process.pid
    finally:
        process.terminate()
        process.wait(30)


def client(port: int, bodies: list[bytes], until: float, seed: int, found: Load) -> None:
    """Ask until the time is up."""
    rng, line = random.Random(seed), http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    first = None
    while time.monotonic() < until:
        start = time.monotonic()
        first = start if first is None else first
        try:
            line.request("POST", "/predict/", rng.choice(bodies), headers)
            answer = line.getresponse()
            content, code = answer.read(), answer.status
            if code == 200 and not 0 <= json.loads(content)["pictures"][0]["p_fake"] <= 1:
                code = "200 without a probability"
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            line.close()
            code = type(error).__name__
        found.codes[code] += 1
        if code == 200:
            found.answered.append(time.monotonic() - start)
            found.waited.append(time.monotonic() - first)
            first = None
        elif code == 503:
            time.sleep(float(answer.headers["Retry-After"]))


def resident(pid: int) -> float | None:
    """Megabytes of a process in memory; None where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return None


def put_under_load(port: int, pid: int, bodies: list[bytes], clients: int, seconds: float) -> Load:
    """So many clients at once for so long. An answer that is neither a verdict nor 503 raises."""
    found, start = Load(), time.monotonic()
    threads = [
        threading.Thread(target=client, args=(port, bodies, start + seconds, seed, found))
        for seed in range(clients)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 3)
    early = resident(pid)
    for thread in threads:
        thread.join()
    found.took, found.megabytes = time.monotonic() - start, (early, resident(pid))
    if set(found.codes) - {200, 503} or not found.answered:
        raise RuntimeError(f"an answer that is neither a verdict nor 503, or no verdict: {found.codes}")
    return found


def rows(row, runs: int, clients: int = 64, seconds: float = 60, checkpoint: str = "studio") -> list[dict]:
    """For bench.json: with batches (ours) against one picture at a time (the peer), taken in turn.

    First a stretch of `seconds` with batches alone, for the memory and the waiting; then `runs` short ones of
    both. `row` makes a row.
    """
    bodies = bodies_of()
    chosen = ("--checkpoint", checkpoint)
    with service(*chosen) as ours, service(*chosen, "--batch", "1") as peer:
        long = put_under_load(*ours, bodies, clients, seconds)
        print(json.dumps(as_told(long, clients), indent=2), file=sys.stderr)
        short = max(1.0, seconds / 6)
        rounds = [[put_under_load(*one, bodies, clients, short) for one in (ours, peer)] for _ in range(runs)]

    def middle(value) -> list[float]:
        return [statistics.median(value(round[i]) for round in rounds) for i in (0, 1)]

    def quantile(q: float):
        return lambda found: float(np.quantile(found.answered, q))

    of = f"service, {clients} clients"
    against = "batches of what waits against one picture at a time"
    made = [
        row(f"{of}: {against}", *middle(Load.rate), "images/s", True, runs),
        row(f"{of}, median wait for an answer: {against}", *middle(quantile(0.5)), "s", False, runs),
        row(f"{of}, 95 of 100 answers come within: {against}", *middle(quantile(0.95)), "s", False, runs),
    ]
    early, late = long.megabytes
    if early and late:
        words = f"{of}, its memory after {seconds:g} s of load against after {seconds / 3:g} s"
        made.append(row(words, late, early, "MB", False, 1, goal=0.95))
    return made


def as_told(found: Load, clients: int) -> dict:
    """For people."""
    early, late = found.megabytes
    return {
        "clients": clients,
        "seconds": round(found.took, 1),
        "answers": {str(code): number for code, number in found.codes.most_common()},
        "pictures a second": round(found.rate(), 1),
        "seconds to an answer, median": round(float(np.median(found.answered)), 3),
        "seconds to an answer, 95 of 100": round(float(np.quantile(found.answered, 0.95)), 3),
        "from the first asking on, median": round(float(np.median(found.waited)), 3),
        "from the first asking on, 95 of 100": round(float(np.quantile(found.waited, 0.95)), 3),
        "service, MB after a third": early and round(early),
        "service, MB at the end": late and round(late),
        "processors": os.cpu_count(),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--clients", type=int, default=64)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument(
        "--at-once", type=int, default=32, help="requests the service works on; more get 503"
    )
    options.add_argument("--batch", type=int, default=32, help="pictures it may judge together")
    options.add_argument("--checkpoint", default="studio")
    options = options.parse_args()
    arguments = ("--at-once", str(options.at_once), "--batch", str(options.batch))
    with service("--checkpoint", options.checkpoint, *arguments) as (port, pid):
        found = put_under_load(port, pid, bodies_of(), options.clients, options.seconds)
    print(json.dumps(as_told(found, options.clients), indent=2))


if __name__ == "__main__":
    main()

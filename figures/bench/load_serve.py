"""The service under load: many clients at once, real pictures, a minute. Run by hand; prints JSON.

    python figures/bench/load_serve.py --clients 64 --seconds 60

A client sends a picture of `studio`'s test set, waits for the answer, and sends the next. Told 503, it waits
as many seconds as the answer says, as a polite program does. Counted: answers by status, pictures a second,
seconds until a verdict (median and the 95th of 100), and the memory of the service a third of the way and at
the end. Clients and service share the machine, so both numbers are lower than with the clients elsewhere.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

BOUNDARY = "three-green-apples"


def body_of(path: Path) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    return head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


def client(
    port: int, bodies: list[bytes], until: float, seed: int, codes: Counter, seconds: list[float]
) -> None:
    """Ask until the time is up."""
    rng, line = random.Random(seed), http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    while time.monotonic() < until:
        start = time.monotonic()
        try:
            line.request("POST", "/predict/", rng.choice(bodies), headers)
            answer = line.getresponse()
            told, code = json.loads(answer.read()), answer.status
        except (OSError, http.client.HTTPException) as error:
            line.close()
            code, told = type(error).__name__, {}
        codes[code] += 1
        if code == 200:
            assert 0 <= told["pictures"][0]["p_fake"] <= 1
            seconds.append(time.monotonic() - start)
        elif code == 503:
            time.sleep(float(answer.headers["Retry-After"]))


def resident(pid: int) -> float | None:
    """Megabytes of a process in memory; None where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return None


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--clients", type=int, default=64)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--at-once", type=int, default=32)
    options.add_argument("--checkpoint", default="studio")
    options = options.parse_args()
    from course_lib import load

    bodies = [body_of(Path(path)) for path in load("studio").test.paths[:200]]
    command = [sys.executable, "-m", "course_lib", "serve", "--port", "0", "--checkpoint", options.checkpoint]
    service = subprocess.Popen(
        [*command, "--at-once", str(options.at_once)], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(service.stdout.readline().rsplit(":", 1)[1])
        codes, seconds, start = Counter(), [], time.monotonic()
        until = start + options.seconds
        clients = [
            threading.Thread(target=client, args=(port, bodies, until, seed, codes, seconds))
            for seed in range(options.clients)
        ]
        for thread in clients:
            thread.start()
        time.sleep(options.seconds / 3)
        early = resident(service.pid)
        for thread in clients:
            thread.join()
        took, late = time.monotonic() - start, resident(service.pid)
    finally:
        service.terminate()
        service.wait(30)
    result = {
        "clients": options.clients,
        "seconds": round(took, 1),
        "answers": {str(code): number for code, number in codes.most_common()},
        "pictures a second": round(len(seconds) / took, 1),
        "seconds to a verdict, median": round(float(np.median(seconds)), 3),
        "seconds to a verdict, 95 of 100": round(float(np.percentile(seconds, 95)), 3),
        "service, MB after a third": early and round(early),
        "service, MB at the end": late and round(late),
        "processors": os.cpu_count(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

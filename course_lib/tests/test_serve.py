"""The service: the detector's own numbers, honest statuses whatever a stranger sends, bounds that hold."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from toys import small_checkpoint

from course_lib import CourseError, Detector, __main__, widgets
from course_lib.score import score_folder

pytest.importorskip("fastapi", reason="needs the extra serve")
httpx = pytest.importorskip("httpx")
import uvicorn  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

from course_lib.serve import MEANINGS, Limits, create_app, serve  # noqa: E402

SMALL = Limits(file_bytes=50_000, request_bytes=200_000, files=3, pixels=10_000, at_once=4, seconds=20)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return small_checkpoint(tmp_path_factory.mktemp("c") / "small", card="# The card")


@pytest.fixture(scope="module")
def detector(checkpoint):
    return Detector.load(checkpoint, device="cpu")


def picture(seed=0, width=60, height=50, kind="PNG") -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG that announces 30,000 x 30,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return png + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def form(*files):
    return [("file", (name, content)) for name, content in files]


@pytest.fixture(scope="module")
def client(detector):
    with TestClient(create_app(detector, SMALL)) as client:
        yield client


# -------------------------------------------------------------------------------------------------- verdicts
def test_one_picture(client, detector):
    answer = client.post("/predict/", files=form(("a.png", picture())))
    body, (p,) = answer.json(), detector(picture())
    assert answer.status_code == 200 and list(body) == ["model", "threshold", "pictures", "seconds"]
    assert body["model"] == detector.id and body["threshold"] == 0.4
    (judged,) = body["pictures"]
    assert judged == {"name": "a.png", "label": detector.label(p), "p_fake": pytest.approx(p, abs=1e-6)}
    times = body["seconds"]
    assert 0 <= times["decode"] and 0 < times["judge"] <= times["total"] < 60


def test_many_pictures_of_many_sizes_keep_their_order(client, detector):
    contents = [picture(0, 60, 50), picture(1, 33, 90, "JPEG"), picture(2, 40, 40, "BMP")]
    body = client.post("/predict/", files=form(*((f"{i}.png", c) for i, c in enumerate(contents)))).json()
    np.testing.assert_allclose([x["p_fake"] for x in body["pictures"]], detector(contents), atol=1e-6)
    assert [x["name"] for x in body["pictures"]] == ["0.png", "1.png", "2.png"]


def test_the_path_without_its_last_slash(client):
    assert client.post("/predict", files=form(("a.png", picture()))).status_code == 200


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\anna\\me.jpg", "me.jpg"),
        ("/", "unnamed file"),
        ("..", ".."),
        ("<img src=x onerror=alert(1)>.jpg", "<img src=x onerror=alert(1)>.jpg"),  # JSON: the page escapes
        ("a\u202eb.jpg", "a\N{REPLACEMENT CHARACTER}b.jpg"),
        ("x" * 3000, None),
        ("наташа 😀.jpg", "наташа 😀.jpg"),
    ],
)
def test_names_are_only_words(client, sent, shown):
    answer = client.post("/predict/", files=form((sent, picture())))
    name = answer.json()["pictures"][0]["name"]
    assert answer.status_code == 200 and len(name) <= 101 and (shown is None or name == shown)


def test_the_same_probability_by_every_way(tmp_path, checkpoint, detector, client, capsys):
    """Notebook, uploader, HTTP (which is what the page asks), shell and table: the same four digits."""
    pytest.importorskip("pyarrow")
    for seed in range(6):
        (tmp_path / f"{seed}.png").write_bytes(picture(seed))
    paths = sorted(map(str, tmp_path.glob("*.png")))
    ways = {"notebook": detector(paths).tolist()}
    ways["uploader"] = [result.p_fake for result in widgets.Uploader([detector]).add(paths)]
    one_by_one = [client.post("/predict/", files=form((p, open(p, "rb").read()))).json() for p in paths]
    ways["http"] = [body["pictures"][0]["p_fake"] for body in one_by_one]
    assert (
        __main__.main(["predict", "--json", "--device", "cpu", "--checkpoint", str(checkpoint), *paths]) == 0
    )
    ways["shell"] = [row["p_fake"] for row in json.loads(capsys.readouterr().out)]
    out = score_folder(tmp_path, tmp_path / "s.parquet", detector).out
    import pandas as pd

    ways["table"] = pd.read_parquet(out).p_fake.tolist()
    assert len({*np.round(ways["notebook"], 4)}) == 6
    assert len({tuple(f"{p:.4f}" for p in values) for values in ways.values()}) == 1, ways


# -------------------------------------------------------------------------------------------------- refusals
GOOD = picture()
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
MULTI = {"content-type": "multipart/form-data; boundary=x"}
REFUSALS = {
    "a text file": (415, "not an image", dict(files=form(("a.jpg", b"milk")))),
    "an empty file": (415, "is empty", dict(files=form(("a.jpg", b"")))),
    "a PDF": (415, "PDF", dict(files=form(("a.jpg", b"%PDF-1.7 ...")))),
    "half a picture": (422, "damaged", dict(files=form(("a.png", GOOD[: len(GOOD) // 2])))),
    "too small": (422, "at least 32", dict(files=form(("a.png", picture(0, 31, 31))))),
    "a large file": (413, "0.1 MB", dict(files=form(("a.png", GOOD + bytes(60_000))))),
    "many pixels": (413, "pixels", dict(files=form(("a.png", picture(0, 101, 100))))),
    "a bomb": (413, "pixels", dict(files=form(("a.png", bomb())))),
    "many files": (413, "4 pictures", dict(files=form(*[("a.png", GOOD)] * 4))),
    "a large request": (413, "one request", dict(files=form(*[("a.png", bytes(49_000))] * 5))),
    "a good and a bad one": (415, "b.png", dict(files=form(("a.png", GOOD), ("b.png", b"no")))),
    "JSON": (415, "multipart/form-data", dict(json={"file": "a.jpg"})),
    "a bare body": (415, "multipart/form-data", dict(content=GOOD)),
    "a picture's own type": (
        415, "image/png", dict(content=GOOD, headers={"content-type": "image/png"}),
    ),
    "another field": (422, "named file", dict(files=[("picture", ("a.png", GOOD))])),
    "text in the field": (422, "named file", dict(data={"file": "hello"}, files=[("x", ("a", b""))])),
    "no boundary": (400, "boundary", dict(content=b"x", headers={"content-type": "multipart/form-data"})),
    "a broken body": (400, "not valid", dict(content=b"nonsense", headers=MULTI)),
    "an empty body": (400, "ends before", dict(content=b"", headers=MULTI)),
    "an empty form": (422, "named file", dict(content=b"--x--\r\n", headers=MULTI)),
    "a form cut off after its first file": (
        400, "ends before",
        dict(content=PART + GOOD + b"\r\n" + PART + GOOD[:90], headers=MULTI),
    ),
    "a cut off body": (400, "ends before", dict(content=PART + b"broken", headers=MULTI)),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_a_refusal_is_a_status_and_one_sentence(client, case):
    status, says, request = REFUSALS[case]
    answer = client.post("/predict/", **request)
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert says in body["error"] and "\n" not in body["error"] and "p_fake" not in answer.text
    assert "Traceback" not in answer.text and "/tmp" not in answer.text
    assert client.get("/health").json()["in_work"] == 0


def test_every_bad_file_is_named(client):
    files = form(("a.png", b"no"), ("b.png", GOOD), ("c.png", GOOD[:80]))
    answer = client.post("/predict/", files=files)
    assert answer.status_code == 415 and [x["name"] for x in answer.json()["pictures"]] == ["a.png", "c.png"]


def test_a_body_of_unknown_length_is_measured_on_its_way(client):
    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1_000):
            yield bytes(1_000)

    assert client.post("/predict/", content=endless(), headers=MULTI).status_code == 413


def test_wrong_paths_and_verbs_answer_in_the_same_form(client):
    for method, path, status in (
        ("GET", "/predict/", 405),
        ("GET", "/nothing", 404),
        ("POST", "/model", 405),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status and answer.json()["error"]


def test_a_monitor_may_ask_for_the_header_alone(client):
    for path in ("/", "/health"):
        assert client.head(path).status_code == 200
    assert client.head("/predict/").status_code == 405


def test_a_stranger_s_host_name_is_refused(detector):
    with TestClient(create_app(detector, SMALL, ["127.0.0.1", "localhost"]), "http://evil.example") as client:
        assert client.get("/model").status_code == 400
        assert client.get("/model", headers={"host": "localhost:8000"}).status_code == 200


class Broken(Detector):
    """Fails once, as a network on a full graphics card does."""

    failed = False

    def judge(self, windows, batch_size=64):
        if not self.failed:
            self.failed = True
            raise RuntimeError("secret path /home/anna: out of memory")
        return super().judge(windows, batch_size)


def test_a_fault_of_ours_is_500_and_the_service_goes_on(detector):
    app = create_app(Broken(detector.model, device="cpu"), SMALL)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/predict/", files=form(("a.png", GOOD)))
        assert (
            answer.status_code == 500
            and "secret" not in answer.text
            and "RuntimeError" in answer.json()["error"]
        )
        assert client.post("/predict/", files=form(("a.png", GOOD))).status_code == 200


# --------------------------------------------------------------------------------------- under load, for real
class Gated(Detector):
    """Judges only while the gate is open."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.gate, self.entered = threading.Event(), threading.Event()

    def judge(self, windows, batch_size=64):
        self.entered.set()
        assert self.gate.wait(60)
        return super().judge(windows, batch_size)


@contextlib.contextmanager
def running(detector, limits):
    """A real server on the loopback; yields (address, app)."""
    app = create_app(detector, limits)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", app
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


def send(base, seed=0):
    return httpx.post(f"{base}/predict/", files=form((f"{seed}.png", picture(seed))), timeout=60)


def test_more_than_allowed_at_once_is_503_and_the_others_get_theirs(detector):
    gated = Gated(detector.model, device="cpu", threshold=0.4)
    with running(gated, SMALL) as (base, _), ThreadPoolExecutor(8) as clients:
        waiting = [clients.submit(send, base, seed) for seed in range(4)]
        assert gated.entered.wait(60)
        end = time.monotonic() + 60
        while httpx.get(f"{base}/health").json()["in_work"] < 4:
            assert time.monotonic() < end
        refused = [send(base, seed) for seed in range(4, 9)]
        gated.gate.set()
        answers = [future.result() for future in waiting]
        assert send(base, 4).status_code == 200
    assert [a.status_code for a in refused] == [503] * 5
    assert all(a.headers["Retry-After"] == "1" and "try again" in a.json()["error"] for a in refused)
    assert [a.status_code for a in answers] == [200] * 4
    found = [a.json()["pictures"][0]["p_fake"] for a in answers]
    np.testing.assert_allclose(found, detector([picture(seed) for seed in range(4)]), atol=1e-6)


def test_batches_form_by_themselves_and_each_gets_its_own(detector):
    gated = Gated(detector.model, device="cpu")
    with running(gated, Limits(at_once=64)) as (base, app), ThreadPoolExecutor(13) as clients:
        first = clients.submit(send, base, 0)
        assert gated.entered.wait(60)
        rest = [clients.submit(send, base, seed) for seed in range(1, 13)]
        end = time.monotonic() + 60
        while httpx.get(f"{base}/health").json()["waiting"] < 12:
            assert time.monotonic() < end
        gated.gate.set()
        found = [f.result().json()["pictures"][0]["p_fake"] for f in (first, *rest)]
        assert app.state.batcher.sizes == [1, 12]
    np.testing.assert_allclose(found, detector([picture(seed) for seed in range(13)]), atol=1e-6)


def test_who_waits_too_long_is_told_and_nothing_stays_behind(detector):
    gated = Gated(detector.model, device="cpu")
    with running(gated, Limits(seconds=0.5)) as (base, app):
        answer = send(base)
        assert answer.status_code == 503 and "no verdict within 0.5 seconds" in answer.json()["error"]
        assert httpx.get(f"{base}/health").json()["in_work"] == 0
        gated.gate.set()


def test_a_slow_upload_ends(detector):
    with running(detector, Limits(seconds=0.5)) as (base, _):
        host, port = base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as wire:
            wire.sendall(b"POST /predict/ HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n")
            wire.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
            assert wire.recv(4096).startswith(b"HTTP/1.1 408")
        assert httpx.get(f"{base}/health").json()["in_work"] == 0


def test_a_client_that_leaves_frees_its_place_and_is_no_fault_of_ours(detector, capfd):
    with running(detector, SMALL) as (base, _):
        host, port = base.removeprefix("http://").split(":")
        for _ in range(6):
            with socket.create_connection((host, int(port))) as wire:
                wire.sendall(b"POST /predict/ HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n")
                wire.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
        end = time.monotonic() + 30
        while httpx.get(f"{base}/health").json()["in_work"]:
            assert time.monotonic() < end
        assert send(base).status_code == 200
    assert "Traceback" not in capfd.readouterr().err


# ------------------------------------------------------------------------------------- what it says of itself
def test_model(client, detector):
    body = client.get("/model").json()
    assert body["model"] == detector.id and re.fullmatch(r"small@[0-9a-f]{12}", detector.id)
    assert body["threshold"] == 0.4 and body["class_names"] == ["real", "fake"] and body["temperature"] == 1
    assert (
        body["card"] == "# The card" and body["limits"]["files"] == 3 and body["preprocessing"]["crop"] == 0
    )


def test_openapi_has_every_status_and_examples(client):
    spec = client.get("/openapi.json").json()
    post = spec["paths"]["/predict/"]["post"]
    assert set(post["responses"]) == {"200", *map(str, MEANINGS)}
    schema = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["file"] and schema["properties"]["file"]["items"]["format"] == "binary"
    assert schema["properties"]["file"]["maxItems"] == SMALL.files and "curl -F file=@" in post["description"]
    for name in ("Verdicts", "Judged", "Timing", "Refused", "Bad", "Model", "Health"):
        for field, words in spec["components"]["schemas"][name]["properties"].items():
            assert "examples" in words or "$ref" in words or field == "pictures", (name, field)
    for path in ("/model", "/health"):
        found = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert found["$ref"].endswith(path.removeprefix("/").title())


def test_the_examples_of_refusals_are_what_comes(detector):
    """Sent for real, with the limits that a service has when nobody says otherwise."""
    requests = {
        400: dict(content=PART + b"broken", headers=MULTI),
        413: dict(files=form(("anna.jpg", picture() + bytes(25_000_000 - len(picture()))))),
        415: dict(files=form(("anna.jpg", b"milk"))),
        422: dict(files=form(("anna.jpg", picture(0, 31, 31)))),
    }
    with TestClient(create_app(detector)) as client:
        post = client.get("/openapi.json").json()["paths"]["/predict/"]["post"]
        for status, request in requests.items():
            answer = client.post("/predict/", **request)
            example = post["responses"][str(status)]["content"]["application/json"]["example"]
            assert answer.status_code == status and answer.json() == example


def test_the_page_loads_nothing_and_runs_only_its_own_script(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert answer.headers["content-type"].startswith("text/html") and "default-src 'none'" in policy
    assert "unsafe" not in policy and not re.search(r"https?://|innerHTML", answer.text)
    assert '<html lang="en">' in answer.text and '<label for="files">' in answer.text


# ------------------------------------------------------------------------------------------------ the command
@contextlib.contextmanager
def command(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-m", "course_lib", "serve", "--device", "cpu", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_command_says_its_address_serves_and_stops(checkpoint, detector):
    with command("--port", "0", "--checkpoint", str(checkpoint), "--threshold", "0.3") as process:
        base = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", base), process.stderr.read()
        judged = send(base).json()
        assert judged["threshold"] == 0.3 and judged["pictures"][0]["p_fake"] == pytest.approx(
            detector(GOOD)[0]
        )
        with command("--port", base.rsplit(":", 1)[1], "--checkpoint", str(checkpoint)) as second:
            _, errors = second.communicate(timeout=120)
            assert second.returncode == 1 and "choose another --port" in errors and "Traceback" not in errors
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
        assert process.returncode == 0 and "Traceback" not in errors
        with pytest.raises(OSError):
            urllib.request.urlopen(base, timeout=5)


def test_other_addresses_come_with_a_warning(checkpoint):
    with command("--host", "0.0.0.0", "--port", "0", "--checkpoint", str(checkpoint)) as process:
        assert process.stdout.readline().startswith("http://0.0.0.0:")
        assert "no password" in process.stdout.readline()


@pytest.mark.parametrize("host", ["", "a..b", "a.b..\u00e4", "a\0b", "x" * 300])
def test_a_host_that_cannot_be_one(host, detector):
    with pytest.raises(CourseError, match="choose another --host") as caught:
        serve(detector, host, 0)
    assert "\n" not in str(caught.value)


def test_without_the_extra_one_sentence():
    code = "import sys; sys.modules['uvicorn'] = None; from course_lib.__main__ import main; "
    code += "sys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "facenest-course[serve]" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "wrong",
    [["--port", "99999"], ["--port", "x"], ["--at-once", "0"], ["--max-mb", "-1"], ["--batch", "0"]],
)
def test_wrong_options(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(["serve", *wrong])
    assert ended.value.code == 2 and "Traceback" not in capsys.readouterr().err

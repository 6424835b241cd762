"""The detector as a web service: ``python -m course_lib serve`` (extra `serve`: FastAPI and uvicorn).

``POST /predict/``  one or more pictures as multipart field ``file`` -> label, P(fake), threshold, model, time
``GET /model``      which detector this is, how pictures are prepared, what the limits are
``GET /health``     200 while it works; how much is waiting
``GET /``           a small web page that uses the above

Three ideas. *Nothing is believed*: bytes, files and pixels have bounds, and so has the time. *A refusal is a
status, never a 200*: 400 a body that cannot be parsed, 413 too large, 415 no picture, 422 a picture that
cannot be judged or none at all, 503 too much to do. *Batches form by themselves*: while the network judges,
new pictures queue up, and then all that wait go together (`Batcher`).

Whoever can reach the address may use it: there is no password, so by default that is this computer alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from .checkpoints import MIN_SIDE
from .errors import CourseError, ImageError, NotAnImageError, TooLargeError
from .images import FORMATS, printable
from .predict import Detector
from .serve_page import HEADERS, PAGE

try:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import HTMLResponse, JSONResponse
    from pydantic import BaseModel, Field
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.formparsers import MultiPartException, MultiPartParser
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect

    from .patience import patient
except ImportError as missing:
    raise CourseError(
        f"The service needs the package {missing.name}: pip install 'facenest-course[serve]'"
    ) from None

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Limits:
    """What one stranger may ask for. Sizes in bytes, `pixels` of one picture, `seconds` for one request.

    at_once: requests that may be in work together; the next one is told 503. files: pictures in one request.
    batch: pictures that the network may be given together.
    """

    file_bytes: int = 20_000_000
    request_bytes: int = 64_000_000
    files: int = 32
    pixels: int = 50_000_000
    at_once: int = 32
    seconds: float = 30.0
    batch: int = 32


# ------------------------------------------------------------------------------------ what goes over the wire
class Judged(BaseModel):
    """One picture's verdict."""

    name: str = Field(
        description="the file's name as it was sent, without its folders", examples=["anna.jpg"]
    )
    label: str = Field(description="fake from the threshold on, else real", examples=["fake"])
    p_fake: float = Field(ge=0, le=1, description="probability of fake, 0 to 1", examples=[0.9876])


class Timing(BaseModel):
    """Seconds of this request: reading and decoding, waiting for the network and judging, all together."""

    decode: float = Field(examples=[0.004])
    judge: float = Field(examples=[0.021])
    total: float = Field(examples=[0.026])


class Verdicts(BaseModel):
    """The answer to a request in which every picture could be judged."""

    model: str = Field(description="name and fingerprint", examples=["studio@b9af2f4b9f2c"])
    threshold: float = Field(ge=0, le=1, examples=[0.5059])
    pictures: list[Judged]
    seconds: Timing


class Bad(BaseModel):
    """One file that could not be judged."""

    name: str = Field(examples=["letter.pdf"])
    error: str = Field(examples=["letter.pdf: this is a PDF document; export its picture as JPEG or PNG"])


class Refused(BaseModel):
    """Why a request got no verdicts, in one sentence; `pictures` names the files it is about."""

    error: str = Field(examples=["letter.pdf: this is a PDF document; export its picture as JPEG or PNG"])
    pictures: list[Bad] = Field(default=[])


class Model(BaseModel):
    """Which detector answers, how it prepares pictures, what it accepts."""

    model: str = Field(description="name and fingerprint", examples=["studio@b9af2f4b9f2c"])
    threshold: float = Field(ge=0, le=1, description="fake from this P(fake) on", examples=[0.5059])
    temperature: float = Field(
        gt=0, description="every logit is divided by it before it becomes a probability", examples=[0.79]
    )
    class_names: list[str] = Field(examples=[["real", "fake"]])
    preprocessing: dict[str, int | float | None] = Field(
        description="what is done to a decoded picture",
        examples=[{"side": None, "crop": 0, "crops": 1, "mean": 0.5, "std": 0.25}],
    )
    formats: list[str] = Field(examples=[list(FORMATS)])
    min_side: int = Field(description="pixels", examples=[MIN_SIDE])
    limits: dict[str, int | float] = Field(
        description="bytes of a file and of a request, files, pixels, requests at once, seconds, batch",
        examples=[asdict(Limits())],
    )
    device: str = Field(examples=["cpu", "cuda"])
    card: str = Field(description="the model card, Markdown", examples=["# `studio` …"])


class Health(BaseModel):
    """Alive, and how busy."""

    status: str = Field(examples=["ok"])
    in_work: int = Field(ge=0, description="requests being worked on", examples=[3])
    at_once: int = Field(ge=1, description="from so many on, 503 is the answer", examples=[32])
    waiting: int = Field(ge=0, description="pictures that wait for the network", examples=[0])


class Refusal(Exception):
    """An answer that is no verdict: a status, a sentence, and the files it is about."""

    def __init__(self, status: int, sentence: str, pictures: list[dict[str, str]] | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.pictures = status, sentence, pictures or []

    def answer(self) -> JSONResponse:
        headers = {"Retry-After": "1"} if self.status == 503 else {}
        return JSONResponse({"error": self.sentence, "pictures": self.pictures}, self.status, headers)


def status_of(error: ImageError) -> int:
    """The status that says what is wrong with a picture."""
    if isinstance(error, TooLargeError):
        return 413
    return 415 if isinstance(error, NotAnImageError) else 422


# status: (what it means, and a sentence as it comes)
MEANINGS = {
    400: (
        "The body is not what its header says.",
        "the body is not valid multipart/form-data (it ends before its last boundary)",
    ),
    408: ("The upload took too long.", "the upload took longer than 30 seconds"),
    413: (
        "Too many bytes, pixels or files.",
        "anna.jpg: the file has 25.0 MB, and at most 20 MB are read; use a smaller copy",
    ),
    415: (
        "The request is no multipart form, or a file is no picture of a known kind.",
        "anna.jpg: this is not an image; use a JPEG, PNG, WebP, GIF, BMP or TIFF image",
    ),
    422: (
        "No file was sent, or a picture is damaged or too small.",
        "anna.jpg: the image has 31 × 31 pixels and needs at least 32 × 32; use a larger one",
    ),
    500: ("A fault of the service.", "a fault of the service (RuntimeError)"),
    503: (
        "Too much to do; try again after the seconds in Retry-After.",
        "32 requests are in work already; try again in a second",
    ),
}


def refusals() -> dict[int | str, dict[str, Any]]:
    """What openapi.json says of every status that is no verdict, each with an example."""
    answers: dict[int | str, dict[str, Any]] = {}
    for status, (meaning, sentence) in MEANINGS.items():
        about = [{"name": "anna.jpg", "error": sentence}] if sentence.startswith("anna.jpg") else []
        example = {"error": sentence, "pictures": about}
        answers[status] = {
            "model": Refused,
            "description": meaning,
            "content": {"application/json": {"example": example}},
        }
    return answers


# ------------------------------------------------------------------------------------------------ the batcher
@dataclass
class Batcher:
    """One thread that runs the network, and a queue in front of it.

    It takes what waits, up to `largest` pictures, judges them together, and comes back. Nobody waits for a
    batch to fill: alone, a picture goes at once; under load, the batches grow by themselves.
    """

    detector: Detector
    largest: int = 32
    sizes: list[int] = field(default_factory=list)  # of the last batches, to look at
    queue: asyncio.Queue = field(default_factory=asyncio.Queue)

    async def judge(self, windows: Any) -> float:
        """P(fake) of one picture, given as its windows."""
        answer = asyncio.get_running_loop().create_future()
        await self.queue.put((windows, answer))
        return await answer

    async def run(self) -> None:
        """Judge batch after batch, for ever."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "network") as network:
            while True:
                batch = [await self.queue.get()]
                while len(batch) < self.largest and not self.queue.empty():
                    batch.append(self.queue.get_nowait())
                batch = [(windows, answer) for windows, answer in batch if not answer.done()]  # who gave up
                if not batch:
                    continue
                self.sizes = [*self.sizes[-99:], len(batch)]
                try:
                    p = await loop.run_in_executor(network, self.detector.judge, [w for w, _ in batch])
                except Exception as error:  # these requests get a 500 each; the service goes on
                    p = [error] * len(batch)
                for (_, answer), value in zip(batch, p, strict=True):
                    if answer.done():
                        continue
                    if isinstance(value, Exception):
                        answer.set_exception(value)
                    else:
                        answer.set_result(float(value))


# ---------------------------------------------------------------------------------------------- reading files
class Form(MultiPartParser):
    """Starlette's parser; it also knows whether the form came to its end, or was cut off after a file."""

    complete = False

    def on_end(self) -> None:
        self.complete = True


async def read_files(request: Request, limits: Limits) -> list[UploadFile]:
    """The files of a multipart body; it is measured while it comes in, and large ones go to the disk."""
    kind = request.headers.get("content-type", "")
    if kind.split(";")[0].strip().lower() != "multipart/form-data":
        raise Refusal(
            415, f"send multipart/form-data with a field named file, not {printable(kind) or 'nothing'}"
        )
    too_large = Refusal(
        413, f"one request may have {limits.request_bytes / 1e6:,.0f} MB; send fewer pictures"
    )
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limits.request_bytes:
        raise too_large

    async def measured() -> AsyncIterator[bytes]:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > limits.request_bytes:
                raise too_large
            yield chunk

    try:
        parser = Form(request.headers, measured(), max_files=1_000, max_fields=100)
        form = await parser.parse()
    except ClientDisconnect:  # nobody hears this answer
        raise Refusal(400, "the connection ended before the body did") from None
    except (MultiPartException, KeyError, ValueError) as error:
        words = getattr(error, "message", "") or str(error)
        raise Refusal(400, f"the body is not valid multipart/form-data ({printable(words)})") from None
    if not parser.complete:  # else the files before the cut would be taken for all there were
        await form.close()
        raise Refusal(400, "the body is not valid multipart/form-data (it ends before its last boundary)")
    values = form.getlist("file")
    files = [value for value in values if isinstance(value, UploadFile)]
    if len(files) > limits.files:
        await form.close()
        raise Refusal(
            413, f"{len(files)} pictures in one request, and at most {limits.files} are judged; send fewer"
        )
    if not files or len(files) < len(values):
        await form.close()
        raise Refusal(422, "send each picture as a file in a field named file; there is none in this request")
    return files


def name_of(file: UploadFile) -> str:
    """The last part of a file's name, whatever kind of slash it has: folders are nobody's business."""
    name = (file.filename or "").replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return printable(name) or "unnamed file"


async def drain(request: Request, at_most: int, seconds: float = 5.0) -> None:
    """Read on for a while what a refused client still sends; else its side of the line breaks unanswered."""

    async def read() -> None:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > at_most:
                return

    with contextlib.suppress(Exception):  # the stream was read already, the client left, or time is up
        await asyncio.wait_for(read(), seconds)


# ------------------------------------------------------------------------------------------------ the service
def create_app(detector: Detector, limits: Limits | None = None, hosts: list[str] | None = None) -> FastAPI:
    """The service around a detector. hosts: names under which it may be addressed; None: any."""
    limits = limits or Limits()
    batcher = Batcher(detector, limits.batch)
    decoders = ThreadPoolExecutor(4, "decode")
    busy = 0

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()
        decoders.shutdown(cancel_futures=True)

    # The interactive pages of FastAPI would load their scripts from somebody else's server.
    app = FastAPI(
        title="Real or fake?", lifespan=lifespan, docs_url=None, redoc_url=None, version="1",
        description="Judges pictures of faces. A verdict is an estimate, not a proof.",
    )  # fmt: skip
    app.state.batcher = batcher
    if hosts:  # a page of somebody else whose name leads here must not read our answers
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    async def judge_request(request: Request) -> Verdicts:
        start = time.perf_counter()
        try:
            files = await asyncio.wait_for(read_files(request, limits), limits.seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise Refusal(408, f"the upload took longer than {limits.seconds:g} seconds") from None
        loop = asyncio.get_running_loop()

        def decode(file: UploadFile) -> Any:
            try:
                if (size := file.size or 0) > limits.file_bytes:
                    raise TooLargeError(
                        f"{name_of(file)}: the file has {size / 1e6:,.1f} MB, and at most "
                        f"{limits.file_bytes / 1e6:,.0f} MB are read; use a smaller copy"
                    )
                data = file.file.read()
                return detector.windows(
                    data, name_of(file), max_bytes=limits.file_bytes, max_pixels=limits.pixels
                )
            except ImageError as error:
                return error

        async def judge_all() -> tuple[list[float], float]:
            windows = await asyncio.gather(*(loop.run_in_executor(decoders, decode, file) for file in files))
            bad = [(name_of(f), w) for f, w in zip(files, windows, strict=True) if isinstance(w, ImageError)]
            if bad:  # no verdict for any: a 200 with an error inside would be read as a verdict one day
                listed = [{"name": name, "error": str(error)} for name, error in bad]
                raise Refusal(status_of(bad[0][1]), str(bad[0][1]), listed)
            decoded = time.perf_counter()
            return await asyncio.gather(*(batcher.judge(w) for w in windows)), decoded

        try:
            p_fakes, decoded = await asyncio.wait_for(judge_all(), limits.seconds)
        except (asyncio.TimeoutError, TimeoutError):
            raise Refusal(503, f"no verdict within {limits.seconds:g} seconds; try again later") from None
        finally:
            for file in files:
                await file.close()
        end = time.perf_counter()
        return Verdicts(
            model=model_id,
            threshold=detector.threshold,
            pictures=[
                Judged(name=name_of(file), label=detector.label(p), p_fake=p)
                for file, p in zip(files, p_fakes, strict=True)
            ],
            seconds=Timing(decode=decoded - start, judge=end - decoded, total=end - start),
        )

    @app.post(
        "/predict/",
        summary="Judge one or more pictures",
        response_description="Every picture was judged.",
        responses=refusals(),
        openapi_extra={"requestBody": request_body(limits)},
    )
    async def predict(request: Request) -> Verdicts:
        """Send pictures as multipart field `file`, once or several times; the verdicts come in their order.

        Where one picture cannot be judged, none is: the status says why, `pictures` names the bad ones.
        From a shell: `curl -F file=@anna.jpg -F file=@ben.png http://127.0.0.1:8000/predict/`
        """
        nonlocal busy
        if busy >= limits.at_once:
            raise Refusal(503, f"{busy} requests are in work already; try again in a second")
        busy += 1
        try:
            return await judge_request(request)
        finally:
            busy -= 1

    app.add_api_route("/predict", predict, methods=["POST"], include_in_schema=False)

    @app.get("/model", summary="Which detector this is")
    async def model() -> Model:
        return Model(
            model=model_id,
            threshold=detector.threshold,
            temperature=detector.temperature,
            class_names=list(detector.class_names),
            preprocessing=asdict(detector.preprocessing),
            formats=list(FORMATS),
            min_side=MIN_SIDE,
            limits=asdict(limits),
            device=detector.device.type,
            card=detector.card,
        )

    @app.head("/health", include_in_schema=False)  # monitors ask for the header alone
    @app.get("/health", summary="Is it alive, and how busy?")
    async def health() -> Health:
        return Health(status="ok", in_work=busy, at_once=limits.at_once, waiting=batcher.queue.qsize())

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers=HEADERS)

    @app.exception_handler(Refusal)
    async def refuse(request: Request, error: Refusal) -> JSONResponse:
        await drain(request, limits.request_bytes)
        return error.answer()

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:  # 404, 405: in the same form
        return JSONResponse({"error": str(error.detail), "pictures": []}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def crash(_: Request, error: Exception) -> JSONResponse:  # its traceback goes to the log, not out
        return JSONResponse(
            {"error": f"a fault of the service ({type(error).__name__})", "pictures": []}, 500
        )

    model_id = detector.id
    return app


def request_body(limits: Limits) -> dict[str, Any]:
    """What openapi.json says of the body; FastAPI does not know, for `read_files` parses it."""
    pictures = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
        "maxItems": limits.files,
        "description": f"{', '.join(FORMATS)}; one or more, each of at most {limits.file_bytes:,} bytes and "
        f"{limits.pixels:,} pixels",
    }
    form = {"type": "object", "required": ["file"], "properties": {"file": pictures}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


def serve(
    detector: Detector, host: str = "127.0.0.1", port: int = 8000, limits: Limits | None = None
) -> None:
    """Serve until interrupted. The first line on stdout is the address; port 0 takes any that is free."""
    try:
        if not host:
            raise ValueError("a host has a name or an address")
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, TypeError, ValueError) as error:  # the last two: no possible name of a host
        taken = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
        words = str(getattr(error, "strerror", None) or error).split(" (while ")[0]
        raise CourseError(
            f"{printable(host)}, port {port}: cannot listen there ({words}); choose another "
            f"{'--port' if taken else '--host'}"
        ) from None
    port = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    app = create_app(detector, limits, ["127.0.0.1", "localhost", "[::1]"] if host in LOOPBACK else None)
    print(f"http://{shown}:{port}", flush=True)
    if host not in LOOPBACK:
        print(
            "Whoever can reach this address can use it: there is no password and no encryption.", flush=True
        )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # a broken body is told its sender, not us
    http = patient((limits or Limits()).seconds)
    config = uvicorn.Config(
        app, http=http, log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])

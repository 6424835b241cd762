"""The service and two fuzzers: one made from its own openapi.json, one that breaks bodies byte by byte.

Both talk to a real server over HTTP. Whatever they send, the answer is a documented status in the documented
form, and never a 500: those, the shapes of all answers and unsupported verbs are schemathesis' own checks.
"""

from __future__ import annotations

import functools
import time
from http.client import HTTPConnection

import pytest
from test_serve import bomb, form, picture, running
from toys import small_checkpoint

from course_lib import Detector
from course_lib.serve import MEANINGS, Limits, Refused, Verdicts

schemathesis = pytest.importorskip("schemathesis", reason="needs the extra test")
httpx = pytest.importorskip("httpx")
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from schemathesis.checks import CHECKS, FailureGroup, load_all_checks  # noqa: E402

LIMITS = Limits(file_bytes=50_000, request_bytes=200_000, files=3, pixels=10_000, seconds=20)
PICTURES = [picture(0, 40, 36, kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")]
QUIET = dict(
    deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate]
)  # no shrinking: what was sent stands in the message, and a red test must not take minutes
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


@st.composite
def damaged(draw) -> bytes:
    """A picture with some bytes changed, cut off, doubled or put in."""
    content = bytearray(draw(st.sampled_from(PICTURES)))
    for _ in range(draw(st.integers(1, 4))):
        at, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        content[at : min(end, at + 40)] = draw(st.binary(max_size=40))
    return bytes(content)


FILES = st.one_of(st.sampled_from([*PICTURES, bomb(), b"", bytes(60_000)]), damaged(), st.binary(max_size=99))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The address of a running service with a small network."""
    folder = small_checkpoint(tmp_path_factory.mktemp("c") / "small", card="# The card")
    with running(Detector.load(folder, device="cpu"), LIMITS) as (address, _):
        yield address


@pytest.fixture(scope="module")
def schema(base):
    load_all_checks()
    schemathesis.openapi.format("binary", FILES)
    return schemathesis.openapi.from_url(f"{base}/openapi.json")


def test_every_path_is_known_to_the_fuzzer(schema):
    paths = {operation.ok().label for operation in schema.get_all_operations()}
    assert paths == {"POST /predict/", "GET /model", "GET /health"}


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
@pytest.mark.parametrize("label", ["POST /predict/", "GET /model", "GET /health"])
def test_what_openapi_says_is_what_happens(schema, label, mode):
    """schemathesis sends what the description allows (POSITIVE) and what it does not (NEGATIVE)."""
    (operation,) = [o.ok() for o in schema.get_all_operations() if o.ok().label == label]
    if mode == "NEGATIVE" and not operation.body:
        pytest.skip("a GET without parameters has nothing that could be wrong")
    checks, seen = CHECKS.get_by_names(list(CHECKED)), set()

    @settings(max_examples=100 if operation.body else 5, **QUIET)
    @given(case=operation.as_strategy(schemathesis.GenerationMode[mode]))
    def send(case):
        seen.add(case.call_and_validate(checks=checks, timeout=20).status_code)

    send()
    assert seen == {200} if not operation.body else seen & {400, 413, 415, 422}
    if operation.body and mode == "POSITIVE":
        assert 200 in seen and 413 in seen, "the fuzzer has to get as far as the network, and to the limits"


class Faulty(Detector):
    """Cannot judge."""

    def judge(self, windows, batch_size=64):
        raise RuntimeError("planted")


def test_the_fuzzer_finds_a_planted_fault(schema, base):
    faulty = Faulty(Detector.load("studio", device="cpu").model, device="cpu")
    (operation,) = [o.ok() for o in schema.get_all_operations() if o.ok().body]
    with running(faulty, LIMITS) as (address, _), pytest.raises(FailureGroup, match="500"):

        @settings(max_examples=50, **QUIET)
        @given(case=operation.as_strategy())
        def send(case):
            case.call_and_validate(address, checks=CHECKS.get_by_names(["not_a_server_error"]), timeout=20)

        send()


@functools.cache
def whole_body() -> tuple[str, bytes]:
    """A good request with two pictures: (Content-Type, body)."""
    request = httpx.Request("POST", "http://x", files=form(("a.png", PICTURES[0]), ("b.jpg", PICTURES[1])))
    return request.headers["content-type"], request.read()


def test_bodies_broken_anywhere_get_an_honest_status(base):
    """150 bodies with bytes changed in their pictures, their headers or their boundaries; none takes long."""
    line = HTTPConnection(base.removeprefix("http://"), timeout=20)
    seen, slowest = set(), 0.0
    kind, body = whole_body()

    @settings(max_examples=150, **QUIET)
    @given(
        changes=st.lists(
            st.tuples(st.integers(0, len(body)), st.integers(0, 30), st.binary(max_size=30)), max_size=4
        ),
        header=st.sampled_from(
            [kind] * 8 + ["multipart/form-data", "multipart/form-data; boundary=\xe9", ""]
        ),
    )
    def send(changes, header):
        nonlocal slowest
        broken = bytearray(body)
        for at, length, new in changes:
            broken[at : at + length] = new
        start = time.monotonic()
        line.request("POST", "/predict/", bytes(broken), {"Content-Type": header})
        answer = line.getresponse()
        content = answer.read()
        slowest = max(slowest, time.monotonic() - start)
        seen.add(answer.status)
        if answer.status == 200:
            assert all(0 <= p.p_fake <= 1 for p in Verdicts.model_validate_json(content).pictures)
        else:
            assert answer.status in MEANINGS and answer.status != 500
            assert Refused.model_validate_json(content).error and b"Traceback" not in content

    send()
    assert {200, 400, 415} <= seen and slowest < 5, (seen, slowest)
    assert httpx.get(f"{base}/health").json()["in_work"] == 0

"""Stress: damaged, lying and huge pictures through the one decoder, and by every way that leads there."""

from __future__ import annotations

import contextlib
import io
import json
import mmap
import random
import resource
import signal
import struct
import sys
import time
import zlib

import numpy as np
from PIL import Image
from stress_kit import Trials, ended, in_a_child, mutate, with_right_sums
from toys import small_checkpoint

from course_lib import Detector, ImageError, decode_image
from course_lib.images import FORMATS, MAX_PIXELS, decode_array

SLOW = 2.0  # seconds: more of them is a hang
# What one picture may take beside the process itself: the largest that is decoded, in a form that needs every
# intermediate copy. See `largest_pictures`, which measures it.
MEMORY = 2_000_000_000


def seeds(kind: str) -> list[bytes]:
    """Small pictures of one format in every variety that Pillow writes."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).resize((40, 48))
    grey, palette, rgba, two = rgb.convert("L"), rgb.convert("P"), rgb.convert("RGBA"), rgb.convert("1")
    rgba.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    every: dict[str, list[tuple[Image.Image, dict]]] = {
        "JPEG": [
            (rgb, {"exif": exif}), (rgb, {"progressive": True}), (grey, {}), (rgb.convert("CMYK"), {}),
            (rgb, {"quality": 30, "subsampling": 2, "restart_marker_blocks": 3}), (rgb, {"quality": 100}),
        ],
        "PNG": [
            (rgb, {"exif": exif}), (grey, {}), (two, {}), (palette, {"transparency": 3}), (rgba, {}),
            (deep, {}), (grey.convert("LA"), {}), (rgb, {"compress_level": 0, **frames}),
        ],
        "WEBP": [
            (rgb, {"exif": exif}), (rgb, {"lossless": True}), (rgba, {}), (rgba, {"lossless": True}),
            (rgb, frames),
        ],
        "GIF": [
            (palette, {}), (grey, {"interlace": 0}), (palette, {"transparency": 3}), (palette, frames),
        ],
        "BMP": [(rgb, {}), (grey, {}), (two, {}), (palette, {}), (rgba, {})],
        "TIFF": [
            (rgb, {"exif": exif}), (grey, {"compression": "tiff_lzw"}), (deep, {}), (palette, {}),
            (rgb, {"compression": "tiff_adobe_deflate"}), (rgb, {"compression": "jpeg"}), (rgba, {}),
            (two, {"compression": "group4"}), (rgb, {"compression": "packbits"}), (rgb.convert("CMYK"), {}),
            (grey.convert("F"), {}), (rgb, frames),
        ],
    }  # fmt: skip
    found = []
    for image, options in every[kind]:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found.append(file.getvalue())
    return found


def damaged(kind: str, seed: int, number: int, whole: list[bytes]) -> bytes:
    """Damaged picture `number`: the same for the same seed."""
    rng = random.Random(f"{seed} {kind} {number}")
    content = mutate(rng, rng.choice(whole), whole)
    return with_right_sums(content) if kind == "PNG" and rng.random() < 0.7 else content


# --- the decoder itself -------------------------------------------------------------------------------------


def try_one(content: bytes) -> str:
    """Decode in both ways; "good" or "refused", or what was wrong."""
    start, cpu = time.perf_counter(), time.thread_time()
    try:
        image = decode_image(content, name="x")
        wrong = "" if image.mode == "RGB" and min(image.size) > 0 and not image.info else "no plain picture"
        said = "good"
        if not np.array_equal(decode_array(content, name="x"), np.asarray(image)):
            wrong = "decode_array gives other pixels"
    except ImageError as error:
        wrong = "" if str(error).startswith("x: ") and "\n" not in str(error) else f"says {error!r}"
        said = "refused"
        with contextlib.suppress(ImageError):
            decode_array(content, name="x")
            wrong = "decode_array takes what decode_image refuses"
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    # On a busy machine the clock goes on while others have their turn, so both must say that it is slow.
    if not wrong and time.perf_counter() - start > SLOW and time.thread_time() - cpu > SLOW:
        wrong = f"{time.thread_time() - cpu:.1f} s"
    return wrong or said


def decode_many(kind: str, trials: Trials) -> None:
    """Damaged pictures in a process of their own; one that ends it, or never ends, is named too."""
    whole, place = seeds(kind), mmap.mmap(-1, 8)
    counts = {"good": 0, "refused": 0}
    most = 0

    def work() -> tuple[dict[str, int], list[tuple[int, str]], int]:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, even out of a decoder that hangs
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found, wrong = {"good": 0, "refused": 0}, []
        for number in range(first, min(first + 1_000, trials.wanted)):
            place[:] = struct.pack("q", number)
            signal.alarm(30)
            said = try_one(damaged(kind, trials.seed, number, whole))
            if said in found:
                found[said] += 1
            else:
                wrong.append((number, said))
        signal.alarm(0)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return found, wrong, grown * (1 if sys.platform == "darwin" else 1024)

    while trials.more():
        first = trials.done
        killer, result, error = ended(*in_a_child(work))
        if killer or error or result is None:
            (number,) = struct.unpack("q", place[:])
            result = ({}, [(number, error or f"the process was ended by signal {killer}")], 0)
            trials.done = number + 1
        else:
            trials.done = min(first + 1_000, trials.wanted)
        for name, count in result[0].items():
            counts[name] += count
        most = max(most, result[2])
        for number, words in result[1]:
            path = trials.keep(damaged(kind, trials.seed, number, whole), f"{trials.seed}-{number}.{kind}")
            trials.check(False, f"{path}: {words}")
    trials.check(most < MEMORY, f"{most / 1e6:,.0f} MB of memory")
    trials.check(counts["good"] > 0 < counts["refused"], f"all are the same: {counts}")
    trials.notes.append(f"{counts['good']:,} decoded, {counts['refused']:,} refused, {most / 1e6:,.0f} MB")


# --- the largest that is still decoded ----------------------------------------------------------------------


def png_of(width: int, height: int, depth: int, colour: int, more: bytes = b"") -> bytes:
    """A PNG of zeros, as small as such a file can be: whole, not cut off."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * channels * depth + 7) // 8)
    packer, body = zlib.compressobj(1), bytearray()
    for _ in range(height):
        body += packer.compress(row)
    body += packer.flush()
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + bytes(4)  # noqa: E731
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), more, chunk(b"IDAT", bytes(body)), chunk(b"IEND", b"")]
    return with_right_sums(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG of one grey whose last scan is there so many times: each costs a pass over all."""
    file = io.BytesIO()
    Image.new("L", (side, side), 77).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content.rindex(b"\xff\xda")
    table = content.rfind(b"\xff\xc4", 0, last)
    scan = content[min(last, table if table > 0 else last) : -2]
    return content[:-2] + scan * (scans - 1) + b"\xff\xd9"


def largest_pictures(trials: Trials) -> None:
    """Files of some 100 kB that truly hold the most pixels that are decoded; and a JPEG of 10,000 scans.

    Nothing is wrong with them, so the bound here is on memory alone; the JPEG must be refused, or be quick.
    """
    side = int(MAX_PIXELS**0.5)
    palette = struct.pack(">I", 3) + b"PLTE" + bytes(3 + 4) + struct.pack(">I", 1) + b"tRNS" + bytes(1 + 4)
    cases = {
        "1 bit grey": lambda: png_of(side, side, 1, 0),
        "16 bit grey": lambda: png_of(side, side, 16, 0),
        "grey and alpha": lambda: png_of(side, side, 8, 4),
        "palette, transparent": lambda: png_of(side, side, 1, 3, palette),
        "colour and alpha": lambda: png_of(side, side, 8, 6),
        "10,000 scans": lambda: many_scans(2_000, 10_000),
    }
    seen = []
    for name, make in list(cases.items())[: trials.wanted]:
        content = make()

        def work(content: bytes = content) -> tuple[str, float, int]:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(120)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            said, cpu = "good", time.process_time()
            try:
                decode_image(content, name="x")
            except ImageError as refusal:
                said = str(refusal)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            return said, time.process_time() - cpu, grown * (1 if sys.platform == "darwin" else 1024)

        killer, result, error = ended(*in_a_child(work))
        trials.done += 1
        if not trials.check(not killer and not error, f"{name}: {error or f'signal {killer}'}"):
            continue
        said, seconds, grown = result
        trials.check(grown < MEMORY, f"{name}: {grown / 1e6:,.0f} MB")
        trials.check(
            said == "good" or seconds < SLOW, f"{name}: {seconds:.1f} s before it was refused: {said}"
        )
        if "scans" in name:
            trials.check(seconds < SLOW, f"{name}: {seconds:.1f} s for {len(content):,} bytes")
        seen.append(f"{name} {grown / 1e6:,.0f} MB {seconds:.1f} s")
    trials.notes.append("; ".join(seen))


# --- by every way -------------------------------------------------------------------------------------------


def every_way(trials: Trials) -> None:
    """The same damaged pictures through uploader, service and command: the same verdicts and refusals."""
    from fastapi.testclient import TestClient

    from course_lib import __main__, widgets
    from course_lib.serve import MEANINGS, Limits, create_app

    folder = small_checkpoint(trials.folder / "small")
    detector = Detector.load(folder, device="cpu")
    page = widgets.Uploader([str(folder)], thumbnails=True, find=False)
    whole = {kind: seeds(kind) for kind in FORMATS}
    good = slow = 0
    with TestClient(create_app(detector, Limits(pixels=MAX_PIXELS)), raise_server_exceptions=False) as client:
        while trials.more():
            batch = []
            for number in range(trials.done, min(trials.done + 48, trials.wanted)):
                kind = FORMATS[number % len(FORMATS)]
                path = trials.folder / f"{number}.{kind.lower()}"
                path.write_bytes(damaged(kind, trials.seed, number, whole[kind]))
                batch.append(path)
            out = io.StringIO()
            start = time.monotonic()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                line = ["predict", "--json", "--checkpoint", str(folder), "--device", "cpu"]
                __main__.main([*line, *map(str, batch)])
            command = json.loads(out.getvalue())
            slow = max(slow, (time.monotonic() - start) / len(batch))
            page.clear()
            uploaded = page.add({path.name: path.read_bytes() for path in batch})
            shown = {result.name: result for result in uploaded if not getattr(result, "part", "")}
            for path, said in zip(batch, command, strict=True):
                trials.done += 1
                start = time.monotonic()
                answer = client.post("/predict/", files=[("file", (path.name, path.read_bytes()))])
                slow = max(slow, time.monotonic() - start)
                told, card = answer.json(), shown[path.name]
                trials.check(
                    answer.status_code in {200, *MEANINGS} - {500}, f"{path.name}: {answer.status_code}"
                )
                p = told["pictures"][0]["p_fake"] if answer.status_code == 200 else None
                same = (p is None) == (card.p_fake is None) == (said["p_fake"] is None)
                if same and p is not None:
                    good += 1
                    same = abs(p - card.p_fake) < 1e-5 and abs(p - said["p_fake"]) < 1e-5
                words = f"service {p}, uploader {card.p_fake}, command {said['p_fake']}, {told.get('error')}"
                if not trials.check(same, f"{path.name}: {words}"):
                    trials.keep(path.read_bytes(), f"ways-{trials.seed}-{path.name}")
                path.unlink()
    trials.check(slow < 10, f"{slow:.1f} s for one picture")
    trials.notes.append(f"{good} judged alike three ways, slowest {slow:.2f} s")


GROUPS = {
    **{
        f"decode-{kind.lower()}": ((lambda trials, kind=kind: decode_many(kind, trials)), 10_000)
        for kind in FORMATS
    },
    "decode-largest": (largest_pictures, 6),
    "decode-ways": (every_way, 1_200),
}

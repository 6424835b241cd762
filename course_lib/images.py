"""One careful way from "something a learner handed us" to an RGB picture.

Everything that reads an image in this course goes through `decode_image`, or `decode_array` where only the
pixels are wanted: the data sets, the detector, the uploader and the command line. So the rules live in one
place: the format is told by content, never by the file's ending; sizes are checked before pixels are decoded;
every refusal is one sentence that names the file.

Nothing here touches Pillow's global switches (``MAX_IMAGE_PIXELS``, ``LOAD_TRUNCATED_IMAGES``).
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import ImageError, NotAnImageError, TooLargeError

MAX_BYTES, MAX_PIXELS = 64_000_000, 120_000_000
MAX_SCANS = 100  # of a progressive JPEG: each is a pass over all pixels, and programs write about ten
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_WANTED = "use a JPEG, PNG, WebP, GIF, BMP or TIFF image"

# EXIF tag 0x0112 (Exif 2.3, section 4.6.4): how to turn the stored pixels so that the picture stands upright.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# First bytes of things people upload by mistake, so that the sentence can say what they have.
_LOOKALIKES = (
    (rb"....ftyp(heic|heix|hevc|mif1|msf1)", "a HEIC photograph; export it as JPEG first"),
    (rb"....ftypavif", "an AVIF image; export it as JPEG or PNG first"),
    (rb"....ftyp", "a video; save one frame of it as JPEG or PNG"),
    (rb"%PDF", "a PDF document; export its picture as JPEG or PNG"),
    (rb"\s*(<!doctype html|<html)", "a web page, not an image; download the picture itself"),
    (rb"\s*(<\?xml[^>]*>\s*)?<svg", "an SVG drawing; export it as PNG first"),
    (rb"PK\x03\x04", "a zip archive; unpack it first"),
)

# The luminance table of the JPEG standard (ITU-T T.81, table K.1). Most programs save with this table, scaled
# by their "quality" as the Independent JPEG Group's library does; others have tables of their own.
_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip

# Segments of a JPEG that change nothing about how its pixels are read: tables, a comment, and what programs
# add (APP0 to APP15) but for EXIF and XMP (APP1), which may say how the picture is turned.
_HARMLESS = {0xC4, 0xDB, 0xDD, 0xFE, 0xE0, *range(0xE2, 0xF0)}

_warning_lock = threading.Lock()


def decode_image(
    source: str | Path | bytes | Image.Image | np.ndarray,
    *,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    min_side: int = 1,
    max_side: int | None = None,
    name: str | None = None,
) -> Image.Image:
    """Return `source` as an upright RGB picture (8 bits a channel), or raise `ImageError` with one sentence.

    source: a path; the bytes of an image file; a PIL image; or an array HxW, HxWx1, HxWx3 or HxWx4 of uint8
        (0..255), uint16 (0..65535) or floats in [0, 1].
    max_bytes, max_pixels: larger files and pictures are refused from their size and header, undecoded.
    min_side: the shorter side must have at least this many pixels.
    max_side: if given, the picture is scaled down (Lanczos) so that no side is longer; a JPEG is then decoded
        at 1/2, 1/4 or 1/8 of its scale, which is quick. Good for thumbnails; it erases the finest traces.
    name: what to call the image in error sentences (by default the file's name).

    Grey, palette and CMYK pictures become RGB; 16-bit grey is scaled by 255/65535; transparency is laid over
    white; of an animation the first frame counts; the EXIF orientation is applied and no metadata is kept.
    """
    name = printable(name if name is not None else _default_name(source))
    with _opened(source, name, max_bytes, max_pixels) as image:
        return _plain(_finish(image, name, max_pixels, min_side, max_side), image)


def decode_array(
    source: str | Path | bytes | Image.Image | np.ndarray,
    part: Callable[[int, int], tuple[int, int, int, int]] | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    min_side: int = 1,
    name: str | None = None,
) -> np.ndarray:
    """The pixels of `decode_image`, bit for bit, as uint8 HxWx3, and quicker; or `ImageError`.

    Ordinary JPEGs are decoded by simplejpeg: the same libjpeg-turbo as in Pillow, without Pillow's copies.
    All others, and whatever simplejpeg does not like, go the way of `decode_image` and get its sentences.

    part: told width and height, gives the box (left, top, right, bottom) that is wanted; None: the whole.
    """
    name = printable(name if name is not None else _default_name(source))
    if not isinstance(source, (np.ndarray, Image.Image)):
        source = _bytes_of(source, name, max_bytes)
        width, height = _plain_jpeg(source) or (0, 0)
        if width * height <= max_pixels and min(width, height) >= max(1, min_side):
            pixels = _decode_jpeg(source)
            if pixels is not None:
                left, top, right, bottom = part(width, height) if part else (0, 0, width, height)
                cut = pixels[top:bottom, left:right]
                return cut if 2 * cut.size > pixels.size else cut.copy()  # which lets go of the whole
    with _opened(source, name, max_bytes, max_pixels) as image:
        return _as_array(_finish(image, name, max_pixels, min_side, None), part)


@contextlib.contextmanager
def _opened(
    source: str | Path | bytes | Image.Image | np.ndarray, name: str, max_bytes: int, max_pixels: int
) -> Iterator[Image.Image]:
    """Any source as an image whose pixels are not decoded yet, closed afterwards if it was opened here."""
    if isinstance(source, np.ndarray):
        if source.dtype.kind == "i" or source.dtype.kind == "u" and source.dtype.itemsize > 2:
            raise _strange_pixels(name, source.dtype)  # 8 bits or 16? Taken for the other, it is black
        yield _from_array(source, name)
    elif isinstance(source, Image.Image):
        yield source
    else:
        data = _bytes_of(source, name, max_bytes)
        with _quiet():
            image = _open(data, name, max_pixels)
        with image:
            yield image


def _bytes_of(source: str | Path | bytes, name: str, max_bytes: int) -> bytes:
    """The bytes themselves, or those of the file; raises `ImageError` if there are none or too many."""
    given = isinstance(source, (bytes, bytearray, memoryview))
    data = bytes(source) if given else read_image_file(source, name, max_bytes)
    if not data:
        raise NotAnImageError(f"{name}: the file is empty; {_WANTED}")
    if len(data) > max_bytes:
        raise _too_many_bytes(name, len(data), max_bytes)
    return data


def _plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """(width, height) if this is a JPEG of the common kind, from its header: three channels of 8 bits, one
    scan after the other in full (not progressive), no EXIF or XMP that might turn it. Else None.

    A JPEG is a row of segments: FF, a kind, two bytes of length, content (ITU-T T.81, annex B).
    """
    size, at = None, 2
    if not data.startswith(b"\xff\xd8"):
        return None
    for _ in range(100):  # programs write about ten segments
        head = data[at : at + 10]
        if len(head) < 10 or head[0] != 0xFF:
            return None
        kind, length = head[1], int.from_bytes(head[2:4], "big")
        if kind in (0xC0, 0xC1) and size is None:  # start of frame: bits, height, width, channels
            size = int.from_bytes(head[7:9], "big"), int.from_bytes(head[5:7], "big")
            if head[4] != 8 or head[9] != 3:
                return None
        elif kind == 0xDA:  # start of scan, the pixels follow: all three channels together, or several scans
            return size if head[4] == 3 and data.count(b"\xff\xda") <= MAX_SCANS else None
        elif kind not in _HARMLESS:
            return None
        at += 2 + length
    return None


def _decode_jpeg(data: bytes) -> np.ndarray | None:
    """uint8 HxWx3 by simplejpeg; None if anything is odd about the file: then Pillow decides what to do."""
    from simplejpeg import decode_jpeg

    try:
        return decode_jpeg(data)
    except ValueError:
        return None


def _as_array(image: Image.Image, part: Callable[[int, int], tuple[int, int, int, int]] | None) -> np.ndarray:
    """A part of an RGB image, or all of it, as an array."""
    left, top, right, bottom = part(*image.size) if part else (0, 0, *image.size)
    pixels = np.empty((bottom - top, right - left, 3), dtype=np.uint8)
    for row in range(top, bottom, 128):  # a strip at a time: three times as quick as the whole at once
        below = min(row + 128, bottom)
        pixels[row - top : below - top] = np.asarray(image.crop((left, row, right, below)))
    return pixels


def image_size(source: str | Path) -> tuple[int, int]:
    """(width, height) of a picture as stored in its file, from its header; raises `ImageError`."""
    name = printable(_default_name(source))
    data = read_image_file(source, name)
    with _quiet(), _open(data, name, MAX_PIXELS) as image:
        return image.size


def jpeg_quality(data: bytes) -> int | None:
    """About the quality, 1 to 100, with which a JPEG file was saved; None if it is no JPEG or says nothing.

    Estimated from the file's own table of steps (its luminance table), without decoding a pixel: the quality
    at which the standard's table has the nearest sum. Exact for programs that scale that table, a rough guide
    for others. It tells the last saving only: a picture saved at 20 and then again at 95 says 95.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        with _quiet(), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            table = next(iter(image.quantization.values()), ())
    except Exception:  # a damaged header raises almost anything; decoding says what is wrong with it
        return None
    if len(table) != 64:
        return None
    return min(range(1, 101), key=lambda quality: abs(sum(_steps(quality)) - sum(table)))


def _steps(quality: int) -> list[int]:
    """The luminance table at a quality of 1 to 100, as the Independent JPEG Group's library scales it."""
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [min(255, max(1, (step * factor + 50) // 100)) for step in _LUMINANCE]


def printable(name: str | os.PathLike, limit: int = 100) -> str:
    """`name` fit for a one-line message: control characters and broken encodings replaced, long names cut."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in os.fspath(name))
    return text if len(text) <= limit else text[: limit // 2] + "…" + text[-limit // 2 :]


def _default_name(source: object) -> str:
    if isinstance(source, (str, Path)):
        # not Path(source).name, which takes half as long as decoding a small picture
        return os.path.basename(source) or str(source) or "(empty path)"
    if isinstance(source, Image.Image) and getattr(source, "filename", ""):
        return Path(os.fsdecode(source.filename)).name
    return "image"


def read_image_file(source: str | os.PathLike, name: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a file; its kind and size are looked at before it is opened. `name` is used in errors."""
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(
            f"{name}: cannot read a {type(source).__name__}; give a path, the bytes of an image file, "
            "a PIL image, or an array HxWx3"
        )
    if re.match(r"https?://", str(source)):
        raise ImageError(f"{name}: this is a web address; download the picture and give its path")
    try:
        status = os.stat(source)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"{name}: this is a folder; give the path of one image file")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{name}: this is not an ordinary file; give the path of one image file")
        if status.st_size > max_bytes:
            raise _too_many_bytes(name, status.st_size, max_bytes)
        with open(source, "rb") as file:
            # Asked for max_bytes, Python would set so much memory aside. One more, for a file that has grown.
            data = file.read(status.st_size + 1)
            if len(data) > status.st_size:
                data += file.read(max_bytes + 1 - len(data))
            return data
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file; check the path") from None
    except PermissionError:
        raise ImageError(f"{name}: you may not read this file; change its permissions") from None
    except OSError as error:
        reason = {
            errno.ELOOP: "it is a symbolic link that points back at itself",
            errno.ENAMETOOLONG: "the path is too long",
            errno.ENOTDIR: "a part of its path is a file, not a folder",
        }.get(error.errno, error.strerror or str(error))
        raise ImageError(f"{name}: cannot be read, {reason}; check the path") from None
    except ValueError:  # "embedded null byte"
        raise ImageError(f"{name}: this is not a possible path; check it") from None


def _too_many_bytes(name: str, size: int, limit: int) -> TooLargeError:
    return TooLargeError(
        f"{name}: the file has {size / 1e6:,.0f} MB and at most {limit / 1e6:,.0f} MB are read; "
        "use a smaller copy"
    )


def _too_many_pixels(name: str, pixels: int, limit: int, size: str = "") -> TooLargeError:
    return TooLargeError(
        f"{name}: the image has {pixels:,} pixels{size} and at most {limit:,} are decoded; "
        "scale it down first"
    )


def _open(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Read the header only. Pillow's own bomb check may refuse before ours; its words are translated."""
    if data.startswith(b"\xff\xd8\xff") and (scans := data.count(b"\xff\xda")) > MAX_SCANS:
        raise TooLargeError(
            f"{name}: the JPEG has {scans:,} scans and at most {MAX_SCANS} are decoded; save it anew"
        )
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        raise _too_many_pixels(name, int(found[1]) if found else max_pixels + 1, max_pixels) from None
    except UnidentifiedImageError:
        for pattern, words in _LOOKALIKES:
            if re.match(pattern, data[:512], re.DOTALL | re.IGNORECASE):
                raise NotAnImageError(f"{name}: this is {words}") from None
        if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")):
            raise _broken(name, "its beginning is damaged or cut off") from None
        raise NotAnImageError(f"{name}: this is not an image; {_WANTED}") from None
    except Exception as error:  # hostile headers raise almost anything: struct.error, OverflowError, …
        raise _broken(name, str(error)) from error


def _broken(name: str, reason: str) -> ImageError:
    reason = printable(reason.strip().rstrip(".") or "no reason given")
    return ImageError(f"{name}: the image is damaged or cut off ({reason}); use another copy of it")


def _finish(
    image: Image.Image, name: str, max_pixels: int, min_side: int, max_side: int | None
) -> Image.Image:
    """Check the size, decode the pixels, turn the picture upright and convert it to RGB.

    What is upright RGB already comes back as it is, as the same object.
    """
    width, height = image.size
    if width * height > max_pixels:
        raise _too_many_pixels(name, width * height, max_pixels, f" ({width:,} × {height:,})")
    if min(width, height) < min_side:
        raise ImageError(
            f"{name}: the image has {width} × {height} pixels and needs at least {min_side} × {min_side}; "
            "use a larger one"
        )
    try:
        # JPEG decoding gives no warnings and needs no lock, so threads can decode JPEGs side by side.
        with contextlib.nullcontext() if image.format in ("JPEG", "MPO") else _quiet():
            if max_side is not None:
                image.draft(image.mode, (2 * max_side, 2 * max_side))  # only JPEG heeds this
            image.load()
            rgb = _to_rgb(image, name)
        turn = _UPRIGHT.get(_orientation(image))
        rgb = rgb.transpose(turn) if turn is not None else rgb
        if max_side is not None:
            rgb = rgb.copy() if rgb is image else rgb
            rgb.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    except ImageError:
        raise
    except MemoryError:
        message = f"{name}: too little memory for {width:,} × {height:,} pixels; scale it down first"
        raise ImageError(message) from None
    except Exception as error:  # on damaged data Pillow's decoders raise many types, all meaning the same
        raise _broken(name, str(error)) from error
    return rgb


def _plain(rgb: Image.Image, source: Image.Image) -> Image.Image:
    """An image of its own, without metadata, above all without an orientation that could be applied twice."""
    rgb = rgb.copy() if rgb is source else rgb
    rgb.info = {}
    return rgb


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """As RGB; transparency over white, 16 bits scaled to 8 (Pillow's own conversion clips them)."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_array(np.asarray(image), name).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        with _quiet():
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata says nothing about the pixels: show them as they are stored
        return 1


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    """An array HxW[x1|3|4] of uint8, uint16, or numbers in [0, 1] as a PIL image of 8 bits a channel."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            f"{name}: an array of shape {array.shape} is not an image; "
            "give height x width, or height x width x 3"
        )
    if array.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(array))
    if np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError(f"{name}: decimal pixel values must lie between 0 and 1; scale them first")
        return Image.fromarray(_in_blocks(array, lambda block: np.rint(block * 255.0)))
    if np.issubdtype(array.dtype, np.integer) and array.min() >= 0 and array.max() <= 65535:
        # 65535 = 255 * 257, so dividing by 257 maps the ends exactly onto 0 and 255.
        return Image.fromarray(_in_blocks(array, lambda block: (block.astype(np.int64) + 128) // 257))
    raise _strange_pixels(name, array.dtype)


def _strange_pixels(name: str, kind: np.dtype) -> ImageError:
    return ImageError(f"{name}: pixels of type {kind} are not understood; use 0 to 255 as uint8")


def _in_blocks(array: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`change` of an array, as uint8, a million numbers at a time: of all at once it takes 24 bytes a pixel,
    and a file of a few kB may announce a hundred million pixels."""
    flat, result = np.ascontiguousarray(array).reshape(-1), np.empty(array.size, np.uint8)
    for start in range(0, array.size, 1 << 20):
        result[start : start + (1 << 20)] = change(flat[start : start + (1 << 20)])
    return result.reshape(array.shape)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings (odd EXIF, large pictures): what matters becomes an ImageError.

    Warning filters belong to the whole process, so two threads must not swap them at the same time.
    """
    with _warning_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

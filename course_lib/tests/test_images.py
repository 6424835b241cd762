"""decode_image against everything people hand to an uploader, good and bad."""

import errno
import io
import os
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from course_lib import ImageError, decode_image, images
from course_lib.images import decode_array, printable


def picture(width=40, height=24, mode="RGB"):
    """A picture with structure: a ramp in each direction and some noise, always the same."""
    noise = np.random.default_rng(0).integers(0, 30, (height, width))
    ramps = np.stack(
        [np.linspace(0, 220, width)[None].repeat(height, 0), *[np.full((height, width), 90)] * 2], 2
    )
    return Image.fromarray((ramps + noise[:, :, None]).astype(np.uint8)).convert(mode)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width, height, bits, colour_type, rows):
    """A PNG written by hand, so that any header can be tried."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def refusal(source, **options) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may leak beside the sentence
        with pytest.raises(ImageError) as caught:
            decode_image(source, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence and "Traceback" not in sentence and ": " in sentence
    return sentence


# --- good input in every dress -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_by_content_whatever_the_name(tmp_path, kind):
    path = tmp_path / "photo.txt"
    path.write_bytes(encoded(picture(), kind))
    for source in (
        path,
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        memoryview(path.read_bytes()),
    ):
        image = decode_image(source)
        assert image.mode == "RGB" and image.size == (40, 24) and image.info == {}


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(mode):
    image = picture().convert("L").convert("I").convert("I;16") if mode == "I;16" else picture(mode=mode)
    assert decode_image(image).mode == "RGB"
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    assert np.asarray(decode_image(encoded(image, kind))).shape == (24, 40, 3)


def test_cmyk_jpeg_keeps_its_colours():
    image = decode_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = np.asarray(image).reshape(-1, 3).mean(0)
    assert red > 230 and green < 60 and blue < 60


def test_sixteen_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    for source in (png(4, 1, 16, 0, rows), values, encoded(Image.fromarray(values), "TIFF")):
        assert np.asarray(decode_image(source))[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.uint32])
def test_whole_numbers_that_may_mean_eight_or_sixteen_bits_are_refused(dtype):
    values = np.asarray(picture()).astype(dtype)  # taken for sixteen bits, it would be a black picture
    assert "use 0 to 255 as uint8" in refusal(values)
    with pytest.raises(ImageError, match="uint8"):
        decode_array(values)


def test_sixteen_bit_colour():
    pixel = np.array([[[65535, 32768, 0]]], np.uint16)
    image = decode_image(png(1, 1, 16, 2, b"\0" + pixel.astype(">u2").tobytes()))
    assert np.asarray(image)[0, 0].tolist() == [255, 128, 0]


def test_transparency_is_laid_over_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("LA", (4, 4), (0, 128))
    palette = Image.new("P", (4, 4), 3)
    palette.putpalette([i for i in range(256) for _ in range(3)])
    assert decode_image(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encoded(half)).getpixel((0, 0)) == (127, 127, 127)
    assert decode_image(encoded(palette, transparency=3)).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encoded(palette, transparency=b"\xff\xff\xff\x00")).getpixel((0, 0)) == (
        255,
        255,
        255,
    )


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert decode_image(data).getpixel((3, 3)) == (255, 0, 0), kind


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation):
    upright = Image.new("RGB", (16, 8), "white")
    upright.paste((255, 0, 0), (0, 0, 8, 4))  # red in the upper left corner
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that makes the stored pixels
    stored = upright if orientation == 1 else upright.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, "PNG", exif=exif)
    image = decode_image(data)
    assert image.size == (16, 8) and image.tobytes() == upright.tobytes()
    assert decode_image(image).tobytes() == upright.tobytes()
    assert decode_image(Image.open(io.BytesIO(data))).tobytes() == upright.tobytes()


def test_broken_exif_does_not_refuse_the_picture():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01")
        assert decode_image(data).size == (40, 24)


def test_one_pixel():
    assert decode_image(encoded(Image.new("L", (1, 1), 7))).getpixel((0, 0)) == (7, 7, 7)
    assert "1 × 1" in refusal(encoded(Image.new("L", (1, 1))), min_side=32)


def test_arrays():
    array = np.asarray(picture())
    assert np.array_equal(decode_image(array), array)
    assert np.array_equal(decode_image(array / 255.0), array)
    assert decode_image(array[:, ::-1, :1]).size == (40, 24)
    wrong_shapes = [np.zeros((2, 2, 2)), np.zeros(5), np.zeros((0, 3))]
    wrong_values = [np.full((2, 2), value) for value in (2.0, np.nan, -1, True, 1j)]
    for bad in wrong_shapes + wrong_values:
        assert refusal(bad, name="array").startswith("array: ")


def test_max_side_scales_down_only():
    data = encoded(picture(400, 240), "JPEG")
    assert decode_image(data, max_side=100).size == (100, 60)
    assert decode_image(data, max_side=1000).size == (400, 240)
    assert decode_image(encoded(picture(400, 240, "P")), max_side=50).size == (50, 30)


def test_the_callers_image_is_not_changed():
    mine = picture(mode="P")
    before = mine.tobytes(), mine.mode, mine.size
    decode_image(mine, max_side=8)
    assert (mine.tobytes(), mine.mode, mine.size) == before


# --- bad input: one sentence that names the file -----------------------------------------------------------


def test_not_images(tmp_path):
    cases = {
        "empty.jpg": (b"", "empty"),
        "notes.jpg": (b"just some words", "not an image"),
        "page.jpg": (b"<!DOCTYPE html><html></html>", "web page"),
        "drawing.png": (b'<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "SVG"),
        "paper.jpg": (b"%PDF-1.7 ...", "PDF"),
        "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
        "clip.jpg": (b"\0\0\0\x18ftypisom" + bytes(20), "video"),
        "all.jpg": (b"PK\x03\x04" + bytes(30), "zip"),
        "head.jpg": (b"\xff\xd8\xff\xe0", "damaged or cut off"),
        "head.png": (b"\x89PNG\r\n\x1a\n", "damaged or cut off"),
        "other.ppm": (b"P6 1 1 255 abc", "not an image"),
        "zeros.jpg": (bytes(1000), "not an image"),
    }
    for name, (data, words) in cases.items():
        (tmp_path / name).write_bytes(data)
        sentence = refusal(tmp_path / name)
        assert sentence.startswith(f"{name}: ") and words in sentence, sentence
        assert str(tmp_path) not in sentence


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_off_files(kind, share):
    data = encoded(picture(64, 64), kind)
    assert "damaged or cut off" in refusal(data[: int(len(data) * share)], name=f"cut.{kind}")


def test_a_jpeg_that_lacks_only_its_end():
    data = encoded(picture(64, 64), "JPEG")
    assert "damaged or cut off" in refusal(data[:-40])


def test_decompression_bomb_is_refused_from_its_header(monkeypatch):
    data = png(30_000, 30_000, 8, 2, bytes(1000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    assert "900,000,000 pixels" in refusal(data, name="bomb.png")
    assert "121,000,000 pixels (11,000 × 11,000)" in refusal(png(11_000, 11_000, 8, 2, bytes(9)))


def test_bomb_in_a_text_chunk():
    body = b"Comment\0\0" + zlib.compress(bytes(80_000_000))
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    data = encoded(picture())
    assert "damaged or cut off" in refusal(data[:33] + chunk + data[33:])


def test_a_huge_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "huge.jpg"
    with open(path, "wb") as file:
        file.truncate(300_000_000)  # sparse: takes no room
    monkeypatch.setattr("builtins.open", lambda *a, **k: pytest.fail("the file was opened"))
    assert "300 MB" in refusal(path)


@pytest.mark.parametrize(
    "name", ["two words.png", "smile \N{GRINNING FACE}.png", "..hidden..png", "a;rm -rf b.png"]
)
def test_odd_names_work(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(picture()))
    (tmp_path / "x").mkdir()
    assert decode_image(tmp_path / "x" / ".." / name).size == (40, 24)
    path.write_bytes(b"x")
    assert refusal(path).startswith(f"{name}: ")


def test_names_that_would_spoil_the_line():
    assert printable("a\nb\x1b[31m") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m"
    assert len(printable("x" * 4000)) < 110
    assert "\n" not in refusal(b"x", name="a\nb")
    refusal(os.fsdecode(b"/nowhere/\xff\xfe.jpg")).encode("utf-8")  # a broken encoding is printable too


def test_paths_that_are_no_files(tmp_path):
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "file").write_bytes(b"")
    assert "folder" in refusal(tmp_path)
    assert "no such file" in refusal(tmp_path / "gone.jpg")
    assert "points back at itself" in refusal(loop)
    assert "not an ordinary file" in refusal(tmp_path / "pipe.jpg")
    assert "not a folder" in refusal(tmp_path / "file" / "x.jpg")
    assert "too long" in refusal(tmp_path / ("x" * 5000))
    assert "not a possible path" in refusal("a\0b.jpg")
    assert "web address" in refusal("https://example.org/face.jpg")
    assert "(empty path): there is no such file" in refusal("")
    assert "NoneType" in refusal(None)


def test_a_file_one_may_not_read(tmp_path, monkeypatch):
    path = tmp_path / "secret.jpg"
    path.write_bytes(encoded(picture(), "JPEG"))

    def forbidden(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", forbidden)
    assert "may not read" in refusal(path)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_damage_gives_a_picture_or_an_image_error(kind, changes):
    data = bytearray(encoded(picture(32, 32), kind))
    for where, value in changes:
        data[int(where * len(data))] = value
    try:
        assert decode_image(bytes(data)).mode == "RGB"
    except ImageError as error:
        assert "\n" not in str(error)


# --- manners -----------------------------------------------------------------------------------------------


def test_nothing_global_is_changed():
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    data = [encoded(picture(), kind) for kind in ("JPEG", "PNG", "GIF")] + [b"rubbish"]

    def work():
        for _ in range(30):
            for one in data:
                try:
                    decode_image(one)
                except ImageError:
                    continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


def test_no_file_stays_open(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture()))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        decode_image(path)
    if Path("/proc/self/fd").is_dir():
        links = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if n.isdigit()
                 and os.path.exists(f"/proc/self/fd/{n}")]  # fmt: skip
        assert str(path) not in links


def test_bombs_are_quick():
    start = time.perf_counter()
    refusal(png(30_000, 30_000, 1, 0, bytes(100)))
    assert time.perf_counter() - start < 1


# --- decode_array: the same pixels, quicker -----------------------------------------------------------------


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def same_both_ways(data):
    """Both ways to the pixels; asserts that they agree, and returns the array."""
    array = decode_array(data)
    assert array.dtype == np.uint8 and np.array_equal(array, np.asarray(decode_image(data)))
    return array


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from([0, 1, 2]),
    mode=st.sampled_from(["RGB", "L", "CMYK", "YCbCr"]),
    progressive=st.booleans(),
    restart=st.sampled_from([0, 1, 3]),
    comment=st.binary(max_size=40),
    orientation=st.sampled_from([None, 1, 3, 6]),
)
def test_both_decoders_give_the_same_pixels(
    size, quality, subsampling, mode, progressive, restart, comment, orientation
):
    noise = np.random.default_rng(quality).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    options = {"exif": exif(orientation)} if orientation else {}
    image = Image.fromarray(noise).convert(mode)
    same_both_ways(
        encoded(
            image, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive,
            restart_marker_blocks=restart, comment=comment, **options,
        )
    )  # fmt: skip


def test_ordinary_jpegs_go_the_quick_way_and_others_do_not(monkeypatch):
    """Otherwise the test above compares Pillow with itself, or a turned photograph lies on its side."""
    taken, real = [], images._decode_jpeg
    monkeypatch.setattr(images, "_decode_jpeg", lambda data: taken.append(1) or real(data))
    photograph = picture(200, 100)

    def quick(data):
        taken.clear()
        same_both_ways(data)
        return bool(taken)

    for options in ({}, {"quality": 30}, {"subsampling": 0}, {"comment": b"x" * 300}, {"optimize": True}):
        assert quick(encoded(photograph, "JPEG", **options)), options
    for options in ({"progressive": True}, {"exif": exif(6)}):
        assert not quick(encoded(photograph, "JPEG", **options)), options
    for data in (encoded(photograph.convert("L"), "JPEG"), encoded(photograph.convert("CMYK"), "JPEG")):
        assert not quick(data)
    assert not quick(encoded(photograph))
    one_scan = encoded(photograph, "JPEG")
    start = one_scan.index(b"\xff\xda")
    for damaged in (one_scan[:2], one_scan[:25], one_scan[: start + 4], b"\xff\xd8" + b"\xff\xe2\0\0" * 900):
        assert images._plain_jpeg(damaged) is None
    assert images._plain_jpeg(one_scan + b"\xff\xda" * images.MAX_SCANS) is None  # Pillow's way refuses it
    several_scans = one_scan[: start + 4] + b"\1" + one_scan[start + 5 :]
    assert images._plain_jpeg(one_scan) == (200, 100) and images._plain_jpeg(several_scans) is None


def test_where_the_quick_decoder_cannot_pillow_says_why():
    whole = encoded(picture(200, 100), "JPEG", quality=95)
    for data in (whole[: len(whole) // 2], whole[:-2], whole[:700]):
        try:
            expected = np.asarray(decode_image(data, name="a.jpg"))
        except ImageError as error:
            with pytest.raises(ImageError) as found:
                decode_array(data, name="a.jpg")
            assert str(found.value) == str(error)
        else:
            assert np.array_equal(decode_array(data, name="a.jpg"), expected)


def test_limits_hold_on_the_quick_way_too(tmp_path):
    data = encoded(picture(200, 100), "JPEG")
    for limits in ({"max_pixels": 19_999}, {"min_side": 101}, {"max_bytes": len(data) - 1}):
        with pytest.raises(ImageError) as quick:
            decode_array(data, name="a.jpg", **limits)
        with pytest.raises(ImageError) as slow:
            decode_image(data, name="a.jpg", **limits)
        assert str(quick.value) == str(slow.value)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match="empty.jpg: the file is empty"):
        decode_array(tmp_path / "empty.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_part_of_a_picture(kind):
    """Also a small one, which must not keep the whole picture in memory."""
    data = encoded(picture(200, 100), kind)
    whole = decode_array(data)
    for box in ((0, 0, 200, 100), (10, 20, 190, 90), (3, 4, 40, 50), (199, 99, 200, 100)):
        asked = []
        part = decode_array(data, lambda *size, box=box, asked=asked: asked.append(size) or box)
        left, top, right, bottom = box
        assert asked == [(200, 100)] and np.array_equal(part, whole[top:bottom, left:right])
        if part.size < whole.size / 2:
            assert part.base is None or part.base.size <= whole.size / 2


def test_a_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    """Its size is asked first; what is there when it is read counts, up to the bound."""
    path, real = tmp_path / "grows.jpg", os.stat
    data = encoded(picture(200, 100), "JPEG")
    path.write_bytes(data)

    def smaller(file, **options):
        status = list(real(file, **options))
        status[6] -= 500
        return os.stat_result(status)

    monkeypatch.setattr(images.os, "stat", smaller)
    assert images.read_image_file(path, "grows.jpg") == data
    assert len(images.read_image_file(path, "grows.jpg", len(data) - 100)) == len(data) - 99

"""Decoded pictures on disk: the same pixels as decoding, whatever happened to the folder meanwhile."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import toy

from course_lib import DataError, FaceDataset, ImageError, __main__, decode_image, fit, load, pixels
from course_lib.images import image_size
from course_lib.pixels import PixelFile, build_pixels, decoded_bytes

SIZES = [(16, 16), (24, 16), (16, 40), (33, 17)]
ENDINGS = ("jpg", "png", "webp", "bmp")


def paint(path: Path, seed: int, size: tuple[int, int] = (16, 16)) -> str:
    """A small picture that no other seed resembles; its kind goes by the file's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return str(path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def paths(tmp_path) -> list[str]:
    """Twelve pictures of four sizes."""
    return [paint(tmp_path / "pictures" / f"{i}.jpg", i, SIZES[i % 4]) for i in range(12)]


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "pixels"


def decoded(path: str) -> torch.Tensor:
    return torch.from_numpy(np.array(decode_image(path))).permute(2, 0, 1)


def assert_right(cache: PixelFile, paths: list[str]) -> None:
    """All pictures are in the file, whole, and what they ought to be."""
    assert set(paths) <= set(cache.places)
    raw = np.fromfile(cache.folder / cache.name, np.uint8)
    for path in paths:
        place, image = cache.places[path], decoded(path)
        assert torch.equal(torch.from_numpy(raw[place.offset : place.end]).view_as(image), image)
        assert torch.equal(cache.several([path])[0], image)


def pixel_file(folder: Path) -> Path:
    (found,) = folder.glob("pixels-*.u8")
    return found


# --- what it gives -----------------------------------------------------------------------------------------


def test_pictures_of_all_kinds_are_what_decoding_gives(tmp_path, folder):
    paths = [paint(tmp_path / f"{i}.{ending}", i, SIZES[i]) for i, ending in enumerate(ENDINGS)]
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    Image.effect_noise((40, 16), 80).convert("RGB").save(turned, exif=exif)
    Image.effect_noise((20, 30), 80).save(tmp_path / "grey.png")
    Image.effect_noise((20, 30), 80).convert("RGBA").save(tmp_path / "clear.png")
    paths += [str(turned), str(tmp_path / "grey.png"), str(tmp_path / "clear.png")]
    cache, problems = build_pixels(folder, paths)
    assert_right(cache, paths)
    assert problems == {} and len(cache) == 7 and cache.several([str(turned)])[0].shape == (3, 40, 16)
    assert cache.bytes == pixel_file(folder).stat().st_size == sum(decoded(p).nbytes for p in paths)
    assert decoded_bytes(paths) == cache.bytes and decoded_bytes([]) == 0


def test_a_second_call_decodes_nothing(paths, folder, monkeypatch):
    build_pixels(folder, paths)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(pixels, "decode_pixels", lambda path: pytest.fail("decoded again"))
    cache, _ = build_pixels(folder, paths)
    assert_right(cache, paths)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("platform", ["linux", "win32"])  # elsewhere the map is read-only, and copied from
def test_what_one_writes_never_reaches_the_file(paths, folder, monkeypatch, platform):
    cache, _ = build_pixels(folder, paths)
    monkeypatch.setattr(sys, "platform", platform)
    cache.several([paths[0]])[0].zero_()
    assert_right(PixelFile(folder), paths)
    assert cache.check() == []


def test_new_pictures_are_added_and_the_old_ones_kept(tmp_path, paths, folder):
    build_pixels(folder, paths[:5])
    size = pixel_file(folder).stat().st_size
    cache, _ = build_pixels(folder, paths)
    assert_right(cache, paths)
    assert pixel_file(folder).stat().st_size == cache.bytes > size
    part, _ = build_pixels(folder, paths[3:6])
    assert_right(part, paths)  # asking for fewer throws nothing away


def test_changed_and_replaced_files_are_noticed(paths, folder):
    build_pixels(folder, paths)
    paint(Path(paths[0]), 100, (20, 20))
    state = os.stat(paths[1])
    paint(Path(paths[1]), 101, SIZES[1])
    os.utime(paths[1], ns=(state.st_atime_ns, state.st_mtime_ns - 10**9))  # an older file put in its place
    before = PixelFile(folder)
    cache, _ = build_pixels(folder, paths)
    assert_right(cache, paths)
    changed = {path for path in paths if cache.places[path] != before.places[path]}
    assert changed == {paths[0], paths[1]} and cache.name == before.name


def test_a_file_that_is_mostly_waste_is_begun_anew(paths, folder):
    first, _ = build_pixels(folder, paths)
    for i, path in enumerate(paths):
        paint(Path(path), 200 + i, SIZES[i % 4])
        os.utime(path, ns=(10**18, 10**18))
    second, _ = build_pixels(folder, paths)
    assert second.name != first.name and pixel_file(folder).stat().st_size == second.bytes
    assert_right(second, paths)


def test_pictures_that_cannot_be_read_are_named(paths, folder):
    Path(paths[2]).write_bytes(b"milk, eggs")
    os.remove(paths[7])
    cache, problems = build_pixels(folder, paths)
    assert set(problems) == {paths[2], paths[7]}
    assert problems[paths[2]].startswith("this is not an image") and "No such file" in problems[paths[7]]
    assert_right(cache, [path for path in paths if path not in problems])
    with pytest.raises(ImageError, match="2.jpg: this is not an image"):
        cache.several([paths[2]])[0]


def test_names_that_are_no_text(tmp_path, folder):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n\"'.png")
    shutil.move(paint(tmp_path / "x.png", 1), odd)
    cache, _ = build_pixels(folder, [odd])
    assert_right(PixelFile(folder), [odd])


# --- in a data set -----------------------------------------------------------------------------------------


def make_set(root: Path, counts=(8, 4, 4), sizes=SIZES) -> Path:
    seed = 0
    for split, count in zip(("train", "valid", "test"), counts, strict=True):
        for label in ("real", "fake"):
            for i in range(count):
                seed += 1
                paint(root / split / label / f"{i}.jpg", seed, sizes[seed % len(sizes)])
    return root


def test_load_with_a_cache_gives_the_same_sets(tmp_path, folder):
    root = make_set(tmp_path / "set")
    plain, cached = load(root), load(root, cache=folder)
    for split in ("train", "valid", "test"):
        a, b = getattr(plain, split), getattr(cached, split)
        assert a.paths == b.paths and a.labels.tolist() == b.labels.tolist()
        assert all(torch.equal(a.uint8(i), b.uint8(i)) for i in range(len(a)))
        assert all(torch.equal(a[i][0], b[i][0]) and a[i][1] == b[i][1] for i in range(len(a)))
        assert b.pixels is cached.train.pixels and b.pixels.folder == folder
    assert "pictures decoded on disk: 0.00 GB" in cached.card
    some = cached.train.subset([5, 0])
    assert some.pixels is cached.train.pixels and torch.equal(some.uint8(1), plain.train.uint8(0))


def test_disk_means_the_cache_folder_of_the_course(tmp_path, monkeypatch):
    root = make_set(tmp_path / "set")
    sets = load(root, cache="disk")
    assert sets.train.pixels.folder.parent == tmp_path / "cache" / "pixels"
    assert load(root, cache="disk").train.pixels.folder == sets.train.pixels.folder
    other = load(make_set(tmp_path / "other" / "set"), cache="disk")
    assert other.train.pixels.folder != sets.train.pixels.folder
    monkeypatch.chdir(tmp_path)
    assert load(root, cache=Path("disk")).train.pixels.folder == tmp_path / "disk"


def test_the_card_says_when_memory_is_too_small(tmp_path):
    root = make_set(tmp_path / "set")
    assert "load(..., cache=" not in load(root).card
    assert 'load(..., cache="disk") decodes once' in load(root, cache_bytes=10_000).card


def test_unreadable_pictures_stop_load_or_are_skipped(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(
        "course_lib.data.DECODE_AT_LOAD", 0
    )  # as for large sets: only both ends are looked at
    root = make_set(tmp_path / "set")
    broken = root / "train" / "fake" / "3.jpg"
    data = broken.read_bytes()
    broken.write_bytes(data[:3] + bytes(len(data) - 5) + data[-2:])
    assert len(load(root).train) == 16
    with pytest.raises(DataError) as caught:
        load(root, cache=folder)
    assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith("train/fake/3.jpg: ")
    sets = load(root, cache=folder, on_error="skip")
    assert len(sets.train) == 15 and str(broken) not in sets.train.paths
    assert sets.skipped == caught.value.problems


def test_a_data_set_of_ones_own(paths, folder):
    data = FaceDataset(paths, [0, 1] * 6, name="mine", transform=lambda x: x.sum())
    cached = data.cached(folder)
    assert cached.labels.tolist() == data.labels.tolist() and cached.name == "mine"
    assert [cached[i] for i in range(12)] == [data[i] for i in range(12)]
    Path(paths[4]).write_bytes(b"")
    with pytest.raises(DataError, match="mine .* has 1 fault:") as caught:
        data.cached(folder)
    assert caught.value.problems == [
        f"{paths[4]}: the file is empty; " + caught.value.problems[0].split("; ")[1]
    ]


@pytest.mark.parametrize("disk", [False, True])
def test_several_images_at_once(paths, folder, disk):
    data = FaceDataset(paths, [0, 1] * 6, cache_bytes=5_000)  # room for four of them
    data = data.cached(folder) if disk else data
    wanted = [3, 7, 3, -1, 0, *range(12)]
    for _ in range(2):
        found = data.uint8s(wanted)
        assert all(torch.equal(image, decoded(paths[i])) for image, i in zip(found, wanted, strict=True))
    assert data.uint8s([]) == []
    with pytest.raises(IndexError, match="there is no 12"):
        data.uint8s([0, 12])
    Path(paths[8]).write_bytes(b"")
    if not disk:
        with pytest.raises(ImageError, match="8.jpg: the file is empty"):
            data.uint8s(range(12))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_loader_processes_share_the_file(paths, folder, start):
    data = FaceDataset(paths[::4], [0, 1, 0]).cached(folder)
    data[0]
    assert len(pickle.dumps(data.pixels)) < 300
    again = pickle.loads(pickle.dumps(data))
    assert again.pixels.folder == folder and torch.equal(again.uint8(2), data.uint8(2))
    loader = torch.utils.data.DataLoader(data, num_workers=2, multiprocessing_context=start)
    for i, (image, y) in enumerate(loader):
        assert torch.equal(image[0], data[i][0]) and y == data.labels[i]
    assert i == 2


def test_training_gives_the_same_numbers(tmp_path, folder):
    root = make_set(tmp_path / "set")
    quick = {"epochs": 2, "batch_size": 8, "crop": 16, "progress": False, "device": "cpu"}
    results = []
    for cache in (None, folder):
        sets = load(root, cache=cache)
        results.append(fit(toy(), sets.train, sets.valid, run_dir=tmp_path / f"run {cache is None}", **quick))
    a, b = (result.model.state_dict() for result in results)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert results[0].history.train_loss.tolist() == results[1].history.train_loss.tolist()


def test_command_line(tmp_path, folder, capsys):
    root = make_set(tmp_path / "set")
    assert __main__.main(["data", "cache", str(root), "--folder", str(folder), "--check"]) == 0
    out = capsys.readouterr().out
    assert "32 decoded pictures checked, 0 of them" in out and out.splitlines()[-1] == str(folder)
    assert __main__.main(["data", "cache", str(root)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(str(tmp_path / "cache" / "pixels"))
    (tmp_path / "file").write_text("in the way")
    assert __main__.main(["data", "cache", str(root), "--folder", str(tmp_path / "file")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{tmp_path / 'file'}: decoded pictures cannot be kept here")
    assert captured.err.count("\n") == 1


# --- damage ------------------------------------------------------------------------------------------------


def flip(file: Path, at: int) -> None:
    with open(file, "r+b") as handle:
        handle.seek(at)
        byte = handle.read(1)[0]
        handle.seek(at)
        handle.write(bytes([byte ^ 1]))


def test_one_flipped_bit_is_noticed_told_and_mended(paths, folder):
    cache, _ = build_pixels(folder, paths)
    hit = cache.places[paths[5]]
    flip(pixel_file(folder), hit.end - 1)
    cache = PixelFile(folder)
    with pytest.warns(UserWarning, match=r"some cached pixels are damaged, first those of 5.jpg") as told:
        images = [cache.several([path])[0] for path in paths]
    assert len(told) == 1 and all(
        torch.equal(image, decoded(path)) for image, path in zip(images, paths, strict=True)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_right(PixelFile(folder), paths)


def test_check_finds_all_damage_also_later(paths, folder):
    cache, _ = build_pixels(folder, paths)
    assert cache.check() == []
    for i in (2, 9):
        flip(pixel_file(folder), cache.places[paths[i]].offset + 7)
    with pytest.warns(UserWarning, match="damaged"):
        assert cache.check() == [paths[2], paths[9]]
    assert cache.check() == []


def test_damage_whose_picture_has_changed_is_not_mixed_up(paths, folder):
    cache, _ = build_pixels(folder, paths)
    flip(pixel_file(folder), cache.places[paths[5]].offset)
    before = pixel_file(folder).read_bytes()
    paint(Path(paths[5]), 300, (20, 20))
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(cache.several([paths[5]])[0], decoded(paths[5]))
    assert pixel_file(folder).read_bytes() == before  # other pixels do not belong there
    assert_right(build_pixels(folder, paths)[0], paths)


@pytest.mark.parametrize("keep", [0, 1, 5000])
def test_a_pixel_file_that_was_cut_off(paths, folder, keep):
    build_pixels(folder, paths)
    os.truncate(pixel_file(folder), keep)
    with pytest.warns(UserWarning, match="decoded pictures were cut off; what is missing is decoded again"):
        cache, _ = build_pixels(folder, paths)
    assert_right(cache, paths)


def test_a_pixel_file_cut_off_while_it_is_in_use(paths, folder):
    cache, _ = build_pixels(folder, paths)
    cache.several([paths[0]])[0]
    os.truncate(pixel_file(folder), 5000)
    with pytest.warns(UserWarning, match="damaged"):
        assert all(torch.equal(cache.several([path])[0], decoded(path)) for path in paths)
    assert_right(cache, paths)


def test_a_pixel_file_that_is_gone(paths, folder):
    cache, _ = build_pixels(folder, paths)
    pixel_file(folder).unlink()
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(cache.several([paths[3]])[0], decoded(paths[3]))
    with pytest.warns(UserWarning, match="cut off"):
        assert_right(build_pixels(folder, paths)[0], paths)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: b"",
        lambda text: b"\xff" * 100,
        lambda text: text.replace(b"16", b"17", 1),
        lambda text: json.dumps({"format": 1}).encode(),
    ],
)
def test_a_damaged_index(paths, folder, spoil):
    build_pixels(folder, paths)
    index = folder / pixels.INDEX
    index.write_bytes(spoil(index.read_bytes()))
    with pytest.warns(UserWarning, match="index of the decoded pictures .* is decoded again"):
        cache, _ = build_pixels(folder, paths)
    assert_right(cache, paths)
    assert pixel_file(folder).stat().st_size == cache.bytes  # the old file has gone


# --- kill -9, two at once ----------------------------------------------------------------------------------

HELP = """
import os, random, signal, sys, time
from pathlib import Path
import tqdm.auto
from course_lib import pixels
pixels.SAVE_EVERY = 0.01
folder, paths = Path({folder!r}), {paths!r}
decode = pixels.decode_pixels
pixels.decode_pixels = lambda path: time.sleep(0.003) or decode(path)  # as long as a photograph takes

def in_a_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child
"""
KILLS = """
start = time.monotonic()
os.waitpid(in_a_child(lambda: pixels.build_pixels(folder.with_name("other"), paths)), 0)
whole = time.monotonic() - start
rng, killed, sizes = random.Random(0), 0, set()
while killed < 30:
    child = in_a_child(lambda: pixels.build_pixels(folder, paths))
    time.sleep(rng.uniform(0, whole / 2))
    os.kill(child, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    cache = pixels.PixelFile(folder)
    assert not cache.fault, cache.fault
    assert not cache.check(progress=False)
    sizes.add(len(cache))
    if len(cache) == len(paths):
        for old in folder.iterdir():
            old.unlink()
assert len(sizes) > 5, sizes
print("kills:", killed)
"""
TWO = """
children = [in_a_child(lambda: pixels.build_pixels(folder, paths)) for _ in range(3)]
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
"""


def run_python(code: str, **values) -> str:
    """Run code in a process of its own, from which it may fork."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HELP.format(**values) + code],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def many(tmp_path) -> list[str]:
    return [paint(tmp_path / "many" / f"{i}.jpg", i, SIZES[i % 4]) for i in range(120)]


def test_killed_at_random_moments_it_goes_on(many, folder):
    assert "kills: 30" in run_python(KILLS, folder=str(folder), paths=many)
    cache, problems = build_pixels(folder, many)
    assert_right(cache, many)
    assert not problems and pixel_file(folder).stat().st_size == cache.bytes


def test_an_interrupt_keeps_what_is_done(many, folder, monkeypatch):
    real, calls = pixels.decode_pixels, []

    def stop(path):
        calls.append(path)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(pixels, "decode_pixels", stop)
    with pytest.raises(KeyboardInterrupt):
        build_pixels(folder, many)
    kept = len(PixelFile(folder))
    assert 40 <= kept < len(many)
    cache, _ = build_pixels(folder, many)
    assert_right(cache, many)
    assert len(calls) <= 60 + 120 - kept + 20


def test_several_processes_at_once_make_one_file(many, folder):
    run_python(TWO, folder=str(folder), paths=many)
    cache = PixelFile(folder)
    assert_right(cache, many)
    assert pixel_file(folder).stat().st_size == cache.bytes  # each picture once


def test_one_that_waits_says_so(paths, folder, capsys):
    folder.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HELP.format(folder=str(folder), paths=[])
         + "with pixels._alone(folder): print('held', flush=True); time.sleep(3)"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    cache, _ = build_pixels(folder, paths)
    assert holder.wait() == 0
    assert "another process is adding pictures; waiting" in capsys.readouterr().err
    assert_right(cache, paths)


# --- disks that are full, or may not be written ------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with 128 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root on Linux")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def large(tmp_path) -> list[str]:
    """Twelve pictures of 12 kB each: 147 kB."""
    return [paint(tmp_path / "large" / f"{i}.jpg", i, (64, 64)) for i in range(12)]


def test_too_small_a_disk_is_told_before_anything_is_written(large, folder, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**5, 10**5)
    )
    with pytest.raises(DataError) as caught:
        build_pixels(folder, large)
    assert str(caught.value) == (
        f"{folder}: 12 decoded pictures need about 0.15 MB and 0.10 MB are free; "
        "free some space or choose a folder on another disk"
    )
    assert not list(folder.glob("pixels*"))
    assert len(build_pixels(folder, large[:6])[0]) == 6  # 74 kB would fit


def test_a_disk_that_is_too_small(large, small_disk):
    with pytest.raises(DataError, match="12 decoded pictures need about 0.15 MB and 0.1. MB are free"):
        build_pixels(small_disk / "pixels", large)


def test_a_disk_that_becomes_full(large, small_disk, monkeypatch):
    monkeypatch.setattr(pixels, "_demand_room", lambda folder, paths: None)
    with pytest.raises(
        DataError, match=r"cannot be kept here \(No space left on device\); free some"
    ) as caught:
        build_pixels(small_disk, large)
    assert "\n" not in str(caught.value)
    kept = PixelFile(small_disk)
    assert not kept.fault and 0 < len(kept) < 12 and kept.check() == []
    subprocess.run(["mount", "-o", "remount,size=400k", str(small_disk)], check=True)
    assert_right(build_pixels(small_disk, large)[0], large)


def test_a_limit_on_file_size(large, folder):
    """As on a full disk, for those who cannot mount one: a write that fails halfway."""
    code = f"""
import resource
from course_lib import DataError
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
try:
    pixels.build_pixels(folder, paths)
except DataError as error:
    assert "cannot be kept here (File too large)" in str(error), error
else:
    sys.exit("no error")
kept = pixels.PixelFile(folder)
assert not kept.fault and len(kept) == 60_000 // {3 * 64 * 64} and not kept.check(progress=False)
"""
    run_python(code, folder=str(folder), paths=large)
    assert_right(build_pixels(folder, large)[0], large)


def test_a_read_only_disk_is_read_but_not_written(large, small_disk):
    build_pixels(small_disk, large[:4])
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        cache, _ = build_pixels(small_disk, large[:4])
        assert_right(cache, large[:4])
        with pytest.raises(DataError, match=r"cannot be kept here \(Read-only file system\)"):
            build_pixels(small_disk, large[:5])
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


def test_folders_that_cannot_be_made_or_written(paths, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="cannot be kept here"):
            build_pixels(folder, paths)
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(DataError, match="Permission denied"):
            build_pixels(tmp_path / "closed", paths)


# --- memory ------------------------------------------------------------------------------------------------

READ_ALL = """
import resource
cache = pixels.PixelFile(folder)
most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = most()
for path in cache.places:
    assert int(cache.several([path])[0][0, 0, 0]) == 0
print(most() - before)
"""


def test_reading_everything_takes_little_memory(folder):
    """8,000 pictures of 256×256, 1.6 GB, as a file of zeros that takes no room on the disk."""
    folder.mkdir()
    with open(folder / "pixels-0.u8", "w+b", buffering=0) as file:
        one = 3 * 256 * 256
        file.truncate(8_000 * one)
        crc = pixels.zlib.crc32(bytes(one))
        places = {f"/nowhere/{i}.jpg": pixels.Place(1, 1, i * one, 256, 256, crc) for i in range(8_000)}
        pixels._write_index(file, folder, "pixels-0.u8", places)
    grown = int(run_python(READ_ALL, folder=str(folder), paths=[]))
    assert grown < 1.5 * pixels.REMAP_AFTER, grown


def test_headers_tell_the_size(tmp_path):
    assert image_size(paint(tmp_path / "a.png", 1, (31, 17))) == (31, 17)
    with pytest.raises(ImageError, match="b.jpg: there is no such file"):
        image_size(tmp_path / "b.jpg")


def test_train_command_with_a_cache(tmp_path, folder, capsys):
    root = make_set(tmp_path / "set", sizes=[(40, 40)])
    line = ["train", "--data", str(root), "--run-dir", str(tmp_path / "run"), "--cache", str(folder)]
    line += ["--epochs", "1", "--batch-size", "8", "--crop", "32", "--width", "4", "--device", "cpu"]
    assert __main__.main(line) == 0
    assert "pictures decoded on disk" in capsys.readouterr().out
    assert len(PixelFile(folder)) == 32

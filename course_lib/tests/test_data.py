"""load() and verify(): layouts to the letter, faults by name, honest splits, and the data set itself."""

import csv
import gc
import json
import os
import pickle
import shutil
import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from course_lib import DataError, DownloadError, ImageError, already_here, load, verify
from course_lib.catalogue import CATALOGUE, describe
from course_lib.data import FaceDataset, to_float
from course_lib.splits import difference_hash, near_duplicate_groups, split_groups

HARD = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "hard"
needs_hard = pytest.mark.skipif(not HARD.is_dir(), reason=f"{HARD} is not here")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.setattr("course_lib.catalogue.DOWNLOADS", tmp_path / "downloads")
    for name in CATALOGUE:
        monkeypatch.delenv(f"COURSE_{name.upper().replace('-', '_')}", raising=False)


def paint(path: Path, seed: int, size: int = 24) -> None:
    """A small JPEG that no other seed resembles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path, quality=90)


def make_pool(root: Path, real: int = 10, fake: int = 12, table: bool = True) -> Path:
    rows = []
    for label, count in (("real", real), ("fake", fake)):
        for i in range(1, count + 1):
            paint(root / label / f"{label}_{i}.jpg", seed=1000 * (label == "fake") + i)
            rows.append((f"{label}_{i}", label))
    if table:
        write_rows(root / "data.csv", ["images_id", "label"], rows)
    return root


def write_rows(path: Path, head: list[str], rows: list) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def make_rvsf(root: Path, counts=(6, 3, 3), tables: bool = True) -> Path:
    """The layout of rvsf to the letter: label 1 is *real* in its CSV files."""
    base, seed = root / "real_vs_fake" / "real-vs-fake", 0
    for split, count in zip(("train", "valid", "test"), counts, strict=True):
        rows = []
        for label in ("real", "fake"):
            for _ in range(count):
                seed += 1
                paint(base / split / label / f"{seed:05d}.jpg", seed)
                original = f"/kaggle/input/somewhere/{seed:05d}.jpg"
                rows.append([len(rows), original, f"{seed:05d}", int(label == "real"), label,
                             f"{split}/{label}/{seed:05d}.jpg"])  # fmt: skip
        if tables:
            write_rows(root / f"{split}.csv", ["", "original_path", "id", "label", "label_str", "path"], rows)
    return root


def edit_row(table: Path, line: int, column: str, value: str) -> None:
    rows = list(csv.reader(open(table, newline="")))
    rows[line][rows[0].index(column)] = value
    write_rows(table, rows[0], rows[1:])


def counts(sets):
    return {s: Counter(getattr(sets, s).labels.tolist()) for s in ("train", "valid", "test")}


# --- rvsf and its relatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("given_root", ["", "real_vs_fake", "real_vs_fake/real-vs-fake", ".."])
def test_rvsf_from_any_nearby_folder(tmp_path, given_root):
    root = make_rvsf(tmp_path / "archive" / "140k")
    sets = load("rvsf", root=root / given_root)
    assert counts(sets) == {"train": {0: 6, 1: 6}, "valid": {0: 3, 1: 3}, "test": {0: 3, 1: 3}}
    assert sets.class_names == ("real", "fake") and sets.name == "rvsf"
    for data in (sets.train, sets.valid, sets.test):
        assert all(("/fake/" in p) == bool(y) for p, y in zip(data.paths, data.labels, strict=True))
        assert all(os.path.isabs(p) for p in data.paths)
    assert "no CSV" not in sets.card and "train: 12 images, published 100,000" in sets.card


def test_studio_is_found_through_the_environment(tmp_path, monkeypatch):
    make_rvsf(tmp_path / "data" / "studio")
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "data"))
    sets = load("studio")
    assert len(sets.train) == 12 and sets.root.name == "real-vs-fake"
    assert "CC0" in sets.card and str(tmp_path) not in sets.card
    report = verify("studio")
    assert report.ok and report.counts["train"] == {"real": 6, "fake": 6}
    shutil.rmtree(tmp_path / "data" / "studio")
    with pytest.raises(DataError, match="embedded set is not in"):
        load("studio")


def test_every_fault_of_rvsf_is_listed_by_path(tmp_path):
    root = make_rvsf(tmp_path)
    base = root / "real_vs_fake" / "real-vs-fake"
    (base / "train/real/00001.jpg").unlink()  # a row without a file
    paint(base / "train/fake/extra.jpg", 999)  # a file without a row
    edit_row(root / "train.csv", 2, "label_str", "fake")  # 00002 is real
    edit_row(root / "train.csv", 3, "label", "0")  # 00003: the number says fake
    edit_row(root / "valid.csv", 2, "path", "valid/real/00013.jpg")  # 00013 twice, 00014 not at all
    edit_row(root / "test.csv", 1, "path", "../../etc/passwd")  # 00019 not at all
    edit_row(root / "test.csv", 2, "label_str", "maybe")  # 00020
    shutil.copy(base / "train/fake/00007.jpg", base / "test/fake/00022.jpg")  # the same file in two splits
    whole = (base / "test/fake/00023.jpg").read_bytes()
    (base / "test/fake/00023.jpg").write_bytes(whole[: len(whole) // 2])
    expected = {
        "train/real/00001.jpg": "missing",
        "train/fake/extra.jpg": "extra file",
        "train/real/00002.jpg": "calls it fake, but it lies in a folder real",
        "train/real/00003.jpg": "has the label 0, but other real rows have 1",
        "valid/real/00013.jpg": "listed twice",
        "valid/real/00014.jpg": "extra file",
        "../../etc/passwd": "does not name split/class/file",
        "test/real/00019.jpg": "extra file",
        "test/real/00020.jpg": "neither real nor fake",
        "test/fake/00022.jpg": "the same file as train/fake/00007.jpg",
        "train/fake/00007.jpg": "the same file as test/fake/00022.jpg",
        "test/fake/00023.jpg": "damaged or cut off",
    }
    with pytest.raises(DataError) as caught:
        load("rvsf", root=root)
    found = dict(problem.split(": ", 1) for problem in caught.value.problems)
    assert found.keys() == expected.keys()
    assert all(words in found[path] for path, words in expected.items()), found
    message = str(caught.value)
    assert "12 faults" in message and "2 more" in message and "skip" in message
    assert len(message.splitlines()) == 13

    sets = load("rvsf", root=root, on_error="skip")
    assert sorted(p.split(": ")[0] for p in sets.skipped) == sorted(expected)
    left = {"/".join(p.split("/")[-3:]) for d in (sets.train, sets.valid, sets.test) for p in d.paths}
    assert left & expected.keys() == {"valid/real/00013.jpg"}  # its first row was right
    assert "12 faults left out" in sets.card
    assert sorted(verify("rvsf", root=root).problems[: len(sets.skipped)]) == sorted(sets.skipped)


def test_a_row_in_the_wrong_csv_and_an_id_in_two_splits(tmp_path):
    root = make_rvsf(tmp_path)
    edit_row(root / "test.csv", 1, "path", "train/real/00001.jpg")
    edit_row(root / "test.csv", 2, "id", "00003")
    (root / "real_vs_fake/real-vs-fake/test/real/00019.jpg").unlink()
    with pytest.raises(DataError) as caught:
        load("rvsf", root=root)
    assert len(caught.value.problems) == 2
    assert "train/real/00001.jpg: listed twice, again in test.csv line 2" in caught.value.problems
    assert "gives it the id 00003, which train.csv has too" in caught.value.problems[1]


def test_one_of_three_csv_files_is_missing_or_all_are(tmp_path):
    root = make_rvsf(tmp_path)
    (root / "valid.csv").unlink()
    with pytest.raises(DataError, match="valid.csv: missing"):
        load("rvsf", root=root)
    (root / "train.csv").unlink()
    (root / "test.csv").unlink()
    assert "labels come from the folders' names alone" in load("rvsf", root=root).card


def test_csv_files_that_are_none(tmp_path):
    root = make_rvsf(tmp_path)
    for content, words in ((b"a,b\n1,2\n", "has the columns a, b"), (b"", "columns none"),
                           (b"path\n\xff\xfe\xfd", "cannot be read as a CSV")):  # fmt: skip
        (root / "train.csv").write_bytes(content)
        with pytest.raises(DataError, match=words):
            load("rvsf", root=root)


def test_windows_paths_and_byte_order_mark_in_the_csv(tmp_path):
    root = make_rvsf(tmp_path)
    for table in root.glob("*.csv"):
        table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"train/real/", b"train\\real\\"))
    assert len(load("rvsf", root=root).train) == 12


def test_sets_that_lack_a_split(tmp_path):
    root = make_rvsf(tmp_path / "a", tables=False) / "real_vs_fake" / "real-vs-fake"
    shutil.rmtree(root / "test")
    for i in range(6):
        paint(root / "valid" / ("real", "fake")[i % 2] / f"more{i}.jpg", 500 + i)
    sets = load("rvf10k", root=root)
    assert len(sets.train) == 12 and counts(sets)["valid"] == counts(sets)["test"] == {0: 3, 1: 3}
    assert not set(sets.valid.paths) & set(sets.test.paths) and "test is half of valid" in sets.card
    (root / "train").rename(root / "test")
    (root / "valid").rename(root / "train")
    sets = load(root)
    assert counts(sets) == {"train": {0: 5, 1: 5}, "valid": {0: 1, 1: 1}, "test": {0: 6, 1: 6}}
    (root / "train").rename(root / "valid")
    with pytest.raises(DataError, match="no train"):
        load(root)


def test_capital_letters_and_other_split_names(tmp_path):
    base = make_rvsf(tmp_path, tables=False) / "real_vs_fake" / "real-vs-fake"
    target = tmp_path / "x" / "Dataset"
    target.mkdir(parents=True)
    for old, new in (("train", "Train"), ("valid", "Validation"), ("test", "Test")):
        (base / old).rename(target / new)
        (target / new / "real").rename(target / new / "Real")
        (target / new / "fake").rename(target / new / "Fake")
    sets = load("deepfake-and-real", root=tmp_path / "x")
    assert counts(sets)["valid"] == {0: 3, 1: 3}
    assert all(("/Fake/" in p) == bool(y) for p, y in zip(sets.test.paths, sets.test.labels, strict=True))


# --- hardrvsf and plain folders ----------------------------------------------------------------------------


def test_hardrvsf_split_is_stratified_and_repeatable(tmp_path):
    root = make_pool(tmp_path, 20, 40)
    sets = load("hardrvsf", root=root)
    assert counts(sets) == {"train": {0: 14, 1: 28}, "valid": {0: 3, 1: 6}, "test": {0: 3, 1: 6}}
    again, other = load("hardrvsf", root=root), load("hardrvsf", root=root, split_seed=1)
    assert sets.test.paths == again.test.paths != other.test.paths
    everything = sorted(sets.train.paths + sets.valid.paths + sets.test.paths)
    assert len(set(everything)) == 60
    shutil.copytree(root / "real", tmp_path / "moved" / "real")
    shutil.copytree(root / "fake", tmp_path / "moved" / "fake")
    moved = load(tmp_path / "moved")  # another place, no CSV: the same split
    assert [Path(p).name for p in moved.test.paths] == [Path(p).name for p in sets.test.paths]


def test_near_duplicates_stay_on_one_side(tmp_path):
    root = make_pool(tmp_path, 12, 12, table=False)
    for i in range(1, 5):
        image = Image.open(root / "real" / f"real_{i}.jpg")
        image.save(root / "real" / f"again_{i}.jpg", quality=40)
        ImageEnhance.Brightness(image).enhance(1.1).resize((48, 48)).save(root / "real" / f"third_{i}.png")
    for seed in range(4):
        sets = load(root, split_seed=seed)
        sides = {}
        for split in ("train", "valid", "test"):
            for path in getattr(sets, split).paths:
                sides[Path(path).stem] = split
        for i in range(1, 5):
            assert len({sides[f"{word}_{i}"] for word in ("real", "again", "third")}) == 1
    assert "8 found" in sets.card


def test_faults_of_hardrvsf(tmp_path):
    root = make_pool(tmp_path)
    with open(root / "data.csv", "a") as file:
        file.write("real_999,real\nfake_3,fake\nreal_2,fake\nfake_4,unknown\n")
    paint(root / "fake" / "stranger.jpg", 4242)
    (root / "real" / "folder").mkdir()
    (root / "real" / ".DS_Store").write_bytes(b"x")
    (root / "real" / "Thumbs.db").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        load("hardrvsf", root=root)
    found = dict(problem.split(": ", 1) for problem in caught.value.problems)
    assert sorted(found) == [
        "fake/fake_3.jpg",
        "fake/stranger.jpg",
        "fake_4",
        "real/folder",
        "real/real_2.jpg",
        "real/real_999",
    ]
    assert "file is missing" in found["real/real_999"] and "listed twice" in found["fake/fake_3.jpg"]
    assert "calls it fake, but it lies in the folder real" in found["real/real_2.jpg"]
    assert "folder among the images" in found["real/folder"]
    sets = load("hardrvsf", root=root, on_error="skip")
    assert len(sets.train) + len(sets.valid) + len(sets.test) == 22 - 2 and len(sets.skipped) == 6


def test_one_picture_in_both_classes(tmp_path):
    root = make_pool(tmp_path, table=False)
    shutil.copy(root / "real" / "real_1.jpg", root / "fake" / "fake_1.jpg")
    with pytest.raises(DataError, match="fake/fake_1.jpg: the same file as real/real_1.jpg"):
        load(root)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda r: (r / "cats").mkdir() or (r / "dogs").mkdir(), "holds the folders cats, dogs; needed are"),
        (lambda r: paint(r / "real" / "1.jpg", 1), "has a folder real but no folder fake"),
        (lambda r: paint(r / "1.jpg", 1), "holds no folders; needed are"),
        (lambda r: (r / "real").mkdir() or (r / "fake").mkdir(), "holds no images"),
        (lambda r: make_rvsf(r, (1, 1, 1)) and shutil.rmtree(r / "real_vs_fake/real-vs-fake/test/fake"),
         "has a folder real but no folder fake"),
        (lambda r: make_pool(r, 2, 9), "each class needs at least three"),
        (lambda r: make_pool(r / "a", 1, 1) and make_pool(r / "b", 1, 1), r"several data sets \(a, b\)"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_learnt_from(tmp_path, make, words):
    root = tmp_path / "folder"
    root.mkdir()
    make(root)
    with pytest.raises(DataError, match=words) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_paths_and_names_that_are_wrong(tmp_path):
    file = tmp_path / "archive.zip"
    file.write_bytes(b"PK")
    for arguments, words in (
        (("rsvf",), "no folder called 'rsvf'; did you mean rvsf"),
        (("hard-rvsf",), "did you mean hardrvsf"),
        (("zzz",), "known are studio, rvsf"),
        ((tmp_path / "nowhere",), "there is no folder"),
        (("rvsf", tmp_path / "nowhere"), "there is no folder"),
        ((file,), "an archive; unpack it"),
        (("rvsf", make_pool(tmp_path / "pool")), "laid out otherwise"),
        ((tmp_path / "pool", tmp_path), "without it"),
    ):
        with pytest.raises(DataError, match=words):
            load(*arguments)
    with pytest.raises(ValueError, match="on_error"):
        load(tmp_path / "pool", on_error="ignore")
    assert len(load(str(tmp_path / "pool")).train) == 14


def test_deeply_wrapped_and_looping_folders(tmp_path):
    make_pool(tmp_path / "a" / "b" / "c" / "d", 4, 4)
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    assert len(load(tmp_path).train) > 0


@pytest.mark.parametrize("first, second", [("real", "Real"), ("valid", "val"), ("Test", "test")])
def test_of_two_folders_for_the_same_none_is_passed_over(tmp_path, first, second):
    root = make_rvsf(tmp_path, tables=False) / "real_vs_fake" / "real-vs-fake"
    place = root / "train" if first == "real" else root
    (place / first.lower()).rename(place / first)
    if (place / second).exists():
        pytest.skip("this file system does not tell capital letters from small ones")
    shutil.copytree(place / first, place / second)
    with pytest.raises(DataError, match="two folders") as caught:
        load(root)
    assert f"{min(first, second)} and {max(first, second)}" in str(caught.value)


def test_a_link_that_points_at_itself_is_a_fault_like_others(tmp_path):
    make_pool(tmp_path, table=False)
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "real" / "round.jpg").symlink_to("round.jpg")
    with pytest.raises(DataError, match="real/round.jpg: cannot be read"):
        load(tmp_path)
    assert len(load(tmp_path, on_error="skip").skipped) == len(verify(tmp_path).problems) == 1


# --- what was checked is remembered ------------------------------------------------------------------------


def test_second_load_decodes_nothing_and_changes_are_noticed(tmp_path, monkeypatch):
    root = make_pool(tmp_path / "set")
    first = load(root)
    with monkeypatch.context() as patch:
        patch.setattr("course_lib.filecheck.decode_image", lambda *a, **k: pytest.fail("decoded again"))
        assert load(root).test.paths == first.test.paths
    target = root / "real" / "real_3.jpg"
    target.write_bytes(target.read_bytes()[:200])
    with pytest.raises(DataError, match="real/real_3.jpg: the image is damaged or cut off"):
        load(root)


def test_verify_looks_anew_although_size_and_date_are_unchanged(tmp_path):
    root = make_pool(tmp_path / "set")
    load(root)
    target = root / "real" / "real_3.jpg"
    before = target.stat()
    target.write_bytes(bytes(before.st_size))
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(load(root).train)
    report = verify(root)
    assert not report.ok and report.problems == [
        "real/real_3.jpg: this is not an image; use a JPEG, PNG, WebP, GIF, BMP or TIFF image"
    ]
    assert "FAULT real/real_3.jpg" in report.text() and "1 fault" in report.text()


def test_a_damaged_or_unwritable_memory_does_no_harm(tmp_path, monkeypatch):
    root = make_pool(tmp_path / "set")
    load(root)
    for rubbish in ("", "[]", "{", json.dumps({"real/real_1.jpg": [1]}), json.dumps({"a": 3})):
        for memory in (tmp_path / "cache" / "checked").iterdir():
            memory.write_text(rubbish)
        assert len(load(root).train) == 14
    (tmp_path / "no_folder").write_text("")
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "no_folder"))
    assert len(load(root).train) == 14


def test_large_sets_are_looked_at_from_both_ends_only(tmp_path, monkeypatch):
    root = make_rvsf(tmp_path)
    monkeypatch.setattr("course_lib.data.DECODE_AT_LOAD", 0)
    with monkeypatch.context() as patch:
        patch.setattr("course_lib.filecheck.decode_image", lambda *a, **k: pytest.fail("decoded"))
        load("rvsf", root=root)
    target = root / "real_vs_fake/real-vs-fake/train/fake/00007.jpg"
    target.write_bytes(target.read_bytes()[:-30])
    with pytest.raises(DataError, match="train/fake/00007.jpg: the image is damaged"):
        load("rvsf", root=root)


# --- the data set itself -----------------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path) -> FaceDataset:
    return load(make_pool(tmp_path / "set")).train


def test_items(faces):
    image, y = faces[0]
    assert (
        image.dtype == torch.float32 and image.shape == (3, 24, 24) and 0 <= image.min() <= image.max() <= 1
    )
    assert type(y) is int and faces.labels.dtype == np.int64
    pixels = np.asarray(Image.open(faces.paths[0]))
    assert faces.uint8(0).dtype == torch.uint8
    assert np.array_equal(faces.uint8(0).permute(1, 2, 0), pixels)
    assert torch.equal(faces[-1][0], faces[len(faces) - 1][0])
    assert torch.equal(faces[np.int64(1)][0], faces[torch.tensor(1)][0])
    assert faces[0][0].data_ptr() != faces[0][0].data_ptr()  # a caller may change what it gets
    for wrong in (len(faces), -len(faces) - 1):
        with pytest.raises(IndexError, match="there is no"):
            faces[wrong]
    for wrong in (slice(0, 2), 1.0, "0", None):
        with pytest.raises(TypeError, match="subset"):
            faces[wrong]
    assert len(list(iter(faces))) == len(faces)


def test_transform_gets_uint8(tmp_path):
    sets = load(make_pool(tmp_path / "set"), transform=lambda x: (x.dtype, tuple(x.shape)))
    assert sets.valid[0][0] == (torch.uint8, (3, 24, 24))


def test_subset(faces):
    fakes = faces.subset(faces.labels == 1)
    assert len(fakes) == int(faces.labels.sum()) and fakes.labels.all() and fakes.split == "train"
    assert faces.subset([-1, 0]).paths == [faces.paths[-1], faces.paths[0]]
    assert faces.subset(slice(0, 4)).paths == faces.subset(range(4)).paths == faces.paths[:4]
    assert len(faces.subset([])) == 0 and faces.subset([]).labels.dtype == np.int64
    with pytest.raises(IndexError):
        faces.subset([99])
    with pytest.raises(IndexError, match="mask"):
        faces.subset(np.ones(3, bool))


def test_cache_is_bounded_and_stays_at_home(tmp_path):
    one = 3 * 24 * 24
    sets = load(make_pool(tmp_path / "set"), cache_bytes=4 * one)
    for data in (sets.train, sets.test):
        for i in range(len(data)):
            data.uint8(i)
    cache = sets.train.pixels
    assert len(cache.images) == 4 and cache.used == 4 * one
    assert sets.train.uint8(0) is sets.train.uint8(0)  # the early ones stay
    copy = pickle.loads(pickle.dumps(sets.train))
    assert copy.pixels.images == {} and len(pickle.dumps(sets.train)) < 5_000
    assert torch.equal(copy[3][0], sets.train[3][0])


@pytest.mark.parametrize("workers", [0, 2])
def test_in_a_data_loader(faces, workers):
    loader = torch.utils.data.DataLoader(faces, batch_size=4, num_workers=workers)
    images, labels = map(torch.cat, zip(*loader, strict=True))
    assert images.shape == (len(faces), 3, 24, 24) and labels.tolist() == faces.labels.tolist()
    assert torch.equal(images[5], to_float(faces.uint8(5)))


def test_a_file_that_vanishes_later_is_named(faces):
    os.remove(faces.paths[2])
    with pytest.raises(ImageError, match=f"{Path(faces.paths[2]).name}: there is no such file"):
        faces[2]


@pytest.mark.parametrize("label", [2, 0.7, "fake", None])
def test_labels_must_be_labels(label):
    with pytest.raises(DataError, match="0 .real. or 1 .fake."):
        FaceDataset(["a.jpg"], [label])
    assert FaceDataset(["a.jpg", "b.jpg"], [True, 0.0]).labels.tolist() == [1, 0]


@pytest.mark.parametrize("nothing", [None, 3, b"studio", ["studio"]])
def test_what_is_no_name_and_no_folder(nothing):
    for call in (load, verify):
        with pytest.raises(DataError, match=f"not a {type(nothing).__name__}$"):
            call(nothing)
    with pytest.raises(DataError, match="root=.*not a int$"):
        load("studio", root=3)
    with pytest.raises(DataError):
        FaceDataset(["a.jpg"], [0, 1])


# --- splits: properties ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=60), st.integers(0, 3))
def test_groups_stay_together_and_order_does_not_matter(members, seed):
    groups, labels = np.array([g for g, _ in members]), np.array([int(y) for _, y in members])
    keys = [f"{i:03d}.jpg" for i in range(len(members))]
    shares = {"train": 0.7, "valid": 0.15, "test": 0.15}
    result = split_groups(keys, labels, groups, shares, seed)
    assert sorted(i for chosen in result.values() for i in chosen) == list(range(len(members)))
    sides = [{int(groups[i]) for i in chosen} for chosen in result.values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    order = np.random.default_rng(seed).permutation(len(members))
    shuffled = split_groups([keys[i] for i in order], labels[order], 100 - groups[order], shares, seed)
    for split, chosen in result.items():
        assert {keys[order[i]] for i in shuffled[split]} == {keys[i] for i in chosen}


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 200), st.integers(3, 200), st.integers(0, 5))
def test_every_class_gets_its_share(real, fake, seed):
    labels = np.array([0] * real + [1] * fake)
    keys = [str(i) for i in range(len(labels))]
    shares = {"train": 0.7, "valid": 0.15, "test": 0.15}
    for split, chosen in split_groups(keys, labels, np.arange(len(labels)), shares, seed).items():
        for y, total in ((0, real), (1, fake)):
            assert abs(np.sum(labels[chosen] == y) - shares[split] * total) <= 1.5
            assert np.sum(labels[chosen] == y) >= 1


def test_groups_are_connected_components():
    a = int("0" * 64, 16)
    chain = [a, a | (1 << 20) - 1, a | (1 << 40) - 1, (1 << 256) - 1]  # 20 bits apart each, then far away
    hashes = [f"{value:064x}" for value in chain]
    assert len(set(near_duplicate_groups(hashes).tolist())) == 2
    assert len(set(near_duplicate_groups(hashes, near=19).tolist())) == 4
    assert len(near_duplicate_groups([])) == 0


def test_flat_pictures_are_alike_only_if_equal():
    red, red2, blue = (Image.new("RGB", (9, 9), c) for c in ("red", "red", "blue"))
    groups = near_duplicate_groups([difference_hash(i) for i in (red, red2, blue)])
    assert groups[0] == groups[1] != groups[2]


# --- downloads ---------------------------------------------------------------------------------------------


def fake_kagglehub(monkeypatch, download):
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))


def test_download_by_kagglehub_and_its_cache(tmp_path, monkeypatch):
    asked = []

    def download(handle):
        asked.append(handle)
        home = tmp_path / "kaggle" / "datasets" / handle
        make_pool(home / "versions" / "2")
        (home / "2.complete").touch()
        (home / "versions" / "10").mkdir()  # begun and never finished: no mark
        return str(home / "versions" / "2")

    fake_kagglehub(monkeypatch, download)
    assert len(load("hardrvsf").train) == len(load("hardrvsf").train) == 14
    assert asked == ["hamzaboulahia/hardfakevsrealfaces"]  # the second time nobody was asked


def test_a_set_that_is_already_here_is_found_without_a_network(tmp_path, monkeypatch):
    assert already_here("hardrvsf") is None and already_here("studio") is None
    home = tmp_path / "kaggle" / "datasets" / CATALOGUE["hardrvsf"].handle
    for version in ("2", "10"):
        make_pool(home / "versions" / version)
        (home / f"{version}.complete").touch()
    assert already_here("hardrvsf") == home / "versions" / "10"
    make_pool(tmp_path / "downloads" / "hardrvsf")
    assert already_here("hardrvsf") == tmp_path / "downloads" / "hardrvsf"
    make_pool(tmp_path / "mine")
    monkeypatch.setenv("COURSE_HARDRVSF", str(tmp_path / "mine"))
    assert already_here("hardrvsf") == tmp_path / "mine"
    assert load("hardrvsf").root == tmp_path / "mine"
    monkeypatch.setenv("COURSE_HARDRVSF", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="COURSE_HARDRVSF names .*not a folder"):
        already_here("hardrvsf")
    for odd in ("Hard", None, 3):
        with pytest.raises(DataError, match="known are studio"):
            already_here(odd)


class Answer(Exception):
    def __init__(self, status):
        self.response = types.SimpleNamespace(status_code=status)


class ConnectionError_(Exception):
    pass


@pytest.mark.parametrize(
    "error, words",
    [
        (Answer(403), "an API token"),
        (Answer(401), "an API token"),
        (Answer(404), "no longer has it"),
        (Answer(502), "status 502"),
        (ConnectionError_("Max retries exceeded with url"), "is there a network"),
        (OSError(28, "No space left on device"), "No space left"),
        (RuntimeError("odd\nthing"), r"RuntimeError \(odd\)"),
    ],
)
def test_downloads_that_fail_say_what_to_do(monkeypatch, error, words):
    def download(handle):
        raise error

    fake_kagglehub(monkeypatch, download)
    with pytest.raises(DownloadError, match=words) as caught:
        load("rvsf")
    assert 'load("rvsf", root="its folder")' in str(caught.value) and "\n" not in str(caught.value)
    assert "https://www.kaggle.com/datasets/xhlulu/140k-real-and-fake-faces" in str(caught.value)


def test_without_kagglehub(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DownloadError, match="pip install kagglehub"):
        load("rvsf")


def test_catalogue_in_words():
    assert set(CATALOGUE) == {"studio", "rvsf", "hardrvsf", "rvf10k", "deepfake-and-real"}
    assert all(name in describe() for name in CATALOGUE) and "NC-SA" in describe("rvsf")


# --- the real thing ----------------------------------------------------------------------------------------


@needs_hard
def test_the_whole_hard_set():
    sets = load("hardrvsf", root=HARD)
    labels = np.concatenate([sets.train.labels, sets.valid.labels, sets.test.labels])
    assert len(labels) == 1289 and labels.sum() == 700
    assert "published" not in sets.card
    for data in (sets.train, sets.valid, sets.test):
        assert all(
            Path(p).name.startswith(("real", "fake")[y]) for p, y in zip(data.paths, data.labels, strict=True)
        )
        assert abs(data.labels.mean() - 700 / 1289) < 0.01
    assert sets.train[0][0].shape == (3, 300, 300)


@needs_hard
def test_its_three_faulty_cousins_in_one_error(tmp_path):
    root = tmp_path / "hard"
    for name in ("real", "fake"):
        (root / name).mkdir(parents=True)
        for path in sorted((HARD / name).iterdir())[:40]:
            (root / name / path.name).symlink_to(path)
    chosen = {p.stem for p in root.glob("*/*.jpg")}
    rows = [row for row in csv.reader(open(HARD / "data.csv")) if row[0] in chosen]
    write_rows(root / "data.csv", ["images_id", "label"], [row for row in rows if row[0] != "fake_10"])
    (root / "real" / "real_10.jpg").unlink()
    whole = (root / "fake" / "fake_100.jpg").read_bytes()
    (root / "fake" / "fake_100.jpg").unlink()
    (root / "fake" / "fake_100.jpg").write_bytes(whole[:5000])
    with pytest.raises(DataError) as caught:
        load("hardrvsf", root=root)
    found = dict(problem.split(": ", 1) for problem in caught.value.problems)
    assert found.keys() == {"real/real_10", "fake/fake_10.jpg", "fake/fake_100.jpg"}
    assert "missing" in found["real/real_10"] and "extra" in found["fake/fake_10.jpg"]
    assert "damaged or cut off" in found["fake/fake_100.jpg"]
    assert all(key in str(caught.value) for key in found)
    assert len(load("hardrvsf", root=root, on_error="skip").skipped) == 3


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(DataError("two faults", ["a.jpg: x", "b.jpg: y"])))
    assert (str(error), error.problems) == ("two faults", ["a.jpg: x", "b.jpg: y"])


# --- to the letter: each of these statements once survived a change of the code that it now forbids --------


def test_the_card_of_a_named_set(tmp_path):
    entry = CATALOGUE["rvsf"]
    assert str(load("rvsf", root=make_rvsf(tmp_path))).splitlines() == [
        "rvsf: 140k Real and Fake Faces",
        "  train  12 images, 6 real and 6 fake",
        "  valid  6 images, 3 real and 3 fake",
        "  test   6 images, 3 real and 3 fake",
        "  labels: real = 0, fake = 1, by name",
        "  split: as published",
        "  train: 12 images, published 100,000",
        "  valid: 6 images, published 20,000",
        "  test: 6 images, published 20,000",
        "  real: 12 images, published 70,000",
        "  fake: 12 images, published 70,000",
        f"  {entry.words}",
        f"  licence: {entry.licence}",
    ]


def test_the_card_of_a_folder_and_of_its_data_sets(tmp_path):
    root = make_pool(tmp_path / "pool", 10, 14)
    (root / "real" / "real_3.jpg").write_bytes(b"no picture")
    sets = load(root, split_seed=2, on_error="skip")
    assert str(sets).splitlines() == [
        "pool: a folder of images",
        "  train  15 images, 5 real and 10 fake",
        "  valid  4 images, 2 real and 2 fake",
        "  test   4 images, 2 real and 2 fake",
        "  labels: real = 0, fake = 1, by name",
        "  split: drawn, seed 2, near-duplicates kept together (0 found)",
        "  1 faults left out, listed in .skipped",
    ]
    assert sets.root == root and repr(sets.train) == "FaceDataset(pool train: 15 images, 5 real and 10 fake)"
    assert [p.split(": ")[0] for p in sets.skipped] == ["real/real_3.jpg"]
    assert repr(FaceDataset([], [])) == "FaceDataset(images all: 0 images, 0 real and 0 fake)"


def test_what_does_not_fit_into_memory_is_told(tmp_path, monkeypatch):
    root, bytes_of_all = make_pool(tmp_path / "pool"), 22 * 3 * 24 * 24
    assert "decoded:" not in load(root, cache_bytes=bytes_of_all).card
    *_, last = load(root, cache_bytes=bytes_of_all - 1).card.splitlines()
    assert last == (
        "  decoded: 0.0 GB, of which 0.0 GB are kept in memory; "
        'load(..., cache="disk") decodes once, onto the disk'
    )
    monkeypatch.setattr("course_lib.data.decoded_bytes", lambda paths: 450_000_000)
    assert "  decoded: 0.5 GB, of which 0.1 GB are kept" in load(root, cache_bytes=50_000_000).card
    assert load(root).train.pixels.limit == FaceDataset([], []).pixels.limit == 1_000_000_000
    assert FaceDataset([], [], cache_bytes=7).pixels.limit == load(root, cache_bytes=7).test.pixels.limit == 7


@pytest.mark.parametrize("where", ["disk", "a folder"])
def test_pictures_decoded_onto_the_disk(tmp_path, monkeypatch, where):
    root = make_pool(tmp_path / "pool")
    cache = tmp_path / "pixels" if where == "a folder" else where
    sets, usual = load(root, cache=cache), load(root)
    assert "  pictures decoded on disk: 0.00 GB" in sets.card.splitlines()
    assert sets.train.pixels is sets.valid.pixels is sets.test.pixels
    folder = sets.train.pixels.folder
    if where == "a folder":
        assert folder == cache
    else:
        assert folder.parent == tmp_path / "cache" / "pixels" and folder.name.startswith("pool-")
    for i in range(len(sets.train)):
        assert torch.equal(sets.train.uint8(i), usual.train.uint8(i))
    monkeypatch.setattr("course_lib.pixels._states", lambda paths: pytest.fail("looked at the files again"))
    monkeypatch.setattr("course_lib.pixels.PixelFile.bytes", 5_000_000)
    assert "  pictures decoded on disk: 0.01 GB" in load(root, cache=cache).card.splitlines()


def test_what_only_decoding_finds_is_a_fault_beside_the_others(tmp_path, monkeypatch):
    root = make_rvsf(tmp_path / "set", tables=False)
    base = root / "real_vs_fake/real-vs-fake"
    (base / "train/real/00001.jpg").write_bytes(b"no picture")
    long = base / "train/fake" / f"{'a' * 230}.jpg"
    whole = (base / "train/fake/00007.jpg").rename(long).read_bytes()
    long.write_bytes(whole[: len(whole) // 2] + b"\xff\xd9" + whole[-2:])  # both ends look right
    monkeypatch.setattr("course_lib.data.DECODE_AT_LOAD", 0)
    assert len(load(root, on_error="skip").skipped) == 1  # nobody has decoded the other one
    sets = load(root, cache=tmp_path / "pixels", on_error="skip")
    key = f"train/fake/{'a' * 230}.jpg"
    assert [fault.split(": ")[0] for fault in sets.skipped] == [
        "train/real/00001.jpg",
        f"{key[:100]}…{key[-100:]}",
    ]
    assert str(long) not in sets.train.paths and len(sets.train) == 10
    with pytest.raises(DataError) as caught:
        load(root, cache=tmp_path / "pixels")
    assert caught.value.problems == sets.skipped


def test_one_set_moved_to_the_disk(tmp_path):
    data = load(make_pool(tmp_path / "pool"), transform=lambda x: x[0, 0, 0]).train
    cached = data.cached(tmp_path / "pixels")
    assert cached.pixels.folder == tmp_path / "pixels" and cached.paths == data.paths
    assert (cached.name, cached.split, cached.transform) == (data.name, data.split, data.transform)
    assert (cached.labels == data.labels).all() and torch.equal(cached.uint8(2), data.uint8(2))
    Path(data.paths[1]).write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        data.cached(tmp_path / "others")
    [problem] = caught.value.problems
    assert problem.startswith(f"{data.paths[1]}: this is not an image")
    assert str(caught.value).splitlines()[:2] == [
        f"pool in {tmp_path / 'others'} has 1 fault:",
        f"  {problem}",
    ]
    deep = tmp_path / ("folder" * 30) / ("deeper" * 30) / "1.jpg"
    with pytest.raises(DataError) as caught:
        FaceDataset([deep], [0]).cached(tmp_path / "deep")
    assert len(caught.value.problems[0].split(": ")[0]) == 201  # a hundred characters from either end, and …


def test_faults_are_told_up_to_ten(tmp_path):
    root = make_pool(tmp_path / "pool", 20, 20, table=False)
    for count in (1, 2, 10, 11, 12):
        for i in range(1, count + 1):
            (root / "real" / f"real_{i}.jpg").write_bytes(b"no picture")
        with pytest.raises(DataError) as caught:
            load(root)
        problems, lines = caught.value.problems, str(caught.value).splitlines()
        assert len(problems) == count
        assert lines[0] == f"pool in {root} has {count} fault{'' if count == 1 else 's'}:"
        assert lines[1 : 1 + min(count, 10)] == [f"  {problem}" for problem in problems[:10]]
        more = [f"  … and {count - 10} more, in the error's .problems"] if count > 10 else []
        assert lines[1 + min(count, 10) :] == [
            *more,
            'Repair the data set, or leave these files out with load(..., on_error="skip").',
        ]


def test_the_table_of_verify(tmp_path):
    root = make_rvsf(tmp_path / "some", tables=False)
    assert verify(root).text().splitlines() == [
        "some",
        "  split         real      fake",
        "  train            6         6",
        "  valid            3         3",
        "  test             3         3",
        "  no CSV files beside it: labels come from the folders' names alone",
        "  all is well",
    ]
    pool = make_pool(tmp_path / "pool", 22, 1, table=False)
    assert verify(pool).text().splitlines()[2] == "  all             22         1"
    head = ["pool", "  split         real      fake"]
    for count in (1, 2, 20, 21):
        for i in range(1, count + 1):
            (pool / "real" / f"real_{i}.jpg").write_bytes(b"no picture")
        report = verify(pool)
        assert not report.ok and report.counts == {"all": {"real": 22 - count, "fake": 1}}
        more = [f"  … and {count - 20} more"] if count > 20 else []
        assert report.text().splitlines() == [
            *head,
            f"  all     {22 - count:10d}         1",
            "  no CSV files beside it: labels come from the folders' names alone",
            *[f"  FAULT {problem}" for problem in report.problems[:20]],
            *more,
            f"  {count} fault{'' if count == 1 else 's'}",
        ]
    assert len(report.text(shown=3).splitlines()) == 4 + 3 + 2


def test_verify_counts_what_was_published(tmp_path):
    report = verify("hardrvsf", root=make_pool(tmp_path / "pool"))
    assert report.name == "hardrvsf"
    assert report.problems == ["real: 10 images, published 589", "fake: 12 images, published 700"]


def test_checksums_are_those_of_the_embedded_set_only(tmp_path, monkeypatch):
    data = tmp_path / "data"
    monkeypatch.setenv("COURSE_DATA_DIR", str(data))
    make_rvsf(data / "studio")
    notes = verify("studio").notes
    assert notes[-1] == "no SHA256SUMS there, so the files' checksums were not compared"
    (data / "SHA256SUMS").write_text(f"{'0' * 64}  studio/gone.jpg\n{'0' * 64}  checkpoints/gone.json\n")
    report = verify("studio")
    assert "studio/gone.jpg: missing" in report.problems and not report.notes[len(notes) - 1 :]
    assert not any("checkpoints" in problem for problem in report.problems)
    shutil.copy(
        data / "studio/real_vs_fake/real-vs-fake/train/fake/00007.jpg",
        data / "studio/real_vs_fake/real-vs-fake/test/fake/00022.jpg",
    )
    both = verify("studio").problems  # what the files say is told beside what the checksums say
    assert any("the same file as" in problem for problem in both) and "studio/gone.jpg: missing" in both
    for others in (verify(data / "studio"), verify("studio", root=data / "studio")):
        assert not any("gone.jpg" in problem for problem in others.problems)
    kaggle = tmp_path / "kaggle" / "datasets" / CATALOGUE["hardrvsf"].handle
    make_pool(kaggle / "versions" / "1")
    (kaggle / "1.complete").touch()
    assert not any("gone" in text for text in verify("hardrvsf").problems)


def test_pixels_lie_between_0_and_1():
    assert to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    assert to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)).dtype == torch.float32
    assert to_float(torch.tensor([255.0], dtype=torch.float64)).dtype == torch.float32


def test_images_are_counted_from_either_end(faces):
    n = len(faces)
    assert faces.uint8(-n) is faces.uint8(0) and faces.uint8(n - 1) is faces.uint8(-1)
    with pytest.raises(IndexError) as error:
        faces[n]
    assert str(error.value) == f"set train has {n} images, from 0 to {n - 1}; there is no {n}"
    with pytest.raises(TypeError) as error:
        faces[1.0]
    assert str(error.value) == "choose an image by a whole number, not a float; several by .subset(...)"


def test_a_subset_shares_what_was_decoded(tmp_path):
    data = load(make_pool(tmp_path / "set"), transform=lambda x: x.float().mean()).train
    part = data.subset([2, 1])
    assert part.pixels is data.pixels and part.uint8(0) is data.uint8(2)
    assert (part.name, part.split, part.transform) == ("set", "train", data.transform)
    assert data.subset(iter([1])).paths == data.subset(np.array([1])).paths == [data.paths[1]]


def test_a_class_that_is_missing_from_a_split_is_named(tmp_path):
    root = make_rvsf(tmp_path / "few", tables=False) / "real_vs_fake" / "real-vs-fake"
    for file in (root / "test" / "fake").iterdir():
        file.write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        load(tmp_path / "few", on_error="skip")
    assert str(caught.value) == (
        "few: too few usable fake images, none is left for test; each class needs at least three that differ"
    )


def test_a_set_without_valid_gives_a_seventh_of_train(tmp_path):
    root = make_rvsf(tmp_path / "a", (20, 3, 3), tables=False) / "real_vs_fake" / "real-vs-fake"
    shutil.rmtree(root / "valid")
    sets = load(root, split_seed=1)
    assert counts(sets) == {"train": {0: 17, 1: 17}, "valid": {0: 3, 1: 3}, "test": {0: 3, 1: 3}}
    assert "  split: valid is 15 % of train, seed 1, near-duplicates kept together (0 found)" in sets.card


def test_small_sets_are_decoded_when_loaded_and_the_limit_belongs_to_them(tmp_path, monkeypatch):
    root = make_rvsf(tmp_path)
    target = root / "real_vs_fake/real-vs-fake/train/fake/00007.jpg"
    whole = target.read_bytes()
    middle = len(whole) // 2
    target.write_bytes(whole[:middle] + b"\xff\xd9" + whole[-2:])  # both ends look right, the middle is gone
    monkeypatch.setattr("course_lib.data.DECODE_AT_LOAD", 23)
    assert len(load("rvsf", root=root).train) == 12
    monkeypatch.setattr("course_lib.data.DECODE_AT_LOAD", 24)
    with pytest.raises(DataError, match="train/fake/00007.jpg"):
        load("rvsf", root=root)


def test_a_folder_is_meant_where_a_path_is_given(tmp_path, monkeypatch):
    make_pool(tmp_path / "rvsf_")
    monkeypatch.chdir(tmp_path)
    assert load("rvsf_").name == "rvsf_"
    for arguments, sentence in (
        (("rvsv",), "there is no data set and no folder called 'rvsv'; did you mean rvsf or hardrvsf?"),
        (("rvsf_", tmp_path),
         "root= goes with a data set's name; give a folder of your own without it"),
        (("XXL",), "there is no data set and no folder called 'XXL'; known are " + ", ".join(CATALOGUE)),
        (("rvf",), "there is no data set and no folder called 'rvf'; did you mean rvsf or rvf10k?"),
    ):  # fmt: skip
        with pytest.raises(DataError) as caught:
            load(*arguments)
        assert str(caught.value) == sentence
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "empty"))
    with pytest.raises(DataError) as caught:
        load("studio")
    assert str(caught.value) == (
        f"the embedded set is not in {tmp_path / 'empty' / 'studio'}; get it with git or data/make_studio.py"
    )
    with pytest.raises(ValueError) as caught:
        load("rvsf_", on_error="ignore")
    assert str(caught.value) == "on_error is 'stop' or 'skip', not 'ignore'"


def test_a_set_to_be_split_is_decoded_however_large_it_is(tmp_path, monkeypatch):
    root = make_pool(tmp_path, 12, 12, table=False)
    Image.open(root / "real" / "real_1.jpg").save(root / "real" / "again.jpg", quality=40)
    monkeypatch.setattr("course_lib.data.DECODE_AT_LOAD", 0)
    assert "near-duplicates kept together (1 found)" in load(root).card  # only pixels can tell


def test_nothing_but_damaged_files_left_out(tmp_path):
    root = make_pool(tmp_path / "set", 3, 3, table=False)
    for file in root.glob("*/*.jpg"):
        file.write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        load(root, on_error="skip")
    assert str(caught.value).startswith("set: too few usable real images, none is left for train; ")


def test_paths_become_full_and_those_that_are_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, full in (
        ("a.jpg", tmp_path / "a.jpg"),
        (Path("a.jpg"), tmp_path / "a.jpg"),
        (f"{tmp_path}/x/../a.jpg", tmp_path / "a.jpg"),
        (f"{tmp_path}//a.jpg", tmp_path / "a.jpg"),
    ):
        assert FaceDataset([path], [0]).paths == [str(full)]
    # asked of 140,000 full paths, abspath would take longer than everything else
    monkeypatch.setattr(os.path, "abspath", lambda path: pytest.fail("worked out a path that is full"))
    assert FaceDataset(["/some/folder/a.jpg"], [0]).paths == ["/some/folder/a.jpg"]


def test_no_garbage_is_looked_for_while_a_set_is_loaded(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("course_lib.data.twins", lambda items, facts: seen.append(gc.isenabled()) or {})
    load(make_pool(tmp_path / "set"))
    assert seen == [False] and gc.isenabled()


def test_tables_are_looked_for_no_farther_above_than_a_set_has_them(tmp_path):
    make_pool(tmp_path / "pool", table=False)
    write_rows(tmp_path / "data.csv", ["images_id", "label"], [("another_1", "real")])
    assert "labels come from the folders' names alone" in load("hardrvsf", root=tmp_path / "pool").card
    base = make_rvsf(tmp_path / "a" / "b") / "real_vs_fake" / "real-vs-fake"
    assert "labels come from" not in load("rvsf", root=base).card  # two folders above
    for table in (tmp_path / "a" / "b").glob("*.csv"):
        table.rename(tmp_path / "a" / table.name)
    assert "labels come from the folders' names alone" in load("rvsf", root=base).card

"""The parts of `studio` beside its splits: loaded, refused when damaged, and what they promise."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import ndimage

from course_lib import DataError, audit, load, load_spliced, load_unseen, unseen_generators

ROOT = Path(__file__).resolve().parents[2]
STUDIO = ROOT / "data" / "studio"
SHIPPED = ["flow", "vae"]  # unseen generators
shipped = pytest.mark.skipif(not STUDIO.is_dir(), reason="installed without a checkout")


def write(path: Path, rows: list[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def studio(tmp_path, monkeypatch) -> Path:
    """A data folder with three spliced pictures and two generators of four fakes each; its studio/."""
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "studio"
    rng = np.random.default_rng(0)

    def picture(name: str) -> str:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 12, 3), dtype=np.uint8)).save(folder / name)
        return name

    rows = [["path", "mask", "original", "region", "person"]]
    for k, region in enumerate(("eyes", "mouth", "eyes")):
        mask = np.zeros((16, 12), bool)
        mask[2 : 5 + k, 3:9] = True
        path = picture(f"spliced/{k}.jpg")
        Image.fromarray(mask).save(folder / "spliced" / f"{k}.png")
        rows.append([path, f"spliced/{k}.png", picture(f"real_vs_fake/test/real/{k}.jpg"), region, 50 + k])
    write(folder / "spliced" / "spliced.csv", rows)

    rows = [["path", "label_str", "generator", "id", "person"]]
    for generator, label in (("", "real"), ("vae", "fake"), ("flow", "fake")):
        for k in (3, 1, 2, 0):
            path = picture(f"unseen/{generator or 'real'}/{k}.jpg")
            rows.append([path, label, generator, k, 60 + k])
    write(folder / "unseen" / "unseen.csv", rows)
    return folder


def test_unseen_generators_are_named_and_loaded_in_pairs(studio):
    assert unseen_generators() == ["flow", "vae"]
    data = load_unseen("vae")
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    places = [Path(path).relative_to(studio).as_posix() for path in data.paths]
    assert places == [f"unseen/{folder}/{k}.jpg" for folder in ("real", "vae") for k in range(4)]
    assert data.uint8(0).shape == (3, 16, 12) and data.uint8(0).dtype == torch.uint8
    image, y = data[5]
    assert y == 1 and image.dtype == torch.float32 and 0 <= image.min() and image.max() <= 1
    assert load_unseen("flow", transform=lambda x: x.sum())[0][0] == data.uint8(0).sum()
    assert "4 real and 4 fake" in repr(data)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Vae", "did you mean 'vae'"),
        ("stylegan3", "there are flow and vae"),
        ("", "there are flow and vae"),
        (None, "there are flow and vae"),
        ("real", "called 'real'"),
        ("../spliced", "called '../spliced'"),
        ("a\nb", "there are flow and vae"),
    ],
)
def test_unknown_generators(studio, name, words):
    with pytest.raises(DataError, match=words) as caught:
        load_unseen(name)
    assert "\n" not in str(caught.value)


def test_spliced_pictures_have_masks_regions_and_originals(studio):
    faces = load_spliced()
    assert len(faces) == 3 and faces.regions == ("eyes", "mouth")
    assert [faces.region(i) for i in range(3)] == ["eyes", "mouth", "eyes"]
    assert faces.person(-1) == 52 and faces.region(-2) == "mouth"
    for i in range(3):
        assert faces.uint8(i).shape == faces.original(i).shape == (3, 16, 12)
        assert faces.uint8(i).dtype == faces.original(i).dtype == torch.uint8
        assert faces.mask(i).dtype == torch.bool and faces.mask(i).shape == (16, 12)
        assert faces.mask(i).sum() == (3 + i) * 6 and faces.mask(i)[2, 3] and not faces.mask(i)[0, 0]
    image, mask = faces[1]
    assert image.dtype == torch.float32 and torch.equal(mask, faces.mask(1))
    data = faces.as_dataset()
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(data.uint8(1), faces.original(1)) and torch.equal(data.uint8(4), faces.uint8(1))
    assert len(list(faces)) == 3
    assert repr(faces) == "SplicedFaces(3 pictures: eyes, mouth)"


@pytest.mark.parametrize("index", [3, -4, 99])
def test_spliced_pictures_that_are_not_there(studio, index):
    with pytest.raises(IndexError, match=f"there are 3 spliced pictures, from 0 to 2; there is no {index}"):
        load_spliced().mask(index)


@pytest.mark.parametrize("index", ["1", None, 1.0, [0]])
def test_pictures_are_chosen_by_whole_numbers(studio, index):
    with pytest.raises(TypeError, match="by a whole number, not a"):
        load_spliced().uint8(index)


@pytest.mark.parametrize(
    ("name", "load_it", "words"),
    [
        ("unseen/vae/2.jpg", lambda: load_unseen("vae"), "unseen/vae/2.jpg: "),
        ("unseen/real/0.jpg", lambda: load_unseen("flow"), "unseen/real/0.jpg: "),
        ("spliced/1.jpg", load_spliced, "spliced/1.jpg: "),
        ("spliced/1.png", load_spliced, "spliced/1.png: "),
        ("real_vs_fake/test/real/2.jpg", load_spliced, "real_vs_fake/test/real/2.jpg: "),
    ],
)
def test_missing_and_damaged_files_are_named(studio, name, load_it, words):
    whole = (studio / name).read_bytes()
    load_it()  # all well: this must not be remembered
    for damaged in (whole[: len(whole) // 2], b"", b"a page" * 50, None):
        if damaged is None:
            (studio / name).unlink()
        else:
            (studio / name).write_bytes(damaged)
        with pytest.raises(DataError, match=words) as caught:
            load_it()
        assert "\n" not in str(caught.value) and "restore data/studio" in str(caught.value)
        assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith(name)
    (studio / name).write_bytes(whole)
    load_it()


def test_damage_to_one_family_leaves_the_other_usable(studio):
    (studio / "unseen" / "vae" / "1.jpg").unlink()
    assert len(load_unseen("flow")) == 8
    with pytest.raises(DataError, match="vae"):
        load_unseen("vae")


@pytest.mark.parametrize(
    ("name", "load_it"),
    [("unseen/vae/9.jpg", lambda: load_unseen("vae")), ("spliced/9.png", load_spliced)],
)
def test_extra_files_are_named(studio, name, load_it):
    Image.new("RGB", (12, 16)).save(studio / name)
    with pytest.raises(DataError, match="9.* an extra file, not listed"):
        load_it()


def rewritten(table: Path, old: str, new: str) -> None:
    text = table.read_text("utf-8")
    assert old in text
    table.write_text(text.replace(old, new, 1), "utf-8")


@pytest.mark.parametrize(
    ("part", "old", "new", "words"),
    [
        ("unseen", "path,", "place,", "needed are path, label_str"),
        ("unseen", ",fake,", ",forged,", "'forged' is neither real nor fake"),
        ("unseen", "unseen/vae/1.jpg", "../../secret.jpg", "no path below"),
        ("unseen", "unseen/vae/1.jpg", "", "nothing is no path below"),
        ("spliced", "spliced/0.png", "/etc/passwd", "no path below"),
        ("spliced", ",mouth,", ",,", "names no person or no region"),
        ("spliced", ",51", ",somebody", "names no person or no region"),
    ],
)
def test_odd_tables(studio, part, old, new, words):
    rewritten(studio / part / f"{part}.csv", old, new)
    with pytest.raises(DataError, match=words) as caught:
        load_unseen("vae") if part == "unseen" else load_spliced()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "words"), [((16, 13), "differ in size"), ((16, 12), "an empty mask")], ids=["size", "empty"]
)
def test_odd_masks(studio, shape, words):
    Image.fromarray(np.zeros(shape, bool)).save(studio / "spliced" / "1.png")
    with pytest.raises(DataError, match=words):
        load_spliced()


@pytest.mark.parametrize("part", ["unseen", "spliced"])
def test_a_part_that_is_not_there(studio, part):
    table = studio / part / f"{part}.csv"
    table.write_text(table.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    with pytest.raises(DataError, match="lists no pictures"):
        unseen_generators() if part == "unseen" else load_spliced()
    table.unlink()
    with pytest.raises(DataError, match=f"{part}.csv is not there; restore"):
        unseen_generators() if part == "unseen" else load_spliced()


# --- what ships


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return pd.read_csv(STUDIO / "people.csv")


def in_group(people: pd.DataFrame, split: str, label: str) -> dict[int, int]:
    chosen = people[(people["split"] == split) & (people["label"] == label)]
    return dict(zip(chosen["person"], chosen["id"], strict=True))


@shipped
def test_it_works_from_any_folder(tmp_path):
    code = "from course_lib import load_spliced; print(len(load_spliced()))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "200"


@shipped
def test_spliced_people_are_those_of_the_real_test_pictures(people):
    faces = load_spliced()
    allowed = in_group(people, "test", "real")
    persons = [faces.person(i) for i in range(len(faces))]
    assert len(set(persons)) == len(faces) == 200
    for path, original, person in zip(faces.paths, faces.original_paths, persons, strict=True):
        assert Path(path).stem == Path(original).stem == str(allowed[person])
        assert Path(original).parts[-3:-1] == ("test", "real")
    counts = pd.Series([faces.region(i) for i in range(len(faces))]).value_counts()
    assert len(counts) == 5 and counts.min() == counts.max() == 40


@shipped
def test_masks_say_where_the_pictures_differ():
    faces = load_spliced()
    for i in range(len(faces)):
        change = (faces.uint8(i).int() - faces.original(i).int()).abs().amax(0).numpy()
        mask = faces.mask(i).numpy()
        assert 0.03 <= mask.mean() <= 0.15, faces.paths[i]
        # The blend reaches some pixels over the mask's edge, and JPEG spreads a change over its blocks of
        # 16×16 and one pixel of the next: farther away not one bit differs.
        far = ndimage.distance_transform_edt(~mask) > 4 + 16 * 2**0.5 + 2
        assert far.mean() > 0.3 and not change[far].any(), faces.paths[i]
        near = ~mask & ~far
        assert change[mask].mean() > 2 and change[mask].mean() > 3 * change[near].mean(), faces.paths[i]
        assert ndimage.label(mask)[1] == 1, "a region in one piece"


@shipped
def test_spliced_pictures_keep_the_bounds_of_the_audit():
    data = load_spliced().as_dataset()
    person = np.arange(len(data)) % (len(data) // 2)
    table = audit(data.subset(person % 2 == 0), data.subset(person % 2 == 1)).table.set_index("name")
    for name in ("16×16 thumbnail", "border ring", "file size", "mean colour", "JPEG table"):
        assert 0.40 <= table.loc[name, "auc"] <= 0.60, f"{name}: {table.loc[name, 'auc']:.3f}"


# --- what ships: unseen generators


@shipped
def test_unseen_pictures_are_the_fake_test_people_in_order(people):
    assert unseen_generators() == SHIPPED
    forger = load("studio").test
    fakes = [path for path, y in zip(forger.paths, forger.labels, strict=True) if y == 1]
    listing = pd.read_csv(STUDIO / "unseen" / "unseen.csv").fillna({"generator": "real"})
    for _, rows in listing.groupby("generator"):
        assert dict(zip(rows["person"], rows["id"], strict=True)) == in_group(people, "test", "fake")
    for generator in unseen_generators():
        data = load_unseen(generator)
        n = len(data) // 2
        assert n == len(fakes) == 300 and data.labels.tolist() == [0] * n + [1] * n
        stems = [[Path(path).stem for path in paths] for paths in (data.paths[:n], data.paths[n:], fakes)]
        assert stems[0] == stems[1] == stems[2]


@shipped
@pytest.mark.parametrize("generator", SHIPPED)
def test_unseen_fakes_show_what_their_photographs_show(generator):
    """Paired on equal content: seen from afar the two are one picture, and close to they are not."""
    data = load_unseen(generator)
    n = len(data) // 2
    for i in range(0, n, 7):
        real, fake = data.uint8(i).double(), data.uint8(n + i).double()
        afar = [torch.nn.functional.avg_pool2d(x[None], 8)[0].flatten() for x in (real, fake)]
        assert np.corrcoef(*afar)[0, 1] > 0.98, data.paths[i]
        assert (real - fake).abs().mean() > 1, data.paths[i]


@shipped
@pytest.mark.parametrize("generator", SHIPPED)
def test_unseen_fakes_keep_the_bounds_of_the_audit(generator):
    data = load_unseen(generator)
    person = np.arange(len(data)) % (len(data) // 2)
    pairs = ((load("studio").train, data), (data.subset(person % 2 == 0), data.subset(person % 2 == 1)))
    for train, test in pairs:
        table = audit(train, test).table.set_index("name")
        for name in ("16×16 thumbnail", "border ring", "file size", "mean colour", "JPEG table"):
            assert 0.40 <= table.loc[name, "auc"] <= 0.60, f"{name}: {table.loc[name, 'auc']:.3f}"

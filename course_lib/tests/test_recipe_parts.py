"""The recipe of unseen/ and spliced/: regions, blending, training and re-drawing, in miniature."""

import csv
import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

DATA = Path(__file__).resolve().parents[2] / "data"
if not (DATA / "recipe").is_dir():
    pytest.skip("the recipe is only in a checkout", allow_module_level=True)
pytest.importorskip("scipy")
sys.path.insert(0, str(DATA))

from recipe import assemble, camera, splice, train_unseen  # noqa: E402
from recipe.people import draw_person  # noqa: E402
from recipe.scene import project, rotation  # noqa: E402

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets" / "makehuman"
SIDE = 144
PEOPLE = {person: draw_person(0, person) for person in range(40)}


def photo(person: int) -> np.ndarray:
    """A smooth picture of nothing, with camera noise, another for each person."""
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    grey = 0.3 + 0.2 * np.sin(5 * x + person) * np.cos(4 * y)
    light = (grey[..., None] * np.array([1.0, 0.8, 0.6])).astype(np.float32)
    return camera.expose(light, np.random.default_rng(person))


def inverted(picture: np.ndarray, seed: int) -> np.ndarray:
    return 255 - picture


def disc(person, region: str, side: int, radius: float = 16) -> np.ndarray:
    """Stands in for Landmarks: a disc whose place depends on the region."""
    angle = np.linspace(0, 2 * np.pi, 40)
    middle = side / 2 + 4 * list(splice.REGIONS).index(region) - 8
    return middle + radius * np.stack([np.cos(angle), np.sin(angle)], 1)


# --- where a region is


def test_projection_knows_left_right_up_and_far():
    origin, aim = np.array([0.0, 7.0, 20.0]), np.array([0.0, 7.0, 0.0])
    fov = 2 * np.degrees(np.arctan(0.1))  # 4 decimetres high at the aim
    points = np.array([[0, 7, 0], [2, 7, 0], [0, 9, 0], [1, 7, 10.0]])
    seen = project(points, origin, aim, fov, 100)
    np.testing.assert_allclose(seen, [[50, 50], [100, 50], [50, 0], [100, 50]], atol=1e-9)


def test_projection_is_the_same_from_every_side():
    origin, aim = np.array([0.0, 0.0, 20.0]), np.zeros(3)
    points = np.random.default_rng(0).normal(size=(20, 3))
    turn = rotation(40, 0, 0)
    straight = project(points, origin, aim, 20.0)
    np.testing.assert_allclose(project(points @ turn.T, turn @ origin, aim, 20.0), straight, atol=1e-9)


@pytest.mark.skipif(not ASSETS.is_dir(), reason="needs the MakeHuman assets")
def test_regions_lie_where_a_face_has_them():
    landmarks = splice.Landmarks(ASSETS)
    for person in list(PEOPLE.values())[:12]:
        places = {region: landmarks(person, region, SIDE) for region in splice.REGIONS}
        middle = {region: points.mean(0) for region, points in places.items()}
        rows = [middle[region][1] for region in ("forehead", "eyes", "nose", "mouth")]
        assert rows == sorted(rows) and rows[-1] - rows[0] > 20
        assert all(len(points) > 8 for points in places.values())
        eyes = np.ptp(places["eyes"][:, 0])
        assert eyes > 1.5 * np.ptp(places["nose"][:, 0])
        assert abs(middle["cheek"][0] - middle["nose"][0]) > 0.15 * eyes


def test_hidden_regions_are_not_chosen():
    hat = dataclasses.replace(PEOPLE[0], hat={"kind": "beanie"}, hair={"style": "buzz"})
    fringe = dataclasses.replace(PEOPLE[0], hat=None, hair={"style": "bob02"})
    assert not splice.may_be_redrawn(hat, "forehead") and splice.may_be_redrawn(hat, "eyes")
    assert not splice.may_be_redrawn(fringe, "eyes") and splice.may_be_redrawn(fringe, "mouth")


def test_regions_are_balanced_and_decided_by_the_seed():
    first, again, other = (splice.assign_regions(PEOPLE, 23, seed) for seed in (0, 0, 1))
    assert first == again != other
    counts = [list(first.values()).count(region) for region in splice.REGIONS]
    assert len(first) == 23 and set(counts) == {4, 5}
    assert all(splice.may_be_redrawn(PEOPLE[person], region) for person, region in first.items())
    with pytest.raises(ValueError, match="of 41 pictures, then nobody is left"):
        splice.assign_regions(PEOPLE, 41, 0)


# --- blending


def test_distance_is_measured_from_the_outline():
    distance = splice.signed_distance(disc(None, "nose", SIDE), SIDE)
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    middle = disc(None, "nose", SIDE)[:-1].mean(0)
    np.testing.assert_allclose(distance, np.hypot(x - middle[0], y - middle[1]) - 16, atol=0.6)


def test_share_is_soft_and_one_half_on_the_edge():
    distance = np.linspace(-10, 10, 201)[None]
    share = splice.soft_share(distance, 2.0)[0]
    assert share[0] == 1 and share[-1] == 0 and (np.diff(share) <= 0).all()
    assert share[120] == pytest.approx(0.5)
    assert np.flatnonzero((share > 0) & (share < 1)).size * 0.1 == pytest.approx(2 * splice.EDGE, abs=0.2)


def test_blend_is_the_fake_inside_and_the_photograph_outside():
    picture, share = photo(0), splice.soft_share(splice.signed_distance(disc(None, "eyes", SIDE), SIDE), 0)
    mixed = splice.blend(picture, 255 - picture, share)
    assert mixed.dtype == np.uint8
    assert np.array_equal(mixed[share == 0], picture[share == 0])
    assert np.array_equal(mixed[share == 1], 255 - picture[share == 1])


@pytest.mark.parametrize("radius", [5, 16, 60])
def test_masks_keep_their_bounds(radius):
    points = disc(None, "nose", SIDE, radius)
    for person in range(5):
        cropped, mask = splice.splice_one(photo(person), inverted, points, 0, person)
        assert cropped.shape == (128, 128, 3) and mask.shape == (128, 128) and mask.dtype == bool
        assert splice.AREA[0] - 0.002 <= mask.mean() <= splice.AREA[1] + 0.002
        untouched = camera.frame_crop(photo(person), assemble.rng_for(0, person, assemble._CROP))
        changed = (cropped != untouched).any(-1)
        assert changed[mask].mean() > 0.95 and not changed.all() and (changed & ~mask).sum() < 6 * mask.sum()


def spliced_in(out: Path, count: int = 10) -> dict[str, bytes]:
    regions = splice.assign_regions(PEOPLE, count, 0)
    names = {person: str(10_000 + person) for person in PEOPLE}
    originals = out / "real_vs_fake" / "real-vs-fake" / "test" / "real"
    originals.mkdir(parents=True, exist_ok=True)
    for person in regions:
        crop = camera.frame_crop(photo(person), assemble.rng_for(0, person, assemble._CROP))
        camera.save_jpeg(crop, originals / f"{names[person]}.jpg")
    areas = splice.make_spliced(regions, names, PEOPLE, photo, inverted, disc, out, 0)
    assert len(areas) == count
    return {p.name: p.read_bytes() for p in sorted((out / "spliced").iterdir())}


def test_splicing_is_repeatable_and_leaves_nothing_old(tmp_path):
    first = spliced_in(tmp_path / "one")
    assert first == spliced_in(tmp_path / "two")
    assert set(spliced_in(tmp_path / "one", 5)) < set(first)
    rows = list(csv.DictReader(io.StringIO(first["spliced.csv"].decode())))
    assert len(rows) == 10 and list(rows[0]) == ["path", "mask", "original", "region", "person"]
    for row in rows:
        name = str(10_000 + int(row["person"]))
        assert row["path"] == f"spliced/{name}.jpg" and row["mask"] == f"spliced/{name}.png"
        assert row["original"] == f"real_vs_fake/real-vs-fake/test/real/{name}.jpg"
        mask = Image.open(io.BytesIO(first[f"{name}.png"]))
        assert mask.mode == "1" and mask.size == (128, 128)


def test_a_photograph_that_is_not_the_original_is_refused(tmp_path):
    names = {person: str(10_000 + person) for person in PEOPLE}
    originals = tmp_path / "real_vs_fake" / "real-vs-fake" / "test" / "real"
    originals.mkdir(parents=True)
    (originals / "10003.jpg").write_bytes(camera.jpeg_bytes(photo(0)[:128, :128]))
    with pytest.raises(ValueError, match="10003.jpg is not the photograph of person 3"):
        splice.make_spliced({3: "nose"}, names, PEOPLE, photo, inverted, disc, tmp_path, 0)


# --- the unseen generators


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.stack([photo(person) for person in range(4)])


TINY = {
    "vae": {"steps": 4, "adversarial_from": 2, "batch": 2, "crop": 32, "width": 4, "code": 3},
    "flow": {"steps": 4, "batch": 2, "crop": 32, "width": 8},
}


@pytest.mark.parametrize("family", sorted(TINY))
def test_training_resumes_to_the_same_weights_and_redraws(family, tmp_path, photos):
    torch.set_num_threads(1)
    make, new_plan = train_unseen.FAMILIES[family]
    plan = new_plan(**TINY[family])

    def run(name: str, minutes: float | None = None) -> bool:
        out = tmp_path / f"{name}.safetensors"
        return train_unseen.train(photos, tmp_path / name, out, plan, minutes, make=make)

    assert run("whole")
    done = [run("parts", minutes=0) for _ in range(4)]  # each call is stopped by the clock after one step
    assert done == [False, False, False, True]
    weights = (tmp_path / "whole.safetensors").read_bytes()
    assert weights == (tmp_path / "parts.safetensors").read_bytes()
    with pytest.raises(SystemExit, match="another plan"):
        train_unseen.train(
            photos, tmp_path / "parts", tmp_path / "x", new_plan(**TINY[family] | {"steps": 5}), make=make
        )

    generator = train_unseen.load_generator(family, tmp_path / "whole.safetensors")
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = generator(photos[0], 1), generator(photos[0], 1), generator(photos[0], 2)
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's random state is left alone"
    assert first.dtype == np.uint8 and first.shape == photos[0].shape
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_patterns_are_orthonormal_and_the_smoothest_come_first():
    patterns = train_unseen.patch_patterns(48).flatten(1)
    torch.testing.assert_close(patterns @ patterns.T, torch.eye(48), atol=1e-5, rtol=0)
    flat = train_unseen.patch_patterns(3)
    assert torch.allclose(flat, flat.mean((2, 3), keepdim=True)), "grey and two colours, without detail"


def test_an_untrained_vae_shows_the_picture_already():
    torch.manual_seed(0)
    vae = train_unseen.FaceVae()
    x = torch.from_numpy(photo(0)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        mean, log_variance = vae.encode(x)
        y = vae.decode(vae.analyse(x), torch.full_like(mean, -12))
    assert mean.shape == (1, 16, SIDE // 4, SIDE // 4) and log_variance.shape == mean.shape
    difference = torch.nn.functional.avg_pool2d(x - y, 4)
    assert (difference - difference.mean((2, 3), keepdim=True)).abs().max() < 0.02, "but for its last bias"


def test_a_perfect_flow_gives_the_photograph_back(photos, monkeypatch):
    """Whoever knows the noise exactly is led straight back, in one step or in ten."""
    batch = torch.from_numpy(photos[:2]).permute(0, 3, 1, 2)
    clean = batch.float() / 127.5 - 1

    class Oracle(train_unseen.FaceFlow):
        def forward(self, x, t):
            t = t[:, None, None, None]
            return (x - (1 - t) * clean) / t

    for moves in (1, 10):
        monkeypatch.setattr(train_unseen, "MOVES", moves)
        assert (train_unseen.redraw(Oracle(8), batch, 0).int() - batch.int()).abs().max() <= 1


def test_assembled_pairs_differ_in_the_generator_alone(tmp_path):
    names = {3: "44444", 8: "11111", 5: "33333"}
    frames = tmp_path / "frames"
    frames.mkdir()
    for person in names:
        Image.fromarray(photo(person)).save(frames / f"real{person}.png")
        Image.fromarray(255 - photo(person)).save(frames / f"vae{person}.png")
    paths = {kind: (lambda p, kind=kind: frames / f"{kind}{p}.png") for kind in ("real", "vae")}

    def build(out: Path) -> dict[str, bytes]:
        assert assemble.assemble_unseen(names, paths, out, 0) == {"real": 3, "vae": 3}
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*.*"))}

    first = build(tmp_path / "one")
    assert first == build(tmp_path / "two") == build(tmp_path / "one")
    rows = list(csv.DictReader(io.StringIO(first["unseen/unseen.csv"].decode())))
    assert len(rows) == 6 and list(rows[0]) == ["path", "label_str", "generator", "id", "person"]
    for row in rows:
        assert row["path"] == f"unseen/{row['generator'] or 'real'}/{row['id']}.jpg"
        assert row["label_str"] == ("fake" if row["generator"] else "real")
        assert names[int(row["person"])] == row["id"]
    for name in names.values():
        pair = [np.asarray(Image.open(io.BytesIO(first[f"unseen/{k}/{name}.jpg"]))) for k in ("real", "vae")]
        crops = np.abs(pair[0].astype(int) + pair[1] - 255)
        assert np.median(crops) <= 3, "the same crop, mirrored alike, and inverted"

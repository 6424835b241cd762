"""The recipe of `studio`: the camera, the forger's training, and the assembly, in miniature.

The recipe lives beside the data in a checkout; where the library is installed alone these tests are skipped.
"""

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATA = Path(__file__).resolve().parents[2] / "data"
if not (DATA / "recipe").is_dir():
    pytest.skip("the recipe is only in a checkout", allow_module_level=True)
pytest.importorskip("scipy")
sys.path.insert(0, str(DATA))

from recipe import assemble, camera  # noqa: E402
from recipe.people import draw_person  # noqa: E402


def scene(side: int = 48, seed: int = 0) -> np.ndarray:
    """A smooth coloured scene with a bright and a dark half."""
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    grey = 0.05 + 0.5 * (x > 0.5) + 0.2 * np.sin(6 * y + seed)
    return (np.abs(grey)[..., None] * np.array([1.0, 0.8, 0.6])).astype(np.float32)


# --- the camera


def test_photograph_is_decided_by_the_seed():
    first, again = (camera.photograph(scene(), np.random.default_rng(3), side=32) for _ in range(2))
    other = camera.photograph(scene(), np.random.default_rng(4), side=32)
    assert first.dtype == np.uint8 and first.shape == (32, 32, 3)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_exposure_follows_the_light():
    """A scene ten thousand times brighter gives the same picture, give or take its noise."""
    dim = camera.expose(scene() * 0.01, np.random.default_rng(3)).astype(int)
    bright = camera.expose(scene() * 100, np.random.default_rng(3)).astype(int)
    assert abs(dim.mean() - bright.mean()) < 4
    assert 60 < bright.mean() < 200


def test_demosaic_restores_flat_colour_and_gradients():
    y, x = np.mgrid[0:16, 0:16].astype(np.float32)
    flat = np.broadcast_to(np.array([0.2, 0.5, 0.9], np.float32), (16, 16, 3))
    ramp = np.stack([0.01 * x, 0.01 * x + 0.1, 0.01 * x + 0.3], axis=-1)
    for light in (flat, ramp):
        restored = camera.demosaic(camera.mosaic(light))
        np.testing.assert_allclose(restored[3:-3, 3:-3], light[3:-3, 3:-3], atol=1e-5)


def test_demosaic_kernels_sum_to_one():
    for kernel in (
        camera.GREEN_AT_COLOUR,
        camera.COLOUR_IN_ROW,
        camera.COLOUR_IN_COLUMN,
        camera.COLOUR_AT_OTHER,
    ):
        assert kernel.sum() == pytest.approx(1)


def test_shot_noise_grows_with_light():
    rng = np.random.default_rng(0)
    dim, bright = (camera.sensor(np.full((64, 64), level), np.random.default_rng(1)) for level in (0.02, 0.7))
    assert bright.std() > 2 * dim.std() > 0
    assert abs(camera.sensor(np.full((64, 64), 0.4), rng).mean() - 0.4) < 0.01
    assert camera.sensor(np.full((8, 8), 9.0), rng).max() == 1


def test_tone_curve_keeps_black_white_and_order():
    x = np.linspace(-0.5, 1.5, 101)
    for contrast in (0.0, 0.35):
        y = camera.tone_curve(x, contrast)
        assert y[0] == 0 and y[-1] == pytest.approx(1) and (np.diff(y) >= 0).all()


@pytest.mark.parametrize(
    ("light", "words"),
    [
        (np.zeros((8, 8, 3)), "not black"),
        (np.full((8, 8, 3), np.nan), "finite"),
        (np.ones((8, 7, 3)), "even"),
        (np.ones((8, 8)), "even"),
    ],
    ids=["black", "nan", "odd", "grey"],
)
def test_expose_refuses_unusable_renders(light, words):
    with pytest.raises(ValueError, match=words):
        camera.expose(light, np.random.default_rng(0))


def test_crop_covers_the_frame_and_mirrors_half_the_time():
    frame = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    crops = {camera.frame_crop(frame, np.random.default_rng(i), 6).tobytes() for i in range(300)}
    assert len(crops) == 3 * 3 * 2
    with pytest.raises(ValueError, match="too small"):
        camera.frame_crop(frame, np.random.default_rng(0), 9)


def test_jpegs_share_their_tables_and_carry_no_metadata(tmp_path):
    pictures = [camera.photograph(scene(seed=i), np.random.default_rng(i), side=32) for i in range(3)]
    opened = [Image.open(io.BytesIO(camera.jpeg_bytes(picture))) for picture in pictures]
    assert all(image.quantization == opened[0].quantization for image in opened)
    assert all(not image.getexif() and "comment" not in image.info for image in opened)
    assert camera.save_jpeg(pictures[0], tmp_path / "a b.jpg") == (tmp_path / "a b.jpg").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["a b.jpg"]


# --- assembly


def test_groups_never_share_a_person():
    groups = assemble.plan_groups(train=5000, valid=10, test=20, forger=5000)
    people = [person for group in groups for person in range(group.first, group.first + assemble.BLOCK)]
    assert len(set(people)) == len(people)
    assert [(g.split, g.label, g.count) for g in groups[1:]] == [
        (split, label, count)
        for split, count in (("train", 5000), ("valid", 10), ("test", 20))
        for label in ("real", "fake")
    ]
    with pytest.raises(ValueError, match="train/real"):
        assemble.plan_groups(train=9999)


def test_chunks_cover_every_person_once_and_stay_balanced():
    groups = assemble.plan_groups(train=30, valid=7, test=12, forger=11)
    pieces = list(assemble.chunks(groups, 5))
    covered = [first + k for _, first, count in pieces for k in range(count)]
    assert sorted(covered) == sorted(g.first + k for g in groups for k in range(g.count))
    assert [group.split for group, _, _ in pieces[:3]] == ["forger"] * 3
    halfway = [group.label for group, _, _ in pieces[3 : 3 + (len(pieces) - 3) // 2]]
    assert abs(halfway.count("real") - halfway.count("fake")) <= 2


def test_assemble_writes_the_layout_of_the_140k_set(tmp_path):
    groups = assemble.plan_groups(train=4, valid=2, test=3, forger=0)
    members = [(group, list(range(group.first, group.first + group.count))) for group in groups]
    frames = tmp_path / "frames"

    def load_render(person: int) -> np.ndarray:
        return scene(144, seed=person)

    def invert(picture: np.ndarray, seed: int) -> np.ndarray:
        return 255 - picture

    for group, people in members[1:]:
        forger = invert if group.label == "fake" else None
        assert assemble.make_frames(people, load_render, frames, seed=0, forger=forger) == group.count
        assert (
            assemble.make_frames(people, load_render, frames, seed=0, forger=forger) == 0
        )  # resumed: all there

    def describe(person: int) -> dict[str, object]:
        return assemble.card_attributes(draw_person(0, person))

    def build(out: Path) -> dict[str, bytes]:
        counts = assemble.assemble(
            members,
            lambda group, person: frames / f"{person:06d}.png",
            describe,
            out,
            seed=0,
        )
        assert counts == {f"{g.split}/{g.label}": g.count for g in groups[1:]}
        return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    first, second = build(tmp_path / "one"), build(tmp_path / "two")
    assert first == second
    assert build(tmp_path / "one") == first  # built again in the same place: nothing old is left behind
    assert sum(name.endswith(".jpg") for name in first) == 18

    with open(tmp_path / "one" / "train.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["", "original_path", "id", "label", "label_str", "path"]
    assert [row[""] for row in rows] == [str(i) for i in range(8)]
    for row in rows:
        assert row["label"] == {"real": "1", "fake": "0"}[row["label_str"]]
        assert row["path"] == f"train/{row['label_str']}/{row['id']}.jpg"
        picture = Image.open(tmp_path / "one" / "real_vs_fake" / "real-vs-fake" / row["path"])
        assert picture.size == (128, 128) and len(row["id"]) == 5
    with open(tmp_path / "one" / "people.csv", newline="", encoding="utf-8") as file:
        people = list(csv.DictReader(file))
    assert (
        len(people) == 18
        and len({row["person"] for row in people}) == 18
        and {row["sex"] for row in people} == {"female", "male"}
    )


# --- the forger's training


def test_training_resumes_to_the_same_weights(tmp_path):
    torch = pytest.importorskip("torch")
    from recipe import train_forger

    torch.set_num_threads(1)
    photos = np.stack([camera.expose(scene(48, seed=i), np.random.default_rng(i)) for i in range(3)])
    plan = train_forger.Plan(steps=4, adversarial_from=2, batch=2, crop=32, width=4, code=3)

    def weights(name: str) -> bytes:
        return (tmp_path / name).read_bytes()

    assert train_forger.train(photos, tmp_path / "whole", tmp_path / "whole.safetensors", plan)
    for _ in range(4):  # each call is stopped by the clock after one step
        done = train_forger.train(photos, tmp_path / "parts", tmp_path / "parts.safetensors", plan, minutes=0)
    assert done
    assert weights("whole.safetensors") == weights("parts.safetensors")

    with pytest.raises(SystemExit, match="another plan"):
        other = train_forger.Plan(steps=5, adversarial_from=2, batch=2, crop=32, width=4, code=3)
        train_forger.train(photos, tmp_path / "parts", tmp_path / "x.safetensors", other)


def test_textures_and_spectra_notice_missing_noise():
    torch = pytest.importorskip("torch")
    from recipe import train_forger

    generator = torch.Generator().manual_seed(0)
    smooth = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    noisy, other = (smooth + 0.1 * torch.randn(smooth.shape, generator=generator) for _ in range(2))
    assert train_forger.texture_loss(noisy, other) < 0.3 * train_forger.texture_loss(smooth, noisy)
    distance = (train_forger.ring_spectrum(noisy) - train_forger.ring_spectrum(other)).abs().mean()
    assert (
        distance < 0.3 * (train_forger.ring_spectrum(noisy) - train_forger.ring_spectrum(smooth)).abs().mean()
    )
    assert train_forger.content_loss(noisy, noisy) == 0


def test_counted_bits_follow_the_size_of_the_file():
    torch = pytest.importorskip("torch")
    from recipe import train_forger

    pictures = [camera.photograph(scene(144, seed=i), np.random.default_rng(i)) for i in range(12)]
    sizes = np.array([len(camera.jpeg_bytes(picture)) for picture in pictures], float)
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    bits = train_forger.jpeg_bits(batch).numpy()
    assert np.corrcoef(np.log(sizes), np.log(bits))[0, 1] > 0.95

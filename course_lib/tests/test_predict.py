"""Detector: the order, the kinds of input, the preprocessing of the checkpoint, and errors that name the
picture."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from toys import toy

from course_lib import (
    CheckpointError,
    Detector,
    ImageError,
    Preprocessing,
    facenest,
    predict,
    save_checkpoint,
)
from course_lib.evaluation import to_probability


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(3)
    model = facenest(width=4)
    with torch.no_grad():  # untrained networks say 0.5 to everything; this one has opinions
        model.head[-1].weight.mul_(100)
    return save_checkpoint(
        tmp_path_factory.mktemp("c") / "small",
        model,
        preprocessing=Preprocessing(side=48, crop=32, crops=5),
        threshold=0.4,
        temperature=1.5,
        card="# Card",
    )


@pytest.fixture(scope="module")
def detector(folder):
    return Detector.load(folder, device="cpu")


def picture(width=60, height=50, seed=0):
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Twelve pictures of mixed sizes and formats."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for i in range(12):
        path = folder / f"picture {i} ü.{('png', 'jpg', 'webp', 'bmp')[i % 4]}"
        picture(40 + 13 * (i % 5), 40 + 7 * (i % 3), seed=i).save(path)
        paths.append(path)
    return paths


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


#  scores ---------------------------------------------------------------------------------------------------


def test_what_a_detector_carries(detector):
    assert detector.name == "small" and detector.threshold == 0.4 and detector.card == "# Card"
    assert detector.class_names == ("real", "fake") and detector.preprocessing.crops == 5
    assert not detector.model.training and "small" in repr(detector)
    assert [detector.label(p) for p in (0.39, 0.4, 0.9)] == ["real", "fake", "fake"]


def test_one_score_each_in_input_order_for_any_batch_size(detector, files):
    expected = np.concatenate([detector(path) for path in files])
    assert len(set(expected.round(6))) == 12, "the pictures should get different scores"
    for batch_size in (1, 3, 32):
        scores = detector(files, batch_size=batch_size)
        assert scores.dtype == np.float64 and scores.shape == (12,)
        np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_allclose(detector(files[::-1]), expected[::-1], atol=1e-6)


def test_the_score_by_hand(detector):
    pixels = torch.from_numpy(np.array(picture())).permute(2, 0, 1)
    views = detector.preprocessing.views(pixels)
    assert views.shape == (5, 3, 32, 32)
    with torch.no_grad():
        logits = detector.model((views / 255 - 0.5) / 0.25)
    expected = to_probability(logits.double().mean().numpy(), 1.5)
    np.testing.assert_allclose(detector(picture()), [expected], atol=1e-6)


def test_every_kind_of_input_gives_the_same_score(detector, tmp_path):
    image = picture()
    path = tmp_path / "x.png"
    image.save(path)
    kinds = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), image, np.array(image)]
    scores = detector(kinds)
    assert np.ptp(scores) < 1e-6
    for kind in kinds:
        np.testing.assert_allclose(detector(kind), scores[:1], atol=1e-6)
    stack = np.stack([np.array(picture(seed=s)) for s in range(3)])
    np.testing.assert_allclose(detector(stack), detector(list(stack)), atol=1e-6)
    np.testing.assert_allclose(detector(tuple(kinds)), scores, atol=1e-6)


def test_modes_and_formats(detector):
    image = picture()
    for mode in ("L", "RGBA", "P", "CMYK", "1", "I;16"):
        other = image.convert("L").convert("I;16") if mode == "I;16" else image.convert(mode)
        assert np.isfinite(detector(other)).all()


def test_a_generator_is_read_bit_by_bit(detector):
    made = []

    def many():
        for i in range(40):
            made.append(i)
            yield picture(seed=i)

    assert detector(many(), batch_size=8).shape == (40,) and made == list(range(40))


def test_only_a_few_pictures_are_in_memory_at_a_time(detector, monkeypatch):
    import weakref

    alive, most = weakref.WeakSet(), 0

    def decode(picture, index, preprocessing):
        nonlocal most
        tensor = torch.zeros(3, 64, 64, dtype=torch.uint8)
        alive.add(tensor)
        most = max(most, len(alive))
        return tensor

    monkeypatch.setattr(predict, "read_picture", decode)
    assert len(detector(["x"] * 60, batch_size=4)) == 60 and most <= 4


def test_nothing_in_nothing_out(detector):
    assert detector([]).shape == (0,) and detector([]).dtype == np.float64
    scores, messages = detector([], errors="collect")
    assert scores.shape == (0,) and messages == []


#  errors ---------------------------------------------------------------------------------------------------


def test_the_first_bad_picture_is_named(detector, files, tmp_path):
    bad = tmp_path / "not a picture.jpg"
    bad.write_text("hello")
    with pytest.raises(ImageError) as error:
        detector([files[0], bad, files[1]])
    assert str(bad) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ImageError, match=r"image number 2 \(bytes\)"):
        detector([files[0], files[1], b"rubbish"])


def test_collecting_goes_on(detector, files, tmp_path):
    wrong = [
        tmp_path / "gone.jpg",
        "",
        b"",
        b"GIF89a",
        picture(31, 60),
        np.zeros((50, 50, 2), np.uint8),
        None,
        5,
    ]
    mixed = [files[0], *wrong, files[1]]
    scores, messages = detector(mixed, errors="collect", batch_size=2)
    assert messages[0] is None and messages[-1] is None
    assert all(isinstance(m, str) and "\n" not in m and len(m) > 20 for m in messages[1:-1])
    assert np.isnan(scores[1:-1]).all()
    np.testing.assert_allclose(scores[[0, -1]], detector(files[:2]), atol=1e-6)
    assert str(tmp_path / "gone.jpg") in messages[1] and "31" in messages[5]


def test_all_bad(detector):
    scores, messages = detector(["a", "b"], errors="collect")
    assert np.isnan(scores).all() and None not in messages


@pytest.mark.parametrize("size", [(1, 1), (31, 200), (200, 31)])
def test_too_small(detector, size):
    with pytest.raises(ImageError, match="at least 32"):
        detector(picture(*size))
    assert len(detector(picture(32, 32))) == 1


def test_what_is_no_picture_at_all(detector):
    with pytest.raises(ImageError, match="a int is no picture"):
        detector(5)
    with pytest.raises(ImageError, match="no such file"):
        detector("nowhere.jpg")


def test_wrong_arguments(detector):
    with pytest.raises(ValueError, match="errors='ignore'"):
        detector([], errors="ignore")
    for batch_size in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="batch_size"):
            detector([], batch_size=batch_size)
    with pytest.raises(TypeError):
        detector([], preprocessing=Preprocessing())  # it is the checkpoint's, not the caller's


def test_loading_errors_are_passed_on(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        Detector.load(tmp_path / "gone")


def test_the_preprocessing_of_the_checkpoint_is_used(folder, detector, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["preprocessing"] = {"side": None, "crop": 0}
    (other / "config.json").write_text(json.dumps(config))
    whole = Detector.load(other, device="cpu")
    assert whole.preprocessing == Preprocessing()
    assert abs(whole(picture()) - detector(picture())) > 1e-3


def test_a_network_without_a_checkpoint():
    detector = Detector(toy(), device="cpu")
    assert detector([picture()]).shape == (1,) and detector.name == "unnamed"


@pytest.mark.parametrize("size", [(300, 200), (199, 301), (1300, 1100), (64, 64)])
@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing(side=96),
        Preprocessing(side=96, crop=40, crops=9),
        Preprocessing(crop=48, crops=5),
    ],
)
def test_cutting_first_changes_no_view(size, preprocessing):
    """What `looked_at` cuts away was never looked at: the views are those of the whole picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    whole = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.save(file, "PNG")
    for source in (pixels, image, file.getvalue()):
        cut = predict.read_picture(source, 0, preprocessing)
        assert torch.equal(preprocessing.views(cut), preprocessing.views(whole))

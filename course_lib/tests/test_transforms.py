"""Crops and augmentation: shapes, ranges, randomness from the generator alone, and the evidence kept."""

import io
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from course_lib import Augment, augment_batch, normalise, random_crop, transforms
from course_lib.transforms import AUGMENTS, training_batch


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator(seed))


def portraits(n=8, side=48):
    """Smooth pictures, as photographs are."""
    noise = torch.rand(n, 3, 6, 6, generator=generator(1))
    smooth = torch.nn.functional.interpolate(noise, (side, side), mode="bicubic").clamp(0, 1)
    return transforms.to_uint8(smooth)


def test_normalise():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(normalise(x), torch.tensor([-2.0, -1.2, 2.0]))
    torch.testing.assert_close(normalise(x / 255), normalise(x))
    torch.testing.assert_close(normalise(x, 0.0, 1.0), x / 255)


#  crops ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.integers(0, 999))
def test_a_crop_always_has_its_size(height, width, side, seed):
    crop = random_crop(picture(height, width), side, generator(seed))
    assert crop.shape == (3, side, side) and crop.dtype == torch.uint8


def test_a_crop_is_a_window_of_the_image_and_every_window_comes_up():
    image = torch.arange(3 * 6 * 7, dtype=torch.uint8).view(3, 6, 7)
    g, seen = generator(), set()
    for _ in range(300):
        crop = random_crop(image, 4, g)
        top, left = divmod(int(crop[0, 0, 0]), 7)
        assert torch.equal(crop, image[:, top : top + 4, left : left + 4])
        seen.add((top, left))
    assert seen == {(top, left) for top in range(3) for left in range(4)}


def test_a_small_image_is_reflected():
    image = torch.arange(3, dtype=torch.uint8).expand(3, 3, 3)
    row = transforms.pad_to(image, 7)[0, 3].tolist()
    assert row == [2, 1, 0, 1, 2, 1, 0]


def test_scaled_crops_shrink_and_enlarge():
    # a ramp whose slope tells by how much the picture was scaled
    image = torch.arange(200, dtype=torch.uint8).expand(3, 200, 200)
    g = generator()
    slopes = []
    for _ in range(100):
        crop = random_crop(image, 64, g, scale=(0.6, 1.6))[0, 32].float()
        slopes.append(float(crop[50] - crop[10]) / 40)
    assert 0.5 < min(slopes) < 0.72 and 1.5 < max(slopes) < 1.8


def test_grid_crops_are_fixed_and_inside():
    image = picture(50, 70)
    for number in (1, 4, 5, 9, 12, 16):
        crops = transforms.grid_crops(image, 32, number)
        assert len(crops) == number and all(crop.shape == (3, 32, 32) for crop in crops)
    centre, first = transforms.grid_crops(image, 32, 5)[:2]
    assert torch.equal(centre, image[:, 9:41, 19:51]) and torch.equal(first, image[:, :32, :32])
    assert transforms.grid_crops(image, 64, 1)[0].shape == (3, 50, 50)


def test_squares_and_scaling_down():
    image = picture(50, 80)
    assert torch.equal(transforms.centre_square(image), image[:, :, 15:65])
    square = transforms.centre_square(image)
    assert transforms.resize_down(square, 40).shape == (3, 40, 40)
    assert transforms.resize_down(square, 60) is square


#  augmentation
# -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(AUGMENTS))
def test_same_seed_same_pictures(name):
    images, augment = portraits(), Augment.named(name)
    before = images.clone()
    a, b, c = (augment_batch(images, augment, generator(seed)) for seed in (3, 3, 4))
    assert a.shape == images.shape and a.dtype == torch.uint8
    assert torch.equal(a, b) and torch.equal(images, before)
    assert torch.equal(a, c) == (name is None)
    assert torch.equal(a, images) == (name is None)


def test_global_random_numbers_play_no_part():
    torch.manual_seed(1)
    a = augment_batch(portraits(), AUGMENTS["strong"], generator())
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(a, augment_batch(portraits(), AUGMENTS["strong"], generator()))
    assert torch.equal(state, torch.get_rng_state())


def test_each_image_is_changed_in_its_own_way():
    same = portraits(1).expand(8, -1, -1, -1)
    changed = augment_batch(same, AUGMENTS["strong"], generator())
    assert len({x.numpy().tobytes() for x in changed}) == 8


def test_light_stays_close_strong_goes_further():
    images = portraits(64)

    def change(name, **off):
        augment = Augment(**{**AUGMENTS[name].__dict__, "flip": 0.0, **off})
        return (augment_batch(images, augment, generator()).float() - images.float()).abs().mean().item()

    assert 2 < change("light") < 15 < change("strong") < 60


def test_flip():
    images = portraits()
    assert torch.equal(augment_batch(images, Augment(flip=1.0), generator()), images.flip(-1))


def test_grey_has_no_colour():
    grey = augment_batch(portraits(), Augment(flip=0.0, grey=1.0), generator())
    assert (grey.float().amax(1) - grey.float().amin(1)).max() <= 1


def colours(**changes):
    one = torch.ones(1, 1, 1, 1)
    settings = {"brightness": 0 * one, "contrast": one, "saturation": one, "tint": one.expand(1, 3, 1, 1)}
    return settings | {name: value * settings.get(name, one) for name, value in changes.items()}


def test_colour_by_hand():
    x = torch.tensor([[0.2, 0.4], [0.4, 0.4], [0.6, 0.4]]).view(1, 3, 1, 2)
    same = transforms.adjust_colour(x, **colours())
    torch.testing.assert_close(same, x)
    settings = colours()
    settings["brightness"] = settings["brightness"] + 0.1
    torch.testing.assert_close(transforms.adjust_colour(x, **settings), x + 0.1)
    grey = transforms.adjust_colour(x, **colours(saturation=0.0))
    expected = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6
    torch.testing.assert_close(grey[0, :, 0, 0], torch.full((3,), expected))
    middle = (expected + 0.4) / 2
    torch.testing.assert_close(
        transforms.adjust_colour(x, **colours(contrast=0.5)), (x - middle) * 0.5 + middle
    )
    torch.testing.assert_close(
        transforms.adjust_colour(x, gamma=torch.full((1, 1, 1, 1), 2.0), **colours()), x**2
    )


def test_blur_keeps_the_mean_and_matches_torchvision():
    from torchvision.transforms.v2 import functional as TF

    x = torch.rand(2, 3, 24, 24, generator=generator())
    blurred = transforms.gaussian_blur(x, torch.tensor([0.5, 1.2]))
    for i, sigma in enumerate((0.5, 1.2)):
        expected = TF.gaussian_blur(x[i], [9, 9], [sigma, sigma])
        torch.testing.assert_close(blurred[i, :, 4:-4, 4:-4], expected[:, 4:-4, 4:-4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("quality", [35, 60, 95])
def test_jpeg_is_jpeg(quality):
    image = portraits(1)[0]
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    assert torch.equal(transforms.jpeg(image, quality), expected)


def test_unknown_name():
    with pytest.raises(ValueError, match="light"):
        Augment.named("medium")
    own = Augment(blur=1.0)
    assert Augment.named(own) is own


class Pictures:
    def uint8(self, i):
        return picture(64 + i, 80, seed=i)


def test_a_training_batch():
    batch = training_batch(Pictures(), np.array([3, 1, 2]), 48, AUGMENTS["strong"], generator())
    assert batch.shape == (3, 3, 48, 48) and batch.dtype == torch.uint8


@pytest.mark.parametrize("name", ["light", "strong"])
def test_it_is_quick(name):
    """At most 0.6 ms of one thread's time per 64-pixel crop; the test allows three times that for slow
    machines."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        images = [picture(128, 128, seed=i) for i in range(32)]
        data = type("Fixed", (), {"uint8": lambda self, i: images[i]})()
        training_batch(data, np.arange(32), 64, AUGMENTS[name], generator())
        start = time.process_time()
        for _ in range(5):
            training_batch(data, np.arange(32), 64, AUGMENTS[name], generator())
        assert (time.process_time() - start) / (5 * 32) < 1.8e-3
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"flip": 2}, "flip=2 must be a probability"),
        ({"jpeg": float("nan")}, "jpeg=nan must be a probability"),
        ({"contrast": -0.1}, "contrast=-0.1 must be 0 or more"),
        ({"scale": (1.6, 0.6)}, "scale=.1.6, 0.6. must be .low, high."),
        ({"scale": (0, 1)}, "scale=.0, 1. must be"),
        ({"quality": (60, 101)}, "quality=.60, 101. must be"),
    ],
)
def test_an_augmentation_that_cannot_be_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Augment(**wrong)
    assert Augment(flip=1, scale=(0.01, 100), quality=(1, 100))  # the limits themselves

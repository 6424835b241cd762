"""Where faces are, and which squares of a picture are judged by themselves."""

import builtins

import numpy as np
import pytest
from PIL import Image

from course_lib import faces
from course_lib.data import load
from course_lib.faces import find_faces, square_around, squares_to_judge


def test_the_square_around_a_box_has_its_middle_and_stays_inside():
    assert square_around((100, 100, 140, 140), (400, 300)) == (90, 90, 150, 150)
    assert square_around((100, 100, 120, 140), (400, 300)) == (80, 90, 140, 150)  # the longer side counts
    assert square_around((0, 0, 40, 40), (400, 300)) == (0, 0, 60, 60)  # moved in, not cut
    assert square_around((380, 280, 400, 300), (400, 300)) == (370, 270, 400, 300)
    assert square_around((50, 10, 350, 290), (400, 300)) == (50, 0, 350, 300)  # at most the shorter side


def test_a_portrait_is_judged_as_a_whole_and_a_group_face_by_face():
    size = (400, 300)
    portrait, distant, other = (100, 50, 260, 210), (100, 100, 140, 140), (300, 100, 350, 150)
    assert squares_to_judge([], size) == squares_to_judge([portrait], size) == []
    assert squares_to_judge([distant], size) == [square_around(distant, size)]
    assert squares_to_judge([portrait, other], size) == [square_around(b, size) for b in (portrait, other)]
    tiny = (10, 10, 20, 20)
    assert squares_to_judge([distant, tiny], size) == [square_around(distant, size)]  # below 32 pixels
    many = [(20 * i, 0, 20 * i + 40, 40) for i in range(15)]
    assert len(squares_to_judge(many, size)) == faces.MAX_FACES


def test_without_the_extra_it_is_said_beforehand(monkeypatch):
    real = builtins.__import__

    def no_dlib(name, *rest):
        if name == "dlib":
            raise ImportError(name)
        return real(name, *rest)

    faces._finder.cache_clear()
    monkeypatch.setattr(builtins, "__import__", no_dlib)
    with pytest.raises(ImportError):
        find_faces(Image.new("RGB", (200, 200)))
    monkeypatch.setattr(faces.importlib.util, "find_spec", lambda name: None)
    assert faces.finder_is_there() is False


@pytest.fixture(scope="module")
def group():
    """Three embedded portraits, enlarged to 200 pixels, in a row on a grey ground; and where they are."""
    pytest.importorskip("dlib", reason="needs the extra faces")
    test = load("studio").test
    ground = Image.new("RGB", (800, 320), (120, 120, 130))
    places = [(40, 60), (300, 60), (560, 60)]
    for place, index in zip(places, (0, 1, 2), strict=True):
        portrait = Image.fromarray(test.uint8(index).permute(1, 2, 0).numpy())
        ground.paste(portrait.resize((200, 200)), place)
    return ground, places


def test_faces_are_found_where_they_are(group):
    picture, places = group
    found = find_faces(picture)
    assert len(found) == 3
    for (left, top, right, bottom), (x, y) in zip(sorted(found), places, strict=True):
        assert x + 50 < (left + right) / 2 < x + 150 and y + 50 < (top + bottom) / 2 < y + 150
        assert 60 < right - left < 180
    assert len(squares_to_judge(found, picture.size)) == 3


def test_boxes_are_in_the_pixels_of_the_picture_given(group):
    picture, _ = group
    large = picture.resize((picture.width * 3, picture.height * 3))
    small, big = sorted(find_faces(picture)), sorted(find_faces(large))
    assert len(small) == len(big) == 3
    for a, b in zip(small, big, strict=True):
        assert np.allclose(np.array(a) * 3, b, atol=60)


def test_nothing_is_found_where_nothing_is(group):
    assert find_faces(Image.new("RGB", (300, 200), "grey")) == []
    assert find_faces(Image.new("RGB", (3, 900))) == []

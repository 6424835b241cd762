"""The explorer of lesson 14; without a browser."""

import matplotlib

matplotlib.use("Agg")

import html  # noqa: E402
import re  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from toys import toy  # noqa: E402

from course_lib import Detector, ExplanationExplorer, Preprocessing, facenest, grad_cam, load, pointing_game  # noqa: E402
from course_lib.widgets_explain import limits_of, tinted  # noqa: E402
from course_lib.widgets_kit import WIDGET_VIEW  # noqa: E402

VALID = load("studio").valid
FACES = [VALID.uint8(0)[:, :64, :64].contiguous(), VALID.uint8(1)[:, :64, :64].contiguous()]
MASK = torch.zeros(64, 64, dtype=torch.bool)
MASK[10:20, 30:50] = True


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return facenest(width=4)


@pytest.fixture
def piece(model):
    return ExplanationExplorer(FACES, ["one", "<two>"], [MASK, None], model)


def text(widget) -> str:
    return html.unescape(re.sub("<[^>]+>", "", widget.value))


def test_it_shows_what_the_library_says(piece, model):
    assert model.training  # as it was found
    torch.testing.assert_close(piece.state()["map"], grad_cam(model, FACES[0], relu=False))
    for method in piece.methods:
        piece.method.value = method
        state = piece.state()
        row, column = state["place"]
        assert state["map"][row, column] == state["map"].max()
        assert state["inside"] == pointing_game([state["map"]], [MASK])[0]
        assert method in text(piece.words) and f"row {row}, column {column}" in text(piece.words)
        part = {0: "outside", 1: "inside"}.get(state["inside"], "% of them inside")
        assert f"{part} what was re-drawn" in text(piece.words)
        assert ("places more" in text(piece.words)) == (state["places"] > 1)


def test_random_weights_at_the_press_of_the_button(piece):
    piece.method.value = "integrated gradients"
    before, picture = piece.state(), piece.picture.value
    piece.random.value = True
    after = piece.state()
    assert not torch.equal(before["map"], after["map"]) and piece.picture.value != picture
    assert before["logit"] != after["logit"] and before["agreement"] == after["agreement"]
    assert "random weights" in text(piece.words) and "▸" in piece.random.description
    piece.random.value = False
    assert torch.equal(piece.state()["map"], before["map"]) and piece.picture.value == picture


def test_opacity_and_outline_change_the_picture(piece):
    seen = {piece.picture.value}
    for opacity in (0.0, 1.0):
        piece.opacity.value = opacity
        seen.add(piece.picture.value)
    piece.outline.value = True
    seen.add(piece.picture.value)
    assert len(seen) == 4


def test_tint():
    face, values = np.full((4, 4, 3), 100, np.uint8), torch.tensor([[1.0, -1.0, 0.0, 0.5]] * 4)
    assert limits_of("Grad-CAM", values) == (-1.0, 1.0) and limits_of("attention", values) == (0.0, 1.0)
    assert (tinted(face, values, (-1.0, 1.0), 0.0) == 100).all()
    alone = tinted(face, values, (-1.0, 1.0), 1.0)
    assert alone[0, 0, 0] > alone[0, 0, 2] and alone[0, 1, 2] > alone[0, 1, 0]  # orange, purple
    flat = torch.zeros(4, 4)
    assert np.isfinite(tinted(face, flat, limits_of("Grad-CAM", flat), 0.5)).all()


def test_a_face_without_a_mask_and_a_hostile_name(piece):
    piece.face.value = 1
    assert piece.state()["inside"] is None and "re-drawn" not in text(piece.words)
    assert "<two>" not in piece.picture.value and "&lt;two&gt;" in piece.picture.value


def test_without_arguments_the_spliced_pictures_of_each_region():
    piece = ExplanationExplorer()
    assert len(piece.names) == len(set(piece.names)) >= 3 and all(m is not None for m in piece.masks)


def test_a_detector_and_a_network_without_attention(model):
    detector = Detector(facenest(width=4, branches=()), Preprocessing(crop=40), device="cpu")
    piece = ExplanationExplorer(FACES, model=detector)
    assert "attention" not in piece.methods and "Grad-CAM" in piece.methods
    assert "course-random" in piece.random._dom_classes and piece.outline not in piece.children[1].children


@pytest.mark.parametrize(
    "given",
    [
        {"faces": "text"},
        {"faces": []},
        {"faces": [torch.zeros(3, 40, 40)]},
        {"faces": FACES, "names": ["one"]},
        {"faces": FACES, "masks": [MASK]},
        {"faces": FACES, "masks": [MASK.float(), None]},
        {"faces": FACES, "masks": [MASK[:10], None]},
        {"faces": FACES, "masks": 3},
        {"faces": FACES, "model": "studio"},
        {"faces": FACES, "model": float("nan")},
        {"faces": FACES, "model": torch.nn.Flatten()},
    ],
    ids=str,
)
def test_what_cannot_be_used_gets_a_sentence(given):
    piece = ExplanationExplorer(**given)
    assert piece.models is None and text(piece.children[0]).strip().endswith(".")
    piece.show()


def test_another_network_has_the_methods_that_need_no_faceNeSt(model):
    piece = ExplanationExplorer(FACES, model=toy())
    assert set(piece.methods) == {"occlusion", "integrated gradients", "windows alone"}
    assert "begins with occlusion" in text(piece.message)


@pytest.mark.parametrize("bad", [3, None, "halo", float("nan")])
def test_a_bad_beginning_gets_a_note(model, bad):
    piece = ExplanationExplorer(FACES, model=model, method=bad, opacity=bad)
    assert "begins with Grad-CAM" in text(piece.message) and "begins at 0.6" in text(piece.message)


def test_it_is_displayed_with_a_picture(piece, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    piece.show()
    (data,) = shown
    assert (
        WIDGET_VIEW in data and len(data["image/png"]) > 5000 and "trained and random" in data["text/plain"]
    )

"""The attention explorer and the pictures of lesson 08; without a browser."""

import matplotlib

matplotlib.use("Agg")

import html  # noqa: E402
import re  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from course_lib import (  # noqa: E402
    AttentionExplorer,
    facenest,
    load,
    load_checkpoint,
    normalise,
    plots,
    save_checkpoint,
)
from course_lib.widgets_attend import clickable  # noqa: E402
from course_lib.widgets_kit import WIDGET_VIEW  # noqa: E402

VALID = load("studio").valid
FACES = torch.stack([VALID.uint8(i) for i in (0, 1)])


@pytest.fixture(scope="module")
def piece():
    return AttentionExplorer(FACES, ["one", "two"], scale=4, place=(7, 6))


def text(widget) -> str:
    return html.unescape(re.sub("<[^>]+>", "", widget.value))


def test_it_shows_the_networks_own_maps_and_matrix(piece):
    model = load_checkpoint("studio_attention").model.eval()
    with torch.no_grad():
        logit, details = model(normalise(FACES[:1]), return_details=True)
    piece.as_trained()
    piece.face.value, piece.scale.value = 0, 4
    piece.place.value = "3, 12"
    state = piece.state()
    assert abs(state["local"] - float(details["local_maps"][3][0, 3, 12])) < 1e-5
    assert abs(state["global"] - float(details["global_maps"][3][0, 3, 12])) < 1e-5
    assert abs(state["p_fake"] - float(torch.sigmoid(logit))) < 1e-4
    assert state["p_fake"] == pytest.approx(state["p_trained"], abs=1e-6)
    assert len(state["shares"]) == 16 and abs(sum(state["shares"]) - 100) < 1e-3


def test_the_bracket_is_that_of_the_formula(piece):
    piece.as_trained()
    piece.face.value, piece.scale.value = 1, piece.scales[0]
    view, w = piece.view, piece.weights
    local = (2 * view["maps"]["lc"]).mean() * 2 * view["local"]
    wide = (2 * view["maps"]["gc"]).mean() * 2 * view["global"]
    expected = w[0] + w[1] * local + w[2] * wide
    torch.testing.assert_close(piece.state()["map"], expected, rtol=1e-4, atol=1e-5)


def test_another_scale_keeps_the_spot_of_the_face(piece):
    piece.scale.value = piece.scales[-1]
    piece.place.value = "6, 3"
    before, coarse = piece.shape, piece.trained
    piece.scale.value = piece.scales[0]
    assert piece.place.value == f"{6 * piece.shape[0] // before[0]}, {3 * piece.shape[1] // before[1]}"
    assert (piece.row.max + 1, piece.column.max + 1) == piece.shape == tuple(piece.view["local"].shape)
    assert np.allclose(piece.weights, torch.softmax(torch.tensor(piece.trained), 0).tolist())
    piece.scale.value = piece.scales[-1]
    assert piece.trained == coarse


def test_sliders_of_the_mixture_move_the_bracket_and_the_button_brings_it_back(piece):
    piece.as_trained()
    before = piece.state()
    assert "as trained" in text(piece.mix_words)
    piece.logits["identity"].value, piece.logits["local"].value, piece.logits["global"].value = 6, -6, -6
    assert piece.weights[0] > 0.999 and abs(piece.state()["bracket"] - 1) < 1e-3
    assert "mixing weights (as trained)" not in text(piece.mix_words)
    assert piece.state()["p_trained"] == pytest.approx(before["p_fake"], abs=1e-6)
    piece.reset.click()
    assert piece.state()["bracket"] == pytest.approx(before["bracket"], abs=1e-6)
    assert np.allclose(piece.weights, torch.softmax(torch.tensor(piece.trained), 0).tolist())


def test_a_click_a_slider_and_a_field_say_the_same_place(piece):
    piece.scale.value = 4
    piece.place.value = "2; 5"
    assert (piece.row.value, piece.column.value, piece.place.value) == (2, 5, "2, 5")
    before = piece.picture.value
    piece.row.value = 9
    assert piece.place.value == "9, 5" and piece.picture.value != before
    assert "row 9, column 5" in piece.portrait.value and "Scale" in piece.picture.value
    assert "onclick" in piece.portrait.value and "course-place" in piece.place._dom_classes


@pytest.mark.parametrize(
    "typed, words",
    [
        ("left", "The place is 'left'; give a row and a column"),
        ("", "give a row and a column"),
        ("1, 2, 3", "give a row and a column"),
        ("1, x", "column is ' x', which is not a number."),
        ("1, 16", "column is 16; it must be between 0 and 15."),
        ("-1, 3", "row is -1; it must be between 0 and 15."),
        ("1.5, 3", "row is 1.5, which is not a whole number."),
        ("nan, 3", "row is nan"),
        ("<b>, 3", "row is '<b>'"),
    ],
)
def test_a_place_that_is_none_gets_a_sentence(piece, typed, words):
    piece.scale.value = 4
    piece.place.value = "4, 4"  # the same for all: only the first of them draws
    before = piece.picture.value
    piece.place.value = typed
    assert words in text(piece.message) and "The place is still 4, 4." in text(piece.message)
    assert piece.picture.value == before and (piece.row.value, piece.column.value) == (4, 4)


def test_whoever_moves_a_slider_is_done_with_the_sentence(piece):
    piece.place.value = "nonsense"
    piece.column.value = 5 if piece.column.value != 5 else 6
    assert piece.message.value == "" and piece.place.value == f"{piece.row.value}, {piece.column.value}"


@pytest.mark.parametrize(
    "faces",
    ["text", 3, [], float("nan"), [None], torch.zeros(3, 8, 8, dtype=torch.uint8), torch.rand(2, 3, 64, 64),
     torch.zeros(2, 1, 64, 64, dtype=torch.uint8), {}],
)  # fmt: skip
def test_faces_that_are_none_get_a_sentence(faces):
    piece = AttentionExplorer(faces)
    assert text(piece.children[0]).startswith("The faces are to be")
    piece.show()


def test_other_bad_starts_get_a_sentence():
    assert "The names are to be a list of 2" in text(AttentionExplorer(FACES, ["one"]).children[0])
    assert "nowhere" in text(AttentionExplorer(FACES, checkpoint="nowhere").children[0])
    piece = AttentionExplorer(FACES, scale="large", place="there")
    assert (piece.scale.value, piece.row.value, piece.column.value) == (4, 8, 8)
    assert "It begins at scale 4 instead." in text(piece.message)
    assert "It begins at 8, 8 instead." in text(piece.message)


def test_networks_with_other_parts(tmp_path):
    """A first stage without blocks, as FaceNeSt begins; and branches that leave nothing to show."""
    shown = save_checkpoint(tmp_path / "shown", facenest(width=4, branches=("ls", "gs")))
    piece = AttentionExplorer(FACES, checkpoint=shown, scale=1)
    assert piece.scales == [4] and piece.scale.value == 4
    assert "Scale 1 has no attention here; there are [4]. It begins at scale 4" in text(piece.message)
    for number, settings in enumerate(({"branches": ()}, {"attend": ()}, {"branches": ("lc", "ls")})):
        bare = save_checkpoint(tmp_path / str(number), facenest(width=4, **settings))
        [said] = AttentionExplorer(FACES, checkpoint=bare).children
        assert "has no layer with local and global spatial attention" in text(said), settings


def test_one_face_and_no_face_work():
    assert AttentionExplorer(FACES[0, :, :40, :64], place=(2, 3)).shape == (5, 8)
    assert AttentionExplorer().names == ["a real one", "a fake"]


def test_a_static_figure_stands_in_its_place(monkeypatch, piece):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    piece.show()
    assert set(shown[0]) == {WIDGET_VIEW, "image/png", "text/plain"}


def test_a_clickable_picture_names_what_it_shows():
    markup = clickable(np.zeros((8, 8, 3), np.uint8), 'a "face"', (2, 2))
    assert 'alt="a &quot;face&quot;"' in markup and "onclick=" in markup


def test_show_over_faces_returns_the_ranges_and_keeps_the_limits():
    flat, full = torch.full((4, 4), 0.45), torch.linspace(0, 1, 16).view(4, 4)
    ranges = plots.show_over_faces([FACES[0]] * 3, [None, flat, full], ["a", "b", "c"])
    assert np.isnan(ranges[0]).all() and np.allclose(ranges[1:], [[0.45, 0.45], [0, 1]])
    with pytest.raises(ValueError, match="as many faces"):
        plots.show_over_faces([FACES[0]], [], [])


def test_a_flat_map_looks_flat_unless_it_is_stretched():
    nearly = 0.45 + 1e-4 * torch.linspace(0, 1, 16).view(4, 4)
    grey = np.full((16, 16, 3), 128, np.uint8)
    honest, stretched = plots.overlay(grey, nearly, 0, 1), plots.overlay(grey, nearly, 0.45, 0.4501)
    assert np.ptp(honest[..., 0].astype(int)) <= 1 and np.ptp(stretched[..., 0].astype(int)) > 60


def test_plot_cost_returns_the_powers():
    slopes = plots.plot_growth(
        [4, 16, 64], {"square": [16, 256, 4096], "line": [4, 16, 64]}, "x", "MACs", base=10
    )
    assert slopes == pytest.approx({"square": 2, "line": 1})

"""The interactive pieces of lesson 03, without a browser: what goes in, what stands on the page."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from course_lib import ConvolutionArithmetic, KernelEditor, ReceptiveFieldExplorer
from course_lib import widgets_convolve as w

FACE = torch.randint(0, 256, (3, 40, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
NOT_PICTURES = ["text", float("nan"), None, 3, [1, 2], torch.zeros(2, 2, 2, 2), np.zeros((4, 5, 6)), {},
                torch.full((3, 8, 8), float("nan"))]  # fmt: skip


def words_of(markup: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", markup))


def picture_of(view) -> np.ndarray:
    data = re.search(r'base64,([^"]*)"', view.value).group(1)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture
def displayed(monkeypatch):
    from course_lib import widgets_kit

    seen: list[dict] = []
    monkeypatch.setattr(widgets_kit, "display", lambda data, raw: seen.append(data))
    return seen


# ---------------------------------------------------------------------------------------------- kernel editor


def test_the_map_is_the_convolution_of_the_grey_picture():
    editor = KernelEditor(FACE)
    grey = FACE.float().mean(0)
    for name in w.KERNELS:
        editor.preset.value = name
        kernel = torch.tensor(editor.kernel, dtype=torch.float32)
        expected = functional.conv2d(grey[None, None], kernel[None, None])[0, 0].numpy()
        assert np.allclose(editor.map, expected, atol=1e-2), name
        said = words_of(editor.remark.value)
        assert ("only changes stay" in said) == (abs(editor.kernel.sum()) < 1e-9), name
        assert ("keep their brightness" in said) == (abs(editor.kernel.sum() - 1) < 1e-9), name
        assert editor.preset.value == name  # filling the fields does not count as typing


def test_the_presets_are_what_they_are_called():
    numbers = {
        name: np.array([w.read_entry(text, name) for text in texts]) for name, texts in w.KERNELS.items()
    }
    sums = {name: round(float(kernel.sum()), 9) for name, kernel in numbers.items()}
    for name in ("do nothing", "box blur (the mean)", "soft blur", "sharpen"):
        assert sums[name] == 1, name
    for name in set(sums) - {"do nothing", "box blur (the mean)", "soft blur", "sharpen"}:
        assert sums[name] == 0, name


def test_typing_redraws_and_the_menu_says_so():
    editor = KernelEditor(FACE)
    before = editor.view.value
    editor.fields[4].value = "1/2"
    assert editor.preset.value == w.OWN and editor.kernel[1, 1] == 0.5
    assert editor.view.value != before
    assert "alt=" in editor.view.value


@pytest.mark.parametrize("text", ["abc", "", "nan", "inf", "1/0", "1/x", "1e9", "2 3", "--1", "1/2/3"])
def test_bad_text_gets_a_sentence_beside_its_row_and_the_last_good_map_stays(text):
    editor = KernelEditor(FACE)
    before, kernel = editor.view.value, editor.kernel.copy()
    editor.fields[5].value = text
    assert editor.view.value == before and (editor.kernel == kernel).all()
    said = [words_of(message.value) for message in editor.messages]
    assert said[0] == said[2] == "" and "ow 2, column 3" in said[1] and "last good" in said[1]
    editor.fields[5].value = "2"
    assert not any(message.value for message in editor.messages)


def test_hostile_text_is_shown_as_text():
    editor = KernelEditor(FACE)
    editor.fields[0].value = "<img src=x>"
    assert "<img" not in editor.messages[0].value and "<img src=x>" in words_of(editor.messages[0].value)


def test_what_black_and_white_mean_is_true():
    kernel = np.array([[0, 0, 0], [-1, 0, 1], [0, 0, 0]], dtype=float)
    values = np.array([[0.0, 50.0, -100.0]])
    picture, words = w.map_picture(values, kernel)
    assert picture.tolist() == [[128, 191, 0]] and "mid-grey is 0" in words and "100" in words
    blurred, words = w.map_picture(np.array([[-3.0, 0.0, 300.0]]), np.full((3, 3), 1 / 9))
    assert blurred.tolist() == [[0, 0, 255]] and "255 or more" in words
    even, _ = w.map_picture(np.zeros((2, 2)), np.zeros((3, 3)))
    assert (even == 128).all()


def test_the_number_written_out_is_right():
    grey = np.arange(25, dtype=np.float32).reshape(5, 5)
    kernel = np.array([[0, 0, 0], [-1, 0, 2], [0, 0, 0]], dtype=float)
    assert w.middle_arithmetic(grey, kernel) == (
        "Its middle, written out (pixels rounded): \u22121·11 + 2·13 = 15."
    )


@pytest.mark.parametrize("wrong", NOT_PICTURES, ids=repr)
def test_what_is_no_picture_gets_a_sentence(wrong, displayed):
    for make in (KernelEditor, ReceptiveFieldExplorer):
        piece = make(wrong)
        assert words_of(piece.children[0].value).startswith("This")
        piece.show()
    assert len(displayed) == 2


@pytest.mark.parametrize(
    "picture",
    [
        FACE.permute(1, 2, 0).numpy(),
        FACE.float() / 255,
        FACE[0],
        Image.fromarray(FACE.permute(1, 2, 0).numpy()),
    ],
    ids=["H×W×3", "floats", "grey", "PIL"],
)
def test_every_make_of_picture_is_taken(picture):
    assert KernelEditor(picture).map.shape == (38, 34)


# ------------------------------------------------------------------------------------------- receptive fields


def test_the_field_is_the_one_that_gradients_measure():
    explorer = ReceptiveFieldExplorer(FACE, [])
    assert (explorer.field, explorer.jump) == (1, 1)
    for name in [*w.LAYERS, "conv 5×5"]:
        explorer.buttons[name].click()
        x = torch.zeros(1, 1, 512, requires_grad=True)
        y = x
        for k, s, d in explorer.stack:
            y = functional.conv1d(y, torch.ones(1, 1, k), stride=s, dilation=d)
        y[0, 0, 0].backward()
        assert explorer.field == int(x.grad.nonzero()[-1, -1]) + 1
        assert explorer.jump == int(np.prod([s for _, s, _ in explorer.stack]))
        assert f"{explorer.field}" in words_of(explorer.table.value)


def test_buttons_undo_and_start_over():
    explorer = ReceptiveFieldExplorer(FACE)
    assert explorer.layers == ["conv 3×3"] * 2 and explorer.field == 5
    explorer.undo.click()
    assert explorer.field == 3
    explorer.clear.click()
    assert explorer.layers == []
    explorer.undo.click()
    assert "no layer left" in words_of(explorer.message.value)
    for _ in range(w.MOST_LAYERS + 2):
        explorer.buttons["conv 3×3"].click()
    assert len(explorer.layers) == w.MOST_LAYERS and "enough" in words_of(explorer.message.value)


def test_the_frame_is_as_large_as_the_field():
    face = np.zeros((40, 40, 3), np.uint8)
    framed = w.field_picture(face, field=10, jump=4, zoom=3)
    yellow = (framed == [0xF0, 0xE4, 0x42]).all(-1)
    rows, columns = np.flatnonzero(yellow.any(1)), np.flatnonzero(yellow.any(0))
    for places in (rows, columns):
        assert abs((places[-1] - places[0] + 1) - 30) <= 3  # ten pixels, three times enlarged, a line's width
    assert not (w.field_picture(face, field=99, jump=1) != 0).any()


def test_a_field_beyond_the_picture_is_said():
    explorer = ReceptiveFieldExplorer(FACE, ["conv 3×3, stride 2"] * 6)
    assert "whole picture" in words_of(explorer.verdict.value)


@pytest.mark.parametrize("layers", ["conv 3×3", ["conv 9×9"], None, 3, [[1]], float("nan")])
def test_unknown_layers_get_a_sentence(layers):
    assert "ayers" in words_of(ReceptiveFieldExplorer(FACE, layers).children[0].value)


@pytest.mark.parametrize("name", ["x", None, 3, ["conv 3×3"]])
def test_adding_what_there_is_not_gets_a_sentence(name):
    explorer = ReceptiveFieldExplorer(FACE)
    explorer.add(name)
    assert len(explorer.layers) == 2 and "There is no layer" in words_of(explorer.message.value)


# ------------------------------------------------------------------------------------------------- arithmetic


def test_sizes_and_touched_pixels_are_torchs():
    fits = 0
    for size, k, s, p, d in np.ndindex(8, 5, 3, 3, 3):
        size, k, s, d = size + 1, k + 1, s + 1, d + 1
        places = w.Places(size, k, s, p, d)
        x = torch.zeros(1, 1, size + 2 * p, requires_grad=True)
        try:
            y = functional.conv1d(x, torch.ones(1, 1, k), stride=s, dilation=d)
        except RuntimeError:
            assert places.out == 0
            continue
        fits += 1
        assert places.out == y.shape[-1]
        last = places.out - 1
        y[0, 0, last].backward()
        assert x.grad[0, 0].nonzero().flatten().tolist() == places.taps(last)
    assert fits > 500


def test_sliders_move_the_formula_and_the_drawing():
    piece = ConvolutionArithmetic()
    assert piece.output_size == 4
    piece.sliders["stride"].value = 1
    assert piece.output_size == 7 and "7" in words_of(piece.words.value)
    assert piece.drawing.value.count('fill="#0072B2"') == 9
    assert 'role="img"' in piece.drawing.value and "aria-label" in piece.drawing.value
    piece.which.value = 48
    assert "row 6, column 6" in words_of(piece.words.value)
    piece.sliders["size"].value = 3  # fewer outputs: the chosen one has to move
    assert piece.which.value == 8 and "row 2, column 2" in words_of(piece.words.value)


def test_pixels_that_are_never_looked_at_are_said():
    piece = ConvolutionArithmetic(size=8, padding=0)
    assert "never looked at" in words_of(piece.words.value)
    piece.sliders["size"].value = 7
    assert "never looked at" not in words_of(piece.words.value)


def test_a_kernel_that_does_not_fit_is_said():
    piece = ConvolutionArithmetic(size=3, kernel=5, padding=0)
    assert piece.output_size == 0 and piece.which.disabled
    assert "does not fit" in words_of(piece.words.value) and "no output" in piece.drawing.value
    piece.sliders["size"].value = 7
    assert piece.output_size == 2 and not piece.which.disabled


@pytest.mark.parametrize("value", ["text", None, float("nan"), [1], 99, -1, 2.5])
def test_a_bad_start_gets_a_sentence(value):
    piece = ConvolutionArithmetic(size=value)
    assert piece.sliders["size"].value == 7 and "size is" in words_of(piece.message.value)
    assert "no setting" in words_of(ConvolutionArithmetic(colour=3).message.value)


@pytest.mark.parametrize(
    "make", [lambda: KernelEditor(FACE), lambda: ReceptiveFieldExplorer(FACE), ConvolutionArithmetic]
)
def test_a_figure_stands_where_widgets_do_not_render(make, displayed):
    make().show()
    (data,) = displayed
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert image.width > 600 and len(np.unique(np.asarray(image.convert("L")))) > 2
    assert len(data["text/plain"]) > 20 and any("widget-view" in kind for kind in data)


@pytest.mark.parametrize(
    "make", [lambda: KernelEditor(FACE), lambda: ReceptiveFieldExplorer(FACE), ConvolutionArithmetic]
)
def test_single_letters_stay_inside_the_piece(make):
    """With a button or slider focused, JupyterLab would take R or D for a command of its own."""
    piece = make()
    (script,) = (c.value for c in piece.children if "data-lm-suppress-shortcuts" in getattr(c, "value", ""))
    assert any(f".{name}'" in script for name in piece._dom_classes)

"""The explorer of scale weights and the plot of lesson 09; without a browser."""

import matplotlib

matplotlib.use("Agg")

import io  # noqa: E402
import re  # noqa: E402

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from toys import toy  # noqa: E402

from course_lib import (  # noqa: E402
    ScaleWeightsExplorer,
    facenest,
    load_checkpoint,
    normalise,
    plots,
    save_checkpoint,
)
from course_lib.checkpoints import ARCHITECTURES  # noqa: E402
from course_lib.transforms import jpeg  # noqa: E402
from course_lib.widgets import Upload, pretend_upload  # noqa: E402
from course_lib.widgets_fusion import CHANGES, LARGEST, OWN, bars, changed, middle  # noqa: E402
from course_lib.widgets_kit import WIDGET_VIEW  # noqa: E402


def png(height=80, width=90, seed=0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def explorer():
    return ScaleWeightsExplorer()


def notes(explorer) -> str:
    return re.sub(r"<[^>]+>", "", explorer.message.value)


def test_it_shows_what_the_detector_says(explorer):
    explorer.kind.value, explorer.number.value, explorer.change.value = "fake", 7, "JPEG, quality 50"
    face = explorer.test.uint8(int(np.flatnonzero(explorer.test.labels == 1)[7]))
    model = load_checkpoint("studio").model.eval()
    with torch.no_grad():
        logit, details = model(normalise(jpeg(face, 50)[None]), return_details=True)
        plain = model(normalise(face[None]), return_details=True)[1]["scale_weights"][0]
    state = explorer.state()
    np.testing.assert_allclose(state["weights"], details["scale_weights"][0], atol=1e-5)
    np.testing.assert_allclose(state["before"], plain, atol=1e-5)
    assert state["p_fake"] == pytest.approx(torch.sigmoid(logit).item(), abs=1e-5)
    for weight in details["scale_weights"][0]:
        assert f"<b>{weight:.3f}</b>" in explorer.bars.value
    assert "before the change" in explorer.bars.value and "fake test face 7" in explorer.words.value
    assert "fake test face 7, JPEG, quality 50, 128 by 128" in explorer.view.value


def test_each_change_changes_the_weights_and_they_add_up(explorer):
    seen = []
    for change in CHANGES:
        explorer.change.value = change
        weights = explorer.state()["weights"]
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        seen.append(tuple(weights.round(4)))
    assert len(set(seen)) == len(CHANGES)


def test_the_changes_do_what_they_say():
    image = torch.from_numpy(np.array(Image.open(io.BytesIO(png(100, 70))))).permute(2, 0, 1)
    assert torch.equal(changed(image, "as it is"), image)
    assert torch.equal(changed(image, "JPEG, quality 20"), jpeg(image, 20))
    assert changed(image, "half as large").shape == (3, 50, 35)
    assert changed(image[:, :40, :40], "half as large").shape == (3, 32, 32)  # never below what can be judged
    blurred = changed(image, "blurred")
    assert blurred.dtype == torch.uint8 and blurred.float().std() < 0.7 * image.float().std()
    assert middle(torch.zeros(3, 700, 40)).shape == (3, LARGEST, 40)
    row = torch.arange(600)[None, None]
    assert middle(row)[0, 0, 0] == 44 and middle(row)[0, 0, -1] == 555


def test_a_picture_of_ones_own(explorer):
    pretend_upload(explorer.files, {"holiday.png": png()})
    assert explorer.kind.value == OWN and explorer.number.disabled and notes(explorer) == ""
    assert "Your picture holiday.png" in explorer.words.value and explorer.image.shape == (3, 80, 90)
    assert not explorer.files.value, "the bytes stay in the widget, and would be saved with the notebook"
    pretend_upload(explorer.files, {"other.png": png(600, 640, seed=1)})  # another one, the same place
    assert explorer.image.shape == (3, 600, 640) and "Judged is its middle" in explorer.words.value
    explorer.kind.value = "real"
    assert not explorer.number.disabled and "real test face" in explorer.words.value


@pytest.mark.parametrize(
    "content, words",
    [(b"hello", "not an image"), (b"", "empty"), (png(20, 90), "32"), (b"%PDF-1.4 x", "PDF")],
)
def test_bytes_that_are_no_picture_get_a_sentence(explorer, content, words):
    before = explorer.words.value
    pretend_upload(explorer.files, {"<b>bad</b>.jpg": content})
    assert words in notes(explorer) and "<b>bad" not in explorer.message.value
    assert explorer.kind.value == "real" and explorer.words.value == before
    pretend_upload(explorer.files, {"good.png": png()})
    assert notes(explorer) == ""


def test_a_file_given_from_a_cell(tmp_path):
    (tmp_path / "mine.png").write_bytes(png())
    assert ScaleWeightsExplorer(picture=tmp_path / "mine.png").kind.value == OWN
    assert ScaleWeightsExplorer(picture=Upload("x.png", png())).own_name == "x.png"
    for wrong in (tmp_path / "none.png", 7, [], "no/such/file.png"):
        explorer = ScaleWeightsExplorer(picture=wrong)
        assert explorer.kind.value == "real" and len(notes(explorer)) > 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "maybe"},
        {"kind": None},
        {"kind": ["real"]},
        {"number": -1},
        {"number": 10_000},
        {"number": "three"},
        {"number": float("nan")},
        {"number": True},
    ],
)
def test_a_wrong_start_gets_a_sentence(wrong):
    explorer = ScaleWeightsExplorer(**wrong)
    assert "It begins" in notes(explorer) and explorer.kind.value == "real" and explorer.number.value == 0


@pytest.mark.parametrize("fusion", ["dynamic", "softmax", "static", "none"])
def test_every_kind_of_fusion_is_shown(tmp_path, fusion):
    torch.manual_seed(0)
    explorer = ScaleWeightsExplorer(save_checkpoint(tmp_path / fusion, facenest(width=4, fusion=fusion)))
    with torch.no_grad():
        _, details = explorer.model(normalise(middle(explorer.image)[None]), return_details=True)
    assert np.allclose(explorer.state()["before"], details["scale_weights"][0].numpy(), atol=1e-6)


def test_a_network_without_scales_gets_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "toynet", lambda settings: toy())
    [said] = ScaleWeightsExplorer(save_checkpoint(tmp_path / "toy", toy())).children
    assert "has no scales to weigh; try &#x27;studio&#x27;" in said.value


@pytest.mark.parametrize("wrong", ["nobody", 7, None, ["studio"]])
def test_a_checkpoint_that_is_not_there_gets_a_sentence(wrong, capsys):
    explorer = ScaleWeightsExplorer(wrong)
    explorer.show()
    assert len(explorer.children) == 1 and len(explorer.children[0].value) > 20


def test_it_carries_a_picture_where_widgets_do_not_render(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    explorer.show()
    assert {WIDGET_VIEW, "image/png", "text/plain"} <= set(shown[0])
    assert len(shown[0]["image/png"]) < 150_000


def test_bars_say_their_numbers():
    text = bars(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.3, 0.2, 0.1]))
    assert 'aria-label="scale 1 (finest): 0.100, before the change 0.400"' in text and "width:40.0%" in text
    assert "before" not in bars(np.array([0.1, 0.2, 0.3, 0.4]), None)


def test_plot_scale_weights():
    weights, labels = np.arange(20.0).reshape(5, 4) / 20, [0, 1, 0, 1, 1]
    drawn = plots.plot_scale_weights(weights, labels)
    np.testing.assert_array_equal(drawn["real"], weights[[0, 2]])
    np.testing.assert_array_equal(drawn["fake"], weights[[1, 3, 4]])
    assert not plt.get_fignums()

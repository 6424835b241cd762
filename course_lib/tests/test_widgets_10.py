"""The map of the network of lesson 10; without a browser."""

import matplotlib

matplotlib.use("Agg")

import html  # noqa: E402
import re  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from course_lib import NetworkMap, facenest, load, normalise, plots  # noqa: E402
from course_lib.facenest import FaceNeStConfig, count_macs, count_parameters  # noqa: E402
from course_lib.widgets_kit import WIDGET_VIEW  # noqa: E402
from course_lib.widgets_network import map_figure, receptive_fields, sees, station_figure, stations_of  # noqa: E402

VALID = load("studio").valid
FACES = [VALID.uint8(0), VALID.uint8(len(VALID) - 1)]


@pytest.fixture(scope="module")
def piece():
    return NetworkMap(FACES, ["one", "two"])


def text(widget) -> str:
    return html.unescape(re.sub("<[^>]+>", "", widget.value))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stem_stride": 2},
        {"stem_stride": 4},
        {"high_pass": False},
        {"depths": (2, 1, 3, 1)},
        {"residual": False, "branches": ()},
    ],
)
def test_the_field_of_the_convolutions_is_what_the_gradient_says(changes):
    """Without attention, the pixels with a gradient span exactly the announced square."""
    torch.manual_seed(0)
    model = facenest(width=2, **(changes | {"branches": ()})).double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith(("bn1.bias", "bn2.bias", "stem.1.bias")):
            torch.nn.init.constant_(parameter, 100.0)  # no ReLU cuts anything off
    x = torch.randn(1, 3, 352, 352, dtype=torch.float64, requires_grad=True)
    features = model(x, return_details=True)[1]["features"]
    fields = {name: field for name, field, _ in receptive_fields(model.config)}
    for i, feature in enumerate(features, start=1):
        middle = feature.shape[-1] // 2
        (slope,) = torch.autograd.grad(feature[0, :, middle, middle].sum(), x, retain_graph=True)
        touched = (slope[0].abs().sum(0) != 0).nonzero()
        span = (touched.max(0).values - touched.min(0).values + 1).tolist()
        assert span == [fields[f"scale {i}"]] * 2, i


def test_attention_hears_the_whole_picture_only_where_it_says_so():
    torch.manual_seed(0)
    model = facenest(width=2).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    features = model(x, return_details=True)[1]["features"]
    whole = {name: heard for name, _, heard in receptive_fields(model.config)}
    for i, feature in enumerate(features, start=1):
        middle = feature.shape[-1] // 2
        (slope,) = torch.autograd.grad(feature[0, :, middle, middle].sum(), x, retain_graph=True)
        everywhere = bool((slope[0].abs().sum(0) != 0).float().mean() > 0.9)
        assert everywhere == whole[f"scale {i}"], i


def test_attention_that_sees_no_means_stays_local():
    fields = dict(
        zip(*list(zip(*receptive_fields(FaceNeStConfig(branches=("ls",))), strict=True))[::2], strict=True)
    )
    assert not fields["scale 3"] and not fields["scale 4"] and fields["fusion"]


@pytest.mark.parametrize(
    "changes", [{}, {"width": 4, "attend": (0, 3)}, {"fusion": "none"}, {"depths": (1, 2, 1, 1)}]
)
@pytest.mark.parametrize("height, width", [(32, 32), (33, 47), (64, 64)])
def test_stations_add_up_to_the_network(changes, height, width):
    model = facenest(**changes).eval()
    face = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    stations = stations_of(model, face)
    assert sum(s.parameters for s in stations) == count_parameters(model)
    if height == width:
        assert sum(s.macs for s in stations) == count_macs(model, height)
    shapes = {s.name: s.shape for s in stations}
    features = model(normalise(face[None]), return_details=True)[1]["features"]
    for i, feature in enumerate(features, start=1):
        assert shapes[f"scale {i}"] == tuple(feature.shape[1:])
    assert stations[-1].shape == (1,) and 0 <= stations[-1].values[0] <= 1


def test_it_shows_the_numbers_of_the_network(piece):
    piece.face.value, piece.side.value = 0, "128"
    piece.choose("scale 3")
    told = text(piece.table)
    assert "64×32×32 = 65,536 numbers" in told and "57,728 of 316,286" in told
    assert "23×23 pixels" in told and "attention" not in told
    piece.choose("scale 4")
    assert "47×47 pixels; through attention the whole image" in text(piece.table)
    piece.choose("scale 3")
    with torch.no_grad():
        _, details = piece.model(normalise(FACES[0][None]), return_details=True)
    mean = details["features"][2][0].mean(0).numpy()
    np.testing.assert_allclose(piece.station.picture, mean, atol=1e-5)
    piece.choose("fusion")
    np.testing.assert_allclose(piece.station.values, details["scale_weights"][0].numpy(), atol=1e-5)
    assert "Scale weights: 0." in piece.picture.value


def test_buttons_choose_and_mark_by_more_than_colour(piece):
    for name, button in piece.buttons.items():
        button.click()
        assert piece.station.name == name
        marked = [b.description for b in piece.buttons.values() if b.description.startswith("▸")]
        assert marked == [f"▸ {name}"] and "alt=" in piece.picture.value


def test_a_smaller_square_has_other_shapes_and_the_same_parameters(piece):
    piece.side.value = "128"
    before = [(s.parameters, s.macs) for s in piece.stations]
    piece.side.value = "32"
    assert [s.parameters for s in piece.stations] == [p for p, _ in before]
    assert all(
        s.macs < macs
        for s, (_, macs) in zip(piece.stations, before, strict=True)
        if s.name in ("scale 2", "scale 3", "scale 4")
    )
    assert piece.stations[-3].shape == (128, 4, 4)
    piece.side.value = "128"


@pytest.mark.parametrize(
    "typed, words",
    [
        ("31", "The side is 31; it must be between 32 and 128. It is still 128."),
        ("500", "must be between 32 and 128"),
        ("big", "'big', which is not a number"),
        ("40.5", "which is not a whole number"),
        ("", "not a number"),
        ("nan", "must be between 32 and 128"),
        ("<b>", "'<b>', which is not a number"),
    ],
)
def test_a_bad_side_gets_a_sentence(piece, typed, words):
    piece.side.value = "128"
    piece.side.value = typed
    assert words in text(piece.message)
    assert piece.stations[0].shape == (3, 128, 128)
    piece.side.value = "128"
    assert text(piece.message) == ""


@pytest.mark.parametrize(
    "bad", ["text", 3, [], [1], torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 40, 40)]
)
def test_bad_faces_get_a_sentence(bad, capsys):
    piece = NetworkMap(bad)
    assert text(piece.children[0]).startswith("The faces are to be")
    piece.show()


@pytest.mark.parametrize("bad", ["text", 3, torch.nn.Linear(1, 1)])
def test_a_bad_model_or_station_gets_a_sentence(bad):
    assert "give a FaceNeSt" in text(NetworkMap(FACES, model=bad).children[0])
    piece = NetworkMap(FACES, station=str(bad)[:5])
    assert "There is no station" in text(piece.message) and piece.station.name == "scale 3"


def test_a_model_in_training_stays_so_and_is_shown_in_use():
    model = facenest(width=4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    NetworkMap(FACES, model=model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_names_go_onto_the_page_as_text():
    piece = NetworkMap(FACES[:1], ["<img src=x>"])
    assert piece.face.options[0][0] == "<img src=x>"
    assert "<img src=x>" not in piece.table.value


def test_it_carries_a_figure_where_widgets_do_not_render(piece, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    piece.show()
    assert {WIDGET_VIEW, "image/png", "text/plain"} == set(shown[0])


def test_figures_draw_every_station(piece):
    figure = map_figure(piece.pixels, piece.stations)
    titles = [axis.get_title("center") for axis in figure.axes[:9]]
    assert titles == [s.name for s in piece.stations]
    for station in piece.stations:
        drawn = station_figure(piece.pixels, station)
        assert sees(station, short=True) in drawn.axes[0].get_title("left")
        matplotlib.pyplot.close(drawn)
    matplotlib.pyplot.close(figure)


def test_growth_returns_slopes_and_rivals_their_values():
    slopes = plots.plot_growth([1, 2, 4, 8], {"square": [1, 4, 16, 64], "line": [3, 6, 12, 24]}, "x", "y")
    assert slopes == {"square": pytest.approx(2), "line": pytest.approx(1)}
    drawn = plots.plot_rivals({"a": [0.7, 0.8], "b": [0.6, 0.65, 0.7]})
    assert drawn["a"].tolist() == [0.7, 0.8] and drawn["b"].tolist() == [0.6, 0.65, 0.7]


def test_differences_tell_which_intervals_leave_out_zero():
    panels = {
        "one": {"a": (-0.5, -0.6, -0.4), "b": (0.01, -0.01, 0.03), "c": (0.05, 0.02, 0.08)},
        "two": {"b": (0.5, 0.4, 0.6)},
    }
    told = plots.plot_differences(panels)
    assert told == {"one": {"a": "below", "b": "open", "c": "above"}, "two": {"b": "above"}}


def test_another_face_clears_a_bad_side(piece):
    piece.face.value, piece.side.value = 0, "64"
    piece.side.value = "many"
    piece.face.value = 1
    assert piece.side.value == "64" and text(piece.message) == ""
    assert np.array_equal(piece.pixels, FACES[1][:, 32:96, 32:96].permute(1, 2, 0).numpy())
    piece.face.value, piece.side.value = 0, "128"

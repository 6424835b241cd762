"""The explorer of channel gates and the plots of lesson 07; without a browser."""

import matplotlib

matplotlib.use("Agg")

import re  # noqa: E402

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from course_lib import ChannelAttentionExplorer, plots  # noqa: E402
from course_lib.widgets_attend import (  # noqa: E402
    CHANNELS,
    GATES,
    ORDERS,
    STATES,
    changed_picture,
    channel_maps,
    gate_arithmetic,
    gate_figure,
    gate_of,
)
from course_lib.widgets_kit import WIDGET_VIEW  # noqa: E402


@pytest.fixture(scope="module")
def face():
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(1, 3, 12, 12, generator=generator) * 200 + 20
    return torch.nn.functional.interpolate(small, size=(48, 48), mode="bilinear")[0].to(torch.uint8)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, dtype=float)))


G = np.array([2.0, 0.0, 1.0, 1.0])


def test_the_gates_are_those_worked_out_on_paper():
    values = dict.fromkeys(GATES["SE"], 0.0) | {"in 1": 1.0, "in 3": -1.0, "out 1": 2.0, "out 3": -1.0}
    assert np.allclose(gate_of("SE", values, G)[0], sigmoid([2, 0, -1, 0]), atol=1e-6)
    local = {"left": 1.0, "middle": 1.0, "right": -1.0, "bias": 0.0}
    assert np.allclose(gate_of("local", local, G)[0], sigmoid([2, 1, 0, 2]), atol=1e-6)
    values = {"query": np.log(2.0), "key": 1.0, "scale": 3.0, "bias": -4.0}
    gate, matrix = gate_of("global", values, G)
    assert np.allclose(gate, sigmoid([0.8, -1, 0, 0]), atol=1e-5)
    assert np.allclose(matrix[0], [0.64, 0.04, 0.16, 0.16], atol=1e-5) and np.allclose(matrix.sum(1), 1)


@pytest.mark.parametrize("kind", GATES)
def test_weights_of_zero_have_no_opinion(kind):
    gate, _ = gate_of(kind, dict.fromkeys(GATES[kind], 0.0), G)
    assert (gate == 0.5).all()


def test_the_states_do_what_they_say(face):
    grey = face.float().mean(0).numpy()
    pooled = {state: channel_maps(changed_picture(grey, state)).mean((1, 2)) for state in STATES}
    as_it_is = pooled["as it is"]
    assert pooled["with grain"][3] > 1.2 * as_it_is[3] and pooled["blurred"][3] < 0.9 * as_it_is[3]
    assert np.allclose(pooled["darker"], 0.4 * as_it_is, rtol=1e-4)
    assert np.isclose(pooled["blurred"][0], as_it_is[0], rtol=0.05)


def test_choices_and_sliders_redraw_numbers_picture_and_alt_text(face):
    piece = ChannelAttentionExplorer(face)
    assert np.allclose(piece.pooled, 1, atol=1e-4)  # without others a face is its own measure
    assert piece.matrix is None and "Four channels of the face, as it is" in piece.picture.value
    before = piece.picture.value
    piece.kind.value = "global"
    assert piece.matrix.shape == (4, 4) and "The matrix, row by row" in piece.picture.value
    assert piece.picture.value != before
    piece.sliders["global", "query"].value = 0.0
    assert np.allclose(piece.matrix, 0.25)
    assert piece.fields["global", "query"].value == "0"
    piece.kind.value, piece.state.value = "local", "with grain"
    gate = piece.gate.copy()
    piece.order.value = "fine detail second"
    places = [[*CHANNELS].index(name) for name in ORDERS["fine detail second"]]
    assert not np.allclose(piece.gate, gate[places], atol=1e-3)  # neighbours have changed, so have weights


def test_the_order_of_the_list_is_all_the_same_to_global(face):
    piece = ChannelAttentionExplorer(face, [face, face // 2 + 20])
    piece.kind.value, piece.state.value = "global", "with grain"
    gate = piece.gate.copy()
    piece.order.value = "fine detail second"
    places = [[*CHANNELS].index(name) for name in ORDERS["fine detail second"]]
    assert np.allclose(piece.gate, gate[places], atol=1e-6)  # its kernel has length one here


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("text", ["much", "", "nan", "7", "<b>x</b>"])
def test_a_word_typed_into_a_field_gets_a_sentence(face, kind, text):
    piece = ChannelAttentionExplorer(face)
    piece.kind.value = kind
    name = next(iter(GATES[kind]))
    before = piece.picture.value
    piece.fields[kind, name].value = text
    assert f"The gate still has {name} = " in piece.message.value and "<b>x" not in piece.message.value
    assert piece.picture.value == before
    piece.sliders[kind, name].value = -2.0
    assert piece.message.value == "" and piece.fields[kind, name].value == "-2"


def test_a_number_typed_into_a_field_moves_its_slider_and_start_over_undoes_it(face):
    piece = ChannelAttentionExplorer(face)
    gate = piece.gate.copy()
    piece.fields["SE", "out 4"].value = " \u22122,5 "
    assert piece.sliders["SE", "out 4"].value == -2.5 and piece.fields["SE", "out 4"].value == "-2.5"
    piece.fields["SE", "in 1"].value = "2"
    assert not np.allclose(piece.gate, gate)
    piece.reset.click()
    assert np.allclose(piece.gate, gate) and piece.fields["SE", "out 4"].value == "-4"
    assert piece.message.value == ""


@pytest.mark.parametrize("bad", ["text", None, 3, [1], float("nan"), {}, torch.zeros(2, 5), torch.zeros(4)])
def test_no_picture_gets_a_sentence(bad, face, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    for piece in (ChannelAttentionExplorer(bad), ChannelAttentionExplorer(face, bad)):
        if isinstance(bad, torch.Tensor) and bad.shape == (2, 5) and piece.grey is not None:
            pytest.fail("two rows of numbers are no list of pictures")
        if piece.grey is None:
            assert re.search(r"picture", piece.children[0].value)
        piece.show()
    assert len(shown) == 2


def test_a_static_figure_stands_in_its_place_and_keys_stay_inside(face, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    piece = ChannelAttentionExplorer(face)
    piece.show()
    assert set(shown[0]) == {WIDGET_VIEW, "image/png", "text/plain"}
    assert "course-gate" in piece._dom_classes and ".course-gate" in piece.children[-1].value
    assert not any(slider.readout for slider in piece.sliders.values())


def test_the_arithmetic_is_written_as_on_paper():
    local = {"left": 1.0, "middle": 1.0, "right": -1.0, "bias": 0.0}
    words = gate_arithmetic("local", local, G, *gate_of("local", local, G))
    assert words == "Channel 2: 1·2.00 + 1·0.00 − 1·1.00 = 1.00, and σ of it is 0.73."
    values = dict.fromkeys(GATES["SE"], 0.0) | {"in 1": 1.0, "bias in": -1.0, "out 4": -2.0}
    words = gate_arithmetic("SE", values, G, *gate_of("SE", values, G))
    assert words.startswith("In the middle: ReLU(1·2.00 − 1) = 1.00. Channel 4: −2 · 1.00 = −2.00")
    zeros = dict.fromkeys(GATES["SE"], 0.0)
    assert "ReLU(0) = 0.00" in gate_arithmetic("SE", zeros, G, *gate_of("SE", zeros, G))
    values = {"query": float(np.log(2)), "key": 1.0, "scale": 3.0, "bias": -4.0}
    words = gate_arithmetic("global", values, G, *gate_of("global", values, G))
    assert words.startswith("Channel 4 hears 0.44·2.00 + 0.11·0.00 + 0.22·1.00 + 0.22·1.00 = 1.33.")
    assert words.endswith("Then 3·1.33 − 4 = 0.00; σ of it is 0.50.")


def test_the_figure_shows_the_channels_times_twice_their_weights():
    maps = np.random.default_rng(0).random((4, 6, 6))
    weights = np.array([0.0, 0.5, 1.0, 0.25])
    figure = gate_figure([*CHANNELS], maps, maps.mean((1, 2)), {"local": weights})
    plt.close(figure)
    for c in range(4):
        before, after = figure.axes[c].images[0], figure.axes[4 + c].images[0]
        assert np.allclose(after.get_array(), before.get_array() * 2 * weights[c])
        assert before.get_clim() == after.get_clim()
        assert f"weight {weights[c]:.2f}" in figure.axes[4 + c].get_title("center")


def test_the_plots_return_what_they_drew():
    maps = torch.rand(4, 5, 5)
    drawn = plots.show_channels({"a": maps, "b": 2 * maps}, "ABCD", [["1"] * 4] * 2)
    assert set(drawn) == {"a", "b"} and np.allclose(drawn["b"], 2 * drawn["a"])
    with pytest.raises(ValueError, match="show_channels needs"):
        plots.show_channels({"a": maps}, "ABC", [["1"] * 4])
    matrix = torch.softmax(torch.rand(6, 6), 1)
    assert np.allclose(plots.show_attention([matrix, matrix], ["x", "y"], numbers=True)[1], matrix)
    assert plots.show_attention([2 * matrix], ["x"], top=0.1)[0].shape == (6, 6)
    with pytest.raises(ValueError, match="show_attention needs"):
        plots.show_attention([matrix], ["x", "y"])
    costs = plots.plot_costs([16, 64], {"numbers": {"SE": [148, 2128]}, "MACs": {"SE": [128, 2048]}})
    assert costs["MACs"]["SE"].tolist() == [128, 2048]
    plt.close("all")

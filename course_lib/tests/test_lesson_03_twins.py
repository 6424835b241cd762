"""Lesson 03 builds `MyConv2d` and `HighPass`: they are torch's convolution and the library's high pass.

The classes are taken out of the notebook as a learner would type them, with the functions they call.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.facenest import high_pass

LESSON = Path(__file__).resolve().parents[2] / "notebooks" / "03_convolution_by_hand.ipynb"
if not LESSON.exists():
    pytest.skip("installed without the lessons", allow_module_level=True)


def built_in_the_lesson() -> dict:
    """What the notebook defines: its imports, functions and classes, without the solutions."""
    space: dict = {}
    for cell in json.loads(LESSON.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        tagged = "solution" in cell["metadata"].get("tags", [])
        if cell["cell_type"] != "code" or tagged or "google.colab" in source:
            continue
        wanted = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
        nodes = [node for node in ast.parse(source).body if isinstance(node, wanted)]
        exec(compile(ast.Module(nodes, []), LESSON.name, "exec"), space)
    return space


LESSON_03 = built_in_the_lesson()
MyConv2d, HighPass, convolve = (LESSON_03[name] for name in ("MyConv2d", "HighPass", "convolve"))


def gradients(module: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The output, and the slopes of a sum that weighs each output number differently."""
    x = x.clone().requires_grad_()
    out = module(x)
    weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape)
    (out * weights).sum().backward()
    return out.detach(), {"x": x.grad} | {name: p.grad for name, p in module.named_parameters()}


CASES = st.fixed_dictionaries(
    {
        "in_channels": st.integers(1, 4),
        "out_channels": st.integers(1, 5),
        "kernel_size": st.integers(1, 5),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 3),
        "dilation": st.integers(1, 3),
        "bias": st.booleans(),
    }
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(CASES, st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
def test_my_conv2d_is_torchs(options, batch, height, width, seed):
    span = options["dilation"] * (options["kernel_size"] - 1) + 1
    assume(min(height, width) + 2 * options["padding"] >= span)
    torch.manual_seed(seed)
    theirs = nn.Conv2d(**options).double()
    mine = MyConv2d(**options).double()
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert [v.shape for v in mine.state_dict().values()] == [v.shape for v in theirs.state_dict().values()]
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(batch, options["in_channels"], height, width, dtype=torch.float64)
    (out, slopes), (expected, expected_slopes) = gradients(mine, x), gradients(theirs, x)
    assert out.shape == expected.shape and torch.allclose(out, expected)
    assert slopes.keys() == expected_slopes.keys()
    for name, slope in slopes.items():
        assert torch.allclose(slope, expected_slopes[name]), name


def test_the_weights_go_both_ways():
    theirs, mine = nn.Conv2d(3, 5, 3), MyConv2d(3, 5, 3)
    theirs.load_state_dict(mine.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(theirs(x), mine(x), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_fresh_weights_are_torchs_after_the_same_seed(bias):
    torch.manual_seed(7)
    theirs = nn.Conv2d(3, 8, 5, bias=bias)
    torch.manual_seed(7)
    mine = MyConv2d(3, 8, 5, bias=bias)
    for name, value in theirs.state_dict().items():
        assert torch.allclose(mine.state_dict()[name], value, rtol=1e-5, atol=1e-7), name


def test_both_refuse_the_wrong_number_of_channels():
    for layer in (nn.Conv2d(1, 16, 3), MyConv2d(1, 16, 3)):
        with pytest.raises(RuntimeError):
            layer(torch.zeros(2, 3, 8, 8))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))
def test_high_pass_is_the_librarys(batch, channels, height, width, seed):
    torch.manual_seed(seed)
    x = torch.randn(batch, channels, height, width, dtype=torch.float64) * 100
    mine = HighPass().double()
    assert list(mine.state_dict()) == [] and list(mine.parameters()) == []

    class Library(nn.Module):
        forward = staticmethod(high_pass)

    (out, slopes), (expected, expected_slopes) = gradients(mine, x), gradients(Library(), x)
    assert out.shape == x.shape and torch.allclose(out, expected)
    assert torch.allclose(slopes["x"], expected_slopes["x"])


def test_the_four_ways_of_the_lesson_agree():
    torch.manual_seed(1)
    image, kernel = torch.randn(6, 7), torch.randn(3, 2)
    expected = nn.functional.conv2d(image[None, None], kernel[None, None])[0, 0]
    for way in ("conv_loops", "conv_slices"):
        assert torch.allclose(LESSON_03[way](image, kernel), expected, atol=1e-5), way
    square = torch.randn(3, 3)
    expected = nn.functional.conv2d(image[None, None], square[None, None])
    assert torch.allclose(convolve(image[None, None], square[None, None]), expected, atol=1e-5)

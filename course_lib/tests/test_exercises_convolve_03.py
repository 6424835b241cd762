"""Mutation tests of the checkers of lesson 03: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from course_lib import exercises_convolve as exercises

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

conv_right = exercises.conv2d_reference


def conv_by_loops(image, kernel, stride=1, padding=0):
    """Plain lists in, four loops, lists out."""
    height, width = len(image) + 2 * padding, len(image[0]) + 2 * padding
    padded = [[0.0] * width for _ in range(height)]
    for r, row in enumerate(image.tolist()):
        padded[r + padding][padding : width - padding] = row
    k = kernel.tolist()
    return [
        [
            sum(padded[i + a][j + b] * k[a][b] for a in range(len(k)) for b in range(len(k[0])))
            for j in range(0, width - len(k[0]) + 1, stride)
        ]
        for i in range(0, height - len(k) + 1, stride)
    ]


def conv_with_numpy(image, kernel, stride=1, padding=0):
    padded = np.pad(image.numpy(), padding)
    windows = np.lib.stride_tricks.sliding_window_view(padded, tuple(kernel.shape))[::stride, ::stride]
    return (windows * kernel.numpy()).sum((2, 3))


def reflected(image, kernel, stride=1, padding=0):
    padded = functional.pad(image[None, None], [padding] * 4, mode="reflect")[0, 0] if padding else image
    return conv_right(padded, kernel, stride, 0)


def test_conv2d(capsys):
    wrong = [
        lambda x, k, s, p: torch.zeros_like(conv_right(x, k, s, p)),
        lambda x, k, s, p: 2 * conv_right(x, k, s, p),
        lambda x, k, s, p: conv_right(x, k, s, p).T,
        lambda x, k, s, p: conv_right(x, k, s, p) + 1,
        lambda x, k, s, p: conv_right(x, k.flip(0, 1), s, p),
        lambda x, k, s, p: conv_right(x, k.T, s, p),
        lambda x, k, s, p: conv_right(x, k, 1, p),
        lambda x, k, s, p: conv_right(x, k, s, 0),
        lambda x, k, s, p: conv_right(x, k, s, 1),
        lambda x, k, s, p: conv_right(x, k, s, p)[:-1],
        lambda x, k, s, p: conv_right(x, k, s, p).clamp(min=0),
        lambda x, k, s, p: conv_right(x, k, 1, p)[::s, ::s].abs(),
        lambda x, k, s, p: torch.rand_like(conv_right(x, k, s, p)),
        lambda x, k, s, p: conv_right(x, k, s, p)[None, None],
        reflected,
    ]
    assert_checker(capsys, "conv2d", [conv_right, conv_by_loops, conv_with_numpy], wrong)


def test_conv2d_names_the_first_wrong_case_and_recognises_a_flipped_kernel(capsys):
    doubled = said(capsys, "conv2d", lambda x, k, s, p: 2 * conv_right(x, k, s, p))
    assert doubled == (
        "not yet, because for (Tensor of shape (5, 5), Tensor of shape (3, 3), 1, 0) it gives 72 at "
        "index [0, 1], and 36 was expected"
    )
    flipped = said(capsys, "conv2d", lambda x, k, s, p: conv_right(x, k.flip(0, 1), s, p))
    assert "gives -36 at index [0, 1], and 36 was expected" in flipped and "turned by 180°" in flipped


def size_by_formula(size, kernel, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def size_by_torch(size, kernel, stride=1, padding=0, dilation=1):
    layer = torch.nn.Conv1d(1, 1, kernel, stride, padding, dilation)
    return torch.tensor(layer(torch.zeros(1, 1, size)).shape[-1])


def test_output_size(capsys):
    wrong = [
        lambda n, k, s, p, d: 0,
        lambda n, k, s, p, d: 2 * size_by_formula(n, k, s, p, d),
        lambda n, k, s, p, d: size_by_formula(n, k, s, p, d) - 1,
        lambda n, k, s, p, d: size_by_formula(n, k, s, p, 1),
        lambda n, k, s, p, d: size_by_formula(n, k, 1, p, d),
        lambda n, k, s, p, d: size_by_formula(n, k, s, 0, d),
        lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1,
        lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) / s + 1,
        lambda n, k, s, p, d: -(-(n + 2 * p - d * (k - 1) - 1) // s) + 1,
        lambda n, k, s, p, d: (n + 2 * p - d * k) // s + 1,
        lambda n, k, s, p, d: [size_by_formula(n, k, s, p, d)],
    ]
    assert_checker(
        capsys, "output_size", [exercises.output_size_reference, size_by_formula, size_by_torch], wrong
    )


def field_forwards(layers):
    field = jump = 1
    for kernel, stride, dilation in layers:
        field += (kernel - 1) * dilation * jump
        jump *= stride
    return field


def field_by_gradient(layers):
    """Measured: the pixels that one output number depends on."""
    x = torch.zeros(1, 1, 512, requires_grad=True)
    y = x
    for kernel, stride, dilation in layers:
        y = functional.conv1d(y, torch.ones(1, 1, kernel), stride=stride, dilation=dilation)
    y[0, 0, 0].backward()
    return int(x.grad.nonzero()[-1, -1]) + 1


def test_receptive_field(capsys):
    wrong = [
        lambda layers: 0,
        lambda layers: 2 * field_forwards(layers),
        lambda layers: field_forwards(layers) + 1,
        lambda layers: field_forwards(layers[::-1]),
        lambda layers: sum(k for k, _, _ in layers),
        lambda layers: 1 + sum(k - 1 for k, _, _ in layers),
        lambda layers: field_forwards([(k, 1, d) for k, _, d in layers]),
        lambda layers: field_forwards([(k, s, 1) for k, s, _ in layers]),
        lambda layers: max((k for k, _, _ in layers), default=1),
        lambda layers: field_forwards(layers) if layers else 0,
        lambda layers: [field_forwards(layers)] * 2,
    ]
    right = [exercises.receptive_field_reference, field_forwards, field_by_gradient]
    assert_checker(capsys, "receptive_field", right, wrong)


def pool_by_slices(image, size, stride):
    rows = range(0, image.shape[0] - size + 1, stride)
    columns = range(0, image.shape[1] - size + 1, stride)
    return [[image[i : i + size, j : j + size].max().item() for j in columns] for i in rows]


def test_max_pool(capsys):
    right = exercises.max_pool_reference
    wrong = [
        lambda x, k, s: torch.zeros_like(right(x, k, s)),
        lambda x, k, s: 2 * right(x, k, s),
        lambda x, k, s: right(x, k, s).T,
        lambda x, k, s: -right(-x, k, s),
        lambda x, k, s: right(x, k, s).clamp(min=0),
        lambda x, k, s: functional.avg_pool2d(x[None], k, s)[0],
        lambda x, k, s: right(x, k, k),
        lambda x, k, s: right(x, s, s),
        lambda x, k, s: x[::s, ::s],
        lambda x, k, s: functional.max_pool2d(x[None], k, s, ceil_mode=True)[0],
        lambda x, k, s: right(x, k, s)[None],
        lambda x, k, s: x.max(),
    ]
    assert_checker(capsys, "max_pool", [right, pool_by_slices], wrong)


@pytest.mark.parametrize("name", ["conv2d", "output_size", "receptive_field", "max_pool"])
def test_half_an_answer_is_not_an_untouched_stub(capsys, name):
    """A function that answers the first case and then nothing has been attempted."""
    answers = iter([conv_right(exercises.PAPER_IMAGE, exercises.PAPER_KERNEL)])
    assert said(capsys, name, lambda *_: next(answers, None)).startswith("not yet, because ")

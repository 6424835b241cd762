"""Mutation tests of lesson 01's checkers: right answers pass, wrong ones are told why."""

import numpy as np
import pytest
import scipy.fft
import torch
from test_checks import assert_checker, said

from course_lib import exercises_see as see
from course_lib import normalise


def chw(array):
    return torch.from_numpy(array).permute(2, 0, 1).float() / 255


def test_to_chw(capsys):
    right = [
        chw,
        lambda a: torch.stack([torch.tensor(a[..., c].astype(np.float32) / 255) for c in range(3)]),
    ]
    wrong = [
        lambda a: torch.zeros(3, *a.shape[:2]),
        lambda a: torch.from_numpy(a.transpose(2, 0, 1) / 255),  # float64: a layer would refuse it
        lambda a: torch.from_numpy(a).float() / 255,
        lambda a: torch.from_numpy(a).reshape(3, *a.shape[:2]).float() / 255,
        lambda a: chw(a) * 255,
        lambda a: chw(a).flip(0),
        lambda a: chw(a).transpose(1, 2),
        lambda a: torch.from_numpy(a).permute(2, 0, 1),
        lambda a: chw(a).numpy(),
        lambda a: torch.from_numpy(a // 255).permute(2, 0, 1).float(),
    ]
    assert_checker(capsys, "to_chw", right, wrong)
    assert "(2, 3, 3)" in said(capsys, "to_chw", wrong[0])


def back(x):
    return ((x * 0.25 + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)


def test_denormalise(capsys):
    assert torch.equal(
        back(normalise(torch.arange(256, dtype=torch.uint8))), torch.arange(256).to(torch.uint8)
    )
    wrong = [
        lambda x: torch.zeros_like(x, dtype=torch.uint8),
        lambda x: ((x * 0.25 + 0.5) * 255).clamp(0, 255).to(torch.uint8),
        lambda x: ((x * 0.25 + 0.5) * 255).round().to(torch.int64).to(torch.uint8),
        lambda x: ((x * 0.5 + 0.25) * 255).round().clamp(0, 255).to(torch.uint8),
        lambda x: (x * 255).round().clamp(0, 255).to(torch.uint8),
        lambda x: back(x).float(),
        lambda x: back(x).numpy(),
        lambda x: back(x).flatten(),
    ]
    right = [back, lambda x: (x * 63.75 + 127.5 + 0.5).floor().clip(0, 255).byte()]
    assert_checker(capsys, "denormalise", right, wrong)


def by_scipy(block, table):
    steps = np.round(scipy.fft.dctn(block.astype(float) - 128, norm="ortho") / table)
    return np.clip(np.round(scipy.fft.idctn(steps * table, norm="ortho") + 128), 0, 255).astype(np.uint8)


def by_loops(block, table):
    """The double sum as printed in textbooks, with a function for each pattern."""

    def pattern(u, v):
        n = np.arange(8)
        across = np.outer(np.cos((2 * n + 1) * u * np.pi / 16), np.cos((2 * n + 1) * v * np.pi / 16))
        return across * (0.25 * (0.5**0.5 if u == 0 else 1) * (0.5**0.5 if v == 0 else 1))

    out = np.full((8, 8), 128.0)
    for u in range(8):
        for v in range(8):
            step = np.rint((pattern(u, v) * (block.astype(float) - 128)).sum() / table[u, v])
            out += step * table[u, v] * pattern(u, v)
    return np.rint(out).clip(0, 255).astype(np.uint8)


def unclipped(block, table):
    matrix = see.dct_matrix()
    steps = np.round(matrix @ (block.astype(float) - 128) @ matrix.T / table)
    return np.round(matrix.T @ (steps * table) @ matrix + 128).astype(np.int64).astype(np.uint8)


def without_shift(block, table):
    return np.clip(np.round(by_scipy(block, table).astype(float) - 128), 0, 255).astype(np.uint8)


def test_quantise_block(capsys):
    wrong = [
        lambda b, t: np.zeros((8, 8), np.uint8),
        lambda b, t: b,
        lambda b, t: by_scipy(b, t).T,
        lambda b, t: by_scipy(b, t.T),
        lambda b, t: by_scipy(b, 2 * t),
        lambda b, t: by_scipy(b, t).astype(float),
        lambda b, t: by_scipy(b, t).ravel(),
        lambda b, t: (np.round(b / t) * t).clip(0, 255).astype(np.uint8),
        unclipped,
        without_shift,
    ]
    assert_checker(capsys, "quantise_block", [see.quantise_block_reference, by_scipy, by_loops], wrong)
    assert "as float64, and uint8" in said(capsys, "quantise_block", wrong[5])


@pytest.mark.parametrize(
    "name, block, table", see.block_cases(), ids=lambda x: x if isinstance(x, str) else ""
)
def test_no_case_hangs_on_the_last_digit(name, block, table):
    """Nothing lies on the edge between two steps or two grey values, so every right formula agrees."""
    inner = scipy.fft.dctn(block.astype(float) - 128, norm="ortho") / table
    outer = scipy.fft.idctn(np.round(inner) * table, norm="ortho")
    for values in (inner, outer):
        assert np.abs(np.abs(values - np.floor(values)) - 0.5).min() > 1e-4


def by_folder(name):
    parts = name.lower().split("/")
    word = parts[-2] if len(parts) > 1 else parts[0].split("_")[0]
    return {"real": 0, "fake": 1}[word] if word in ("real", "fake") else stop(name)


def stop(name):
    raise ValueError(f"{name} says neither real nor fake")


def by_index(name):
    *folders, file = name.lower().split("/")
    return ("real", "fake").index(folders[-1] if folders else file[:4])


def test_label_from_name(capsys):
    wrong = [
        lambda name: 0,
        lambda name: 1 - by_folder(name),
        lambda name: int("fake" in name),
        lambda name: int("fake" in name.lower()),
        lambda name: int("real" not in name.lower()),
        lambda name: int("/fake/" in name.lower() or name.startswith("fake")),
        lambda name: "fake" if by_folder(name) else "real",
        lambda name: int(name.lower().split("/")[-1].startswith("fake")),
        lambda name: by_folder(name) if "cats" not in name and "portrait" not in name else None,
    ]
    assert_checker(capsys, "label_from_name", [by_folder, by_index], wrong)
    assert "'train/cats/12.jpg'" in said(capsys, "label_from_name", wrong[-1])
    assert "real_vs_fake" in said(
        capsys, "label_from_name", lambda n: stop(n) if n == "x" else int("fake" in n)
    )

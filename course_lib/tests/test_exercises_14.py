"""Mutation tests of the checkers of lesson 14: right answers pass, wrong ones are told why."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from course_lib import exercises_explain as exercises

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

ig_right = exercises.integrated_gradients_reference
cam_right = exercises.grad_cam_reference
occlusion_right = exercises.occlusion_reference
hit_right = exercises.pointing_hit_reference


def ig_at(places):
    """Integrated gradients with a rule of one's own: `places(steps)` gives the shares of the way."""

    def mine(f, x, baseline, steps):
        slopes = []
        for share in places(steps):
            point = (baseline + share * (x - baseline)).detach().requires_grad_()
            f(point).backward()
            slopes.append(point.grad)
        return torch.stack(slopes).mean(0) * (x - baseline)

    return mine


def test_integrated_gradients(capsys):
    middles = ig_at(lambda n: ((torch.arange(n) + 0.5) / n).tolist())
    wrong = {
        "zeros": lambda f, x, b, n: torch.zeros_like(x),
        "sum": lambda f, x, b, n: n * ig_right(f, x, b, n),
        "no way": lambda f, x, b, n: ig_right(f, x, b, n) / torch.where(x == b, 1, x - b),
        "gradient x input": lambda f, x, b, n: ig_at(lambda _: [1.0])(f, x, b, n),
        "no baseline": lambda f, x, b, n: ig_right(f, x, torch.zeros_like(x), n),
        "left ends": ig_at(lambda n: [k / n for k in range(n)]),
        "right ends": ig_at(lambda n: [(k + 1) / n for k in range(n)]),
        "sign": lambda f, x, b, n: -ig_right(f, x, b, n),
        "summed": lambda f, x, b, n: ig_right(f, x, b, n).sum(),
        "both ends": ig_at(lambda n: torch.linspace(0, 1, n).tolist()),
        "times x": lambda f, x, b, n: ig_right(f, x, b, n) / torch.where(x == b, 1, x - b) * x,
    }
    assert_checker(capsys, "integrated_gradients", [ig_right, middles], list(wrong.values()))
    told = {name: said(capsys, "integrated_gradients", mine) for name, mine in wrong.items()}
    assert "divide the sum of the slopes" in told["sum"]
    assert "not yet times x − baseline" in told["no way"]
    assert "the slope at the end only" in told["gradient x input"]
    assert "the way begins at the baseline" in told["no baseline"]
    assert "has shape ()" in told["summed"]
    assert "the sign is the other way round" in told["sign"]
    for rule in ("left ends", "right ends", "both ends"):
        assert "at the middles of the pieces" in told[rule], rule


def test_grad_cam(capsys):
    def by_einsum(features, slopes):
        return torch.einsum("c,chw->hw", slopes.flatten(1).mean(1), features).clamp(min=0)

    wrong = {
        "zeros": lambda a, g: torch.zeros_like(a[0]),
        "no relu": lambda a, g: (g.mean((1, 2), keepdim=True) * a).sum(0),
        "gradient x map": lambda a, g: torch.relu((g * a).sum(0)),
        "relu first": lambda a, g: torch.relu(g.mean((1, 2), keepdim=True) * a).sum(0),
        "averaged": lambda a, g: cam_right(a, g) / len(a),
        "swapped": lambda a, g: cam_right(g, a),
        "transposed": lambda a, g: cam_right(a, g).T,
        "scaled": lambda a, g: cam_right(a, g) / cam_right(a, g).max().clamp(min=1e-9),
        "batch": lambda a, g: cam_right(a, g)[None],
    }
    assert_checker(capsys, "grad_cam", [cam_right, by_einsum], list(wrong.values()))
    told = {name: said(capsys, "grad_cam", mine) for name, mine in wrong.items()}
    assert "the last relu is missing" in told["no relu"]
    assert "average each channel's slopes" in told["gradient x map"]
    assert "add up the channels first" in told["relu first"]
    assert "add up the channels first" not in told["scaled"]  # one case alone fits several slips

    def summed_slopes(a, g):
        return cam_right(a, g) * g[0].numel()

    assert "not their sum" in said(capsys, "grad_cam", summed_slopes)


def test_occlusion(capsys):
    def by_unfold(f, picture, window, stride, fill):
        spots = torch.arange(picture.numel()).reshape(picture.shape)
        windows = spots.unfold(0, window, stride).unfold(1, window, stride).reshape(-1, window * window)
        total, count = torch.zeros(picture.numel()), torch.zeros(picture.numel())
        for window_spots in windows:
            covered = picture.flatten().clone()
            covered[window_spots] = fill
            total[window_spots] += f(picture) - f(covered.reshape(picture.shape))
            count[window_spots] += 1
        return (total / count).reshape(picture.shape)

    def last_wins(f, picture, window, stride, fill):
        result = torch.zeros_like(picture)
        for top in range(0, picture.shape[0] - window + 1, stride):
            for left in range(0, picture.shape[1] - window + 1, stride):
                covered = picture.clone()
                covered[top : top + window, left : left + window] = fill
                result[top : top + window, left : left + window] = f(picture) - f(covered)
        return result

    def cumulative(f, picture, window, stride, fill):
        before = f(picture)  # forgets to uncover the last window
        result = torch.zeros_like(picture)
        for top in range(0, picture.shape[0] - window + 1, stride):
            for left in range(0, picture.shape[1] - window + 1, stride):
                picture[top : top + window, left : left + window] = fill
                result[top : top + window, left : left + window] = before - f(picture)
        return result

    wrong = {
        "zeros": lambda f, x, w, s, v: torch.zeros_like(x),
        "sign": lambda f, x, w, s, v: -occlusion_right(f, x, w, s, v),
        "the answers": lambda f, x, w, s, v: f(x) - occlusion_right(f, x, w, s, v),
        "black": lambda f, x, w, s, v: occlusion_right(f, x, w, s, 0.0),
        "no stride": lambda f, x, w, s, v: occlusion_right(f, x, w, w, v).nan_to_num(),
        "last wins": last_wins,
        "cumulative": cumulative,
        "transposed": lambda f, x, w, s, v: occlusion_right(f, x, w, s, v).T,
        "scaled": lambda f, x, w, s, v: 2 * occlusion_right(f, x, w, s, v),
    }
    assert_checker(capsys, "occlusion", [occlusion_right, by_unfold], list(wrong.values()))
    assert "the other way round" in said(capsys, "occlusion", wrong["sign"])

    def stick_out(*case):
        return occlusion_right(*case, sticking_out=True)

    assert "would stick out at the edge" in said(capsys, "occlusion", stick_out)
    assert ".clone() it first" in said(capsys, "occlusion", lambda *c: occlusion_right(*c, uncovered=False))
    assert "with the window covered; the fall is wanted" in said(capsys, "occlusion", wrong["the answers"])
    assert "fill the window with `fill`" in said(capsys, "occlusion", wrong["black"])

    def last_windows_forgotten(f, picture, window, stride, fill):
        found = occlusion_right(f, picture, window, stride, fill)
        found[picture.shape[0] - 1] = float("nan")
        return found

    assert "no window was counted there" in said(capsys, "occlusion", last_windows_forgotten)


def test_pointing_hit(capsys):
    def by_loop(found, mask):
        best = max(found.flatten().tolist())
        inside = [
            m for v, m in zip(found.flatten().tolist(), mask.flatten().tolist(), strict=True) if v == best
        ]
        return sum(inside) / len(inside)

    wrong = {
        "always": lambda found, mask: 1.0,
        "never": lambda found, mask: 0.0,
        "argmax": lambda found, mask: float(mask.flatten()[found.argmax()]),
        "any": lambda found, mask: float((mask & (found == found.max())).any()),
        "absolute": lambda found, mask: hit_right(found.abs(), mask),
        "energy": lambda found, mask: float(found[mask].sum() / found.sum().clamp(min=1e-9)),
        "upside down": lambda found, mask: 1 - hit_right(found, mask),
        "area": lambda found, mask: float(mask.float().mean()),
    }
    assert_checker(capsys, "pointing_hit", [hit_right, by_loop], list(wrong.values()))
    assert "argmax takes the first of them" in said(capsys, "pointing_hit", wrong["argmax"])
    places = said(capsys, "pointing_hit", lambda found, mask: float((mask & (found == found.max())).sum()))
    assert "divide by how many places" in places
    assert "argmax" not in said(capsys, "pointing_hit", wrong["any"])
    assert "give the share of them inside" in said(capsys, "pointing_hit", wrong["any"])

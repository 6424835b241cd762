"""What lesson 14 builds is what the library has: the same maps of the same network and pictures."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from course_lib import explain, load_checkpoint, load_spliced, normalise

sys.path.insert(0, str(Path(__file__).resolve().parent))
from lesson_code import definitions  # noqa: E402

LESSON = definitions("14_explain_it.ipynb")


@pytest.fixture(scope="module")
def model():
    return load_checkpoint("studio").model.eval()


@pytest.fixture(scope="module", params=[3, 77])
def face(request):
    return load_spliced().uint8(request.param)


def test_integrated_gradients(model, face):
    theirs = explain.integrated_gradients(model, face, steps=3)
    torch.testing.assert_close(LESSON.gradients_on_the_way(model, face, 3), theirs, atol=1e-5, rtol=1e-4)
    x = normalise(face[None])
    slow = LESSON.my_integrated_gradients_solution(lambda v: model(v)[0], x, torch.zeros_like(x), 3)
    torch.testing.assert_close(slow.sum(1)[0], theirs, atol=1e-5, rtol=1e-4)


def test_grad_cam(model, face):
    logit, details = model(normalise(face[None]), return_details=True)
    for scale in (1, 2, 3, 4):
        features = details["features"][scale - 1]
        slopes = torch.autograd.grad(logit.sum(), features, retain_graph=True)[0]
        small = LESSON.my_grad_cam_solution(features[0].detach(), slopes[0])
        mine = F.interpolate(small[None, None], size=face.shape[1:], mode="bilinear")[0, 0]
        torch.testing.assert_close(mine, explain.grad_cam(model, face, scale), atol=1e-6, rtol=1e-4)


def test_occlusion(model, face):
    cover = explain.fill_picture(face, "mean")

    def logit_of(kept):
        with torch.no_grad():
            return model(normalise(torch.where(kept.bool(), face, cover)[None]))[0]

    mine = LESSON.my_occlusion_solution(logit_of, torch.ones(128, 128), 32, 32, 0.0)
    torch.testing.assert_close(mine, explain.occlusion(model, face, 32, 32), atol=1e-4, rtol=1e-3)


def test_windows(model, face):
    mine = LESSON.logits_of_windows(model, face, 32, 16)
    torch.testing.assert_close(mine, explain.window_map(model, face, 32, 16), atol=1e-4, rtol=1e-3)


def test_hits(face):
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        found = torch.randint(0, 4, (6, 7), generator=generator)
        mask = torch.rand(6, 7, generator=generator) < 0.4
        assert LESSON.my_pointing_hit_solution(found, mask) == explain.pointing_game([found], [mask])[0]

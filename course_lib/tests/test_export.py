"""The exported network says the same: any batch, any size, any variant, and as a whole detector."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from course_lib import (
    CheckpointError,
    CourseError,
    Detector,
    ModelInputError,
    Preprocessing,
    export,
    facenest,
)

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="needs the extra export")
import onnx  # noqa: E402

PREPARATION = Preprocessing(side=64, crop=48, crops=5, mean=0.4, std=0.2)


def made(**options) -> Detector:
    torch.manual_seed(0)
    model = facenest(width=4, **options).eval()
    with torch.no_grad():
        model.head[-1].weight.mul_(30)
        for name, buffer in model.named_buffers():  # as if trained: batch norm must not be the identity
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                buffer.uniform_(-0.1, 0.1)
    return Detector(
        model, PREPARATION, threshold=0.3, temperature=1.7, name="small", card="# Card", device="cpu"
    )


@pytest.fixture(scope="module", params=[{}, {"branches": (), "fusion": "none"}], ids=["default", "bare"])
def pair(request, tmp_path_factory):
    detector = made(**request.param)
    path = export.export_onnx(detector, tmp_path_factory.mktemp("o") / "new" / "small.onnx")
    return detector, export.load_onnx(path, threads=1), path


@pytest.mark.parametrize(
    "shape", [(1, 3, 32, 32), (1, 3, 64, 96), (2, 3, 64, 96), (7, 3, 48, 48), (3, 3, 99, 130)], ids=str
)
def test_same_logits_at_any_batch_and_size(pair, shape):
    detector, exported, _ = pair
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = detector.model(x)
    assert exported.model(x).shape == expected.shape == shape[:1]
    assert torch.allclose(exported.model(x), expected, atol=1e-4)
    assert torch.allclose(
        exported.model(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-4
    )


def test_same_detector(pair):
    detector, exported, _ = pair
    rng = np.random.default_rng(0)
    blocks = [rng.integers(0, n, (h, w, 3)) for n, h, w in ((256, 10, 16), (90, 9, 50), (20, 30, 18))]
    pictures = [b.repeat(4, 0).repeat(4, 1).astype(np.uint8) for b in blocks]
    p = detector(pictures)
    np.testing.assert_allclose(exported(pictures), p, atol=1e-5)
    assert len({*p.round(4)}) == 3, "a detector that says one thing of everything proves nothing"
    assert exported.preprocessing == PREPARATION and exported.threshold == 0.3 and exported.temperature == 1.7
    assert exported.card == "# Card" and exported.config == {"exported from": detector.id}
    assert exported.label(0.31) == "fake"


def test_the_file_is_valid_small_and_open_in_three_sizes(pair):
    detector, _, path = pair
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    (given,), (result,) = model.graph.input, model.graph.output
    sizes = [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim]
    assert given.name == "windows" and sizes == ["batch", 3, "height", "width"]
    assert result.name == "logit_of_fake" and [d.dim_param for d in result.type.tensor_type.shape.dim] == [
        "batch"
    ]
    weights = sum(p.numel() for p in detector.model.parameters()) * 4
    assert path.stat().st_size < weights + 600_000 and [f.name for f in path.parent.iterdir()] == [
        "small.onnx"
    ]


def test_the_detector_is_left_as_it_was():
    detector = made()
    before = detector.id
    export_free = detector.model.training
    x = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        logits = detector.model(x)
    with pytest.raises(CheckpointError, match="could not be written"):
        export.export_onnx(detector, "/proc/nowhere/small.onnx")
    assert detector.id == before and detector.model.training == export_free
    with torch.no_grad():
        assert torch.equal(detector.model(x), logits)


def test_other_files_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "text.onnx").write_text("milk")
    (tmp_path / "empty.onnx").touch()
    plain = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g",
        *[[onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1])] for n in "xy"],
    )  # fmt: skip
    model = onnx.helper.make_model(plain, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "foreign.onnx")
    cases = {
        "gone.onnx": "No such file",
        "text.onnx": "not an ONNX file",
        "empty.onnx": "not an ONNX file",
        "foreign.onnx": "not written by this course",
        ".": "cannot be read",
    }
    for name, says in cases.items():
        with pytest.raises(CheckpointError, match=says) as caught:
            export.load_onnx(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_bad_windows_are_refused(pair):
    _, exported, _ = pair
    for x in (
        torch.zeros(3, 64, 64),
        torch.zeros(1, 1, 64, 64),
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
    ):
        with pytest.raises(ModelInputError):
            exported.model(x)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_one_sentence(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CourseError, match=rf"{package}.*facenest-course\[export\]"):
        if package == "onnxruntime":
            export.load_onnx(tmp_path / "x.onnx")
        else:
            export.export_onnx(made(), tmp_path / "x.onnx")

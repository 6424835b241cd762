"""A network as an ONNX file: for programs and machines that have no PyTorch (extra `export`).

ONNX is a list of operations with the weights beside it; ONNX Runtime and others run it. Any number of windows
of any size from 32 x 32 up goes in. What is done to a picture before (decoding, cutting, scaling) is not in
the file: it stands in its metadata as JSON, under `course_lib`. So `load_onnx` gives a whole `Detector`
again, and everything that works with a detector works with an exported one.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoints import MIN_SIDE, Preprocessing, reason
from .errors import CheckpointError, CourseError, ModelInputError
from .evaluation import named
from .images import printable
from .predict import Detector

INPUT, OUTPUT, KEY = "windows", "logit_of_fake", "course_lib"


def needs(package: str) -> Any:
    """Import a package of the extra `export`, or say in a sentence how to get it."""
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError:
        raise CourseError(
            f"ONNX needs the package {package}: pip install 'facenest-course[export]'"
        ) from None


def export_onnx(detector: Detector, path: str | Path) -> Path:
    """Write a detector's network as an ONNX file; returns the path.

    Input `windows`: float32 B x 3 x H x W, ``(pixel / 255 - mean) / std``; output `logit_of_fake`: B.
    """
    onnx, _ = needs("onnx"), needs("onnxscript")
    path = Path(path)
    example = torch.zeros(2, 3, 2 * MIN_SIDE, 3 * MIN_SIDE, device=detector.device)  # no two sizes alike
    free = ({0: "batch", 2: "height", 3: "width"},)
    program = torch.onnx.export(
        detector.model,
        (example,),
        dynamo=True,
        dynamic_shapes=free,
        input_names=[INPUT],
        output_names=[OUTPUT],
        verbose=False,
    )
    about = {
        "id": detector.id,
        "name": detector.name,
        "preprocessing": asdict(detector.preprocessing),
        "threshold": detector.threshold,
        "temperature": detector.temperature,
        "card": detector.card,
    }
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {KEY: json.dumps(about)})
    onnx.checker.check_model(proto)
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(proto.SerializeToString())
        fresh.replace(path)
    except OSError as error:
        raise CheckpointError(f"{printable(path)}: could not be written ({reason(error)})") from None
    return path


class OnnxNetwork(nn.Module):
    """An ONNX file that answers like the network it was: float32 B x 3 x H x W -> logits (B,)."""

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        super().__init__()
        runtime = needs("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3
        try:
            content = Path(path).read_bytes()
            self.session = runtime.InferenceSession(
                content, options, providers=runtime.get_available_providers()
            )
            about = json.loads(self.session.get_modelmeta().custom_metadata_map[KEY])
            self.about = {**about, "preprocessing": Preprocessing(**about["preprocessing"])}
        except OSError as error:
            raise CheckpointError(f"{printable(path)}: cannot be read ({reason(error)})") from None
        except KeyError:
            raise CheckpointError(
                f"{printable(path)}: this ONNX file was not written by this course"
            ) from None
        except Exception as error:  # the runtime's own kinds of errors, for anything that is no ONNX file
            first = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise CheckpointError(f"{printable(path)}: not an ONNX file that can be run ({first})") from None

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        if windows.dtype != torch.float32 or windows.ndim != 4 or windows.shape[1] != 3:
            raise ModelInputError(f"Windows are float32 B x 3 x H x W, and this is {named(windows)}.")
        (logits,) = self.session.run([OUTPUT], {INPUT: windows.detach().cpu().contiguous().numpy()})
        return torch.from_numpy(logits)


def load_onnx(path: str | Path, threads: int | None = None) -> Detector:
    """A detector whose network is run by ONNX Runtime; everything else is that of the exported one."""
    network = OnnxNetwork(path, threads)
    about = network.about
    return Detector(
        network,
        about["preprocessing"],
        threshold=about["threshold"],
        temperature=about["temperature"],
        name=f"{about['name']} (ONNX)",
        card=about["card"],
        device="cpu",
        config={"exported from": about["id"]},
    )

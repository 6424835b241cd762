# ruff: noqa: F401  (imported under TYPE_CHECKING for editors only)
"""course_lib: the library behind the course "Real or Fake? Build FaceNeSt".

Every public name can be imported from here::

    from course_lib import load, facenest, fit, Detector

and nothing heavy is loaded until a name is first used (PEP 562): ``import course_lib`` by itself
imports neither torch nor pandas, so ``python -m course_lib --help`` answers at once.

The convention everywhere: **y = 1 is fake**, and every score is P(fake).
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it. Keep these stable: lessons and learners' code rely on them.
_HOME = {
    # errors
    "CourseError": "errors",
    "DataError": "errors",
    "ImageError": "errors",
    "CheckpointError": "errors",
    "DownloadError": "errors",
    "ModelInputError": "errors",
    # images and data
    "decode_image": "images",
    "load": "data",
    "verify": "data",
    "FaceDataset": "data",
    "unseen_generators": "studio",
    "load_unseen": "studio",
    "load_spliced": "studio",
    "SplicedFaces": "studio",
    "data_folder": "embedded",
    "checkpoint_folder": "embedded",
    "verify_embedded": "embedded",
    # transforms
    "Augment": "transforms",
    "normalise": "transforms",
    "random_crop": "transforms",
    "augment_batch": "transforms",
    # the network
    "ResidualBlock": "layers",
    "GLCSAttention": "layers",
    "AdaptivelyWeightedMultiScaleAttention": "layers",
    "FaceNeSt": "facenest",
    "FaceNeStConfig": "facenest",
    "facenest": "facenest",
    "facenest_reference": "facenest",
    "FaceAutoencoder": "generator",
    "load_forger": "generator",
    # training and judging
    "fit": "training",
    "FitResult": "training",
    "TrainingError": "training",
    "TeamError": "distributed",
    "pick_device": "training",
    "Preprocessing": "checkpoints",
    "save_checkpoint": "checkpoints",
    "load_checkpoint": "checkpoints",
    "available_checkpoints": "checkpoints",
    "predict_scores": "evaluation",
    "roc_auc": "evaluation",
    "accuracy": "evaluation",
    "bootstrap_interval": "evaluation",
    "wilson_interval": "evaluation",
    "choose_threshold": "evaluation",
    "evaluate": "evaluation",
    "average_precision": "evaluation",
    "equal_error_rate": "evaluation",
    "tpr_at_fpr": "evaluation",
    "threshold_at_fpr": "evaluation",
    "confusion": "evaluation",
    "precision_at_prevalence": "evaluation",
    "mcnemar": "evaluation",
    "delong": "evaluation",
    "paired_bootstrap": "evaluation",
    "reliability": "calibration",
    "expected_calibration_error": "calibration",
    "brier_score": "calibration",
    "fit_temperature": "calibration",
    "report": "report",
    "Report": "report",
    "perturb": "robustness",
    "Perturbed": "robustness",
    "severity_curve": "robustness",
    "grad_cam": "explain",
    "occlusion": "explain",
    "integrated_gradients": "explain",
    "attention_map": "explain",
    "window_map": "explain",
    "shuffled": "explain",
    "rank_correlation": "explain",
    "pointing_game": "explain",
    "energy_inside": "explain",
    "deletion_curve": "explain",
    "audit": "audit",
    "already_here": "catalogue",
    # using it
    "Detector": "predict",
    "imagenet_weights": "transfer",
    "Uploader": "widgets",
    "find_faces": "faces",
    # interactive pieces
    "KernelEditor": "widgets_convolve",
    "ReceptiveFieldExplorer": "widgets_convolve",
    "ConvolutionArithmetic": "widgets_convolve",
    "LearningRateFinder": "widgets_convolve",
    # the interactive pieces of the lessons
    "GradientChain": "widgets_attend",
    "ChannelAttentionExplorer": "widgets_attend",
    "AttentionExplorer": "widgets_attend",
    "ScaleWeightsExplorer": "widgets_fusion",
    "NetworkMap": "widgets_network",
    "BaseRateExplorer": "widgets_judge",
    "ThresholdExplorer": "widgets_judge",
    "RobustnessExplorer": "widgets_judge",
    "ExplanationExplorer": "widgets_explain",
    "FaceGame": "widgets_see",
    "JpegExplorer": "widgets_see",
}
# Whole modules that are used by their own name: ``from course_lib import check`` then
# ``check.some_exercise(...)``.
_MODULES = {"check": "checks", "plots": "plots"}

__all__ = sorted([*_HOME, *_MODULES, "__version__"])

if TYPE_CHECKING:  # for editors and type checkers only; never executed
    from . import checks as check
    from . import plots
    from .audit import audit
    from .calibration import brier_score, expected_calibration_error, fit_temperature, reliability
    from .catalogue import already_here
    from .checkpoints import Preprocessing, available_checkpoints, load_checkpoint, save_checkpoint
    from .data import FaceDataset, load, verify
    from .distributed import TeamError
    from .embedded import checkpoint_folder, data_folder, verify_embedded
    from .errors import (
        CheckpointError,
        CourseError,
        DataError,
        DownloadError,
        ImageError,
        ModelInputError,
    )
    from .evaluation import (
        accuracy,
        average_precision,
        bootstrap_interval,
        choose_threshold,
        confusion,
        delong,
        equal_error_rate,
        evaluate,
        mcnemar,
        paired_bootstrap,
        precision_at_prevalence,
        predict_scores,
        roc_auc,
        threshold_at_fpr,
        tpr_at_fpr,
        wilson_interval,
    )
    from .explain import (
        attention_map,
        deletion_curve,
        energy_inside,
        grad_cam,
        integrated_gradients,
        occlusion,
        pointing_game,
        rank_correlation,
        shuffled,
        window_map,
    )
    from .facenest import FaceNeSt, FaceNeStConfig, facenest, facenest_reference
    from .faces import find_faces
    from .generator import FaceAutoencoder, load_forger
    from .images import decode_image
    from .layers import AdaptivelyWeightedMultiScaleAttention, GLCSAttention, ResidualBlock
    from .predict import Detector
    from .report import Report, report
    from .robustness import Perturbed, perturb, severity_curve
    from .studio import SplicedFaces, load_spliced, load_unseen, unseen_generators
    from .training import FitResult, TrainingError, fit, pick_device
    from .transfer import imagenet_weights
    from .transforms import Augment, augment_batch, normalise, random_crop
    from .widgets import Uploader
    from .widgets_attend import AttentionExplorer, ChannelAttentionExplorer, GradientChain
    from .widgets_convolve import (
        ConvolutionArithmetic,
        KernelEditor,
        LearningRateFinder,
        ReceptiveFieldExplorer,
    )
    from .widgets_explain import ExplanationExplorer
    from .widgets_fusion import ScaleWeightsExplorer
    from .widgets_judge import BaseRateExplorer, RobustnessExplorer, ThresholdExplorer
    from .widgets_network import NetworkMap
    from .widgets_see import FaceGame, JpegExplorer


def __getattr__(name: str) -> Any:
    """Import a public name on its first use and remember it."""
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    elif name in _MODULES:
        value = import_module(f".{_MODULES[name]}", __name__)
    else:
        raise AttributeError(f"module 'course_lib' has no name {name!r}; dir(course_lib) lists those it has")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


class _Package(ModuleType):
    """The package itself, with one rule added: a submodule never hides a public name.

    ``facenest`` and ``audit`` are functions that live in modules of the same name. Python sets the module as
    an attribute of the package when it is first imported, after which ``from course_lib import facenest``
    would give the module or the function depending on who came first. With this rule it is always the
    function;
    ``from course_lib.facenest import FaceNeSt`` works as ever.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOME and isinstance(value, ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

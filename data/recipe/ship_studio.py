"""Make the checkpoint `studio` from the detector that lesson 11 left behind.

    make notebooks                          (or run lesson 11 in JupyterLab, from the top)
    python data/recipe/ship_studio.py

The weights are those that the lesson trained, stored in half precision; the model card's numbers are computed
here, from the stored file, on the test images. `--check` writes nothing and says whether the shipped
checkpoint still scores what its card claims.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))  # course_lib, also without installing it

from course_lib.calibration import fit_temperature  # noqa: E402
from course_lib.checkpoints import Preprocessing, load_checkpoint, save_checkpoint  # noqa: E402
from course_lib.data import FaceDataset, load  # noqa: E402
from course_lib.errors import CourseError  # noqa: E402
from course_lib.evaluation import (  # noqa: E402
    bootstrap_interval,
    evaluate,
    predict_logits,
    roc_auc,
    to_probability,
)
from course_lib.facenest import count_parameters  # noqa: E402
from course_lib.predict import Detector  # noqa: E402
from course_lib.transforms import jpeg  # noqa: E402

LESSON = PROJECT / "notebooks" / "runs" / "11_studio_detector"
SHIPPED = PROJECT / "data" / "checkpoints" / "studio"


QUALITIES = (95, 75, 50)


def resaved(path: str, quality: int) -> bytes:
    """A picture saved once more as JPEG, as every platform does with what is uploaded to it."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def temperature_of(model: torch.nn.Module) -> float:
    """The temperature that fits harder validation images: saved again as JPEG 50, only the middle 64x64.

    On whole images no answer is wrong, and then no temperature is best.
    """
    valid = load("studio").valid
    images = [jpeg(valid.uint8(i), 50)[:, 32:96, 32:96] for i in range(len(valid))]
    return fit_temperature(valid.labels, predict_logits(model, images, Preprocessing()))


def judge(detector: Detector, test: FaceDataset) -> dict:
    """The metrics of the checkpoint: as the images are, and after one more JPEG compression."""
    again = {}
    for quality in QUALITIES:
        p = detector([resaved(path, quality) for path in test.paths])
        again[str(quality)] = [roc_auc(test.labels, p), *bootstrap_interval(roc_auc, test.labels, p)]
    return {"test": evaluate(detector, test), "auc_after_jpeg": again}


def card(metrics: dict, training: dict, temperature: float) -> str:
    """The model card; every number in it is passed in."""
    scores = metrics["test"]
    jpeg = "\n".join(
        f"| AUC after saving all test images again as JPEG of quality {quality} | {auc:.4f} | "
        f"{low:.4f} to {high:.4f} |"
        for quality, (auc, low, high) in metrics["auc_after_jpeg"].items()
    )
    auc, (low, high) = scores["auc"], scores["auc_interval"]
    right, (least, most) = scores["accuracy"], scores["accuracy_interval"]
    return f"""# `studio`: FaceNeSt trained on the embedded data

FaceNeSt with {training["parameters"]:,} parameters, trained by lesson 11's own code for
{training["epochs"]} epochs of 64×64 crops (seed 0). It answers with P(fake).

## What it saw

The training images of `data/studio`: 800 path-traced portraits of people who do not exist, taken by a
simulated camera ("real"), and 800 of other such people put out by one neural generator ("fake"). No
photograph, and no other generator.

## What it scores

On the {scores["n"]} test images of `data/studio` ({scores["n_real"]} real, {scores["n_fake"]} fake; other
people, the same camera, the same generator), with 95 % bootstrap intervals (1,000 draws, seed 0):

| | value | 95 % |
|---|---|---|
| AUC | {auc:.4f} | {low:.4f} to {high:.4f} |
| accuracy at the threshold {scores["threshold"]:.3f}, chosen on the validation images | {right:.4f} | \
{least:.4f} to {most:.4f} |
| fakes found at 1 % false alarms | {scores["tpr_at_1pct_fpr"]:.4f} | |
{jpeg}

Its logits are divided by {temperature:.2f}, the temperature that fits the validation images best after they
were saved again as JPEG of quality 50, with only the middle 64×64 pixels shown: on whole images no answer is
wrong, and then no temperature is best.

These are *inside* scores: same generator, same camera. They say nothing about photographs or other
generators.

## What it must not be used for

Anything but learning. On photographs of people its answers mean nothing: it has never seen one. It knows one
generator's trace, and compression weakens it, as the table shows; scaling and blur were not measured.

## The same numbers again

    python data/recipe/ship_studio.py --check

The weights themselves: run lesson 11, then `python data/recipe/ship_studio.py`. On another machine, or with
another number of threads, training ends with slightly different weights.
"""


def ship() -> None:
    lesson = load_checkpoint(LESSON)
    training = {"data": "studio", "lesson": "11_train_facenest", "parameters": count_parameters(lesson.model)}
    training |= {"epochs": lesson.config["training"].get("epochs"), "crop": 64, "seed": 0}
    temperature = temperature_of(lesson.model)
    # The lesson chose its threshold without a temperature: the same logit, in the new P(fake).
    threshold = float(to_probability(np.log(lesson.threshold / (1 - lesson.threshold)), temperature))
    kept = dict(preprocessing=lesson.preprocessing, training=training)
    kept |= {"threshold": threshold, "temperature": temperature}
    save_checkpoint(SHIPPED, lesson.model, dtype="float16", **kept)
    metrics = judge(Detector.load(SHIPPED), load("studio").test)  # of the stored, rounded weights
    save_checkpoint(
        SHIPPED,
        lesson.model,
        dtype="float16",
        metrics=metrics,
        card=card(metrics, training, temperature),
        **kept,
    )
    print(f"{SHIPPED.name}: written; test AUC {metrics['test']['auc']:.4f}")


def numbers(metrics: dict) -> dict[str, float]:
    """What the card claims, by name."""
    named = {f"AUC after JPEG {quality}": values[0] for quality, values in metrics["auc_after_jpeg"].items()}
    return {"test AUC": metrics["test"]["auc"], "accuracy": metrics["test"]["accuracy"], **named}


def check(folder: Path) -> bool:
    claimed = numbers(load_checkpoint(folder).config["metrics"])
    found = numbers(judge(Detector.load(folder), load("studio").test))
    for name, value in found.items():
        print(f"{name}: {value:.4f} (the card says {claimed[name]:.4f})")
    return bool(np.allclose(list(found.values()), [claimed[name] for name in found], atol=2e-3))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check",
        nargs="?",
        const=SHIPPED.name,
        metavar="NAME",
        help="write nothing; compare a checkpoint of `studio` with its card (default: %(const)s)",
    )
    options = parser.parse_args()
    try:
        if options.check:
            return 0 if check(SHIPPED.parent / options.check) else 1
        ship()
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make the checkpoint `studio` from the detector that lesson 11 left behind.

    make notebooks                          (or run lesson 11 in JupyterLab, from the top)
    python data/recipe/ship_studio.py

The weights are those that the lesson trained, stored in half precision; the model card's numbers are computed
here, from the stored file, on the test images. `--check` writes nothing and says whether the shipped
checkpoint still scores what its card claims.
"""

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))  # course_lib, also without installing it

from course_lib.checkpoints import load_checkpoint, save_checkpoint  # noqa: E402
from course_lib.data import load  # noqa: E402
from course_lib.errors import CourseError  # noqa: E402
from course_lib.evaluation import evaluate  # noqa: E402
from course_lib.facenest import count_parameters  # noqa: E402
from course_lib.predict import Detector  # noqa: E402

LESSON = PROJECT / "notebooks" / "runs" / "11_studio_detector"
SHIPPED = PROJECT / "data" / "checkpoints" / "studio"


def card(scores: dict, training: dict) -> str:
    """The model card; every number in it is passed in."""
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

These are *inside* scores: same generator, same camera. They say nothing about photographs or other
generators.

## What it must not be used for

Anything but learning. On photographs of people its answers mean nothing: it has never seen one. It knows one
generator's trace, which JPEG compression, scaling or blur can wipe out.

## The same numbers again

    python data/recipe/ship_studio.py --check

The weights themselves: run lesson 11, then `python data/recipe/ship_studio.py`. On another machine, or with
another number of threads, training ends with slightly different weights.
"""


def ship() -> None:
    lesson = load_checkpoint(LESSON)
    training = {"data": "studio", "lesson": "11_train_facenest", "parameters": count_parameters(lesson.model)}
    training |= {"epochs": lesson.config["training"].get("epochs"), "crop": 64, "seed": 0}
    kept = dict(preprocessing=lesson.preprocessing, threshold=lesson.threshold, training=training)
    save_checkpoint(SHIPPED, lesson.model, dtype="float16", **kept)
    scores = evaluate(Detector.load(SHIPPED), load("studio").test)  # of the stored, rounded weights
    metrics = {"test": scores}
    save_checkpoint(
        SHIPPED, lesson.model, dtype="float16", metrics=metrics, card=card(scores, training), **kept
    )
    print(f"{SHIPPED.name}: written; test AUC {scores['auc']:.4f}")


def check() -> bool:
    claimed = load_checkpoint(SHIPPED).config["metrics"]["test"]
    found = evaluate(Detector.load(SHIPPED), load("studio").test)
    print(f"test AUC {found['auc']:.4f} (the card says {claimed['auc']:.4f})")
    print(f"accuracy {found['accuracy']:.4f} (the card says {claimed['accuracy']:.4f})")
    return abs(found["auc"] - claimed["auc"]) < 5e-4 and abs(found["accuracy"] - claimed["accuracy"]) < 5e-3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the card")
    options = parser.parse_args()
    try:
        if options.check:
            return 0 if check() else 1
        ship()
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

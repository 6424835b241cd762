"""Audit "Hard Fake vs Real Faces" and write data/ablation/hard_audit.csv, which lesson 02 reads.

    python data/recipe/audit_hard.py --root DIR        DIR: where the data set was unpacked

Rows: every shortcut of `course_lib.audit` (test AUC on the course's own split, 95 % bootstrap interval); the
accuracy of thumbnail regressions in 10-fold cross-validation over all 1,289 images, with Wilson's 95 %
interval; and the AUC of the same thumbnail on a centre crop of 60 %, as if cutting both classes alike were a
remedy.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np
import torch

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))  # course_lib, also without installing it

from course_lib.audit import REGULARISATION, audit, thumbnail  # noqa: E402
from course_lib.checkpoints import write_file  # noqa: E402
from course_lib.data import load  # noqa: E402
from course_lib.evaluation import bootstrap_interval, fast_auc, roc_auc, wilson_interval  # noqa: E402

TABLE = PROJECT / "data" / "ablation" / "hard_audit.csv"
COLUMNS = ("measure", "name", "images", "value", "low", "high")
CROP = 0.6


def cross_validated(features: np.ndarray, y: np.ndarray) -> np.ndarray:
    """P(fake) of each image from a regression that was fitted on nine tenths of the *other* images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    return cross_val_predict(model, features, y, cv=folds, method="predict_proba")[:, 1]


def centre(image: torch.Tensor, share: float) -> torch.Tensor:
    """The middle of an image 3×H×W, `share` of its width and height."""
    cut = [round(side * (1 - share) / 2) for side in image.shape[1:]]
    return image[:, cut[0] : image.shape[1] - cut[0], cut[1] : image.shape[2] - cut[1]]


def measure(root: str) -> list[tuple]:
    sets = load("hardrvsf", root)
    rows = []
    for _, row in audit(sets).table.iterrows():
        rows.append(("test AUC", row["name"], len(sets.test), row["auc"], row["low"], row["high"]))
    parts = (sets.train, sets.valid, sets.test)
    images = [part.uint8(i) for part in parts for i in range(len(part))]
    y = np.concatenate([part.labels for part in parts])
    for side in (16, 8, 4, 2):
        p = cross_validated(np.stack([thumbnail(image, side) for image in images]), y)
        right = int(((p >= 0.5) == y).sum())
        interval = wilson_interval(right, len(y))
        rows.append(("accuracy, 10 folds", f"{side}×{side} thumbnail", len(y), right / len(y), *interval))
    p = cross_validated(np.stack([thumbnail(centre(image, CROP)) for image in images]), y)
    interval = bootstrap_interval(fast_auc, y, p)
    rows.append(("AUC, 10 folds", "16×16 thumbnail of the centre", len(y), roc_auc(y, p), *interval))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="the folder with real/, fake/ and data.csv")
    rows = measure(parser.parse_args().root)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*row[:3], *(f"{number:.4f}" for number in row[3:])) for row in rows)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    write_file(TABLE, text.getvalue().encode())
    print(text.getvalue())


if __name__ == "__main__":
    main()

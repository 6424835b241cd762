"""Draws figures/studio_sheet.png: portraits of the embedded test set, real above, fake below.

python figures/studio_sheet.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from course_lib import load

COLUMNS = 8


def main() -> None:
    test = load("studio").test
    figure, axes = plt.subplots(2, COLUMNS, figsize=(COLUMNS * 1.28, 2 * 1.4), dpi=150)
    for row, (label, name) in enumerate(((0, "real"), (1, "fake"))):
        for axis, index in zip(axes[row], np.flatnonzero(test.labels == label)[:COLUMNS], strict=True):
            axis.imshow(test.uint8(int(index)).permute(1, 2, 0).numpy())
            axis.axis("off")
        axes[row, 0].set_title(name, loc="left", fontsize=9, pad=3)
    figure.patch.set_facecolor("white")  # legible on a dark page too
    figure.subplots_adjust(0, 0, 1, 0.93, wspace=0.03, hspace=0.12)
    figure.savefig(Path(__file__).with_suffix(".png"), metadata={"Software": None})


if __name__ == "__main__":
    main()

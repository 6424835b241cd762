"""How should four scales be fused? Train one trunk with four kinds of fusion, and write the table.

    python data/recipe/ablate_fusion.py                 all rows that the table lacks
    python data/recipe/ablate_fusion.py --seeds 0       one seed only

The network is `facenest(attend=(), depths=(1, 1, 1, 1), dropout=0.1, fusion=kind)`: full width, a block at
each scale, no attention in the blocks, so that nothing but the fusion decides which scale is heard. The kinds
are the modes of `AdaptivelyWeightedMultiScaleAttention`: "none" (the last scale alone), "static", "softmax"
and "dynamic".
With equal seeds all four begin with the same trunk and see the same crops in the same order.

There are two questions. "all at quality 50": every image of `studio` is saved again as a JPEG of quality 50,
which takes most of the fine traces away. "half at quality 30": one half of the images, drawn by lot, is saved
again at quality 30, the other half is left as it is; then it depends on the image which scale can be trusted,
the case that weights made anew for each image are meant for. The lot is the same for all kinds and seeds.
(Here "softmax" is left out: like "static" it does not look at the image; and there are fewer seeds.)

The budget: six epochs, 300 updates of 32 crops of 32x32 pixels, AdamW, one cycle, one learning rate for all
(3e-3: nothing was chosen by kind). Whole images are too easy a question, so a network is judged on *one* crop
of each image, the 32x32 pixels in its middle. `data/ablation/fusion.csv`: the rows. Decisions are made
on the validation column; the test column was written once and decided nothing.
"""

import argparse
import sys
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "data")]  # course_lib and recipe, also without installing them

from course_lib.facenest import facenest  # noqa: E402
from course_lib.transforms import jpeg, normalise  # noqa: E402
from recipe.ablate_depth import full_row  # noqa: E402
from recipe.ablate_ingredients import load_data, read_table, write_table  # noqa: E402

TABLE = PROJECT / "data" / "ablation" / "fusion.csv"
COLUMNS = ("question", "fusion", "seed", "lr", "train_loss", "valid_auc", "test_auc", "low", "high")
QUESTIONS = {
    "all at quality 50": (("none", "static", "softmax", "dynamic"), (0, 1, 2, 3, 4, 5)),
    "half at quality 30": (("none", "static", "dynamic"), (0, 1, 2, 3)),
}  # the kinds and the seeds of each
RATE, EPOCHS = 3e-3, 6


def saved_again(images: Tensor, quality: int, share: float = 1.0) -> Tensor:
    """N x 3 x H x W uint8: each image with probability `share` through JPEG; the lot is always the same."""
    chosen = torch.rand(len(images), generator=torch.Generator().manual_seed(0)) < share
    return torch.stack(
        [jpeg(image, quality) if some else image for image, some in zip(images, chosen, strict=True)]
    )


def ask(question: str, data: dict) -> dict:
    """The three parts of the data, changed as the question says."""
    quality, share = {"all at quality 50": (50, 1.0), "half at quality 30": (30, 0.5)}[question]
    return {name: (saved_again(images, quality, share), labels) for name, (images, labels) in data.items()}


def network(fusion: str, seed: int) -> nn.Module:
    """FaceNeSt without attention, fused in one of the four ways."""
    model = facenest(attend=(), fusion=fusion, depths=(1, 1, 1, 1), dropout=0.1)
    model = model.to(memory_format=torch.channels_last)
    torch.manual_seed(seed)  # for the dropout: the kinds have drawn a different number of weights
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(6)))
    options = parser.parse_args()
    original = load_data()
    rows = read_table(TABLE)
    done = {(row["question"], row["fusion"], int(row["seed"])) for row in rows}
    for question, (kinds, seeds) in QUESTIONS.items():
        data = ask(question, original)
        for seed, fusion in product(seeds, kinds):
            if seed in options.seeds and (question, fusion, seed) not in done:
                make = partial(network, fusion, seed)
                row = full_row(COLUMNS, (question, fusion), make, RATE, seed, data, normalise, EPOCHS)
                rows.append(row)
                write_table(TABLE, COLUMNS, rows)


if __name__ == "__main__":
    main()

"""What is a channel gate worth on faces? Train one small trunk with five kinds of gate, and write the table.

    python data/recipe/ablate_channels.py                 all rows that the table lacks
    python data/recipe/ablate_channels.py --seeds 0       one seed only

The network is the trunk of lesson 06: FaceNeSt's at half its width, four blocks of 8, 16, 32 and 64 channels,
each but the first halving the side, a mean, one linear layer. In each block stands a gate, behind the last
batch norm and before the plus sign; it multiplies each channel by twice a weight between 0 and 1. The kinds
are lesson 07's:

- "none": no gate
- "fixed": one learned weight for each channel, the same for every image: a gate that does not look
- "SE": squeeze-and-excitation, two linear layers, C -> C/4 -> C
- "local": a 1-D convolution of 3 numbers along the channels (ECA, our `LocalChannelAttention`)
- "global": softmax over C x C, our `GlobalChannelAttention`

Every gate begins at exactly 1, and the weights of the trunk are drawn before those of the gates: with equal
seeds all five begin as the same function. The budget is that of `ablate_depth.py`: three epochs of `studio`,
150 updates of 32 crops of 32x32 pixels, judged on the 32x32 pixels in the middle of each image.

There are two questions. "as it is": the images of `studio`. "mixed cameras": in training and in judging, half
of the crops get grain on top (grey noise, standard deviation 7 of 255 levels), so that how far the fine
detail can be trusted depends on the image. That is the case a gate is made for.

`data/ablation/channels_rates.csv`: each kind has its own learning rate, chosen among three by the mean AUC on
the validation images over two seeds that the table does not use. (One seed is not enough here: the rates
differ by less than the seeds do.) The choice was made for "as it is"; the second question takes it over.
`data/ablation/channels.csv`: the rows, six seeds each. Decisions are made on the validation column; the
test column decided nothing. About six minutes on one idle core.
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

from course_lib.evaluation import fast_auc  # noqa: E402
from course_lib.facenest import high_pass  # noqa: E402
from course_lib.layers import GlobalChannelAttention, LocalChannelAttention, ResidualBlock  # noqa: E402
from recipe.ablate_depth import full_row, judge, train_once, trunk  # noqa: E402
from recipe.ablate_ingredients import load_data, read_table, write_table  # noqa: E402

FOLDER = PROJECT / "data" / "ablation"
RATES, TABLE = FOLDER / "channels_rates.csv", FOLDER / "channels.csv"
RATE_COLUMNS = ("gate", "lr", "seed", "train_loss", "valid_auc")
COLUMNS = ("question", "gate", "seed", "lr", "train_loss", "valid_auc", "test_auc", "low", "high")
QUESTIONS = ("as it is", "mixed cameras")
GRAIN = 7 / 255 / 0.25  # in the units of `normalise`
GATES = ("none", "fixed", "SE", "local", "global")
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
SEEDS, RATE_SEEDS = (0, 1, 2, 3, 4, 5), (100, 101)
REDUCTION = 4  # how many times fewer channels in the middle of squeeze-and-excitation


class FixedWeights(nn.Module):
    """B x C -> B x C: a learned weight in [0, 1] for each channel, whatever the image is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(channels))

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.sigmoid(self.logits).expand_as(pooled)


def squeeze_excitation(channels: int) -> nn.Sequential:
    """B x C -> B x C in [0, 1]: two linear layers; the second begins at zero, so that the answer is 0.5."""
    middle = channels // REDUCTION
    last = nn.Linear(middle, channels)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(channels, middle), nn.ReLU(), last, nn.Sigmoid())


MAKERS = {
    "fixed": FixedWeights,
    "SE": squeeze_excitation,
    "local": lambda channels: LocalChannelAttention(),
    "global": lambda channels: GlobalChannelAttention(),
}


class Gated(nn.Module):
    """B x C x H x W -> the same shape: 2 x gate(mean over places) for each channel."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return x * (2 * self.gate(x.mean(dim=(2, 3))))[:, :, None, None]


class MixedCameras(nn.Module):
    """High-passed crops B x 3 x H x W: one half, drawn by lot, gets the high-pass of grain on top.

    In training the grain is drawn anew each time, alike for all kinds of gate; in judging it is always the
    same. (The high-pass of a sum is the sum of the high-passes, so the grain may come after it.)
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, x: Tensor) -> Tensor:
        lot = self.generator if self.training else torch.Generator().manual_seed(0)
        grain = GRAIN * torch.randn(len(x), 1, *x.shape[2:], generator=lot)
        worse = torch.rand(len(x), 1, 1, 1, generator=lot) < 0.5
        return x + worse * high_pass(grain)


def network(gate: str, grain_seed: int | None = None) -> nn.Sequential:
    """B x 3 x H x W -> B x 1: the trunk of `ablate_depth` with a gate in each of its four blocks; with a
    `grain_seed`, for mixed cameras."""
    layers = list(trunk("averaged"))
    for block in layers:
        if gate != "none" and isinstance(block, ResidualBlock):
            block.bn2 = nn.Sequential(block.bn2, Gated(MAKERS[gate](block.bn2.num_features)))
    if grain_seed is not None:
        layers = [MixedCameras(grain_seed), *layers]
    return nn.Sequential(*layers)


def choose_rates(data: dict) -> dict[str, float]:
    """The learning rate of each gate; trains what channels_rates.csv lacks."""
    rows = read_table(RATES)
    done = {(row["gate"], float(row["lr"]), int(row["seed"])) for row in rows}
    for gate, lr, seed in product(GATES, LEARNING_RATES, RATE_SEEDS):
        if (gate, lr, seed) not in done:
            model, loss = train_once(partial(network, gate), lr, seed, data)
            auc = fast_auc(*judge(model, data["valid"]))
            values = (gate, lr, seed, f"{loss:.4f}", f"{auc:.4f}")
            rows.append(dict(zip(RATE_COLUMNS, values, strict=True)))
            write_table(RATES, RATE_COLUMNS, rows)
            print(rows[-1], flush=True)

    def mean_auc(gate: str, lr: float) -> float:
        own = [row for row in rows if row["gate"] == gate and float(row["lr"]) == lr]
        return sum(float(row["valid_auc"]) for row in own) / len(own)

    return {gate: max(LEARNING_RATES, key=partial(mean_auc, gate)) for gate in GATES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    options = parser.parse_args()
    data = load_data()
    rates = choose_rates(data)
    rows = read_table(TABLE)
    done = {(row["question"], row["gate"], int(row["seed"])) for row in rows}
    for question, seed, gate in product(QUESTIONS, options.seeds, GATES):
        if (question, gate, seed) not in done:
            make = partial(network, gate, seed if question == "mixed cameras" else None)
            rows.append(full_row(COLUMNS, (question, gate), make, rates[gate], seed, data))
            write_table(TABLE, COLUMNS, rows)


if __name__ == "__main__":
    main()

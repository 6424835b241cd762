"""What is each part of FaceNeSt worth, and is the whole worth more than its rivals? Train, judge, tabulate.

    python data/recipe/ablate_facenest.py              every row that has not been trained yet
    python data/recipe/ablate_facenest.py --parts      only FaceNeSt with parts switched off or exchanged
    python data/recipe/ablate_facenest.py --rivals     only FaceNeSt beside other networks
    python data/recipe/ablate_facenest.py --question studio --seeds 0      a part of it

Two questions, both hard enough to be failed. `studio`: images of the embedded set, saved once more as JPEG of
quality 50; 500 updates of 32 random windows of 32x32 pixels; judged on the *one* window in the middle of each
image. `unseen`: photographs and real generators (`--data ../shared/data`; left out if that is not there).
Trained on one source of photographs and one generator, 300 updates of 32 windows of 32x32 pixels under slight
changes of light and JPEG quality; judged on the pairs in which the photographs, the generator or both
come from a source of which nothing was seen. Its score is the mean AUC over those six pairs of the two
trainings (unsplash + stylegan2; congress + t2i). Of the sources trained on, 80 pictures each were kept back.

For one seed every variant sees the same windows in the same order. Parts are compared at an equal number of
updates; rivals at equal *time*: their updates are the question's own, times their speed over FaceNeSt's,
measured side by side on one thread (`--measure`), and each has its own learning rate, the better of two on
the validation images of `studio` with seed 0.

Tables in data/ablation: `facenest.csv` and `rivals.csv` (a row for each training), `facenest_paired.csv` and
`rivals_paired.csv` (the difference to FaceNeSt as it is; the interval draws seeds and pictures anew),
`rivals_speed.csv`, `rivals_rates.csv`. Decisions are made on the column `valid_auc` (for `unseen`: pictures
kept back of the sources trained on). What a training answered is kept in runs/, so an interrupted command
goes on where it stopped; without it, every row is trained again.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

PROJECT = Path(__file__).resolve().parent.parent.parent
for folder in ("data/recipe", "data", ""):  # course_lib and the recipe, also without installing them
    sys.path.insert(0, str(PROJECT / folder))

from course_lib.evaluation import fast_auc, to_probability  # noqa: E402
from course_lib.facenest import count_macs, count_parameters, facenest  # noqa: E402
from course_lib.training import one_cycle  # noqa: E402
from course_lib.transforms import Augment, augment_batch, jpeg, normalise  # noqa: E402
from recipe import train_faces  # noqa: E402
from recipe.ablate_ingredients import cut, load_data, read_table, write_table  # noqa: E402
from recipe.rivals import NETWORKS, build  # noqa: E402

FOLDER = PROJECT / "data" / "ablation"
LOOK = 0.8  # share of windows that borrow the look of another source, see train_faces.py
BATCH, LEARNING_RATE, RATES = 32, 3e-3, (3e-3, 1e-2)
DRAWS = 500  # of the bootstrap
BASE = "as it is"
PARTS: dict[str, dict] = {
    BASE: {},
    "no attention": {"attend": ()},
    "channel only": {"branches": ("lc", "gc")},
    "spatial only": {"branches": ("ls", "gs")},
    "global only": {"branches": ("gc", "gs")},
    "local and global": {"branches": ("lc", "gc", "ls", "gs")},
    "local in scales 3 and 4": {"attend": (2, 3)},
    "local and global in scales 3 and 4": {"attend": (2, 3), "branches": ("lc", "gc", "ls", "gs")},
    "static weights": {"fusion": "static"},
    "softmax weights": {"fusion": "softmax"},
    "last scale only": {"fusion": "none"},
    "stem stride 2": {"stem_stride": 2},
    "stem stride 4": {"stem_stride": 4},
    "a block at full size": {"depths": (1, 1, 1, 1)},
    "no shortcut": {"residual": False},
    "blocks begin as identity": {},  # their last batch norm begins at 0
    "dropout": {"dropout": 0.1},
    "no high-pass": {"high_pass": False},
}
PART_COLUMNS = ("question", "variant", "seed", "updates", "valid_auc", "test_auc", "low", "high")
RIVAL_COLUMNS = (
    "question", "network", "high_pass", "seed", "parameters", "macs", "images_per_second", "lr", "updates",
    "valid_auc", "test_auc", "low", "high",
)  # fmt: skip
PAIRED_COLUMNS = ("question", "variant", "seeds", "difference", "low", "high")

Answers = dict[str, np.ndarray]  # logits by group, such as "test fake": one number for each picture


# ------------------------------------------------------------------------------------------------ questions
class Studio:
    """Small windows of `studio`, saved once more as JPEG of quality 50."""

    name, side, updates, seeds = "studio", 32, 500, (0, 1, 2, 3, 4)
    trainings = ("all",)
    inside = [("valid real", "valid fake")]
    outside = [("test real", "test fake")]

    def __init__(self) -> None:
        self.data = {
            part: (torch.stack([jpeg(image, 50) for image in images]), labels)
            for part, (images, labels) in load_data().items()
        }

    def batches(self, training: str, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """uint8 windows and labels, without end; a function of the seed."""
        images, labels = self.data["train"]
        generator = torch.Generator().manual_seed(seed)
        while True:
            for indices in torch.randperm(len(images), generator=generator).split(BATCH):
                x = cut(images[indices], "random", generator)
                mirrored = torch.rand(len(x), generator=generator) < 0.5
                yield torch.where(mirrored[:, None, None, None], x.flip(3), x), labels[indices]

    def ask(self, training: str, answer: Callable) -> Answers:
        groups = {}
        for part in ("valid", "test"):
            images, labels = self.data[part]
            logits = answer(cut(images, "middle"))
            groups |= {
                f"{part} {name}": logits[labels.numpy() == y] for y, name in enumerate(("real", "fake"))
            }
        return groups


class Unseen:
    """Windows of photographs and of real generators, of which some sources are held out."""

    name, side, updates, seeds = "unseen", 32, 300, (0, 1, 2)
    trainings = ("unsplash+stylegan2", "congress+t2i")
    pictures = 300  # of each source at most are judged, each on the two windows left and right of its middle

    def __init__(self, data: Path, work: Path) -> None:
        self.sources, self.work = train_faces.read_sources(data), work
        self.inside = [(f"{t} {t.split('+')[0]}", f"{t} {t.split('+')[1]}") for t in self.trainings]
        self.outside = [
            (f"{t} {real}", f"{t} {fake}")
            for t in self.trainings
            for real in train_faces.REALS
            for fake in train_faces.FAKES
            if not (real in t and fake in t)
        ]
        self.all = {name: self.look(source, self.pictures) for name, source in self.sources.items()}
        self.kept_back = {
            name: self.look(train_faces.part(source, kept_back=True), train_faces.KEPT_BACK)
            for name, source in self.sources.items()
        }

    def look(self, source, count: int) -> torch.Tensor:
        """The windows of up to `count` pictures: pictures x windows x 3 x side x side."""
        found = []
        for i in np.linspace(0, len(source) - 1, min(count, len(source))).astype(int):
            image = source.uint8(i)
            top = (image.shape[1] - self.side) // 2
            lefts = [image.shape[2] // 2 - self.side, image.shape[2] // 2]
            found.append(torch.stack([image[:, top : top + self.side, x : x + self.side] for x in lefts]))
        return torch.stack(found)

    def stream(self, training: str, seed: int) -> np.ndarray:
        """updates*32 x 3 x side x side: what a training sees, drawn once and kept in a file."""
        file = self.work / f"windows_{training}_{seed}_{self.updates}_{self.side}_{LOOK}.npy"
        if not file.is_file():
            augment = Augment.named("light")
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            sources = [train_faces.part(self.sources[name], kept_back=False) for name in training.split("+")]
            drawn = train_faces.MixedSources(sources, BATCH, self.side, look=LOOK)
            batches = []
            for _ in range(self.updates):
                crops = [drawn.uint8(i) for i in range(BATCH)]
                batches.append(augment_batch(torch.stack(crops), augment, generator).numpy())
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name("part_" + file.name)
            np.save(part, np.concatenate(batches))
            part.replace(file)
        return np.load(file, mmap_mode="r")

    def batches(self, training: str, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        stream, labels = self.stream(training, seed), torch.arange(BATCH).float() % 2
        while True:
            for start in range(0, len(stream), BATCH):
                yield torch.from_numpy(np.array(stream[start : start + BATCH])), labels

    def ask(self, training: str, answer: Callable) -> Answers:
        groups = {}
        for name in self.sources:
            windows = (self.kept_back if name in training.split("+") else self.all)[name]
            logits = answer(windows.flatten(0, 1)).reshape(len(windows), -1)
            groups[f"{training} {name}"] = logits.mean(axis=1)
        return groups


# ------------------------------------------------------------------------------------------ train and judge
def variant(name: str) -> nn.Module:
    """FaceNeSt with a part switched off or exchanged."""
    model = facenest(**PARTS[name])
    if name == "blocks begin as identity":
        for stage in model.stages:
            for block in stage:
                nn.init.zeros_(block.bn2.weight)
    return model


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> None:
    x = normalise(x).contiguous(memory_format=torch.channels_last)
    loss = F.binary_cross_entropy_with_logits(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def train_once(question, make: Callable[[], nn.Module], seed: int, updates: int, lr: float) -> Answers:
    """Train on each of the question's trainings, and hear what the networks say."""
    answers = {}
    for training in question.trainings:
        torch.manual_seed(seed)
        model = make().train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
        batches = question.batches(training, seed)
        for update in range(updates):
            optimizer.param_groups[0]["lr"] = one_cycle(update, updates, lr)
            step(model, optimizer, *next(batches))
        model.eval()

        def answer(images: torch.Tensor, model=model) -> np.ndarray:
            with torch.inference_mode():
                return torch.cat([model(normalise(part)) for part in images.split(256)]).numpy()

        answers |= question.ask(training, answer)
    return answers


def score(answers: Answers, pairs: list[tuple[str, str]]) -> float:
    """The mean over pairs (real, fake) of the AUC."""
    aucs = []
    for real, fake in pairs:
        y = np.repeat([0, 1], [len(answers[real]), len(answers[fake])])
        aucs.append(fast_auc(y, to_probability(np.concatenate([answers[real], answers[fake]]))))
    return float(np.mean(aucs))


def drawn_again(answers: Answers, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Indices of pictures drawn anew from every group."""
    return {group: rng.integers(len(values), size=len(values)) for group, values in answers.items()}


def interval(answers: Answers, pairs: list[tuple[str, str]]) -> tuple[float, float]:
    """Bootstrap interval of one training's score, over pictures."""
    rng, scores = np.random.default_rng(0), []
    for _ in range(DRAWS):
        chosen = drawn_again(answers, rng)
        scores.append(score({g: answers[g][chosen[g]] for pair in pairs for g in pair}, pairs))
    return tuple(np.percentile(scores, [2.5, 97.5]))


def paired(ours: list[Answers], others: list[Answers], pairs: list) -> tuple[float, float, float]:
    """Others minus ours, seed by seed: the mean difference, and an interval over seeds *and* pictures."""
    rng, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        chosen = drawn_again(ours[0], rng)
        groups = [g for pair in pairs for g in pair]
        differences = []
        for i in rng.integers(len(ours), size=len(ours)):
            ours_again = {g: ours[i][g][chosen[g]] for g in groups}
            others_again = {g: others[i][g][chosen[g]] for g in groups}
            differences.append(score(others_again, pairs) - score(ours_again, pairs))
        drawn.append(np.mean(differences))
    mean = np.mean([score(b, pairs) - score(a, pairs) for a, b in zip(ours, others, strict=True)])
    return (float(mean), *np.percentile(drawn, [2.5, 97.5]))


# ------------------------------------------------------------------------------------------------- the tables
class Kept:
    """What trainings answered, in files: question, name, seed -> Answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, question: str, name: str, seed: int) -> Path:
        return self.folder / f"{question}_{name.replace(' ', '_')}_{seed}.npz"

    def get(self, question: str, name: str, seed: int) -> Answers | None:
        file = self.file(question, name, seed)
        return dict(np.load(file)) if file.is_file() else None

    def put(self, question: str, name: str, seed: int, answers: Answers) -> None:
        file = self.file(question, name, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name("part_" + file.name)
        np.savez(part, **answers)
        part.replace(file)


def enter(table: Path, columns: tuple, key: tuple[str, ...], new: dict) -> None:
    """Put a row into a table, in the place of an older one with the same key."""
    new = {column: str(new[column]) for column in columns}
    rows = [row for row in read_table(table) if any(row[k] != new[k] for k in key)]
    write_table(table, columns, rows + [new])


def judged(question, answers: Answers) -> dict[str, str]:
    numbers = (score(answers, question.inside), score(answers, question.outside))
    names = ("valid_auc", "test_auc", "low", "high")
    values = (*numbers, *interval(answers, question.outside))
    return {name: f"{value:.4f}" for name, value in zip(names, values, strict=True)}


def compare(table: Path, question, kept: Kept, base: str, name: str) -> None:
    """Enter the paired difference to `base` over the seeds for which both are there."""
    both = [(kept.get(question.name, base, s), kept.get(question.name, name, s)) for s in question.seeds]
    both = [pair for pair in both if None not in pair]
    if name == base or len(both) < 3:
        return
    difference, low, high = paired(*map(list, zip(*both, strict=True)), question.outside)
    row = {"question": question.name, "variant": name.removeprefix("rival "), "seeds": len(both)}
    row |= {"difference": f"{difference:.4f}", "low": f"{low:.4f}", "high": f"{high:.4f}"}
    enter(table, PAIRED_COLUMNS, ("question", "variant"), row)
    print(row, flush=True)


def parts(question, kept: Kept, seeds: list[int], variants: list[str]) -> None:
    for seed in [s for s in question.seeds if s in seeds]:
        for name in variants:
            if kept.get(question.name, name, seed) is None:
                start = time.perf_counter()
                answers = train_once(
                    question, lambda name=name: variant(name), seed, question.updates, LEARNING_RATE
                )
                kept.put(question.name, name, seed, answers)
                row = {"question": question.name, "variant": name, "seed": seed, "updates": question.updates}
                row |= judged(question, answers)
                enter(FOLDER / "facenest.csv", PART_COLUMNS, ("question", "variant", "seed"), row)
                print(f"{time.perf_counter() - start:.0f} s", row, flush=True)
    for name in variants:
        compare(FOLDER / "facenest_paired.csv", question, kept, BASE, name)


# -------------------------------------------------------------------------------------------------- rivals
def speeds(measure: bool) -> dict[tuple[str, int], float]:
    """Training images a second of each network at both sides of window; from the table, or measured anew."""
    table, columns = FOLDER / "rivals_speed.csv", ("network", "side", "images_per_second")
    if measure or not table.is_file():
        rows = []
        for side in {Studio.side, Unseen.side}:
            x, y = torch.randint(0, 256, (BATCH, 3, side, side), dtype=torch.uint8), torch.arange(BATCH) % 2.0
            models = {name: build(name).train().to(memory_format=torch.channels_last) for name in NETWORKS}
            optimizers = {name: torch.optim.AdamW(model.parameters()) for name, model in models.items()}
            times: dict[str, list[float]] = {name: [] for name in NETWORKS}
            for _ in range(10):  # in turn, so that a machine whose speed drifts is unfair to none
                for name, model in models.items():
                    step(model, optimizers[name], x, y)  # the first after another network is slower
                    start = time.process_time()  # of this one thread: what else runs here does not count
                    for _ in range(3):
                        step(model, optimizers[name], x, y)
                    times[name].append(time.process_time() - start)
            for name in NETWORKS:
                speed = 3 * BATCH / statistics.median(times[name])
                rows.append({"network": name, "side": side, "images_per_second": f"{speed:.1f}"})
                print(rows[-1], flush=True)
        write_table(table, columns, rows)
    return {(r["network"], int(r["side"])): float(r["images_per_second"]) for r in read_table(table)}


def rates(studio: Studio, speed: dict) -> dict[str, float]:
    """The learning rate of each network: the better of two on `studio`'s validation images, seed 0."""
    table, columns = FOLDER / "rivals_rates.csv", ("network", "lr", "updates", "valid_auc")
    done = {(row["network"], float(row["lr"])) for row in read_table(table)}
    for name in NETWORKS:
        updates = fair_updates(studio, name, speed)
        for lr in RATES:
            if (name, lr) not in done:
                answers = train_once(studio, lambda name=name: build(name), 0, updates, lr)
                auc = f"{score(answers, studio.inside):.4f}"
                row = dict(zip(columns, (name, lr, updates, auc), strict=True))
                enter(table, columns, ("network", "lr"), row)
                print(row, flush=True)
    best = {}
    for row in sorted(read_table(table), key=lambda row: float(row["valid_auc"])):
        best[row["network"]] = float(row["lr"])
    return best


def fair_updates(question, name: str, speed: dict) -> int:
    """As many updates as fit into the time that FaceNeSt needs for the question's own number."""
    return round(question.updates * speed[name, question.side] / speed["FaceNeSt", question.side])


def rivals(question, kept: Kept, seeds: list[int], speed: dict, rate: dict, high_pass: bool) -> None:
    def label(name: str) -> str:
        return f"rival {name}" if high_pass else f"rival {name} without high-pass"

    for seed in [s for s in question.seeds if s in seeds]:
        for name in NETWORKS:
            if kept.get(question.name, label(name), seed) is not None:
                continue
            start, updates = time.perf_counter(), fair_updates(question, name, speed)
            make = lambda name=name: build(name, high_pass)  # noqa: E731
            answers = train_once(question, make, seed, updates, rate[name])
            kept.put(question.name, label(name), seed, answers)
            model = make()
            values = (question.name, name, high_pass, seed, count_parameters(model), count_macs(model, 64))
            values += (speed[name, question.side], rate[name], updates)
            row = dict(zip(RIVAL_COLUMNS, values, strict=False)) | judged(question, answers)
            enter(FOLDER / "rivals.csv", RIVAL_COLUMNS, ("question", "network", "high_pass", "seed"), row)
            print(f"{time.perf_counter() - start:.0f} s", row, flush=True)
    for name in NETWORKS:
        compare(FOLDER / "rivals_paired.csv", question, kept, "rival FaceNeSt", label(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", action="store_true", help="only FaceNeSt and its variants")
    parser.add_argument("--rivals", action="store_true", help="only FaceNeSt beside other networks")
    parser.add_argument("--question", choices=("studio", "unseen"), help="only this question")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--variants", nargs="+", choices=PARTS, default=list(PARTS), metavar="VARIANT")
    parser.add_argument("--front", choices=("with", "without"), help="rivals only with (without) high-pass")
    parser.add_argument("--measure", action="store_true", help="measure the speeds of the rivals anew")
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data", help="for `unseen`")
    parser.add_argument("--work", type=Path, default=PROJECT / "runs" / "ablate_facenest", help="for answers")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same on every machine, and fair to small networks
    kept, both = Kept(options.work), not (options.parts or options.rivals)
    questions = []
    if options.question != "unseen":
        questions.append(Studio())
    if options.question != "studio" and options.data.is_dir():
        questions.append(Unseen(options.data, options.work))
    elif options.question != "studio":
        print(f"{options.data} is not there: the question `unseen` is left out, its rows stay as they are.")
    if options.parts or both:
        for question in questions:
            parts(question, kept, options.seeds, options.variants)
    if options.rivals or both:
        speed = speeds(options.measure)
        studio = next((q for q in questions if isinstance(q, Studio)), None) or Studio()
        rate = rates(studio, speed)
        for high_pass in (True, False):
            if options.front in (None, "with" if high_pass else "without"):
                for question in questions:
                    rivals(question, kept, options.seeds, speed, rate, high_pass)


if __name__ == "__main__":
    main()

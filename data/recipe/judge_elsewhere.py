"""What do the shipped checkpoints score on photographs and generators from elsewhere? Judge, tabulate.

    python data/recipe/judge_elsewhere.py --data ../shared/data       (a few minutes on two cores)

`--data` is a folder with `hard/` ("Hard Fake vs Real Faces": 589 Unsplash photographs, 700 StyleGAN2 faces)
and `faces/` (444 official portraits of US legislators; 900 faces by FLUX, SDXL and DALL-E 3), all 300x300
JPEG of quality 75. None of these pictures may be committed, so lesson 13 shows the table
`data/ablation/elsewhere.csv`:

    checkpoint, data, seen, condition, n_real, n_fake, auc, low, high, reals_accused, fakes_missed

`studio` never saw a photograph: it is judged on 150 pictures of each of the four sources, evenly spaced, and
on 150 + 150 of its own test part. `faces` was trained on all four sources, and only on the 80 pictures of
each that were kept back can it be judged; what such a detector scores on sources held out of its training is
in `data/checkpoints/faces/held_out_sources.csv` (data/recipe/train_faces.py). It is judged on `studio` as
well, of which it saw nothing. Conditions, for both classes alike: "as they are", and "smaller": 0.6 times as
wide. Each checkpoint keeps its own preparation and its own threshold.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

PROJECT = Path(__file__).resolve().parent.parent.parent
for folder in ("data/recipe", "data", ""):  # course_lib and the recipe, also without installing them
    sys.path.insert(0, str(PROJECT / folder))

from course_lib.data import FaceDataset, load  # noqa: E402
from course_lib.errors import CourseError  # noqa: E402
from course_lib.evaluation import bootstrap_interval, fast_auc, predict_scores  # noqa: E402
from course_lib.predict import Detector  # noqa: E402
from course_lib.robustness import Perturbed  # noqa: E402
from recipe.ablate_ingredients import write_table  # noqa: E402
from recipe.train_faces import part, read_sources  # noqa: E402

TABLE = PROJECT / "data" / "ablation" / "elsewhere.csv"
COLUMNS = (
    "checkpoint", "data", "seen", "condition", "n_real", "n_fake", "auc", "low", "high", "reals_accused",
    "fakes_missed",
)  # fmt: skip
CONDITIONS = {"as they are": None, "smaller": ("resize", 0.6)}
PAIRS = [
    ("unsplash", "stylegan2"),  # together: the whole of "hardrvsf"
    ("congress", "stylegan2"),
    ("unsplash", "t2i"),
    ("congress", "t2i"),
]
MOST = 150  # pictures of each source


def evenly(source: FaceDataset, most: int = MOST) -> FaceDataset:
    """At most so many pictures of a source, evenly spaced."""
    return source.subset(np.linspace(0, len(source) - 1, min(most, len(source))).astype(int))


def judge(detector: Detector, groups: dict[str, FaceDataset]) -> dict[str, dict[str, np.ndarray]]:
    """P(fake) by condition and source."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for condition, change in CONDITIONS.items():
        found[condition] = {}
        for name, data in groups.items():
            view = data if change is None else Perturbed(data, *change)
            found[condition][name] = predict_scores(
                detector.model, view, detector.preprocessing, temperature=detector.temperature
            )
            print(f"{detector.name}, {name}, {condition}: {len(view)} pictures", flush=True)
    return found


def row(detector: Detector, data: str, seen: str, condition: str, reals, fakes) -> dict[str, str]:
    y, p = np.repeat([0, 1], [len(reals), len(fakes)]), np.concatenate([reals, fakes])
    numbers = (fast_auc(y, p), *bootstrap_interval(fast_auc, y, p))
    numbers += (float((reals >= detector.threshold).mean()), float((fakes < detector.threshold).mean()))
    values = (detector.name, data, seen, condition, len(reals), len(fakes), *(f"{v:.4f}" for v in numbers))
    return dict(zip(COLUMNS, map(str, values), strict=True))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="holds hard/ and faces/")
    parser.add_argument("--threads", type=int, default=None, help="of torch; default: all cores")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        sources = read_sources(options.data)
    except CourseError as error:
        print(error, file=sys.stderr)
        return 1
    test = load("studio").test
    studio = {name: test.subset(test.labels == y) for y, name in enumerate(("studio real", "studio fake"))}
    rows = []
    for checkpoint in ("studio", "faces"):
        detector = Detector.load(checkpoint, device="cpu")
        if checkpoint == "studio":
            groups = {name: evenly(source) for name, source in sources.items()}
            at_home, elsewhere = "other people, same camera and forger", "nothing of it"
        else:
            groups = {name: part(source, kept_back=True) for name, source in sources.items()}
            at_home, elsewhere = "nothing of it", "other pictures of these sources"
        found = judge(detector, {**groups, **{name: evenly(data) for name, data in studio.items()}})
        for condition, p in found.items():
            rows.append(row(detector, "studio", at_home, condition, p["studio real"], p["studio fake"]))
            for real, fake in PAIRS:
                rows.append(row(detector, f"{real} / {fake}", elsewhere, condition, p[real], p[fake]))
    write_table(TABLE, COLUMNS, rows)
    for entry in rows:
        print(entry)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What is a part of FaceNeSt worth? Train with and without it, everything else equal, and write the table.

    python data/recipe/ablate.py                 all rows that data/ablation/studio.csv lacks
    python data/recipe/ablate.py --seeds 0       one seed only

Each row is one training of lesson 11 (the same settings) on `studio`, judged on whole test images. Nothing is
chosen by the test score: settings are fixed, and the epoch is chosen on the validation images.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

import torch

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))  # course_lib, also without installing it

from course_lib.checkpoints import write_file  # noqa: E402
from course_lib.data import load  # noqa: E402
from course_lib.evaluation import evaluate  # noqa: E402
from course_lib.facenest import facenest  # noqa: E402
from course_lib.training import fit  # noqa: E402

TABLE = PROJECT / "data" / "ablation" / "studio.csv"
COLUMNS = ("variant", "seed", "epochs", "valid_auc", "test_auc", "low", "high")
VARIANTS = {"as it is": {}, "without high-pass": {"high_pass": False}}
LESSON_11 = dict(epochs=6, batch_size=32, crop=64, lr=3e-3, augment="light")


def train_once(variant: str, seed: int, work: Path) -> dict[str, object]:
    """One row of the table."""
    sets = load("studio")
    torch.manual_seed(seed)
    run_dir = work / f"{variant.replace(' ', '_')}_{seed}"
    result = fit(
        facenest(**VARIANTS[variant]), sets.train, sets.valid, run_dir=run_dir, seed=seed, **LESSON_11
    )
    scores = evaluate(result.model, sets.test)
    low, high = scores["auc_interval"]
    numbers = (result.history.valid_auc.max(), scores["auc"], low, high)
    values = (variant, seed, LESSON_11["epochs"], *(f"{number:.4f}" for number in numbers))
    return dict(zip(COLUMNS, values, strict=True))


def read_table() -> list[dict[str, object]]:
    if not TABLE.is_file():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(rows: list[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    write_file(TABLE, text.getvalue().encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=PROJECT / "runs" / "ablation", help="for runs cut short")
    options = parser.parse_args()
    rows = read_table()
    done = {(row["variant"], int(row["seed"])) for row in rows}
    for seed in options.seeds:
        for variant in VARIANTS:
            if (variant, seed) not in done:
                rows.append(train_once(variant, seed, options.work))
                write_table(rows)
                print(rows[-1], flush=True)


if __name__ == "__main__":
    main()

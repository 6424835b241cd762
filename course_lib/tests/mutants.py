"""Do the tests notice when the code is wrong? `make mutants` changes it in some 1,800 places, one at a time.

    python course_lib/tests/mutants.py                     # evaluation, checks and data: an hour or so
    python course_lib/tests/mutants.py --only evaluation   # one module
    python course_lib/tests/mutants.py --sample 200        # so many, drawn at random (--seed)

A mutant is the module with one small change: ``>=`` becomes ``>``, 0.5 becomes 1.5, an argument is left out,
a text gets other letters. Those tests that reach the changed function are run; if one fails, the mutant is
killed, and if none does, it survives: either a test is missing, or the change makes no difference. The second
kind stands in `EXPLAINED`, with the reason. The status is 1 if any other mutant survived.

The work is done by mutmut (its settings are in pyproject.toml) on a copy of the tree in ``build/mutants``,
where a run that was stopped goes on, and where a changed function is tried anew.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutants"
MODULES = ("evaluation", "checks", "data")
KILLED = (1, 3, 24, -24, 36, 152, 255)  # a failed test; pytest itself stopped; or it ran for too long
UNTRIED = None

# (function, a piece of the changed line, why no test can tell the two apart)
EXPLAINED: list[tuple[str, str, str]] = [
    (
        "FaceDataset.subset",
        "and False else list(indices)",
        "an array as a list is the same array, only slower",
    ),
    ("agrees", "zip(cases, answers, ", "there is one answer a case, made a line before"),
    ("predict_logits", "logits.double().tolist(), ", "fake_logits has counted them"),
    ("predict_logits", "range(len(sums))], ", "floats are float64 anyway"),
    ("batches_of_one_shape", ">= 4 * 3 * PIXELS_AT_ONCE", "at the limit itself either will do"),
    ("tpr_at_fpr", "false_alarms < fpr + 1e-12", "the slack is there for rounding, and wider than it"),
    ("summary", "tpr_at_fpr(y, p, )", "0.01 is what is taken by default too"),
    ("accuracy", "both_classes=None", "None is as false as False"),
    ("confusion", "both_classes=None", "None is as false as False"),
    ("predict_scores", "labels=None", "None is as false as False"),
    ("_divide", "{s: given.get(s, ", "a split that is missing is drawn below, in every case"),
    ("verdict", "fork_rng(devices=None)", "differs only where there is a GPU, whose state is then kept too"),
    ("as_array", "astype(None)", "None stands for float64"),
    ("verify", "trust=None", "None is as false as False"),
    (
        "threshold_at_fpr",
        "np.nextafter(spared, 3.0)",
        "the next number above 1 is the same on the way to 2 and 3",
    ),
    ("choose_threshold", "found = 2 - ", "a constant more everywhere moves no maximum"),
    ("choose_threshold", "-2.0).argmax()", "any number below 0 is less than every gap"),
    ("mcnemar", "if only_a - only_b else 1.0", "of an even split the exact test says 1 as well"),
    ("check_right", 'not in "XXbiufXX"', "NumPy has no kind of array called X"),
    ("as_numbers", 'not in "XXbiufOXX"', "NumPy has no kind of array called X"),
    ("as_array", 'not in "XXbiufcOXX"', "NumPy has no kind of array called X"),
    ("as_numbers", "astype(None)", "None stands for float64"),
    ("spread", "variance <= 1e-24", "the limit lies between rounding and spread, and far from both"),
    ("fast_auc", "np.searchsorted(reals, fakes, ) +", "left is what is taken by default too"),
    ("load", "collector(on=None)", "None is as false as False"),
    ("_load", "build_pixels(folder, None, states)", "the states name the paths as well"),
]


def copy_of_the_tree(target: Path) -> None:
    """The folders that tests need; a file that is there and equal keeps its date, so its mutants are kept.

    Once any Python file is new, mutmut has to ask anew which tests reach which function.
    """
    for part in ("course_lib", "data", "notebooks", "pyproject.toml"):
        files = [ROOT / part] if (ROOT / part).is_file() else sorted((ROOT / part).rglob("*"))
        for file in files:
            place = target / file.relative_to(ROOT)
            if file.is_dir() or "__pycache__" in file.parts or ".ipynb_checkpoints" in file.parts:
                continue
            if not (place.is_file() and filecmp.cmp(file, place, shallow=False)):
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)  # not copy2: what changed must be newer than its mutants
                if file.suffix == ".py":
                    (target / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)


def results(work: Path, modules: tuple[str, ...] | list[str]) -> dict[str, int | None]:
    """The status of every mutant by its name, as mutmut keeps it; empty before the first run."""
    found: dict[str, int | None] = {}
    for module in modules:
        memory = work / "mutants" / "course_lib" / f"{module}.py.meta"
        if memory.is_file():
            found |= json.loads(memory.read_text("utf-8"))["exit_code_by_key"]
    return found


def forget_survivors(work: Path) -> None:
    """Have every mutant that was not killed tried again: the tests may have changed."""
    for module in MODULES:
        memory = work / "mutants" / "course_lib" / f"{module}.py.meta"
        if memory.is_file():
            state = json.loads(memory.read_text("utf-8"))
            codes = state["exit_code_by_key"]
            state["exit_code_by_key"] = {
                name: code if code in KILLED else UNTRIED for name, code in codes.items()
            }
            part = memory.with_name(memory.name + ".part")
            part.write_text(json.dumps(state), "utf-8")
            os.replace(part, memory)


def mutmut(work: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=work, env=environment)


def changed_lines(work: Path, name: str) -> tuple[str, list[str]]:
    """The function that a mutant changes, and its lines before (-) and after (+)."""
    said = subprocess.run(
        [sys.executable, "-m", "mutmut", "show", name], cwd=work, capture_output=True, text=True, check=True
    ).stdout
    lines = [line for line in said.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    function = name.rpartition(".")[2].rpartition("__mutmut_")[0].removeprefix("x_").replace("xǁ", "")
    return function.replace("ǁ", "."), lines


def explained(function: str, lines: list[str]) -> str | None:
    """Why this mutant may live; None if nobody has said so."""
    text = "\n".join(line for line in lines if line.startswith("+"))
    return next((why for where, piece, why in EXPLAINED if where == function and piece in text), None)


def survivors(work: Path, codes: dict[str, int | None]) -> Iterator[tuple[str, list[str], str | None]]:
    for name, code in codes.items():
        if code not in KILLED and code is not UNTRIED:
            function, lines = changed_lines(work, name)
            yield name, lines, explained(function, lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=MODULES, help="this module (may be given again)")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", action="store_true", help="run nothing, tell what was found so far")
    options = parser.parse_args(arguments)
    modules = options.only or list(MODULES)
    if not options.report:
        copy_of_the_tree(WORK)
        forget_survivors(WORK)
        names = [f"course_lib.{module}.*" for module in modules]
        if options.sample:
            mutmut(WORK, "run", "--max-children", "1", "no mutant has this name")  # writes the mutants down
            everyone = sorted(results(WORK, modules))
            names = random.Random(options.seed).sample(everyone, min(options.sample, len(everyone)))
        mutmut(WORK, "run", "--max-children", "1", *names)
    unexplained = 0
    for module in modules:
        codes = results(WORK, [module])
        tried = sum(code is not UNTRIED for code in codes.values())
        left = list(survivors(WORK, codes))
        good = sum(why is not None for *_, why in left)
        unexplained += len(left) - good
        print(
            f"{module}: {len(codes)} mutants, {tried} tried, {tried - len(left)} killed, "
            f"{len(left)} survived, {good} of these explained"
        )
        for name, lines, why in left:
            if why is None:
                print(f"  {name}", *(f"    {line}" for line in lines), sep="\n")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())

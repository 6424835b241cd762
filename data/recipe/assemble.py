"""From renders to the finished data set: photograph, forge, crop, save, list.

Every random draw is made from (seed, person, purpose), never from a shared stream, so pictures can be made in
any order, in part, or again, and come out the same.
"""

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from . import camera
from .people import Person

SPLITS = ("train", "valid", "test")
LABELS = ("real", "fake")
BLOCK = 10_000  # each group of people owns a block of so many person numbers: no two groups can share one

# What a random draw is for; the second number of its seed.
_CAMERA, _FORGER, _CROP, _NAMES = range(4)


@dataclass(frozen=True)
class Group:
    """People who serve one purpose. Those of `split` "forger" teach the forger and are in no split."""

    split: str
    label: str
    first: int
    count: int


def plan_groups(train: int = 800, valid: int = 150, test: int = 300, forger: int = 600) -> list[Group]:
    """The groups, for so many people of *each* class in each split. Their person numbers are disjoint."""
    groups = [Group("forger", "real", 0, forger)]
    for split, count in zip(SPLITS, (train, valid, test), strict=True):
        for label in LABELS:
            groups.append(Group(split, label, BLOCK * len(groups), count))
    for group in groups:
        if not 0 <= group.count <= BLOCK // 2:
            raise ValueError(
                f"{group.split}/{group.label}: {group.count} people asked for; 0 to {BLOCK // 2} are possible"
            )
    return groups


def rng_for(seed: int, person: int, purpose: int, shot: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, person, purpose, shot])


def photograph_forger_people(
    people: list[int], load_render: Callable[[int], np.ndarray], seed: int, shots: int = 4
) -> np.ndarray:
    """What the forger learns from: its people, each photographed `shots` times with other noise.

    Returns uint8, (len(people)·shots)×H×W×3.
    """
    pictures = []
    for person in people:
        light = load_render(person)
        pictures += [camera.expose(light, rng_for(seed, person, _CAMERA, shot)) for shot in range(shots)]
    return np.stack(pictures)


def make_frames(
    people: list[int],
    load_render: Callable[[int], np.ndarray],
    folder: Path,
    seed: int,
    forger: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> int:
    """Photograph people, and send them through the forger if there is one; uncropped PNGs into `folder`.

    forger: a function of (uint8 H×W×3, seed) -> uint8 H×W×3. A picture that is there already is kept.
    Returns how many pictures were made now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = 0
    for person in people:
        path = folder / f"{person:06d}.png"
        if path.exists():
            continue
        frame = camera.expose(load_render(person), rng_for(seed, person, _CAMERA))
        if forger is not None:
            frame = forger(frame, int(rng_for(seed, person, _FORGER).integers(2**31)))
        temporary = path.with_suffix(f".{os.getpid()}.part")  # two runs at once must not share it
        Image.fromarray(frame).save(temporary, format="PNG")
        os.replace(temporary, path)
        made += 1
    return made


def draw_ids(count: int, seed: int) -> list[str]:
    """Distinct five-digit names that say nothing about what they name."""
    numbers = np.random.default_rng([seed, _NAMES]).choice(90_000, size=count, replace=False) + 10_000
    return [str(number) for number in numbers]


def card_attributes(person: Person) -> dict[str, object]:
    """What `people.csv` says of a person, for the data card. None of it may depend on the label."""
    ancestries = ("african", "asian", "caucasian")  # names of morphs, no more
    return {
        "sex": "female" if person.female else "male",
        "age": round(person.age),
        "monk_tone": round(person.monk),
        "ancestry": ancestries[int(np.argmax(person.ancestry))],
        "expression": person.expression,
        "hair": person.hair["style"],
        "facial_hair": person.face_hair["style"],
        "glasses": person.glasses["shape"] if person.glasses else "none",
        "hat": person.hat["kind"] if person.hat else "none",
        "light": person.light["kind"],
        "background": person.backdrop["kind"],
    }


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    os.replace(temporary, path)


def remove_old(folder: Path) -> None:
    """Take away the pictures and tables of an earlier run (and nothing else)."""
    for path in sorted(folder.glob("real_vs_fake/real-vs-fake/*/*/*.jpg")) + sorted(folder.glob("*.csv")):
        path.unlink()


def assemble(
    members: list[tuple[Group, list[int]]],
    frame_path: Callable[[Group, int], Path],
    describe: Callable[[int], dict[str, object]],
    out: Path,
    seed: int,
) -> dict[str, int]:
    """Crop and save every frame, by one step that does not know its label, and write the tables.

    members: each group with its person numbers. describe: the attributes of a person, for the data card.
    out: becomes the root of an `rvsf`-like set. Returns the number of pictures of each "split/label".
    """
    entries = [(group, person) for group, people in members if group.split != "forger" for person in people]
    names = draw_ids(len(entries), seed)
    # In the order of the names: the files' times then say nothing about their labels.
    listed = sorted(zip(names, entries, strict=True))
    remove_old(out)
    pictures = out / "real_vs_fake" / "real-vs-fake"
    tables: dict[str, list[list[object]]] = {split: [] for split in SPLITS}
    attributes: list[dict[str, object]] = []
    counts: dict[str, int] = {}
    for name, (group, person) in listed:
        relative = f"{group.split}/{group.label}/{name}.jpg"
        (pictures / relative).parent.mkdir(parents=True, exist_ok=True)
        frame = np.asarray(Image.open(frame_path(group, person)).convert("RGB"))
        camera.save_jpeg(camera.frame_crop(frame, rng_for(seed, person, _CROP)), pictures / relative)
        rows = tables[group.split]
        # The columns of the 140k set, whose own CSVs say real=1 and fake=0. Labels are to be read by name.
        rows.append(
            [len(rows), f"people/{person:06d}", name, int(group.label == "real"), group.label, relative]
        )
        attributes.append(
            {"id": name, "split": group.split, "label": group.label, "person": person, **describe(person)}
        )
        counts[f"{group.split}/{group.label}"] = counts.get(f"{group.split}/{group.label}", 0) + 1
    for split, rows in tables.items():
        write_csv(out / f"{split}.csv", ["", "original_path", "id", "label", "label_str", "path"], rows)
    columns = list(dict.fromkeys(key for entry in attributes for key in entry))
    write_csv(out / "people.csv", columns, [[entry.get(key, "") for key in columns] for entry in attributes])
    return counts


def assemble_unseen(
    names: dict[int, str], frame_paths: dict[str, Callable[[int], Path]], out: Path, seed: int
) -> dict[str, int]:
    """`out`/unseen: the people of test/fake untouched, and as other generators re-draw them.

    names: person -> id of their picture in test/fake; theirs get the same here. frame_paths: for each
    generator (and "real") where the uncropped frame of a person lies. Crop and JPEG are `assemble`'s, so the
    pictures of one person differ in nothing but the generator. Returns the number of pictures of each.
    """
    folder = out / "unseen"
    for old in folder.glob("*/*.jpg"):
        old.unlink()
    rows = []
    for person, name in sorted(names.items(), key=lambda item: item[1]):
        for generator, path in frame_paths.items():
            (folder / generator).mkdir(parents=True, exist_ok=True)
            frame = np.asarray(Image.open(path(person)).convert("RGB"))
            cropped = camera.frame_crop(frame, rng_for(seed, person, _CROP))
            camera.save_jpeg(cropped, folder / generator / f"{name}.jpg")
            real = generator == "real"
            rows.append(
                [
                    f"unseen/{generator}/{name}.jpg",
                    "real" if real else "fake",
                    "" if real else generator,
                    name,
                    person,
                ]
            )
    columns = ["path", "label_str", "generator", "id", "person"]
    write_csv(folder / "unseen.csv", columns, sorted(rows))
    return {generator: len(names) for generator in frame_paths}


def chunks(groups: list[Group], size: int) -> Iterator[tuple[Group, int, int]]:
    """(group, first, count) in an order that lets an interrupted rendering leave balanced groups behind.

    The forger's people come first, for training can begin as soon as they are there.
    """
    for wave in (groups[:1], groups[1:]):
        pieces = [
            (start / max(group.count, 1), number, group, start)
            for number, group in enumerate(wave)
            for start in range(0, group.count, size)
        ]
        for _, _, group, start in sorted(pieces, key=lambda piece: piece[:2]):
            yield group, group.first + start, min(size, group.count - start)

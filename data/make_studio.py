"""Make the embedded data set `studio` again, from CC0 assets to finished JPEGs.

    python data/make_studio.py --assets DIR                     everything, one stage after another python
    data/make_studio.py --assets DIR --stage render      only build and path-trace the people python
    data/make_studio.py --stage train --minutes 25       only train the forger on its own people python
    data/make_studio.py --stage fake                     only photograph, and forge python data/make_studio.py
    --stage assemble                 only crop, save, list, and write the checksums python data/make_studio.py
    --assets DIR --stage splice      only re-draw one region of some photographs python data/make_studio.py
    --stage unseen --minutes 25      only train further generators, and re-draw with them

Every stage goes on where it was interrupted, and everything follows from `--seed`. Renders, photographs and
the state of the training lie in `--work` (some 2 GB, never committed); the result goes to `--out` (data/).
Changes of the camera are noticed; after a change of the renderer, empty `--work`.
Rendering needs the extra `studio`: ``pip install -e '.[studio]'``.
"""

import argparse
import csv
import hashlib
import importlib.util
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # recipe/ and course_lib/, without installing

from recipe import assemble as steps  # noqa: E402

STAGES = ("render", "train", "fake", "assemble", "splice", "unseen")
SIDE = 144  # renders; the crop of 128 is cut from them
SPLICED = 2 / 3  # so many of the people of test/real get a spliced picture
SHOTS = 4  # photographs of each of the forger's people


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=(*STAGES, "all"), default="all")
    parser.add_argument(
        "--assets", type=Path, help="the folder of the MakeHuman assets (for the stage render)"
    )
    parser.add_argument("--work", type=Path, default=HERE / "studio_work", help="intermediate files")
    parser.add_argument(
        "--out", type=Path, default=HERE, help="gets studio/ and checkpoints/forger/ (default: data/)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads that train; another number gives other last digits"
    )
    parser.add_argument("--spp", type=int, default=12, help="samples a pixel")
    parser.add_argument("--minutes", type=float, help="stop a training after so long; run again to go on")
    parser.add_argument("--steps", type=int, help="steps of each training (default: the recipe's)")
    parser.add_argument(
        "--only", choices=("forger", "rest"), help="stage render: only the forger's people, or the rest"
    )
    for name, count in (("train", 800), ("valid", 150), ("test", 300), ("forger", 450)):
        parser.add_argument(
            f"--{name}", type=int, default=count, help=f"people of each class in it (default {count})"
        )
    return parser.parse_args(argv)


def rendered(arguments: argparse.Namespace, group: steps.Group, *, required: bool = True) -> list[int]:
    """The people of a group whose renders are there: the first `group.count` of its block that are."""
    from recipe.render import picture_path

    block = range(group.first, group.first + steps.BLOCK)
    spare = group.count + group.count // 4 + 8  # where stand-ins for unusable renders are looked for
    there = [person for person in block[:spare] if picture_path(arguments.work / "renders", person).is_file()]
    people = there[: group.count]
    if required and len(people) < group.count:
        sys.exit(
            f"{group.split}/{group.label}: {len(people)} of {group.count} people are rendered in "
            f"{arguments.work / 'renders'}; run the stage render (again)."
        )
    return people


def render(arguments: argparse.Namespace, groups: list[steps.Group]) -> None:
    from recipe.render import render_people
    from recipe.scene import RenderError

    if arguments.assets is None:
        sys.exit("The stage render needs --assets DIR, the folder of the MakeHuman assets.")
    if importlib.util.find_spec("mitsuba") is None:
        sys.exit("The renderer is not installed: pip install -e '.[studio]', then run this stage again.")
    if arguments.only:
        groups = groups[:1] if arguments.only == "forger" else groups[1:]
    folder = arguments.work / "renders"

    def run(first: int, count: int) -> None:
        try:
            render_people(
                arguments.assets, folder, first, count, arguments.seed, SIDE, arguments.spp, arguments.workers
            )
        except RenderError as error:  # one person nobody can photograph must not stop the others
            if count == 1:
                print(f"render: {error}; the next person of the block stands in", flush=True)
            else:
                run(first, count // 2)
                run(first + count // 2, count - count // 2)

    for group, first, count in steps.chunks(groups, 400):
        print(f"render: {group.split}/{group.label}, people {first} to {first + count - 1}", flush=True)
        run(first, count)
    for group in groups:  # a render that came out unusable is replaced by the next person of the block
        missing = group.count - len(rendered(arguments, group, required=False))
        if missing:
            run(group.first + group.count, min(missing + missing // 4 + 4, group.count // 4 + 8))


def render_loader(arguments: argparse.Namespace):
    """A function from a person's number to their render, linear float32 H×W×3."""
    from recipe.render import load_render, picture_path

    return lambda person: load_render(picture_path(arguments.work / "renders", person))


def photo_folder(arguments: argparse.Namespace) -> Path:
    """Where photographs lie, and what was learnt from them. A new camera or seed: a new folder."""
    camera = (HERE / "recipe" / "camera.py").read_bytes()
    folder = arguments.work / f"photos_{hashlib.sha256(camera).hexdigest()[:8]}_{arguments.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def forger_photos(arguments: argparse.Namespace, groups: list[steps.Group]):
    """The photographs of the forger's people, uint8 N×H×W×3, taken when they are first asked for."""
    import numpy as np

    photos = photo_folder(arguments) / "forger_photos.npy"
    people = rendered(arguments, groups[0])
    if not photos.exists():
        pictures = steps.photograph_forger_people(people, render_loader(arguments), arguments.seed, SHOTS)
        temporary = photos.with_suffix(".part.npy")
        np.save(temporary, pictures)
        os.replace(temporary, photos)
    return np.load(photos, mmap_mode="r")


def train(arguments: argparse.Namespace, groups: list[steps.Group]) -> bool:
    import torch
    from recipe import train_forger

    torch.set_num_threads(arguments.threads)
    changes = {"steps": arguments.steps} if arguments.steps else {}
    plan = train_forger.Plan(seed=arguments.seed, **changes)
    return train_forger.train(
        forger_photos(arguments, groups),
        photo_folder(arguments) / f"forger_run_{plan.steps}_steps",
        forger_path(arguments),
        plan,
        arguments.minutes,
    )


def forger_path(arguments: argparse.Namespace) -> Path:
    return arguments.out / "checkpoints" / "forger" / "forger.safetensors"


def frame_folder(arguments: argparse.Namespace, group: steps.Group) -> Path:
    """Fakes depend on the forger's weights, so their folder is named after them: a new forger, new fakes."""
    if group.label == "real":
        return photo_folder(arguments) / "real"
    return photo_folder(arguments) / hashlib.sha256(forger_path(arguments).read_bytes()).hexdigest()[:12]


def shipped_forger(arguments: argparse.Namespace):
    """The forger as a function of (uint8 H×W×3, seed) -> uint8 H×W×3."""
    import torch

    from course_lib.generator import forge, load_forger

    torch.set_num_threads(1)  # one picture at a time: more threads would only wait for each other
    model = load_forger(forger_path(arguments))

    def forger(picture, seed):
        batch = torch.from_numpy(picture).permute(2, 0, 1)[None]
        return forge(model, batch, seed)[0].permute(1, 2, 0).numpy()

    return forger


def fake(arguments: argparse.Namespace, groups: list[steps.Group]) -> None:
    forger = shipped_forger(arguments)
    for group in groups[1:]:
        made = steps.make_frames(
            rendered(arguments, group),
            render_loader(arguments),
            frame_folder(arguments, group),
            arguments.seed,
            forger if group.label == "fake" else None,
        )
        print(f"fake: {group.split}/{group.label}: {made} made now, {group.count} in all", flush=True)


def assemble(arguments: argparse.Namespace, groups: list[steps.Group]) -> None:
    from recipe.people import draw_person

    folders = {group: frame_folder(arguments, group) for group in groups[1:]}
    counts = steps.assemble(
        [(group, rendered(arguments, group)) for group in groups[1:]],
        lambda group, person: folders[group] / f"{person:06d}.png",
        lambda person: steps.card_attributes(draw_person(arguments.seed, person)),
        arguments.out / "studio",
        arguments.seed,
    )
    size = sum(path.stat().st_size for path in (arguments.out / "studio").rglob("*.jpg"))
    print(f"assemble: {counts}, {size / 1e6:.1f} MB of pictures")
    write_checksums(arguments.out)


def picture_names(arguments: argparse.Namespace, group: steps.Group) -> dict[int, str]:
    """person -> the id of their picture, for one group, as `assemble` wrote it into people.csv."""
    listing = arguments.out / "studio" / "people.csv"
    if not listing.is_file():
        sys.exit(f"{listing} is not there; run the stage assemble first.")
    with listing.open(newline="", encoding="utf-8") as file:
        rows = [
            row for row in csv.DictReader(file) if (row["split"], row["label"]) == (group.split, group.label)
        ]
    return {int(row["person"]): row["id"] for row in rows}


def splice(arguments: argparse.Namespace, groups: list[steps.Group]) -> None:
    import numpy as np
    from PIL import Image
    from recipe.people import draw_person
    from recipe.splice import Landmarks, assign_regions, make_spliced

    if arguments.assets is None:
        sys.exit("The stage splice needs --assets DIR: it finds eyes and mouths on the mesh of the assets.")
    group = next(g for g in groups if (g.split, g.label) == ("test", "real"))
    names = picture_names(arguments, group)
    people = {number: draw_person(arguments.seed, number) for number in names}
    photos = frame_folder(arguments, group)
    areas = make_spliced(
        assign_regions(people, round(SPLICED * len(people)), arguments.seed),
        names,
        people,
        lambda person: np.array(Image.open(photos / f"{person:06d}.png").convert("RGB")),
        shipped_forger(arguments),
        Landmarks(arguments.assets),
        arguments.out / "studio",
        arguments.seed,
    )
    told = f"masks cover {min(areas):.1%} to {max(areas):.1%} of it, {np.median(areas):.1%} in the middle"
    print(f"splice: {len(areas)} pictures; {told}")
    write_checksums(arguments.out)


def unseen(arguments: argparse.Namespace, groups: list[steps.Group]) -> bool:
    """Train each further generator on the forger's people, and let it re-draw the people of test/fake."""
    import torch
    from recipe import train_unseen

    torch.set_num_threads(arguments.threads)
    weights = {}
    for family, (make, new_plan) in train_unseen.FAMILIES.items():
        changes = {"steps": arguments.steps} if arguments.steps else {}
        plan = new_plan(seed=arguments.seed, **changes)
        run = photo_folder(arguments) / f"{family}_run_{plan.steps}_steps"
        weights[family] = run / f"{family}.safetensors"
        photos = forger_photos(arguments, groups)
        if not train_unseen.train(photos, run, weights[family], plan, arguments.minutes, make=make):
            return False

    torch.set_num_threads(1)
    group = next(g for g in groups if (g.split, g.label) == ("test", "fake"))
    names = picture_names(arguments, group)
    folders = {"real": photo_folder(arguments) / "real"}
    for family, path in weights.items():
        folders[family] = photo_folder(arguments) / hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    for name, folder in folders.items():
        generator = None if name == "real" else train_unseen.load_generator(name, weights[name])
        load = render_loader(arguments)
        made = steps.make_frames(sorted(names), load, folder, arguments.seed, generator)
        print(f"unseen: {name}: {made} made now, {len(names)} in all", flush=True)
    paths = {name: (lambda person, f=folder: f / f"{person:06d}.png") for name, folder in folders.items()}
    counts = steps.assemble_unseen(names, paths, arguments.out / "studio", arguments.seed)
    print(f"unseen: {counts}")
    write_checksums(arguments.out)
    return True


def write_checksums(out: Path) -> None:
    """data/SHA256SUMS, by the library that will later check it."""
    from course_lib.embedded import write_sums

    print(f"assemble: wrote {write_sums(out)}")


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    groups = steps.plan_groups(arguments.train, arguments.valid, arguments.test, arguments.forger)
    arguments.work.mkdir(parents=True, exist_ok=True)
    from recipe.assets import AssetError

    from course_lib.errors import CourseError

    try:
        return run_stages(arguments, groups)
    except (CourseError, AssetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run_stages(arguments: argparse.Namespace, groups: list[steps.Group]) -> int:
    run = dict(zip(STAGES, (render, train, fake, assemble, splice, unseen), strict=True))
    for stage in STAGES if arguments.stage == "all" else (arguments.stage,):
        finished = run[stage](arguments, groups)
        if finished is False:
            print("A training is not finished: run this stage again to go on.")
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line: ``python -m course_lib info | predict | score | serve | report | ...``.

Every command ends with status 0 if all went well and 1 if anything failed (2 for a wrong command line, 130
when interrupted). What went wrong is one sentence on stderr, never a traceback.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .errors import CourseError

if TYPE_CHECKING:
    from .data import FaceSets
    from .predict import Detector
    from .training import FitResult

# Imports of torch and the like wait inside the commands, so that --help answers at once.

PREFERRED = ("faces", "studio")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name that the terminal cannot show must not stop us
            stream.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()  # here, where a reader that has gone is still met below
        return status
    except CourseError as error:
        if speaks_for_all(error):
            print(" ".join(str(error).split()), file=sys.stderr)
        else:
            let_the_first_speak()
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"{error.filename or 'A file'}: {error.strerror or error}", file=sys.stderr)
        return 1


def speaks_for_all(error: CourseError) -> bool:
    """Of several processes that torchrun started, one says what is wrong with all of them."""
    return os.environ.get("RANK", "0") == "0" or type(error).__name__ == "AloneError"


def let_the_first_speak() -> None:
    """Wait a moment: torchrun ends all processes as soon as one of them has failed."""
    import time

    from .distributed import A_MOMENT

    sys.stdout.flush()
    time.sleep(A_MOMENT)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m course_lib", description="Real or fake? The course's detector."
    )
    top.add_argument("--version", action="version", version=f"course_lib {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="show versions, device, data and checkpoints found here")
    info.set_defaults(run=run_info)

    predict = commands.add_parser(
        "predict",
        help="judge pictures: P(fake) of each",
        description="Judge pictures: print P(fake) of each. The exit status is 1 if any could not be read.",
    )
    predict.add_argument(
        "files", nargs="+", metavar="FILE", help="JPEG, PNG, WebP, GIF, BMP or TIFF pictures"
    )
    predict.add_argument(
        "--json", action="store_true", help="print a JSON list of {path, p_fake, label, error}"
    )
    predict.add_argument("--batch-size", type=positive, default=32, help="pictures at a time; default 32")
    add_detector_options(predict)
    predict.set_defaults(run=run_predict)

    score = commands.add_parser(
        "score",
        help="judge a folder of any number of pictures into a table",
        description="Judge every picture below a folder into a Parquet table, in bounded memory. After an "
        "interruption, the same command goes on. What cannot be read is listed in OUT.unreadable.csv.",
    )
    score.add_argument("folder", metavar="FOLDER", help="searched with all its subfolders")
    score.add_argument("--out", required=True, metavar="FILE", help="the table, such as scores.parquet")
    score.add_argument(
        "--part-rows", type=positive, default=1000, metavar="N", help="rows kept safe at a time; default 1000"
    )
    add_detector_options(score)
    score.set_defaults(run=run_score)

    serve = commands.add_parser(
        "serve",
        help="a web page and an HTTP service that judge pictures",
        description="Start a web page and an HTTP service that judge pictures, on this computer only unless "
        "--host says otherwise. Ctrl+C stops it.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1: this computer alone")
    serve.add_argument("--port", type=port, default=8000, help="default 8000; 0 takes any that is free")
    serve.add_argument(
        "--at-once", type=positive, default=32, metavar="N", help="requests; more get 503; default 32"
    )
    serve.add_argument(
        "--batch", type=positive, default=32, metavar="N", help="pictures judged together; default 32"
    )
    serve.add_argument("--max-mb", type=positive, default=20, metavar="N", help="for one picture; default 20")
    serve.add_argument("--timeout", type=positive, default=30, metavar="S", help="seconds; default 30")
    add_detector_options(serve)
    serve.set_defaults(run=run_serve)

    names = "studio, rvsf, hardrvsf, rvf10k, deepfake-and-real, or a folder with real/ and fake/ in it"
    judge = commands.add_parser(
        "report",
        help="judge a detector on a data set: a table, a figure, JSON",
        description="Judge a detector on a data set's test images, with intervals; threshold and temperature "
        "are chosen on its validation images. Writes report.json, report.png, table.csv and scores.csv.",
    )
    judge.add_argument(
        "--checkpoint", default="studio", metavar="NAME", help="a name or a folder; default: studio"
    )
    judge.add_argument("--data", default="studio", metavar="NAME", help=f"{names}; default: studio")
    judge.add_argument("--root", metavar="DIR", help="where the data set was unpacked; default: download it")
    judge.add_argument("--baseline", metavar="NAME", help="another checkpoint, to compare with")
    judge.add_argument("--out", required=True, metavar="DIR", help="the folder to write into")
    judge.add_argument("--draws", type=positive, default=1000, help="bootstrap draws; default 1000")
    judge.add_argument("--seed", type=int, default=0, help="default 0")
    judge.add_argument("--batch-size", type=positive, default=64, help="images at a time; default 64")
    judge.add_argument("--device", help="cpu, cuda, mps; default: the best there is")
    judge.set_defaults(run=run_report)

    data = commands.add_parser("data", help="list, verify, cache or pack data sets").add_subparsers(
        title="commands", required=True, metavar="COMMAND"
    )
    cache_help = "where the decoded pictures go; default: the course's cache folder"
    known = data.add_parser("list", help="the data sets known by name")
    known.set_defaults(run=run_data_list)
    verify = data.add_parser(
        "verify", help="check every file of a data set; the exit status is 1 at any fault"
    )
    verify.add_argument("name", metavar="NAME", help=names)
    verify.add_argument("--root", metavar="DIR", help="where the data set was unpacked; default: download it")
    verify.set_defaults(run=run_data_verify)
    cache = data.add_parser(
        "cache",
        help="decode a data set once, onto the disk, so that training is fast and needs no memory for it",
        description="Decode a data set once, onto the disk. After an interruption, the same command goes on. "
        "Then load(NAME, cache=...) and train --cache read the decoded pictures.",
    )
    cache.add_argument("name", metavar="NAME", help=names)
    cache.add_argument("--root", metavar="DIR", help="where the data set was unpacked; default: download it")
    cache.add_argument("--folder", default="disk", metavar="DIR", help=cache_help)
    cache.add_argument("--check", action="store_true", help="read all of it, and mend what is damaged")
    cache.set_defaults(run=run_data_cache)
    pack = data.add_parser(
        "pack", help="for releases: write the checksums and the archive of the embedded data"
    )
    pack.add_argument("--out", default="dist", metavar="DIR", help="where the archive goes; default: dist")
    pack.set_defaults(run=run_data_pack)

    train = commands.add_parser(
        "train",
        help="train FaceNeSt on a data set and save a checkpoint",
        description="Train FaceNeSt and save a checkpoint. After an interruption, the same command goes on. "
        "On several GPUs: torchrun --nproc_per_node=2 -m course_lib train ... makes the same training.",
    )
    train.add_argument("--data", default="studio", metavar="NAME", help=f"{names}; default: studio")
    train.add_argument("--root", metavar="DIR", help="where the data set was unpacked; default: download it")
    train.add_argument(
        "--cache",
        nargs="?",
        const="disk",
        metavar="DIR",
        help="decode the pictures once, onto the disk, for sets that do not fit into memory; default place: "
        "the course's cache folder",
    )
    train.add_argument(
        "--run-dir", required=True, metavar="DIR", help="for the state, the history and the curves"
    )
    train.add_argument(
        "--out", metavar="DIR", help="the checkpoint folder to write; default: RUN_DIR/checkpoint"
    )
    train.add_argument("--epochs", type=positive, default=10, help="default 10")
    train.add_argument("--batch-size", type=positive, default=32, help="default 32")
    train.add_argument("--crop", type=positive, default=64, help="side of the training crops; default 64")
    train.add_argument("--lr", type=float, default=3e-3, help="highest learning rate; default 0.003")
    train.add_argument(
        "--augment", choices=("none", "light", "strong"), default="light", help="default light"
    )
    train.add_argument("--width", type=positive, help="channels of FaceNeSt's first scale; default: its own")
    train.add_argument("--patience", type=positive, help="stop after so many epochs without progress")
    train.add_argument(
        "--ema", type=float, default=0.0, help="decay of a moving average of the weights; default 0, off"
    )
    train.add_argument("--seed", type=int, default=0, help="default 0")
    train.add_argument("--device", help="cpu, cuda, mps; default: the best there is")
    train.add_argument(
        "--compile", action="store_true", help="compile the network first; pays in long runs only"
    )
    train.add_argument("--no-resume", action="store_true", help="throw away an earlier run in RUN_DIR")
    train.set_defaults(run=run_train)

    sheet = commands.add_parser(
        "progress",
        help="for teachers: which exercises pass in a folder of students' notebooks",
        description="Print which exercises pass in a folder of students' notebooks, a folder for each "
        "student. The verdicts are read from the stored outputs; nothing is run or sent anywhere. The exit "
        "status is 1 if a file could not be read.",
    )
    sheet.add_argument("folder", metavar="FOLDER", help="searched with all its subfolders")
    sheet.add_argument("--out", metavar="FILE", help="write a CSV table, too: a line for each exercise")
    sheet.add_argument(
        "--run",
        dest="again",
        action="store_true",
        help="run every notebook from a clean kernel instead: the students' code, on this computer",
    )
    sheet.add_argument(
        "--limit", type=positive, default=900, metavar="S", help="seconds for a notebook; default 900"
    )
    sheet.set_defaults(run=run_progress)
    return top


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def port(text: str) -> int:
    """A port number, 0 to 65535."""
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 65535")
    return int(text)


def probability(text: str) -> float:
    """A number from 0 to 1."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")


# ------------------------------------------------------------------------------------------------------ info
def add_detector_options(command: argparse.ArgumentParser) -> None:
    """Which detector, the same for every command that judges pictures one by one."""
    command.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="a checkpoint that came with the course, or a folder; default: 'faces' (trained on photographs) "
        "if it is there, else 'studio' (trained on the course's rendered faces)",
    )
    command.add_argument(
        "--threshold", type=probability, help="say fake from this P(fake) on; default: the checkpoint's own"
    )
    command.add_argument("--device", help="cpu, cuda, mps; default: the best there is")


def run_info(_: argparse.Namespace) -> int:
    """Print what a learner, or whoever helps one, needs to know about this set-up."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from .checkpoints import CARD, available_checkpoints, find_checkpoint, read_config
    from .embedded import data_folder
    from .training import pick_device

    def line(name: str, value: object) -> None:
        print(f"{name:14s} {value}")

    line("course_lib", __version__)
    line("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in (
        "torch",
        "torchvision",
        "numpy",
        "pandas",
        "scikit-learn",
        "pillow",
        "ipywidgets",
        "jupyterlab",
    ):
        try:
            line(package, version(package))
        except PackageNotFoundError:
            line(package, "not installed")
    device = pick_device()
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )
    line("device", f"{device} ({name})")
    try:
        folder = data_folder()
        line("data", folder)
        images = sum(1 for _ in (folder / "studio").glob("real_vs_fake/real-vs-fake/*/*/*.jpg"))
        line("studio", f"{images:,} images" if images else "not there")
    except CourseError as error:
        line("data", f"not found: {error}")
        return 1
    names = available_checkpoints()
    if not names:
        line("checkpoints", "none")
    for name in names:
        try:
            found = find_checkpoint(name)
            config = read_config(found)
            card = "with a model card" if (found / CARD).is_file() else "without a model card"
            line(
                "checkpoint", f"{name}: {config['architecture']}, threshold {config['threshold']:.3g}, {card}"
            )
        except CourseError as error:
            line("checkpoint", f"{name}: unusable, {error}")
    return 0


# --------------------------------------------------------------------------------------------------- predict
def run_predict(options: argparse.Namespace) -> int:
    """Judge files; a table or JSON on stdout."""
    with contextlib.redirect_stdout(sys.stderr):  # only the result may go to stdout
        detector = detector_for(options)
        scores, messages = detector(options.files, batch_size=options.batch_size, errors="collect")

    rows = [
        {
            "path": path,
            "p_fake": None if message else float(score),
            "label": None if message else detector.label(score),
            "error": message,
        }
        for path, score, message in zip(options.files, scores, messages, strict=True)
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows, detector.name, detector.threshold)
    return int(any(messages))


def detector_for(options: argparse.Namespace) -> "Detector":
    """The detector that --checkpoint, --device and --threshold ask for."""
    from .checkpoints import available_checkpoints
    from .predict import Detector

    checkpoint = options.checkpoint
    if checkpoint is None:
        here = available_checkpoints()
        checkpoint = next((name for name in PREFERRED if name in here), PREFERRED[-1])
    detector = Detector.load(checkpoint, device=options.device)
    if options.threshold is not None:
        detector.threshold = options.threshold
    return detector


def print_table(rows: list[dict], checkpoint: str, threshold: float) -> None:
    """A line for each picture; what could not be read goes to stderr as well as into the table."""
    from .images import printable

    width = max(4, *(len(printable(row["path"])) for row in rows))
    print(f"{'file':{width}s}  P(fake)  verdict")
    for row in rows:
        path = printable(row["path"])
        if row["error"]:
            print(f"{path:{width}s}        -  error")
        else:
            print(f"{path:{width}s}   {row['p_fake']:6.3f}  {row['label']}")
    print(f"Checkpoint {checkpoint!r}, fake from {threshold:.3g} on. A verdict is an estimate, not a proof.")
    sys.stdout.flush()
    for row in rows:
        if row["error"]:
            print(row["error"], file=sys.stderr)


# -------------------------------------------------------------------------------------------- score and serve
def run_score(options: argparse.Namespace) -> int:
    """Judge a folder; one line on stdout at the end. Status 1 if a picture could not be read."""
    from tqdm import tqdm

    from .score import parquet, score_folder

    parquet()  # better now than after the first thousand pictures
    with contextlib.redirect_stdout(sys.stderr):
        detector = detector_for(options)
        with tqdm(unit=" pictures", mininterval=1) as bar:

            def progress(safe: int) -> None:
                bar.initial = bar.initial or safe
                bar.update(safe - bar.n)

            found = score_folder(
                options.folder, options.out, detector, part_rows=options.part_rows, progress=progress
            )
    went_on = f" ({found.resumed:,} of them were there from before)" if found.resumed else ""
    print(f"{found.rows:,} pictures{went_on} judged by {detector.id}; written: {found.out}")
    if found.unreadable:
        print(f"{found.unreadable:,} could not be read; listed in {found.unreadable_list}", file=sys.stderr)
    return int(found.unreadable > 0)


def run_serve(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from .serve import Limits, serve

    limits = Limits(
        file_bytes=options.max_mb * 1_000_000,
        request_bytes=max(64, 2 * options.max_mb) * 1_000_000,
        at_once=options.at_once,
        seconds=options.timeout,
        batch=options.batch,
    )
    with contextlib.redirect_stdout(sys.stderr):
        detector = detector_for(options)
    serve(detector, options.host, options.port, limits)
    return 0


# ---------------------------------------------------------------------------------------------------- report
def run_report(options: argparse.Namespace) -> int:
    """Judge a detector, print the table and what it cannot say, write the files."""
    with contextlib.redirect_stdout(sys.stderr):
        from .data import load
        from .predict import Detector
        from .report import report

        sets = load(options.data, options.root)
        detector = Detector.load(options.checkpoint, device=options.device)
        rival = Detector.load(options.baseline, device=options.device) if options.baseline else None
        found = report(
            detector,
            sets,
            baseline=rival,
            n_bootstrap=options.draws,
            seed=options.seed,
            batch_size=options.batch_size,
        )
        folder = found.save(options.out)
    print(found)
    print(f"Written: report.json, report.png, table.csv and scores.csv in {folder}")
    return 0


# ------------------------------------------------------------------------------------------------------ data
def run_data_list(_: argparse.Namespace) -> int:
    """Print the catalogue."""
    from .catalogue import describe

    print(describe())
    return 0


def run_data_verify(options: argparse.Namespace) -> int:
    """Check a data set and print the report."""
    from .data import verify

    report = verify(options.name, options.root)
    print(report.text())
    return int(not report.ok)


def run_data_cache(options: argparse.Namespace) -> int:
    """Build or complete the decoded pictures of a data set, and perhaps check them."""
    from .data import load

    sets = load(options.name, options.root, cache=options.folder)
    print(sets.card)
    pixels = sets.train.pixels
    if options.check:
        mended = len(pixels.check())
        print(f"{len(pixels):,} decoded pictures checked, {mended:,} of them were damaged and are mended")
    print(pixels.folder)
    return 0


def run_data_pack(options: argparse.Namespace) -> int:
    """Checksums, archive, and the archive's own checksum into the library."""
    from .embedded import pack_embedded, pin_embedded, read_pin, write_sums

    write_sums()
    archive, digest = pack_embedded(options.out)
    pin_embedded(read_pin()[0], digest)
    print(f"{archive}  {archive.stat().st_size / 1e6:.1f} MB  sha256 {digest}")
    return 0


# ----------------------------------------------------------------------------------------------------- train
def run_train(options: argparse.Namespace) -> int:
    """Load, fit, choose a threshold on the validation set, judge on the test set, save.

    Of several processes, the first one alone downloads, prints, judges and saves."""
    import torch

    from .checkpoints import free_place
    from .data import load
    from .distributed import join_team, one_voice
    from .facenest import facenest
    from .training import fit, pick_device

    with join_team(pick_device(options.device)) as (team, _), one_voice(team):
        if options.out:
            team.only_first(lambda: free_place(options.out))  # better now than after the training
        loaded = []
        team.only_first(lambda: loaded.append(load(options.data, options.root, cache=options.cache)))
        sets = loaded[0] if loaded else load(options.data, options.root, cache=options.cache)
        if team.first:
            print(sets.card)
        torch.manual_seed(options.seed)
        result = fit(
            facenest(**({"width": options.width} if options.width else {})),
            sets.train,
            sets.valid,
            run_dir=options.run_dir,
            epochs=options.epochs,
            batch_size=options.batch_size,
            crop=options.crop,
            lr=options.lr,
            augment=None if options.augment == "none" else options.augment,
            seed=options.seed,
            patience=options.patience,
            ema=options.ema,
            device=options.device,
            compile=options.compile,
            resume=not options.no_resume,
        )
    if result.stopped == "interrupted":
        return 130
    return judge_and_save(result, sets, options) if team.first else 0


def judge_and_save(result: "FitResult", sets: "FaceSets", options: argparse.Namespace) -> int:
    """What follows a training: history, threshold, test scores, checkpoint."""
    from .checkpoints import read_config, save_checkpoint
    from .evaluation import choose_threshold, evaluate, predict_scores

    print(result.history.round(4).to_string(index=False))
    threshold = choose_threshold(sets.valid.labels, predict_scores(result.model, sets.valid))
    metrics = evaluate(result.model, sets.test, threshold=threshold)
    out = save_checkpoint(
        Path(options.out or Path(options.run_dir) / "checkpoint"),
        result.model,
        metrics={"test": metrics, "data": sets.name},
        training=read_config(result.checkpoint)["training"],
        threshold=threshold,
    )
    low, high = metrics["auc_interval"]
    print(
        f"Test AUC {metrics['auc']:.3f} ({low:.3f} to {high:.3f}), accuracy {metrics['accuracy']:.3f}; "
        f"saved in {out}"
    )
    return 0


# -------------------------------------------------------------------------------------------------- progress
def run_progress(options: argparse.Namespace) -> int:
    """Print the progress sheet; what could not be read goes to stderr. Status 1 if there is any of that."""
    from .progress import as_text, progress, write_csv

    found = progress(options.folder, run=options.again, limit=options.limit)
    print(as_text(found))
    if options.out:
        print(f"\nWritten: {write_csv(found, options.out)}")
    sys.stdout.flush()
    for sentence in found.unreadable:
        print(sentence, file=sys.stderr)
    return int(bool(found.unreadable))


if __name__ == "__main__":
    sys.exit(main())

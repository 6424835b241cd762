"""Checkpoints: a folder with the weights, and beside them everything needed to use the weights rightly.

``model.safetensors``
    The weights and nothing else. Unlike a pickle (``.pt``, ``.pth``, ``.bin``), opening it cannot run
    anybody's code.
``config.json``
    ``{"format": 1, "architecture": "facenest", "model": {...}, "class_names": ["real", "fake"],
    "preprocessing": {...}, "threshold": 0.5, "temperature": 1.0, "metrics": {...}, "training": {...}}``
``card.md``
    The model card, written by people: what it saw, what it scores and on what, what it must not be used for.

The preprocessing belongs to the weights: a service of the published FaceNeSt prepared its images in another
way than its evaluation had, and mixed up the classes too. Here nobody has to remember either.
"""

import glob
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .errors import CheckpointError, CourseError
from .transforms import MEAN, STD, centre_square, grid_crops, normalise, resize_down

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.md"
FORMAT = 1
DTYPES = (None, "float16", "bfloat16", "float32")  # of weights in a file; loaded, they are float32
CLASS_NAMES = ("real", "fake")
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
MIN_SIDE = 32
LARGEST_WHOLE = 1024
LARGEST_DEPTH = 1_000  # blocks of a network from a file; the course's have fewer than ten
ALWAYS_BUILT = 10_000_000  # numbers; a network with more must have as many bytes of weights in its file


# --------------------------------------------------------------------------------------------- preprocessing
@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes what the network sees. Saved with the weights; nobody else decides it.

    side: take the largest centred square and scale it *down* to this many pixels if it is larger
        (antialiased); a smaller one stays as it is, for enlarging adds nothing. None: the whole image as it
        is, square or not.
    crop: judge windows of this many pixels at the image's own resolution; 0 judges the whole.
    crops: how many windows; their *logits* are averaged.
    mean, std: pixel values 0..1 become ``(x - mean) / std``.
    """

    side: int | None = None
    crop: int = 0
    crops: int = 1
    mean: float = MEAN
    std: float = STD

    def __post_init__(self) -> None:
        def whole(value: Any, least: int) -> bool:
            return isinstance(value, int) and not isinstance(value, bool) and value >= least

        def number(value: Any) -> bool:
            return (
                isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300
            )  # no NaN

        if self.side is not None and not whole(self.side, MIN_SIDE):
            raise CheckpointError(
                f"preprocessing: side={shown(self.side)} must be None or a whole number from {MIN_SIDE} up"
            )
        if self.crop != 0 and not whole(self.crop, MIN_SIDE) or isinstance(self.crop, bool):
            raise CheckpointError(
                f"preprocessing: crop={shown(self.crop)} must be 0 or a whole number from {MIN_SIDE} up"
            )
        if not whole(self.crops, 1):
            raise CheckpointError(
                f"preprocessing: crops={shown(self.crops)} must be a whole number from 1 up"
            )
        if not number(self.mean) or not number(self.std) or self.std <= 0:
            raise CheckpointError(
                f"preprocessing: mean={shown(self.mean)} and std={shown(self.std)} must be numbers, "
                "std above 0"
            )

    def views(self, image: torch.Tensor) -> torch.Tensor:
        """The windows of one uint8 image 3 x H x W that the network is to judge: uint8, views x 3 x h x w."""
        if self.side is not None:
            image = resize_down(centre_square(image), self.side)
        if self.crop:
            return torch.stack(grid_crops(image, self.crop, self.crops))
        # No picture, however large, may need more memory than there is; nor is it resized: its middle is
        # judged.
        height, width = (min(n, LARGEST_WHOLE) for n in image.shape[-2:])
        top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
        return image[None, :, top : top + height, left : left + width].contiguous()

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """A uint8 batch to the floats the network takes."""
        return normalise(images, self.mean, self.std)


# --------------------------------------------------------------------------------------------- architectures
def _facenest(config: dict[str, Any]) -> nn.Module:
    from .facenest import FaceNeStConfig, facenest

    if (blocks := sum(FaceNeStConfig(**config).depths)) > LARGEST_DEPTH:
        raise CheckpointError(f"depths of {blocks:,} blocks; at most {LARGEST_DEPTH:,} are built")
    return facenest(**config)


ARCHITECTURES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {"facenest": _facenest}
"""Name in config.json -> a function that builds the network from config.json's "model". Add your own to load
it."""


def architecture_of(model: nn.Module) -> str:
    """The name under which a model is saved: its attribute `architecture`, or its class's name in lower
    case."""
    return str(getattr(model, "architecture", None) or type(model).__name__.lower())


def config_of(model: nn.Module) -> dict[str, Any]:
    """What the builder needs to make this model again, fit for JSON; {} for a model of your own."""
    config = getattr(model, "config", None)
    if config is None:
        return {}
    if hasattr(config, "to_dict"):
        return config.to_dict()
    return json.loads(json.dumps(dict(config) if isinstance(config, Mapping) else asdict(config)))


# ---------------------------------------------------------------------------------------------------- saving
def save_checkpoint(
    folder: str | Path,
    model: nn.Module,
    *,
    preprocessing: Preprocessing | None = None,
    metrics: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    threshold: float = 0.5,
    temperature: float = 1.0,
    dtype: str | None = None,
    card: str | None = None,
) -> Path:
    """Write a model as a checkpoint folder; returns the folder.

    All or nothing: it is written beside, then renamed, so a full disk or a pulled plug leaves the old one as
    it was. Raises `CheckpointError`, above all for a folder that holds anything but a checkpoint.

    dtype: ``"float16"`` halves the file; the weights are float32 again when loaded (rounded to 11 bits).
    metrics, training: anything JSON can hold; NaN is written as null.
    card: the text of card.md; None keeps the card that is there.
    """
    from safetensors.torch import save

    folder = free_place(folder)
    if not isinstance(model, nn.Module):
        raise CheckpointError(f"the model to save must be a network, not a {type(model).__name__}")
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype={dtype!r} must be one of {DTYPES}")
    for name, value, right in (
        ("threshold", threshold, lambda v: 0 <= v <= 1),
        ("temperature", temperature, lambda v: 0 < v < 1e300),
    ):
        if not isinstance(value, Real) or not right(value):
            raise CheckpointError(f"{name}={value!r} is none: no checkpoint with it could be loaded again")
    weights = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(getattr(torch, dtype))
        weights[name] = tensor.clone()
    config = {
        "format": FORMAT,
        "architecture": architecture_of(model),
        "model": config_of(model),
        "class_names": list(CLASS_NAMES),
        "preprocessing": asdict(preprocessing or Preprocessing()),
        "threshold": float(threshold),
        "temperature": float(temperature),
        "metrics": plain(metrics or {}),
        "training": plain(training or {}),
    }
    files = {
        WEIGHTS: save(weights, metadata={"format": "pt"}),
        CONFIG: (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(),
    }
    if card is None and (folder / CARD).is_file():
        files[CARD] = (folder / CARD).read_bytes()
    elif card is not None:
        files[CARD] = card.encode()
    replace_folder(folder, files)
    return folder


def free_place(folder: str | Path) -> Path:
    """`folder` as a path, if a checkpoint may be written there: it holds nothing but an older checkpoint.

    Hidden files do not count. A ``config.json`` alone makes no checkpoint: many programs have one.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise CheckpointError(f"the folder to save into must be a path, not a {type(folder).__name__}")
    folder = Path(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(f"{folder}: this is a file; choose another name for the folder")
        inside = [p for p in folder.iterdir() if not p.name.startswith(".")] if folder.exists() else []
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be used ({reason(error)}); choose another folder") from None
    if not all(p.is_file() and p.name in (WEIGHTS, CONFIG, CARD) for p in inside):
        raise CheckpointError(
            f"{folder}: it holds other things than a checkpoint, and would be replaced; choose another folder"
        )
    return folder


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` hold exactly these files, written beside it first and then renamed into place."""
    mark = uuid.uuid4().hex[:8]
    fresh, old = (
        folder.with_name(f".{folder.name}.new-{mark}"),
        folder.with_name(f".{folder.name}.old-{mark}"),
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
        for name, content in files.items():
            with open(fresh / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        raise CheckpointError(
            f"{folder}: the checkpoint could not be written ({reason(error)}); what was there before is "
            "untouched: "
            "free some space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if folder.exists():
            for aside in put_aside(folder):
                shutil.rmtree(aside, ignore_errors=True)


def put_aside(folder: Path) -> list[Path]:
    """Where `replace_folder` has put the checkpoint that was in this folder. Between its two renames, and if
    the process was killed there, that is the only one."""
    return sorted(folder.parent.glob(f".{glob.escape(folder.name)}.old-*"))


def write_file(path: Path, content: bytes) -> None:
    """Write a file all or nothing: under another name first, then renamed. Raises `CheckpointError`."""
    fresh = path.with_name(f".{path.name}.new-{uuid.uuid4().hex[:8]}")
    try:
        with open(fresh, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: could not be written ({reason(error)}); what was there before is untouched: "
            "free some space or choose another folder"
        ) from error
    finally:
        if fresh.exists():  # a read-only disk also refuses to delete what is not there
            fresh.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """What the operating system says, in its words: "No space left on device"."""
    return error.strerror or str(error) or type(error).__name__


def plain(value: Any) -> Any:
    """A copy that JSON can hold: NumPy numbers, arrays, paths and tuples made plain, NaN made None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, tensors
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


# --------------------------------------------------------------------------------------------------- loading
@dataclass
class Checkpoint:
    """A checkpoint in memory. `model` is on the CPU, float32, in evaluation mode."""

    name: str
    folder: Path
    model: nn.Module
    preprocessing: Preprocessing
    threshold: float
    temperature: float
    card: str
    config: dict[str, Any]
    class_names: tuple[str, str] = CLASS_NAMES


def available_checkpoints() -> list[str]:
    """Names of the checkpoints in the course's data folder, sorted. Raises `CourseError` if it cannot be
    had."""
    from .embedded import data_folder

    return sorted(path.parent.name for path in (data_folder() / "checkpoints").glob(f"*/{CONFIG}"))


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The folder of a checkpoint, by the name of one in the course's data folder or by path."""
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise CheckpointError(
            f"give a checkpoint's name or its folder's path, not a {type(name_or_path).__name__}"
        )
    path = Path(name_or_path).expanduser()
    if path.suffix.lower() in PICKLES:
        raise CheckpointError(
            f"{path}: a {path.suffix} file is a pickle, which can run anybody's code when it is opened, so "
            "it is "
            f"refused; give a folder with {WEIGHTS} and {CONFIG} instead"
        )
    if path.name in (WEIGHTS, CONFIG) and path.is_file():
        path = path.parent
    is_name = isinstance(name_or_path, str) and path.name == name_or_path
    # A name is looked up unless a checkpoint folder of that name is right here; data/studio, for one, is
    # none.
    if path.is_dir() and not (is_name and not (path / CONFIG).is_file()):
        return path
    if not path.exists() and (aside := put_aside(path)):
        return aside[0]
    if not is_name:
        raise CheckpointError(f"{path}: there is no such checkpoint folder; check the path")
    names = available_checkpoints()
    if name_or_path not in names and path.is_dir():
        return path  # reading it will say what it lacks
    if name_or_path in names:
        from .embedded import checkpoint_folder

        return checkpoint_folder(name_or_path)
    listed = f"those here are {', '.join(names)}" if names else "none came with the course's data yet"
    raise CheckpointError(
        f"There is no checkpoint named {str(name_or_path)!r}; {listed}, or give the path of a checkpoint "
        "folder"
    )


def load_checkpoint(name_or_path: str | Path, *, model: nn.Module | None = None) -> Checkpoint:
    """Load a checkpoint by name (``"studio"``) or folder.

    model: a network of your own to put the weights into, for an architecture that is not in `ARCHITECTURES`.

    Raises `CheckpointError` with one sentence for anything wrong with it: missing, damaged, a pickle, of
    another architecture, other shapes.
    """
    folder = find_checkpoint(name_or_path)
    config = read_config(folder)
    if model is None:
        model = build_model(folder, config)
    load_weights(folder / WEIGHTS, model)
    return Checkpoint(
        name=re.sub(r"^\.(.+)\.old-[0-9a-f]{8}$", r"\1", folder.resolve().name),
        folder=folder,
        model=model.float().eval(),
        preprocessing=read_preprocessing(folder / CONFIG, config["preprocessing"]),
        threshold=float(config["threshold"]),
        temperature=float(config["temperature"]),
        card=read_card(folder),
        config=config,
    )


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a checkpoint, its values checked."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in PICKLES)
        hint = (
            f"; its {pickles[0]} is a pickle, which can run code when opened and is refused"
            if pickles
            else ""
        )
        raise CheckpointError(f"{folder}: not a checkpoint, for it has no {CONFIG}{hint}") from None
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not valid JSON ({error}); save or download the checkpoint again"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({reason(error)}); check the file and its rights"
        ) from error

    def demand(right: bool, what: str) -> None:
        if not right:
            raise CheckpointError(f"{path}: {what}; save or download the checkpoint again")

    def number(value: Any) -> bool:
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300
        )  # no NaN

    demand(isinstance(config, dict), "it must hold a JSON object")
    demand("format" in config, 'it has no "format", so it was not written by this course')
    if config["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {shown(config['format'])} is not the one known here, {FORMAT}; "
            "update course_lib"
        )
    demand(isinstance(config.get("architecture"), str), '"architecture" must be a text')
    demand(isinstance(config.get("model"), dict), '"model" must be an object')
    demand(isinstance(config.get("preprocessing"), dict), '"preprocessing" must be an object')
    names = list(CLASS_NAMES)
    demand(
        config.get("class_names") == names,
        f"'class_names' must be {names} in this order, for a score is P(fake), and they are "
        f"{shown(config.get('class_names'))}",
    )
    for key, default in (("threshold", 0.5), ("temperature", 1.0)):
        config.setdefault(key, default)
    threshold, temperature = config["threshold"], config["temperature"]
    demand(
        number(threshold) and 0 <= threshold <= 1, f'"threshold" must lie in 0..1 and is {shown(threshold)}'
    )
    demand(
        number(temperature) and temperature > 0, f'"temperature" must be above 0 and is {shown(temperature)}'
    )
    for key in ("metrics", "training"):
        demand(isinstance(config.setdefault(key, {}), dict), f'"{key}" must be an object')
    return config


def read_preprocessing(path: Path, values: dict[str, Any]) -> Preprocessing:
    """The preprocessing in config.json; an unknown setting is refused: ignoring it would change the
    scores."""
    known = {field.name for field in fields(Preprocessing)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise CheckpointError(f"{path}: unknown preprocessing {', '.join(unknown)[:200]}; update course_lib")
    try:
        return replace(Preprocessing(), **values)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def build_model(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The network that config.json describes, with random weights."""
    name = config["architecture"]
    if name not in ARCHITECTURES:
        raise CheckpointError(
            f"{folder / CONFIG}: its architecture is {shown(name)}, and this course can build "
            f"{', '.join(ARCHITECTURES)}; "
            "for a network of your own call load_checkpoint(folder, model=your_network)"
        )
    try:
        with torch.device("meta"):  # the shapes alone: a line of config.json may ask for any amount of memory
            shapes = ARCHITECTURES[name](config["model"]).state_dict().values()
        needed, path = sum(tensor.numel() for tensor in shapes), folder / WEIGHTS
        if needed > max(ALWAYS_BUILT, path.stat().st_size if path.exists() else 0):
            raise CheckpointError(f"it would have {needed:,} numbers, and {WEIGHTS} is too small for them")
        return ARCHITECTURES[name](config["model"])
    except (CourseError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"{folder / CONFIG}: its settings do not make a {name} network ({one_line(error)})"
        ) from error


def load_weights(path: Path, model: nn.Module) -> None:
    """Put the weights of a safetensors file into a model: every name and shape must agree."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        pickles = sorted(p.name for p in path.parent.iterdir() if p.suffix.lower() in PICKLES)
        hint = (
            f"; its {pickles[0]} is a pickle, which can run code when opened and is refused"
            if pickles
            else ""
        )
        raise CheckpointError(f"{path.parent}: not a checkpoint, for it has no {WEIGHTS}{hint}") from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({reason(error)}); check the file and its rights"
        ) from error
    # A protocol-2 pickle starts with 0x80, torch's own files are zip archives.
    if content[:2] == b"PK" or content[:1] == b"\x80" and content[8:9] != b"{":
        raise CheckpointError(
            f"{path}: a pickle under another name, which can run anybody's code when it is opened, so it is "
            "refused; "
            "get the checkpoint as safetensors"
        )
    try:
        weights = load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: damaged or not a safetensors file ({one_line(error)}); save or download the "
            "checkpoint again"
        ) from error
    expected = model.state_dict()
    missing, extra = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if missing or extra:
        lists = (("missing", missing), ("too many", extra))
        parts = [f"{some_of(names)} {word}" for word, names in lists if names]
        raise CheckpointError(
            f"{path}: the weights are of another network than {CONFIG} describes ({', '.join(parts)})"
        )
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: the weights are of another network than {CONFIG} describes ({name} is "
                f"{list(tensor.shape)} and should be {list(expected[name].shape)})"
            )
        if tensor.is_floating_point() != expected[name].is_floating_point():
            raise CheckpointError(f"{path}: {name} is {tensor.dtype} and should be {expected[name].dtype}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinite numbers; the training had diverged")
    model.load_state_dict(weights)


def read_card(folder: Path) -> str:
    """The model card, or an empty text."""
    try:
        return (folder / CARD).read_text(encoding="utf-8", errors="replace")
    except OSError:  # a card is for people; weights without one still work
        return ""


def one_line(error: BaseException) -> str:
    """An error's text on one line, cut to a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def shown(value: Any) -> str:
    """A value that somebody else wrote into a file, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 100 else text[:99] + "…"


def some_of(names: list[str]) -> str:
    """``"stem.weight and 3 more"``."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")

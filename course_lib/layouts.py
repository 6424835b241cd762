"""Read what lies on disk: folders named by split and class, held against the CSV files beside them.

Two layouts are known. "splits": ``train|valid|test / real|fake / file`` with, perhaps, ``train.csv`` and so
on (columns ``id,label,label_str,path``). "pool": ``real|fake / file`` with, perhaps, ``data.csv`` (columns
``images_id,label``).

A label is a *name*. The numbers in such files disagree from set to set (in rvsf real is 1, in torchvision's
alphabetical order too), so they are only checked for agreeing among themselves, never used.
"""

from __future__ import annotations

import contextlib
import csv
import gc
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .errors import DataError
from .images import printable

CLASS_NAMES = ("real", "fake")  # y is the position in this tuple: 1 = fake
SPLITS = ("train", "valid", "test")
_SPLIT_ALIASES = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
_IGNORED = {"thumbs.db", "desktop.ini"}


class Item(NamedTuple):
    """One image. `key` is what messages call it (``train/real/7.jpg``); `label` is 1 for fake."""

    path: str
    key: str
    label: int
    split: str | None


@dataclass
class Listing:
    """What a folder holds: the sound items, one "path: reason" for each problem, and remarks."""

    base: Path
    items: list[Item]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def splits(self) -> list[str]:
        present = {item.split for item in self.items}
        return [s for s in SPLITS if s in present]


@contextlib.contextmanager
def collector(on: bool) -> Iterator[None]:
    """Garbage collection off or on meanwhile. Off while a data set is listed: each collection would look
    through all of its 140,000 items, which are no garbage."""
    before = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if before else gc.disable)()


# --- finding the place ------------------------------------------------------------------------------------


def _is_folder(entry: os.DirEntry) -> bool:
    """Whether this is a folder or a link to one; a link that points back at itself is neither."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _two_for_one(folder: Path, first: Path, second: Path) -> DataError:
    return DataError(
        f"{folder} has two folders for the same, {first.name} and {second.name}; put their images into one"
    )


def _folders(folder: Path) -> dict[str, Path]:
    """Visible sub-folders by lower-case name, in a fixed order."""
    try:
        with os.scandir(folder) as entries:
            found = [e.name for e in entries if not e.name.startswith((".", "__MACOSX")) and _is_folder(e)]
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{folder} cannot be read ({reason}); check the path and its permissions") from None
    by_name: dict[str, Path] = {}
    for path in (folder / name for name in sorted(found)):
        first = by_name.setdefault(name := path.name.lower(), path)
        if first is not path and (name in CLASS_NAMES or name in _SPLIT_ALIASES):
            raise _two_for_one(folder, first, path)
    return by_name


def _split_folders(folder: Path) -> dict[str, Path]:
    """split -> folder, for those sub-folders that are named like a split and hold a class."""
    found: dict[str, Path] = {}
    for name, path in _folders(folder).items():
        if name in _SPLIT_ALIASES and set(CLASS_NAMES) & _folders(path).keys():
            first = found.setdefault(_SPLIT_ALIASES[name], path)
            if first is not path:
                raise _two_for_one(folder, first, path)
    return found


def _layout(folder: Path) -> str | None:
    if set(CLASS_NAMES) <= _folders(folder).keys():
        return "pool"
    return "splits" if _split_folders(folder) else None


def find_base(root: Path, depth: int = 4) -> tuple[Path, str]:
    """The folder at or below `root` that directly holds the splits or the classes, and its layout.

    Archives like to wrap their data in a folder or two, so the nearest match within `depth` levels counts.
    """
    if root.is_file():
        packed = root.suffix.lower() in (".zip", ".tar", ".gz", ".7z", ".rar")
        what = "an archive; unpack it and give" if packed else "a file; give"
        raise DataError(f"{root} is {what} the folder that holds the images")
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; check the path")
    level, seen = [root], 0
    for _ in range(depth + 1):
        found = [(folder, layout) for folder in level if (layout := _layout(folder))]
        named = [f for f in found if f[0].name == "real-vs-fake"]
        if len(named or found) == 1:
            return (named or found)[0]
        if found:
            names = ", ".join(str(f.relative_to(root)) for f, _ in found[:5])
            raise DataError(f"{root} holds several data sets ({names}); give the folder of one of them")
        seen += len(level)
        level = [sub for f in level for n, sub in _folders(f).items() if n not in CLASS_NAMES]
        if not level or seen > 5_000:
            break
    raise DataError(_what_is_wrong(root))


def _what_is_wrong(root: Path) -> str:
    names = _folders(root)
    wanted = "needed are folders real and fake, or train, valid and test with those two inside"
    only = [c for c in CLASS_NAMES if c in names]
    if only:
        missing = CLASS_NAMES[1 - CLASS_NAMES.index(only[0])]
        return f"{root} has a folder {only[0]} but no folder {missing}; both classes are needed to learn from"
    if names:
        shown = ", ".join(printable(path.name) for path in list(names.values())[:6])
        return f"{root} holds the folders {shown}{', …' if len(names) > 6 else ''}; {wanted}"
    return f"{root} holds no folders; {wanted}"


# --- reading the folders ----------------------------------------------------------------------------------


def _files(folder: Path, label: int, split: str | None, problems: list[str]) -> Iterator[Item]:
    """Every visible file directly in `folder`, whose path is absolute."""
    prefix = CLASS_NAMES[label] if split is None else f"{split}/{CLASS_NAMES[label]}"
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.name.startswith(".") or entry.name.lower() in _IGNORED:
                continue
            if _is_folder(entry):
                problems.append(f"{prefix}/{printable(entry.name)}: a folder among the images")
            else:
                yield Item(entry.path, f"{prefix}/{entry.name}", label, split)


def read_folders(base: Path, layout: str) -> tuple[dict[str, Item], list[str]]:
    """All images by key, and the problems met. A class folder missing in one split is an error."""
    problems: list[str] = []
    items: dict[str, Item] = {}
    base = base.absolute()
    places = {None: base} if layout == "pool" else _split_folders(base)
    for split, place in places.items():
        folders = _folders(place)
        for label, name in enumerate(CLASS_NAMES):
            if name not in folders:
                raise DataError(_what_is_wrong(place))
            before = len(items)
            items.update((item.key, item) for item in _files(folders[name], label, split, problems))
            if len(items) == before:
                raise DataError(f"{folders[name]} holds no images; both classes are needed to learn from")
    return items, problems


def read_listing(root: Path, layout: str | None = None, above: int = 0) -> Listing:
    """Find and read the data set at or below `root`.

    layout: what it must be ("splits" or "pool"); None for either.
    above: CSV files are looked for from the images' folder up to `root`, or this many folders up if that is
        higher (those of rvsf lie two folders above its splits).
    """
    base, found = find_base(root)
    if layout and layout != found:
        need = {"splits": "train, valid and test", "pool": "real and fake side by side"}[layout]
        raise DataError(
            f"{base} is laid out otherwise than this set, which has folders {need}; give its own folder"
        )
    items, problems = read_folders(base, found)
    listing = Listing(base, [], problems)
    places = [base, *base.absolute().parents]
    between = len(base.absolute().relative_to(root.absolute()).parts)
    for folder in places[: max(between, above) + 1]:
        if found == "splits" and any((folder / f"{s}.csv").is_file() for s in SPLITS):
            _check_split_csvs(folder, items, listing)
            break
        if found == "pool" and (folder / "data.csv").is_file():
            _check_pool_csv(folder / "data.csv", items, listing)
            break
    else:
        listing.notes.append("no CSV files beside it: labels come from the folders' names alone")
    listing.items = list(items.values())
    return listing


# --- CSV against folders -----------------------------------------------------------------------------------


def read_rows(
    path: Path, columns: tuple[str, ...], only: tuple[str, ...] | None = None
) -> Iterator[dict[str, str]]:
    """The rows of a CSV file that must have these columns; `only`: leave out all columns but these."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)  # csv.DictReader takes twice as long, which shows with 140,000 rows
            have = next(reader, [])
            if not set(columns) <= set(have):
                raise DataError(
                    f"{path.name} in {path.parent} has the columns {printable(', '.join(have)) or 'none'}; "
                    f"needed are {', '.join(columns)}"
                )
            wanted = [(name, i) for i, name in enumerate(have) if only is None or name in only]
            for row in reader:
                if row:
                    row += [""] * (len(have) - len(row))
                    yield {name: row[i].strip() for name, i in wanted}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV file ({error}); get the data set again") from error


def _key(text: str) -> str | None:
    """``Train/REAL/7.jpg`` -> ``train/real/7.jpg``; None if it is not split/class/file."""
    parts = text.replace("\\", "/").split("/")
    if len(parts) != 3 or parts[2] in ("", ".", ".."):
        return None
    split, name = _SPLIT_ALIASES.get(parts[0].lower()), parts[1].lower()
    return f"{split}/{name}/{parts[2]}" if split and name in CLASS_NAMES else None


def _check_split_csvs(folder: Path, items: dict[str, Item], listing: Listing) -> None:
    """Hold ``train.csv`` and its sisters against the folders; what is faulty leaves `items`."""
    problems, bad, claimed = listing.problems, set(), set()
    rows_by_number: dict[tuple[str, str], list[tuple[str, str, int]]] = defaultdict(list)
    first_split: dict[str, dict[str, str]] = {name: {} for name in CLASS_NAMES}  # of each id
    present = {item.split for item in items.values()}
    for split in SPLITS:
        table = folder / f"{split}.csv"
        if not table.is_file():
            if split not in present:
                continue
            problems.append(f"{table.name}: missing, though the other splits have theirs")
            claimed |= {key for key, item in items.items() if item.split == split}
            continue
        columns = ("path", "label_str", "id", "label")
        for line, row in enumerate(read_rows(table, ("path",), columns), start=2):
            path, reason = row["path"], None
            key = path if path in items else _key(path)  # nearly all are there as they stand
            if key is None:
                shown = printable(path) or "(no path)"
                problems.append(f"{shown}: {table.name} line {line} does not name split/class/file")
                continue
            if key in claimed:
                problems.append(f"{key}: listed twice, again in {table.name} line {line}")
                continue
            claimed.add(key)
            item = items.get(key)
            if item is None:
                problems.append(f"{key}: listed in {table.name} line {line}, but the file is missing")
                continue
            name = CLASS_NAMES[item.label]
            label, ident, number = row.get("label_str", name).lower(), row.get("id"), row.get("label")
            if item.split != split:
                reason = f"listed in {table.name} line {line}, but it lies in {item.split}"
            elif label not in CLASS_NAMES:
                reason = f"{table.name} line {line} calls it {printable(label)!r}, neither real nor fake"
            elif label != name:
                reason = f"{table.name} line {line} calls it {label}, but it lies in a folder {name}"
            elif ident and (twin := first_split[name].setdefault(ident, split)) != split:
                shown = printable(ident)
                reason = f"{table.name} line {line} gives it the id {shown}, which {twin}.csv has too"
            if reason:
                problems.append(f"{key}: {reason}")
                bad.add(key)
            elif number:
                rows_by_number[name, number].append((key, split, line))
    usual: dict[str, str] = {}  # what the column label says of most real ones, and of most fake ones
    for name, number in sorted(rows_by_number, key=lambda of: -len(rows_by_number[of])):
        usual.setdefault(name, number)
    if len(usual) == 2 and len(set(usual.values())) == 1:
        problems.append(f"{folder.name}: the column label has the same number for real and for fake")
    for (name, number), rows in rows_by_number.items():
        if number != usual[name]:
            for key, split, line in rows:
                words = f"the label {printable(number)}, but other {name} rows have {usual[name]}"
                problems.append(f"{key}: {split}.csv line {line} has {words}")
                bad.add(key)
    _drop(items, bad, claimed, "the CSV files", problems)


def _check_pool_csv(table: Path, items: dict[str, Item], listing: Listing) -> None:
    """Hold ``data.csv`` (``images_id,label``) against the folders real and fake."""
    problems, bad, claimed = listing.problems, set(), set()
    by_id: dict[str, str] = {}
    for key in items:  # "real/real_1.jpg" answers to real/real_1.jpg and to real/real_1
        by_id.setdefault(key, key)
        by_id.setdefault(key.rpartition(".")[0] or key, key)
    for line, row in enumerate(read_rows(table, ("images_id", "label")), start=2):
        where, ident, label = f"{table.name} line {line}", row["images_id"], row["label"].lower()
        shown = printable(ident) or "(no id)"
        if label not in CLASS_NAMES:
            problems.append(f"{shown}: {where} calls it {printable(label)!r}, neither real nor fake")
            bad |= {by_id[f"{c}/{ident}"] for c in CLASS_NAMES if f"{c}/{ident}" in by_id}
            continue
        other = CLASS_NAMES[1 - CLASS_NAMES.index(label)]
        key, elsewhere = by_id.get(f"{label}/{ident}"), by_id.get(f"{other}/{ident}")
        if key in claimed and key is not None:
            problems.append(f"{key}: listed twice, again in {where}")
        elif key is not None:
            claimed.add(key)
        elif elsewhere is not None:
            problems.append(f"{elsewhere}: {where} calls it {label}, but it lies in the folder {other}")
            bad.add(elsewhere)
        else:
            problems.append(f"{label}/{shown}: listed in {where}, but the file is missing")
    _drop(items, bad, claimed, table.name, problems)


def _drop(items: dict[str, Item], bad: set[str], claimed: set[str], tables: str, problems: list[str]) -> None:
    """Take faulty items out of `items`, and those no row claimed, with a problem each for the latter."""
    for key in [key for key in items if key not in claimed and key not in bad]:
        problems.append(f"{printable(key, 200)}: an extra file, not listed in {tables}")
        del items[key]
    for key in bad:
        items.pop(key, None)

"""What is said about a picture: the verdict in words, what the number is worth, and the results as a table.

Plain functions from numbers to text, for the uploader of lesson 16 (`widgets`) and for anything else that
shows verdicts. Nothing here draws, and nothing here is HTML: whoever puts these words on a page escapes them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SMALL_SIDE = 64  # a picture with a side below this has little evidence left
HEAVY_JPEG = 50  # below this JPEG quality a note is due; a model's own metrics may name another bound


def percent(probability: float) -> str:
    """A probability in [0, 1] as ``"98.8 %"``; never "100.0 %" nor "0.0 %", for no detector is that sure."""
    if probability >= 0.9995:
        return "> 99.9 %"
    if probability < 0.0005:
        return "< 0.1 %"
    return f"{100 * probability:.1f} %"


def verdict_text(p_fake: float, threshold: float = 0.5) -> str:
    """The verdict and the probability *of that verdict*: ``"FAKE 98.8 %"`` or ``"REAL 97.1 %"``.

    A picture is called fake when P(fake) ≥ `threshold`; the number is P(fake) for FAKE, 1 − P(fake) for REAL.
    Raises ValueError unless both lie in [0, 1].
    """
    for label, number in (("P(fake)", p_fake), ("the threshold", threshold)):
        if not 0 <= number <= 1:  # refuses NaN too
            raise ValueError(f"{label} must lie between 0 and 1, not {number}")
    return f"FAKE {percent(p_fake)}" if p_fake >= threshold else f"REAL {percent(1 - p_fake)}"


@dataclass(frozen=True)
class Result:
    """One verdict on a picture or on a face in it; `p_fake` is None where `error` says in a sentence why.

    part: "" for the whole picture, else for example "face 1 of 3". box: where that face is, in pixels of the
    upright picture: left, top, right, bottom. width, height: of what was judged. quality: about the quality
    with which a JPEG was saved (1 to 100), else None. time: when it was judged, ISO 8601, UTC.
    """

    name: str
    model: str
    p_fake: float | None = None
    threshold: float = 0.5
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    note: str = ""
    error: str = ""
    part: str = ""
    box: tuple[int, int, int, int] | None = None
    quality: int | None = None
    time: str = ""

    @property
    def label(self) -> str:
        """``"fake"``, ``"real"`` or ``"error"``."""
        if self.p_fake is None:
            return "error"
        return "fake" if self.p_fake >= self.threshold else "real"

    @property
    def verdict(self) -> str:
        """``"FAKE 98.8 %"``, ``"REAL 97.1 %"`` or ``"not judged"``."""
        return "not judged" if self.p_fake is None else verdict_text(self.p_fake, self.threshold)


# ------------------------------------------------------------------------------------------------------------
# What a verdict is worth


def share(value: Any) -> float | None:
    """`value` if it is a number in [0, 1], else None: a checkpoint's metrics may hold anything JSON can."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        return None
    return float(value)


def error_rates(config: Mapping[str, Any], threshold: float) -> tuple[float, float, int] | None:
    """(share of real pictures called fake, share of fakes called real, test pictures) at the threshold.

    From ``config["metrics"]["test"]`` of a checkpoint: ``fpr`` with ``fnr`` or ``tpr``, counted at this
    threshold. None where they are not there, or were counted at another threshold.
    """
    metrics = config.get("metrics") if isinstance(config, Mapping) else None
    test = metrics.get("test") if isinstance(metrics, Mapping) else None
    if not isinstance(test, Mapping):
        return None
    at = share(test.get("threshold"))
    if at is None or abs(at - threshold) > 0.005:
        return None
    false_alarms, missed, found = (share(test.get(key)) for key in ("fpr", "fnr", "tpr"))
    if missed is None and found is not None:
        missed = 1 - found
    if false_alarms is None and missed is None and share(test.get("accuracy")) == 1.0:
        false_alarms = missed = 0.0  # right on every picture: neither kind of error was made
    if false_alarms is None or missed is None:
        return None
    n = test.get("n")
    return false_alarms, missed, n if isinstance(n, int) and not isinstance(n, bool) and n > 0 else 0


def error_rates_text(config: Mapping[str, Any], threshold: float) -> str:
    """One or two sentences: how often the model is wrong at its threshold, on test pictures, as far as known.

    ``"At its threshold of 51 %, of 600 test pictures it called …"``
    """
    at = f"At its threshold of {100 * threshold:.0f} %"
    rates = error_rates(config, threshold)
    if rates is None:
        metrics = config.get("metrics") if isinstance(config, Mapping) else None
        test = metrics.get("test") if isinstance(metrics, Mapping) else None
        right = share(test.get("accuracy")) if isinstance(test, Mapping) else None
        if right is not None:
            return f"{at} it was right on {100 * right:.1f} % of its test pictures."
        return f"{at} its error rates are not known: nobody measured them."
    false_alarms, missed, n = rates
    of = f" ({n} pictures, of the kind it was trained on)" if n else ", of the kind it was trained on"
    text = (
        f"{at}, on its test pictures{of}, it called {100 * false_alarms:.1f} % of the real ones fake "
        f"and {100 * missed:.1f} % of the fake ones real."
    )
    if false_alarms == missed == 0 and n:
        text += f" No error in {n} does not mean that none ever comes."
    return text + " On other pictures: unknown."


def calibration_text(temperature: float) -> str:
    """One sentence: whether the probability was calibrated (lesson 12)."""
    if not math.isfinite(temperature) or abs(temperature - 1) < 1e-6:
        return "The probability is the network's own; no calibration came with it."
    return f"The probability is calibrated: its logits are divided by {temperature:.2f}."


def heavy_quality(config: Mapping[str, Any]) -> int:
    """The JPEG quality below which a picture is compressed more than the model was judged on.

    The lowest quality in the metrics' ``auc_after_jpeg``, or `HEAVY_JPEG`.
    """
    metrics = config.get("metrics") if isinstance(config, Mapping) else None
    judged = metrics.get("auc_after_jpeg") if isinstance(metrics, Mapping) else None
    numbers = [int(key) for key in judged if str(key).isdigit()] if isinstance(judged, Mapping) else []
    return min(numbers, default=HEAVY_JPEG)


def notes_on(
    size: tuple[int, int], quality: int | None, *, heavy: int = HEAVY_JPEG, largest: int | None = None
) -> list[str]:
    """What makes a picture one that a model knows little about: a sentence each, [] if nothing was found.

    size: width and height in pixels. quality: of a JPEG, else None. largest: the longest side the model
    judges, if it judges only the middle of larger pictures.
    """
    notes = []
    if min(size) < SMALL_SIDE:
        notes.append(f"a side shorter than {SMALL_SIDE} pixels leaves little evidence.")
    if quality is not None and quality < heavy:
        notes.append(
            f"it was saved as JPEG of quality about {quality}, compressed more than the pictures the model "
            f"was judged on ({heavy} and up); the fine traces may be gone."
        )
    if largest is not None and max(size) > largest:
        width, height = (min(side, largest) for side in size)
        notes.append(f"this model looks at the middle {width} × {height} pixels only.")
    return notes


# ------------------------------------------------------------------------------------------------------------
# Results as a table

COLUMNS = (
    "number", "time", "file", "part", "verdict", "label", "p_fake", "threshold", "model",
    "width", "height", "jpeg_quality", "box", "note", "error",
)  # fmt: skip


def as_row(number: int, result: Result) -> dict[str, Any]:
    """A result as plain data, with the keys `COLUMNS`; P(fake) is not rounded."""
    values = asdict(result)
    values |= {"number": number, "file": result.name, "jpeg_quality": result.quality}
    values |= {"verdict": result.verdict, "label": result.label}
    values["box"] = None if result.box is None else list(result.box)
    return {column: values[column] for column in COLUMNS}


def harmless_cell(value: Any) -> str:
    """A value as the text of a CSV cell that no spreadsheet runs as a formula.

    Programs take a cell for a formula when it begins with =, +, -, @, a tab or a line break, also behind
    spaces, and a file's name is a stranger's text. An apostrophe in front makes it text.
    """
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    text = str(value)
    if isinstance(value, str) and (
        text.lstrip(" ")[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20") or text[:1] in "\t\r\n"
    ):
        return "'" + text if text else ""
    return text


def results_csv(results: Sequence[Result]) -> str:
    """Results as CSV with a header; every cell passes through `harmless_cell`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for number, result in enumerate(results, 1):
        writer.writerow([harmless_cell(value) for value in as_row(number, result).values()])
    return stream.getvalue()


def results_json(results: Sequence[Result]) -> str:
    """Results as a JSON list of objects with the keys `COLUMNS`."""
    rows = [as_row(number, result) for number, result in enumerate(results, 1)]
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"

"""The interactive pieces of lessons 00 to 02.

`FaceGame` (lesson 00): real or fake? Twenty faces, mouse or keyboard, and what the score is worth.
`JpegExplorer` (lesson 01): what saving as JPEG does to a face, with the difference and its size.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

from . import plots
from .errors import DataError
from .evaluation import wilson_interval
from .widgets_kit import (
    figure_png,
    keep_keys,
    picture_png,
    picture_widget,
    read_number,
    set_picture,
    show_with_picture,
)

STYLE = """<style>
.course-see { max-width: 760px; padding: 4px 8px 8px; overflow: visible; }
.course-see .widget-html-content { color: var(--jp-ui-font-color1, inherit); line-height: 1.45; }
.course-see .widget-label { color: var(--jp-ui-font-color1, inherit); }
.course-see img { background: #fff; border: 1px solid rgba(128,128,128,.6); }
.course-see button:focus, .course-see input:focus, .course-see select:focus {
  outline: 3px solid #0072B2; outline-offset: 1px; }
</style>"""


# ---- lesson 00: the game ----


def read_answers(text: Any, n: int) -> str:
    """A learner's answers as n letters R and F; DataError with a sentence for everything else.

    Small letters are as good as capitals; spaces, commas and line breaks do not count.
    """
    if not isinstance(text, str):
        raise DataError(f'The answers are to be letters in quotes, such as "RFFR", not {str(text)[:20]!r}.')
    letters = "".join(c for c in text.upper() if not c.isspace() and c not in ",;.-|")
    for place, letter in enumerate(letters, start=1):
        if letter not in "RF":
            raise DataError(f"Answer {place} is {letter!r}; type R for real and F for fake, nothing else.")
    if len(letters) != n:
        raise DataError(f"There are {n} faces, and {len(letters)} answers; type one letter for each face.")
    return letters


def words_on_score(k: int, n: int) -> str:
    """What k right answers of n say, and what they do not."""
    low, high = wilson_interval(k, n)
    words = f"{k} of {n} right: {100 * k / n:.0f} %, with a 95 % interval "
    words += f"from {100 * low:.0f} % to {100 * high:.0f} %. "
    if low > 0.5:
        return words + "All of it lies above 50 %: somebody who only guesses would rarely score that well."
    if high < 0.5:
        words += "All of it lies below 50 %: somebody who only guesses would rarely score that low. "
        return words + "Perhaps you see a difference, and read it the wrong way round."
    return words + f"50 % lies within it: {n} faces cannot tell you from somebody who only guesses."


class FaceGame:
    """Real or fake? `faces` faces of a data set; for each, a coin (drawn by seed) says which class it is of.

    Not half of each: whoever knows that, and is told the truth after each face, can count what is left and
    beats 50 % without looking. With a coin the score of somebody who does not look is binomial.

    ``game.show()`` puts it on the page: two buttons that keep the focus, or a field that takes the letters R
    and F. ``game.judge("RFFR…")`` scores answers that were typed elsewhere, for the first game of the seed,
    which is the one on the sheet. Later games ("new faces") use faces not shown before, while there are any.
    """

    def __init__(self, dataset: Any, faces: int = 20, seed: int = 0):
        labels = np.asarray(dataset.labels)
        if faces < 1 or min((labels == 0).sum(), (labels == 1).sum()) < faces:
            raise DataError(
                f"FaceGame needs at least one face, and as many of each class as it shows, not {faces} of "
                f"{(labels == 0).sum()} real and {(labels == 1).sum()} fake ones."
            )
        self.dataset, self.faces = dataset, int(faces)
        rng = np.random.default_rng(seed)
        self._reals, self._fakes = (rng.permutation(np.flatnonzero(labels == label)) for label in (0, 1))
        self._rng_seed = seed
        self.finished: list[int] = []  # right answers of every finished game
        self.order, self.answers = self._deal(0), ""
        self._build()
        self._restart(0)

    def _deal(self, game: int) -> np.ndarray:
        """The indices of one game's faces, in the order they are shown."""
        seeds = [[10, self._rng_seed, number] for number in range(game + 1)]  # with 10 the sheet is 9 to 11
        coins = [np.random.default_rng(s).integers(0, 2, self.faces) for s in seeds]
        past, coins = np.concatenate([np.empty(0, int), *coins[:-1]]), coins[-1]
        order = np.empty(self.faces, int)
        for label, pile in enumerate((self._reals, self._fakes)):
            places = (past == label).sum() + np.arange((coins == label).sum())
            order[coins == label] = np.take(pile, places, mode="wrap")
        return order

    def _truth(self, order: np.ndarray) -> str:
        return "".join("RF"[self.dataset.labels[i]] for i in order)

    def _picture(self, i: int) -> np.ndarray:
        return plots.as_picture(self.dataset.uint8(int(i)))

    # -- the page --

    def _build(self) -> None:
        blank = picture_png(np.full((8, 8), 255, np.uint8), 8)
        self._title, self._said, self._result = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self._face = picture_widget(blank, "no face yet", 288)
        self._last = picture_widget(blank, "no face yet", 128)
        self._bar = ipw.IntProgress(max=self.faces, layout=ipw.Layout(width="288px"))
        wide = ipw.Layout(width="140px", height="40px")
        self._real = ipw.Button(description="Real (R)", tooltip="the face is real", layout=wide)
        self._fake = ipw.Button(description="Fake (F)", tooltip="the face is fake", layout=wide)
        self._field = ipw.Text(placeholder="R or F", description="or type:", layout=ipw.Layout(width="288px"))
        self._again = ipw.Button(
            description=f"{self.faces} new faces", tooltip="start again with other faces",
            layout=ipw.Layout(width="140px"),
        )  # fmt: skip
        for button, name in ((self._real, "course-real"), (self._fake, "course-fake")):
            button.add_class(name)
        keys = keep_keys("course-game", {"r": "course-real", "f": "course-fake"})
        self._real.on_click(lambda _: self.answer("R"))
        self._fake.on_click(lambda _: self.answer("F"))
        self._again.on_click(lambda _: self._restart(self._game + 1))
        self._field.observe(self._typed, "value")
        left = ipw.VBox([self._face, self._bar, ipw.HBox([self._real, self._fake]), self._field])
        right = ipw.VBox(
            [self._last, self._said, self._again], layout=ipw.Layout(margin="0 0 0 20px", width="300px")
        )
        self._table = ipw.HBox([left, right], layout=ipw.Layout(flex_flow="row wrap"))
        self.widget = ipw.VBox([ipw.HTML(STYLE), keys, self._title, self._table, self._result])
        self.widget.add_class("course-see")
        self.widget.add_class("course-game")

    def _restart(self, game: int) -> None:
        self._game, self.order, self.answers = game, self._deal(game), ""
        self._last.layout.visibility = "hidden"
        self._result.value = ""
        self._say(
            "Look at the face, then answer. Whether you were right is told at once, and cannot be taken back."
        )
        self._show_face()

    def _say(self, words: str) -> None:
        self._said.value = f'<div role="status" aria-live="polite">{html.escape(words)}</div>'

    def _show_face(self) -> None:
        self._bar.value = done = len(self.answers)
        self._mend_field()
        if done < self.faces:
            title = f"Face {done + 1} of {self.faces}: real or fake?"
            set_picture(self._face, picture_png(self._picture(self.order[done]), 1), title, 288)
        else:
            title = f"All {self.faces} faces are judged."
        self._title.value = f'<div style="font-size:1.25em;font-weight:600">{title}</div>'

    def _typed(self, change: dict) -> None:
        """The field holds all answers so far; what stands behind them is new."""
        text = str(change["new"]).upper()
        if text == self.answers:
            return
        if text.startswith(self.answers):
            self.answer(text[len(self.answers) :])
        else:
            self._say(
                "Answers that were given cannot be changed; the next letter is for the face on the left."
            )
        self._mend_field()

    def _mend_field(self) -> None:
        """Make the field say what was answered; never while it does, for that would swallow a quick key."""
        if self._field.value.upper() != self.answers:
            self._field.value = self.answers

    def answer(self, letters: str) -> None:
        """Give the next answers, one letter (R or F) each, as the buttons do."""
        for letter in str(letters).upper():
            if len(self.answers) == self.faces:
                self._say(f"This game is over; the button “{self._again.description}” begins another.")
                break
            if letter not in ("R", "F"):
                if not letter.isspace():
                    self._say(f"The letter {letter!r} is no answer; type R for real or F for fake.")
                continue
            self._one(letter)
        self._show_face()

    def _one(self, letter: str) -> None:
        i, number = self.order[len(self.answers)], len(self.answers) + 1
        self.answers += letter
        truth = self._truth(self.order[:number])
        right = sum(a == b for a, b in zip(self.answers, truth, strict=True))
        word = {"R": "real", "F": "fake"}
        verdict = "✓ Right" if truth[-1] == letter else "✕ Wrong"
        self._say(
            f"{verdict}: face {number}, above, is {word[truth[-1]]}; you said {word[letter]}. "
            f"So far {right} of {number}."
        )
        set_picture(
            self._last, picture_png(self._picture(i), 1), f"Face {number}, which is {word[truth[-1]]}", 128
        )
        self._last.layout.visibility = "visible"
        if number == self.faces:
            self._finish(right)

    def _finish(self, right: int) -> None:
        self.finished.append(right)
        rows, words = self._rows(), words_on_score(right, self.faces)
        if len(self.finished) > 1:
            words += " All games together: " + words_on_score(
                sum(self.finished), self.faces * len(self.finished)
            )
        picture = ipw.HTML()
        set_picture(picture, figure_png(plots.people_figure(rows)), words_on_rows(rows), 740)
        self._result.value = f"<p><b>{html.escape(words)}</b></p>{picture.value}"

    def _rows(self) -> list[tuple[str, float, float, float]]:
        """The last game, and all together if there are more, for the figure."""
        last, games = self.finished[-1], len(self.finished)
        rows = [score_row("you", last, self.faces)]
        if games > 1:
            rows.append(score_row(f"you, {games} games", sum(self.finished), self.faces * games))
        return rows

    # -- without a page --

    def sheet(self) -> np.ndarray:
        """The faces of the first game, numbered, at their own resolution: uint8 H×W×3, for paper."""
        columns, pictures = 5, [self._picture(i) for i in self._deal(0)]
        height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
        rows, strip = -(-len(pictures) // columns), 22
        sheet = Image.new("RGB", (columns * (width + 6), rows * (height + strip)), "white")
        pen = ImageDraw.Draw(sheet)
        for number, picture in enumerate(pictures):
            left, top = number % columns * (width + 6), number // columns * (height + strip)
            pen.text((left + width // 2, top + 4), str(number + 1), fill="black", anchor="mt", font_size=15)
            sheet.paste(Image.fromarray(picture), (left + 3, top + strip))
        return np.asarray(sheet)

    def show(self) -> None:
        """Put the game on the page; where widgets do not work, the numbered sheet stands in its place."""
        words = f"{self.faces} faces, numbered from 1 to {self.faces}, some real and some fake."
        show_with_picture(self.widget, picture_png(self.sheet(), 1), words)

    def judge(self, answers: Any) -> None:
        """Score answers typed as a string, one letter a face, in the sheet's order; says it in a sentence."""
        if answers is None or answers is ... or (isinstance(answers, str) and not answers.strip()):
            print("No answers yet, so there is no score.")
            return
        try:
            letters = read_answers(answers, self.faces)
        except DataError as error:
            print(error)
            return
        right = sum(a == b for a, b in zip(letters, self._truth(self._deal(0)), strict=True))
        print(words_on_score(right, self.faces))
        plots.plot_against_people([score_row("you", right, self.faces)])


def score_row(name: str, k: int, n: int) -> tuple[str, float, float, float]:
    """A row for `plots.plot_against_people`: name, share, and its 95 % interval."""
    return (f"{name}: {k} of {n}", k / n, *wilson_interval(k, n))


def words_on_rows(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """The numbers of `plots.people_figure` for those who cannot see it."""
    said = (f"{name}: {100 * x:.1f} %, interval {100 * low:.1f} to {100 * high:.1f} %"
            for name, x, low, high in [*rows, *plots.PEOPLE])  # fmt: skip
    return "Shares of right answers with 95 % intervals. " + "; ".join(said) + "."


# ---- lesson 01: JPEG ----


def resave(picture: np.ndarray, quality: int) -> tuple[np.ndarray, int]:
    """A uint8 picture H×W×3 after saving as JPEG, and the bytes of the file. Quality: 1 to 95."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)), len(stream.getvalue())


class JpegExplorer:
    """A slider for the quality of a JPEG: the picture, the saved picture, the difference, size and error.

    images: uint8 tensors 3×H×W or arrays H×W×3. `at` gives the numbers without a page.
    """

    GAIN, SHEET = 8, (95, 75, 40, 10)  # how much differences are enlarged; the qualities of the static figure

    def __init__(self, images: Sequence[Any]):
        try:
            self.pictures = [plots.as_picture(image) for image in images]
            sound = all(p.ndim == 3 and p.shape[2] == 3 and p.size for p in self.pictures) and self.pictures
        except (TypeError, ValueError, RuntimeError, OverflowError):
            sound = False
        if not sound:
            raise DataError(
                "JpegExplorer takes a list of colour pictures: tensors (3, H, W) or arrays (H, W, 3)."
            )
        blank = picture_png(np.full((8, 8), 255, np.uint8), 8)
        self._views = [picture_widget(blank, "", 232) for _ in range(3)]
        self.words = ipw.HTML()
        self.quality = ipw.IntSlider(
            value=50, min=1, max=95, description="quality", layout=ipw.Layout(width="480px")
        )
        self.face = ipw.Dropdown(
            options=[(f"face {n}", n - 1) for n in range(1, len(self.pictures) + 1)], description="picture",
            layout=ipw.Layout(width="220px"),
        )  # fmt: skip
        self.quality.observe(lambda _: self._draw(), "value")
        self.face.observe(lambda _: self._draw(), "value")
        titles = ("as it was", "saved as JPEG", f"difference × {self.GAIN}")
        columns = [
            ipw.VBox([ipw.HTML(f"<b>{t}</b>"), view]) for t, view in zip(titles, self._views, strict=True)
        ]
        row = ipw.HBox(columns, layout=ipw.Layout(flex_flow="row wrap"))
        controls = ipw.HBox([self.quality, self.face], layout=ipw.Layout(flex_flow="row wrap"))
        self.widget = ipw.VBox([ipw.HTML(STYLE), keep_keys("course-jpeg"), controls, row, self.words])
        self.widget.add_class("course-see")
        self.widget.add_class("course-jpeg")
        self._draw()

    def at(self, quality: Any, face: int = 0) -> dict[str, Any]:
        """The saved picture, the difference (int16), bytes, raw bytes, mean absolute error at a quality."""
        quality = int(read_number(quality, "The quality", 1, 95))
        picture = self.pictures[int(read_number(face, "The face", 0, len(self.pictures) - 1))]
        saved, size = resave(picture, quality)
        difference = saved.astype(np.int16) - picture.astype(np.int16)
        error = float(np.abs(difference).mean())
        return {"saved": saved, "difference": difference, "bytes": size, "raw": picture.size, "error": error}

    def _draw(self) -> None:
        quality, face = self.quality.value, self.face.value
        now = self.at(quality, face)
        gained = enlarged(now["difference"], self.GAIN)
        share = f"1/{now['raw'] / now['bytes']:.0f}"
        says = f"{now['bytes']:,} bytes instead of {now['raw']:,}, {share} of them. "
        says += f"On average a number is off by {now['error']:.1f} of 255."
        pictures = (self.pictures[face], now["saved"], gained)
        names = ("The picture as it was", f"The picture saved as JPEG of quality {quality}", "The difference")
        for view, picture, name in zip(self._views, pictures, names, strict=True):
            set_picture(view, picture_png(picture, 1), name, 232)
        self.words.value = f'<div role="status" aria-live="polite">quality {quality}: {says}</div>'

    def sheet(self) -> bytes:
        """The first picture at four qualities, with the differences below: the figure for paper, as PNG."""
        shots = [self.at(quality) for quality in self.SHEET]
        with plt.rc_context(plots.STYLE):
            figure, axes = plt.subplots(2, len(shots), figsize=(2.0 * len(shots), 4.6))
            for (above, below), quality, shot in zip(axes.T, self.SHEET, shots, strict=True):
                above.imshow(shot["saved"], interpolation="nearest")
                above.set_title(f"quality {quality}", fontsize=11, loc="center")
                below.imshow(enlarged(shot["difference"], self.GAIN), interpolation="nearest")
                text = f"{shot['bytes'] / 1000:.1f} kB, error {shot['error']:.1f}"
                below.set_title(text, fontsize=10, loc="center")
                above.axis("off"), below.axis("off")
            figure.tight_layout(pad=0.4)
        return figure_png(figure)

    def show(self) -> None:
        """Put the slider on the page; where widgets do not work, four qualities stand in its place."""
        listed = ", ".join(str(quality) for quality in self.SHEET)
        show_with_picture(self.widget, self.sheet(), f"A face saved as JPEG at the qualities {listed}.")


def enlarged(difference: np.ndarray, gain: float) -> np.ndarray:
    """A difference of pictures as a picture: grey where there is none, `gain` times as strong as it is."""
    return np.clip(128 + gain * difference.astype(np.int32), 0, 255).astype(np.uint8)

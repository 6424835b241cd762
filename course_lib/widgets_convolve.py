"""The interactive pieces of lessons 03 to 05."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from .checks import describe
from .plots import STYLE, as_picture, rate_figure
from .widgets_kit import (
    figure_png,
    keep_keys,
    light_png,
    picture_png,
    picture_widget,
    read_number,
    sentence,
    set_picture,
    show_with_picture,
)

# ---- lesson 03: convolution by hand ----

KERNELS: dict[str, tuple[str, ...]] = {  # nine numbers each, row by row, as they are typed into the editor
    "do nothing": ("0", "0", "0", "0", "1", "0", "0", "0", "0"),
    "box blur (the mean)": ("1/9",) * 9,
    "soft blur": ("1/16", "2/16", "1/16", "2/16", "4/16", "2/16", "1/16", "2/16", "1/16"),
    "Sobel, left to right": ("-1", "0", "1", "-2", "0", "2", "-1", "0", "1"),
    "Sobel, top to bottom": ("-1", "-2", "-1", "0", "0", "0", "1", "2", "1"),
    "Laplacian": ("0", "1", "0", "1", "-4", "1", "0", "1", "0"),
    "high-pass: pixel minus mean": ("-1/9",) * 4 + ("8/9",) + ("-1/9",) * 4,
    "sharpen": ("0", "-1", "0", "-1", "5", "-1", "0", "-1", "0"),
    "checkerboard": ("0", "0", "0", "0", "1", "-1", "0", "-1", "1"),
}
OWN = "numbers of your own"


def grey_picture(image: Any) -> np.ndarray:
    """A picture of any make as grey float32 H×W, 0 to 255; ValueError with a sentence if it is none.

    Accepts uint8 tensors and arrays 3×H×W, H×W×3 or H×W, floats from 0 to 1 in a tensor, and PIL images.
    """
    wanted = "give a uint8 tensor of shape (3, height, width), such as load('studio').test.uint8(0)"
    if isinstance(image, Image.Image):
        picture = np.asarray(image.convert("RGB"))
    elif isinstance(image, torch.Tensor | np.ndarray):
        tensor = torch.as_tensor(image)
        if tensor.ndim == 3 and tensor.shape[0] != 3 and tensor.shape[2] == 3:
            tensor = tensor.permute(2, 0, 1)
        if tensor.ndim == 2:
            tensor = tensor.expand(3, -1, -1)
        if tensor.ndim != 3 or tensor.shape[0] != 3 or min(tensor.shape) < 3:
            raise ValueError(f"This is no picture but {describe(image)}; {wanted}.")
        if tensor.is_complex() or (tensor.is_floating_point() and not tensor.isfinite().all()):
            raise ValueError(f"This picture holds numbers that are not finite and real; {wanted}.")
        picture = as_picture(tensor if tensor.is_floating_point() else tensor.clamp(0, 255).to(torch.uint8))
    else:
        raise ValueError(f"This is no picture but {describe(image)}; {wanted}.")
    return picture.astype(np.float32).mean(axis=2)


def read_entry(text: Any, what: str) -> float:
    """A number or a fraction such as 1/9 from a text field; ValueError with a sentence otherwise."""
    above, slash, below = str(text).partition("/")
    if not slash:
        return read_number(text, what, -1000, 1000)
    divisor = read_number(below, f"the lower half of {what}", -1000, 1000)
    if divisor == 0:
        raise ValueError(f"{what} divides by zero.")
    return read_number(above, f"the upper half of {what}", -1000, 1000) / divisor


def feature_map(grey: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The kernel slid over H×W, not flipped, without padding."""
    x, k = (torch.as_tensor(a, dtype=torch.float32)[None, None] for a in (grey, kernel))
    return functional.conv2d(x, k)[0, 0].numpy()


def map_picture(values: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, str]:
    """A feature map as uint8 H×W, and in words what black and white mean in it.

    A kernel whose numbers add up to about 1 gives brightness again; every other map is shown around mid-grey.
    """
    low, high = float(values.min()), float(values.max())
    if 0.5 <= kernel.sum() <= 1.5:
        return np.clip(np.round(values), 0, 255).astype(np.uint8), "black is 0 or less, white is 255 or more"
    reach = max(-low, high, 1e-6)
    shown = np.clip(np.round(127.5 + values * 127.5 / reach), 0, 255).astype(np.uint8)
    return shown, f"mid-grey is 0, black is \u2212{reach:.4g}, white is {reach:.4g}"


def signed(value: float) -> str:
    return f"{value:g}".replace("-", "\u2212")


class KernelEditor(ipw.VBox):
    """Nine numbers to type in, and at once what they make of a picture.

    image: a uint8 tensor 3×H×W (or an array, or a PIL image). Entries may be fractions, 1/9. While an entry
    is no number, a sentence stands beside its row and the last good map stays. `kernel` is the 3×3 array in
    use, `map` the feature map, both None before the first good one.
    """

    def __init__(self, image: Any = None) -> None:
        self.kernel: np.ndarray | None = None
        self.map: np.ndarray | None = None
        self._filling = False
        try:
            self.grey = grey_picture(image)
        except ValueError as error:
            self.grey = None
            super().__init__([ipw.HTML(sentence(str(error)))])
            return
        self.preset = ipw.Dropdown(
            options=[OWN, *KERNELS], value="Sobel, left to right", description="kernel"
        )
        self.fields = [
            ipw.Text(
                placeholder=f"row {r + 1}, column {c + 1}",
                continuous_update=True,
                layout=ipw.Layout(width="74px"),
            )
            for r in range(3)
            for c in range(3)
        ]
        self.messages = [ipw.HTML() for _ in range(3)]
        rows = [
            ipw.HBox(
                [*self.fields[3 * r : 3 * r + 3], self.messages[r]], layout=ipw.Layout(flex_flow="row wrap")
            )
            for r in range(3)
        ]
        self.remark = ipw.HTML()
        middle = self.grey.astype(np.uint8)
        words = "The picture before the convolution, in grey."
        before = ipw.VBox([ipw.HTML("<b>picture</b>"), picture_widget(picture_png(middle), words)])
        self.view, self.caption = picture_widget(picture_png(middle), words), ipw.HTML()
        after = ipw.VBox([ipw.HTML("<b>feature map</b>"), self.view])
        pictures = ipw.HBox([before, after], layout=ipw.Layout(flex_flow="row wrap", grid_gap="12px"))
        keys = keep_keys("course-kernel")
        super().__init__([keys, self.preset, *rows, self.remark, pictures, self.caption])
        self.add_class("course-kernel")
        self.preset.observe(self._take_preset, names="value")
        for field in self.fields:
            field.observe(self._typed, names="value")
        self._take_preset()

    def show(self) -> None:
        """Display it, with a static figure of the presets where widgets do not render."""
        if self.grey is None:
            show_with_picture(self, None, "No picture was given.")
        else:
            show_with_picture(
                self, preset_sheet(self.grey), "A kernel editor; the picture shows its presets."
            )

    def _take_preset(self, _: Any = None) -> None:
        if self.preset.value == OWN:
            return
        self._filling = True
        for field, text in zip(self.fields, KERNELS[self.preset.value], strict=True):
            field.value = text
        self._filling = False
        self._redraw()

    def _typed(self, _: Any = None) -> None:
        if self._filling:
            return
        texts = tuple(field.value.strip() for field in self.fields)
        if texts != KERNELS.get(self.preset.value):
            self.preset.value = OWN
        self._redraw()

    def _redraw(self) -> None:
        entries: list[float] = []
        wrong = [""] * 3
        for i, field in enumerate(self.fields):
            try:
                entries.append(read_entry(field.value, f"Row {i // 3 + 1}, column {i % 3 + 1}"))
            except ValueError as error:
                wrong[i // 3] = wrong[i // 3] or f"{error} The map is still the last good one."
        for message, words in zip(self.messages, wrong, strict=True):
            message.value = sentence(words)
        if any(wrong):
            return
        self.kernel = np.array(entries).reshape(3, 3)
        self.map = feature_map(self.grey, self.kernel)
        shown, scale = map_picture(self.map, self.kernel)
        set_picture(self.view, picture_png(shown), f"The feature map of the kernel {entries}; {scale}.")
        self.caption.value = f"In the feature map, {scale}. {middle_arithmetic(self.grey, self.kernel)}"
        total = self.kernel.sum()
        if abs(total) < 1e-9:
            effect = "even areas become 0, only changes stay"
        elif abs(total - 1) < 1e-9:
            effect = "even areas keep their brightness"
        else:
            effect = f"even areas become {signed(round(float(total), 4))} times as bright"
        self.remark.value = f"The nine numbers add up to {signed(round(float(total), 4))}: {effect}."


def middle_arithmetic(grey: np.ndarray, kernel: np.ndarray) -> str:
    """The one number in the middle of the map, written out."""
    r, c = grey.shape[0] // 2, grey.shape[1] // 2
    window = grey[r - 1 : r + 2, c - 1 : c + 2].round()
    terms = [
        f"{signed(round(float(k), 3))}·{v:.0f}"
        for k, v in zip(kernel.flat, window.flat, strict=True)
        if abs(k) > 1e-12
    ]
    total = signed(round(float((kernel * window).sum()), 2))
    shown = " + ".join(terms).replace("+ \u2212", "\u2212 ") if terms else "0"
    return f"Its middle, written out (pixels rounded): {shown} = {total}."


def preset_sheet(grey: np.ndarray) -> bytes:
    """The static figure: what each kernel of the menu makes of the picture."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 5, figsize=(8.0, 3.75))
        axes.flat[0].imshow(grey, cmap="gray", vmin=0, vmax=255)
        axes.flat[0].set_title("the picture", fontsize=9)
        for axis, (name, texts) in zip(axes.flat[1:], KERNELS.items(), strict=True):
            kernel = np.array([read_entry(text, name) for text in texts]).reshape(3, 3)
            shown, _ = map_picture(feature_map(grey, kernel), kernel)
            axis.imshow(shown, cmap="gray", vmin=0, vmax=255)
            axis.set_title(name.replace(": ", ":\n"), fontsize=8.5)
        for axis in axes.flat:
            axis.axis("off")
        figure.tight_layout(pad=0.4)
        return light_png(figure)


LAYERS: dict[str, tuple[int, int, int]] = {  # what the explorer can stack: kernel, stride, dilation
    "conv 3×3": (3, 1, 1),
    "conv 5×5": (5, 1, 1),
    "conv 3×3, stride 2": (3, 2, 1),
    "conv 3×3, dilation 2": (3, 1, 2),
    "max pool 2×2, stride 2": (2, 2, 1),
}
MOST_LAYERS = 12


def field_steps(layers: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """(field, jump) before the first layer and after each: both in pixels of the picture."""
    field = jump = 1
    steps = [(field, jump)]
    for kernel, stride, dilation in layers:
        field += (kernel - 1) * dilation * jump
        jump *= stride
        steps.append((field, jump))
    return steps


def field_picture(face: np.ndarray, field: int, jump: int, zoom: int = 3) -> np.ndarray:
    """The face with the field of one output number framed, and its right neighbour's in dashes."""
    height, width = face.shape[:2]
    image = Image.fromarray(face).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    top, left = (height - field) // 2, (width - field) // 2

    def frame(x: int, y: int, dashed: bool) -> None:
        corners = [(x, y), (x + field, y), (x + field, y + field), (x, y + field), (x, y)]
        for (x0, y0), (x1, y1) in zip(corners, corners[1:], strict=False):
            length = max(abs(x1 - x0), abs(y1 - y0)) * zoom
            for at in range(0, length, 8 if dashed else 4):
                end = min(at + 4, length)
                a = [x0 * zoom + at * np.sign(x1 - x0), y0 * zoom + at * np.sign(y1 - y0)]
                b = [x0 * zoom + end * np.sign(x1 - x0), y0 * zoom + end * np.sign(y1 - y0)]
                if not dashed:
                    draw.line([*map(int, a), *map(int, b)], fill="black", width=4)
                draw.line([*map(int, a), *map(int, b)], fill="#F0E442" if not dashed else "white", width=2)

    if field < max(height, width):
        frame(left + jump, top, dashed=True)
        frame(left, top, dashed=False)
    return np.asarray(image)


class ReceptiveFieldExplorer(ipw.VBox):
    """Stack layers and see how many pixels of a face one output number looks at.

    image: as for `KernelEditor`; layers: names from the buttons to begin with. `field` and `jump` are the
    side of the field and the distance between the fields of two neighbours, both in pixels.
    """

    def __init__(self, image: Any = None, layers: Sequence[str] = ("conv 3×3", "conv 3×3")) -> None:
        self.layers: list[str] = []
        try:
            self.face = np.repeat(grey_picture(image).astype(np.uint8)[..., None], 3, axis=2)
            if isinstance(layers, str) or not all(name in LAYERS for name in layers):
                raise ValueError(
                    f"The layers {str(layers)[:40]!r} are not known; give a list of {[*LAYERS]}."
                )
        except (ValueError, TypeError) as error:
            words = str(error) if isinstance(error, ValueError) else "The layers are to be a list of names."
            self.face = None
            super().__init__([ipw.HTML(sentence(words))])
            return
        self.buttons = {name: ipw.Button(description=f"+ {name}") for name in LAYERS}
        for name, button in self.buttons.items():
            button.layout.width = "auto"
            button.on_click(lambda _, name=name: self.add(name))
        self.undo, self.clear = ipw.Button(description="remove last"), ipw.Button(description="start over")
        self.undo.on_click(lambda _: self.remove())
        self.clear.on_click(lambda _: self.start_over())
        wrap = ipw.Layout(flex_flow="row wrap")
        self.message, self.table, self.verdict = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.view = picture_widget(picture_png(self.face), "The face.", width=384)
        text = ipw.VBox([self.table, self.verdict, self.message], layout=ipw.Layout(max_width="560px"))
        super().__init__(
            [
                keep_keys("course-field"),
                ipw.HBox([*self.buttons.values()], layout=wrap),
                ipw.HBox([self.undo, self.clear], layout=wrap),
                ipw.HBox([self.view, text], layout=ipw.Layout(flex_flow="row wrap", grid_gap="16px")),
            ]
        )
        self.add_class("course-field")
        self.layers = list(layers)[:MOST_LAYERS]
        self._redraw()

    @property
    def stack(self) -> list[tuple[int, int, int]]:
        return [LAYERS[name] for name in self.layers]

    @property
    def field(self) -> int:
        return field_steps(self.stack)[-1][0]

    @property
    def jump(self) -> int:
        return field_steps(self.stack)[-1][1]

    def add(self, name: Any) -> None:
        """Put one more layer on top; a sentence if there is no such layer, or no room."""
        if not isinstance(name, str) or name not in LAYERS:
            self._redraw(f"There is no layer {str(name)[:30]!r}; the buttons name those there are.")
        elif len(self.layers) >= MOST_LAYERS:
            self._redraw(f"{MOST_LAYERS} layers are enough for this page; remove one first.")
        else:
            self.layers.append(name)
            self._redraw()

    def remove(self) -> None:
        if self.layers:
            self.layers.pop()
            self._redraw()
        else:
            self._redraw("There is no layer left to remove.")

    def start_over(self) -> None:
        self.layers.clear()
        self._redraw()

    def show(self) -> None:
        """Display it, with a static figure of three stacks where widgets do not render."""
        if self.face is None:
            show_with_picture(self, None, "Nothing to explore.")
        else:
            words = "A receptive-field explorer; the picture shows the field of three stacks."
            show_with_picture(self, field_sheet(self.face), words)

    def _redraw(self, message: str = "") -> None:
        side = max(self.face.shape[:2])
        field, jump = self.field, self.jump
        words = f"The receptive field of one output number: {field} by {field} pixels of the face, framed."
        set_picture(self.view, picture_png(field_picture(self.face, field, jump)), words, width=384)
        self.table.value = field_table(self.layers)
        if field < side:
            verdict = (
                f"One output number looks at <b>{field}×{field}</b> pixels (solid frame). Its right "
                f"neighbour looks {jump} pixel{'s' if jump > 1 else ''} further right (dashed frame)."
            )
        else:
            verdict = f"One output number looks at <b>{field}×{field}</b> pixels: the whole picture and more."
        self.verdict.value = verdict
        self.message.value = sentence(message)


def field_table(layers: Sequence[str]) -> str:
    """The arithmetic, one row for each layer, as HTML in the colours of the page."""
    cell = 'style="padding:2px 8px;text-align:left;border-bottom:1px solid #8888"'
    heads = "".join(
        f"<th {cell}>{h}</th>" for h in ("layer", "field = before + (k − 1)·d·jump", "jump = before·s")
    )
    rows = [f"<tr><td {cell}>a pixel</td><td {cell}>1</td><td {cell}>1</td></tr>"]
    steps = field_steps([LAYERS[name] for name in layers])
    for name, (r, j), (field, jump) in zip(layers, steps, steps[1:], strict=False):
        k, s, d = LAYERS[name]
        texts = (name, f"{r} + {k - 1}·{d}·{j} = <b>{field}</b>", f"{j}·{s} = <b>{jump}</b>")
        rows.append("<tr>" + "".join(f"<td {cell}>{text}</td>" for text in texts) + "</tr>")
    return f'<table style="border-collapse:collapse"><tr>{heads}</tr>{"".join(rows)}</table>'


def field_sheet(face: np.ndarray) -> bytes:
    """The static figure: three stacks and their fields on the face."""
    stacks = [
        ["conv 3×3"] * 2,
        ["conv 3×3", "conv 3×3, dilation 2", "conv 5×5"],
        ["conv 3×3, stride 2"] * 4,
    ]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.5))
        for axis, names in zip(axes, stacks, strict=True):
            field, jump = field_steps([LAYERS[name] for name in names])[-1]
            axis.imshow(field_picture(face, field, jump))
            unique = list(dict.fromkeys(names))
            title = f"{len(names)} × {unique[0]}" if len(unique) == 1 else "\n".join(unique)
            axis.set_title(title, fontsize=9)
            axis.set_xlabel(f"field {field}×{field}, neighbours {jump} apart", fontsize=10)
            axis.set(xticks=[], yticks=[])
        figure.tight_layout(pad=0.4)
        return light_png(figure)


class Places:
    """The arithmetic of one side: where `kernel` taps, `dilation` apart, may lie.

    `span`: from the first tap to the last. `room`: steps of one pixel it can make. `out`: how many places a
    stride of `stride` leaves; 0 when the kernel does not fit.
    """

    def __init__(self, size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
        self.size, self.kernel, self.stride = size, kernel, stride
        self.padding, self.dilation = padding, dilation
        self.padded = size + 2 * padding
        self.span = dilation * (kernel - 1) + 1
        self.room = self.padded - self.span
        self.out = self.room // stride + 1 if self.room >= 0 else 0

    def taps(self, place: int) -> list[int]:
        """The padded positions that output number `place` multiplies."""
        return [place * self.stride + i * self.dilation for i in range(self.kernel)]

    def formula(self) -> str:
        n, k, p, d = self.size, self.kernel, self.padding, self.dilation
        return (
            f"span = dilation·(kernel − 1) + 1 = {d}·({k} − 1) + 1 = {self.span}<br>"
            f"room = size + 2·padding − span = {n} + 2·{p} − {self.span} = {signed(self.room)}<br>"
        )


class ConvolutionArithmetic(ipw.VBox):
    """Sliders for size, kernel, stride, padding and dilation; the grid, one output's pixels, the formula.

    `output_size` is the side of the output, 0 if the kernel does not fit.
    """

    RANGES = {
        "size": (1, 12, 7),
        "kernel": (1, 7, 3),
        "stride": (1, 4, 2),
        "padding": (0, 3, 1),
        "dilation": (1, 3, 1),
    }

    def __init__(self, **start: Any) -> None:
        sliders, wrong = {}, []
        for name, (low, high, value) in self.RANGES.items():
            if name in start:
                try:
                    given = read_number(start[name], name, low, high)
                    if given != int(given):
                        raise ValueError(f"{name} is {given:g}, which is not a whole number.")
                    value = int(given)
                except ValueError as error:
                    wrong.append(f"{error} It begins at {value} instead.")
            sliders[name] = ipw.IntSlider(
                value=value, min=low, max=high, description=name, layout=ipw.Layout(width="320px")
            )
        wrong += [f"There is no setting {name!r}." for name in start if name not in self.RANGES]
        self.sliders = sliders
        self.which = ipw.IntSlider(
            value=0, min=0, max=0, description="output no.", layout=ipw.Layout(width="320px")
        )
        self.drawing, self.words = ipw.HTML(), ipw.HTML()
        self.message = ipw.HTML(sentence(" ".join(wrong)))
        controls = ipw.VBox([*sliders.values(), self.which, self.words], layout=ipw.Layout(width="440px"))
        wrap = ipw.Layout(flex_flow="row wrap", grid_gap="16px")
        keys = keep_keys("course-arithmetic")
        super().__init__([keys, self.message, ipw.HBox([controls, self.drawing], layout=wrap)])
        self.add_class("course-arithmetic")
        for slider in (*sliders.values(), self.which):
            slider.observe(self._redraw, names="value")
        self._redraw()

    @property
    def places(self) -> Places:
        return Places(**{name: slider.value for name, slider in self.sliders.items()})

    @property
    def output_size(self) -> int:
        return self.places.out

    def show(self) -> None:
        """Display it, with a static figure of four settings where widgets do not render."""
        words = "Sliders for the arithmetic of a convolution; the picture shows four settings."
        show_with_picture(self, arithmetic_sheet(), words)

    def _redraw(self, _: Any = None) -> None:
        places = self.places
        last = max(0, places.out**2 - 1)
        if self.which.value > last:
            self.which.value = last  # comes back here with the new value
            return
        self.which.max = last
        self.which.disabled = places.out == 0
        row, column = divmod(self.which.value, places.out) if places.out else (0, 0)
        self.drawing.value = arithmetic_svg(places, row, column)
        text = places.formula()
        if places.out:
            text += (
                f"output = ⌊room / stride⌋ + 1 = ⌊{places.room} / {places.stride}⌋ + 1 = "
                f"<b>{places.out}</b><br>output row {row}, column {column} multiplies "
                f"{places.kernel**2} pixel{'s' if places.kernel > 1 else ''}"
            )
            left = places.room % places.stride
            if left:
                many = f"{left} rows and columns are" if left > 1 else "row and column is"
                text += f"<br>the last {many} never looked at: {places.stride} does not divide {places.room}"
        else:
            text += sentence(
                f"The kernel does not fit: it spans {places.span} pixels, and with the padding there "
                f"are only {places.padded}. There is no output; torch stops with an error."
            )
        self.words.value = f'<div style="line-height:1.6;max-width:520px">{text}</div>'


def arithmetic_svg(places: Places, row: int, column: int, cell: int = 20) -> str:
    """The padded input with the touched pixels marked, and the output with its number marked, as SVG."""
    touched = {(r, c) for r in places.taps(row) for c in places.taps(column)} if places.out else set()
    n, p = places.padded, places.padding
    shapes = []
    for r in range(n):
        for c in range(n):
            inside = p <= r < p + places.size and p <= c < p + places.size
            hit = (r, c) in touched
            fill = "#0072B2" if hit else "#8883" if inside else "none"
            dash = "" if inside else ' stroke-dasharray="2 3"'
            shapes.append(
                f'<rect x="{c * cell + 1}" y="{r * cell + 1}" width="{cell - 2}" height="{cell - 2}" '
                f'fill="{fill}" stroke="currentColor" stroke-opacity="0.7"{dash}/>'
            )
            if hit:
                shapes.append(
                    f'<circle cx="{c * cell + cell / 2}" cy="{r * cell + cell / 2}" r="4" fill="white"/>'
                )
            elif not inside:
                shapes.append(
                    f'<text x="{c * cell + cell / 2}" y="{r * cell + cell / 2 + 4}" text-anchor="middle" '
                    f'font-size="11" fill="currentColor">0</text>'
                )
    left = n * cell + 44
    for r in range(places.out):
        for c in range(places.out):
            fill = "#D55E00" if (r, c) == (row, column) else "none"
            shapes.append(
                f'<rect x="{left + c * cell + 1}" y="{r * cell + 1}" width="{cell - 2}" '
                f'height="{cell - 2}" fill="{fill}" stroke="currentColor"/>'
            )
    if places.out:
        x, y = left + column * cell + cell / 2, row * cell + cell / 2
        shapes.append(f'<circle cx="{x}" cy="{y}" r="4" fill="white"/>')
        shapes.append(
            f'<text x="{n * cell + 22}" y="18" text-anchor="middle" font-size="18" '
            'fill="currentColor">→</text>'
        )
    width, height = left + max(places.out, 1) * cell + 4, max(n, places.out) * cell + 26
    caption = f"input {places.size}×{places.size}" + (f", padding {p} (dashed zeros)" if p else "")
    shapes.append(f'<text x="0" y="{height - 6}" font-size="13" fill="currentColor">{caption}</text>')
    out = f"output {places.out}×{places.out}" if places.out else "no output: the kernel does not fit"
    words = f"{caption}; {out}; output row {row}, column {column} touches the dotted pixels."
    caption_out = (
        f'<text x="{left}" y="{places.out * cell + 18}" font-size="13" fill="currentColor">'
        f"{places.out}×{places.out}</text>"
        if places.out
        else ""
    )
    width = max(width, 320)
    return (
        f'<svg role="img" aria-label="{html.escape(words)}" width="{width}" height="{height}" '
        f'style="max-width:100%;color:inherit;font-family:sans-serif">{"".join(shapes)}{caption_out}</svg>'
    )


def arithmetic_sheet() -> bytes:
    """The static figure: four settings, the pixels that one output number touches, and the sum."""
    settings = [(5, 3, 1, 0, 1), (5, 3, 1, 1, 1), (7, 3, 2, 0, 1), (7, 3, 1, 0, 2)]
    names = ["kernel 3", "kernel 3, padding 1", "kernel 3, stride 2", "kernel 3, dilation 2"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(10, 3.3))
        for axis, name, setting in zip(axes, names, settings, strict=True):
            places = Places(*setting)
            row = column = 1
            touched = {(r, c) for r in places.taps(row) for c in places.taps(column)}
            for r in range(places.padded):
                for c in range(places.padded):
                    inside = all(places.padding <= i < places.padding + places.size for i in (r, c))
                    hit = (r, c) in touched
                    face = "#0072B2" if hit else "#e6e6e6" if inside else "white"
                    line = "-" if inside else ":"
                    axis.add_patch(
                        plt.Rectangle((c, r), 1, 1, facecolor=face, edgecolor="black", linestyle=line)
                    )
                    if hit:
                        axis.plot(c + 0.5, r + 0.5, "o", color="white", markersize=4)
            n, k, s, p, d = setting
            axis.set(xlim=(-0.1, places.padded + 0.1), ylim=(places.padded + 0.1, -0.1), aspect="equal")
            axis.set_title(name, fontsize=10)
            axis.axis("off")
            sum_ = f"span {d}·({k}−1)+1 = {places.span}\nroom {n}+2·{p}−{places.span} = {places.room}\n"
            sum_ += f"output ⌊{places.room}/{s}⌋+1 = {places.out}"
            axis.text(0.5, -0.06, sum_, transform=axis.transAxes, ha="center", va="top", fontsize=10)
        figure.tight_layout(pad=0.4)
        return light_png(figure)


# ---- lesson 05: training that works ----

RATE_LOW, RATE_HIGH = 1e-6, 10.0  # what may be typed as a learning rate


class LearningRateFinder(ipw.VBox):
    """The search for a learning rate, and beside it what a short training at one rate does.

    rates, losses: the search, a loss at each of the growing rates. tried: rate -> losses of a short training,
    shown by the slider. train: a function of a rate that makes such a training and returns its losses; with
    it, a rate of one's own can be typed in. The lesson supplies all of them; nothing is trained in here.
    `chosen` is the rate on the page, `verdict` the sentence about it.
    """

    def __init__(self, rates: Any = None, losses: Any = None, tried: Any = None, train: Any = None) -> None:
        self.chosen: float | None = None
        self.verdict = ""
        self.ready = False
        try:
            self.rates, self.losses, self.tried = read_search(rates, losses, tried)
        except ValueError as error:
            super().__init__([ipw.HTML(sentence(str(error)))])
            return
        self.ready, self.train = True, train
        self.slider = ipw.SelectionSlider(
            options=self._options(),
            description="rate",
            continuous_update=False,
            layout=ipw.Layout(width="420px", max_width="100%"),
        )
        self.field = ipw.Text(
            value="0.005", description="your own", layout=ipw.Layout(width="200px"), continuous_update=True
        )
        self.button = ipw.Button(
            description="Train with it", tooltip="A short training at the rate in the field"
        )
        self.remark, self.caption = ipw.HTML(), ipw.HTML()
        self.view = picture_widget(*self._picture(self.slider.value), width=900)
        own = ipw.HBox([self.field, self.button, self.remark], layout=ipw.Layout(flex_flow="row wrap"))
        own.layout.display = "flex" if callable(train) else "none"
        super().__init__([keep_keys("course-rates"), self.slider, own, self.view, self.caption])
        self.add_class("course-rates")
        self.slider.observe(lambda change: self._show(change["new"]), names="value")
        self.button.on_click(self._train_own)
        middle = sorted(self.tried)[(len(self.tried) - 1) // 2]
        self.slider.value = middle
        self._show(middle)

    def show(self) -> None:
        """Display it, with three of the rates as a static figure where widgets do not render."""
        if not self.ready:
            words = "No search for a learning rate was given."
            show_with_picture(self, None, words)
            return
        rates = sorted(self.tried)
        few = {rate: self.tried[rate] for rate in dict.fromkeys((rates[0], self.chosen, rates[-1]))}
        png = figure_png(rate_figure(self.rates, self.losses, few, self.chosen))
        show_with_picture(self, png, "A learning-rate finder; the picture shows its search and three rates.")

    def _options(self) -> list[tuple[str, float]]:
        return [(f"{rate:g}", rate) for rate in sorted(self.tried)]

    def _picture(self, rate: float) -> tuple[bytes, str]:
        png = figure_png(rate_figure(self.rates, self.losses, {rate: self.tried[rate]}, rate))
        words = (
            f"Left, the search: training loss against learning rate, with a line at {rate:g}. "
            f"Right: {rate_verdict(rate, self.tried[rate])}"
        )
        return png, words

    def _show(self, rate: float) -> None:
        self.chosen, self.verdict = rate, rate_verdict(rate, self.tried[rate])
        set_picture(self.view, *self._picture(rate), width=900)
        self.caption.value = f'<span role="status">{html.escape(self.verdict)}</span>'

    def _train_own(self, _: Any = None) -> None:
        try:
            rate = read_number(self.field.value, "The learning rate", RATE_LOW, RATE_HIGH)
        except ValueError as error:
            self.remark.value = sentence(str(error))
            return
        if rate not in self.tried:
            self.remark.value = sentence("Training …")
            self.button.disabled = True
            try:
                self.tried[rate] = read_losses(self.train(rate), f"The training at rate {rate:g}")
            except Exception as error:  # the function is the learner's, and may do anything
                first = (str(error).strip().splitlines() or ["no message"])[0]
                self.remark.value = sentence(
                    f"The training stopped with {type(error).__name__}: {first} Mend that function."
                )
                return
            finally:
                self.button.disabled = False
            self.slider.options = self._options()
        self.remark.value = ""
        self.slider.value = rate
        self._show(rate)


def read_losses(values: Any, what: str) -> np.ndarray:
    """A row of at least two losses; a ValueError with a sentence if it is none. NaN counts as 1e9."""
    try:
        losses = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{what} gave {describe(values)}, which is no list of numbers.") from None
    if losses.ndim != 1 or len(losses) < 2:
        raise ValueError(f"{what} gave shape {losses.shape}; a row of two losses or more is needed.")
    return np.nan_to_num(losses, nan=1e9, posinf=1e9, neginf=-1e9)


def read_search(
    rates: Any, losses: Any, tried: Any
) -> tuple[np.ndarray, np.ndarray, dict[float, np.ndarray]]:
    """What `LearningRateFinder` was given, as arrays; a ValueError with a sentence if it cannot be drawn."""
    rates, losses = read_losses(rates, "rates"), read_losses(losses, "losses")
    if len(rates) != len(losses):
        raise ValueError(
            f"There are {len(rates)} rates and {len(losses)} losses; give one loss for each rate."
        )
    if (rates <= 0).any():
        raise ValueError(f"A learning rate must be above 0, and one of these is {rates.min():g}.")
    if not isinstance(tried, dict) or not tried:
        raise ValueError("tried must be a dictionary: learning rate -> losses of a short training.")
    short: dict[float, np.ndarray] = {}
    for rate, values in tried.items():
        number = read_number(rate, "A rate in tried", RATE_LOW, RATE_HIGH)
        short[number] = read_losses(values, f"tried[{rate}]")
    return rates, losses, short


def rate_verdict(rate: float, losses: Any) -> str:
    """What a short training says of its rate, in a sentence."""
    losses, guess = np.asarray(losses, dtype=float), float(np.log(2))
    steps = f"After {len(losses)} steps at rate {rate:g} the loss is {min(losses[-1], 999):.2f}"
    if losses.max() > 1.0:
        return (
            f"{steps}, and on the way it was as high as {min(losses.max(), 999):.2f}: the rate is too large."
        )
    if losses[-1] > guess - 0.05:
        return f"{steps}; guessing is {guess:.2f}: the rate is too small, hardly anything was learned."
    if losses[-1] > 0.5:
        return f"{steps}; guessing is {guess:.2f}: it learns."
    return f"{steps}; guessing is {guess:.2f}: it learns fast."

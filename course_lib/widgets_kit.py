"""What the interactive pieces of the lessons share: a figure in their place where widgets do not render, the
picture widget, and numbers read from a text field without a traceback.

The pieces themselves stand in `widgets_see` (lessons 00 to 02), `widgets_convolve` (03 to 05),
`widgets_attend` (06 to 08), `widgets_fusion` (09) and `widgets_network` (10), the uploader in `widgets`. Only
modules named ``widgets…`` know ipywidgets.
"""

from __future__ import annotations

import base64
import html
import io
import math
from typing import Any

import ipywidgets as ipw
import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from .data import load

FOCUS = "#0072B2"  # the frame round what has the keyboard: ipywidgets gives its sliders none
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def figure_png(figure: Figure) -> bytes:
    """A matplotlib figure as PNG bytes; the figure is closed."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, facecolor="white", bbox_inches="tight", pad_inches=0.05)
    plt.close(figure)
    return stream.getvalue()


def light_png(figure: Figure, colours: int = 24) -> bytes:
    """A figure as PNG of few colours: far fewer bytes, for the figures that stand in for widgets."""
    stream = io.BytesIO()
    image = Image.open(io.BytesIO(figure_png(figure))).convert("RGB")
    image.quantize(colours).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def sentence(words: str) -> str:
    """A remark beside a field: words with a sign before them, in the colours of the page."""
    if not words:
        return ""
    style = "border-left:3px solid #D55E00;padding-left:6px"
    return f'<span role="status" style="{style}">{html.escape(words)}</span>'


def notes(*lines: str) -> str:
    """Remarks one below the other, as HTML; "" if there are none."""
    told = "".join(f"<p><b>Note:</b> {html.escape(line)}</p>" for line in lines)
    return f'<div role="status">{told}</div>' if told else ""


def picture_png(picture: np.ndarray, side: int = 256) -> bytes:
    """A uint8 array H×W or H×W×3 as PNG bytes, its pixels enlarged as squares to about ``side`` pixels."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    zoom = max(1, side // max(image.size))
    stream = io.BytesIO()
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()


def picture_widget(png: bytes, words: str, width: int = 256) -> ipw.HTML:
    """A PNG on the page with alt text (ipywidgets' own Image has none); replace it with `set_picture`."""
    view = ipw.HTML()
    set_picture(view, png, words, width)
    return view


def set_picture(view: ipw.HTML, png: bytes, words: str, width: int | None = 256) -> None:
    """Show another picture in a `picture_widget`; ``words`` say what it shows to those who cannot see it.

    width: in pixels of the page; None is the picture's own, for figures, whose letters would blur.
    """
    data = base64.b64encode(png).decode()
    width = width or Image.open(io.BytesIO(png)).width
    view.value = (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(words, quote=True)}" '
        f'style="width:{width}px;max-width:100%;image-rendering:pixelated">'
    )


def show_with_picture(widget: ipw.Widget, png: bytes | None, words: str) -> None:
    """Display a widget, with a PNG in its place wherever widgets do not render (GitHub, print, nbviewer).

    One output carries both; every front end shows the richest form it understands. ``words`` is the plain
    text of the output. None in the place of the PNG, a white strip: there is nothing to show.
    """
    png = picture_png(np.full((8, 256), 255, np.uint8)) if png is None else png
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    picture = base64.b64encode(png).decode()
    display({WIDGET_VIEW: view, "image/png": picture, "text/plain": words}, raw=True)


def keep_keys(name: str, keys: dict[str, str] | None = None) -> ipw.HTML:
    """An invisible widget that keeps key presses inside the piece with class ``name``; put it among them.

    JupyterLab takes single letters as commands wherever no text field has the focus: with a button focused,
    R turns the cell into raw text and the piece is gone. Lumino's attribute, set on whatever has the focus,
    tells it to leave plain keys alone; combinations with Ctrl, Alt or Cmd, and Shift + Enter, stay
    JupyterLab's.
    keys: which key clicks which child (by its class), such as ``{"r": "course-real"}``. With keys, the second
    click of a double click and the repeats of a key held down do nothing: they are no second answers.
    Where a page does not run the handler, mouse, Tab and the space bar still do everything. What has the
    focus gets a frame that can be seen.
    """
    clicks = "".join(
        f"if(k==='{key}'){{e.preventDefault();g.querySelector('.{child}').click()}}"
        for key, child in (keys or {}).items()
    )
    script = (  # on the window, in the capture phase: before any other listener sees the key
        f"var g=this.closest('.{name}');if(g)window.addEventListener('keydown',function(e){{var t=e.target;"
        "if(!g.contains(t))return;"
        "var theirs=e.ctrlKey||e.altKey||e.metaKey||(e.shiftKey&amp;&amp;e.key==='Enter');"
        "t.toggleAttribute('data-lm-suppress-shortcuts',!theirs);"
        "if(theirs||t.matches('input,select,textarea,[contenteditable]'))return;"
        f"{'if(e.repeat){e.preventDefault();return}' if keys else ''}"
        f"var k=e.key.toLowerCase();{clicks}}},true)"
    )
    if keys:
        script += (
            ";if(g)window.addEventListener('click',function(e){if(e.detail&gt;1&amp;&amp;g.contains(e.target)"
            "&amp;&amp;e.target.closest('button')){e.preventDefault();e.stopImmediatePropagation()}},true)"
        )
    seen = f".{name} :is(button, input, select, textarea, .noUi-handle, [contenteditable]):focus-visible"
    frame = f"{seen} {{ outline: 3px solid {FOCUS} !important; outline-offset: 1px; }}"
    return ipw.HTML(f'<style onload="{script}">.{name} {{ outline: none; }} {frame}</style>')


def read_number(text: Any, what: str, low: float, high: float) -> float:
    """The number in a text field; ValueError with a sentence for the page if it is none or out of range."""
    try:
        value = float(str(text).strip().replace("\u2212", "-").replace(",", "."))
    except ValueError:
        raise ValueError(f"{what} is {str(text)[:20]!r}, which is not a number.") from None
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{what} is {value:g}; it must be between {low:g} and {high:g}.")
    return value


def read_whole(given: Any, what: str, low: int, high: int) -> float:
    """A whole number in range; ValueError with a sentence if it is none."""
    value = read_number(given, what, low, high)
    if value != int(value):
        raise ValueError(f"{what} is {value:g}, which is not a whole number.")
    return value


def read_faces(faces: Any, names: Any) -> tuple[torch.Tensor, list[str]]:
    """Faces as one uint8 tensor N×3×H×W, and a name for each; ValueError with a sentence if they are none."""
    if faces is None:
        valid = load("studio").valid
        faces = [valid.uint8(int(np.flatnonzero(valid.labels == label)[0])) for label in (0, 1)]
        names = ["a real one", "a fake"] if names is None else names
    if isinstance(faces, torch.Tensor) and faces.ndim == 3:
        faces = [faces]
    usable = isinstance(faces, (torch.Tensor, list, tuple)) and len(faces) > 0
    if not usable or not all(
        isinstance(f, torch.Tensor) and f.ndim == 3 and f.shape[0] == 3 and f.dtype == torch.uint8
        for f in faces
    ):
        raise ValueError("The faces are to be uint8 tensors of shape (3, height, width), at least one.")
    if len({tuple(f.shape) for f in faces}) > 1 or min(faces[0].shape[1:]) < 32:
        raise ValueError("The faces are to be of one size, with sides of at least 32 pixels.")
    names = [f"face {i}" for i in range(len(faces))] if names is None else names
    if isinstance(names, str) or not isinstance(names, (list, tuple)) or len(names) != len(faces):
        raise ValueError(f"The names are to be a list of {len(faces)}, one for each face.")
    return torch.stack(list(faces)), [str(name) for name in names]

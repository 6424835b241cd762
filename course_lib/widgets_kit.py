"""What the interactive pieces of the lessons share: a figure in their place where widgets do not render, the
picture widget, and numbers read from a text field without a traceback.

The pieces themselves stand in `widgets_see` (lessons 00 to 02) and `widgets_convolve` (lessons 03 to 05), the
uploader in `widgets`. Only modules named ``widgets…`` know ipywidgets.
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
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def figure_png(figure: Figure) -> bytes:
    """A matplotlib figure as PNG bytes; the figure is closed."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, facecolor="white", bbox_inches="tight", pad_inches=0.05)
    plt.close(figure)
    return stream.getvalue()


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


def set_picture(view: ipw.HTML, png: bytes, words: str, width: int = 256) -> None:
    """Show another picture in a `picture_widget`; ``words`` say what it shows to those who cannot see it."""
    data = base64.b64encode(png).decode()
    view.value = (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(words, quote=True)}" '
        f'style="width:{width}px;max-width:100%;image-rendering:pixelated">'
    )


def show_with_picture(widget: ipw.Widget, png: bytes, words: str) -> None:
    """Display a widget, with a PNG in its place wherever widgets do not render (GitHub, print, nbviewer).

    One output carries both; every front end shows the richest form it understands. ``words`` is the plain
    text of the output.
    """
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
    Where a page does not run the handler, mouse, Tab and the space bar still do everything.
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
    return ipw.HTML(f'<style onload="{script}">.{name} {{ outline: none; }}</style>')


def read_number(text: Any, what: str, low: float, high: float) -> float:
    """The number in a text field; ValueError with a sentence for the page if it is none or out of range."""
    try:
        value = float(str(text).strip().replace("\u2212", "-").replace(",", "."))
    except ValueError:
        raise ValueError(f"{what} is {str(text)[:20]!r}, which is not a number.") from None
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{what} is {value:g}; it must be between {low:g} and {high:g}.")
    return value

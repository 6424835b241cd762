"""Sphinx's settings for the site of the course; `build.py` beside this file lays the sources out."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "Real or Fake? Build FaceNeSt"
author = "The contributors"
copyright = "its contributors; code MIT, text CC BY 4.0"
language = "en"

extensions = ["myst_nb"]
nb_execution_mode = "off"  # what was stored is shown
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

linkcheck_ignore = [r"https://github\.com/real-or-fake-course/"]  # itself; build.py looks the files up
linkcheck_workers = 2
linkcheck_timeout = 20

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["course.css"]
html_favicon = "favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {
    "repository_url": "https://github.com/real-or-fake-course/real-or-fake",
    "path_to_docs": "notebooks",
    "use_repository_button": True,
    "use_download_button": False,
    "show_navbar_depth": 1,
    "navbar_persistent": [],  # one search field, the one in the side bar
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Formulas become MathML as the site is built: no script from elsewhere, and they can be read aloud."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))

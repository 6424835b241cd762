"""Widgets of the lessons with nothing but a keyboard: Tab reaches every control, each has a name, keys work.

Beside it: the uploader in test_browser, the game and the JPEG slider in test_browser_see.
"""

import pytest
import test_browser as stage

pytestmark = stage.pytestmark
CODE = [
    "from course_lib import BaseRateExplorer, ConvolutionArithmetic, GradientChain, ThresholdExplorer",
    "ConvolutionArithmetic().show()",
    "GradientChain(slope=0.5, steps=10).show()",
    "ThresholdExplorer().show()",
    "BaseRateExplorer(tpr=0.98, fpr=0.005, prevalence=0.01).show()",
]
PIECES = ("course-arithmetic", "course-chain", "course-threshold", "course-rates")

# Every control of a piece that can be used now, numbered; what is read aloud for it.
CONTROLS = """name => [...document.querySelectorAll(`.${name} *`)]
  .filter(e => e.matches("button, input, select, textarea, [tabindex='0'], [contenteditable]"))
  .filter(e => !e.disabled && (e.tabIndex >= 0 || e.isContentEditable))
  .filter(e => e.getClientRects().length && e.type !== 'hidden')
  .map((e, i) => {
    e.dataset.control = `${name} ${i}`;
    const row = e.closest('.widget-inline-hbox, .jupyter-widget');
    const beside = row && row.querySelector('.widget-label, label');
    const words = e.getAttribute('aria-label') || e.title || (beside && beside.textContent) || e.textContent;
    return [e.dataset.control, (words || '').trim()];
  })"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with stage.open_pieces(tmp_path_factory.mktemp("keyboard"), CODE) as opened:
        yield opened


@pytest.mark.parametrize("piece", PIECES)
def test_tab_reaches_every_control_and_each_has_a_name(page, piece):
    page.locator(f".{piece}").first.wait_for()
    controls = dict(page.evaluate(CONTROLS, piece))
    assert len(controls) >= 2
    assert all(controls.values()), f"controls without a name: {controls}"
    page.locator(f"[data-control='{piece} 0']").focus()
    reached = []
    for _ in range(len(controls) + 5):
        here = page.evaluate("document.activeElement.dataset.control || ''")
        if not here.startswith(piece):
            break
        reached.append(here)
        page.keyboard.press("Tab")
    assert sorted(set(reached)) == sorted(controls), "Tab passes some controls by"


@pytest.mark.parametrize("piece", ("course-chain", "course-threshold"))
def test_an_arrow_key_moves_a_slider_and_what_it_says(page, piece):
    box = page.locator(f".{piece}").first
    handle = box.locator(".noUi-handle").first
    handle.focus()
    before = box.inner_text(), box.locator("img").first.get_attribute("alt")
    page.keyboard.press("ArrowRight")
    frame = handle.evaluate("e => getComputedStyle(e).outlineStyle")
    assert frame == "solid", "one must see where the keyboard is"
    page.wait_for_function(
        "([piece, text, alt]) => { const e = document.querySelector('.' + piece);"
        " return e.innerText !== text || e.querySelector('img').alt !== alt; }",
        arg=[piece, *before],
        timeout=30_000 * stage.PATIENCE,
    )
    assert page.locator(stage.ERROR_OUTPUT).count() == 0

"""The pieces of lessons 00 and 01 under real keys and a real mouse, in JupyterLab and Chromium."""

import pytest
import test_browser as stage

pytestmark = stage.pytestmark
CODE = [
    "from course_lib import FaceGame, JpegExplorer, load\nsets = load('studio')",
    "game = FaceGame(sets.test)\ngame.show()",
    "explorer = JpegExplorer([sets.train.uint8(0), sets.train.uint8(1)])\nexplorer.show()",
    "print(game.answers)",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with stage.open_pieces(tmp_path_factory.mktemp("see"), CODE) as opened:
        yield opened


def wait_for(page, selector, words):
    page.locator(selector).get_by_text(words, exact=False).first.wait_for(timeout=30_000 * stage.PATIENCE)


def test_the_game_with_mouse_keys_and_field(page):
    game = page.locator(".course-game")
    game.get_by_role("button", name="Real (R)").click()
    wait_for(page, ".course-game", "Face 2 of 20")
    for number, key in enumerate(("f", "r", "Space", "Enter"), start=3):  # the button keeps the focus
        page.keyboard.press(key)
        wait_for(page, ".course-game", f"Face {number} of 20")
        assert page.evaluate("document.activeElement.textContent") == "Real (R)"
    for key in ("b", "x", "d", "d", "m", "y"):  # commands of JupyterLab, were they let through
        page.keyboard.press(key)
    assert game.count() == 1 and page.locator(".jp-CodeCell").count() == len(CODE)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait_for(page, ".course-game", "Face 7 of 20")
    field = game.locator("input[type=text]")
    field.click()
    page.keyboard.press("End")
    page.keyboard.type("frfrfrfrfrfrfr", delay=150)
    wait_for(page, ".course-game", "All 20 faces are judged")
    assert game.locator("img[alt*='you: ']").count() == 1
    assert field.input_value().upper() == "RFRRRF" + "FR" * 7
    game.get_by_role("button", name="20 new faces").click()
    wait_for(page, ".course-game", "Face 1 of 20")


def test_a_double_click_and_a_held_key_are_one_answer_each(page):
    game = page.locator(".course-game")
    before = int(game.inner_text().partition("Face ")[2].split()[0])
    game.get_by_role("button", name="Real (R)").dblclick()
    wait_for(page, ".course-game", f"Face {before + 1} of 20")
    for _ in range(4):  # the first is a press, the others are repeats
        page.keyboard.down("f")
    page.keyboard.up("f")
    wait_for(page, ".course-game", f"Face {before + 2} of 20")
    page.wait_for_timeout(1000)
    assert f"Face {before + 2} of 20" in game.inner_text()


def test_the_jpeg_slider_with_arrow_keys_and_nonsense(page):
    piece = page.locator(".course-jpeg")
    piece.locator(".noUi-handle").focus()
    for key, quality in (("ArrowLeft", 49), ("ArrowDown", 48), ("ArrowRight", 49)):
        page.keyboard.press(key)
        wait_for(page, ".course-jpeg [role=status]", f"quality {quality}:")
    page.keyboard.press("r")  # would turn the cell into raw text
    assert piece.count() == 1
    number = piece.locator(".widget-readout")
    for text, quality in (("abc", 49), ("500", 95), ("10", 10)):
        number.click()
        page.keyboard.press("Control+a")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        wait_for(page, ".course-jpeg [role=status]", f"quality {quality}:")
    piece.locator("select").select_option("face 2")
    assert page.locator(stage.ERROR_OUTPUT).count() == 0

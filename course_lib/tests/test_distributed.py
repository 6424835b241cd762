"""Several processes make the training of one: on two gloo processes on the CPU, and by the parts."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from test_cli import make_folder
from torch import nn
from toys import ToySet, toy

from course_lib import CourseError, facenest, fit
from course_lib.checkpoints import load_checkpoint
from course_lib.distributed import (
    AloneError,
    Team,
    TeamError,
    connection_lost,
    join_team,
    joint_moments,
    own_device,
)
from course_lib.evaluation import predict_logits
from course_lib.training import Stepper, make_optimizer
from course_lib.transforms import AUGMENTS, training_batch

HERE = Path(__file__).resolve().parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
QUICK = {"epochs": 2, "batch_size": 16, "crop": 40, "lr": 0.003, "progress": False, "device": "cpu"}
CASES = {
    "plain": {"augment": None},
    "all of it": {"augment": "strong", "ema": 0.9, "label_smoothing": 0.1},
}
# Rounding: another order of addition. Where a gradient is 0 but for rounding (the biases before the head's
# batch norm) AdamW makes whole steps of it, so weights are held to the step size, and answers to 1e-3.
WEIGHTS, ANSWERS = dict(rtol=0, atol=2 * 0.003), dict(rtol=0, atol=1e-3)

# What each of the two processes does; it leaves what it saw in a file.
WORK = """
import sys; sys.path.insert(0, {here!r})
import torch
from torch import nn
from pathlib import Path
from toys import ToySet, toy
from test_distributed import CASES, QUICK, network, sets
from course_lib import facenest, fit, CourseError
from course_lib.distributed import Team, join_team, whole_batch

torch.set_num_threads(1)
out, seen = Path({out!r}), {{}}
with join_team(torch.device("cpu")) as (team, device):
    seen["team"] = (team.rank, team.size)
    for name, change in CASES.items():
        result = fit(network(seed=team.rank), *sets(), run_dir=out / name, **QUICK | change)
        seen[name] = result.model.state_dict()
        seen[name + " losses"] = result.history.train_loss.tolist()
    # begun by one process, ended here; begun here, to be ended by one process
    seen["ended here"] = fit(network(), *sets(), run_dir=out / "one then two", **QUICK).model.state_dict()
    half = sets(fail_at=36 // 2 + 3, error=KeyboardInterrupt())
    seen["begun here"] = fit(network(), *half, run_dir=out / "two then one", **QUICK).stopped
    messages = []
    for wrong in (dict(batch_size=9), dict(batch_size=2), dict(run_dir=out / "plain", lr=1.0)):
        try:
            fit(toy(), *sets(), **dict(run_dir=out / "wrong") | QUICK | wrong)
        except CourseError as error:
            messages.append(str(error))
    seen["messages"] = messages

    # batch norm, dropout and their gradients: half of a batch here, half of it there
    torch.manual_seed(1)
    last = nn.BatchNorm1d(48, momentum=None)
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.4), nn.Flatten(), last)
    x = torch.randn(6, 3, 4, 4) * 3 + 5
    mine = x[team.share(6)].clone().requires_grad_()
    with whole_batch(layers, team):
        torch.manual_seed(2)
        y = layers(mine)
        (y * torch.linspace(-1, 1, 6)[team.share(6), None] ** 3).sum().backward()
        team.add_up([p.grad for p in layers.parameters()])
        layers.eval()
        seen["judging"] = layers(x)
    seen["layers"] = (y.detach(), mine.grad, [p.grad for p in layers.parameters()], layers.state_dict())
    assert "forward" not in vars(layers[0])
    torch.save(seen, out / f"rank{{team.rank}}.pt")
"""


class Grainy(ToySet):
    """Toy pictures with grain: in flat blocks, a maximum has many equal places, and rounding chooses."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        rng = np.random.default_rng(len(self))
        for image in self.images:
            image.add_(torch.from_numpy(rng.integers(0, 20, image.shape, dtype=np.uint8)))


def network(seed=0):
    torch.manual_seed(seed)
    return facenest(width=4)


def sets(**changes):
    return Grainy(36, **changes), Grainy(12, seed=1)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes saw, rank by rank, and their folder."""
    out = tmp_path_factory.mktemp("two")
    stopped = fit(
        network(), *sets(fail_at=36, error=KeyboardInterrupt()), run_dir=out / "one then two", **QUICK
    )
    assert stopped.stopped == "interrupted" and len(stopped.history) == 1
    (out / "work.py").write_text(WORK.format(here=str(HERE), out=str(out)))
    done = subprocess.run(
        [*TORCHRUN, "--nproc_per_node=2", str(out / "work.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(out / f"rank{rank}.pt") for rank in (0, 1)], out, done


def answers(weights):
    model = network().eval()
    model.load_state_dict(weights)
    return predict_logits(model, Grainy(12, seed=1).images)


def close(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], **WEIGHTS, msg=lambda text, name=name: f"{name}: {text}")
    assert np.allclose(answers(a), answers(b), **ANSWERS), np.abs(answers(a) - answers(b)).max()


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_result_of_one(two, tmp_path, case):
    (first, second), _, _ = two
    assert first["team"] == (0, 2) and second["team"] == (1, 2)
    single = fit(network(), *sets(), run_dir=tmp_path, **QUICK | CASES[case])
    assert first[case + " losses"] == pytest.approx(single.history.train_loss.tolist(), abs=1e-5)
    assert first[case + " losses"] == second[case + " losses"]
    close(first[case], single.model.state_dict())
    assert all(torch.equal(first[case][name], second[case][name]) for name in first[case])


def test_batch_norm_by_shares_would_give_another_network(tmp_path):
    """So the tolerance above is not too wide: what it must tell apart is far larger."""
    single = fit(network(), *sets(), run_dir=tmp_path / "one", **QUICK | CASES["plain"])
    model = network()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            plain = module.forward
            module.forward = lambda x, f=plain, m=module: (
                torch.cat([f(half) for half in x.tensor_split(2)]) if m.training else f(x)
            )
    ghosts = fit(model, *sets(), run_dir=tmp_path / "halves", **QUICK | CASES["plain"])
    difference = answers(single.model.state_dict()) - answers(ghosts.model.state_dict())
    assert np.abs(difference).max() > 15 * ANSWERS["atol"]
    assert abs(single.history.train_loss[0] - ghosts.history.train_loss[0]) > 1e-3


def test_rank_0_alone_writes_and_speaks(two):
    _, out, done = two
    assert "Interrupted" in done.stdout and done.stdout.count("Interrupted") == 1
    for case in CASES:
        assert {path.name for path in (out / case).iterdir()} >= {"state.pt", "history.csv", "best"}
        assert len(list((out / case).glob("events.*"))) <= 1


def test_resume_with_another_number_of_processes(two, tmp_path):
    (first, second), out, _ = two
    single = fit(network(), *sets(), run_dir=tmp_path, **QUICK).model.state_dict()
    close(first["ended here"], single)
    close(second["ended here"], single)
    assert first["begun here"] == second["begun here"] == "interrupted"
    assert len((out / "two then one" / "history.csv").read_text().splitlines()) == 1 + 1
    close(fit(network(), *sets(), run_dir=out / "two then one", **QUICK).model.state_dict(), single)


def test_every_process_hears_what_is_wrong(two):
    (first, second), _, _ = two
    assert first["messages"] == second["messages"] and len(first["messages"]) == 3
    assert "batch of 9 images cannot be shared equally by 2 processes" in first["messages"][0]
    assert "such as 8" in first["messages"][0] and "such as 4" in first["messages"][1]
    assert "lr=0.003 and is now asked for lr=1.0" in first["messages"][2]


def test_layers_see_the_whole_batch(two):
    torch.manual_seed(1)
    layers = nn.Sequential(
        nn.BatchNorm2d(3), nn.Dropout(0.4), nn.Flatten(), nn.BatchNorm1d(48, momentum=None)
    )
    x = (torch.randn(6, 3, 4, 4) * 3 + 5).requires_grad_()
    torch.manual_seed(2)
    y = layers(x)
    (y * torch.linspace(-1, 1, 6)[:, None] ** 3).sum().backward()
    layers.eval()
    close = dict(rtol=1e-4, atol=1e-5)
    for rank, seen in enumerate(two[0]):
        out, slopes, gradients, state = seen["layers"]
        part = Team(rank, 2).share(6)
        torch.testing.assert_close(out, y[part], **close)
        torch.testing.assert_close(slopes, x.grad[part], **close)
        for mine, whole in zip(gradients, layers.parameters(), strict=True):
            torch.testing.assert_close(mine, whole.grad, **close)
        for name, value in layers.state_dict().items():
            torch.testing.assert_close(state[name], value, **close)
        torch.testing.assert_close(seen["judging"], layers(x), **close)


def test_the_command_line_under_torchrun(tmp_path):
    folder = make_folder(tmp_path / "own", {"train": 12, "valid": 6, "test": 6})
    line = [
        "-m",
        "course_lib",
        "train",
        "--data",
        folder,
        "--epochs",
        "2",
        "--batch-size",
        "8",
        "--crop",
        "32",
    ]
    line = [str(part) for part in [*line, "--width", "4", "--device", "cpu", "--run-dir"]]
    runs = {}
    for size in (1, 2):
        start = [*TORCHRUN, f"--nproc_per_node={size}"] if size > 1 else [sys.executable]
        done = subprocess.run([*start, *line, str(tmp_path / f"run{size}")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("Test AUC") == done.stdout.count("12 real and 12 fake") == 1
        runs[size] = load_checkpoint(tmp_path / f"run{size}" / "checkpoint")
    close(runs[1].model.state_dict(), runs[2].model.state_dict())
    metrics = [
        json.loads((r.folder / "config.json").read_text())["metrics"]["test"]["auc"] for r in runs.values()
    ]
    assert metrics[0] == pytest.approx(metrics[1], abs=0.02)
    wrong = [*TORCHRUN, "--nproc_per_node=2", *line, str(tmp_path / "run3"), "--batch-size", "7"]
    done = subprocess.run(wrong, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.count("batch of 7 images cannot be shared equally by 2") == 1


LEAVES = """
import sys; sys.path.insert(0, {here!r})
import os, torch
from toys import ToySet, toy
from course_lib import CourseError, fit
class Leaves(ToySet):
    def uint8(self, i):
        if os.environ["RANK"] == "1" and self.asked == 30:
            os._exit(3)
        return super().uint8(i)
try:
    fit(toy(), Leaves(), ToySet(12, seed=1), run_dir={out!r}, **{quick!r})
except CourseError as error:
    print(type(error).__name__, error)
"""


def test_when_another_process_is_gone(tmp_path):
    """Launched by hand, for torchrun would end the one that is left at once."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (tmp_path / "leaves.py").write_text(LEAVES.format(here=str(HERE), out=str(tmp_path / "run"), quick=QUICK))
    torchruns = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    both = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "leaves.py")],
            env=os.environ | torchruns | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    out, err = both[0].communicate(timeout=120)
    both[1].communicate(timeout=120)
    assert both[1].returncode == 3
    assert "TeamError Process 1 of 2 lost the others" in out, out + err
    assert len((tmp_path / "run" / "history.csv").read_text().splitlines()) == 1 + 1


TROUBLE = """
import os, sys, time
from course_lib import data, distributed, facenest
from course_lib.__main__ import main
from course_lib.errors import DataError
rank = os.environ["RANK"]
distributed.A_MOMENT = 60 if {case!r} == "rank 0 is slow" else 2  # so that a busy machine changes nothing
def slow(*args, real=facenest, **kwargs):
    time.sleep(8)
    return real(*args, **kwargs)
def broken(self, i):
    raise DataError("picture 7 cannot be read any more")
if {case!r} == "rank 0 is slow" and rank == "0":
    sys.modules["course_lib.facenest"].facenest = slow
if {case!r} == "rank 1 alone" and rank == "1":
    data.FaceDataset.uint8 = data.FaceDataset.uint8s = broken
sys.exit(main({line!r}))
"""


@pytest.mark.parametrize(
    ("case", "lr", "sentence"),
    [
        ("rank 0 is slow", "-1", "lr=-1.0 must be a number of 0 or more"),
        ("rank 1 alone", "0.003", "Process 2 of 2: picture 7 cannot be read any more"),
    ],
)
def test_the_sentence_is_heard_whichever_process_stops_first(tmp_path, case, lr, sentence):
    """torchrun ends all processes as soon as one has failed: the one that can say why must come to do so."""
    folder = make_folder(tmp_path / "own", {"train": 8, "valid": 4, "test": 4})
    line = ["train", "--data", str(folder), "--run-dir", str(tmp_path / "run"), "--epochs", "1", "--lr", lr]
    line += ["--batch-size", "8", "--crop", "32", "--width", "4", "--device", "cpu"]
    (tmp_path / "trouble.py").write_text(TROUBLE.format(case=case, line=line))
    start = [*TORCHRUN, "--nproc_per_node=2", str(tmp_path / "trouble.py")]
    done = subprocess.run(start, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.count(sentence) == 1, done.stderr[-3000:]


#  the parts, in one process --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "light", "strong"])
@pytest.mark.parametrize("size", [2, 3])
def test_shares_make_up_the_batch(name, size):
    data, indices = ToySet(12, sides=(40, 24)), np.random.default_rng(0).permutation(12)

    def make(part=None):
        return training_batch(data, indices, 32, AUGMENTS[name], torch.Generator().manual_seed(4), part)

    shares = [make(Team(rank, size).share(12)) for rank in range(size)]
    assert all(len(share) == 12 // size for share in shares)
    assert torch.equal(torch.cat(shares), make())


def test_moments_of_the_whole_from_those_of_its_parts():
    mean, variance = joint_moments(torch.tensor([[2.0], [6.0]]), torch.tensor([[1.0], [1.0]]))
    assert mean.item() == 4 and variance.item() == 5  # of 1, 3, 5, 7
    parts = torch.randn(4, 100, 7) * 3 + 1e3
    found = joint_moments(parts.mean(1), parts.var(1, correction=0))
    torch.testing.assert_close(found[0], parts.flatten(0, 1).mean(0))
    torch.testing.assert_close(found[1], parts.flatten(0, 1).var(0, correction=0), rtol=1e-3, atol=0)


def test_a_team_of_one_sends_nothing():
    with join_team(torch.device("cpu")) as (team, device):
        assert team == Team() and team.first and device == torch.device("cpu")
        assert team.share(7) == slice(0, 7) and team.only_first(lambda: 5) == 5
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "2"}, "start with: torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "missing or wrong"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "2", "RANK": "-1"}, "RANK is '-1'"),
    ],
)
def test_launched_wrongly(monkeypatch, tmp_path, variables, words):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TeamError) as error:
        fit(toy(), *sets(), run_dir=tmp_path, **QUICK)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_each_process_its_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for variables, device in ({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, "cuda:1"), ({}, "cuda:0"):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert own_device(torch.device("cuda")) == torch.device(device)
        for name in variables:
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(TeamError, match="3 were started here, and there are 2 GPUs"):
        own_device(torch.device("cuda"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(TeamError, match="without a number"):
        own_device(torch.device("cuda:0"))
    with pytest.raises(TeamError, match="not on mps"):
        own_device(torch.device("mps"))


def test_out_of_memory_in_a_team_is_said_by_the_one_that_has_it():
    class Full(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 2))

        def forward(self, x):
            raise RuntimeError("CUDA out of memory")

    model = Full()
    cpu = torch.device("cpu")
    stepper = Stepper(model, make_optimizer(model, 0.1, 0.0, cpu), cpu, lambda x: x.float(), team=Team(1, 2))
    with pytest.raises(AloneError, match="Process 2 of 2 ran out of memory with 8 images"):
        stepper(torch.zeros(8, 3, 8, 8, dtype=torch.uint8), torch.zeros(8))


def test_other_errors_are_not_taken_for_a_lost_connection(monkeypatch):
    assert not connection_lost(RuntimeError("shapes do not match"))
    assert connection_lost(RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1"))


def test_an_error_of_rank_0_alone_is_told_once(capsys, monkeypatch):
    from course_lib.__main__ import speaks_for_all

    monkeypatch.setenv("RANK", "1")
    assert not speaks_for_all(CourseError("x")) and speaks_for_all(AloneError("x"))
    monkeypatch.setenv("RANK", "0")
    assert speaks_for_all(CourseError("x"))


@pytest.fixture
def pretended_team(monkeypatch):
    """Rank 1 of 2, as torchrun says it, with a process group that is only written down."""
    done = []
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: done.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("left"))
    return done


def test_on_gpus_each_process_has_its_own_and_they_speak_nccl(pretended_team, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    with join_team(torch.device("cuda")) as (team, device):
        assert (team.rank, team.size, str(device)) == (1, 2, "cuda:1")
    assert chosen == [torch.device("cuda", 1)] and pretended_team == ["nccl", "left"]


def test_only_a_lost_connection_is_told_as_one(pretended_team):
    with pytest.raises(TeamError, match="Process 2 of 2 lost the others"):
        with join_team(torch.device("cpu")):
            raise RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1")
    with pytest.raises(RuntimeError, match="^a fault of ours$") as other:
        with join_team(torch.device("cpu")):
            raise RuntimeError("a fault of ours")
    assert not isinstance(other.value, TeamError)
    assert pretended_team == ["gloo", "left"] * 2, "the group is left whatever happens"


def test_a_pytorch_without_processes_says_so(pretended_team, monkeypatch):
    monkeypatch.setattr(dist, "is_available", lambda: False)
    with pytest.raises(TeamError, match="cannot train in several processes; start it without torchrun"):
        with join_team(torch.device("cpu")):
            pass
    assert pretended_team == []

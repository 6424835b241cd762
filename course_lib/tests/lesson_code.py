"""What a lesson defines, taken from its code cells without running anything else; is it the library's?"""

import ast
from pathlib import Path
from types import SimpleNamespace

import nbformat
import torch
from torch import nn

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
KEPT = (ast.ClassDef, ast.FunctionDef, ast.Import, ast.ImportFrom)


def definitions(name: str) -> SimpleNamespace:
    """The classes and functions of a lesson (solutions too), and what they import; nothing is run."""
    space: dict = {"__name__": name}
    for cell in nbformat.read(NOTEBOOKS / name, as_version=4).cells:
        if cell.cell_type == "code":
            body = [node for node in ast.parse(cell.source).body if isinstance(node, KEPT)]
            exec(compile(ast.Module(body, []), name, "exec"), space)
    return SimpleNamespace(**space)


def assert_same_gradients(mine: nn.Module, twin: nn.Module, x: torch.Tensor) -> None:
    """With the same numbers in both: same output, same gradient at x and at every parameter, same buffers."""
    outputs, found = [], []
    for network in (mine, twin):
        leaves = {"x": x.clone().requires_grad_(), **dict(network.named_parameters())}
        torch.manual_seed(5)  # the same dropout
        outputs.append(network(leaves["x"]))
        slopes = torch.autograd.grad(outputs[-1].square().sum(), list(leaves.values()), allow_unused=True)
        found.append(dict(zip(leaves, slopes, strict=True)))
    torch.testing.assert_close(*outputs)
    assert found[0].keys() == found[1].keys()
    for name, wanted in found[1].items():
        assert (found[0][name] is None) == (wanted is None), f"{name}: a gradient in one of the two only"
        if wanted is not None:
            torch.testing.assert_close(found[0][name], wanted, msg=lambda text, name=name: f"{name}: {text}")
    theirs = dict(twin.named_buffers())  # the running numbers of batch norm
    for name, value in mine.named_buffers():
        torch.testing.assert_close(value, theirs[name], msg=lambda text, name=name: f"{name}: {text}")

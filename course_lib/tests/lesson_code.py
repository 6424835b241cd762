"""What a lesson defines, taken from its code cells without running anything else of it."""

import ast
from pathlib import Path
from types import SimpleNamespace

import nbformat

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

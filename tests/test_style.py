"""What the house style says that can be read off the tree: sizes, docstrings, names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
#: Says nothing about what is in it.
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
#: A path of one machine, or a registry's host.
FOREIGN = re.compile(r"/work/|/tmp/\w|pypi\.org")
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def sources() -> list[Path]:
    """Return every Python file of the project."""
    folders = ("raftkv", "tests", "benchmarks")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def complaints(text: str) -> list[str]:
    """Return what one file does against the style."""
    tree = ast.parse(text)
    found: list[str] = []
    if tree.body and not ast.get_docstring(tree):
        found.append("the module has no docstring")
    if (lines := len(text.splitlines())) > FILE_LINES_MAX:
        found.append(f"{lines} lines are more than {FILE_LINES_MAX}")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None, "a parsed function ends somewhere"
            size = node.end_lineno - node.lineno + 1
            if size > FUNCTION_LINES_MAX:
                found.append(f"{node.name} has {size} lines, more than {FUNCTION_LINES_MAX}")
        elif isinstance(node, ast.Global):
            found.append(f"line {node.lineno} changes a global")
    found += [f"the global {name} can be changed" for name in _mutable_globals(tree)]
    return found


def _mutable_globals(tree: ast.Module) -> list[str]:
    """Name the lower-case globals that are lists, dicts or sets; upper case promises a constant."""
    names: list[str] = []
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, MUTABLE):
            names += [
                each.id for each in targets if isinstance(each, ast.Name) and each.id.upper() != each.id
            ]
    return [name for name in names if not name.startswith("__")]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_to_the_style(path: Path) -> None:
    """House style: functions, modules, state."""
    text = path.read_text(encoding="utf-8")
    assert complaints(text) == []
    assert path.stem not in VAGUE_NAMES, "the name says nothing about what is in it"
    if path != Path(__file__).resolve():
        assert FOREIGN.findall(text) == [], "names a machine's path or a registry's host"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\n", "the module has no docstring"),
        ('"""Doc."""\n' + "\n" * 600, "601 lines are more than 600"),
        ('"""Doc."""\ndef f():\n' + "    g()\n" * 70, "f has 71 lines, more than 70"),
        ('"""Doc."""\ndef f():\n    global x\n', "line 3 changes a global"),
        ('"""Doc."""\ncache = {}\n', "the global cache can be changed"),
    ],
)
def test_complaint_is_made(text: str, complaint: str) -> None:
    """The checker itself: one bad sample for each rule."""
    assert complaints(text) == [complaint]

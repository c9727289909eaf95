"""Holds the layers of the design: imports point down only, and each capability has its owners.

Reads the imports of every module of raftkv, wherever in the module they stand; runs none of them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "raftkv"

#: From the top down, by the first part of a module's name below `raftkv`. A layer imports itself and
#: what stands under it.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            "__main__",
            "cli",
            "supervisor",
            "member_cli",
            "member_client",
            "member_view",
            "node_process",
            "cluster_dir",
            "passwords",
            "status_view",
            "status",
            "upkeep_cli",
            "inspect_cli",
            "backup_cli",
            "backup_client",
            "recover_cli",
        },
    ),
    frozenset({"node"}),
    frozenset({"transport"}),
    frozenset({"storage"}),
    frozenset({"machine"}),
    frozenset({"commands"}),
    frozenset({"keyspace"}),
    frozenset({"cache", "places"}),
    frozenset({"rows"}),
    frozenset({"resp"}),
    frozenset({"applied"}),
    frozenset({"slots"}),
    frozenset({"runtime_settings"}),
    frozenset({"config_sources"}),
    frozenset({"config"}),
    frozenset({"config_values"}),
    frozenset({"raft"}),
)
COMMAND_LINE = LAYERS[0]
#: Only knows the package's version, and so may be imported by everybody.
ROOT = "__init__"

#: Who may import what reaches outside the process, keeps time, or runs beside the event loop.
OWNERS: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("asyncio", "socket", "selectors", "select", "ssl", "signal", "uvloop"),
        COMMAND_LINE | {"node", "transport"},
    ),
    **dict.fromkeys(("subprocess", "multiprocessing", "ctypes", "rich", "typer"), COMMAND_LINE),
    **dict.fromkeys(("rocksdict", "threading", "_thread", "concurrent", "fcntl"), frozenset({"storage"})),
    **dict.fromkeys(("pathlib", "shutil", "tempfile", "io"), COMMAND_LINE | {"node", "storage"}),
    "os": COMMAND_LINE | {"node", "transport", "storage"},
    **dict.fromkeys(("time", "datetime", "random", "secrets", "uuid"), COMMAND_LINE | {"node", "transport"}),
}
#: Types only: whoever makes one is an owner of the module.
TYPES_FOR_ALL = {("random", "Random"), ("pathlib", "Path")}

#: What the Raft core may use besides itself: nothing that could tell two runs apart.
RAFT_MODULES = frozenset(
    {
        "__future__",
        "abc",
        "bisect",
        "collections",
        "dataclasses",
        "enum",
        "functools",
        "heapq",
        "itertools",
        "logging",
        "math",
        "operator",
        "random",
        "struct",
        "typing",
        "zlib",
    }
)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module; `name` is what `from module import name` takes of it, else ""."""

    line: int
    module: str
    name: str


def imports_of(module: str, tree: ast.Module) -> Iterator[Import]:
    """Yield every import, in functions and under TYPE_CHECKING too; relative ones made absolute."""
    package = module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, "")
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(node.lineno, source, alias.name)


def violations(module: str, source: str) -> list[str]:
    """Return what a module (named raftkv.x.y) with that source does against the layers."""
    tree = ast.parse(source)
    faults = [
        f"{module}:{each.line} {fault}"
        for each in imports_of(module, tree)
        for fault in (_against_direction(module, each), _against_owners(module, each))
        if fault
    ]
    if rank_of(module) > rank_of("raftkv.storage"):
        faults += [
            f"{module}:{node.lineno} opens a file"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
        ]
    return faults


def layer_name(module: str) -> str:
    """Return the part of raftkv.<part>.x that decides its layer."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ROOT


def rank_of(module: str) -> int:
    """Return a module's layer, 0 at the top. Raises LookupError for one that no layer names."""
    name = layer_name(module)
    for rank, layer in enumerate(LAYERS):
        if name in layer:
            return rank
    raise LookupError(f"{module} is in no layer: give it one in tests/test_layers.py")


def _against_direction(module: str, each: Import) -> str:
    if each.module.split(".")[0] != "raftkv":
        return ""
    # `from raftkv import x` takes a module x, or the version from the root.
    imported = each.module if "." in each.module else f"raftkv.{each.name}"
    if imported == "raftkv.__version__":
        return ""
    if rank_of(imported) < rank_of(module):
        return f"imports {imported}, which stands above it"
    return ""


def _against_owners(module: str, each: Import) -> str:
    root = each.module.split(".")[0]
    if root == "raftkv" or (each.module, each.name) in TYPES_FOR_ALL:
        return ""
    name = layer_name(module)
    if name == "raft" and root not in RAFT_MODULES:
        return f"imports {each.module}, which the Raft core does not need"
    if root in OWNERS and name not in OWNERS[root]:
        return f"imports {each.module}, which is for {', '.join(sorted(OWNERS[root]))}"
    return ""


def modules() -> list[tuple[str, Path]]:
    """Return every module of the package with its name."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["raftkv", *path.relative_to(PACKAGE).with_suffix("").parts]
        found.append((".".join(parts), path))
    return found


@pytest.mark.parametrize(("module", "path"), modules(), ids=[name for name, _ in modules()])
def test_module_keeps_to_its_layer(module: str, path: Path) -> None:
    """Design, "Layers: imports point down only"."""
    if module == f"raftkv.{ROOT}":
        assert not list(imports_of(module, ast.parse(path.read_text()))), "the root imports nothing"
    else:
        assert violations(module, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("raftkv.keyspace", "import asyncio", "imports asyncio"),
        ("raftkv.storage.log_store", "import asyncio.streams", "imports asyncio.streams"),
        ("raftkv.node.node", "import threading", "imports threading"),
        ("raftkv.transport.frames", "from rocksdict import Rdict", "imports rocksdict"),
        ("raftkv.supervisor", "import fcntl", "imports fcntl"),
        ("raftkv.machine", "from time import monotonic", "imports time"),
        ("raftkv.config", "import os", "imports os"),
        ("raftkv.raft.core", "import random", "imports random"),
        ("raftkv.commands.keys", "from random import random", "imports random"),
        ("raftkv.raft.codec", "import msgspec", "which the Raft core does not need"),
        ("raftkv.raft.core", "from raftkv.config import Config", "stands above it"),
        ("raftkv.raft.core", "from raftkv import config", "stands above it"),
        ("raftkv.resp.parser", "from ..commands.table import CommandTable", "stands above it"),
        ("raftkv.storage.kv_store", "def f():\n    import raftkv.node.node", "stands above it"),
        ("raftkv.rows", "def f():\n    return open('x')", "opens a file"),
    ],
)
def test_violation_is_found(module: str, source: str, fault: str) -> None:
    """The checker itself: one bad sample for each rule."""
    (found,) = violations(module, source)
    assert found.startswith(f"{module}:")
    assert fault in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("raftkv.raft.core", "from random import Random"),
        ("raftkv.raft.core", "from raftkv.raft.types import Entry"),
        ("raftkv.node.node", "import asyncio\nimport time\nfrom raftkv.storage.writer import SyncWriter"),
        ("raftkv.storage.writer", "import threading\nimport os\nfrom raftkv.raft.codec import encode_entry"),
        ("raftkv.cli", "import subprocess\nfrom raftkv import __version__"),
    ],
)
def test_allowed_import_is_not_found(module: str, source: str) -> None:
    """The checker itself: what the layers allow."""
    assert violations(module, source) == []


def test_module_without_a_layer_is_an_error() -> None:
    """A new top-level module has to be given its place."""
    with pytest.raises(LookupError):
        violations("raftkv.novelty", "import raftkv.raft.types")

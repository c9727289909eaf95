"""One file per node, which something preloaded into the node reads again and again while it runs."""

from __future__ import annotations

from pathlib import Path


class Dials:
    """The files of one kind."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name

    def path(self, node_id: int) -> Path:
        """Where a node's is."""
        return self._directory / f"{self._name}-{node_id}"

    def turn(self, node_id: int, text: str) -> None:
        """Give it another content; nobody ever reads half of it."""
        fresh = self.path(node_id).with_suffix(".new")
        fresh.write_text(f"{text}\n")
        fresh.replace(self.path(node_id))

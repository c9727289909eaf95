"""What clients did and were told, and what was done to the nodes meanwhile; kept as JSON lines.

Knows nothing of what commands mean. One clock, in nanoseconds, dates everything of a history. Operations
that were refused for certain (MOVED, CLUSTERDOWN, TRYAGAIN, LOADING) stand apart: nothing was done.

    {"client": "c1", "connection": 7, "node": 2, "face": "cluster", "command": ["INCR", "k"],
     "invoked_ns": 5, "returned_ns": 9, "reply": 1}
    {"refused": true, "client": "c1", ...}
    {"fault": "kill", "nodes": [2], "begin_ns": 6, "end_ns": 8}

Bytes are written as the characters of the same numbers (latin-1), an error reply as {"error": text}, and
an operation whose outcome nobody learnt with `returned_ns` null.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Failure:
    """An error reply that is a command's own outcome, such as INCR's on a word."""

    text: str


Reply = None | int | bytes | Failure


@dataclass(slots=True, eq=False)
class Operation:
    """One command as its client saw it."""

    client: str
    #: Different for each connection of the whole history. Those of one connection stand in the history in
    #: the order in which they were sent.
    connection: int
    node: int
    #: What the node's listener behaves as: "cluster", "readonly", ...
    face: str
    command: tuple[bytes, ...]
    #: Read before the command's first byte was sent.
    invoked_ns: int
    #: Read after the reply's last byte had come. None: no reply, or one that leaves the outcome open; then
    #: it may take effect at any time after `invoked_ns`, or never.
    returned_ns: int | None = None
    #: Means nothing while `returned_ns` is None.
    reply: Reply = None

    @property
    def key(self) -> bytes:
        """The one key of the command."""
        return self.command[1]

    def __str__(self) -> str:
        words = " ".join(word.decode("latin-1") for word in self.command)
        outcome = "?" if self.returned_ns is None else _shown(self.reply)
        return f"{self.client} at node {self.node} ({self.face}): {words} -> {outcome}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to nodes, and for how long."""

    kind: str
    nodes: tuple[int, ...]
    begin_ns: int
    end_ns: int


@dataclass(slots=True)
class History:
    """Everything of one run."""

    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    #: Were not done, and never will be.
    refused: list[Operation] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write one JSON object per line."""
        refused = [{"refused": True, **_operation_record(each)} for each in self.refused]
        lines = [*map(_operation_record, self.operations), *refused, *map(_fault_record, self.faults)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    @classmethod
    def read(cls, path: Path) -> History:
        """Read what `write` wrote."""
        history = cls()
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if "fault" in record:
                history.faults.append(_fault_of(record))
            elif record.pop("refused", False):
                history.refused.append(_operation_of(record))
            else:
                history.operations.append(_operation_of(record))
        return history


def by_key(operations: Iterable[Operation]) -> dict[bytes, list[Operation]]:
    """Split a history, in its order."""
    split: dict[bytes, list[Operation]] = {}
    for operation in operations:
        split.setdefault(operation.key, []).append(operation)
    return split


def _shown(reply: Reply) -> str:
    if isinstance(reply, bytes):
        return repr(reply.decode("latin-1"))
    return reply.text if isinstance(reply, Failure) else "nil" if reply is None else str(reply)


def _operation_record(operation: Operation) -> dict[str, Any]:
    return {
        "client": operation.client,
        "connection": operation.connection,
        "node": operation.node,
        "face": operation.face,
        "command": [word.decode("latin-1") for word in operation.command],
        "invoked_ns": operation.invoked_ns,
        "returned_ns": operation.returned_ns,
        "reply": _reply_record(operation.reply),
    }


def _operation_of(record: dict[str, Any]) -> Operation:
    command = tuple(word.encode("latin-1") for word in record.pop("command"))
    reply = _reply_of(record.pop("reply"))
    return Operation(command=command, reply=reply, **record)


def _reply_record(reply: Reply) -> object:
    if isinstance(reply, bytes):
        return reply.decode("latin-1")
    return {"error": reply.text} if isinstance(reply, Failure) else reply


def _reply_of(record: Any) -> Reply:
    if isinstance(record, str):
        return record.encode("latin-1")
    if isinstance(record, dict):
        return Failure(record["error"])
    assert record is None or isinstance(record, int), f"no reply: {record!r}"
    return record


def _fault_record(fault: Fault) -> dict[str, Any]:
    return {
        "fault": fault.kind,
        "nodes": list(fault.nodes),
        "begin_ns": fault.begin_ns,
        "end_ns": fault.end_ns,
    }


def _fault_of(record: dict[str, Any]) -> Fault:
    return Fault(record["fault"], tuple(record["nodes"]), record["begin_ns"], record["end_ns"])

"""Reads, once a turn is over for everybody, what its sums came to; and at the end what became of them.

What is read becomes part of the turn's history, so it is checked like everything else. A key about which
nobody was left in doubt can never change again: at the end of the run it must be what it was then.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence

import hiredis

from tests.consistency.accounts import LAST_LOOK, keys_with_sums
from tests.consistency.faces import STANDALONE
from tests.consistency.history import History, Operation, by_key
from tests.consistency.recorder import Recorder
from tests.consistency.workload import Connection, Lost
from tests.integration.cluster import NodeProcess

_PIPELINE_MAX = 100
_ANSWER_SECONDS_MAX = 2.0
#: Every node is tried again and again for so long; a majority soon comes back after every fault.
_SECONDS_MAX = 60.0
_PAUSE_SECONDS = 0.1


class LastLook:
    """One run's last looks, at any node."""

    def __init__(self, nodes: Sequence[NodeProcess], recorder: Recorder) -> None:
        self._nodes = nodes
        self._recorder = recorder
        self._settled: dict[bytes, bytes] = {}

    @property
    def settled_count(self) -> int:
        """Keys whose content is known for good."""
        return len(self._settled)

    async def end(self, history: History) -> None:
        """Read all sums of a turn, into its history."""
        reads = await self._read(keys_with_sums(history))
        in_doubt = {each.key for each in history.operations if each.returned_ns is None}
        history.operations += reads
        self._settled |= {each.key: _digest(each) for each in reads if each.key not in in_doubt}

    async def complaints(self) -> list[str]:
        """Read all that was known for good; return what has changed."""
        reads = by_key(await self._read(list(self._settled)))
        return [
            f"{key!r} changed long after everybody was answered: {reads[key][0]}"
            for key, digest in self._settled.items()
            if key in reads and _digest(reads[key][0]) != digest
        ]

    async def _read(self, keys: Sequence[bytes]) -> list[Operation]:
        left, reads = list(keys), list[Operation]()
        deadline = time.monotonic() + _SECONDS_MAX
        turn = 0
        while left:
            if time.monotonic() > deadline:
                self._recorder.complaints.append(
                    f"nobody could be asked for {left[0]!r} for {_SECONDS_MAX:g} s"
                )
                break
            part = left[:_PIPELINE_MAX]
            try:
                done = await self._read_part(self._nodes[turn % len(self._nodes)], part)
            except Lost:
                done = []
            reads += done
            read = {each.key for each in done}
            left = [key for key in part if key not in read] + left[_PIPELINE_MAX:]
            if len(read) < len(part):
                turn += 1
                await asyncio.sleep(_PAUSE_SECONDS)
        return reads

    async def _read_part(self, node: NodeProcess, keys: Sequence[bytes]) -> list[Operation]:
        """Read what this node answers. Raises Lost."""
        number = self._recorder.next_connection()
        connection = await Connection.open(node.host.address, node.standalone_port)
        try:
            now_ns = time.monotonic_ns()
            reads = [
                Operation(LAST_LOOK, number, node.node_id, STANDALONE.name, (b"GET", key), now_ns)
                for key in keys
            ]
            connection.send([each.command for each in reads])
            deadline = asyncio.get_running_loop().time() + _ANSWER_SECONDS_MAX
            done = []
            for each in reads:
                reply = await connection.receive(deadline)
                if isinstance(reply, hiredis.ReplyError):
                    break
                assert reply is None or isinstance(reply, bytes), reply
                each.returned_ns, each.reply = time.monotonic_ns(), reply
                done.append(each)
            return done
        finally:
            connection.close()


def _digest(read: Operation) -> bytes:
    assert read.reply is None or isinstance(read.reply, bytes), read
    return hashlib.blake2b(read.reply or b"", digest_size=8).digest()

"""Reads of many connections, carried out together at the end of a turn.

What many clients ask for at a time is mostly one command. Its keys are then looked up in one loop for all of
them, and the replies encoded in another: what is asked of each connection's state is asked once, and a GET
costs no calls of its own.

Knows no Raft: whoever calls says whether the state may be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from typing import Protocol

from raftkv.commands.session import Session
from raftkv.commands.table import CommandSpec
from raftkv.machine import Machine
from raftkv.resp.replies import Reply, encode_many, encode_run


class SharingReader(Protocol):
    """A connection that has reads of one command queued, with one key each."""

    #: Says which database and which protocol.
    session: Session
    queued_spec: CommandSpec
    queued: list[list[bytes]]

    @property
    def may_follow(self) -> bool:
        """A node that doesn't lead may answer them."""

    def count_calls(self, spec: CommandSpec, count: int) -> None:
        """Count commands that were carried out, whichever connection's."""

    def answer_queued(self, data: bytes) -> None:
        """Send the encoded replies, and go on with what came behind."""

    def run_queued(self, now_ns: int, clock_ms: int) -> None:
        """Carry the reads out; `clock_ms` 0: the state as it is may not be read without further ado."""


def run_together(machine: Machine, readers: Sequence[SharingReader], now_ns: int, clock_ms: int) -> None:
    """Run what all readers have queued; for the times see `SharingReader.run_queued`."""
    for (spec, db, protocol), group in groupby(readers, _kind_of):
        alike = list(group)
        replies = None
        if clock_ms and spec.bulk_handler is not None:
            keys = [request[1] for reader in alike for request in reader.queued]
            replies = machine.read_keys(spec, keys, db=db, clock_ms=clock_ms)
        if replies is None:
            for reader in alike:
                reader.run_queued(now_ns, clock_ms)
            continue
        alike[0].count_calls(spec, len(keys))
        for reader, data in zip(alike, _encoded(alike, replies, protocol), strict=True):
            reader.answer_queued(data)


def _encoded(alike: list[SharingReader], replies: list[Reply], protocol: int) -> Iterable[bytes]:
    """The bytes of each reader's replies."""
    if len(alike) == len(replies):
        return encode_many(replies, protocol)
    left = iter(replies)
    return [encode_run(list(islice(left, len(reader.queued))), protocol) for reader in alike]


def _kind_of(reader: SharingReader) -> tuple[CommandSpec, int, int]:
    session = reader.session
    return reader.queued_spec, session.db, session.protocol

"""The bodies of questions on the peer port, and of their answers: msgpack of what each conversation has.

Knows no conversation.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from raftkv.raft import ProtocolError

_Said = TypeVar("_Said")


def said_in(decoder: msgspec.msgpack.Decoder[_Said], body: bytes, *, what: str) -> _Said:
    """Read a body; `what` it should be is for the complaint. Raises ProtocolError for anything else."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtocolError(f"no {what}: {error}") from None

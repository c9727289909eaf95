"""Asks other nodes' peer ports on behalf of who can't wait: the answer is brought to a callback.

Knows nothing of what is asked. Every question ends: the transport gives each its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from raftkv.raft import ProtocolError
from raftkv.transport import Address, Refused, failure_text


class QuestionPort(Protocol):
    """What is needed of `Transport`."""

    async def ask_address(self, address: Address, question: bytes, *, kind: int) -> bytes:
        """Ask whoever listens there. Raises OSError, Refused, ProtocolError."""


class Asker:
    """Questions under way."""

    def __init__(self, port: QuestionPort) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(
        self, address: Address, kind: int, question: bytes, on_answer: Callable[[bytes | str], None]
    ) -> None:
        """Ask; `on_answer` gets what was answered, or why nothing was, in words."""

        async def converse() -> None:
            try:
                answer: bytes | str = await self._port.ask_address(address, question, kind=kind)
            except OSError as failure:
                answer = failure_text(failure)
            except (Refused, ProtocolError) as failure:
                answer = str(failure)
            on_answer(answer)

        task = asyncio.get_running_loop().create_task(converse())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

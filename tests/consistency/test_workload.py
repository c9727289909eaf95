"""What a client makes of replies, told by listeners that answer as they were told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import hiredis

from tests.consistency.faces import CLUSTER, STANDALONE, Face
from tests.consistency.figures import REFUSED
from tests.consistency.history import History
from tests.consistency.recorder import Recorder
from tests.consistency.workload import Client
from tests.integration.cluster import CHECKOUT, NodeProcess

_SECONDS_MAX = 10.0


def _used(
    directory: Path, reply: bytes, *, face: Face = CLUSTER, until: Callable[[Recorder], bool]
) -> tuple[Recorder, History]:
    """Let a client use a node that gives one reply to everything, until something is noted of it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(1 << 16):
            parser.feed(data)
            while parser.gets() is not False:
                writer.write(reply)
        writer.close()

    async def scenario() -> tuple[Recorder, History]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        node = NodeProcess(1, port, directory, CHECKOUT)
        node.standalone_port = port
        recorder, stop = Recorder(), asyncio.Event()
        client = Client("c1", face, [node], random.Random(1), recorder, patience_seconds=(0.05,))
        using = asyncio.create_task(client.run(stop))
        async with asyncio.timeout(_SECONDS_MAX):
            while not until(recorder):
                await asyncio.sleep(0)
            stop.set()
            await using
        server.close()
        recorder.turn()
        (history,) = recorder.take_closed()
        return recorder, history

    return asyncio.run(scenario())


def _is_any_over(recorder: Recorder) -> bool:
    return recorder.figures.outcomes.total() > 0


def test_definite_error_is_noted_as_not_done(tmp_path: Path) -> None:
    """README: -TRYAGAIN: nothing was done."""
    recorder, history = _used(tmp_path, b"-TRYAGAIN later\r\n", until=_is_any_over)
    assert history.operations == []
    assert recorder.figures.outcomes["cluster", REFUSED] > 0


def test_unknown_is_noted_as_of_unknown_outcome(tmp_path: Path) -> None:
    """README: -UNKNOWN: it may still take effect."""
    _, history = _used(tmp_path, b"-UNKNOWN who knows\r\n", until=_is_any_over)
    assert history.operations
    assert all(operation.returned_ns is None for operation in history.operations)


def test_moved_on_the_standalone_face_is_a_complaint(tmp_path: Path) -> None:
    """README: at any node: no -MOVED."""
    moved = b"-MOVED 1 127.0.0.1:7\r\n"
    recorder, _ = _used(tmp_path, moved, face=STANDALONE, until=lambda each: bool(each.complaints))
    assert "MOVED" in recorder.complaints[0]


def test_silence_is_a_complaint_and_leaves_the_outcome_open(tmp_path: Path) -> None:
    """README: within bounded time a request gets its reply or an error."""
    recorder, history = _used(tmp_path, b"", until=lambda each: bool(each.complaints))
    assert "never answered" in recorder.complaints[0]
    assert all(operation.returned_ns is None for operation in history.operations)

"""MEMORY STATS, DOCTOR, MALLOC-STATS, PURGE."""

from __future__ import annotations

from dataclasses import replace

from raftkv.commands.containers import container
from raftkv.commands.memory_stats import SUBCOMMANDS
from raftkv.commands.table import CommandDocs, CommandTable
from raftkv.resp.replies import OK, Verbatim, encode
from tests.commands.fake_node import FakeNode, ask, open_session, process_status

TABLE = CommandTable(
    [container(b"memory", CommandDocs("Memory.", "4.0.0", "server", "Depends on subcommand."), SUBCOMMANDS)]
)


def diagnosis(**changes: int) -> str:
    """MEMORY DOCTOR at a process like that."""
    node = FakeNode(commands=TABLE, process_look=replace(process_status(), **changes))  # type: ignore[arg-type]  # all are numbers
    reply = ask(open_session(node), "MEMORY", "DOCTOR")
    assert isinstance(reply, Verbatim)
    return reply.text.decode()


def test_stats_are_the_process_s_and_the_cache_s() -> None:
    """redis MEMORY STATS: a map, by Redis's names."""
    session = open_session(FakeNode(commands=TABLE, keys_by_slot={5: [b"a", b"b"]}))
    session.input_bytes = 100
    stats = ask(session, "MEMORY", "STATS")
    assert stats == {
        b"peak.allocated": 4 << 20,
        b"total.allocated": 3 << 20,
        b"startup.allocated": 1 << 20,
        b"clients.normal": 100,
        b"overhead.total": (1 << 20) + 100,
        b"keys.count": 2,
        b"keys.bytes-per-key": 1 << 20,
        b"dataset.bytes": 1 << 20,
        b"dataset.percentage": 50.0,
        b"dataset.bytes-on-disk": 2000,
        b"peak.percentage": 75.0,
    }
    assert encode(stats, 2)


def test_stats_of_an_empty_node_divide_by_nothing() -> None:
    """Right after the start."""
    process = replace(process_status(), memory_bytes=1 << 20, cache_bytes=0)
    stats = ask(open_session(FakeNode(commands=TABLE, process_look=process)), "MEMORY", "STATS")
    assert isinstance(stats, dict)
    assert (stats[b"keys.bytes-per-key"], stats[b"dataset.percentage"]) == (0, 0.0)


def test_the_doctor_has_something_to_say_when_something_is_wrong() -> None:
    """redis MEMORY DOCTOR."""
    gigabyte = 1 << 30
    assert "little memory" in diagnosis()
    assert diagnosis(memory_bytes=gigabyte, memory_peak_bytes=gigabyte).startswith("Nothing is wrong")
    assert "It once took up" in diagnosis(memory_bytes=gigabyte, memory_peak_bytes=2 * gigabyte)
    assert "cache-bytes-max" in diagnosis(memory_bytes=7 * gigabyte, memory_peak_bytes=7 * gigabyte)


def test_purge_asks_for_garbage_to_be_collected() -> None:
    """redis MEMORY PURGE, MALLOC-STATS."""
    node = FakeNode(commands=TABLE)
    assert ask(open_session(node), "MEMORY", "PURGE") is OK
    assert node.purges == 1
    reply = ask(open_session(node), "MEMORY", "MALLOC-STATS")
    assert reply == Verbatim(b"Stats not supported for the current allocator")


def test_the_container_has_them_all() -> None:
    """redis MEMORY HELP."""
    help_lines = ask(open_session(FakeNode(commands=TABLE)), "MEMORY", "HELP")
    assert isinstance(help_lines, list)
    assert [line.text for line in help_lines if line.text.isupper()] == [
        *("DOCTOR", "MALLOC-STATS", "PURGE", "STATS", "HELP")
    ]

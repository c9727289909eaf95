"""What bounds an entry, so that it is applied within a few milliseconds."""

from __future__ import annotations

from raftkv.node.entry_size import COMMANDS_MAX, COMMANDS_MIN, EntrySize
from raftkv.node.pending import Gatherer
from tests.node.test_pending import Sink, add


def size_after(command_ns: int, *, commands_count: int = 1000) -> EntrySize:
    """The bound once it has settled."""
    size = EntrySize()
    for _ in range(40):
        size.note(commands_count, commands_count * command_ns)
    return size


def test_cached_commands_go_in_large_entries() -> None:
    assert EntrySize().commands_max == COMMANDS_MAX
    assert size_after(700).commands_max == COMMANDS_MAX


def test_slow_commands_go_in_entries_of_ten_milliseconds() -> None:
    assert 450 <= size_after(20_000).commands_max <= 550


def test_an_entry_is_never_so_small_that_its_fixed_costs_rule() -> None:
    assert size_after(1_000_000_000).commands_max == COMMANDS_MIN


def test_few_commands_tell_nothing() -> None:
    """What is spent on an entry whatever it holds is not its commands'."""
    assert size_after(1_000_000, commands_count=10).commands_max == COMMANDS_MAX


def test_entries_grow_again() -> None:
    size = size_after(50_000)
    for _ in range(40):
        size.note(1000, 1000 * 700)
    assert size.commands_max == COMMANDS_MAX


def test_a_batch_is_closed_at_the_bound() -> None:
    """Gatherer.add"""
    size = size_after(1_000_000_000)
    gatherer = Gatherer(1 << 20, size, deadline_ns=lambda: 100)
    for slot in range(COMMANDS_MIN + 1):
        add(gatherer, Sink(), slot, b"a")
    assert [gatherer.pop().count for _ in range(len(gatherer))] == [COMMANDS_MIN, 1]

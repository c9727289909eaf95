"""The table: names, arity, routes and key positions."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest

from raftkv.commands import build_table
from raftkv.commands.table import (
    LOCAL,
    SPELLINGS_MAX,
    WRITE,
    CommandDocs,
    CommandRefused,
    CommandSpec,
    CommandTable,
    KeySpec,
    Sliced,
    keys_of,
)
from raftkv.resp.replies import Reply
from tests.commands.fake_node import TABLE

DOCS = CommandDocs("Does nothing.", "1.0.0", "generic", "O(1)")


def spec_of(name: bytes, *, arity: int = 1, **fields: object) -> CommandSpec:
    """A LOCAL command that answers 1."""
    spec = CommandSpec(
        name=name,
        arity=arity,
        route=LOCAL,
        handler=lambda _session, _args: 1,
        acl_categories=frozenset(),
        docs=DOCS,
    )
    return replace(spec, **fields)  # type: ignore[arg-type]  # fields of a CommandSpec


def refusal(*args: bytes) -> str:
    """The text that a request is refused with."""
    with pytest.raises(CommandRefused) as refused:
        TABLE.resolve(list(args))
    return refused.value.reply.text


def test_a_command_is_found_in_any_spelling() -> None:
    """redis: names are compared without case."""
    for name in (b"get", b"GET", b"gEt"):
        for _ in range(2):
            spec = TABLE.lookup(name)
            assert spec is not None
            assert spec.name == b"get"
    assert TABLE.lookup(b"gett") is None


def test_known_is_a_command_that_no_second_word_changes() -> None:
    """Contract of `known`: spellings met before, and never a container, whose sub-command is what counts."""
    table = build_table()
    assert table.known(b"get") is table.lookup(b"get")
    assert table.known(b"GeT") is None
    assert table.lookup(b"GeT") is table.known(b"GeT")
    assert table.lookup(b"CLIENT") is not None
    assert table.known(b"client") is None
    assert table.known(b"CLIENT") is None


def test_remembered_spellings_are_bounded() -> None:
    """House style: every cache has a limit."""
    name = b"abcdefghijklmnop"
    table = CommandTable([spec_of(name)])
    for bits in range(SPELLINGS_MAX + 100):
        spelling = bytes(byte - 32 * (bits >> place & 1) for place, byte in enumerate(name))
        spec = table.lookup(spelling)
        assert spec is not None
        assert table.resolve([spelling]) is spec
    assert len(table._spellings) == SPELLINGS_MAX + 1
    assert len(table._plain) == SPELLINGS_MAX + 1


def test_two_commands_of_one_name_are_a_bug() -> None:
    """One row per command."""
    with pytest.raises(AssertionError, match="two rows"):
        CommandTable([spec_of(b"a"), spec_of(b"a")])


def test_route_and_flags_agree() -> None:
    """Clients route by the flags, the node by the route."""
    for broken in (
        {"route": WRITE},
        {"flags": frozenset({"write"})},
        {"flags": frozenset({"readonly"})},
        {"flags": frozenset({"quick"})},
        {"arity": 0},
        {"name": b"A"},
    ):
        with pytest.raises(AssertionError):
            replace(spec_of(b"a"), **broken)


def test_unknown_command_is_refused_in_rediss_words() -> None:
    """redis 7.2 processCommand."""
    assert refusal(b"foo") == "ERR unknown command 'foo', with args beginning with: "
    assert refusal(b"foo", b"a", b"b c") == "ERR unknown command 'foo', with args beginning with: 'a' 'b c' "
    assert refusal(b"a\r\nb", b"\n") == "ERR unknown command 'a  b', with args beginning with: ' ' "
    long = refusal(b"n" * 200, b"x" * 100, b"y" * 100, b"z")
    assert long == f"ERR unknown command '{'n' * 128}', with args beginning with: '{'x' * 100}' '{'y' * 25}' "


def test_unknown_subcommand_is_refused_in_rediss_words() -> None:
    """redis 7.2; redis-py 8 goes on after it when it asked for CLIENT MAINT_NOTIFICATIONS."""
    expected = "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."
    assert refusal(b"client", b"MAINT_NOTIFICATIONS", b"ON") == expected
    assert refusal(b"COMMAND", b"x") == "ERR unknown subcommand 'x'. Try COMMAND HELP."


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ([b"GET"], "get"),
        ([b"get", b"a", b"b"], "get"),
        ([b"SET", b"a"], "set"),
        ([b"CLIENT"], "client"),
        ([b"client", b"ID", b"x"], "client|id"),
        ([b"config", b"get"], "config|get"),
        ([b"reset", b"x"], "reset"),
    ],
)
def test_wrong_arity_is_refused_in_rediss_words(args: list[bytes], name: str) -> None:
    """redis 7.2 rejectCommand."""
    assert refusal(*args) == f"ERR wrong number of arguments for '{name}' command"


def test_arguments_of_an_unknown_command_end_at_a_nul() -> None:
    """redis 7.2 commandCheckExistence prints each with %s, and then its closing quote."""
    assert refusal(b"NOSUCH", b"a\0b", b"\0") == (
        "ERR unknown command 'NOSUCH', with args beginning with: 'a' '' "
    )


def test_a_subcommand_is_resolved_in_any_spelling() -> None:
    """redis: containers."""
    assert TABLE.resolve([b"CLIENT", b"Id"]).name == b"client|id"
    assert TABLE.resolve([b"COMMAND"]).name == b"command"
    assert TABLE.find([b"config", b"GET", b"x"]) is TABLE.resolve([b"config", b"get", b"x"])
    assert TABLE.find([b"config", b"nosuch"]) is None


def test_a_name_finds_exactly_the_command_it_spells() -> None:
    """redis 7.2 lookupCommandBySds: what follows a bar must be a sub-command."""
    assert TABLE.find_exactly(b"Config|GET") is TABLE.resolve([b"config", b"get", b"x"])
    assert TABLE.find_exactly(b"CONFIG") is TABLE.lookup(b"config")
    for name in (b"get|x", b"config|", b"config|nosuch", b"config|get|x", b"nosuch", b""):
        assert TABLE.find_exactly(name) is None, name


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (KeySpec(), []),
        (KeySpec(1, 1, 1), [b"1"]),
        (KeySpec(1, -1, 1), [b"1", b"2", b"3", b"4", b"5"]),
        (KeySpec(1, -1, 2), [b"1", b"3", b"5"]),
        (KeySpec(1, -2, 1), [b"1", b"2", b"3", b"4"]),
        (KeySpec(2, 3, 1), [b"2", b"3"]),
    ],
)
def test_keys_are_where_the_key_spec_says(keys: KeySpec, found: list[bytes]) -> None:
    """redis COMMAND: first key, last key, step."""
    args = [b"name", b"1", b"2", b"3", b"4", b"5"]
    assert keys_of(spec_of(b"a", arity=-1, keys=keys), args) == found


def test_every_key_spec_fits_its_arity() -> None:
    """A request of the right arity has a key wherever its row says."""
    for spec in TABLE:
        assert abs(spec.arity) > max(spec.keys.first, spec.keys.last), spec.name


def test_every_row_is_explained() -> None:
    """redis-cli shows what COMMAND DOCS says."""
    for spec in TABLE:
        for each in (spec, *spec.subcommands.values()):
            assert each.docs.summary.endswith("."), each.name
            assert each.docs.since, each.name
            assert each.acl_categories, each.name


def test_long_work_runs_in_pieces() -> None:
    """DESIGN: work over many rows runs in slices."""
    done: list[int] = []

    def work() -> Generator[None, None, Reply]:
        for piece in range(3):
            done.append(piece)
            yield
        return done

    sliced = Sliced(work())
    steps = sliced.steps()
    next(steps)
    assert done == [0]
    assert sliced.result is None
    assert list(steps) == [None, None]
    assert sliced.result == [0, 1, 2]
    assert Sliced(work()).run() == [0, 1, 2, 0, 1, 2]

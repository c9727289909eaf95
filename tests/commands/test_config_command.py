"""CONFIG."""

from __future__ import annotations

from raftkv.resp.replies import OK, SYNTAX_ERROR, Error
from tests.commands.fake_node import FakeNode, ask, open_session


def test_get_answers_what_any_pattern_matches() -> None:
    """redis CONFIG GET; redis-benchmark asks for these two."""
    session = open_session()
    assert ask(session, "CONFIG", "GET", "save") == {b"save": b""}
    assert ask(session, "CONFIG", "GET", "appendonly", "SAV?") == {b"appendonly": b"yes", b"save": b""}
    assert ask(session, "CONFIG", "GET", "nosuch") == {}
    assert ask(session, "CONFIG", "GET", "MaxClients", "maxclient[a-z]") == {b"maxclients": b"10000"}
    everything = ask(session, "CONFIG", "GET", "*")
    assert isinstance(everything, dict)
    assert len(everything) > 50


def test_settings_for_tests_are_shown_to_who_names_them() -> None:
    """redis HIDDEN_CONFIG"""
    session = open_session()
    shown = ask(session, "CONFIG", "GET", "*sync-delay*")
    assert shown == {}
    assert ask(session, "CONFIG", "GET", "debug-sync-delay-ms") == {b"debug-sync-delay-ms": b"0"}
    assert ask(session, "CONFIG", "SET", "debug-sync-delay-ms", "5") is OK


def test_hostile_patterns_are_bounded() -> None:
    """House style: every loop has a limit; a name without wildcards is no pattern."""
    session = open_session()
    too_long = Error("ERR the patterns together are longer than 4096 bytes")
    assert ask(session, "CONFIG", "GET", "*a" * 2049) == too_long
    assert ask(session, "CONFIG", "GET", *["*" * 100] * 41) == too_long
    assert ask(session, "CONFIG", "GET", *["save" * 1000] * 9, "save") == {b"save": b""}


def test_set_changes_all_or_nothing() -> None:
    """redis CONFIG SET."""
    node = FakeNode()
    session = open_session(node)
    assert ask(session, "CONFIG", "SET", "maxclients", "50", "loglevel", "debug") is OK
    assert (node.settings.config.clients_max, node.settings.config.log_level) == (50, "debug")
    refused = ask(session, "CONFIG", "SET", "maxclients", "60", "nosuch", "1")
    assert refused == Error("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'")
    assert node.settings.config.clients_max == 50
    assert ask(session, "CONFIG", "SET", "maxclients", "60", "loglevel") is SYNTAX_ERROR


def test_resetstat_and_rewrite_are_the_nodes_to_do() -> None:
    """redis CONFIG RESETSTAT, REWRITE."""
    node = FakeNode()
    session = open_session(node)
    assert ask(session, "CONFIG", "RESETSTAT") is OK
    assert ask(session, "CONFIG", "REWRITE") is OK
    assert (node.resets, node.rewrites) == (1, 1)
    node.rewrite_refusal = "The server is running without a config file"
    refused = Error("ERR The server is running without a config file")
    assert ask(session, "CONFIG", "REWRITE") == refused


def test_a_refusal_is_one_line_whatever_the_client_wrote() -> None:
    """A line break in a reply would end it."""
    refused = ask(open_session(), "CONFIG", "SET", b"no\r\nsuch\xff", "1")
    assert refused == Error("ERR Unknown option or number of arguments for CONFIG SET - 'no  such\udcff'")

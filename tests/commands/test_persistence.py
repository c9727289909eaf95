"""SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, SHUTDOWN."""

from __future__ import annotations

import pytest

from raftkv.commands.session import SaveStatus
from raftkv.commands.table import Awaited
from raftkv.resp.replies import OK, SYNTAX_ERROR, Error, Simple
from tests.commands.fake_node import FakeNode, ask, open_session

UNDER_WAY = Error("ERR Background save already in progress")


def saving_node() -> FakeNode:
    """A node that flushes just now."""
    return FakeNode(save_status=SaveStatus(last_time_s=1_700_000_000, under_way_s=0))


def test_save_answers_when_its_flush_is_done() -> None:
    """redis SAVE: without a deadline."""
    node = FakeNode()
    waiting = ask(open_session(node), "SAVE")
    assert isinstance(waiting, Awaited)
    assert (waiting.timeout_ms, waiting.look(), node.saves_begun) == (0, None, 1)
    node.saves_done = 1
    assert waiting.look() is OK


def test_bgsave_only_begins() -> None:
    """redis BGSAVE."""
    node = FakeNode()
    session = open_session(node)
    assert ask(session, "BGSAVE") == Simple("Background saving started")
    assert ask(session, "BGSAVE", "schedule") == Simple("Background saving started")
    assert ask(session, "BGREWRITEAOF") == Simple("Background append only file rewriting started")
    assert node.saves_begun == 3


def test_a_flush_under_way_refuses_others_or_lets_them_wait() -> None:
    """redis SAVE, BGSAVE, BGREWRITEAOF while a child saves."""
    node = saving_node()
    session = open_session(node)
    assert ask(session, "SAVE") == ask(session, "BGSAVE") == UNDER_WAY
    assert node.saves_begun == 0
    assert ask(session, "BGSAVE", "SCHEDULE") == Simple("Background saving scheduled")
    assert ask(session, "BGREWRITEAOF") == Simple("Background append only file rewriting scheduled")
    assert node.saves_begun == 2


def test_lastsave_is_when_the_last_flush_ended() -> None:
    """redis LASTSAVE."""
    assert ask(open_session(saving_node()), "LASTSAVE") == 1_700_000_000


@pytest.mark.parametrize("options", ["", "SAVE", "nosave", "NOW", "SAVE FORCE NOW"])
def test_shutdown_stops_the_node_and_is_never_answered(options: str) -> None:
    """redis SHUTDOWN: the connection is closed."""
    node = FakeNode()
    waiting = ask(open_session(node), "SHUTDOWN", *options.split())
    assert node.is_stopping
    assert isinstance(waiting, Awaited)
    assert (waiting.look(), waiting.timeout_ms) == (None, 0)


@pytest.mark.parametrize(
    "line", ["SHUTDOWN x", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW", "BGSAVE x", "BGSAVE SCHEDULE x"]
)
def test_mistakes_are_refused_in_rediss_words(line: str) -> None:
    """As redis 7.0.15 answers them."""
    node = FakeNode()
    assert ask(open_session(node), *line.split()) is SYNTAX_ERROR
    assert not node.is_stopping


def test_an_end_can_not_be_called_off() -> None:
    """redis SHUTDOWN ABORT; what hands over here can't take it back."""
    node = FakeNode()
    session = open_session(node)
    assert ask(session, "SHUTDOWN", "ABORT") == Error("ERR No shutdown in progress.")
    ask(session, "SHUTDOWN")
    refused = ask(session, "SHUTDOWN", "ABORT")
    assert isinstance(refused, Error)
    assert "can't be undone" in refused.text

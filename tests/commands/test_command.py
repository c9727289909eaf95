"""COMMAND: the table as clients read it."""

from __future__ import annotations

import pytest

from raftkv.resp.replies import NULL_ARRAY, SYNTAX_ERROR, Error, ReplySet, Simple, encode
from tests.commands.fake_node import TABLE, ask, open_session

RAFT_ROWS = [
    *(b"raft|info", b"raft|members", b"raft|add", b"raft|remove", b"raft|promote", b"raft|replace"),
    *(b"raft|transfer", b"raft|snapshot", b"raft|compact", b"raft|digest", b"raft|backup", b"raft|help"),
]


def words(*texts: str) -> ReplySet:
    """A set of simple strings."""
    return ReplySet([Simple(text) for text in texts])


def test_info_describes_a_command() -> None:
    """redis 7.2 COMMAND INFO: ten fields, as a real server gives them but for the order within sets."""
    key_spec = {
        b"flags": words("RO", "access"),
        b"begin_search": {b"type": b"index", b"spec": {b"index": 1}},
        b"find_keys": {b"type": b"range", b"spec": {b"lastkey": 0, b"keystep": 1, b"limit": 0}},
    }
    assert ask(open_session(), "COMMAND", "INFO", "GET", "nosuch") == [
        [
            b"get",
            2,
            words("fast", "readonly"),
            1,
            1,
            1,
            words("@fast", "@read", "@string"),
            ReplySet([]),
            ReplySet([key_spec]),
            ReplySet([]),
        ],
        NULL_ARRAY,
    ]


def test_info_describes_a_subcommand_by_its_full_name() -> None:
    """redis 7 COMMAND INFO."""
    reply = ask(open_session(), "COMMAND", "INFO", "client|ID")
    assert isinstance(reply, list)
    assert reply[0][:2] == [b"client|id", 2]
    assert ask(open_session(), "COMMAND", "INFO", "get|x", "client|") == [NULL_ARRAY, NULL_ARRAY]
    assert ask(open_session(), "COMMAND", "DOCS", "get|x") == {}


def test_all_commands_are_described_with_their_subcommands() -> None:
    """redis-py RedisCluster reads COMMAND before it sends anything."""
    session = open_session()
    reply = ask(session, "COMMAND")
    assert isinstance(reply, list)
    assert ask(session, "COMMAND", "COUNT") == len(reply) == len(TABLE)
    assert ask(session, "COMMAND", "INFO") == reply
    by_name = {row[0]: row for row in reply}
    assert [row[0] for row in by_name[b"raft"][9].items] == RAFT_ROWS
    for protocol in (2, 3):
        assert encode(reply, protocol)


def test_last_key_is_counted_from_the_first_or_from_the_end() -> None:
    """redis COMMAND, "Key specifications": lastkey."""
    reply = ask(open_session(), "COMMAND", "INFO", "mset", "set")
    assert isinstance(reply, list)
    mset, set_ = (row[8].items[0][b"find_keys"][b"spec"] for row in reply)
    assert mset == {b"lastkey": -1, b"keystep": 2, b"limit": 0}
    assert set_ == {b"lastkey": 0, b"keystep": 1, b"limit": 0}


def test_two_keys_that_are_used_in_two_ways_are_told_apart() -> None:
    """redis COMMAND, "Key specifications": the source is read, the destination overwritten."""
    reply = ask(open_session(), "COMMAND", "INFO", "copy")
    assert isinstance(reply, list)
    assert reply[0][3:6] == [1, 2, 1]
    source, destination = reply[0][8].items
    assert source[b"flags"] == words("RO", "access")
    assert destination[b"flags"] == words("OW", "update")
    assert [each[b"begin_search"][b"spec"][b"index"] for each in (source, destination)] == [1, 2]
    assert {each[b"find_keys"][b"spec"][b"lastkey"] for each in (source, destination)} == {0}


def test_docs_explain_arguments_and_leave_out_what_is_unknown() -> None:
    """redis COMMAND DOCS; redis-cli makes its hints of it."""
    assert ask(open_session(), "COMMAND", "DOCS", "wait", "nosuch") == {
        b"wait": {
            b"summary": b"Waits until that many replicas hold the connection's writes.",
            b"since": b"3.0.0",
            b"group": b"generic",
            b"complexity": b"O(1)",
            b"arguments": [
                {b"name": b"numreplicas", b"type": b"integer", b"display_text": b"numreplicas"},
                {b"name": b"timeout", b"type": b"integer", b"display_text": b"timeout"},
            ],
        }
    }


def test_docs_say_what_is_deprecated_and_what_changed() -> None:
    """redis 7.2 COMMAND DOCS: doc_flags, deprecated_since, replaced_by, history."""
    docs = ask(open_session(), "COMMAND", "DOCS", "setnx", "set")
    assert isinstance(docs, dict)
    assert list(docs[b"setnx"])[4:] == [b"doc_flags", b"deprecated_since", b"replaced_by", b"arguments"]
    assert docs[b"setnx"][b"doc_flags"] == words("deprecated")
    assert docs[b"setnx"][b"deprecated_since"] == b"2.6.12"
    assert docs[b"setnx"][b"replaced_by"] == b"`SET` with the `NX` argument"
    assert b"doc_flags" not in docs[b"set"]
    assert docs[b"set"][b"history"].items[1] == [b"6.0.0", b"Added the `KEEPTTL` option."]


def test_docs_nest_blocks_and_subcommands() -> None:
    """redis COMMAND DOCS: oneof, block, subcommands."""
    session = open_session()
    docs = ask(session, "COMMAND", "DOCS", "cluster")
    assert isinstance(docs, dict)
    failover = docs[b"cluster"][b"subcommands"][b"cluster|failover"]
    assert failover[b"arguments"] == [
        {
            b"name": b"options",
            b"type": b"oneof",
            b"flags": words("optional"),
            b"arguments": [
                {
                    b"name": word.encode(),
                    b"type": b"pure-token",
                    b"display_text": word.encode(),
                    b"token": word.upper().encode(),
                }
                for word in ("force", "takeover")
            ],
        }
    ]
    everything = ask(session, "COMMAND", "DOCS")
    assert isinstance(everything, dict)
    assert len(everything) == len(TABLE)


@pytest.mark.parametrize(
    ("request_line", "reply"),
    [
        ("mset a b c d", [b"a", b"c"]),
        ("DEL x y", [b"x", b"y"]),
        ("get k", [b"k"]),
        ("foo a", Error("ERR Invalid command specified")),
        ("wait 1 2", Error("ERR The command has no key arguments")),
        ("get a b", Error("ERR Invalid number of arguments specified for command")),
    ],
)
def test_getkeys_answers_the_keys_of_a_request(request_line: str, reply: object) -> None:
    """redis COMMAND GETKEYS."""
    assert ask(open_session(), "COMMAND", "GETKEYS", *request_line.split()) == reply


def test_getkeysandflags_tells_what_is_done_to_the_keys() -> None:
    """redis COMMAND GETKEYSANDFLAGS: refusals are those of GETKEYS."""
    session = open_session()
    assert ask(session, "COMMAND", "GETKEYSANDFLAGS", "mset", "a", "b", "c", "d") == [
        [b"a", words("OW", "update")],
        [b"c", words("OW", "update")],
    ]
    assert ask(session, "COMMAND", "GETKEYSANDFLAGS", "COPY", "a", "b") == [
        [b"a", words("RO", "access")],
        [b"b", words("OW", "update")],
    ]
    assert ask(session, "COMMAND", "GETKEYSANDFLAGS", "SET", "a", "get") == [[b"a", words("OW", "update")]]
    assert ask(session, "COMMAND", "GETKEYSANDFLAGS", "SET", "a", "b", "NX", "Get") == [
        [b"a", words("RW", "access", "update")],
    ]
    refused = ask(session, "COMMAND", "GETKEYSANDFLAGS", "ping", "a")
    assert refused == Error("ERR The command has no key arguments")
    refused = ask(session, "COMMAND", "GETKEYSANDFLAGS", "foo")
    assert refused == Error("ERR Invalid command specified")


def test_a_long_pattern_is_refused() -> None:
    """House style: every loop has a limit."""
    assert ask(open_session(), "COMMAND", "LIST", "FILTERBY", "PATTERN", "*a" * 2049) == Error(
        "ERR the pattern is longer than 4096 bytes"
    )


def test_list_names_commands_and_filters() -> None:
    """redis COMMAND LIST: with a filter, sub-commands are listed as well."""
    session = open_session()
    names = ask(session, "COMMAND", "LIST")
    assert isinstance(names, list)
    assert sorted(names) == sorted(spec.name for spec in TABLE)
    assert ask(session, "COMMAND", "LIST", "FILTERBY", "PATTERN", "raf*") == [
        b"raft",
        *RAFT_ROWS,
    ]
    assert ask(session, "COMMAND", "LIST", "FILTERBY", "PATTERN", b"ge[T]") == [b"get"]
    assert ask(session, "COMMAND", "LIST", "FILTERBY", "PATTERN", b"get\0") == []
    assert ask(session, "COMMAND", "LIST", "FILTERBY", "MODULE", "x") == []
    in_category = ask(session, "COMMAND", "LIST", "filterby", "aclcat", "string")
    assert isinstance(in_category, list)
    assert b"get" in in_category
    assert b"ping" not in in_category
    for options in (["x"], ["FILTERBY", "x", "y"], ["FILTERBY", "PATTERN"]):
        assert ask(session, "COMMAND", "LIST", *options) is SYNTAX_ERROR


def test_help_is_written_from_the_docs() -> None:
    """redis addReplyHelp: a heading, two lines for each sub-command, HELP last."""
    lines = ask(open_session(), "RAFT", "HELP")
    assert isinstance(lines, list)
    assert lines[0] == Simple("RAFT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
    assert Simple("ADD [LEARNER] <host> <port> [PEERPORT <peer-port>]") in lines
    assert lines[-6:] == [
        Simple("DIGEST"),
        Simple("    Returns a digest of all data on this node, and the log index at which it holds."),
        Simple("BACKUP (BEGIN|READ <id> <file> <offset> <length>|END <id>)"),
        Simple("    Copies a consistent state of this node, file by file."),
        Simple("HELP"),
        Simple("    Prints this help."),
    ]
    lines = ask(open_session(), "CLUSTER", "HELP")
    assert isinstance(lines, list)
    assert Simple("GETKEYSINSLOT <slot> <count>") in lines
    assert Simple("FAILOVER [FORCE|TAKEOVER]") in lines
    config = ask(open_session(), "CONFIG", "HELP")
    assert isinstance(config, list)
    assert Simple("SET <parameter> <value> [<parameter> <value> ...]") in config

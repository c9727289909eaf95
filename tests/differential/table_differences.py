"""What COMMAND INFO and DOCS of raftkv say otherwise than those of Redis 7.0.15, and why."""

from __future__ import annotations

from typing import Final

_RENAMED: Final = "7.2 calls the arguments otherwise"

#: Commands that Redis 7.0 doesn't know.
NEW_COMMANDS: Final = {
    "raft": "raftkv's own",
    "raft|digest": "raftkv's own",
    "raft|help": "raftkv's own",
    "client|setinfo": "came with 7.2",
    "cluster|myshardid": "came with 7.2",
}

#: By command and field.
TABLE_DIFFERENCES: Final[dict[tuple[str, str], str]] = {
    ("mset", "arguments"): _RENAMED,
    ("flushall", "arguments"): _RENAMED,
    ("hello", "arguments"): _RENAMED,
    ("client|list", "arguments"): _RENAMED,
    ("config|get", "arguments"): _RENAMED,
    ("config|set", "arguments"): _RENAMED,
    ("command|getkeys", "arguments"): "7.0 describes none",
    ("command|getkeys", "arity"): "7.2 takes a command without arguments",
    ("scan", "tips"): "7.2 added response_policy:special",
    ("client|setname", "tips"): "7.2 added two policies",
    ("wait", "flags"): "7.2 lets scripts call it",
    ("cluster|slots", "flags"): "7.2 answers while it loads",
    ("cluster|shards", "flags"): "7.2 answers while it loads",
}

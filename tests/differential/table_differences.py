"""What COMMAND INFO and DOCS say otherwise in Redis 7.2.4, which raftkv follows, than in 7.0.15.

Taken from the command descriptions in both versions' sources, for every command that there is. A few are
raftkv's own, where it answers by itself what Redis takes to the data.
"""

from __future__ import annotations

from typing import Final

_OWN_COMMANDS: Final = """
raft|info raft|members raft|add raft|remove raft|promote raft|replace raft|transfer raft|snapshot raft|compact
raft|digest raft|backup raft|help
"""

#: Commands that Redis 7.0 doesn't know.
NEW_COMMANDS: Final = {
    "raft": "raftkv's own",
    **dict.fromkeys(_OWN_COMMANDS.split(), "raftkv's own"),
    "client|no-touch": "came with 7.2",
    "client|setinfo": "came with 7.2",
    "cluster|myshardid": "came with 7.2",
    "waitaof": "came with 7.2",
}

#: Commands whose arguments 7.2 names, nests or dates otherwise.
_OTHER_ARGUMENTS: Final = """
acl|cat bitcount bitfield bitfield_ro bitop bitpos client|kill client|list client|reply client|unblock
cluster|addslotsrange cluster|delslotsrange cluster|meet cluster|reset cluster|setslot command|getkeys
command|getkeysandflags config|get config|set flushall flushdb function|flush geoadd geohash geopos georadius
georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore hello hmset hset lcs migrate
module|loadex mset msetnx pfmerge psubscribe script|flush shutdown sort sort_ro xadd xclaim xgroup|create
xgroup|createconsumer xgroup|delconsumer xgroup|destroy xgroup|setid xinfo|consumers xinfo|stream xreadgroup
xsetid zadd zrange zrangebylex zrangebyscore zrangestore zrank zrevrangebylex zrevrangebyscore zrevrank
"""

_POLICIES: Final = "7.2 says otherwise, or at all, how a cluster's clients put its replies together"
_IN_SCRIPTS: Final = "7.2 lets scripts call it"
_WHILE_LOADING: Final = "7.2 answers while it loads"
_ALONE: Final = "7.2 takes a command without arguments"
_WITH_SCORE: Final = "7.2 can answer the score, too"
_OF_THE_NODE: Final = "its flags say who answers, and this the node answers by itself"

#: By command and field.
TABLE_DIFFERENCES: Final[dict[tuple[str, str], str]] = {
    **{(name, "arguments"): "7.2 describes the arguments otherwise" for name in _OTHER_ARGUMENTS.split()},
    ("acl|deluser", "tips"): _POLICIES,
    ("acl|save", "tips"): _POLICIES,
    ("acl|setuser", "tips"): _POLICIES,
    ("blmove", "flags"): _IN_SCRIPTS,
    ("blpop", "flags"): _IN_SCRIPTS,
    ("brpop", "flags"): _IN_SCRIPTS,
    ("brpoplpush", "flags"): _IN_SCRIPTS,
    ("bzpopmax", "flags"): _IN_SCRIPTS,
    ("bzpopmin", "flags"): _IN_SCRIPTS,
    ("client|pause", "since"): "7.2 says 3.0.0",
    ("client|setname", "tips"): _POLICIES,
    ("cluster|shards", "flags"): _WHILE_LOADING,
    ("cluster|slots", "flags"): _WHILE_LOADING,
    ("command|getkeys", "arity"): _ALONE,
    ("command|getkeysandflags", "arity"): _ALONE,
    ("config|resetstat", "tips"): _POLICIES,
    ("config|rewrite", "tips"): _POLICIES,
    ("latency|reset", "tips"): _POLICIES,
    ("lolwut", "flags"): _OF_THE_NODE,
    ("migrate", "flags"): _OF_THE_NODE,
    ("migrate", "key specs"): "raftkv refuses it, wherever its keys are",
    ("msetnx", "tips"): _POLICIES,
    ("randomkey", "tips"): _POLICIES,
    ("scan", "tips"): _POLICIES,
    ("wait", "flags"): _IN_SCRIPTS,
    ("zrank", "arity"): _WITH_SCORE,
    ("zrevrank", "arity"): _WITH_SCORE,
}

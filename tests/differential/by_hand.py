"""What the generator can't draw from a command's docs, and what it must leave out.

Each writer gives the arguments behind the name(s), mostly sensible ones; what is wrong with any command's
arguments is the generator's to add. Knows no replies.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from raftkv.resp.integers import parse_integer
from tests.differential.cases import Request
from tests.differential.values import Values

#: Commands with these flags take part only if a writer below gives their arguments: they change or stop the
#: server, wait for other clients, or answer outside the order of requests.
LEFT_OUT_FLAGS: Final = frozenset({"admin", "blocking", "pubsub"})

#: Commands and containers that take no part, and why.
LEFT_OUT: Final = {
    "raft": "only raftkv has it",
    "dump": "the bytes tell the version that made them",
    "migrate": "speaks to a third server",
    "eval": "wants a program, which its docs don't have",
    "eval_ro": "wants a program, which its docs don't have",
    "evalsha": "wants a program, which its docs don't have",
    "evalsha_ro": "wants a program, which its docs don't have",
    "fcall": "wants a program, which its docs don't have",
    "fcall_ro": "wants a program, which its docs don't have",
    "function": "keeps its programs when FLUSHALL forgets the data",
    "script": "keeps its programs when FLUSHALL forgets the data",
    "client|tracking": "answers outside the order of requests",
    "lolwut": "draws pictures",
    "waitaof": "came with 7.2",
}

#: Seconds or milliseconds that may be over between two commands.
_SHORT_MAX: Final = 90_000_000
_WAIT_MS_MAX: Final = 20
#: Pauses beyond that many milliseconds are refused.
_PAUSE_MS_END: Final = (1 << 63) - (1 << 42)
#: Numbers and addresses that no connection has.
_NO_CLIENT_IDS: Final = (b"999999999", b"9223372036854775807")
_NO_ADDRESSES: Final = (b"1.2.3.4:5", b"127.0.0.1:1", b"x", b"", b"[::1]:1", b"\x00")


def is_racy(request: Request) -> bool:
    """Whether what a request does depends on how fast a server is, or takes it too long."""
    name = request[0].lower()
    if name in (b"set", b"getex"):
        words = [word.lower() for word in request]
        return any(_is_short(word) for before, word in pairwise(words[2:]) if before in (b"ex", b"px"))
    if name in (b"expire", b"pexpire", b"setex", b"psetex", b"restore"):
        return any(map(_is_short, request[2:3]))
    if name in (b"setbit", b"bitfield", b"setrange"):
        return any(1_000_000 < (parse_integer(word) or 0) < 1 << 32 for word in request[2:])
    if name == b"client" and len(request) > 2:
        return _is_racy_of_clients(request[1].lower(), request[2:])
    if name == b"wait" and len(request) == 3:
        replicas_count, wait_ms = map(parse_integer, request[1:])
        return (replicas_count or 0) > 0 and (wait_ms == 0 or (wait_ms or 0) > _WAIT_MS_MAX)
    return False


def _is_racy_of_clients(subcommand: bytes, words: Request) -> bool:
    """Whether a CLIENT's words pause for long, or may close connections: each server has others."""
    if subcommand == b"pause":
        return _WAIT_MS_MAX < (parse_integer(words[0]) or 0) < _PAUSE_MS_END
    if subcommand != b"kill" or len(words) % 2:  # what ends amid a filter is refused
        return False
    last = {filter_name.lower(): value for filter_name, value in zip(words[::2], words[1::2], strict=True)}
    addresses = (last.get(b"addr"), last.get(b"laddr"))
    return last.get(b"id") not in _NO_CLIENT_IDS and not any(each in _NO_ADDRESSES for each in addresses)


def _is_short(word: bytes) -> bool:
    number = parse_integer(word)
    return number is not None and 0 < number < _SHORT_MAX


def _hello(values: Values) -> list[bytes]:
    words: list[bytes] = []
    if not values.chance(4):
        words.append(values.random.choice((b"2", b"3", b"2", b"3", b"1", b"4", b"03", b"x", b"")))
    if values.chance(4):
        words += [values.word("AUTH"), *_auth(values)]
    if values.chance(4):
        words += [values.word("SETNAME"), values.text()]
    return words


def _auth(values: Values) -> list[bytes]:
    user = values.random.choice(([], [b"default"], [b"default"], [b"Default"], [b"nobody"]))
    return [*user, values.text()]


def _select(values: Values) -> list[bytes]:
    return [values.random.choice((b"0", b"0", b"1", b"15", b"16")) if values.chance(2) else values.integer()]


def _two_databases(values: Values) -> list[bytes]:
    return [*_select(values), *_select(values)]


def _move(values: Values) -> list[bytes]:
    return [values.key(), *_select(values)]


def _wait(values: Values) -> list[bytes]:
    replicas_count, wait_ms = values.random.choice(
        ((b"0", b"0"), (b"1", b"3"), (b"-1", b"5"), (b"0", b"1000"))
    )
    return [replicas_count, values.integer() if values.chance(5) else wait_ms]


def _scan(values: Values) -> list[bytes]:
    words = [b"0" if not values.chance(4) else values.integer()]
    if values.chance(3):
        words += [values.word("MATCH"), values.pattern()]
    if values.chance(2):
        words += [values.word("COUNT"), b"1000" if not values.chance(3) else values.integer()]
    if values.chance(4):
        words += [values.word("TYPE"), values.random.choice((b"string", b"STRING", b"list", b"nosuch", b""))]
    return words


def _client_list(values: Values) -> list[bytes]:
    match values.random.randrange(4):
        case 0:
            return [
                values.word("TYPE"),
                values.random.choice((b"normal", b"PUBSUB", b"master", b"replica", b"x")),
            ]
        case 1:
            return [values.word("ID"), *(values.integer() for _ in range(values.random.randrange(3)))]
    return []


def _client_kill(values: Values) -> list[bytes]:
    """The old form, or filters of which one leaves nobody."""
    choose = values.random.choice
    if values.chance(4):
        return [choose(_NO_ADDRESSES)]
    filters = [
        [values.word("ID"), choose(_NO_CLIENT_IDS)]
        if values.chance(2)
        else [values.word(choose(("ADDR", "LADDR"))), choose(_NO_ADDRESSES)]
    ]
    for _ in range(values.random.randrange(3)):
        filters.insert(0, _kill_filter(values))
    return [word for each in filters for word in each]


def _kill_filter(values: Values) -> list[bytes]:
    choices: tuple[tuple[str, tuple[bytes, ...]], ...] = (
        ("ID", (b"1", b"0", b"-1", b"x", values.integer())),
        ("TYPE", (b"normal", b"NORMAL", b"master", b"replica", b"slave", b"pubsub", b"x", b"")),
        ("USER", (b"default", b"default", b"Default", b"nobody", b"")),
        ("ADDR", (*_NO_ADDRESSES, values.text())),
        ("LADDR", (*_NO_ADDRESSES, values.text())),
        ("SKIPME", (b"yes", b"NO", b"x", b"")),
        ("MAXAGE", (b"x",)),
    )
    name, words = values.random.choice(choices)
    return [values.word(name), values.random.choice(words)]


def _client_pause(values: Values) -> list[bytes]:
    timeout = values.integer() if values.chance(3) else values.random.choice((b"0", b"0", b"5"))
    modes = (b"WRITE", b"all", b"x", b"")
    return [timeout, *([values.random.choice(modes)] if values.chance(2) else [])]


def _client_unblock(values: Values) -> list[bytes]:
    reasons = (b"TIMEOUT", b"error", b"x", b"")
    return [values.integer(), *([values.random.choice(reasons)] if values.chance(2) else [])]


def _switch(values: Values) -> list[bytes]:
    return [values.random.choice((b"on", b"ON", b"off", b"Off", b"x", b""))]


def _config_get(values: Values) -> list[bytes]:
    return [values.random.choice((b"nosuch", b"", b"nosuch*")) for _ in range(values.random.randrange(1, 3))]


def _config_set(values: Values) -> list[bytes]:
    return [b"nosuch" + values.text(), *(values.text() for _ in range(values.random.randrange(4)))]


def _any_request(values: Values) -> list[bytes]:
    """A request of which a server may be asked where its keys are."""
    requests: tuple[list[bytes], ...] = (
        [b"GET", b"k"],
        [b"set", b"k", b"v", b"EX"],
        [b"MSET", b"a", b"1", b"b", b"2"],
        [b"MGET", b"a", b"b", b"c"],
        [b"PING"],
        [b"GET"],
        [b"nosuch", b"k"],
        [b"CLIENT", b"LIST"],
        [b"DEL", b"a", b"a"],
        [b"SET", b"k", b"v", b"GET"],
        [b"COPY", b"a", b"b"],
        [b"RENAMENX", b"a", b"b"],
        [b"LCS", b"a", b"b", b"LEN"],
        [b"OBJECT", b"ENCODING", b"a"],
        [b"GETEX", b"a", b"PERSIST"],
    )
    return [*values.random.choice(requests), *([values.text()] if values.chance(5) else [])]


def _command_list(values: Values) -> list[bytes]:
    if values.chance(3):
        return []
    kind = values.random.choice(("MODULE", "ACLCAT", "PATTERN", "nosuch"))
    return [
        values.word("FILTERBY"),
        values.word(kind),
        values.random.choice((b"nosuch", b"", b"get\x00", b"nosuch*")),
    ]


def _command_names(values: Values) -> list[bytes]:
    names = (b"get", b"GET", b"client|id", b"Client|Id", b"nosuch", b"", b"get|x", b"client|", b"ping\x00")
    return [values.random.choice(names) for _ in range(values.random.randrange(1, 4))]


def _node_id(values: Values) -> list[bytes]:
    return [values.random.choice((b"0" * 40, b"x" * 40, values.text()))]


def _slot(values: Values) -> list[bytes]:
    slots = (b"15891", b"15891", b"0", b"16383", b"16384", b"-1")
    return [values.random.choice(slots) if not values.chance(4) else values.integer()]


def _slot_and_count(values: Values) -> list[bytes]:
    return [*_slot(values), b"100" if not values.chance(3) else values.integer()]


def _failover(values: Values) -> list[bytes]:
    return [[], [b"x"], [b"force", b"x"]][values.random.randrange(3)]


def _nothing(_values: Values) -> list[bytes]:
    return []


WRITERS: Final[dict[str, Callable[[Values], list[bytes]]]] = {
    "hello": _hello,
    "auth": _auth,
    "select": _select,
    "swapdb": _two_databases,
    "move": _move,
    "wait": _wait,
    "scan": _scan,
    "client|list": _client_list,
    "client|kill": _client_kill,
    "client|pause": _client_pause,
    "client|unpause": _nothing,
    "client|unblock": _client_unblock,
    "client|no-evict": _switch,
    "client|no-touch": _switch,
    "config|get": _config_get,
    "config|set": _config_set,
    "config|help": _nothing,
    "config|resetstat": _nothing,
    "slowlog|help": _nothing,
    "slowlog|reset": _nothing,
    "latency|help": _nothing,
    "module|help": _nothing,
    "module|list": _nothing,
    "lastsave": _nothing,
    "command|getkeys": _any_request,
    "command|getkeysandflags": _any_request,
    "command|list": _command_list,
    "command|info": _command_names,
    "command|docs": _command_names,
    "cluster|countkeysinslot": _slot,
    "cluster|getkeysinslot": _slot_and_count,
    "cluster|replicas": _node_id,
    "cluster|count-failure-reports": _node_id,
    "cluster|failover": _failover,
}

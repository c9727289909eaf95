"""The command table: one row per command, which drives arity, routing, key positions and COMMAND.

Knows nothing of what the commands do. Each family is a module with handlers and its rows in `COMMANDS`;
`raftkv.commands.build_table` joins them. A family looks like this:

    def on_strlen(keyspace: Keyspace, args: list[bytes]) -> Reply:
        ...

    COMMANDS: tuple[CommandSpec, ...] = (
        CommandSpec(
            name=b"strlen",
            arity=2,
            flags=frozenset({"readonly", "fast"}),
            route=READ,
            keys=KeySpec(1, 1, 1, flags=("RO",)),
            handler=on_strlen,
            acl_categories=frozenset({"read", "string", "fast"}),
            docs=CommandDocs(
                summary="Returns the length of a string value.",
                since="2.2.0",
                group="string",
                complexity="O(1)",
                arguments=(Argument("key", "key", key_spec_index=0),),
            ),
        ),
    )

`args` is the whole request: `args[0]` the name as the client spelled it, for a container `args[1]` too. A
handler is called with an arity that was checked, returns errors as values and never raises for a client's
mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from raftkv.resp.replies import Error, Reply, printable


class Route(Enum):
    """Who carries a command out."""

    #: Proposed to the log; runs on every replica, at its place in the log.
    WRITE = "write"
    #: Runs on this node's state once it is known to be recent enough (lease or ReadIndex).
    READ = "read"
    #: Answered at once from what the session and its node know.
    LOCAL = "local"


WRITE: Final = Route.WRITE
READ: Final = Route.READ
LOCAL: Final = Route.LOCAL


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where the keys are among the arguments (redis COMMAND, first key, last key, step)."""

    #: Position of the first key, 0: there are none.
    first: int = 0
    #: Position of the last key, counted from the end when negative (-1: the last argument).
    last: int = 0
    step: int = 0
    #: What is done with them (redis COMMAND INFO): RO, RW, OW or RM, then access, update, insert, delete.
    flags: tuple[str, ...] = ()
    #: What is done with the second of two keys, if it is something else; `flags` are the first one's then.
    second_flags: tuple[str, ...] = ()
    #: With "variable_flags": given a request, what is done with its keys.
    flags_of: Callable[[list[bytes]], tuple[str, ...]] | None = None


NO_KEYS: Final = KeySpec()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command, as COMMAND DOCS shows it (redis COMMAND DOCS)."""

    name: str
    #: string, integer, double, key, pattern, unix-time, pure-token, oneof or block.
    type: str
    #: The word that precedes the value, or that is all of a pure-token.
    token: str = ""
    #: optional, multiple, multiple_token.
    flags: tuple[str, ...] = ()
    #: Of a key: which of the command's key specs it falls under.
    key_spec_index: int | None = None
    #: Of a oneof or block: what it is made of.
    arguments: tuple[Argument, ...] = ()
    since: str = ""


@dataclass(frozen=True, slots=True)
class CommandDocs:
    """What COMMAND DOCS tells people, redis-cli's hints included."""

    summary: str
    #: The Redis version that brought the command.
    since: str
    group: str
    complexity: str
    arguments: tuple[Argument, ...] = ()
    #: The Redis version since which something else is preferred, and what; "": the command is no old one.
    deprecated_since: str = ""
    replaced_by: str = ""
    #: (version, what changed in it).
    history: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Sliced:
    """A reply that takes long to make: the node runs `steps` in slices of milliseconds, then takes `result`.

    `work` yields between two small pieces of work and returns the reply. A generator runs nothing before its
    first step, so a handler takes its view of the rows BEFORE it makes `work`:

        def on_keys(keyspace, args):
            rows = keyspace.scan(...)                # the view, now
            return Sliced(_collect(rows, args[1]))   # the work, later
    """

    work: Generator[None, None, Reply]
    #: Set once `steps` is exhausted.
    result: Reply = None

    def steps(self) -> Iterator[None]:
        """Do the work, one small piece per item; then `result` is set."""
        self.result = yield from self.work

    def run(self) -> Reply:
        """Do all of the work at once."""
        for _ in self.steps():
            pass
        return self.result


@dataclass(slots=True)
class Awaited:
    """A LOCAL reply that waits for something (redis WAIT): ask `look` again and again until it has a reply.

    None from `look`: not yet. At the deadline `at_last` is taken. Only the connection that asked waits.
    """

    look: Callable[[], Reply]
    at_last: Callable[[], Reply]
    #: 0: there is no deadline.
    timeout_ms: int


#: WRITE and READ handlers take the Keyspace, LOCAL ones the Session; the route says which, hence `Any`.
Handler = Callable[[Any, list[bytes]], Reply | Sliced | Awaited]
#: Takes the Keyspace, then the first arguments of many requests, their second ones, and so on, without names.
BulkHandler = Callable[..., list[Reply]]

FLAGS: Final = frozenset(
    {
        "write",
        "readonly",
        "denyoom",
        "admin",
        "noscript",
        "pubsub",
        "blocking",
        "loading",
        "stale",
        "fast",
        "no_auth",
        "may_replicate",
        "skip_monitor",
        "skip_slowlog",
        "asking",
        "no_async_loading",
        "no_multi",
        "no_mandatory_keys",
        "movablekeys",
        "allow_busy",
    }
)

_NO_SUBCOMMANDS: Final[Mapping[bytes, CommandSpec]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """One row of the table."""

    #: Lower case; of a sub-command with its container: `client|id`.
    name: bytes
    #: Number of arguments, the name(s) included; negative: at least that many.
    arity: int
    #: Of `FLAGS`. Invariant: WRITE has "write", READ has "readonly", LOCAL has neither.
    flags: frozenset[str] = frozenset()
    route: Route
    keys: KeySpec = NO_KEYS
    #: Of a container without an action of its own: never called.
    handler: Handler
    #: Carries out many requests at once, of one key each and with no more arguments than `arity` asks for;
    #: gives their replies, no errors among them. It may raise whatever `handler` would for one of them: then
    #: they are carried out one by one.
    bulk_handler: BulkHandler | None = None
    #: Without the '@'.
    acl_categories: frozenset[str]
    docs: CommandDocs
    #: Command tips (redis COMMAND, "Command tips"), as "nondeterministic_output".
    tips: tuple[str, ...] = ()
    #: Of a container: by the second word, lower case.
    subcommands: Mapping[bytes, CommandSpec] = field(default_factory=lambda: _NO_SUBCOMMANDS)
    #: Given a request: what a listener answers that behaves as a node of a cluster, and so has database 0
    #: alone; None: it serves the request. Without this it serves them all.
    cluster_refusal: Callable[[list[bytes]], Error | None] | None = None
    #: What `arity` means, as [least, most] arguments, names included.
    args_min: int = field(init=False)
    args_max: int = field(init=False)
    #: Of a node of a Redis Cluster alone (redis: the group "cluster").
    is_of_cluster: bool = field(init=False)
    #: Every request names exactly one key, and there is nothing more to ask before it is served.
    has_one_key: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_of_cluster", self.docs.group == "cluster")
        object.__setattr__(self, "args_min", abs(self.arity))
        object.__setattr__(self, "args_max", self.arity if self.arity > 0 else sys.maxsize)
        has_one_key = 0 < self.keys.first == self.keys.last and self.cluster_refusal is None
        object.__setattr__(self, "has_one_key", has_one_key)
        assert self.name == self.name.lower(), f"{self.name!r} is not in lower case"
        assert self.arity != 0, f"{self.name!r} takes no name"
        if self.bulk_handler is not None:
            assert has_one_key, f"{self.name!r} has not one key"
            assert self.route is WRITE or self.arity == 2, f"{self.name!r} reads more than keys"
        assert self.flags <= FLAGS, f"{self.name!r} has unknown flags {set(self.flags - FLAGS)}"
        assert ("write" in self.flags) is (self.route is WRITE), (
            f"{self.name!r}: route and flag 'write' disagree"
        )
        assert ("readonly" in self.flags) is (self.route is READ), (
            f"{self.name!r}: route and 'readonly' disagree"
        )

    def accepts(self, args_count: int) -> bool:
        """Whether a request of that many arguments, name included, has the right arity."""
        return self.args_min <= args_count <= self.args_max


class CommandRefused(Exception):
    """A request that no handler sees. `reply` is what its client gets."""

    def __init__(self, reply: Error) -> None:
        super().__init__(reply.text)
        self.reply = reply


class UnknownCommand(CommandRefused):
    """The request names no command (redis processCommand)."""

    def __init__(self, args: list[bytes]) -> None:
        quoted = b""
        for arg in args[1:]:
            if len(quoted) >= 128:
                break
            quoted += b"'%b' " % arg.partition(b"\0")[0][: 128 - len(quoted)]
        name = printable(args[0])
        super().__init__(
            Error(f"ERR unknown command '{name}', with args beginning with: {printable(quoted, 256)}")
        )


class UnknownSubcommand(CommandRefused):
    """The request names a container, but none of its sub-commands."""

    def __init__(self, args: list[bytes]) -> None:
        container = printable(args[0]).upper()
        super().__init__(Error(f"ERR unknown subcommand '{printable(args[1])}'. Try {container} HELP."))


class WrongArity(CommandRefused):
    """The request has too few or too many arguments."""

    def __init__(self, spec: CommandSpec) -> None:
        super().__init__(Error(f"ERR wrong number of arguments for '{spec.name.decode()}' command"))


#: Spellings that are remembered beside each command's own; more are looked up the long way.
SPELLINGS_MAX: Final = 4096


class CommandTable:
    """All commands, found by any spelling of their names.

    Invariant: `_spellings` holds every name in lower case, and at most `SPELLINGS_MAX` others.
    """

    __slots__ = ("_commands", "_plain", "_spellings", "known")

    def __init__(self, commands: Iterable[CommandSpec]) -> None:
        self._commands: dict[bytes, CommandSpec] = {}
        for spec in commands:
            assert spec.name not in self._commands, f"two rows of the command table are called {spec.name!r}"
            self._commands[spec.name] = spec
        self._spellings = dict(self._commands)
        #: Those of `_spellings` that have no sub-commands.
        self._plain = {name: spec for name, spec in self._commands.items() if not spec.subcommands}
        #: A command without sub-commands by a spelling that was met before; None says nothing. The dict's
        #: own `get`, for those who look up every request: a third of what `resolve` costs.
        self.known: Callable[[bytes], CommandSpec | None] = self._plain.get

    def __iter__(self) -> Iterator[CommandSpec]:
        return iter(self._commands.values())

    def __len__(self) -> int:
        return len(self._commands)

    def lookup(self, name: bytes) -> CommandSpec | None:
        """The command (not sub-command) called `name`, in any case."""
        spec = self._spellings.get(name)
        if spec is None:
            spec = self._commands.get(name.lower())
            if spec is not None and len(self._spellings) < SPELLINGS_MAX + len(self._commands):
                self._spellings[name] = spec
                if not spec.subcommands:
                    self._plain[name] = spec
        return spec

    def resolve(self, args: list[bytes]) -> CommandSpec:
        """The command or sub-command that `args` asks for, its arity checked.

        Raises UnknownCommand, UnknownSubcommand, WrongArity: their `reply` is Redis's text.
        """
        spec = self.known(args[0]) or self.lookup(args[0])
        if spec is None:
            raise UnknownCommand(args)
        args_count = len(args)
        if spec.subcommands and args_count > 1:
            container, spec = spec, spec.subcommands.get(args[1].lower())
            if spec is None:
                raise UnknownSubcommand([container.name, args[1]])
        if not spec.args_min <= args_count <= spec.args_max:
            raise WrongArity(spec)
        return spec

    def exchange(self, rows: Mapping[bytes, CommandSpec]) -> None:
        """Put other rows, by name, in the place of those of these names, under every spelling met so far.

        The dicts stay the same ones: who holds `known` sees the new rows.
        """
        for by_name in (self._commands, self._spellings, self._plain):
            for name, spec in by_name.items():
                by_name[name] = rows.get(spec.name, spec)

    def find(self, words: list[bytes]) -> CommandSpec | None:
        """The command or sub-command that `words` begin with (redis COMMAND GETKEYS)."""
        spec = self.lookup(words[0])
        if spec is not None and spec.subcommands and len(words) > 1:
            return spec.subcommands.get(words[1].lower())
        return spec

    def find_exactly(self, name: bytes) -> CommandSpec | None:
        """The command called `name`, or the sub-command if it is `container|word` (redis COMMAND INFO)."""
        first, bar, word = name.partition(b"|")
        spec = self.lookup(first)
        if spec is None or not bar:
            return spec
        return spec.subcommands.get(word.lower())


def keys_of(spec: CommandSpec, args: list[bytes]) -> list[bytes]:
    """The keys among `args`, whose arity was checked."""
    keys = spec.keys
    first = keys.first
    if first == 0:
        return []
    if keys.last == first:
        return [args[first]]
    end = keys.last + 1 if keys.last > 0 else len(args) + keys.last + 1
    return args[first : end : keys.step]

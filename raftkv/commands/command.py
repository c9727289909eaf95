"""COMMAND: the table, as clients and redis-cli read it.

Knows no command by name: everything is read from the rows of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from raftkv.commands.containers import container
from raftkv.commands.glob import GLOB_BYTES_MAX, compile_glob
from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, Argument, CommandDocs, CommandSpec, KeySpec, keys_of
from raftkv.resp.replies import NULL_ARRAY, SYNTAX_ERROR, Error, Reply, ReplySet, Simple

#: Redis's texts.
_NO_SUCH_COMMAND = Error("ERR Invalid command specified")
_NO_KEYS = Error("ERR The command has no key arguments")
_WRONG_ARITY = Error("ERR Invalid number of arguments specified for command")

_PATTERN_TOO_LONG = Error(f"ERR the pattern is longer than {GLOB_BYTES_MAX} bytes")


def on_command(session: Session, _args: list[bytes]) -> Reply:
    """Describe every command."""
    return [describe(spec) for spec in session.node.commands]


def on_count(session: Session, _args: list[bytes]) -> Reply:
    """Count the commands."""
    return len(session.node.commands)


def on_info(session: Session, args: list[bytes]) -> Reply:
    """Describe the commands of these names (`client|id` for a sub-command), or all."""
    if len(args) == 2:
        return on_command(session, args)
    specs = (session.node.commands.find_exactly(name) for name in args[2:])
    return [NULL_ARRAY if spec is None else describe(spec) for spec in specs]


def on_docs(session: Session, args: list[bytes]) -> Reply:
    """Explain the commands of these names, or all; unknown ones are left out."""
    table = session.node.commands
    specs: Iterable[CommandSpec | None] = table
    if len(args) > 2:
        specs = (table.find_exactly(name) for name in args[2:])
    return {spec.name: explain(spec) for spec in specs if spec is not None}


def on_getkeys(session: Session, args: list[bytes]) -> Reply:
    """Answer the keys of the command that follows."""
    found = _keys_in(session, args[2:])
    return found if isinstance(found, Error) else found[1]


def on_getkeysandflags(session: Session, args: list[bytes]) -> Reply:
    """Answer the keys of the command that follows, each with what is done to it."""
    found = _keys_in(session, args[2:])
    if isinstance(found, Error):
        return found
    spec, keys = found
    flags = spec.keys.flags if spec.keys.flags_of is None else spec.keys.flags_of(args[2:])
    last_flags = spec.keys.second_flags or flags
    return [[key, _words(last_flags if place else flags)] for place, key in enumerate(keys)]


def _keys_in(session: Session, request: list[bytes]) -> tuple[CommandSpec, list[bytes]] | Error:
    spec = session.node.commands.find(request)
    if spec is None:
        return _NO_SUCH_COMMAND
    if spec.keys.first == 0:
        return _NO_KEYS
    if not spec.accepts(len(request)):
        return _WRONG_ARITY
    return spec, keys_of(spec, request)


def on_list(session: Session, args: list[bytes]) -> Reply:
    """Name the commands; with a filter, sub-commands too."""
    options = args[2:]
    if not options:
        return [spec.name for spec in session.node.commands]
    if len(options) != 3 or options[0].lower() != b"filterby":
        return SYNTAX_ERROR
    if len(options[2]) > GLOB_BYTES_MAX:
        return _PATTERN_TOO_LONG
    chosen = _filter_of(options[1].lower(), options[2].lower())
    if chosen is None:
        return SYNTAX_ERROR
    return [spec.name for spec in _with_subcommands(session.node.commands) if chosen(spec)]


def _filter_of(kind: bytes, value: bytes) -> Callable[[CommandSpec], bool] | None:
    match kind:
        case b"module":
            return lambda _: False
        case b"aclcat":
            return lambda spec: value.decode("latin-1") in spec.acl_categories
        case b"pattern":
            is_match = compile_glob(value[:GLOB_BYTES_MAX]).fullmatch
            return lambda spec: is_match(spec.name) is not None
    return None


def _with_subcommands(specs: Iterable[CommandSpec]) -> Iterator[CommandSpec]:
    for spec in specs:
        yield spec
        yield from spec.subcommands.values()


def describe(spec: CommandSpec) -> Reply:
    """A row as COMMAND INFO has it."""
    return [
        spec.name,
        spec.arity,
        _words(sorted(spec.flags)),
        spec.keys.first,
        spec.keys.last,
        spec.keys.step,
        _words("@" + category for category in sorted(spec.acl_categories)),
        ReplySet([tip.encode() for tip in spec.tips]),
        ReplySet(_key_specs(spec.keys)),
        ReplySet([describe(subcommand) for subcommand in spec.subcommands.values()]),
    ]


def _words(words: Iterable[str]) -> ReplySet:
    return ReplySet([Simple(word) for word in words])


def _key_specs(keys: KeySpec) -> list[Reply]:
    """Where the keys are, in the newer of Redis's two ways (redis COMMAND, "Key specifications")."""
    if keys.second_flags:
        first = KeySpec(keys.first, keys.first, 1, keys.flags)
        return [_key_spec(first), _key_spec(KeySpec(keys.last, keys.last, 1, keys.second_flags))]
    return [_key_spec(keys)] if keys.first else []


def _key_spec(keys: KeySpec) -> Reply:
    # Redis counts the last key from the first one, or from the end.
    last = keys.last if keys.last < 0 else keys.last - keys.first
    return {
        b"flags": _words(keys.flags),
        b"begin_search": {b"type": b"index", b"spec": {b"index": keys.first}},
        b"find_keys": {
            b"type": b"range",
            b"spec": {b"lastkey": last, b"keystep": keys.step, b"limit": 0},
        },
    }


def explain(spec: CommandSpec) -> dict[bytes, Reply]:
    """A row as COMMAND DOCS has it."""
    docs = spec.docs
    reply: dict[bytes, Reply] = {
        b"summary": docs.summary.encode(),
        b"since": docs.since.encode(),
        b"group": docs.group.encode(),
        b"complexity": docs.complexity.encode(),
    }
    if docs.deprecated_since:
        reply[b"doc_flags"] = _words(["deprecated"])
        reply[b"deprecated_since"] = docs.deprecated_since.encode()
        reply[b"replaced_by"] = docs.replaced_by.encode()
    if docs.history:
        reply[b"history"] = ReplySet([[since.encode(), change.encode()] for since, change in docs.history])
    if docs.arguments:
        reply[b"arguments"] = [_argument(argument) for argument in docs.arguments]
    if spec.subcommands:
        reply[b"subcommands"] = {each.name: explain(each) for each in spec.subcommands.values()}
    return reply


def _argument(argument: Argument) -> dict[bytes, Reply]:
    reply: dict[bytes, Reply] = {b"name": argument.name.encode(), b"type": argument.type.encode()}
    if argument.type not in ("oneof", "block"):
        reply[b"display_text"] = argument.name.encode()
    if argument.key_spec_index is not None:
        reply[b"key_spec_index"] = argument.key_spec_index
    if argument.token:
        reply[b"token"] = argument.token.encode()
    if argument.since:
        reply[b"since"] = argument.since.encode()
    if argument.flags:
        reply[b"flags"] = _words(argument.flags)
    if argument.arguments:
        reply[b"arguments"] = [_argument(each) for each in argument.arguments]
    return reply


_FLAGS = frozenset({"loading", "stale"})
_CATEGORIES = frozenset({"slow", "connection"})
_ANY_ORDER = ("nondeterministic_output_order",)
_NAMES = Argument("command-name", "string", flags=("optional", "multiple"))


def _docs(summary: str, since: str, complexity: str, *arguments: Argument) -> CommandDocs:
    return CommandDocs(summary, since, "server", complexity, arguments)


COMMANDS: tuple[CommandSpec, ...] = (
    container(
        b"command",
        _docs("Describes all commands.", "2.8.13", "O(N) where N is the number of commands"),
        (
            CommandSpec(
                name=b"command|count",
                arity=2,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_count,
                acl_categories=_CATEGORIES,
                docs=_docs("Counts the commands.", "2.8.13", "O(1)"),
            ),
            CommandSpec(
                name=b"command|info",
                arity=-2,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_info,
                acl_categories=_CATEGORIES,
                docs=_docs(
                    "Describes some or all commands.", "2.8.13", "O(N) where N is the number of names", _NAMES
                ),
                tips=_ANY_ORDER,
            ),
            CommandSpec(
                name=b"command|docs",
                arity=-2,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_docs,
                acl_categories=_CATEGORIES,
                docs=_docs(
                    "Explains some or all commands.", "7.0.0", "O(N) where N is the number of names", _NAMES
                ),
                tips=_ANY_ORDER,
            ),
            CommandSpec(
                name=b"command|getkeys",
                arity=-3,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_getkeys,
                acl_categories=_CATEGORIES,
                docs=_docs(
                    "Returns the keys of a request.",
                    "2.8.13",
                    "O(N) where N is the number of arguments",
                    Argument("command", "string"),
                    Argument("arg", "string", flags=("optional", "multiple")),
                ),
            ),
            CommandSpec(
                name=b"command|getkeysandflags",
                arity=-3,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_getkeysandflags,
                acl_categories=_CATEGORIES,
                docs=_docs(
                    "Returns the keys of a request and what is done to them.",
                    "7.0.0",
                    "O(N) where N is the number of arguments",
                    Argument("command", "string"),
                    Argument("arg", "string", flags=("optional", "multiple")),
                ),
            ),
            CommandSpec(
                name=b"command|list",
                arity=-2,
                flags=_FLAGS,
                route=LOCAL,
                handler=on_list,
                acl_categories=_CATEGORIES,
                docs=_docs(
                    "Names the commands.",
                    "7.0.0",
                    "O(N) where N is the number of commands",
                    Argument(
                        "filterby",
                        "oneof",
                        token="FILTERBY",
                        flags=("optional",),
                        arguments=(
                            Argument("module-name", "string", token="MODULE"),
                            Argument("category", "string", token="ACLCAT"),
                            Argument("pattern", "pattern", token="PATTERN"),
                        ),
                    ),
                ),
                tips=_ANY_ORDER,
            ),
        ),
        handler=on_command,
        acl_categories=_CATEGORIES,
        tips=_ANY_ORDER,
    ),
)

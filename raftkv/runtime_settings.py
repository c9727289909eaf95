"""The settings as Redis's CONFIG command shows and changes them while the node runs.

Maps Redis's parameter names onto `config`'s keys; a key that Redis has no like of goes by its own name
with dashes. What Redis has and raftkv can't vary is shown with the value that holds. Does not know who
uses a setting: whoever does reads `RuntimeSettings.config` each time, or is told by `on_change`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from raftkv.config import Config, ConfigError
from raftkv.config_sources import SETTINGS, Setting, read_toml
from raftkv.config_values import Choice, Flag, Integer, Number, Size, Text

#: Parameters that clients and tools ask for and that hold one value here (redis CONFIG GET).
_FIXED: Mapping[str, str] = {
    "appendfsync": "always",
    "appendonly": "yes",
    "cluster-allow-reads-when-down": "no",
    "cluster-enabled": "yes",
    "cluster-require-full-coverage": "yes",
    "databases": "1",
    "io-threads": "1",
    "latency-tracking": "yes",
    "latency-tracking-info-percentiles": "50 99 99.9",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "notify-keyspace-events": "",
    "replica-read-only": "yes",
    "save": "",
    "slave-read-only": "yes",
}

_BY_NAME: Mapping[str, Setting] = {setting.redis_name: setting for setting in SETTINGS}
#: Shown to who asks for them by name alone (redis HIDDEN_CONFIG).
HIDDEN_NAMES = frozenset(setting.redis_name for setting in SETTINGS if setting.is_hidden)
_OUTPUT_LIMITS = "client-output-buffer-limit"
_OUTPUT_LIMIT_KEYS = ("output_buffer_bytes_max", "output_buffer_soft_bytes_max", "output_buffer_soft_s")
_REDIS_LOG_LEVELS: Mapping[str, str] = {
    "debug": "debug",
    "verbose": "info",
    "notice": "info",
    "warning": "warning",
    "error": "error",
    "info": "info",
}
_SHOWN_LOG_LEVELS: Mapping[str, str] = {
    "debug": "debug",
    "info": "notice",
    "warning": "warning",
    "error": "error",
}


class SettingRefused(Exception):
    """CONFIG SET can't be done, and nothing was changed. The text is the error reply, prefix included."""


class RuntimeSettings:
    """One node's settings while it runs."""

    def __init__(
        self,
        config: Config,
        *,
        on_change: Callable[[Config], None] = lambda _: None,
        room_for_clients: Callable[[int], int] = lambda wanted: wanted,
    ) -> None:
        """Start from `config`; `on_change` is called with each new one, after `self.config` has it.

        `room_for_clients` tells how many of as many clients the system can handle.
        """
        self._config = config
        self._room_for_clients = room_for_clients
        self._on_change = on_change

    @property
    def config(self) -> Config:
        """What holds now. Only keys described as `is_runtime` ever differ from the start."""
        return self._config

    def set(self, name: str, value: str) -> None:
        """Change one parameter. Raises SettingRefused."""
        self.set_all([(name, value)])

    def set_all(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Change several parameters or, raising SettingRefused, none of them (redis CONFIG SET).

        All names are looked at before any value, as Redis does.
        """
        seen: set[str] = set()
        for given, _ in pairs:
            _check_name(given)
            if given.lower() in seen:
                raise _refused(given, "duplicate parameter")
            seen.add(given.lower())
        changes: dict[str, object] = {}
        for given, value in pairs:
            changes.update(_change_of(given.lower(), value))
        if not changes:
            return
        try:
            changed = replace(self._config, **changes)  # type: ignore[arg-type]  # read by their kinds
        except ConfigError as refusal:
            raise _refused(refusal.key or "?", refusal.reason) from None
        if changed.clients_max > self._config.clients_max:
            self._check_room(changed.clients_max)
        self._config = changed
        self._on_change(self._config)

    def _check_room(self, clients_max: int) -> None:
        room = self._room_for_clients(clients_max)
        if room < clients_max:
            reason = "The operating system is not able to handle the specified number of clients, try with"
            raise _refused("maxclients", f"{reason} {room}")

    def rewritten(self, data: bytes, *, name: str) -> bytes:
        """Return a configuration file's bytes with the settings that hold now (redis CONFIG REWRITE).

        Of those that can change while the node runs, each whose value in the file, or by default, is another
        one gets a line; everything else, comments too, stays. Raises ConfigError if that can't be done.
        """
        table = read_toml(data, name=name)
        changes: dict[str, object] = {}
        for setting in SETTINGS:
            value = getattr(self._config, setting.key)
            written = setting.kind.check(table[setting.key]) if setting.key in table else setting.default
            if setting.is_runtime and value != written:
                changes[setting.key] = value
        text = data.decode()
        for key, value in changes.items():
            text = _with_line(text, key, json.dumps(value))
        try:
            is_right = read_toml(text.encode(), name=name) == {**table, **changes}
        except ConfigError:
            is_right = False
        if not is_right:
            raise ConfigError("is written in a way that only people can change", source=name)
        return text.encode()

    def shown(self) -> dict[str, str]:
        """Return every parameter's value by its name, ordered by name (redis CONFIG GET)."""
        shown = dict(_FIXED)
        for name, setting in _BY_NAME.items():
            value = getattr(self._config, setting.key)
            if isinstance(setting.kind, Flag):
                shown[name] = "yes" if value else "no"
            else:
                shown[name] = setting.kind.show(value)
        shown["loglevel"] = _SHOWN_LOG_LEVELS[self._config.log_level]
        shown[_OUTPUT_LIMITS] = " ".join(
            f"{kind} {self._config.output_buffer_bytes_max} {self._config.output_buffer_soft_bytes_max}"
            f" {self._config.output_buffer_soft_s}"
            for kind in ("normal", "slave", "pubsub")
        )
        return dict(sorted(shown.items()))


def _check_name(given: str) -> None:
    """Raise SettingRefused for a parameter that there isn't, or that can't change."""
    name = given.lower()
    if name in _FIXED or name == _OUTPUT_LIMITS:
        return
    setting = _BY_NAME.get(name)
    if setting is None:
        shown = given.partition("\0")[0]  # as C prints it
        raise SettingRefused(f"ERR Unknown option or number of arguments for CONFIG SET - '{shown}'")
    if not setting.is_runtime:
        raise _refused(given, "can't set immutable config")


def _change_of(name: str, value: str) -> dict[str, object]:
    """Return the fields that setting `name`, a checked one, to `value` changes; none if it holds already."""
    if name in _FIXED:
        if value.lower() != _FIXED[name]:
            raise _refused(name, f"raftkv always has {_FIXED[name]!r} here")
        return {}
    if name == _OUTPUT_LIMITS:
        return _output_limits(value)
    setting = _BY_NAME[name]
    if setting.key == "log_level":
        return {"log_level": _log_level(value)}
    return {setting.key: _parsed(setting, value)}


def _with_line(text: str, key: str, literal: str) -> str:
    """Return a TOML text whose top-level `key` has another value, in its place or behind all other keys.

    `literal` is JSON's, which for numbers, strings and truth values is TOML's too.
    """
    table = re.search(r"^[ \t]*\[", text, re.MULTILINE)
    end = len(text) if table is None else table.start()
    head, tail = text[:end], text[end:]
    line = re.compile(rf"^([ \t]*{key}[ \t]*=[ \t]*)[^#\r\n]*?([ \t]*(?:#.*)?)$", re.MULTILINE)
    changed, count = line.subn(lambda found: f"{found[1]}{literal}{found[2]}", head)
    if count:
        return changed + tail
    body = head.rstrip()
    blank = head[len(body) :] or "\n"
    return f"{body}\n{key} = {literal}{blank}{tail}" if body else f"{key} = {literal}\n{head}{tail}"


def _refused(name: str, reason: str) -> SettingRefused:
    return SettingRefused(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")


def _parsed(setting: Setting, value: str) -> object:
    """Read a value, refusing it in Redis's words."""
    try:
        return setting.kind.parse(value)
    except ValueError:
        raise _refused(setting.redis_name, _complaint(setting, value)) from None


def _complaint(setting: Setting, value: str) -> str:
    kind = setting.kind
    if isinstance(kind, Integer) and not value.removeprefix("-").isdecimal():
        return "argument couldn't be parsed into an integer"
    if isinstance(kind, Size) and not value[:1].isdecimal():
        return "argument must be a memory value"
    if isinstance(kind, Integer | Size):
        return f"argument must be between {kind.first} and {kind.last} inclusive"
    if isinstance(kind, Flag):
        return "argument must be 'yes' or 'no'"
    assert isinstance(kind, Number | Choice | Text) or not setting.is_runtime, (
        "every runtime kind has its words"
    )
    return f"argument must be {kind.allowed}"


def _log_level(value: str) -> str:
    if value.lower() not in _REDIS_LOG_LEVELS:
        words = ", ".join(_REDIS_LOG_LEVELS)
        raise _refused("loglevel", f"argument(s) must be one of the following: {words}")
    return _REDIS_LOG_LEVELS[value.lower()]


def _output_limits(value: str) -> dict[str, object]:
    """Read `<class> <hard> <soft> <seconds>`, once or more often (redis setConfigOcl).

    Every client here is of one kind, so that each class stands for all of them and the last one counts.
    """
    words = value.split(" ") if value else []
    if len(words) % 4:
        raise _refused(_OUTPUT_LIMITS, "Wrong number of arguments in buffer limit configuration.")
    changes: dict[str, object] = {}
    for place in range(0, len(words), 4):
        kind, hard, soft, seconds = words[place : place + 4]
        if kind.lower() not in ("normal", "pubsub", "slave", "replica"):
            raise _refused(_OUTPUT_LIMITS, "Invalid client class specified in buffer limit configuration.")
        try:
            changes = {
                key: _BY_NAME[key.replace("_", "-")].kind.parse(text)
                for key, text in zip(_OUTPUT_LIMIT_KEYS, (hard, soft, seconds), strict=True)
            }
        except ValueError:
            complaint = "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            raise _refused(_OUTPUT_LIMITS, complaint) from None
    return changes

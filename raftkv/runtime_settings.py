"""The settings as Redis's CONFIG command shows and changes them while the node runs.

Maps Redis's parameter names onto `config`'s keys; a key that Redis has no like of goes by its own name
with dashes. What Redis has and raftkv can't vary is shown with the value that holds. Does not know who
uses a setting: whoever does reads `RuntimeSettings.config` each time, or is told by `on_change`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from raftkv.config import SETTINGS, Config, ConfigError, Setting
from raftkv.config_values import Choice, Flag, Integer, Number, Size

#: Parameters that clients and tools ask for and that hold one value here (redis CONFIG GET).
_FIXED: Mapping[str, str] = {
    "appendfsync": "always",
    "appendonly": "yes",
    "cluster-allow-reads-when-down": "no",
    "cluster-enabled": "yes",
    "cluster-require-full-coverage": "yes",
    "databases": "1",
    "io-threads": "1",
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "notify-keyspace-events": "",
    "replica-read-only": "yes",
    "requirepass": "",
    "save": "",
    "slave-read-only": "yes",
    "timeout": "0",
}

_BY_NAME: Mapping[str, Setting] = {setting.redis_name: setting for setting in SETTINGS}
_OUTPUT_LIMITS = "client-output-buffer-limit"
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

    def __init__(self, config: Config, *, on_change: Callable[[Config], None] = lambda _: None) -> None:
        """Start from `config`; `on_change` is called with each new one, after `self.config` has it."""
        self._config = config
        self._on_change = on_change

    @property
    def config(self) -> Config:
        """What holds now. Only keys described as `is_runtime` ever differ from the start."""
        return self._config

    def get(self, pattern: str) -> dict[str, str]:
        """Return name -> value of the parameters whose name matches the glob (redis CONFIG GET)."""
        wanted = pattern.lower()
        return {name: value for name, value in self._shown().items() if fnmatch.fnmatchcase(name, wanted)}

    def set(self, name: str, value: str) -> None:
        """Change one parameter. Raises SettingRefused."""
        self.set_all([(name, value)])

    def set_all(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Change several parameters or, raising SettingRefused, none of them (redis CONFIG SET)."""
        changes: dict[str, object] = {}
        seen: set[str] = set()
        for given, value in pairs:
            name = given.lower()
            if name in seen:
                raise _refused(name, "duplicate parameter")
            seen.add(name)
            changes.update(self._change_of(name, given, value))
        if not changes:
            return
        try:
            self._config = replace(self._config, **changes)  # type: ignore[arg-type]  # read by their kinds
        except ConfigError as refusal:
            raise _refused(refusal.key or "?", refusal.reason) from None
        self._on_change(self._config)

    def _change_of(self, name: str, given: str, value: str) -> dict[str, object]:
        """Return the fields that setting `name` to `value` changes: none if it holds already."""
        if name in _FIXED:
            if value.lower() != _FIXED[name]:
                raise _refused(name, f"raftkv always has {_FIXED[name]!r} here")
            return {}
        if name == _OUTPUT_LIMITS:
            return {"output_buffer_bytes_max": _output_limit(value)}
        setting = _BY_NAME.get(name)
        if setting is None:
            shown = given.partition("\0")[0]  # as C prints it
            raise SettingRefused(f"ERR Unknown option or number of arguments for CONFIG SET - '{shown}'")
        if not setting.is_runtime:
            raise _refused(name, "can't set immutable config")
        if setting.key == "log_level":
            return {"log_level": _log_level(value)}
        return {setting.key: _parsed(setting, value)}

    def _shown(self) -> dict[str, str]:
        """Return every parameter, ordered by name."""
        shown = dict(_FIXED)
        for name, setting in _BY_NAME.items():
            value = getattr(self._config, setting.key)
            if isinstance(setting.kind, Flag):
                shown[name] = "yes" if value else "no"
            else:
                shown[name] = setting.kind.show(value)
        shown["loglevel"] = _SHOWN_LOG_LEVELS[self._config.log_level]
        limit = self._config.output_buffer_bytes_max
        shown[_OUTPUT_LIMITS] = f"normal {limit} 0 0 slave {limit} 0 0 pubsub {limit} 0 0"
        return dict(sorted(shown.items()))


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
    assert isinstance(kind, Number | Choice) or not setting.is_runtime, "every runtime kind has its words"
    return f"argument must be {kind.allowed}"


def _log_level(value: str) -> str:
    if value.lower() not in _REDIS_LOG_LEVELS:
        words = ", ".join(_REDIS_LOG_LEVELS)
        raise _refused("loglevel", f"argument(s) must be one of the following: {words}")
    return _REDIS_LOG_LEVELS[value.lower()]


def _output_limit(value: str) -> int:
    """Read `normal <hard> <soft> <seconds>`; raftkv has one hard limit for every client."""
    words = value.split()
    setting = _BY_NAME["output-buffer-bytes-max"]
    if len(words) != 4 or words[0].lower() not in ("normal", "pubsub", "slave", "replica"):
        raise _refused(_OUTPUT_LIMITS, "argument must be a class, a hard limit and 0 0: normal 256mb 0 0")
    if words[2:] != ["0", "0"]:
        raise _refused(_OUTPUT_LIMITS, "raftkv has no soft limit: the last two must be 0 0")
    limit = _parsed(setting, words[1])
    assert isinstance(limit, int), "a size is a number of bytes"
    return limit

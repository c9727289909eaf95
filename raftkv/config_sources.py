"""Where settings come from: a TOML file's table, the environment and flags, each by its own spelling.

Pure: `config_from` is handed all three sources. Knows no setting by name: `Config`'s fields tell.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from raftkv.config import Config, ConfigError
from raftkv.config_values import Kind

#: An environment variable with this prefix is the key that follows, in upper case.
ENVIRONMENT_PREFIX = "RAFTKV_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key as the sources spell it."""

    key: str
    kind: Kind
    help: str
    #: As `Config`'s field: what holds when no source says anything.
    default: object
    #: Its name in CONFIG GET: Redis's where Redis has the like, else `key` with dashes.
    redis_name: str
    #: CONFIG SET takes it.
    is_runtime: bool
    #: For tests: shown to who asks for it by name.
    is_hidden: bool

    @property
    def flag(self) -> str:
        """The command line's spelling."""
        return "--" + self.key.replace("_", "-")

    @property
    def environment_name(self) -> str:
        """The environment's spelling."""
        return ENVIRONMENT_PREFIX + self.key.upper()


def _setting_of(key: str, default: object, description: Mapping[str, Any]) -> Setting:
    return Setting(
        key=key,
        kind=description["kind"],
        help=description["help"],
        default=default,
        redis_name=description["redis"] or key.replace("_", "-"),
        is_runtime=description["is_runtime"],
        is_hidden=description["is_hidden"],
    )


#: Every key, in the order of `Config`'s fields.
SETTINGS: tuple[Setting, ...] = tuple(
    _setting_of(each.name, each.default, each.metadata) for each in fields(Config)
)


def config_from(
    table: Mapping[str, object],
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    *,
    table_name: str = "configuration file",
) -> Config:
    """Build the configuration: defaults < `table` (of TOML) < `environ` < `flags` (key -> text).

    Of `environ` only names that begin with RAFTKV_ are looked at; all of those must be settings.
    Raises ConfigError, which names the source, the key and what is allowed.
    """
    values: dict[str, object] = {}
    for key, raw in table.items():
        setting = _setting_named(key, source=table_name, spellings={each.key: each for each in SETTINGS})
        values[setting.key] = _read(setting, raw, source=table_name, is_text=False)
    by_environment_name = {each.environment_name: each for each in SETTINGS}
    for name, text in environ.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            setting = _setting_named(name, source="environment", spellings=by_environment_name)
            values[setting.key] = _read(setting, text, source=f"environment {name}", is_text=True)
    for key, text in flags.items():
        setting = _setting_named(key, source="flags", spellings={each.key: each for each in SETTINGS})
        values[setting.key] = _read(setting, text, source=setting.flag, is_text=True)
    return Config(**values)  # type: ignore[arg-type]  # each was read by its own field's kind


def read_toml(data: bytes, *, name: str) -> dict[str, object]:
    """Parse a configuration file's bytes. Raises ConfigError naming the file and the place in it."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise ConfigError(f"is no TOML: {fault}", source=name) from None


def _setting_named(name: str, *, source: str, spellings: Mapping[str, Setting]) -> Setting:
    if name in spellings:
        return spellings[name]
    near = difflib.get_close_matches(name, spellings, n=1, cutoff=0.6)
    advice = f"did you mean {near[0]!r}?" if near else "allowed are " + ", ".join(spellings)
    raise ConfigError(f"there is no setting {name!r}; {advice}", source=source)


def _read(setting: Setting, raw: object, *, source: str, is_text: bool) -> object:
    try:
        return setting.kind.parse(str(raw)) if is_text else setting.kind.check(raw)
    except ValueError as refusal:
        reason = f"{raw!r} can't be taken: it {refusal}"
        raise ConfigError(reason, source=source, key="" if is_text else setting.key) from None

"""How one setting's value is read: from TOML (typed) or from text (environment, flags), and checked.

Knows nothing of which settings exist (`config`) or where a value came from. A value that can't be
taken raises ValueError with a text that says what is allowed; the caller adds the setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

_PORTS = range(1, 65536)
_NODE_IDS = range(1, 65536)
_SIZE = re.compile(r"(\d+)(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
_SIZE_UNITS = {"b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}
_MEMBER_KEYS = ("id", "host", "port", "peer_host", "peer_port")

#: Instead of an address: wait until a member comes (redis CLUSTER MEET).
INVITATION = "invitation"
#: A node's peer port is its client port plus this unless it is set (as in Redis Cluster).
PEER_PORT_OFFSET = 10_000


class Kind(Protocol):
    """What values a setting takes."""

    @property
    def allowed(self) -> str:
        """What is allowed, to follow "must be "."""

    def check(self, raw: object) -> object:
        """Return the value for a TOML value. Raises ValueError."""

    def parse(self, text: str) -> object:
        """Return the value for a text. Raises ValueError."""

    def show(self, value: object) -> str:
        """Return the text that `parse` would take for it."""


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number of [first, last]."""

    first: int
    last: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.first} to {self.last}"

    def check(self, raw: object) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool) or not self.first <= raw <= self.last:
            raise ValueError(f"must be {self.allowed}")
        return raw

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"-?\d+", text):
            raise ValueError(f"must be {self.allowed}")
        return self.check(int(text))

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes of [first, last]; a text may carry one of Redis's units (64mb, 1gb)."""

    first: int
    last: int

    @property
    def allowed(self) -> str:
        return f"a size from {self.first} to {self.last} bytes, such as {self.first} or 64mb"

    def check(self, raw: object) -> int:
        if isinstance(raw, str):
            return self.parse(raw)
        if not isinstance(raw, int) or isinstance(raw, bool) or not self.first <= raw <= self.last:
            raise ValueError(f"must be {self.allowed}")
        return raw

    def parse(self, text: str) -> int:
        found = _SIZE.fullmatch(text)
        if found is None:
            raise ValueError(f"must be {self.allowed}")
        return self.check(int(found[1]) * _SIZE_UNITS[(found[2] or "b").lower()])

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Number:
    """A number of [first, last], with or without a fraction."""

    first: float
    last: float

    @property
    def allowed(self) -> str:
        return f"a number from {self.first:g} to {self.last:g}"

    def check(self, raw: object) -> float:
        if not isinstance(raw, int | float) or isinstance(raw, bool) or not self.first <= raw <= self.last:
            raise ValueError(f"must be {self.allowed}")
        return float(raw)

    def parse(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError(f"must be {self.allowed}") from None
        return self.check(number)

    def show(self, value: object) -> str:
        return f"{value:g}"


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    allowed: str = "true or false"

    def check(self, raw: object) -> bool:
        if not isinstance(raw, bool):
            raise ValueError(f"must be {self.allowed}")
        return raw

    def parse(self, text: str) -> bool:
        if text.lower() not in ("true", "yes", "false", "no"):
            raise ValueError(f"must be {self.allowed}")
        return text.lower() in ("true", "yes")

    def show(self, value: object) -> str:
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.choices)

    def check(self, raw: object) -> str:
        if not isinstance(raw, str) or raw not in self.choices:
            raise ValueError(f"must be {self.allowed}")
        return raw

    def parse(self, text: str) -> str:
        return self.check(text)

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; an empty one only where `may_be_empty`."""

    may_be_empty: bool = False

    @property
    def allowed(self) -> str:
        return "a line of text" if self.may_be_empty else "a line of text, not empty"

    def check(self, raw: object) -> str:
        if not isinstance(raw, str) or not (raw or self.may_be_empty) or not raw.isprintable():
            raise ValueError(f"must be {self.allowed}")
        return raw

    def parse(self, text: str) -> str:
        return self.check(text)

    def show(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One member of the cluster: how clients reach it, and how the other nodes do."""

    node_id: int
    #: What clients are told (MOVED, CLUSTER SLOTS).
    host: str
    port: int
    #: What the other nodes connect to. "" means `host`, 0 means `port` + 10000; never so after `__init__`.
    peer_host: str = ""
    peer_port: int = 0

    def __post_init__(self) -> None:
        if not self.peer_host:
            object.__setattr__(self, "peer_host", self.host)
        if not self.peer_port:
            object.__setattr__(self, "peer_port", self.port + PEER_PORT_OFFSET)

    @property
    def address(self) -> str:
        """The address that clients are told, as host:port."""
        return join_address(self.host, self.port)

    @property
    def peer_address(self) -> str:
        """The address that the other nodes connect to, as host:port."""
        return join_address(self.peer_host, self.peer_port)

    def __str__(self) -> str:
        return f"{self.node_id}={self.address}@{self.peer_address}"


@dataclass(frozen=True, slots=True)
class Members:
    """The cluster's members: a list of tables in TOML, `ID=HOST:PORT[@[PEER_HOST:]PEER_PORT],...` as text."""

    allowed: str = (
        "a [[members]] table (id, host, port, and optionally peer_host, peer_port) per member, or as text "
        "ID=HOST:PORT[@[PEER_HOST:]PEER_PORT] separated by commas"
    )

    def check(self, raw: object) -> tuple[Member, ...]:
        if not isinstance(raw, Sequence) or isinstance(raw, str):
            raise ValueError(f"must be {self.allowed}")
        return tuple(sorted(_member_of(table) for table in raw))

    def parse(self, text: str) -> tuple[Member, ...]:
        return self.check([_member_table(part.strip()) for part in text.split(",") if part.strip()])

    def show(self, value: object) -> str:
        assert isinstance(value, tuple), "members are a tuple of Member"
        return ",".join(str(member) for member in value)


def join_address(host: str, port: int) -> str:
    """Write host:port, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_to_join(text: str) -> tuple[str, int] | None:
    """Read HOST:PORT of a member's clients, or HOST:PORT@PEER_PORT, as where its peers find it.

    None: `text` says to wait for an invitation. Raises ValueError.
    """
    if text == INVITATION:
        return None
    place, at, peer_text = text.partition("@")
    host, port_text = _split_address(place)
    number = Integer(_PORTS[0], _PORTS[-1])
    if not host:
        raise ValueError("must be HOST:PORT[@PEER_PORT]")
    port = int(number.parse(port_text))
    peer_port = int(number.parse(peer_text)) if at else port + PEER_PORT_OFFSET
    if peer_port not in _PORTS:
        raise ValueError(f"needs @PEER_PORT: {port} + {PEER_PORT_OFFSET} is no port")
    return host, peer_port


def _member_of(table: object) -> Member:
    if isinstance(table, Member):
        return table
    if not isinstance(table, Mapping):
        raise ValueError(f"must be {Members().allowed}")
    for key in table:
        if key not in _MEMBER_KEYS:
            raise ValueError(f"has no key {key!r} in a table; allowed are {', '.join(_MEMBER_KEYS)}")
    for key in ("id", "host", "port"):
        if key not in table:
            raise ValueError(f"lacks {key!r} in a table; every member has id, host and port")
    node_id = _part(table, "id", Integer(_NODE_IDS[0], _NODE_IDS[-1]))
    host = _part(table, "host", Text())
    port = _part(table, "port", Integer(_PORTS[0], _PORTS[-1]))
    peer_host = _part(table, "peer_host", Text()) if "peer_host" in table else ""
    peer_port = _part(table, "peer_port", Integer(_PORTS[0], _PORTS[-1])) if "peer_port" in table else 0
    member = Member(int(node_id), str(host), int(port), str(peer_host), int(peer_port))
    if member.peer_port not in _PORTS:
        raise ValueError(
            f"needs peer_port for member {member.node_id}: {port} + {PEER_PORT_OFFSET} is no port"
        )
    return member


def _part(table: Mapping[object, object], key: str, kind: Integer | Text) -> int | str:
    try:
        return kind.check(table[key])
    except ValueError as refusal:
        raise ValueError(f"has {key} = {table[key]!r} in a table: it {refusal}") from None


def _member_table(text: str) -> dict[str, object]:
    """Read ID=HOST:PORT[@[PEER_HOST:]PEER_PORT] into what a TOML table would hold."""
    node_id, equals, addresses = text.partition("=")
    client, at, peer = addresses.partition("@")
    host, port = _split_address(client)
    if not equals or not host or not re.fullmatch(r"\d+", node_id) or not port.isdecimal():
        raise ValueError(f"has {text!r}: it must be {Members().allowed}")
    table: dict[str, object] = {"id": int(node_id), "host": host, "port": int(port)}
    if at:
        peer_host, peer_port = _split_address(peer)
        if not peer_port.isdecimal():
            raise ValueError(f"has {text!r}: it must be {Members().allowed}")
        table["peer_port"] = int(peer_port)
        if peer_host:
            table["peer_host"] = peer_host
    return table


def _split_address(text: str) -> tuple[str, str]:
    """Split host:port at its last colon; brackets around an IPv6 host go. No colon: no host."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, port

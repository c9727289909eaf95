"""The directory of a cluster that `raftkv up` runs: its lock, what it is bound to, and its files.

    cluster.json   which nodes and ports it was made for; another cluster than that is refused
    up.lock        locked while an `up` runs on it
    node1.toml     node 1's configuration, written anew at every start
    node1.log      what node 1 printed
    node1/         node 1's data directory

Knows nothing of processes or of what is in a node's data directory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from raftkv.config import PEER_PORT_OFFSET, ConfigError, Member
from raftkv.config_sources import SETTINGS, config_from

#: The only address that `up` serves on.
HOST = "127.0.0.1"

#: What `up` decides itself, so that no `--set` or environment variable may.
DECIDED_KEYS = (
    "node_id",
    "members",
    "bind",
    "port",
    "peer_port",
    "standalone_port",
    "announce_host",
    "announce_port",
    "announce_peer_port",
    "data_dir",
)

_DECIDED_HERE = "is decided by raftkv up from --nodes, --port, --standalone-port and --dir"

_CLUSTER_FILE = "cluster.json"
_UNFINISHED_FILE = "cluster.json.new"
_LOCK_FILE = "up.lock"
_FORMAT = 1


class ClusterDirRefused(Exception):
    """This directory can't be used for that cluster; the text says why and what can be done."""


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """What a cluster directory is bound to, but for `standalone_port`, which may change."""

    #: From 1.
    nodes: int
    #: Node 1's port for clients; the others' follow. Peer ports are 10000 higher.
    port: int
    #: Node 1's port for clients that know no cluster; the others' follow. 0: there are none.
    standalone_port: int = field(default=0, compare=False)

    def members(self) -> tuple[Member, ...]:
        """Return the members, ordered by id."""
        return tuple(Member(node_id, HOST, self.port + node_id - 1) for node_id in range(1, self.nodes + 1))

    def standalone_port_of(self, node_id: int) -> int:
        """Return a node's port for clients that know no cluster; 0: it has none."""
        return self.standalone_port + node_id - 1 if self.standalone_port else 0

    def __str__(self) -> str:
        last_port = self.port + self.nodes - 1
        ports = f"port {self.port}" if self.nodes == 1 else f"ports {self.port} to {last_port}"
        return f"{self.nodes} node{'s' * (self.nodes > 1)} on {ports}"


class ClusterDir:
    """An opened, locked cluster directory. Close it, or end the process, to let another `up` have it."""

    def __init__(self, path: Path, shape: ClusterShape) -> None:
        """Make and lock the directory. Raises ClusterDirRefused if it isn't `shape`'s."""
        self.path = path
        self.shape = shape
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take_lock()
            self._compare()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Unlock the directory."""
        os.close(self._lock)

    def config_path(self, node_id: int) -> Path:
        return self.path / f"node{node_id}.toml"

    def log_path(self, node_id: int) -> Path:
        return self.path / f"node{node_id}.log"

    def data_path(self, node_id: int) -> Path:
        return self.path / f"node{node_id}"

    def bind(self) -> None:
        """Bind the directory to its shape for good. Call it when nothing is left that could be refused.

        Written whole or not at all: an `up` that dies here leaves a directory that counts as empty.
        """
        side = self.path / _UNFINISHED_FILE
        with side.open("w", encoding="utf-8") as file:
            json.dump({"format": _FORMAT, "nodes": self.shape.nodes, "port": self.shape.port}, file)
            file.flush()
            os.fsync(file.fileno())
        side.replace(self.path / _CLUSTER_FILE)

    def write_configs(self, texts: Mapping[int, str]) -> None:
        """Write each node's configuration, by node id, for nobody else to read: it may hold the password."""
        for node_id, text in texts.items():
            path = self.config_path(node_id)
            path.touch(mode=0o600)
            path.chmod(0o600)
            path.write_text(text, encoding="utf-8")

    def config_texts(self, environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[int, str]:
        """Return each node's configuration: `environ`'s RAFTKV_* and `settings` (key -> text) for all.

        Raises ConfigError for what no node would take, and for what is decided here.
        """
        given = [each for each in SETTINGS if each.key in settings or each.environment_name in environ]
        for setting in given:
            if setting.key in DECIDED_KEYS:
                raise ConfigError(_DECIDED_HERE, key=setting.key)
        texts: dict[int, str] = {}
        for node_id in range(1, self.shape.nodes + 1):
            table = node_table(self.shape, node_id, self.data_path(node_id).absolute())
            config = config_from(table, environ, settings)
            table.update({setting.key: getattr(config, setting.key) for setting in given})
            texts[node_id] = toml_text(table)
        return texts

    def _take_lock(self) -> None:
        """Lock by os.lockf: it goes with the process, however that ends, and no node inherits it."""
        try:
            os.lockf(self._lock, os.F_TLOCK, 0)
        except OSError:
            holder = os.read(self._lock, 32).decode(errors="replace").strip()
            raise ClusterDirRefused(
                f"{self.path} is in use by another raftkv up (process {holder or 'unknown'})"
            ) from None
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def _compare(self) -> None:
        """Hold the cluster file against the shape; without one the directory must be empty."""
        try:
            bound = _read_cluster_file(self.path / _CLUSTER_FILE)
        except FileNotFoundError:
            own = (_LOCK_FILE, _UNFINISHED_FILE)
            strangers = sorted(each.name for each in self.path.iterdir() if each.name not in own)
            if strangers:
                raise ClusterDirRefused(
                    f"{self.path} was not made by raftkv up: it has no {_CLUSTER_FILE}, but it holds "
                    f"{', '.join(strangers[:3])}{' ...' * (len(strangers) > 3)}. Name another with --dir"
                ) from None
            return
        if bound != self.shape:
            raise ClusterDirRefused(
                f"{self.path} was made for {bound}, not for {self.shape}. Start it with "
                f"--nodes {bound.nodes} --port {bound.port}, or name another directory with --dir"
            )


def node_table(shape: ClusterShape, node_id: int, data_path: Path) -> dict[str, object]:
    """Return the configuration of one node as a TOML table."""
    members = [{"id": each.node_id, "host": each.host, "port": each.port} for each in shape.members()]
    port = shape.port + node_id - 1
    table: dict[str, object] = {"node_id": node_id, "bind": HOST, "port": port}
    table["peer_port"] = port + PEER_PORT_OFFSET
    if shape.standalone_port:
        table["standalone_port"] = shape.standalone_port_of(node_id)
    table["data_dir"] = str(data_path)
    table["members"] = members
    return table


def toml_text(table: Mapping[str, object]) -> str:
    """Write a configuration as TOML: scalars, then the [[members]] tables."""
    scalars = [f"{key} = {_toml_value(value)}" for key, value in table.items() if key != "members"]
    tables: list[str] = []
    members = table.get("members", [])
    assert isinstance(members, list), "members are written from a list of tables"
    for member in members:
        tables += ["", "[[members]]", *(f"{key} = {_toml_value(value)}" for key, value in member.items())]
    return "\n".join(["# Written by raftkv up at every start.", *scalars, *tables]) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # JSON's strings and numbers are TOML's too.
    return json.dumps(value)


def _read_cluster_file(path: Path) -> ClusterShape:
    """Raises FileNotFoundError, and ClusterDirRefused for a file that isn't understood."""
    data = path.read_bytes()
    try:
        stored = json.loads(data)
        if stored["format"] > _FORMAT:
            raise ClusterDirRefused(
                f"{path} has format {stored['format']}, newer than this raftkv's {_FORMAT}"
            )
        return ClusterShape(nodes=int(stored["nodes"]), port=int(stored["port"]))
    except (ValueError, KeyError, TypeError) as fault:
        raise ClusterDirRefused(f"{path} is damaged: {fault!r}") from None

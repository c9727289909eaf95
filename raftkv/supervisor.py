"""`raftkv up`: a whole cluster on this machine, one process per node, watched until it is told to stop.

Puts together `cluster_dir` (files), `node_process` (processes), `status` (what the nodes say) and
`status_view` (how it is shown). Keeps nothing of its own that a restart would need.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live

from raftkv.cluster_dir import HOST, ClusterDir, ClusterDirRefused, ClusterShape
from raftkv.node_process import NodeFiles, NodeProcess
from raftkv.status import ClusterStatus, Place, ask_members, assemble
from raftkv.status_view import changes, table_of

#: Seconds between two looks at the nodes.
LOOK_SECONDS = 0.5

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class UpRequest:
    """What `raftkv up` was asked for."""

    shape: ClusterShape
    path: Path
    #: Start a node that died again.
    restart: bool
    #: Settings for every node: the environment's RAFTKV_*, and before them key -> text.
    environ: Mapping[str, str]
    settings: Mapping[str, str]

    @property
    def password(self) -> str:
        """The password that the nodes are started with; "": none."""
        return self.settings.get("requirepass", self.environ.get("RAFTKV_REQUIREPASS", ""))


class Screen:
    """Where `up` writes: a live table under scrolling lines on a terminal, else lines with their time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Keep the table on the terminal while inside; nothing special where there is none."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def say(self, line: str) -> None:
        """Write a line as it is, with the time of day in front."""
        self.show(f"{time.strftime('%H:%M:%S')} {line}")

    def show(self, text: str) -> None:
        """Write text as it is."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def draw(self, status: ClusterStatus, notes: dict[int, str]) -> None:
        """Draw the table anew, on a terminal."""
        if self._live is not None:
            self._live.update(table_of(status, notes=notes), refresh=True)


class Supervisor:
    """One run of `up` on an opened directory."""

    def __init__(self, directory: ClusterDir, *, restart: bool, password: str, screen: Screen) -> None:
        """`password` is what the nodes ask for; "": nothing."""
        self._directory = directory
        self._password = password
        self._screen = screen
        self._stop_requests = 0
        self._stop = asyncio.Event()
        members = directory.shape.members()
        self._places = {member.node_id: Place(member.host, member.port) for member in members}
        self._nodes = {
            node_id: NodeProcess(
                NodeFiles(node_id, directory.config_path(node_id), directory.log_path(node_id)),
                restart=restart,
                say=screen.say,
            )
            for node_id in self._places
        }

    async def run(self) -> int:
        """Run the cluster until a stop signal; return the exit code: 1 if every node stays down."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop_signal, number)
        with self._screen.open():
            keepers = [asyncio.ensure_future(node.keep_running()) for node in self._nodes.values()]
            all_down = asyncio.ensure_future(asyncio.wait(keepers, return_when=asyncio.FIRST_EXCEPTION))
            others = [asyncio.ensure_future(self._watch()), asyncio.ensure_future(self._stop.wait())]
            await asyncio.wait((all_down, *others), return_when=asyncio.FIRST_COMPLETED)
            self._screen.say("stopping" if self._stop.is_set() else "no node is left running")
            for task in others:
                task.cancel()
            for node in self._nodes.values():
                node.stop()
            await asyncio.wait(keepers)
            outcomes = await asyncio.gather(*keepers, *others, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        self._screen.say(f"stopped; the data is in {self._directory.path}")
        return 0 if self._stop.is_set() else 1

    async def _watch(self) -> None:
        """Look at the nodes again and again; write what changed, and once how to use the cluster."""
        before: ClusterStatus | None = None
        has_advised = False
        while True:
            now = assemble(self._places, await ask_members(self._places, password=self._password))
            for line in changes(before, now):
                self._screen.say(line)
            if now.is_serving and not has_advised:
                has_advised = True
                self._screen.show(advice(self._directory, has_password=bool(self._password)))
            self._screen.draw(now, self._notes())
            before = now
            await asyncio.sleep(LOOK_SECONDS)

    def _notes(self) -> dict[int, str]:
        return {node_id: node.note for node_id, node in self._nodes.items() if node.note}

    def _on_stop_signal(self, number: signal.Signals) -> None:
        self._stop_requests += 1
        self._stop.set()
        # A second Ctrl-C is somebody who won't wait.
        if self._stop_requests > 1:
            self._screen.say(f"{number.name} again: killing the nodes")
            for node in self._nodes.values():
                node.kill()


def run_up(request: UpRequest, console: Console) -> int:
    """Check, start, watch and stop a cluster. Raises ClusterDirRefused and ConfigError before any start."""
    refuse_impossible(request.shape)
    directory = ClusterDir(request.path, request.shape)
    try:
        config_texts = directory.config_texts(request.environ, request.settings)
        refuse_busy_ports(request.shape)
        directory.bind()
        directory.write_configs(config_texts)
        return asyncio.run(_supervise(directory, request, console))
    finally:
        directory.close()


def refuse_impossible(shape: ClusterShape) -> None:
    """Raise ClusterDirRefused for ports that can't be."""
    highest = shape.members()[-1].peer_port
    if highest > 65535:
        raise ClusterDirRefused(
            f"{shape} can't be: peer ports are 10000 higher, and {highest} is no port. Choose a lower --port"
        )
    highest = shape.standalone_port_of(shape.nodes)
    if highest > 65535:
        raise ClusterDirRefused(f"{highest} is no port. Choose a lower --standalone-port")
    taken = {port for each in shape.members() for port in (each.port, each.peer_port)}
    for node_id in range(1, shape.nodes + 1):
        port = shape.standalone_port_of(node_id)
        if port in taken:
            raise ClusterDirRefused(
                f"port {port} is to be of {shape} and of --standalone-port. Choose another of the two"
            )


def refuse_busy_ports(shape: ClusterShape) -> None:
    """Raise ClusterDirRefused if anything listens on a port that a node needs."""
    for member in shape.members():
        uses = {member.port: "clients", member.peer_port: "peers"}
        if shape.standalone_port:
            uses[shape.standalone_port_of(member.node_id)] = "clients that know no cluster"
        for port, use in uses.items():
            with socket.socket() as probe:
                # As the node does, so that connections which are only closing don't count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as failure:
                    raise ClusterDirRefused(
                        f"port {port}, which node {member.node_id} needs for {use}, can't be had: "
                        f"{failure.strerror}. Stop what uses it, or choose another --port (and --dir)"
                    ) from None


def advice(directory: ClusterDir, *, has_password: bool) -> str:
    """Return commands to paste into a shell, for a cluster that serves; they ask for the password."""
    port = directory.shape.port
    python = _from_here(Path(sys.executable))
    asking = ", password=getpass()" if has_password else ""
    snippet = (
        f"{'from getpass import getpass; ' * has_password}from redis.cluster import RedisCluster; "
        f'r = RedisCluster(host="{HOST}", port={port}{asking}); '
        'r.set("greeting", "hello"); print(r.get("greeting"))'
    )
    askpass = " --askpass" * has_password
    commands = [
        f"redis-cli -c -p {port}{askpass}",
        f"{_command_name()} status --port {port}",
        f"{python} -c '{snippet}'",
    ]
    if directory.shape.standalone_port:
        commands.insert(1, f"redis-cli -p {directory.shape.standalone_port}{askpass}")
    if importlib.util.find_spec("redis") is None:
        commands.insert(-1, f"{python} -m pip install --quiet redis")
    last = "Stop with Ctrl-C; starting again goes on with the same data."
    return "\n".join(["", *(f"  {command}" for command in commands), "", f"  {last}", ""])


async def _supervise(directory: ClusterDir, request: UpRequest, console: Console) -> int:
    supervisor = Supervisor(
        directory, restart=request.restart, password=request.password, screen=Screen(console)
    )
    return await supervisor.run()


def _command_name() -> str:
    """How a shell finds the installed command: by name, or by its path in this virtual environment."""
    return "raftkv" if shutil.which("raftkv") else _from_here(Path(sys.executable).with_name("raftkv"))


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

"""A cluster of raftkv nodes as real processes: start, kill, pause, restart, ask, clean up.

Knows the command line, the ports and the replies of a node, nothing of its inside. Each node's directory
holds its configuration, its data and its log, so that a failed test can be looked at and started by hand.

Invariant: every process started here is ended by `close`, by its own handle; no other process is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.integration.waiting import SECONDS_MAX, wait_until
from tests.integration.wire import ANSWER_SECONDS_MAX, LOOPBACK, NoAnswer, Wire, ask
from tests.ports import free_ports

_Found = TypeVar("_Found")

CHECKOUT = Path(__file__).parents[2]
#: Seconds within which a live node answers a question about itself.
_STATUS_SECONDS = 3.0
_LOG_BYTES_SHOWN = 6_000


@dataclass(frozen=True, slots=True)
class Host:
    """Where a node runs."""

    address: str = LOOPBACK
    #: What starts a program there; its process becomes the program's.
    entry: tuple[str, ...] = ()


class NodeProcess:
    """One node: its directory, and the process while it runs."""

    def __init__(
        self, node_id: int, port: int, directory: Path, checkout: Path, *, module: str = "raftkv"
    ) -> None:
        """`directory` holds a file node.toml; `checkout` is whose `module` is run."""
        self.node_id = node_id
        self.host = Host()
        self.port = port
        #: For clients that know no Redis Cluster; 0: it has none.
        self.standalone_port = 0
        #: Where the node listens for the others.
        self.peer_port = 0
        #: Set for its process.
        self.environment: dict[str, str] = {}
        self.directory = directory
        self._checkout = checkout
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._was_ended = False
        #: Stopped by SIGSTOP: it exists, and answers nothing.
        self.is_paused = False

    @property
    def log_path(self) -> Path:
        """What the node wrote to its standard output and error, all starts one after the other."""
        return self.directory / "node.log"

    @property
    def data_dir(self) -> Path:
        """Its data directory."""
        return self.directory / "data"

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None, f"node {self.node_id} was never started"
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process exists, paused or not."""
        return self._process is not None and self._process.poll() is None

    def process_state(self) -> str:
        """Say what the kernel says: somebody else may have stopped it, or it may wait for the disk."""
        if not self.is_running():
            return "does not run"
        after_name = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2]
        letter = after_name.split()[0]
        return {"T": "is stopped by SIGSTOP", "D": "waits for the disk"}.get(letter, "runs")

    def has_died(self) -> bool:
        """Whether the process ended without having been told to."""
        if self._process is None or self._was_ended:
            return False
        return self._process.poll() is not None

    def start(self) -> None:
        """Start the process; returns before it serves."""
        assert not self.is_running(), f"node {self.node_id} runs already"
        environment = {name: text for name, text in os.environ.items() if not name.startswith("RAFTKV_")}
        with self.log_path.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *(*self.host.entry, sys.executable, "-m", self._module),
                    *("serve", "--config", str(self.directory / "node.toml")),
                ],
                env={
                    **environment,
                    **self.environment,
                    "PYTHONPATH": str(self._checkout),
                    "PYTHONFAULTHANDLER": "1",
                },
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        # After that: whoever looks on another thread must not take the old one's end for the new one's.
        self._was_ended = self.is_paused = False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the running process (SIGSTOP pauses it, SIGCONT lets it go on)."""
        assert self.is_running(), f"node {self.node_id} does not run"
        assert self._process is not None, "what runs was started"
        self._was_ended = self._was_ended or number in (signal.SIGKILL, signal.SIGTERM)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.is_paused = number is signal.SIGSTOP
        self._process.send_signal(number)

    def expect_end(self) -> None:
        """Let it end by itself: what was done to it will end it."""
        self._was_ended = True

    def expect_no_end(self) -> None:
        """Take its end for a failure again: what could have ended it is undone."""
        self._was_ended = False

    def send_kill(self) -> None:
        """kill -9 without waiting for the end."""
        self.signal(signal.SIGKILL)

    def kill(self) -> None:
        """kill -9."""
        self.send_kill()
        self.wait_for_end()

    def terminate(self) -> int:
        """Ask it to stop and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        """Return the exit code."""
        assert self._process is not None, f"node {self.node_id} was never started"
        try:
            return self._process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"node {self.node_id} does not end\n{self.log_tail()}") from None

    def end_with_stacks(self) -> None:
        """End the process, which writes into its log what each of its threads was doing (SIGABRT)."""
        if self.is_running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGABRT)
            self.expect_end()
            self.wait_for_end()

    def close(self) -> None:
        """End the process whatever it does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def log_text(self) -> str:
        """Everything that the node logged."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self) -> str:
        """The end of the log under a headline."""
        state = self.process_state()
        tail = self.log_text()[-_LOG_BYTES_SHOWN:]
        return f"--- node {self.node_id}, port {self.port}, {state}: {self.log_path}\n{tail}"

    def connect(self, *, protocol: int = 2) -> Wire:
        """Open a connection. Raises NoAnswer."""
        return Wire(self.port, host=self.host.address, protocol=protocol)

    def ask(self, *question: str | bytes | int, seconds_max: float = ANSWER_SECONDS_MAX) -> Any:
        """Ask on a connection of its own and return the reply. Raises NoAnswer."""
        return ask(self.port, *question, host=self.host.address, seconds_max=seconds_max)

    def fields(self, *question: str) -> dict[str, str]:
        """Ask INFO or CLUSTER INFO and return its name:value lines; empty when there is no answer."""
        try:
            reply = self.ask(*question, seconds_max=_STATUS_SECONDS)
        except NoAnswer:
            return {}
        if not isinstance(reply, bytes):
            return {}
        lines = (line.partition(":") for line in reply.decode().splitlines() if not line.startswith("#"))
        return {name: value for name, colon, value in lines if colon}

    def raft(self) -> dict[str, str]:
        """INFO raft; empty when there is no answer."""
        return self.fields("INFO", "raft")


class Cluster:
    """Nodes 1..N of one cluster under one directory. Nothing runs before `start`."""

    def __init__(
        self,
        directory: Path,
        *,
        node_count: int = 3,
        settings: Mapping[str, int | str] | None = None,
        checkout: Path = CHECKOUT,
        module: str = "raftkv",
        peer_relays: Sequence[int] = (),
        hosts: Sequence[Host] = (),
    ) -> None:
        """`settings` go into every node's configuration; `module` is what each process runs.

        `peer_relays`: ports under which the nodes reach each other, where something of the caller's stands
        between; it has to pass on to each node's `peer_port`. `hosts`: one for each node; none: all run
        here.
        """
        self.directory = directory
        self._newest_id = node_count
        self._settings = settings or {}
        self._checkout = checkout
        self._module = module
        hosts = hosts or [Host()] * node_count
        ports = free_ports(3 * node_count)
        announced = peer_relays or ports[node_count : 2 * node_count]
        members = "".join(
            f"[[members]]\nid = {place + 1}\nhost = '{hosts[place].address}'\nport = {ports[place]}\n"
            f"peer_port = {announced[place]}\n"
            for place in range(node_count)
        )
        self.nodes: list[NodeProcess] = []
        for place in range(node_count):
            own_directory = directory / f"node-{place + 1}"
            node = NodeProcess(place + 1, ports[place], own_directory, checkout, module=module)
            node.directory.mkdir(parents=True)
            node.host = hosts[place]
            node.peer_port = ports[node_count + place]
            own: dict[str, int | str] = {
                "node_id": node.node_id,
                "bind": node.host.address,
                "port": node.port,
                "peer_port": node.peer_port,
                "data_dir": str(node.data_dir),
                **(settings or {}),
            }
            if checkout == CHECKOUT:  # another one may be older than the setting
                own["standalone_port"] = node.standalone_port = ports[2 * node_count + place]
            lines = "".join(f"{key} = {value!r}\n" for key, value in own.items())
            (node.directory / "node.toml").write_text(lines + members)
            self.nodes.append(node)

    def join(self, target: NodeProcess, **settings: int | str) -> NodeProcess:
        """Start one more node, which asks `target` to be taken in; its id is the next one.

        `settings` go into its configuration, such as `join_in_place_of`.
        """
        self._newest_id += 1
        node_id = self._newest_id
        port, peer_port, standalone_port = free_ports(3)
        node = NodeProcess(
            node_id, port, self.directory / f"node-{node_id}", self._checkout, module=self._module
        )
        node.directory.mkdir(parents=True)
        node.peer_port, node.standalone_port = peer_port, standalone_port
        own: dict[str, int | str] = {
            "join": f"{target.host.address}:{target.port}@{target.peer_port}",
            "bind": node.host.address,
            "port": port,
            "peer_port": peer_port,
            "standalone_port": standalone_port,
            "data_dir": str(node.data_dir),
            **self._settings,
            **settings,
        }
        lines = "".join(f"{key} = {value!r}\n" for key, value in own.items())
        (node.directory / "node.toml").write_text(lines)
        self.nodes.append(node)
        node.start()
        return node

    def start(self) -> None:
        """Start every node that doesn't run."""
        for node in self.nodes:
            if not node.is_running():
                node.start()

    def rejoin(self, node: NodeProcess, target: NodeProcess, *, in_place_of: int) -> None:
        """Start a node that doesn't run with an empty directory, to be taken in in place of what it was.

        `in_place_of`: its old id in the cluster; it gets another one, and stays `node` all the same.
        """
        for entry in node.data_dir.iterdir():  # the directory itself may be a disk of its own
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        file = node.directory / "node.toml"
        own = file.read_text().partition("[[members]]")[0].splitlines()
        kept = [line for line in own if not line.startswith(("node_id =", "join"))]
        joins = [
            f"join = '{target.host.address}:{target.port}@{target.peer_port}'",
            f"join_in_place_of = {in_place_of}",
        ]
        file.write_text("\n".join([*kept, *joins]) + "\n")
        node.start()

    def mend(self) -> None:
        """Let every node run that was paused or has ended."""
        for node in self.nodes:
            if node.is_running() and node.is_paused:
                node.signal(signal.SIGCONT)
        self.start()

    def start_and_wait(self) -> NodeProcess:
        """Start, and wait until all nodes hear one leader that serves; return it."""
        self.start()
        return self.wait_until_whole()

    def node(self, node_id: int) -> NodeProcess:
        """Return the node of that id."""
        return next(node for node in self.nodes if node.node_id == node_id)

    def awake(self) -> list[NodeProcess]:
        """The nodes whose process exists and isn't paused."""
        return [node for node in self.nodes if node.is_running() and not node.is_paused]

    def leader(self) -> NodeProcess | None:
        """The leader of the newest term, if it says that it serves."""
        leaders = [
            (raft, node) for node in self.awake() if (raft := node.raft()).get("raft_role") == "leader"
        ]
        if not leaders:
            return None
        _, newest = max(leaders, key=lambda each: int(each[0]["raft_current_term"]))
        state = newest.fields("CLUSTER", "INFO").get("cluster_state")
        return newest if state == "ok" else None

    def wait_for_leader(self) -> NodeProcess:
        """Wait until a leader serves."""
        return self.wait_for(self.leader, "a leader")

    def wait_until_whole(self) -> NodeProcess:
        """Wait until all nodes run, follow the same leader and know that it serves; return the leader."""
        return self.wait_for(self._whole, "all nodes follow one leader that serves")

    def followers(self) -> list[NodeProcess]:
        """Every node but the leader, for which it waits."""
        leader = self.wait_for_leader()
        return [node for node in self.nodes if node is not leader]

    def digests(self) -> list[list[bytes | int]]:
        """Every node's RAFT DIGEST: [digest, applied index]. Raises NoAnswer."""
        return [node.ask("RAFT", "DIGEST") for node in self.nodes]

    def wait_for_equal_digests(self) -> bytes:
        """Wait until all nodes have applied the same; then their digests must be equal. Return it."""

        def at_one_index() -> list[list[bytes | int]] | None:
            try:
                found = self.digests()
            except NoAnswer:
                return None  # it still starts
            if not all(isinstance(reply, list) for reply in found):
                return None  # a snapshot took the place of the rows
            return found if len({reply[1] for reply in found}) == 1 else None

        found = self.wait_for(at_one_index, "all nodes at one applied index")
        digests = {reply[0] for reply in found}
        assert len(digests) == 1, f"replicas differ at index {found[0][1]!r}: {found}"
        (digest,) = digests
        assert isinstance(digest, bytes), digest
        return digest

    def wait_for(self, condition: Callable[[], _Found | None], what: str) -> _Found:
        """Wait, and show the logs if it was in vain; a process that ended by itself ends the wait."""

        def looked() -> _Found | None:
            ended = [node.node_id for node in self.nodes if node.has_died()]
            assert not ended, f"node {ended} ended by itself while waiting for {what}"
            return condition()

        try:
            found = wait_until(looked, what)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.logs()}") from None
        assert found is not None, "what is true is not None"
        return found

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(node.log_tail() for node in self.nodes)

    def close(self) -> None:
        """End every process."""
        for node in self.nodes:
            node.close()

    def _whole(self) -> NodeProcess | None:
        leader = self.leader()
        if leader is None:
            return None
        # By its own name: one that was replaced has another id than at first.
        name = leader.raft().get("raft_node_id")
        for node in self.nodes:
            if name is None or node.raft().get("raft_leader_id") != name:
                return None
            if node.fields("CLUSTER", "INFO").get("cluster_state") != "ok":
                return None
        return leader


@contextlib.contextmanager
def running_cluster(
    directory: Path, *, node_count: int = 3, settings: Mapping[str, int | str] | None = None
) -> Iterator[Cluster]:
    """Run a whole cluster until the end of the block."""
    cluster = Cluster(directory, node_count=node_count, settings=settings)
    try:
        cluster.start_and_wait()
        yield cluster
    finally:
        cluster.close()

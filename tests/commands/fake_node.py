"""A NodeView over values that a test sets, which records what it is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field

from raftkv.commands import build_table
from raftkv.commands.administration import Outcome, Undertaking
from raftkv.commands.backup_desk import BackupRefused, OpenBackup
from raftkv.commands.monitors import LatencyMonitor, Monitors, SlowLog
from raftkv.commands.session import (
    ConfigNotWritten,
    Counters,
    FitnessStatus,
    KeyCount,
    MemberStatus,
    NodeStatus,
    NodeView,
    Pace,
    ProcessStatus,
    SaveStatus,
    Session,
)
from raftkv.commands.table import Awaited, CommandRefused, CommandTable, Sliced
from raftkv.config import Config
from raftkv.raft.membership import founding_membership
from raftkv.raft.types import FOLLOWER, LEADER, RaftStatus
from raftkv.resp.replies import Reply
from raftkv.runtime_settings import RuntimeSettings

CLUSTER_ID = bytes(range(16))
NOW_US = 1_700_000_000_123_456
TABLE = build_table()


def member(node_id: int, *, match_index: int = 0) -> MemberStatus:
    """Node 1 is at port 7001, and so on."""
    return MemberStatus(
        node_id, "127.0.0.1", 7000 + node_id, 17000 + node_id, is_reachable=True, match_index=match_index
    )


def node_status(node_id: int = 1, *, leader_id: int = 1) -> NodeStatus:
    """Three nodes in term 4, with 90 of 100 entries committed and applied."""
    is_leader = node_id == leader_id
    return NodeStatus(
        cluster_id=CLUSTER_ID,
        node_id=node_id,
        members=[
            member(other, match_index=80 + other if is_leader and other != node_id else 0)
            for other in (1, 2, 3)
        ],
        raft=RaftStatus(
            node_id=node_id,
            role=LEADER if is_leader else FOLLOWER,
            current_term=4,
            leader_id=leader_id,
            commit_index=90,
            last_applied=90,
            first_index=1,
            last_index=100,
            persisted_index=95,
            peers=[],
        ),
        last_leader_id=leader_id or 1,
        started_ms=NOW_US // 1000 - 90_000_000,
        membership=founding_membership((1, 2, 3)),
    )


def process_status() -> ProcessStatus:
    """A day and an hour after the start."""
    return ProcessStatus(
        pid=4242,
        run_id="ab" * 20,
        uptime_s=90000,
        memory_bytes=3 << 20,
        memory_peak_bytes=4 << 20,
        memory_startup_bytes=1 << 20,
        memory_total_bytes=8 << 30,
        cpu_user_s=1.5,
        cpu_system_s=0.25,
        log_bytes=1000,
        state_bytes=2000,
        state_durable_index=50,
        os_name="Linux",
        config_file="/etc/node1.toml",
        cache_bytes=1 << 20,
    )


def counters() -> Counters:
    """Some of everything."""
    return Counters(
        connections_received=7,
        calls={b"get": 40, b"client|list": 2},
        keyspace_hits=30,
        keyspace_misses=10,
        errors={"ERR": 2, "MOVED": 1},
    )


def monitors() -> Monitors:
    """As a node has them at its start, but for the monitoring of latency, which is on."""
    return Monitors(SlowLog(count_max=128), LatencyMonitor(threshold_ms=10))


@dataclass
class FakeAdministration:
    """Satisfies Administration: everything is under way until `outcome` is set."""

    #: What was asked for: a word and its arguments.
    asked: list[tuple[object, ...]] = field(default_factory=list)
    outcome: Outcome | None = None
    first_index: int = 41

    def add(self, host: str, peer_port: int, *, takes_place_of: int, is_learner: bool) -> Undertaking:
        return self._begin("add", host, peer_port, takes_place_of, is_learner)

    def remove(self, node_id: int) -> Undertaking:
        return self._begin("remove", node_id)

    def promote(self, node_id: int) -> Undertaking:
        return self._begin("promote", node_id)

    def transfer(self, node_id: int) -> Undertaking:
        return self._begin("transfer", node_id)

    def campaign(self) -> None:
        self.asked.append(("campaign",))

    def flush(self) -> Undertaking:
        return self._begin("flush")

    def compact(self, keep_count: int) -> Undertaking:
        return self._begin("compact", keep_count)

    def _begin(self, *what: object) -> Undertaking:
        self.asked.append(what)
        return lambda: self.outcome


@dataclass
class FakeBackups:
    """Has one file, of ten bytes, once it is told that it is there."""

    is_there: bool = False
    ended: list[bytes] = field(default_factory=list)

    def begin(self) -> Callable[[], OpenBackup | BackupRefused | None]:
        return lambda: OpenBackup(b"1234", b"manifest") if self.is_there else None

    def read(
        self, backup_id: bytes, name: str, *, offset: int, length: int
    ) -> Callable[[], bytes | BackupRefused | None]:
        if backup_id != b"1234":
            raise BackupRefused("there is no such backup")
        if name != "CURRENT":
            return lambda: BackupRefused("there is no such file")
        return lambda: b"0123456789"[offset : offset + length] if self.is_there else None

    def end(self, backup_id: bytes) -> None:
        self.ended.append(backup_id)


@dataclass
class FakeNode:
    """Satisfies NodeView."""

    look: NodeStatus = field(default_factory=node_status)
    process_look: ProcessStatus = field(default_factory=process_status)
    counted: Counters = field(default_factory=counters)
    paced: Pace = field(default_factory=Pace)
    save_status: SaveStatus = field(default_factory=lambda: SaveStatus(last_time_s=1_700_000_000))
    fit: FitnessStatus = field(default_factory=FitnessStatus)
    monitors: Monitors = field(default_factory=monitors)
    settings: RuntimeSettings = field(default_factory=lambda: RuntimeSettings(Config()))
    commands: CommandTable = TABLE
    open_sessions: list[Session] = field(default_factory=list)
    keys_by_slot: dict[int, list[bytes]] = field(default_factory=dict)
    replicas: int = 2
    leadership_requests: int = 0
    replicas_asked_at: list[int] = field(default_factory=list)
    saves_begun: int = 0
    saves_done: int = 0
    is_stopping: bool = False
    resets: int = 0
    rewrites: int = 0
    purges: int = 0
    backups: FakeBackups = field(default_factory=lambda: FakeBackups())
    #: What was done to other clients: what, and its number.
    control: list[tuple[str, int]] = field(default_factory=list)
    #: Why CONFIG REWRITE can't be done.
    rewrite_refusal: str = ""
    admin: FakeAdministration = field(default_factory=lambda: FakeAdministration())

    @property
    def administration(self) -> FakeAdministration:
        return self.admin

    def status(self) -> NodeStatus:
        return self.look

    def process(self) -> ProcessStatus:
        return self.process_look

    def counters(self) -> Counters:
        return self.counted

    def pace(self) -> Pace:
        return self.paced

    def reset_statistics(self) -> None:
        self.resets += 1

    def saves(self) -> SaveStatus:
        return self.save_status

    def fitness(self) -> FitnessStatus:
        return self.fit

    def begin_save(self) -> Callable[[], bool]:
        self.saves_begun += 1
        number = self.saves_begun
        return lambda: self.saves_done >= number

    def rewrite_config(self) -> None:
        if self.rewrite_refusal:
            raise ConfigNotWritten(self.rewrite_refusal)
        self.rewrites += 1

    def release_memory(self) -> None:
        self.purges += 1

    def stop(self) -> None:
        self.is_stopping = True

    def now_us(self) -> int:
        return NOW_US

    def sessions(self) -> Iterable[Session]:
        return iter(self.open_sessions)

    def kill_client(self, client_id: int) -> None:
        self.control.append(("kill", client_id))

    def pause_clients(self, timeout_ms: int, *, is_of_all: bool) -> None:
        self.control.append(("pause all" if is_of_all else "pause writes", timeout_ms))

    def unpause_clients(self) -> None:
        self.control.append(("unpause", 0))

    def unblock_client(self, client_id: int, *, with_error: bool) -> bool:
        self.control.append(("fail" if with_error else "time out", client_id))
        return client_id == 7

    def key_counts(self) -> Mapping[int, KeyCount]:
        keys = sum(map(len, self.keys_by_slot.values()))
        return {0: KeyCount(keys=keys, expiring=1 if keys else 0)}

    def count_keys_in_slot(self, slot: int) -> Sliced:
        return _sliced(len(self.keys_by_slot.get(slot, [])))

    def keys_in_slot(self, slot: int, *, count_max: int) -> Sliced:
        return _sliced(self.keys_by_slot.get(slot, [])[:count_max])

    def digest(self) -> Sliced:
        return _sliced([b"d1635", self.look.raft.last_applied])

    def replicas_at(self, index: int) -> int:
        self.replicas_asked_at.append(index)
        return self.replicas

    def request_leadership(self) -> None:
        self.leadership_requests += 1


def _sliced(reply: Reply) -> Sliced:
    """A reply that is made in two pieces."""

    def work() -> Generator[None, None, Reply]:
        yield
        return reply

    return Sliced(work())


def open_session(node: FakeNode | None = None) -> Session:
    """Connect a client."""
    node = node or FakeNode()
    view: NodeView = node
    session = Session(
        client_id=len(node.open_sessions) + 1,
        node=view,
        address="127.0.0.1:50000",
        local_address="127.0.0.1:7001",
        created_ms=NOW_US // 1000 - 5000,
        active_ms=NOW_US // 1000 - 2000,
    )
    node.open_sessions.append(session)
    return session


def ask(session: Session, *args: str | bytes) -> Reply | Awaited:
    """Answer a request as the client shell does; long replies are made at once."""
    request = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    try:
        spec = session.node.commands.resolve(request)
    except CommandRefused as refused:
        return refused.reply
    session.last_command = spec.name
    reply = spec.handler(session, request)
    return reply.run() if isinstance(reply, Sliced) else reply

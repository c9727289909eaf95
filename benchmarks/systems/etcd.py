"""etcd: three members at default settings, but for room: its database may grow to 8 GB.

SET is a Put, MSET a transaction of Puts, GET a Range, which is linearizable unless asked otherwise; nothing
counts like INCR. It keeps what keys were before; that is compacted away before each run.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import grpc_frames, h2load
from benchmarks.durability import NotDurable
from benchmarks.relay_process import RelayProcess
from benchmarks.systems.etcd_gateway import Gateway, GatewayError, Status
from benchmarks.systems.server_process import ServerProcess
from benchmarks.systems.system import Member, Surroundings, key_name
from benchmarks.workload import MSET_KEYS, At, Disturbed, LoadFailed, Outcome, Unsupported, Workload
from tests.integration.waiting import wait_until
from tests.integration.wire import NoAnswer
from tests.ports import free_ports

_UNSAFE = ("unsafe-no-fsync", "ETCD_UNSAFE_NO_FSYNC")
_QUOTA_BYTES = 8 << 30
_NODE_COUNT = 3
#: Operations of one transaction (its default limit), and transactions under way while keys are loaded.
_LOADED_AT_ONCE = 128
_LOADERS = 16
#: Seconds of one try to write. A member whose leader is lost keeps a write for 7 s, beyond the election, and
#: then refuses it: who tries again meanwhile is served earlier.
_TRY_SECONDS = 0.2
#: Seconds within which a live member answers.
_ANSWER_SECONDS = 3.0


class EtcdMember(ServerProcess):
    """One etcd."""

    port = 0

    def writer(self) -> Callable[[], bool]:
        gateway = Gateway(self.port, seconds_max=_TRY_SECONDS)

        def write() -> bool:
            try:
                gateway.put("alone", "1")
            except GatewayError:
                return False
            return True

        return write

    def serves(self, key: str, value: str) -> bool:
        gateway = Gateway(self.port, seconds_max=_ANSWER_SECONDS)
        try:
            return gateway.get(key) == value
        except GatewayError:
            return False
        finally:
            gateway.close()

    def status(self) -> Status | None:
        """Return what it says of itself, None while it is down."""
        gateway = Gateway(self.port, seconds_max=_ANSWER_SECONDS)
        try:
            return gateway.status()
        except GatewayError:
            return None
        finally:
            gateway.close()


class Etcd:
    """Every acknowledged write is synced by two of the members."""

    takes_over = True

    def __init__(self, directory: Path, surroundings: Surroundings) -> None:
        self.name = "etcd"
        self._relay = None
        self._compacted = 0
        ports = free_ports(3 * _NODE_COUNT)
        clients, bound = ports[:_NODE_COUNT], ports[_NODE_COUNT : 2 * _NODE_COUNT]
        announced = bound
        if surroundings.link_ms is not None:
            announced = ports[2 * _NODE_COUNT :]
            ways = dict(zip(announced, bound, strict=True))
            self._relay = RelayProcess(ways, delay_ms=surroundings.link_ms, directory=directory)
        everyone = ",".join(f"node{place}={_url(port)}" for place, port in enumerate(announced))
        self._members: list[EtcdMember] = []
        for place, port in enumerate(clients):
            own = directory / f"node{place}"
            own.mkdir(parents=True)
            options = {
                "name": own.name,
                "data-dir": own / "data",
                "listen-client-urls": _url(port),
                "advertise-client-urls": _url(port),
                "listen-peer-urls": _url(bound[place]),
                "initial-advertise-peer-urls": _url(announced[place]),
                "initial-cluster": everyone,
                "quota-backend-bytes": _QUOTA_BYTES,
                "logger": "zap",
                "log-level": "warn",
            }
            command = ["etcd", *(f"--{name}={value}" for name, value in options.items())]
            member = EtcdMember(command, log=own / "etcd.log", environment=surroundings.environment)
            member.port = port
            self._members.append(member)

    def start(self) -> None:
        if self._relay:
            self._relay.start()
        for member in self._members:
            member.start()
        self.wait_until_whole()

    def prove_durable(self) -> str:
        for member in self._members:
            for source in ("cmdline", "environ"):
                text = Path(f"/proc/{member.pid}/{source}").read_bytes().decode(errors="replace")
                if any(word in text for word in _UNSAFE):
                    raise NotDurable(f"{self.name} at port {member.port} was started with {_UNSAFE[0]}")
        return "started without --unsafe-no-fsync"

    def members(self) -> dict[str, Member]:
        leader = self._leader()
        first, second = (member for member in self._members if member is not leader)
        return {"leader": leader, "follower 1": first, "follower 2": second}

    def check(self, workload: Workload) -> None:
        if workload.command == "incr":
            raise Unsupported("has nothing like INCR")
        if workload.keys > 1:
            raise Unsupported("h2load sends the same request over and over, so one key only")
        if workload.at is At.LEADER_STANDALONE:
            raise Unsupported("has one kind of port only")

    def prepare(self, workload: Workload) -> None:
        gateway = Gateway(self._leader().port)
        revision = gateway.status().revision
        if revision > self._compacted + 1:
            gateway.compact(revision - 1)
            self._compacted = revision - 1
        if workload.command == "get":
            gateway.put(key_name(0), "x" * workload.value_bytes)
        gateway.close()

    def run(self, workload: Workload, *, requests: int) -> Outcome:
        """Run h2load, then look whether all was done: a refusal of gRPC's looks like success to h2load."""
        leader = self._leader()
        at = leader
        if workload.at is At.FOLLOWER_STANDALONE:
            at = next(member for member in self._members if member is not leader)
        path, body = _request(workload)
        before = _status_of(leader).revision
        outcome = h2load.run(
            f"{_url(at.port)}{path}",
            body,
            requests=requests,
            connections=workload.connections,
            pipeline=workload.pipeline,
        )
        if self._leader() is not leader:
            raise Disturbed("etcd changed its leader during a run")
        done = _status_of(leader).revision - before
        wanted = 0 if workload.command == "get" else requests
        if done != wanted:
            raise LoadFailed(f"etcd did {done} of {wanted} writes of {workload}")
        stored = Gateway(at.port).get(key_name(0)) or ""
        if len(stored) != workload.value_bytes:
            raise LoadFailed(f"etcd has {len(stored)} bytes after {workload}")
        return outcome

    def client_ports(self) -> list[int]:
        """Return where clients connect, in no particular order."""
        return [member.port for member in self._members]

    def load_keys(self, count: int, value: str) -> None:
        port = self._leader().port

        def load(first: int) -> None:
            gateway = Gateway(port)
            for begin in range(first, count, _LOADERS * _LOADED_AT_ONCE):
                end = min(begin + _LOADED_AT_ONCE, count)
                gateway.put_all([key_name(number) for number in range(begin, end)], value)
            gateway.close()

        with ThreadPoolExecutor(_LOADERS) as loaders:
            list(loaders.map(load, range(0, _LOADERS * _LOADED_AT_ONCE, _LOADED_AT_ONCE)))

    def wait_until_whole(self) -> None:
        def all_follow_one() -> bool:
            found = [member.status() for member in self._members]
            leaders = {status.leader_id if status else "" for status in found}
            return len(leaders) == 1 and not leaders & {"", "0"}

        wait_until(all_follow_one, "etcd's members follow one leader")
        wait_until(self._leader().writer(), "etcd acknowledges a write")

    def rest(self) -> None:
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)
        self.wait_until_whole()

    def close(self) -> None:
        for member in self._members:
            member.close()
        if self._relay:
            self._relay.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._relay:
            self._relay.signal(number)
        for member in self._members:
            member.signal(number)

    def _leader(self) -> EtcdMember:
        def found() -> EtcdMember | None:
            for member in self._members:
                status = member.status()
                if status and status.leader_id == status.member_id:
                    return member
            return None

        leader = wait_until(found, "etcd has a leader")
        assert leader is not None, "what is true is not None"
        return leader


def _status_of(member: EtcdMember) -> Status:
    status = member.status()
    if status is None:
        raise NoAnswer(f"etcd at port {member.port} gives no status")
    return status


def _request(workload: Workload) -> tuple[str, bytes]:
    """Return the path and the body of the load's requests; the keys are the first that can be loaded."""
    value = b"x" * workload.value_bytes
    if workload.command == "get":
        return grpc_frames.RANGE, grpc_frames.range_request(key_name(0).encode())
    if workload.command == "mset":
        pairs = [(key_name(number).encode(), value) for number in range(MSET_KEYS)]
        return grpc_frames.TXN, grpc_frames.txn_request(pairs)
    return grpc_frames.PUT, grpc_frames.put_request(key_name(0).encode(), value)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"

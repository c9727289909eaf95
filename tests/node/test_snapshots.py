"""The driver of both ends of snapshots, over real directories: what is kept, and what is durable when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftkv.node.snapshots import SnapshotExchange
from raftkv.raft import COMMAND, Entry, EntryId, HardState
from raftkv.storage import DataDir, KvStore, LogStore
from tests.node.snapshot_rig import LIMITS
from tests.storage.durable_calls import recorded, replaced
from tests.storage.installing import IDENTITY
from tests.storage.states import MEMBERSHIP, fill, holds

TERM = 2


class Jobs:
    """A worker whose jobs are done when the test says so."""

    def __init__(self) -> None:
        self._jobs: list[Callable[[], object]] = []

    def submit(self, job: Callable[[], Any], on_done: Callable[[Any], object]) -> None:
        """See `Worker`."""
        self._jobs.append(lambda: on_done(job()))

    def run(self) -> bool:
        """Do what there is; tell whether there was anything."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job()
        return bool(jobs)


class Side:
    """A node's directory, and its exchange with a group that notes what it is told."""

    def __init__(self, path: Path, index: int, *, is_leader: bool, stack: ExitStack) -> None:
        self.data_dir = DataDir.open(path, 1)
        stack.callback(self.data_dir.close)
        self.data_dir.save_identity(IDENTITY)
        log_store = LogStore(self.data_dir.log_path, create=True)
        stack.callback(log_store.close)
        self.kv_store = KvStore(self.data_dir.state_path, create=True)
        stack.callback(lambda: self.kv_store.close())
        self.log = log_store.group(0)
        self.log.append(
            HardState(TERM, 1), [Entry(TERM, each, COMMAND, b"x") for each in range(1, index + 1)]
        )
        fill(self.kv_store, index, term=TERM)
        self.jobs = Jobs()
        #: What it knows the other one to have.
        self.match_index = 0
        self.sent: list[bytes] = []
        self.sent_to: list[tuple[int, int]] = []
        self.offered: list[tuple[EntryId, bytes]] = []
        self.group: Any = SimpleNamespace(
            group_id=0,
            is_leader=is_leader,
            commit_index=index,
            core=SimpleNamespace(
                peers=frozenset({2}),
                current_term=TERM,
                status=lambda _: SimpleNamespace(
                    peers=[SimpleNamespace(node_id=2, match_index=self.match_index)]
                ),
            ),
            on_snapshot_sent=lambda *told: self.sent_to.append(told),
            offer_snapshot=lambda *offered: self.offered.append(offered) or True,  # type: ignore[func-returns-value]
        )
        self.exchange = SnapshotExchange(
            node_id=1 if is_leader else 2,
            limits=LIMITS,
            data_dir=self.data_dir,
            kv_store=self.kv_store,
            log_store=log_store,
            group_log=self.log,
            clock=SimpleNamespace(now_ns=lambda: 0),  # type: ignore[arg-type]
            send=lambda _, body: self.sent.append(body) or True,  # type: ignore[func-returns-value]
            outgoing=self.jobs,  # type: ignore[arg-type]
            incoming=self.jobs,  # type: ignore[arg-type]
            tell=lambda callback: callback(),
            call_later=lambda _, callback: callback(),
        )
        self.exchange.attach(self.group)

    def taken(self) -> list[bytes]:
        """Take what was sent."""
        sent, self.sent = self.sent, []
        return sent


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    """A leader, node 1, and a follower, node 2, that lacks most."""
    with ExitStack() as stack:
        yield (
            Side(tmp_path / "leader", 20, is_leader=True, stack=stack),
            Side(tmp_path / "follower", 5, is_leader=False, stack=stack),
        )


def exchange_all(leader: Side, follower: Side) -> None:
    """Deliver and do everything until there is nothing left."""
    is_busy = True
    while is_busy:
        for body in leader.taken():
            follower.exchange.on_frame(1, body)
        for body in follower.taken():
            leader.exchange.on_frame(2, body)
        is_busy = any([leader.jobs.run(), follower.jobs.run(), leader.sent, follower.sent])


def test_log_is_kept_while_a_snapshot_is_made_and_on_its_way(sides: tuple[Side, Side]) -> None:
    """Whoever has received it would need another one else."""
    leader, _ = sides
    assert leader.exchange.needed_index is None
    leader.exchange.send_to(2)
    assert leader.exchange.needed_index == 20
    fill(leader.kv_store, 21, term=TERM)
    assert leader.exchange.needed_index == 20
    leader.jobs.run()
    assert leader.exchange.needed_index == 21
    leader.group.is_leader = False
    leader.exchange.on_tick()
    assert leader.exchange.needed_index is None


def test_log_is_kept_until_the_follower_has_what_was_written_meanwhile(sides: tuple[Side, Side]) -> None:
    """`catching_up`"""
    leader, follower = sides
    leader.exchange.send_to(2)
    leader.jobs.run()
    leader.group.commit_index = 25
    exchange_all(leader, follower)
    assert leader.sent_to == [(2, 20)]
    for leader.match_index, needed_index in ((0, 20), (20, 20), (24, 24), (25, None)):
        leader.exchange.on_tick()
        assert leader.exchange.needed_index == needed_index


def test_who_leads_no_more_keeps_no_log_for_others(sides: tuple[Side, Side]) -> None:
    """The next leader sees to it."""
    leader, follower = sides
    leader.group.commit_index = 25
    leader.exchange.send_to(2)
    exchange_all(leader, follower)
    leader.group.is_leader = False
    leader.exchange.on_tick()
    assert leader.exchange.needed_index is None


def test_who_left_is_sent_nothing_more(sides: tuple[Side, Side]) -> None:
    """Its snapshot goes when nobody else is sent it."""
    leader, _ = sides
    leader.exchange.send_to(2)
    leader.jobs.run()
    leader.exchange.on_tick()
    assert [each.node_id for each in leader.exchange.progress().outgoing] == [2]
    leader.group.core.peers = frozenset({3})
    leader.exchange.on_tick()
    assert leader.exchange.progress().outgoing == []
    assert leader.exchange.needed_index is None


def test_offer_of_an_earlier_term_is_dropped(sides: tuple[Side, Side]) -> None:
    """Somebody else leads now, and will look whether one is needed."""
    leader, follower = sides
    follower.group.core.current_term = TERM + 1
    leader.exchange.send_to(2)
    exchange_all(leader, follower)
    assert (follower.offered, follower.exchange.progress().incoming) == ([], None)


def test_snapshot_that_came_takes_the_place_of_state_and_log(
    sides: tuple[Side, Side], tmp_path: Path
) -> None:
    """Raft Figure 13. The term is durable before the state, and that before the log begins behind it."""
    leader, follower = sides
    leader.exchange.send_to(2)
    exchange_all(leader, follower)
    snapshot = EntryId(TERM, 20)
    assert follower.offered == [(snapshot, MEMBERSHIP)]
    assert leader.sent_to == [(2, 20)]
    with recorded(tmp_path / "follower") as calls:
        follower.exchange.install(snapshot)
    assert (calls[0], calls[1].split()[0]) == ("LogStore.sync", "rename")
    assert calls[-4:] == [*replaced("STATE"), "LogStore.sync"]
    assert (follower.log.boundary, follower.log.last_index) == (snapshot, 20)
    assert holds(follower.kv_store, 20)
    follower.jobs.run()
    assert [path.name for path in (tmp_path / "follower").glob("state*")] == ["state-1"]

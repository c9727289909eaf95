"""Forming a cluster: every decision, and random lives of nodes that crash, lie late and lose disks."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.node.formation import (
    Agree,
    Decision,
    Form,
    JoinFormation,
    Refused,
    Wait,
    cluster_id_of,
    decide,
    decode_report,
    encode_report,
)
from raftkv.raft.types import ProtocolError
from raftkv.storage import Identity

MEMBERS = ((1, "a:1"), (2, "b:1"), (3, "c:1"))


def nonce(node_id: int, life: int = 0) -> bytes:
    return bytes([node_id, life]) * 8


AGREED = tuple((node_id, nonce(node_id)) for node_id in (1, 2, 3))
#: As it was before node 1 lost its directory.
AGREED_BEFORE = ((1, nonce(1, life=9)), *AGREED[1:])


def identity(node_id: int, state: str) -> Identity:
    """A directory in one of the states that a report can show."""
    empty = Identity(node_id, MEMBERS, nonce(node_id))
    replace = dataclasses.replace
    return {
        "empty": empty,
        "agreed": replace(empty, agreed=AGREED),
        "agreed before": replace(empty, agreed=AGREED_BEFORE),
        "formed": replace(empty, agreed=AGREED, cluster_id=cluster_id_of(AGREED)),
        "formed before": replace(empty, agreed=AGREED_BEFORE, cluster_id=cluster_id_of(AGREED_BEFORE)),
        "formed, wrong id": replace(empty, agreed=AGREED, cluster_id=bytes(16)),
        "other members": replace(empty, members=MEMBERS[:2]),
        "other address": replace(empty, members=((1, "x:1"), *MEMBERS[1:])),
    }[state]


OWN_STATES = ("empty", "agreed", "agreed before")
PEER_STATES = (
    "absent",
    "empty",
    "agreed",
    "agreed before",
    "formed",
    "formed before",
    "formed, wrong id",
    "other members",
    "other address",
)


def expected(own: str, peers: set[str]) -> type[Decision]:
    """The rules once more, the first that fits."""
    if own == "agreed" and "formed" in peers:
        return JoinFormation
    if peers & {"formed", "formed before", "formed, wrong id", "other members", "other address"}:
        # One that agreed to the lost directory joins what was formed with it.
        return JoinFormation if own == "agreed before" and "formed before" in peers else Refused
    if "absent" in peers:
        return Wait
    if "agreed before" in peers | {own}:
        return Refused
    if own == "empty":
        return Agree
    return Form if peers == {"agreed"} else Wait


@pytest.mark.parametrize("own", OWN_STATES)
@pytest.mark.parametrize("second", PEER_STATES)
@pytest.mark.parametrize("third", PEER_STATES)
def test_each_combination_of_reports_has_its_decision(own: str, second: str, third: str) -> None:
    """DESIGN.md: a new cluster starts only when all its configured members report an empty directory."""
    reports = {
        node_id: identity(node_id, state) for node_id, state in ((2, second), (3, third)) if state != "absent"
    }
    decision = decide(identity(1, own), reports)
    assert type(decision) is expected(own, {second, third})
    if isinstance(decision, Agree):
        assert decision.agreed == AGREED
    if isinstance(decision, Form):
        assert decision.cluster_id == cluster_id_of(AGREED)
    if isinstance(decision, JoinFormation):
        assert decision.cluster_id == cluster_id_of(identity(1, own).agreed)


def test_a_single_member_needs_nobody() -> None:
    """A cluster of one forms at once, in the same two steps."""
    own = Identity(1, MEMBERS[:1], nonce(1))
    agree = decide(own, {})
    assert agree == Agree(((1, nonce(1)),))
    own = dataclasses.replace(own, agreed=((1, nonce(1)),))
    assert decide(own, {}) == Form(cluster_id_of(own.agreed))


def test_an_emptied_node_is_told_how_to_rejoin() -> None:
    """DESIGN.md: it neither votes nor campaigns, and says how to rejoin."""
    decision = decide(identity(1, "empty"), {2: identity(2, "formed")})
    assert isinstance(decision, Refused)
    assert f"node 2 formed cluster {cluster_id_of(AGREED).hex()} without" in decision.reason
    assert "to rejoin, stop node 1 and put its own directory back" in decision.reason


def test_a_waiting_node_names_whom_it_waits_for() -> None:
    """The operator starts the missing ones."""
    assert decide(identity(1, "empty"), {}) == Wait("no report from nodes 2, 3 yet")
    assert decide(identity(1, "agreed"), {2: identity(2, "agreed"), 3: identity(3, "empty")}) == Wait(
        "node 3 yet to agree"
    )


def test_another_list_of_members_is_named() -> None:
    """Every member needs the same list."""
    decision = decide(identity(1, "empty"), {2: identity(2, "other address")})
    assert isinstance(decision, Refused)
    assert (
        "node 2 has another list of members than node 1: only node 1 lists node 1 at 'a:1'" in decision.reason
    )


def test_a_list_that_changed_after_the_agreement_forms_nothing() -> None:
    """The agreed nodes and the configured ones must be the same voters."""
    own = dataclasses.replace(identity(1, "agreed"), members=(*MEMBERS, (4, "d:1")))
    reports = {node_id: identity(node_id, "formed") for node_id in (2, 3)}
    assert isinstance(decide(own, reports), Refused)


def test_the_cluster_id_names_nodes_and_nonces() -> None:
    """Two formations never share it."""
    assert len(cluster_id_of(AGREED)) == 16
    assert cluster_id_of(AGREED) != cluster_id_of(AGREED_BEFORE)
    swapped = ((1, nonce(2)), (2, nonce(1)), (3, nonce(3)))
    assert cluster_id_of(swapped) != cluster_id_of(AGREED)


@pytest.mark.parametrize("state", PEER_STATES[1:])
def test_a_report_comes_back_as_it_was(state: str) -> None:
    """What a peer hears is what was saved."""
    assert decode_report(encode_report(identity(2, state))) == identity(2, state)


@given(st.binary(max_size=80))
def test_garbage_raises_nothing_but_protocol_error(body: bytes) -> None:
    """STYLE 7."""
    try:
        decode_report(body)
    except ProtocolError:
        return


@pytest.mark.parametrize(
    "report",
    [
        Identity(0, MEMBERS, nonce(1)),
        Identity(1, ((-1, "a:1"),), nonce(1)),
        Identity(1, MEMBERS, nonce(1), agreed=((-1, nonce(1)),)),
        Identity(1, MEMBERS, b"short"),
        Identity(1, MEMBERS, nonce(1), agreed=((1, b"short"),)),
        Identity(1, MEMBERS, nonce(1), cluster_id=b"short"),
        Identity(1, MEMBERS, nonce(1), restored=b"short"),
    ],
)
def test_a_report_that_no_node_makes_is_refused(report: Identity) -> None:
    """It would be saved as part of what was agreed to."""
    with pytest.raises(ProtocolError, match="a bootstrap report with a"):
        decode_report(encode_report(report))


# -- random lives --

Decide = Callable[[Identity, Mapping[int, Identity]], Decision]


@dataclass
class Process:
    """A node: what is on its disk, and what it has heard since its start."""

    disk: Identity
    heard: dict[int, Identity] = field(default_factory=dict)


class World:
    """Nodes that report, crash and lose their directories in an order drawn from a seed.

    Reports in flight are delivered in any order, again, late or never.
    """

    def __init__(self, seed: int, *, nets: int = 1, decide: Decide = decide) -> None:
        self.random = random.Random(seed)
        self.decide = decide
        self.nets = nets
        self.lives = 0
        #: (net, node id): several nets are clusters whose nodes reach each other by mistake.
        self.nodes = {
            (net, node_id): Process(self.new_directory(node_id))
            for net in range(nets)
            for node_id, _ in MEMBERS
        }
        self.in_flight: list[Identity] = []
        #: nonce -> its directory, as it is or as it was when it was lost
        self.directories: dict[bytes, Identity] = {}

    def new_directory(self, node_id: int) -> Identity:
        self.lives += 1
        return Identity(node_id, MEMBERS, nonce(node_id, self.lives % 256))

    def report(self, process: Process) -> None:
        self.in_flight.append(process.disk)

    def deliver(self, process: Process, report: Identity) -> None:
        if report.node_id != process.disk.node_id:
            process.heard[report.node_id] = report

    def act(self, process: Process) -> None:
        """Decide and save; a crash may come before or after."""
        if process.disk.cluster_id is None:
            decision = self.decide(process.disk, process.heard)
            if self.random.random() < 0.1:
                self.crash(process)
            else:
                self.save(process, decision)

    def save(self, process: Process, decision: Decision) -> None:
        if isinstance(decision, Agree):
            process.disk = dataclasses.replace(process.disk, agreed=decision.agreed)
        elif isinstance(decision, Form | JoinFormation):
            process.disk = dataclasses.replace(process.disk, cluster_id=decision.cluster_id)

    def crash(self, process: Process) -> None:
        process.heard.clear()

    def wipe(self, process: Process) -> None:
        process.disk = self.new_directory(process.disk.node_id)
        process.heard.clear()

    def step(self, *, wipe_share: float) -> None:
        process = self.random.choice(list(self.nodes.values()))
        draw = self.random.random()
        if draw < wipe_share:
            self.wipe(process)
        elif draw < 0.05:
            self.crash(process)
        elif draw < 0.35:
            self.report(process)
        elif draw < 0.7 and self.in_flight:
            pos = self.random.randrange(len(self.in_flight))
            is_repeated = self.random.random() < 0.3
            self.deliver(process, self.in_flight[pos] if is_repeated else self.in_flight.pop(pos))
        else:
            self.act(process)
        self.check()

    def check(self) -> None:
        """The invariants of `formation`."""
        for process in self.nodes.values():
            disk = process.disk
            older = self.directories.get(disk.nonce, disk)
            assert older.agreed in ((), disk.agreed), "a directory agreed twice"
            assert older.cluster_id in (None, disk.cluster_id), "a cluster id changed"
            self.directories[disk.nonce] = disk
        formed = [disk for disk in self.directories.values() if disk.cluster_id is not None]
        for disk in formed:
            assert (disk.node_id, disk.nonce) in disk.agreed, "an emptied node joined"
            for _, other in disk.agreed:
                assert self.directories[other].agreed == disk.agreed, "formed without everybody's agreement"
                assert self.directories[other].cluster_id in (None, disk.cluster_id), "in two clusters"
        present = {process.disk.cluster_id for process in self.nodes.values()} - {None}
        assert len(present) <= self.nets, "two clusters of the same members"

    def settle(self) -> None:
        """No more faults: everybody hears everybody, until nothing changes."""
        for _ in range(4):
            for receiver, sender in itertools.product(self.nodes.values(), self.nodes.values()):
                self.deliver(receiver, sender.disk)
            for process in self.nodes.values():
                if process.disk.cluster_id is None:
                    self.save(process, self.decide(process.disk, process.heard))
            self.check()


SEEDS = range(300)


def test_honest_nodes_end_formed_whenever_they_crash() -> None:
    """A crash at any point, the one between saving and telling included."""
    for seed in SEEDS:
        world = World(seed)
        for _ in range(seed % 150):
            world.step(wipe_share=0.0)
        world.settle()
        formed = {process.disk.cluster_id for process in world.nodes.values()}
        assert len(formed) == 1, f"seed {seed}"
        assert None not in formed, f"seed {seed}"


def test_lost_directories_never_make_two_clusters_nor_join_one() -> None:
    """Checked after each step, late and repeated reports included."""
    for seed in SEEDS:
        world = World(seed)
        for _ in range(200):
            world.step(wipe_share=0.02)
        world.settle()


def test_nodes_of_two_clusters_that_reach_each_other_never_mix_them() -> None:
    """The same list of members on two networks whose host names got mixed up."""
    for seed in SEEDS:
        world = World(seed, nets=2)
        for _ in range(200):
            world.step(wipe_share=0.01)


def decide_without_agreeing(own: Identity, reports: Mapping[int, Identity]) -> Decision:
    """The rule broken on purpose: form as soon as all have reported."""
    decision = decide(own, reports)
    if isinstance(decision, Wait) and own.agreed and len(reports) == len(MEMBERS) - 1:
        return Form(cluster_id_of(own.agreed))
    return decision


def decide_to_join_any(own: Identity, reports: Mapping[int, Identity]) -> Decision:
    """The rule broken on purpose: an empty node joins what it finds."""
    for report in reports.values():
        if report.cluster_id is not None:
            return JoinFormation(report.cluster_id)
    return decide(own, reports)


@pytest.mark.parametrize("broken", [decide_without_agreeing, decide_to_join_any])
def test_the_checks_catch_a_broken_rule(broken: Decide) -> None:
    """A check that never fails proves nothing."""

    def find_a_bad_life() -> None:
        for seed in SEEDS:
            world = World(seed, decide=broken)
            for _ in range(200):
                world.step(wipe_share=0.02)

    with pytest.raises(AssertionError):
        find_a_bad_life()


def test_founders_hold_the_same_data_or_form_no_cluster() -> None:
    """An empty founder, or one of another backup, would have the others' data replaced or dropped."""
    first, second = b"1" * 16, b"2" * 16
    for own, other in ((first, b""), (b"", first), (first, second)):
        directories = {
            node_id: dataclasses.replace(identity(node_id, "empty"), restored=restored)
            for node_id, restored in ((1, own), (2, own), (3, other))
        }
        decision = decide(directories[1], {2: directories[2], 3: directories[3]})
        assert isinstance(decision, Refused)
        assert "restore the same backup for every founder" in decision.reason


def test_founders_of_one_backup_form_a_cluster() -> None:
    """They are as equal as empty ones."""
    directories = {
        node_id: dataclasses.replace(identity(node_id, "empty"), restored=b"1" * 16) for node_id in (1, 2, 3)
    }
    assert decide(directories[1], {2: directories[2], 3: directories[3]}) == Agree(AGREED)
    assert decode_report(encode_report(directories[1])) == directories[1]

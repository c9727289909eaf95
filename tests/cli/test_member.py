"""`raftkv member` and `transfer-leader`: whom they ask, what they say again, and what they show."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace as changed
from pathlib import Path

import hiredis
import pytest
from rich.console import Console

from raftkv.member_client import ChangeFailed, Leader, MemberRow, add, remove, replace, transfer
from raftkv.member_view import BarWatcher, PlainWatcher, table_of
from raftkv.resp.replies import Error, Reply, encode
from raftkv.status import Place, StatusUnavailable
from tests.cli.command import raftkv
from tests.ports import free_port_run

MB = 1 << 20
UNKNOWN = Error("UNKNOWN nobody knows")


def row(node_id: int, role: str = "voter", *, port: int = 0, state: str | None = "replicate") -> MemberRow:
    """One member that has everything."""
    return MemberRow(
        id=node_id,
        name="f" * 40,
        role=role,
        host="127.0.0.1",
        port=port or 7000 + node_id,
        peer_port=(port or 7000 + node_id) + 10_000,
        match_index=100,
        lag=0,
        heard_ms_ago=10,
        state=state,
        takes_place_of=None,
        snapshot_bytes_done=None,
        snapshot_bytes_total=None,
    )


def reply_of(rows: Sequence[MemberRow]) -> Reply:
    """What RAFT MEMBERS answers."""
    return [
        {
            key.replace("_", "-").encode(): value.encode() if isinstance(value, str) else value
            for key, value in each.as_json().items()
        }
        for each in rows
    ]


class FakeMember:
    """A node whose members change as a test says, and that notes what it is told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.rows = [row(1, "leader", port=port, state="self")]
        #: What commands other than MEMBERS are answered, one after the other.
        self.replies: list[Reply] = []
        self.told: list[str] = []
        #: Called before each RAFT MEMBERS.
        self.on_look: Callable[[], object] = lambda: None

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen until the end of the block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
        while data := await reader.read(1 << 16):
            parser.feed(data)
            while (words := parser.gets()) is not False:
                assert isinstance(words, list)
                writer.write(encode(self._answer(" ".join(words)), 2))
        writer.close()

    def _answer(self, line: str) -> Reply:
        if line == "RAFT MEMBERS":
            self.on_look()
            return reply_of(self.rows)
        self.told.append(line)
        return self.replies.pop(0)


def leader_at(member: FakeMember, *, timeout_seconds: float = 10) -> Leader:
    """Whoever leads, asked at this member."""
    return Leader(Place("127.0.0.1", member.port), password="", timeout_seconds=timeout_seconds)


def two_members() -> tuple[FakeMember, FakeMember]:
    """A follower, node 1, and its leader, node 2."""
    port = free_port_run(2)
    follower, leader = FakeMember(port), FakeMember(port + 1)
    follower.rows = [row(1, port=port, state="self"), row(2, "leader", port=port + 1, state="connected")]
    leader.rows = [row(1, port=port), row(2, "leader", port=port + 1, state="self")]
    return follower, leader


def test_the_leader_is_found_from_any_member() -> None:
    """It alone knows how far the others are."""
    follower, leader = two_members()

    async def ask() -> list[MemberRow]:
        async with follower.serving(), leader.serving():
            return await leader_at(follower).members()

    assert asyncio.run(ask()) == leader.rows


def test_a_newcomer_is_watched_until_it_votes() -> None:
    """RAFT ADD, then RAFT MEMBERS again and again."""
    member = FakeMember(free_port_run(1))
    member.replies = [Error("TRYAGAIN a moment"), 4]
    looks = iter(["none", "staged", "voter"])

    def on_look() -> None:
        role = next(looks, "voter")
        member.rows = member.rows[:1] + ([] if role == "none" else [row(4, role, port=7004)])

    member.on_look = on_look
    seen: list[str] = []

    async def work() -> MemberRow:
        async with member.serving():
            return await add(
                leader_at(member),
                Place("h", 7004),
                17004,
                is_learner=False,
                watch=lambda each: seen.append(each.role),
            )

    assert asyncio.run(work()).id == 4
    assert member.told == ["RAFT ADD h 7004 PEERPORT 17004"] * 2
    assert seen == ["staged", "voter"]


def test_a_learner_is_awaited_until_it_is_up_to_date() -> None:
    """RAFT ADD LEARNER: it never votes."""
    member = FakeMember(free_port_run(1))
    member.replies = [4]
    behind = changed(row(4, "learner"), lag=12)
    states = iter([behind, behind, row(4, "learner")])
    member.on_look = lambda: member.rows.__setitem__(slice(1, None), [next(states)])

    async def work() -> MemberRow:
        async with member.serving():
            return await add(leader_at(member), Place("h", 1), 2, is_learner=True, watch=lambda _: None)

    assert asyncio.run(work()).lag == 0
    assert member.told == ["RAFT ADD LEARNER h 1 PEERPORT 2"]


def test_an_addition_of_unknown_outcome_is_looked_for() -> None:
    """Whoever came meanwhile from that port is the one."""
    member = FakeMember(free_port_run(1))
    member.replies = [UNKNOWN]
    counted = iter(range(10))
    member.on_look = lambda: next(counted) == 1 and member.rows.append(row(4))

    async def work() -> MemberRow:
        async with member.serving():
            return await add(
                leader_at(member), Place("h", 7004), 17004, is_learner=False, watch=lambda _: None
            )

    assert asyncio.run(work()).id == 4


def test_a_replacement_is_done_when_the_replaced_is_gone() -> None:
    """RAFT REPLACE: both leave the joint membership together."""
    member = FakeMember(free_port_run(1))
    member.rows += [row(3, state="unreachable")]
    member.replies = [4]
    both = [row(3, "outgoing"), row(4)]
    states = iter([member.rows[1:], both, both])
    member.on_look = lambda: member.rows.__setitem__(slice(1, None), next(states, [row(4)]))

    async def work() -> MemberRow:
        async with member.serving():
            return await replace(leader_at(member), 3, Place("h", 1), 2, watch=lambda _: None)

    assert asyncio.run(work()).id == 4
    assert member.told == ["RAFT REPLACE 3 h 1 PEERPORT 2"]
    assert next(states, None) is None


@pytest.mark.parametrize(
    ("replies", "was_member"),
    [
        ([b"OK"], True),
        ([Error("ERR node 3 is no member any more: it was removed")], False),
        ([UNKNOWN, Error("ERR node 3 is no member any more: it was removed")], True),
        ([Error("CLUSTERDOWN no leader"), b"OK"], True),
    ],
)
def test_a_removal_may_be_said_again(replies: list[Reply], was_member: bool) -> None:
    """Ids are never used twice, so that nobody else can be meant."""
    member = FakeMember(free_port_run(1))
    member.replies = replies.copy()

    async def work() -> bool:
        async with member.serving():
            return await remove(leader_at(member), 3)

    assert asyncio.run(work()) is was_member
    assert member.told == ["RAFT REMOVE 3"] * len(replies)


def test_what_is_refused_fails_with_the_nodes_reason() -> None:
    """Without the prefix, which is for clients."""
    member = FakeMember(free_port_run(1))
    member.replies = [Error("ERR node 1 is the last voter")]

    async def work() -> None:
        async with member.serving():
            await remove(leader_at(member), 1)

    with pytest.raises(ChangeFailed, match=r"^node 1 is the last voter$"):
        asyncio.run(work())


def test_too_late_is_said_with_what_it_waited_for() -> None:
    """--timeout."""
    member = FakeMember(free_port_run(1))
    member.rows = [row(1, port=member.port, state="self")]

    async def work() -> None:
        async with member.serving():
            await leader_at(member, timeout_seconds=0.3).members()

    with pytest.raises(ChangeFailed, match=r"^not done within 0\.3 s: no leader is known$"):
        asyncio.run(work())


def test_a_node_that_is_no_member_is_no_help() -> None:
    """One that was removed knows of no leader, and never will."""
    member = FakeMember(free_port_run(1))
    member.rows = [row(3, "stranger", port=member.port, state="self"), row(1)]

    async def work() -> None:
        async with member.serving():
            await leader_at(member).members()

    with pytest.raises(ChangeFailed, match="is node 3, which is no member; ask another node"):
        asyncio.run(work())


def test_a_change_follows_the_leader() -> None:
    """MOVED, as a client of a Redis Cluster is told."""
    old, new = two_members()
    old.rows, new.rows = [row(1, "leader", port=old.port, state="self"), row(2, port=new.port)], []
    old.replies, new.replies = [Error(f"MOVED 0 127.0.0.1:{new.port}")], [b"OK"]

    async def work() -> bool:
        async with old.serving(), new.serving():
            return await remove(leader_at(old), 3)

    assert asyncio.run(work())
    assert (old.told, new.told) == (["RAFT REMOVE 3"], ["RAFT REMOVE 3"])


def test_another_member_is_asked_when_one_goes_away() -> None:
    """Only who was never reached is an error at once."""
    gone, alive = two_members()
    gone.rows = [row(1, "leader", port=gone.port, state="self"), row(2, port=alive.port)]
    alive.rows = [row(1, port=gone.port), row(2, "leader", port=alive.port, state="self")]

    async def work() -> list[MemberRow]:
        leader = leader_at(gone)
        async with alive.serving():
            async with gone.serving():
                await leader.members()
            return await leader.members()

    assert asyncio.run(work()) == alive.rows
    with pytest.raises(StatusUnavailable, match="can't be reached"):
        asyncio.run(leader_at(gone).members())


def test_leadership_is_handed_over() -> None:
    """RAFT TRANSFER answers who leads."""
    member = FakeMember(free_port_run(1))
    member.replies = [2, 3]

    async def work() -> list[int]:
        async with member.serving():
            return [await transfer(leader_at(member), None), await transfer(leader_at(member), 3)]

    assert asyncio.run(work()) == [2, 3]
    assert member.told == ["RAFT TRANSFER", "RAFT TRANSFER 3"]


def test_members_are_shown_in_a_table() -> None:
    """raftkv member list."""
    rows = [
        row(1, "leader", state="self"),
        changed(
            row(4, "staged", state="snapshot"),
            takes_place_of=3,
            lag=90,
            snapshot_bytes_done=MB // 2,
            snapshot_bytes_total=2 * MB,
        ),
        changed(row(5, "learner", state="unreachable"), match_index=None, lag=None, heard_ms_ago=None),
    ]
    output = io.StringIO()
    Console(file=output, width=120).print(table_of(rows))
    lines = [" ".join(line.split()) for line in output.getvalue().splitlines()]
    assert lines[1:] == [
        "1 127.0.0.1:7001 leader 100 0 10",
        "4 127.0.0.1:7004 staged, in place of 3 100 90 10 snapshot 0.5 of 2.0 MB",
        "5 127.0.0.1:7005 learner - - - unreachable",
    ]


def stages() -> list[MemberRow]:
    """A newcomer on its way."""
    new = row(4, "staged", state="snapshot")
    counts = (0, 1, 9, 10, 55)
    sent = [changed(new, snapshot_bytes_done=each * MB, snapshot_bytes_total=100 * MB) for each in counts]
    late = changed(row(4, "staged"), lag=50, match_index=50)
    return [changed(new, state="unreachable"), new, *sent, late, row(4)]


def test_without_a_terminal_a_line_says_what_is_new() -> None:
    """Every ten percent, and whatever begins."""
    lines: list[str] = []
    watch = PlainWatcher(lines.append)
    for stage in stages():
        watch(stage)
        watch(stage)
    assert lines == [
        "node 4: staged, not connected\n",
        "node 4: staged, a snapshot is being made\n",
        "node 4: staged, snapshot 0.0 of 100.0 MB\n",
        "node 4: staged, snapshot 10.0 of 100.0 MB\n",
        "node 4: staged, snapshot 55.0 of 100.0 MB\n",
        "node 4: staged, 50 entries behind\n",
        "node 4: voter, caught up\n",
    ]


def test_on_a_terminal_a_bar_says_it() -> None:
    """The text beside it is the same."""
    output = io.StringIO()
    with BarWatcher(Console(file=output, width=100, force_terminal=True)) as watch:
        for stage in stages()[:7]:
            watch(stage)
    assert "node 4: staged, snapshot 55.0 of 100.0 MB" in output.getvalue()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["member", "add", "nowhere"], "HOST:PORT[@PEER_PORT]: 'nowhere' must be HOST:PORT"),
        (["member", "add", "h:60000"], "HOST:PORT[@PEER_PORT]: 'h:60000' needs a peer port from 1 to 65535"),
        (["member", "add", "h:1@x"], "HOST:PORT[@PEER_PORT]: 'h:1@x' needs a peer port from 1 to 65535"),
        (["member", "list", "--node", "h"], "--node: 'h' must be HOST:PORT"),
        (["transfer-leader", "--node", ":1"], "--node: ':1' must be HOST:PORT"),
    ],
)
def test_a_wrong_command_line_ends_with_code_2(tmp_path: Path, arguments: list[str], reason: str) -> None:
    """And one line."""
    done = raftkv(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"raftkv: {reason}\n")


def test_a_node_that_is_not_there_ends_with_code_1(tmp_path: Path) -> None:
    """As raftkv status."""
    port = free_port_run(1)
    done = raftkv("member", "remove", "3", "--node", f"127.0.0.1:{port}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"raftkv: 127.0.0.1:{port} can't be reached: ")


@pytest.mark.parametrize("host", ["a..b", "\udcff"])
def test_what_can_be_no_host_name_is_told(host: str) -> None:
    """As raftkv status."""
    with pytest.raises(StatusUnavailable, match=r"can't be reached: .* is no host name"):
        asyncio.run(Leader(Place(host, 1), password="", timeout_seconds=1).members())


def test_bytes_of_an_address_that_are_no_text_are_left_to_the_node() -> None:
    """It says what is wrong with them, as with any other address."""
    member = FakeMember(free_port_run(1))
    member.replies = [Error("ERR Invalid node address specified")]

    async def work() -> None:
        async with member.serving():
            newcomer = Place("\udcff", 1)
            await add(leader_at(member), newcomer, 10_001, is_learner=False, watch=lambda _: None)

    with pytest.raises(ChangeFailed, match="Invalid node address"):
        asyncio.run(work())

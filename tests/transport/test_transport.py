"""Transports that talk to each other over real sockets."""

from __future__ import annotations

import logging

import pytest

from raftkv.raft.types import (
    COMMAND,
    AppendEntries,
    AppendEntriesReply,
    Entry,
    Heartbeat,
    HeartbeatReply,
    Message,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from tests.transport.conftest import WithNet
from tests.transport.loopback import CLUSTER, HOST, Net, eventually


def heartbeat(round: int, *, sender: int = 1, to: int = 2) -> Heartbeat:
    return Heartbeat(term=1, sender=sender, to=to, leader_commit=0, round=round)


def append(index: int, payload: bytes, *, sender: int = 1, to: int = 2) -> AppendEntries:
    entries = [Entry(1, index, COMMAND, payload)]
    return AppendEntries(
        term=1,
        sender=sender,
        to=to,
        prev_log_index=index - 1,
        prev_log_term=1,
        leader_commit=0,
        round=1,
        entries=entries,
    )


def test_every_kind_of_message_arrives_as_it_was(with_net: WithNet) -> None:
    """The types of the Raft core's border."""
    messages: list[Message] = [
        RequestVote(2, 1, 2, 10, 1, True, False),
        RequestVoteReply(2, 1, 2, False, True),
        append(11, b"payload"),
        AppendEntriesReply(2, 1, 2, 7, False, 10, 8, 1),
        heartbeat(3),
        HeartbeatReply(2, 1, 2, 3),
        TimeoutNow(2, 1, 2),
        ReadIndexRequest(2, 1, 2, 44),
        ReadIndexReply(2, 1, 2, 44, 10, 9),
    ]

    async def body(net: Net) -> None:
        first, second = await net.pair()
        first.transport.send(2, 0, messages)
        first.transport.flush()
        await eventually(lambda: len(second.messages) == len(messages))
        assert sorted(map(repr, second.messages)) == sorted(map(repr, messages))

    with_net(body)


def test_messages_of_one_turn_and_channel_arrive_in_one_call(with_net: WithNet) -> None:
    """One callback per chunk, not per message; the two channels are apart."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        bulk: list[Message] = [append(index, b"x") for index in (1, 2, 3)]
        first.transport.send(2, 0, bulk[:2])
        first.transport.send(2, 0, [heartbeat(1), bulk[2], heartbeat(2)])
        first.transport.flush()
        await eventually(lambda: len(second.messages) == 5)
        assert sorted(map(repr, second.received)) == sorted(
            map(repr, [(1, 0, bulk), (1, 0, [heartbeat(1), heartbeat(2)])])
        )

    with_net(body)


def test_groups_are_kept_apart(with_net: WithNet) -> None:
    """Every frame carries a group id from the first day."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        for group_id in (0, 7, 8):
            first.transport.send(2, group_id, [heartbeat(group_id)])
        first.transport.flush()
        await eventually(lambda: len(second.messages) == 3)
        assert second.received == [(1, group_id, [heartbeat(group_id)]) for group_id in (0, 7, 8)]

    with_net(body)


def test_nothing_leaves_before_the_flush(with_net: WithNet) -> None:
    """What a turn sends shares a write."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        first.transport.send(2, 0, [heartbeat(1)])
        assert first.transport.status(2).queued_bytes > 0
        second.transport.send(1, 0, [heartbeat(2, sender=2, to=1)])
        second.transport.flush()
        await eventually(lambda: first.messages)
        assert second.messages == []
        first.transport.flush()
        await eventually(lambda: second.messages)

    with_net(body)


def test_a_large_entry_arrives_whole_and_lets_heartbeats_pass(with_net: WithNet) -> None:
    """DESIGN.md: a big entry never delays a heartbeat past the election timeout."""
    large = append(1, bytes(range(256)) * (24 << 12))  # 24 MB

    async def body(net: Net) -> None:
        first, second = await net.pair()
        first.transport.send(2, 0, [large, heartbeat(1)])
        first.transport.flush()
        assert first.transport.status(2).queued_bytes > 10 << 20  # pieces wait for room
        await eventually(lambda: len(second.messages) == 2)
        assert second.messages == [heartbeat(1), large]

    with_net(body)


def test_messages_behind_a_slow_peer_are_bounded_and_counted(with_net: WithNet) -> None:
    """STYLE 8: the newest is dropped when the queue is full; the others arrive in order."""

    async def body(net: Net) -> None:
        first, second = await net.pair(queue_bytes_max=8 << 20)
        for index in range(1, 31):
            first.transport.send(2, 0, [append(index, bytes(1 << 20))])
        status = first.transport.status(2)
        assert status.queued_bytes <= 8 << 20
        assert status.dropped == 23
        first.transport.flush()
        await eventually(lambda: len(second.messages) == 7)
        assert [message.prev_log_index for message in second.messages] == list(range(7))  # type: ignore[union-attr]

    with_net(body)


def test_a_message_above_the_frame_limit_is_dropped_here(
    with_net: WithNet, caplog: pytest.LogCaptureFixture
) -> None:
    """The peer would close the connection, and get the same message again."""

    async def body(net: Net) -> None:
        first, second = await net.pair(frame_bytes_max=1 << 20)
        first.transport.send(2, 0, [append(1, bytes(2 << 20)), append(2, b"small")])
        first.transport.flush()
        await eventually(lambda: second.messages)
        assert second.messages == [append(2, b"small")]
        status = first.transport.status(2)
        assert (status.dropped, status.is_connected) == (1, True)

    with_net(body)
    assert any("larger than frame_bytes_max" in text for text in caplog.messages)


def test_messages_to_a_peer_that_is_away_are_dropped_and_counted(with_net: WithNet) -> None:
    """Raft sends again what still matters."""

    async def body(net: Net) -> None:
        for node_id in (1, 2):
            await net.listen(node_id)
        first = net.start(1)
        first.transport.send(2, 0, [heartbeat(1), heartbeat(2)])
        first.transport.flush()
        status = first.transport.status(2)
        assert (status.is_connected, status.dropped, status.conn_oks, status.queued_bytes) == (False, 2, 0, 0)
        assert status.last_connected_ns == 0

    with_net(body)


def test_a_peer_that_comes_back_is_found_again(with_net: WithNet) -> None:
    """A node that was killed and started again, on the same port."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        before = first.transport.status(2)
        await second.transport.close()
        await eventually(lambda: not first.transport.is_connected(2))
        await eventually(lambda: first.transport.status(2).conn_errors > before.conn_errors + 2)
        assert first.transport.status(2).last_error != ""
        await net.listen(2, port=second.transport.port)
        again = net.start(2)
        await eventually(lambda: first.transport.is_connected(2) and again.transport.is_connected(1))
        after = first.transport.status(2)
        assert after.conn_oks >= before.conn_oks + 2
        assert after.last_connected_ns > before.last_connected_ns
        assert after.last_error == ""
        first.transport.send(2, 0, [heartbeat(1)])
        first.transport.flush()
        await eventually(lambda: again.messages == [heartbeat(1)])

    with_net(body)


def test_a_peer_that_shows_up_is_dialed_at_once(with_net: WithNet) -> None:
    """However long the pause between attempts has become."""

    async def body(net: Net) -> None:
        hour_ms = 3_600_000
        await net.listen(1, backoff_min_ms=hour_ms, backoff_max_ms=hour_ms)
        await net.listen(2)
        second_port = net.nodes[2].transport.port
        await net.nodes[2].transport.close()
        first = net.start(1)
        await eventually(lambda: first.transport.status(2).conn_errors == 2)
        await net.listen(2, port=second_port)
        net.start(2)
        await eventually(lambda: first.transport.is_connected(2))

    with_net(body)


def test_a_restarted_peer_ends_what_led_to_its_older_process(with_net: WithNet) -> None:
    """After a power cut no packet says that the older connection is dead; its new hello does."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        oks = first.transport.status(2).conn_oks
        # Another process of node 2, at another port, dials node 1 while the older one stands.
        net.addresses[2] = (HOST, 1)
        await net.listen(2)
        newer = net.start(2)
        await eventually(lambda: newer.transport.is_connected(1))
        await eventually(lambda: first.transport.status(2).conn_oks > oks)
        await second.transport.close()

    with_net(body)


@pytest.mark.parametrize(
    ("cluster_id", "reason"), [(b"x" * 16, "belongs to cluster"), (CLUSTER, "is no member")]
)
def test_the_reason_of_a_refusal_is_known_at_the_dialer(
    with_net: WithNet, caplog: pytest.LogCaptureFixture, cluster_id: bytes, reason: str
) -> None:
    """The operator of either node finds it in the log and in the status."""

    async def body(net: Net) -> None:
        for node_id in (1, 2):
            await net.listen(node_id)
        del net.addresses[1]
        net.start(2)
        net.addresses[1] = (HOST, net.nodes[1].transport.port)
        first = net.start(1, cluster_id=cluster_id)
        await eventually(lambda: reason in first.transport.status(2).last_error)
        assert not first.transport.is_connected(2)

    with_net(body)
    assert sum(reason in text for text in caplog.messages) >= 2


def test_a_node_that_was_pointed_at_itself_says_so(with_net: WithNet) -> None:
    """Two members with the same address."""

    async def body(net: Net) -> None:
        await net.listen(1)
        net.addresses[2] = net.addresses[1]
        first = net.start(1)
        await eventually(lambda: "leads to its own node" in first.transport.status(2).last_error)

    with_net(body)


def test_a_listener_without_a_cluster_refuses_until_it_has_one(with_net: WithNet) -> None:
    """A peer may have formed the cluster a moment earlier."""

    async def body(net: Net) -> None:
        for node_id in (1, 2):
            await net.listen(node_id)
        first = net.start(1)
        await eventually(lambda: "not formed yet" in first.transport.status(2).last_error)
        net.start(2)
        await eventually(lambda: first.transport.is_connected(2))

    with_net(body)


def test_addresses_may_be_host_names(with_net: WithNet) -> None:
    """Compose files name hosts, not addresses."""

    async def body(net: Net) -> None:
        for node_id in (1, 2):
            await net.listen(node_id)
            net.addresses[node_id] = ("localhost", net.addresses[node_id][1])
        first, _ = net.start(1), net.start(2)
        await eventually(lambda: first.transport.is_connected(2))

    with_net(body)


def test_what_was_flushed_before_the_close_arrives(with_net: WithNet) -> None:
    """A node that stops tells its successor to campaign, and leaves."""

    async def body(net: Net) -> None:
        first, second = await net.pair(write_high_bytes=32 << 20, closing_timeout_ms=10_000)
        first.transport.send(2, 0, [TimeoutNow(1, 1, 2), append(1, bytes(24 << 20))])
        first.transport.flush()
        assert first.transport.status(2).queued_bytes == 0
        await first.transport.close()
        await eventually(lambda: len(second.messages) == 2)

    with_net(body)


def test_what_waits_is_dropped_and_counted_when_the_connection_breaks(with_net: WithNet) -> None:
    """Nothing of an older connection is sent on a newer one."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        first.transport.send(2, 0, [heartbeat(1), append(1, b"x"), append(2, b"y")])
        await second.transport.close()
        await eventually(lambda: first.transport.status(2).dropped == 3)
        assert first.transport.status(2).queued_bytes == 0

    with_net(body)


def test_links_come_and_go_in_the_log_with_their_nodes(
    with_net: WithNet, caplog: pytest.LogCaptureFixture
) -> None:
    """STYLE 10: a line per transition."""
    caplog.set_level(logging.INFO)

    async def body(net: Net) -> None:
        _, second = await net.pair()
        port = second.transport.port
        await second.transport.close()
        await eventually(lambda: any("is down" in text for text in caplog.messages))
        assert f"node 1: link to node 2 at {HOST}:{port} is up" in caplog.messages

    with_net(body)

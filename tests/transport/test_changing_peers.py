"""Peers that come, move and go while the transport runs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from raftkv.raft.types import Heartbeat
from raftkv.transport import NO_MEMBER, OTHER, REMOVED, Address, Refusal, Refused
from tests.transport.conftest import WithNet
from tests.transport.loopback import HOST, Net, Node, eventually


def heartbeat(*, sender: int, to: int) -> Heartbeat:
    return Heartbeat(term=1, sender=sender, to=to, leader_commit=0, round=1)


def send(node: Node, to: int) -> None:
    node.transport.send(to, 0, [heartbeat(sender=node.transport.node_id, to=to)])
    node.transport.flush()


def welcome_all(_node_id: int) -> Refusal | None:
    return None


def others(net: Net, node_id: int) -> dict[int, Address]:
    return {peer: at for peer, at in net.addresses.items() if peer != node_id}


def test_an_added_peer_is_dialed_and_let_in_while_the_others_links_stay(with_net: WithNet) -> None:
    """thesis §4.1: a server is added while the cluster runs."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        oks = first.transport.status(2).conn_oks
        await net.listen(3)
        third = net.start(3)
        for node_id, node in ((1, first), (2, second)):
            node.transport.set_peers(others(net, node_id))
        await eventually(lambda: all(third.transport.is_connected(peer) for peer in (1, 2)))
        await eventually(lambda: first.transport.is_connected(3) and second.transport.is_connected(3))
        send(first, 3)
        send(third, 1)
        await eventually(lambda: third.messages and first.messages)
        assert first.transport.status(2).conn_oks == oks
        assert first.transport.status(2).conn_errors == 0

    with_net(body)


def test_a_removed_peer_gets_what_was_sent_before_and_nothing_later(with_net: WithNet) -> None:
    """Its last message may be the one that removes it; nobody waits until it has left."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        first.transport.send(2, 0, [heartbeat(sender=1, to=2)])
        first.transport.set_peers({})
        assert not first.transport.is_connected(2)
        send(first, 2)
        assert first.transport.dropped_without_peer == 1
        status = first.transport.status(2)
        assert (status.is_connected, status.last_error, status.queued_bytes) == (False, "no peer", 0)
        await eventually(lambda: second.messages)
        await eventually(lambda: not first.transport._closing)
        assert len(second.messages) == 1
        await eventually(lambda: not list(second.transport._listener.peer_channels()))

    with_net(body)


def test_a_peer_that_moved_is_dialed_at_its_new_address(with_net: WithNet) -> None:
    """A machine was replaced, its data directory kept."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        await second.transport.close()
        moved = await net.listen(2)
        first.transport.set_peers(others(net, 1))
        net.start(2)
        await eventually(lambda: first.transport.is_connected(2))
        send(first, 2)
        await eventually(lambda: moved.messages)

    with_net(body)


def test_peers_may_change_before_the_start(with_net: WithNet) -> None:
    """The list in the data directory may be newer than the configured one."""

    async def body(net: Net) -> None:
        for node_id in (1, 2):
            await net.listen(node_id)
        first, _ = net.nodes[1], net.start(2)
        first.transport.set_peers({2: net.addresses[2]})
        assert first.transport.status(2).last_error == "not started"
        send(first, 2)
        net.start(1)
        await eventually(lambda: first.transport.is_connected(2))

    with_net(body)


def test_a_peer_added_and_removed_many_times_leaves_nothing_behind(with_net: WithNet) -> None:
    """Links that were let go end, whatever state they were in."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        for turns in range(40):
            first.transport.set_peers({})
            for _ in range(turns % 7):
                await asyncio.sleep(0)
            first.transport.set_peers(others(net, 1))
        await eventually(lambda: first.transport.is_connected(2) and not first.transport._closing)
        send(first, 2)
        await eventually(lambda: second.messages)
        links = [task for task in asyncio.all_tasks() if "link to node" in task.get_name()]
        assert len(links) == 6

    with_net(body)


def test_a_dialer_that_nobody_knows_yet_says_where_it_can_be_dialed_back(with_net: WithNet) -> None:
    """A follower may hear of a member from the member itself, before its log tells."""

    async def body(net: Net) -> None:
        first = await net.listen(1, welcomes=welcome_all)
        net.start(1, peers={})
        await net.listen(2)
        second = net.start(2)
        await eventually(lambda: second.transport.is_connected(1))
        assert set(first.told) == {(2, net.addresses[2])}
        first.transport.set_peers(dict(first.told))
        await eventually(lambda: first.transport.is_connected(2))
        send(first, 2)
        send(second, 1)
        await eventually(lambda: first.messages and second.messages)

    with_net(body)


def test_an_address_that_is_known_is_no_news(with_net: WithNet) -> None:
    """Every link says it, at every start."""

    async def body(net: Net) -> None:
        first, second = await net.pair()
        assert first.told == second.told == []

    with_net(body)


def test_the_owner_may_take_the_news_in_at_once(with_net: WithNet) -> None:
    """`set_peers` is called from within `on_peer_address`, to add the dialer or to turn it away."""

    async def body(net: Net) -> None:
        first = await net.listen(1, welcomes=welcome_all)
        first.transport._on_peer_address = lambda node_id, at: first.transport.set_peers({node_id: at})
        net.start(1, peers={})
        await net.listen(2)
        second = net.start(2)
        await eventually(lambda: second.transport.is_connected(1) and first.transport.is_connected(2))
        # And now the opposite: whoever brings news is removed by them.
        third = await net.listen(3)
        removed: set[int] = set()
        first.transport._listener.welcomer.welcomes = (  # type: ignore[union-attr]
            lambda node_id: Refusal("gone", REMOVED) if node_id in removed else None
        )

        def remove(node_id: int, _at: Address) -> None:
            removed.add(node_id)
            first.transport.set_peers({2: net.addresses[2]})

        first.transport._on_peer_address = remove
        net.start(3, peers={1: net.addresses[1]})
        await eventually(lambda: (1, REMOVED, "gone") in third.refusals)
        assert {node_id for node_id, _ in first.transport._listener.peer_channels()} == {2}

    with_net(body)


def test_a_removed_node_is_cut_off_and_learns_why(
    with_net: WithNet, caplog: pytest.LogCaptureFixture
) -> None:
    """A code that a program may act on; an unknown node gets another one."""
    removed: set[int] = set()

    def welcomes(node_id: int) -> Refusal | None:
        if node_id in removed:
            return Refusal(f"node {node_id} was removed from the cluster", REMOVED)
        return None if node_id == 2 else Refusal(f"node {node_id} is unknown", NO_MEMBER)

    async def body(net: Net) -> None:
        removed.clear()
        first = await net.listen(1, welcomes=welcomes)
        second = await net.listen(2)
        net.start(1)
        net.start(2)
        await eventually(lambda: second.transport.is_connected(1) and first.transport.is_connected(2))
        assert second.refusals == []
        removed.add(2)
        first.transport.set_peers({})
        await eventually(lambda: second.refusals)
        assert set(second.refusals) == {(1, REMOVED, "node 2 was removed from the cluster")}
        await eventually(lambda: "was removed" in second.transport.status(1).last_error)
        third = await net.listen(3)
        net.start(3, peers={1: net.addresses[1]})
        await eventually(lambda: (1, NO_MEMBER, "node 3 is unknown") in third.refusals)

    with_net(body)
    assert any("closed: node 2 was removed from the cluster" in text for text in caplog.messages)


def test_a_node_of_another_cluster_never_hears_that_it_was_removed(with_net: WithNet) -> None:
    """Its directory would be taken for worthless by mistake."""

    async def body(net: Net) -> None:
        await net.listen(1, welcomes=lambda _node_id: Refusal("removed", REMOVED))
        second = await net.listen(2)
        net.start(1, cluster_id=b"x" * 16)
        net.start(2)
        await eventually(lambda: second.refusals)
        assert {code for _, code, _ in second.refusals} == {OTHER}

    with_net(body)


def test_any_address_may_be_asked_any_kind_of_question(with_net: WithNet) -> None:
    """Who wants to join knows one address, and no node's id."""

    async def body(net: Net) -> None:
        first, second = await net.listen(1), await net.listen(2)
        second.transport.answer_questions(7, lambda question: question[::-1])
        assert await first.transport.ask_address(net.addresses[2], b"abc", kind=7) == b"cba"
        with pytest.raises(Refused, match=r"not ready to speak .* \(question kind 8\)") as caught:
            await first.transport.ask_address(net.addresses[2], b"abc", kind=8)
        assert caught.value.refusal is not None
        assert caught.value.refusal.code is OTHER
        with pytest.raises(ConnectionRefusedError):
            await first.transport.ask_address((HOST, 1), b"abc", kind=7)

    with_net(body)


@pytest.mark.parametrize("nowhere", [("a" * 200, 7), (HOST, 65_536), (HOST, -1)])
def test_what_can_be_no_address_is_like_any_other_that_leads_nowhere(
    with_net: WithNet, caplog: pytest.LogCaptureFixture, nowhere: Address
) -> None:
    """A peer may have announced it, or an invitation; what resolvers raise for it is no OSError."""
    caplog.set_level(logging.WARNING)

    async def body(net: Net) -> None:
        first, _ = await net.pair()
        with pytest.raises(OSError, match=r"no address|not known|too long|refused"):
            await first.transport.ask_address(nowhere, b"?")
        with pytest.raises(OSError, match=r"no address|not known"):
            await first.transport.ask_address(("a\0b", 7), b"?")
        first.transport.set_peers({2: net.addresses[2], 3: nowhere})
        await eventually(lambda: first.transport.status(3).conn_errors > 2)
        assert first.transport.is_connected(2)

    with_net(body)

"""Socket options arrive at the sockets, whatever the loop."""

from __future__ import annotations

import socket

from raftkv.transport.link import Link
from tests.transport.conftest import WithNet
from tests.transport.loopback import Net, eventually


def options(link: Link) -> list[int]:
    assert link._dialed is not None
    assert link._dialed._transport is not None
    sock = link._dialed._transport.get_extra_info("socket")
    return [
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    ]


def test_links_send_at_once_and_notice_a_dead_peer(with_net: WithNet) -> None:
    """tcp(7): TCP_NODELAY, TCP_USER_TIMEOUT; socket(7): SO_KEEPALIVE."""

    async def body(net: Net) -> None:
        first, _ = await net.pair(unacked_ms_max=1234)
        links = first.transport._linked[2]._links
        await eventually(lambda: all(link.is_up for link in links))
        for link in links:
            assert options(link) == [1, 1, 1234]

    with_net(body)

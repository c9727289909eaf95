"""What a member answers to who wants to join, whoever that is.

Source: `raftkv.node.admission`; DESIGN.md, "Storage": who lost its directory must not pass for itself.
"""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from raftkv.node.admission import Admitted, Elsewhere, Join, Later, Never, decode_answer
from raftkv.raft import ProtocolError
from raftkv.transport import Address, RefusalCode
from tests.node.driven_cluster import Cluster, three_nodes

NONCE = b"of a newcomer..."


def told_cluster() -> Cluster:
    """Three nodes, of which the first leads, whose addresses are in the log."""
    cluster = three_nodes()
    cluster.tell_addresses()
    return cluster


def join(**changes: object) -> Join:
    fields = {"nonce": NONCE, "host": "h", "port": 7004, "peer_host": "h", "peer_port": 17004, "password": ""}
    return Join(**{**fields, **changes})  # type: ignore[arg-type]  # some are to be wrong


def answer_at(cluster: Cluster, node_id: int, question: Join) -> Admitted | Elsewhere | Later | Never:
    return decode_answer(cluster[node_id].admission.on_question(msgspec.msgpack.encode(question)))


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": b""},
        {"nonce": b"short"},
        {"host": ""},
        {"host": "h" * 256},
        {"peer_host": "a\nb"},
        {"port": 0},
        {"peer_port": 65536},
        {"peer_port": "text"},
    ],
    ids=str,
)
def test_what_no_newcomer_says_closes_its_connection(changes: dict[str, object]) -> None:
    """An empty nonce is what the log has of founders that others told of: it must not be taken for theirs."""
    cluster = told_cluster()
    with pytest.raises(ProtocolError, match="who wants to join"):
        answer_at(cluster, 1, join(**changes))
    assert cluster[1].core.membership.learners == ()


def test_a_newcomer_that_asks_again_is_the_same_one() -> None:
    """Its nonce tells: it is admitted once, under one id, with what it needs to find the others."""
    cluster = told_cluster()
    assert isinstance(answer_at(cluster, 1, join()), Later)
    assert isinstance(answer_at(cluster, 1, join()), Later)
    cluster.run_until(lambda: 4 in cluster[1].core.committed_membership.member_ids)
    admitted = answer_at(cluster, 1, join())
    assert isinstance(admitted, Admitted)
    assert (admitted.node_id, len(admitted.members)) == (4, 4)
    assert cluster[1].core.membership.newest_id == 4


def test_who_does_not_lead_says_who_does() -> None:
    cluster = told_cluster()
    assert answer_at(cluster, 2, join()) == Elsewhere("127.0.0.1", 17001)


def test_another_change_is_waited_for_and_a_wrong_one_is_refused_for_good() -> None:
    """Later: ask again. Never: the process ends with the reason."""
    cluster = told_cluster()
    assert answer_at(cluster, 1, join(takes_place_of=9)) == Never("node 9 is no voter that could be replaced")
    cluster.isolate(1)
    assert isinstance(answer_at(cluster, 1, join()), Later)
    assert answer_at(cluster, 1, join(nonce=NONCE[::-1])) == Later(
        "another change of the membership is under way"
    )


def test_the_password_is_the_clusters() -> None:
    """requirepass; the peer port asks for none, but who is taken in gets all data."""
    cluster = told_cluster()
    cluster[1].set(requirepass="secret")
    for password in ("wrong", ""):
        assert isinstance(answer_at(cluster, 1, join(password=password)), Never)
    assert isinstance(answer_at(cluster, 1, join(password="secret")), Later)


def test_a_password_that_was_changed_counts_at_once() -> None:
    """CONFIG SET requirepass: the old one lets nobody in any more, who has the new one is not sent away."""
    cluster = told_cluster()
    assert cluster[1].ask("CONFIG SET requirepass new") == [b"OK"]
    assert isinstance(answer_at(cluster, 1, join(password="")), Never)
    assert isinstance(answer_at(cluster, 1, join(password="new")), Later)


def test_nobody_is_taken_in_before_the_members_addresses_are_told() -> None:
    """What it is given to find the others is in the log."""
    cluster = three_nodes()
    expected = Later("the members' addresses are being written to the log")
    assert answer_at(cluster, 1, join()) == expected
    assert cluster[1].core.membership.learners == ()


def test_answers_are_remembered_for_so_many_newcomers() -> None:
    """Whoever asks under ever new nonces takes no more room than that."""
    cluster = told_cluster()
    nonces = [number.to_bytes(len(NONCE), "big") for number in range(65)]
    for nonce in nonces:
        answer_at(cluster, 2, join(nonce=nonce))
    remembered = [nonce for nonce in nonces if cluster[2].admission.last_answer(nonce) is not None]
    assert remembered == nonces[1:]


def test_only_who_is_told_that_it_was_removed_keeps_quiet() -> None:
    """Other refusals pass: a peer that has yet to learn of this node, say."""
    told: list[dict[int, Address]] = []
    cluster = told_cluster()
    admission = cluster[2].admission
    admission._peers = SimpleNamespace(set_peers=told.append)  # type: ignore[assignment]
    admission.on_refused(1, RefusalCode.NO_MEMBER, "node 2 is no member")
    assert (admission.is_removed, told) == (False, [])
    admission.on_refused(1, RefusalCode.REMOVED, "node 2 was removed from the cluster")
    assert (admission.is_removed, told) == (True, [{}])

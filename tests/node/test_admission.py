"""What a member answers to who wants to join, whoever that is.

Source: `raftkv.node.admission`; DESIGN.md, "Storage": who lost its directory must not pass for itself.
"""

from __future__ import annotations

import msgspec
import pytest

from raftkv.node.admission import Admitted, Elsewhere, Join, Later, Never, decode_answer
from raftkv.raft import ProtocolError
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
    assert isinstance(answer_at(cluster, 1, join(password="wrong")), Never)
    assert isinstance(answer_at(cluster, 1, join(password="secret")), Later)


def test_a_password_that_was_changed_counts_at_once() -> None:
    """CONFIG SET requirepass: the old one lets nobody in any more, who has the new one is not sent away."""
    cluster = told_cluster()
    assert cluster[1].ask("CONFIG SET requirepass new") == [b"OK"]
    assert isinstance(answer_at(cluster, 1, join(password="")), Never)
    assert isinstance(answer_at(cluster, 1, join(password="new")), Later)

"""How empty nodes found a cluster together: the decision alone, a function of what is known.

Knows nothing of sockets, files and time; `bootstrap` brings the reports and saves what is decided.
A node takes three steps, each saved before anybody hears of it:

    nonce    ->  agreed to the nonces of all members  ->  formed (the cluster id)

Why there is a step between: without it, three empty nodes 1, 2, 3 with nonces a, b, c could do this:

    1. All have reported. 3 forms the cluster of {a, b, c} and is cut off.
    2. Node 1 crashes before it forms, loses its directory, and comes back with nonce d.
    3. 2 has heard d from 1, and from 3 only the older report. It forms the cluster of {d, b, c}.

Two clusters of the same members, and each may take data. With the step, 3 forms only once 1 and 2
have saved that they agree to {a, b, c}, and a directory agrees once in its life.

Directories may hold data before: the state of a backup, the same in all of them or there is no cluster.

Invariants: a directory agrees to at most one set of nonces; a cluster is formed only of nonces whose
directories have all agreed to just that set. So no directory belongs to two clusters, and two formed
directories of the same members never differ in their cluster, however late reports arrive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from raftkv.node.questions import said_in
from raftkv.raft.types import ProtocolError
from raftkv.storage import Identity
from raftkv.storage.manifest import DIGEST_BYTES

CLUSTER_ID_BYTES: Final = 16
NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until more is known."""

    reason: str


@dataclass(frozen=True, slots=True)
class Agree:
    """Save `agreed`, then report it."""

    agreed: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Form:
    """Save `cluster_id`: all members have agreed."""

    cluster_id: bytes


@dataclass(frozen=True, slots=True)
class JoinFormation:
    """Save `cluster_id`: a peer has formed the cluster that this directory agreed to."""

    cluster_id: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """This directory can't take part; somebody must act. Neither vote nor campaign meanwhile."""

    reason: str


Decision = Wait | Agree | Form | JoinFormation | Refused

_decoder = msgspec.msgpack.Decoder(Identity)


def encode_report(identity: Identity) -> bytes:
    """Make the body of a bootstrap question or answer."""
    return msgspec.msgpack.encode(identity)


def decode_report(body: bytes) -> Identity:
    """Read the body of a bootstrap question or answer. Raises ProtocolError."""
    report = said_in(_decoder, body, what="bootstrap report")
    if any(node_id < 1 for node_id in [report.node_id, *dict(report.members), *dict(report.agreed)]):
        raise ProtocolError("a bootstrap report with a node id below 1")
    nonces = [report.nonce, *(nonce for _, nonce in report.agreed)]
    if any(len(nonce) != NONCE_BYTES for nonce in nonces):
        raise ProtocolError("a bootstrap report with a nonce of a wrong length")
    if len(report.restored) not in (0, DIGEST_BYTES):
        raise ProtocolError("a bootstrap report with a wrong name of a backup")
    if report.cluster_id is not None and len(report.cluster_id) != CLUSTER_ID_BYTES:
        raise ProtocolError("a bootstrap report with a cluster id of a wrong length")
    return report


def cluster_id_of(agreed: tuple[tuple[int, bytes], ...]) -> bytes:
    """Name the cluster that these directories form."""
    digest = hashlib.blake2b(digest_size=CLUSTER_ID_BYTES)
    for node_id, nonce in agreed:
        digest.update(node_id.to_bytes(8, "big") + nonce)
    return digest.digest()


def decide(own: Identity, reports: Mapping[int, Identity]) -> Decision:
    """Say what the unformed directory `own` does next, given its peers' newest reports."""
    assert own.cluster_id is None, "a formed directory has nothing to decide"
    peers = [node_id for node_id, _ in own.members if node_id != own.node_id]
    known = [reports[node_id] for node_id in peers if node_id in reports]
    if own.agreed and [node_id for node_id, _ in own.agreed] != [node_id for node_id, _ in own.members]:
        return Refused("the list of members was changed while the cluster was being formed; change it back")
    formed = [report for report in known if report.cluster_id is not None]
    if formed:
        return _decide_beside_formed(own, formed)
    for report in known:
        if report.members != own.members:
            return Refused(_other_members(own, report))
    for report in known:
        if report.restored != own.restored:
            return Refused(_other_data(own, report))
    missing = [node_id for node_id in peers if node_id not in reports]
    if missing:
        return Wait(f"no report from {_names(missing)} yet")
    return _decide_among_unformed(own, known)


def _decide_beside_formed(own: Identity, formed: list[Identity]) -> Decision:
    """A peer's cluster exists: it is the one that this directory agreed to, or closed to it."""
    for report in formed:
        cluster_id = cluster_id_of(report.agreed)
        if own.agreed and report.agreed == own.agreed and report.cluster_id == cluster_id:
            return JoinFormation(cluster_id)
    cluster_ids = {report.cluster_id.hex() for report in formed if report.cluster_id is not None}
    return Refused(
        f"{_names([report.node_id for report in formed])} formed cluster {', '.join(sorted(cluster_ids))}"
        f" without this data directory; to rejoin, stop node {own.node_id} and put its own directory back:"
        f" an empty one has forgotten what it voted for and acknowledged"
    )


def _decide_among_unformed(own: Identity, peers: list[Identity]) -> Decision:
    """Everybody has reported, nobody has formed."""
    nonces = tuple(sorted((report.node_id, report.nonce) for report in [own, *peers]))
    for report in [own, *peers]:
        lost = [node_id for node_id, nonce in report.agreed if (node_id, nonce) not in nonces]
        if lost or (report.agreed and report.agreed != nonces):
            return Refused(
                f"the data directory of {_names(lost or [report.node_id])} was replaced while the cluster"
                f" was being formed; if no node has ever served, empty the directories of all members"
                f" and start them again"
            )
    if not own.agreed:
        return Agree(nonces)
    hesitant = [report.node_id for report in peers if not report.agreed]
    if hesitant:
        return Wait(f"{_names(hesitant)} yet to agree")
    return Form(cluster_id_of(nonces))


def _other_members(own: Identity, report: Identity) -> str:
    differing = sorted(set(own.members) ^ set(report.members))
    node_id, address = differing[0] if differing else (report.node_id, "")
    holder = own if (node_id, address) in own.members else report
    return (
        f"node {report.node_id} has another list of members than node {own.node_id}:"
        f" only node {holder.node_id} lists node {node_id} at {address!r}; every member needs the same list"
    )


def _other_data(own: Identity, report: Identity) -> str:
    has, lacks = (own, report) if own.restored else (report, own)
    other = f"another one, {lacks.restored.hex()}" if lacks.restored else "none"
    return (
        f"node {has.node_id}'s data directory was restored from the backup {has.restored.hex()}, and node"
        f" {lacks.node_id}'s from {other}; restore the same backup for every founder, in an empty directory"
    )


def _names(node_ids: list[int]) -> str:
    plural = "s" if len(node_ids) > 1 else ""
    return f"node{plural} {', '.join(map(str, node_ids))}"

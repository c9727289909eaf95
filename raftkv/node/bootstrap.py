"""Brings the nodes of a new cluster together, before any Raft core runs.

The thin driver of `formation`: asks every peer over the peer port, answers when asked, saves what
was decided before it tells anybody, and says in the log what it waits for. A formed node answers
for good, so that a member that crashed half-way can finish, and an emptied one learns why it can't.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from raftkv.node.formation import (
    NONCE_BYTES,
    Agree,
    Decision,
    Form,
    JoinFormation,
    Refused,
    Wait,
    decide,
    decode_report,
    encode_report,
)
from raftkv.raft.types import ProtocolError
from raftkv.storage import Identity
from raftkv.transport import Refused as RefusedByPeer
from raftkv.transport import failure_text

log = logging.getLogger(__name__)

OnQuestion = Callable[[bytes], bytes]


class BootstrapPort(Protocol):
    """What is needed of `Transport`, which listens already."""

    def answer_bootstrap(self, on_bootstrap: OnQuestion) -> None:
        """Answer questions with this function from now on."""

    async def ask(self, node_id: int, question: bytes) -> bytes:
        """Ask one peer. Raises OSError, RefusedByPeer or ProtocolError."""


class IdentityStore(Protocol):
    """What is needed of `DataDir`."""

    @property
    def path(self) -> Path:
        """Where it is, for messages."""

    @property
    def identity(self) -> Identity | None:
        """What was saved last; None in a new directory."""

    def save_identity(self, identity: Identity) -> None:
        """Make it durable before returning. Raises StorageFailure; the node stops then."""


@dataclass(frozen=True, slots=True)
class BootstrapTiming:
    """How often is asked and logged."""

    #: Between two questions to a peer, doubling from one to the other while nothing changes.
    ask_min_ms: int = 50
    ask_max_ms: int = 1000
    #: Between two log lines, doubling from one to the other. The first line waits half the minimum.
    log_min_ms: int = 2000
    log_max_ms: int = 60_000


def answers_of_formed(identity: Identity) -> OnQuestion:
    """Give the function with which a formed node answers bootstrap questions for good."""
    assert identity.cluster_id is not None, "only a formed node answers like this"
    answer = encode_report(identity)

    def on_question(question: bytes) -> bytes:
        decode_report(question)
        return answer

    return on_question


def open_identity(
    store: IdentityStore, *, node_id: int, members: tuple[tuple[int, str], ...], nonce: bytes
) -> Identity:
    """Give the identity in the directory, made of the arguments if it is new, with today's addresses.

    A directory whose cluster was founded by others than are configured is left as it is.
    """
    identity = store.identity
    if identity is None:
        assert len(nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes"
        identity = Identity(node_id, members, nonce)
    elif identity.members == members:
        return identity
    elif identity.cluster_id is not None and _ids(identity.members) != _ids(members):
        # The log knows who is a member by now; who founded the cluster stays as it was.
        log.info(
            "node %d: the configuration lists the members %s; the cluster was founded by %s, and its log"
            " says who its members are",
            node_id,
            _ids(members),
            _ids(identity.members),
        )
        return identity
    else:
        identity = replace(identity, members=members)
    store.save_identity(identity)
    return identity


async def form_cluster(
    store: IdentityStore,
    port: BootstrapPort,
    *,
    node_id: int,
    members: tuple[tuple[int, str], ...],
    nonce: bytes,
    random: random.Random,
    timing: BootstrapTiming | None = None,
) -> bytes:
    """Form the cluster or wait for it, as long as it takes; give its id, which is saved by then.

    `members`: (node id, "host:peer port") of all, by id, the same on each. `nonce`: 16 unpredictable
    bytes, used if the directory is new. Returns at once if the directory is formed. Afterwards `port`
    answers as a formed node. Raises DataDirRefused (other members), StorageFailure.
    """
    identity = open_identity(store, node_id=node_id, members=members, nonce=nonce)
    if identity.cluster_id is None:
        bootstrap = _Bootstrap(store, identity, port, random, timing or BootstrapTiming())
        identity = await bootstrap.run()
    assert identity.cluster_id is not None, "the cluster is formed"
    port.answer_bootstrap(answers_of_formed(identity))
    return identity.cluster_id


def _ids(pairs: tuple[tuple[int, str], ...]) -> str:
    return ", ".join(str(node_id) for node_id, _ in pairs)


class _Bootstrap:
    """One attempt to get formed; owns the reports."""

    def __init__(
        self,
        store: IdentityStore,
        own: Identity,
        port: BootstrapPort,
        random: random.Random,
        timing: BootstrapTiming,
    ) -> None:
        self._store = store
        #: What was saved last; peers never hear anything newer.
        self._own = own
        self._port = port
        self._random = random
        self._timing = timing
        self._node_id = own.node_id
        self._addresses = {peer: at for peer, at in own.members if peer != self._node_id}
        #: The newest report of each peer.
        self._reports: dict[int, Identity] = {}
        #: Why a peer's report is missing or may be old.
        self._failures: dict[int, str] = {}
        #: Set when a report says something new.
        self._news = asyncio.Event()
        #: Per peer: ask it now.
        self._hurry = {peer: asyncio.Event() for peer in self._addresses}

    async def run(self) -> Identity:
        """Return the identity once it is formed."""
        self._port.answer_bootstrap(self._on_question)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._ask_again_and_again(peer)) for peer in self._addresses]
        tasks.append(loop.create_task(self._log_again_and_again()))
        try:
            while self._own.cluster_id is None:
                if not self._act_on(decide(self._own, self._reports)):
                    await self._news.wait()
                    self._news.clear()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._own

    def _act_on(self, decision: Decision) -> bool:
        """Save the next step, if there is one, and say so."""
        if isinstance(decision, Agree):
            self._save(replace(self._own, agreed=decision.agreed))
            log.info("node %d: all members have reported, agreed to form a cluster", self._node_id)
            return True
        if isinstance(decision, (Form, JoinFormation)):
            self._save(replace(self._own, cluster_id=decision.cluster_id))
            log.info("node %d: cluster %s is formed", self._node_id, decision.cluster_id.hex())
            return True
        return False

    def _save(self, identity: Identity) -> None:
        self._store.save_identity(identity)
        self._own = identity
        for hurry in self._hurry.values():
            hurry.set()

    def _on_question(self, question: bytes) -> bytes:
        """A peer reports by asking."""
        self._on_report(decode_report(question))
        return encode_report(self._own)

    def _on_report(self, report: Identity) -> None:
        peer = report.node_id
        if peer not in self._addresses or self._reports.get(peer) == report:
            return
        self._reports[peer] = report
        self._news.set()
        self._hurry[peer].set()

    async def _ask_again_and_again(self, peer: int) -> None:
        pause_ms = self._timing.ask_min_ms
        while True:
            self._hurry[peer].clear()
            self._failures[peer] = await self._ask(peer)
            pause_s = pause_ms * self._random.uniform(0.5, 1.0) / 1000
            try:
                async with asyncio.timeout(pause_s):
                    await self._hurry[peer].wait()
                pause_ms = self._timing.ask_min_ms
            except TimeoutError:
                pause_ms = min(2 * pause_ms, self._timing.ask_max_ms)

    async def _ask(self, peer: int) -> str:
        """Ask one peer; give what went wrong, or nothing."""
        try:
            report = decode_report(await self._port.ask(peer, encode_report(self._own)))
        except OSError as error:
            return failure_text(error)
        except (RefusedByPeer, ProtocolError) as error:
            return str(error)
        if report.node_id != peer:
            return f"node {report.node_id} answers at its address"
        self._on_report(report)
        return ""

    async def _log_again_and_again(self) -> None:
        """Say what is waited for: less and less often, but never never."""
        pause_ms = self._timing.log_min_ms
        await asyncio.sleep(pause_ms / 2000)
        while True:
            self._log_state()
            await asyncio.sleep(pause_ms / 1000)
            pause_ms = min(2 * pause_ms, self._timing.log_max_ms)

    def _log_state(self) -> None:
        decision = decide(self._own, self._reports)
        if not isinstance(decision, Refused | Wait):
            return
        level = logging.WARNING if isinstance(decision, Refused) else logging.INFO
        failures = "".join(
            f"; node {peer} at {self._addresses[peer]}: {failure}"
            for peer, failure in sorted(self._failures.items())
            if failure
        )
        log.log(level, "node %d: no cluster yet: %s%s", self._node_id, decision.reason, failures)

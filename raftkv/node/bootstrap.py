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
from dataclasses import dataclass
from typing import Protocol

import msgspec

from raftkv.node.formation import (
    Agree,
    Decision,
    Form,
    Founding,
    JoinFormation,
    Refused,
    Wait,
    decide,
    decode_report,
    encode_report,
)
from raftkv.raft.types import ProtocolError
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


class FoundingStore(Protocol):
    """What is needed of the data directory."""

    @property
    def founding(self) -> Founding:
        """What was saved last. A new directory has saved its nonce already."""

    def save_founding(self, founding: Founding) -> None:
        """Make it durable before returning. Raises what the storage raises; the node stops then."""


@dataclass(frozen=True, slots=True)
class BootstrapTiming:
    """How often is asked and logged."""

    #: Between two questions to a peer, doubling from one to the other while nothing changes.
    ask_min_ms: int = 50
    ask_max_ms: int = 1000
    #: Between two log lines, doubling from one to the other. The first line waits half the minimum.
    log_min_ms: int = 2000
    log_max_ms: int = 60_000


def answers_of_formed(founding: Founding) -> OnQuestion:
    """Give the function with which a formed node answers bootstrap questions for good."""
    assert founding.cluster_id is not None, "only a formed node answers like this"
    answer = encode_report(founding)

    def on_question(question: bytes) -> bytes:
        decode_report(question)
        return answer

    return on_question


async def form_cluster(
    store: FoundingStore,
    port: BootstrapPort,
    *,
    random: random.Random,
    timing: BootstrapTiming | None = None,
) -> Founding:
    """Form the cluster or wait for it, as long as it takes; give the formed state, which is saved.

    Returns at once if the directory is formed already. Afterwards `port` answers as a formed node.
    """
    if store.founding.cluster_id is None:
        await _Bootstrap(store, port, random, timing or BootstrapTiming()).run()
    founding = store.founding
    port.answer_bootstrap(answers_of_formed(founding))
    return founding


class _Bootstrap:
    """One attempt to get formed; owns the reports."""

    def __init__(
        self, store: FoundingStore, port: BootstrapPort, random: random.Random, timing: BootstrapTiming
    ) -> None:
        self._store = store
        self._port = port
        self._random = random
        self._timing = timing
        self._node_id = store.founding.node_id
        self._addresses = {peer: at for peer, at in store.founding.members if peer != self._node_id}
        #: The newest report of each peer.
        self._reports: dict[int, Founding] = {}
        #: Why a peer's report is missing or may be old.
        self._failures: dict[int, str] = {}
        #: Set when a report says something new.
        self._news = asyncio.Event()
        #: Per peer: ask it now.
        self._hurry = {peer: asyncio.Event() for peer in self._addresses}

    async def run(self) -> None:
        """Return once the directory is formed."""
        self._port.answer_bootstrap(self._on_question)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._ask_again_and_again(peer)) for peer in self._addresses]
        tasks.append(loop.create_task(self._log_again_and_again()))
        try:
            while self._store.founding.cluster_id is None:
                if not self._act_on(decide(self._store.founding, self._reports)):
                    await self._news.wait()
                    self._news.clear()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _act_on(self, decision: Decision) -> bool:
        """Save the next step, if there is one, and say so."""
        founding = self._store.founding
        if isinstance(decision, Agree):
            self._save(msgspec.structs.replace(founding, agreed=decision.agreed))
            log.info("node %d: all members have reported, agreed to form a cluster", self._node_id)
            return True
        if isinstance(decision, (Form, JoinFormation)):
            self._save(msgspec.structs.replace(founding, cluster_id=decision.cluster_id))
            log.info("node %d: cluster %s is formed", self._node_id, decision.cluster_id.hex())
            return True
        return False

    def _save(self, founding: Founding) -> None:
        self._store.save_founding(founding)
        for hurry in self._hurry.values():
            hurry.set()

    def _on_question(self, question: bytes) -> bytes:
        """A peer reports by asking."""
        self._on_report(decode_report(question))
        return encode_report(self._store.founding)

    def _on_report(self, report: Founding) -> None:
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
            report = decode_report(await self._port.ask(peer, encode_report(self._store.founding)))
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
        decision = decide(self._store.founding, self._reports)
        if not isinstance(decision, Refused | Wait):
            return
        level = logging.WARNING if isinstance(decision, Refused) else logging.INFO
        failures = "".join(
            f"; node {peer} at {self._addresses[peer]}: {failure}"
            for peer, failure in sorted(self._failures.items())
            if failure
        )
        log.log(level, "node %d: no cluster yet: %s%s", self._node_id, decision.reason, failures)

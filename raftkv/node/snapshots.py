"""Brings snapshots to followers that need one, and puts the one that comes here in place.

The driver of both ends of the transfer (`snapshot_sender`, `snapshot_receiver`): makes a snapshot when one is
wanted and removes it when nobody reads it any more. All disk work is on threads, but for the moment in which
a received snapshot takes the place of the state.

Invariant: while a snapshot is on its way, and until who received it has caught up, the log is not dropped
beyond what that follower has (`needed_index`), or it would need another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from raftkv.node.catching_up import CatchUps
from raftkv.node.clock import Clock
from raftkv.node.group import Group
from raftkv.node.incoming_files import IncomingFiles
from raftkv.node.snapshot_messages import Chunk, Offer, Refuse, decode
from raftkv.node.snapshot_receiver import SnapshotReceiver
from raftkv.node.snapshot_sender import EndedTransfer, Outcome, ReadOrder, SnapshotSender
from raftkv.node.snapshot_transfer import Send, TransferLimits, TransferProgress
from raftkv.raft import EntryId, ProtocolError
from raftkv.storage import (
    DataDir,
    GroupLog,
    KvStore,
    LogStore,
    Manifest,
    Snapshot,
    StorageFailure,
    make_snapshot,
)
from raftkv.storage.worker import Worker

log = logging.getLogger(__name__)

#: Seconds after a transfer that failed until the follower is looked at again.
_RETRY_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Source:
    """A snapshot as the sender wants it."""

    snapshot: Snapshot
    snapshot_id: bytes
    manifest: bytes
    bytes_total: int
    index: int
    sizes: dict[str, int]

    def size_of(self, name: str) -> int | None:
        return self.sizes.get(name)

    def read_chunk(self, name: str, offset: int, length: int) -> bytes:
        return self.snapshot.read(name, offset, length)


@dataclass(slots=True)
class SnapshotProgress:
    """What is under way, for status pages."""

    outgoing: list[TransferProgress]
    incoming: TransferProgress | None


class SnapshotExchange:
    """One group's snapshots, both ways; `attach`, then everything else."""

    def __init__(
        self,
        *,
        node_id: int,
        limits: TransferLimits,
        data_dir: DataDir,
        kv_store: KvStore,
        log_store: LogStore,
        group_log: GroupLog,
        clock: Clock,
        send: Send,
        outgoing: Worker,
        incoming: Worker,
        tell: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        """`outgoing` and `incoming` do the disk work; `tell` has something called on the loop."""
        self._data_dir = data_dir
        self._kv_store = kv_store
        self._log_store = log_store
        self._group_log = group_log
        self._clock = clock
        self._outgoing = outgoing
        self._incoming = incoming
        self._tell = tell
        self._call_later = call_later
        self._group: Group | None = None
        self._sender = SnapshotSender(
            node_id=node_id, limits=limits, send=send, wants_read=self._on_wants_read, on_end=self._on_end
        )
        self._files = IncomingFiles(
            worker=incoming,
            tell=tell,
            now_ns=clock.now_ns,
            incoming_path=data_dir.incoming_path,
            state_path=lambda: data_dir.state_path,
            is_news=lambda index: index > self._attached.commit_index,
        )
        self._receiver = SnapshotReceiver(
            limits=limits, send=send, files=self._files, on_complete=self._on_complete
        )
        self._files.answers = self._receiver
        self._source: _Source | None = None
        #: One is being made, of the state after this index or a later one; None: none is.
        self._made_from: int | None = None
        #: Followers that wait for a snapshot to be made.
        self._waiting: set[int] = set()
        self._catch_ups = CatchUps(abandon_ms=limits.abandon_ms)

    def attach(self, group: Group) -> None:
        """Serve this group from now on."""
        self._group = group

    @property
    def _attached(self) -> Group:
        assert self._group is not None, "a group was attached"
        return self._group

    @property
    def needed_index(self) -> int | None:
        """The log must keep what follows this index; None: no follower needs more than the usual tail."""
        sent_index = self._made_from if self._source is None else self._source.index
        needed = (sent_index, self._catch_ups.needed_index)
        return min((index for index in needed if index is not None), default=None)

    def progress(self) -> SnapshotProgress:
        """Look at what is under way."""
        return SnapshotProgress(self._sender.progress(), self._receiver.progress())

    def on_tick(self) -> None:
        """Let time pass."""
        now_ns = self._clock.now_ns()
        if not self._attached.is_leader and (self._waiting or self._source is not None):
            self._sender.withdraw_all()
            self._waiting.clear()
            self._maybe_remove()
        self._forget_leavers()
        self._see_who_caught_up(now_ns)
        self._sender.on_tick(now_ns)
        self._receiver.on_tick(now_ns)

    def _see_who_caught_up(self, now_ns: int) -> None:
        if not self._catch_ups:
            return
        if not self._attached.is_leader:
            self._catch_ups.clear()
            return
        peers = self._attached.core.status(now_ns).peers
        self._catch_ups.look({peer.node_id: peer.match_index for peer in peers}, now_ns)

    def _forget_leavers(self) -> None:
        """Send nothing more to who is no member any more."""
        if self._sender.is_idle:
            return
        peers = self._attached.core.peers
        for gone in [each.node_id for each in self._sender.progress() if each.node_id not in peers]:
            self._sender.withdraw(gone)
        self._maybe_remove()

    def on_frame(self, sender: int, body: bytes) -> None:
        """Take what a peer says of snapshots. Raises ProtocolError."""
        message = decode(body)
        if isinstance(message, Offer) and message.term < self._attached.core.current_term:
            return  # somebody else leads now, and will look whether one is needed
        if isinstance(message, Offer | Chunk | Refuse):
            self._receiver.on_message(sender, message, self._clock.now_ns())
        else:
            self._sender.on_message(sender, message, self._clock.now_ns())

    # -- to others --------------------------------------------------------------------------

    def send_to(self, node_id: int) -> None:
        """Bring a follower a snapshot: the one that is there, behind which the log goes on, or a new one."""
        if self._source is not None:
            self._offer(node_id, self._source)
            return
        self._waiting.add(node_id)
        if self._made_from is None:
            self._made_from = self._kv_store.applied.index
            log.info(
                "group %d: node %d needs a snapshot, one is being made", self._attached.group_id, node_id
            )
            self._outgoing.submit(
                lambda: make_snapshot(self._kv_store, self._data_dir.snapshots_path),
                lambda snapshot: self._tell(lambda: self._on_made(snapshot)),
            )

    def _on_made(self, snapshot: Snapshot) -> None:
        assert self._source is None, "one is made when there is none"
        self._made_from, manifest = None, snapshot.manifest
        self._source = source = _Source(
            snapshot,
            manifest.snapshot_id,
            manifest.encode(),
            manifest.size_bytes,
            manifest.index,
            {file.name: file.size_bytes for file in manifest.files},
        )
        waiting, self._waiting = self._waiting, set()
        for node_id in sorted(waiting):
            self._offer(node_id, source)
        self._maybe_remove()

    def _offer(self, node_id: int, source: _Source) -> None:
        group = self._attached
        if not group.is_leader:
            return
        log.info(
            "group %d: snapshot of index %d, %d MB, is offered to node %d",
            group.group_id,
            source.index,
            source.bytes_total >> 20,
            node_id,
        )
        self._sender.offer(node_id, source, term=group.core.current_term, now_ns=self._clock.now_ns())

    def _on_wants_read(self, order: ReadOrder) -> None:
        def read() -> bytes | None:
            try:
                return order.source.read_chunk(order.name, order.offset, order.length)
            except (StorageFailure, ProtocolError) as failure:
                log.warning("a snapshot can't be read: %s", failure)
                return None

        self._outgoing.submit(
            read, lambda data: self._tell(lambda: self._sender.on_read(order, data, self._clock.now_ns()))
        )

    def _on_end(self, ended: EndedTransfer) -> None:
        group, source = self._attached, self._source
        if ended.outcome is Outcome.DONE and source is not None and source.snapshot_id == ended.snapshot_id:
            log.info("group %d: node %d has the snapshot of index %d", group.group_id, ended.to, source.index)
            self._catch_ups.begin(
                ended.to,
                has_index=source.index,
                goal_index=group.commit_index,
                now_ns=self._clock.now_ns(),
            )
            group.on_snapshot_sent(ended.to, source.index)
        else:
            log.info(
                "group %d: no snapshot came to node %d: %s",
                group.group_id,
                ended.to,
                ended.reason or "replaced",
            )
            self._call_later(_RETRY_SECONDS, lambda: group.on_snapshot_sent(ended.to, 0))
        self._maybe_remove()

    def _maybe_remove(self) -> None:
        """Remove the snapshot once nobody is being sent it."""
        if self._source is not None and self._sender.is_idle and not self._waiting:
            source, self._source = self._source, None
            self._remove(source)

    def _remove(self, source: _Source) -> None:
        self._outgoing.submit(source.snapshot.remove, lambda _: None)

    # -- from others ------------------------------------------------------------------------

    def _on_complete(self, offer: Offer) -> None:
        manifest = Manifest.decode(offer.manifest)
        group = self._attached
        log.info(
            "group %d: snapshot of index %d, %d MB, is here whole",
            group.group_id,
            manifest.index,
            manifest.size_bytes >> 20,
        )
        if not group.offer_snapshot(manifest.entry_id, manifest.membership):
            unused = self._files.take()
            self._incoming.submit(unused.discard, lambda _: None)

    def install(self, entry_id: EntryId) -> None:
        """Put what was received in the place of the rows, then of the log; see `group.Snapshots`."""
        incoming = self._files.take()
        assert incoming.manifest.entry_id == entry_id, (
            f"{entry_id} is installed, {incoming.manifest.entry_id} is here"
        )
        self._log_store.sync()
        self._data_dir.install_state(incoming)
        close_old = self._kv_store.switch_to(self._data_dir.state_path)
        self._group_log.reset(entry_id)
        self._log_store.sync()

        def clear_away() -> None:
            close_old()
            self._data_dir.remove_old_states()

        self._incoming.submit(clear_away, lambda _: None)

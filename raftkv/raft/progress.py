"""What a leader knows of one follower's log, and how much it may send it (Raft §5.3, thesis §10.2.1).

Knows no messages and no terms; `replication` decides what to send.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum


class ProgressState(IntEnum):
    """How a follower is sent entries."""

    #: Where its log matches is unknown: one AppendEntries at a time.
    PROBE = 1
    #: It follows: AppendEntries are pipelined within the window.
    REPLICATE = 2
    #: It lacks entries that this log no longer holds: heartbeats alone, until it has a snapshot.
    SNAPSHOT = 3


PROBE = ProgressState.PROBE
REPLICATE = ProgressState.REPLICATE
SNAPSHOT = ProgressState.SNAPSHOT


class Inflights:
    """The AppendEntries that a follower has not answered, within a window."""

    __slots__ = ("_bytes_max", "_count_max", "_sent", "bytes")

    def __init__(self, *, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        #: (last index, payload bytes) of each, in the order of sending.
        self._sent: deque[tuple[int, int]] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be sent. The last one sent may have gone past the bytes."""
        return len(self._sent) >= self._count_max or self.bytes >= self._bytes_max

    def add(self, last_index: int, size_bytes: int) -> None:
        """Note an AppendEntries that ends with `last_index`."""
        self._sent.append((last_index, size_bytes))
        self.bytes += size_bytes

    def free_to(self, match_index: int) -> None:
        """Note that everything up to `match_index` is answered."""
        sent = self._sent
        while sent and sent[0][0] <= match_index:
            self.bytes -= sent.popleft()[1]

    def clear(self) -> None:
        """Forget all of them."""
        self._sent.clear()
        self.bytes = 0


@dataclass(slots=True)
class Progress:
    """One follower as its leader sees it, for one term."""

    node_id: int
    #: Invariant: match_index < next_index.
    next_index: int
    inflights: Inflights
    match_index: int = 0
    state: ProgressState = PROBE
    #: PROBE: an AppendEntries is under way.
    is_probing: bool = False
    #: When the oldest unanswered AppendEntries was sent, or the last one was answered.
    waiting_since_ns: int = 0
    #: When a message of this term last came from it; None: never.
    heard_ns: int | None = None
    #: The newest contact round that it acknowledged.
    acked_round: int = 0
    #: The commit index that it knows if nothing was lost.
    sent_commit: int = 0
    #: It is no member any more from this entry on, and is told so; 0: it is one.
    leaves_at_index: int = 0
    #: Forgotten from then on, whether it knows or not.
    leaves_by_ns: int = 0

    @property
    def has_room(self) -> bool:
        """Whether it may be sent an AppendEntries now."""
        if self.state is REPLICATE:
            return not self.inflights.is_full
        return self.state is PROBE and not self.is_probing

    def wants_append(self, last_index: int) -> bool:
        """Whether it is to be sent an AppendEntries now, by a log that ends at `last_index`.

        A probe behind the last entry carries none: after a snapshot of all that there is, nothing else may
        come for hours that would tell whether the follower has it.
        """
        is_unsure = self.state is PROBE and self.match_index < last_index
        return (self.next_index <= last_index or is_unsure) and self.has_room

    @property
    def is_waiting(self) -> bool:
        """Whether an AppendEntries is unanswered."""
        return self.is_probing or len(self.inflights) > 0

    def become_probe(self, next_index: int) -> None:
        """Look for the place where the logs match, from `next_index` downwards."""
        assert next_index > self.match_index, f"next {next_index}, match {self.match_index}"
        self.state = PROBE
        self.next_index = next_index
        self.is_probing = False
        self.inflights.clear()

    def become_replicate(self) -> None:
        """Pipeline from behind the match on."""
        self.state = REPLICATE
        self.next_index = self.match_index + 1
        self.is_probing = False
        self.inflights.clear()

    def become_snapshot(self) -> None:
        """Give up on AppendEntries until it has a snapshot: the log no longer holds what it needs."""
        self.state = SNAPSHOT
        self.is_probing = False
        self.inflights.clear()

    def has_left(self, now_ns: int) -> bool:
        """Whether it is no member and knows it, or was told for long enough."""
        if self.leaves_at_index == 0:
            return False
        is_told = min(self.match_index, self.sent_commit) >= self.leaves_at_index
        return is_told or now_ns >= self.leaves_by_ns

    def sent(self, last_index: int, size_bytes: int, now_ns: int) -> None:
        """Note an AppendEntries that ends with `last_index`."""
        if not self.is_waiting:
            self.waiting_since_ns = now_ns
        if self.state is REPLICATE:
            self.inflights.add(last_index, size_bytes)
            self.next_index = last_index + 1
        else:
            self.is_probing = True

    def maybe_match(self, match_index: int, now_ns: int) -> bool:
        """Note that the follower's log is known to match up to `match_index`; say if that is news.

        Even old news shows that the logs match, so a probe has found its place.
        """
        is_news = match_index > self.match_index
        if is_news:
            self.match_index = match_index
            self.next_index = max(self.next_index, match_index + 1)
            self.waiting_since_ns = now_ns
        self.inflights.free_to(match_index)
        if self.state is PROBE and match_index >= self.match_index:
            self.become_replicate()
        return is_news

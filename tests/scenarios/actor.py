"""One node of an `interaction` scenario: a core, its disk and its state machine, and what it says of itself.

The disk keeps what was synced; `crash` loses the rest. What is applied counts as durable at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from raftkv.raft import (
    MEMBERSHIP,
    Compacted,
    Entry,
    EntryId,
    HardState,
    Membership,
    Message,
    RaftConfig,
    RaftCore,
    Ready,
    decode_membership,
)
from tests.raft.nodes import NoChance
from tests.scenarios.words import entries_words, id_words, membership_words, read_words, role_words


class DiskLog:
    """A LogReader over a list that begins behind some entry."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.boundary = EntryId(0, 0)
        self.entries = list(entries)

    @property
    def first_index(self) -> int:
        return self.boundary.index + 1

    @property
    def last_index(self) -> int:
        return self.boundary.index + len(self.entries)

    def term_at(self, index: int) -> int:
        if index == self.boundary.index:
            return self.boundary.term
        if index < self.first_index:
            raise Compacted(self.first_index)
        return self.entries[index - self.first_index].term

    def read(self, first: int, end: int, bytes_max: int) -> list[Entry]:
        if first < self.first_index:
            raise Compacted(self.first_index)
        chosen = self.entries[first - self.first_index : end - self.first_index]
        size = 0
        for count, entry in enumerate(chosen):
            size += len(entry.payload)
            if count > 0 and size > bytes_max:
                return chosen[:count]
        return chosen

    def append(self, entries: list[Entry]) -> None:
        """Cut where the entries begin, and append them."""
        if entries:
            del self.entries[entries[0].index - self.first_index :]
            self.entries += entries

    def drop_to(self, index: int) -> None:
        """Drop everything up to `index`."""
        boundary = EntryId(self.term_at(index), index)
        del self.entries[: index - self.boundary.index]
        self.boundary = boundary

    def begin_behind(self, boundary: EntryId) -> None:
        """Drop everything; the next entry follows `boundary`."""
        self.boundary = boundary
        self.entries = []


@dataclass(slots=True)
class Write:
    """A Ready on its way to the disk, and the log as it is once it is there."""

    ready: Ready
    entries: list[Entry]


@dataclass(slots=True)
class StateAt:
    """A state machine: it knows only what it applied last, and who the members were."""

    entry_id: EntryId = field(default_factory=lambda: EntryId(0, 0))
    membership: Membership | None = None


class Actor:
    """One node; `log` and `durable_hard_state` outlive its core."""

    def __init__(self, config: RaftConfig, entries: Sequence[Entry] = (), *, term: int = 0) -> None:
        self.config = config
        self.log = DiskLog(entries)
        self.state = StateAt()
        self.is_slow = False
        self.received: StateAt | None = None
        self._hard_state = HardState(term)
        self._durable_entries = list(entries)
        self._writes: list[Write] = []
        self._shown: list[str] = []
        self.core: RaftCore | None = None

    @property
    def node_id(self) -> int:
        """Its id."""
        return self.config.node_id

    @property
    def running(self) -> RaftCore:
        """Its core; it must run."""
        assert self.core is not None, f"node {self.node_id} is down"
        return self.core

    # --- life -----------------------------------------------------------------------------------

    def start(self, now_ns: int) -> None:
        """Start from what is durable."""
        assert self.core is None, f"node {self.node_id} runs"
        self.core = RaftCore(
            self.config,
            self._hard_state,
            self.log,
            applied=self.state.entry_id,
            random=NoChance(),
            now_ns=now_ns,
            membership=self.state.membership,
        )
        self._shown = self._self_description()

    def crash(self) -> None:
        """Lose what was not synced."""
        self.core = None
        self._writes.clear()
        self.log.entries = list(self._durable_entries)

    def changes(self) -> list[str]:
        """Tell what changed of role, term, leader and members since it was asked last."""
        if self.core is None:
            return []
        now = self._self_description()
        lines = [f"{self.node_id} {new}" for old, new in zip(self._shown, now, strict=True) if old != new]
        self._shown = now
        return lines

    def _self_description(self) -> list[str]:
        core = self.running
        words = [f"is {role_words(core)}", f"counts {membership_words(core.membership)}"]
        words.append("knows that it was removed" if core.is_removed else "is a member")
        return words

    # --- Readys ---------------------------------------------------------------------------------

    def turn(self, lines: list[str]) -> list[Message]:
        """Carry one Ready out and say so; return what is to be sent."""
        ready = self.running.ready()
        sent: list[Message] = []
        if ready.snapshot is not None:
            sent += self.sync()
            self._install(ready.snapshot)
        self.log.append(ready.entries)
        lines += self._ready_words(ready)
        sent += ready.messages
        self._writes.append(Write(ready, list(self.log.entries)))
        if not self.is_slow:
            sent += self.sync()
        elif ready.hard_state is not None or ready.entries:
            lines.append(f"{self.node_id} has not synced that")
        self._apply(ready.committed_entries)
        return sent

    def sync(self, write_count: int | None = None) -> list[Message]:
        """Let the oldest writes, or all, reach the disk; return what may be sent then."""
        count = len(self._writes) if write_count is None else write_count
        finished, self._writes = self._writes[:count], self._writes[count:]
        sent = []
        for write in finished:
            ready = write.ready
            self._durable_entries = write.entries
            if ready.hard_state is not None:
                self._hard_state = ready.hard_state
                self.running.hard_state_persisted(ready.hard_state)
            if ready.entries:
                last = ready.entries[-1]
                self.running.persisted(EntryId(last.term, last.index))
            sent += ready.messages_after_persist
        return sent

    def compact(self, index: int) -> None:
        """Drop entries that are applied."""
        assert index <= self.state.entry_id.index, f"entry {index} isn't applied"
        assert not self._writes, "what is on its way to the disk is synced first"
        self.log.drop_to(index)
        self._durable_entries = list(self.log.entries)

    def _install(self, snapshot: EntryId) -> None:
        assert self.received is not None, "a core restores what was received"
        assert self.received.entry_id == snapshot, f"{self.received} was received, {snapshot} is restored"
        self.state = self.received
        self.log.begin_behind(snapshot)
        self._durable_entries = []

    def _apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            assert entry.index == self.state.entry_id.index + 1, f"{entry} after {self.state}"
            membership = self.state.membership
            if entry.kind is MEMBERSHIP:
                membership = decode_membership(entry.payload)
            self.state = StateAt(EntryId(entry.term, entry.index), membership)
        if entries:
            self.running.applied(entries[-1].index)

    def _ready_words(self, ready: Ready) -> list[str]:
        lines = []
        if ready.snapshot is not None:
            lines.append(f"restores the snapshot up to {id_words(ready.snapshot)}")
        if ready.hard_state is not None:
            vote = f", its vote for {ready.hard_state.voted_for}" if ready.hard_state.voted_for else ""
            lines.append(f"saves term {ready.hard_state.current_term}{vote}")
        if ready.entries:
            lines.append(f"writes {entries_words(ready.entries)}")
        if ready.committed_entries:
            lines.append(f"applies {entries_words(ready.committed_entries)}")
        lines += [read_words(each) for each in ready.read_states]
        lines += [f"is to propose {each.payload.decode()} of {each.sender}" for each in ready.forwards]
        lines += [f"wants a snapshot for {node_id}" for node_id in ready.snapshots_wanted]
        return [f"{self.node_id} {line}" for line in lines]

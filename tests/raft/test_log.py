"""Rules of `raftkv.raft.log`."""

from __future__ import annotations

import pytest

from raftkv.raft import COMMAND, Entry, EntryId
from raftkv.raft.log import ENTRY_OVERHEAD_BYTES, RaftLog
from tests.raft.nodes import MemoryLog, entries_of


class WrittenLog:
    """A RaftLog along with the durable log that it reads from."""

    def __init__(self, *terms: int, applied: int = 0, cache_bytes_max: int = 1 << 20) -> None:
        self.reader = MemoryLog(terms)
        applied_id = EntryId(self.reader.term_at(applied), applied)
        self.log = RaftLog(self.reader, applied=applied_id, cache_bytes_max=cache_bytes_max)

    def write(self) -> EntryId:
        """Write what is unaccepted; return the name under which to report it."""
        entries = self.log.take_unaccepted()
        self.reader.append(entries)
        return EntryId(entries[-1].term, entries[-1].index)

    def terms(self) -> list[int]:
        """Return all terms of the log."""
        return [self.log.term_at(index) for index in range(1, self.log.last_index + 1)]


def test_entries_that_match_are_kept_with_what_follows_them() -> None:
    """Raft Figure 2, AppendEntries 3: only a conflict deletes; an AppendEntries may be a late copy."""
    written = WrittenLog(1, 1, 2, 2)
    written.log.append_from_leader(entries_of(1, 2, first=2))
    assert written.terms() == [1, 1, 2, 2]
    assert not written.log.has_unaccepted


def test_a_conflict_cuts_the_entry_and_all_that_follow_it() -> None:
    """Raft Figure 2, AppendEntries 3 and 4."""
    written = WrittenLog(1, 1, 2, 2, 2)
    written.log.append_from_leader(entries_of(1, 3, first=2))
    assert written.terms() == [1, 1, 3]
    assert written.log.take_unaccepted() == entries_of(3, first=3)
    assert written.log.last_term == 3


def test_a_committed_entry_is_never_cut() -> None:
    """Raft Figure 3, State Machine Safety: a bug, not a message to be refused."""
    written = WrittenLog(1, 1, applied=2)
    with pytest.raises(AssertionError, match="cut at 2, committed up to 2"):
        written.log.append_from_leader(entries_of(3, first=2))


def test_cutting_takes_persistence_back() -> None:
    """raft-rs: the persisted index falls when entries are replaced."""
    written = WrittenLog(1, 1, 1)
    written.log.append_from_leader(entries_of(2, first=2))
    assert (written.log.persisted_index, written.log.accepted_index) == (1, 1)
    written.log.persist_to(written.write())
    assert written.log.persisted_index == 2


def test_a_report_of_a_cut_write_counts_for_what_is_left_of_it() -> None:
    """etcd: entries cut while they are being written must not count as durable."""
    written = WrittenLog()
    written.log.append_from_leader(entries_of(1, 1, 1))
    first = written.write()
    written.log.append_from_leader(entries_of(2, 2, 2, first=3))
    written.write()
    assert written.log.persist_to(first)
    assert written.log.persisted_index == 2


def test_a_report_of_an_entry_cut_and_put_back_is_not_the_second_write() -> None:
    """etcd's ABA problem: (1, 2) is written, replaced by (2, 2), and put back by a leader that had it."""
    written = WrittenLog(1)
    written.log.append_from_leader(entries_of(1, first=2))
    first = written.write()
    written.log.append_from_leader(entries_of(2, first=2))
    second = written.write()
    written.log.append_from_leader(entries_of(1, 3, first=2))
    third = written.write()
    assert not written.log.persist_to(first)
    assert not written.log.persist_to(second)
    assert written.log.persisted_index == 1
    assert written.log.persist_to(third)
    assert written.log.persisted_index == 3


def test_the_newest_of_several_finished_writes_may_be_reported_alone() -> None:
    """RaftCore.persisted: one fsync covers several Readys."""
    written = WrittenLog()
    reports = []
    for index in (1, 2, 3):
        written.log.append(Entry(1, index, COMMAND, b""))
        reports.append(written.write())
    assert written.log.persist_to(reports[2])
    assert not written.log.persist_to(reports[0])
    assert written.log.persisted_index == 3


def test_nothing_is_handed_out_to_apply_before_the_own_disk_has_it() -> None:
    """DESIGN.md: last_applied <= persisted, on the leader too."""
    written = WrittenLog()
    written.log.append_from_leader(entries_of(1, 1, 1))
    report = written.write()
    written.log.commit_to(2)
    assert written.log.take_committed(1 << 20) == []
    assert not written.log.has_committed
    written.log.persist_to(report)
    assert written.log.take_committed(1 << 20) == entries_of(1, 1)
    assert not written.log.has_committed


def test_committed_entries_come_in_portions() -> None:
    """RaftConfig.committed_bytes_max: at least one entry, then no more than fits."""
    written = WrittenLog(1, 1, 1, 1)
    written.log.commit_to(4)
    assert [entry.index for entry in written.log.take_committed(7)] == [1, 2]
    assert [entry.index for entry in written.log.take_committed(1)] == [3]
    assert written.log.has_committed


@pytest.mark.parametrize(
    ("last_log_term", "last_log_index", "expected"),
    [(2, 9, False), (3, 2, False), (3, 3, True), (3, 4, True), (4, 1, True)],
)
def test_the_later_term_is_more_up_to_date_then_the_longer_log(
    last_log_term: int, last_log_index: int, expected: bool
) -> None:
    """Raft §5.4.1; comparing the index first is a bug that several implementations had."""
    log = WrittenLog(1, 1, 3).log
    assert log.is_up_to_date(last_log_index=last_log_index, last_log_term=last_log_term) is expected


def test_the_first_entry_of_a_term_is_found_above_what_is_committed() -> None:
    """Raft §5.3: backing up a whole term; committed entries match anyway."""
    log = WrittenLog(1, 2, 2, 2, 3, 3, applied=2).log
    assert log.first_index_of_term_at(4) == 3
    assert log.first_index_of_term_at(6) == 5


def test_the_last_entry_of_a_term_is_found_in_a_range() -> None:
    """Raft §5.3: the leader's half of backing up."""
    log = WrittenLog(1, 2, 2, 4, 4).log
    assert log.last_index_of_term(2, 1, 6) == 3
    assert log.last_index_of_term(2, 1, 3) == 2
    assert log.last_index_of_term(3, 1, 6) == 0
    assert log.last_index_of_term(4, 1, 4) == 0
    assert log.last_index_of_term(1, 2, 6) == 0


def test_old_applied_entries_leave_memory_and_can_still_be_read() -> None:
    """RaftConfig.log_cache_bytes_max."""
    size = ENTRY_OVERHEAD_BYTES + len(b"1.1")
    written = WrittenLog(cache_bytes_max=3 * size)
    for entry in entries_of(1, 1, 1, 1, 1, 1):
        written.log.append(entry)
    written.log.persist_to(written.write())
    written.log.commit_to(6)
    written.log.take_committed(1 << 20)
    written.log.apply_to(3)
    written.reader.entries[0] = Entry(1, 1, COMMAND, b"from the disk")
    assert written.log.entries(1, 7, 1 << 20) == [written.reader.entries[0], *entries_of(1, 1, first=2)]
    assert written.log.entries(4, 7, 1 << 20) == entries_of(1, 1, 1, first=4)


def test_unapplied_entries_stay_in_memory_whatever_their_size() -> None:
    """The limit bounds what is kept for slow followers, not what is needed."""
    written = WrittenLog(cache_bytes_max=1)
    for entry in entries_of(1, 1, 1):
        written.log.append(entry)
    written.log.persist_to(written.write())
    written.log.commit_to(1)
    written.log.take_committed(1 << 20)
    written.log.apply_to(1)
    written.reader.entries.clear()
    assert written.log.entries(2, 4, 1 << 20) == entries_of(1, 1, first=2)


def test_cursors_never_pass_each_other() -> None:
    """The module's invariants are checked always."""
    log = WrittenLog(1, 1).log
    with pytest.raises(AssertionError, match="cursors out of order"):
        log.commit_to(3)
    log = WrittenLog(1, 1).log
    with pytest.raises(AssertionError, match="cursors out of order"):
        log.apply_to(1)

"""`kill -9` at any moment, over and over in one directory: what was reported as durable is there.

The kernel outlives the process, so this can't show what a loss of power does to unsynced pages: that
fsync is called before the report is what the tests of the writer show.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raftkv.raft import Entry
from raftkv.storage import KvStore, LogStore

SEED = 20
ROW_COUNT = 20

#: Writes rows that all hold the applied index, under flushes of RocksDB's own (the memtable is small) and
#: of the flusher's thread. Prints each durable index.
STATE_WRITER = """
import sys
from pathlib import Path
from raftkv.applied import AppliedState
from raftkv.storage import Flusher, KvStore, WriteStalled
from raftkv.storage.kv_store import state_options

options = state_options()
options.set_write_buffer_size(64 << 10)
store = KvStore(Path(sys.argv[1]), create=True, options=options)
index = store.applied.index

def on_flushed():
    print(store.durable_index, flush=True)
    flusher.request(on_flushed)

flusher = Flusher(store.flush, on_failure=lambda failure: print(failure, flush=True))
flusher.request(on_flushed)
while True:
    index += 1
    rows = {b"\\x01%d" % row: b"%d" % index for row in range(int(sys.argv[2]))}
    rows[b"\\x02%d" % (index % 1000)] = bytes(500)
    while True:
        try:
            store.write(rows, [], AppliedState(index, 1))
            break
        except WriteStalled:
            pass
"""

#: Appends entries, cuts unsynced ones and drops synced ones now and then, and prints "index term" of each
#: synced end.
LOG_WRITER = """
import random, sys
from pathlib import Path
from raftkv.raft import COMMAND, Entry, HardState
from raftkv.storage import LogStore, SyncWriter

store = LogStore(Path(sys.argv[1]), create=True)
log = store.group(0)
dice = random.Random(log.last_index)
ends = {}
synced = log.last_index

def on_synced(ticket):
    global synced
    index, term = ends[ticket]
    synced = index
    print(index, term, flush=True)

writer = SyncWriter(store.sync, on_synced=on_synced, on_failure=lambda failure: print(failure, flush=True))
term, ticket = log.hard_state.current_term + 1, 0
requested = log.last_index
while True:
    # What was handed to a sync counts as reported: only what came later is cut.
    if dice.random() < 0.1 and log.last_index > requested:
        term, first = term + 1, dice.randint(requested + 1, log.last_index)
    else:
        first = log.last_index + 1
    entries = [
        Entry(term, index, COMMAND, b"%d of %d" % (index, term) * dice.randint(1, 30))
        for index in range(first, first + dice.randint(1, 20))
    ]
    log.append(HardState(term, 1), entries)
    if dice.random() < 0.3:
        ticket, requested = ticket + 1, log.last_index
        ends[ticket] = log.last_index, term
        writer.request(ticket)
    if dice.random() < 0.02 and log.first_index < synced:
        log.compact(dice.randint(log.first_index, synced))
"""


def last_report_before_kill(program: str, arguments: list[str], dice: random.Random) -> str:
    """Run a program, kill it some time after some report, and give its last one."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        reports = [child.stdout.readline() for _ in range(dice.randint(1, 5))]
        time.sleep(dice.random() * 0.02)  # Waits for nothing: it spreads the moments.
        child.kill()
        reports += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    # The last line may have been cut off by the kill.
    return [report for report in reports if report.endswith("\n")][-1].strip()


def test_rows_and_applied_index_agree_after_every_kill(tmp_path: Path) -> None:
    """DESIGN: with several column families they disagreed in 3 of 16 rounds, with one in none of 30."""
    dice = random.Random(SEED)
    for _ in range(20):
        reported = int(last_report_before_kill(STATE_WRITER, [str(tmp_path / "state"), str(ROW_COUNT)], dice))
        store = KvStore(tmp_path / "state", create=False)
        index = store.applied.index
        assert reported <= index == store.durable_index
        expected = {b"\x01%d" % row: b"%d" % index for row in range(ROW_COUNT if index else 0)}
        assert dict(store.scan(b"\x01", b"\x02")) == expected
        store.close()


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_synced_entries_survive_every_kill(tmp_path: Path, seed: int) -> None:
    """What a follower has acknowledged is there for good (Raft §5.3: stable storage before answering)."""
    dice = random.Random(seed)
    durable: dict[int, Entry] = {}
    for _ in range(5):
        report = last_report_before_kill(LOG_WRITER, [str(tmp_path / "log")], dice)
        index, term = map(int, report.split())
        store = LogStore(tmp_path / "log", create=False)
        log = store.group(0)
        assert log.last_index >= index
        assert index < log.boundary.index or log.term_at(index) == term
        assert log.hard_state.current_term >= log.term_at(log.last_index)
        entries = log.read(log.first_index, log.last_index + 1, 1 << 30)
        assert [entry.index for entry in entries] == list(range(log.first_index, log.last_index + 1))
        assert all(entry.payload.startswith(b"%d of %d" % (entry.index, entry.term)) for entry in entries)
        assert all(durable.get(entry.index, entry) == entry for entry in entries)
        assert log.last_index >= max(durable, default=0)
        if log.boundary.index in durable:
            assert log.boundary.term == durable[log.boundary.index].term
        durable = {entry.index: entry for entry in entries}
        store.close()

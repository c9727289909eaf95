"""`raftkv check` and `raftkv log`: shows what is in the data directory of a stopped node.

Knows how it is shown, on a terminal, as text and as JSON; what is right and wrong is `storage.inspection`'s
business. Nothing here writes into the directory.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from raftkv.machine import CorruptEntry, decode_batch
from raftkv.node.roster import decode_place
from raftkv.raft import COMMAND, MEMBERSHIP, Entry, Membership, ProtocolError, decode_membership
from raftkv.storage import DataDirRefused, LogCorrupted, StorageFailure
from raftkv.storage.findings import OnProgress
from raftkv.storage.inspection import Report, inspect_fully, read_identity, unused
from raftkv.storage.kv_store import APPLIED_KEY, applied_of
from raftkv.storage.log_inspection import ClosedLog, closed_log
from raftkv.storage.log_store import check_write_ahead_log
from raftkv.storage.state_inspection import closed_state
from raftkv.storage.state_pointer import read_pointer

#: Of an argument, and of a command's arguments, so much is shown.
_ARGUMENT_CHARS_MAX = 40
_ARGUMENTS_MAX = 8


def run_check(path: Path, *, is_json: bool) -> int:
    """Inspect a directory and write the report; give the exit code. Raises DataDirRefused, OSError."""
    with unused(path), progress_bar() as on_progress:
        report = inspect_fully(path, on_progress)
    if is_json:
        sys.stdout.write(json.dumps(report_as_json(report), indent=2) + "\n")
    else:
        sys.stdout.write("".join(line + "\n" for line in report_lines(report)))
    return 0 if report.is_whole else 1


@contextlib.contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """Show on the terminal how far the parts have come; without a terminal nothing."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, int] = {}

        def on_progress(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = progress.add_task(part, total=None)
            progress.update(
                tasks[part],  # type: ignore[arg-type]  # rich's TaskID is an int
                completed=done,
                total=max(total, done) or None,
            )

        yield on_progress


def report_as_json(report: Report) -> dict[str, object]:
    """Give what `raftkv check --json` prints."""
    identity, log, applied = report.identity, report.log, report.applied
    cluster_id = None if identity is None or identity.cluster_id is None else identity.cluster_id.hex()
    return {
        "path": str(report.path),
        "is_whole": report.is_whole,
        "node_id": None if identity is None else identity.node_id,
        "cluster_id": cluster_id,
        "state": report.pointer.directory,
        "log": None
        if log is None
        else {
            "current_term": log.hard_state.current_term,
            "voted_for": log.hard_state.voted_for,
            "boundary": {"index": log.boundary.index, "term": log.boundary.term},
            "last": {"index": log.last_index, "term": log.last_id.term},
            "last_time_ms": log.last_time_ms or None,
            "commands": log.commands_count,
        },
        "applied": None
        if applied is None
        else {"index": applied.index, "term": applied.term, "time_ms": applied.log_time_ms},
        "keys": None if report.keys is None else sum(report.keys.values()),
        "notes": report.notes,
        "findings": [{"part": finding.part, "text": finding.text} for finding in report.findings],
    }


def report_lines(report: Report) -> Iterator[str]:
    """Give what `raftkv check` prints."""
    yield f"data directory {report.path}"
    yield from facts_of(report)
    for note in report.notes:
        yield f"note: {note}"
    for finding in report.findings:
        yield f"DAMAGED {finding.part}: {finding.text}"
    yield (
        "nothing is wrong"
        if report.is_whole
        else f"{len(report.findings)} findings: the node must not run with it"
    )


def facts_of(report: Report) -> Iterator[str]:
    """Say in words what a directory holds."""
    identity, log, applied = report.identity, report.log, report.applied
    if identity is not None:
        cluster = "no cluster yet" if identity.cluster_id is None else f"cluster {identity.cluster_id.hex()}"
        yield f"node {identity.node_id} of {cluster}"
    if log is not None:
        hard_state, last = log.hard_state, log.last_id
        yield (
            f"log: entries {log.first_index} to {log.last_index}, the last one of term {last.term}"
            f" ({time_text(log.last_time_ms)}); current term {hard_state.current_term},"
            f" voted for {hard_state.voted_for or 'nobody'}"
        )
    if applied is not None:
        yield (
            f"state: {report.pointer.directory}/, applied up to entry {applied.index} of term {applied.term}"
            f" ({time_text(applied.log_time_ms)})"
        )
    if report.keys is not None:
        yield f"keys: {sum(report.keys.values())}"


def time_text(time_ms: int) -> str:
    """Give a time of the log for people."""
    if not time_ms:
        return "no time"
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"


# --- the log ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What of a log is to be shown."""

    path: Path
    #: 0: from the first one that is there.
    first: int = 0
    #: None: to the last one.
    last: int | None = None
    #: Each command on a line of its own.
    has_commands: bool = False
    is_json: bool = False


def run_log(request: LogRequest, output: TextIO) -> int:
    """Write what is in a log; give the exit code. Raises DataDirRefused, StorageFailure, OSError."""
    path = request.path
    with unused(path):
        # Also a log/ by itself, wherever it was copied to.
        log_path = path if (path / "CURRENT").exists() else path / "log"
        with closed_log(log_path) as log:
            _write_head(request, log, output)
            is_whole = True
            for entry in log.entries(request.first, None if request.last is None else request.last + 1):
                is_whole = is_whole and not isinstance(entry, LogCorrupted)
                if request.is_json:
                    lines = iter([json.dumps(entry_as_json(entry, has_commands=request.has_commands))])
                else:
                    lines = entry_lines(entry, has_commands=request.has_commands)
                output.write("".join(f"{line}\n" for line in lines))
        is_whole = _write_end(request, log_path, output) and is_whole
    return 0 if is_whole else 1


def _write_head(request: LogRequest, log: ClosedLog, output: TextIO) -> None:
    path = request.path
    try:
        hard_state, boundary = log.hard_state(), log.boundary()
    except LogCorrupted as fault:
        _write_damage(request, fault, output)
        return
    applied = identity = None
    if (path / "FORMAT").exists():
        applied = _applied_in(path)
        with contextlib.suppress(DataDirRefused):
            identity = read_identity(path)
    if request.is_json:
        fields: dict[str, object] = {
            "current_term": hard_state.current_term,
            "voted_for": hard_state.voted_for,
            "boundary": {"index": boundary.index, "term": boundary.term},
            "applied": applied,
            "node_id": None if identity is None else identity.node_id,
        }
        output.write(json.dumps(fields) + "\n")
        return
    if identity is not None:
        output.write(f"node {identity.node_id}\n")
    output.write(f"current term {hard_state.current_term}, voted for {hard_state.voted_for or 'nobody'}\n")
    output.write(f"dropped up to entry {boundary.index} of term {boundary.term}\n")
    output.write(f"applied up to entry {'unknown' if applied is None else applied}\n")


def _write_end(request: LogRequest, log_path: Path, output: TextIO) -> bool:
    """Say whether RocksDB took damage for the log's end, and so gave nothing of what follows; True: no."""
    try:
        check_write_ahead_log(log_path)
    except LogCorrupted as fault:
        _write_damage(request, fault, output)
        return False
    return True


def _write_damage(request: LogRequest, fault: LogCorrupted, output: TextIO) -> None:
    output.write(
        json.dumps({"damaged": fault.detail}) + "\n" if request.is_json else f"DAMAGED: {fault.detail}\n"
    )


def _applied_in(path: Path) -> int | None:
    try:
        with closed_state(path / read_pointer(path).directory) as database:
            return applied_of(database.get(APPLIED_KEY)).index
    except (StorageFailure, DataDirRefused):
        return None


def entry_lines(entry: Entry | LogCorrupted, *, has_commands: bool) -> Iterator[str]:
    """Say in words what an entry is."""
    if isinstance(entry, LogCorrupted):
        yield f"DAMAGED entry {entry.index}: {entry.detail}"
        return
    head = f"{entry.index} term {entry.term}"
    try:
        if entry.kind is MEMBERSHIP:
            yield f"{head} membership: {membership_text(decode_membership(entry.payload))}"
        elif entry.kind is COMMAND:
            batch = decode_batch(entry.payload)
            count = sum(len(run.commands) for run in batch.runs)
            yield f"{head} {time_text(batch.time_ms)} {count} commands, {len(entry.payload)} bytes"
            if has_commands:
                for run in batch.runs:
                    for command in run.commands:
                        yield f"    db {run.db} {command_text(command)}"
        else:
            yield f"{head} empty"
    except (CorruptEntry, ProtocolError) as fault:
        yield f"{head} DAMAGED: {fault}"


def entry_as_json(entry: Entry | LogCorrupted, *, has_commands: bool) -> dict[str, object]:
    """Give an entry as `raftkv log --json` prints it; bytes that are no UTF-8 as \\x.. escapes."""
    if isinstance(entry, LogCorrupted):
        return {"index": entry.index, "damaged": entry.detail}
    shown: dict[str, object] = {"index": entry.index, "term": entry.term, "kind": entry.kind.name.lower()}
    try:
        if entry.kind is MEMBERSHIP:
            membership = decode_membership(entry.payload)
            shown["voters"], shown["outgoing"] = membership.voters, membership.outgoing
            shown["learners"], shown["newest_id"] = membership.learners, membership.newest_id
        elif entry.kind is COMMAND:
            batch = decode_batch(entry.payload)
            shown["time_ms"] = batch.time_ms
            shown["commands_count"] = sum(len(run.commands) for run in batch.runs)
            shown["commands"] = [
                {"db": run.db, "args": [arg.decode("utf-8", "backslashreplace") for arg in command]}
                for run in batch.runs
                for command in (run.commands if has_commands else ())
            ]
    except (CorruptEntry, ProtocolError) as fault:
        shown["damaged"] = str(fault)
    return shown


def command_text(command: list[bytes]) -> str:
    """Give a command on one line, shortened."""
    words = [_word(argument) for argument in command[:_ARGUMENTS_MAX]]
    if len(command) > _ARGUMENTS_MAX:
        words.append(f"... and {len(command) - _ARGUMENTS_MAX} more")
    return " ".join(words)


def _word(argument: bytes) -> str:
    text = repr(argument[:_ARGUMENT_CHARS_MAX])[1:]
    return text + (f"...({len(argument)} bytes)" if len(argument) > _ARGUMENT_CHARS_MAX else "")


def membership_text(membership: Membership) -> str:
    """Say in words who the members are."""
    parts = [f"voters {_members(membership, membership.voters)}"]
    if membership.is_joint:
        parts.append(f"together with the old ones {_members(membership, membership.outgoing)}")
    if membership.learners:
        parts.append(f"learners {_members(membership, membership.learners)}")
    for staged in membership.staged:
        instead = f" in the place of {staged.takes_place_of}" if staged.takes_place_of else ""
        parts.append(f"{staged.node_id} is to vote{instead}")
    return f"{'; '.join(parts)}; newest id {membership.newest_id}"


def _members(membership: Membership, node_ids: tuple[int, ...]) -> str:
    texts = []
    for node_id in node_ids:
        place = decode_place(node_id, membership.address_of(node_id))
        texts.append(str(node_id) if place is None else f"{node_id} ({place.peer_address})")
    return " ".join(texts) or "nobody"

"""`raftkv check` and `raftkv log`: what they print, and their exit codes."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from raftkv.config import Member
from raftkv.inspect_cli import LogRequest, command_text, membership_text, run_log
from raftkv.node.roster import encode_place
from raftkv.raft import EMPTY, Entry, HardState, Membership, Staged
from raftkv.storage import DataDir, LogStore
from tests.cli.command import raftkv
from tests.storage.closed_node import APPLIED_INDEX, IDENTITY, LAST_INDEX, fingerprint, make_closed_node


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which nothing is wrong."""
    return make_closed_node(tmp_path_factory.mktemp("closed") / "data")


def shown(path: Path, **what: int | bool) -> list[str]:
    """Give the lines of `raftkv log`."""
    output = io.StringIO()
    assert run_log(LogRequest(path, **what), output) == 0  # type: ignore[arg-type]  # each test knows its own
    return output.getvalue().splitlines()


def test_check_of_a_whole_directory(whole: Path, tmp_path: Path) -> None:
    """Exit code 0, and what the node has."""
    before = fingerprint(whole)
    told = raftkv("check", str(whole), cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert f"node 2 of cluster {b'c'.hex() * 16}" in told.stdout
    assert f"applied up to entry {APPLIED_INDEX} of term 3" in told.stdout
    assert told.stdout.endswith("nothing is wrong\n")
    assert fingerprint(whole) == before


def test_check_of_a_damaged_directory_as_json(whole: Path, tmp_path: Path) -> None:
    """Exit code 1, and each finding with its part."""
    copy = Path(shutil.copytree(whole, tmp_path / "data"))
    (table, *_) = sorted((copy / "state").glob("*.sst"))
    content = bytearray(table.read_bytes())
    content[100] ^= 1
    table.write_bytes(content)
    told = raftkv("check", "--json", str(copy), cwd=tmp_path)
    assert told.returncode == 1
    report = json.loads(told.stdout)
    assert not report["is_whole"]
    assert [finding["part"] for finding in report["findings"]] == ["state"]


@pytest.mark.parametrize("command", ["check", "log"])
def test_directory_in_use_is_refused(whole: Path, tmp_path: Path, command: str) -> None:
    """Exit code 1, and by whom it is used."""
    data_dir = DataDir.open(whole, IDENTITY.node_id)
    told = raftkv(command, str(whole), cwd=tmp_path)
    data_dir.close()
    assert told.returncode == 1
    assert "in use by the process" in told.stderr


@pytest.mark.parametrize("command", ["check", "log"])
def test_missing_directory_is_refused(tmp_path: Path, command: str) -> None:
    """One line, no stack."""
    told = raftkv(command, "nowhere", cwd=tmp_path)
    assert told.returncode == 1
    assert len(told.stderr.splitlines()) == 1


def test_log_shows_entries_in_words(whole: Path) -> None:
    """Index, term, time, and the members."""
    lines = shown(whole)
    assert lines[:4] == [
        "node 2",
        "current term 3, voted for 3",
        "dropped up to entry 20 of term 2",
        f"applied up to entry {APPLIED_INDEX}",
    ]
    assert lines[4] == "21 term 2 2023-11-14 22:13:20.019+00:00 1 commands, 284 bytes"
    assert lines[-1] == f"{LAST_INDEX} term 3 membership: voters 2 3 4; newest id 5"
    assert len(lines) == 4 + LAST_INDEX - 20


def test_log_shows_a_range_with_its_commands(whole: Path) -> None:
    """--first, --last, --commands."""
    lines = shown(whole, first=90, last=91, has_commands=True)[4:]
    assert len(lines) == 4
    assert lines[0].startswith("90 term 2")
    assert lines[1].startswith("    db 1 'set' 'key:88' 'value 88value 88")
    assert lines[1].endswith("...(240 bytes)")


@pytest.mark.parametrize("option", ["--first", "--last"])
def test_log_of_an_index_that_no_entry_can_have_is_refused(whole: Path, tmp_path: Path, option: str) -> None:
    """Exit code 2, as for any number out of its range."""
    told = raftkv("log", option, str(1 << 64), str(whole), cwd=tmp_path)
    assert told.returncode == 2
    assert option in told.stderr


def test_failure_to_write_what_a_log_holds_is_not_the_logs(whole: Path) -> None:
    """`raftkv log | head` ends so, and nothing is wrong with the directory."""

    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    with pytest.raises(BrokenPipeError):
        run_log(LogRequest(whole), Full())


def test_log_as_json_is_a_line_per_entry(whole: Path) -> None:
    """The first one is about the log as a whole."""
    head, first, *_, last = [json.loads(line) for line in shown(whole, is_json=True, has_commands=True)]
    assert head["boundary"] == {"index": 20, "term": 2}
    assert head["applied"] == APPLIED_INDEX
    assert first["kind"] == "command"
    assert first["commands"][0]["args"][:2] == ["set", "key:19"]
    assert last["voters"] == [2, 3, 4]


def test_log_of_a_copied_log_directory_alone(whole: Path, tmp_path: Path) -> None:
    """It is all that some people send."""
    copy = Path(shutil.copytree(whole / "log", tmp_path / "copied"))
    assert len(shown(copy)) == len(shown(whole)) - 1


@pytest.mark.parametrize("is_json", [False, True])
def test_log_that_damage_cuts_off_is_not_shown_as_whole(tmp_path: Path, is_json: bool) -> None:
    """RocksDB takes a record of a wrong length for the write-ahead log's torn end, and says nothing."""
    store = LogStore(tmp_path / "log", create=True)
    for index in range(1, 4):
        store.group(0).append(HardState(1, 1), [Entry(1, index, EMPTY, b"")])
    store.sync()
    copy = Path(shutil.copytree(tmp_path / "log", tmp_path / "copied"))
    store.close()
    (file,) = copy.glob("*.log")
    content = bytearray(file.read_bytes())
    second = 7 + int.from_bytes(content[4:6], "little")
    content[second + 5] ^= 0x80
    file.write_bytes(content)
    output = io.StringIO()
    assert run_log(LogRequest(copy, is_json=is_json), output) == 1
    last = output.getvalue().splitlines()[-1]
    assert "a record's header is damaged" in (json.loads(last)["damaged"] if is_json else last)


def test_command_is_shortened() -> None:
    """A line is for eyes."""
    assert command_text([b"set", b"a\n\xff", b"x" * 100]) == f"'set' 'a\\n\\xff' '{'x' * 40}'...(100 bytes)"
    assert command_text([b"del", *[b"k"] * 10]) == "'del' 'k' 'k' 'k' 'k' 'k' 'k' 'k' ... and 3 more"


def test_membership_in_words() -> None:
    """Joint ones, learners and who is to vote."""
    membership = Membership(
        (1, 4),
        outgoing=(1, 2),
        learners=(5,),
        staged=(Staged(5, 1),),
        addresses=((4, encode_place(Member(4, "h", 7004), b"")),),
        newest_id=6,
    )
    assert membership_text(membership) == (
        "voters 1 4 (h:17004); together with the old ones 1 2; learners 5; 5 is to vote in the place of 1;"
        " newest id 6"
    )

"""`raftkv backup` against a node that breaks off, sends damaged bytes, or is none at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import hiredis
import pytest

from raftkv import backup_cli
from raftkv.backup_cli import BackupFailed, BackupRequest, run_backup, run_verify
from raftkv.backup_client import ConnectionBroken
from raftkv.config import ConfigError
from raftkv.raft import ProtocolError
from raftkv.status import Place, StatusUnavailable
from raftkv.storage import Snapshot
from raftkv.upkeep_cli import place_of
from tests.cli.command import raftkv
from tests.storage.states import snapshot_at

ID = b"1234"


class Node:
    """Answers RAFT BACKUP from a snapshot; `spoil` may change a READ's answer, or raise to break off."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = Place("127.0.0.1", self._listener.getsockname()[1])
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self.reads: list[tuple[bytes, int]] = []
        self.connections_count = 0
        self.ended: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections_count += 1
            with connection:
                try:
                    self._converse(connection)
                except ConnectionError:
                    continue

    def _converse(self, connection: socket.socket) -> None:
        parser = hiredis.Reader()
        while received := connection.recv(1 << 16):
            parser.feed(received)
            while (request := parser.gets()) is not False:
                connection.sendall(self._answer(request))

    def _answer(self, request: list[bytes]) -> bytes:
        if request == [b"PING"]:
            return b"+PONG\r\n"
        if request[2] == b"BEGIN":
            manifest = self._snapshot.manifest.encode()
            return b"*4\r\n" + bulk(ID) + bulk(manifest) + bulk(b"ab" * 16) + b":7\r\n"
        if request[2] == b"END":
            self.ended.append(request[3])
            return b"+OK\r\n"
        name, offset, length = request[4], int(request[5]), int(request[6])
        self.reads.append((name, offset))
        try:
            return bulk(self.spoil(self._snapshot.read(name.decode(), offset, length)))
        except ProtocolError as refusal:
            return f"-ERR {refusal}\r\n".encode()


def bulk(data: bytes) -> bytes:
    """Encode a bulk string (RESP)."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """What the node has."""
    return snapshot_at(tmp_path_factory.mktemp("node"), 10, 20)


@pytest.fixture
def node(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node that does nothing wrong, yet."""
    monkeypatch.setattr(backup_cli, "_CHUNK_BYTES", 2000)
    monkeypatch.setattr(backup_cli, "_RECONNECT_SECONDS", 0.0)
    node = Node(snapshot)
    yield node
    node.close()


def test_backup_is_fetched_verified_and_let_go(node: Node, tmp_path: Path) -> None:
    """In chunks, each asked for once."""
    target = tmp_path / "backup"
    assert run_backup(BackupRequest(node.place, target)) == 0
    assert len(node.reads) == len(set(node.reads)) > 3
    assert node.ended == [ID]
    assert run_verify(target) == 0


def test_download_goes_on_over_another_connection(node: Node, tmp_path: Path) -> None:
    """Nothing that has come is asked for again."""

    def break_off(data: bytes) -> bytes:
        if len(node.reads) in (3, 5):
            raise ConnectionAbortedError
        return data

    node.spoil = break_off
    assert run_backup(BackupRequest(node.place, tmp_path / "backup")) == 0
    assert len(node.reads) == len(set(node.reads)) + 2
    assert run_verify(tmp_path / "backup") == 0


def test_node_that_is_gone_leaves_what_has_come(node: Node, tmp_path: Path) -> None:
    """The same command goes on with it later."""

    def break_off(data: bytes) -> bytes:
        if len(node.reads) > 3:
            raise ConnectionAbortedError
        return data

    node.spoil = break_off
    target = tmp_path / "backup"
    with pytest.raises(ConnectionBroken):
        run_backup(BackupRequest(node.place, target))
    assert not target.exists()
    first = set(node.reads[:3])
    node.reads.clear()
    node.spoil = lambda data: data
    assert run_backup(BackupRequest(node.place, target)) == 0
    assert not first & set(node.reads)
    assert run_verify(target) == 0


def test_damaged_file_is_fetched_once_more(node: Node, tmp_path: Path) -> None:
    """A digest tells; no damaged backup gets its name."""
    node.spoil = lambda data: bytes((data[0] ^ 1,)) + data[1:] if len(node.reads) == 4 else data
    assert run_backup(BackupRequest(node.place, tmp_path / "backup")) == 0
    assert run_verify(tmp_path / "backup") == 0


def test_file_that_is_damaged_at_its_source_makes_no_backup(node: Node, tmp_path: Path) -> None:
    """After some attempts."""
    node.spoil = lambda data: bytes((data[0] ^ 1,)) + data[1:]
    with pytest.raises(BackupFailed, match="again and again"):
        run_backup(BackupRequest(node.place, tmp_path / "backup"))
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("spoil", [lambda data: data[1:], lambda data: data + b"x"])
def test_answer_of_another_length_makes_no_backup(
    node: Node, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """Whatever it is that answers."""
    node.spoil = spoil
    with pytest.raises(BackupFailed, match="gave no"):
        run_backup(BackupRequest(node.place, tmp_path / "backup"))


def test_existing_target_is_left_alone(node: Node, tmp_path: Path) -> None:
    """The last good backup, above all."""
    (tmp_path / "backup").write_text("mine")
    with pytest.raises(BackupFailed, match="is there already"):
        run_backup(BackupRequest(node.place, tmp_path / "backup"))
    with pytest.raises(BackupFailed, match="there is no directory"):
        run_backup(BackupRequest(node.place, tmp_path / "nowhere" / "backup"))
    assert node.connections_count == 0


def test_node_that_can_not_be_reached_is_named(tmp_path: Path) -> None:
    """Exit code 1, in one line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    told = raftkv("backup", "--node", f"127.0.0.1:{port}", "backup", cwd=tmp_path)
    assert told.returncode == 1
    assert told.stderr.startswith(f"raftkv: 127.0.0.1:{port} can't be reached")
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["a..b", "\udcff"])
def test_what_can_be_no_host_name_is_told(tmp_path: Path, host: str) -> None:
    """As raftkv status."""
    with pytest.raises(StatusUnavailable, match="can't be reached: that is no host name"):
        run_backup(BackupRequest(Place(host, 1), tmp_path / "b"))


def test_what_is_no_node_is_refused(tmp_path: Path) -> None:
    """It may be anything that listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(StatusUnavailable, match="does not speak Redis's protocol"):
            run_backup(BackupRequest(Place("127.0.0.1", listener.getsockname()[1]), tmp_path / "b"))
        thread.join()


def test_places_are_read() -> None:
    """HOST:PORT, with brackets for IPv6."""
    assert place_of("h:7001") == Place("h", 7001)
    assert place_of("[::1]:7001") == Place("::1", 7001)
    for text in ("h", "h:", ":7001", "h:0", "h:65536", "h:x"):
        with pytest.raises(ConfigError):
            place_of(text)


def test_verification_of_nothing_fails(tmp_path: Path) -> None:
    """Exit code 1."""
    told = raftkv("backup", "--verify", "nothing", cwd=tmp_path)
    assert told.returncode == 1
    assert "there is no such file or directory" in told.stderr


def test_recovery_must_be_forced(tmp_path: Path) -> None:
    """Exit code 2: the command line is wrong."""
    told = raftkv("recover", "nothing", cwd=tmp_path)
    assert told.returncode == 2
    assert "--force-new-cluster: has to be given" in told.stderr

"""`raftkv up` refuses what can't work before it starts anything, and says what would."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from raftkv.cluster_dir import ClusterDir, ClusterDirRefused, ClusterShape, toml_text
from raftkv.config_sources import config_from, read_toml
from tests.cli.command import raftkv
from tests.ports import free_port_run


def refusal(cwd: Path, *arguments: str, **settings: str) -> str:
    """Return the one line that `up` refuses with."""
    done = raftkv("up", *arguments, cwd=cwd, **settings)
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("offset", "node_id", "use"), [(0, 1, "clients"), (1, 2, "clients"), (10_002, 3, "peers")]
)
def test_busy_port_is_named_and_leaves_the_directory_unbound(
    tmp_path: Path, offset: int, node_id: int, use: str
) -> None:
    """A collision is found before any node starts; another port may then be chosen."""
    port = free_port_run(3)
    with socket.create_server(("127.0.0.1", port + offset)):
        line = refusal(tmp_path, "--port", str(port), "--dir", "data")
    assert line.startswith(
        f"raftkv: port {port + offset}, which node {node_id} needs for {use}, can't be had: "
    )
    assert sorted(each.name for each in (tmp_path / "data").iterdir()) == ["up.lock"]


def test_directory_of_another_cluster_is_refused(tmp_path: Path) -> None:
    """A directory made with other nodes or ports is refused with the reason."""
    directory = ClusterDir(tmp_path / "data", ClusterShape(nodes=3, port=7101))
    directory.bind()
    directory.close()
    assert refusal(tmp_path, "--port", "7201", "--dir", "data") == (
        "raftkv: data was made for 3 nodes on ports 7101 to 7103, not for 3 nodes on ports 7201 to 7203. "
        "Start it with --nodes 3 --port 7101, or name another directory with --dir"
    )
    assert "not for 1 node on port 7101. " in refusal(
        tmp_path, "--nodes", "1", "--port", "7101", "--dir", "data"
    )


def test_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    """Nobody's files are mixed with a cluster's."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letters").touch()
    assert refusal(tmp_path, "--dir", "data").startswith(
        "raftkv: data was not made by raftkv up: it has no cluster.json, but it holds letters. "
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1, "nodes": "x", "port": 1}'])
def test_damaged_cluster_file_is_refused(tmp_path: Path, text: str) -> None:
    """Better no start than a start as another cluster."""
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(ClusterDirRefused, match=r"cluster\.json is damaged"):
        ClusterDir(tmp_path, ClusterShape(nodes=3, port=7001))


def test_newer_cluster_file_is_refused_by_name(tmp_path: Path) -> None:
    """A later raftkv may have meant something else by it."""
    (tmp_path / "cluster.json").write_text(json.dumps({"format": 2, "nodes": 3, "port": 7001}))
    with pytest.raises(ClusterDirRefused, match="has format 2, newer than this raftkv's 1"):
        ClusterDir(tmp_path, ClusterShape(nodes=3, port=7001))


def test_unfinished_binding_counts_as_empty(tmp_path: Path) -> None:
    """An `up` that died before its cluster file was whole left no cluster."""
    (tmp_path / "cluster.json.new").write_text('{"form')
    shape = ClusterShape(nodes=1, port=7001)
    ClusterDir(tmp_path, shape).bind()
    ClusterDir(tmp_path, shape).close()


def test_locked_directory_is_refused_with_its_holder(tmp_path: Path) -> None:
    """A second `up` on the same directory is refused; the lock goes with its holder."""
    directory = ClusterDir(tmp_path / "data", ClusterShape(nodes=3, port=7001))
    assert refusal(tmp_path, "--dir", "data") == (
        f"raftkv: data is in use by another raftkv up (process {os.getpid()})"
    )
    directory.close()


@pytest.mark.parametrize("setting", ["port=7", "node_id=2", "node-id=2", "data_dir=/x", "bind=::1"])
def test_set_may_not_change_what_up_decides(tmp_path: Path, setting: str) -> None:
    """Ports, members and directories are `up`'s own."""
    key = setting.partition("=")[0].replace("-", "_")
    expected = f"raftkv: {key}: is decided by raftkv up from --nodes, --port, --standalone-port and --dir"
    assert refusal(tmp_path, "--dir", "data", "--set", setting) == expected


def test_environment_may_not_change_what_up_decides(tmp_path: Path) -> None:
    """A node must not get another node's port by inheritance."""
    assert refusal(tmp_path, "--dir", "data", RAFTKV_PORT="7").startswith("raftkv: port: is decided by")


def test_wrong_set_is_refused_before_any_start(tmp_path: Path) -> None:
    """As `serve` would, but once and at once."""
    assert refusal(tmp_path, "--set", "slice_ms") == "raftkv: --set: 'slice_ms' must be KEY=VALUE"
    assert "there is no setting 'slicems'" in refusal(tmp_path, "--set", "slicems=1")
    assert refusal(tmp_path, "--set", "slice_ms=0").startswith("raftkv: --slice-ms: '0' can't be taken")


def test_ports_beyond_the_last_are_refused(tmp_path: Path) -> None:
    """Peer ports are 10000 higher."""
    assert "65536 is no port" in refusal(tmp_path, "--port", "55534")
    assert "65536 is no port" in refusal(tmp_path, "--port", "55536", "--nodes", "1")
    assert not (tmp_path / "raftkv-data").exists()


def test_node_configuration_is_what_was_asked_for(tmp_path: Path) -> None:
    """The written file gives `serve` the node's own ports, all members, and the passed-on settings."""
    directory = ClusterDir(tmp_path / 'a "quoted" dir', ClusterShape(nodes=2, port=7301))
    texts = directory.config_texts(
        {"RAFTKV_SLICE_MS": "4", "HOME": "/"}, {"log_level": "debug", "gather_ms": "0.25"}
    )
    directory.close()
    assert sorted(texts) == [1, 2]
    config = config_from(read_toml(texts[2].encode(), name="node2.toml"), {}, {})
    assert (config.node_id, config.port, config.peer_port) == (2, 7302, 17302)
    assert [member.address for member in config.members] == ["127.0.0.1:7301", "127.0.0.1:7302"]
    assert config.data_dir == str(tmp_path / 'a "quoted" dir' / "node2")
    assert (config.slice_ms, config.log_level, config.gather_ms) == (4, "debug", 0.25)


def test_toml_is_read_back_as_written() -> None:
    """Strings with quotes, backslashes and other alphabets, numbers and truth values."""
    table: dict[str, object] = {
        "a": 'x"\\é',
        "b": 0.5,
        "c": 1 << 30,
        "d": True,
        "members": [{"id": 1, "host": "é"}],
    }
    assert read_toml(toml_text(table).encode(), name="x") == table

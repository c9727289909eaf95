"""etcd's requests as bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import grpc_frames, h2load
from benchmarks.systems.etcd import Etcd
from benchmarks.systems.etcd_gateway import Gateway
from benchmarks.systems.system import Surroundings, key_name
from benchmarks.workload import Workload


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (1 << 20, "808040")],
)
def test_varint_has_seven_bits_a_byte(number: int, encoded: str) -> None:
    """Protocol buffers, "Base 128 Varints"; 300 is their example."""
    assert grpc_frames.varint(number) == bytes.fromhex(encoded)


def test_put_is_framed() -> None:
    """etcd's rpc.proto: PutRequest has key = 1, value = 2."""
    assert grpc_frames.put_request(b"k", b"vv") == b"\0\0\0\0\x07\x0a\x01k\x12\x02vv"


def test_range_has_the_key_alone() -> None:
    """Without `serializable` (field 7) a Range is linearizable."""
    assert grpc_frames.range_request(b"key") == b"\0\0\0\0\x05\x0a\x03key"


def test_transaction_wraps_puts() -> None:
    """TxnRequest.success = 2 of RequestOp.request_put = 2."""
    assert grpc_frames.txn_request([(b"k", b"v")]) == b"\0\0\0\0\x0a\x12\x08\x12\x06\x0a\x01k\x12\x01v"


@pytest.mark.needs_tool("etcd")
@pytest.mark.needs_tool("h2load")
def test_etcd_does_what_is_asked(tmp_path: Path) -> None:
    """`Etcd.run` fails unless its revision advanced by the writes and the value has its length."""
    etcd = Etcd(tmp_path, Surroundings())
    try:
        etcd.start()
        for command, size in (("set", 64), ("mset", 300), ("get", 70_000)):
            load = Workload(command=command, connections=2, pipeline=3, value_bytes=size)
            etcd.prepare(load)
            assert etcd.run(load, requests=10).per_second > 0
        # A key that is given twice is refused, with a status of 200 all the same.
        port = etcd.client_ports()[0]
        before = Gateway(port).status().revision
        body = grpc_frames.txn_request([(b"twice", b"1"), (b"twice", b"2")])
        h2load.run(f"http://127.0.0.1:{port}{grpc_frames.TXN}", body, requests=2, connections=1, pipeline=1)
        assert Gateway(port).status().revision == before
        etcd.load_keys(300, "loaded")
        assert Gateway(port).get(key_name(299)) == "loaded"
        assert Gateway(port).get(key_name(300)) is None
    finally:
        etcd.close()

"""etcd's requests as bytes: protocol buffers in a gRPC frame, made by hand.

Knows three messages of etcd's rpc.proto, and of protocol buffers only fields of bytes and messages.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Paths of the three requests.
PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
TXN = "/etcdserverpb.KV/Txn"

_LENGTH_DELIMITED = 2


def put_request(key: bytes, value: bytes) -> bytes:
    """Encode a PutRequest: key = 1, value = 2."""
    return frame(_put(key, value))


def range_request(key: bytes) -> bytes:
    """Encode a RangeRequest for one key (key = 1); linearizable, since `serializable` is not set."""
    return frame(_field(1, key))


def txn_request(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Encode a TxnRequest without conditions: success = 2, RequestOp.request_put = 2. Keys must differ."""
    return frame(b"".join(_field(2, _field(2, _put(key, value))) for key, value in pairs))


def frame(message: bytes) -> bytes:
    """Put a message into a gRPC frame.

    0           1                   5
    +-----------+-------------------+----------
    | 0: plain  | length, big-endian | message
    +-----------+-------------------+----------
    """
    return b"\0" + len(message).to_bytes(4, "big") + message


def varint(number: int) -> bytes:
    """Encode a number in groups of 7 bits, lowest first, with the high bit set on all but the last."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _put(key: bytes, value: bytes) -> bytes:
    return _field(1, key) + _field(2, value)


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | _LENGTH_DELIMITED) + varint(len(content)) + content

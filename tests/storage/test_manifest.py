"""Manifests as bytes: what is written is read, and what a peer may send besides is refused."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftkv.raft.types import EntryId, ProtocolError
from raftkv.storage.manifest import FILE_BYTES_MAX, MANIFEST_BYTES_MAX, Manifest, SnapshotFile

DIGEST = bytes(range(16))
TABLE = SnapshotFile("000012.sst", 1000, DIGEST)
FILES = (TABLE, SnapshotFile("CURRENT", 16, DIGEST), SnapshotFile("MANIFEST-000005", 200, DIGEST))
MANIFEST = Manifest(7, 3, 1234, b"members", FILES)

tables = st.builds(
    SnapshotFile,
    name=st.integers(0, 10**9).map(lambda number: f"{number:06}.sst"),
    size_bytes=st.integers(1, FILE_BYTES_MAX),
    digest=st.binary(min_size=16, max_size=16),
)
numbers = st.integers(1, 2**64 - 1)
manifests = st.builds(
    Manifest,
    index=numbers,
    term=numbers,
    log_time_ms=st.integers(0, 2**64 - 1),
    membership=st.binary(max_size=50),
    files=st.lists(tables, max_size=5, unique_by=lambda file: file.name).map(
        lambda files: tuple(sorted((*files, *FILES[1:]), key=lambda file: file.name))
    ),
)


@given(manifest=manifests, other=manifests)
def test_any_manifest_is_read_back_and_has_an_id_of_its_own(manifest: Manifest, other: Manifest) -> None:
    content = manifest.encode()
    assert Manifest.decode(content) == manifest
    assert Manifest.decode(content).encode() == content
    assert len(manifest.snapshot_id) == 16
    assert (manifest.snapshot_id == other.snapshot_id) == (manifest == other)
    assert manifest.entry_id == EntryId(manifest.term, manifest.index)
    assert manifest.size_bytes == sum(file.size_bytes for file in manifest.files)


def test_a_manifest_has_exactly_these_bytes() -> None:
    """The module's diagram: other versions, and what was written before, depend on it."""
    body = (
        b"\x01"
        + bytes(7)
        + b"\x07"
        + bytes(7)
        + b"\x03"
        + bytes(6)
        + b"\x04\xd2"
        + b"\x00\x00\x00\x07members"
        b"\x00\x00\x00\x03"
        b"\x0a000012.sst" + bytes(6) + b"\x03\xe8" + DIGEST + b"\x07CURRENT" + bytes(7) + b"\x10" + DIGEST
    )
    body += b"\x0fMANIFEST-000005" + bytes(7) + b"\xc8" + DIGEST
    assert MANIFEST.encode() == zlib.crc32(body).to_bytes(4, "big") + body


def with_table(name: str, size_bytes: int = 1) -> Manifest:
    """A manifest with a file of that name among the others, in order."""
    files = sorted((SnapshotFile(name, size_bytes, DIGEST), *FILES), key=lambda file: file.name)
    return replace(MANIFEST, files=tuple(files))


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../000013.sst",
        "/000013.sst",
        "a/000013.sst",
        "000013.sst/..",
        "000013.sst\n",
        "000013.sst\0",
        "13.sst",
        "000013.SST",
        "000013.log",
        "LOCK",
        "IDENTITY",
        "OPTIONS-000007",
        "rocksdict-config.json",
        "000013.sst.new",
        "9" * 30 + ".sst",
    ],
)
def test_names_that_no_snapshot_has_are_refused(name: str) -> None:
    """A peer's names become paths: plain names of the known kinds only."""
    with pytest.raises(ProtocolError, match="named"):
        Manifest.decode(with_table(name).encode())


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        (replace(MANIFEST, index=0), "at entry 0"),
        (replace(MANIFEST, term=0), "of term 0"),
        (replace(MANIFEST, membership=bytes(2 << 20)), "membership"),
        (replace(MANIFEST, files=()), "exactly one"),
        (replace(MANIFEST, files=FILES[:2]), "exactly one"),
        (replace(MANIFEST, files=(FILES[0], FILES[2])), "exactly one"),
        (with_table("MANIFEST-000006"), "exactly one"),
        (with_table("000012.sst"), "not in order"),
        (replace(MANIFEST, files=FILES[::-1]), "not in order"),
        (with_table("000013.sst", 0), "0 bytes"),
        (with_table("000013.sst", FILE_BYTES_MAX + 1), "bytes in 000013.sst"),
        (replace(MANIFEST, files=(SnapshotFile("CURRENT", 65, DIGEST), FILES[2])), "65 bytes in CURRENT"),
    ],
)
def test_manifests_that_no_node_makes_are_refused(manifest: Manifest, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        Manifest.decode(manifest.encode())


def test_a_manifest_of_too_many_bytes_is_refused_unread() -> None:
    with pytest.raises(ProtocolError, match="a manifest of"):
        Manifest.decode(bytes(MANIFEST_BYTES_MAX + 1))


def with_checksum(body: bytes) -> bytes:
    """What a peer that means harm would send."""
    return zlib.crc32(body).to_bytes(4, "big") + body


@given(data=st.data())
def test_any_damage_is_refused(data: st.DataObject) -> None:
    """Flipped, cut or longer, also with a checksum that fits: a manifest or ProtocolError, nothing else."""
    content = bytearray(MANIFEST.encode())
    position = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "add"])):
        case "flip":
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del content[position:]
        case "add":
            content += data.draw(st.binary(min_size=1, max_size=20))
    with pytest.raises(ProtocolError):
        Manifest.decode(bytes(content))
    try:
        manifest = Manifest.decode(with_checksum(bytes(content[4:])))
    except ProtocolError:
        return
    assert manifest.encode()[4:] == content[4:]


@given(content=st.binary(max_size=200))
def test_any_bytes_with_a_checksum_that_fits_are_refused_or_a_manifest(content: bytes) -> None:
    try:
        Manifest.decode(with_checksum(b"\x01" + content))
    except ProtocolError:
        return
    raise AssertionError("200 random bytes hold no names")


def test_a_count_without_end_reserves_no_memory() -> None:
    body = MANIFEST.encode()[4:]
    at = body.index(b"members") + len(b"members")
    with pytest.raises(ProtocolError, match="4294967295 files"):
        Manifest.decode(with_checksum(body[:at] + b"\xff" * 4 + body[at + 4 :]))

"""What a snapshot consists of: the place in the log that it stands for, and its files by their digests.

Knows no directories and reads no files. Goes over the wire and onto the disk as

    +-------+---------+-------+------+-------------+-------------------+------------+-------+
    | crc32 | version | index | term | log_time_ms | length            | file count | files |
    | 4     | 1       | 8     | 8    | 8           | 4, the membership | 4          |       |
    +-------+---------+-------+------+-------------+-------------------+------------+-------+

    each file                                       all integers are big-endian and unsigned
    +--------+-----------------+------------+--------+
    | length | name            | size_bytes | digest |
    | 1      | length          | 8          | 16     |
    +--------+-----------------+------------+--------+

Invariant of a Manifest: its files are those of one database, ascending by name; every name is one that
RocksDB gives to a file, so that joined to a directory it stays inside. A peer may send anything: `decode`
gives a Manifest that holds, or raises ProtocolError.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property

from raftkv.raft.types import EntryId, ProtocolError

DIGEST_BYTES = 16
#: Tables have 64 MB as a rule: four terabytes.
FILES_MAX = 65_536
FILE_BYTES_MAX = 1 << 40
#: CURRENT holds one name; the others hold a few hundred bytes for each table.
_CURRENT_BYTES_MAX = 64
_MEMBERSHIP_BYTES_MAX = 1 << 20
#: An encoded manifest is never longer.
MANIFEST_BYTES_MAX = 8 << 20

_VERSION = 1
_CURRENT = "CURRENT"
_NAME = re.compile(r"CURRENT|MANIFEST-[0-9]{6,20}|[0-9]{6,20}\.sst", re.ASCII)
_CHECKSUM = struct.Struct(">I")
_HEAD = struct.Struct(">BQQQI")
_COUNT = struct.Struct(">I")
_FILE_TAIL = struct.Struct(f">Q{DIGEST_BYTES}s")


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file of a snapshot."""

    name: str
    size_bytes: int
    #: blake2b of the whole content, `DIGEST_BYTES` long.
    digest: bytes

    @property
    def is_table(self) -> bool:
        """Whether it is a table of rows: these never change, so that they may be shared by hard links."""
        return self.name.endswith(".sst")


@dataclass(frozen=True)
class Manifest:
    """A snapshot of the state after the entry (`term`, `index`) and everything before it."""

    index: int
    term: int
    log_time_ms: int
    #: As in AppliedState.
    membership: bytes
    files: tuple[SnapshotFile, ...]

    @property
    def entry_id(self) -> EntryId:
        """The last entry that the state holds."""
        return EntryId(self.term, self.index)

    @property
    def size_bytes(self) -> int:
        """The bytes of all files."""
        return sum(file.size_bytes for file in self.files)

    @cached_property
    def snapshot_id(self) -> bytes:
        """A digest over everything, `DIGEST_BYTES` long: equal for equal snapshots only."""
        return hashlib.blake2b(_body_of(self), digest_size=DIGEST_BYTES).digest()

    def encode(self) -> bytes:
        """Give it as bytes, one sequence for one manifest."""
        body = _body_of(self)
        return _CHECKSUM.pack(zlib.crc32(body)) + body

    @classmethod
    def decode(cls, content: bytes) -> Manifest:
        """Read what `encode` gave. Raises ProtocolError for all else, whoever made it."""
        if len(content) > MANIFEST_BYTES_MAX:
            raise ProtocolError(f"a manifest of {len(content)} bytes")
        body = content[_CHECKSUM.size :]
        if content[: _CHECKSUM.size] != _CHECKSUM.pack(zlib.crc32(body)):
            raise ProtocolError("a manifest with a wrong checksum")
        try:
            manifest = _manifest_of(body)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ProtocolError(f"a manifest that is cut off or damaged: {error}") from error
        _check(manifest)
        return manifest


def is_snapshot_file(name: str) -> bool:
    """Tell whether a file of this name belongs into a snapshot: tables, and what says which there are."""
    return _NAME.fullmatch(name) is not None


def _body_of(manifest: Manifest) -> bytes:
    membership = manifest.membership
    head = _HEAD.pack(_VERSION, manifest.index, manifest.term, manifest.log_time_ms, len(membership))
    parts = [head, membership, _COUNT.pack(len(manifest.files))]
    for file in manifest.files:
        name = file.name.encode("ascii")
        parts.append(bytes((len(name),)) + name + _FILE_TAIL.pack(file.size_bytes, file.digest))
    return b"".join(parts)


def _manifest_of(body: bytes) -> Manifest:
    version, index, term, log_time_ms, membership_bytes = _HEAD.unpack_from(body)
    if version != _VERSION:
        raise ProtocolError(f"a manifest of version {version}, expected {_VERSION}")
    pos = _HEAD.size + membership_bytes
    membership = body[_HEAD.size : pos]
    (count,) = _COUNT.unpack_from(body, pos)
    pos += _COUNT.size
    if count > FILES_MAX:
        raise ProtocolError(f"a manifest of {count} files")
    files = []
    for _ in range(count):
        name_end = pos + 1 + body[pos]
        name = body[pos + 1 : name_end].decode("ascii")
        size_bytes, digest = _FILE_TAIL.unpack_from(body, name_end)
        files.append(SnapshotFile(name, size_bytes, digest))
        pos = name_end + _FILE_TAIL.size
    if pos != len(body):
        raise ProtocolError(f"a manifest with {len(body) - pos} bytes behind its end")
    return Manifest(index, term, log_time_ms, membership, tuple(files))


def _check(manifest: Manifest) -> None:
    """Raise ProtocolError for what no snapshot of ours is."""
    if manifest.index == 0 or manifest.term == 0:
        raise ProtocolError(f"a snapshot at entry {manifest.index} of term {manifest.term}")
    if len(manifest.membership) > _MEMBERSHIP_BYTES_MAX:
        raise ProtocolError(f"a snapshot with a membership of {len(manifest.membership)} bytes")
    names = [file.name for file in manifest.files]
    for file in manifest.files:
        if not is_snapshot_file(file.name):
            raise ProtocolError(f"a snapshot with a file named {file.name!r}")
        bytes_max = _CURRENT_BYTES_MAX if file.name == _CURRENT else FILE_BYTES_MAX
        if not 0 < file.size_bytes <= bytes_max:
            raise ProtocolError(f"a snapshot with {file.size_bytes} bytes in {file.name}")
    if names != sorted(set(names)):
        raise ProtocolError("a snapshot whose files are not in order")
    if _CURRENT not in names or sum(name.startswith("MANIFEST-") for name in names) != 1:
        raise ProtocolError("a snapshot without exactly one CURRENT and one MANIFEST")

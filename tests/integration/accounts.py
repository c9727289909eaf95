"""What the writers of `workload` were told, compared with what the store holds in the end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tests.integration.history import Operation, complaints_about_appends, complaints_about_counter
from tests.integration.wire import Wire


def complaints_about(
    wire: Wire, histories: Sequence[Sequence[Operation]], *, counters: Sequence[bytes], lists: Sequence[bytes]
) -> list[str]:
    """Read every key and say what is lost, or there twice; `histories`: each client's, in its order."""
    operations = _by_key(histories)
    complaints = []
    for key in counters:
        found = complaints_about_counter(operations.get(key, []), int(content_of(wire, key) or 0))
        complaints += [f"{key!r} {text}" for text in found]
    for key in lists:
        found = complaints_about_appends(operations.get(key, []), content_of(wire, key))
        complaints += [f"{key!r} {text}" for text in found]
    return complaints


def content_of(wire: Wire, key: bytes) -> bytes:
    """Return a key's value, empty when there is none; the cluster must be whole."""
    reply = wire.call("GET", key)
    assert reply is None or isinstance(reply, bytes), f"GET {key!r} was answered {reply!r}"
    return reply or b""


def _by_key(histories: Sequence[Sequence[Operation]]) -> dict[bytes, list[list[Operation]]]:
    """Split each client's history by key."""
    split: dict[bytes, list[list[Operation]]] = {}
    for operations in histories:
        ordered = sorted(operations, key=lambda each: each.key)
        for key, group in itertools.groupby(ordered, key=lambda each: each.key):
            split.setdefault(key, []).append(list(group))
    return split

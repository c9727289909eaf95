"""What can be told of requests without carrying them out."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from raftkv.commands.table import CommandSpec, keys_of
from raftkv.slots import slot_of


def crosses_slots(spec: CommandSpec, args: list[bytes]) -> bool:
    """Whether the command's keys are of several slots."""
    keys = spec.keys
    return keys.first != keys.last and len({slot_of(key) for key in keys_of(spec, args)}) > 1


def size_of(requests: Collection[list[bytes]]) -> int:
    """Bytes of the arguments of all requests, with a little for each."""
    return sum(map(len, chain.from_iterable(requests))) + 8 * len(requests)

"""What can be told of requests without carrying them out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import chain
from operator import itemgetter
from typing import Final

from raftkv.commands.table import CommandSpec, keys_of
from raftkv.resp.replies import CROSS_SLOT, Error
from raftkv.slots import slot_of

_NAME_OF: Final = itemgetter(0)


def common_command(
    requests: list[list[bytes]], known: Callable[[bytes], CommandSpec | None]
) -> CommandSpec | None:
    """The command that all requests are, in one spelling, with one key and a right arity; None: they aren't.

    A look at all names and then at all lengths costs a fifth of a look at one request after the other.
    """
    spec = known(requests[0][0])
    if spec is None or not spec.has_one_key:
        return None
    if len(requests) == 1:
        return spec if spec.args_min <= len(requests[0]) <= spec.args_max else None
    if len(set(map(_NAME_OF, requests))) > 1 or not all(map(spec.accepts, set(map(len, requests)))):
        return None
    return spec


def first_slot_of(spec: CommandSpec, args: list[bytes]) -> int:
    """The slot of a request's first key; 0 without one."""
    keys = keys_of(spec, args)
    return slot_of(keys[0]) if keys else 0


def crosses_slots(spec: CommandSpec, args: list[bytes]) -> bool:
    """Whether the command's keys are of several slots."""
    keys = spec.keys
    return keys.first != keys.last and len({slot_of(key) for key in keys_of(spec, args)}) > 1


def cluster_refusal(spec: CommandSpec, args: list[bytes]) -> Error | None:
    """What a node of a cluster answers instead of serving the request; None: it serves it."""
    if crosses_slots(spec, args):
        return CROSS_SLOT
    return None if spec.cluster_refusal is None else spec.cluster_refusal(args)


def size_of(requests: Collection[list[bytes]]) -> int:
    """Bytes of the arguments of all requests, with a little for each."""
    return sum(map(len, chain.from_iterable(requests))) + 8 * len(requests)

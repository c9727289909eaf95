"""Replies of one connection, put back into the order of its requests.

Knows nothing of what a reply says. Each request is given a slot when it arrives; replies are filled in
whenever they are known, and leave as one piece as soon as no earlier slot is open:

    slots     0   1   2   3   4   5   6   7
              left    |ready| ?  |waiting| ?
                      ^          ^
                 take() gives    kept until slot 4 is filled

Invariants: `_waiting` never holds the slot `_open`; every slot leaves once, in order.
"""

from __future__ import annotations


class ReplyPipeline:
    """Slots are numbers and replies lie in lists: nothing is made per request, a run of 16 costs 1 us."""

    __slots__ = ("_open", "_ready", "_reserved", "_waiting")

    def __init__(self) -> None:
        #: The first slot without a reply.
        self._open = 0
        #: The first slot that was never reserved.
        self._reserved = 0
        #: Replies up to `_open` that were not taken yet.
        self._ready: list[bytes] = []
        #: By first slot: runs of replies behind an open slot.
        self._waiting: dict[int, list[bytes]] = {}

    @property
    def pending(self) -> int:
        """Reserved slots from the first open one on, those filled behind it included."""
        return self._reserved - self._open

    @property
    def next_slot(self) -> int:
        """The slot that is reserved next."""
        return self._reserved

    @property
    def buffered_bytes(self) -> int:
        """Bytes of all replies that were not taken, counted afresh at each call."""
        waiting = sum(len(data) for run in self._waiting.values() for data in run)
        return waiting + sum(map(len, self._ready))

    def reserve(self, count: int = 1) -> int:
        """Give the next `count` requests their slots, and return the first."""
        first = self._reserved
        self._reserved = first + count
        return first

    def skip(self, count: int) -> None:
        """Give the next `count` requests their slots, and note that the caller sends their replies."""
        assert self._open == self._reserved, "a reply overtakes one that is still to come"
        assert not self._ready, "a reply overtakes another one"
        self._open = self._reserved = self._reserved + count

    def fill_past(self, first: int, count: int) -> bool:
        """Note that the caller sends the replies of `count` slots from `first` on.

        False: others are owed too, or were not taken, and nothing was changed.
        """
        if first != self._open or first + count != self._reserved or self._ready:
            return False
        self._open = self._reserved
        return True

    def fill_run(self, first: int, datas: list[bytes]) -> None:
        """Give the slots from `first` on their replies, each slot once. Takes `datas` over."""
        assert first + len(datas) <= self._reserved, "a reply for a slot that nobody reserved"
        if first != self._open:
            assert first > self._open, "a reply for a slot that has left"
            if datas:
                assert first not in self._waiting, "a second reply for a slot"
                self._waiting[first] = datas
            return
        self._append(datas)
        while self._waiting and (run := self._waiting.pop(self._open, None)) is not None:
            self._append(run)

    def _append(self, run: list[bytes]) -> None:
        self._open += len(run)
        if self._ready:
            self._ready += run
        else:
            self._ready = run

    def take(self) -> bytes | None:
        """All replies that are next in order, as one piece; None: the next one is not known yet."""
        if not self._ready:
            return None
        data = b"".join(self._ready)
        self._ready = []
        return data

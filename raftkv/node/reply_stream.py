"""One client's replies: values in, bytes out, in the order of its requests.

Knows nothing of what requests mean, nor of when the connection is closed.

Invariant: `_answers` are the replies of the newest requests, next in order behind all reserved slots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from raftkv.commands.session import ReplyMode, Session
from raftkv.resp.pipeline import ReplyPipeline
from raftkv.resp.replies import Error, Reply, encode_many

#: No connection gets that far.
_NEVER: Final = 1 << 62


class ReplyStream:
    """The replies of one connection."""

    __slots__ = ("_answers", "_count_error", "_pipeline", "_session", "_silent", "output_bytes")

    def __init__(self, session: Session, count_error: Callable[[Error], None]) -> None:
        """`session` says which protocol the client speaks; `count_error` is told of error replies."""
        self._session = session
        self._count_error = count_error
        self._pipeline = ReplyPipeline()
        #: Not yet encoded.
        self._answers: list[Reply] = []
        #: Slots whose replies are not sent; a few of the newest, or all that come.
        self._silent: range | None = None
        #: Bytes taken so far.
        self.output_bytes = 0

    @property
    def pending(self) -> int:
        """Requests that were promised a reply and have none, and those behind them."""
        return self._pipeline.pending

    @property
    def buffered_bytes(self) -> int:
        """Bytes of encoded replies that were not taken."""
        return self._pipeline.buffered_bytes

    def answer(self, reply: Reply) -> None:
        """Give the next request its reply."""
        self._answers.append(reply)

    def answer_all(self, replies: list[Reply]) -> None:
        """Give the next requests their replies."""
        self._answers += replies

    @property
    def is_clear(self) -> bool:
        """Nothing is owed, and what comes next is sent: replies may `pass_by`."""
        return self._silent is None and not self._pipeline.pending

    def pass_by(self, data: bytes, count: int) -> None:
        """Note that the caller sends the replies of the next `count` requests; the stream is clear."""
        assert not self._answers, "a reply overtakes another one"
        self._pipeline.skip(count)
        self.output_bytes += len(data)

    def reserve(self, count: int) -> int:
        """Promise the next `count` requests replies that come later; give the first one's slot."""
        if self._answers:
            self.encode_answers()
        return self._pipeline.reserve(count)

    def settle(self, first_slot: int, replies: Sequence[Reply]) -> bytes | None:
        """Keep the promise for the slots from `first_slot` on, and take all that is next in order."""
        datas = encode_many(replies, self._session.protocol, self._count_error)
        if self._silent is None and not self._answers and self._pipeline.fill_past(first_slot, len(datas)):
            data = datas[0] if len(datas) == 1 else b"".join(datas)
            self.output_bytes += len(data)
            return data
        self._fill(first_slot, datas)
        return self.take()

    def _fill(self, first_slot: int, datas: list[bytes]) -> None:
        if self._silent is not None:
            silent = self._silent
            datas = [b"" if first_slot + place in silent else data for place, data in enumerate(datas)]
        self._pipeline.fill_run(first_slot, datas)

    def change_mode(self, mode: ReplyMode) -> None:
        """Do what the request of the next slot asked for (redis CLIENT REPLY); all before it are settled."""
        own = self._pipeline.next_slot
        ends = {ReplyMode.ON: own, ReplyMode.SKIP: own + 2, ReplyMode.OFF: _NEVER}
        self._silent = range(own, ends[mode]) or None

    def encode_answers(self) -> None:
        """Encode what was answered, in the protocol of this moment: HELLO changes it for what follows."""
        if self._answers:
            answers, self._answers = self._answers, []
            datas = encode_many(answers, self._session.protocol, self._count_error)
            self._fill(self._pipeline.reserve(len(datas)), datas)

    def take(self) -> bytes | None:
        """Everything that is next in order, as one piece; None: there is nothing."""
        self.encode_answers()
        data = self._pipeline.take()
        if data:
            self.output_bytes += len(data)
        return data

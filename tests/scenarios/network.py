"""The messages of an `interaction` scenario on their way: they wait until a script or `stabilize` takes them.

A script names messages by `1->2`, `*->2` or `1->*`, and if it likes by words of theirs behind it.
"""

from __future__ import annotations

from collections.abc import Iterable

from raftkv.raft import Message
from tests.scenarios.script import ScriptError
from tests.scenarios.words import message_words


class Selector:
    """Which messages a command is about."""

    def __init__(self, words: list[str]) -> None:
        """Take `[first] A->B [words that the message contains]`; no words are for all messages."""
        self.is_first_only = words[:1] == ["first"]
        if self.is_first_only:
            words = words[1:]
        sender, arrow, to = (words[0] if words else "*->*").partition("->")
        if not arrow:
            raise ScriptError(f"messages are named by A->B, not by {words[0]}")
        self._sender, self._to = sender, to
        self._phrase = " ".join(words[1:])

    def takes(self, msg: Message) -> bool:
        """Tell whether a message is meant."""
        return (
            self._sender in ("*", str(msg.sender))
            and self._to in ("*", str(msg.to))
            and self._phrase in message_words(msg)
        )


class ScriptNetwork:
    """Messages in the order in which they were sent, and the links that hold or lose them."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self._held: dict[str, Selector] = {}
        self._losing: dict[str, Selector] = {}

    def send(self, messages: Iterable[Message]) -> None:
        """Put messages on their way."""
        self.waiting += messages

    def hold(self, words: list[str]) -> None:
        """Keep these messages on their way until `release`."""
        self._held[" ".join(words)] = Selector(words)

    def release(self, words: list[str]) -> None:
        """Hold them no longer."""
        del self._held[" ".join(words)]

    def lose(self, words: list[str]) -> None:
        """Lose these messages until `heal`."""
        self._losing[" ".join(words)] = Selector(words)

    def heal(self, words: list[str]) -> None:
        """Lose them no longer; without words: nothing is lost any more."""
        if words:
            del self._losing[" ".join(words)]
        else:
            self._losing.clear()

    def loses(self, msg: Message) -> bool:
        """Tell whether a message gets lost."""
        return any(selector.takes(msg) for selector in self._losing.values())

    def take(self, selector: Selector) -> list[Message]:
        """Remove the messages that a script names, held or not."""
        chosen = [msg for msg in self.waiting if selector.takes(msg)]
        if selector.is_first_only:
            chosen = chosen[:1]
        self._remove(chosen)
        return chosen

    def take_for(self, receivers: set[int]) -> list[Message]:
        """Remove what is not held and for these nodes; no receivers are all."""
        chosen = [
            msg for msg in self.waiting if (not receivers or msg.to in receivers) and not self._is_held(msg)
        ]
        self._remove(chosen)
        return chosen

    def _is_held(self, msg: Message) -> bool:
        return any(selector.takes(msg) for selector in self._held.values())

    def _remove(self, chosen: list[Message]) -> None:
        gone = {id(msg) for msg in chosen}
        self.waiting = [msg for msg in self.waiting if id(msg) not in gone]

"""Random arguments: sensible ones by kind, and odd ones.

Knows no commands. Expiries are a thousand seconds apart and far away, so that the milliseconds by which two
servers' clocks differ decide nothing.
"""

from __future__ import annotations

from random import Random

#: Integers that are near a limit, or that only look like integers; none is a short time.
ODD_NUMBERS = (
    b"0", b"-0", b"-1", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808",
    b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616", b"1e400", b"-1e400", b"nan",
    b"inf", b"-inf", b"+5", b" 5", b"5 ", b"05", b"0x10", b"5.0", b"1.5", b"", b"five", b"--5", b"5\x00",
    b"4294967296", b"2147483648", b"-2147483649", b"9223372036854775", b"1_000",
)  # fmt: skip
ODD_TEXTS = (
    b"", b"\x00", b"\x00\xff", b"\xff\xfe", b"a\r\nb", b"\r\n", b"+OK\r\n", b" ", b"a b", b"'", b'"', b"\\",
    b"\xc3\xa4", b"*3\r\n", b"%s%n", b"x" * 127, b"x" * 128, b"x" * 129, b"y" * 1024,
)  # fmt: skip
#: One in this many odd values is huge.
_HUGE_ONE_IN = 60
_HUGE_BYTES = 1 << 20

_VALUES = (
    b"",
    b"0",
    b"1",
    b"7",
    b"-3",
    b"10",
    b"1.5",
    b"3.0e3",
    b"text",
    b"Hello World",
    b"\x00\xff\x01",
    b"9223372036854775806",
)
_DOUBLES = (
    b"0",
    b"1",
    b"-1",
    b"0.1",
    b"1.5",
    b"-2.25",
    b"3.0e3",
    b"1e-5",
    b"5.0",
    b"1e17",
    b"123456789.123456789",
    b".5",
    b"5.",
)
_PATTERNS = (
    b"*",
    b"",
    b"?",
    b"{t}*",
    b"{t}[ab]",
    b"[^a]",
    b"*a*",
    b"{t\\}a",
    b"[",
    b"[b-a]",
    b"**",
    b"\\",
    b"no such*",
)

TAGGED_KEYS = (b"{t}a", b"{t}b", b"{t}c", b"{t}")
ODD_KEYS = (b"a", b"b", b"", b"\xff\x00", b"{t", b"{}x", b"x" * 600, b"k\r\n")


class Values:
    """Where the arguments of one case come from."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._times_count = 0

    def chance(self, one_in: int) -> bool:
        """True, once in that many times."""
        return self.random.randrange(one_in) == 0

    def key(self) -> bytes:
        """Mostly a few keys of one slot, so that commands meet each other's results."""
        return self.random.choice(ODD_KEYS if self.chance(12) else TAGGED_KEYS)

    def text(self) -> bytes:
        """A value: text, or what some command takes for a number."""
        if self.chance(8):
            return self.odd_text()
        return self.random.choice(_VALUES)

    def odd_text(self) -> bytes:
        """Bytes that a careless server stumbles over."""
        if self.chance(_HUGE_ONE_IN):
            return b"h" * _HUGE_BYTES
        if self.chance(8):
            return self.random.randbytes(self.random.randrange(40))
        return self.random.choice(ODD_TEXTS + ODD_NUMBERS)

    def integer(self) -> bytes:
        """A small number, mostly."""
        if self.chance(5):
            return self.random.choice(ODD_NUMBERS)
        return b"%d" % self.random.randrange(-6, 20)

    def double(self) -> bytes:
        """A number, mostly."""
        return self.random.choice(ODD_NUMBERS if self.chance(5) else _DOUBLES)

    def pattern(self) -> bytes:
        """A glob."""
        return self.random.choice(_PATTERNS)

    def time(self, argument: str) -> bytes:
        """An expiry for an argument of that name: far away, or one that no key can have."""
        if self.chance(6):
            return self.random.choice(ODD_NUMBERS)
        self._times_count += 1
        seconds = self.random.randrange(1, 9) * 100_000_000 + self._times_count * 1000
        if "unix" in argument:
            seconds += 9_000_000_000
        return b"%d" % (seconds * 1000 if "milli" in argument else seconds)

    def word(self, token: str) -> bytes:
        """A token in some case."""
        spelling = self.random.randrange(4)
        text = token.lower() if spelling == 0 else token.swapcase() if spelling == 1 else token
        return text.encode()

    def scrambled(self, name: bytes) -> bytes:
        """A command's name in some case."""
        text = name.decode()
        return "".join(self.random.choice((each.lower(), each.upper())) for each in text).encode()

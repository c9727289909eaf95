"""Hosts: a network namespace for each, and between them a router, which is the namespace of the run itself.

    host 1  10.77.1.2 ---- 10.77.1.1 +--------+ 10.77.2.1 ---- 10.77.2.2  host 2
                                     | router |
    host 3  10.77.3.2 ---- 10.77.3.1 +--------+ ...

A way is cut by a rule of the router's for what comes from one address and goes to another: dropped in
silence, or answered with "host unreachable". So each direction is cut by itself, packets under way are lost,
connections stay and TCP repeats what was lost, as between machines. The run's own clients and its questions
to nodes start at the router, and always pass. Needs nothing but iproute2; delay and loss need the kernel's
netem too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.consistency.ways import Way
from tests.integration.cluster import Host

_NAMES = Path("/run/netns")
#: The place of the rules that cut; each is deleted by this number.
_PLACE = 1000


class Hosts:
    """The hosts of a run, from 1. For use in namespaces of the run's own (`isolation`)."""

    def __init__(self, count: int) -> None:
        self._ids = range(1, count + 1)
        self._cuts: set[Way] = set()

    def open(self) -> list[Host]:
        """Make them."""
        _run("mount", "-t", "tmpfs", "none", str(_NAMES.parent))
        _NAMES.mkdir()
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        _run("ip", "link", "set", "lo", "up")
        for host_id in self._ids:
            name, link = _name(host_id), _link(host_id)
            _run("ip", "netns", "add", name)
            _batch(
                f"link add {link} type veth peer name eth0 netns {name}",
                f"address add 10.77.{host_id}.1/24 dev {link}",
                f"link set {link} up",
            )
            _batch(
                f"address add {_address(host_id)}/24 dev eth0",
                "link set eth0 up",
                "link set lo up",
                f"route add default via 10.77.{host_id}.1",
                inside=name,
            )
        return [
            Host(_address(host_id), ("nsenter", f"--net={_NAMES / _name(host_id)}")) for host_id in self._ids
        ]

    def cut(self, ways: Iterable[Way], *, is_told: bool) -> None:
        """Let nothing pass on these ways; in silence, or senders are told that nobody is there."""
        action = "unreachable" if is_told else "blackhole"
        new = set(ways) - self._cuts
        self._cuts |= new
        _batch(*(f"rule add priority {_PLACE} {_between(way)} {action}" for way in new))

    def heal(self) -> None:
        """Let everything pass again, at once."""
        _batch(*(f"rule del priority {_PLACE} {_between(way)}" for way in self._cuts))
        self._cuts.clear()

    def reason_against_netem(self) -> str:
        """Say why packets can't be delayed and lost here; "" if they can."""
        try:
            _run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
        except (OSError, RuntimeError) as failure:
            return f"this kernel has no netem: {failure}"
        _run("tc", "qdisc", "del", "dev", "lo", "root")
        return ""

    def disturb(self, host_ids: Sequence[int], *, delay_ms: float, loss_percent: float) -> None:
        """Delay what goes to these hosts, by half more or less, and lose some of it."""
        for host_id in host_ids:
            delay = (f"{delay_ms:.1f}ms", f"{delay_ms / 2:.1f}ms")
            _run(
                *("tc", "qdisc", "add", "dev", _link(host_id), "root", "netem"),
                *("delay", *delay, "loss", f"{loss_percent:.1f}%"),
            )

    def calm(self, host_ids: Sequence[int]) -> None:
        """End that."""
        for host_id in host_ids:
            _run("tc", "qdisc", "del", "dev", _link(host_id), "root")


def _name(host_id: int) -> str:
    return f"host{host_id}"


def _link(host_id: int) -> str:
    return f"to{host_id}"


def _address(host_id: int) -> str:
    return f"10.77.{host_id}.2"


def _between(way: Way) -> str:
    return f"from {_address(way.sender)} to {_address(way.to)}"


def _batch(*lines: str, inside: str = "") -> None:
    """Run several `ip` commands, in one process."""
    where = ["-netns", inside] if inside else []
    _run("ip", *where, "-batch", "-", stdin="\n".join(lines))


def _run(*command: str, stdin: str = "") -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} {stdin}: {done.stderr.strip()}")

"""What hosts are made of does what it says; run by `test_chaos` in namespaces of their own."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.clocks import CACHE_SECONDS, JumpingClocks
from tests.chaos.disks import SmallDisk
from tests.chaos.network import Hosts
from tests.chaos.slow_disks import SlowDisks
from tests.consistency.ways import Way
from tests.integration.cluster import Host
from tests.integration.waiting import wait_until

_PORT = 7
_DELAY_MS = 50
_JUMP_SECONDS = 86_400
#: Says what it hears, and tells those whose addresses it is given.
_SPEAKER = f"""
import os, socket, sys, threading
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind((sys.argv[1], {_PORT}))
def say(word):
    os.write(1, word + b"\\n")  # whole lines, though two threads write them
def hear():
    while True:
        say(own.recvfrom(99)[0])
threading.Thread(target=hear, daemon=True).start()
say(b"ready")
for line in sys.stdin:
    address, word = line.split()
    try:
        own.sendto(word.encode(), (address, {_PORT}))
    except OSError:
        pass  # a router's answer to what was sent before
    say(b"sent " + word.encode())
"""


class _Speakers:
    """One on each host."""

    def __init__(self, hosts: list[Host]) -> None:
        self.addresses = [host.address for host in hosts]
        self._count = 0
        self._processes = [
            subprocess.Popen(
                [*host.entry, sys.executable, "-c", _SPEAKER, host.address],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for host in hosts
        ]
        for process in self._processes:
            assert self._line(process) == "ready\n"

    def passing(self) -> set[tuple[int, int]]:
        """Let each host tell each other one something; return what arrives, in the order (sender, to).

        What the run's own host says, once all have spoken, always arrives, and behind all that did.
        """
        self._count += 1
        numbers = range(1, len(self._processes) + 1)
        pairs = [(sender, to) for sender in numbers for to in numbers if sender != to]
        for sender, to in pairs:
            stdin = self._processes[sender - 1].stdin
            assert stdin is not None, "it is a pipe"
            stdin.write(f"{self.addresses[to - 1]} {self._count}:{sender}>{to}\n")
            stdin.flush()
        heard = set[str]()
        for number, process in enumerate(self._processes, 1):
            words = [f"{self._count}:{sender}>{to}" for sender, to in pairs if sender == number]
            heard |= self._until(process, {f"sent {word}\n" for word in words})
        for process, address in zip(self._processes, self.addresses, strict=True):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
                own.sendto(f"end {self._count}".encode(), (address, _PORT))
            heard |= self._until(process, {f"end {self._count}\n"})
        return {pair for pair in pairs if f"{self._count}:{pair[0]}>{pair[1]}\n" in heard}

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _until(self, process: subprocess.Popen[str], awaited: set[str]) -> set[str]:
        """Read what a process says until it has said all that is awaited."""
        said = set[str]()
        while not awaited <= said:
            said.add(self._line(process))
        return said

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None, "it is a pipe"
        return process.stdout.readline()


@contextlib.contextmanager
def _speakers(hosts: list[Host]) -> Iterator[_Speakers]:
    speakers = _Speakers(hosts)
    try:
        yield speakers
    finally:
        speakers.close()


def test_each_way_is_cut_by_itself_and_healed() -> None:
    """What one says to another is lost, in silence or not; the other way, and third ones, are left alone."""
    hosts = Hosts(3)
    with _speakers(hosts.open()) as speakers:
        everything = speakers.passing()
        assert len(everything) == 6
        hosts.cut([Way(1, 2)], is_told=False)
        assert speakers.passing() == everything - {(1, 2)}
        hosts.cut([Way(1, 2), Way(3, 1), Way(1, 3)], is_told=True)
        assert speakers.passing() == everything - {(1, 2), (3, 1), (1, 3)}
        hosts.heal()
        assert speakers.passing() == everything


def test_full_disk_refuses_and_a_freed_one_takes_more(tmp_path: Path) -> None:
    """ENOSPC, and nothing that was written is gone."""
    disk = SmallDisk(tmp_path / "disk")
    disk.open()
    kept = tmp_path / "disk" / "kept"
    kept.write_bytes(b"x" * 100_000)
    disk.fill(spare_bytes=0)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (tmp_path / "disk" / "more").write_bytes(b"y" * 100_000)
    disk.free()
    (tmp_path / "disk" / "more").write_bytes(b"y" * 100_000)
    assert kept.read_bytes() == b"x" * 100_000
    disk.close()


def test_clock_jumps_while_a_process_runs_and_only_the_wall_clock(tmp_path: Path) -> None:
    """Leases rest on CLOCK_BOOTTIME, which nobody sets."""
    clocks = JumpingClocks(tmp_path)
    if clocks.reason_against():
        pytest.skip(clocks.reason_against())
    program = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.clock_gettime(7), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **clocks.environment(1)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"

        def off_by() -> tuple[float, float]:
            print(file=process.stdin, flush=True)
            wall, boot = map(float, process.stdout.readline().split())  # type: ignore[union-attr]  # see above
            return round(wall - time.time()), round(boot - time.clock_gettime(time.CLOCK_BOOTTIME))

        assert off_by() == (0, 0)
        for seconds in (_JUMP_SECONDS, -_JUMP_SECONDS, 0):
            clocks.jump(1, seconds=seconds)
            wait_until(lambda: off_by() == (seconds, 0), f"{seconds} s", seconds_max=5.0 * CACHE_SECONDS)  # noqa: B023
        process.stdin.close()


def test_disk_becomes_slow_while_a_process_runs(tmp_path: Path) -> None:
    """nanosleep(2) never returns before its time, so that this lower bound holds on any machine."""
    disks = SlowDisks(tmp_path)
    if disks.reason_against:
        pytest.skip(disks.reason_against)
    environment = {**os.environ, **disks.environment(1)}
    disks.slow(1, delay_ms=_DELAY_MS)
    program = "import os, time\nbegin = time.monotonic()\nos.fsync(0)\nprint(time.monotonic() - begin)"
    with (tmp_path / "file").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, stdin=file, capture_output=True, check=True
        )
    assert float(done.stdout) >= _DELAY_MS / 1000

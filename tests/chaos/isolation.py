"""Starts a program in network, mount and process namespaces of its own.

Whatever it makes there (interfaces, rules, mounts, processes) is seen by nobody else and gone with its first
process, however that ends: there are no leftovers to look for, and nothing of the machine's to touch. As
root, or where users may make namespaces (as root of a user namespace).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

#: Set for the program inside.
_INSIDE = "RAFTKV_CHAOS_INSIDE"
_PR_SET_PDEATHSIG = 1
_PROGRAMS = {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "mount": "mount"}
#: What a run has to be able to do, in short.
_TRIAL = (
    "mount -t tmpfs none /run && mkdir /run/netns && ip netns add trial"
    " && ip link add left type veth peer name right netns trial"
    " && ip rule add from 10.0.0.1 to 10.0.0.2 blackhole && echo 1 > /proc/sys/net/ipv4/ip_forward"
)


def reason_against() -> str:
    """Say why this machine can't have such namespaces; "" if it can."""
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"needs the program {program} ({package})"
    done = subprocess.run([*_unshare(), "sh", "-c", _TRIAL], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        who = "root" if os.geteuid() == 0 else "this user (root may)"
        return f"{who} may not make namespaces here: {done.stderr.strip()}"
    return ""


def is_inside() -> bool:
    """Whether this process was started by `run_inside`."""
    return _INSIDE in os.environ


def run_inside(module: str, arguments: Sequence[str]) -> int:
    """Run a module to its end and return its exit code. SIGTERM ends it, and all that it started, at once."""
    command = [*_unshare(), sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, env={**os.environ, _INSIDE: "1"}, preexec_fn=_end_with_parent)

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        process.kill()
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        return process.wait()
    except KeyboardInterrupt:  # the terminal told it too
        return process.wait()
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_parent() -> None:
    """Have this process killed when its parent ends, however that happens (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _unshare() -> list[str]:
    """Its first process is the init of the process namespace: when it ends, the kernel ends all others."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]

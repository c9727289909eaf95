"""Open files, as the system limits them; each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from raftkv.node.open_files import backlog, room_for_clients
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(room_for_clients(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0], backlog())
"""


@pytest.mark.parametrize(
    ("limits", "wanted", "expected"),
    [
        ((1024, 16000), 10_000, (10_000, 12_848, 1024)),
        ((1024, 4096), 10_000, (2272, 4096, 512)),
        ((1024, 1024), 10_000, (128, 1024, 128)),
        ((1024, 1024), 50, (50, 1024, 128)),
        ((16000, 16000), 100, (100, 16000, 1024)),
        ((256, 256), 100, (32, 256, 32)),
    ],
)
def test_clients_never_get_the_last_files(
    limits: tuple[int, int], wanted: int, expected: tuple[int, int, int]
) -> None:
    """redis adjustOpenFilesLimit: the limit is raised if that is allowed, else there are fewer clients."""
    command = [sys.executable, "-c", _PROGRAM, *map(str, (*limits, wanted))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert tuple(map(int, done.stdout.split())) == expected

"""Runs h2load, which posts one request's bytes over and over, and reads what it says.

gRPC reports errors in trailers below a status of 200, which h2load does not look at: whoever runs a load has
to look at the server for what was really done.

h2load has one thread here. On a machine of few cores it takes processor time from what it measures, as
redis-benchmark does; `Run.tool_busy` tells how near to its own limit it was. (At etcd's rates it took a tenth
to four tenths of a core, on a machine of two, so that etcd is the limit.)
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.workload import LoadFailed, Outcome

_SECONDS_MAX = 300
_HEADERS = ("content-type: application/grpc", "te: trailers")


def run(url: str, body: bytes, *, requests: int, connections: int, pipeline: int) -> Outcome:
    """Post `body` that often, with `pipeline` requests under way on each connection.

    Raises LoadFailed unless each was answered with a status of 2xx.
    """
    with tempfile.TemporaryDirectory(prefix="h2load-") as name:
        log, data = Path(name) / "log", Path(name) / "body"
        data.write_bytes(body)
        options = ["-n", requests, "-c", min(connections, requests), "-m", pipeline]
        command = ["h2load", *map(str, options), "-d", str(data), f"--log-file={log}"]
        for header in _HEADERS:
            command += ["-H", header]
        try:
            done = subprocess.run(
                [*command, url], capture_output=True, text=True, timeout=_SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired as late:
            raise LoadFailed(f"h2load did not end within {_SECONDS_MAX} s") from late
        if done.returncode != 0 or succeeded(done.stdout) != requests:
            raise LoadFailed(f"h2load: {done.stdout[-300:]}{done.stderr[-300:]}")
        return outcome(done.stdout, log.read_text())


def succeeded(text: str) -> int:
    """Return how many requests were answered with a status of 2xx. Raises ValueError."""
    return int(_found(r"^status codes: (\d+) 2xx", text))


def outcome(text: str, log: str) -> Outcome:
    """Take the rate from what h2load prints, and the latencies from its log of requests.

    A line of the log is: begin (microseconds since 1970), status, microseconds until the end of the response.
    Raises ValueError.
    """
    latencies = sorted(int(line.split("\t")[2]) for line in log.splitlines())
    if not latencies:
        raise ValueError("h2load logged no request")
    return Outcome(
        per_second=float(_found(r"^finished in [\d.]+\w+, ([\d.]+) req/s", text)),
        p50_ms=percentile(latencies, 50) / 1000,
        p95_ms=percentile(latencies, 95) / 1000,
        p99_ms=percentile(latencies, 99) / 1000,
        max_ms=latencies[-1] / 1000,
    )


def percentile(ascending: Sequence[int], percent: int) -> int:
    """Return the smallest element that is not below `percent` percent of all (nearest rank)."""
    return ascending[max(0, -(-len(ascending) * percent // 100) - 1)]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise ValueError(f"h2load said nothing like {pattern!r}: {text[-1000:]!r}")
    return match[1]

"""Runs redis-benchmark, the load of whatever speaks Redis's protocol, and reads what it says."""

from __future__ import annotations

import csv
import subprocess

from benchmarks.workload import MSET_KEYS, Disturbed, LoadFailed, Outcome, Workload

#: A value goes into the command line only for MSET; one argument holds less than 128 KB (execve(2)).
_ARGUMENT_BYTES_MAX = 100_000
#: It tries for ever to connect to a server that is gone.
_SECONDS_MAX = 300
_DISTURBANCES = ("MOVED", "CLUSTERDOWN", "TRYAGAIN", "UNKNOWN")


def run(port: int, workload: Workload, *, requests: int) -> Outcome:
    """Run the load once. Raises LoadFailed; Disturbed when the node at `port` isn't the leader any more."""
    command = command_line(port, workload, requests=requests)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired as late:
        raise LoadFailed(f"redis-benchmark did not end within {_SECONDS_MAX} s") from late
    if any(f"{word} " in done.stderr + done.stdout for word in _DISTURBANCES):
        raise Disturbed((done.stderr.strip() or done.stdout.strip()).splitlines()[0])
    if done.returncode != 0:
        raise LoadFailed(f"redis-benchmark: {done.stdout[-300:]}{done.stderr[-300:]}")
    return parse(done.stdout)


def command_line(port: int, workload: Workload, *, requests: int) -> list[str]:
    """Return the command and its arguments.

    MSET is given word by word, with keys of one hash tag: redis-benchmark's own is refused by the node of a
    cluster (CROSSSLOT), and sets one key ten times.
    """
    options = {"-p": port, "-c": workload.connections, "-P": workload.pipeline, "-n": requests}
    if workload.keys > 1:
        options["-r"] = workload.keys
    words = [word for name, value in options.items() for word in (name, str(value))]
    if workload.command == "mset":
        return ["redis-benchmark", "--csv", *words, "mset", *_mset_words(workload)]
    return ["redis-benchmark", "--csv", *words, "-d", str(workload.value_bytes), "-t", workload.command]


def parse(text: str) -> Outcome:
    """Read the CSV of one test. Raises ValueError."""
    lines = list(csv.DictReader(text.splitlines()))
    if len(lines) != 1:
        raise ValueError(f"not the line of one test: {text!r}")
    (line,) = lines
    return Outcome(
        per_second=float(line["rps"]),
        p50_ms=float(line["p50_latency_ms"]),
        p95_ms=float(line["p95_latency_ms"]),
        p99_ms=float(line["p99_latency_ms"]),
        max_ms=float(line["max_latency_ms"]),
    )


def _mset_words(workload: Workload) -> list[str]:
    if workload.value_bytes > _ARGUMENT_BYTES_MAX:
        raise ValueError(f"MSET's values have at most {_ARGUMENT_BYTES_MAX} bytes here")
    tag = "{m__rand_int__}" if workload.keys > 1 else "{m}"
    pairs = ((f"{tag}:{place}", "x" * workload.value_bytes) for place in range(MSET_KEYS))
    return [word for pair in pairs for word in pair]

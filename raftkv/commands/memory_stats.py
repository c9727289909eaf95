"""MEMORY STATS, DOCTOR, MALLOC-STATS, PURGE: what this node's process takes up.

The rows of sub-commands for the MEMORY container. Knows of memory what the operating system says of the
process, and what the cache and the connections say of themselves; Python's allocator tells nothing finer.
"""

from __future__ import annotations

from raftkv.commands.session import Session
from raftkv.commands.table import LOCAL, CommandDocs, CommandSpec, Handler
from raftkv.resp.replies import OK, Reply, Verbatim

#: A process that takes up less has nothing wrong with it (redis MEMORY DOCTOR).
_LITTLE_BYTES = 128 << 20
#: Of a machine's memory: the rest is the files' cache, on which reads of what is not cached here depend.
_SHARE_MAX = 0.75
#: Of what the process takes up.
_CLIENTS_SHARE_MAX = 0.25
_PEAK_FACTOR_MAX = 1.5


def on_stats(session: Session, _args: list[bytes]) -> Reply:
    """Answer the figures under Redis's names, as far as there is the like of them."""
    node = session.node
    process = node.process()
    clients_bytes = sum(each.input_bytes + each.output_bytes for each in node.sessions())
    keys_count = sum(count.keys for count in node.key_counts().values())
    overhead_bytes = process.memory_startup_bytes + clients_bytes
    grown_bytes = max(0, process.memory_bytes - process.memory_startup_bytes)
    return {
        b"peak.allocated": process.memory_peak_bytes,
        b"total.allocated": process.memory_bytes,
        b"startup.allocated": process.memory_startup_bytes,
        b"clients.normal": clients_bytes,
        b"overhead.total": overhead_bytes,
        b"keys.count": keys_count,
        b"keys.bytes-per-key": grown_bytes // keys_count if keys_count else 0,
        b"dataset.bytes": process.cache_bytes,
        b"dataset.percentage": 100 * min(1.0, process.cache_bytes / grown_bytes) if grown_bytes else 0.0,
        b"dataset.bytes-on-disk": process.state_bytes,
        b"peak.percentage": 100 * process.memory_bytes / process.memory_peak_bytes,
    }


def on_doctor(session: Session, _args: list[bytes]) -> Reply:
    """Say what is wrong with this node's memory, and what to do about it."""
    node = session.node
    process, config = node.process(), node.settings.config
    if process.memory_bytes < _LITTLE_BYTES:
        return Verbatim(b"This node takes up little memory: there is nothing to say about it.\n")
    clients_bytes = sum(each.input_bytes + each.output_bytes for each in node.sessions())
    found = []
    if process.memory_bytes > _SHARE_MAX * process.memory_total_bytes:
        found.append(
            "The process takes up most of the machine's memory. Make cache-bytes-max smaller: it is "
            f"{config.cache_bytes_max} bytes, of which {process.cache_bytes} are in use."
        )
    if process.memory_peak_bytes > _PEAK_FACTOR_MAX * process.memory_bytes:
        found.append(
            f"It once took up {process.memory_peak_bytes} bytes, now {process.memory_bytes}. Very large "
            "commands or clients that don't read their replies do that; see command-bytes-max and "
            "output-buffer-bytes-max."
        )
    if clients_bytes > _CLIENTS_SHARE_MAX * process.memory_bytes:
        found.append(
            f"Requests and replies of clients take up {clients_bytes} bytes. "
            "CLIENT LIST shows whose (qbuf, omem)."
        )
    text = "\n".join(f"- {each}" for each in found) or "Nothing is wrong with this node's memory."
    return Verbatim(f"{text}\n".encode())


def on_malloc_stats(_session: Session, _args: list[bytes]) -> Reply:
    """Answer that the allocator keeps none, in Redis's words."""
    return Verbatim(b"Stats not supported for the current allocator")


def on_purge(session: Session, _args: list[bytes]) -> Reply:
    """Collect what garbage there is at once, instead of when enough has gathered."""
    session.node.release_memory()
    return OK


def _row(
    word: bytes, handler: Handler, summary: str, complexity: str, *, tips: tuple[str, ...]
) -> CommandSpec:
    return CommandSpec(
        name=b"memory|" + word,
        arity=2,
        route=LOCAL,
        handler=handler,
        acl_categories=frozenset({"slow"}),
        docs=CommandDocs(summary, "4.0.0", "server", complexity),
        tips=tips,
    )


_VARIES = ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")

SUBCOMMANDS: tuple[CommandSpec, ...] = (
    _row(b"doctor", on_doctor, "Outputs a memory problems report.", "O(1)", tips=_VARIES),
    _row(b"malloc-stats", on_malloc_stats, "Returns the allocator statistics.", "O(1)", tips=_VARIES),
    _row(
        b"purge",
        on_purge,
        "Asks for garbage to be collected.",
        "O(N) where N is the number of young objects",
        tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    ),
    _row(
        b"stats",
        on_stats,
        "Returns details about memory usage.",
        "O(N) where N is the number of clients",
        tips=_VARIES,
    ),
)

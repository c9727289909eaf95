"""etcd's JSON gateway, for what has to be asked of one member; too slow to be a load.

Knows the few calls that are needed here. Bytes travel in base64.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class GatewayError(Exception):
    """The member is down, or refused."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a member says of itself."""

    member_id: str
    #: "0" or "" where it knows none.
    leader_id: str
    revision: int


class Gateway:
    """A connection to one member, made when it is first used."""

    def __init__(self, port: int, *, seconds_max: float = 15.0) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds_max)

    def status(self) -> Status:
        """Return the member's status. Raises GatewayError."""
        found = self._post("/v3/maintenance/status", {})
        header = found["header"]
        return Status(header["member_id"], found.get("leader", ""), int(header["revision"]))

    def put(self, key: str, value: str) -> None:
        """Write one key. Raises GatewayError."""
        self._post("/v3/kv/put", {"key": _encoded(key), "value": _encoded(value)})

    def put_all(self, keys: Sequence[str], value: str) -> None:
        """Write up to 128 keys, all at once. Raises GatewayError."""
        puts = [{"requestPut": {"key": _encoded(key), "value": _encoded(value)}} for key in keys]
        self._post("/v3/kv/txn", {"success": puts})

    def get(self, key: str) -> str | None:
        """Read one key, linearizably. Raises GatewayError."""
        found = self._post("/v3/kv/range", {"key": _encoded(key)}).get("kvs", [])
        return base64.b64decode(found[0].get("value", "")).decode() if found else None

    def compact(self, revision: int) -> None:
        """Forget what keys were before the revision. Raises GatewayError."""
        self._post("/v3/kv/compaction", {"revision": str(revision)})

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _post(self, path: str, question: Mapping[str, Any]) -> Any:
        try:
            self._connection.request("POST", path, json.dumps(question))
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as failure:
            self._connection.close()
            raise GatewayError(str(failure)) from failure
        if response.status != http.client.OK:
            raise GatewayError(f"{path}: {response.status} {text.decode(errors='replace')}")
        return json.loads(text)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()

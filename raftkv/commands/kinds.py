"""What Redis calls the types of values (redis TYPE, SCAN with TYPE)."""

from __future__ import annotations

from typing import Final

from raftkv.rows import STRING

#: By the type bytes of rows.
TYPE_NAMES: Final = {STRING: "string"}

"""Where `raftkv status` has the password from that a node asks for.

Knows the terminal, files and the environment, nothing of how a password is handed to a node (`status`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from getpass import getpass
from pathlib import Path

from raftkv.config import ConfigError
from raftkv.status import ClusterStatus, PasswordRefused, Place, look

#: The client's own name for it; a node's setting, which holds where `status` runs beside its node.
PASSWORD_VARIABLE = "RAFTKV_PASSWORD"
_SETTING_VARIABLE = "RAFTKV_REQUIREPASS"


def given_password(*, word: str | None, path: Path | None, environ: Mapping[str, str]) -> str:
    """Return the password that was given: as a word, in a file or in the environment; "": none was.

    Raises ConfigError for two at once, and for a file that has none.
    """
    if path is None:
        return word or environ.get(PASSWORD_VARIABLE) or environ.get(_SETTING_VARIABLE, "")
    if word is not None:
        raise ConfigError("can't be given with --password", source="--password-file")
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as failure:
        raise ConfigError(f"can't be read: {failure.strerror}", source=str(path)) from None
    password, _, _ = text.partition("\n")
    if not password:
        raise ConfigError("has no password in its first line", source=str(path))
    return password


def look_or_ask(place: Place, password: str) -> ClusterStatus:
    """Look at the cluster; ask at the terminal, if there is one, for the password that turns out to miss.

    Raises StatusUnavailable.
    """
    try:
        return asyncio.run(look(place, password=password))
    except PasswordRefused:
        if password or not sys.stdin.isatty():
            raise
    return asyncio.run(look(place, password=getpass(f"Password of {place}: ")))

"""Where the scenarios lie, and who plays which."""

from __future__ import annotations

from pathlib import Path

from tests.scenarios.interaction_player import InteractionPlayer
from tests.scenarios.membership_player import MembershipPlayer
from tests.scenarios.quorum_player import QuorumPlayer
from tests.scenarios.script import Player, ScriptError, played

FOLDER = Path(__file__).parent
PLAYERS: dict[str, type[Player]] = {
    "quorum": QuorumPlayer,
    "membership": MembershipPlayer,
    "interaction": InteractionPlayer,
}


def scenario_files() -> list[Path]:
    """Return every scenario."""
    return sorted(path for family in PLAYERS for path in (FOLDER / family).glob("*.txt"))


def played_file(path: Path) -> str:
    """Return the file as it would be if its transcripts were what the core does now. Raises ScriptError."""
    try:
        return played(path.read_text(encoding="utf-8"), PLAYERS[path.parent.name]())
    except ScriptError as error:
        raise ScriptError(f"{path.parent.name}/{path.name}: {error}") from error

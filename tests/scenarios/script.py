"""A scenario's file: its commands and their transcripts, as text and as a value.

    # A title: the rule that is shown.
    # More words.

    > a command of some player
        what came of it

Knows nothing of what commands mean; a `Player` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

_COMMENT = "#"
_COMMAND = "> "
_INDENT = "    "


class ScriptError(Exception):
    """A script says what nobody understands."""


class Player(Protocol):
    """Carries out the commands of one family of scenarios."""

    def play(self, words: list[str]) -> list[str]:
        """Carry out one command and tell what came of it. Raises ScriptError."""


@dataclass(slots=True)
class Step:
    """A command, and what stands around it."""

    #: Comments and empty lines before the command.
    preface: list[str]
    #: Empty: the file ends with the preface.
    command: str
    transcript: list[str] = field(default_factory=list)


def parse_script(text: str) -> list[Step]:
    """Return the steps that a file describes. Raises ScriptError."""
    steps: list[Step] = []
    preface: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(_COMMAND):
            steps.append(Step(preface, line.removeprefix(_COMMAND)))
            preface = []
        elif line.startswith(_INDENT) and steps and not preface:
            steps[-1].transcript.append(line.removeprefix(_INDENT))
        elif not line or line.startswith(_COMMENT):
            preface.append(line)
        else:
            raise ScriptError(f"line {number} is no comment, no command and no transcript: {line!r}")
    if preface:
        steps.append(Step(preface, ""))
    return steps


def render_script(steps: list[Step]) -> str:
    """Return the file that `parse_script` reads so."""
    lines: list[str] = []
    for step in steps:
        lines += step.preface
        if step.command:
            lines.append(_COMMAND + step.command)
            lines += [_INDENT + line for line in step.transcript]
    return "\n".join(lines) + "\n"


def title_of(text: str) -> str:
    """Return the rule that a scenario shows; empty when it doesn't say."""
    first = text.partition("\n")[0]
    return first.removeprefix(_COMMENT).strip() if first.startswith(_COMMENT) else ""


def played(text: str, player: Player) -> str:
    """Return the file as it would be if its transcripts told what this player does. Raises ScriptError."""
    steps = parse_script(text)
    for step in steps:
        if step.command:
            try:
                step.transcript = player.play(step.command.split())
            except (ScriptError, ValueError, KeyError, IndexError, AssertionError) as error:
                raise ScriptError(f"> {step.command}: {type(error).__name__}: {error}") from error
    return render_script(steps)

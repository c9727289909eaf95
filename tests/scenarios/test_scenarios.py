"""Every scenario's transcript is what the core does; and the scripts' own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.files import played_file, scenario_files
from tests.scenarios.script import ScriptError, parse_script, played, render_script, title_of

FILES = scenario_files()


class Echo:
    """A player that says what it was told."""

    def play(self, words: list[str]) -> list[str]:
        """Return the words, a line for each."""
        return words


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_scenario_runs_as_it_is_written(path: Path) -> None:
    """The file's first line names the rule; `python -m tests.scenarios --rewrite` if the change is meant."""
    assert played_file(path) == path.read_text(encoding="utf-8")


def test_every_scenario_says_which_rule_it_shows() -> None:
    """tests/scenarios: a title of its own, at the head of the file."""
    titles = [title_of(path.read_text(encoding="utf-8")) for path in FILES]
    assert all(title.endswith(".") for title in titles), titles
    assert len(set(titles)) == len(titles)


def test_a_script_is_rendered_as_it_was_read() -> None:
    """tests.scenarios.script: comments, commands and transcripts keep their places."""
    text = "# Title.\n\n> do this\n    a\n    b\n\n# why\n> and that\n\n# end\n"
    assert render_script(parse_script(text)) == text


def test_a_transcript_is_replaced_by_what_happens() -> None:
    """tests.scenarios.script.played."""
    assert played("# T.\n> a b\n    old\n", Echo()) == "# T.\n> a b\n    a\n    b\n"


@pytest.mark.parametrize("text", ["nodes 3\n", "    transcript of nothing\n", "> a\n\n    too late\n"])
def test_a_line_without_meaning_is_refused(text: str) -> None:
    """tests.scenarios.script: nothing in a file is silently dropped."""
    with pytest.raises(ScriptError, match="is no comment"):
        parse_script(text)

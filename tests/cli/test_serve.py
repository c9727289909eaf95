"""`raftkv serve` and what every command shares: wrong settings end it with code 2 and one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftkv import __version__
from raftkv.config import SETTINGS
from tests.cli.command import raftkv


def refusal(cwd: Path, *arguments: str, **settings: str) -> str:
    """Return the one line that `serve` refuses with."""
    done = raftkv("serve", *arguments, cwd=cwd, **settings)
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_version_is_the_packages(tmp_path: Path) -> None:
    """raftkv --version."""
    done = raftkv("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"raftkv {__version__}\n")


def test_help_lists_every_setting(tmp_path: Path) -> None:
    """Every key is also a flag."""
    done = raftkv("serve", "--help", cwd=tmp_path, COLUMNS="200")
    assert done.returncode == 0
    for setting in SETTINGS:
        assert f"{setting.flag} VALUE" in done.stdout
    assert "exit-with-parent" not in done.stdout


def test_command_is_required(tmp_path: Path) -> None:
    """Nothing is guessed."""
    done = raftkv(cwd=tmp_path)
    assert done.returncode == 2
    assert "COMMAND" in done.stderr


def test_unknown_key_in_the_file_names_file_and_key(tmp_path: Path) -> None:
    """A wrong key names itself and what is allowed."""
    (tmp_path / "node.toml").write_text("prot = 7001\n")
    assert refusal(tmp_path, "--config", "node.toml") == (
        "raftkv: node.toml: there is no setting 'prot'; did you mean 'port'?"
    )


def test_wrong_value_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    """A wrong value names itself and what is allowed."""
    assert refusal(tmp_path, RAFTKV_LOOP="trio") == (
        "raftkv: environment RAFTKV_LOOP: 'trio' can't be taken: it must be one of uvloop, asyncio"
    )


def test_unknown_flag_names_the_nearest(tmp_path: Path) -> None:
    """No abbreviations either: a setting to come could make them ambiguous."""
    assert refusal(tmp_path, "--prot", "1") == "raftkv: there is no argument '--prot'; did you mean --port?"
    assert refusal(tmp_path, "--clients-ma", "1").endswith("did you mean --clients-max?")


def test_flag_wins_over_environment_and_file(tmp_path: Path) -> None:
    """Each value is fine by itself and wrong in the end: the complaint names the one that won."""
    (tmp_path / "node.toml").write_text('bind = "10.0.0.1"\n')
    line = refusal(tmp_path, "--config", "node.toml", "--bind", "10.0.0.3", RAFTKV_BIND="10.0.0.2")
    assert line.startswith("raftkv: bind: '10.0.0.3' can be reached from other machines")
    line = refusal(tmp_path, "--config", "node.toml", RAFTKV_BIND="10.0.0.2")
    assert line.startswith("raftkv: bind: '10.0.0.2' can be reached from other machines")


def test_missing_file_is_named(tmp_path: Path) -> None:
    """--config FILE."""
    assert refusal(tmp_path, "--config", "gone.toml") == (
        "raftkv: gone.toml: can't be read: No such file or directory"
    )


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.0.2.7"])
def test_only_loopback_is_served_in_protected_mode(tmp_path: Path, bind: str) -> None:
    """redis protected-mode."""
    line = refusal(tmp_path, "--bind", bind)
    assert "there is no password or TLS" in line
    assert "protected_mode = false" in line

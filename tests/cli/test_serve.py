"""`raftkv serve` and what every command shares: wrong settings end it with code 2 and one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftkv import __version__
from raftkv.config_sources import SETTINGS
from tests.cli.command import python, raftkv


def refusal(cwd: Path, *arguments: str, **settings: str) -> str:
    """Return the one line that `serve` refuses with."""
    done = raftkv("serve", *arguments, cwd=cwd, **settings)
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def words_in_boxes(text: str) -> str:
    """Return the text without the lines drawn around it, on one line."""
    return " ".join(word for word in text.split() if not set(word) <= set("│─╭╮╰╯"))


def test_version_is_the_packages(tmp_path: Path) -> None:
    """raftkv --version."""
    done = raftkv("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"raftkv {__version__}\n")


def test_help_lists_every_setting(tmp_path: Path) -> None:
    """Every key is also a flag; its help says what is allowed, the default and the variable."""
    done = raftkv("serve", "--help", cwd=tmp_path, COLUMNS="200")
    assert done.returncode == 0
    text = words_in_boxes(done.stdout)
    for setting in (each for each in SETTINGS if not each.is_hidden):
        default = setting.kind.show(setting.default)
        facts = f"default {default}, {setting.environment_name}" if default else setting.environment_name
        assert f"{setting.flag} VALUE {setting.help}: {setting.kind.allowed} ({facts})" in text
    assert "exit-with-parent" not in text
    assert "debug" not in text.replace("debug, info", "")
    assert "completion" not in text


def test_command_is_required(tmp_path: Path) -> None:
    """Nothing is guessed."""
    done = raftkv(cwd=tmp_path)
    assert done.returncode == 2
    assert "Missing command." in done.stderr


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
    for given, nearest in (("--prot", "--port"), ("--clients-ma", "--clients-max")):
        done = raftkv("serve", given, "1", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        _, _, complaint = words_in_boxes(done.stderr).partition(f"No such option: {given} ")
        assert nearest in complaint


def test_value_is_taken_as_it_was_typed(tmp_path: Path) -> None:
    """Only the setting itself says what is allowed: no flag has a type of its own, or takes no value."""
    assert refusal(tmp_path, "--slice-ms", "-3") == (
        "raftkv: --slice-ms: '-3' can't be taken: it must be a whole number from 1 to 1000"
    )
    assert refusal(tmp_path, "--protected-mode", "maybe") == (
        "raftkv: --protected-mode: 'maybe' can't be taken: it must be true or false"
    )
    assert refusal(tmp_path, "--data-dir", "") == (
        "raftkv: --data-dir: '' can't be taken: it must be a line of text, not empty"
    )


def test_node_starts_without_what_only_people_need(tmp_path: Path) -> None:
    """rich alone takes longer to load than the rest of the command line: a failover would wait for it."""
    modules = "import sys; from raftkv.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    done = python("-c", modules, "serve", "--port", "x", cwd=tmp_path)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "typer" in loaded, done
    assert "rich" not in loaded


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

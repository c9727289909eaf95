"""The command line: arguments to a Config or a request, and exit codes. No logic.

Exit codes: 0 done; 1 it failed; 2 the command line or the configuration is wrong. What only one command
needs is imported by that command, and typer loads rich for help and complaints alone: a node that is
started again is waited for.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Annotated

import typer

from raftkv import __version__, member_cli
from raftkv.cluster_dir import ClusterDirRefused, ClusterShape
from raftkv.config import Config, ConfigError
from raftkv.config_sources import SETTINGS, Setting, config_from, read_toml
from raftkv.node_process import exit_with_parent
from raftkv.passwords import PASSWORD_VARIABLE, given_password, look_or_ask
from raftkv.status import Place, StatusUnavailable
from raftkv.upkeep_cli import add_commands, refusals_told

EXIT_FAILURE = 1
EXIT_USAGE = 2

_EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 the command line or the configuration is wrong."
_ABOUT_SERVE = (
    "Run one node.\n\n"
    "Each setting is a key of the TOML file, an environment variable and an option: node_id, RAFTKV_NODE_ID "
    "and --node-id are the same. Options win over the environment, and the environment over the file."
)
#: What rich would take for a style, such as [members]; it is shown as it is after a backslash.
_RICH_TAG = re.compile(r"\[[a-z#/@][^\[]*?\]")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, epilog=_EXIT_CODES)
member_cli.add_to(app)


def main() -> None:
    """Run the command that the process was started with. Raises SystemExit with its exit code."""
    try:
        app(prog_name="raftkv")
    except (ConfigError, ClusterDirRefused) as refusal:
        _complain(str(refusal), EXIT_USAGE)
    except (StatusUnavailable, OSError) as failure:
        _complain(str(failure), EXIT_FAILURE)


def _complain(text: str, code: int) -> None:
    sys.stderr.write(f"raftkv: {text}\n")
    raise SystemExit(code)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"raftkv {__version__}\n")
        raise typer.Exit


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` an option for each setting, handed to its `**texts`: what was typed, or None.

    The text is not looked at here: `config_from` reads it, as it reads the environment.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    options = [
        Parameter(setting.key, Parameter.KEYWORD_ONLY, default=None, annotation=_option_of(setting))
        for setting in SETTINGS
    ]
    # Where typer looks for a command's parameters.
    command.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return command


def _option_of(setting: Setting) -> object:
    default = setting.kind.show(setting.default)
    facts = f"default {default}, {setting.environment_name}" if default else setting.environment_name
    text = f"{setting.help}: {setting.kind.allowed} ({facts})"
    option = typer.Option(
        setting.flag,
        metavar="VALUE",
        help=_RICH_TAG.sub(r"\\\g<0>", text),
        rich_help_panel="Settings",
        hidden=setting.is_hidden,
    )
    return Annotated[str | None, option]


@app.callback()
def raftkv(
    _is_version_asked: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """A durable, linearizable key-value store that any Redis client can talk to."""


@app.command(epilog=_EXIT_CODES)
def up(
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=9, metavar="COUNT", help="How many nodes.")] = 3,
    port: Annotated[
        int,
        typer.Option("--port", min=1, max=65535, metavar="PORT", help="Node 1's port; the others' follow."),
    ] = 7001,
    path: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Data directory.")] = Path("raftkv-data"),
    standalone_port: Annotated[
        int,
        typer.Option(
            "--standalone-port",
            min=0,
            max=65535,
            metavar="PORT",
            help="Node 1's port for clients that know no Redis Cluster; the others' follow. 0: none.",
        ),
    ] = 0,
    is_left_down: Annotated[bool, typer.Option("--no-restart", help="Leave a node down that died.")] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of serve, for every node. Repeatable."),
    ] = None,
) -> None:
    """Run a whole cluster on this machine, until Ctrl-C."""
    from rich.console import Console

    from raftkv.supervisor import UpRequest, run_up

    request = UpRequest(
        shape=ClusterShape(nodes=nodes, port=port, standalone_port=standalone_port),
        path=path,
        restart=not is_left_down,
        environ=_settings_environment(),
        settings=_settings_of(assignments or ()),
    )
    raise typer.Exit(run_up(request, Console()))


@app.command(help=_ABOUT_SERVE, epilog=_EXIT_CODES, options_metavar="[--config FILE] [--SETTING VALUE ...]")
@_with_settings
def serve(
    path: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A TOML file of the settings below.")
    ] = None,
    parent_pid: Annotated[int | None, typer.Option("--exit-with-parent", hidden=True)] = None,
    **texts: str | None,
) -> None:
    """Run one node, configured by all three sources."""
    if parent_pid is not None:
        exit_with_parent(parent_pid)
    config = _config_of(path, {key: text for key, text in texts.items() if text is not None})
    from raftkv.node.running import run_node

    raise typer.Exit(run_node(config, path))


@app.command(epilog=_EXIT_CODES)
def status(
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Host of any node.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, metavar="PORT", help="Its port.")] = 7001,
    is_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    word: Annotated[
        str | None,
        typer.Option(
            "--password",
            metavar="TEXT",
            help=f"The nodes' password. Who lists processes sees it: better use {PASSWORD_VARIABLE}, "
            "--password-file, or neither on a terminal, where it is asked for.",
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="A file whose first line is the password."),
    ] = None,
) -> None:
    """Show the nodes of a running cluster."""
    found = look_or_ask(Place(host, port), given_password(word=word, path=path, environ=os.environ))
    if is_json:
        sys.stdout.write(json.dumps(found.as_json(), indent=2) + "\n")
        return
    from rich.console import Console

    from raftkv.status_view import table_of

    Console().print(table_of(found, notes={}))


@app.command(epilog=_EXIT_CODES, options_metavar="[--config FILE] [--SETTING VALUE ...]")
@_with_settings
def restore(
    backup: Annotated[Path, typer.Argument(metavar="PATH", help="What `raftkv backup` made.")],
    path: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The TOML file that the node will have.")
    ] = None,
    **texts: str | None,
) -> None:
    """Make the data directory of a founder of a new cluster out of a backup.

    Needed are --data-dir, --node-id and --members, as for `serve`. Do so for every founder, then start them.
    """
    config = _config_of(path, {key: text for key, text in texts.items() if text is not None})
    from raftkv.backup_cli import run_restore

    with refusals_told():
        raise typer.Exit(run_restore(backup, config))


add_commands(app, epilog=_EXIT_CODES)


def _settings_of(assignments: Sequence[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"{assignment!r} must be KEY=VALUE", source="--set")
        settings[key.replace("-", "_")] = value
    return settings


def _settings_environment() -> dict[str, str]:
    """The environment without what is no setting of a node's."""
    return {name: text for name, text in os.environ.items() if name != PASSWORD_VARIABLE}


def _config_of(path: Path | None, flags: Mapping[str, str]) -> Config:
    table: dict[str, object] = {}
    if path is not None:
        try:
            table = read_toml(path.read_bytes(), name=str(path))
        except OSError as failure:
            raise ConfigError(f"can't be read: {failure.strerror}", source=str(path)) from None
    return config_from(table, _settings_environment(), flags, table_name=str(path))

"""The command line: arguments to a Config or a request, and exit codes. No logic.

Exit codes: 0 done; 1 it failed; 2 the command line or the configuration is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from raftkv import __version__
from raftkv.cluster_dir import ClusterDirRefused, ClusterShape
from raftkv.config import ENVIRONMENT_PREFIX, SETTINGS, Config, ConfigError, config_from, read_toml
from raftkv.config_values import Integer
from raftkv.node_process import exit_with_parent
from raftkv.status import Place, StatusUnavailable, look
from raftkv.status_view import table_of
from raftkv.supervisor import UpRequest, run_up

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2

_EXIT_CODES = "exit codes: 0 done, 1 failed, 2 the command line or the configuration is wrong"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed, unknown = _parser().parse_known_args(arguments)
    if unknown:
        return _complain(_about_unknown(unknown[0], parsed.options), EXIT_USAGE)
    try:
        code: int = parsed.run(parsed)
    except (ConfigError, ClusterDirRefused) as refusal:
        return _complain(str(refusal), EXIT_USAGE)
    except (StatusUnavailable, OSError) as failure:
        return _complain(str(failure), EXIT_FAILURE)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raftkv",
        description="A durable, linearizable key-value store that any Redis client can talk to.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"raftkv {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary, add_arguments in (
        ("up", "run a whole cluster on this machine, until Ctrl-C", _add_up),
        ("serve", "run one node", _add_serve),
        ("status", "show the nodes of a running cluster", _add_status),
    ):
        command = commands.add_parser(
            name, help=summary, description=summary, epilog=_EXIT_CODES, allow_abbrev=False
        )
        add_arguments(command)
        command.set_defaults(options=re.findall(r"--[a-z-]+", command.format_help()))
    return parser


def _add_up(command: argparse.ArgumentParser) -> None:
    command.add_argument("--nodes", type=_whole(1, 9), default=3, help="how many, 1 to 9 (default 3)")
    command.add_argument(
        "--port", type=_whole(1, 65535), default=7001, help="node 1's port; the others' follow (default 7001)"
    )
    command.add_argument(
        "--dir", type=Path, default=Path("raftkv-data"), help="data directory (default ./raftkv-data)"
    )
    command.add_argument("--no-restart", action="store_true", help="leave a node down that died")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of serve, for every node"
    )
    command.set_defaults(run=_up)


def _add_serve(command: argparse.ArgumentParser) -> None:
    command.usage = "raftkv serve [--config FILE] [--SETTING VALUE ...]"
    command.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of these settings")
    command.add_argument("--exit-with-parent", type=int, metavar="PID", help=argparse.SUPPRESS)
    settings = command.add_argument_group(
        "settings",
        "Each is a key of the TOML file too, with _ for -, and an environment variable: "
        f"--node-id is node_id and {ENVIRONMENT_PREFIX}NODE_ID. Flags win over the environment, "
        "and the environment over the file.",
    )
    for setting in SETTINGS:
        default = setting.kind.show(setting.default)
        about = f"{setting.help}: {setting.kind.allowed}" + (f" (default {default})" if default else "")
        settings.add_argument(setting.flag, dest=setting.key, metavar="VALUE", help=about.replace("%", "%%"))
    command.set_defaults(run=_serve)


def _add_status(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", default="127.0.0.1", help="host of any node (default 127.0.0.1)")
    command.add_argument("--port", type=_whole(1, 65535), default=7001, help="its port (default 7001)")
    command.add_argument("--json", action="store_true", help="write one JSON object")
    command.set_defaults(run=_status)


def _up(arguments: argparse.Namespace) -> int:
    settings: dict[str, str] = {}
    for assignment in arguments.set:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"{assignment!r} must be KEY=VALUE", source="--set")
        settings[key.replace("-", "_")] = value
    request = UpRequest(
        shape=ClusterShape(nodes=arguments.nodes, port=arguments.port),
        path=arguments.dir,
        restart=not arguments.no_restart,
        environ=os.environ,
        settings=settings,
    )
    return run_up(request, Console())


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.exit_with_parent is not None:
        exit_with_parent(arguments.exit_with_parent)
    config = _config_of(arguments)
    # Only this command needs the node with all that it imports.
    from raftkv.node.node import run_node

    return run_node(config)


def _config_of(arguments: argparse.Namespace) -> Config:
    table: dict[str, object] = {}
    if arguments.config is not None:
        try:
            table = read_toml(arguments.config.read_bytes(), name=str(arguments.config))
        except OSError as failure:
            raise ConfigError(f"can't be read: {failure.strerror}", source=str(arguments.config)) from None
    given = {setting.key: getattr(arguments, setting.key) for setting in SETTINGS}
    flags = {key: text for key, text in given.items() if text is not None}
    return config_from(table, os.environ, flags, table_name=str(arguments.config))


def _status(arguments: argparse.Namespace) -> int:
    status = asyncio.run(look(Place(arguments.host, arguments.port)))
    if arguments.json:
        sys.stdout.write(json.dumps(status.as_json(), indent=2) + "\n")
    else:
        Console().print(table_of(status, notes={}))
    return EXIT_OK


def _whole(first: int, last: int) -> Callable[[str], int]:
    """Return argparse's reader of a whole number of [first, last]."""

    def read(text: str) -> int:
        try:
            return Integer(first, last).parse(text)
        except ValueError as refusal:
            raise argparse.ArgumentTypeError(f"{text!r} {refusal}") from None

    return read


def _about_unknown(argument: str, options: Sequence[str]) -> str:
    near = difflib.get_close_matches(argument.partition("=")[0], options, n=1)
    return f"there is no argument {argument!r}" + (f"; did you mean {near[0]}?" if near else "; see --help")


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"raftkv: {text}\n")
    return code

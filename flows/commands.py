"""How a subcommand of ``headwater`` is added to its parser."""

import argparse
from collections.abc import Callable
from typing import Any


def add_command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """A subcommand with ``--json`` that calls ``function``, which returns the exit code."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run_command=function)
    return parser

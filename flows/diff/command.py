"""``headwater diff``: two models or two runs side by side."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands import add_command
from flows.home import open_home
from flows.lineage import open_catalogue
from pipeline_data.errors import HeadwaterError

if TYPE_CHECKING:
    from tasks.lineage.difference.difference import Difference


NUM_NAMED = 500
"""Documents of each kind that are named where not all are asked for."""


def add_diff(commands: Any) -> None:
    """The subcommand ``diff``."""
    diff = add_command(commands, "diff", show_diff, "what differs between two models or two runs")
    for name in "ab":
        diff.add_argument(
            name, metavar=name.upper(), help="a model (assistant, assistant@1, a digest) or a run"
        )
    diff.add_argument("--html", metavar="FILE", help="write a page that opens without a network")
    diff.add_argument("--all", action="store_true", help="every shard, document and measure")


def show_diff(options: argparse.Namespace) -> int:
    """``headwater diff``: 0 whether or not they differ."""
    home = open_home()
    from tasks.lineage.difference.difference import as_json, compare_sides
    from tasks.lineage.difference.sides import open_side

    catalogue = open_catalogue(home.open_store())
    a, b = (open_side(catalogue, home.runs, name) for name in (options.a, options.b))
    limit = None if options.json or options.all else NUM_NAMED
    difference = compare_sides(catalogue, a, b, limit)
    if options.html:
        _write_page(Path(options.html), difference)
    if options.json:
        print(json.dumps(as_json(difference), ensure_ascii=False))
        return 0
    from rich.console import Console

    from flows.diff.view import print_difference

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False)
    print_difference(console, difference, show_all=options.all)
    if options.html:
        console.print(f"\npage: {options.html}", soft_wrap=True)
    return 0


def _write_page(path: Path, difference: "Difference") -> None:
    from flows.diff.page import render_page

    try:
        path.write_text(render_page(difference), encoding="utf-8")
    except OSError as error:
        raise HeadwaterError(f"--html {path}: {error.strerror}; name another file") from None

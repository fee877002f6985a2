"""The ``headwater`` command."""

import argparse
import atexit
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flows.commands import add_command
from flows.diff.command import add_diff
from flows.export import add_export
from flows.forget.command import add_forget
from flows.home import open_home
from flows.report import add_report
from flows.trace import add_trace
from flows.verify import add_verify
from pipeline_data.errors import HeadwaterError

ORDER = ("recipe", "force", "only", "until", "shards")
"""Options that are parameters of the flow, too."""


def enter() -> int:
    """The command as a process of its own."""
    atexit.register(_end_quietly)  # the first to be registered is the last to be called
    return main()


def _end_quietly() -> None:
    """DuckDB's bindings list, as a process ends, what other libraries have kept of them."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; a mistake ends in one line on standard error and exit code 1."""
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run_command(options))
    except HeadwaterError as error:
        print(f"headwater: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("headwater: stopped; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser() -> argparse.ArgumentParser:
    """All subcommands with their options."""
    parser = argparse.ArgumentParser(
        prog="headwater",
        description="From raw pages to an aligned assistant, with the source of every token kept.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = add_command(commands, "run", run_pipeline, "run a recipe; redo only what changed")
    _add_order(run)
    run.add_argument("--dry-run", action="store_true", help="say what would run, and do nothing")

    plan = add_command(commands, "plan", show_plan, "what would run, why, and how long it may take")
    _add_order(plan)

    why = add_command(commands, "why", explain_stage, "why a stage ran or was reused the last time")
    why.add_argument("stage", help="a stage's name")
    why.add_argument("--shard", help="this shard alone")

    add_command(commands, "status", show_status, "what the last run did and measured")

    add_trace(commands)

    add_forget(commands)
    add_diff(commands)
    add_verify(commands)
    add_report(commands)
    add_export(commands)

    sql = add_command(
        commands, "sql", answer_sql, "ask the corpus in SQL; alone, lists what there is"
    )
    sql.add_argument("query", nargs="?", help="one SELECT of DuckDB")
    sql.add_argument("--csv", action="store_true", help="comma-separated values")

    chat = add_command(commands, "chat", open_chat, "talk to a model")
    chat.add_argument("model", nargs="?", default="assistant", help="a model's name (assistant)")
    chat.add_argument("--message", help="ask this one question and leave")

    up = add_command(commands, "up", start_servers, "start Prefect, MLflow and a worker")
    up.add_argument("--port", type=int, default=4200, help="of the Prefect server (4200)")
    up.add_argument("--mlflow-port", type=int, default=5000, help="of the MLflow server (5000)")
    up.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    up.add_argument("--detach", action="store_true", help="return when all of it is up")

    add_command(commands, "down", stop_servers, "stop what 'headwater up' started")

    clean = add_command(
        commands, "clean", clean_home, "delete the store and all state of this home"
    )
    clean.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _add_order(parser: argparse.ArgumentParser) -> None:
    """The options that say what to run."""
    parser.add_argument("recipe", nargs="?", default="default", help="name or YAML file (default)")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
        help="override one setting, such as --set pretrain.steps=200; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--force", action="append", default=[], metavar="STAGE",
        help="run this stage even if its result is in the store; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", default=[], metavar="STAGE",
        help="run this stage and no other, with what the store has; may be repeated",
    )  # fmt: skip
    parser.add_argument("--until", metavar="STAGE", help="the last stage to run")
    parser.add_argument(
        "--shards", default="*", metavar="PATTERN",
        help="the shards that --force and --only speak of, such as 'web-*'",
    )  # fmt: skip


def run_pipeline(options: argparse.Namespace) -> int:
    """``headwater run``."""
    home = open_home()
    from flows.plan import summarise_plan

    plan, changes = _plan_order(home, options)
    if options.dry_run:
        return _print_plan(options, plan)
    print(f"{options.recipe} in {home.path}: {summarise_plan(plan)}", file=sys.stderr)

    from flows.foreground import run_in_foreground
    from flows.run_record import read_record

    order = {name: getattr(options, name) for name in ORDER}
    name = run_in_foreground(home, "pipeline", {**order, "overrides": changes})
    record = read_record(home.runs, name)
    if options.json:
        print(json.dumps(record))
    else:
        _print_result(home, record)
    return 0


def show_plan(options: argparse.Namespace) -> int:
    """``headwater plan``."""
    return _print_plan(options, _plan_order(open_home(), options)[0])


def _plan_order(home: Any, options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The plan of what is asked for, and its changes of the recipe."""
    from flows.graphs import plan_graph, whole
    from flows.recipe import load_recipe, parse_overrides
    from tasks.past_results import PastResults
    from tasks.selection import Selection

    changes = parse_overrides(options.overrides)
    recipe = load_recipe(options.recipe, changes)
    selection = Selection.parse(options.force, options.only, options.until, options.shards)
    past = PastResults.load(home.runs, recipe.name, home.open_store())
    return plan_graph(whole, recipe, past, selection), changes


def _print_plan(options: argparse.Namespace, plan: Any) -> int:
    from flows.plan import plan_as_json, print_plan

    if options.json:
        print(json.dumps({"recipe": options.recipe, **plan_as_json(plan)}))
    else:
        print_plan(plan)
    return 0


def explain_stage(options: argparse.Namespace) -> int:
    """``headwater why``."""
    from flows.why import describe_causes, find_causes, last_decisions

    home = open_home()
    run, decisions = last_decisions(home.runs)
    causes = find_causes(home.open_store(), decisions, options.stage, options.shard)
    if options.json:
        print(
            json.dumps({"run": run, "stage": options.stage, "causes": [asdict(c) for c in causes]})
        )
    else:
        print("\n".join(describe_causes(causes)))
    return 0


def _print_result(home: Any, record: dict[str, Any]) -> None:
    from rich.console import Console

    from flows.summary import print_samples, print_summary

    console = Console(width=None if sys.stdout.isatty() else 140)
    print_summary(console, record)
    print_samples(console, record["samples"])
    if record["corpus_report"]:
        console.print(f"\ncorpus: {record['corpus_report']}", highlight=False, soft_wrap=True)
    console.print(
        "\nnext: headwater chat | headwater sql | headwater trace assistant | headwater verify | "
        "headwater up (Prefect and MLflow in the browser)",
        highlight=False,
        soft_wrap=True,
    )


def show_status(options: argparse.Namespace) -> int:
    """``headwater status``."""
    from flows.run_record import last_record

    record = last_record(open_home().runs)
    if options.json:
        print(json.dumps(record))
        return 0
    from rich.console import Console

    from flows.summary import print_summary

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(f"run {record['run']} of recipe {record['recipe']}", highlight=False)
    print_summary(console, record)
    return 0


def answer_sql(options: argparse.Namespace) -> int:
    """``headwater sql``."""
    from flows import sql

    with sql.open_corpus(open_home().open_store()) as database:
        if options.query is None:
            views = sql.list_views(database)
            print(json.dumps({"views": views})) if options.json else sql.print_views(views)
            return 0
        table = sql.query_corpus(database, options.query)
        show = sql.print_json if options.json else sql.print_csv if options.csv else sql.print_rows
        show(table)
    return 0


def open_chat(options: argparse.Namespace) -> int:
    """``headwater chat``."""
    from flows.chat import answer_once, chat_loop

    store = open_home().open_store()
    folder = store.fetch(store.named(options.model)).path("model")
    if options.message is not None:
        return answer_once(folder, options.message, as_json=options.json)
    return chat_loop(folder)


def start_servers(options: argparse.Namespace) -> int:
    """``headwater up``."""
    home = open_home()
    from flows.supervisor import Binding
    from flows.up import up

    binding = Binding(options.host, options.port, options.mlflow_port)
    return up(home, binding, detach=options.detach, as_json=options.json)


def stop_servers(options: argparse.Namespace) -> int:
    """``headwater down``."""
    home = open_home()
    from flows.up import down

    return down(home, as_json=options.json)


def clean_home(options: argparse.Namespace) -> int:
    """``headwater clean``."""
    from flows.servers import supervised

    home = open_home()
    if supervised(home):
        raise HeadwaterError(f"servers of {home.path} are up: stop them first, 'headwater down'")
    if not options.yes:
        reply = input(f"delete {home.path} with the store and all records? [y/N] ")
        if reply.strip().lower() != "y":
            return 1
    shutil.rmtree(home.path)
    if options.json:
        print(json.dumps({"deleted": str(home.path)}))
    else:
        print(f"deleted {home.path}")
    return 0


if __name__ == "__main__":
    sys.exit(enter())

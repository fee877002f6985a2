"""The ``headwater`` command."""

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flows.home import open_home
from pipeline_data.errors import HeadwaterError

ORDER = ("recipe", "force", "only", "until", "shards")
"""Options that are parameters of the flow, too."""
TERMINATED = 143
"""Exit status of a process that SIGTERM ended."""


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

    run = _add(commands, "run", run_pipeline, "run a recipe; redo only what changed")
    _add_order(run)
    run.add_argument("--dry-run", action="store_true", help="say what would run, and do nothing")

    plan = _add(commands, "plan", show_plan, "what would run, why, and how long it may take")
    _add_order(plan)

    why = _add(commands, "why", explain_stage, "why a stage ran or was reused the last time")
    why.add_argument("stage", help="a stage's name")
    why.add_argument("--shard", help="this shard alone")

    _add(commands, "status", show_status, "what the last run did and measured")

    trace = _add(commands, "trace", show_trace, "a model's lineage down to raw files")
    trace.add_argument("model", nargs="?", default="assistant", help="a model's name (assistant)")

    verify = _add(commands, "verify", verify_model, "check every byte of a model's lineage")
    verify.add_argument("model", nargs="?", default="assistant", help="a model's name (assistant)")

    sql = _add(commands, "sql", answer_sql, "ask the corpus in SQL; alone, lists what there is")
    sql.add_argument("query", nargs="?", help="one SELECT of DuckDB")
    sql.add_argument("--csv", action="store_true", help="comma-separated values")

    chat = _add(commands, "chat", open_chat, "talk to a model")
    chat.add_argument("model", nargs="?", default="assistant", help="a model's name (assistant)")
    chat.add_argument("--message", help="ask this one question and leave")

    up = _add(commands, "up", start_servers, "start Prefect, MLflow and a worker")
    up.add_argument("--port", type=int, default=4200, help="of the Prefect server (4200)")
    up.add_argument("--mlflow-port", type=int, default=5000, help="of the MLflow server (5000)")
    up.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    up.add_argument("--detach", action="store_true", help="return when all of it is up")

    _add(commands, "down", stop_servers, "stop what 'headwater up' started")

    clean = _add(commands, "clean", clean_home, "delete the store and all state of this home")
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


def _add(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run_command=function)
    return parser


def run_pipeline(options: argparse.Namespace) -> int:
    """``headwater run``."""
    home = open_home()
    from flows.plan import summarise_plan

    plan, changes = _plan_order(home, options)
    if options.dry_run:
        return _print_plan(options, plan)
    print(f"{options.recipe} in {home.path}: {summarise_plan(plan)}", file=sys.stderr)

    from flows.display import open_display
    from flows.leases import run_flow
    from flows.orphans import claim_children, end_orphans
    from flows.run_record import read_record
    from flows.session import watched_by
    from flows.temporary_server import start_server

    end_orphans(os.environ["PREFECT_HOME"])
    claim_children()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with open_display() as display, watched_by(display):
        from flows.pipeline import pipeline

        start_server()
        order = {name: getattr(options, name) for name in ORDER}
        name = run_flow(home.path, pipeline, {**order, "overrides": changes})
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


def show_trace(options: argparse.Namespace) -> int:
    """``headwater trace``."""
    from tasks.trace import lineage_tree, render_tree

    store = open_home().open_store()
    tree = lineage_tree(store, store.named(options.model))
    if options.json:
        print(json.dumps({"model": options.model, "tree": tree}))
    else:
        for line in render_tree(tree):
            print(line)
    return 0


def verify_model(options: argparse.Namespace) -> int:
    """``headwater verify``."""
    store = open_home().open_store()
    artifacts = list(store.ancestry(store.named(options.model)))
    problems = [problem for artifact in artifacts for problem in store.damage(artifact)]
    num_bytes = sum(file.bytes for artifact in artifacts for file in artifact.files)
    if options.json:
        print(json.dumps({"artifacts": len(artifacts), "bytes": num_bytes, "problems": problems}))
    else:
        for problem in problems:
            print(problem)
        state = f"{len(problems)} problems" if problems else "all sound"
        print(f"{len(artifacts)} artefacts, {num_bytes / 1e6:,.1f} MB: {state}")
    return 1 if problems else 0


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
    sys.exit(main())

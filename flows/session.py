"""Runs a graph within a flow: planned, run, its results named, recorded and mirrored."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.utilities.urls import url_for

from flows.corpus_event import announce_corpus
from flows.forget.gates import admits
from flows.graphs import Graph, GraphPlan, Products, plan_graph
from flows.home import Home, open_home
from flows.leases import hold, sweep
from flows.plan import summarise_plan
from flows.recipe import Recipe
from flows.run_page import publish_curves, publish_plan, publish_results
from flows.run_record import Tally, save_record
from flows.sql import CORPUS
from flows.summary import summarise_record
from flows.temporary_server import drain
from pipeline_data.artifact import Artifact
from pipeline_data.settings import fingerprint
from tasks.checkpoint_folders import discard_old_checkpoints
from tasks.claims import claim, clear_claims
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.verification.chain import record_chain
from tasks.observer import Observer
from tasks.past_results import PastResults, write_decisions
from tasks.run import NOT_SELECTED, PipelineRun
from tasks.selection import Selection

if TYPE_CHECKING:
    from tasks.tracking.mirror import LoggedRun

_watchers: ContextVar[tuple[Observer, ...]] = ContextVar("watchers", default=())


@contextmanager
def watched_by(*observers: Observer) -> Iterator[None]:
    """Tell these observers of every run that a flow opens meanwhile."""
    token = _watchers.set(observers)
    try:
        yield
    finally:
        _watchers.reset(token)


@dataclass(frozen=True)
class Order:
    """What a flow run is asked for, checked.

    Attributes:
        given: recipe and overrides as they were given, to ask for the same again.
    """

    recipe: Recipe
    selection: Selection
    dry_run: bool
    given: Mapping[str, Any]


@dataclass(frozen=True)
class Session:
    """A run of a graph within a flow."""

    recipe: Recipe
    run: PipelineRun
    tally: Tally
    home: Home


def run_graph(graph: Graph, order: Order, *, refresh: bool = False) -> "State[str]":
    """Run a graph as far as the store lacks its results; returns the flow run's final state.

    Args:
        refresh: end at once, with no task run, when the store has every result; tell by an event
            when the corpus became another.

    Raises:
        HeadwaterError: of the order, before anything runs; then of the first stage that failed.
    """
    home = open_home()
    context = FlowRunContext.get()
    assert context and context.flow_run, "a graph is run within a flow"
    with hold(home.path, context.flow_run):
        swept = sweep(home.path)
        past = PastResults.load(home.runs, order.recipe.name, home.open_store())
        clear_claims(past.store.claims)
        discard_old_checkpoints(home.path)
        plan = plan_graph(graph, order.recipe, past, order.selection)
        publish_plan(plan)
        summary = summarise_plan(plan)
        if order.dry_run:
            return Completed(message=f"dry run: {summary}")
        if refresh and plan.runs_nothing:
            return Completed(message=f"nothing changed: {summary}")
        session = _open_session(order, home, plan, past)
        for name in swept:
            session.run.skip(f"run {name}", "its process had died; it is marked as crashed")
        try:
            corpus = _run(session, graph)
        except Exception:
            drain(context.flow_run.id, session.run.num_task_runs)
            raise
        drain(context.flow_run.id, session.run.num_task_runs)
        if refresh and corpus is not None:
            before = past.artifact("corpus-report", None)
            announce_corpus(order.given, before, corpus)
        done = summarise_record(_record(session, {}))
        return Completed(message=done, data=session.run.name)


def _open_session(order: Order, home: Home, plan: GraphPlan, past: PastResults) -> Session:
    tally = Tally()
    run = PipelineRun(
        past.store,
        home.path,
        order.recipe.compute.cores,
        past=past,
        selection=order.selection,
        wanted=plan.wanted,
        limits=order.recipe.compute.limits,
        observers=(tally, *_watchers.get()),
    )
    for observer in run.observers:
        observer.decided(plan.decisions, plan.cores)
    return Session(order.recipe, run, tally, home)


def _run(session: Session, graph: Graph) -> Artifact | None:
    """Run the graph to its end and keep the record; returns the report on the corpus, if made."""
    run = session.run
    try:
        products = graph(run, session.recipe)
        run.wait()
        return _finish(session, products)
    except BaseException as error:
        run.close()
        _show_results(session, {}, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    finally:
        run.close()
        write_decisions(session.home.runs, run.name, session.recipe.name, run.decisions.values())


def _finish(session: Session, products: Products) -> Artifact | None:
    """Name what was made, if its gate lets it, and keep the record.

    Returns:
        The report on the corpus, if it was made.
    """
    run = session.run
    models = {
        name: run.artifact(result)
        for name, result in products.models.items()
        if result is not NOT_SELECTED
    }
    admitted = admits(models)
    if not admitted:
        models = {}
    _name(session, models)
    corpus = None
    if products.corpus not in (None, NOT_SELECTED):
        corpus = run.artifact(products.corpus)
        if admitted:
            _publish_report(session, corpus)
    _show_results(session, models, "FINISHED")
    save_record(session.home.runs, _record(session, models))
    return corpus


def _name(session: Session, artifacts: Mapping[str, Artifact]) -> None:
    """Give artefacts their names, each version with the recipe and the chain of its records."""
    store = session.run.store
    catalogue = Catalogue.open(store)
    recipe_digest = store.registry.save_recipe(session.recipe.model_dump(mode="json"))
    for name, artifact in artifacts.items():
        store.point(
            name,
            artifact,
            run=session.run.name,
            recipe=session.recipe.name,
            recipe_digest=recipe_digest,
            chain=record_chain(catalogue, artifact),
        )


def _publish_report(session: Session, report: Artifact) -> None:
    """Make this the current corpus, and show its report on the page of the flow run."""
    _name(session, {CORPUS: report})
    report = session.run.store.fetch(report)
    session.tally.corpus_report = str(report.path("report.html"))
    text = report.path("report.md").read_text(encoding="utf-8")
    create_markdown_artifact(text, key="corpus-report", description="What the corpus is made of")


def _record(session: Session, models: Mapping[str, Artifact]) -> dict[str, Any]:
    assistant = models.get("assistant")
    return session.tally.record(
        session.run.name, session.recipe.name, assistant.digest if assistant else None
    )


def _show_results(session: Session, models: Mapping[str, Artifact], status: str) -> None:
    """Log the run in MLflow and show it on its page.

    The store is the record, so no trouble of these views, a locked file or a server that is away,
    ever costs a run.
    """
    stages = session.tally.in_order()
    if not stages:
        return
    links: Mapping[str, tuple[str, str]] = {}
    try:
        with claim(session.run.store.claims, "mlflow"):  # its first use makes a database
            links = _log_lineage(session, models, status).stages
    except Exception as error:  # any backend's
        reason = str(error).partition("\n")[0]
        session.run.skip("MLflow", f"not written ({reason}); the next run makes up for it")
    try:
        publish_results(_record(session, models), links, session.home.mlflow_url)
        executed = session.tally.num_executed
        publish_curves(a for stage, made in stages.items() if executed[stage] for a in made)
    except Exception as error:  # the server's, or the client's of any kind
        session.run.skip("Prefect", f"results are not shown ({str(error).partition(chr(10))[0]})")


def _log_lineage(session: Session, models: Mapping[str, Artifact], status: str) -> "LoggedRun":
    from tasks.tracking.mirror import FlowRunLink, Mirror

    assistant = models.get("assistant")
    catalogue = Catalogue.open(session.run.store)
    mirror = Mirror(catalogue, session.home.tracking_uri, session.home.mlflow_artifacts)
    return mirror.record(
        name=f"{session.recipe.name} {session.run.name}",
        tags={
            "recipe": session.recipe.name,
            "run": session.run.name,
            "recipe_digest": fingerprint(session.recipe.model_dump(mode="json")),
            "model_digest": assistant.digest if assistant else "",
        },
        stages=session.tally.in_order(),
        models=models,
        status=status,
        flow_run=FlowRunLink(flow_run.id, flow_run.name, url_for("flow-run", obj_id=flow_run.id)),
    )

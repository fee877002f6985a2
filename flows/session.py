"""Opens a pipeline run for a flow, and closes it: results named, recorded and mirrored."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from prefect.artifacts import create_markdown_artifact

from flows.home import Home, open_home
from flows.recipe import Recipe, load_recipe
from flows.run_record import Tally, save_record, stage_measures
from flows.sql import CORPUS
from pipeline_data.artifact import Artifact
from tasks.observer import Observer
from tasks.run import PipelineRun
from tasks.stage import Ref

_watchers: ContextVar[tuple[Observer, ...]] = ContextVar("watchers", default=())


@contextmanager
def watched_by(*observers: Observer) -> Iterator[None]:
    """Tell these observers of every run that a flow opens meanwhile."""
    token = _watchers.set(observers)
    try:
        yield
    finally:
        _watchers.reset(token)


@dataclass
class Session:
    """A pipeline run within a flow."""

    recipe: Recipe
    run: PipelineRun
    tally: Tally
    home: Home
    models: dict[str, Any] = field(default_factory=dict)
    """Name to future of the models that the flow makes."""
    corpus: Any = None
    """Future of the report on the corpus, if the flow makes one."""


@contextmanager
def open_session(recipe: str, overrides: Sequence[str], force: Sequence[str]) -> Iterator[Session]:
    """A run of a recipe; on leaving, waits for all tasks and keeps the record.

    Raises:
        RecipeError: the recipe or an override is not valid; nothing has run.
        HeadwaterError: of the first stage that failed.
    """
    checked = load_recipe(recipe, overrides)
    home = open_home()
    tally = Tally()
    run = PipelineRun(
        home.open_store(),
        home.path,
        checked.compute.cores,
        force,
        (tally, *_watchers.get()),
    )
    session = Session(checked, run, tally, home)
    try:
        yield session
        run.wait()
    except BaseException:
        _mirror(session, {}, "FAILED")
        raise
    else:
        models = {name: _result(run, future) for name, future in session.models.items()}
        for name, artifact in models.items():
            run.store.point(name, artifact)
        if session.corpus is not None:
            _publish_report(session, _result(run, session.corpus))
        _mirror(session, models, "FINISHED")
        save_record(home.runs, _record(session, models))
    finally:
        run.close()


def _result(run: PipelineRun, future: Any) -> Artifact:
    ref = future.result()
    assert isinstance(ref, Ref)
    return run.load(ref)


def _publish_report(session: Session, report: Artifact) -> None:
    """Make this the current corpus, and show its report on the page of the flow run."""
    session.run.store.point(CORPUS, report)
    report = session.run.store.fetch(report)
    session.tally.corpus_report = str(report.path("report.html"))
    text = report.path("report.md").read_text(encoding="utf-8")
    create_markdown_artifact(text, key="corpus-report", description="What the corpus is made of")


def _record(session: Session, models: dict[str, Artifact]) -> dict[str, Any]:
    assistant = models.get("assistant")
    return session.tally.record(
        session.run.name, session.recipe.name, assistant.digest if assistant else None
    )


def _mirror(session: Session, models: dict[str, Artifact], status: str) -> None:
    """Log the run in MLflow; the store is the record, so MLflow's troubles never cost a run."""
    try:
        _log_lineage(session, models, status)
    except Exception as error:  # any backend's: a locked file, a server that is away
        reason = str(error).partition("\n")[0]
        session.run.skip("MLflow", f"not written ({reason}); the next run makes up for it")


def _log_lineage(session: Session, models: dict[str, Artifact], status: str) -> None:
    from tasks.lineage import Lineage, Measure

    stages = session.tally.in_order()
    if not stages:
        return
    measures = {
        stage: [Measure(m["name"], float(m["value"])) for m in rows]
        for stage, rows in stage_measures(stages).items()
    }
    assistant = models.get("assistant")
    lineage = Lineage(session.run.store, session.home.tracking_uri, session.home.mlflow_artifacts)
    lineage.record(
        name=f"{session.recipe.name} {session.run.name}",
        tags={
            "recipe": session.recipe.name,
            "run": session.run.name,
            "model_digest": assistant.digest if assistant else "",
        },
        stages=stages,
        measures=measures,
        models=models,
        status=status,
    )

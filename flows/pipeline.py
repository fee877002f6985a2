"""From crawled pages to an aligned assistant: the flows that people run and schedule."""

from typing import TYPE_CHECKING, Literal

from flows.home import open_home

open_home()  # points Prefect and MLflow into the home before they are imported

from prefect import flow  # noqa: E402
from prefect.futures import PrefectFuture  # noqa: E402
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner  # noqa: E402

from flows.alignment import build_assistant  # noqa: E402
from flows.corpus import build_corpus, corpus_of  # noqa: E402
from flows.pretraining import Base, build_base  # noqa: E402
from flows.session import open_session  # noqa: E402
from tasks.stages import STAGES  # noqa: E402

if TYPE_CHECKING:
    StageName = str
else:
    StageName = Literal[*STAGES]  # a form shows the stages as choices

RUNNER: TaskRunner[PrefectFuture[object]] = ThreadPoolTaskRunner(max_workers=16)  # type: ignore[assignment]


@flow(name="pipeline", task_runner=RUNNER)
def pipeline(
    recipe: str = "default",
    overrides: list[str] | None = None,
    force: list[StageName] | None = None,
) -> str:
    """From crawled pages to an aligned assistant; redoes only what changed.

    Args:
        recipe: a shipped recipe's name, or the path of a YAML file.
        overrides: single settings, each written key.path=value.
        force: stages to run even where their result is in the store.
    """
    with open_session(recipe, overrides or [], force or []) as session:
        pages = build_corpus(session.run, session.recipe)
        base = build_base(session.run, session.recipe, pages)
        aligned = build_assistant(session.run, session.recipe, pages, base)
        session.corpus = pages.report
        session.models = {"base": base.model, **aligned.registered}
    return session.run.name


@flow(name="corpus", task_runner=RUNNER)
def corpus(
    recipe: str = "default",
    overrides: list[str] | None = None,
    force: list[StageName] | None = None,
) -> str:
    """Crawl, read, filter, deduplicate and tokenize; parameters as of the whole pipeline."""
    with open_session(recipe, overrides or [], force or []) as session:
        session.corpus = build_corpus(session.run, session.recipe).report
    return session.run.name


@flow(name="pretraining", task_runner=RUNNER)
def pretraining(
    recipe: str = "default",
    overrides: list[str] | None = None,
    force: list[StageName] | None = None,
) -> str:
    """The corpus as far as it changed, and the base model; parameters as of the whole pipeline."""
    with open_session(recipe, overrides or [], force or []) as session:
        pages = build_corpus(session.run, session.recipe)
        base = build_base(session.run, session.recipe, pages)
        session.corpus = pages.report
        session.models = {"base": base.model}
    return session.run.name


@flow(name="alignment", task_runner=RUNNER)
def alignment(
    recipe: str = "default",
    overrides: list[str] | None = None,
    force: list[StageName] | None = None,
) -> str:
    """Align the base model that is there, whatever its sources say by now."""
    with open_session(recipe, overrides or [], force or []) as session:
        model = session.run.store.named("base")
        pages = corpus_of(session.run, session.recipe, model)
        aligned = build_assistant(session.run, session.recipe, pages, Base(model))
        session.models = aligned.registered
    return session.run.name

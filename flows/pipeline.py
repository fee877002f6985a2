"""From crawled pages to an aligned assistant: the flows that people run and schedule."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import WithJsonSchema

from flows.home import open_home

open_home()  # points Prefect and MLflow into the home before they are imported

from prefect import Flow, flow  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.futures import PrefectFuture  # noqa: E402
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner  # noqa: E402

from flows import graphs  # noqa: E402
from flows.audit import audit_models  # noqa: E402
from flows.overrides import NO_OVERRIDES, Overrides, change_of  # noqa: E402
from flows.recipe import RecipeName, load_recipe  # noqa: E402
from flows.session import Order, run_graph  # noqa: E402
from tasks.selection import Selection  # noqa: E402
from tasks.stages import STAGES  # noqa: E402

RUNNER: TaskRunner[PrefectFuture[object]] = ThreadPoolTaskRunner(max_workers=16)  # type: ignore[assignment]
PARAMETERS = """
Args:
    recipe: What to run: a shipped recipe, one in the home's folder recipes, or a YAML file.
    force: Stages to run even where the store has their result; below them runs what changes.
    only: Run these stages alone, with what the store has above them.
    until: The last stage to run; empty runs all.
    shards: Which shards force and only speak of, as a pattern such as web-*.
    dry_run: Say what would run and why, and run nothing.
    overrides: Settings to change for this run.
"""

if TYPE_CHECKING:
    StageName = str
    LastStage = str | None
else:
    StageName = Literal[*STAGES]  # a form shows the stages as choices
    LastStage = Annotated[
        StageName | None,
        WithJsonSchema(
            {
                "anyOf": [
                    {"title": "stage", "type": "string", "enum": list(STAGES)},
                    {"title": "the end", "type": "null"},
                ]
            }
        ),
    ]


def recipe_flow(name: str, graph: graphs.Graph, *, refresh: bool = False) -> Flow[..., Any]:
    """A flow that runs a graph of a recipe; all of them have the same parameters."""

    def run(
        recipe: RecipeName = "default",
        force: list[StageName] = [],  # noqa: B006  a form shows None as one choice more
        only: list[StageName] = [],  # noqa: B006
        until: LastStage = None,
        shards: str = "*",
        dry_run: bool = False,
        overrides: Overrides = NO_OVERRIDES,
    ) -> "State[str]":
        changes = change_of(overrides)
        order = Order(
            load_recipe(recipe, changes),
            Selection.parse(force, only, until, shards),
            dry_run,
            {"recipe": recipe, "overrides": changes},
        )
        return run_graph(graph, order, refresh=refresh)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{graph.__doc__}\n{PARAMETERS}"
    return flow(name=name, task_runner=RUNNER)(run)


pipeline = recipe_flow("pipeline", graphs.whole)
corpus = recipe_flow("corpus", graphs.corpus_alone, refresh=True)
pretraining = recipe_flow("pretraining", graphs.base_alone)
alignment = recipe_flow("alignment", graphs.alignment_alone)


@flow(name="audit")
def audit(
    models: list[str] = [],  # noqa: B006
) -> "State[int]":
    """Read every byte of the models' lineages and compare it with its digest.

    Args:
        models: Names of models; empty for all that the store knows.
    """
    return audit_models(models)

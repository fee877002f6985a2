"""What the page of a flow run shows besides its graph: plan, results and training curves."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prefect.artifacts import create_image_artifact, create_markdown_artifact

from flows.curves import draw_curves, read_curves
from flows.graphs import GraphPlan
from flows.plan import StagePlan, plan_stages, summarise_plan
from flows.run_record import Record
from flows.summary import NUMBER_HEADINGS, show_numbers, summarise_record
from pipeline_data.artifact import Artifact

PLAN, RESULTS, CURVES = "plan", "results", "training-curves"
"""Keys of the artifacts; under a key, Prefect shows those of all runs."""


def publish_plan(plan: GraphPlan) -> None:
    """What the run is going to do, and why."""
    create_markdown_artifact(render_plan(plan), key=PLAN, description=summarise_plan(plan))


def publish_results(
    record: Record, mlflow_runs: Mapping[str, tuple[str, str]], mlflow_url: str | None
) -> None:
    """What the run made, reused and measured, each stage with its run in MLflow.

    Args:
        mlflow_runs: stage to experiment and run.
        mlflow_url: where MLflow's pages are served; without it a run's id is shown instead.
    """
    text = render_results(record, mlflow_runs, mlflow_url)
    create_markdown_artifact(text, key=RESULTS, description=summarise_record(record))


def publish_curves(artifacts: Iterable[Artifact]) -> None:
    """The training curves of those artefacts that have one, as a picture; nothing without any."""
    curves = read_curves(artifacts)
    if curves:
        create_image_artifact(
            image_url=draw_curves(curves), key=CURVES, description="Training curves"
        )


def render_plan(plan: GraphPlan) -> str:
    """A table of the stages that run or may run, then what is reused."""
    stages = plan_stages(plan.decisions, plan.cores)
    lines = list(_plan_table([stage for stage in stages if stage.action != "reuse"]))
    reused = [_name_reused(stage) for stage in stages if stage.action == "reuse"]
    if reused:
        lines += ["", f"Reused: {', '.join(reused)}."]
    return "\n".join([*lines, *_notes(plan.notes)])


def render_results(
    record: Record, mlflow_runs: Mapping[str, tuple[str, str]], mlflow_url: str | None
) -> str:
    """A table of the stages, then one of held-out measures for each that has any."""
    lines = [
        _row(["stage", "shards", "executed", "cached", "seconds", "MLflow"]),
        _row(["---", *["--:"] * 4, "---"]),
    ]
    for stage in record["stages"]:
        name = stage["name"]
        counts = [f"{stage[count]:,}" for count in ("shards", "executed", "cached")]
        link = _link(*mlflow_runs[name], mlflow_url) if name in mlflow_runs else ""
        lines.append(_row([name, *counts, f"{stage['seconds']:,.1f}", link]))
    lines += _notes(record["notes"])
    for stage in record["stages"]:
        lines += _measure_table(stage)
    return "\n".join(lines)


def _plan_table(stages: Sequence[StagePlan]) -> Iterator[str]:
    if stages:
        yield _row(["stage", "runs", "may run", "reused", "why", "time"])
        yield _row(["---", "--:", "--:", "--:", "---", "---"])
    for stage in stages:
        numbers = (stage.num_certain, stage.num_possible, stage.num_reused)
        counts = [f"{number:,}" if number else "" for number in numbers]
        yield _row([stage.stage, *counts, "; ".join(stage.reasons), stage.duration])


def _notes(notes: Sequence[str]) -> Iterator[str]:
    for note in notes:
        yield from ("", f"Note: {note}")


def _name_reused(stage: StagePlan) -> str:
    return f"{stage.stage} ({stage.shards})" if stage.shards else stage.stage


def _measure_table(stage: Record) -> Iterator[str]:
    measures = stage["measures"]
    if measures:
        yield from ("", f"### {stage['name']}, held out", "")
        yield _row(["measure", *NUMBER_HEADINGS])
        yield _row(["---", *["--:"] * len(NUMBER_HEADINGS)])
    for measure in measures:
        yield _row([measure["name"], *show_numbers(measure)])


def _link(experiment: str, run: str, url: str | None) -> str:
    if url is None:
        return f"`{run}`"
    return f"[{run[:8]}]({url.rstrip('/')}/#/experiments/{experiment}/runs/{run})"


def _row(cells: Iterable[str]) -> str:
    """A row of a markdown table, whatever its cells hold."""
    return f"| {' | '.join(cell.replace('|', '&#124;').replace(chr(10), ' ') for cell in cells)} |"

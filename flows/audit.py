"""Whether all that the models were made of is still there, byte for byte."""

from collections.abc import Sequence
from dataclasses import dataclass

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.home import open_home
from flows.leases import sweep
from flows.verify import compare_mlflow
from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.verification.finding import Findings
from tasks.lineage.verification.model_check import verify_models
from tasks.lineage.verification.verification import walk

NUM_SHOWN = 20


@dataclass(frozen=True)
class Audit:
    """What one model was made of."""

    model: str
    digest: str
    num_artifacts: int
    num_bytes: int
    num_problems: int


def audit_models(models: Sequence[str]) -> "State[int]":
    """Verify models (all that have a name, if none is given) and publish a report.

    Runs whose process died are marked crashed on the way. Each artefact is read once, however many
    models share it.

    Raises:
        ArtifactError: no such model.
    """
    home = open_home()
    swept = sweep(home.path)
    catalogue = Catalogue.open(home.open_store())
    result = verify_models(catalogue, models or catalogue.store.names())
    result.extend(compare_mlflow(home, catalogue, result))
    audits = []
    for name, model in result.models.items():
        lineage = walk(catalogue, [model])
        labels = {artifact.label for artifact in lineage}
        num_problems = sum(problem.subject in labels for problem in result.problems)
        audits.append(Audit(name, model.digest, len(lineage), _num_bytes(lineage), num_problems))
    create_markdown_artifact(
        describe_audits(audits, result, swept),
        key="audit",
        description="Every byte against its digest",
    )
    if result.problems:
        num_problems = len(result.problems)
        return Failed(message=f"{num_problems} problems; the first: {result.problems[0]}")
    num_artifacts = len(result.artifacts)
    return Completed(message=f"{num_artifacts} artefacts: all sound", data=num_artifacts)


def describe_audits(audits: Sequence[Audit], found: Findings, swept: Sequence[str]) -> str:
    """The report, in Markdown; ``swept``: the runs that were marked as crashed."""
    lines = ["| model | digest | artefacts | MB | problems |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| {a.model} | `{a.digest[:12]}` | {a.num_artifacts:,} | {a.num_bytes / 1e6:,.1f} "
        f"| {a.num_problems} |"
        for a in audits
    ]
    lines += ["", *(f"- {problem}" for problem in found.problems[:NUM_SHOWN])]
    if len(found.problems) > NUM_SHOWN:
        num_more = len(found.problems) - NUM_SHOWN
        lines.append(f"- and {num_more} more: `headwater verify --all` names all")
    lines += [f"- note: {note}" for note in found.notes[:NUM_SHOWN]]
    if swept:
        lines += ["", f"Marked as crashed: {', '.join(swept)}."]
    return "\n".join(lines)


def _num_bytes(artifacts: Sequence[Artifact]) -> int:
    return sum(file.bytes for artifact in artifacts for file in artifact.files)

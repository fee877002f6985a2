"""Whether all that the models were made of is still there, byte for byte."""

from collections.abc import Sequence
from dataclasses import dataclass

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.home import open_home
from flows.leases import sweep
from pipeline_data.artifact import Artifact
from tasks.store import Store

NUM_SHOWN = 20


@dataclass(frozen=True)
class Audit:
    """What was read of one model's lineage, and what was found wrong."""

    model: str
    digest: str
    num_artifacts: int
    num_bytes: int
    problems: Sequence[str]


def audit_models(models: Sequence[str]) -> "State[int]":
    """Verify models (all that have a name, if none is given) and publish a report.

    Runs whose process died are marked crashed on the way. Each artefact is read once, however many
    models share it.

    Raises:
        ArtifactError: no such model, or the record of something it was made of is gone.
    """
    home = open_home()
    swept = sweep(home.path)
    store = home.open_store()
    damage: dict[str, list[str]] = {}
    audits = [audit_model(store, name, damage) for name in models or store.names()]
    create_markdown_artifact(
        describe_audits(audits, swept), key="audit", description="Every byte against its digest"
    )
    problems = list(dict.fromkeys(problem for audit in audits for problem in audit.problems))
    if problems:
        return Failed(message=f"{len(problems)} problems; the first: {problems[0]}")
    num_artifacts = len(damage)
    return Completed(message=f"{num_artifacts} artefacts: all sound", data=num_artifacts)


def audit_model(store: Store, name: str, damage: dict[str, list[str]]) -> Audit:
    """Read the lineage of a model; ``damage`` remembers what is wrong with each artefact."""
    model = store.named(name)
    lineage = list(store.ancestry(model))
    for artifact in lineage:
        if artifact.key not in damage:
            damage[artifact.key] = store.damage(artifact)
    problems = [problem for artifact in lineage for problem in damage[artifact.key]]
    return Audit(name, model.digest, len(lineage), _num_bytes(lineage), problems)


def describe_audits(audits: Sequence[Audit], swept: Sequence[str]) -> str:
    """The report, in Markdown."""
    lines = ["| model | digest | artefacts | MB | problems |", "|---|---|--:|--:|--:|"]
    lines += [
        f"| {a.model} | `{a.digest[:12]}` | {a.num_artifacts:,} | {a.num_bytes / 1e6:,.1f} "
        f"| {len(a.problems)} |"
        for a in audits
    ]
    problems = list(dict.fromkeys(problem for audit in audits for problem in audit.problems))
    lines += ["", *(f"- {problem}" for problem in problems[:NUM_SHOWN])]
    if len(problems) > NUM_SHOWN:
        lines.append(f"- and {len(problems) - NUM_SHOWN} more: `headwater verify` names all")
    if problems:
        lines += ["", "`headwater run` makes damaged artefacts again."]
    if swept:
        lines += ["", f"Marked as crashed: {', '.join(swept)}."]
    return "\n".join(lines)


def _num_bytes(artifacts: Sequence[Artifact]) -> int:
    return sum(file.bytes for artifact in artifacts for file in artifact.files)

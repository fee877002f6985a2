"""The chain from a model to its raw files as Markdown that fits a model version of MLflow.

One row a stage, whatever the number of shards: how many artefacts, their digest, what they were
made of, and their counts added up. What had to be left out is said.
"""

from collections.abc import Iterator, Sequence

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.stages import STAGES
from tasks.tracking.client import DESCRIPTION_CHARACTERS
from tasks.tracking.entry import group_digest, is_model

SHOWN = 12
"""Characters of a digest in the table."""
COUNTS_SHOWN = (4, 2, 0)
"""How many counts a row has, as far as there is room."""
SPACE = "&nbsp;"
"""MLflow's pages leave none between the columns of a table."""
PIPELINE = list(STAGES)
WHOLE = "The artifact `lineage.html` of the logged model has all of it."


def describe_chain(catalogue: Catalogue, artifact: Artifact) -> str:
    """What a model was made of, stage by stage, nearest first, no longer than MLflow takes it.

    Raises:
        ArtifactError: the record of something it was made of is gone.
    """
    stages: dict[str, list[Artifact]] = {}
    for made in sorted(catalogue.ancestry(artifact), key=_place):
        stages.setdefault(made.stage, []).append(made)
    head = "\n".join(_head(artifact, stages))
    for num_counts in COUNTS_SHOWN:
        rows = [_row(stage, made, num_counts) for stage, made in stages.items()]
        text = "\n".join([head, *rows, "", WHOLE])
        if len(text) <= DESCRIPTION_CHARACTERS:
            return text
    return _cut(head, rows)


def _place(artifact: Artifact) -> int:
    """Where in the table: the last stage of the pipeline first, those it does not know last."""
    return -PIPELINE.index(artifact.stage) if artifact.stage in STAGES else 1


def _head(artifact: Artifact, stages: dict[str, list[Artifact]]) -> Iterator[str]:
    yield f"Content digest `{artifact.digest}`"
    facts = artifact.facts
    if facts.get("created"):
        commit = str(facts.get("commit", "unknown"))
        changes = " with changes" if commit.endswith("+dirty") else ""
        yield (
            f"made by `{artifact.stage}` at {facts['created']} "
            f"from code `{commit.removesuffix('+dirty')[:SHOWN]}`{changes}"
        )
    models = [made[0] for made in stages.values() if is_model(made[0])]
    yield f"\nChain of models: {' ← '.join(f'{m.stage} `{m.digest[:SHOWN]}`' for m in models)}"
    yield "\n| stage | artefacts | digest | made of | counts |"
    yield "| --- | --: | --- | --- | --- |"


def _row(stage: str, made: Sequence[Artifact], num_counts: int) -> str:
    parents = list(dict.fromkeys(p.stage for a in made for p in a.parents))
    cells = [
        stage,
        f"{len(made):,}",
        f"`{group_digest(made)[:SHOWN]}`{SPACE}",
        f"{', '.join(parents) or 'nothing'}{SPACE}",
        ", ".join(_counts(made)[:num_counts]),
    ]
    return f"| {' | '.join(cells)} |"


def _counts(made: Sequence[Artifact]) -> list[str]:
    totals: dict[str, int] = {}
    for artifact in made:
        for name, value in artifact.counts.items():
            if isinstance(value, int):
                totals[name] = totals.get(name, 0) + value
    return [
        f"{name.removeprefix('num_').replace('_', ' ')} {value:,}"
        for name, value in totals.items()
        if value
    ]


def _cut(head: str, rows: Sequence[str]) -> str:
    """As many rows as fit, and how many more there are."""
    kept = list(rows)
    while True:
        note = f"Shortened: {len(rows) - len(kept)} more stages. {WHOLE}"
        text = "\n".join([head, *kept, "", note])
        if len(text) <= DESCRIPTION_CHARACTERS:
            return text
        kept.pop()

"""What MLflow is to hold of a stage execution: derived from the store alone.

The mirror writes an entry, and the check compares one with what MLflow has, so the two cannot
drift apart. An entry is that of all shards of a stage together.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_data.artifact import Artifact
from pipeline_data.settings import fingerprint
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.evaluations import MEASURES
from tasks.stages import STAGES
from tasks.store import EXTERNAL
from tasks.tracking.client import DIGEST_CHARACTERS, VALUE_CHARACTERS

MODEL_FOLDER = "model"
FACTS = {
    "run": "made_in",
    "lock": "lock",
    "python": "python",
    "machine": "machine",
    "cpu": "cpu",
    "cores": "cores",
    "memory_bytes": "memory_bytes",
}
"""Facts of a result and the tags they become; the commit becomes two."""
TAGS = (
    "stage",
    "version",
    "shards",
    "content",
    "digest",
    "key",
    "commit",
    "dirty",
    *FACTS.values(),
)
"""All tags of a stage's run that the store determines."""
TRAINED_ON = {
    "pretrain": "tokens",
    "sft": "exercises",
    "reward": "preferences",
    "ppo": "exercises",
    "practice": "exercises",
}
"""The role of the data that the final numbers of a training stage speak of."""
TIMES = ("seconds", "cpu_seconds")
MEASURED_ON = "exercises"
MEASURED_ON_TEXT = ("bits per byte", "tokens")
"""Held-out measures are of the exercises' test split, but those that start so are of this role."""


@dataclass(frozen=True)
class Data:
    """A dataset: an artefact or part that a stage read, or several of one role together."""

    name: str
    digest: str
    role: str
    source: str
    profile: Mapping[str, Any]

    @property
    def short_digest(self) -> str:
        """The digest as far as MLflow takes it; all of it is in the profile."""
        return self.digest[:DIGEST_CHARACTERS]


@dataclass(frozen=True)
class Number:
    """A final number of a stage; ``of_subject``: it says something about the entry's subject."""

    name: str
    value: float
    data: Data | None = None
    of_subject: bool = False


@dataclass(frozen=True)
class Entry:
    """What MLflow is to hold of one stage.

    Attributes:
        data: what the stage read, but models.
        models: the models that it read.
        subject: the model it made or measured.
    """

    artifacts: Sequence[Artifact]
    tags: Mapping[str, str]
    params: Mapping[str, str]
    data: Sequence[Data]
    models: Sequence[Artifact]
    subject: Artifact | None
    numbers: Sequence[Number]

    @property
    def stage(self) -> str:
        """The stage's name."""
        return self.artifacts[0].stage

    @property
    def content(self) -> str:
        """Digest over keys and digests of the artefacts, by which MLflow finds the run."""
        return self.tags["content"]

    @property
    def makes_model(self) -> bool:
        """Whether its result is a model."""
        return is_model(self.artifacts[0])


def describe_stage(catalogue: Catalogue, artifacts: Sequence[Artifact]) -> Entry:
    """The entry of a stage with these artefacts, one a shard.

    Raises:
        ArtifactError: the record of an input is gone, or a file with measures.
    """
    artifacts = sorted(artifacts, key=lambda artifact: artifact.shard or "")
    roles: dict[str, dict[tuple[str, str | None, str], Artifact]] = {}
    for artifact in artifacts:
        for role, parent in catalogue.inputs(artifact):
            name = (parent.stage, parent.shard, parent.digest)
            roles.setdefault(role, {}).setdefault(name, parent)
    inputs = {role: list(found.values()) for role, found in roles.items()}
    data = {
        role: [_dataset(role, parent) for parent in parents]
        for role, parents in inputs.items()
        if not is_model(parents[0])
    }
    models = [p for parents in inputs.values() for p in parents if is_model(p)]
    whole = {role: _together(rows) if len(rows) > 1 else rows[0] for role, rows in data.items()}
    subject = _subject(artifacts[0], models)
    numbers = [*_totals(artifacts, whole), *_measures(catalogue, artifacts[0], whole)]
    if is_model(artifacts[0]):
        numbers += [
            Number(f"input_bytes/{role}", rows.profile["num_bytes"], rows, of_subject=True)
            for role, rows in whole.items()
        ]
    about_model = whole.values() if subject else ()
    groups = [rows for rows in about_model if "num_shards" in rows.profile]
    return Entry(
        artifacts=artifacts,
        tags=_tags(artifacts),
        params=merge_configs([a.config for a in artifacts]),
        data=[*groups, *(row for rows in data.values() for row in rows)],
        models=models,
        subject=subject,
        numbers=numbers,
    )


def is_model(artifact: Artifact) -> bool:
    """Whether an artefact is a model in Hugging Face's format."""
    return any(file.path == f"{MODEL_FOLDER}/config.json" for file in artifact.files)


def group_digest(artifacts: Sequence[Artifact]) -> str:
    """One digest of several artefacts: over shard and content of each."""
    if len(artifacts) == 1:
        return artifacts[0].digest
    return fingerprint(sorted([a.shard or "", a.digest] for a in artifacts))


def merge_configs(configs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Settings by dotted name; where shards differ in one, all its values, first met first."""
    values: dict[str, dict[str, None]] = {}
    for config in configs:
        for name, value in _flatten(config):
            values.setdefault(name, {})[str(value)] = None
    return {name: shorten(" | ".join(found)) for name, found in values.items()}


def shorten(value: str) -> str:
    """The value, or its start and a digest of all of it, as long as MLflow takes it."""
    if len(value) <= VALUE_CHARACTERS:
        return value
    note = f" ... shortened from {len(value):,} characters, SHA-256 {fingerprint(value)}"
    return value[: VALUE_CHARACTERS - len(note)] + note


def metric_name(name: str) -> str:
    """The name in MLflow's alphabet: letters, digits, ``_ - . / : space``."""
    return "".join(c if c.isalnum() or c in "_-./: " else "_" for c in name.replace(", ", " - "))


def _subject(artifact: Artifact, models: Sequence[Artifact]) -> Artifact | None:
    if is_model(artifact):
        return artifact
    measured = STAGES[artifact.stage].measures if artifact.stage in STAGES else None
    return next((model for model in models if model.stage == measured), None)


def _tags(artifacts: Sequence[Artifact]) -> dict[str, str]:
    first = artifacts[0]
    content = [[artifact.key, artifact.digest] for artifact in artifacts]
    tags = {
        "stage": first.stage,
        "version": str(first.version),
        "shards": str(len(artifacts)),
        "content": fingerprint(content),
        "digest": group_digest(artifacts),
    }
    if len(artifacts) == 1:
        tags["key"] = first.key
    return {**tags, **fact_tags([artifact.facts for artifact in artifacts])}


def fact_tags(facts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Code, libraries and machine as tags; where results differ, all there were."""
    commits = [str(fact.get("commit", "")) for fact in facts]
    tags = {
        "commit": _distinct(commit.removesuffix("+dirty") for commit in commits),
        "dirty": str(any(commit.endswith("+dirty") for commit in commits)).lower(),
    }
    for name, tag in FACTS.items():
        tags[tag] = _distinct(str(fact.get(name, "")) for fact in facts)
    return {name: value for name, value in tags.items() if value}


def _distinct(values: Iterable[str]) -> str:
    return shorten(", ".join(dict.fromkeys(value for value in values if value)))


def _dataset(role: str, artifact: Artifact) -> Data:
    shard = f"/{artifact.shard}" if artifact.shard else ""
    kept = [file for file in artifact.files if not file.is_provenance]
    rows = [file.rows for file in kept if file.rows is not None]
    profile = {"sha256": artifact.digest, "num_bytes": sum(file.bytes for file in kept)}
    if rows:
        profile["num_rows"] = sum(rows)
    stage = "raw file" if artifact.stage == EXTERNAL else artifact.stage
    name = artifact.files[0].path if artifact.stage == EXTERNAL else f"{artifact.stage}{shard}"
    return Data(
        name=name if len(name) <= 500 else f"...{name[-497:]}",
        digest=artifact.digest,
        role=role,
        source=json.dumps({stage: f"{artifact.stage}/{artifact.key[:24]}{shard}"}),
        profile={**profile, **artifact.counts},
    )


def _together(rows: Sequence[Data]) -> Data:
    """All datasets of a role as one, for numbers that speak of all of them."""
    digest = fingerprint(sorted([row.name, row.digest] for row in rows))
    stage = rows[0].name.partition("/")[0]
    return Data(
        name=f"{stage} ({len(rows):,} shards)",
        digest=digest,
        role=rows[0].role,
        source=json.dumps({"all of role": rows[0].role}),
        profile={
            "sha256": digest,
            "num_shards": len(rows),
            "num_bytes": sum(row.profile["num_bytes"] for row in rows),
            "num_rows": sum(row.profile.get("num_rows", 0) for row in rows),
        },
    )


def _totals(artifacts: Sequence[Artifact], whole: Mapping[str, Data]) -> list[Number]:
    """Counts and times, added up over the shards; a ratio is only that of a single artefact."""
    first = artifacts[0]
    totals: dict[str, float] = {}
    for artifact in artifacts:
        times = {n: artifact.facts.get(n) for n in TIMES}
        counts = {n: v for n, v in artifact.counts.items() if _adds_up(v, len(artifacts))}
        for name, value in {**counts, **times}.items():
            if isinstance(value, int | float):
                totals[metric_name(name)] = totals.get(metric_name(name), 0.0) + value
    data = whole.get(TRAINED_ON.get(first.stage, ""))
    made = is_model(first)
    return [
        Number(name, value, data if made and name not in TIMES else None, made)
        for name, value in totals.items()
    ]


def _adds_up(value: float | str, num_artifacts: int) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and num_artifacts == 1)


def _measures(catalogue: Catalogue, artifact: Artifact, whole: Mapping[str, Data]) -> list[Number]:
    """The held-out measures of an evaluation; they are about its subject."""
    if artifact.stage not in STAGES or not STAGES[artifact.stage].measures:
        return []
    text = catalogue.store.fetch(artifact).path(MEASURES).read_text(encoding="utf-8")
    start, role = MEASURED_ON_TEXT
    return [
        Number(
            metric_name(f"heldout/{row['name']}"),
            float(row["value"]),
            whole.get(role if row["name"].startswith(start) else MEASURED_ON),
            of_subject=True,
        )
        for row in json.loads(text)
    ]


def _flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            rows.append((metric_name(f"{prefix}{name}"), value))
    return rows

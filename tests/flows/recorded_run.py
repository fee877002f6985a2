"""Recipes of the corpus alone, and a run in this process that writes down what it is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from flows.recipe import SHIPPED, Recipe, check_recipe
from pipeline_data.artifact import Artifact
from pipeline_data.settings import Settings, canonical_json
from tasks.direct_run import DirectRun
from tasks.stage import Input, Stage


def corpus_recipe(sources: Mapping[str, Mapping[str, Any]], **changes: Any) -> Recipe:
    """The smoke recipe on these sources and nothing else but what little is generated."""
    values = yaml.safe_load((SHIPPED / "smoke.yaml").read_text())
    values |= {"sources": sources, "tokenizer": {"vocab_size": 300}} | changes
    values["curriculum"] |= {"num_bytes": 20_000}
    values["pretrain"]["mixture"] = dict.fromkeys(sources, 1.0)
    return check_recipe(values, "recipe of the test")


@dataclass(frozen=True)
class Call:
    """One stage run that the graph asks for, with what it was given and what came of it."""

    stage: str
    shard: str | None
    config: str
    """As canonical JSON."""
    inputs: tuple[tuple[str, str | None, str], ...]
    """(role, shard, content digest) of every input, in order."""
    digest: str
    parts: tuple[tuple[str, str], ...]


@dataclass
class RecordedRun(DirectRun):
    """A direct run that writes down every call."""

    calls: list[Call] = field(default_factory=list)

    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Artifact:
        artifact = super().submit(stage, config, inputs, shard)
        given = tuple((parent.role, parent.shard, parent.digest) for parent in artifact.parents)
        parts = tuple(sorted(artifact.parts.items()))
        written = canonical_json(config.model_dump(mode="json"))
        self.calls.append(Call(stage.name, shard, written, given, artifact.digest, parts))
        return artifact

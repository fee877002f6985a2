"""A store as large as the lineage benchmark wants it, made in minutes: real graph, made-up bytes.

The flows' own graph is walked with :class:`SyntheticRun`, which calls stand-ins in the place of
the stage functions (``bench/lineage_pages.py``, ``bench/lineage_models.py``). So requests, keys,
records, parents, parts, files and names come from the code that makes them for a real run, and
only what is in the files is made up.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.measure import num_cores, say
from flows.alignment import build_assistant
from flows.corpus import Corpus, bring_in, build_corpus, extract
from flows.pretraining import build_base
from flows.recipe import Recipe, load_recipe
from pipeline_data.artifact import Artifact
from pipeline_data.settings import Settings
from tasks.direct_run import DirectRun
from tasks.runner import Job
from tasks.stage import Input, Stage, narrow
from tasks.stages import STAGES
from tasks.store import Store

RUN = "20260101-000000-bench"
SOURCES = ("forum", "manuals", "news", "web")
IN_THIS_PROCESS = ("curriculum", "evaluation-items")
"""Stages whose real functions run: they are small."""
STAND_INS = {
    "extract": "bench.lineage_pages:extract",
    "filter": "bench.lineage_pages:filter_pages",
    "signature": "bench.lineage_pages:sign",
    "dedup": "bench.lineage_pages:deduplicate",
    "decontaminate": "bench.lineage_pages:decontaminate",
    "sample": "bench.lineage_pages:sample",
    "tokenizer": "bench.lineage_pages:make_tokenizer",
    "tokenize": "bench.lineage_pages:tokenize",
    "corpus-report": "bench.lineage_pages:report",
    "pretrain": "bench.lineage_models:pretrain",
    "sft": "bench.lineage_models:sft",
    "responses": "bench.lineage_models:respond",
    "preferences": "bench.lineage_models:prefer",
    "reward": "bench.lineage_models:reward",
    "ppo": "bench.lineage_models:ppo",
    "practice": "bench.lineage_models:practise",
    **{name: "bench.lineage_models:evaluate" for name in STAGES if name.startswith("evaluate-")},
}


@dataclass(frozen=True)
class Scale:
    """How large a store is.

    Attributes:
        num_documents: of one shard, after extraction.
        shards_per_model: that a model learns from; the last model learns from all.
        share_seen: of a model's tokens that its steps get to.
    """

    num_shards: int = 1000
    num_documents: int = 10_000
    num_models: int = 100
    num_hosts: int = 5000
    shards_per_model: int = 100
    share_seen: float = 0.25

    def __str__(self) -> str:
        return (
            f"{self.num_shards:,} shards of {self.num_documents:,} documents on "
            f"{self.num_hosts:,} hosts; {self.num_models} models of "
            f"{self.shards_per_model} shards, the last of all"
        )


@dataclass
class SyntheticRun(DirectRun):
    """A direct run whose stages make their results up; shards are made by several processes."""

    pool: ProcessPoolExecutor | None = field(default=None)

    def submit(
        self,
        stage: Stage,
        config: Settings,
        inputs: Mapping[str, Input] | None = None,
        shard: str | None = None,
    ) -> Artifact:
        """The artefact of a stage, its files made up."""
        function = STAND_INS.get(stage.name, stage.function)
        return super().submit(replace(stage, function=function), config, inputs, shard)

    def map(self, stage: Stage, jobs: Mapping[str, Job]) -> dict[str, Any]:
        """The artefacts of a stage's shards."""
        if self.pool is None or not jobs:
            return super().map(stage, jobs)
        say(f"  {stage.name}: {len(jobs):,} shards")
        asked = [
            (self.store.root, self.store.cache, stage, config, _narrowed(inputs), shard)
            for shard, (config, inputs) in jobs.items()
        ]
        made = list(self.pool.map(_submit, *zip(*asked, strict=True), chunksize=8))
        self.results += made
        return dict(zip(jobs, made, strict=True))


def _narrowed(inputs: Mapping[str, Input]) -> dict[str, Input]:
    """Inputs that can go to another process at no cost."""

    def load(ref: object) -> Artifact:
        raise AssertionError(f"{ref} stands for an artefact that is here")

    return {role: narrow(value, load) for role, value in inputs.items()}


def _submit(
    root: str,
    cache: Path,
    stage: Stage,
    config: Settings,
    inputs: Mapping[str, Input],
    shard: str,
) -> Artifact:
    return SyntheticRun(Store(root, cache)).submit(stage, config, inputs, shard)


@contextmanager
def open_pool() -> Iterator[ProcessPoolExecutor]:
    """Processes that make shards and models."""
    with ProcessPoolExecutor(num_cores(), mp_context=get_context("spawn")) as pool:
        yield pool


def make_store(home: Path, scale: Scale) -> None:
    """A home whose store has a corpus of that scale, its models, and their names."""
    home.mkdir(parents=True)
    (home / "HEADWATER").write_text("A home of the lineage benchmark.\n", encoding="utf-8")
    recipe = make_recipe(home, scale)
    store = Store(str(home / "store"), home / "cache")
    made = {
        "run": RUN,
        "recipe": recipe.name,
        "recipe_digest": store.registry.save_recipe(recipe.model_dump(mode="json")),
    }
    with open_pool() as pool:
        corpus = build_corpus(SyntheticRun(store, pool=pool), recipe)
        store.point("corpus", corpus.report, **made)
        say(f"  {scale.num_models} models")
        numbers = range(scale.num_models)
        arguments = [[x] * len(numbers) for x in (store.root, store.cache, recipe, corpus, scale)]
        for models in pool.map(_make_models, *arguments, numbers):
            for name, model in models.items():
                store.point(name, model, **made)


def make_recipe(home: Path, scale: Scale) -> Recipe:
    """The recipe of the corpus; writes its raw files, which say what to make up."""
    per_source = -(-scale.num_shards // len(SOURCES))
    for number in range(scale.num_shards):
        place = number % per_source
        repeats = [number - step for step in (1, per_source) if number >= step]
        about = {
            "number": number,
            "num_documents": scale.num_documents,
            "num_hosts": scale.num_hosts,
            "repeats": repeats if place else repeats[1:],
        }
        path = raw_file(home, scale, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(about) + "\n", encoding="utf-8")
    sources = {
        source: {"kind": "jsonl", "paths": [f"{home}/raw/{source}/*.jsonl"], "licence": "CC0-1.0"}
        for source in SOURCES
    }
    recipe = load_recipe("smoke", {"name": "lineage-benchmark"})
    return Recipe.model_validate({**recipe.model_dump(mode="json"), "sources": sources})


def raw_file(home: Path, scale: Scale, number: int) -> Path:
    """The raw file of a shard."""
    per_source = -(-scale.num_shards // len(SOURCES))
    return home / "raw" / SOURCES[number // per_source] / f"{number:04d}.jsonl"


def change_shard(home: Path, scale: Scale) -> None:
    """Take one page out of the first raw file and make its shard again, up to its tokens."""
    path = raw_file(home, scale, 0)
    about = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps({**about, "num_documents": about["num_documents"] - 1}), encoding="utf-8"
    )
    store = Store(str(home / "store"), home / "cache")
    report = store.named("corpus")
    recipe = Recipe.model_validate(
        store.registry.load_recipe(store.registry.find("corpus").recipe_digest or "")
    )
    run = SyntheticRun(store)
    raw = [r for r in bring_in(run, recipe, SOURCES[0], {}, None) if r.name.endswith(path.name)]
    (documents,) = extract(run, recipe, raw).values()
    name = raw[0].name
    documents = run.submit(
        STAGES["filter"], recipe.filter_of(SOURCES[0]), {"documents": documents}, name
    )
    before = next(store.parent(p) for p in report.parents if p.role == "tokens" and p.shard == name)
    others = {p.role: store.parent(p) for p in before.parents if p.role != "documents"}
    run.submit(STAGES["tokenize"], recipe.tokenize, {**others, "documents": documents}, name)


def _make_models(
    root: str, cache: Path, recipe: Recipe, corpus: Corpus, scale: Scale, number: int
) -> dict[str, Artifact]:
    """The chain of one model; its shards are a window of the corpus, apart from the others'."""
    run = SyntheticRun(Store(root, cache))
    shards = corpus.tokens
    if number < scale.num_models - 1:
        start = number * scale.num_shards // scale.num_models
        chosen = [start + i * 7 for i in range(scale.shards_per_model)]
        shards = [shards[place % scale.num_shards] for place in sorted(set(chosen))]
    part = replace(corpus, tokens=shards)
    own = _recipe_of_model(recipe, shards, scale, number)
    base = build_base(run, own, part)
    aligned = build_assistant(run, own, part, base)
    return {"base": base.model, **aligned.registered}


def _recipe_of_model(recipe: Recipe, shards: list[Artifact], scale: Scale, number: int) -> Recipe:
    num_tokens = sum(int(shard.counts["num_tokens"]) for shard in shards)
    batch_size, context = 64, 256
    steps = max(1, round(num_tokens * scale.share_seen / (batch_size * context)))
    found = sorted({(shard.shard or "").partition("-")[0] for shard in shards})
    values = recipe.model_dump(mode="json")
    values["pretrain"] |= {
        "model": {**values["pretrain"]["model"], "max_positions": context},
        "mixture": dict.fromkeys(found, 1.0),
        "steps": steps,
        "batch_size": batch_size,
        "context": context,
        "seed": number,
    }
    values["ppo"] |= {
        "pretraining_mixture": {found[-1]: 1.0},
        "pretraining_context": context,
        "seed": number,
    }
    return Recipe.model_validate(values)

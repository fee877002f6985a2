"""Ingest > extract > filter > signature > dedup > tokenize, a shard at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flows.recipe import Recipe
from pipeline_data.artifact import Artifact
from pipeline_data.corpus.settings import AdoptedTokenizerConfig, ExtractConfig
from pipeline_data.corpus.tokenization.adopted_tokenizer import FILES as TOKENIZER_FILES
from pipeline_data.corpus.tokenization.sample import is_sampled
from pipeline_data.errors import SourceError
from pipeline_data.sources import RawFile
from pipeline_data.sources.settings import (
    CrawlSource,
    DatasetSource,
    DownloadConfig,
    FilesSource,
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
    """What the corpus hands on; no report where it is taken from the record of a model."""

    tokens: list[Any]
    tokenizer: Any
    exercises: Any
    report: Any = None


def build_corpus(run: Runner, recipe: Recipe) -> Corpus:
    """Bring in every source and make token shards of what is worth keeping."""
    curriculum = run.submit(STAGES["curriculum"], recipe.curriculum)
    exercises = Part(curriculum, "exercises")
    packages = download_packages(run, recipe)
    raw = [
        shard
        for name in recipe.sources
        for shard in bring_in(run, recipe, name, packages, curriculum)
    ]
    extracted = {shard.name: extract(run, recipe, shard) for shard in raw}
    filtered = {
        shard.name: run.submit(
            STAGES["filter"],
            recipe.filter_of(shard.source),
            {"documents": extracted[shard.name]},
            shard.name,
        )
        for shard in raw
    }
    signatures = [sign(run, recipe, shard, filtered[shard.name]) for shard in raw]
    dedup = run.submit(STAGES["dedup"], recipe.dedup, {"signatures": signatures})
    evaluations = list(read_evaluations(run, recipe, exercises))
    kept = {
        name: run.submit(
            STAGES["decontaminate"],
            recipe.decontaminate,
            {"documents": documents, "kept": Part(dedup, name), "evaluation": evaluations},
            name,
        )
        for name, documents in filtered.items()
    }
    pages = {name: {"documents": filtered[name], "kept": kept[name]} for name in filtered}
    tokenizer = make_tokenizer(run, recipe, pages)
    tokens = [
        run.submit(STAGES["tokenize"], recipe.tokenize, {**inputs, "tokenizer": tokenizer}, name)
        for name, inputs in pages.items()
    ]
    report = run.submit(
        STAGES["corpus-report"],
        recipe.report,
        {
            "extracted": list(extracted.values()),
            "filtered": list(filtered.values()),
            "dedup": dedup,
            "evaluation": evaluations,
            "decontaminated": list(kept.values()),
            "tokens": tokens,
        },
    )
    return Corpus(tokens, tokenizer, exercises, report)


def corpus_of(run: Runner, recipe: Recipe, base: Artifact) -> Corpus:
    """The corpus that a base model was made of, from its record."""
    tokens = [run.store.parent(p) for p in base.parents if p.role == "tokens"]
    tokenizer = next(run.store.parent(p) for p in base.parents if p.role == "tokenizer")
    curriculum = run.submit(STAGES["curriculum"], recipe.curriculum)
    return Corpus(tokens, tokenizer, Part(curriculum, "exercises"))


def extract(run: Runner, recipe: Recipe, shard: RawShard) -> Any:
    """One raw shard as documents of plain text."""
    source = recipe.sources[shard.source]
    config = ExtractConfig(
        **recipe.extract.model_dump(), source=shard.source, reader=source.reader()
    )
    return run.submit(STAGES["extract"], config, {"raw": shard.artifact}, shard.name)


def sign(run: Runner, recipe: Recipe, shard: RawShard, documents: Any) -> Any:
    """The signatures of one shard, by which like documents find each other."""
    near = recipe.signature.near and recipe.sources[shard.source].near_dedup
    config = recipe.signature.model_copy(update={"near": near})
    return run.submit(STAGES["signature"], config, {"documents": documents}, shard.name)


def make_tokenizer(run: Runner, recipe: Recipe, pages: Mapping[str, Mapping[str, Any]]) -> Any:
    """The tokenizer in the recipe's folder, or one learnt from samples of the shards it names."""
    if recipe.tokenizer_folder is not None:
        files = run.adopt_folder(recipe.tokenizer_folder, TOKENIZER_FILES)
        return run.submit(STAGES["adopt-tokenizer"], AdoptedTokenizerConfig(), {"files": files})
    everything = recipe.sample.model_copy(update={"shards": ("*",)})  # naming shards redoes none
    samples = [
        run.submit(STAGES["sample"], everything, inputs, name)
        for name, inputs in pages.items()
        if is_sampled(recipe.sample, name)
    ]
    return run.submit(STAGES["tokenizer"], recipe.tokenizer, {"samples": samples})


def read_evaluations(run: Runner, recipe: Recipe, exercises: Part) -> Iterator[Any]:
    """The items of every evaluation set that no training document may hold."""
    for name, evaluation in recipe.evaluations.items():
        if evaluation.kind == "exercises":
            raw = [exercises]
        else:
            raw = [open_file(run, file) for file in run.list_files(evaluation.as_source())]
        config = evaluation.items_config(name, recipe.decontaminate)
        yield run.submit(STAGES["evaluation-items"], config, {"raw": raw}, name)


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
        case DatasetSource():
            raw, prefix, num_shards = load_dataset(run, name, source), "records", source.shards
        case GeneratedSource():
            raw, prefix, num_shards = curriculum, "documents", recipe.curriculum.shards
        case _:
            for file in list_files(run, name, source):
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


def list_files(run: Runner, name: str, source: FilesSource) -> list[RawFile]:
    """The raw files of a source; none when it is optional and they cannot be had."""
    try:
        return run.list_files(source)
    except SourceError as error:
        if source.required:
            raise
        run.skip(name, f"{error}; the run goes on without it")
        return []


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


def load_dataset(run: Runner, name: str, source: DatasetSource) -> Any:
    """Rows of a Hugging Face dataset: of a folder here, or of the hub."""
    inputs = {"folder": run.adopt_folder(source.folder)} if source.folder else {}
    return run.submit(STAGES["dataset"], source.dataset_config(), inputs, name)


def ingest(run: Runner, name: str, source: PypiSource, packages: Packages) -> Any:
    """Texts inside a package of a registry; none when it is optional and cannot be had."""
    package = packages[source.download_config()]
    if not source.required and not run.succeeded(package):
        return None
    return run.submit(STAGES["ingest"], source.ingest_config(), {"package": package}, name)

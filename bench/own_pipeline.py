"""Our side of the comparison: the stage functions of the corpus, called as a worker calls them.

Settings are those of the shipped ``default`` recipe for web pages. Personal data is masked as far
as datatrove can do it too (e-mail and IP addresses); extraction is pinned to trafilatura for the
comparison of like with like, and to the fast extractor for the row of its own.

Every stage reads and writes the files it does in a real run, and its artefact is hashed, within
the time that is measured. No store, no Prefect: the stock side runs without its executor, too.
"""

import contextlib
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from bench.measure import cpu_seconds
from flows.recipe import load_recipe
from pipeline_data.artifact import (
    Artifact,
    FileRecord,
    content_digest,
    describe,
    part_digests,
)
from pipeline_data.corpus.settings import (
    DedupConfig,
    ExtractConfig,
    ExtractOptions,
    FilterConfig,
    SampleConfig,
    SignatureConfig,
    TokenizeConfig,
    TokenizerConfig,
)
from pipeline_data.settings import Settings
from pipeline_data.sources.settings import WarcSource
from pipeline_data.stage_run import Inputs, Runtime, silent
from tasks.launch import Job, RoleArtifacts, Workers
from tasks.stages import STAGES
from tasks.worker import import_name

PAGE_STAGES = ("extract", "filter", "signature")
"""What is done to a shard before dedup."""
VOCAB_SIZE = 32_000
PII_OF_BOTH = ("email", "ip")


@dataclass(frozen=True)
class PipelineSettings:
    """The configs of the stages that are compared."""

    extract: ExtractConfig
    filter: FilterConfig
    signature: SignatureConfig
    dedup: DedupConfig
    tokenize: TokenizeConfig

    def of(self, stage: str) -> Settings:
        """The config of a stage."""
        config: Settings = getattr(self, stage)
        return config


@dataclass(frozen=True)
class Build:
    """A corpus to be made, by either side: ``warcs`` are all the WARCs of a folder, in order."""

    settings: PipelineSettings
    warcs: tuple[Path, ...]
    out: Path
    tokenizer: Path
    """Folder of the trained tokenizer."""


def known_extractors() -> tuple[str, ...]:
    """The extractors that there are, as the setting ``extractor`` names them."""
    field = ExtractOptions.model_fields.get("extractor")
    return get_args(field.annotation) if field else ("trafilatura",)


def load_settings(extractor: str = "trafilatura") -> PipelineSettings:
    """The shipped recipe's settings for web pages, with an extractor of the known ones."""
    recipe = load_recipe("default")
    options = recipe.extract.model_dump()
    if "extractor" in ExtractOptions.model_fields:
        options["extractor"] = extractor
    reader = WarcSource(paths=("*.warc.gz",)).reader()
    return PipelineSettings(
        extract=ExtractConfig(**options, source="web", reader=reader),
        filter=recipe.filters["pages"].model_copy(update={"pii": PII_OF_BOTH}),
        signature=recipe.signature,
        dedup=recipe.dedup,
        tokenize=recipe.tokenize,
    )


def rules_only(settings: PipelineSettings) -> PipelineSettings:
    """The same with nothing but the quality rules in the filter."""
    update = {"languages": (), "pii": ()}
    return replace(settings, filter=settings.filter.model_copy(update=update))


def shard_name(rank: int) -> str:
    """The name of a shard, which sorts by rank."""
    return f"web-{rank:05d}"


def raw_artifact(warc: Path, rank: int) -> Artifact:
    """A WARC where it lies, as the store adopts it."""
    file = FileRecord(warc.name, "", warc.stat().st_size)
    digest = content_digest([file])
    return Artifact("file", 1, digest, digest, warc.parent, shard=shard_name(rank), files=(file,))


def artifact_of(folder: Path, stage: str, shard: str | None = None) -> Artifact:
    """The record of the files in a folder, made as the store makes it; parts if it is no shard."""
    files = describe(folder)
    digest = content_digest(files)
    parts = {} if shard else part_digests(files)
    return Artifact(stage, 1, digest, digest, folder, shard=shard, files=files, parts=parts)


def inputs_of(build: Build, stage: str, rank: int) -> RoleArtifacts:
    """What a stage of a shard reads."""
    out, shard = build.out, shard_name(rank)
    match stage:
        case "extract":
            return {"raw": raw_artifact(build.warcs[rank], rank)}
        case "filter":
            return {"documents": artifact_of(out / "extract" / shard, stage, shard)}
        case "signature":
            return {"documents": artifact_of(out / "filter" / shard, stage, shard)}
        case "dedup":
            shards = map(shard_name, range(len(build.warcs)))
            return {
                "signatures": [artifact_of(out / "signature" / s, "signature", s) for s in shards]
            }
    kept = {
        "documents": artifact_of(out / "filter" / shard, "filter", shard),
        "kept": artifact_of(out / "dedup", "dedup").part(shard),
    }
    return kept | (
        {"tokenizer": artifact_of(build.tokenizer, "tokenizer")} if stage == "tokenize" else {}
    )


def run_stage(build: Build, stage: str, rank: int = 0) -> float:
    """Run one stage of a shard (or dedup, of all) into ``out/<stage>``; CPU seconds it took."""
    start = cpu_seconds()
    folder = _empty_folder(build, stage, rank)
    run = import_name(STAGES[stage].function)
    run(build.settings.of(stage), Inputs(inputs_of(build, stage, rank)), folder, Runtime())
    return cpu_seconds() - start


def run_pages(build: Build, rank: int) -> dict[str, float]:
    """Extract, filter and sign a shard; CPU seconds by stage."""
    return {stage: run_stage(build, stage, rank) for stage in PAGE_STAGES}


def train_tokenizer(build: Build) -> None:
    """Train ``build.tokenizer`` on the largest WARC, whatever the rules make of its pages."""
    largest = max(build.warcs, key=lambda warc: warc.stat().st_size)
    unfiltered = replace(build.settings, filter=FilterConfig())
    first = replace(build, settings=unfiltered, warcs=(largest,))
    run_pages(first, 0)
    run_stage(first, "dedup")
    sample = build.out / "sample" / shard_name(0)
    config = SampleConfig(fraction=1.0)
    import_name(STAGES["sample"].function)(
        config, Inputs(inputs_of(first, "sample", 0)), sample, Runtime()
    )
    samples = [artifact_of(sample, "sample", shard_name(0))]
    import_name(STAGES["tokenizer"].function)(
        TokenizerConfig(vocab_size=VOCAB_SIZE),
        Inputs({"samples": samples}),
        build.tokenizer,
        Runtime(),
    )


@contextmanager
def open_workers(build: Build, num_cores: int) -> Iterator[Workers]:
    """The product's worker processes, which have read the first shard of ``build`` to warm up."""
    workers = Workers(num_cores, idle_seconds=math.inf)
    with contextlib.closing(workers), ThreadPoolExecutor(num_cores) as pool:
        builds = [replace(build, out=build.out / str(number)) for number in range(num_cores)]
        list(pool.map(lambda own: _run_shard(workers, own, 0, PAGE_STAGES), builds))
        yield workers


def run_all(workers: Workers, build: Build) -> tuple[float, float]:
    """The whole pipeline on the workers' cores; wall seconds, and the CPU seconds of workers."""
    start = time.perf_counter()
    cores = workers.cores.total
    ranks = range(len(build.warcs))
    with ThreadPoolExecutor(cores) as pool:
        cpu = sum(pool.map(lambda rank: _run_shard(workers, build, rank, PAGE_STAGES), ranks))
        cpu += _run_job(workers, build, "dedup", 0, cores)
        cpu += sum(pool.map(lambda rank: _run_shard(workers, build, rank, ["tokenize"]), ranks))
    return time.perf_counter() - start, cpu


def _run_shard(workers: Workers, build: Build, rank: int, stages: Sequence[str]) -> float:
    return sum(_run_job(workers, build, stage, rank, 1) for stage in stages)


def _run_job(workers: Workers, build: Build, stage: str, rank: int, threads: int) -> float:
    job = Job(
        stage=stage,
        function=STAGES[stage].function,
        config=build.settings.of(stage),
        inputs=inputs_of(build, stage, rank),
        out=_empty_folder(build, stage, rank),
        log=build.out / "worker.log",
        threads=threads,
    )
    return workers.run(job, lambda: None, silent)[1]["cpu_seconds"]


def _empty_folder(build: Build, stage: str, rank: int) -> Path:
    folder = build.out / stage / ("" if stage == "dedup" else shard_name(rank))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

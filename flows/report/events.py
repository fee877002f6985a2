"""OpenLineage events of a model's making: a START and a COMPLETE for each stage result.

Format: https://openlineage.io/spec/2-0-2/OpenLineage.json, by the classes of openlineage-python. A
dataset is a shard or an artefact, named by its stage; its version is its digest. Identifiers
of runs are made of keys, and times come from the record, so the same record gives the same bytes.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from flows.report.ancestry import Ancestry
from flows.report.record import ModelRecord
from flows.report.sources import public_config
from pipeline_data.artifact import Artifact, FileRecord
from pipeline_data.errors import HeadwaterError
from tasks.store import EXTERNAL

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, RunEvent

NAMESPACE = "headwater"
PRODUCER = "urn:headwater"
PIPELINE = "pipeline"
"""The job of a whole pipeline run, whose runs are the parents of those of its stages."""
API_KEY = "OPENLINEAGE_API_KEY"
"""Environment variable with the key that the receiver may want."""
RUNS = uuid5(NAMESPACE_URL, "headwater/runs")


def render_events(record: ModelRecord) -> str:
    """All events, one JSON object a line, in the order of time."""
    from openlineage.client.serde import Serde

    return "".join(f"{Serde.to_json(event)}\n" for event in list_events(record))


def send_events(record: ModelRecord, url: str) -> int:
    """Send all events to an OpenLineage receiver (``<url>/api/v1/lineage``); returns how many.

    Raises:
        HeadwaterError: the address is none, or the receiver is away or refuses one.
    """
    from openlineage.client.transport.http import (
        ApiKeyTokenProvider,
        HttpConfig,
        HttpTransport,
        TokenProvider,
    )
    from requests import RequestException

    key = os.environ.get(API_KEY)
    auth = ApiKeyTokenProvider({"api_key": key}) if key else TokenProvider({})
    num_sent = 0
    try:
        transport = HttpTransport(HttpConfig(url=f"{url.rstrip('/')}/", auth=auth))
        try:
            for event in list_events(record):
                transport.emit(event)
                num_sent += 1
        finally:
            transport.close()
    except (RequestException, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HeadwaterError(
            f"--openlineage {url}: after {num_sent} events: {reason}; check address and receiver"
        ) from None
    return num_sent


def list_events(record: ModelRecord) -> "Iterator[RunEvent]":
    """The events of every result that the model was made of, and of the evaluations beside it.

    A record without a time, as of a file that lay there before, has none.
    """
    made = [a for a in record.ancestry.artifacts if a.stage != EXTERNAL]
    made += [training.evaluation for training in record.trainings if training.evaluation]
    timed = [artifact for artifact in made if "created" in artifact.facts]
    for artifact in sorted(timed, key=lambda a: (a.facts["created"], a.stage, a.key)):
        yield from _events_of(record.ancestry, artifact)


def _events_of(ancestry: Ancestry, artifact: Artifact) -> "Iterator[RunEvent]":
    from openlineage.client.event_v2 import Run, RunEvent, RunState

    end = datetime.fromisoformat(artifact.facts["created"])
    begin = end - timedelta(seconds=float(artifact.facts.get("seconds", 0.0)))
    facets, job = _parent_facet(artifact), _job(artifact)
    run_id = str(uuid5(RUNS, f"{artifact.stage}/{artifact.key}"))
    yield RunEvent(
        eventType=RunState.START,
        eventTime=begin.isoformat(timespec="milliseconds"),
        producer=PRODUCER,
        run=Run(runId=run_id, facets=facets),
        job=job,
    )
    yield RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=end.isoformat(timespec="milliseconds"),
        producer=PRODUCER,
        run=Run(runId=run_id, facets=facets | _parameters(artifact)),
        job=job,
        inputs=list(_inputs(ancestry, artifact)),
        outputs=list(_outputs(ancestry, artifact)),
    )


def _parent_facet(artifact: Artifact) -> dict[str, Any]:
    """The pipeline run it was made in."""
    from openlineage.client.generated import parent_run

    name = artifact.facts.get("run")
    if not name:
        return {}
    facet = parent_run.ParentRunFacet(
        run=parent_run.Run(runId=str(uuid5(RUNS, name))),
        job=parent_run.Job(namespace=NAMESPACE, name=PIPELINE),
        producer=PRODUCER,
    )
    return {"parent": facet}


def _parameters(artifact: Artifact) -> dict[str, Any]:
    """What it was asked for, and where it was made."""
    from openlineage.client.generated import execution_parameters_run as parameters

    told = {
        "key": artifact.key,
        "version": artifact.version,
        "shard": artifact.shard,
        **{name: artifact.facts.get(name) for name in ("lock", "machine", "python", "cores")},
        **{f"config.{name}": value for name, value in public_config(artifact).items()},
    }
    facet = parameters.ExecutionParametersRunFacet(
        parameters=[
            parameters.ExecutionParameter(key=name, value=str(value))
            for name, value in told.items()
            if value is not None
        ],
        producer=PRODUCER,
    )
    return {"executionParameters": facet}


def _job(artifact: Artifact) -> "Job":
    """A job a stage, with the commit of its code."""
    from openlineage.client.event_v2 import Job
    from openlineage.client.generated import job_type_job, source_code_location_job

    facets: dict[str, Any] = {
        "jobType": job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="HEADWATER", jobType="TASK", producer=PRODUCER
        )
    }
    if commit := artifact.facts.get("commit"):
        facets["sourceCodeLocation"] = source_code_location_job.SourceCodeLocationJobFacet(
            type="git", url=f"urn:git:{commit}", version=commit, producer=PRODUCER
        )
    return Job(namespace=NAMESPACE, name=artifact.stage, facets=facets)


def _inputs(ancestry: Ancestry, artifact: Artifact) -> "Iterator[InputDataset]":
    """The inputs as its record names them, with sizes where the model was made of them, too."""
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.generated import input_statistics_input_dataset as statistics

    for parent in artifact.parents:
        whole = ancestry.by_content.get((parent.stage, parent.shard or "", parent.digest))
        if whole is None:
            name = _name(parent.stage, parent.shard)
            yield InputDataset(namespace=NAMESPACE, name=name, facets=_facets(parent.digest))
            continue
        shard = parent.shard if parent.shard in whole.parts else None
        for name, digest, files in _datasets(ancestry, whole, shard):
            facet = statistics.InputStatisticsInputDatasetFacet(
                **_statistics(files), producer=PRODUCER
            )
            yield InputDataset(
                namespace=NAMESPACE,
                name=name,
                facets=_facets(digest),
                inputFacets={"inputStatistics": facet},
            )


def _outputs(ancestry: Ancestry, artifact: Artifact) -> "Iterator[OutputDataset]":
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.generated import output_statistics_output_dataset as statistics

    for name, digest, files in _datasets(ancestry, artifact):
        facet = statistics.OutputStatisticsOutputDatasetFacet(
            **_statistics(files), producer=PRODUCER
        )
        yield OutputDataset(
            namespace=NAMESPACE,
            name=name,
            facets=_facets(digest),
            outputFacets={"outputStatistics": facet},
        )


def _datasets(
    ancestry: Ancestry, artifact: Artifact, shard: str | None = None
) -> Iterator[tuple[str, str, Sequence[FileRecord]]]:
    """Name, digest and files of an artefact or its part; a sharded one is all of its parts.

    So a dataset has one name wherever it is made or used.
    """
    if artifact.stage == EXTERNAL:
        yield f"{EXTERNAL}/{artifact.files[0].path}", artifact.digest, artifact.files
    elif artifact.parts:
        for part in artifact.parts if shard is None else [shard]:
            name = _name(artifact.stage, part)
            yield name, artifact.parts[part], ancestry.files(artifact, part)
    else:
        yield _name(artifact.stage, artifact.shard), artifact.digest, artifact.files


def _name(stage: str, shard: str | None) -> str:
    return f"{stage}/{shard}" if shard else stage


def _facets(digest: str) -> dict[str, Any]:
    from openlineage.client.generated import dataset_version_dataset as version

    facet = version.DatasetVersionDatasetFacet(datasetVersion=digest, producer=PRODUCER)
    return {"version": facet}


def _statistics(files: Sequence[FileRecord]) -> dict[str, int | None]:
    """Rows (of Parquet files), bytes and files that a next stage reads."""
    read = [file for file in files if not file.is_provenance]
    rows = [file.rows for file in read if file.rows is not None]
    return {
        "rowCount": sum(rows) if rows else None,
        "size": sum(file.bytes for file in read),
        "fileCount": len(read),
    }

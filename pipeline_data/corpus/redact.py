"""Stage ``redact``: a raw shard without the pages that were forgotten, for all that follows.

A file that lies where its owner put it is not changed. What is read from then on is this copy.
"""

from pathlib import Path

from pipeline_data.artifact import Counts
from pipeline_data.corpus.filters.url_rule import names_any
from pipeline_data.corpus.settings import RedactConfig
from pipeline_data.sources.raw.redaction import redact_raw
from pipeline_data.stage_run import Inputs, Runtime


def run(config: RedactConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Write the files of input ``raw`` without the records of the config's targets.

    Raises:
        SourceError: the shard cannot be read at all.
    """
    redacted = redact_raw(inputs.one("raw"), config.reader, names_any(config.targets), out)
    return {"num_redacted": len(redacted)}

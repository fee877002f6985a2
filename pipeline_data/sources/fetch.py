"""Stage ``fetch``: one raw file from an address (s3://, gs://, https://) onto this machine.

No inputs. Output: the file under its relative path, as :mod:`raw` reads it. Its address is its
name in the plan, so a file that changes in place is fetched again only when forced.
"""

from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from pipeline_data.artifact import Counts
from pipeline_data.errors import SourceError, UnreachableError
from pipeline_data.faults import full_disk
from pipeline_data.sources.settings import FetchConfig
from pipeline_data.stage_run import Inputs, Runtime

_CHUNK = 1 << 20


def run(config: FetchConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Copy the file; returns its size.

    Raises:
        SourceError: there is no such file, or it may not be read.
        UnreachableError: it cannot be had now.
        TransientError: the disk is full.
    """
    relative = config.relative or urlsplit(config.url).path.rsplit("/", 1)[-1] or "file"
    path = out / relative
    if not path.resolve().is_relative_to(out.resolve()):
        raise SourceError(f"{relative} leads out of its folder; correct the source's paths")
    path.parent.mkdir(parents=True, exist_ok=True)
    num_bytes = 0
    try:
        with fsspec.open(config.url, "rb") as remote, path.open("wb") as local:
            while chunk := remote.read(_CHUNK):
                local.write(chunk)
                num_bytes += len(chunk)
                runtime.progress(num_bytes, None, "bytes")
    except ImportError as error:  # a file system whose package is not installed says which
        raise SourceError(f"{config.url} cannot be fetched: {error}") from error
    except (FileNotFoundError, PermissionError) as error:
        raise SourceError(
            f"{config.url} is not there or may not be read; correct the source's paths"
        ) from error
    except Exception as error:  # each file system has errors of its own
        raise full_disk(error, out) or UnreachableError(
            f"{config.url} cannot be fetched now ({type(error).__name__}); try again"
        ) from error
    return {"num_bytes": num_bytes}

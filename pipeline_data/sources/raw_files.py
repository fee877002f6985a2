"""Which raw files a source means: local glob patterns, fsspec URLs, Common Crawl's path lists."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec

from pipeline_data.errors import SourceError
from pipeline_data.sources.raw.content_encoding import decode_body
from pipeline_data.sources.settings import FetchConfig, FilesSource, WarcSource
from pipeline_data.sources.sharding import hash_fraction

_MAX_LIST_BYTES = 200_000_000
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class RawFile:
    """One raw file. ``name`` is unique in its source and safe as a file name.

    ``path`` is absolute or an fsspec URL; ``relative`` is its end below the folder that the
    source's pattern names, and tells apart files of one name.
    """

    name: str
    path: str
    relative: str

    def fetch_config(self) -> FetchConfig | None:
        """The config of the fetch stage; nothing for a file on this machine."""
        return FetchConfig(url=self.path, relative=self.relative) if "://" in self.path else None


def list_raw_files(config: FilesSource) -> list[RawFile]:
    """The raw files of a source, sorted by name; each file once.

    A name is a function of the file's own place below the pattern's folder, so that a new file
    never renames another.

    Raises:
        SourceError: a pattern matches nothing, or a list cannot be read.
    """
    places = [place for pattern in config.paths for place in _expand(pattern)]
    if isinstance(config, WarcSource) and config.paths_file is not None:
        places += _read_list(config.paths_file, config.prefix, config.sample)
    files: dict[str, RawFile] = {}
    for path, relative in dict(places).items():
        name = _safe_name(relative)
        if name in files:
            raise SourceError(
                f"two raw files have the name {relative} ({files[name].path} and {path}); "
                "put them into two sources"
            )
        files[name] = RawFile(name, path, relative)
    return [files[name] for name in sorted(files)]


def _expand(pattern: str) -> Iterator[tuple[str, str]]:
    """Path and end of each file that matches a pattern."""
    if "://" in pattern:
        return _expand_url(pattern)
    full = str(Path(pattern).expanduser().absolute())
    root = Path(_fixed_part(full))
    matches = root.glob(full[len(str(root)) :].lstrip("/"))
    found = [(str(p), p.relative_to(root).as_posix()) for p in matches if p.is_file()]
    if not found:
        raise SourceError(f"no file matches {pattern}; correct the source's paths")
    return iter(found)


def _expand_url(url: str) -> Iterator[tuple[str, str]]:
    if not _MAGIC.search(url):
        yield url, url.rsplit("/", 1)[-1]
        return
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        matches = [filesystem.unstrip_protocol(match) for match in filesystem.glob(path)]
    except Exception as error:  # each file system has errors of its own
        raise SourceError(
            f"{url} cannot be listed ({type(error).__name__}: {error}); "
            "check the address and credentials"
        ) from error
    if not matches:
        raise SourceError(f"no file matches {url}; correct the source's paths")
    root = _fixed_part(filesystem.unstrip_protocol(path))
    yield from ((match, match.removeprefix(root).lstrip("/")) for match in matches)


def _fixed_part(pattern: str) -> str:
    """The folder before a pattern's first wildcard."""
    magic = _MAGIC.search(pattern)
    fixed = pattern[: magic.start()] if magic else pattern
    return fixed.rsplit("/", 1)[0]


def _read_list(address: str, prefix: str, sample: float) -> list[tuple[str, str]]:
    try:
        with fsspec.open(address, "rb") as handle:
            data: bytes = handle.read(_MAX_LIST_BYTES + 1)
        text = decode_body(data, None, _MAX_LIST_BYTES).decode()
    except Exception as error:  # each file system has errors of its own
        raise SourceError(
            f"{address} cannot be read ({type(error).__name__}: {error}); "
            "correct the source's paths_file"
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if hash_fraction(line) < sample]
    if not kept:
        raise SourceError(
            f"{address}: none of its {len(lines)} paths is in a sample of {sample}; raise sample"
        )
    return [(prefix + line, line.rsplit("/", 1)[-1]) for line in kept]


def _safe_name(relative: str) -> str:
    """The place in letters, digits, dots, dashes, underscores; a hash marks a replacement."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", relative).lstrip(".")[:120]
    if name == relative:
        return name
    return f"{name}-{hashlib.sha256(relative.encode()).hexdigest()[:8]}"

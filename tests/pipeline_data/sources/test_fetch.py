from pathlib import Path

import fsspec
import pytest

from pipeline_data.errors import SourceError, TransientError
from pipeline_data.sources import fetch, list_raw_files
from pipeline_data.sources.raw.reader import RawRecord, read_raw
from pipeline_data.sources.settings import FetchConfig, TextSource
from pipeline_data.stage_run import Inputs, Runtime
from tests.pipeline_data.sources.artifacts import adopt


def test_remote_file_is_read_like_a_local_one(tmp_path: Path) -> None:
    with fsspec.open("memory://fetch/deep/a.txt", "w") as handle:
        handle.write("A text.")
    source = TextSource(paths=("memory://fetch/*/*.txt",))
    (file,) = list_raw_files(source)
    config = file.fetch_config()
    assert config is not None
    fetch.run(config, Inputs({}), tmp_path / "out", Runtime())
    assert list(read_raw(adopt(tmp_path / "out"), source.reader())) == [
        RawRecord("file:deep/a.txt", 0, text="A text.")
    ]


def test_without_a_path_the_file_has_the_name_of_its_address(tmp_path: Path) -> None:
    with fsspec.open("memory://fetch/deep/b.txt", "w") as handle:
        handle.write("B")
    fetch.run(FetchConfig(url="memory://fetch/deep/b.txt"), Inputs({}), tmp_path, Runtime())
    assert (tmp_path / "b.txt").read_text() == "B"


def test_local_file_needs_no_fetching(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A text.")
    (file,) = list_raw_files(TextSource(paths=(f"{tmp_path}/a.txt",)))
    assert file.fetch_config() is None


def test_missing_file_is_a_source_error(tmp_path: Path) -> None:
    config = FetchConfig(url="memory://fetch/nothing.txt", relative="a.txt")
    with pytest.raises(SourceError, match="not there"):
        fetch.run(config, Inputs({}), tmp_path, Runtime())


def test_file_stays_inside_its_artefact(tmp_path: Path) -> None:
    config = FetchConfig(url="memory://fetch/deep/a.txt", relative="x/../../a.txt")
    with pytest.raises(SourceError, match="leads out"):
        fetch.run(config, Inputs({}), tmp_path / "out", Runtime())


def test_file_system_that_fails_is_transient(tmp_path: Path) -> None:
    class Failing(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "failing"

        def _open(self, path: str, mode: str = "rb", **options: object) -> None:
            raise ConnectionError("the line is cut")

    fsspec.register_implementation("failing", Failing, clobber=True)
    config = FetchConfig(url="failing://a.txt", relative="a.txt")
    with pytest.raises(TransientError, match="ConnectionError"):
        fetch.run(config, Inputs({}), tmp_path, Runtime())


def test_file_system_without_its_package_says_which(tmp_path: Path) -> None:
    class Missing(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "missing"

        def __init__(self, **options: object) -> None:
            raise ImportError("install missingfs")

    fsspec.register_implementation("missing", Missing, clobber=True)
    config = FetchConfig(url="missing://a.txt", relative="a.txt")
    with pytest.raises(SourceError, match="install missingfs") as caught:
        fetch.run(config, Inputs({}), tmp_path, Runtime())
    assert not isinstance(caught.value, TransientError)

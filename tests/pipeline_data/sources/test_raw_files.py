import time
from pathlib import Path

import fsspec
import pytest

from pipeline_data.errors import SourceError
from pipeline_data.sources import list_raw_files
from pipeline_data.sources.settings import JsonlSource, TextSource, WarcSource
from tests.pipeline_data.sources.artifacts import gzipped, write_files


def names(paths: tuple[str, ...]) -> list[str]:
    return [file.name for file in list_raw_files(TextSource(paths=paths))]


def test_patterns_give_each_file_once_under_a_safe_name(tmp_path: Path) -> None:
    write_files(tmp_path, {"b.txt": "", "a.txt": "", "deep/er/a.txt": "", "other.md": ""})
    files = list_raw_files(TextSource(paths=(f"{tmp_path}/**/*.txt", f"{tmp_path}/a.txt")))
    assert [file.relative for file in files] == ["a.txt", "b.txt", "deep/er/a.txt"]
    assert len({file.name for file in files}) == 3
    assert all("/" not in file.name for file in files)
    assert all(Path(file.path).is_absolute() for file in files)


def test_new_file_renames_no_other(tmp_path: Path) -> None:
    write_files(tmp_path, {"x/a.txt": "", "y/b c.txt": ""})
    before = names((f"{tmp_path}/*/*.txt",))
    write_files(tmp_path, {"x/b c.txt": "", "w/0.txt": ""})
    assert set(before) < set(names((f"{tmp_path}/*/*.txt",)))


def test_names_do_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_files(tmp_path / place, {"x/a b.txt": "", "c.txt": ""})
    assert names((f"{tmp_path}/here/**/*.txt",)) == names((f"{tmp_path}/there/**/*.txt",))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"x/a.txt": "", "y/a.txt": ""})
    with pytest.raises(SourceError, match="two raw files have the name"):
        names((f"{tmp_path}/x/*.txt", f"{tmp_path}/y/*.txt"))


def test_pattern_without_a_match_is_a_source_error(tmp_path: Path) -> None:
    for pattern in (f"{tmp_path}/*.txt", f"{tmp_path}/a.txt", "memory://nothing/*.txt"):
        with pytest.raises(SourceError, match="no file matches"):
            names((pattern,))


def test_urls_are_expanded_by_their_file_system() -> None:
    with fsspec.open("memory://bucket/data/one.jsonl", "w") as handle:
        handle.write("{}\n")
    for pattern in ("memory://bucket/data/*.jsonl", "memory://bucket/data/one.jsonl"):
        (file,) = list_raw_files(JsonlSource(paths=(pattern,)))
        assert (file.name, file.relative) == ("one.jsonl", "one.jsonl")
        with fsspec.open(file.path) as handle:
            assert handle.read() == b"{}\n"


def test_path_list_is_sampled_by_the_hash_of_its_lines(tmp_path: Path) -> None:
    lines = [f"crawl/segments/{n}/warc/{n:05d}.warc.gz" for n in range(400)]
    write_files(tmp_path, {"warc.paths.gz": gzipped("\n".join(lines) + "\n")})
    address = str(tmp_path / "warc.paths.gz")

    def sampled(sample: float) -> dict[str, str]:
        config = WarcSource(paths_file=address, prefix="s3://commons/", sample=sample)
        return {file.name: file.path for file in list_raw_files(config)}

    whole, half, tenth = sampled(1.0), sampled(0.5), sampled(0.1)
    assert whole["00007.warc.gz"] == f"s3://commons/{lines[7]}"
    assert len(whole) == 400
    assert tenth.items() < half.items() < whole.items()
    assert 150 < len(half) < 250


def test_path_list_that_gives_nothing_is_a_source_error(tmp_path: Path) -> None:
    write_files(tmp_path, {"list": "one\n"})
    with pytest.raises(SourceError, match="raise sample"):
        list_raw_files(WarcSource(paths_file=str(tmp_path / "list"), sample=0.0))
    with pytest.raises(SourceError, match="cannot be read"):
        list_raw_files(WarcSource(paths_file=str(tmp_path / "missing")))


def test_path_list_may_be_as_long_as_common_crawls(tmp_path: Path) -> None:
    lines = [f"segments/{n // 900}/wet/CC-{n:05d}.warc.wet.gz" for n in range(90_000)]
    write_files(tmp_path, {"wet.paths.gz": gzipped("\n".join(lines))})
    config = WarcSource(paths_file=str(tmp_path / "wet.paths.gz"), prefix="s3://c/", sample=0.01)
    started = time.process_time()
    files = list_raw_files(config)
    assert time.process_time() - started < 5
    assert 700 < len(files) < 1100
    assert {file.path for file in files} <= {f"s3://c/{line}" for line in lines}

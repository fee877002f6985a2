import hashlib
import zipfile
from pathlib import Path

import pytest

from pipeline_data.errors import SourceError, TransientError
from pipeline_data.sources import download
from pipeline_data.sources.settings import DownloadConfig
from pipeline_data.stage_run import Inputs, Runtime

METADATA = "Metadata-Version: 2.1\nName: Tiny.Texts\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
NAME = "tiny_texts-1.0-py3-none-any.whl"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the only registry there is."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with zipfile.ZipFile(folder / NAME, "w") as wheel:
        wheel.writestr("tiny_texts/data.json", '["a text"]')
        wheel.writestr("tiny_texts-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("tiny_texts-1.0.dist-info/WHEEL", WHEEL)
        wheel.writestr("tiny_texts-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("HEADWATER_DOWNLOADS", raising=False)
    return folder


def config_of(registry: Path, package: str = "tiny-texts==1.0") -> DownloadConfig:
    sha256 = hashlib.sha256((registry / NAME).read_bytes()).hexdigest()
    return DownloadConfig(package=package, sha256=sha256)


def run_download(config: DownloadConfig, out: Path) -> list[str]:
    download.run(config, Inputs({}), out, Runtime())
    return [path.name for path in out.iterdir()]


def test_download_leaves_the_pinned_file_under_one_name(registry: Path, tmp_path: Path) -> None:
    assert run_download(config_of(registry), tmp_path / "out") == ["tiny_texts-1.0.whl"]
    assert (tmp_path / "out/tiny_texts-1.0.whl").read_bytes() == (registry / NAME).read_bytes()


def test_download_fills_the_cache_and_then_needs_no_registry(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(registry)
    monkeypatch.setenv("HEADWATER_DOWNLOADS", str(tmp_path / "cache"))
    run_download(config, tmp_path / "first")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [NAME]
    (registry / NAME).unlink()
    assert run_download(config, tmp_path / "second") == ["tiny_texts-1.0.whl"]


def test_damaged_file_in_the_cache_is_not_used(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / NAME).write_bytes(b"something else")
    monkeypatch.setenv("HEADWATER_DOWNLOADS", str(cache))
    run_download(config_of(registry), tmp_path / "out")
    assert (tmp_path / "out/tiny_texts-1.0.whl").read_bytes() == (registry / NAME).read_bytes()
    assert (cache / NAME).read_bytes() == (registry / NAME).read_bytes()


def test_another_hash_is_refused_in_one_line(registry: Path, tmp_path: Path) -> None:
    config = DownloadConfig(package="tiny-texts==1.0", sha256="0" * 64)
    with pytest.raises(SourceError, match="another sha256") as caught:
        run_download(config, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, TransientError)


@pytest.mark.parametrize(
    ("package", "reason"),
    [("tiny-texts==2.0", r"no such version \(there are 1.0\)"), ("tinier==1.0", "no such package")],
)
def test_what_is_not_there_is_named(
    registry: Path, tmp_path: Path, package: str, reason: str
) -> None:
    with pytest.raises(SourceError, match=reason):
        run_download(config_of(registry, package), tmp_path / "out")


def test_registry_out_of_reach_is_transient(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(TransientError, match="cannot be reached now") as caught:
        run_download(config_of(registry), tmp_path / "out")
    assert "127.0.0.1" not in str(caught.value)

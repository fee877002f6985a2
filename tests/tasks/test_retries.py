"""What may pass is tried again a few times, the rest is not; either way people get one line."""

import errno
import os
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from prefect import flow

from pipeline_data.errors import HeadwaterError, StageError, TransientError
from tasks.limits import NO_LIMITS, StageLimits
from tasks.run import PipelineRun
from tasks.stage import Stage
from tasks.stages import STAGES
from tasks.store import Store
from tests.tasks.toy_stages import NumberConfig

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.xdist_group("prefect")]


def run_stage(
    home: Path,
    name: str,
    config: NumberConfig,
    url: str | None = None,
    limits: StageLimits = NO_LIMITS,
) -> None:
    stage = Stage(name, f"tests.tasks.toy_stages:{name}", retry_seconds=0.01)
    store = Store(url or str(home / "store"), home / "cache")
    run = PipelineRun(store, home, 2, limits={name: limits})

    @flow(name="retried")
    def retried() -> None:
        run.submit(stage, config)
        run.wait()

    try:
        retried()
    finally:
        run.close()


def num_calls(home: Path, name: str) -> int:
    return len(list(home.glob(f"{name}-*")))


@pytest.mark.parametrize("fail", [2, 3])
def test_a_full_disk_is_waited_for_but_not_for_ever(tmp_path: Path, fail: int) -> None:
    config = NumberConfig(value=errno.ENOSPC, calls=str(tmp_path), fail=fail)
    if fail == 2:
        run_stage(tmp_path, "fault", config)
    else:
        with pytest.raises(TransientError, match=r"^the disk of /.* is full: [^\n]*$"):
            run_stage(tmp_path, "fault", config)
    assert num_calls(tmp_path, "fault") == 3


def test_a_bug_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="Permission denied"):
        run_stage(tmp_path, "fault", NumberConfig(value=errno.EACCES, calls=str(tmp_path), fail=9))
    assert num_calls(tmp_path, "fault") == 1


def test_a_limit_is_no_reason_to_try_again(tmp_path: Path) -> None:
    config = NumberConfig(value=400, calls=str(tmp_path))
    with pytest.raises(StageError, match=r"raise compute\.limits\.hoard in"):
        run_stage(tmp_path, "hoard", config, limits=StageLimits(memory_mb=300))
    assert num_calls(tmp_path, "hoard") == 1


class TroubledFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A remote store that fails so many times in one of its calls."""

    protocol = "troubled"
    failing_call = ""
    num_failures = 0

    def trouble(self, call: str, number: int) -> None:
        if call == self.failing_call and type(self).num_failures > 0:
            type(self).num_failures -= 1
            raise OSError(number, os.strerror(number))

    def put_file(self, *arguments: object, **options: object) -> None:
        self.trouble("put_file", errno.EDQUOT)
        super().put_file(*arguments, **options)

    def cat_file(self, *arguments: object, **options: object) -> object:
        self.trouble("cat_file", errno.ECONNRESET)
        return super().cat_file(*arguments, **options)


@pytest.mark.parametrize(
    ("call", "told"), [("put_file", "the disk.* is full"), ("cat_file", "a server is away")]
)
@pytest.mark.parametrize("num_failures", [2, 99])
def test_a_store_in_trouble_is_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, told: str, num_failures: int
) -> None:
    fsspec.register_implementation("troubled", TroubledFileSystem, clobber=True)
    monkeypatch.setattr(TroubledFileSystem, "store", {})
    monkeypatch.setattr(TroubledFileSystem, "failing_call", call)
    monkeypatch.setattr(TroubledFileSystem, "num_failures", num_failures)
    url = f"troubled://{tmp_path.name}"
    if num_failures == 2:
        run_stage(tmp_path, "fault", NumberConfig(), url)
        assert [path for path in TroubledFileSystem.store if path.endswith("/artifact.json")]
    else:
        with pytest.raises(HeadwaterError, match=rf"^[^\n]*{told}[^\n]*$"):
            run_stage(tmp_path, "fault", NumberConfig(), url)


def test_every_stage_outlasts_a_busy_disk() -> None:
    assert min(stage.retries for stage in STAGES.values()) >= 2

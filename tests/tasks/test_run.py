"""Stages as Prefect tasks, against a real server, with real worker processes."""

import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

from pipeline_data.artifact import Artifact
from pipeline_data.errors import HeadwaterError, SourceError, StageError
from tasks.observer import Observer, Position
from tasks.run import NOT_SELECTED, PipelineRun
from tasks.selection import Selection
from tasks.stage import Part, Stage
from tasks.store import Store
from tests.tasks.toy_stages import NumberConfig

TOYS = "tests.tasks.toy_stages"
NUMBERS = Stage("numbers", f"{TOYS}:numbers", sharded=True)
NUMBER = Stage("number", f"{TOYS}:number")
PARITY = Stage("parity", f"{TOYS}:parity")
TOTAL = Stage("total", f"{TOYS}:total", all_cores=True)

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.xdist_group("prefect")]


@dataclass
class Events(Observer):
    """Writes down what an observer is told."""

    seen: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)

    def reused(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        self.seen.append(f"reused {stage} {shard}")

    def started(self, stage: str, shard: str | None) -> None:
        self.seen.append(f"started {stage} {shard}")

    def progressed(self, stage: str, shard: str | None, position: Position) -> None:
        self.metrics.update(position.metrics)

    def executed(self, stage: str, shard: str | None, artifact: Artifact) -> None:
        self.seen.append(f"executed {stage} {shard}")

    def failed(self, stage: str, shard: str | None, error: BaseException) -> None:
        self.seen.append(f"failed {stage} {shard}: {error}")

    def skipped(self, what: str, why: str) -> None:
        self.seen.append(f"skipped {what}")

    def of(self, what: str) -> list[str]:
        return sorted(line.removeprefix(f"{what} ") for line in self.seen if line.startswith(what))


class Pipeline:
    """numbers > parity (a shard at a time) > total."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.store = Store(url, home / "cache")

    def __call__(self, value: int = 1, force: tuple[str, ...] = ()) -> tuple[Events, str]:
        events = Events()
        selection = Selection(force=frozenset(force))
        run = PipelineRun(self.store, self.home, 2, selection=selection, observers=[events])
        config = NumberConfig(value=value)

        @flow(name="toy")
        def toy() -> str:
            made = run.submit(NUMBERS, config)
            parities = [
                run.submit(PARITY, NumberConfig(), {"number": Part(made, shard)}, shard)
                for shard in ("a", "b")
            ]
            result = run.submit(TOTAL, NumberConfig(), {"parities": parities})
            run.wait()
            return run.artifact(result).path("total.txt").read_text()

        try:
            return events, toy()
        finally:
            run.close()


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path, str(tmp_path / "store"))


def test_a_second_run_executes_nothing(pipeline: Pipeline) -> None:
    events, total = pipeline()
    assert total == "2"
    assert events.of("executed") == ["numbers None", "parity a", "parity b", "total None"]
    assert events.metrics == {"value": 1.0}
    again, total = pipeline()
    assert total == "2"
    assert again.of("executed") == []
    assert again.of("reused") == ["numbers None", "parity a", "parity b", "total None"]


def test_a_change_goes_as_far_as_its_effect(pipeline: Pipeline) -> None:
    pipeline(value=1)
    events, _ = pipeline(value=3)  # another number in shard a, but odd as before
    assert events.of("executed") == ["numbers None", "parity a"]
    events, total = pipeline(value=4)
    assert total == "1"
    assert events.of("executed") == ["numbers None", "parity a", "total None"]
    events, _ = pipeline(value=1)
    assert events.of("executed") == []


def test_a_forced_stage_runs_and_its_equal_result_stops_there(pipeline: Pipeline) -> None:
    pipeline()
    events, _ = pipeline(force=("parity",))
    assert events.of("executed") == ["parity a", "parity b"]


@pytest.mark.parametrize("where", ["folder", "memory"])
def test_a_setting_reruns_only_the_shards_it_concerns(tmp_path: Path, where: str) -> None:
    url = str(tmp_path / "store") if where == "folder" else f"memory://{tmp_path.name}-scope"
    store = Store(url, tmp_path / "cache")
    stage = Stage("gate", f"{TOYS}:gate", scope=f"{TOYS}:scope_gate")

    def executed(*blocked: int) -> list[str]:
        events = Events()
        run = PipelineRun(store, tmp_path, 2, observers=[events])

        @flow(name="scoped")
        def scoped() -> None:
            made = run.submit(NUMBERS, NumberConfig())
            config = NumberConfig(blocked=blocked)
            for shard in ("a", "b"):
                run.submit(stage, config, {"number": Part(made, shard)}, shard)
            run.wait()

        try:
            scoped()
        finally:
            run.close()
        return [line for line in events.of("executed") if line.startswith("gate")]

    assert executed() == ["gate a", "gate b"]
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert executed(99) == []
    assert executed(99, 7) == ["gate b"]
    assert executed(1, 7) == ["gate a"]


def test_many_shards_share_task_runs_and_stay_results_of_their_own(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    names = [f"s{number}" for number in range(7)]

    def run_all(changed: str = "") -> tuple[Events, str, int]:
        events = Events()
        run = PipelineRun(store, tmp_path, 2, observers=[events], max_task_runs=3)

        @flow(name="batched")
        def batched() -> str:
            made = run.map(
                NUMBER, {name: (NumberConfig(value=2 + (name == changed)), {}) for name in names}
            )
            parities = run.map(
                PARITY, {name: (NumberConfig(), {"number": made[name]}) for name in names}
            )
            total = run.submit(TOTAL, NumberConfig(), {"parities": list(parities.values())})
            run.wait()
            return run.artifact(total).path("total.txt").read_text()

        try:
            return events, batched(), run.num_task_runs
        finally:
            run.close()

    events, total, num_task_runs = run_all()
    assert (total, num_task_runs) == ("0", 7)  # 3 + 3 + 1
    assert len(events.of("executed")) == 15
    events, total, _ = run_all(changed="s4")
    assert total == "1"
    assert events.of("executed") == ["number s4", "parity s4", "total None"]
    tasks = task_runs_of_last_flow_run(num_tasks=7)
    assert tasks["number s0 to s2 (3 shards)"].state_name == "Cached"
    assert tasks["number s3 to s5 (3 shards)"].state_name == "Completed"
    parents = {x.id for x in tasks["parity s3 to s5 (3 shards)"].task_inputs["work"]}
    assert parents == {tasks["number s3 to s5 (3 shards)"].id}


def test_a_run_is_no_wider_than_what_it_is_asked_for(tmp_path: Path) -> None:
    events = Events()
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    wanted = frozenset({("numbers", None), ("parity", "b")})
    run = PipelineRun(store, tmp_path, 2, wanted=wanted, observers=[events])

    @flow(name="narrow")
    def narrow() -> None:
        made = run.submit(NUMBERS, NumberConfig())
        parities = [
            run.submit(PARITY, NumberConfig(), {"number": Part(made, shard)}, shard)
            for shard in ("a", "b")
        ]
        assert run.submit(TOTAL, NumberConfig(), {"parities": parities}) is NOT_SELECTED
        run.wait()

    try:
        narrow()
    finally:
        run.close()
    assert events.of("executed") == ["numbers None", "parity b"]
    reasons = {slot: decision.reason for slot, decision in run.decisions.items()}
    assert reasons == dict.fromkeys(wanted, "no earlier result")


def test_two_runs_at_once_make_each_result_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"), tmp_path / "cache")
    slow = Stage("slow", f"{TOYS}:slow")
    both = [Events(), Events()]

    def run_one_of_two(events: Events) -> None:
        run = PipelineRun(store, tmp_path, 1, observers=[events])

        @flow(name="twin")
        def twin() -> None:
            run.submit(slow, NumberConfig())
            run.wait()

        try:
            twin()
        finally:
            run.close()

    with ThreadPoolExecutor(2) as pool:  # a thread knows the server by the context it gets
        contexts = [copy_context() for _ in both]
        list(pool.map(lambda c, events: c.run(run_one_of_two, events), contexts, both))
    assert sorted(events.of("executed") for events in both) == [[], ["slow None"]]
    assert sorted(events.of("reused") for events in both) == [[], ["slow None"]]


def test_a_failed_optional_result_that_something_needs_is_named(tmp_path: Path) -> None:
    run = PipelineRun(Store(str(tmp_path / "store"), tmp_path / "cache"), tmp_path, 2)
    refuse = Stage("refuse", f"{TOYS}:refuse")

    @flow(name="shared")
    def shared(needed: bool) -> bool:
        future = run.submit(refuse, NumberConfig())
        if needed:
            run.submit(PARITY, NumberConfig(), {"number": future})
        came = run.succeeded(future)
        run.wait()
        return came

    try:
        assert shared(needed=False) is False
        with pytest.raises(SourceError, match="no such package"):
            shared(needed=True)
    finally:
        run.close()


def test_a_remote_store_is_as_good(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, f"memory://{tmp_path.name}")
    events, total = pipeline(value=1)
    assert (len(events.of("executed")), total) == (4, "2")
    shutil.rmtree(tmp_path / "cache")  # local copies are only that
    events, total = pipeline(value=4)
    assert events.of("executed") == ["numbers None", "parity a", "total None"]
    assert total == "1"


@pytest.mark.parametrize("damage", ["delete", "shorten", "change", "record"])
def test_a_damaged_artefact_is_made_again(pipeline: Pipeline, damage: str) -> None:
    pipeline()
    victim = next((pipeline.store.cache.parent / "store" / "parity").rglob("parity.txt"))
    if damage == "delete":
        victim.unlink()
    elif damage == "shorten":
        victim.write_text("")
    elif damage == "change":
        victim.write_text("9")
    else:
        (victim.parent.parent / "artifact.json").write_text("{")
    events, total = pipeline()
    assert total == "2"
    assert len(events.of("executed")) == 1
    assert events.of("executed")[0].startswith("parity")


def test_prefect_shows_cached_tasks_and_the_edges_of_the_graph(pipeline: Pipeline) -> None:
    pipeline(value=11)
    pipeline(value=11)
    tasks = task_runs_of_last_flow_run(num_tasks=4)
    assert {t.state_name for t in tasks.values()} == {"Cached"}
    parents = {x.id for group in tasks["total"].task_inputs.values() for x in group}
    assert parents == {tasks["parity a"].id, tasks["parity b"].id}
    assert {x.id for x in tasks["parity a"].task_inputs["work"]} == {tasks["numbers"].id}


def task_runs_of_last_flow_run(num_tasks: int) -> dict[str, TaskRun]:
    """Name to task run, once the server has written all of them down."""
    deadline = time.monotonic() + 20
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(limit=1, sort=FlowRunSort.START_TIME_DESC)
        only = FlowRunFilter(id=FlowRunFilterId(any_=[runs[0].id]))
        while time.monotonic() < deadline:
            tasks = {t.name: t for t in client.read_task_runs(flow_run_filter=only)}
            done = [t for t in tasks.values() if t.state and t.state.is_final()]
            if len(done) == num_tasks:
                return tasks
            time.sleep(0.1)
    raise AssertionError(f"the server has {len(done)} of {num_tasks} task runs")


def run_one(home: Path, stage: Stage, config: NumberConfig) -> Events:
    events = Events()
    run = PipelineRun(Store(str(home / "store"), home / "cache"), home, 2, observers=[events])

    @flow(name="one")
    def one() -> None:
        run.submit(stage, config)
        run.wait()

    try:
        one()
    except HeadwaterError as error:
        events.seen.append(f"raised {type(error).__name__}: {error}")
    finally:
        run.close()
    return events


def test_what_may_pass_is_tried_again(tmp_path: Path) -> None:
    stage = Stage("flaky", f"{TOYS}:flaky", retries=2)
    events = run_one(tmp_path, stage, NumberConfig(calls=str(tmp_path), fail=1))
    assert events.of("executed") == ["flaky None"]
    assert len(list(tmp_path.glob("flaky-*"))) == 2


def test_what_cannot_pass_is_not_tried_again(tmp_path: Path) -> None:
    stage = Stage("refuse", f"{TOYS}:refuse", retries=2)
    events = run_one(tmp_path, stage, NumberConfig(calls=str(tmp_path)))
    assert events.of("raised") == ["SourceError: no such package: check the recipe"]
    assert len(list(tmp_path.glob("refuse-*"))) == 1


def test_a_bug_names_the_log_that_holds_its_traceback(tmp_path: Path) -> None:
    events = run_one(tmp_path, Stage("crash", f"{TOYS}:crash"), NumberConfig())
    (line,) = events.of("raised")
    assert line.startswith("StageError: ZeroDivisionError")
    log = Path(line.rpartition("log: ")[2].rstrip(")"))
    assert "about to divide" in log.read_text()
    assert "Traceback" in log.read_text()
    assert list((tmp_path / "store").rglob("half.txt")) == []


def test_a_killed_worker_is_an_error_in_one_line(tmp_path: Path) -> None:
    events = run_one(tmp_path, Stage("die", f"{TOYS}:die"), NumberConfig())
    (line,) = events.of("raised")
    assert "killed by signal 9" in line


def test_errors_keep_their_kind() -> None:
    assert issubclass(SourceError, HeadwaterError)
    assert not issubclass(StageError, SourceError)


def test_a_long_stage_shows_its_progress_in_prefect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.progress_artifact.PROGRESS_SECONDS", 0.3)
    run_one(tmp_path, Stage("slow", f"{TOYS}:slow"), NumberConfig())
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(limit=1, sort=ArtifactSort.CREATED_DESC)
    assert found[0].type == "progress"
    assert found[0].data == 100.0
    assert re.fullmatch(r"slow: 4/4 steps, [\d.]+/s, loss 0.25", str(found[0].description))

"""The orchestration benchmark: what it counts, and that small runs of it come out right."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench import servers
from bench.measure import Usage
from bench.orchestration_overhead import KINDS, Round, report_overhead, run_json
from bench.orchestration_shards import POSTGRES, SQLITE, ShardRun, report_shards, run_shards
from bench.run_phases import OTHER, PHASES, name_phase
from bench.servers import Server, clean_environment, tree_cpu_seconds
from bench.small_stages import NUM_STAGES, walk_shards
from pipeline_data.errors import HeadwaterError
from tasks.direct_run import DirectRun
from tasks.store import Store

ROOT = Path(__file__).parents[2]


def rounds_of(*cpu_seconds: tuple[float, float, float, float], digest: str = "d") -> list[Round]:
    return [
        Round({k: Usage(s, s, 0) for k, s in zip(KINDS, found, strict=True)},
              dict.fromkeys(KINDS, 0.0), digest)
        for found in cpu_seconds
    ]  # fmt: skip


def test_overhead_is_what_remains_after_the_start_up() -> None:
    plain = rounds_of((100, 2, 2, 1), (100, 2, 2, 1))
    flow = rounds_of((114, 12, 11, 5), (116, 12, 13, 5))
    report = report_overhead(plain, flow)
    overhead, difference = report.targets
    assert overhead.value == pytest.approx(100 * (15 - 10) / 100)
    assert difference.value == 0
    by_start_up = {row[0]: row[1:] for row in report.tables[1].rows}
    assert by_start_up["nothing taken off"] == pytest.approx([0, 15, 14, 16])
    assert by_start_up["start-up: a flow run without stages"] == pytest.approx([4, 11, 10, 12])


def test_another_result_is_told() -> None:
    report = report_overhead(rounds_of((1, 1, 1, 1)), rounds_of((1, 1, 1, 1), digest="another"))
    assert report.targets[1].value == 1
    assert not report.targets[1].met


def test_small_stages_count_on(tmp_path: Path) -> None:
    run = DirectRun(Store(str(tmp_path / "store"), tmp_path / "cache"))
    results = walk_shards(run, 3)
    assert [a.counts["number"] for a in results.values()] == [4, 5, 6]
    assert run.executed.total() == 3 * NUM_STAGES


def a_shard_run(**changes: int) -> ShardRun:
    values = {
        "num_shards": 10, "num_task_runs": 20, "num_results": 10, "num_recorded": 20,
        "num_retries": 0, "num_locked": 0, "num_dropped": 0, "num_errors": 0,
    }  # fmt: skip
    return ShardRun(
        database=SQLITE, seconds=1.0, usage=Usage(1, 1, 0), server_seconds=1.0, late_seconds=0.0,
        **(values | changes),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "errors", "lost"),
    [
        ({}, 0, 0),
        ({"num_locked": 2, "num_dropped": 4, "num_errors": 1}, 7, 0),
        ({"num_recorded": 15, "num_results": 9}, 0, 6),
    ],
)
def test_errors_and_losses_miss_the_targets(
    changes: dict[str, int], errors: int, lost: int
) -> None:
    report = report_shards([a_shard_run(**changes)], Usage(1, 1, 0), [])
    assert [target.value for target in report.targets] == [errors, lost]


def test_phases_are_told_by_the_stack() -> None:
    importing = "/lib/mlflow/__init__.py:<module>\n<frozen importlib._bootstrap>:_find_and_load"
    assert name_phase(importing) == "importing MLflow"
    assert (
        name_phase("/lib/mlflow/client.py:search\n/home/tasks/tracking/mirror.py:record")
        == "MLflow"
    )
    assert name_phase("/somewhere.py:else") == OTHER


def test_phases_name_files_that_are_there() -> None:
    marks = [mark.partition(":") for found in PHASES.values() for mark in found]
    ours = [(p, f) for p, _, f in marks if p.startswith(("/flows/", "/tasks/"))]
    assert ours
    for path, function in ours:
        text = (ROOT / path.removeprefix("/")).read_text()
        assert f"def {function}" in text


def test_a_watched_command_says_where_its_time_went(tmp_path: Path) -> None:
    out = tmp_path / "phases.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench.run_phases", str(out), "status"],
        env=clean_environment(tmp_path / "home"), cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "no run has finished here yet" in done.stderr
    phases = json.loads(out.read_text())
    assert 0 < phases["importing all else"] <= sum(phases.values())


def test_processor_time_of_children_counts() -> None:
    work = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(20_000_000))'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{work}; print(flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout
        process.stdout.readline()
        seconds = tree_cpu_seconds(psutil.Process(process.pid))
        own = psutil.Process(process.pid).cpu_times()
        process.stdin.write(b"\n")
    assert seconds > own.user + own.system + 0.1


def test_a_measured_process_has_no_settings_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere")
    monkeypatch.setenv("HEADWATER_STORE", "elsewhere")
    environment = clean_environment(tmp_path, PREFECT_HOME="here")
    assert {k for k in environment if k.startswith(("PREFECT_", "HEADWATER_", "MLFLOW_"))} == {
        "HEADWATER_HOME", "PREFECT_HOME",
    }  # fmt: skip


def test_errors_of_a_server_are_counted_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "10:00:00.000 | ERROR   | prefect.server - Encountered exception in request:\n"
        "sqlite3.OperationalError: database is locked\n"
        "10:00:01.000 | WARNING | prefect.server - took longer than planned\n"
        "10:00:02.000 | WARNING | prefect.server - Subscription queue is full, dropping message\n"
    )
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        errors = Server("http://127.0.0.1", process, log).errors()
    assert errors == {"other errors": 1, "database is locked": 1, "events dropped": 1}


def test_missing_postgres_is_told_with_the_remedy() -> None:
    with pytest.raises(HeadwaterError, match="apt-get install postgresql"):
        servers.find_program("no-such-program-of-postgres")


def test_a_failing_program_is_told_with_its_last_words() -> None:
    command = [sys.executable, "-c", "raise SystemExit('it broke')"]
    with pytest.raises(HeadwaterError, match="it broke"):
        run_json(command, {})


@pytest.mark.long
@pytest.mark.parametrize("database", [SQLITE, POSTGRES])
def test_shards_through_a_real_server(tmp_path: Path, database: str) -> None:
    if database == POSTGRES:
        try:
            servers.find_program("initdb")
        except HeadwaterError as error:
            pytest.skip(str(error))
    run = run_shards(tmp_path / "run", database, num_shards=4, max_task_runs=2)
    assert (run.num_results, run.num_task_runs, run.num_recorded) == (4, 2 * NUM_STAGES, 10)
    assert (run.num_lost, run.num_locked, run.num_dropped, run.num_errors) == (0, 0, 0, 0)
    assert 0 < run.seconds < run.usage.wall_seconds
    assert run.server_seconds > 0


@pytest.mark.long
def test_plain_functions_and_flow_come_to_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "bench/orchestration.py", "--json", "--quick", "--parts", "overhead"],
        cwd=ROOT, env=clean_environment(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    targets = {target["name"]: target for target in json.loads(done.stdout)["targets"]}
    assert targets["other results than plain functions"]["met"]

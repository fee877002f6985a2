"""A flow with one long stage, for those who start it elsewhere and end it: a deployment, a script.

As a script: ``python -m tests.tasks.toy_flow HOME``.
"""

import sys
from pathlib import Path

from flows.home import open_home

open_home()

from prefect import flow  # noqa: E402
from prefect.futures import PrefectFuture  # noqa: E402
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner  # noqa: E402

from tasks.run import PipelineRun  # noqa: E402
from tasks.stage import Stage  # noqa: E402
from tasks.store import Store  # noqa: E402
from tests.tasks.toy_stages import NumberConfig  # noqa: E402

TRUDGE = Stage("trudge", "tests.tasks.toy_stages:trudge")
RUNNER: TaskRunner[PrefectFuture[object]] = ThreadPoolTaskRunner(max_workers=4)  # type: ignore[assignment]


@flow(name="toy-trudge", task_runner=RUNNER)
def trudge(home: str) -> int:
    """Take six steps, with a rest half-way if there is a file for it; returns how many it took."""
    run = PipelineRun(Store(f"{home}/store", Path(home, "cache")), Path(home), 2)
    try:
        result = run.submit(TRUDGE, NumberConfig(value=3, calls=home))
        run.wait()
        return int(run.artifact(result).counts["steps_now"])
    finally:
        run.close()


if __name__ == "__main__":
    trudge(sys.argv[1])

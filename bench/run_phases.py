"""``python -m bench.run_phases OUT ARGUMENTS``: ``headwater ARGUMENTS``, watched.

A thread looks every few milliseconds at what the main thread is doing, until the interpreter has
run the last of its exit functions, and writes seconds by phase to OUT as JSON. Phases
are told by the files on the stack, not by the names of our functions.
"""

import atexit
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

SECONDS = 0.005
IMPORTING = "importlib._bootstrap"
PHASES: dict[str, Sequence[str]] = {
    "importing MLflow": (IMPORTING, "/mlflow/"),
    "importing Prefect's server": (IMPORTING, "/prefect/server/"),
    "importing all else": (IMPORTING,),
    "stopping the temporary server": ("/prefect/server/api/server.py:stop",),
    "waiting for the temporary server": ("/prefect/server/api/server.py:start",),
    "waiting for its history": ("/flows/temporary_server.py:drain",),
    "MLflow": ("/tasks/tracking/mirror.py",),
    "plan": ("/tasks/plan.py",),
    "task runs": ("/tasks/run.py",),
    "the page of the run": ("/flows/run_page.py",),
    "the rest of the session": ("/flows/session.py",),
    "flow run in Prefect": ("/prefect/flow_engine.py",),
    "printing": ("/flows/summary.py",),
    "Prefect's threads at the end": ("/threading.py:_shutdown",),
}
"""Phase to what the stack must hold, as file:function; the first that fits counts."""
OTHER = "all else"


def name_phase(stack: str) -> str:
    """The phase of a stack, its frames written one after another."""
    return next((p for p, marks in PHASES.items() if all(m in stack for m in marks)), OTHER)


def describe(frame: FrameType | None) -> str:
    """A stack as text."""
    frames = []
    while frame is not None:
        frames.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
        frame = frame.f_back
    return "\n".join(frames)


def watch(thread: int, out: Path) -> None:
    """Start the watching thread; the result is written when the interpreter ends."""
    seconds: defaultdict[str, float] = defaultdict(float)
    ended = threading.Event()

    def look() -> None:
        last = time.perf_counter()
        while not ended.wait(SECONDS):
            phase = name_phase(describe(sys._current_frames().get(thread)))
            now = time.perf_counter()
            seconds[phase] += now - last
            last = now

    watcher = threading.Thread(target=look, daemon=True)

    def finish() -> None:
        ended.set()
        watcher.join()
        out.write_text(json.dumps(seconds))

    atexit.register(finish)  # the first that is registered is the last to be called
    watcher.start()


def main() -> int:
    """Run the command under watch."""
    watch(threading.get_ident(), Path(sys.argv[1]))
    from flows.cli import main as headwater

    return headwater(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())

"""Stage functions small enough to count by hand; run by real workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import Field

from pipeline_data.artifact import Artifact, Counts
from pipeline_data.errors import SourceError, TransientError
from pipeline_data.settings import Settings
from pipeline_data.stage_run import Inputs, Runtime


class NumberConfig(Settings):
    """A number and a folder where calls are counted."""

    value: int = Field(1, ge=0)
    """The number."""
    calls: str = ""
    """Folder that gets a file for each call."""
    fail: int = 0
    """How many calls fail first."""
    blocked: tuple[int, ...] = ()
    """Numbers that are not let through."""


def note_call(config: NumberConfig, name: str) -> int:
    """Count a call; returns how many there were before."""
    if not config.calls:
        return 0
    folder = Path(config.calls)
    num_before = len(list(folder.glob(f"{name}-*")))
    (folder / f"{name}-{num_before}").touch()
    return num_before


def numbers(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Two shards, the second of which never depends on the value."""
    note_call(config, "numbers")
    for shard, value in {"a": config.value, "b": 7}.items():
        (out / shard).mkdir()
        (out / shard / "number.txt").write_text(str(value))
    runtime.progress(2, 2, "numbers", {"value": float(config.value)})
    return {"numbers": 2}


def number(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """The number itself."""
    (out / "number.txt").write_text(str(config.value))
    return {"number": config.value}


def parity(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """The parity of a shard's number: another value may well give the same."""
    note_call(config, "parity")
    odd = int(inputs.one("number").path("number.txt").read_text()) % 2
    (out / "parity.txt").write_text(str(odd))
    return {"odd": odd}


def gate(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """A shard's number unless it is blocked."""
    number = int(inputs.one("number").path("number.txt").read_text())
    (out / "passed.txt").write_text("" if number in config.blocked else str(number))
    return {}


def scope_gate(config: NumberConfig, open_input: Callable[[str], Artifact]) -> NumberConfig:
    """The config with the blocked numbers that this shard holds."""
    number = int(open_input("number").path("number.txt").read_text())
    return config.model_copy(update={"blocked": tuple(n for n in config.blocked if n == number)})


def total(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """The sum over all shards."""
    note_call(config, "total")
    found = sum(int(a.path("parity.txt").read_text()) for a in inputs.many("parities"))
    (out / "total.txt").write_text(str(found))
    return {"total": found}


def flaky(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Fails as a network does, then works."""
    if note_call(config, "flaky") < config.fail:
        raise TransientError("the network is away: try again")
    (out / "ok.txt").write_text("ok")
    return {}


def refuse(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Fails in a way that trying again cannot mend."""
    note_call(config, "refuse")
    raise SourceError("no such package: check the recipe")


def crash(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """A bug."""
    print("about to divide")
    (out / "half.txt").write_text("half")
    return {"never": 1 // (config.value - config.value)}


def die(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Killed, as by the kernel when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return {}


def slow(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Long enough to be looked at."""
    for step in range(4):
        time.sleep(0.4)
        runtime.progress(step + 1, 4, "steps", {"loss": 1.0 / (step + 1)})
    (out / "ok.txt").write_text("ok")
    return {}


def fault(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Fails as the system does, with the error of that number, then works."""
    if note_call(config, "fault") < config.fail:
        raise OSError(config.value, os.strerror(config.value))
    (out / "ok.txt").write_text("ok")
    return {}


def overflow(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Writes where there is no room."""
    Path("/dev/full").write_text("x")
    return {}


def hoard(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Takes so many MB, half of them in a child, and stays."""
    note_call(config, "hoard")
    half = config.value // 2 * (1 << 20)
    script = f"import time; taken = b'x' * {half}; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        note_pids(config, child.pid)
        taken = b"x" * half
        time.sleep(600)
    return {"bytes": len(taken)}


def trudge(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """Twice so many steps, each kept in the checkpoint; rests half-way while ``calls/rest`` is.

    Counts the steps that this attempt made.
    """
    assert runtime.checkpoints is not None
    reached = runtime.checkpoints / "step.txt"
    first = int(reached.read_text()) if reached.exists() else 0
    for step in range(first, 2 * config.value):
        (out / "half.txt").write_text(str(step))
        temporary = reached.with_suffix(".new")
        temporary.write_text(str(step + 1))
        temporary.replace(reached)
        if step + 1 == config.value:
            note_pids(config)
            while Path(config.calls, "rest").exists():
                time.sleep(0.02)
    return {"steps_now": 2 * config.value - first}


def note_pids(config: NumberConfig, *others: int) -> None:
    """Say which processes are at work."""
    if config.calls:
        Path(config.calls, "pids").write_text(" ".join(map(str, (os.getpid(), *others))))

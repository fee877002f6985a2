"""Stage functions small enough to count by hand; run by real workers."""

import os
import signal
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


def parity(config: NumberConfig, inputs: Inputs, out: Path, runtime: Runtime) -> Counts:
    """The parity of a shard's number: another value may well give the same."""
    note_call(config, "parity")
    number = int(inputs.one("number").path("number.txt").read_text())
    (out / "parity.txt").write_text(str(number % 2))
    return {"odd": number % 2}


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

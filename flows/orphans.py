"""Ends what a killed run left running: the temporary Prefect server that it had started."""

import os

import psutil

OWNER = "HEADWATER_PID"
"""Environment variable by which a server knows the run that started it."""
SERVER = "prefect.server.api.server:create_app"


def claim_children() -> None:
    """Mark whatever this process starts as its own."""
    os.environ[OWNER] = str(os.getpid())


def end_orphans(prefect_home: str) -> int:
    """End temporary servers of this home whose run is gone; returns how many there were."""
    num_ended = 0
    for process in psutil.process_iter():
        try:
            if SERVER not in process.cmdline():
                continue
            environment = process.environ()
            owner = environment.get(OWNER)
            ours = environment.get("PREFECT_HOME") == prefect_home
            if ours and owner and not psutil.pid_exists(int(owner)):
                process.terminate()
                num_ended += 1
        except (psutil.Error, ValueError):
            continue  # ended meanwhile, or another user's
    return num_ended

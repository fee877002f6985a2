"""Ends what a killed run left running: the temporary Prefect server that it had started."""

import os

import psutil

OWNER = "HEADWATER_PID"
"""Environment variable by which a server knows the run that started it."""
CLOCK_SECONDS = 5.0
"""How far the clock may have been set since a process began, by which its age is told."""
SERVER = "prefect.server.api.server:create_app"


def claim_children() -> None:
    """Mark whatever this process starts as its own."""
    os.environ[OWNER] = f"{os.getpid()} {psutil.Process().create_time()}"


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
            if ours and owner and not _lives(owner):
                process.terminate()
                num_ended += 1
        except (psutil.Error, ValueError):
            continue  # ended meanwhile, or another user's
    return num_ended


def _lives(owner: str) -> bool:
    """Whether a process is there that has not just been given the number of one that is gone."""
    number, _, created = owner.partition(" ")
    try:
        process = psutil.Process(int(number))
        age_differs = abs(process.create_time() - float(created)) > CLOCK_SECONDS
        return not age_differs and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""Marks the runs whose process is gone, now and then: ``python -m flows.sweeper``.

A process of its own, which the supervisor keeps up: a sweep that hangs or fails costs no server.
"""

import time

from flows.home import open_home

SWEEP_SECONDS = 60.0


def main() -> None:
    """Sweep until killed."""
    home = open_home()
    from flows.leases import sweep

    while True:
        try:
            for name in sweep(home.path):
                print(f"flow run {name} was left by its process: its end is marked", flush=True)
        except Exception as error:  # of a server that starts or stops; the next one may do better
            print(f"{type(error).__name__}: {error}", flush=True)
        time.sleep(SWEEP_SECONDS)


if __name__ == "__main__":
    main()

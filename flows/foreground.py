"""Runs a flow in this process, as a person sees it who started it from a terminal."""

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from flows.home import Home

TERMINATED = 143
"""Exit status of a process that SIGTERM ended."""


def run_in_foreground(home: Home, flow: str, parameters: Mapping[str, Any]) -> str:
    """Run a flow of ``flows.pipeline`` and show it; on a temporary server if there is no other.

    Returns:
        The name of the run.

    Raises:
        HeadwaterError: as the flow raises it, or Prefect's server cannot be had.
    """
    from flows.display import open_display
    from flows.leases import run_flow
    from flows.orphans import claim_children, end_orphans
    from flows.session import watched_by
    from flows.temporary_server import start_server

    end_orphans(os.environ["PREFECT_HOME"])
    claim_children()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with open_display() as display, watched_by(display):
        from flows import pipeline

        start_server()
        name: str = run_flow(home.path, getattr(pipeline, flow), parameters)
    return name

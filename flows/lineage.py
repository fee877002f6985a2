"""The lineage of a home's store, opened for a command: what takes long shows how far it is."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tasks.lineage.catalogue import Catalogue
from tasks.store import Store

if TYPE_CHECKING:
    from tasks.lineage.documents import DocumentIndex

QUIET_SECONDS = 2.0


def open_catalogue(store: Store) -> Catalogue:
    """The catalogue of a store as it is now."""
    return Catalogue.open(store, show_progress("records"))


def open_index(catalogue: Catalogue) -> "DocumentIndex":
    """The index of all documents that the catalogue knows of."""
    from tasks.lineage.documents import DocumentIndex

    return DocumentIndex.open(catalogue, show_progress("percent of the documents"))


def show_progress(unit: str) -> Callable[[int, int], None]:
    """Shows on standard error how far something is, once it lasts longer than two seconds."""
    started = time.monotonic()
    shown = started + QUIET_SECONDS

    def show(done: int, total: int) -> None:
        nonlocal shown
        moment = time.monotonic()
        if moment < shown and done < total:
            return
        if moment - started > QUIET_SECONDS:
            end = "\n" if done == total else "\r"
            print(f"reading {done:,} of {total:,} {unit}", end=end, file=sys.stderr, flush=True)
        shown = moment + 0.5

    return show

"""What the last runs of a recipe decided and made: one row a stage result, one file a run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_data.artifact import Artifact
from tasks.decision import Decision
from tasks.store import Store

NUM_RUNS = 50
"""How many runs back an earlier result is looked for."""
SCHEMA = pa.schema(
    [
        ("stage", pa.string()),
        ("shard", pa.string()),
        ("action", pa.string()),
        ("reason", pa.string()),
        ("key", pa.string()),
        ("seconds", pa.float64()),
    ]
)
Slot = tuple[str, str | None]
"""Stage and shard."""


@dataclass(frozen=True)
class PastResults:
    """The last result of every stage and shard of a recipe.

    Kept beside the store and never needed by it: without these rows a run reuses and makes the
    same, and only its reasons and its estimate of time are poorer.
    """

    store: Store
    rows: Mapping[Slot, Decision]

    @classmethod
    def load(cls, folder: Path, recipe: str, store: Store) -> Self:
        """The results of a recipe's last runs, the latest for each stage and shard."""
        rows: dict[Slot, Decision] = {}
        for path in sorted(folder.glob(f"*.{recipe}.parquet"))[-NUM_RUNS:]:
            rows.update({(row.stage, row.shard): row for row in read_decisions(path) if row.key})
        return cls(store, rows)

    def artifact(self, stage: str, shard: str | None) -> Artifact | None:
        """The last result, if its record is still in the store."""
        row = self.rows.get((stage, shard))
        return self.store.load(stage, row.key) if row and row.key else None

    def seconds(self, stage: str, shard: str | None) -> float | None:
        """How long the last result took to make; for one that is not known, its stage's mean."""
        row = self.rows.get((stage, shard))
        if row and row.seconds is not None:
            return row.seconds
        known = [r.seconds for (s, _), r in self.rows.items() if s == stage and r.seconds]
        return fmean(known) if known else None

    def shards(self, stage: str) -> dict[str, str | None]:
        """Shard to key of the last results of a stage."""
        return {
            shard: row.key for (name, shard), row in self.rows.items() if name == stage and shard
        }


def write_decisions(folder: Path, run: str, recipe: str, decisions: Iterable[Decision]) -> Path:
    """Keep the decisions of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [
        {name: getattr(decision, name) for name in SCHEMA.names} for decision in decisions
    ]
    path = folder / f"{run}.{recipe}.parquet"
    temporary = path.with_suffix(".tmp")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)
    temporary.replace(path)
    return path


def read_decisions(path: Path) -> list[Decision]:
    """The decisions of a run; none where the file cannot be read."""
    try:
        return [Decision(**row) for row in pq.read_table(path, schema=SCHEMA).to_pylist()]
    except (OSError, pa.ArrowInvalid):
        return []

"""What a run is asked to do besides what changed: stages to force, to stop after, to run alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from pipeline_data.errors import RecipeError
from tasks.past_results import Slot
from tasks.plan import Planned
from tasks.stages import STAGES

NUM_NAMED = 3
ALL_SHARDS = "*"


@dataclass(frozen=True)
class Selection:
    """Which stage results a run makes.

    Attributes:
        force: stages that run even where the store has their result.
        only: the stages to run, all else being taken from the store; empty for all.
        until: the last stage to run, with what it needs; ``None`` for all.
        shards: pattern of the shards that ``force`` and ``only`` speak of, such as ``web-*``.
    """

    force: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    until: str | None = None
    shards: str = ALL_SHARDS

    @classmethod
    def parse(
        cls,
        force: Sequence[str] = (),
        only: Sequence[str] = (),
        until: str | None = None,
        shards: str = ALL_SHARDS,
    ) -> Self:
        """A selection of stages that exist.

        Raises:
            RecipeError: an unknown stage, or parameters that do not go together.
        """
        for name, stages in {
            "force": force,
            "only": only,
            "until": [until] if until else (),
        }.items():
            for stage in stages or ():
                if stage not in STAGES:
                    known = ", ".join(STAGES)
                    raise RecipeError(f"{name} {stage}: no such stage (known: {known})")
        if only and until:
            raise RecipeError("only and until: give one of them; each says where to stop")
        if shards != ALL_SHARDS and not (force or only):
            raise RecipeError(
                f"shards {shards}: it narrows force or only to some shards; name a stage there"
            )
        return cls(frozenset(force), frozenset(only), until, shards)

    def forces(self, stage: str, shard: str | None) -> bool:
        """Whether this result is made in any case."""
        return stage in self.force and self._matches(shard)

    def choose(self, rows: Sequence[Planned]) -> frozenset[Slot] | None:
        """The results a run may ask for, from a plan of all; ``None`` for all.

        Raises:
            RecipeError: the plan has no such stage or shard, or ``only`` needs what is not there.
        """
        self._check_shards(rows)
        if self.only:
            wanted = [r for r in rows if r.stage in self.only and self._matches(r.shard)]
            self._check_inputs(wanted)
        elif self.until:
            wanted = [r for r in rows if r.stage == self.until]
            if not wanted:
                raise RecipeError(f"until {self.until}: this recipe has no such stage here")
        else:
            return None
        return frozenset(_with_inputs(wanted))

    def _matches(self, shard: str | None) -> bool:
        return fnmatchcase(shard or "", self.shards)

    def _check_shards(self, rows: Sequence[Planned]) -> None:
        stages = self.force | self.only
        if not stages:
            return
        asked = [row for row in rows if row.stage in stages]
        if not asked:
            raise RecipeError(f"{', '.join(sorted(stages))}: this recipe has no such stage here")
        if not any(self._matches(row.shard) for row in asked):
            names = sorted({row.shard for row in asked if row.shard})
            known = f"{names[0]} to {names[-1]}" if names else "none: the stage is not sharded"
            raise RecipeError(f"shards {self.shards}: no shard fits (there are {known})")

    def _check_inputs(self, wanted: Sequence[Planned]) -> None:
        """With ``only``, all that the wanted results need must be in the store or among them."""
        missing = [
            f"{row.stage} {row.shard}" if row.shard else row.stage
            for row in _with_inputs(wanted).values()
            if row.decision.action == "run" and row.stage not in self.only
        ]
        if missing:
            some = ", ".join(sorted(missing)[:NUM_NAMED])
            more = f" and {len(missing) - NUM_NAMED} more" if len(missing) > NUM_NAMED else ""
            raise RecipeError(
                f"only {', '.join(sorted(self.only))}: the store lacks {some}{more}, which it "
                f"needs; run those first, or use until instead of only"
            )


def _with_inputs(rows: Sequence[Planned]) -> Mapping[Slot, Planned]:
    """The rows and all that they are made of, however far up."""
    found: dict[Slot, Planned] = {}
    queue = list(rows)
    while queue:
        row = queue.pop()
        if (row.stage, row.shard) not in found:
            found[row.stage, row.shard] = row
            queue += row.inputs
    return found

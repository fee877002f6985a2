"""All that differs between two models or two runs, told from their records and token shards."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline_data.errors import ArtifactError
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.difference.documents import DocumentDifference, compare_documents
from tasks.lineage.difference.measures import MeasureChange, compare_measures
from tasks.lineage.difference.results import (
    FactChange,
    Origin,
    Pair,
    SettingChange,
    StageDifference,
    find_fact_changes,
    find_origins,
    find_setting_changes,
    pair_results,
    sum_up_stages,
)
from tasks.lineage.difference.sides import Side

NUM_NAMED = 3
CHANCE = 0.05
"""Of measures that do not differ, the share that seem to, as their intervals are of 95%."""


@dataclass(frozen=True)
class Difference:
    """What differs; ``pairs`` are all results of both sides, equal ones too."""

    a: Side
    b: Side
    pairs: Sequence[Pair]
    stages: Sequence[StageDifference]
    origins: Sequence[Origin]
    settings: Sequence[SettingChange]
    facts: Sequence[FactChange]
    documents: DocumentDifference
    measures: Sequence[MeasureChange]

    @property
    def num_other(self) -> int:
        """How many results differ, or are there on one side alone."""
        return sum(pair.status != "equal" for pair in self.pairs)

    @property
    def is_same_model(self) -> bool:
        """Whether both are models, and of the same bytes."""
        a, b = self.a.model, self.b.model
        return bool(a and b and (a.stage, a.digest) == (b.stage, b.digest))

    @property
    def num_consequences(self) -> int:
        """How many results differ because what they were made of does."""
        return self.num_other - sum(origin.num_results for origin in self.origins)

    @property
    def has_uncommitted_code(self) -> bool:
        """Whether code that no commit holds made any of the results."""
        sides = (side for pair in self.pairs for side in (pair.a, pair.b) if side)
        return any(str(side.facts.get("commit", "")).endswith("+dirty") for side in sides)

    @property
    def verdicts(self) -> Counter[str]:
        """How many measures came out how; those of one side alone as ``only in A`` or ``B``."""
        return Counter(m.verdict or f"only in {'A' if m.a else 'B'}" for m in self.measures)


def compare_sides(catalogue: Catalogue, a: Side, b: Side, limit: int | None = None) -> Difference:
    """Compare two models or two runs.

    Args:
        limit: how many documents of each kind to name; ``None`` names all.

    Raises:
        ArtifactError: one is a model and the other a run, or files are gone.
    """
    if a.kind != b.kind:
        raise ArtifactError(
            f"'{a.name}' is a {a.kind} and '{b.name}' a {b.kind}: compare two of a kind"
        )
    pairs = pair_results(a.artifacts, b.artifacts)
    return Difference(
        a,
        b,
        pairs,
        sum_up_stages(pairs),
        find_origins(pairs, a, b),
        find_setting_changes(pairs),
        find_fact_changes(pairs),
        compare_documents(catalogue, pairs, a, b, limit),
        compare_measures(catalogue, a, b),
    )


def as_json(difference: Difference) -> dict[str, Any]:
    """The difference for other programs."""
    return {
        "a": _side_as_json(difference.a),
        "b": _side_as_json(difference.b),
        "equal": difference.num_other == 0,
        "same_model": difference.is_same_model if difference.a.model else None,
        "summary": list(summarise(difference)),
        "num_results": len(difference.pairs),
        "num_other": difference.num_other,
        "num_consequences": difference.num_consequences,
        "origins": [asdict(origin) for origin in difference.origins],
        "stages": [asdict(stage) for stage in difference.stages],
        "settings": [asdict(change) for change in difference.settings],
        "code": [asdict(change) for change in difference.facts],
        "documents": asdict(difference.documents),
        "verdicts": dict(difference.verdicts),
        "measures": [asdict(measure) for measure in difference.measures],
    }


def summarise(difference: Difference) -> Iterator[str]:
    """What it comes to, a sentence at a time."""
    num_all, num_other = len(difference.pairs), difference.num_other
    if difference.is_same_model:
        assert difference.a.model
        yield (
            f"A and B are the same model, {difference.a.model.label}: a digest is a SHA-256 over "
            "all files but those of provenance, so equal digests are equal bytes (headwater verify "
            "reads them again)."
        )
        if num_other:
            yield f"{num_other:,} of {num_all:,} results on the way to it differ, without effect."
        else:
            yield f"So are all {num_all:,} results of its lineage."
        return
    if num_other == 0:
        yield (
            f"A and B are equal: {num_all:,} results, each of the same bytes on either side, as "
            "their digests say (headwater verify reads them again)."
        )
        return
    if difference.origins:
        more = len(difference.origins) - 1
        others = f" And in {more:,} other place{'s' if more > 1 else ''}." if more else ""
        yield f"They part at {describe_origin(difference.origins[0])}.{others}"
    else:
        yield "Where they part cannot be told: records are gone from the store."
    yield (
        f"{num_other:,} of {num_all:,} results differ, {difference.num_consequences:,} of them "
        "only because what they were made of does; the others are byte for byte equal."
    )
    yield _summarise_documents(difference.documents)
    yield from _summarise_measures(difference)


def describe_origin(origin: Origin) -> str:
    """Where, and why."""
    return f"{name_some(origin.stage, origin.shards)}: {'; '.join(describe_reasons(origin))}"


def describe_reasons(origin: Origin) -> list[str]:
    """Why, in words."""
    one_sided = {"added": "only in B", "removed": "only in A"}
    return list(origin.reasons) or [one_sided[origin.status]]


def name_some(stage: str, shards: Sequence[str]) -> str:
    """A stage with its first shards."""
    if not shards:
        return stage
    more = len(shards) - NUM_NAMED
    named = ", ".join(shards[:NUM_NAMED])
    return f"{stage} ({named}{f' and {more:,} more' if more > 0 else ''})"


def describe_document_counts(documents: DocumentDifference) -> str:
    """How many documents came in, went out, and changed."""
    kinds = {
        "in": documents.num("added"),
        "out": documents.num("removed"),
        "with another text": documents.num("changed"),
        "moved into or out of training": documents.num("moved"),
    }
    return ", ".join(f"{num:,} {what}" for what, num in kinds.items() if num or what in _ALWAYS)


_ALWAYS = ("in", "out")


def _summarise_documents(documents: DocumentDifference) -> str:
    if not documents.counts and not documents.unread:
        return "Both have the same documents."
    unread = f"; {len(documents.unread):,} shards cannot be read"
    return f"Documents: {describe_document_counts(documents)}{unread if documents.unread else ''}."


def _summarise_measures(difference: Difference) -> Iterator[str]:
    verdicts = difference.verdicts
    alike = verdicts["within the noise"] + verdicts["equal"]
    if alike + verdicts["better"] + verdicts["worse"]:
        yield (
            f"Measures: B is better in {verdicts['better']:,} and worse in {verdicts['worse']:,}; "
            f"in {alike:,} no difference stands out from the noise."
        )


def _side_as_json(side: Side) -> dict[str, Any]:
    model = side.model
    return {
        "name": side.name,
        "kind": side.kind,
        "stage": model.stage if model else None,
        "digest": model.digest if model else None,
        "key": model.key if model else None,
        "date": side.date,
        "recipe": side.recipe,
        "recipe_digest": side.recipe_digest,
        "num_results": len(side.artifacts),
        "num_lost": side.num_lost,
    }

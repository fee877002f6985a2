"""The event that tells of another corpus, from which a trigger in prefect.yaml starts a run."""

from collections.abc import Mapping
from typing import Any

from prefect.events import emit_event

from pipeline_data.artifact import Artifact

EVENT = "headwater.corpus.changed"
NUM_NAMED = 100


def announce_corpus(
    given: Mapping[str, Any], before: Artifact | None, after: Artifact
) -> dict[str, list[str]]:
    """Emit the event if token shards came, changed or went; returns which.

    Args:
        given: recipe and overrides of the flow run, which the run that is started takes over.
        before: report on the recipe's corpus as it was, if there was one.
    """
    changes = changed_shards(before, after)
    if any(changes.values()):
        named = {kind: shards[:NUM_NAMED] for kind, shards in changes.items()}
        counts = {f"num_{kind}": len(shards) for kind, shards in changes.items()}
        recipe = str(given.get("recipe", "default"))
        emit_event(
            event=EVENT,
            resource={
                "prefect.resource.id": f"headwater.corpus.{recipe}",
                "prefect.resource.name": f"corpus of {recipe}",
            },
            payload={**given, **named, **counts},
        )
    return changes


def changed_shards(before: Artifact | None, after: Artifact | None) -> dict[str, list[str]]:
    """Token shards that are new, changed or vanished, by the digests two corpora have for them."""
    old, new = _token_digests(before), _token_digests(after)
    return {
        "new": sorted(new.keys() - old.keys()),
        "changed": sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
        "vanished": sorted(old.keys() - new.keys()),
    }


def _token_digests(corpus: Artifact | None) -> dict[str, str]:
    parents = corpus.parents if corpus else ()
    return {p.shard or "": p.digest for p in parents if p.role == "tokens"}

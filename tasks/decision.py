"""Why a stage result is reused or made: the input or setting that differs from the last time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline_data.artifact import Artifact, Parent
from tasks.store import Request, Store

VALUE_CHARACTERS = 60
NUM_NAMED = 3
ABSENT = object()
Action = Literal["run", "reuse"]


@dataclass(frozen=True)
class Decision:
    """What becomes of one stage result, and why.

    Attributes:
        certain: false where the result of another stage, still to come, decides.
        reason: one line for people.
        key: of the artefact that is asked for, once all inputs are known.
        seconds: what the last such result took to make, if there was one.
    """

    stage: str
    shard: str | None
    action: Action
    reason: str
    certain: bool = True
    key: str | None = None
    seconds: float | None = None


def explain_miss(store: Store, request: Request, previous: Artifact | None) -> str:
    """Why the store has no sound artefact for a request, given the last result it had instead."""
    recorded = store.load(request.stage, request.key)
    if recorded is not None:
        flaws = store.flaws(recorded)
        return f"its result is damaged: {flaws[0]}" if flaws else "its result was just made"
    if previous is None:
        return "no earlier result"
    return "; ".join(differences(request, previous)) or "its earlier result was deleted"


def differences(request: Request, previous: Artifact) -> list[str]:
    """What is asked for otherwise than the last time: version, settings, inputs; old and new."""
    changes = []
    if request.version != previous.version:
        changes.append(f"stage version: {previous.version} -> {request.version}")
    changes += changed_settings(previous.config, request.config)
    changes += _changed_inputs(previous.parents, request.parents)
    return changes


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each setting with another value."""
    return [
        f"setting {name}: {show_value(before)} -> {show_value(after)}"
        for name, before, after in compare_settings(old, new)
    ]


def compare_settings(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Each setting with another value: dotted name, old and new, ``ABSENT`` where it is not."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name, ABSENT), after.get(name, ABSENT)
        if was != now:
            yield name, was, now


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def show_value(value: Any) -> str:
    """A setting's value for people, cut short."""
    if value is ABSENT:
        return "absent"
    text = repr(value)
    return text if len(text) <= VALUE_CHARACTERS else f"{text[: VALUE_CHARACTERS - 3]}..."


def _changed_inputs(old: Sequence[Parent], new: Sequence[Parent]) -> Iterator[str]:
    before, after = _by_role(old), _by_role(new)
    for role in dict.fromkeys([*before, *after]):
        was, now = before.get(role, {}), after.get(role, {})
        if list(was.items()) == list(now.items()):
            continue
        changed = [n for n in now if n in was and was[n] != now[n]]
        added, gone = [n for n in now if n not in was], [n for n in was if n not in now]
        if len(changed) == 1 and not added and not gone:
            name = changed[0]
            yield f"input {role} ({name}): {was[name][0][:12]} -> {now[name][0][:12]}"
        elif changed or added or gone:
            kinds = {"changed": changed, "added": added, "gone": gone}
            yield f"input {role}: " + ", ".join(
                f"{len(names)} {kind} ({_name_some(names)})"
                for kind, names in kinds.items()
                if names
            )
        else:
            yield f"input {role}: in another order"


def _by_role(parents: Sequence[Parent]) -> dict[str, dict[str, list[str]]]:
    """Role to name to digests."""
    roles: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for parent in parents:
        name = f"{parent.stage} {parent.shard}" if parent.shard else parent.stage
        roles[parent.role][name].append(parent.digest)
    return roles


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - NUM_NAMED
    return ", ".join(names[:NUM_NAMED]) + (f" and {more} more" if more > 0 else "")

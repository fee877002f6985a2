"""Whether the names of a store mean what they meant, and what they mean is as it was then."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline_data.errors import ArtifactError
from tasks.lineage.verification.chain import Link, chain_path, load_chain, read_record
from tasks.lineage.verification.finding import Finding, Findings
from tasks.lineage.verification.verification import Records, record_place
from tasks.names import Version
from tasks.record_shape import TEXT_OR_NONE, Kind, fits
from tasks.seal import SEAL, seal_of
from tasks.store import Store

BACK = "put a copy of it back"
VERSION: Mapping[str, Kind] = {
    **dict.fromkeys(("stage", "key", "digest", "date"), str),
    **dict.fromkeys(("run", "recipe", "recipe_digest", "chain"), TEXT_OR_NONE),
    "version": int,
    "superseded_by": (int, type(None)),
}
"""The fields of a :class:`Version`, as JSON values."""


def check_reference(store: Store, name: str) -> list[Finding]:
    """What is wrong with the file of a name by itself; only without that can the name be used."""
    path = f"references/{name}.json"
    flaw = _flaw_of_reference(store.read_json(path))
    return [Finding("name-edited", name, flaw, store.place(path), BACK)] if flaw else []


def check_versions(
    store: Store, name: str, records: Records, numbers: Collection[int] | None = None
) -> Findings:
    """Examine the versions of a name: what they are, their recipes, and their chains.

    Args:
        records: those that were read already.
        numbers: the versions whose chain is compared, which reads all records of it; else all.
    """
    found = Findings()
    current = store.registry.find(name).version
    place = store.place(f"references/{name}.json")
    for version in store.registry.versions(name):
        subject = f"{name}@{version.version}"
        flaw = _flaw_of_version(store, version, records)
        if flaw and version.version != current and flaw.startswith("it is "):
            found.notes.append(f"{subject}: {flaw}: it was made again")
        elif flaw:
            found.problems.append(Finding("name-edited", subject, flaw, place, BACK))
        found.extend(_check_recipe(store, subject, version))
        if numbers is None or version.version in numbers:
            found.extend(_check_chain(store, subject, version, records))
    return found


def _flaw_of_reference(reference: Any) -> str | None:
    """What is wrong with the file of a name by itself."""
    if not isinstance(reference, dict):
        return "its reference is gone or is no JSON object"
    if SEAL in reference and reference[SEAL] != seal_of(reference):
        return "its reference does not match its own seal: it was edited"
    rows = reference.get("versions")
    if not isinstance(rows, list) or not all(fits(row, VERSION) for row in rows):
        return "its reference has not the fields it should have"
    versions = [Version(**row) for row in rows]
    numbers = [version.version for version in versions]
    if numbers != list(range(1, len(numbers) + 1)):
        return f"its versions are numbered {numbers}"
    named = [reference.get("current"), *(v.superseded_by for v in versions)]
    strange = [number for number in named if number is not None and number not in numbers]
    if strange or reference.get("current") is None:
        return f"its reference speaks of version {strange[0] if strange else None}, there is none"
    return None


def _flaw_of_version(store: Store, version: Version, records: Records) -> str | None:
    """What is wrong with the artefact of a version as its record tells."""
    record = records.get((version.stage, version.key)) or read_record(
        store, version.stage, version.key
    )
    if record is None:
        return f"the record of {version.stage} {version.digest[:12]} is gone"
    digest, key = str(record.get("digest")), str(record.get("key"))
    if digest != version.digest:
        return f"it is {version.stage} {version.digest[:12]}, the record there is of {digest[:12]}"
    if key != version.key:
        return f"it has the key {version.key[:24]}, the record there {key[:24]}"
    return None


def _check_recipe(store: Store, subject: str, version: Version) -> Findings:
    found = Findings()
    if version.recipe_digest:
        try:
            store.registry.load_recipe(version.recipe_digest)
        except ArtifactError:
            place = store.place(f"recipes/{version.recipe_digest}.json")
            what = "the recipe that made it is gone or was edited"
            found.problems.append(Finding("recipe-edited", subject, what, place, BACK))
    return found


def _check_chain(store: Store, subject: str, version: Version, records: Records) -> Findings:
    """Compare the records of a version with their seals at the time it got its name."""
    found = Findings()
    if version.chain is None:
        found.notes.append(f"{subject}: no chain of its records was kept when it was named")
        return found
    links = load_chain(store, version.digest, version.chain)
    if links is None:
        place = store.place(f"{chain_path(version.digest, version.chain)}.json")
        what = "the chain of its records is gone or was edited"
        found.problems.append(Finding("chain-edited", subject, what, place, BACK))
        return found
    for link, record in broken_links(store, links, records):
        label, place = f"{link.stage} {link.digest[:12]}", record_place(store, link.stage, link.key)
        if record is None:
            what = f"its record, which {subject} was made of, is gone"
            found.problems.append(Finding("record-missing", label, what, place, BACK))
        elif made := _made_since(record, link, version.date):
            found.notes.append(f"{subject}: {label} {made}")
        else:
            what = f"its record was edited since {subject} was named on {version.date}"
            found.problems.append(Finding("record-edited", label, what, place, BACK))
    return found


def _made_since(record: Mapping[str, Any], link: Link, date: str) -> str | None:
    """How a record that is not the one of a link came about other than by an edit.

    If its content is another, whatever was made of the former is compared with what there is.
    """
    facts = record.get("facts")
    created = str(facts.get("created", "")) if isinstance(facts, dict) else ""
    if record.get("digest") != link.digest:
        return f"gave way to {str(record.get('digest'))[:12]}"
    return f"was made again on {created}" if created > date else None


def broken_links(
    store: Store, links: list[Link], records: Records
) -> Iterator[tuple[Link, Mapping[str, Any] | None]]:
    """The links of a chain whose record is another by now, with that, or is gone."""
    for link in links:
        record = records.get((link.stage, link.key)) or read_record(store, link.stage, link.key)
        if record is None or seal_of(record) != link.seal:
            yield link, record

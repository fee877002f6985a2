"""Verifies models by their names: what they were made of, what the names say, who signed it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.verification.file_check import Told
from tasks.lineage.verification.name_check import check_reference, check_versions
from tasks.lineage.verification.verification import Verification, verify_lineage


def verify_models(
    catalogue: Catalogue,
    models: Sequence[str],
    public_key: Path | None = None,
    told: Told | None = None,
) -> Verification:
    """Examine models: their lineage, each artefact once, and what the store has on their names.

    Args:
        models: names, ``name@version``, or starts of digests.
        public_key: of whoever must have signed each of them.
        told: told of the bytes that were read, from several threads, one at a time.

    Raises:
        ArtifactError: there is no such model, or the key cannot be read.
    """
    store = catalogue.store
    known = store.names()
    names = [model.partition("@")[0] for model in models]
    broken = {name: check_reference(store, name) for name in names if name in known}
    usable = [m for m, name in zip(models, names, strict=True) if not broken.get(name)]
    roots = _find_roots(catalogue, usable)
    result = verify_lineage(catalogue, roots, told)
    for problems in broken.values():
        result.problems += problems
    for model in usable:
        name = model.partition("@")[0]
        if name in known:
            numbers = {store.registry.find(model).version}
            result.extend(check_versions(store, name, result.records, numbers))
    if public_key:
        from tasks.lineage.verification.chain_signature import check_signature

        for artifact in roots.values():
            result.problems += check_signature(catalogue, artifact, public_key)
    return result


def all_versions(catalogue: Catalogue) -> list[str]:
    """Every version of every name, as ``name@version``; of a name that is damaged, just that."""
    store = catalogue.store
    return [
        model
        for name in store.names()
        for model in (
            [name]
            if check_reference(store, name)
            else [f"{name}@{version.version}" for version in store.registry.versions(name)]
        )
    ]


def _find_roots(catalogue: Catalogue, models: Iterable[str]) -> dict[str, Artifact]:
    """What models are; those whose record is gone, which is told of their names, are left out."""
    store = catalogue.store
    roots = {}
    for model in models:
        if model.partition("@")[0] not in store.names():
            roots[model] = catalogue.named(model)
            continue
        version = store.registry.find(model)
        artifact = catalogue.get(version.stage, version.key)
        if artifact is not None:
            roots[model] = artifact
    return roots

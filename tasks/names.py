"""The names of a store: what 'assistant' means, and every version it has meant.

    <root>/references/<name>.json       the artefact that the name means, and its versions
    <root>/recipes/<digest>.json        the recipes that made them, each setting resolved

A version is numbered when its artefact gets the name for the first time, and keeps its number.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Protocol

from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError
from pipeline_data.settings import fingerprint


class Files(Protocol):
    """The small JSON files of a store, by path below its root."""

    def read_json(self, path: str) -> dict[str, Any] | None: ...

    def write_json(self, path: str, value: Mapping[str, Any]) -> None: ...

    def list_folder(self, path: str) -> list[str]: ...


@dataclass(frozen=True)
class Version:
    """One artefact that a name has meant.

    Attributes:
        date: when it got the name (ISO 8601).
        run: the pipeline run that named it.
        recipe: that run's recipe by name; ``recipe_digest`` leads to all of its settings.
        chain: digest over the records of all it was made of.
        superseded_by: the version that took its place because it must not be used any more.
    """

    version: int
    stage: str
    key: str
    digest: str
    date: str
    run: str | None = None
    recipe: str | None = None
    recipe_digest: str | None = None
    chain: str | None = None
    superseded_by: int | None = None


class Names:
    """Reads and writes the names of one store."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def all(self) -> list[str]:
        """All names that mean an artefact."""
        return sorted(PurePosixPath(p).stem for p in self.files.list_folder("references"))

    def versions(self, name: str) -> list[Version]:
        """What a name has meant, first to last.

        Raises:
            ArtifactError: nothing has that name.
        """
        return [Version(**row) for row in self._read(name)["versions"]]

    def find(self, name: str) -> Version:
        """What a name means; ``name@2`` is its second version.

        Raises:
            ArtifactError: nothing has that name, or there is no such version.
        """
        plain, _, number = name.partition("@")
        record = self._read(plain)
        versions = [Version(**row) for row in record["versions"]]
        if not number:
            return next(v for v in versions if v.version == record["current"])
        found = [v for v in versions if str(v.version) == number]
        if not found:
            raise ArtifactError(
                f"'{plain}' has no version {number} (it has {', '.join(_numbers(versions))})"
            )
        return found[0]

    def point(
        self,
        name: str,
        artifact: Artifact,
        date: str,
        *,
        run: str | None = None,
        recipe: str | None = None,
        recipe_digest: str | None = None,
        chain: str | None = None,
    ) -> Version:
        """Make ``name`` mean this artefact from now on; the rest as in :class:`Version`."""
        record = self.files.read_json(_path(name)) or {}
        versions = [Version(**row) for row in record.get("versions", ())]
        content = (artifact.stage, artifact.key, artifact.digest)
        known = next((v for v in versions if (v.stage, v.key, v.digest) == content), None)
        if known is None:
            number = len(versions) + 1
            version = Version(number, *content, date, run, recipe, recipe_digest, chain)
            versions.append(version)
        else:  # what the recipe tells of it may be another by now: a licence, who answers for it
            version = replace(
                known,
                recipe=recipe or known.recipe,
                recipe_digest=recipe_digest or known.recipe_digest,
            )
            versions[versions.index(known)] = version
        self._write(name, version.version, versions)
        return version

    def supersede(self, name: str, version: int, by: int) -> None:
        """Note that a version must not be used any more, as another has taken its place."""
        record = self._read(name)
        versions = [Version(**row) for row in record["versions"]]
        changed = [replace(v, superseded_by=by) if v.version == version else v for v in versions]
        self._write(name, record["current"], changed)

    def save_recipe(self, recipe: Mapping[str, Any]) -> str:
        """Keep a recipe; returns its digest."""
        digest = fingerprint(recipe)
        if self.files.read_json(f"recipes/{digest}.json") is None:
            self.files.write_json(f"recipes/{digest}.json", recipe)
        return digest

    def load_recipe(self, digest: str) -> dict[str, Any]:
        """A recipe that was kept.

        Raises:
            ArtifactError: there is none with that digest, or it was changed.
        """
        recipe = self.files.read_json(f"recipes/{digest}.json")
        if recipe is None or fingerprint(recipe) != digest:
            raise ArtifactError(f"recipes/{digest}.json of the store is gone or was changed")
        return recipe

    def _read(self, name: str) -> dict[str, Any]:
        record = self.files.read_json(_path(name))
        if record is None or "versions" not in record:
            known = ", ".join(self.all()) or "none yet: headwater run makes them"
            raise ArtifactError(f"no model named '{name}' in the store (known: {known})")
        return record

    def _write(self, name: str, current: int, versions: list[Version]) -> None:
        rows = [asdict(version) for version in versions]
        self.files.write_json(_path(name), {"current": current, "versions": rows})


def _path(name: str) -> str:
    return f"references/{name}.json"


def _numbers(versions: list[Version]) -> list[str]:
    return [str(version.version) for version in versions]

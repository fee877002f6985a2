"""Does what ``headwater forget`` asks for, step by step; each step does only what still lacks.

    list > run again > gates > names > superseded > raw shards redacted > run again > erased

The names move, and anything is deleted, only behind the gates. The second run is short: it makes
the shards whose raw data changed once more, and finds that tokens and models stay the same.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from flows import lineage
from flows.forget.forgotten import Forgotten, add_forgotten, note_erasure, read_forgotten
from flows.forget.gates import (
    Comparison,
    Gate,
    Measures,
    compare_measures,
    explain_failure,
    read_measures,
)
from flows.forget.remaking import Remaking, Rerun
from flows.forget.target import Target
from flows.home import Home
from flows.lineage import open_catalogue
from pipeline_data.artifact import Artifact
from pipeline_data.errors import ArtifactError, HeadwaterError
from tasks.erasure import (
    COPIES,
    Left,
    find_left,
    find_tainted,
    raw_shards,
    redact_stored,
    remove_leftovers,
    unread_shards,
)
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.lineage.impact import Impact
from tasks.observer import log_path
from tasks.store import EXTERNAL, Store, Tombstone

SQLITE = "sqlite:///"


@dataclass
class Outcome:
    """What was done.

    Attributes:
        superseded: name, old version, new version.
        num_redacted: records taken out of the store's own raw shards.
        left: places outside the store, which are the user's to deal with.
    """

    runs: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    superseded: list[tuple[str, int, int]] = field(default_factory=list)
    num_redacted: int = 0
    erased: list[Artifact] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def num_bytes(self) -> int:
        """Bytes of the artefacts that were erased."""
        return sum(file.bytes for artifact in self.erased for file in artifact.files)


@dataclass(frozen=True)
class Forgetting:
    """One target and how it is to be forgotten.

    Attributes:
        rerun: runs the recipe.
        tell: shows a line about a step that takes long.
    """

    home: Home
    store: Store
    target: Target
    reason: str
    remaking: Remaking
    rerun: Rerun
    accept_worse: bool = False
    tell: Callable[[str], None] = lambda line: None

    def forget(self, impact: Impact) -> Outcome:
        """Take the target out of the corpus and of the models that the names mean.

        Raises:
            HeadwaterError: a stage failed, a measure got worse, or something still needs it.
        """
        outcome = Outcome()
        now = _now()
        add_forgotten(self.home.path, entries_of(self.target, self.reason, now))
        self._run(self._make_gate(outcome), outcome)
        self._check_names()
        self._supersede(impact, outcome)
        return outcome

    def erase(self, outcome: Outcome) -> None:
        """Delete its bytes from the store, once it is forgotten.

        Raises:
            HeadwaterError: another run is going on, a stage failed, or something still needs it.
        """
        check_no_run(self.home.path)
        tombstone = Tombstone(_now(), self._reason(), f"headwater forget {self.target.text}")
        index = open_index(self.store)
        raw = raw_shards(index.catalogue, self.target.holders(index))
        is_meant = None if self.target.kind == "file" else self.target.names()
        outcome.left += find_left(index.catalogue, raw, is_meant)
        left_in: list[str] = []
        if is_meant is not None:
            left_in += [shard.name for shard in raw if shard.raw.stage in (EXTERNAL, COPIES)]
            self.tell("taking its records out of the store's raw shards")
            unread = unread_shards(index.catalogue)
            redacted = redact_stored(index.catalogue, [*raw, *unread], is_meant, tombstone)
            outcome.num_redacted = len(redacted)
        targets = [(self.target.kind, entry) for entry in self.target.entries]
        note_erasure(self.home.path, targets, tombstone.date, left_in)
        self._run(lambda made: True, outcome)
        self._erase_results(tombstone, outcome)
        self._refresh_mlflow(outcome)

    def _run(self, gate: Gate, outcome: Outcome) -> None:
        """Run the recipe, unless the names mean what it makes already."""
        registry = self.store.registry
        named = {name: registry.find(name) for name in registry.all()}
        if self.remaking.makes(named, read_forgotten(self.home.path)):
            return
        run = self.rerun(self.remaking, gate)
        if run:
            outcome.runs.append(run)
        failed = [c for c in outcome.comparisons if not c.passes]
        if failed and not self.accept_worse:
            for comparison in failed:
                self.tell(explain_failure(comparison))
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            raise HeadwaterError(
                f"a measure got worse: {explain_failure(failed[0])}{more}; the names keep their "
                "models and nothing is erased: --accept-worse takes the new ones"
            )

    def _make_gate(self, outcome: Outcome) -> Gate:
        """Compares every name's model with the one it means now."""
        catalogue = open_catalogue(self.store)
        before: dict[str, tuple[str, Measures]] = {}
        for name in self.store.names():
            version = self.store.registry.find(name)
            old = catalogue.get(version.stage, version.key)
            try:
                measures = read_measures(catalogue, old) if old else {}
            except ArtifactError as error:
                outcome.notes.append(f"{name} is not compared: {error}")
                measures = {}
            before[name] = (version.digest, measures)

        def gate(made: Mapping[str, Artifact]) -> bool:
            now = open_catalogue(self.store)
            found: dict[tuple[str, str], Comparison] = {}
            for name, artifact in made.items():
                digest, measures = before.get(name, (artifact.digest, {}))
                if digest != artifact.digest:
                    for c in compare_measures(measures, read_measures(now, artifact)):
                        found[c.stage, c.measure] = c
            outcome.comparisons = list(found.values())
            return self.accept_worse or all(c.passes for c in found.values())

        return gate

    def _check_names(self) -> None:
        """Nothing that has a name may be made of it any more."""
        names = self.target.assess(open_index(self.store)).names
        if names:
            raise HeadwaterError(
                f"{', '.join(names)} still comes of {self.target.text} after the run: the store "
                f"has another recipe's model under that name; headwater trace {names[0]} shows it"
            )

    def _supersede(self, impact: Impact, outcome: Outcome) -> None:
        """Mark the versions that saw it, in the store and in MLflow."""
        registry = self.store.registry
        for spelt in (version for model in impact.models for version in model.versions):
            old, current = registry.find(spelt), registry.find(spelt.partition("@")[0])
            name = spelt.partition("@")[0]
            if old.version == current.version or old.superseded_by == current.version:
                continue
            registry.supersede(name, old.version, current.version)
            outcome.superseded.append((name, old.version, current.version))
            if has_mlflow(self.home):
                try:
                    from tasks.tracking.models import supersede

                    supersede(self.home.tracking_uri, name, old.key, current.key)
                except Exception as error:  # any backend's
                    outcome.notes.append(_mlflow_note(error))

    def _erase_results(self, tombstone: Tombstone, outcome: Outcome) -> None:
        """Erase what cannot be made without it, and what is left over of killed attempts."""
        index = open_index(self.store)
        catalogue = index.catalogue
        holders = self.target.holders(index)
        raw = [shard.raw for shard in raw_shards(catalogue, holders)]
        copies = [r for r in raw if r.stage == COPIES or self.target.kind == "file"]
        tainted = find_tainted(catalogue, [*holders, *(r for r in copies if r.stage != EXTERNAL)])
        self._check_untainted(catalogue, tainted)
        check_no_run(self.home.path)
        self.tell(f"erasing {len(tainted):,} artefacts")
        for artifact in tainted:
            self.store.erase(artifact, tombstone)
            self._erase_copies(artifact, tombstone, outcome)
            outcome.erased.append(artifact)
        remove_leftovers(self.store)
        num_checkpoints = _remove_folders((self.home.path / "checkpoints").glob("*/*"))
        if num_checkpoints:
            outcome.notes.append(f"checkpoints of {num_checkpoints} unfinished results are gone")

    def _check_untainted(self, catalogue: Catalogue, tainted: Iterable[Artifact]) -> None:
        gone = {(artifact.stage, artifact.key) for artifact in tainted}
        for name in self.store.names():
            version = self.store.registry.find(name)
            if (version.stage, version.key) in gone:
                raise HeadwaterError(
                    f"{name} still comes of {self.target.text}, so nothing is erased: "
                    f"headwater run the recipe that makes it ({version.recipe}), then erase again"
                )

    def _erase_copies(self, artifact: Artifact, tombstone: Tombstone, outcome: Outcome) -> None:
        """What the log and MLflow have of an artefact."""
        run = artifact.facts.get("run")
        if run:
            logs = self.home.path / "logs" / str(run)
            log_path(logs, artifact.stage, artifact.shard).unlink(missing_ok=True)
        if artifact.shard is None and has_mlflow(self.home):
            try:
                from tasks.tracking.models import erase_model

                erase_model(self.home.tracking_uri, artifact.key, tombstone.reason)
            except Exception as error:  # any backend's
                outcome.notes.append(f"{artifact.label}: {_mlflow_note(error)}")

    def _refresh_mlflow(self, outcome: Outcome) -> None:
        """Describe the models in use by what they come of once the rest is erased."""
        if not has_mlflow(self.home):
            return
        try:
            from tasks.tracking.client import find_experiment, open_client
            from tasks.tracking.models import find_models, register

            client, catalogue = open_client(self.home.tracking_uri), open_catalogue(self.store)
            experiment = find_experiment(client)
            for name in self.store.names() if experiment else ():
                artifact = self.store.named(name)
                for model in find_models(client, experiment or "", artifact.key)[:1]:
                    register(client, catalogue, name, artifact, model)
        except Exception as error:  # any backend's
            outcome.notes.append(_mlflow_note(error))

    def _reason(self) -> str:
        """The reason that stands in the list."""
        wanted = {(self.target.kind, entry) for entry in self.target.entries}
        listed = [e for e in read_forgotten(self.home.path) if (e.kind, e.target) in wanted]
        return listed[0].reason if listed else self.reason


def entries_of(target: Target, reason: str, date: str) -> list[Forgotten]:
    """The target as entries of the list."""
    part_of = target.shard if target.kind == "url" else None
    return [Forgotten(e, target.kind, reason, date, part_of=part_of) for e in target.entries]


def open_index(store: Store) -> DocumentIndex:
    """The index of the store as it is now."""
    return lineage.open_index(open_catalogue(store))


def check_no_run(home: Path) -> None:
    """Make sure that no run of this home is under way.

    Raises:
        HeadwaterError: one is.
    """
    for path in (home / "live").glob("*.json"):
        try:
            with FileLock(path).acquire(blocking=False):
                pass
        except Timeout:
            raise HeadwaterError(
                f"a run of {home} is under way, whose files cannot be told from leftovers: "
                "wait for its end, then give the command again"
            ) from None


def has_mlflow(home: Home) -> bool:
    """Whether anything was ever logged in MLflow."""
    uri = home.tracking_uri
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).is_file()


def _remove_folders(folders: Iterable[Path]) -> int:
    found = list(folders)
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return len(found)


def _mlflow_note(error: Exception) -> str:
    return f"MLflow was not told ({str(error).partition(chr(10))[0]})"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

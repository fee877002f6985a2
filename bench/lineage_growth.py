"""One question among ever more models that have nothing to do with it.

The catalogue of the store is copied, and chains of models which do not read the page's shard are
copied within it, or taken away. Their records are in the catalogue alone, so it is asked without
catching up with the store: catching up looks at each record's folder once, and is shown apart.
"""

import sqlite3
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Table, measure
from pipeline_data.artifact import Artifact
from tasks.lineage.catalogue import Catalogue
from tasks.lineage.documents import DocumentIndex
from tasks.lineage.exposure import steps_of
from tasks.lineage.reach import find_models, find_trainings
from tasks.store import Store

NUM_OTHERS = (0, 10, 100, 1000)
CHAIN = ("pretrain", "sft", "responses", "preferences", "reward", "ppo", "practice")


@dataclass(frozen=True)
class Growth:
    """CPU seconds of the question by number of other models; ``ratio``: most over none."""

    seconds: dict[int, float]
    num_records: dict[int, int]

    @property
    def ratio(self) -> float:
        return self.seconds[max(self.seconds)] / self.seconds[min(self.seconds)]

    @property
    def table(self) -> Table:
        """The numbers for people."""
        return Table(
            "A page and its models, among other models",
            ("models that do not match", "records", "CPU seconds"),
            [(f"{n:,}", self.num_records[n], s) for n, s in sorted(self.seconds.items())],
        )


def measure_growth(home: Path, url: str, repeats: int) -> Growth:
    """Ask for a page with 0, 10, 100 and 1,000 chains of models that do not match."""
    store = Store(str(home / "store"), home / "cache")
    catalogue = Catalogue.open(store)
    places = DocumentIndex.open(catalogue).find_url(url)
    trained = find_trainings(catalogue, places)
    matching = {model.artifact.key for model in find_models(catalogue, trained)}
    others = [a for a in catalogue.of_stage("pretrain") if a.key not in matching]
    seconds, num_records = {}, {}
    for number in NUM_OTHERS:
        with tempfile.TemporaryDirectory(dir=home) as folder:
            cache = Path(folder)
            database = _copy_index(catalogue, cache / "lineage")
            _set_others(database, catalogue, others, number)
            asked = Catalogue(Store(store.root, cache), database)
            seconds[number] = _ask(asked, url, repeats)
            ((num_records[number],),) = database.execute("SELECT count(*) FROM artifact")
            database.close()
    return Growth(seconds, num_records)


def _ask(catalogue: Catalogue, url: str, repeats: int) -> float:
    """The least CPU seconds it takes, nothing of the catalogue in memory."""

    def ask() -> None:
        index = DocumentIndex(Catalogue(catalogue.store, catalogue.database))
        places = index.find_url(url)
        trainings = find_trainings(index.catalogue, places)
        for training in trainings:
            steps_of(training, [place.doc_id for place in places])
        find_models(index.catalogue, trainings)

    return min(measure(ask)[1].cpu_seconds for _ in range(3 * repeats))


def _copy_index(catalogue: Catalogue, folder: Path) -> sqlite3.Connection:
    folder.mkdir()
    for path in catalogue.folder.glob("*/*.parquet"):
        copy = folder / path.relative_to(catalogue.folder)
        copy.parent.mkdir(exist_ok=True)
        copy.hardlink_to(path)
    database = sqlite3.connect(folder / "catalogue.db")
    catalogue.database.backup(database)
    return database


def _set_others(
    database: sqlite3.Connection, catalogue: Catalogue, others: Sequence[Artifact], number: int
) -> None:
    """Leave so many chains of models that do not match; copy some where there are too few."""
    if not others:
        return
    for base in others[number:]:
        _remove(database, [base, *catalogue.descendants([base])])
    for place in range(len(others), number):
        base = others[place % len(others)]
        _copy(database, [base, *catalogue.descendants([base])])
    database.commit()


def _remove(database: sqlite3.Connection, chain: Sequence[Artifact]) -> None:
    for artifact in chain:
        (number,) = _number_of(database, artifact)
        for table, column in (("edge", "child"), ("content", "artifact"), ("artifact", "id")):
            database.execute(f"DELETE FROM {table} WHERE {column} = ?", [number])


def _copy(database: sqlite3.Connection, chain: Sequence[Artifact]) -> None:
    """The same chain with other keys and digests, made of the same token shards."""
    new = {artifact.digest: uuid.uuid4().hex * 2 for artifact in chain}
    for artifact in chain:
        (number,) = _number_of(database, artifact)
        key, digest = uuid.uuid4().hex * 2, new[artifact.digest]
        copy = database.execute(
            "INSERT INTO artifact (stage, folder, key, digest, shard, created, stamp, directory, "
            "record, tombstone) SELECT stage, ?, ?, ?, shard, created, stamp, directory, "
            "replace(replace(record, key, ?), digest, ?), tombstone FROM artifact WHERE id = ?",
            [key[:24], key, digest, key, digest, number],
        ).lastrowid
        database.execute("INSERT INTO content VALUES (?, ?, '', ?)", [digest, artifact.stage, copy])
        edges = [
            (copy, position, p.role, new.get(p.digest, p.digest), p.stage, p.shard or "", p.key)
            for position, p in enumerate(artifact.parents)
        ]
        database.executemany("INSERT INTO edge VALUES (?, ?, ?, ?, ?, ?, ?)", edges)


def _number_of(database: sqlite3.Connection, artifact: Artifact) -> tuple[int]:
    query = "SELECT id FROM artifact WHERE stage = ? AND folder = ?"
    found: tuple[int] = database.execute(query, [artifact.stage, artifact.key[:24]]).fetchone()
    return found

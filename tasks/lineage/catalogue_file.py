"""The SQLite file of the catalogue: its tables, and what becomes of one that cannot be used."""

import sqlite3
from pathlib import Path

VERSION = 3
"""Of the tables below; a file of another version is built anew."""
TABLES = """
CREATE TABLE artifact (
    id INTEGER PRIMARY KEY AUTOINCREMENT, stage TEXT NOT NULL, folder TEXT NOT NULL,
    key TEXT NOT NULL, digest TEXT NOT NULL, shard TEXT NOT NULL, created TEXT NOT NULL,
    stamp TEXT NOT NULL, directory TEXT NOT NULL, record TEXT NOT NULL, tombstone TEXT,
    UNIQUE (stage, folder));
CREATE INDEX artifact_digest ON artifact (digest);
CREATE TABLE content (
    digest TEXT, stage TEXT, shard TEXT, artifact INTEGER,
    PRIMARY KEY (digest, stage, shard, artifact)) WITHOUT ROWID;
CREATE INDEX content_artifact ON content (artifact);
CREATE TABLE edge (
    child INTEGER, position INTEGER, role TEXT, digest TEXT, stage TEXT, shard TEXT, key TEXT,
    PRIMARY KEY (child, position)) WITHOUT ROWID;
CREATE INDEX edge_parent ON edge (digest, stage, shard);
CREATE TABLE indexed (artifact INTEGER PRIMARY KEY, segment TEXT NOT NULL);
CREATE TABLE store (root TEXT NOT NULL);
"""


def open_file(path: Path, root: str) -> sqlite3.Connection:
    """Open the file of the store at ``root``.

    One of another version or of a store elsewhere (a home was moved or copied), or a damaged one,
    is begun anew.
    """
    database = sqlite3.connect(path, timeout=60, check_same_thread=False)
    if _version(database) != VERSION or _root(database) != root:
        database.close()
        for end in ("", "-wal", "-shm"):
            path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
        database = sqlite3.connect(path, timeout=60, check_same_thread=False)
        database.executescript(f"PRAGMA journal_mode=WAL; {TABLES} PRAGMA user_version={VERSION};")
        with database:
            database.execute("INSERT INTO store VALUES (?)", [root])
    return database


def _version(database: sqlite3.Connection) -> int | None:
    """The version of a file's tables; nothing where it is no database any more."""
    try:
        return int(database.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return None


def _root(database: sqlite3.Connection) -> str | None:
    """Whose file it is."""
    return next((root for (root,) in database.execute("SELECT root FROM store")), None)

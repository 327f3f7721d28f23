"""The state database of one linked folder: schema, connection, transactions."""

import contextlib
import logging
import os
import pathlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sync_client.errors import MustStop, StateDamaged

SCHEMA_VERSION = 5
# A node that is named like a conflict copy, word for word as a query must say it that is to
# be answered by the index over these: the status asks for them after each step.
IS_MARKED = (
    "kind = 'file' AND set_aside IS NULL AND instr(name, CAST(' (conflicted copy, ' AS BLOB)) > 0"
)
# Files that this device gave the name of a conflict copy, until the server knows of it.
_COPIES = (
    "CREATE TABLE copies (parent_id INTEGER NOT NULL, name BLOB NOT NULL, original TEXT NOT NULL,"
    " kind TEXT NOT NULL, base_version_id TEXT, PRIMARY KEY (parent_id, name)) WITHOUT ROWID"
)
_MARKED_INDEX = f"CREATE INDEX local_marked ON local (local_id) WHERE {IS_MARKED}"

# From the schema of this version to the next: what was agreed on is kept.
_UPGRADES = {
    1: "ALTER TABLE remote ADD COLUMN is_damaged INTEGER NOT NULL DEFAULT 0",
    2: "CREATE INDEX local_rules ON local (local_id) WHERE name_key = '.driveignore'",
    3: _MARKED_INDEX,
    4: _COPIES,
}

# In `meta`, while a folder whose state was damaged is being merged anew.
REBUILT = "rebuilt"

# Local names are BLOBs: the bytes of the disk, which need not be text.
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE remote (
    item_id TEXT PRIMARY KEY, parent_id TEXT, name TEXT NOT NULL, name_key TEXT NOT NULL,
    is_folder INTEGER NOT NULL, rev INTEGER NOT NULL, version_id TEXT, content_hash TEXT,
    size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, executable INTEGER NOT NULL,
    is_damaged INTEGER NOT NULL
);
CREATE INDEX remote_by_place ON remote (parent_id, name_key);

CREATE TABLE local (
    local_id INTEGER PRIMARY KEY, parent_id INTEGER, name BLOB NOT NULL, name_key TEXT NOT NULL,
    kind TEXT NOT NULL, inode INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, birth_ns INTEGER NOT NULL,
    executable INTEGER NOT NULL, content_hash TEXT, set_aside TEXT, is_racy INTEGER NOT NULL
);
CREATE INDEX local_by_place ON local (parent_id, name_key);
CREATE INDEX local_by_inode ON local (inode);
CREATE INDEX local_racy ON local (local_id) WHERE is_racy;
CREATE INDEX local_set_aside ON local (local_id) WHERE set_aside IS NOT NULL;
CREATE INDEX local_rules ON local (local_id) WHERE name_key = '.driveignore';

CREATE TABLE synced (
    item_id TEXT PRIMARY KEY, local_id INTEGER NOT NULL UNIQUE, parent_id TEXT,
    parent_local_id INTEGER, name TEXT NOT NULL, is_folder INTEGER NOT NULL, version_id TEXT,
    content_hash TEXT, size_bytes INTEGER NOT NULL, item_mtime_ns INTEGER NOT NULL,
    item_executable INTEGER NOT NULL, inode INTEGER NOT NULL, signature_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, birth_ns INTEGER NOT NULL,
    executable INTEGER NOT NULL
);
CREATE INDEX synced_by_inode ON synced (inode);

-- What has to be compared: of an item that is in Synced or Remote, the item's row, else the
-- node's. due_ns: not before this moment of the wall clock. refused: a problem is listed.
CREATE TABLE dirty_items (
    item_id TEXT PRIMARY KEY, due_ns INTEGER NOT NULL, code TEXT, message TEXT
) WITHOUT ROWID;
CREATE TABLE dirty_locals (
    local_id INTEGER PRIMARY KEY, due_ns INTEGER NOT NULL, code TEXT, message TEXT
);

CREATE TABLE unreadable (local_id INTEGER PRIMARY KEY, code TEXT NOT NULL, message TEXT NOT NULL);
CREATE TABLE intents (staged TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE op_ids (
    subject TEXT PRIMARY KEY, op_id TEXT NOT NULL, made_ns INTEGER NOT NULL, local_id INTEGER
) WITHOUT ROWID;
CREATE INDEX op_ids_by_node ON op_ids (local_id) WHERE local_id IS NOT NULL;
CREATE TABLE blocks (
    item_id TEXT NOT NULL, offset INTEGER NOT NULL, block_hash TEXT NOT NULL,
    PRIMARY KEY (item_id, offset)
) WITHOUT ROWID;
CREATE INDEX blocks_by_hash ON blocks (block_hash);
"""


# Damage, as SQLite's primary result codes; and what says that nothing can be written.
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNWRITABLE = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)

logger = logging.getLogger("drive.database")


@contextmanager
def state_errors(path: pathlib.Path | None) -> Iterator[None]:
    """SQLite's errors as what they mean: raises StateDamaged and MustStop."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise StateDamaged("The record of a linked folder is damaged.") from error
        if _code_of(error) in _UNWRITABLE:
            where = path.parent if path is not None else "memory"
            raise MustStop(
                f"The client cannot write its own records in {where}: {error}.",
                next_step="Free some space.",
            ) from error
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is no sound database."""
    return _code_of(error) in _DAMAGED


def _code_of(error: sqlite3.Error) -> int:
    # The extended codes have the primary one in their low byte.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def read_only(path: pathlib.Path) -> Iterator[sqlite3.Connection]:
    """A state database as of one moment, whoever works on it; nothing is changed in it.

    Raises sqlite3.Error where it cannot be read.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


class Database:
    """One SQLite file (or memory, for None), for one thread at a time.

    Every committed transaction survives a power cut. `is_new` tells that there was no state
    before: then nothing may be deleted on either side. A damaged file is moved aside.
    """

    def __init__(self, path: pathlib.Path | None) -> None:
        self.path = path
        self._depth = 0
        try:
            version = self._open()
        except sqlite3.DatabaseError as error:
            if path is None or not is_damage(error):
                raise
            self.connection.close()
            _set_aside(path)
            version = self._open()
            was_damaged = True
        else:
            was_damaged = False
        while version in _UPGRADES:
            version = self._upgrade(version)
        self.is_new = version != SCHEMA_VERSION
        if self.is_new:
            self._create()
        if was_damaged:
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (REBUILT, "1"))

    def _open(self) -> int:
        """Connect; the version of the schema that is there. Raises where it is damaged."""
        path = self.path
        # The daemon hands the engine from thread to thread, but never runs two at once.
        self.connection = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False, timeout=30
        )
        if path is not None:
            os.chmod(path, 0o600)  # noqa: PTH101  (names of people's files are in it)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        (verdict,) = self.connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            damage = sqlite3.DatabaseError("quick_check found damage")
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage
        return int(self.connection.execute("PRAGMA user_version").fetchone()[0])

    def _upgrade(self, version: int) -> int:
        with self.transaction():
            self.connection.execute(_UPGRADES[version])
            self.connection.execute(f"PRAGMA user_version = {version + 1}")
        return version + 1

    def _create(self) -> None:
        """Begin with no state: merging again is safe, reading another schema is not."""
        with self.transaction():
            old = self.connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            for (table,) in old:
                self.connection.execute(f'DROP TABLE "{table}"')
            for statement in (*_SCHEMA.split(";\n"), _MARKED_INDEX, _COPIES):
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own that sees what is committed, for any thread."""
        if self.path is None:
            yield self.connection
            return
        with read_only(self.path) as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; an inner one belongs to the outer."""
        if self._depth:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
        except BaseException:
            # A full disk has made SQLite do it already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        else:
            self.connection.execute("COMMIT")
        finally:
            self._depth = 0


def _set_aside(path: pathlib.Path) -> None:
    """Keep a damaged database for whoever wants to know what happened to it."""
    logger.error("a state database is damaged; it is kept as %s.damaged", path.name)
    path.replace(path.with_name(f"{path.name}.damaged"))
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()

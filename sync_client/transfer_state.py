"""Which transfers have begun, so that after a crash only what is missing is sent or fetched.

A hint: losing it costs time, never data. What is there is asked of the server, or hashed.
"""

import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from sync_client.database import is_damage

# The server forgets an upload after 7 days; a staged file that old is fetched anew.
KEPT_SECONDS = 8 * 24 * 3600

_SCHEMA = """
CREATE TABLE IF NOT EXISTS begun (key TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS op_ids (
    subject TEXT PRIMARY KEY, op_id TEXT NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
"""


class TransferState:
    """A small database of one linked folder, for one thread."""

    def __init__(self, path: Path | None = None) -> None:
        """path: None keeps it in memory only. A file that cannot be read is begun anew."""
        try:
            self._open(path)
        except sqlite3.DatabaseError as error:
            if path is None or not is_damage(error):
                raise
            self._connection.close()
            for each in path.parent.glob(f"{path.name}*"):
                each.unlink()
            self._open(path)

    def _open(self, path: Path | None) -> None:
        # The daemon hands the engine from thread to thread, but never runs two at once.
        self._connection = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False, timeout=30
        )
        if path is not None:
            os.chmod(path, 0o600)  # noqa: PTH101
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A lost row costs a question to the server, not more.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(_SCHEMA)
        oldest = int(time.time()) - KEPT_SECONDS
        self._connection.execute("DELETE FROM begun WHERE at < ?", (oldest,))
        self._connection.execute("DELETE FROM op_ids WHERE at < ?", (oldest,))

    def close(self) -> None:
        self._connection.close()

    def has_begun(self, key: str) -> bool:
        found = self._connection.execute("SELECT 1 FROM begun WHERE key = ?", (key,))
        return found.fetchone() is not None

    def begin(self, keys: Iterable[str]) -> None:
        now = int(time.time())
        self._connection.execute("BEGIN")
        self._connection.executemany(
            "INSERT OR IGNORE INTO begun VALUES (?, ?)", ((key, now) for key in keys)
        )
        self._connection.execute("COMMIT")

    def end(self, keys: Iterable[str]) -> None:
        self._connection.execute("BEGIN")
        for key in keys:
            self._connection.execute("DELETE FROM begun WHERE key = ?", (key,))
            self._connection.execute("DELETE FROM op_ids WHERE op_id = ?", (key,))
        self._connection.execute("COMMIT")

    def op_id(self, subject: str, new_id: str) -> str:
        """The id of a transfer that a command asks for: `new_id`, or, where one of the same
        subject has not come to its end, that one's."""
        self._connection.execute(
            "INSERT OR IGNORE INTO op_ids VALUES (?, ?, ?)", (subject, new_id, int(time.time()))
        )
        found = self._connection.execute("SELECT op_id FROM op_ids WHERE subject = ?", (subject,))
        return str(found.fetchone()[0])

"""What is under way: steps on the disk that may be half done, ids of requests, the status."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from sync_client import rail
from sync_client.database import IS_MARKED, REBUILT
from sync_client.names import REFUSALS, printable
from sync_client.nodes import Intent, RemoteItem, RemoteRoot
from sync_client.ports import Clock, Path, Randomness, Signature
from sync_client.selection import Waiting, waiting_in
from sync_client.trees import Trees, local_path, remote_path
from sync_client.view import IGNORED

# The server remembers the key of a completed request this long.
OP_ID_KEPT_NS = 30 * 24 * 3600 * 1_000_000_000

# The files that are named like a conflict copy. The server takes the mark from the name when
# a conflict is settled, so this counts what is left to settle also without the server.
MARKED = f"SELECT local_id FROM local WHERE {IS_MARKED}"  # noqa: S608  (our own words)


@dataclass(frozen=True, slots=True)
class Problem:
    """A path that is set aside. `code` is for programs, the message for people."""

    path: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Status:
    """What is left to do, in numbers, and what cannot be done."""

    up_files: int = 0
    up_bytes: int = 0
    down_files: int = 0
    down_bytes: int = 0
    conflicts: int = 0
    held_deletions: int = 0
    # The record of the folder was damaged: both sides are being merged anew.
    is_rebuilt: bool = False
    problems: list[Problem] = field(default_factory=list)


class Pending:
    """Intents and request ids, kept in the state database."""

    def __init__(self, trees: Trees, clock: Clock, randomness: Randomness) -> None:
        self._trees = trees
        self._run = trees.database.connection.execute
        self._clock = clock
        self._randomness = randomness

    # Intents

    def write(self, intents: Iterable[Intent]) -> None:
        """Note steps before they begin; durable when this returns."""
        with self._trees.transaction():
            for intent in intents:
                self._run(
                    "INSERT OR REPLACE INTO intents VALUES (?, ?)",
                    (intent.staged, json.dumps(intent, default=_members)),
                )

    def intents(self) -> list[Intent]:
        """Steps that began before a crash and were not recorded as done."""
        return [
            _intent(json.loads(row[0])) for row in self._run("SELECT data FROM intents").fetchall()
        ]

    def done(self, intents: Iterable[Intent]) -> None:
        """These are recorded, or were given up; in the caller's transaction."""
        for intent in intents:
            self._run("DELETE FROM intents WHERE staged = ?", (intent.staged,))

    # Request ids

    def op_id(self, subject: tuple[object, ...], *, new_file: int | None = None) -> str:
        """The id of a request: the same as long as the same thing is asked.

        So a request whose answer was lost, by the network or by a crash, gets that answer.
        new_file: the node that is sent as a new file (`sent_as_new`).
        """
        key = _key(subject)
        row = self._run("SELECT op_id FROM op_ids WHERE subject = ?", (key,)).fetchone()
        if row is not None:
            return str(row[0])
        op_id = self._randomness.new_id()
        self._run(
            "INSERT INTO op_ids VALUES (?, ?, ?, ?)",
            (key, op_id, self._clock.now_ns(), new_file),
        )
        return op_id

    def is_open(self, subject: tuple[object, ...]) -> bool:
        """Whether this was asked before and the answer is not known."""
        row = self._run("SELECT 1 FROM op_ids WHERE subject = ?", (_key(subject),)).fetchone()
        return row is not None

    def forget_op_ids(self, op_ids: Iterable[str]) -> None:
        """Their answers are recorded, or the request must be another one."""
        for op_id in op_ids:
            self._run("DELETE FROM op_ids WHERE op_id = ?", (op_id,))

    def sweep(self) -> None:
        """Drop the ids of requests that the server has forgotten too."""
        self._run("DELETE FROM op_ids WHERE made_ns < ?", (self._clock.now_ns() - OP_ID_KEPT_NS,))


def read_status(trees: Trees) -> Status:
    """The status as of the last committed step. From any thread."""
    with trees.database.reading() as connection:
        return status_in(connection, trees.root)


def status_in(connection: sqlite3.Connection, root: RemoteRoot) -> Status:
    """The status that a state database tells."""
    rows = connection.execute
    # CROSS JOIN: from the few entries that are to be compared, which SQLite takes to be as
    # many as there are of any other table.
    up = rows(
        "SELECT count(*), coalesce(sum(size), 0) FROM ("
        " SELECT local.size_bytes AS size FROM dirty_locals CROSS JOIN local USING (local_id)"
        "  WHERE kind = 'file' AND set_aside IS NULL AND code IS NULL"
        " UNION ALL SELECT local.size_bytes FROM dirty_items CROSS JOIN synced USING (item_id)"
        "  CROSS JOIN local USING (local_id) WHERE kind = 'file' AND code IS NULL AND CASE"
        "  WHEN local.content_hash IS NULL THEN local.size_bytes <> synced.size_bytes"
        "   OR local.mtime_ns <> synced.mtime_ns"
        "  ELSE local.content_hash IS NOT synced.content_hash END)"
    ).fetchone()
    down = rows(
        "SELECT count(*), coalesce(sum(remote.size_bytes), 0) FROM dirty_items"
        " CROSS JOIN remote USING (item_id) LEFT JOIN synced USING (item_id)"
        " WHERE NOT remote.is_folder AND code IS NULL"
        " AND remote.version_id IS NOT synced.version_id"
    ).fetchone()
    conflicts = rows(f"SELECT count(*) FROM ({MARKED})").fetchone()[0]  # noqa: S608
    held = rail.held(connection)
    is_rebuilt = rows("SELECT 1 FROM meta WHERE key = ?", (REBUILT,)).fetchone() is not None
    problems = [
        Problem(printable(local_path(connection, local_id)), code, message)
        for local_id, code, message in rows(
            "SELECT local_id, set_aside, NULL FROM local"
            "  WHERE set_aside IS NOT NULL AND set_aside <> ?"
            " UNION ALL SELECT local_id, code, message FROM unreadable"
            " UNION ALL SELECT local_id, code, message FROM dirty_locals"
            "  WHERE code IS NOT NULL",
            (IGNORED,),
        ).fetchall()
    ]
    problems += [
        Problem(each.folder, "deselected-kept", _kept_for(each)) for each in waiting_in(connection)
    ]
    for item_id, local_id, code, message in rows(
        "SELECT item_id, local.local_id, code, message FROM dirty_items"
        " LEFT JOIN synced USING (item_id) LEFT JOIN local USING (local_id)"
        " WHERE code IS NOT NULL"
    ).fetchall():
        path = local_path(connection, local_id) if local_id is not None else ()
        path = path or remote_path(connection, item_id, root)
        problems.append(Problem(printable(path), code, message))
    return Status(
        up_files=up[0],
        up_bytes=up[1],
        down_files=down[0],
        down_bytes=down[1],
        conflicts=conflicts,
        held_deletions=held,
        is_rebuilt=is_rebuilt,
        problems=sorted(
            (
                Problem(each.path, each.code, each.message or REFUSALS.get(each.code, ""))
                for each in problems
            ),
            key=lambda problem: problem.path,
        ),
    )


def _kept_for(waiting: Waiting) -> str:
    names = ", ".join(waiting.paths[:3])
    more = f" and {waiting.count - 3} more" if waiting.count > 3 else ""
    return f"Deselected, but kept for what is not on the server as it is here: {names}{more}."


def _members(value: Any) -> dict[str, Any]:
    """A dataclass for JSON; without copying what is in it, as `asdict` does."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _key(subject: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(subject).encode()).hexdigest()


def _intent(data: dict[str, object]) -> Intent:
    def signature(value: object) -> Signature | None:
        return Signature(**value) if isinstance(value, dict) else None

    remote = data["remote"]
    path, aside = data["path"], data.get("aside")
    assert isinstance(path, list)  # noqa: S101  (we wrote it)
    names: Path = tuple(str(name) for name in path)
    return Intent(
        staged=str(data["staged"]),
        step=str(data["step"]),
        item_id=str(data["item_id"]),
        local_id=int(str(data["local_id"])),
        path=names,
        staged_signature=signature(data["staged_signature"]),
        expected=signature(data["expected"]),
        remote=RemoteItem(**remote) if isinstance(remote, dict) else None,
        # Steps that an earlier release began do not say it.
        aside=tuple(map(str, aside)) if isinstance(aside, list) else None,
        aside_id=int(str(data["aside_id"])) if isinstance(aside, list) else None,
    )

"""What this device knows of one path of a linked folder, from the state database.

Read only, beside whoever works on the folder; nothing here changes anything.
"""

import os
import pathlib
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sync_client import linux
from sync_client.config import Root
from sync_client.database import SCHEMA_VERSION, read_only
from sync_client.ignore import Rule
from sync_client.names import REFUSALS, name_key
from sync_client.nodes import ROOT_ID
from sync_client.ports import Path
from sync_client.trees import VIEW
from sync_client.view import IGNORED, View, load_view

_NOT_SEEN = "The sync client has not looked at it yet."


@dataclass(frozen=True, slots=True)
class Known:
    """is_here, is_there: whether it is in Local and Remote. waits_for: what is left to do, for
    people; None where both sides are equal. code, message: why it cannot be done, or could not
    the last time. not_before_ns: when it is tried again. rule: what ignores it."""

    is_here: bool = False
    is_there: bool = False
    waits_for: str | None = None
    code: str | None = None
    message: str | None = None
    not_before_ns: int = 0
    rule: Rule | None = None
    is_deselected: bool = False


def known_at(state: pathlib.Path, root: Root, path: Path) -> Known:
    """What is known of a path below a linked folder; of nothing, an empty Known."""
    here = pathlib.Path(root.path).joinpath(*path)
    with _opened(state) as connection:
        if connection is None:
            return Known(waits_for=_NOT_SEEN if os.path.lexists(here) else None)
        view = _view(connection)
        rule = view.rules.ignoring(path, is_folder=here.is_dir()) if path else None
        local_id = _local_id(connection, path)
        line = _remote_line(connection, root, path)
        item_id = line[-1] if len(line) == len(path) + 1 else None
        synced = connection.execute(
            "SELECT item_id FROM synced WHERE local_id = ?", (local_id,)
        ).fetchone()
        if synced is not None:
            item_id = synced[0]
        is_there = _has(connection, "remote", "item_id", item_id)
        code, message, not_before_ns, is_open = _trouble(connection, local_id, item_id)
        waits_for = None
        if is_open or code is not None:
            waits_for = _waits_for(connection, local_id, item_id)
        elif local_id is not None and _changed_since(connection, local_id, here):
            waits_for = "It has changed here since the sync client last looked."
        elif local_id is None and not is_there and os.path.lexists(here):
            waits_for = _NOT_SEEN
        return Known(
            is_here=local_id is not None,
            is_there=is_there,
            waits_for=None if rule else waits_for,
            code=None if rule else code,
            message=None if rule else message,
            not_before_ns=not_before_ns,
            rule=rule,
            is_deselected=not view.deselected.isdisjoint(line),
        )


def item_id_at(state: pathlib.Path, root: Root, path: Path) -> tuple[str, str] | None:
    """`file` or `folder`, and the id, of the item that a path here was last the same as."""
    if not path:
        return "folder", root.folder_id
    with _opened(state) as connection:
        if connection is None:
            return None
        row = connection.execute(
            "SELECT item_id, is_folder FROM synced WHERE local_id = ?",
            (_local_id(connection, path),),
        ).fetchone()
    return None if row is None else ("folder" if row[1] else "file", row[0])


@contextmanager
def _opened(state: pathlib.Path) -> Iterator[sqlite3.Connection | None]:
    """None where there is no state, or one of another release, or a damaged one."""
    if not state.exists():
        yield None
        return
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(read_only(state))
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError:
            # `drive status` and `drive doctor` say so; the next sync begins anew.
            version = None
        yield connection if version == SCHEMA_VERSION else None


def _view(connection: sqlite3.Connection) -> View:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (VIEW,)).fetchone()
    return load_view(row[0] if row else None)


def _local_id(connection: sqlite3.Connection, path: Path) -> int | None:
    here = ROOT_ID
    for name in path:
        rows = connection.execute(
            "SELECT local_id, name FROM local WHERE parent_id = ? AND name_key = ?",
            (here, name_key(name)),
        ).fetchall()
        found = [local_id for local_id, its in rows if its == os.fsencode(name)]
        if not found:
            return None
        here = found[0]
    return here


def _remote_line(connection: sqlite3.Connection, root: Root, path: Path) -> list[str]:
    """The ids from the linked folder of the server down to a path, as far as they are known."""
    line = [root.folder_id]
    for name in path:
        row = connection.execute(
            "SELECT item_id FROM remote WHERE parent_id = ? AND name_key = ?",
            (line[-1], name_key(name)),
        ).fetchone()
        if row is None:
            break
        line.append(row[0])
    return line


def _has(connection: sqlite3.Connection, table: str, column: str, key: object) -> bool:
    query = f"SELECT 1 FROM {table} WHERE {column} = ?"  # noqa: S608  (names of ours)
    return connection.execute(query, (key,)).fetchone() is not None


def _trouble(
    connection: sqlite3.Connection, local_id: int | None, item_id: str | None
) -> tuple[str | None, str | None, int, bool]:
    """Code, message, when it is tried again, and whether anything is left to do."""
    row = connection.execute(
        "SELECT set_aside FROM local WHERE local_id = ?", (local_id,)
    ).fetchone()
    if row is not None and row[0] is not None and row[0] != IGNORED:
        return row[0], REFUSALS.get(row[0], "It is set aside."), 0, False
    row = connection.execute(
        "SELECT code, message FROM unreadable WHERE local_id = ?", (local_id,)
    ).fetchone()
    if row is not None:
        return row[0], row[1], 0, False
    rows = connection.execute(
        "SELECT code, message, due_ns FROM dirty_items WHERE item_id = ?"
        " UNION ALL SELECT code, message, due_ns FROM dirty_locals WHERE local_id = ?",
        (item_id, local_id),
    ).fetchall()
    if not rows:
        return None, None, 0, False
    code, message, due_ns = max(rows, key=lambda each: each[0] is not None)
    return code, message or REFUSALS.get(code or ""), due_ns, True


def _waits_for(connection: sqlite3.Connection, local_id: int | None, item_id: str | None) -> str:
    """Which way it has to go."""
    if not _has(connection, "synced", "item_id", item_id):
        if local_id is None:
            return "It waits to be received."
        if not _has(connection, "remote", "item_id", item_id):
            return "It waits to be sent."
        return "Both sides have something there; they wait to be compared."
    if local_id is None:
        return "It was deleted here; the server waits to be told."
    if not _has(connection, "remote", "item_id", item_id):
        return "It was deleted on the server; that waits to be done here."
    (is_new_there,) = connection.execute(
        "SELECT remote.version_id IS NOT synced.version_id FROM remote JOIN synced"
        " USING (item_id) WHERE item_id = ?",
        (item_id,),
    ).fetchone()
    if is_new_there:
        return "A newer version waits to be received."
    return "Its change here waits to be sent."


def _changed_since(connection: sqlite3.Connection, local_id: int, here: pathlib.Path) -> bool:
    row = connection.execute(
        "SELECT kind, inode, size_bytes, mtime_ns, ctime_ns FROM local WHERE local_id = ?",
        (local_id,),
    ).fetchone()
    try:
        now = linux.statx(linux.AT_FDCWD, os.fspath(here))
    except OSError:
        # Gone, or not to be told: the next scan says which.
        return True
    seen = now.signature
    if now.kind == "folder":
        return bool(row[0] != "folder")
    return tuple(row) != (
        now.kind, seen.inode, seen.size_bytes, seen.mtime_ns, seen.ctime_ns
    )  # fmt: skip

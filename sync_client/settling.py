"""Conflicts as this device sees them: which there are, where their files lie, settling one.

The server says which conflicts are open; the state databases say where the files are here.
What bears the name of a conflict copy without being in an open conflict is listed too: a
copy beside a folder of the same name, or one whose original was deleted.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync_client.api import HttpApi
from sync_client.config import Config, Root, Store
from sync_client.database import SCHEMA_VERSION, read_only
from sync_client.errors import ApiProblem, SyncError
from sync_client.linked import TREES
from sync_client.linking import Refused
from sync_client.names import printable
from sync_client.pending import MARKED
from sync_client.system import new_id
from sync_client.trees import local_path


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item of the server is on this device; is_settled: nothing is left to sync."""

    path: Path
    is_settled: bool


@dataclass(frozen=True, slots=True)
class HereConflict:
    """A conflict and its two files here; None for what is not in a linked folder.

    conflict: as docs/protocol.md spells it; None for a file that is only named like a copy.
    """

    conflict: dict[str, Any] | None
    original: Place | None
    copy: Place | None

    @property
    def paths(self) -> list[Path]:
        return [place.path for place in (self.original, self.copy) if place is not None]


def find(store: Store, config: Config, api: HttpApi) -> list[HereConflict]:
    """All open conflicts, the newest first, then what is only named like one, by path."""
    conflicts = list(_open_conflicts(api))
    wanted = [
        conflict[side]["file"]["file_id"] for conflict in conflicts for side in ("original", "copy")
    ]
    places: dict[str, Place] = {}
    marked: list[Place] = []
    for root in config.roots:
        with _state_of(store, root) as connection:
            if connection is not None:
                files = _Files(connection, root)
                places.update(files.synced(wanted))
                marked += files.marked()
    found = [
        HereConflict(
            conflict,
            places.get(conflict["original"]["file"]["file_id"]),
            places.get(conflict["copy"]["file"]["file_id"]),
        )
        for conflict in conflicts
    ]
    listed = {each.copy for each in found}
    alone = sorted((each for each in marked if each not in listed), key=lambda each: each.path)
    return found + [HereConflict(None, None, place) for place in alone]


def _open_conflicts(api: HttpApi) -> Iterator[dict[str, Any]]:
    params = {"state": "open", "limit": "1000"}
    while True:
        page = api.request("GET", "conflicts", params=params)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]


@contextmanager
def _state_of(store: Store, root: Root) -> Iterator[sqlite3.Connection | None]:
    """The state of a linked folder as of one moment; None where it tells nothing.

    That is before the first sync, and where the next one begins the record anew.
    """
    path = store.state_dir(root) / TREES
    if not path.exists():
        yield None
        return
    try:
        with read_only(path) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()
            yield connection if version == (SCHEMA_VERSION,) else None
    except sqlite3.DatabaseError as error:
        where = printable((root.path,))
        raise SyncError(f"The record of {where} cannot be read now; see: drive status") from error


class _Files:
    """The files of one linked folder."""

    def __init__(self, connection: sqlite3.Connection, root: Root) -> None:
        self._connection = connection
        self._root = root

    def synced(self, item_ids: Iterable[str]) -> dict[str, Place]:
        """Those of these items of the server that are files here."""
        found = {}
        for item_id in item_ids:
            row = self._connection.execute(
                "SELECT local_id FROM synced JOIN local USING (local_id)"
                " WHERE item_id = ? AND NOT is_folder",
                (item_id,),
            ).fetchone()
            if row is not None:
                found[item_id] = self._place(row[0])
        return found

    def marked(self) -> list[Place]:
        """The files that are named like a conflict copy."""
        rows = self._connection.execute(MARKED).fetchall()
        return [self._place(local_id) for (local_id,) in rows]

    def _place(self, local_id: int) -> Place:
        is_dirty = self._connection.execute(
            "SELECT 1 FROM dirty_locals WHERE local_id = :node UNION ALL"
            " SELECT 1 FROM dirty_items JOIN synced USING (item_id) WHERE local_id = :node",
            {"node": local_id},
        ).fetchone()
        names = local_path(self._connection, local_id)
        return Place(Path(self._root.path, *names), is_dirty is None)


def pick(found: Iterable[HereConflict], file: Path) -> HereConflict:
    """The open conflict that a file of this device is in. Raises Refused."""
    # Of the file itself only the name counts: it may be gone, or a link.
    here = file.parent.resolve() / file.name
    matching = [each for each in found if here in each.paths]
    opened = [each for each in matching if each.conflict is not None]
    shown = shown_path(here)
    if len(opened) > 1:
        copies = ", ".join(shown_path(each.copy.path) for each in opened if each.copy)
        raise Refused(f"{shown} is in {len(opened)} conflicts. Name the copy: {copies}")
    if opened:
        return opened[0]
    if matching:
        raise Refused(
            f"{shown} is only named like a conflicted copy: rename it or delete it, as you like."
        )
    raise Refused(f"{shown} is in no open conflict. See: drive conflicts")


def settle(api: HttpApi, found: HereConflict, *, keep: str, device_id: str) -> str:
    """Settle an open conflict on the server: `mine`, `theirs` or `both`, as the protocol says.

    Raises Refused for a word that means nothing here, and SyncError where a file has changes
    that are not on the server yet, or has changed there since the conflict was read.
    """
    conflict = found.conflict
    if conflict is None:
        raise AssertionError("Only an open conflict can be settled.")
    word = word_of(conflict, keep=keep, device_id=device_id)
    for place in (found.original, found.copy):
        if place is not None and not place.is_settled:
            raise SyncError(
                f"{shown_path(place.path)} has changes that are not synced yet. See: drive status"
            )
    try:
        api.request(
            "POST",
            f"conflicts/{conflict['conflict_id']}/settle",
            json={"op_id": new_id(), "keep": word},
            headers={"If-Match": f'"{conflict["rev"]}"'},
        )
    except ApiProblem as problem:
        if problem.code != "stale-precondition":
            raise
        raise SyncError(
            "One of the two files has just been changed elsewhere. Nothing was settled; "
            "look at both, and say it again."
        ) from problem
    return word


def word_of(conflict: dict[str, Any], *, keep: str, device_id: str) -> str:
    """What to keep in the words of the protocol. Raises Refused.

    local is the edit that was made on this device, remote the other one.
    """
    match keep:
        case "both":
            return "both"
        case "copy":
            return "mine"
        case "original":
            return "theirs"
    is_copy_ours = conflict["copy"]["device_id"] == device_id
    is_original_ours = conflict["original"]["device_id"] == device_id
    if is_copy_ours == is_original_ours:
        whose = "Both edits were" if is_copy_ours else "Neither edit was"
        raise Refused(f"{whose} made on this device; say --keep copy or --keep original.")
    return "mine" if is_copy_ours == (keep == "local") else "theirs"


def shown_path(path: Path) -> str:
    """A path for people and JSON."""
    return printable((str(path),))


def as_json(found: HereConflict, *, device_id: str) -> dict[str, Any]:
    """An entry of `drive conflicts --json`."""
    conflict = found.conflict
    sides: dict[str, Any] = {"original": None, "copy": None}
    for side in sides:
        if conflict is None:
            break
        told = conflict[side]
        sides[side] = {
            "file_id": told["file"]["file_id"],
            "name": told["file"]["name"],
            "device": told["device"],
            "author": told["author"],
            "committed_at": told["committed_at"],
            "is_local": told["device_id"] == device_id,
        }
    return {
        "conflict_id": conflict and conflict["conflict_id"],
        "kind": conflict and conflict["kind"],
        "created_at": conflict and conflict["created_at"],
        "original_path": found.original and shown_path(found.original.path),
        "copy_path": found.copy and shown_path(found.copy.path),
        **sides,
    }

"""The three trees: Remote (by item id), Local (by node id) and Synced (which is which).

They hold what was *observed*; the work is derived from them, so a crash leaves nothing
half-decided. Each write also notes what has to be compared again ("dirty"), so that a plan
costs what has changed and not what there is. Names of columns: database.py.
"""

# What is put into statements here are lists of columns, from this file.
# ruff: noqa: S608

import os
import pathlib
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sync_client.database import Database
from sync_client.ignore import RULES_NAME
from sync_client.names import name_key
from sync_client.nodes import ROOT_ID, CopyOf, Entry, LocalNode, RemoteItem, RemoteRoot, SyncedItem
from sync_client.ports import BlockRef, Kind, Path, Signature
from sync_client.view import IGNORED, View, load_view

_REMOTE = (
    "item_id, parent_id, name, is_folder, rev, version_id, content_hash, size_bytes, mtime_ns,"
    " executable, is_damaged"
)
_LOCAL = (
    "local_id, parent_id, name, kind, inode, size_bytes, mtime_ns, ctime_ns, birth_ns,"
    " executable, content_hash, set_aside"
)
_SYNCED = (
    "item_id, local_id, parent_id, parent_local_id, name, is_folder, version_id, content_hash,"
    " size_bytes, item_mtime_ns, item_executable, inode, signature_bytes, mtime_ns, ctime_ns,"
    " birth_ns, executable"
)
_REMARK = (
    "ON CONFLICT DO UPDATE SET due_ns = CASE WHEN code IS NULL THEN due_ns ELSE 0 END,"
    " code = NULL, message = NULL"
)
# In `meta`, what this device follows, and whether a scan has ignored by rules of its own.
VIEW = "view"
GUESSED_RULES = "guessed-rules"
# Of a node: id, set_aside, kind, inode, birth_ns, size_bytes, mtime_ns, ctime_ns, executable.
# Plain, since a scan goes through all there are.
AsSeen = tuple[Any, ...]
# Of names of the disk.
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_KINDS = {kind.value: kind for kind in Kind}
_REMOTE_COLUMNS = _REMOTE.count(",") + 1
_LOCAL_COLUMNS = _LOCAL.count(",") + 1


class Trees:
    """State of one linked folder. One effect is one transaction."""

    def __init__(self, path: pathlib.Path | None, *, root: RemoteRoot) -> None:
        self.database = Database(path)
        self.root = root
        self._run = self.database.connection.execute
        with self.transaction():
            self._begin()

    def _begin(self) -> None:
        if self.meta("root") not in {None, self.root.folder_id}:
            raise ValueError("This state belongs to another link.")
        self.set_meta("root", self.root.folder_id)
        nothing = Signature(0, 0, 0, 0, 0, False)
        if self.local(ROOT_ID) is None:
            self._run(
                f"INSERT INTO local ({_LOCAL}, name_key, is_racy)"
                " VALUES (?, NULL, '', 'folder', 0, 0, 0, 0, 0, 0, NULL, NULL, '', 0)",
                (ROOT_ID,),
            )
            self._insert_synced(
                SyncedItem(
                    self.root.folder_id, ROOT_ID, None, None, "", True, None, None, 0, 0, False,
                    nothing,
                )
            )  # fmt: skip
        highest: int = self._run(
            "SELECT max((SELECT max(local_id) FROM local), (SELECT max(local_id) FROM synced))"
        ).fetchone()[0]
        self._next_local_id = highest + 1
        self._view = load_view(self.meta(VIEW))
        # A folder has another path than when the rules were last applied to what is in it.
        self.has_moved_folders = True

    def close(self) -> None:
        self.database.close()

    def transaction(self) -> AbstractContextManager[None]:
        return self.database.transaction()

    def meta(self, key: str) -> str | None:
        row = self._run("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row and str(row[0])

    def set_meta(self, key: str, value: str | None) -> None:
        if value is None:
            self._run("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @property
    def view(self) -> View:
        """What this device follows. What is out of it is in Local as one entry, set aside."""
        return self._view

    @property
    def has_guessed_rules(self) -> bool:
        """Whether what is ignored on the disk may be so by rules that are not in the view."""
        return self.meta(GUESSED_RULES) is not None

    @has_guessed_rules.setter
    def has_guessed_rules(self, guessed: bool) -> None:
        self.set_meta(GUESSED_RULES, "1" if guessed else None)

    @contextmanager
    def changing_view(self) -> Iterator[None]:
        """A transaction in which `set_view` may be called."""
        before = self._view
        try:
            with self.transaction():
                yield
        except BaseException:
            self._view = before
            raise

    def set_view(self, view: View) -> None:
        """Follow something else from now on; `viewing.py` makes the trees agree with it."""
        self.set_meta(VIEW, view.dump())
        self._view = view

    # Remote

    def remote(self, item_id: str) -> RemoteItem | None:
        row = self._run(f"SELECT {_REMOTE} FROM remote WHERE item_id = ?", (item_id,)).fetchone()
        return row and _remote_item(row)

    def remote_in_place(self, parent_id: str, key: str) -> list[RemoteItem]:
        """The items of a folder under a name's key: one, except for a moment."""
        rows = self._run(
            f"SELECT {_REMOTE} FROM remote WHERE parent_id = ? AND name_key = ?", (parent_id, key)
        )
        return [_remote_item(row) for row in rows]

    def knows_version(self, version_id: str) -> bool:
        """Whether some file has this version now."""
        row = self._run("SELECT 1 FROM remote WHERE version_id = ?", (version_id,)).fetchone()
        return row is not None

    def remote_children(self, parent_id: str) -> list[RemoteItem]:
        rows = self._run(f"SELECT {_REMOTE} FROM remote WHERE parent_id = ?", (parent_id,))
        return [_remote_item(row) for row in rows]

    def put_remote(self, item: RemoteItem) -> None:
        """What the server says an item is now; what it said later already stays."""
        before = self.remote(item.item_id)
        if before is not None and before.rev > item.rev:
            return
        if before == item:
            return
        was_in_view = before is not None and before.is_folder and self.in_view(before.item_id)
        self._run(
            f"INSERT OR REPLACE INTO remote ({_REMOTE}, name_key)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            _remote_row(item),
        )
        self.mark_item(item.item_id)
        if (
            item.is_folder
            and (before is None or (before.parent_id, before.name) != (item.parent_id, item.name))
            and (self.view.rules or self.in_view(item.item_id) != was_in_view)
        ):
            self.has_moved_folders = True
            # What lies below came into the linked folder, or left it, without a word of its own.
            for below in self.remote_below(item.item_id):
                self.mark_item(below)

    def drop_remote(self, item_id: str, *, seq: int) -> None:
        """The item was deleted by the entry `seq`, with all below it that is not newer."""
        item = self.remote(item_id)
        if item is None or item.rev > seq:
            return
        gone = [item_id, *(self.remote_below(item_id, seq=seq) if item.is_folder else ())]
        self.database.connection.executemany(
            "DELETE FROM remote WHERE item_id = ?", ((each,) for each in gone)
        )
        for each in gone:
            self.mark_item(each)

    def remote_below(self, item_id: str, *, seq: int | None = None) -> list[str]:
        """All items below a folder; with `seq` only those that were there at that entry."""
        rows = self._run(
            "WITH RECURSIVE below (item_id) AS ("
            " SELECT item_id FROM remote WHERE parent_id = :top AND rev <= :seq"
            " UNION SELECT remote.item_id FROM remote JOIN below"
            " ON remote.parent_id = below.item_id WHERE remote.rev <= :seq)"
            " SELECT item_id FROM below",
            {"top": item_id, "seq": (1 << 62) if seq is None else seq},
        )
        return [row[0] for row in rows]

    def begin_snapshot(self) -> None:
        """Start a complete listing beside Remote."""
        self._run("DROP TABLE IF EXISTS temp.snapshot")
        self._run(
            "CREATE TEMP TABLE snapshot AS SELECT * FROM remote WHERE FALSE",
        )
        self._run("CREATE UNIQUE INDEX temp.snapshot_by_id ON snapshot (item_id)")

    def add_to_snapshot(self, items: Sequence[RemoteItem]) -> None:
        """A page of the listing."""
        with self.transaction():
            self.database.connection.executemany(
                f"INSERT OR REPLACE INTO temp.snapshot ({_REMOTE}, name_key)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (_remote_row(item) for item in items),
            )

    def finish_snapshot(self) -> int:
        """The listing is complete: it is what Remote is now. Answers its highest rev."""
        self._run(
            "INSERT OR REPLACE INTO dirty_items SELECT item_id, 0, NULL, NULL FROM ("
            " SELECT item_id FROM (SELECT * FROM temp.snapshot EXCEPT SELECT * FROM remote)"
            " UNION SELECT item_id FROM (SELECT * FROM remote EXCEPT SELECT * FROM temp.snapshot))"
        )
        # Folders that moved may have taken what is below into the linked folder, or out.
        self._run(
            "INSERT OR IGNORE INTO dirty_items SELECT item_id, 0, NULL, NULL FROM remote"
            " WHERE EXISTS (SELECT 1 FROM temp.snapshot JOIN remote AS old USING (item_id)"
            " WHERE old.is_folder AND (old.parent_id IS NOT temp.snapshot.parent_id"
            " OR old.name IS NOT temp.snapshot.name))"
        )
        self.has_moved_folders = True
        self._run("DELETE FROM remote")
        self._run(
            f"INSERT INTO remote ({_REMOTE}, name_key)"
            f" SELECT {_REMOTE}, name_key FROM temp.snapshot"
        )
        self._run("DROP TABLE temp.snapshot")
        highest: int = self._run("SELECT coalesce(max(rev), 0) FROM remote").fetchone()[0]
        return highest

    def synced_other_than_snapshot(self) -> list[SyncedItem]:
        """Files whose synced version is not the one that the unfinished listing names, and
        whose content is another, too."""
        columns = _qualified("synced", _SYNCED)
        rows = self._run(
            f"SELECT {columns} FROM synced JOIN temp.snapshot USING (item_id)"
            " WHERE NOT synced.is_folder AND synced.version_id IS NOT temp.snapshot.version_id"
            " AND synced.content_hash IS NOT temp.snapshot.content_hash"
        )
        return [_synced_item(row) for row in rows]

    def synced_on_one_side(self) -> list[str]:
        """Items of Synced that Remote or Local does not have."""
        rows = self._run(
            "SELECT item_id FROM synced WHERE local_id <> ? AND ("
            " item_id NOT IN (SELECT item_id FROM remote)"
            " OR local_id NOT IN (SELECT local_id FROM local))",
            (ROOT_ID,),
        )
        return [row[0] for row in rows]

    def in_view(self, item_id: str) -> bool:
        """Whether an item of Remote lies in the linked folder (or is it), and is followed."""
        return self.path_in_view(item_id) is not None

    def path_in_view(self, item_id: str) -> Path | None:
        """Where an item is in the linked folder; None if it is not there, or not followed."""
        above: list[tuple[str, bool]] = []
        seen: set[str] = set()
        here: str | None = item_id
        while here != self.root.folder_id:
            if here is None or here in seen or here in self._view.deselected:
                return None
            row = self._run(
                "SELECT parent_id, name, is_folder FROM remote WHERE item_id = ?", (here,)
            ).fetchone()
            if row is None:
                return None
            seen.add(here)
            here = row[0]
            above.append((row[1], bool(row[2])))
        if self.remote(self.root.folder_id) is None:
            return None
        path: Path = ()
        for name, is_folder in reversed(above):
            path = (*path, name)
            if self._view.ignores(path, is_folder=is_folder):
                return None
        return path

    def is_deselected(self, item_id: str) -> bool:
        """Whether an item is in a folder (or is one) that is not to be kept here."""
        if not self._view.deselected:
            return False
        seen: set[str] = set()
        here: str | None = item_id
        while here is not None and here not in seen:
            if here in self._view.deselected:
                return True
            seen.add(here)
            item = self.remote(here)
            here = item.parent_id if item is not None else None
        return False

    def rules_to_fetch(self, *, now_ns: int) -> list[RemoteItem]:
        """Files of rules whose content here is not the server's, and that can be fetched now."""
        columns = _qualified("remote", _REMOTE)
        rows = self._run(
            f"SELECT {columns} FROM dirty_items CROSS JOIN remote USING (item_id)"
            " LEFT JOIN synced USING (item_id) WHERE due_ns <= ? AND remote.name = ?"
            " AND NOT remote.is_folder AND synced.version_id IS NOT remote.version_id",
            (now_ns, RULES_NAME),
        )
        return [_remote_item(row) for row in rows]

    def remote_revisions(self) -> Iterator[tuple[str, int]]:
        """(item id, rev) of all items, for the digest."""
        yield from self._run("SELECT item_id, rev FROM remote")

    # Local

    @property
    def next_local_id(self) -> int:
        """Nodes from now on have this id or a higher one."""
        return self._next_local_id

    def new_local_id(self) -> int:
        """A node id that was never used, not even by what only Synced remembers."""
        new_id = self._next_local_id
        self._next_local_id += 1
        return new_id

    def local(self, local_id: int) -> LocalNode | None:
        row = self._run(f"SELECT {_LOCAL} FROM local WHERE local_id = ?", (local_id,)).fetchone()
        return row and _local_node(row)

    def local_in_place(self, parent_id: int, key: str) -> list[LocalNode]:
        """The nodes of a folder under a name's key: several where they differ only in case."""
        rows = self._run(
            f"SELECT {_LOCAL} FROM local WHERE parent_id = ? AND name_key = ?", (parent_id, key)
        )
        return [_local_node(row) for row in rows]

    def local_children(self, parent_id: int) -> list[LocalNode]:
        rows = self._run(f"SELECT {_LOCAL} FROM local WHERE parent_id = ?", (parent_id,))
        return [_local_node(row) for row in rows]

    def children_as_seen(self, parent_id: int) -> dict[str, AsSeen]:
        """What a scan compares of a folder's entries, by name: most are as they were, and of
        those nothing more has to be read."""
        rows = self._run(
            "SELECT name, local_id, set_aside, kind, inode, birth_ns, size_bytes, mtime_ns,"
            " ctime_ns, executable FROM local WHERE parent_id = ?",
            (parent_id,),
        )
        # As os.fsdecode does it, without a call for each.
        return {row[0].decode(_ENCODING, _ERRORS): row[1:] for row in rows}

    def local_by_identity(self, signature: Signature) -> list[LocalNode]:
        """Nodes that were this inode when last seen: several where there are hard links."""
        rows = self._run(
            f"SELECT {_LOCAL} FROM local WHERE inode = ? AND birth_ns = ?", signature.identity
        )
        return [_local_node(row) for row in rows]

    def local_id_at(self, path: Path) -> int | None:
        """The node at a path."""
        here = ROOT_ID
        for name in path:
            row = self._run(
                "SELECT local_id FROM local WHERE parent_id = ? AND name_key = ? AND name = ?",
                (here, name_key(name), os.fsencode(name)),
            ).fetchone()
            if row is None:
                return None
            here = row[0]
        return here

    def path_of(self, local_id: int) -> Path:
        """Where a node is. Raises KeyError if it, or a folder above it, is not in Local."""
        return local_path(self.database.connection, local_id)

    def put_local(self, node: LocalNode, *, is_racy: bool = False) -> None:
        """A node as it is now: new, changed, or at another place."""
        before = self.local(node.local_id)
        if before is not None and (before.parent_id, before.name) != (node.parent_id, node.name):
            self._mark_neighbours(before)
            self.has_moved_folders |= node.is_folder
        self._run(
            f"INSERT OR REPLACE INTO local ({_LOCAL}, name_key, is_racy)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                node.local_id,
                node.parent_id,
                os.fsencode(node.name),
                node.kind.value,
                node.signature.inode,
                node.signature.size_bytes,
                node.signature.mtime_ns,
                node.signature.ctime_ns,
                node.signature.birth_ns,
                node.signature.executable,
                node.content_hash,
                node.set_aside,
                name_key(node.name),
                is_racy,
            ),
        )
        # Also of one that a step before a crash had chosen.
        self._next_local_id = max(self._next_local_id, node.local_id + 1)
        self.mark_local(node.local_id)

    def drop_local(self, local_id: int) -> None:
        """A node is gone, with all below it."""
        node = self.local(local_id)
        if node is None:
            return
        self._mark_neighbours(node)
        for gone in [local_id, *self.local_below(local_id)]:
            self.mark_local(gone)
            self._run("DELETE FROM local WHERE local_id = ?", (gone,))
            self._run("DELETE FROM unreadable WHERE local_id = ?", (gone,))
            self._run("DELETE FROM dirty_locals WHERE local_id = ?", (gone,))

    def local_below(self, local_id: int) -> list[int]:
        """All nodes below a folder."""
        rows = self._run(
            "WITH RECURSIVE below (local_id) AS (SELECT local_id FROM local WHERE parent_id = ?"
            " UNION SELECT local.local_id FROM local JOIN below"
            " ON local.parent_id = below.local_id) SELECT local_id FROM below",
            (local_id,),
        )
        return [row[0] for row in rows]

    def sent_as_new(self, parent_id: int, name: str) -> LocalNode | None:
        """The file at a place that was sent as a new one, if the answer never came."""
        columns = _qualified("local", _LOCAL)
        row = self._run(
            f"SELECT {columns} FROM local JOIN op_ids USING (local_id)"
            " WHERE parent_id = ? AND name_key = ? AND name = ?"
            " AND local_id NOT IN (SELECT local_id FROM synced) LIMIT 1",
            (parent_id, name_key(name), os.fsencode(name)),
        ).fetchone()
        return row and _local_node(row)

    # Conflict copies that this device makes

    def note_copy(self, parent_id: int, name: str, copy: CopyOf) -> None:
        """A file here got the name of a conflict copy; the server is to hear of which one."""
        self._run(
            "INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?)",
            (parent_id, os.fsencode(name), copy.original, copy.kind, copy.base_version_id),
        )

    def copy_at(self, parent_id: int | None, name: str) -> CopyOf | None:
        """What the file at a place is the copy of, if the server does not know that yet."""
        row = self._run(
            "SELECT original, kind, base_version_id FROM copies WHERE parent_id = ? AND name = ?",
            (parent_id, os.fsencode(name)),
        ).fetchone()
        return row and CopyOf(*row)

    def drop_copy(self, parent_id: int | None, name: str) -> None:
        """The server has heard it, or wants to hear nothing of it."""
        self._run(
            "DELETE FROM copies WHERE parent_id = ? AND name = ?", (parent_id, os.fsencode(name))
        )

    def rules_files(self) -> list[LocalNode]:
        """The files of rules on the disk that are followed themselves."""
        rows = self._run(
            f"SELECT {_LOCAL} FROM local WHERE name_key = '{RULES_NAME}'"
            " AND kind = 'file' AND set_aside IS NULL"
        )
        return [node for node in map(_local_node, rows) if node.name == RULES_NAME]

    def put_unreadable(self, local_id: int, code: str, message: str) -> None:
        """A folder could not be listed: what is below stays as it was last seen."""
        self._run("INSERT OR REPLACE INTO unreadable VALUES (?, ?, ?)", (local_id, code, message))

    def unreadable_ids(self) -> set[int]:
        """Nodes that could not be looked at when last seen."""
        return {row[0] for row in self._run("SELECT local_id FROM unreadable")}

    def put_readable(self, local_id: int) -> None:
        self._run("DELETE FROM unreadable WHERE local_id = ?", (local_id,))

    def racy_locals(self) -> list[LocalNode]:
        """Files whose hash was taken so soon after a write that it may be of the time before."""
        rows = self._run(f"SELECT {_LOCAL} FROM local WHERE is_racy")
        return [_local_node(row) for row in rows]

    def _mark_neighbours(self, left: LocalNode) -> None:
        """What could not be because of a node's name is looked at again when it leaves."""
        if left.parent_id is None:
            return
        key = name_key(left.name)
        for other in self.local_in_place(left.parent_id, key):
            self.mark_local(other.local_id)
        if (parent := self.synced_of_local(left.parent_id)) is not None:
            for item in self.remote_in_place(parent.item_id, key):
                self.mark_item(item.item_id)

    # Synced

    def synced(self, item_id: str) -> SyncedItem | None:
        row = self._run(f"SELECT {_SYNCED} FROM synced WHERE item_id = ?", (item_id,)).fetchone()
        return row and _synced_item(row)

    def synced_of_local(self, local_id: int) -> SyncedItem | None:
        row = self._run(f"SELECT {_SYNCED} FROM synced WHERE local_id = ?", (local_id,)).fetchone()
        return row and _synced_item(row)

    def synced_by_identity(self, signature: Signature) -> list[SyncedItem]:
        rows = self._run(
            f"SELECT {_SYNCED} FROM synced WHERE inode = ? AND birth_ns = ?", signature.identity
        )
        return [_synced_item(row) for row in rows]

    def put_synced(self, item: SyncedItem) -> None:
        """Both sides agree on this now; whatever was known of the item or the node goes."""
        for other in self._run(
            "SELECT item_id FROM synced WHERE local_id = ? AND item_id <> ?",
            (item.local_id, item.item_id),
        ).fetchall():
            self.drop_synced(other[0])
        before = self.synced(item.item_id)
        self._insert_synced(item)
        if before is not None and before.local_id != item.local_id:
            # The node that the item was until now stands for itself.
            self._run("DELETE FROM blocks WHERE item_id = ?", (item.item_id,))
            if self.local(before.local_id) is not None:
                self.mark_local(before.local_id)
        self._run("DELETE FROM dirty_locals WHERE local_id = ?", (item.local_id,))
        self.mark_item(item.item_id)

    def drop_synced(self, item_id: str) -> None:
        """Forget that an item and a node are one; each stands for itself now."""
        row = self._run("SELECT local_id FROM synced WHERE item_id = ?", (item_id,)).fetchone()
        if row is None:
            return
        self._run("DELETE FROM synced WHERE item_id = ?", (item_id,))
        self._run("DELETE FROM blocks WHERE item_id = ?", (item_id,))
        self.mark_item(item_id)
        if self._run("SELECT 1 FROM local WHERE local_id = ?", row).fetchone():
            self.mark_local(row[0])

    def synced_count(self, *, before_id: int | None = None) -> int:
        """Items that both sides have; with `before_id`, of nodes older than that one."""
        last = (1 << 62) if before_id is None else before_id
        rows = self._run("SELECT count(*) FROM synced WHERE local_id < ?", (last,))
        return int(rows.fetchone()[0]) - 1

    def _insert_synced(self, item: SyncedItem) -> None:
        self._run(
            f"INSERT OR REPLACE INTO synced ({_SYNCED})"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                item.item_id,
                item.local_id,
                item.parent_id,
                item.parent_local_id,
                item.name,
                item.is_folder,
                item.version_id,
                item.content_hash,
                item.size_bytes,
                item.mtime_ns,
                item.executable,
                item.signature.inode,
                item.signature.size_bytes,
                item.signature.mtime_ns,
                item.signature.ctime_ns,
                item.signature.birth_ns,
                item.signature.executable,
            ),
        )

    # Blocks of synced files

    def put_blocks(self, item_id: str, blocks: Sequence[BlockRef]) -> None:
        """Which blocks a file had when it was last sent or fetched."""
        self._run("DELETE FROM blocks WHERE item_id = ?", (item_id,))
        self.database.connection.executemany(
            "INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)",
            ((item_id, block.offset, block.block_hash) for block in blocks),
        )

    def places_of(self, block_hash: str) -> list[tuple[Path, int]]:
        """`ports.LocalBlocks`: a few files that had a block, with its offset."""
        rows = self._run(
            "SELECT synced.local_id, blocks.offset FROM blocks JOIN synced USING (item_id)"
            " JOIN local USING (local_id) WHERE block_hash = ? LIMIT 3",
            (block_hash,),
        )
        return [(self.path_of(local_id), offset) for local_id, offset in rows.fetchall()]

    # What has to be compared

    def mark_item(self, item_id: str) -> None:
        """Compare an item again. A problem of it is tried anew; a busy file keeps its pause."""
        self._run(f"INSERT INTO dirty_items VALUES (?, 0, NULL, NULL) {_REMARK}", (item_id,))

    def mark_local(self, local_id: int) -> None:
        """The same for a node, or for the item it is."""
        row = self._run("SELECT item_id FROM synced WHERE local_id = ?", (local_id,)).fetchone()
        if row is not None:
            self.mark_item(row[0])
        else:
            self._run(f"INSERT INTO dirty_locals VALUES (?, 0, NULL, NULL) {_REMARK}", (local_id,))

    def mark_everything(self) -> None:
        """Compare all there is again, except what waits for a moment of its own."""
        for table, source, key in (
            ("dirty_items", "remote", "item_id"),
            ("dirty_items", "synced", "item_id"),
            ("dirty_locals", "local", "local_id"),
        ):
            unsynced = " AND local_id NOT IN (SELECT local_id FROM synced)"
            self._run(
                f"INSERT INTO {table} SELECT {key}, 0, NULL, NULL FROM {source}"
                f" WHERE TRUE{unsynced if source == 'local' else ''} {_REMARK}"
            )

    def clear(self, *, item_ids: Sequence[str] = (), local_ids: Sequence[int] = ()) -> None:
        """These are the same everywhere, or nothing needs to be done about them."""
        run = self.database.connection.executemany
        run("DELETE FROM dirty_items WHERE item_id = ?", ((each,) for each in item_ids))
        run("DELETE FROM dirty_locals WHERE local_id = ?", ((each,) for each in local_ids))

    def postpone(
        self,
        *,
        item_id: str | None,
        local_id: int | None,
        due_ns: int,
        code: str | None = None,
        message: str | None = None,
    ) -> None:
        """Leave an entry alone until a moment, or until it changes; with a code, list it."""
        synced = self.synced_of_local(local_id) if item_id is None and local_id else None
        if synced is not None:
            item_id = synced.item_id
        if item_id is not None:
            self._run(
                "INSERT OR REPLACE INTO dirty_items VALUES (?, ?, ?, ?)",
                (item_id, due_ns, code, message),
            )
        else:
            self._run(
                "INSERT OR REPLACE INTO dirty_locals VALUES (?, ?, ?, ?)",
                (local_id, due_ns, code, message),
            )

    def retry_problems(self) -> None:
        """Try again now what was set aside, and listed, until some moment."""
        for table in ("dirty_items", "dirty_locals"):
            self._run(f"UPDATE {table} SET due_ns = 0 WHERE code IS NOT NULL AND due_ns > 0")

    def dirty_entries(self, *, now_ns: int, folders: bool) -> Iterator[Entry]:
        """What has to be compared now, either the folders or everything else.

        Read it to its end before writing.
        """
        remote = _qualified("remote", _REMOTE)
        local = _qualified("local", _LOCAL)
        synced = _qualified("synced", _SYNCED)
        rows = self.database.connection.cursor()
        rows.execute(
            f"SELECT {remote}, {local}, {synced}, dirty_items.item_id FROM dirty_items"
            " LEFT JOIN remote ON remote.item_id = dirty_items.item_id"
            " LEFT JOIN synced ON synced.item_id = dirty_items.item_id"
            " LEFT JOIN local ON local.local_id = synced.local_id"
            " WHERE due_ns <= ? AND coalesce(remote.is_folder, synced.is_folder, 0) = ?",
            (now_ns, folders),
        )
        for row in rows:
            item, rest = row[:_REMOTE_COLUMNS], row[_REMOTE_COLUMNS:]
            node, agreed = rest[:_LOCAL_COLUMNS], rest[_LOCAL_COLUMNS:-1]
            yield Entry(
                local=_local_node(node) if node[0] is not None else None,
                remote=_remote_item(item) if item[0] is not None else None,
                synced=_synced_item(agreed) if agreed[0] is not None else None,
            )
        rows.execute(
            f"SELECT {local} FROM dirty_locals CROSS JOIN local USING (local_id)"
            " WHERE due_ns <= ? AND (kind = 'folder') = ?",
            (now_ns, folders),
        )
        for row in rows:
            yield Entry(local=_local_node(row), remote=None, synced=None)

    def drop_stale_marks(self) -> None:
        """Forget marks of what is in no tree any more."""
        self._run(
            "DELETE FROM dirty_items WHERE NOT EXISTS"
            " (SELECT 1 FROM remote WHERE remote.item_id = dirty_items.item_id)"
            " AND NOT EXISTS (SELECT 1 FROM synced WHERE synced.item_id = dirty_items.item_id)"
        )
        self._run(
            "DELETE FROM dirty_locals WHERE NOT EXISTS"
            " (SELECT 1 FROM local WHERE local.local_id = dirty_locals.local_id)"
        )

    def is_settled(self) -> bool:
        """Whether nothing has to be compared and nothing is set aside."""
        return not self._any("dirty_items", "dirty_locals", "unreadable") and not (
            self._run(
                "SELECT 1 FROM local WHERE set_aside IS NOT NULL AND set_aside <> ? LIMIT 1",
                (IGNORED,),
            ).fetchone()
        )

    def is_open(self, local_id: int, item_id: str) -> bool:
        """Whether an entry of both sides is to be compared, could not be read, or was read so
        soon after a write that it may be of the time before."""
        row = self._run(
            "SELECT EXISTS (SELECT 1 FROM dirty_items WHERE item_id = ?)"
            " OR EXISTS (SELECT 1 FROM unreadable WHERE local_id = ?)"
            " OR EXISTS (SELECT 1 FROM local WHERE local_id = ? AND is_racy)",
            (item_id, local_id, local_id),
        ).fetchone()
        return bool(row[0])

    def count_due(self, *, now_ns: int) -> int:
        """How many entries are to be compared now."""
        row = self._run(
            "SELECT (SELECT count(*) FROM dirty_items WHERE due_ns <= ?)"
            " + (SELECT count(*) FROM dirty_locals WHERE due_ns <= ?)",
            (now_ns, now_ns),
        ).fetchone()
        return int(row[0])

    def has_busy_entries(self) -> bool:
        """Whether a file is left alone for a moment only, because somebody writes to it."""
        for table in ("dirty_items", "dirty_locals"):
            busy = f"SELECT 1 FROM {table} WHERE due_ns > 0 AND code IS NULL LIMIT 1"
            if self._run(busy).fetchone():
                return True
        return False

    def next_due_ns(self) -> int | None:
        """When the first postponed entry is due."""
        row = self._run(
            "SELECT min(due_ns) FROM (SELECT due_ns FROM dirty_items WHERE due_ns > 0"
            " UNION ALL SELECT due_ns FROM dirty_locals WHERE due_ns > 0)"
        ).fetchone()
        due_ns: int | None = row[0]
        return due_ns

    def _any(self, *tables: str) -> bool:
        return any(self._run(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in tables)


def local_path(connection: sqlite3.Connection, local_id: int) -> Path:
    """Where a node is. Raises KeyError if it, or a folder above it, is not in Local."""
    names: list[bytes] = []
    here: int | None = local_id
    while here is not None and here != ROOT_ID:
        row = connection.execute(
            "SELECT parent_id, name FROM local WHERE local_id = ?", (here,)
        ).fetchone()
        if row is None:
            raise KeyError(local_id)
        here, name = row
        names.append(name)
    return tuple(os.fsdecode(name) for name in reversed(names))


def remote_path(connection: sqlite3.Connection, item_id: str, root: RemoteRoot) -> Path:
    """Where an item is, from the linked folder (or, outside it, from the server's root)."""
    names: list[str] = []
    here: str | None = item_id
    while here is not None and here != root.folder_id and len(names) < 10_000:
        row = connection.execute(
            "SELECT parent_id, name FROM remote WHERE item_id = ?", (here,)
        ).fetchone()
        if row is None:
            break
        here = row[0]
        names.append(row[1])
    return tuple(reversed(names))


def _qualified(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column.strip()}" for column in columns.split(","))


def _remote_row(item: RemoteItem) -> tuple[object, ...]:
    return (
        item.item_id,
        item.parent_id,
        item.name,
        item.is_folder,
        item.rev,
        item.version_id,
        item.content_hash,
        item.size_bytes,
        item.mtime_ns,
        item.executable,
        item.is_damaged,
        name_key(item.name),
    )


def _remote_item(row: tuple) -> RemoteItem:  # type: ignore[type-arg]
    item_id, parent_id, name, is_folder, rev, version_id, content_hash, size, mtime = row[:9]
    return RemoteItem(
        item_id, parent_id, name, bool(is_folder), rev, version_id, content_hash, size, mtime,
        *map(bool, row[9:]),
    )  # fmt: skip


def _local_node(row: tuple) -> LocalNode:  # type: ignore[type-arg]
    local_id, parent_id, name, kind, inode, size, mtime, ctime, birth, runs, digest, aside = row
    return LocalNode(
        local_id,
        parent_id,
        os.fsdecode(name),
        _KINDS[kind],
        Signature(inode, size, mtime, ctime, birth, bool(runs)),
        digest,
        aside,
    )


def _synced_item(row: tuple) -> SyncedItem:  # type: ignore[type-arg]
    item_id, local_id, parent, parent_local, name, is_folder, version, digest, size = row[:9]
    item_mtime, item_runs, inode, signature_bytes, mtime, ctime, birth, runs = row[9:]
    return SyncedItem(
        item_id,
        local_id,
        parent,
        parent_local,
        name,
        bool(is_folder),
        version,
        digest,
        size,
        item_mtime,
        bool(item_runs),
        Signature(inode, signature_bytes, mtime, ctime, birth, bool(runs)),
    )

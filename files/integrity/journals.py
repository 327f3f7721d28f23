"""I3 and I5: a journal without gaps that tells of its namespace what the tables say.

The journal is read once, in order, and replayed into a table on disk, so memory is bounded
however long it is. Then the rows are held against it. All of it at one moment.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db.models import QuerySet

from drive_project.common.findings import Finding, one_moment
from files import journal
from files.models import Change, ChangeAction, File, FileStatus, Folder, ItemType, Mount, Namespace
from files.queries import standings

Row = TypeVar("Row", Folder, File, Mount)

ROWS_AT_ONCE = 500
# What an entry must say as the row does. What a later release added is not in old entries.
_TOLD = (
    "parent_folder_id",
    "name",
    "size_bytes",
    "content_hash",
    "current_version_id",
    "executable",
    "client_modified_ns",
    "rev",
    "deleted_at",
    "is_damaged",
)
_REPLAY = """
CREATE TABLE replay(
    item_id TEXT PRIMARY KEY, seq INTEGER, item_type TEXT, action TEXT,
    parent_id TEXT, is_live INTEGER, told TEXT
) WITHOUT ROWID;
CREATE INDEX by_parent ON replay(parent_id) WHERE is_live;
"""
_BELOW = """
WITH RECURSIVE below(item_id) AS (
    SELECT ?
    UNION
    SELECT r.item_id FROM replay r JOIN below ON r.parent_id = below.item_id WHERE r.is_live
)
UPDATE replay SET is_live = 0 WHERE item_id IN (SELECT item_id FROM below)
"""


class _Last(NamedTuple):
    """The last entry about an item, and whether it is live by the journal alone."""

    seq: int
    action: str
    is_live: bool
    told: dict[str, Any]


def check(namespace_id: UUID, checked: Counter[str]) -> Iterator[Finding]:
    """Gaps, and items of which the journal says something else than their rows."""
    with one_moment("default"), closing(sqlite3.connect("", isolation_level=None)) as replay:
        namespace = Namespace.objects.filter(pk=namespace_id).first()
        if namespace is None:
            return
        replay.executescript(_REPLAY)
        replay.execute("BEGIN")
        yield from _replay(namespace, replay, checked)
        yield from _compare_rows(namespace, replay)
        if namespace.oldest_seq == 1:
            yield from _vanished(replay)


def _replay(
    namespace: Namespace, replay: sqlite3.Connection, checked: Counter[str]
) -> Iterator[Finding]:
    """Read the journal into the table; on the way, say where it has a gap."""
    expected = namespace.oldest_seq
    changes = (
        Change.objects.filter(namespace=namespace)
        .order_by("seq")
        .values_list("seq", "action", "item_type", "item_id", "item")
    )
    for seq, action, item_type, item_id, item in changes.iterator(chunk_size=ROWS_AT_ONCE):
        checked["changes"] += 1
        if seq >= namespace.oldest_seq:
            if seq != expected:
                yield _gap(namespace, expected, seq - 1)
            expected = seq + 1
        _apply(replay, seq, action, item_type, str(item_id), item)
    if expected != namespace.head_seq + 1:
        yield _gap(namespace, expected, namespace.head_seq)


def _gap(namespace: Namespace, first: int, last: int) -> Finding:
    return Finding(
        "I3",
        "journal-gap",
        str(namespace.pk),
        f"the journal ends at {first - 1}, the head is {last}"
        if first > last
        else f"entries {first} to {last} are missing",
    )


def _apply(
    replay: sqlite3.Connection, seq: int, action: str, item_type: str, item_id: str, item: Any
) -> None:
    if action == ChangeAction.DELETE and item_type == ItemType.FOLDER:
        replay.execute(_BELOW, [item_id])
    told = {name: item[name] for name in _TOLD if name in item}
    replay.execute(
        "INSERT OR REPLACE INTO replay VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            item_id,
            seq,
            item_type,
            action,
            item.get("parent_folder_id"),
            action == ChangeAction.UPSERT,
            json.dumps(told),
        ],
    )


def _last_entries(replay: sqlite3.Connection, item_ids: Sequence[str]) -> dict[str, _Last]:
    marks = ", ".join("?" * len(item_ids))
    return {
        item_id: _Last(seq, action, bool(is_live), json.loads(told))
        for item_id, seq, action, is_live, told in replay.execute(
            "SELECT item_id, seq, action, is_live, told FROM replay "  # noqa: S608 - only marks
            f"WHERE item_id IN ({marks})",
            item_ids,
        )
    }


def _compare_rows(namespace: Namespace, replay: sqlite3.Connection) -> Iterator[Finding]:
    folders = Folder.objects.filter(namespace=namespace)
    files = File.objects.filter(namespace=namespace, status=FileStatus.UPLOADED).select_related(
        "current_version"
    )
    mounts = Mount.objects.filter(parent_folder__namespace=namespace)
    pages: Iterator[Sequence[Folder | File | Mount]] = chain(
        _pages(folders), _pages(files), _pages(mounts)
    )
    for page in pages:
        yield from _compare_page(namespace, page, replay)


def _pages(rows: QuerySet[Row]) -> Iterator[list[Row]]:
    page = list(rows.order_by("pk")[:ROWS_AT_ONCE])
    while page:
        yield page
        page = list(rows.filter(pk__gt=page[-1].pk).order_by("pk")[:ROWS_AT_ONCE])


def _compare_page(
    namespace: Namespace, items: Sequence[Folder | File | Mount], replay: sqlite3.Connection
) -> Iterator[Finding]:
    entries = _last_entries(replay, [str(item.pk) for item in items])
    standing = standings(
        item.parent_folder_id for item in items if item.parent_folder_id is not None
    )
    for item in items:
        last = entries.get(str(item.pk))
        if last is None:
            # An old entry may have been compacted away, and the row with its rev stays.
            if item.rev >= namespace.oldest_seq or namespace.oldest_seq == 1:
                yield _about(item, "no-entry", "the journal does not know it")
            continue
        if difference := _difference(item, last):
            yield _about(item, "entry-differs", f"entry {last.seq} says {difference}")
        if namespace.oldest_seq != 1 or isinstance(item, Mount):
            continue
        is_deleted = item.is_deleted
        above = item.parent_folder_id
        is_live = not is_deleted and (above is None or standing[above].is_live)
        if is_live != last.is_live:
            yield _about(
                item,
                "replay-differs",
                f"by the journal it is {'live' if last.is_live else 'gone'}, "
                f"by its row {'live' if is_live else 'gone'}",
            )


def _difference(item: Folder | File | Mount, last: _Last) -> str:
    """What the entry says otherwise than the row; "" where they agree."""
    if item.rev != last.seq:
        return f"nothing of rev {item.rev}"
    state = journal.state_of(item)
    return ", ".join(
        f"{name} {said!r}, the row {state[name]!r}"
        for name, said in last.told.items()
        if name in state and state[name] != said
    )


def _about(item: Folder | File | Mount, rule: str, detail: str) -> Finding:
    return Finding("I3", rule, str(item.pk), detail, item_id=item.pk)


def _vanished(replay: sqlite3.Connection) -> Iterator[Finding]:
    """Items that are live by a whole journal, and have no row at all."""
    last = ""
    while page := replay.execute(
        "SELECT item_id, item_type, told FROM replay WHERE is_live AND item_id > ? "
        "ORDER BY item_id LIMIT ?",
        [last, ROWS_AT_ONCE],
    ).fetchall():
        last = page[-1][0]
        there = {
            str(pk)
            for model in (Folder, File, Mount)
            for pk in model._default_manager.filter(
                pk__in=[UUID(item_id) for item_id, _, _ in page]
            ).values_list("pk", flat=True)
        }
        for item_id, item_type, told in page:
            if item_id not in there:
                yield Finding(
                    "I5",
                    "vanished",
                    item_id,
                    f"the {item_type} {json.loads(told).get('name')!r} was never deleted, "
                    "and is not there",
                )

"""Who lies above and below whom.

The tree is kept by parent pointers, so a move or a deletion writes one row however much lies
below. Reading pays for it with a recursive query, the same text on SQLite and PostgreSQL.
UNION (not UNION ALL) ends even on a cycle, which the writers never make.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from files.models import File, FileStatus, Folder

_ABOVE = """
WITH RECURSIVE above(folder_id, parent_folder_id) AS (
    SELECT folder_id, parent_folder_id FROM files_folder WHERE folder_id IN ({ids})
    UNION
    SELECT f.folder_id, f.parent_folder_id
    FROM files_folder f JOIN above ON f.folder_id = above.parent_folder_id
)
SELECT folder_id FROM above
"""
_BELOW = """
WITH RECURSIVE below(folder_id) AS (
    SELECT folder_id FROM files_folder WHERE {start}
    UNION
    SELECT f.folder_id
    FROM files_folder f JOIN below ON f.parent_folder_id = below.folder_id {condition}
)
"""
_ONLY_LIVE = "WHERE f.deleted_at IS NULL"
_FROM_ROOT = "namespace_id = %s AND parent_folder_id IS NULL"
# Begins a statement that reads the live folders of a namespace as `below`.
LIVE_IN_NAMESPACE = _BELOW.format(start=_FROM_ROOT, condition=_ONLY_LIVE)


class Standing(NamedTuple):
    """What a folder's own and its ancestors' rows say together."""

    is_live: bool
    is_purging: bool


GONE = Standing(is_live=False, is_purging=True)


def stored_id(identifier: UUID) -> Any:
    """An id as the database keeps it: native on PostgreSQL, 32 hex digits on SQLite."""
    return Folder._meta.pk.get_db_prep_value(identifier, connection)


def ancestors(folder_ids: Iterable[UUID]) -> dict[UUID, Folder]:
    """These folders and all above them, by id, in one query."""
    wanted = [stored_id(folder_id) for folder_id in set(folder_ids)]
    if not wanted:
        return {}
    sql = _ABOVE.format(ids=", ".join(["%s"] * len(wanted)))
    return {
        folder.pk: folder
        for folder in Folder.objects.filter(folder_id__in=RawSQL(sql, wanted))  # noqa: S611
    }


def lineage(folder_id: UUID | None, known: dict[UUID, Folder]) -> list[Folder]:
    """From a folder up to its root, out of what `ancestors` answered."""
    line: list[Folder] = []
    # Ends even on a circle, which only a broken database has.
    while (
        folder_id is not None
        and (folder := known.get(folder_id)) is not None
        and len(line) < len(known)
    ):
        line.append(folder)
        folder_id = folder.parent_folder_id
    return line


def standings(folder_ids: Iterable[UUID]) -> dict[UUID, Standing]:
    """For each folder: is it live, and is it (or one above it) being deleted for ever?

    A folder is live when neither it nor an ancestor is deleted.
    """
    wanted = set(folder_ids)
    known = ancestors(wanted)
    found = {}
    for folder_id in wanted:
        line = lineage(folder_id, known)
        found[folder_id] = (
            Standing(
                is_live=not any(folder.is_deleted for folder in line),
                is_purging=any(folder.is_purging for folder in line),
            )
            if line
            else GONE
        )
    return found


def standing_of(item: Folder | File) -> Standing:
    """The same for one item that was just read, its own row included."""
    above = (
        Standing(is_live=True, is_purging=False)
        if item.parent_folder_id is None
        else standings([item.parent_folder_id])[item.parent_folder_id]
    )
    return Standing(
        is_live=above.is_live and not item.is_deleted,
        is_purging=above.is_purging or item.is_purging,
    )


def is_live(item: Folder | File) -> bool:
    """Whether neither the item nor an ancestor is deleted. A pending file is not live."""
    if isinstance(item, File) and item.status != FileStatus.UPLOADED:
        return False
    return standing_of(item).is_live


def path_of(folder: Folder) -> list[Folder]:
    """The folders from the root of the namespace down to this one, in one query."""
    return lineage(folder.pk, ancestors([folder.pk]))[::-1]


def is_below(folder_id: UUID, top_id: UUID) -> bool:
    """Whether a folder is the other or lies below it."""
    return top_id in ancestors([folder_id])


def _below(start: str, start_id: UUID, *more: Any, only_live: bool) -> RawSQL:
    sql = _BELOW.format(start=start, condition=_ONLY_LIVE if only_live else "")
    sql += "SELECT folder_id FROM below"
    return RawSQL(sql, [stored_id(start_id), *more])  # noqa: S611 - our own text, values as parameters


_PURGING = "namespace_id = %s AND is_purging"


def purging_folders(namespace_id: UUID) -> QuerySet[Folder]:
    """All folders of a namespace that are being deleted for ever, with all below them."""
    return Folder.objects.filter(folder_id__in=_below(_PURGING, namespace_id, only_live=False))


def files_deleted_before(namespace_id: UUID, before: datetime) -> QuerySet[File]:
    """The files that go for ever with what was deleted before a moment, each once."""
    start = "namespace_id = %s AND deleted_at < %s AND NOT is_purging"
    stored_moment = Folder._meta.get_field("deleted_at").get_db_prep_value(before, connection)
    return File.objects.filter(
        Q(namespace=namespace_id, deleted_at__lt=before, is_purging=False)
        | Q(parent_folder_id__in=_below(start, namespace_id, stored_moment, only_live=False))
    )


def live_descendants(folder: Folder) -> tuple[QuerySet[Folder], QuerySet[File]]:
    """The folder and what lies below it without being deleted itself or below a deleted one.

    What is above the folder, and whether the folder is deleted, does not count: so this is
    what a deletion took and a restore brings back.
    """
    return live_below([folder.pk])


def live_below(folder_ids: Collection[UUID]) -> tuple[QuerySet[Folder], QuerySet[File]]:
    """The same for several folders together."""
    if not folder_ids:
        return Folder.objects.none(), File.objects.none()
    first, *more = folder_ids
    start = f"folder_id IN ({', '.join(['%s'] * len(folder_ids))})"
    below = _below(start, first, *map(stored_id, more), only_live=True)
    return (
        Folder.objects.filter(folder_id__in=below),
        File.objects.filter(
            parent_folder_id__in=below, deleted_at__isnull=True, status=FileStatus.UPLOADED
        ),
    )


def all_below(folder_id: UUID) -> tuple[QuerySet[Folder], QuerySet[File]]:
    """The folder and everything below it, deleted or not."""
    below = _below("folder_id = %s", folder_id, only_live=False)
    return Folder.objects.filter(folder_id__in=below), File.objects.filter(
        parent_folder_id__in=below, status=FileStatus.UPLOADED
    )

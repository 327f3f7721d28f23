"""Lists by keyset pages: the children of a folder, and the trash."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet

from drive_project.common.rendering import rfc3339
from files.models import File, FileStatus, Folder, ItemType, User
from files.queries.access import readable_namespaces
from files.queries.ancestry import ancestors, lineage

# Where a page ended: [type, value of the sort field, id]. A client carries it around sealed
# (`files.cursors`), so it comes back as it was made, and for the same list.
Place = list[str | int]


class Sort(StrEnum):
    """By what children are ordered. A folder has no size: by name then."""

    NAME = "name"
    MODIFIED = "modified"
    SIZE = "size"


_FIELDS = {Sort.NAME: "name_key", Sort.MODIFIED: "modified_at", Sort.SIZE: "size_bytes"}


class Children(NamedTuple):
    """A page of a folder's live children; `next_place` where more follow."""

    items: list[Folder | File]
    next_place: Place | None


class TrashedItem(NamedTuple):
    """A deleted item and the path at which it was, "/" in front.

    is_parent_live: whether the folder in which it was is still there to take it back.
    """

    item: Folder | File
    original_path: str
    is_parent_live: bool


class Trash(NamedTuple):
    """A page of the trash; `next_place` where more follow."""

    items: list[TrashedItem]
    next_place: Place | None


def children(
    folder: Folder,
    *,
    sort: Sort = Sort.NAME,
    descending: bool = False,
    place: Place | None = None,
    limit: int,
) -> Children:
    """The live children of a folder that was fetched for the caller: folders, then files.

    Stable under concurrent changes: an item that stays is seen once.
    """
    folder_field = _FIELDS[Sort.NAME if sort is Sort.SIZE else sort]
    file_field = _FIELDS[sort]
    kind, after = (ItemType.FOLDER, None) if place is None else (_kind(place), place)
    found: list[Folder | File] = []
    if kind is ItemType.FOLDER:
        folders = Folder.objects.filter(parent_folder=folder, deleted_at__isnull=True)
        found += _slice(folders, folder_field, descending, after, limit + 1)
        after = None
    if len(found) <= limit:
        files = File.objects.filter(
            parent_folder=folder, deleted_at__isnull=True, status=FileStatus.UPLOADED
        ).select_related("current_version")
        found += _slice(files, file_field, descending, after, limit + 1 - len(found))
    if len(found) <= limit:
        return Children(found, None)
    last = found[limit - 1]
    field = folder_field if isinstance(last, Folder) else file_field
    return Children(found[:limit], _place_of(last, field))


def neighbours(
    file: File, *, sort: Sort = Sort.NAME, descending: bool = False
) -> tuple[File | None, File | None]:
    """The files before and after one in the list of its folder, as `children` orders it."""
    field = _FIELDS[sort]
    files = File.objects.filter(
        parent_folder=file.parent_folder_id, deleted_at__isnull=True, status=FileStatus.UPLOADED
    )
    value = getattr(file, field)

    def beside(ahead: bool) -> File | None:
        way = "gt" if ahead else "lt"
        order = "" if ahead else "-"
        further = Q(**{f"{field}__{way}": value}) | Q(**{field: value, f"pk__{way}": file.pk})
        return files.filter(further).order_by(f"{order}{field}", f"{order}pk").first()

    return (beside(True), beside(False)) if descending else (beside(False), beside(True))


def trash(user: User, *, place: Place | None = None, limit: int) -> Trash:
    """What was deleted in the person's namespaces, the latest first.

    Without what lies below a deleted folder and what is being deleted for ever.
    """
    namespaces = readable_namespaces(user)
    found: list[Folder | File] = []
    rows: tuple[QuerySet[Folder], QuerySet[File]] = (
        Folder.objects.all(),
        File.objects.select_related("current_version"),
    )
    for queryset in rows:
        trashed = queryset.filter(
            namespace__in=namespaces, deleted_at__isnull=False, is_purging=False
        )
        found += _slice(trashed, "deleted_at", True, place, limit + 1)
    found.sort(key=lambda item: (item.deleted_at, item.pk), reverse=True)
    page = found[:limit]
    known = ancestors(item.parent_folder_id for item in page if item.parent_folder_id is not None)
    items = []
    for item in page:
        line = lineage(item.parent_folder_id, known)
        if not any(folder.is_purging for folder in line):
            names = [folder.name for folder in line[::-1]] + [item.name]
            is_parent_live = not any(folder.is_deleted for folder in line)
            items.append(TrashedItem(item, "/".join(names), is_parent_live))
    return Trash(items, _place_of(page[-1], "deleted_at") if len(found) > limit else None)


def _slice(
    rows: QuerySet[Any], field: str, descending: bool, after: Place | None, limit: int
) -> Sequence[Any]:
    """The next rows in the order of a field and, where it is equal, of the id."""
    key = rows.model._meta.pk.name
    if after is not None:
        value, item_id = _value(field, after[1]), _id(after[2])
        beyond = "lt" if descending else "gt"
        rows = rows.filter(
            Q(**{f"{field}__{beyond}": value}) | Q(**{field: value, f"{key}__{beyond}": item_id})
        )
    sign = "-" if descending else ""
    return list(rows.order_by(f"{sign}{field}", f"{sign}{key}")[:limit])


def _place_of(item: Folder | File, field: str) -> Place:
    value = getattr(item, field)
    kind = ItemType.FOLDER if isinstance(item, Folder) else ItemType.FILE
    return [kind.value, rfc3339(value) if isinstance(value, datetime) else value, item.pk.hex]


def _kind(place: Place) -> ItemType:
    return ItemType(str(place[0]))


def _id(stored: str | int) -> UUID:
    return UUID(hex=str(stored))


def _value(field: str, stored: str | int) -> str | int | datetime:
    """The value of a sort field as a place carries it."""
    return datetime.fromisoformat(str(stored)) if field.endswith("_at") else stored

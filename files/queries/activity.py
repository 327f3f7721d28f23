"""What happened lately, from the journal, as people read it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery

from files.models import Change, ChangeAction, Folder, ItemType, User, UserDevice
from files.queries.access import get_folder, readable_namespaces
from files.queries.ancestry import all_below, ancestors, lineage

# The row of an item is made a moment before its entry in the journal.
JUST_MADE = timedelta(minutes=1)


class What(StrEnum):
    """What became of an item. changed: its times or modes, or nothing older is kept."""

    ADDED = "added"
    EDITED = "edited"
    RENAMED = "renamed"
    MOVED = "moved"
    DELETED = "deleted"
    RESTORED = "restored"
    CHANGED = "changed"


class ActivityPlace(NamedTuple):
    """Where a page ended."""

    changed_at: datetime
    change: int


@dataclass(frozen=True, slots=True)
class Event:
    """A change with what it means. Paths begin with "/" and name the folders as they are now.

    old_path: for what was renamed or moved. place: the folder of the path, if that is live.
    device: None for what the server did by itself.
    """

    change: Change
    what: What
    path: str
    old_path: str | None
    place: Folder | None
    device: UserDevice | None


class Activity(NamedTuple):
    """Events, the newest first; next_place: where the next page begins after."""

    items: Sequence[Event]
    next_place: ActivityPlace | None


def activity_of(
    user: User,
    *,
    file_id: UUID | None = None,
    folder_id: UUID | None = None,
    device_id: UUID | None = None,
    after: ActivityPlace | None = None,
    limit: int,
) -> Activity:
    """What changed in all namespaces that the person can read.

    Only of a file, of what is (or was, when it was deleted) in a folder and below, or by a
    device. Raises NotFound for a folder that the person cannot read.
    """
    rows = Change.objects.filter(namespace__in=readable_namespaces(user)).exclude(
        # The root of a namespace is nobody's doing.
        Q(item_type=ItemType.MOUNT) | Q(item__parent_folder_id=None)
    )
    if file_id is not None:
        rows = rows.filter(item_id=file_id)
    if folder_id is not None:
        rows = rows.filter(_within(get_folder(user, folder_id)))
    if device_id is not None:
        rows = rows.filter(device_id=device_id)
    if after is not None:
        rows = rows.filter(
            Q(changed_at__lt=after.changed_at) | Q(changed_at=after.changed_at, pk__lt=after.change)
        )
    found = list(rows.order_by("-changed_at", "-pk")[: limit + 1])
    page = found[:limit]
    next_place = ActivityPlace(page[-1].changed_at, page[-1].pk) if len(found) > limit else None
    return Activity(_events(page), next_place)


def _within(folder: Folder) -> Q:
    folders, files = all_below(folder.pk)
    return Q(namespace=folder.namespace_id) & (
        Q(item_id__in=folders.values("pk")) | Q(item_id__in=files.values("pk"))
    )


def _events(page: Sequence[Change]) -> list[Event]:
    """With four queries, however many there are."""
    before = _states_before(page)
    known = ancestors(
        UUID(item["parent_folder_id"])
        for change in page
        for item in (change.item, before.get(change.pk, change).item)
        if item["parent_folder_id"] is not None
    )
    devices = UserDevice.objects.select_related("user").in_bulk(
        {change.device_id for change in page if change.device_id is not None}
    )
    events = []
    for change in page:
        old = before.get(change.pk)
        what = _what(change, old)
        line = lineage(UUID(change.item["parent_folder_id"]), known)
        is_elsewhere = what in (What.RENAMED, What.MOVED) and old is not None
        events.append(
            Event(
                change=change,
                what=what,
                path=_path(change.item, known),
                old_path=_path(old.item, known) if is_elsewhere and old is not None else None,
                place=line[0] if line and not any(each.is_deleted for each in line) else None,
                device=None if change.device_id is None else devices.get(change.device_id),
            )
        )
    return events


def _states_before(page: Iterable[Change]) -> dict[int, Change]:
    """By the id of a change the one before it about the same item, as far as it is kept."""
    earlier: QuerySet[Change] = Change.objects.filter(
        namespace=OuterRef("namespace"), item_id=OuterRef("item_id"), seq__lt=OuterRef("seq")
    ).order_by("-seq")
    pairs = dict(
        Change.objects.filter(pk__in=[change.pk for change in page])
        .annotate(earlier=Subquery(earlier.values("pk")[:1]))
        .filter(earlier__isnull=False)
        .values_list("pk", "earlier")
    )
    found = Change.objects.in_bulk(set(pairs.values()))
    return {pk: found[earlier_pk] for pk, earlier_pk in pairs.items()}


def _what(change: Change, old: Change | None) -> What:
    if change.action == ChangeAction.DELETE:
        return What.DELETED
    item = change.item
    if old is None:
        created_at = datetime.fromisoformat(item["created_at"])
        return What.ADDED if change.changed_at - created_at < JUST_MADE else What.CHANGED
    if old.action == ChangeAction.DELETE:
        return What.RESTORED
    if item.get("current_version_id") != old.item.get("current_version_id"):
        return What.EDITED
    if item["parent_folder_id"] != old.item["parent_folder_id"]:
        return What.MOVED
    return What.RENAMED if item["name"] != old.item["name"] else What.CHANGED


def _path(item: dict[str, Any], known: dict[UUID, Folder]) -> str:
    names = [folder.name for folder in lineage(UUID(item["parent_folder_id"]), known)]
    # The root has no name: so the path begins with "/".
    return "/".join([*names[::-1], item["name"]])

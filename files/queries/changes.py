"""The journal since a cursor, all live items of a namespace, and the digest of them."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from django.core.cache import cache
from django.db import connection
from django.db.models import Q

from files.journal import START, Position
from files.models import Change, File, FileStatus, Folder, ItemType, Namespace, User
from files.queries.access import get_namespace
from files.queries.ancestry import LIVE_IN_NAMESPACE, standings, stored_id

DIGEST_KEPT_SECONDS = 24 * 3600


class ResetReason(StrEnum):
    """Why a position cannot be continued from."""

    TOO_OLD = "too-old"
    AHEAD = "ahead"
    OTHER_HISTORY = "other-history"


class Reset(NamedTuple):
    """A namespace that has to be read anew, by a snapshot."""

    namespace_id: UUID
    reason: ResetReason


class ChangesPage(NamedTuple):
    """Entries of several journals, each in order, and the positions after them.

    A namespace that was reset keeps its old position: it is reset again until the caller
    brings the cursor of a snapshot.
    """

    entries: list[Change]
    resets: list[Reset]
    positions: dict[UUID, Position]
    has_more: bool


class SnapshotPlace(NamedTuple):
    """Where a snapshot is: the position fixed before its first page, and the last item."""

    position: Position
    item_type: ItemType
    last_id: UUID | None


class SnapshotPage(NamedTuple):
    """Live items by id; `next_place` where more follow, in any case the position."""

    items: list[Folder | File]
    next_place: SnapshotPlace | None
    position: Position


class Digest(NamedTuple):
    """SHA-256, hex, over the lines "ITEM_ID REV\\n" of all live items, at this head."""

    head_seq: int
    digest: str


def latest_positions(user: User) -> dict[UUID, Position]:
    """The head of each namespace that the person can read."""
    heads = {
        namespace.pk: namespace.head_seq
        for namespace in Namespace.objects.filter(memberships__user=user)
    }
    return _positions_at(heads)


def _positions_at(seqs: Mapping[UUID, int]) -> dict[UUID, Position]:
    """The position at each of these seqs; START where there is no such entry."""
    known = _change_ids(seqs)
    return {
        namespace_id: Position(seq, known[namespace_id]) if namespace_id in known else START
        for namespace_id, seq in seqs.items()
    }


def _change_ids(seqs: Mapping[UUID, int]) -> dict[UUID, UUID]:
    """For each namespace the change_id of its entry at a seq, where there is one."""
    wanted = Q(pk__in=[])
    for namespace_id, seq in seqs.items():
        wanted |= Q(namespace_id=namespace_id, seq=seq)
    return dict(Change.objects.filter(wanted).values_list("namespace_id", "change_id"))


def changes_since(user: User, positions: Mapping[UUID, Position], *, limit: int) -> ChangesPage:
    """What has happened in all of the person's namespaces after these positions.

    A namespace without a position starts at its beginning; positions in namespaces that the
    person cannot read are dropped.
    """
    namespaces = list(Namespace.objects.filter(memberships__user=user).order_by("pk"))
    current = {namespace.pk: positions.get(namespace.pk, START) for namespace in namespaces}
    known = _change_ids({key: place.seq for key, place in current.items() if place.seq > 0})
    entries: list[Change] = []
    resets: list[Reset] = []
    has_more = False
    for namespace in namespaces:
        position = current[namespace.pk]
        reason = _reset_reason(namespace, position, known.get(namespace.pk))
        if reason is not None:
            resets.append(Reset(namespace.pk, reason))
            continue
        if namespace.head_seq == position.seq:
            continue
        room = limit - len(entries)
        # One more than there is room for tells whether more follow.
        found = list(
            Change.objects.filter(namespace=namespace, seq__gt=position.seq).order_by("seq")[
                : room + 1
            ]
        )
        has_more = has_more or len(found) > room
        taken = found[:room]
        if taken:
            entries += taken
            current[namespace.pk] = Position(taken[-1].seq, taken[-1].change_id)
    return ChangesPage(entries, resets, current, has_more)


def _reset_reason(
    namespace: Namespace, position: Position, known: UUID | None
) -> ResetReason | None:
    if position.seq > namespace.head_seq:
        return ResetReason.AHEAD
    if position.seq < namespace.oldest_seq - 1:
        return ResetReason.TOO_OLD
    if position.seq == 0:
        return None
    if known is None:
        # The journal begins after it and keeps no trace of it.
        return ResetReason.TOO_OLD
    return None if known == position.change_id else ResetReason.OTHER_HISTORY


def snapshot(
    user: User, namespace_id: UUID, *, place: SnapshotPlace | None = None, limit: int
) -> SnapshotPage:
    """The next live items of a namespace by id, folders before files, the root included.

    Not one moment's picture: an item that changes between two pages may be seen old, new
    or not at all, and the changes after `position` set that right. Raises NotFound.
    """
    namespace = get_namespace(user, namespace_id)
    if place is None:
        # Fixed before anything is read.
        position = _positions_at({namespace.pk: namespace.head_seq})[namespace.pk]
        place = SnapshotPlace(position, ItemType.FOLDER, None)
    items: list[Folder | File] = []
    item_type, last_id = place.item_type, place.last_id
    seen = 0
    if item_type is ItemType.FOLDER:
        folders = Folder.objects.filter(namespace=namespace, deleted_at__isnull=True)
        if last_id is not None:
            folders = folders.filter(pk__gt=last_id)
        found_folders = list(folders.order_by("pk")[:limit])
        seen = len(found_folders)
        live = standings(folder.pk for folder in found_folders)
        items += [folder for folder in found_folders if live[folder.pk].is_live]
        if seen == limit:
            return SnapshotPage(
                items,
                SnapshotPlace(place.position, item_type, found_folders[-1].pk),
                place.position,
            )
        last_id = None
    files = File.objects.filter(
        namespace=namespace, deleted_at__isnull=True, status=FileStatus.UPLOADED
    ).select_related("current_version")
    if last_id is not None:
        files = files.filter(pk__gt=last_id)
    found_files = list(files.order_by("pk")[: limit - seen])
    live = standings(file.parent_folder_id for file in found_files)
    items += [file for file in found_files if live[file.parent_folder_id].is_live]
    if len(found_files) < limit - seen:
        return SnapshotPage(items, None, place.position)
    next_place = SnapshotPlace(place.position, ItemType.FILE, found_files[-1].pk)
    return SnapshotPage(items, next_place, place.position)


# In the order of ids, which is that of their texts; the head has none.
_DIGEST = f"""
{LIVE_IN_NAMESPACE}
SELECT NULL AS item_id, head_seq FROM files_namespace WHERE namespace_id = %s
UNION ALL
SELECT folder_id, rev FROM files_folder
WHERE folder_id IN (SELECT folder_id FROM below)
UNION ALL
SELECT file_id, rev FROM files_file
WHERE parent_folder_id IN (SELECT folder_id FROM below)
AND deleted_at IS NULL AND status = 'uploaded'
ORDER BY item_id
"""  # noqa: S608 - our own text
DIGEST_ROWS_AT_ONCE = 2_000


def tree_digest(user: User, namespace_id: UUID) -> Digest:
    """The digest of a namespace's tree, computed once for each head. Raises NotFound."""
    namespace = get_namespace(user, namespace_id)
    # The moment, too: a server restored from a backup may reach the same seq with another
    # tree while its cache was not restored.
    changed_at = namespace.last_changed_at
    moment = 0 if changed_at is None else int(changed_at.timestamp() * 1_000_000)
    key = f"digest:{namespace.pk.hex}:{namespace.head_seq}:{moment}"
    kept = cache.get(key)
    if kept is not None:
        return Digest(namespace.head_seq, kept)
    found = _digest_of(namespace)
    if found.head_seq == namespace.head_seq:
        cache.set(key, found.digest, timeout=DIGEST_KEPT_SECONDS)
    return found


def _digest_of(namespace: Namespace) -> Digest:
    """A few rows in memory at a time: a tree may have millions."""
    head_seq = namespace.head_seq
    digest = hashlib.sha256()
    # One statement sees one moment on both databases, head and items alike.
    with connection.chunked_cursor() as cursor:
        cursor.execute(_DIGEST, [stored_id(namespace.pk), stored_id(namespace.pk)])
        while rows := cursor.fetchmany(DIGEST_ROWS_AT_ONCE):
            for item_id, rev in rows:
                if item_id is None:
                    head_seq = rev
                else:
                    digest.update(f"{UUID(str(item_id))} {rev}\n".encode())
    return Digest(head_seq, digest.hexdigest())

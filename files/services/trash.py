"""Out of the trash: back into the tree, or away for ever."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.utils import timezone

from drive_project.common.errors import InvalidRequest, NotFound
from files import journal, queries
from files.journal import ROWS_AT_ONCE
from files.models import (
    ChangeAction,
    File,
    FileVersion,
    Folder,
    Namespace,
    UserDevice,
    VersionStatus,
)
from files.names import name_key
from files.services import purging
from files.services.locking import lock_account, lock_file, lock_folder, lock_namespaces

# Done before the answer; the rest of a large deletion is a background task's.
BATCHES_AT_ONCE = 4


def restore(
    *, device: UserDevice, item_id: UUID, parent_folder_id: UUID | None = None
) -> Folder | File:
    """Bring a deleted item back, and with a folder what its deletion took with it.

    What was deleted by itself below the folder stays in the trash. The item goes to
    `parent_folder_id`, else to where it was, else (that folder is not live any more) to the
    root; a taken name gets a counter. Each restored item has an entry in the journal,
    parents before their children. Raises NotFound for what is not in the trash.
    """
    with transaction.atomic(), journal.announced_together():
        namespace, item = _lock_trashed(device, item_id)
        parent = _place_for(device, item, parent_folder_id)
        item.name = queries.free_name(
            parent, item.name, is_folder=isinstance(item, Folder), besides=item.pk
        )
        item.name_key = name_key(item.name)
        item.parent_folder = parent
        item.deleted_at = None
        item.deleted_by_device = None
        item.save()
        journal.append(namespace, [(ChangeAction.UPSERT, item)], device=device)
        if isinstance(item, Folder):
            _append_all_below(namespace, item, device)
    return item


def _lock_trashed(device: UserDevice, item_id: UUID) -> tuple[Namespace, Folder | File]:
    """A deleted item that the device may write, under its namespace's lock."""
    item: Folder | File
    if Folder.objects.filter(pk=item_id).exists():
        namespace, item = lock_folder(device, item_id, live=False)
    else:
        namespace, item = lock_file(device, item_id, live=False)
    if not item.is_deleted:
        raise NotFound
    return namespace, item


def _place_for(device: UserDevice, item: Folder | File, parent_folder_id: UUID | None) -> Folder:
    if parent_folder_id is not None:
        # It is live, so it cannot lie below the item, which is not.
        parent = queries.get_folder(device.user, parent_folder_id, write=True)
        if parent.namespace_id != item.namespace_id:
            raise InvalidRequest("An item is restored within the folder that was shared.")
        return parent
    old_parent = item.parent_folder
    if old_parent is not None and queries.is_live(old_parent):
        return old_parent
    return Folder.objects.get(namespace=item.namespace_id, parent_folder__isnull=True)


def _append_all_below(namespace: Namespace, top: Folder, device: UserDevice) -> None:
    """An entry for each live item below a folder. Identifiers first: there may be many."""
    folders, files = queries.live_descendants(top)
    children: dict[UUID | None, list[UUID]] = {}
    for folder_id, parent_id in folders.values_list("pk", "parent_folder_id"):
        children.setdefault(parent_id, []).append(folder_id)
    ordered: list[UUID] = []
    level = [top.pk]
    while level:
        level = [child for folder_id in level for child in children.get(folder_id, [])]
        ordered += level
    _append_by_id(namespace, Folder.objects.all(), ordered, device)
    _append_by_id(
        namespace,
        File.objects.select_related("current_version"),
        list(files.values_list("pk", flat=True)),
        device,
    )


def _append_by_id(
    namespace: Namespace,
    rows: QuerySet[Folder] | QuerySet[File],
    item_ids: list[UUID],
    device: UserDevice,
) -> None:
    for start in range(0, len(item_ids), ROWS_AT_ONCE):
        some = item_ids[start : start + ROWS_AT_ONCE]
        found = rows.in_bulk(some)
        journal.append(
            namespace, [(ChangeAction.UPSERT, found[item_id]) for item_id in some], device=device
        )


def delete_for_ever(*, device: UserDevice, item_id: UUID) -> None:
    """Delete an item of the trash with all below it. It is gone from the trash at once.

    Its bytes leave the quota at once for a small item, else in the background. Raises
    NotFound for what is not in the trash.
    """
    with transaction.atomic():
        namespace, item = _lock_trashed(device, item_id)
        lock_account(namespace.owner_id)
        type(item)._default_manager.filter(pk=item.pk).update(is_purging=True)
        _begin_after_commit([namespace.pk])


def empty_trash(*, device: UserDevice) -> None:
    """The same for all of the trash that the person may write."""
    namespace_ids = queries.writable_namespaces(device.user)
    with transaction.atomic():
        _mark_deleted_before(namespace_ids, timezone.now())
        _begin_after_commit(namespace_ids)


class OldTrash(NamedTuple):
    """What is to go out of a namespace's trash: items deleted, and bytes of all below them."""

    owner_id: UUID
    namespace_id: UUID
    item_count: int
    size_bytes: int


def old_trash(*, now: datetime | None = None) -> Iterator[OldTrash]:
    """What has been in the trash for TRASH_RETENTION at a moment; nothing is changed."""
    before = (now or timezone.now()) - settings.TRASH_RETENTION
    for namespace in Namespace.objects.filter(pk__in=_with_old_trash(before)).order_by("pk"):
        versions = FileVersion.objects.filter(
            file__in=queries.files_deleted_before(namespace.pk, before),
            status=VersionStatus.COMMITTED,
        )
        yield OldTrash(
            owner_id=namespace.owner_id,
            namespace_id=namespace.pk,
            item_count=sum(
                _deleted_before(model, before).filter(namespace=namespace).count()
                for model in (Folder, File)
            ),
            size_bytes=versions.aggregate(sum=Sum("size_bytes"))["sum"] or 0,
        )


def expire_trash(*, now: datetime | None = None) -> None:
    """Delete for ever what has been in the trash for TRASH_RETENTION. Harmless to repeat."""
    before = (now or timezone.now()) - settings.TRASH_RETENTION
    # One at a time: nobody waits for somebody else's trash.
    for namespace_id in sorted(_with_old_trash(before)):
        with transaction.atomic():
            _mark_deleted_before([namespace_id], before)
        purging.purge(namespace_id)


def _with_old_trash(before: datetime) -> set[UUID]:
    """The namespaces in whose trash is something that was deleted before a moment."""
    namespace_ids: set[UUID] = set()
    for model in (Folder, File):
        namespace_ids.update(_deleted_before(model, before).values_list("namespace_id", flat=True))
    return namespace_ids


def _deleted_before(model: type[Folder] | type[File], before: datetime) -> QuerySet[Any]:
    return model._default_manager.filter(deleted_at__lt=before, is_purging=False)


def _mark_deleted_before(namespace_ids: Iterable[UUID], before: datetime) -> None:
    # An upload reserves under the account's lock: after this, none begins below what goes.
    namespaces = lock_namespaces(namespace_ids)
    for owner_id in sorted({namespace.owner_id for namespace in namespaces.values()}):
        lock_account(owner_id)
    for model in (Folder, File):
        _deleted_before(model, before).filter(namespace__in=namespaces).update(is_purging=True)


def _begin_after_commit(namespace_ids: Iterable[UUID]) -> None:
    def begin() -> None:
        for namespace_id in namespace_ids:
            purging.purge(namespace_id, batches=BATCHES_AT_ONCE)

    # Robust: what is marked is gone for everybody, and the periodic task does the rest.
    transaction.on_commit(begin, robust=True)

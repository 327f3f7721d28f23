"""To the trash: one row and one entry, whatever lies below."""

from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from drive_project.common.errors import InvalidRequest
from files import journal, queries
from files.journal import ROWS_AT_ONCE
from files.models import Change, ChangeAction, File, Folder, Namespace, UserDevice
from files.services.folders import live_folder_for
from files.services.locking import check_rev, lock_file, lock_folder
from files.services.moves import check_not_root


class DeletedFolder(NamedTuple):
    """A folder in the trash, and what was moved out of it before because it was unseen."""

    folder: Folder
    survivors: list[Folder | File]


def delete_file(*, device: UserDevice, file_id: UUID, rev: int) -> File:
    """Move a file to the trash. Raises StalePrecondition when it has changed since `rev`."""
    with transaction.atomic():
        namespace, file = lock_file(device, file_id)
        check_rev(file, rev)
        _mark_deleted(file, device)
        journal.append(namespace, [(ChangeAction.DELETE, file)], device=device)
    return file


def delete_folder(
    *, device: UserDevice, folder_id: UUID, rev: int, as_of_seq: int | None = None
) -> DeletedFolder:
    """Move a folder to the trash with all below it, except what the device had not seen.

    as_of_seq: the seq up to which the device had applied the namespace's changes, its own
    too. What was changed later and lies below the folder survives, each with all below it, in
    a new chain of live folders of the same names: also what the device itself changed, for
    the request may be one that it gave up on, and that arrives long after. In the journal
    the chain and the survivors come first and the folder last, so nothing that survives is
    ever taken away.
    Raises StalePrecondition, and InvalidRequest for a root or a seq that the journal no
    longer (or not yet) has.
    """
    with transaction.atomic():
        namespace, folder = lock_folder(device, folder_id)
        check_not_root(folder)
        check_rev(folder, rev)
        unseen = [] if as_of_seq is None else _unseen(namespace, folder, as_of_seq)
        # First, since a chain of live folders is made only in the stead of deleted ones,
        # and must be able to take their names.
        _mark_deleted(folder, device)
        survivors = _move_out(namespace, unseen, device)
        journal.append(
            namespace,
            [*((ChangeAction.UPSERT, item) for item in survivors), (ChangeAction.DELETE, folder)],
            device=device,
        )
    return DeletedFolder(folder, survivors)


def _mark_deleted(item: Folder | File, device: UserDevice) -> None:
    item.deleted_at = timezone.now()
    item.deleted_by_device = device.pk
    item.save(update_fields=["deleted_at", "deleted_by_device"])


def _unseen(namespace: Namespace, folder: Folder, as_of_seq: int) -> list[Folder | File]:
    """The highest live items below the folder that were changed after `as_of_seq`."""
    if not namespace.oldest_seq - 1 <= as_of_seq <= namespace.head_seq:
        raise InvalidRequest(
            f"as_of_seq is {as_of_seq}; the journal goes from {namespace.oldest_seq} "
            f"to {namespace.head_seq}.",
            errors={"as_of_seq": ["Outside the journal."]},
        )
    if as_of_seq == namespace.head_seq:
        return []
    subjects = Change.objects.filter(
        namespace=namespace, seq__gt=as_of_seq, action=ChangeAction.UPSERT
    ).values("item_id")
    folders, files = queries.live_descendants(folder)
    changed: list[Folder | File] = [
        *folders.filter(pk__in=subjects).exclude(pk=folder.pk).order_by("pk"),
        *files.filter(pk__in=subjects).select_related("current_version").order_by("pk"),
    ]
    known = queries.ancestors(
        item.parent_folder_id for item in changed if item.parent_folder_id is not None
    )
    surviving = {item.pk for item in changed}
    return [
        item
        for item in changed
        if not any(above.pk in surviving for above in queries.lineage(item.parent_folder_id, known))
    ]


def _move_out(
    namespace: Namespace, items: list[Folder | File], device: UserDevice
) -> list[Folder | File]:
    """Put each item into a live folder in the stead of its parent, which is deleted now."""
    by_parent: dict[UUID, list[Folder | File]] = {}
    for item in items:
        if item.parent_folder_id is None:
            raise AssertionError("a root lies below no folder")
        by_parent.setdefault(item.parent_folder_id, []).append(item)
    old_parents = Folder.objects.in_bulk(by_parent)
    now = timezone.now()
    for parent_id, children in by_parent.items():
        place = live_folder_for(namespace, old_parents[parent_id], device=device)
        for item in children:
            item.parent_folder, item.modified_at = place, now
        for model in (Folder, File):
            ids = [item.pk for item in children if isinstance(item, model)]
            for start in range(0, len(ids), ROWS_AT_ONCE):
                model._default_manager.filter(pk__in=ids[start : start + ROWS_AT_ONCE]).update(
                    parent_folder=place, modified_at=now
                )
    return items

"""The deletion for ever of what is marked `is_purging`, in batches, each its own transaction.

A crash between two batches leaves marked rows, which nobody sees and the next run takes.
The order in a batch: the Block Service is told by the outbox, the quota falls, rows go; all
in one transaction. A file goes before its folder, so nothing is ever without a parent.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from files import outbox, queries
from files.models import (
    File,
    FileStatus,
    FileVersion,
    Folder,
    PurgedUpload,
    StorageAccount,
    VersionStatus,
)
from files.services.locking import lock_account, lock_namespace

FILES_AT_ONCE = 200
FOLDERS_AT_ONCE = 500


def purge_all() -> None:
    """Finish every deletion for ever that has begun. For a periodic task; safe to repeat."""
    namespace_ids: set[UUID] = set()
    for model in (Folder, File):
        namespace_ids.update(
            model._default_manager.filter(is_purging=True).values_list("namespace_id", flat=True)
        )
    for namespace_id in sorted(namespace_ids):
        purge(namespace_id)


def purge(namespace_id: UUID, *, batches: int | None = None) -> bool:
    """Delete what is marked in a namespace, at most so many batches; whether all is gone."""
    done = 0
    while batches is None or done < batches:
        if not _purge_files(namespace_id) and not _purge_folders(namespace_id):
            return True
        done += 1
    return False


def _purge_files(namespace_id: UUID) -> bool:
    """One batch of files with all their versions; whether there were any."""
    with transaction.atomic():
        namespace = lock_namespace(namespace_id)
        account = lock_account(namespace.owner_id)
        file_ids = list(
            queries.purging_files(namespace_id).values_list("pk", flat=True)[:FILES_AT_ONCE]
        )
        if not file_ids:
            return False
        versions = FileVersion.objects.filter(file__in=file_ids)
        _remember_begun(versions.exclude(status=VersionStatus.COMMITTED))
        release_versions(account, versions)
        # A file protects its current version; so it lets go of it first.
        File.objects.filter(pk__in=file_ids).update(status=FileStatus.PENDING, current_version=None)
        versions.delete()
        File.objects.filter(pk__in=file_ids).delete()
    return True


def _remember_begun(versions: QuerySet[FileVersion]) -> None:
    """Their devices will ask: the answer is that each upload has to be begun again."""
    PurgedUpload.objects.bulk_create(
        PurgedUpload(file_version_id=version_id, device_id=device_id)
        for version_id, device_id in versions.values_list("pk", "device_id")
        if device_id is not None
    )


def release_versions(account: StorageAccount, versions: Iterable[FileVersion]) -> None:
    """Give back what these versions hold: bytes of the account (locked), blocks by the outbox.

    Committed content is kept BLOCK_GRACE longer; what was only begun goes at once. The
    caller deletes the rows, or changes their status, in the same transaction.
    """
    committed: list[UUID] = []
    pending: list[UUID] = []
    used = reserved = 0
    for version in versions:
        if version.status == VersionStatus.COMMITTED:
            committed.append(version.pk)
            used += version.size_bytes
        elif version.status == VersionStatus.PENDING:
            pending.append(version.pk)
            reserved += version.size_bytes
    StorageAccount.objects.filter(pk=account.pk).update(
        used_bytes=F("used_bytes") - used, reserved_bytes=F("reserved_bytes") - reserved
    )
    outbox.add_released(committed, timezone.now() + settings.BLOCK_GRACE)
    outbox.add_released(pending)


def _purge_folders(namespace_id: UUID) -> bool:
    """One batch of folders without files, the deepest first; whether there were any."""
    with transaction.atomic():
        lock_namespace(namespace_id)
        parents = dict(queries.purging_folders(namespace_id).values_list("pk", "parent_folder_id"))
        if not parents:
            return False
        deepest_first = _parents_first(parents)[::-1]
        Folder.objects.filter(pk__in=deepest_first[:FOLDERS_AT_ONCE]).delete()
    return True


def _parents_first(parents: Mapping[UUID, UUID | None]) -> list[UUID]:
    children: dict[UUID | None, list[UUID]] = {}
    for folder_id, parent_id in parents.items():
        children.setdefault(parent_id, []).append(folder_id)
    ordered = [folder_id for folder_id, parent_id in parents.items() if parent_id not in parents]
    for folder_id in ordered:  # grows while it is read: breadth first
        ordered += children.get(folder_id, [])
    return ordered

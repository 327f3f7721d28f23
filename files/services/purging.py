"""The deletion for ever of what is marked `is_purging`, in batches, each its own transaction.

A crash between two batches leaves marked rows, which nobody sees and the next run takes.
The order in a batch: the Block Service is told by the outbox, the quota falls, rows go; all
in one transaction. A file goes before its folder, so nothing is ever without a parent.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
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


def purge(namespace_id: UUID, *, batches: int | None = None) -> None:
    """Delete what is marked in a namespace, in at most so many batches."""
    for _ in islice(_purged_batches(namespace_id), batches):
        pass


def _purged_batches(namespace_id: UUID) -> Iterator[None]:
    """Does the next batch each time that it is asked, until all is gone."""
    # Looked up once: below what is marked nothing is begun, made or moved any more.
    parents = dict(queries.purging_folders(namespace_id).values_list("pk", "parent_folder_id"))
    deepest_first = _parents_first(parents)[::-1]
    alone = File.objects.filter(namespace=namespace_id, is_purging=True)
    while _purge_files(namespace_id, alone):
        yield
    for start in range(0, len(deepest_first), FOLDERS_AT_ONCE):
        folder_ids = deepest_first[start : start + FOLDERS_AT_ONCE]
        while _purge_files(namespace_id, File.objects.filter(parent_folder__in=folder_ids)):
            yield
        with transaction.atomic():
            lock_namespace(namespace_id)
            Folder.objects.filter(pk__in=folder_ids).delete()
        yield


def _purge_files(namespace_id: UUID, files: QuerySet[File]) -> bool:
    """One batch of these files, with all their versions; whether there were any."""
    with transaction.atomic():
        namespace = lock_namespace(namespace_id)
        account = lock_account(namespace.owner_id)
        file_ids = list(files.values_list("pk", flat=True)[:FILES_AT_ONCE])
        if not file_ids:
            return False
        versions = FileVersion.objects.filter(file__in=file_ids)
        _remember_begun(versions.exclude(status=VersionStatus.COMMITTED))
        release_versions(account, versions.only("status", "size_bytes"))
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


def _parents_first(parents: Mapping[UUID, UUID | None]) -> list[UUID]:
    children: dict[UUID | None, list[UUID]] = {}
    for folder_id, parent_id in parents.items():
        children.setdefault(parent_id, []).append(folder_id)
    ordered = [folder_id for folder_id, parent_id in parents.items() if parent_id not in parents]
    for folder_id in ordered:  # grows while it is read: breadth first
        ordered += children.get(folder_id, [])
    return ordered

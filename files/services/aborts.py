"""Uploads that will not be committed: given up by their device, refused, or too old.

`pending -> aborted` is a conditional update of one row under the account's lock, like
`pending -> committed`, so exactly one of them happens.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from drive_project.common.errors import InvalidRequest, NotFound
from files import outbox
from files.models import (
    File,
    FileStatus,
    FileVersion,
    IdempotencyRecord,
    PurgedUpload,
    UserDevice,
    VersionStatus,
)
from files.queries.many import purged_among, uploads_by_id
from files.services import quota
from files.services.locking import lock_account

# How long an upload that is over is remembered for the device that asks again.
REMEMBERED_FOR = timedelta(days=30)
VERSIONS_AT_ONCE = 500


def abort_upload(*, device: UserDevice, upload_id: UUID) -> None:
    """End an upload: what was set aside is free again. Nothing happens where it is over.

    Raises NotFound, and InvalidRequest for an upload that has become a version.
    """
    version = uploads_by_id(device, [upload_id]).get(upload_id)
    if version is None:
        if purged_among(device, [upload_id]):
            return
        raise NotFound
    with transaction.atomic():
        _abort(version.file.namespace.owner_id, [version.pk])
    version.refresh_from_db(fields=["status"])
    if version.status == VersionStatus.COMMITTED:
        raise InvalidRequest("This upload has been committed; delete the file instead.")


def withdraw(*, device: UserDevice, version: FileVersion, op_id: str) -> None:
    """Undo the beginning of an upload that was refused after all; its op_id is free again."""
    with transaction.atomic():
        _abort(version.file.namespace.owner_id, [version.pk])
        if op_id:
            IdempotencyRecord.objects.filter(device=device, key=op_id).delete()


def abort_pending(version_id: UUID) -> bool:
    """Abort an upload on nobody's behalf; whether it was pending."""
    version = FileVersion.objects.filter(pk=version_id).select_related("file__namespace").first()
    if version is None:
        return False
    with transaction.atomic():
        return _abort(version.file.namespace.owner_id, [version_id]) > 0


def abort_versions(owner_id: UUID, version_ids: Sequence[UUID]) -> None:
    """End what was begun together for one owner's namespaces and came to nothing."""
    for start in range(0, len(version_ids), VERSIONS_AT_ONCE):
        with transaction.atomic():
            _abort(owner_id, version_ids[start : start + VERSIONS_AT_ONCE])


def abort_expired() -> int:
    """Abort uploads that nobody committed in time; how many."""
    count = 0
    while expired := list(
        FileVersion.objects.filter(status=VersionStatus.PENDING, expires_at__lte=timezone.now())
        .order_by("expires_at")
        .values_list("pk", "file__namespace__owner_id")[:VERSIONS_AT_ONCE]
    ):
        for owner_id in sorted({owner_id for _, owner_id in expired}):
            with transaction.atomic():
                count += _abort(owner_id, [pk for pk, owner in expired if owner == owner_id])
    return count


def forget_old() -> int:
    """Delete what is left of uploads that were over long ago; how many.

    Also the files that never came to be because of it.
    """
    limit = timezone.now() - REMEMBERED_FOR
    PurgedUpload.objects.filter(purged_at__lt=limit).delete()
    over = FileVersion.objects.filter(
        status__in=(VersionStatus.ABORTED, VersionStatus.SAME), expires_at__lt=limit
    )
    count = 0
    while some := list(over.values_list("pk", "file_id")[:VERSIONS_AT_ONCE]):
        with transaction.atomic():
            FileVersion.objects.filter(pk__in=[pk for pk, _ in some]).delete()
            File.objects.filter(
                pk__in={file_id for _, file_id in some},
                status=FileStatus.PENDING,
                versions__isnull=True,
            ).delete()
        count += len(some)
    return count


def _abort(owner_id: UUID, version_ids: Sequence[UUID]) -> int:
    """Abort those of one owner's uploads that are still pending; how many.

    The account first, then the versions: the order in which a commit locks them.
    """
    account = lock_account(owner_id)
    pending = list(
        FileVersion.objects.select_for_update(no_key=True)
        .filter(pk__in=version_ids, status=VersionStatus.PENDING)
        .order_by("pk")
        .values_list("pk", "size_bytes")
    )
    if not pending:
        return 0
    aborted = [pk for pk, _ in pending]
    FileVersion.objects.filter(pk__in=aborted).update(status=VersionStatus.ABORTED)
    quota.release(account, sum(size_bytes for _, size_bytes in pending))
    quota.save(account)
    outbox.add_released(aborted)
    return len(pending)

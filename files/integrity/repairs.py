"""What `fsck --repair` may put right here: counts, and what the other side was not told.

Nothing that would cost a version or a file. Each repair decides anew, under the locks of
ordinary work.
"""

from uuid import UUID

from django.db import transaction
from django.db.models import F

from blocks.service import Settlement, get_block_service
from drive_project.common.findings import Finding
from files import outbox
from files.integrity.accounts import sum_of
from files.models import Conflict, FileVersion, StorageAccount, VersionStatus
from files.services import aborts
from files.services.locking import lock_account


def repair(finding: Finding) -> str | None:
    """What was done about a finding of `check`; None where nothing can or need be.

    Not of `list-unknown` and `list-committed-early`: whether those may be repaired is
    decided for all of them together.
    """
    match finding.rule:
        case "account":
            return _recount(UUID(finding.subject))
        case "list-not-told" | "list-elsewhere":
            return _tell_committed(UUID(finding.subject))
        case "list-not-released":
            return _tell_released(UUID(finding.subject))
        case "list-released-early":
            return _abort(UUID(finding.subject))
        case "upload-overdue":
            return "uploads that had expired were aborted" if aborts.abort_expired() else None
        case "conflict-elsewhere":
            return _forget_conflict(UUID(finding.subject))
        case "message-overdue":
            return "messages were delivered" if outbox.relay() else None
    return None


def _recount(owner_id: UUID) -> str | None:
    with transaction.atomic():
        # Whoever adds or takes away a version's bytes holds this lock.
        account = lock_account(owner_id)
        sums = StorageAccount.objects.annotate(
            used=sum_of(VersionStatus.COMMITTED), reserved=sum_of(VersionStatus.PENDING)
        ).get(pk=owner_id)
        if (sums.used, sums.reserved) == (account.used_bytes, account.reserved_bytes):
            return None
        StorageAccount.objects.filter(pk=owner_id).update(
            used_bytes=sums.used, reserved_bytes=sums.reserved
        )
    return f"used is {sums.used}, was {account.used_bytes}; reserved is {sums.reserved}"


def _forget_conflict(conflict_id: UUID) -> str | None:
    """Both files stay as they are; nobody can settle them against each other any more."""
    count, _ = (
        Conflict.objects.filter(pk=conflict_id)
        .exclude(file__namespace=F("namespace"), copy__namespace=F("namespace"))
        .delete()
    )
    return "forgotten; both files stay" if count else None


def _tell_committed(version_id: UUID) -> str | None:
    version = (
        FileVersion.objects.filter(pk=version_id, status=VersionStatus.COMMITTED)
        .values_list("file_id", "file__namespace_id")
        .first()
    )
    if version is None:
        return None
    file_id, namespace_id = version
    get_block_service().settle_versions(
        settlements=[Settlement(version_id, True, file_id, namespace_id)]
    )
    return "its list is told that it is committed, and where"


def _tell_released(version_id: UUID) -> str | None:
    over = FileVersion.objects.filter(
        pk=version_id, status__in=(VersionStatus.ABORTED, VersionStatus.SAME)
    )
    if not over.exists():
        return None
    get_block_service().settle_versions(settlements=[Settlement(version_id, False)])
    return "its list is released"


def _abort(version_id: UUID) -> str | None:
    """It cannot be committed any more; its device begins again."""
    return "aborted; its device begins it again" if aborts.abort_pending(version_id) else None

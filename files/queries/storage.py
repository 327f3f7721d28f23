"""Where a person's storage goes: for people who look at it, not for deciding anything."""

from dataclasses import dataclass

from django.db.models import Sum

from blocks.service import get_block_service
from drive_project.common.errors import ServiceUnavailable
from files.models import File, FileStatus, Folder, Namespace, StorageAccount
from files.queries.ancestry import live_below


@dataclass(frozen=True, slots=True)
class StorageParts:
    """Parts of what an account uses, in bytes.

    current: files that are there. trash: what was deleted and can come back. versions: older
    contents of either. saved: how much of the whole is stored once for many; None while the
    Block Service cannot say.
    """

    current_bytes: int
    trash_bytes: int
    versions_bytes: int
    saved_bytes: int | None

    @property
    def without_trash_bytes(self) -> int:
        return self.current_bytes + self.versions_bytes

    @property
    def total_bytes(self) -> int:
        return self.without_trash_bytes + self.trash_bytes


def storage_parts(account: StorageAccount) -> StorageParts:
    """What fills an account, counted when asked: by every file and block, so not for a list."""
    namespaces = list(Namespace.objects.filter(owner=account.owner_id).values_list("pk", flat=True))
    roots = Folder.objects.filter(namespace__in=namespaces, parent_folder__isnull=True)
    _, live = live_below(list(roots.values_list("pk", flat=True)))
    current = live.aggregate(total=Sum("size_bytes"))["total"] or 0
    shown = (
        File.objects.filter(namespace__in=namespaces, status=FileStatus.UPLOADED).aggregate(
            total=Sum("size_bytes")
        )["total"]
        or 0
    )
    try:
        space = get_block_service().space_used(namespaces=namespaces)
        saved = space.referenced_bytes - space.distinct_bytes
    except ServiceUnavailable:
        saved = None
    return StorageParts(
        current_bytes=current,
        trash_bytes=shown - current,
        # Counted at different moments: an upload in between must not make it negative.
        versions_bytes=max(0, account.used_bytes - shown),
        saved_bytes=saved,
    )

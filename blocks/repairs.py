"""What `fsck --repair` may put right here: counts, places and lists, never a byte.

Each repair locks what it changes and looks again under the lock, so it is as safe beside
work that goes on as without. What would cost a version is not here.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Sum
from django.utils import timezone

from blocks import objects, references
from blocks.gc import unknown_among
from blocks.models import (
    Block,
    BlockList,
    BlockProof,
    BlockUpload,
    CondemnedObject,
    FileVersionBlock,
    ListState,
    StoredObject,
)
from blocks.storage import ObjectStore, StoredFile
from blocks.transactions import block_transaction, outside_transactions
from drive_project.common.findings import Finding


@outside_transactions
def repair(finding: Finding, *, store: ObjectStore) -> str | None:
    """What was done about a finding of `reconcile.check`; None where nothing can or need be."""
    match finding.rule:
        case "reference-count":
            return _recount(finding.subject)
        case "live-bytes":
            return _recount_live_bytes(finding.subject)
        case "location-in-two-places":
            return _leave_one_place(finding.subject)
        case "proof-of-unverified":
            return _forget_proof(int(finding.subject))
        case "released-without-date":
            return _date_release(UUID(finding.subject))
        case "object-unknown":
            return _condemn(finding.subject, store)
    return None


def _recount(block_hash: str) -> str | None:
    with block_transaction():
        # Whoever writes a row of this block holds this lock.
        block = references.lock_blocks([block_hash]).get(block_hash)
        if block is None:
            return None
        count = FileVersionBlock.objects.filter(block_hash=block_hash).count()
        if count == block.reference_count:
            return None
        Block.objects.filter(pk=block_hash).update(reference_count=count)
    return f"reference_count is {count}, was {block.reference_count}"


def _recount_live_bytes(location: str) -> str | None:
    with block_transaction():
        here = Block.objects.filter(s3_location=location).values_list("pk", flat=True)
        # No block leaves while it is locked, and none ever comes.
        references.lock_blocks(here)
        stored = StoredObject.objects.select_for_update().filter(pk=location).first()
        if stored is None:
            return None
        live = (
            Block.objects.filter(s3_location=location).aggregate(total=Sum("size_bytes"))["total"]
            or 0
        )
        if not live:
            stored.delete()
            objects.condemn([(location, stored.size_bytes)], timezone.now())
            return "condemned, since no block is in it"
        if live == stored.live_bytes or live > stored.size_bytes:
            return None
        StoredObject.objects.filter(pk=location).update(live_bytes=live)
    return f"live_bytes is {live}, was {stored.live_bytes}"


def _leave_one_place(location: str) -> str | None:
    """What is in use stays; the row that would have it deleted, or doubts it, goes."""
    with block_transaction():
        upload = BlockUpload.objects.select_for_update().filter(s3_location=location).first()
        is_stored = StoredObject.objects.filter(pk=location).exists()
        if upload is not None and is_stored:
            # The proofs go on without bytes of their own: the stored block has them.
            BlockProof.objects.filter(upload=upload).update(upload=None)
            upload.delete()
            return "the upload row is gone, since the object is stored"
        if upload is None and not is_stored:
            return None
        count, _ = CondemnedObject.objects.filter(pk=location).delete()
    return "no longer condemned, since it is in use" if count else None


def _forget_proof(pk: int) -> str | None:
    with block_transaction():
        doomed = BlockProof.objects.filter(
            pk=pk, upload__isnull=False, upload__verified_at__isnull=True
        )
        count, _ = doomed.delete()
    return "forgotten; the device proves it again" if count else None


def _date_release(file_version_id: UUID) -> str | None:
    with block_transaction():
        count = BlockList.objects.filter(
            pk=file_version_id, state=ListState.RELEASED, released_at__isnull=True
        ).update(released_at=timezone.now())
    return "dated now" if count else None


def _condemn(location: str, store: ObjectStore) -> str | None:
    size_bytes = store.sizes([location]).get(location)
    if size_bytes is None:
        return None
    found = StoredFile(location, size_bytes, timezone.now())
    if not unknown_among([found]):
        return None
    with block_transaction():
        CondemnedObject.objects.bulk_create(
            [
                CondemnedObject(
                    s3_location=location,
                    size_bytes=size_bytes,
                    due_at=timezone.now() + objects.condemned_for(),
                )
            ],
            ignore_conflicts=True,
        )
    return "condemned; the collector deletes it when it is due"


@outside_transactions
def reopen(file_version_ids: Sequence[UUID]) -> int:
    """Make committed lists open again, since their versions are pending; how many.

    A server that was restored to an earlier moment has such: the commit came after the copy
    of the file metadata and before that of the block metadata.
    """
    with block_transaction():
        lists = references.lock_lists(file_version_ids)
        committed = [pk for pk, each in lists.items() if each.state == ListState.COMMITTED]
        return BlockList.objects.filter(pk__in=committed).update(state=ListState.OPEN)

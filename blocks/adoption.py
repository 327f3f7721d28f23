"""Adopt verified bytes: from an upload row to a stored object that blocks point to.

The newest verified copy of a block wins, since it was looked at last; where the block lay
before shrinks, and what holds no block any more is condemned.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from uuid import UUID

from django.utils import timezone

from blocks import objects, references
from blocks.models import (
    Block,
    BlockProof,
    BlockState,
    BlockUpload,
    FileVersionBlock,
    ListState,
    StoredObject,
)
from blocks.transactions import block_transaction, chunks
from blocks.uploads import contents

# Hashes whose proofs are looked up at a time; packs may bring in more blocks than these.
ADOPT_BATCH = 2_000


def adopt(device_id: UUID, file_version_ids: Collection[UUID]) -> None:
    """Give the blocks of these versions the bytes that the device sent and proved."""
    hashes = (
        FileVersionBlock.objects.filter(file_version_id__in=file_version_ids)
        .order_by("block_hash")
        .values_list("block_hash_id", flat=True)
        .distinct()
    )
    for batch in chunks(hashes.iterator(), ADOPT_BATCH):
        uploads = set(
            BlockProof.objects.filter(
                device_id=device_id, block_hash__in=batch, upload__isnull=False
            ).values_list("upload_id", flat=True)
        )
        if uploads:
            _adopt_uploads(device_id, file_version_ids, [pk for pk in uploads if pk])


def _adopt_uploads(
    device_id: UUID, file_version_ids: Collection[UUID], upload_ids: Sequence[UUID]
) -> None:
    now = timezone.now()
    # Its contents never change, so they may be read before the row is locked; the blocks
    # have to be locked first.
    wanted = {
        block_hash
        for batch in chunks(upload_ids)
        for upload in BlockUpload.objects.filter(pk__in=batch)
        for block_hash in contents(upload)
    }
    with block_transaction():
        lists = references.lock_lists(file_version_ids)
        if all(block_list.state == ListState.RELEASED for block_list in lists.values()):
            return
        blocks = references.lock_blocks(wanted)
        # A row that is gone was adopted or condemned by another call.
        uploads = [
            upload
            for batch in chunks(sorted(upload_ids))
            for upload in BlockUpload.objects.select_for_update()
            .filter(pk__in=batch, verified_at__isnull=False)
            .order_by("pk")
        ]
        left: Counter[str] = Counter()
        live: Counter[UUID] = Counter()
        places: dict[str, tuple[BlockUpload, int, int]] = {}
        for upload in sorted(uploads, key=lambda upload: (upload.verified_at, upload.pk)):
            for block_hash, (offset, size_bytes) in contents(upload).items():
                block = blocks.get(block_hash)
                if block is not None and block.reference_count:
                    places[block_hash] = (upload, offset, size_bytes)
        moved: list[Block] = []
        for block_hash, (upload, offset, size_bytes) in places.items():
            block = blocks[block_hash]
            if block.s3_location_id is not None:
                left[block.s3_location_id] += block.size_bytes or 0
            block.s3_location_id = upload.s3_location
            block.offset, block.size_bytes = offset, size_bytes
            block.state = BlockState.STORED
            live[upload.pk] += size_bytes
            moved.append(block)
        _release_uploads(device_id, uploads)
        StoredObject.objects.bulk_create(
            StoredObject(
                s3_location=upload.s3_location,
                size_bytes=upload.size_bytes,
                live_bytes=live[upload.pk],
                last_verified_at=upload.verified_at,
            )
            for upload in uploads
            if live[upload.pk]
        )
        Block.objects.bulk_create(
            moved,
            update_conflicts=True,
            unique_fields=["block_hash"],
            update_fields=["s3_location", "offset", "size_bytes", "state"],
        )
        objects.condemn(
            ((upload.s3_location, upload.size_bytes) for upload in uploads if not live[upload.pk]),
            now,
        )
        # Whether a stranger had one of the blocks must not show in what is done here.
        objects.shrink(left or objects.NOTHING, now)


def _release_uploads(device_id: UUID, uploads: Sequence[BlockUpload]) -> None:
    """Delete upload rows whose objects are stored or condemned from now on.

    Their proofs go on without bytes of their own, those that an open list still needs.
    """
    ids = [upload.pk for upload in uploads]
    hashes = set()
    for batch in chunks(ids):
        bare = (
            BlockProof.objects.select_for_update()
            .filter(upload__in=batch)
            .order_by("device_id", "block_hash")
        )
        hashes |= {(proof.device_id, proof.block_hash) for proof in bare}
        BlockProof.objects.filter(upload__in=batch).update(upload=None)
        BlockUpload.objects.filter(pk__in=batch).delete()
    references.forget_proofs(hashes)

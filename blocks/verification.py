"""Verify what has arrived: only then does a block count, and only for who sent it.

A store that enforces checksums has compared the bytes with the signed hash, so existence
and length suffice for a single block. From any other store, and for every pack, the object
is read once and each block hashed. Where the store would let a URL replace the bytes later,
what was hashed is written to a location for which no URL was ever signed, and only that
copy counts.
"""

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from blocks import objects
from blocks.locations import block_location, pack_location
from blocks.models import BlockProof, BlockUpload
from blocks.storage import ObjectStore
from blocks.transactions import block_transaction, chunks
from blocks.uploads import MAX_WAITING_PACKED_BLOCKS, contents, waiting_packs
from drive_project.common.ids import new_id

log = logging.getLogger(__name__)

# What is verified while a caller waits: objects to look at, bytes to read.
MAX_UNVERIFIED = 1_000
MAX_READ_BYTES = 64 * 1024 * 1024
# How long the server may take to write a copy before the collector gives it up.
COPY_LIFETIME = timedelta(hours=1)
# Results that are recorded in one transaction.
RECORD_BATCH = 500
# Packs whose contents are read from the database together.
PACKS_AT_ONCE = 20


@dataclass(slots=True)
class Allowance:
    """How much verification one call may still do."""

    objects: int
    read_bytes: int
    # Hashes whose uploads were left for another call.
    left: set[str] = field(default_factory=set)


def verify(
    *, store: ObjectStore, device_id: UUID, hashes: Collection[str], allowance: Allowance
) -> None:
    """Look at the device's uploads of these blocks; record proofs, condemn what is wrong.

    What the allowance does not cover is named in `allowance.left`. What has not arrived is
    left as it is.
    """
    waiting = _unverified(device_id, hashes)
    looked_at = waiting[: allowance.objects]
    allowance.objects -= len(looked_at)
    sizes = store.sizes([upload.s3_location for upload in looked_at])
    arrived = [upload for upload in looked_at if upload.s3_location in sizes]
    now: list[BlockUpload] = []
    for upload in arrived:
        cost = upload.size_bytes if _must_read(store, upload) else 0
        if cost > allowance.read_bytes:
            allowance.left |= contents(upload).keys() & set(hashes)
        else:
            allowance.read_bytes -= cost
            now.append(upload)
    for upload in waiting[len(looked_at) :]:
        allowance.left |= contents(upload).keys() & set(hashes)
    for batch in chunks(now, RECORD_BATCH):
        _verify_batch(store, batch, sizes)


def _unverified(device_id: UUID, hashes: Collection[str]) -> list[BlockUpload]:
    """The device's upload rows that may hold these blocks: single ones first, then packs."""
    wanted = set(hashes)
    found = [
        upload
        for batch in chunks(sorted(wanted))
        for upload in BlockUpload.objects.filter(
            device_id=device_id, sha256__in=batch, verified_at=None
        ).order_by("pk")
        if not upload.pack
    ]
    seen = 0
    for upload in waiting_packs(device_id).order_by("-created_at").iterator(PACKS_AT_ONCE):
        seen += upload.block_count
        if seen > 2 * MAX_WAITING_PACKED_BLOCKS:
            # Of older ones the URLs have expired; what they held is sent again.
            break
        if not wanted.isdisjoint(contents(upload)):
            found.append(upload)
    return found


def _must_read(store: ObjectStore, upload: BlockUpload) -> bool:
    return bool(upload.pack) or not store.enforces_checksums()


def _verify_batch(
    store: ObjectStore, uploads: Sequence[BlockUpload], sizes: Mapping[str, int]
) -> None:
    right: list[BlockUpload] = []
    wrong: list[BlockUpload] = []
    copies: dict[UUID, BlockUpload] = {}
    if not store.enforces_checksums():
        copies = _plan_copies(uploads)
    for upload in uploads:
        is_right = sizes[upload.s3_location] == upload.size_bytes
        if is_right and _must_read(store, upload):
            data = store.read(upload.s3_location)
            is_right = data is not None and _is_promised(upload, data)
            if is_right and data is not None and upload.pk in copies:
                store.write(copies[upload.pk].s3_location, data, sha256=upload.sha256)
        if not is_right:
            log.warning("Upload %s holds other bytes than announced.", upload.pk)
        (right if is_right else wrong).append(upload)
    _record(right, wrong, copies, timezone.now())


def _is_promised(upload: BlockUpload, data: bytes) -> bool:
    if len(data) != upload.size_bytes or hashlib.sha256(data).hexdigest() != upload.sha256:
        return False
    view = memoryview(data)
    return all(
        hashlib.sha256(view[offset : offset + size_bytes]).hexdigest() == block_hash
        for block_hash, (offset, size_bytes) in contents(upload).items()
    )


def _plan_copies(uploads: Sequence[BlockUpload]) -> dict[UUID, BlockUpload]:
    """Rows for the server's own copies, written before the copies are."""
    expires_at = timezone.now() + COPY_LIFETIME
    copies = {}
    for upload in uploads:
        copy_id = new_id()
        place = pack_location if upload.pack else block_location
        copies[upload.pk] = BlockUpload(
            upload_id=copy_id,
            s3_location=place(upload.sha256, copy_id),
            device_id=None,
            sha256=upload.sha256,
            size_bytes=upload.size_bytes,
            pack=upload.pack,
            block_count=upload.block_count,
            expires_at=expires_at,
        )
    with block_transaction():
        BlockUpload.objects.bulk_create(copies.values())
    return copies


def _record(
    right: Sequence[BlockUpload],
    wrong: Sequence[BlockUpload],
    copies: Mapping[UUID, BlockUpload],
    now: datetime,
) -> None:
    """Write the proofs of what was right, condemn what was wrong.

    An upload that another call has dealt with meanwhile is left to it, and the copy made
    of it is condemned.
    """
    with block_transaction():
        involved = [*right, *wrong, *copies.values()]
        rows = {
            row.pk: row
            for row in BlockUpload.objects.select_for_update()
            .filter(pk__in=[upload.pk for upload in involved])
            .order_by("pk")
        }

        def is_waiting(upload: BlockUpload) -> bool:
            return upload.pk in rows and rows[upload.pk].verified_at is None

        proofs: dict[tuple[UUID, str], BlockProof] = {}
        verified: list[BlockUpload] = []
        doomed = [upload for upload in wrong if is_waiting(upload)]
        used_copies: set[UUID] = set()
        for upload in right:
            if not is_waiting(upload):
                continue
            bytes_at = upload
            if upload.pk in copies:
                bytes_at = copies[upload.pk]
                if not is_waiting(bytes_at):
                    continue
                used_copies.add(bytes_at.pk)
                doomed.append(upload)
            verified.append(bytes_at)
            for proof in _proofs(upload, bytes_at, now):
                proofs[proof.device_id, proof.block_hash] = proof
        doomed += [
            copy for copy in copies.values() if copy.pk not in used_copies and is_waiting(copy)
        ]
        BlockUpload.objects.filter(pk__in=[upload.pk for upload in verified]).update(
            verified_at=now
        )
        BlockProof.objects.bulk_create(
            [proof for _, proof in sorted(proofs.items(), key=lambda entry: entry[0])],
            update_conflicts=True,
            unique_fields=["device_id", "block_hash"],
            update_fields=["upload", "offset", "size_bytes", "verified_at", "used_at"],
        )
        objects.condemn(((upload.s3_location, upload.size_bytes) for upload in doomed), now)
        BlockUpload.objects.filter(pk__in=[upload.pk for upload in doomed]).delete()


def _proofs(upload: BlockUpload, bytes_at: BlockUpload, now: datetime) -> Iterator[BlockProof]:
    if upload.device_id is None:
        raise ValueError("What the server wrote itself proves nothing about a device.")
    for block_hash, (offset, size_bytes) in contents(upload).items():
        yield BlockProof(
            device_id=upload.device_id,
            block_hash=block_hash,
            upload=bytes_at,
            offset=offset,
            size_bytes=size_bytes,
            verified_at=now,
            used_at=now,
        )

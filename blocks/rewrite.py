"""Rewrite packs of which most is dead: their live blocks move to a smaller object.

A block moves as an adoption moves it: the new location is an upload row before a byte is
written, and each row changes only if it still says what was copied. So whoever reads keeps
reading: rows name one object or the other, both whole, and the old one stays until every
URL for it has run out. A rewriter that is killed leaves an upload row, which expires.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from blocks import objects, references
from blocks.locations import block_location, for_the_log, pack_location
from blocks.models import Block, BlockState, BlockUpload, StoredObject
from blocks.storage import ObjectStore
from blocks.transactions import block_transaction
from drive_project.common.errors import ServiceUnavailable
from drive_project.common.ids import new_id

log = logging.getLogger(__name__)

# After so many that the store would not give, the rest waits for the next run.
MAX_FAILURES = 3
# How long the server may take to write the new object before the collector gives it up.
COPY_LIFETIME = timedelta(hours=1)
BATCH = 100
# Spelled as the index is: without a parameter, so that SQLite finds it.
IS_MOSTLY_DEAD = Q(size_bytes__gt=F("live_bytes") + F("live_bytes"))


@dataclass(frozen=True, slots=True)
class Living:
    """A stored block of a pack: `size_bytes` bytes from `offset`."""

    block_hash: str
    offset: int
    size_bytes: int


def mostly_dead() -> QuerySet[StoredObject]:
    """Objects less than half of which is alive, and that a rewrite can help.

    What holds damaged blocks only stays as it is, and so does an object in which a rewrite
    found wrong bytes (it has no `last_verified_at`): the scrub has to look at it first.
    """
    stored = Block.objects.filter(s3_location=OuterRef("pk"), state=BlockState.STORED)
    return StoredObject.objects.filter(
        Exists(stored), IS_MOSTLY_DEAD, last_verified_at__isnull=False
    )


@dataclass(slots=True)
class Rewritten:
    """Packs of which blocks moved, and objects that were condemned by it."""

    pack_count: int = 0
    condemned_object_count: int = 0


def rewrite_all(store: ObjectStore, *, limit: int | None = None) -> Rewritten:
    """Rewrite what is mostly dead, looking at so many objects at most.

    What the store does not give is left for the next time: deleting must not wait for it.
    """
    done = Rewritten()
    failures = 0
    for location in islice(_locations(), limit):
        try:
            rewrite(store, location, done)
        except ServiceUnavailable as error:
            log.warning("Object %s is rewritten later: %s", for_the_log(location), error)
            failures += 1
            if failures == MAX_FAILURES:
                break
    return done


def _locations() -> Iterator[str]:
    last = ""
    while batch := list(
        mostly_dead().filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]
    ):
        yield from batch
        last = batch[-1]


def rewrite(store: ObjectStore, location: str, done: Rewritten) -> None:
    """Move the live blocks of one object to a new one, and count it."""
    living = _living(location)
    found = _read(store, location, living)
    if len(found) < len(living):
        log.error("Object %s holds other bytes than its rows say.", for_the_log(location))
        StoredObject.objects.filter(pk=location).update(last_verified_at=None)
    if not found:
        return
    data = b"".join(content for _, content in found)
    moving = [block for block, _ in found]
    copy = _plan(moving, data)
    # The row first: a crash after the write must not leave an object that nothing knows.
    with block_transaction():
        copy.save(force_insert=True)
    store.write(copy.s3_location, data, sha256=copy.sha256)
    # Read back, whatever the store promises: the old copy is given up for this one.
    if store.read(copy.s3_location) != data:
        log.error("The copy of object %s does not read back.", for_the_log(location))
        return
    _move(location, moving, copy, done)


def _living(location: str) -> list[Living]:
    return [
        Living(block_hash, offset, size_bytes or 0)
        for block_hash, offset, size_bytes in Block.objects.filter(
            s3_location=location, state=BlockState.STORED
        )
        .order_by("offset")
        .values_list("block_hash", "offset", "size_bytes")
    ]


def _read(
    store: ObjectStore, location: str, living: Sequence[Living]
) -> list[tuple[Living, bytes]]:
    """Those of the blocks whose bytes are right, in one read."""
    if not living:
        return []
    start = living[0].offset
    end = max(block.offset + block.size_bytes for block in living)
    data = store.read(location, start=start, length=end - start) or b""
    found = []
    for block in living:
        content = data[block.offset - start : block.offset - start + block.size_bytes]
        if hashlib.sha256(content).hexdigest() == block.block_hash:
            found.append((block, content))
    return found


def _plan(moving: Sequence[Living], data: bytes) -> BlockUpload:
    upload_id = new_id()
    sha256 = hashlib.sha256(data).hexdigest()
    is_single = len(moving) == 1
    return BlockUpload(
        upload_id=upload_id,
        s3_location=(block_location if is_single else pack_location)(sha256, upload_id),
        device_id=None,
        sha256=sha256,
        size_bytes=len(data),
        pack=[] if is_single else [[*place] for place in _places(moving)],
        block_count=len(moving),
        expires_at=timezone.now() + COPY_LIFETIME,
    )


def _places(moving: Sequence[Living]) -> Iterator[tuple[str, int, int]]:
    """Where each block comes to lie: (hash, offset, size in bytes)."""
    end = 0
    for block in moving:
        yield block.block_hash, end, block.size_bytes
        end += block.size_bytes


def _move(location: str, moving: Sequence[Living], copy: BlockUpload, done: Rewritten) -> None:
    """Point each row to the copy that still says what was copied."""
    now = timezone.now()
    with block_transaction():
        blocks = references.lock_blocks(block.block_hash for block in moving)
        if not BlockUpload.objects.select_for_update().filter(pk=copy.pk).exists():
            # It took longer than its row lived; whoever removed that has condemned the copy.
            return
        moved: list[Block] = []
        for old, (block_hash, offset, _) in zip(moving, _places(moving), strict=True):
            block = blocks.get(block_hash)
            if (
                block is not None
                and block.state == BlockState.STORED
                and (block.s3_location_id, block.offset) == (location, old.offset)
            ):
                block.s3_location_id, block.offset = copy.s3_location, offset
                moved.append(block)
        BlockUpload.objects.filter(pk=copy.pk).delete()
        if moved:
            live_bytes = sum(block.size_bytes or 0 for block in moved)
            StoredObject.objects.create(
                s3_location=copy.s3_location,
                size_bytes=copy.size_bytes,
                live_bytes=live_bytes,
                last_verified_at=now,
            )
            Block.objects.bulk_create(
                moved,
                update_conflicts=True,
                unique_fields=["block_hash"],
                update_fields=["s3_location", "offset"],
            )
            condemned = objects.shrink({location: live_bytes}, now)
        else:
            # Removed, uploaded anew, or rewritten by another collector meanwhile.
            condemned = objects.condemn([(copy.s3_location, copy.size_bytes)], now)
    done.pack_count += bool(moved)
    done.condemned_object_count += condemned

"""The collector: what may be deleted, and when.

Nothing is deleted that a row could still name: a block goes when no version names it, an
object when no block points to it and every URL for it has run out, at its exact location.
A new upload of the same hash has another location, so it can never be hit. Every step is a
transaction of its own and can be killed and repeated anywhere, by several at once.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from blocks import holds, models, objects, references, rewrite
from blocks.locations import for_the_log
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
from blocks.transactions import block_transaction, chunks, outside_transactions
from blocks.uploads import contents

log = logging.getLogger(__name__)

BATCH = 1_000
# Packs name many blocks each, up to ten thousand.
UPLOAD_BATCH = 20
# Packs that one run of the periodic task looks at, so that it ends before its successor begins.
REWRITES_PER_RUN = 500
RELEASED_LISTS_KEPT = timedelta(days=30)
# Long enough for a device that gives an upload up to begin it anew with what it has sent.
IDLE_BYTES_KEPT = timedelta(hours=1)
COLLECTIONS_KEPT = timedelta(days=90)
# An object or a draft of which no row knows is none that is just being written.
UNKNOWN_KEPT = timedelta(days=1)

Row = TypeVar("Row", bound=Any)


@dataclass(slots=True)
class Collected:
    """What one run did, or would do (`blocks.forecast`)."""

    deleted_block_count: int = 0
    rewritten_pack_count: int = 0
    condemned_object_count: int = 0
    deleted_object_count: int = 0
    freed_bytes: int = 0


@outside_transactions
def collect(
    *, store: ObjectStore, grace: timedelta | None = None, rewrites: int | None = None
) -> Collected:
    """Delete what nothing names, rewrite packs that are mostly dead, and record the run.

    grace: how long after its condemnation an object is deleted; by default until no URL for
    it can be in use. With less, a transfer that is under way may break, never a stored file.
    rewrites: how many packs at most; None: all of them. While something is held (see
    blocks.holds), nothing is done, and a run that has begun ends early.
    """
    started_at = timezone.now()
    done = Collected()
    try:
        for step in (
            _release_what_is_left,
            lambda: _drop_blocks_at_zero(done),
            lambda: _forget_old_proofs(started_at),
            lambda: _condemn_dead_uploads(started_at, done),
            lambda: _rewrite(store, rewrites, done),
            lambda: _delete_due(store, due_before(timezone.now(), grace), done),
            lambda: _forget_old_records(started_at),
            lambda: _tidy(store, done),
        ):
            if holds.is_held():
                log.info("Nothing is collected while a backup is being made.")
                break
            step()
    finally:
        # Also of a run that the store ended: what it did before is done.
        models.Collection.objects.create(
            started_at=started_at,
            finished_at=timezone.now(),
            deleted_block_count=done.deleted_block_count,
            rewritten_pack_count=done.rewritten_pack_count,
            condemned_object_count=done.condemned_object_count,
            deleted_object_count=done.deleted_object_count,
            freed_bytes=done.freed_bytes,
        )
    if done.deleted_block_count or done.rewritten_pack_count or done.deleted_object_count:
        log.info(
            "Collected %d blocks; rewrote %d packs; deleted %d objects, %d bytes.",
            done.deleted_block_count,
            done.rewritten_pack_count,
            done.deleted_object_count,
            done.freed_bytes,
        )
    return done


def due_before(now: datetime, grace: timedelta | None) -> datetime:
    """The `due_at` up to which condemned objects go; see objects.condemn for how it is set."""
    return now if grace is None else now + objects.condemned_for() - grace


def _rewrite(store: ObjectStore, limit: int | None, done: Collected) -> None:
    rewritten = rewrite.rewrite_all(store, limit=limit)
    done.rewritten_pack_count += rewritten.pack_count
    done.condemned_object_count += rewritten.condemned_object_count


def _tidy(store: ObjectStore, done: Collected) -> None:
    done.freed_bytes += store.tidy(older_than=UNKNOWN_KEPT)


def _release_what_is_left() -> None:
    while released := references.unreleased_lists(BATCH):
        references.release_rows(released, limit=BATCH * BATCH)


def _blocks_at_zero() -> QuerySet[Block]:
    # The count decides; the rows are asked all the same, since a wrong count must not
    # cost anybody a block.
    return Block.objects.filter(
        ~Exists(FileVersionBlock.objects.filter(block_hash=OuterRef("pk"))), reference_count=0
    )


def _drop_blocks_at_zero(done: Collected) -> None:
    while True:
        with block_transaction():
            doomed = list(
                _blocks_at_zero().select_for_update(skip_locked=True).order_by("pk")[:BATCH]
            )
            gone: Counter[str] = Counter()
            for block in doomed:
                if block.s3_location_id is not None:
                    gone[block.s3_location_id] += block.size_bytes or 0
            Block.objects.filter(pk__in=[block.pk for block in doomed]).delete()
            done.condemned_object_count += objects.shrink(gone, timezone.now())
        done.deleted_block_count += len(doomed)
        if len(doomed) < BATCH:
            return


def _condemn_dead_uploads(now: datetime, done: Collected) -> None:
    last: UUID | None = None
    while True:
        with block_transaction():
            expired = BlockUpload.objects.filter(expires_at__lt=now)
            if last is not None:
                expired = expired.filter(pk__gt=last)
            batch = list(expired.select_for_update(skip_locked=True).order_by("pk")[:UPLOAD_BATCH])
            dead = dead_uploads(batch, now)
            BlockUpload.objects.filter(pk__in=[upload.pk for upload in dead]).delete()
            done.condemned_object_count += objects.condemn(
                [(upload.s3_location, upload.size_bytes) for upload in dead], now
            )
        if len(batch) < UPLOAD_BATCH:
            return
        last = batch[-1].pk


def dead_uploads(expired: Sequence[BlockUpload], now: datetime) -> list[BlockUpload]:
    """Those of these upload rows, their URLs expired, with which nobody can go on.

    Verified bytes live as long as their proofs; what may have arrived unseen, as long as an
    open upload of its device names one of its blocks.
    """
    proved = set(
        BlockProof.objects.filter(upload__in=[upload.pk for upload in expired])
        .exclude(pk__in=_old_proofs(now))
        .values_list("upload_id", flat=True)
    )
    unseen = [upload for upload in expired if upload.verified_at is None and upload.device_id]
    awaited: set[tuple[UUID | None, str]] = set()
    hashes = {block_hash for upload in unseen for block_hash in contents(upload)}
    for batch in chunks(sorted(hashes)):
        awaited.update(
            FileVersionBlock.objects.filter(
                block_hash__in=batch,
                file_version__state=ListState.OPEN,
                file_version__device_id__in={upload.device_id for upload in unseen},
            )
            .values_list("file_version__device_id", "block_hash_id")
            .distinct()
        )

    def is_dead(upload: BlockUpload) -> bool:
        if upload.verified_at is not None:
            return upload.pk not in proved
        return not any((upload.device_id, name) in awaited for name in contents(upload))

    return [upload for upload in expired if is_dead(upload)]


def _delete_due(store: ObjectStore, before: datetime, done: Collected) -> None:
    last = ""
    while True:
        batch = list(
            CondemnedObject.objects.filter(due_at__lte=before, pk__gt=last)
            .order_by("pk")
            .values_list("pk", flat=True)[:BATCH]
        )
        # Asked after the batch was read: what was condemned before a hold began is named by
        # no copy that began after it.
        if not batch or holds.is_held():
            return
        last = batch[-1]
        # Looked at once more: whatever a row would be served from is not deleted.
        in_use = _in_use(batch)
        for location in in_use:
            log.error("Object %s is condemned and in use; it is kept.", for_the_log(location))
        doomed = [location for location in batch if location not in in_use]
        store.delete_all(doomed)
        with block_transaction():
            # Counted by whoever removes the row, should two collectors run at once.
            gone = list(
                CondemnedObject.objects.select_for_update().filter(pk__in=doomed).order_by("pk")
            )
            CondemnedObject.objects.filter(pk__in=[each.pk for each in gone]).delete()
        done.deleted_object_count += len(gone)
        done.freed_bytes += sum(each.size_bytes for each in gone)


def _in_use(locations: Collection[str]) -> set[str]:
    # Uploads first: a location moves from there to the stored objects, never back.
    return set(
        BlockUpload.objects.filter(s3_location__in=locations).values_list("s3_location", flat=True)
    ) | set(StoredObject.objects.filter(pk__in=locations).values_list("pk", flat=True))


def _old_proofs(now: datetime) -> QuerySet[BlockProof]:
    kept: timedelta = max(timedelta(days=7), settings.UPLOAD_LIFETIME)
    in_use = FileVersionBlock.objects.filter(
        block_hash=OuterRef("block_hash"),
        file_version__state=ListState.OPEN,
        file_version__device_id=OuterRef("device_id"),
    )
    # Bytes that no open upload needs are nobody's to pay for.
    is_idle = Q(~Exists(in_use), upload__isnull=False, used_at__lt=now - IDLE_BYTES_KEPT)
    return BlockProof.objects.filter(Q(used_at__lt=now - kept) | is_idle)


def _forget_old_proofs(now: datetime) -> None:
    _delete_in_batches(lambda: _old_proofs(now).order_by("device_id", "block_hash"))


def _forget_old_records(now: datetime) -> None:
    rows = FileVersionBlock.objects.filter(file_version=OuterRef("pk"))
    _delete_in_batches(
        lambda: BlockList.objects.filter(
            ~Exists(rows), state=ListState.RELEASED, released_at__lt=now - RELEASED_LISTS_KEPT
        ).order_by("pk")
    )
    models.Collection.objects.filter(started_at__lt=now - COLLECTIONS_KEPT).delete()


def _delete_in_batches(rows: Callable[[], QuerySet[Row]]) -> None:
    while True:
        with block_transaction():
            doomed = list(
                rows().select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH]
            )
            rows().model._default_manager.filter(pk__in=doomed).delete()
        if len(doomed) < BATCH:
            return


@outside_transactions
def sweep(*, store: ObjectStore) -> int:
    """Condemn objects of which no row knows, once they are a day old; how many.

    A PUT that was slower than its URL and the row's life leaves such a one, and so does a
    restored database.
    """
    before = timezone.now() - UNKNOWN_KEPT
    old = (found for found in store.listing() if found.modified_at < before)
    count = 0
    for batch in chunks(old, BATCH):
        unknown = unknown_among(batch)
        with block_transaction():
            CondemnedObject.objects.bulk_create(
                [
                    CondemnedObject(
                        s3_location=found.location,
                        size_bytes=found.size_bytes,
                        due_at=timezone.now() + objects.condemned_for(),
                    )
                    for found in unknown
                ],
                ignore_conflicts=True,
            )
        count += len(unknown)
    if count:
        log.warning("%d objects were unknown; they will be deleted.", count)
    return count


def unknown_among(found: Sequence[StoredFile]) -> list[StoredFile]:
    """Those objects of the store that no table names."""
    locations = [each.location for each in found]
    # In the order in which a location moves, so none is missed on its way.
    known = _in_use(locations)
    known |= set(CondemnedObject.objects.filter(pk__in=locations).values_list("pk", flat=True))
    return [each for each in found if each.location not in known]

"""What a run of the collector would do at this moment, told without changing anything.

It follows the steps of `gc.collect` in their order, each on what the ones before it would
leave. What devices do between the forecast and the run is all that can make them differ;
drafts that broken transfers left on local disk are not looked for.
"""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from blocks import gc, holds, objects, rewrite
from blocks.gc import Collected
from blocks.models import (
    Block,
    BlockState,
    BlockUpload,
    CondemnedObject,
    FileVersionBlock,
    ListState,
    StoredObject,
)
from blocks.transactions import chunks


def forecast(*, grace: timedelta | None = None) -> Collected:
    """The counts that `gc.collect(grace=grace)` would answer now; nothing while held."""
    told = Collected()
    if holds.is_held():
        return told
    now = timezone.now()
    told.deleted_block_count = _doomed().count()
    condemned_bytes = _objects(told) + _uploads(told, now)
    due = CondemnedObject.objects.filter(due_at__lte=gc.due_before(now, grace))
    told.deleted_object_count = due.count()
    told.freed_bytes = due.aggregate(sum=Sum("size_bytes"))["sum"] or 0
    if now + objects.condemned_for() <= gc.due_before(now, grace):
        # What the run itself condemns is due at once.
        told.deleted_object_count += told.condemned_object_count
        told.freed_bytes += condemned_bytes
    return told


def _doomed() -> QuerySet[Block]:
    """Blocks that no version names, or only released ones."""
    rows = FileVersionBlock.objects.filter(block_hash=OuterRef("pk"))
    is_released = Q(file_version__state=ListState.RELEASED)
    of_released = FileVersionBlock.objects.filter(is_released).values("block_hash")
    return Block.objects.filter(
        ~Exists(rows.exclude(is_released)), Q(reference_count=0) | Q(pk__in=of_released)
    )


def _objects(told: Collected) -> int:
    """Count the objects that end up empty, or are written anew; the bytes of those that go."""
    doomed_in_it = _doomed().filter(s3_location=OuterRef("pk"))
    left_in_it = Block.objects.filter(s3_location=OuterRef("pk")).exclude(pk__in=_doomed())
    concerned = StoredObject.objects.filter(
        Q(pk__in=_doomed().filter(s3_location__isnull=False).values("s3_location"))
        | rewrite.IS_MOSTLY_DEAD
    ).annotate(
        lost_bytes=Coalesce(
            Subquery(
                doomed_in_it.values("s3_location").annotate(sum=Sum("size_bytes")).values("sum")
            ),
            0,
        ),
        keeps_stored=Exists(left_in_it.filter(state=BlockState.STORED)),
        keeps_damaged=Exists(left_in_it.filter(state=BlockState.DAMAGED)),
    )
    condemned_bytes = 0
    for found in concerned.iterator():
        left_bytes = found.live_bytes - found.lost_bytes
        is_rewritten = (
            found.keeps_stored
            and 2 * left_bytes < found.size_bytes
            and found.last_verified_at is not None
        )
        told.rewritten_pack_count += is_rewritten
        # A damaged block does not move, and keeps the old object.
        if left_bytes == 0 or (is_rewritten and not found.keeps_damaged):
            told.condemned_object_count += 1
            condemned_bytes += found.size_bytes
    return condemned_bytes


def _uploads(told: Collected, now: datetime) -> int:
    """Count the uploads with which nobody can go on; their bytes."""
    condemned_bytes = 0
    expired = BlockUpload.objects.filter(expires_at__lt=now).order_by("pk")
    for batch in chunks(expired.iterator(), gc.UPLOAD_BATCH):
        dead = gc.dead_uploads(batch, now)
        told.condemned_object_count += len(dead)
        condemned_bytes += sum(upload.size_bytes for upload in dead)
    return condemned_bytes

"""Numbers for the dashboard."""

from typing import Any

from django.db.models import Count, Sum

from blocks.models import (
    Block,
    BlockList,
    BlockState,
    Collection,
    CondemnedObject,
    FileVersionBlock,
    ListState,
    StoredObject,
)
from blocks.service import BlockStats, LastCollection


def stats() -> BlockStats:
    """Counted when asked; each number is a moment's, and they may be a moment apart."""
    stored = Block.objects.filter(reference_count__gt=0, s3_location__isnull=False).aggregate(
        count=Count("pk"), size_bytes=Sum("size_bytes")
    )
    objects = StoredObject.objects.aggregate(
        count=Count("pk"), size_bytes=Sum("size_bytes"), live_bytes=Sum("live_bytes")
    )
    condemned = _sum(CondemnedObject.objects.aggregate(size_bytes=Sum("size_bytes")))
    last = Collection.objects.order_by("-started_at").first()
    return BlockStats(
        block_count=stored["count"],
        referenced_bytes=_sum(FileVersionBlock.objects.aggregate(size_bytes=Sum("size_bytes"))),
        stored_bytes=_sum(stored),
        object_count=objects["count"],
        object_bytes=_sum(objects) + condemned,
        reclaimable_bytes=condemned + _sum(objects) - (objects["live_bytes"] or 0),
        open_upload_count=BlockList.objects.filter(state=ListState.OPEN).count(),
        damaged_count=Block.objects.filter(state=BlockState.DAMAGED).count(),
        last_collection=None
        if last is None
        else LastCollection(last.finished_at, last.deleted_object_count, last.freed_bytes),
    )


def _sum(row: dict[str, Any]) -> int:
    return row["size_bytes"] or 0

"""Numbers for the dashboard, and for whoever looks at their storage or their versions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

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
from blocks.service import (
    MAX_PAIRS_PER_CALL,
    BlockStats,
    LastCollection,
    SpaceUsed,
    VersionPair,
)
from drive_project.common.errors import InvalidRequest


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


def space_used(namespaces: Sequence[UUID]) -> SpaceUsed:
    """See `BlockService.space_used`."""
    rows = FileVersionBlock.objects.filter(
        file_version__namespace_id__in=namespaces, file_version__state=ListState.COMMITTED
    )
    return SpaceUsed(
        referenced_bytes=_sum(rows.aggregate(size_bytes=Sum("size_bytes"))),
        distinct_bytes=_sum(
            Block.objects.filter(pk__in=rows.values("block_hash")).aggregate(
                size_bytes=Sum("size_bytes")
            )
        ),
    )


def changed_block_counts(pairs: Sequence[VersionPair]) -> list[int]:
    """See `BlockService.changed_block_counts`."""
    if len(pairs) > MAX_PAIRS_PER_CALL:
        raise InvalidRequest(f"At most {MAX_PAIRS_PER_CALL} pairs of versions in one call.")
    rows = FileVersionBlock.objects.all()
    return [
        rows.filter(file_version_id=pair.file_version_id)
        .exclude(
            block_hash__in=rows.filter(file_version_id=pair.base_version_id).values("block_hash")
        )
        .count()
        for pair in pairs
    ]


def _sum(row: dict[str, Any]) -> int:
    return row["size_bytes"] or 0

"""What is recorded about versions, page by page: for comparing both databases, and for damage."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from django.db.models import QuerySet

from blocks.models import BlockList, BlockState, FileVersionBlock, ListState
from blocks.service import MAX_RECORDED_PER_CALL, RecordedState, RecordedVersion
from drive_project.common.errors import InvalidRequest


def recorded_ids(*, after: UUID | None, limit: int) -> list[UUID]:
    """See `BlockService.recorded_ids`."""
    return _page(BlockList.objects.exclude(state=ListState.RELEASED), after, limit)


def damaged_ids(*, after: UUID | None, limit: int) -> list[UUID]:
    """See `BlockService.damaged_ids`."""
    # From the few damaged blocks to their versions, not through all versions.
    hurt = FileVersionBlock.objects.filter(block_hash__state=BlockState.DAMAGED)
    return _page(
        BlockList.objects.filter(
            state=ListState.COMMITTED, pk__in=hurt.values("file_version_id").distinct()
        ),
        after,
        limit,
    )


def _page(lists: QuerySet[BlockList], after: UUID | None, limit: int) -> list[UUID]:
    if not 1 <= limit <= MAX_RECORDED_PER_CALL:
        raise InvalidRequest(f"A page has 1 to {MAX_RECORDED_PER_CALL} versions.")
    if after is not None:
        lists = lists.filter(pk__gt=after)
    return list(lists.order_by("pk").values_list("pk", flat=True)[:limit])


@dataclass(slots=True)
class _Sum:
    """Of the rows of one list, in order."""

    count: int = 0
    size_bytes: int = 0
    damaged: int = 0
    has_gap: bool = False
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


def recorded_versions(file_version_ids: Sequence[UUID]) -> list[RecordedVersion]:
    """See `BlockService.recorded_versions`."""
    if len(file_version_ids) > MAX_RECORDED_PER_CALL:
        raise InvalidRequest(f"At most {MAX_RECORDED_PER_CALL} versions in one call.")
    lists = BlockList.objects.in_bulk(file_version_ids)
    sums = _sums(list(lists))
    found = []
    for pk, block_list in lists.items():
        total = sums.get(pk, _Sum())
        found.append(
            RecordedVersion(
                file_version_id=pk,
                state=RecordedState(block_list.state),
                file_id=block_list.file_id,
                namespace_id=block_list.namespace_id,
                block_count=total.count,
                size_bytes=total.size_bytes,
                blocks_digest="" if total.has_gap else total.digest.hexdigest(),
                damaged_count=total.damaged,
            )
        )
    return found


def _sums(file_version_ids: Sequence[UUID]) -> dict[UUID, _Sum]:
    rows = (
        FileVersionBlock.objects.filter(file_version_id__in=file_version_ids)
        .order_by("file_version_id", "block_sequence_index")
        .values_list(
            "file_version_id",
            "block_sequence_index",
            "block_hash_id",
            "size_bytes",
            "block_hash__state",
        )
    )
    sums = {}
    for pk, group in groupby(rows.iterator(), key=itemgetter(0)):
        total = sums[pk] = _Sum()
        for _, index, block_hash, size_bytes, state in group:
            total.has_gap |= index != total.count
            total.count += 1
            total.size_bytes += size_bytes
            total.damaged += state == BlockState.DAMAGED
            total.digest.update(bytes.fromhex(block_hash))
    return sums

"""Give new versions the blocks of old ones: restoring and copying move no bytes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

from django.db.models import Count

from blocks import references
from blocks.models import BlockList, FileVersionBlock, ListState
from blocks.proofs import rows_of
from blocks.service import MAX_COPIES_PER_CALL, VersionCopy
from blocks.transactions import block_transaction
from drive_project.common.errors import InvalidRequest, NotFound

# Rows that are copied in one transaction.
BATCH = 5_000


def copy(copies: Sequence[VersionCopy]) -> None:
    """Copy the rows in batches: many short lists together, a long one by parts.

    A repeat goes on where the last call stopped. The new rows are `held`: the caller may
    read the sources. Raises NotFound when one of them is not readable (see downloads),
    UploadExpired when a new version was released.
    """
    if len(copies) > MAX_COPIES_PER_CALL:
        raise InvalidRequest(f"At most {MAX_COPIES_PER_CALL} versions in one call.")
    for group, row_count in _groups(copies):
        for start in range(0, max(row_count, 1), BATCH):
            with block_transaction():
                _copy_rows(group, start)


def _groups(copies: Sequence[VersionCopy]) -> Iterator[tuple[list[VersionCopy], int]]:
    """The copies in their order, so many together as one transaction takes; a longer one alone.

    With the length of the longest list of each group.
    """
    counts = dict(
        FileVersionBlock.objects.filter(file_version_id__in={c.source_version_id for c in copies})
        .values("file_version_id")
        .annotate(count=Count("block_sequence_index"))
        .order_by()
        .values_list("file_version_id", "count")
    )
    group: list[VersionCopy] = []
    total = longest = 0
    for each in copies:
        count = counts.get(each.source_version_id, 0)
        if group and total + count > BATCH:
            yield group, longest
            group, total, longest = [], 0, 0
        group.append(each)
        total += count
        longest = max(longest, count)
    if group:
        yield group, longest


def _copy_rows(copies: Sequence[VersionCopy], start: int) -> None:
    """Copy the rows [start, start + BATCH) of each."""
    targets = {each.version.file_version_id: each.source_version_id for each in copies}
    lists = references.open_lists([each.version for each in copies], besides=set(targets.values()))
    in_range = {
        "block_sequence_index__gte": start,
        "block_sequence_index__lt": start + BATCH,
    }
    _check_readable(lists, set(targets.values()), in_range)
    rows: dict[UUID, list[tuple[int, str, int]]] = {}
    found = FileVersionBlock.objects.filter(
        file_version_id__in=set(targets.values()), **in_range
    ).values_list("file_version_id", "block_sequence_index", "block_hash_id", "size_bytes")
    for source_id, index, block_hash, size_bytes in found:
        rows.setdefault(source_id, []).append((index, block_hash, size_bytes))
    there = set(
        FileVersionBlock.objects.filter(file_version_id__in=targets, **in_range).values_list(
            "file_version_id", "block_sequence_index"
        )
    )
    new = [
        FileVersionBlock(
            file_version_id=each.version.file_version_id,
            block_sequence_index=index,
            file_id=each.version.file_id,
            block_hash_id=block_hash,
            size_bytes=size_bytes,
            held=True,
        )
        for each in copies
        for index, block_hash, size_bytes in rows.get(each.source_version_id, ())
        if (each.version.file_version_id, index) not in there
    ]
    references.count_and_lock(Counter(row.block_hash_id for row in new))
    FileVersionBlock.objects.bulk_create(new)


def _check_readable(
    lists: dict[UUID, BlockList], source_ids: set[UUID], in_range: dict[str, int]
) -> None:
    open_ids = []
    for source_id in source_ids:
        source = lists.get(source_id)
        if source is None or source.state == ListState.RELEASED:
            raise NotFound(file_version_id=str(source_id))
        if source.state == ListState.OPEN:
            open_ids.append(source_id)
    unready = rows_of(open_ids).filter(is_ready=False, **in_range).first() if open_ids else None
    if unready is not None:
        raise NotFound(file_version_id=str(unready.file_version_id))

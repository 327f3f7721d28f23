"""Give a new version the blocks of an old one: restoring moves no bytes."""

from collections import Counter
from uuid import UUID

from blocks import references
from blocks.models import BlockList, FileVersionBlock, ListState
from blocks.proofs import rows_of
from blocks.service import NewVersion
from blocks.transactions import block_transaction
from drive_project.common.errors import NotFound

# Rows that are copied in one transaction.
BATCH = 5_000


def copy(*, source_version_id: UUID, version: NewVersion) -> None:
    """Copy the rows in batches; a repeat goes on where the last call stopped.

    The new rows are `held`: the caller may read the source. Raises NotFound when the source
    is not readable (see downloads), UploadExpired when the new version was released.
    """
    index = 0
    while True:
        with block_transaction():
            lists = references.open_lists([version], besides=[source_version_id])
            source = lists.get(source_version_id)
            if source is None or source.state == ListState.RELEASED:
                raise NotFound(file_version_id=str(source_version_id))
            copied = _copy_rows(source, version, index)
        if copied < BATCH:
            return
        index += BATCH


def _copy_rows(source: BlockList, version: NewVersion, index: int) -> int:
    """Copy the rows [index, index + BATCH); how many the source has there."""
    in_range = {
        "block_sequence_index__gte": index,
        "block_sequence_index__lt": index + BATCH,
    }
    rows = rows_of([source.pk]).filter(**in_range)
    if source.state == ListState.OPEN and rows.filter(is_ready=False).exists():
        raise NotFound(file_version_id=str(source.pk))
    there = set(
        FileVersionBlock.objects.filter(
            file_version_id=version.file_version_id, **in_range
        ).values_list("block_sequence_index", flat=True)
    )
    found = list(rows.values_list("block_sequence_index", "block_hash_id", "size_bytes"))
    new = [row for row in found if row[0] not in there]
    references.count_and_lock(Counter(block_hash for _, block_hash, _ in new))
    FileVersionBlock.objects.bulk_create(
        FileVersionBlock(
            file_version_id=version.file_version_id,
            block_sequence_index=block_index,
            file_id=version.file_id,
            block_hash_id=block_hash,
            size_bytes=size_bytes,
            held=True,
        )
        for block_index, block_hash, size_bytes in new
    )
    return len(found)

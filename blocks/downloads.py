"""Signed GETs for versions, and the bytes of a version for those who cannot put blocks together.

What may be read is a committed list. The File Service's word that a version is committed
may still be under way when somebody downloads it, so an open list counts too, as far as its
device held or proved each block: what a commit asks for.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from blocks import proofs
from blocks.models import BlockList, BlockState, FileVersionBlock, ListState
from blocks.service import (
    MAX_BLOCKS_PER_CALL,
    BlockDownload,
    Downloads,
    Source,
    VersionDownload,
    VersionRange,
)
from blocks.storage import ObjectStore
from drive_project.common.errors import InvalidRequest, NotFound, ServiceUnavailable

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

log = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
# Rows that are read at a time while streaming.
PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Placed:
    """A block of a version and where its bytes are."""

    index: int
    block_hash: str
    size_bytes: int
    location: str
    offset: int
    object_bytes: int


def downloads(*, store: ObjectStore, ranges: Sequence[VersionRange]) -> Downloads:
    """The ranges' blocks and the GETs they share; at most MAX_BLOCKS_PER_CALL blocks.

    Ranges that no longer fit come back empty, with their start as `next_index`. Raises
    NotFound for what is not readable.
    """
    for each in ranges:
        if each.start_index < 0 or each.limit < 1:
            raise InvalidRequest("start_index is at least 0, limit at least 1.")
    lists = _readable_lists([each.file_version_id for each in ranges])
    left = MAX_BLOCKS_PER_CALL
    found: list[list[Placed]] = []
    nexts: list[int | None] = []
    for each in ranges:
        limit = min(each.limit, left)
        # One more tells whether any follow.
        blocks = _placed(
            lists[each.file_version_id], each.start_index, each.start_index + limit + 1
        )
        nexts.append(each.start_index + limit if len(blocks) > limit else None)
        found.append(blocks[:limit])
        left -= len(found[-1])
    places, sources = _sources(store, [block for blocks in found for block in blocks])
    return Downloads(
        versions=tuple(
            VersionDownload(
                each.file_version_id,
                tuple(
                    BlockDownload(
                        block.index,
                        block.block_hash,
                        block.size_bytes,
                        *places[block.location, block.offset],
                    )
                    for block in blocks
                ),
                next_index,
            )
            for each, blocks, next_index in zip(ranges, found, nexts, strict=True)
        ),
        sources=tuple(sources),
    )


def _readable_lists(file_version_ids: Sequence[UUID]) -> dict[UUID, BlockList]:
    lists = BlockList.objects.exclude(state=ListState.RELEASED).in_bulk(file_version_ids)
    for pk in file_version_ids:
        if pk not in lists:
            raise NotFound(file_version_id=str(pk))
    return lists


def _check(
    block_list: BlockList, rows: "QuerySet[WithAnnotations[FileVersionBlock, proofs.Answers]]"
) -> None:
    """Raises NotFound where one of these rows of the list is not readable."""
    may_read = Q(is_ready=True)
    if block_list.state == ListState.COMMITTED:
        # A damaged block too: whoever reads it checks the hash, and keeps the others.
        may_read |= ~Q(block_hash__state=BlockState.AWAITED)
    if rows.exclude(may_read).exists():
        raise NotFound(file_version_id=str(block_list.pk))


def _placed(block_list: BlockList, start_index: int, end_index: int) -> list[Placed]:
    """The blocks of a range with their places. Raises NotFound where one is not readable."""
    rows = proofs.rows_of([block_list.pk]).filter(
        block_sequence_index__gte=start_index, block_sequence_index__lt=end_index
    )
    _check(block_list, rows)
    return [
        Placed(*row)
        for row in rows.order_by("block_sequence_index").values_list(
            "block_sequence_index",
            "block_hash_id",
            "size_bytes",
            "block_hash__s3_location_id",
            "block_hash__offset",
            "block_hash__s3_location__size_bytes",
        )
    ]


def _sources(
    store: ObjectStore, blocks: Sequence[Placed]
) -> tuple[dict[tuple[str, int], tuple[int, int]], list[Source]]:
    """One GET for each run of neighbours; for each block its source and offset in it.

    A run never covers a byte of a block that was not asked for: the others in a pack may
    be a stranger's.
    """
    now = timezone.now()
    runs: list[tuple[str, int, int, int]] = []
    places: dict[tuple[str, int], tuple[int, int]] = {}
    distinct = {(block.location, block.offset): block for block in blocks}
    for (location, offset), block in sorted(distinct.items(), key=lambda entry: entry[0]):
        end = offset + block.size_bytes
        if runs and runs[-1][0] == location and runs[-1][2] == offset:
            runs[-1] = (location, runs[-1][1], end, block.object_bytes)
        else:
            runs.append((location, offset, end, block.object_bytes))
        places[location, offset] = (len(runs) - 1, offset - runs[-1][1])
    sources = []
    for location, start, end, object_bytes in runs:
        is_whole = (start, end) == (0, object_bytes)
        request = store.sign_get(
            location,
            now=now,
            lifetime=settings.DOWNLOAD_URL_LIFETIME,
            start=None if is_whole else start,
            length=None if is_whole else end - start,
        )
        sources.append(Source(request, end - start))
    return places, sources


def stream(
    *, store: ObjectStore, file_version_id: UUID, start: int, length: int
) -> Iterator[bytes]:
    """The bytes [start, start + length) of a version. Raises NotFound at once, not later."""
    if start < 0 or length < 0:
        raise InvalidRequest("start and length are at least 0.")
    block_list = _readable_lists([file_version_id])[file_version_id]
    if block_list.state == ListState.OPEN:
        _check(block_list, proofs.rows_of([file_version_id]))
    return _pieces(store, block_list, start, start + length)


def _pieces(store: ObjectStore, block_list: BlockList, start: int, end: int) -> Iterator[bytes]:
    for position, block in _blocks_between(block_list, start, end):
        first = max(start - position, 0)
        last = min(end - position, block.size_bytes)
        if first >= last:
            continue
        data = store.read(block.location, start=block.offset + first, length=last - first)
        if (
            data is None
            or len(data) != last - first
            or (
                len(data) == block.size_bytes
                and hashlib.sha256(data).hexdigest() != block.block_hash
            )
        ):
            log.error("Block %s cannot be read as it was stored.", block.block_hash[:12])
            raise ServiceUnavailable("A part of this version cannot be read now.")
        view = memoryview(data)
        for piece in range(0, len(data), PIECE_BYTES):
            yield bytes(view[piece : piece + PIECE_BYTES])


def _blocks_between(block_list: BlockList, start: int, end: int) -> Iterator[tuple[int, Placed]]:
    """The blocks that touch [start, end), each with the position at which it begins."""
    position = index = 0
    while position < end:
        sizes = list(
            FileVersionBlock.objects.filter(
                file_version_id=block_list.pk,
                block_sequence_index__gte=index,
                block_sequence_index__lt=index + PAGE,
            ).values_list("size_bytes", flat=True)
        )
        if not sizes:
            return
        if position + sum(sizes) > start:
            for block in _placed(block_list, index, index + PAGE):
                if position >= end:
                    return
                yield position, block
                position += block.size_bytes
        else:
            position += sum(sizes)
        index += PAGE

"""Signed GETs for versions, and the bytes of a version for those who cannot put blocks together.

What may be read is a committed list. The File Service's word that a version is committed
may still be under way when somebody downloads it, so an open list counts too, as far as its
device held or proved each block: what a commit asks for.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.conf import settings
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from blocks import proofs
from blocks.models import Block, BlockList, BlockState, FileVersionBlock, ListState
from blocks.service import (
    MAX_BLOCKS_PER_CALL,
    BlockDownload,
    Downloads,
    Source,
    VersionDownload,
    VersionRange,
)
from blocks.storage import ObjectStore
from blocks.transactions import lend_connection
from drive_project.common.errors import (
    ContentDamaged,
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
)

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


# A version's blocks from an index to another, or to the end of its list.
Span = tuple[UUID, int, int | None]


def downloads(*, store: ObjectStore, ranges: Sequence[VersionRange]) -> Downloads:
    """The ranges' blocks and the GETs they share; at most MAX_BLOCKS_PER_CALL blocks.

    Ranges that no longer fit come back empty, with their start as `next_index`. Raises
    NotFound with `file_version_ids`: all versions of the call that are not readable.
    """
    for each in ranges:
        if each.start_index < 0 or each.limit < 1:
            raise InvalidRequest("start_index is at least 0, limit at least 1.")
    ids = [each.file_version_id for each in ranges]
    lists = _readable_lists(ids)
    ends = _ends(lists)
    left = MAX_BLOCKS_PER_CALL
    wanted: list[Span] = []
    for each in ranges:
        end = each.start_index + min(each.limit, left)
        whole = ends.get(each.file_version_id, 0)
        wanted.append((each.file_version_id, each.start_index, end if end < whole else None))
        left -= max(min(end, whole) - each.start_index, 0)
    found = _placed_in(lists, wanted)
    # Told of all at once, so that the caller can ask again for the others.
    unreadable = {pk: None for pk, blocks in zip(ids, found, strict=True) if blocks is None}
    if unreadable:
        raise NotFound(file_version_ids=[str(pk) for pk in unreadable])
    placed = [blocks or [] for blocks in found]
    places, sources = _sources(store, [block for blocks in placed for block in blocks])
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
            for each, blocks, (_, _, next_index) in zip(ranges, placed, wanted, strict=True)
        ),
        sources=tuple(sources),
    )


def _readable_lists(file_version_ids: Sequence[UUID]) -> dict[UUID, BlockList]:
    """Those of the versions whose lists are not released, by id."""
    return BlockList.objects.exclude(state=ListState.RELEASED).in_bulk(file_version_ids)


def _ends(lists: Mapping[UUID, BlockList]) -> dict[UUID, int]:
    """The index after the last block of each list."""
    last = FileVersionBlock.objects.filter(file_version=OuterRef("pk")).order_by(
        "-block_sequence_index"
    )
    found = BlockList.objects.filter(pk__in=list(lists)).values_list(
        "pk", Subquery(last.values("block_sequence_index")[:1])
    )
    return {pk: 0 if index is None else index + 1 for pk, index in found}


def _placed_in(
    lists: Mapping[UUID, BlockList], wanted: Sequence[Span]
) -> list[list[Placed] | None]:
    """The blocks of each span; None where one of them, or the version, is not readable."""
    # Thousands of small files, each wanted whole, are one query.
    by_range: dict[tuple[int, int | None], list[UUID]] = {}
    for pk, start, end in wanted:
        if pk in lists:
            by_range.setdefault((start, end), []).append(pk)
    unreadable: set[Span] = {span for span in wanted if span[0] not in lists}
    found: dict[Span, list[Placed]] = {}
    for (start, end), ids in by_range.items():
        rows = proofs.rows_of(ids).filter(block_sequence_index__gte=start)
        if end is not None:
            rows = rows.filter(block_sequence_index__lt=end)
        for row in rows.order_by("file_version_id", "block_sequence_index").values_list(
            "file_version_id",
            "is_ready",
            "block_hash__state",
            "block_sequence_index",
            "block_hash_id",
            "size_bytes",
            "block_hash__s3_location_id",
            "block_hash__offset",
            "block_hash__s3_location__size_bytes",
        ):
            pk, is_ready, state, index, block_hash, size_bytes, location, offset, whole = row
            # Of a committed version a damaged block too: whoever reads it checks the hash,
            # and keeps the others.
            if not is_ready and (
                lists[pk].state != ListState.COMMITTED or state == BlockState.AWAITED
            ):
                unreadable.add((pk, start, end))
                continue
            found.setdefault((pk, start, end), []).append(
                Placed(index, block_hash, size_bytes, location, offset, whole)
            )
    return [None if span in unreadable else found.get(span, []) for span in wanted]


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
    """The bytes [start, start + length) of a version.

    Raises NotFound, and ContentDamaged for what is known to be damaged, at once, not later.
    """
    if start < 0 or length < 0:
        raise InvalidRequest("start and length are at least 0.")
    block_list = _readable_lists([file_version_id]).get(file_version_id)
    if block_list is None or (
        block_list.state == ListState.OPEN
        and proofs.rows_of([file_version_id]).filter(is_ready=False).exists()
    ):
        raise NotFound(file_version_id=str(file_version_id))
    _refuse_damaged(block_list, start, start + length)
    return _pieces(store, block_list, start, start + length)


def _refuse_damaged(block_list: BlockList, start: int, end: int) -> None:
    """Raises ContentDamaged where a damaged block touches [start, end)."""
    damaged = set(
        FileVersionBlock.objects.filter(
            file_version_id=block_list.pk, block_hash__state=BlockState.DAMAGED
        ).values_list("block_sequence_index", flat=True)
    )
    if not damaged:
        return
    for position, block in _blocks_between(block_list, start, end):
        if block.index in damaged and max(start, position) < min(end, position + block.size_bytes):
            raise ContentDamaged(
                "It can be read again once a device that has this content has sent it again."
            )


def _pieces(store: ObjectStore, block_list: BlockList, start: int, end: int) -> Iterator[bytes]:
    for position, block in _blocks_between(block_list, start, end):
        first = max(start - position, 0)
        last = min(end - position, block.size_bytes)
        if first >= last:
            continue
        data = _part(store, block, first, last)
        if data is None:
            # A slow reader may be behind a block that has moved; where is it by now?
            again = _where_it_is(block)
            data = None if again is None else _part(store, again, first, last)
        if data is None:
            log.error("Block %s cannot be read as it was stored.", block.block_hash[:12])
            raise ServiceUnavailable("A part of this version cannot be read now.")
        view = memoryview(data)
        for piece in range(0, len(data), PIECE_BYTES):
            yield bytes(view[piece : piece + PIECE_BYTES])


def _part(store: ObjectStore, block: Placed, first: int, last: int) -> bytes | None:
    """The bytes [first, last) of a block; None where they are not as they were stored."""
    data = store.read(block.location, start=block.offset + first, length=last - first)
    if data is None or len(data) != last - first:
        return None
    is_whole = len(data) == block.size_bytes
    if is_whole and hashlib.sha256(data).hexdigest() != block.block_hash:
        return None
    return data


def _where_it_is(block: Placed) -> Placed | None:
    """The place of a block now, if that is another one."""
    found = (
        Block.objects.filter(pk=block.block_hash, s3_location__isnull=False)
        .exclude(s3_location=block.location, offset=block.offset)
        .values_list("s3_location_id", "offset", "s3_location__size_bytes")
        .first()
    )
    if found is None:
        return None
    location, offset, object_bytes = found
    return replace(block, location=location or "", offset=offset, object_bytes=object_bytes or 0)


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
            [blocks] = _placed_in(
                {block_list.pk: block_list}, [(block_list.pk, index, index + PAGE)]
            )
            if blocks is None:
                raise NotFound(file_version_id=str(block_list.pk))
            # A slow reader takes these for minutes.
            lend_connection()
            for block in blocks:
                if position >= end:
                    return
                yield position, block
                position += block.size_bytes
        else:
            position += sum(sizes)
        index += PAGE

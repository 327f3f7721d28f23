"""Where to read the blocks of versions. Always on behalf of a person who may read the file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from blocks.service import (
    MAX_BLOCKS_PER_CALL,
    BlockDownload,
    Source,
    VersionRange,
    get_block_service,
)
from drive_project.common.errors import DriveError, InvalidRequest, NotFound
from files.models import File, FileStatus, FileVersion, User, VersionStatus
from files.queries.many import files_by_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """A file to be read, in its current version unless another one is named.

    limit: blocks at most, from start_index on.
    """

    file_id: UUID
    version_id: UUID | None = None
    start_index: int = 0
    limit: int = MAX_BLOCKS_PER_CALL


@dataclass(frozen=True, slots=True)
class FileDownload:
    """A version's blocks in order, each within one of the sources; next_index: where to go on."""

    version: FileVersion
    blocks: Sequence[BlockDownload]
    next_index: int | None


@dataclass(frozen=True, slots=True)
class ExactBlock:
    """A block and the GET that answers exactly its bytes."""

    block: BlockDownload
    source: Source


def get_version(*, user: User, file_id: UUID, version_id: UUID | None = None) -> FileVersion:
    """A version with its file, also of a file in the trash. Raises NotFound."""
    [found] = _versions(user, [WantedFile(file_id=file_id, version_id=version_id)])
    if isinstance(found, DriveError):
        raise found
    return found


def download_files(
    *, user: User, wanted: Sequence[WantedFile]
) -> tuple[list[FileDownload | DriveError], Sequence[Source]]:
    """For many files their blocks, and the GETs that they share.

    An answer has at most MAX_BLOCKS_PER_CALL blocks; what does not fit is left for
    `next_index`. A file that cannot be read (NotFound, InvalidRequest) leaves the others
    standing.
    """
    results: list[FileDownload | DriveError] = []
    ranges: list[VersionRange] = []
    places: list[int] = []
    left = MAX_BLOCKS_PER_CALL
    for each, version in zip(wanted, _versions(user, wanted), strict=True):
        if isinstance(version, DriveError):
            results.append(version)
            continue
        there = version.block_count - each.start_index
        if there < 0:
            results.append(InvalidRequest(f"This version has {version.block_count} blocks."))
            continue
        count = min(each.limit, there, left)
        left -= count
        end = each.start_index + count
        # The blocks follow below, from the one call for all.
        results.append(FileDownload(version, (), end if end < version.block_count else None))
        if count:
            places.append(len(results) - 1)
            ranges.append(VersionRange(version.pk, each.start_index, count))
    if not ranges:
        return results, ()
    blocks, sources = _blocks_of(ranges)
    for place, found in zip(places, blocks, strict=True):
        result = results[place]
        if found is None:
            results[place] = NotFound("This version cannot be read now.")
        elif isinstance(result, FileDownload):
            results[place] = FileDownload(result.version, found, result.next_index)
    return results, sources


def _blocks_of(
    ranges: Sequence[VersionRange],
) -> tuple[list[Sequence[BlockDownload] | None], Sequence[Source]]:
    """The blocks of each range, None for a version that cannot be read, and their sources."""
    unreadable: set[UUID] = set()
    while left := [each for each in ranges if each.file_version_id not in unreadable]:
        try:
            answer = get_block_service().get_block_download_urls(ranges=left)
            break
        except NotFound as error:
            named = {UUID(pk) for pk in error.extra.get("file_version_ids", ())}
            if named <= unreadable:
                raise
            for version_id in named:
                logger.error("Version %s is visible, yet its blocks cannot be read.", version_id)
            unreadable |= named
    else:
        return [None] * len(ranges), ()
    found = iter(answer.versions)
    return [
        None if each.file_version_id in unreadable else next(found).blocks for each in ranges
    ], answer.sources


def download_file(*, user: User, wanted: WantedFile) -> tuple[FileDownload, Sequence[ExactBlock]]:
    """One file, each block with a GET of its own. Raises NotFound or InvalidRequest."""
    [result], sources = download_files(user=user, wanted=[wanted])
    if isinstance(result, DriveError):
        raise result
    return result, [_exact(result.version, block, sources) for block in result.blocks]


def _exact(version: FileVersion, block: BlockDownload, sources: Sequence[Source]) -> ExactBlock:
    source = sources[block.source]
    if source.size_bytes != block.size_bytes:
        # It shares a GET with its neighbours in a pack; alone it gets one of its own. Rare:
        # a file whose blocks travel in packs mostly has just one.
        [source] = (
            get_block_service()
            .get_block_download_urls(ranges=[VersionRange(version.pk, block.index, 1)])
            .sources
        )
    return ExactBlock(block, source)


def _versions(user: User, wanted: Sequence[WantedFile]) -> list[FileVersion | DriveError]:
    files = files_by_id(user, (each.file_id for each in wanted))
    older = FileVersion.objects.filter(status=VersionStatus.COMMITTED).in_bulk(
        {each.version_id for each in wanted if each.version_id is not None}
    )
    return [_version(files.get(each.file_id), each.version_id, older) for each in wanted]


def _version(
    file: File | None, version_id: UUID | None, older: dict[UUID, FileVersion]
) -> FileVersion | DriveError:
    if file is None or file.status != FileStatus.UPLOADED:
        return NotFound()
    version = file.current_version if version_id is None else older.get(version_id)
    if version is None or version.file_id != file.pk:
        return NotFound()
    version.file = file
    return version

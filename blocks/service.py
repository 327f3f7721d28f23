"""The Block Service's public interface: the only module of `blocks` that others import.

Plain data crosses it, never model instances, so that it can be called in the process or
over gRPC alike. Every call is safe to repeat after a timeout. Sizes are bytes; hashes are
SHA-256 in lower-case hex; moments are aware UTC datetimes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Protocol
from uuid import UUID

from django.conf import settings

MIN_BLOCK_BYTES = 1
MAX_BLOCK_BYTES = 4 * 1024 * 1024
MAX_PACK_BYTES = 8 * 1024 * 1024
# Blocks up to this size are expected in packs; init gives no URLs of their own for them.
PACK_BELOW_BYTES = 256 * 1024
MAX_BLOCKS_PER_CALL = 10_000
MAX_URLS_PER_CALL = 1_000
FIRST_URLS = 100
MAX_RECORDED_PER_CALL = 1_000
MAX_COPIES_PER_CALL = 1_000
MAX_PAIRS_PER_CALL = 100


@dataclass(frozen=True, slots=True)
class BlockClaim:
    """A block as a device names it: its hash and its size (1 to MAX_BLOCK_BYTES)."""

    block_hash: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NewVersion:
    """The version that a device is about to upload."""

    file_version_id: UUID
    file_id: UUID
    namespace_id: UUID
    device_id: UUID
    blocks: Sequence[BlockClaim]
    # Position of blocks[0] in the whole list: long lists come in several calls.
    start_index: int = 0


@dataclass(frozen=True, slots=True)
class VersionCopy:
    """A new version (without `blocks`) that is to have the blocks of a committed one."""

    source_version_id: UUID
    version: NewVersion


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A short-lived right to do one request on the object store. Secret: never logged.

    url: absolute for S3; for the embedded store it begins with "/" and is completed with the
    address by which the caller reached this server. headers: to be sent exactly as they
    stand (values are text).
    """

    method: str
    url: str
    headers: dict[str, str]
    expires_at: datetime


class LocationState(StrEnum):
    """held: nothing to send. send: the bytes are needed."""

    HELD = "held"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class BlockLocation:
    """What the device has to do about one block; `upload` where a URL comes along."""

    block_hash: str
    size_bytes: int
    state: LocationState
    upload: SignedRequest | None = None


@dataclass(frozen=True, slots=True)
class PackedBlock:
    """A block inside a pack: `size_bytes` bytes from `offset`."""

    block_hash: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NewPack:
    """A pack that a device wants to send: blocks one after another, without gaps."""

    sha256: str
    size_bytes: int
    blocks: Sequence[PackedBlock]


@dataclass(frozen=True, slots=True)
class PackUpload:
    """The PUT for a pack, or why there is none.

    unnamed: those of its blocks that no open upload of the device names.
    """

    upload: SignedRequest | None
    refusal: str = ""
    unnamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadReport:
    """Of an upload the blocks that its device has sent, and those for which it needs URLs."""

    file_version_id: UUID
    done: Sequence[str]
    want: Sequence[str]


@dataclass(frozen=True, slots=True)
class RefreshedUpload:
    """verified: recorded as arrived (or held). missing: still to be sent, in list order.

    urls: by block hash, for the wanted blocks that are missing. is_expired: released, or
    never begun by this device; the rest is empty then.
    """

    verified: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    urls: dict[str, SignedRequest] = field(default_factory=dict)
    is_expired: bool = False


@dataclass(frozen=True, slots=True)
class VersionToCommit:
    """A version whose blocks must all be readable now."""

    file_version_id: UUID
    device_id: UUID
    size_bytes: int
    block_count: int


class Verdict(StrEnum):
    """ready: every block is stored and the device may claim it."""

    READY = "ready"
    MISSING_BLOCKS = "missing-blocks"
    VERIFY_FIRST = "verify-first"
    INCOMPLETE_LIST = "incomplete-list"
    UPLOAD_EXPIRED = "upload-expired"


@dataclass(frozen=True, slots=True)
class CommitVerdict:
    """Whether a version may become visible.

    blocks_digest: SHA-256 over the ordered list, each block as the 32 bytes of its hash
    (ready only). missing: up to 1,000 hashes (missing-blocks only).
    """

    file_version_id: UUID
    verdict: Verdict
    blocks_digest: str = ""
    missing: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the File Service decided about a version: committed at this place, or released."""

    file_version_id: UUID
    is_committed: bool
    file_id: UUID | None = None
    namespace_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Blocks of a version from `start_index`, at most `limit`."""

    file_version_id: UUID
    start_index: int = 0
    limit: int = MAX_URLS_PER_CALL


@dataclass(frozen=True, slots=True)
class BlockDownload:
    """Where to read one block: `offset` bytes into the answer to sources[source]."""

    index: int
    block_hash: str
    size_bytes: int
    source: int
    offset: int


@dataclass(frozen=True, slots=True)
class Source:
    """One GET: its answer has exactly `size_bytes` bytes (status 200 or 206)."""

    request: SignedRequest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class VersionDownload:
    """A version's blocks in order; `next_index` where more follow."""

    file_version_id: UUID
    blocks: tuple[BlockDownload, ...]
    next_index: int | None


@dataclass(frozen=True, slots=True)
class Downloads:
    """Several versions with the sources that they share."""

    versions: tuple[VersionDownload, ...]
    sources: tuple[Source, ...]


class RecordedState(StrEnum):
    """What the Block Service was told last about a version. released is final."""

    OPEN = "open"
    COMMITTED = "committed"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class RecordedVersion:
    """A version as the Block Service knows it, for comparing the two databases.

    block_count, size_bytes: of its list as it stands. blocks_digest: as in CommitVerdict;
    "" where the list has a gap. damaged_count: its rows whose block is damaged.
    """

    file_version_id: UUID
    state: RecordedState
    file_id: UUID | None
    namespace_id: UUID | None
    block_count: int
    size_bytes: int
    blocks_digest: str
    damaged_count: int


@dataclass(frozen=True, slots=True)
class LastCollection:
    """The collector's last run: when it ended, and what it deleted from the store."""

    finished_at: datetime
    deleted_object_count: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class BlockStats:
    """Numbers for the dashboard, in bytes and counts.

    referenced_bytes: every version's blocks counted each time; stored_bytes: of blocks that
    are referenced, counted once; object_bytes: what the store holds; reclaimable_bytes: in
    condemned objects, and of blocks in packs that nothing names any more. last_collection:
    None where the collector never ran.
    """

    block_count: int
    referenced_bytes: int
    stored_bytes: int
    object_count: int
    object_bytes: int
    reclaimable_bytes: int
    open_upload_count: int
    damaged_count: int
    last_collection: LastCollection | None = None


@dataclass(frozen=True, slots=True)
class SpaceUsed:
    """What the committed versions of some namespaces hold, in bytes.

    referenced_bytes: every version's blocks counted each time; distinct_bytes: each block
    once, whoever else may have it.
    """

    referenced_bytes: int
    distinct_bytes: int


@dataclass(frozen=True, slots=True)
class VersionPair:
    """A version, and the one with which it is compared."""

    file_version_id: UUID
    base_version_id: UUID


class BlockService(Protocol):
    """In-process (`blocks.local`) or over gRPC. Errors are those of common.errors."""

    def get_or_create_block_locations(
        self, *, versions: Sequence[NewVersion], readable: Sequence[UUID]
    ) -> list[list[BlockLocation]]:
        """Take the versions' references; say of each distinct block: held, or to be sent.

        readable: the namespaces whose blocks the caller may claim without sending them.
        The first FIRST_URLS blocks over PACK_BELOW_BYTES of the call come with a URL.
        Raises UploadExpired when a version was released, InvalidRequest when an index that
        was given before is given again with another block.
        """

    def refresh_upload_urls(
        self, *, device_id: UUID, reports: Sequence[UploadReport]
    ) -> list[RefreshedUpload]:
        """Verify and record what has arrived (`done`), sign new URLs for what is wanted.

        An answer for each report. One with neither `done` nor `want` resumes its upload: all
        that may have arrived is looked at. Hashes that the version does not name are ignored.
        What has arrived beyond the work of one call is neither verified nor missing: it is
        to be reported again.
        Raises InvalidRequest for more than MAX_URLS_PER_CALL uploads, hashes in `done` or
        hashes in `want`, or for several uploads whose lists have more than
        MAX_BLOCKS_PER_CALL blocks together (of a single one, so many are named as missing).
        """

    def create_pack_uploads(self, *, device_id: UUID, packs: Sequence[NewPack]) -> list[PackUpload]:
        """One PUT for each pack whose blocks follow one another and are in open uploads.

        A pack arrives for good when any of its blocks is named in `done`, or at a commit.
        Raises InvalidRequest for more than MAX_URLS_PER_CALL packs or MAX_BLOCKS_PER_CALL
        blocks, and TooManyRequests when too many packs of the device are on their way.
        """

    def verify_versions(self, *, versions: Sequence[VersionToCommit]) -> list[CommitVerdict]:
        """For each version: are all of its blocks stored, undamaged, and held or proved?

        Verifies what has arrived but was not looked at yet (a bounded amount of work, else
        `verify-first`), adopts verified locations and condemns duplicates.
        """

    def settle_versions(self, *, settlements: Sequence[Settlement]) -> None:
        """Learn the File Service's decisions: committed (and where), or released.

        A committed list counts for `held` from now on. Releasing is final, lowers the
        counts, and is accepted for an unknown version too, so a late call can never leak.
        Raises ServiceUnavailable for a release while a backup is being made.
        """

    def copy_versions(self, *, copies: Sequence[VersionCopy]) -> None:
        """Give new versions the blocks of committed ones; no bytes move.

        Raises NotFound with `file_version_id`, the first source that has no committed list,
        and InvalidRequest for more than MAX_COPIES_PER_CALL. What was copied before stays.
        """

    def get_block_download_urls(self, *, ranges: Sequence[VersionRange]) -> Downloads:
        """Signed GETs for the blocks of committed versions, neighbours in a pack together.

        Raises NotFound with `file_version_ids`, all versions of the call that cannot be read
        (unknown, released, or without a block), so that the others can be asked for again.
        """

    def read_version(self, *, file_version_id: UUID, start: int, length: int) -> Iterator[bytes]:
        """The bytes [start, start + length) of a committed version, a few hundred KiB at a time.

        Each block that is read whole is hashed; a wrong one ends the stream with an error
        rather than with wrong bytes. Raises ContentDamaged, before the first byte, where a
        block is known to be damaged.
        """

    def stats(self) -> BlockStats:
        """Numbers for the dashboard."""

    def space_used(self, *, namespaces: Sequence[UUID]) -> SpaceUsed:
        """What these namespaces hold. Its cost grows with their versions' lists."""

    def changed_block_counts(self, *, pairs: Sequence[VersionPair]) -> list[int]:
        """Of each version, in order, how many of its blocks the other one does not have.

        Raises InvalidRequest for more than MAX_PAIRS_PER_CALL.
        """

    def recorded_ids(self, *, after: UUID | None, limit: int) -> list[UUID]:
        """The next versions that are recorded and not released, in order of their ids.

        limit: at most MAX_RECORDED_PER_CALL. Fewer than `limit`: there are no more.
        """

    def recorded_versions(self, *, file_version_ids: Sequence[UUID]) -> list[RecordedVersion]:
        """Those of at most MAX_RECORDED_PER_CALL versions that are recorded, in any order.

        Its cost grows with the lengths of their lists. Raises InvalidRequest for more.
        """

    def damaged_ids(self, *, after: UUID | None, limit: int) -> list[UUID]:
        """The next committed versions that name a damaged block; paged like recorded_ids."""


@cache
def get_block_service() -> BlockService:
    """The configured implementation: that of another process, or the one in this."""
    if settings.BLOCK_SERVICE_ADDRESS:
        # Loaded only where it is used: gRPC costs memory and time to start.
        from blocks.rpc.client import RemoteBlockService
        from blocks.rpc.trust import TlsFiles

        return RemoteBlockService(
            settings.BLOCK_SERVICE_ADDRESS,
            token=settings.BLOCK_SERVICE_TOKEN,
            tls=TlsFiles.configured(),
        )
    from blocks.local import LocalBlockService

    return LocalBlockService()

"""What the Block Service in memory knows: lists, proofs, stored blocks, and what is on its way."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from blocks.locations import block_location
from blocks.service import BlockClaim, NewVersion, PackedBlock, RecordedState, SignedRequest
from drive_project.common.errors import InvalidRequest, NotFound, UploadExpired
from drive_project.common.ids import new_id
from tests.fakes.object_store import FakeObjectStore

LIFETIME = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where the bytes of a block are."""

    location: str
    offset: int
    size_bytes: int


@dataclass(slots=True)
class Row:
    """A block in a version's list."""

    claim: BlockClaim
    held: bool


@dataclass(slots=True)
class VersionList:
    """A version as it is known here; `state` is that of the real one's block list."""

    state: RecordedState
    device_id: UUID | None = None
    file_id: UUID | None = None
    namespace_id: UUID | None = None
    rows: dict[int, Row] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return self.rows.keys() == set(range(len(self.rows)))

    @property
    def in_order(self) -> list[tuple[int, Row]]:
        return sorted(self.rows.items(), key=lambda each: each[0])

    @property
    def claims(self) -> dict[str, BlockClaim]:
        """The distinct blocks, in order."""
        return {row.claim.block_hash: row.claim for _, row in self.in_order}

    @property
    def digest(self) -> str:
        return hashlib.sha256(
            b"".join(bytes.fromhex(row.claim.block_hash) for _, row in self.in_order)
        ).hexdigest()


class Ledger:
    """The facts, and how bytes that have arrived become facts."""

    def __init__(self, store: FakeObjectStore | None = None) -> None:
        self.store = store or FakeObjectStore()
        self.lists: dict[UUID, VersionList] = {}
        self.stored: dict[str, Place] = {}
        self.damaged: set[str] = set()
        # What a device sent and was verified: its place, None once a stored block has it.
        self.proofs: dict[tuple[UUID, str], tuple[Place | None, int]] = {}
        self.uploads: dict[tuple[UUID, BlockClaim], str] = {}
        self.packs: dict[tuple[UUID, str, tuple[PackedBlock, ...]], str] = {}
        self.condemned: dict[str, int] = {}

    def damage(self, block_hash: str) -> None:
        """Find a stored block to be wrong, as a scrub does."""
        assert block_hash in self.stored
        self.damaged.add(block_hash)

    def list_of_upload(self, version: NewVersion) -> VersionList:
        """The list of a version, or the one it would begin. Raises UploadExpired."""
        known = self.lists.get(version.file_version_id)
        if known is None:
            return VersionList(
                RecordedState.OPEN, version.device_id, version.file_id, version.namespace_id
            )
        if known.state == RecordedState.RELEASED:
            raise UploadExpired(file_version_id=str(version.file_version_id))
        if known.device_id != version.device_id:
            raise InvalidRequest("This upload belongs to another device.")
        return known

    def is_open_for(self, device_id: UUID, file_version_id: UUID) -> bool:
        """Whether the device has begun this version and it was not released."""
        known = self.lists.get(file_version_id)
        if known is None or known.state == RecordedState.RELEASED:
            return False
        return known.device_id == device_id

    def held_in(self, readable: Sequence[UUID]) -> set[BlockClaim]:
        """What committed versions in these namespaces name, where it is stored."""
        return {
            row.claim
            for known in self.lists.values()
            if known.state == RecordedState.COMMITTED and known.namespace_id in readable
            for row in known.rows.values()
            if self.is_stored(row.claim)
        }

    def is_stored(self, claim: BlockClaim) -> bool:
        place = self.stored.get(claim.block_hash)
        is_there = place is not None and place.size_bytes == claim.size_bytes
        return is_there and claim.block_hash not in self.damaged

    def has_proved(self, device_id: UUID | None, claim: BlockClaim) -> bool:
        if device_id is None or (device_id, claim.block_hash) not in self.proofs:
            return False
        waiting_at, size_bytes = self.proofs[device_id, claim.block_hash]
        has_bytes = waiting_at is not None or self.is_stored(claim)
        return has_bytes and size_bytes == claim.size_bytes

    def put_url(self, device_id: UUID, claim: BlockClaim) -> SignedRequest:
        location = self.uploads.setdefault(
            (device_id, claim), block_location(claim.block_hash, new_id())
        )
        return self.signed_put(location, claim.size_bytes, claim.block_hash)

    def signed_put(self, location: str, size_bytes: int, sha256: str) -> SignedRequest:
        return self.store.sign_put(
            location,
            size_bytes=size_bytes,
            sha256=sha256,
            now=datetime.now(UTC),
            lifetime=LIFETIME,
        )

    def verify(self, device_id: UUID, hashes: set[str]) -> None:
        """Record what has arrived of these blocks; a pack that lies is condemned."""
        for (owner, claim), location in list(self.uploads.items()):
            if (
                owner == device_id
                and claim.block_hash in hashes
                and self.store.sizes([location]) == {location: claim.size_bytes}
            ):
                place = Place(location, 0, claim.size_bytes)
                self.proofs[device_id, claim.block_hash] = (place, claim.size_bytes)
                del self.uploads[owner, claim]
        for (owner, sha256, blocks), location in list(self.packs.items()):
            data = self.store.read(location)
            if (
                owner != device_id
                or data is None
                or hashes.isdisjoint(block.block_hash for block in blocks)
            ):
                continue
            del self.packs[owner, sha256, blocks]
            if not all(
                hashlib.sha256(data[each.offset : each.offset + each.size_bytes]).hexdigest()
                == each.block_hash
                for each in blocks
            ):
                self.condemned[location] = len(data)
                continue
            for each in blocks:
                place = Place(location, each.offset, each.size_bytes)
                self.proofs[device_id, each.block_hash] = (place, each.size_bytes)

    def not_ready(self, known: VersionList, *, counts_waiting_bytes: bool = False) -> list[Row]:
        """The rows that keep a version from being committed, in order."""
        return [
            row
            for _, row in known.in_order
            if not (
                self.is_stored(row.claim)
                and (
                    row.held
                    or known.state == RecordedState.COMMITTED
                    or self.has_proved(known.device_id, row.claim)
                )
            )
            and not (counts_waiting_bytes and self.has_proved(known.device_id, row.claim))
        ]

    def adopt(self, device_id: UUID, known: VersionList) -> None:
        """The newest verified bytes of a block are its bytes from now on."""
        for block_hash in known.claims:
            place, size_bytes = self.proofs.get((device_id, block_hash), (None, 0))
            if place is None:
                continue
            before = self.stored.get(block_hash)
            self.stored[block_hash] = place
            self.damaged.discard(block_hash)
            self.proofs[device_id, block_hash] = (None, size_bytes)
            if before and before.location not in {each.location for each in self.stored.values()}:
                self.condemned[before.location] = self.store.sizes([before.location])[
                    before.location
                ]

    def release(self, pk: UUID, known: VersionList | None) -> None:
        if known is None:
            self.lists[pk] = VersionList(RecordedState.RELEASED)
            return
        known.state = RecordedState.RELEASED
        dropped, known.rows = known.claims, {}
        still_needed = {
            row.claim.block_hash
            for each in self.lists.values()
            if each.state == RecordedState.OPEN and each.device_id == known.device_id
            for row in each.rows.values()
        }
        for block_hash in dropped.keys() - still_needed:
            # Else "nothing to send" would tell this device of a stranger's block.
            if known.device_id and self.proofs.get((known.device_id, block_hash), (1,))[0] is None:
                del self.proofs[known.device_id, block_hash]

    def is_readable(self, file_version_id: UUID) -> bool:
        known = self.lists.get(file_version_id)
        if known is None or known.state == RecordedState.RELEASED:
            return False
        return known.state == RecordedState.COMMITTED or not self.not_ready(known)

    def readable(self, file_version_id: UUID) -> VersionList:
        if not self.is_readable(file_version_id):
            raise NotFound(file_version_id=str(file_version_id))
        return self.lists[file_version_id]

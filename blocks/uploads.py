"""Upload rows and the URLs that stand for them.

A row is written before its URL leaves, so the database knows of every object that can
come to be. Fresh URLs renew the same row, until a verification fails and condemns it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.utils import timezone

from blocks import proofs, references
from blocks.locations import HASH_RULE, block_location, pack_location
from blocks.models import BlockUpload, FileVersionBlock, ListState
from blocks.service import (
    FIRST_URLS,
    MAX_BLOCK_BYTES,
    MAX_BLOCKS_PER_CALL,
    MAX_PACK_BYTES,
    MAX_URLS_PER_CALL,
    MIN_BLOCK_BYTES,
    PACK_BELOW_BYTES,
    BlockClaim,
    BlockLocation,
    LocationState,
    NewPack,
    NewVersion,
    PackUpload,
    SignedRequest,
)
from blocks.storage import ObjectStore
from blocks.transactions import block_transaction, chunks
from drive_project.common.errors import InvalidRequest, TooManyRequests
from drive_project.common.hashes import is_sha256
from drive_project.common.ids import new_id

# How many blocks the packs may carry that a device has asked for and not shown to have
# arrived: so many are looked through, in memory, when it reports some.
MAX_WAITING_PACKED_BLOCKS = 5 * MAX_BLOCKS_PER_CALL


def begin(
    *, store: ObjectStore, versions: Sequence[NewVersion], readable: Sequence[UUID]
) -> list[list[BlockLocation]]:
    """Take the references of these versions and say what is to be sent."""
    now = timezone.now()
    uploads: dict[tuple[UUID, BlockClaim], BlockUpload] = {}
    with block_transaction():
        taken = references.take(versions, readable)
        devices = sorted({version.device_id for version in versions})
        used: dict[UUID, set[BlockClaim]] = {}
        for device_id in devices:
            own = [each for each in taken if each.version.device_id == device_id]
            wanted = {
                claim
                for each in own
                for claim in each.claims.values()
                if claim.block_hash not in each.present
            }
            used[device_id] = proofs.proved(device_id, wanted)
            for each in own:
                each.present |= {
                    claim.block_hash for claim in each.claims.values() if claim in used[device_id]
                }
        first = _first_wanted(taken)
        for device_id in devices:
            claims = [claim for owner, claim in first if owner == device_id]
            for claim, upload in _renew(device_id, claims, now).items():
                uploads[device_id, claim] = upload
        for device_id in devices:
            proofs.note_use(device_id, used[device_id], now)
    urls = {place: _signed(store, upload, now) for place, upload in uploads.items()}
    return [
        [
            BlockLocation(claim.block_hash, claim.size_bytes, LocationState.HELD)
            if claim.block_hash in each.present
            else BlockLocation(
                claim.block_hash,
                claim.size_bytes,
                LocationState.SEND,
                urls.pop((each.version.device_id, claim), None),
            )
            for claim in each.claims.values()
        ]
        for each in taken
    ]


def _first_wanted(taken: Sequence[references.Taken]) -> list[tuple[UUID, BlockClaim]]:
    """The blocks that get a URL along with the answer; small ones are expected in packs."""
    first: dict[tuple[UUID, BlockClaim], None] = {}
    for each in taken:
        for claim in each.claims.values():
            if len(first) == FIRST_URLS:
                return list(first)
            if claim.size_bytes > PACK_BELOW_BYTES and claim.block_hash not in each.present:
                first[each.version.device_id, claim] = None
    return list(first)


def urls_for(
    *, store: ObjectStore, device_id: UUID, claims: Sequence[BlockClaim]
) -> dict[BlockClaim, SignedRequest]:
    """A URL for each of these blocks; the device has references on them."""
    now = timezone.now()
    with block_transaction():
        # The locks make sure that two calls at once agree on one location.
        references.count_and_lock({claim.block_hash: 0 for claim in claims})
        uploads = _renew(device_id, claims, now)
    return {claim: _signed(store, upload, now) for claim, upload in uploads.items()}


def create_packs(
    *, store: ObjectStore, device_id: UUID, packs: Sequence[NewPack]
) -> list[PackUpload]:
    """A URL for each pack of blocks that open uploads of the device name.

    Their bytes are reserved there, so nobody fills the store past a quota. See
    `BlockService`.
    """
    if len(packs) > MAX_URLS_PER_CALL:
        raise InvalidRequest(f"At most {MAX_URLS_PER_CALL} packs in one call.")
    if sum(len(pack.blocks) for pack in packs) > MAX_BLOCKS_PER_CALL:
        raise InvalidRequest(f"At most {MAX_BLOCKS_PER_CALL} blocks in the packs of one call.")
    refusals = [fault_of(pack) for pack in packs]
    named = _named(
        device_id,
        {
            block.block_hash
            for pack, fault in zip(packs, refusals, strict=True)
            if not fault
            for block in pack.blocks
        },
    )
    answers = [
        PackUpload(None, fault) if fault else _refused(pack, named)
        for pack, fault in zip(packs, refusals, strict=True)
    ]
    good = [pack for pack, refused in zip(packs, answers, strict=True) if refused is None]
    signed = iter(_signed_packs(store, device_id, good) if good else ())
    return [refused or PackUpload(next(signed)) for refused in answers]


def _refused(pack: NewPack, named: Collection[str]) -> PackUpload | None:
    """Only of the caller's own uploads is told what they name: a stranger's are no matter."""
    unnamed = tuple(block.block_hash for block in pack.blocks if block.block_hash not in named)
    if not unnamed:
        return None
    return PackUpload(
        None,
        f"No open upload of this device names {len(unnamed)} of the packed blocks: "
        "begin uploads before their packs.",
        unnamed,
    )


def _signed_packs(
    store: ObjectStore, device_id: UUID, packs: Sequence[NewPack]
) -> list[SignedRequest]:
    now = timezone.now()
    with block_transaction():
        packed: list[list[list[str | int]]] = [
            [[block.block_hash, block.offset, block.size_bytes] for block in pack.blocks]
            for pack in packs
        ]
        known = {
            (row.sha256, repr(row.pack)): row
            for row in BlockUpload.objects.select_for_update()
            .filter(
                device_id=device_id,
                sha256__in={pack.sha256 for pack in packs},
                verified_at=None,
            )
            .order_by("pk")
        }
        places = [(pack.sha256, repr(content)) for pack, content in zip(packs, packed, strict=True)]
        new = {
            place: _new_pack(device_id, pack, content)
            for place, pack, content in zip(places, packs, packed, strict=True)
            if place not in known
        }
        _write([known[place] for place in places if place in known], new.values(), now)
        on_their_way = waiting_packs(device_id).filter(expires_at__gte=now)
        waiting = on_their_way.aggregate(count=Sum("block_count"))["count"] or 0
        if waiting > MAX_WAITING_PACKED_BLOCKS:
            raise TooManyRequests(
                f"Packs of more than {MAX_WAITING_PACKED_BLOCKS} blocks have not arrived yet.",
                retry_after_seconds=int(settings.UPLOAD_URL_LIFETIME.total_seconds()),
            )
    uploads = known | new
    return [_signed(store, uploads[place], now) for place in places]


def waiting_packs(device_id: UUID) -> QuerySet[BlockUpload]:
    """The packs that a device has asked for and that were not verified."""
    return BlockUpload.objects.filter(
        device_id=device_id, s3_location__startswith="p/", verified_at=None
    )


def _named(device_id: UUID, hashes: Collection[str]) -> set[str]:
    """Those of the hashes that open uploads of the device name."""
    named: set[str] = set()
    for batch in chunks(sorted(hashes)):
        named.update(
            FileVersionBlock.objects.filter(
                block_hash__in=batch,
                file_version__state=ListState.OPEN,
                file_version__device_id=device_id,
            ).values_list("block_hash_id", flat=True)
        )
    return named


def fault_of(pack: NewPack) -> str:
    """Why this can be no pack; "" if it can."""
    end = 0
    seen = set()
    for block in pack.blocks:
        if not is_sha256(block.block_hash):
            return HASH_RULE
        if not MIN_BLOCK_BYTES <= block.size_bytes <= MAX_BLOCK_BYTES:
            return f"A block has {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes."
        if block.offset != end:
            return "The blocks of a pack follow one another without gaps."
        if block.block_hash in seen:
            return "A pack holds each block once."
        seen.add(block.block_hash)
        end += block.size_bytes
    if end != pack.size_bytes:
        return f"The blocks have {end} bytes together, not {pack.size_bytes}."
    if not 0 < end <= MAX_PACK_BYTES:
        return f"A pack has 1 to {MAX_PACK_BYTES} bytes."
    return "" if is_sha256(pack.sha256) else HASH_RULE


def _renew(
    device_id: UUID, claims: Sequence[BlockClaim], now: datetime
) -> dict[BlockClaim, BlockUpload]:
    """The device's upload row for each block, made where it has none; good for a new URL."""
    uploads: dict[BlockClaim, BlockUpload] = {}
    for batch in chunks(sorted({claim.block_hash for claim in claims})):
        for row in (
            BlockUpload.objects.select_for_update()
            .filter(device_id=device_id, sha256__in=batch, verified_at=None)
            .order_by("pk")
        ):
            if not row.pack:
                uploads[BlockClaim(row.sha256, row.size_bytes)] = row
    known = {claim: uploads[claim] for claim in claims if claim in uploads}
    new = {claim: _new_block(device_id, claim) for claim in claims if claim not in uploads}
    _write(known.values(), new.values(), now)
    return known | new


def _write(known: Iterable[BlockUpload], new: Iterable[BlockUpload], now: datetime) -> None:
    """Make the rows good for URLs that are signed at `now`; the known ones are locked."""
    expires_at = now + settings.UPLOAD_URL_LIFETIME
    for batch in chunks(upload.pk for upload in known):
        BlockUpload.objects.filter(pk__in=batch).update(expires_at=expires_at)
    fresh = list(new)
    for upload in fresh:
        upload.expires_at = expires_at
    BlockUpload.objects.bulk_create(fresh)


def _new_block(device_id: UUID, claim: BlockClaim) -> BlockUpload:
    upload_id = new_id()
    return BlockUpload(
        upload_id=upload_id,
        s3_location=block_location(claim.block_hash, upload_id),
        device_id=device_id,
        sha256=claim.block_hash,
        size_bytes=claim.size_bytes,
    )


def _new_pack(device_id: UUID, pack: NewPack, content: list[list[str | int]]) -> BlockUpload:
    upload_id = new_id()
    return BlockUpload(
        upload_id=upload_id,
        s3_location=pack_location(pack.sha256, upload_id),
        device_id=device_id,
        sha256=pack.sha256,
        size_bytes=pack.size_bytes,
        pack=content,
        block_count=len(content),
    )


def _signed(store: ObjectStore, upload: BlockUpload, now: datetime) -> SignedRequest:
    return store.sign_put(
        upload.s3_location,
        size_bytes=upload.size_bytes,
        sha256=upload.sha256,
        now=now,
        lifetime=settings.UPLOAD_URL_LIFETIME,
    )


def contents(upload: BlockUpload) -> Mapping[str, tuple[int, int]]:
    """What an uploaded object holds: (offset, size in bytes) by block hash."""
    if not upload.pack:
        return {upload.sha256: (0, upload.size_bytes)}
    return {block_hash: (offset, size_bytes) for block_hash, offset, size_bytes in upload.pack}

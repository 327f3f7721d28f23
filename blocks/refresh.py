"""A device reports what it has sent, and asks for more URLs; so an upload is resumed too."""

from collections.abc import Sequence
from uuid import UUID

from blocks import proofs, uploads, verification
from blocks.models import BlockList, ListState
from blocks.service import (
    MAX_BLOCKS_PER_CALL,
    MAX_URLS_PER_CALL,
    BlockClaim,
    RefreshedUploads,
)
from blocks.storage import ObjectStore
from blocks.verification import Allowance
from drive_project.common.errors import InvalidRequest, UploadExpired

# A report is the way out of `verify-first`, so it may cost more than a commit.
MAX_READ_BYTES = 4 * verification.MAX_READ_BYTES


def refresh(
    *,
    store: ObjectStore,
    file_version_id: UUID,
    device_id: UUID,
    done: Sequence[str],
    want: Sequence[str],
) -> RefreshedUploads:
    """Verify what is reported, tell what is missing, sign URLs for what is wanted of it.

    Where nothing is reported and nothing wanted, a device resumes: then all that may have
    arrived is looked at. What has arrived beyond the work of one call is neither verified
    nor missing: it is to be reported again.
    """
    if len(done) > MAX_URLS_PER_CALL or len(want) > MAX_URLS_PER_CALL:
        raise InvalidRequest(f"At most {MAX_URLS_PER_CALL} blocks to report and to ask for.")
    block_list = BlockList.objects.filter(pk=file_version_id, device_id=device_id).first()
    if block_list is None or block_list.state == ListState.RELEASED:
        raise UploadExpired(file_version_id=str(file_version_id))
    allowance = Allowance(verification.MAX_UNVERIFIED, MAX_READ_BYTES)
    reported = _unclaimed(file_version_id, among=done if done or want else None)
    if reported:
        verification.verify(store=store, device_id=device_id, hashes=reported, allowance=allowance)
    unclaimed = _unclaimed(file_version_id, among=[*done, *want])
    missing = [
        pk
        for pk in _unclaimed(file_version_id, limit=MAX_BLOCKS_PER_CALL + len(allowance.left))
        if pk not in allowance.left
    ]
    wanted = set(want) - allowance.left
    return RefreshedUploads(
        verified=_named(file_version_id, [pk for pk in done if pk not in unclaimed]),
        missing=tuple(missing[:MAX_BLOCKS_PER_CALL]),
        uploads=uploads.urls_for(
            store=store,
            device_id=device_id,
            claims=[claim for pk, claim in unclaimed.items() if pk in wanted],
        ),
    )


def _unclaimed(
    file_version_id: UUID, *, among: Sequence[str] | None = None, limit: int | None = None
) -> dict[str, BlockClaim]:
    """The blocks that the device still has to send, by hash, in order of the list.

    among: only these. limit: about the first so many; a block that comes twice counts twice.
    """
    rows = proofs.rows_of([file_version_id]).filter(is_claimed=False)
    if among is not None:
        rows = rows.filter(block_hash__in=set(among))
    unclaimed: dict[str, BlockClaim] = {}
    for block_hash, size_bytes in (
        rows.order_by("block_sequence_index")
        .values_list("block_hash_id", "size_bytes")[:limit]
        .iterator()
    ):
        unclaimed.setdefault(block_hash, BlockClaim(block_hash, size_bytes))
    return unclaimed


def _named(file_version_id: UUID, hashes: Sequence[str]) -> tuple[str, ...]:
    """Those hashes that the version names, once each, in their order."""
    named = set(
        proofs.rows_of([file_version_id])
        .filter(block_hash__in=hashes)
        .values_list("block_hash_id", flat=True)
    )
    return tuple(dict.fromkeys(pk for pk in hashes if pk in named))

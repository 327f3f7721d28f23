"""May a version become visible? Every block stored, undamaged, and held or proved."""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Count, Max, Sum

from blocks import adoption, proofs, verification
from blocks.models import BlockList, FileVersionBlock, ListState
from blocks.service import CommitVerdict, Verdict, VersionToCommit
from blocks.storage import ObjectStore
from blocks.transactions import chunks
from blocks.verification import Allowance

MAX_MISSING = 1_000
# Versions that are asked about in one query.
BATCH = 1_000


def judge(*, store: ObjectStore, versions: Sequence[VersionToCommit]) -> list[CommitVerdict]:
    """A verdict for each version, in their order.

    The work that a caller waits for is bounded for the whole call: the versions that come
    too late for it are `verify-first`.
    """
    verdicts: dict[UUID, CommitVerdict] = {}
    allowance = Allowance(verification.MAX_UNVERIFIED, verification.MAX_READ_BYTES)
    for batch in chunks(versions, BATCH):
        to_check = _refuse_early(batch, verdicts)
        for device_id in sorted({version.device_id for version in to_check}):
            ids = [each.file_version_id for each in to_check if each.device_id == device_id]
            unclaimed = _lacking(ids, "is_claimed")
            allowance.left.clear()
            verification.verify(
                store=store,
                device_id=device_id,
                hashes={block_hash for hashes in unclaimed.values() for block_hash in hashes},
                allowance=allowance,
            )
            adoption.adopt(device_id, ids)
            lacking = _lacking(ids, "is_ready")
            digests = _digests([pk for pk in ids if pk not in lacking])
            for pk in ids:
                verdicts[pk] = (
                    _refusal(pk, lacking[pk], allowance)
                    if pk in lacking
                    else CommitVerdict(pk, Verdict.READY, blocks_digest=digests[pk])
                )
    return [verdicts[version.file_version_id] for version in versions]


def _refuse_early(
    versions: Sequence[VersionToCommit], verdicts: dict[UUID, CommitVerdict]
) -> list[VersionToCommit]:
    """Judge what needs no look at a block: gone, or not the whole list. The others."""
    ids = [version.file_version_id for version in versions]
    lists = BlockList.objects.in_bulk(ids)
    sums = {
        row["file_version_id"]: row
        for row in FileVersionBlock.objects.filter(file_version_id__in=ids)
        .values("file_version_id")
        .annotate(
            count=Count("block_sequence_index"),
            last=Max("block_sequence_index"),
            size_bytes=Sum("size_bytes"),
        )
        .order_by()
    }
    others = []
    for version in versions:
        pk = version.file_version_id
        block_list = lists.get(pk)
        if (
            block_list is None
            or block_list.state == ListState.RELEASED
            or block_list.device_id != version.device_id
        ):
            verdicts[pk] = CommitVerdict(pk, Verdict.UPLOAD_EXPIRED)
            continue
        found = sums.get(pk, {"count": 0, "last": -1, "size_bytes": 0})
        if (found["count"], found["last"], found["size_bytes"]) == (
            version.block_count,
            version.block_count - 1,
            version.size_bytes,
        ):
            others.append(version)
        else:
            verdicts[pk] = CommitVerdict(
                pk,
                Verdict.INCOMPLETE_LIST,
                detail=(
                    f"{found['count']} of {version.block_count} blocks up to index "
                    f"{found['last']}, {found['size_bytes']} of {version.size_bytes} bytes."
                ),
            )
    return others


def _lacking(file_version_ids: Sequence[UUID], what: str) -> dict[UUID, dict[str, None]]:
    """The hashes of each version that are not yet `what` (see proofs.rows_of), in order."""
    lacking: dict[UUID, dict[str, None]] = {}
    rows = (
        proofs.rows_of(file_version_ids)
        .filter(**{what: False})
        .order_by("file_version_id", "block_sequence_index")
        .values_list("file_version_id", "block_hash_id")
    )
    for file_version_id, block_hash in rows.iterator():
        lacking.setdefault(file_version_id, {})[block_hash] = None
    return lacking


def _refusal(pk: UUID, lacking: dict[str, None], allowance: Allowance) -> CommitVerdict:
    if not allowance.left.isdisjoint(lacking):
        return CommitVerdict(
            pk, Verdict.VERIFY_FIRST, detail="Too much has arrived to be verified at once."
        )
    missing = list(lacking)
    return CommitVerdict(
        pk,
        Verdict.MISSING_BLOCKS,
        missing=tuple(missing[:MAX_MISSING]),
        detail=f"{len(missing)} blocks are missing.",
    )


def _digests(file_version_ids: Sequence[UUID]) -> dict[UUID, str]:
    """SHA-256 over each version's ordered list; that of nothing for an empty one."""
    digests = {pk: hashlib.sha256() for pk in file_version_ids}
    for file_version_id, block_hash in (
        FileVersionBlock.objects.filter(file_version_id__in=file_version_ids)
        .order_by("file_version_id", "block_sequence_index")
        .values_list("file_version_id", "block_hash_id")
        .iterator()
    ):
        digests[file_version_id].update(bytes.fromhex(block_hash))
    return {pk: digest.hexdigest() for pk, digest in digests.items()}

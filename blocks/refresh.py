"""Devices report what they have sent, and ask for more URLs; so uploads are resumed too."""

from collections.abc import Collection, Sequence
from itertools import islice
from uuid import UUID

from django.db.models import Count

from blocks import proofs, uploads, verification
from blocks.models import BlockList, FileVersionBlock, ListState
from blocks.service import (
    MAX_BLOCKS_PER_CALL,
    MAX_URLS_PER_CALL,
    BlockClaim,
    RefreshedUpload,
    UploadReport,
)
from blocks.storage import ObjectStore
from blocks.verification import Allowance
from drive_project.common.errors import InvalidRequest

# A report is the way out of `verify-first`, so it may cost more than a commit.
MAX_READ_BYTES = 4 * verification.MAX_READ_BYTES

# By version, then by hash.
Claims = dict[UUID, dict[str, BlockClaim]]


def refresh(
    *, store: ObjectStore, device_id: UUID, reports: Sequence[UploadReport]
) -> list[RefreshedUpload]:
    """Verify what is reported, tell what is missing, sign URLs for what is wanted of it.

    One look at the database and the store for all of them. See `BlockService`.
    """
    _check_bounds(reports)
    open_ids = _open_ids(device_id, {report.file_version_id for report in reports})
    mine = [report for report in reports if report.file_version_id in open_ids]
    _check_lists(mine)
    done = {block_hash for report in mine for block_hash in report.done}
    want = {block_hash for report in mine for block_hash in report.want}
    allowance = Allowance(verification.MAX_UNVERIFIED, MAX_READ_BYTES)
    if reported := _reported(mine, done):
        verification.verify(store=store, device_id=device_id, hashes=reported, allowance=allowance)
    asked_about = _unclaimed(open_ids, among=done | want)
    missing = _unclaimed(open_ids, limit=MAX_BLOCKS_PER_CALL + len(allowance.left))
    wanted = {claim for report in mine for claim in _wanted(report, asked_about, allowance)}
    urls = uploads.urls_for(store=store, device_id=device_id, claims=sorted(wanted, key=_by_hash))
    named = _named(open_ids, done)

    def answer(report: UploadReport) -> RefreshedUpload:
        pk = report.file_version_id
        if pk not in open_ids:
            return RefreshedUpload(is_expired=True)
        lacking = asked_about.get(pk, {})
        return RefreshedUpload(
            verified=tuple(
                block_hash
                for block_hash in dict.fromkeys(report.done)
                if (pk, block_hash) in named and block_hash not in lacking
            ),
            missing=tuple(
                islice(
                    (each for each in missing.get(pk, {}) if each not in allowance.left),
                    MAX_BLOCKS_PER_CALL,
                )
            ),
            urls={
                claim.block_hash: urls[claim] for claim in _wanted(report, asked_about, allowance)
            },
        )

    return [answer(report) for report in reports]


def _check_bounds(reports: Sequence[UploadReport]) -> None:
    for count in (
        len(reports),
        sum(len(report.done) for report in reports),
        sum(len(report.want) for report in reports),
    ):
        if count > MAX_URLS_PER_CALL:
            raise InvalidRequest(
                f"At most {MAX_URLS_PER_CALL} uploads, blocks to report and blocks to ask for."
            )


def _open_ids(device_id: UUID, file_version_ids: Collection[UUID]) -> set[UUID]:
    return set(
        BlockList.objects.filter(pk__in=file_version_ids, device_id=device_id)
        .exclude(state=ListState.RELEASED)
        .values_list("pk", flat=True)
    )


def _check_lists(reports: Sequence[UploadReport]) -> None:
    """What is missing of several lists is told whole, so there is an end to their lengths."""
    ids = [report.file_version_id for report in reports]
    if len(ids) <= 1:
        return
    lengths = dict(
        FileVersionBlock.objects.filter(file_version_id__in=ids)
        .values("file_version_id")
        .annotate(count=Count("block_sequence_index"))
        .values_list("file_version_id", "count")
        .order_by()
    )
    if sum(min(lengths.get(pk, 0), MAX_BLOCKS_PER_CALL) for pk in ids) > MAX_BLOCKS_PER_CALL:
        raise InvalidRequest(
            f"These uploads have more than {MAX_BLOCKS_PER_CALL} blocks together: ask about fewer."
        )


def _reported(reports: Sequence[UploadReport], done: Collection[str]) -> set[str]:
    """What is to be looked at: all that is reported, and all of what is resumed."""
    ids = {report.file_version_id for report in reports}
    resumed = {report.file_version_id for report in reports if not report.done and not report.want}
    return {
        block_hash
        for claims in (_unclaimed(ids, among=done), _unclaimed(resumed))
        for of_one in claims.values()
        for block_hash in of_one
    }


def _wanted(report: UploadReport, unclaimed: Claims, allowance: Allowance) -> list[BlockClaim]:
    """What this report wants and its device still has to send, in order of the list."""
    wanted = set(report.want) - allowance.left
    lacking = unclaimed.get(report.file_version_id, {})
    return [claim for block_hash, claim in lacking.items() if block_hash in wanted]


def _by_hash(claim: BlockClaim) -> tuple[str, int]:
    return claim.block_hash, claim.size_bytes


def _unclaimed(
    file_version_ids: Collection[UUID],
    *,
    among: Collection[str] | None = None,
    limit: int | None = None,
) -> Claims:
    """The blocks that the device still has to send, in order of each list.

    among: only these. limit: about the first so many; a block that comes twice counts twice.
    """
    rows = proofs.rows_of(file_version_ids).filter(is_claimed=False)
    if among is not None:
        rows = rows.filter(block_hash__in=among)
    unclaimed: Claims = {}
    for pk, block_hash, size_bytes in (
        rows.order_by("file_version_id", "block_sequence_index")
        .values_list("file_version_id", "block_hash_id", "size_bytes")[:limit]
        .iterator()
    ):
        unclaimed.setdefault(pk, {}).setdefault(block_hash, BlockClaim(block_hash, size_bytes))
    return unclaimed


def _named(file_version_ids: Collection[UUID], hashes: Collection[str]) -> set[tuple[UUID, str]]:
    """Which of the versions name which of the hashes."""
    return set(
        FileVersionBlock.objects.filter(
            file_version_id__in=file_version_ids, block_hash__in=hashes
        ).values_list("file_version_id", "block_hash_id")
    )

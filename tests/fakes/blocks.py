"""The Block Service in memory: its rules without databases, threads and crashes.

`tests/contracts/test_block_service.py` holds it to what the real one promises. Two things it
leaves out: no amount of verification is too much for it, and nothing is ever collected.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from blocks.locations import pack_location
from blocks.references import check_claims
from blocks.service import (
    FIRST_URLS,
    MAX_BLOCKS_PER_CALL,
    MAX_COPIES_PER_CALL,
    MAX_PAIRS_PER_CALL,
    MAX_RECORDED_PER_CALL,
    MAX_URLS_PER_CALL,
    PACK_BELOW_BYTES,
    BlockClaim,
    BlockDownload,
    BlockLocation,
    BlockStats,
    CommitVerdict,
    Downloads,
    LocationState,
    NewPack,
    NewVersion,
    PackUpload,
    RecordedState,
    RecordedVersion,
    RefreshedUpload,
    Settlement,
    SignedRequest,
    Source,
    SpaceUsed,
    UploadReport,
    Verdict,
    VersionCopy,
    VersionDownload,
    VersionPair,
    VersionRange,
    VersionToCommit,
)
from blocks.uploads import fault_of
from drive_project.common.errors import (
    ContentDamaged,
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
)
from drive_project.common.ids import new_id
from tests.fakes.block_ledger import LIFETIME, Ledger, Place, Row, VersionList


class FakeBlockService(Ledger):
    """See `blocks.service.BlockService`."""

    # --- Uploads ------------------------------------------------------------------------

    def get_or_create_block_locations(
        self, *, versions: Sequence[NewVersion], readable: Sequence[UUID]
    ) -> list[list[BlockLocation]]:
        distinct = [check_claims(version) for version in versions]
        new: dict[tuple[UUID, int], BlockClaim] = {}
        for version in versions:
            known = self.list_of_upload(version)
            for index, claim in enumerate(version.blocks, version.start_index):
                place = (version.file_version_id, index)
                if index in known.rows:
                    given = known.rows[index].claim
                elif known.state == RecordedState.OPEN:
                    given = new.setdefault(place, claim)
                else:
                    raise InvalidRequest("This version is committed; its list is complete.")
                if given != claim:
                    raise InvalidRequest("An index was given before, as another block.")
        # Nothing was written until here: a refused call leaves nothing.
        for version in versions:
            self.lists.setdefault(version.file_version_id, self.list_of_upload(version))
        for (pk, index), claim in new.items():
            self.lists[pk].rows[index] = Row(claim, held=False)
        held = self.held_in(readable)
        urls: dict[tuple[UUID, BlockClaim], SignedRequest] = {}
        answers = []
        for version, claims in zip(versions, distinct, strict=True):
            rows = self.lists[version.file_version_id].rows
            for index in range(version.start_index, version.start_index + len(version.blocks)):
                rows[index].held |= rows[index].claim in held
            answers.append([self._location(version, claim, urls) for claim in claims.values()])
        return answers

    def _location(
        self,
        version: NewVersion,
        claim: BlockClaim,
        urls: dict[tuple[UUID, BlockClaim], SignedRequest],
    ) -> BlockLocation:
        rows = self.lists[version.file_version_id].rows.values()
        is_held = self.is_stored(claim) and any(row.held and row.claim == claim for row in rows)
        if is_held or self.has_proved(version.device_id, claim):
            return BlockLocation(claim.block_hash, claim.size_bytes, LocationState.HELD)
        place = (version.device_id, claim)
        url = None
        if place not in urls and claim.size_bytes > PACK_BELOW_BYTES and len(urls) < FIRST_URLS:
            url = urls[place] = self.put_url(version.device_id, claim)
        return BlockLocation(claim.block_hash, claim.size_bytes, LocationState.SEND, url)

    def refresh_upload_urls(
        self, *, device_id: UUID, reports: Sequence[UploadReport]
    ) -> list[RefreshedUpload]:
        for count in (
            len(reports),
            sum(len(report.done) for report in reports),
            sum(len(report.want) for report in reports),
        ):
            if count > MAX_URLS_PER_CALL:
                raise InvalidRequest(f"At most {MAX_URLS_PER_CALL} of each in one call.")
        mine = [each for each in reports if self.is_open_for(device_id, each.file_version_id)]
        known = {report.file_version_id: self.lists[report.file_version_id] for report in mine}
        blocks = sum(
            min(len(known[report.file_version_id].rows), MAX_BLOCKS_PER_CALL) for report in mine
        )
        if len(mine) > 1 and blocks > MAX_BLOCKS_PER_CALL:
            raise InvalidRequest(
                f"At most {MAX_BLOCKS_PER_CALL} blocks in several uploads together."
            )
        for report in mine:
            is_resumed = not report.done and not report.want
            claims = known[report.file_version_id].claims
            self.verify(device_id, set(claims) if is_resumed else set(report.done))
        return [
            self._refreshed(report, known[report.file_version_id])
            if report.file_version_id in known
            else RefreshedUpload(is_expired=True)
            for report in reports
        ]

    def _refreshed(self, report: UploadReport, known: VersionList) -> RefreshedUpload:
        claims = known.claims
        not_ready = self.not_ready(known, counts_waiting_bytes=True)
        missing = list(dict.fromkeys(row.claim.block_hash for row in not_ready))
        return RefreshedUpload(
            verified=tuple(
                pk for pk in dict.fromkeys(report.done) if pk in claims and pk not in missing
            ),
            missing=tuple(missing[:MAX_BLOCKS_PER_CALL]),
            urls={
                pk: self.put_url(known.device_id, claims[pk])
                for pk in missing
                if known.device_id and pk in report.want
            },
        )

    def create_pack_uploads(self, *, device_id: UUID, packs: Sequence[NewPack]) -> list[PackUpload]:
        if len(packs) > MAX_URLS_PER_CALL:
            raise InvalidRequest(f"At most {MAX_URLS_PER_CALL} packs in one call.")
        named = {
            block_hash
            for version in self.lists.values()
            if version.state == RecordedState.OPEN and version.device_id == device_id
            for block_hash in version.claims
        }
        return [self._pack_upload(device_id, pack, named) for pack in packs]

    def _pack_upload(self, device_id: UUID, pack: NewPack, named: set[str]) -> PackUpload:
        if fault := fault_of(pack):
            return PackUpload(None, fault)
        hashes = [block.block_hash for block in pack.blocks]
        if unnamed := tuple(pk for pk in hashes if pk not in named):
            return PackUpload(None, "No open upload names some of its blocks.", unnamed)
        place = (device_id, pack.sha256, tuple(pack.blocks))
        location = self.packs.setdefault(place, pack_location(pack.sha256, new_id()))
        return PackUpload(self.signed_put(location, pack.size_bytes, pack.sha256))

    # --- Commits ------------------------------------------------------------------------

    def verify_versions(self, *, versions: Sequence[VersionToCommit]) -> list[CommitVerdict]:
        return [self._verdict(version) for version in versions]

    def _verdict(self, version: VersionToCommit) -> CommitVerdict:
        pk = version.file_version_id
        known = self.lists.get(pk)
        if (
            known is None
            or known.state == RecordedState.RELEASED
            or known.device_id != version.device_id
        ):
            return CommitVerdict(pk, Verdict.UPLOAD_EXPIRED)
        size_bytes = sum(row.claim.size_bytes for row in known.rows.values())
        if (size_bytes, len(known.rows)) != (version.size_bytes, version.block_count) or not (
            known.is_whole
        ):
            return CommitVerdict(pk, Verdict.INCOMPLETE_LIST, detail="The list has a gap.")
        self.verify(version.device_id, set(known.claims))
        self.adopt(version.device_id, known)
        missing = tuple(dict.fromkeys(row.claim.block_hash for row in self.not_ready(known)))
        if missing:
            return CommitVerdict(
                pk,
                Verdict.MISSING_BLOCKS,
                missing=missing[:1_000],
                detail=f"{len(missing)} blocks are missing.",
            )
        return CommitVerdict(pk, Verdict.READY, blocks_digest=known.digest)

    def settle_versions(self, *, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            known = self.lists.get(settlement.file_version_id)
            if not settlement.is_committed:
                self.release(settlement.file_version_id, known)
            elif known is not None and known.state != RecordedState.RELEASED:
                known.state = RecordedState.COMMITTED
                known.file_id = settlement.file_id or known.file_id
                known.namespace_id = settlement.namespace_id or known.namespace_id

    def copy_versions(self, *, copies: Sequence[VersionCopy]) -> None:
        if len(copies) > MAX_COPIES_PER_CALL:
            raise InvalidRequest(f"At most {MAX_COPIES_PER_CALL} versions in one call.")
        for each in copies:
            source = self.readable(each.source_version_id)
            target = self.list_of_upload(each.version)
            self.lists[each.version.file_version_id] = target
            for index, row in source.rows.items():
                target.rows.setdefault(index, Row(row.claim, held=True))

    # --- Downloads ----------------------------------------------------------------------

    def get_block_download_urls(self, *, ranges: Sequence[VersionRange]) -> Downloads:
        ids = [each.file_version_id for each in ranges]
        if not all(self.is_readable(pk) for pk in ids):
            raise NotFound(file_version_ids=[str(pk) for pk in ids if not self.is_readable(pk)])
        left = MAX_BLOCKS_PER_CALL
        found: list[tuple[VersionRange, list[tuple[int, Row]], int | None]] = []
        for each in ranges:
            if each.start_index < 0 or each.limit < 1:
                raise InvalidRequest("start_index is at least 0, limit at least 1.")
            rows = self.lists[each.file_version_id].in_order
            end = each.start_index + min(each.limit, left)
            part = rows[each.start_index : end]
            left -= len(part)
            found.append((each, part, end if end < len(rows) else None))
        places = sorted(
            {self.stored[row.claim.block_hash] for _, part, _ in found for _, row in part}
        )
        runs = _runs(places)
        spots = {
            place: (number, place.offset - run[0].offset)
            for number, run in enumerate(runs)
            for place in run
        }
        return Downloads(
            versions=tuple(
                VersionDownload(
                    each.file_version_id,
                    tuple(
                        BlockDownload(
                            index,
                            row.claim.block_hash,
                            row.claim.size_bytes,
                            *spots[self.stored[row.claim.block_hash]],
                        )
                        for index, row in part
                    ),
                    next_index,
                )
                for each, part, next_index in found
            ),
            sources=tuple(self._source(run) for run in runs),
        )

    def _source(self, run: Sequence[Place]) -> Source:
        location, start = run[0].location, run[0].offset
        length = sum(place.size_bytes for place in run)
        is_whole = start == 0 and self.store.sizes([location]) == {location: length}
        request = self.store.sign_get(
            location,
            now=datetime.now(UTC),
            lifetime=LIFETIME,
            start=None if is_whole else start,
            length=None if is_whole else length,
        )
        return Source(request, length)

    def read_version(self, *, file_version_id: UUID, start: int, length: int) -> Iterator[bytes]:
        if start < 0 or length < 0:
            raise InvalidRequest("start and length are at least 0.")
        parts: list[tuple[BlockClaim, int, int]] = []
        position = 0
        for _, row in self.readable(file_version_id).in_order:
            first = max(start - position, 0)
            last = min(start + length - position, row.claim.size_bytes)
            if first < last:
                parts.append((row.claim, first, last))
            position += row.claim.size_bytes
        if any(claim.block_hash in self.damaged for claim, _, _ in parts):
            raise ContentDamaged(file_version_id=str(file_version_id))
        return self._pieces(parts)

    def _pieces(self, parts: Sequence[tuple[BlockClaim, int, int]]) -> Iterator[bytes]:
        for claim, first, last in parts:
            place = self.stored[claim.block_hash]
            data = self.store.read(place.location, start=place.offset, length=place.size_bytes)
            if data is None or hashlib.sha256(data).hexdigest() != claim.block_hash:
                raise ServiceUnavailable("A part of this version cannot be read now.")
            yield data[first:last]

    # --- What is recorded ---------------------------------------------------------------

    def stats(self) -> BlockStats:
        counts = Counter(row.claim for known in self.lists.values() for row in known.rows.values())
        stored = {
            claim.block_hash: claim.size_bytes
            for claim in counts
            if claim.block_hash in self.stored
        }
        objects = self.store.sizes(sorted({place.location for place in self.stored.values()}))
        reclaimable = sum(self.condemned.values())
        return BlockStats(
            block_count=len(stored),
            referenced_bytes=sum(claim.size_bytes * count for claim, count in counts.items()),
            stored_bytes=sum(stored.values()),
            object_count=len(objects),
            object_bytes=sum(objects.values()) + reclaimable,
            reclaimable_bytes=reclaimable,
            open_upload_count=sum(
                known.state == RecordedState.OPEN for known in self.lists.values()
            ),
            damaged_count=len(self.damaged),
        )

    def space_used(self, *, namespaces: Sequence[UUID]) -> SpaceUsed:
        claims = [
            row.claim
            for known in self.lists.values()
            if known.state == RecordedState.COMMITTED and known.namespace_id in namespaces
            for row in known.rows.values()
        ]
        return SpaceUsed(
            referenced_bytes=sum(claim.size_bytes for claim in claims),
            distinct_bytes=sum(claim.size_bytes for claim in set(claims)),
        )

    def changed_block_counts(self, *, pairs: Sequence[VersionPair]) -> list[int]:
        if len(pairs) > MAX_PAIRS_PER_CALL:
            raise InvalidRequest

        def hashes(pk: UUID) -> list[str]:
            known = self.lists.get(pk)
            return [row.claim.block_hash for row in known.rows.values()] if known else []

        return [
            sum(each not in hashes(pair.base_version_id) for each in hashes(pair.file_version_id))
            for pair in pairs
        ]

    def recorded_ids(self, *, after: UUID | None, limit: int) -> list[UUID]:
        return self._page(
            {pk for pk, known in self.lists.items() if known.state != RecordedState.RELEASED},
            after,
            limit,
        )

    def damaged_ids(self, *, after: UUID | None, limit: int) -> list[UUID]:
        return self._page(
            {
                pk
                for pk, known in self.lists.items()
                if known.state == RecordedState.COMMITTED and known.claims.keys() & self.damaged
            },
            after,
            limit,
        )

    def _page(self, ids: set[UUID], after: UUID | None, limit: int) -> list[UUID]:
        if not 1 <= limit <= MAX_RECORDED_PER_CALL:
            raise InvalidRequest(f"A page has 1 to {MAX_RECORDED_PER_CALL} versions.")
        return sorted(pk for pk in ids if after is None or pk > after)[:limit]

    def recorded_versions(self, *, file_version_ids: Sequence[UUID]) -> list[RecordedVersion]:
        if len(file_version_ids) > MAX_RECORDED_PER_CALL:
            raise InvalidRequest(f"At most {MAX_RECORDED_PER_CALL} versions in one call.")
        return [
            RecordedVersion(
                file_version_id=pk,
                state=known.state,
                file_id=known.file_id,
                namespace_id=known.namespace_id,
                block_count=len(known.rows),
                size_bytes=sum(row.claim.size_bytes for row in known.rows.values()),
                blocks_digest=known.digest if known.is_whole else "",
                damaged_count=sum(
                    row.claim.block_hash in self.damaged for row in known.rows.values()
                ),
            )
            for pk in dict.fromkeys(file_version_ids)
            if (known := self.lists.get(pk)) is not None
        ]


def _runs(places: Sequence[Place]) -> list[list[Place]]:
    """Neighbours in one object together; `places` in order."""
    runs = [[place] for place in places[:1]]
    for before, place in pairwise(places):
        if (before.location, before.offset + before.size_bytes) == (place.location, place.offset):
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs

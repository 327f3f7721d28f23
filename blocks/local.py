"""The Block Service in the process: its interface, each call handed to its subject."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from blocks import copying, downloads, records, references, refresh, statistics, uploads, verdicts
from blocks.service import (
    BlockLocation,
    BlockStats,
    CommitVerdict,
    Downloads,
    NewPack,
    NewVersion,
    PackUpload,
    RecordedVersion,
    RefreshedUpload,
    Settlement,
    SpaceUsed,
    UploadReport,
    VersionCopy,
    VersionPair,
    VersionRange,
    VersionToCommit,
)
from blocks.storage import ObjectStore, get_object_store
from blocks.transactions import outside_transactions


class LocalBlockService:
    """See `blocks.service.BlockService`. `store` is for tests; else the configured one."""

    def __init__(self, store: ObjectStore | None = None) -> None:
        self._given_store = store

    @property
    def _store(self) -> ObjectStore:
        # Looked up at each call: nothing connects before the first one.
        return self._given_store or get_object_store()

    @outside_transactions
    def get_or_create_block_locations(
        self, *, versions: Sequence[NewVersion], readable: Sequence[UUID]
    ) -> list[list[BlockLocation]]:
        return uploads.begin(store=self._store, versions=versions, readable=readable)

    @outside_transactions
    def refresh_upload_urls(
        self, *, device_id: UUID, reports: Sequence[UploadReport]
    ) -> list[RefreshedUpload]:
        return refresh.refresh(store=self._store, device_id=device_id, reports=reports)

    @outside_transactions
    def create_pack_uploads(self, *, device_id: UUID, packs: Sequence[NewPack]) -> list[PackUpload]:
        return uploads.create_packs(store=self._store, device_id=device_id, packs=packs)

    @outside_transactions
    def verify_versions(self, *, versions: Sequence[VersionToCommit]) -> list[CommitVerdict]:
        return verdicts.judge(store=self._store, versions=versions)

    @outside_transactions
    def settle_versions(self, *, settlements: Sequence[Settlement]) -> None:
        references.settle(settlements)

    @outside_transactions
    def copy_versions(self, *, copies: Sequence[VersionCopy]) -> None:
        copying.copy(copies)

    @outside_transactions
    def get_block_download_urls(self, *, ranges: Sequence[VersionRange]) -> Downloads:
        return downloads.downloads(store=self._store, ranges=ranges)

    @outside_transactions
    def read_version(self, *, file_version_id: UUID, start: int, length: int) -> Iterator[bytes]:
        return downloads.stream(
            store=self._store, file_version_id=file_version_id, start=start, length=length
        )

    @outside_transactions
    def stats(self) -> BlockStats:
        return statistics.stats()

    @outside_transactions
    def space_used(self, *, namespaces: Sequence[UUID]) -> SpaceUsed:
        return statistics.space_used(namespaces)

    @outside_transactions
    def changed_block_counts(self, *, pairs: Sequence[VersionPair]) -> list[int]:
        return statistics.changed_block_counts(pairs)

    @outside_transactions
    def recorded_ids(self, *, after: UUID | None, limit: int) -> list[UUID]:
        return records.recorded_ids(after=after, limit=limit)

    @outside_transactions
    def recorded_versions(self, *, file_version_ids: Sequence[UUID]) -> list[RecordedVersion]:
        return records.recorded_versions(file_version_ids)

    @outside_transactions
    def damaged_ids(self, *, after: UUID | None, limit: int) -> list[UUID]:
        return records.damaged_ids(after=after, limit=limit)

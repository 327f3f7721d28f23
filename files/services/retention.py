"""Old versions and old trash go by policy: found in pages, removed in small transactions.

A version never becomes current again (going back to one makes a new version of it), so what
was found without a lock may still go when the lock is held; `prune_versions` looks once more
at the three things that could forbid it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Min, Q
from django.utils import timezone

from files import queries
from files.models import File, FileVersion, StorageAccount, VersionStatus
from files.retention import Moment, Policy, expired_versions
from files.services.versions import open_conflicts, prune_versions

# Files whose versions are looked at together, until they have so many versions.
FILES_AT_ONCE = 500
VERSIONS_AT_ONCE = 10_000
# Removed in one transaction, under the locks of the namespace and the account.
PRUNE_AT_ONCE = 500


class OldVersion(NamedTuple):
    """A version that is to go, where its file is, and who pays for it."""

    owner_id: UUID
    namespace_id: UUID
    file_id: UUID
    version_id: UUID
    committed_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _FileWithHistory:
    owner_id: UUID
    namespace_id: UUID
    current_version_id: UUID


def expire_versions(*, now: datetime | None = None) -> Iterator[list[OldVersion]]:
    """Remove what the policies of its owners no longer keep; what went, batch by batch.

    Harmless to repeat, to overlap and to stop anywhere.
    """
    for found in old_versions(now=now):
        for namespace_id, some in groupby(found, key=attrgetter("namespace_id")):
            versions = list(some)
            for start in range(0, len(versions), PRUNE_AT_ONCE):
                batch = versions[start : start + PRUNE_AT_ONCE]
                removed = prune_versions(
                    namespace_id=namespace_id, version_ids=[each.version_id for each in batch]
                )
                yield [each for each in batch if each.version_id in removed]


def old_versions(*, now: datetime | None = None) -> Iterator[list[OldVersion]]:
    """What is to go at a moment, in lists ordered by namespace; nothing is changed."""
    now = now or timezone.now()
    for file_ids in _files_with_history(now - _shortest_time()):
        found = _old_versions_of(file_ids, now)
        if found:
            yield sorted(found)


def _shortest_time() -> timedelta:
    """How long anybody keeps every version at least: a file without an older one is no case."""
    chosen = StorageAccount.objects.aggregate(days=Min("keep_all_versions_days"))["days"]
    default = settings.KEEP_ALL_VERSIONS_DAYS
    return timedelta(days=min(default, default if chosen is None else chosen))


def _files_with_history(before: datetime) -> Iterator[list[UUID]]:
    """Files with several committed versions, one of them from before that moment."""
    last: UUID | None = None
    while True:
        versions = FileVersion.objects.filter(status=VersionStatus.COMMITTED)
        if last is not None:
            versions = versions.filter(file_id__gt=last)
        page = list(
            versions.values("file_id")
            .annotate(count=Count("pk"), oldest=Min("committed_at"))
            .filter(count__gt=1, oldest__lte=before)
            .order_by("file_id")
            .values_list("file_id", "count")[:FILES_AT_ONCE]
        )
        if not page:
            return
        last = page[-1][0]
        yield from _portions(page)


def _portions(page: Iterable[tuple[UUID, int]]) -> Iterator[list[UUID]]:
    """Files together as long as they have few versions: one with very many goes alone."""
    portion: list[UUID] = []
    in_it = 0
    for file_id, count in page:
        if portion and in_it + count > VERSIONS_AT_ONCE:
            yield portion
            portion, in_it = [], 0
        portion.append(file_id)
        in_it += count
    if portion:
        yield portion


def _old_versions_of(file_ids: list[UUID], now: datetime) -> list[OldVersion]:
    files = _files(file_ids)
    policies = _policies(file.owner_id for file in files.values())
    compared = {
        version_id
        for versions in open_conflicts()
        .filter(Q(file__in=file_ids) | Q(copy__in=file_ids))
        .values_list("base_version_id", "file_version_id", "copy_version_id")
        for version_id in versions
        if version_id
    }
    rows = list(
        FileVersion.objects.filter(file__in=file_ids, status=VersionStatus.COMMITTED)
        .order_by("file_id")
        .values_list("file_id", "pk", "committed_at", "size_bytes", "is_kept")
    )
    found = []
    wanted = {pk for _, pk, _, _, is_kept in rows if is_kept}
    for file_id, of_one in groupby(rows, key=lambda row: row[0]):
        versions = {
            pk: (committed_at, size) for _, pk, committed_at, size, _ in of_one if committed_at
        }
        file = files.get(file_id)
        if file is None:
            continue
        gone = expired_versions(
            (Moment(committed_at, pk) for pk, (committed_at, _) in versions.items()),
            kept=compared | wanted | {file.current_version_id},
            policy=policies[file.owner_id],
            now=now,
        )
        found += [
            OldVersion(file.owner_id, file.namespace_id, file_id, pk, *versions[pk]) for pk in gone
        ]
    return found


def _files(file_ids: list[UUID]) -> dict[UUID, _FileWithHistory]:
    """Those of the files that may lose versions.

    Not what is in the trash: it goes or comes back as it was. And not a file whose current
    content is damaged: an older one may be the only good one.
    """
    rows = list(
        File.objects.filter(
            pk__in=file_ids, deleted_at__isnull=True, current_version__is_damaged=False
        ).values_list(
            "pk", "parent_folder_id", "namespace__owner_id", "namespace_id", "current_version_id"
        )
    )
    standings = queries.standings({parent_id for _, parent_id, *_ in rows})
    return {
        pk: _FileWithHistory(*others)
        for pk, parent_id, *others in rows
        if standings[parent_id].is_live
    }


def _policies(owner_ids: Iterable[UUID]) -> Mapping[UUID, Policy]:
    return {
        owner_id: account.retention
        for owner_id, account in StorageAccount.objects.in_bulk(set(owner_ids)).items()
    }

"""The versions that a file has had."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from blocks.service import VersionCopy, VersionPair, get_block_service
from drive_project.common.errors import (
    DriveError,
    NotFound,
    ServiceUnavailable,
    UploadExpired,
)
from files import queries
from files.idempotency import remember, remembered
from files.models import Conflict, File, FileVersion, OnConflict, User, UserDevice, VersionStatus
from files.queries.pages import Place, newest_first
from files.services import quota
from files.services.aborts import withdraw
from files.services.commits import commit_upload
from files.services.locking import lock_account, lock_file, lock_namespace
from files.services.outcomes import Committed
from files.services.purging import release_versions
from files.services.uploads import new_version_of

RETRY_AFTER_SECONDS = 5


class VersionPage(NamedTuple):
    """Versions, newest first; next_place: where the next page begins after."""

    file: File
    versions: Sequence[FileVersion]
    next_place: Place | None


def versions_of(
    *, user: User, file_id: UUID, limit: int, after: Place | None = None
) -> VersionPage:
    """The committed versions of a file, newest first, also of one in the trash."""
    file = queries.get_file(user, file_id, live=False)
    versions = FileVersion.objects.filter(file=file, status=VersionStatus.COMMITTED).select_related(
        "author", "device"
    )
    found, next_place = newest_first(versions, "committed_at", after=after, limit=limit)
    return VersionPage(file, found, next_place)


def changed_blocks(page: VersionPage) -> dict[UUID, int]:
    """Of each version how many of its blocks the one before it did not have.

    The first version of a file is not in it.
    """
    line = list(page.versions)
    if page.next_place is not None:
        line += newest_first(
            FileVersion.objects.filter(file=page.file, status=VersionStatus.COMMITTED),
            "committed_at",
            after=page.next_place,
            limit=1,
        )[0]
    pairs = [VersionPair(newer.pk, older.pk) for newer, older in pairwise(line)]
    counts = get_block_service().changed_block_counts(pairs=pairs) if pairs else []
    return {pair.file_version_id: count for pair, count in zip(pairs, counts, strict=True)}


def restore_version(
    *, device: UserDevice, file_id: UUID, version_id: UUID, op_id: str = ""
) -> Committed:
    """Make an old version's content the current one, as a new version; no bytes move.

    A file in the trash comes back with it. Raises NotFound, PermissionDenied,
    QuotaExceeded or IdempotencyKeyReused. Safe to repeat with the same op_id.
    """
    request = ["versions/restore", str(file_id), str(version_id)]
    try:
        version = _begin_restore(device, file_id, version_id, op_id, request)
    except IntegrityError:
        # The same request was running at the same time; its record is visible now.
        version = _begin_restore(device, file_id, version_id, op_id, request)
    try:
        if version.status == VersionStatus.PENDING:
            copy_blocks({version: version_id})
        return commit_upload(device=device, upload_id=version.pk)
    except DriveError:
        withdraw(device=device, version=version, op_id=op_id)
        raise


def keep_version(*, device: UserDevice, file_id: UUID, version_id: UUID, is_kept: bool) -> None:
    """Keep a version for ever, whatever the retention says, or no longer. Safe to repeat.

    It goes only with its file. Raises NotFound and PermissionDenied.
    """
    with transaction.atomic():
        # Under the lock of `prune_versions`: what is said to be kept has not just gone.
        _, file = lock_file(device, file_id, live=False)
        found = FileVersion.objects.filter(
            pk=version_id, file=file, status=VersionStatus.COMMITTED
        ).update(is_kept=is_kept)
        if not found:
            raise NotFound


def copy_blocks(sources: Mapping[FileVersion, UUID]) -> None:
    """Give each pending version the blocks of another one, outside of any transaction.

    At most MAX_COPIES_PER_CALL of them.
    """
    try:
        get_block_service().copy_versions(
            copies=[
                VersionCopy(source_id, new_version_of(version, ()))
                for version, source_id in sources.items()
            ]
        )
    except NotFound:
        # Committed here, yet not known there: the word of it is still under way.
        raise ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS) from None


def _begin_restore(
    device: UserDevice, file_id: UUID, version_id: UUID, op_id: str, request: list[str]
) -> FileVersion:
    with transaction.atomic():
        record = remembered(device, op_id, request)
        if record is not None:
            version = (
                FileVersion.objects.select_related("file")
                .filter(pk=record.answer["file_version_id"])
                .first()
            )
            if version is None:
                raise UploadExpired
            return version
        _, file = lock_file(device, file_id, live=False)
        source = FileVersion.objects.filter(
            pk=version_id, file=file, status=VersionStatus.COMMITTED
        ).first()
        if source is None:
            raise NotFound
        version = begin_copy(
            device=device,
            file=file,
            source=source,
            executable=source.executable,
            client_modified_ns=source.client_modified_ns,
            # Whoever asks for an old content means it, whatever has come in between.
            on_conflict=OnConflict.NEW_VERSION,
            lifetime=settings.UPLOAD_LIFETIME,
        )
        remember(device, op_id, request, 200, {"file_version_id": str(version.pk)})
        return version


def begin_copy(
    *,
    device: UserDevice,
    file: File,
    source: FileVersion,
    executable: bool,
    client_modified_ns: int,
    on_conflict: OnConflict,
    lifetime: timedelta,
) -> FileVersion:
    """A pending version of a file (its namespace locked) that gets the source's content.

    Raises QuotaExceeded. Then follow `copy_blocks` and the commit.
    """
    account = lock_account(file.namespace.owner_id)
    quota.reserve(account, source.size_bytes)
    quota.save(account)
    version = copy_of(
        source,
        file=file,
        device=device,
        executable=executable,
        client_modified_ns=client_modified_ns,
        lifetime=lifetime,
    )
    version.on_conflict = on_conflict
    version.save(force_insert=True)
    return version


def copy_of(
    source: FileVersion,
    *,
    file: File,
    device: UserDevice,
    executable: bool,
    client_modified_ns: int,
    lifetime: timedelta,
) -> FileVersion:
    """A version of a file that is to get the source's content; pending, and not saved."""
    return FileVersion(
        file=file,
        base_version_id=file.current_version_id,
        size_bytes=source.size_bytes,
        block_count=source.block_count,
        content_hash=source.content_hash,
        is_content_hash_confirmed=source.is_content_hash_confirmed,
        author=device.user,
        device=device,
        executable=executable,
        client_modified_ns=client_modified_ns,
        expires_at=timezone.now() + lifetime,
    )


def open_conflicts() -> QuerySet[Conflict]:
    """The conflicts whose versions people, or a merge, may still want to compare."""
    return Conflict.objects.filter(settled_at__isnull=True)


def prune_versions(*, namespace_id: UUID, version_ids: Sequence[UUID]) -> set[UUID]:
    """Remove old versions for ever; which were removed. Their bytes leave the quota at once.

    Their blocks are let go of BLOCK_GRACE later. Left alone is what is current, what somebody
    keeps for ever, what an open conflict is about, and what is not committed or not in the
    namespace (any more).
    """
    with transaction.atomic():
        try:
            namespace = lock_namespace(namespace_id)
        except NotFound:
            return set()
        account = lock_account(namespace.owner_id)
        old = list(
            FileVersion.objects.filter(
                ~Exists(File.objects.filter(current_version=OuterRef("pk"))),
                ~Exists(
                    open_conflicts().filter(
                        Q(base_version_id=OuterRef("pk"))
                        | Q(file_version_id=OuterRef("pk"))
                        | Q(copy_version_id=OuterRef("pk"))
                    )
                ),
                pk__in=version_ids,
                file__namespace=namespace,
                status=VersionStatus.COMMITTED,
                is_kept=False,
            )
        )
        release_versions(account, old)
        removed = {version.pk for version in old}
        FileVersion.objects.filter(pk__in=removed).delete()
    return removed

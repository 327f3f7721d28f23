"""Content hashes: claims of devices until the server has read the content itself.

Only confirmed hashes make two contents the same, so a wrong claim can mislead nobody but
its own device, and only until it is corrected here. What has one block needs no reading.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from datetime import timedelta

from django.core.cache import cache
from django.db import transaction
from django.db.models import Q

from blocks.service import get_block_service
from drive_project.common.errors import DriveError
from files import journal, queries
from files.models import ChangeAction, File, FileVersion, VersionStatus
from files.services.locking import lock_namespace

# How long others leave a version to whoever has begun to read it.
CLAIM_SECONDS = 3600
VERSIONS_AT_ONCE = 100

logger = logging.getLogger(__name__)


def confirm_content_hashes(*, budget: timedelta) -> int:
    """Read committed versions whose hash is a claim; how many are confirmed or corrected.

    The oldest first; no further one is begun after `budget`. One that cannot be read now is
    left for a later call.
    """
    until = time.monotonic() + budget.total_seconds()
    count = 0
    for version in _unconfirmed():
        if time.monotonic() >= until:
            break
        claim = f"confirming:{version.pk}"
        if not cache.add(claim, 1, timeout=CLAIM_SECONDS):
            continue
        try:
            content_hash = _read(version)
        except DriveError as error:
            logger.warning("Version %s cannot be read to confirm its hash: %s", version.pk, error)
        else:
            count += _confirm(version, content_hash)
        finally:
            cache.delete(claim)
    return count


def _unconfirmed() -> Iterator[FileVersion]:
    """Page by page, so that one that fails is not met again in the same run."""
    unconfirmed = (
        FileVersion.objects.filter(status=VersionStatus.COMMITTED, is_content_hash_confirmed=False)
        .select_related("file")
        .order_by("committed_at", "file_version_id")
    )
    page = list(unconfirmed[:VERSIONS_AT_ONCE])
    while page:
        yield from page
        last = page[-1]
        page = list(
            unconfirmed.filter(
                Q(committed_at__gt=last.committed_at)
                | Q(committed_at=last.committed_at, file_version_id__gt=last.pk)
            )[:VERSIONS_AT_ONCE]
        )


def _read(version: FileVersion) -> str:
    digest = hashlib.sha256()
    for piece in get_block_service().read_version(
        file_version_id=version.pk, start=0, length=version.size_bytes
    ):
        digest.update(piece)
    return digest.hexdigest()


def _confirm(version: FileVersion, content_hash: str) -> int:
    """Record what the content's hash is; a correction is a change of the file."""
    committed = FileVersion.objects.filter(pk=version.pk, status=VersionStatus.COMMITTED)
    if content_hash == version.content_hash:
        return committed.update(is_content_hash_confirmed=True)
    logger.warning("Version %s had a wrong content hash; corrected.", version.pk)
    with transaction.atomic():
        namespace = lock_namespace(version.file.namespace_id)
        count = committed.update(content_hash=content_hash, is_content_hash_confirmed=True)
        file = (
            File.objects.filter(current_version=version.pk, namespace=namespace)
            .select_related("current_version")
            .first()
        )
        if file is not None:
            file.content_hash = content_hash
            file.save(update_fields=["content_hash"])
            # To a device, what lies in the trash is gone, and stays so.
            action = ChangeAction.UPSERT if queries.is_live(file) else ChangeAction.DELETE
            journal.append(namespace, [(action, file)], device=None)
    return count

"""What happens to an upload between its beginning and its commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from blocks.service import (
    BlockClaim,
    BlockLocation,
    NewPack,
    RefreshedUploads,
    SignedRequest,
    get_block_service,
)
from drive_project.common.errors import (
    DriveError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    TooManyRequests,
    UploadExpired,
)
from files import queries
from files.models import FileVersion, UserDevice, VersionStatus
from files.queries.access import WRITERS
from files.queries.many import purged_among, roles_of, uploads_by_id
from files.services.uploads import new_version_of


@dataclass(frozen=True, slots=True)
class UploadState:
    """An upload and what is still to be sent of it (up to 10,000 hashes; none once it is over)."""

    version: FileVersion
    missing: Sequence[str]


def get_upload(*, device: UserDevice, upload_id: UUID) -> FileVersion:
    """An upload that this device has begun.

    Raises NotFound, or UploadExpired where its file was deleted for ever meanwhile.
    """
    version = uploads_by_id(device, [upload_id]).get(upload_id)
    if version is None:
        raise UploadExpired if purged_among(device, [upload_id]) else NotFound
    return version


def continue_upload(
    *, device: UserDevice, upload_id: UUID, start_index: int, blocks: Sequence[BlockClaim]
) -> list[BlockLocation]:
    """Name more blocks of an upload, from an index; what to do about each distinct one.

    Raises NotFound, UploadExpired, and InvalidRequest beyond the upload's block_count or
    for another block at an index that was given before.
    """
    version = _open_upload(device, upload_id)
    if start_index + len(blocks) > version.block_count:
        raise InvalidRequest(f"This upload has {version.block_count} blocks.")
    [locations] = get_block_service().get_or_create_block_locations(
        versions=[new_version_of(version, blocks, start_index)],
        readable=queries.readable_namespaces(device.user),
    )
    return locations


def refresh_urls(
    *, device: UserDevice, upload_id: UUID, done: Sequence[str], want: Sequence[str]
) -> RefreshedUploads:
    """Record what has arrived and get new URLs. Raises NotFound or UploadExpired."""
    version = get_upload(device=device, upload_id=upload_id)
    if version.status in (VersionStatus.COMMITTED, VersionStatus.SAME):
        # The answer to its commit was lost: there is nothing left to send.
        return RefreshedUploads(verified=tuple(done), missing=(), uploads={})
    return get_block_service().refresh_upload_urls(
        file_version_id=_open_upload(device, upload_id).pk,
        device_id=device.pk,
        done=done,
        want=want,
    )


def upload_state(*, device: UserDevice, upload_id: UUID) -> UploadState:
    """How far an upload is. Raises NotFound or UploadExpired."""
    version = get_upload(device=device, upload_id=upload_id)
    missing: Sequence[str] = ()
    if version.status == VersionStatus.PENDING:
        missing = (
            get_block_service()
            .refresh_upload_urls(file_version_id=version.pk, device_id=device.pk, done=(), want=())
            .missing
        )
    return UploadState(version, missing)


def create_packs(
    *, device: UserDevice, packs: Sequence[NewPack]
) -> list[SignedRequest | DriveError]:
    """A PUT for each pack; a refused one (InvalidRequest) leaves the others standing.

    Raises PermissionDenied for whoever may write nowhere, and TooManyRequests when too many
    packs of the device are on their way.
    """
    if not any(role in WRITERS for role in roles_of(device.user).values()):
        raise PermissionDenied("You may only read here.")
    if not packs:
        return []
    ask = get_block_service().create_pack_uploads
    try:
        return [*ask(device_id=device.pk, packs=packs)]
    except InvalidRequest:
        # One of them spoils the call, and the answer does not say which.
        results: list[SignedRequest | DriveError] = []
        for pack in packs:
            try:
                results += ask(device_id=device.pk, packs=[pack])
            except (InvalidRequest, TooManyRequests) as error:
                results.append(error)
        return results


def _open_upload(device: UserDevice, upload_id: UUID) -> FileVersion:
    version = get_upload(device=device, upload_id=upload_id)
    if version.status != VersionStatus.PENDING:
        raise UploadExpired
    if roles_of(device.user).get(version.file.namespace_id) not in WRITERS:
        raise PermissionDenied("You may only read here.")
    return version

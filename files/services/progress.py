"""What happens to an upload between its beginning and its commit."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from blocks.service import (
    MAX_BLOCKS_PER_CALL,
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
    ServiceUnavailable,
    TooManyRequests,
    UploadExpired,
)
from files import queries
from files.models import FileVersion, UserDevice, VersionStatus
from files.queries.access import WRITERS
from files.queries.many import purged_among, roles_of, uploads_by_id
from files.services.uploads import new_version_of

# What one call may take: verifying may mean to read what has arrived.
REFRESH_BUDGET = timedelta(seconds=20)
RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class UploadReport:
    """Of an upload the blocks that a device has sent, and those for which it needs URLs."""

    upload_id: UUID
    done: Sequence[str]
    want: Sequence[str]


@dataclass(frozen=True, slots=True)
class UploadState:
    """An upload and what is still to be sent of it (up to 10,000 hashes; none once it is over).

    None where its block list is not known yet: its init was cut off and has to be repeated.
    """

    version: FileVersion
    missing: Sequence[str] | None


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
    """The same for one upload; a refusal is raised."""
    [result] = refresh_uploads(device=device, reports=[UploadReport(upload_id, done, want)])
    if isinstance(result, DriveError):
        raise result
    return result


def refresh_uploads(
    *, device: UserDevice, reports: Sequence[UploadReport]
) -> list[RefreshedUploads | DriveError]:
    """Record what has arrived and get new URLs; a refused upload leaves the others standing.

    The refusals: NotFound, UploadExpired, PermissionDenied, and ServiceUnavailable for those
    that one call has no room for: it is to be asked again.
    """
    ids = {each.upload_id for each in reports}
    uploads = uploads_by_id(device, ids)
    purged = purged_among(device, ids - uploads.keys())
    roles = roles_of(device.user)
    until = time.monotonic() + REFRESH_BUDGET.total_seconds()
    left = MAX_BLOCKS_PER_CALL
    results: list[RefreshedUploads | DriveError] = []
    for each in reports:
        version = uploads.get(each.upload_id)
        count = 0 if version is None else min(version.block_count, MAX_BLOCKS_PER_CALL)
        if count > left or time.monotonic() > until:
            results.append(ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS))
            continue
        left -= count
        try:
            if version is None:
                raise UploadExpired if each.upload_id in purged else NotFound
            results.append(_refresh(device, version, roles, each))
        except (NotFound, UploadExpired, PermissionDenied) as refusal:
            results.append(refusal)
    return results


def _refresh(
    device: UserDevice, version: FileVersion, roles: Mapping[UUID, str], report: UploadReport
) -> RefreshedUploads:
    if version.status in (VersionStatus.COMMITTED, VersionStatus.SAME):
        # The answer to its commit was lost: there is nothing left to send.
        return RefreshedUploads(verified=tuple(report.done), missing=(), uploads={})
    _check_open(version, roles)
    return get_block_service().refresh_upload_urls(
        file_version_id=version.pk, device_id=device.pk, done=report.done, want=report.want
    )


def upload_state(*, device: UserDevice, upload_id: UUID) -> UploadState:
    """How far an upload is. Raises NotFound or UploadExpired."""
    version = get_upload(device=device, upload_id=upload_id)
    if version.status != VersionStatus.PENDING:
        return UploadState(version, ())
    ask = get_block_service().refresh_upload_urls
    try:
        found = ask(file_version_id=version.pk, device_id=device.pk, done=(), want=())
    except UploadExpired:
        return UploadState(version, None)
    return UploadState(version, found.missing)


def create_packs(
    *, device: UserDevice, packs: Sequence[NewPack]
) -> list[SignedRequest | DriveError]:
    """A PUT for each pack; a refused one (InvalidRequest) leaves the others standing.

    Raises PermissionDenied for whoever may write nowhere, and TooManyRequests when too many
    packs of the device are on their way.
    """
    if not any(role in WRITERS for role in roles_of(device.user).values()):
        raise PermissionDenied("You may only read here.")
    refusals = [_refusal_of(pack) for pack in packs]
    good = [pack for pack, refusal in zip(packs, refusals, strict=True) if refusal is None]
    if not good:
        return [refusal for refusal in refusals if refusal is not None]
    signed = iter(_signed_packs(device, good))
    return [refusal or next(signed) for refusal in refusals]


def _signed_packs(device: UserDevice, packs: Sequence[NewPack]) -> list[SignedRequest | DriveError]:
    ask = get_block_service().create_pack_uploads
    try:
        return [*ask(device_id=device.pk, packs=packs)]
    except InvalidRequest:
        # Of a pack only the Block Service knows whether open uploads name its blocks. One
        # that does not spoils the call, and the answer does not say which.
        results: list[SignedRequest | DriveError] = []
        for pack in packs:
            try:
                results += ask(device_id=device.pk, packs=[pack])
            except (InvalidRequest, TooManyRequests) as error:
                results.append(error)
        return results


def _refusal_of(pack: NewPack) -> InvalidRequest | None:
    """Why this can be no pack. The Block Service would refuse the whole call for it."""
    end = 0
    for block in pack.blocks:
        if block.offset != end:
            return InvalidRequest("The blocks of a pack follow one another without gaps.")
        end += block.size_bytes
    if end != pack.size_bytes:
        return InvalidRequest(f"The blocks have {end} bytes together, not {pack.size_bytes}.")
    if len({block.block_hash for block in pack.blocks}) != len(pack.blocks):
        return InvalidRequest("A pack holds each block once.")
    return None


def _open_upload(device: UserDevice, upload_id: UUID) -> FileVersion:
    version = get_upload(device=device, upload_id=upload_id)
    _check_open(version, roles_of(device.user))
    return version


def _check_open(version: FileVersion, roles: Mapping[UUID, str]) -> None:
    if version.status != VersionStatus.PENDING:
        raise UploadExpired
    if roles.get(version.file.namespace_id) not in WRITERS:
        raise PermissionDenied("You may only read here.")

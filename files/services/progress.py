"""What happens to an upload between its beginning and its commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from blocks.service import (
    MAX_BLOCKS_PER_CALL,
    BlockClaim,
    BlockLocation,
    NewPack,
    PackUpload,
    RefreshedUpload,
    SignedRequest,
    UploadReport,
    get_block_service,
)
from drive_project.common.errors import (
    DriveError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
    UploadExpired,
)
from files import queries
from files.models import FileVersion, UserDevice, VersionStatus
from files.queries.access import WRITERS
from files.queries.many import purged_among, roles_of, uploads_by_id
from files.services.uploads import new_version_of

RETRY_AFTER_SECONDS = 1


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


def refresh_uploads(
    *, device: UserDevice, reports: Sequence[UploadReport]
) -> list[RefreshedUpload | DriveError]:
    """Record what has arrived and get new URLs; a refused upload leaves the others standing.

    The refusals: NotFound, UploadExpired, PermissionDenied, and ServiceUnavailable for those
    that one call has no room for: it is to be asked again.
    """
    ids = {report.file_version_id for report in reports}
    uploads = uploads_by_id(device, ids)
    purged = purged_among(device, ids - uploads.keys())
    roles = roles_of(device.user)
    left = MAX_BLOCKS_PER_CALL
    answers: dict[int, RefreshedUpload | DriveError] = {}
    to_ask: dict[int, UploadReport] = {}
    for index, report in enumerate(reports):
        pk = report.file_version_id
        version = uploads.get(pk)
        try:
            if version is None:
                raise UploadExpired if pk in purged else NotFound
            if version.status in (VersionStatus.COMMITTED, VersionStatus.SAME):
                # The answer to its commit was lost: there is nothing left to send.
                answers[index] = RefreshedUpload(verified=tuple(report.done))
                continue
            _check_open(version, roles)
            count = min(version.block_count, MAX_BLOCKS_PER_CALL)
            if count > left:
                raise ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS)
            left -= count
            to_ask[index] = report
        except (NotFound, UploadExpired, PermissionDenied, ServiceUnavailable) as refusal:
            answers[index] = refusal
    if to_ask:
        ask = get_block_service().refresh_upload_urls
        found = ask(device_id=device.pk, reports=list(to_ask.values()))
        for index, refreshed in zip(to_ask, found, strict=True):
            answers[index] = UploadExpired() if refreshed.is_expired else refreshed
    return [answers[index] for index in range(len(reports))]


def refresh_upload(*, device: UserDevice, report: UploadReport) -> RefreshedUpload:
    """The same for one upload; a refusal is raised."""
    [result] = refresh_uploads(device=device, reports=[report])
    if isinstance(result, DriveError):
        raise result
    return result


def upload_state(*, device: UserDevice, upload_id: UUID) -> UploadState:
    """How far an upload is. Raises NotFound or UploadExpired."""
    version = get_upload(device=device, upload_id=upload_id)
    if version.status != VersionStatus.PENDING:
        return UploadState(version, ())
    [found] = get_block_service().refresh_upload_urls(
        device_id=device.pk, reports=[UploadReport(version.pk, done=(), want=())]
    )
    return UploadState(version, None if found.is_expired else found.missing)


def create_packs(
    *, device: UserDevice, packs: Sequence[NewPack]
) -> list[SignedRequest | DriveError]:
    """A PUT for each pack; a refused one leaves the others standing.

    The refusal is an InvalidRequest, with `block_hashes` where no open upload of the device
    names these blocks of the pack.

    Raises PermissionDenied for whoever may write nowhere, and TooManyRequests when too many
    packs of the device are on their way.
    """
    if not any(role in WRITERS for role in roles_of(device.user).values()):
        raise PermissionDenied("You may only read here.")
    if not packs:
        return []
    found = get_block_service().create_pack_uploads(device_id=device.pk, packs=packs)
    return [each.upload or _refusal_of(each) for each in found]


def _refusal_of(refused: PackUpload) -> InvalidRequest:
    extra = {"block_hashes": list(refused.unnamed)} if refused.unnamed else {}
    return InvalidRequest(refused.refusal, **extra)


def _open_upload(device: UserDevice, upload_id: UUID) -> FileVersion:
    version = get_upload(device=device, upload_id=upload_id)
    _check_open(version, roles_of(device.user))
    return version


def _check_open(version: FileVersion, roles: Mapping[UUID, str]) -> None:
    if version.status != VersionStatus.PENDING:
        raise UploadExpired
    if roles.get(version.file.namespace_id) not in WRITERS:
        raise PermissionDenied("You may only read here.")

"""Beginning uploads: a place in the tree, bytes set aside, and where to send the blocks.

Nothing becomes visible here. The metadata comes first and the Block Service second, so a
crash between the two leaves a pending version without references, which the sweep aborts.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from blocks.service import (
    MAX_BLOCK_BYTES,
    BlockClaim,
    BlockLocation,
    LocationState,
    NewVersion,
    get_block_service,
)
from drive_project.common.errors import (
    DriveError,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
    UploadExpired,
)
from files import queries
from files.idempotency import request_digest
from files.models import (
    ConflictKind,
    DeviceKind,
    File,
    FileStatus,
    FileVersion,
    Folder,
    IdempotencyRecord,
    OnConflict,
    StorageAccount,
    UserDevice,
    VersionStatus,
)
from files.names import check_name, name_key
from files.queries.access import WRITERS
from files.queries.many import files_by_id, folders_by_id, owners_of, roles_of
from files.services import quota
from files.services.aborts import withdraw
from files.services.locking import lock_account

RETRY_AFTER_SECONDS = 1
EMPTY_HASH = hashlib.sha256().hexdigest()
# A device keeps both edits; a program that holds an access token wants to know; a person in
# a browser who picks a file of the same name means to replace it, and can go back.
DEFAULT_ON_CONFLICT = {
    DeviceKind.SYNC: OnConflict.CONFLICT_COPY,
    DeviceKind.TOKEN: OnConflict.FAIL,
    DeviceKind.BROWSER: OnConflict.NEW_VERSION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """A content that a device wants to make the current one of a file.

    file_id names an existing file, or is chosen for a new one. name and parent_folder_id
    say where a new file goes, and count for an existing one only where that is gone.
    blocks may be the beginning of a list of block_count.
    """

    size_bytes: int
    content_hash: str
    block_count: int
    blocks: Sequence[BlockClaim]
    name: str | None = None
    parent_folder_id: UUID | None = None
    file_id: UUID | None = None
    base_version_id: UUID | None = None
    on_conflict: OnConflict | None = None
    client_modified_ns: int = 0
    executable: bool = False
    # Of a new file that its device had made as a conflict copy: of which file, and what kind.
    conflict_of_file_id: UUID | None = None
    conflict_kind: ConflictKind | None = None
    op_id: str = ""

    def check(self) -> None:
        """Raises InvalidRequest or InvalidName for what contradicts itself."""
        if self.name is None or self.parent_folder_id is None:
            if self.file_id is None:
                raise InvalidRequest("Give file_id, or name and parent_folder_id.")
        else:
            check_name(self.name)
        if (self.conflict_of_file_id is None) != (self.conflict_kind is None):
            raise InvalidRequest("conflict_of_file_id and conflict_kind go together.")
        if not self.block_count <= self.size_bytes <= self.block_count * MAX_BLOCK_BYTES:
            raise InvalidRequest(
                f"{self.size_bytes} bytes cannot be {self.block_count} blocks "
                f"of 1 to {MAX_BLOCK_BYTES} bytes."
            )
        if len(self.blocks) > self.block_count:
            raise InvalidRequest("There are more blocks than block_count says.")
        if len(set(self.blocks)) != len({block.block_hash for block in self.blocks}):
            raise InvalidRequest("One block is named with two sizes.")
        given_bytes = sum(block.size_bytes for block in self.blocks)
        if len(self.blocks) == self.block_count and given_bytes != self.size_bytes:
            raise InvalidRequest(
                f"The blocks have {given_bytes} bytes together, not {self.size_bytes}."
            )
        if given_bytes > self.size_bytes:
            raise InvalidRequest("The blocks have more bytes than the file.")
        # Of these the hash is known by the block list, so nobody has to read them later.
        known = EMPTY_HASH if not self.block_count else None
        if self.block_count == 1 and self.blocks:
            known = self.blocks[0].block_hash
        if known is not None and known != self.content_hash:
            raise InvalidRequest("content_hash is not the hash of these blocks.")

    def digest(self) -> str:
        """What must be equal for a repeat to be the same request."""
        return request_digest(
            [
                "upload/init",
                self.name,
                self.parent_folder_id,
                self.file_id,
                self.base_version_id,
                self.on_conflict,
                self.size_bytes,
                self.content_hash,
                self.client_modified_ns,
                self.executable,
                self.block_count,
                [[block.block_hash, block.size_bytes] for block in self.blocks],
                # Only where it is given: a request of before it existed stays the same.
                *([self.conflict_of_file_id, self.conflict_kind] if self.conflict_kind else ()),
            ]
        )


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that was begun, now or before, and what to do about each distinct block."""

    version: FileVersion
    locations: Sequence[BlockLocation]


def begin_uploads(
    *, device: UserDevice, uploads: Sequence[NewUpload]
) -> list[OpenUpload | DriveError]:
    """Begin many uploads; a refused one leaves the others standing.

    A repeat by op_id gets its first answer, with new URLs. The refusals: InvalidRequest,
    InvalidName, NotFound, PermissionDenied, QuotaExceeded, IdempotencyKeyReused, and
    UploadExpired for the repeat of an upload that is over.
    """
    try:
        begun = _enter(device, uploads)
    except IntegrityError:
        # The same request was running at the same time, or a folder went for ever. What
        # the other one wrote is visible now.
        begun = _enter(device, uploads)
    locations = _take_references(
        device,
        {
            entered.pk: (entered, upload)
            for upload, entered in zip(uploads, begun, strict=True)
            if isinstance(entered, FileVersion)
        },
    )
    results: list[OpenUpload | DriveError] = []
    for entered in begun:
        if isinstance(entered, DriveError):
            results.append(entered)
            continue
        found = locations[entered.pk]
        results.append(found if isinstance(found, DriveError) else OpenUpload(entered, found))
    return results


def _enter(device: UserDevice, uploads: Sequence[NewUpload]) -> list[FileVersion | DriveError]:
    """The pending versions of these uploads, in one transaction."""
    with transaction.atomic():
        return _Entry(device, uploads).run()


@dataclass
class _Entry:
    """The rows of one batch: read first, decided in order, written together at the end."""

    device: UserDevice
    uploads: Sequence[NewUpload]
    roles: dict[UUID, str] = field(init=False)
    folders: dict[UUID, Folder] = field(init=False)
    files: dict[UUID, File] = field(init=False)
    # Chosen for a new file, yet in use by something that the person cannot see.
    used_ids: set[UUID] = field(init=False)
    accounts: dict[UUID, StorageAccount] = field(init=False)
    known: dict[str, tuple[str, FileVersion | DriveError]] = field(default_factory=dict)
    new_files: list[File] = field(default_factory=list)
    new_versions: list[FileVersion] = field(default_factory=list)
    records: list[IdempotencyRecord] = field(default_factory=list)

    def run(self) -> list[FileVersion | DriveError]:
        self._read()
        results: list[FileVersion | DriveError] = []
        for upload in self.uploads:
            try:
                results.append(self._enter_one(upload))
            except DriveError as error:
                results.append(error)
        self._write()
        return results

    def _read(self) -> None:
        uploads, user = self.uploads, self.device.user
        records = {
            record.key: record
            for record in IdempotencyRecord.objects.filter(
                device=self.device, key__in={upload.op_id for upload in uploads} - {""}
            )
        }
        begun = FileVersion.objects.select_related("file").in_bulk(
            [
                UUID(record.answer["file_version_id"])
                for record in records.values()
                if "file_version_id" in record.answer
            ]
        )
        for key, record in records.items():
            version_id = record.answer.get("file_version_id")
            # Its file is gone for ever, and the version with it.
            answer = (version_id and begun.get(UUID(version_id))) or UploadExpired()
            self.known[key] = record.request_digest, answer
        wanted = {
            file_id
            for upload in uploads
            for file_id in (upload.file_id, upload.conflict_of_file_id)
            if file_id is not None
        }
        parents = {
            upload.parent_folder_id for upload in uploads if upload.parent_folder_id is not None
        }
        # The accounts first: whoever deletes a folder for ever marks it under their locks, so
        # what is read below as still there gets no upload behind the back of the deletion.
        owners = owners_of(user, wanted, parents)
        self.accounts = {owner_id: lock_account(owner_id) for owner_id in sorted(owners)}
        self.roles = roles_of(user)
        self.files = files_by_id(user, wanted)
        self.used_ids = _used_ids(wanted - self.files.keys())
        self.folders = folders_by_id(self.roles, parents)

    def _enter_one(self, upload: NewUpload) -> FileVersion:
        digest = upload.digest() if upload.op_id else ""
        if upload.op_id in self.known:
            first_digest, answer = self.known[upload.op_id]
            if first_digest != digest:
                raise IdempotencyKeyReused
            if isinstance(answer, DriveError):
                raise answer
            if answer.status == VersionStatus.ABORTED:
                raise UploadExpired
            return answer
        upload.check()
        file = self._file_for(upload)
        if self.roles[file.namespace_id] not in WRITERS:
            raise PermissionDenied("You may only read here.")
        self._check_original(upload, file)
        account = self.accounts.get(file.namespace.owner_id)
        if account is None:
            # It has just moved into somebody else's namespace.
            raise ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS)
        quota.reserve(account, upload.size_bytes)
        if file.pk not in self.files:
            self.files[file.pk] = file
            self.new_files.append(file)
        version = FileVersion(
            file=file,
            base_version_id=upload.base_version_id,
            size_bytes=upload.size_bytes,
            block_count=upload.block_count,
            content_hash=upload.content_hash,
            author=self.device.user,
            device=self.device,
            executable=upload.executable,
            client_modified_ns=upload.client_modified_ns,
            conflict_of_id=upload.conflict_of_file_id,
            conflict_kind=upload.conflict_kind or "",
            on_conflict=upload.on_conflict or DEFAULT_ON_CONFLICT[DeviceKind(self.device.kind)],
            expires_at=timezone.now() + settings.UPLOAD_LIFETIME,
        )
        self.new_versions.append(version)
        if upload.op_id:
            self.known[upload.op_id] = digest, version
            self.records.append(
                IdempotencyRecord(
                    device=self.device,
                    key=upload.op_id,
                    request_digest=digest,
                    status=201,
                    answer={"file_id": str(file.pk), "file_version_id": str(version.pk)},
                )
            )
        return version

    def _file_for(self, upload: NewUpload) -> File:
        """The file that is meant, or a new one where there is none. Raises NotFound."""
        if upload.file_id is not None and upload.file_id in self.files:
            return self.files[upload.file_id]
        if upload.name is None or upload.parent_folder_id is None:
            raise NotFound
        parent = self.folders.get(upload.parent_folder_id)
        if parent is None:
            raise NotFound("There is no such folder.")
        file = File(
            user=self.device.user,
            namespace=parent.namespace,
            parent_folder=parent,
            name=upload.name,
            name_key=name_key(upload.name),
        )
        # An id that is in use stands for a file that is being deleted for ever, or for
        # somebody else's: which one, nobody learns.
        if upload.file_id is not None and upload.file_id not in self.used_ids:
            file.file_id = upload.file_id
        return file

    def _check_original(self, upload: NewUpload, file: File) -> None:
        """Raises NotFound unless the file of which this is the copy is there, beside it."""
        if upload.conflict_of_file_id is None:
            return
        if file.pk in self.files:
            raise InvalidRequest("Only a new file is a conflict copy; this one is there already.")
        original = self.files.get(upload.conflict_of_file_id)
        if (
            original is None
            or original.status != FileStatus.UPLOADED
            or original.namespace_id != file.namespace_id
        ):
            raise NotFound("There is no such file that this one could be the copy of.")

    def _write(self) -> None:
        File.objects.bulk_create(self.new_files)
        FileVersion.objects.bulk_create(self.new_versions)
        IdempotencyRecord.objects.bulk_create(self.records)
        if self.new_versions:
            for account in self.accounts.values():
                quota.save(account)


def _used_ids(wanted: Iterable[UUID]) -> set[UUID]:
    """Those of the ids that some file or folder has, whoever's."""
    ids = set(wanted)
    if not ids:
        return set()
    files = File.objects.filter(pk__in=ids).values_list("pk", flat=True)
    folders = Folder.objects.filter(pk__in=ids).values_list("pk", flat=True)
    return {*files, *folders}


def _take_references(
    device: UserDevice, uploads: Mapping[UUID, tuple[FileVersion, NewUpload]]
) -> dict[UUID, Sequence[BlockLocation] | DriveError]:
    """Where the blocks of each version go: one call for all of them.

    What the Block Service refuses is withdrawn, as if the upload had never begun.
    """
    readable = queries.readable_namespaces(device.user)
    found: dict[UUID, Sequence[BlockLocation] | DriveError] = {}
    wanted: list[NewVersion] = []
    for version, upload in uploads.values():
        if version.status != VersionStatus.PENDING:
            # Begun and committed before: the device has only to hear the commit's answer.
            found[version.pk] = _nothing_to_send(upload.blocks)
        else:
            wanted.append(new_version_of(version, upload.blocks))
    if not wanted:
        return found
    ask = get_block_service().get_or_create_block_locations
    try:
        answers = ask(versions=wanted, readable=readable)
        found.update(zip((each.file_version_id for each in wanted), answers, strict=True))
    except (InvalidRequest, UploadExpired):
        # One of them spoils the call, and the answer does not say which. Rare: an upload was
        # released meanwhile, or was continued before its beginning had been told.
        for each in wanted:
            version, upload = uploads[each.file_version_id]
            try:
                found[version.pk] = ask(versions=[each], readable=readable)[0]
            except (InvalidRequest, UploadExpired) as error:
                withdraw(device=device, version=version, op_id=upload.op_id)
                found[version.pk] = error
    return found


def new_version_of(
    version: FileVersion, blocks: Sequence[BlockClaim], start_index: int = 0
) -> NewVersion:
    """A pending version as the Block Service is told of it."""
    if version.device_id is None:
        raise UploadExpired
    return NewVersion(
        file_version_id=version.pk,
        file_id=version.file_id,
        namespace_id=version.file.namespace_id,
        device_id=version.device_id,
        blocks=blocks,
        start_index=start_index,
    )


def _nothing_to_send(blocks: Sequence[BlockClaim]) -> list[BlockLocation]:
    distinct = {block.block_hash: block for block in blocks}
    return [
        BlockLocation(block.block_hash, block.size_bytes, LocationState.HELD)
        for block in distinct.values()
    ]

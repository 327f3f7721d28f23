"""What becomes of verified uploads, decided in memory and written together.

All of a namespace's uploads of one request are judged one after another under its lock,
each seeing what the ones before it did. A refused one has written nothing, so it leaves no
gap in the journal. Then each table is written once, whatever their number.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from django.utils import timezone

from drive_project.common.errors import DriveError, UploadExpired, VersionConflict
from files import journal, outbox, queries
from files.conflicts import Content, Judgement, conflict_name, conflict_names, judge
from files.models import (
    ChangeAction,
    Conflict,
    ConflictKind,
    File,
    FileStatus,
    FileVersion,
    Folder,
    Namespace,
    OnConflict,
    StorageAccount,
    UserDevice,
    VersionStatus,
)
from files.names import name_key, numbered_names
from files.queries import Standing
from files.services import quota
from files.services.folders import live_folder_for, name_taken
from files.services.outcomes import Committed, Outcome, Result
from files.services.taken_names import TakenNames

_FILE_FIELDS = [
    "parent_folder",
    "name",
    "name_key",
    "current_version",
    "size_bytes",
    "content_hash",
    "status",
    "executable",
    "client_modified_ns",
    "modified_at",
    "deleted_at",
    "deleted_by_device",
]
_VERSION_FIELDS = [
    "file",
    "same_as_id",
    "is_content_hash_confirmed",
    "blocks_digest",
    "committed_at",
    "status",
    "is_damaged",
    "outcome_file_id",
    "is_conflict_copy",
]


Row = TypeVar("Row", File, FileVersion)


class Decisions:
    """The decisions of one transaction, which holds the locks of namespace and account."""

    def __init__(self, namespace: Namespace, account: StorageAccount, device: UserDevice) -> None:
        self._namespace = namespace
        self._account = account
        self._device = device
        self._now = timezone.now()
        # One instance for each row, so that each upload sees what the ones before it did.
        self._files: dict[UUID, File] = {}
        self._names = TakenNames(lambda file: self._files.setdefault(file.pk, file))
        self._folders: dict[UUID, Folder] = {}
        self._standing: dict[UUID, Standing] = {}
        # For a folder in the trash, or below one there: the live one in its stead.
        self._stead: dict[UUID, Folder] = {}
        # What is to be written, in the order in which it came about.
        self._changed: dict[UUID, File] = {}
        self._versions: dict[UUID, FileVersion] = {}
        self._placed: list[FileVersion] = []
        self._released: list[UUID] = []
        self._conflicts: list[Conflict] = []
        # Of which files uploads are conflict copies, as their devices say.
        self._originals: dict[UUID, File] = {}
        # Files that an upload began and that became a version of another one.
        self._superseded: list[UUID] = []

    def make(self, uploads: Sequence[FileVersion]) -> dict[UUID, Result]:
        """Decide pending uploads with their files; each has its `blocks_digest` set."""
        if not uploads:
            return {}
        self._read(uploads)
        results: dict[UUID, Result] = {}
        for upload in uploads:
            try:
                results[upload.pk] = self._decide(upload)
            except DriveError as error:
                results[upload.pk] = error
        self._write()
        return results

    # --- Reading, for all uploads at once -----------------------------------------------

    def _read(self, uploads: Sequence[FileVersion]) -> None:
        for upload in uploads:
            self._files[upload.file_id] = upload.file
            upload.is_content_hash_confirmed |= _is_its_only_block(upload)
        wanted = {each.conflict_of_id for each in uploads if each.conflict_of_id is not None}
        if wanted:
            # It was checked at the init; what left this namespace since is no side any more.
            self._originals = File.objects.filter(
                namespace=self._namespace, status=FileStatus.UPLOADED, is_purging=False
            ).in_bulk(wanted)
        parents = {file.parent_folder_id for file in self._files.values()}
        self._folders = Folder.objects.in_bulk(parents)
        self._standing = queries.standings(parents)
        # Folders are made before the first name is looked up, so that what is looked up
        # stays true.
        places = []
        for upload in uploads:
            file = upload.file
            is_moved_on = self._judge(upload) is Judgement.MOVED_ON
            if self._is_gone(file) or (is_moved_on and upload.on_conflict == OnConflict.FAIL):
                continue
            parent_id = self._live_parent(file)
            places.append((parent_id, file.name_key))
            if is_moved_on:
                places.append((parent_id, name_key(self._first_conflict_name(file.name))))
        self._names.load(places)

    def _live_parent(self, file: File) -> UUID:
        """The live folder where the file is, or where it comes to be."""
        parent_id = file.parent_folder_id
        if self._standing[parent_id].is_live:
            return parent_id
        if parent_id not in self._stead:
            self._stead[parent_id] = live_folder_for(
                self._namespace, self._folders[parent_id], device=self._device
            )
        return self._stead[parent_id].pk

    def _is_gone(self, file: File) -> bool:
        return file.is_purging or self._standing_of(file.parent_folder_id).is_purging

    def _is_live(self, file: File) -> bool:
        return (
            file.status == FileStatus.UPLOADED
            and not file.is_deleted
            and self._standing_of(file.parent_folder_id).is_live
        )

    def _standing_of(self, folder_id: UUID) -> Standing:
        # A folder that was not read beforehand is one that a name or a chain led to: live.
        return self._standing.get(folder_id, Standing(is_live=True, is_purging=False))

    def _first_conflict_name(self, name: str) -> str:
        return conflict_name(name, device_name=self._device.name, day=self._now.date())

    # --- Deciding, one after another ----------------------------------------------------

    def _judge(self, upload: FileVersion) -> Judgement:
        file = upload.file
        current = file.current_version
        if current is None:
            # A new file has nothing to be in conflict with, whatever its base once was.
            return Judgement.IN_ORDER
        return judge(
            current_version_id=current.pk,
            current=content_of(current),
            base_version_id=upload.base_version_id,
            uploaded=content_of(upload),
        )

    def _decide(self, upload: FileVersion) -> Committed:
        file = upload.file
        if self._is_gone(file):
            raise UploadExpired("The file is being deleted for ever; upload it anew.")
        match self._judge(upload):
            case Judgement.SAME_CONTENT if self._is_live(file):
                return self._keep(upload, file)
            case Judgement.MOVED_ON if upload.on_conflict == OnConflict.FAIL:
                raise VersionConflict(current_version_id=str(file.current_version_id))
            case Judgement.MOVED_ON if upload.on_conflict != OnConflict.NEW_VERSION:
                return self._copy(upload, beside=file, folder_id=self._live_parent(file))
        if self._is_live(file):
            return self._show(upload, file)
        return self._bring(upload, file)

    def _bring(self, upload: FileVersion, file: File) -> Committed:
        """Give a new or a trashed file its place in the tree, if that is free."""
        folder_id = self._live_parent(file)
        holder = self._names.at((folder_id, file.name_key))
        if holder is None:
            file.parent_folder_id = folder_id
            file.deleted_at = file.deleted_by_device = None
            is_new = file.status == FileStatus.PENDING
            if self._judge(upload) is Judgement.SAME_CONTENT:
                answer = self._keep(upload, file)
            else:
                answer = self._show(upload, file)
            if is_new and (original := self._original_of(upload)) is not None:
                self._note_conflict(upload, original, copy=file, kind=upload.conflict_kind)
            self._change(file)
            return answer
        if isinstance(holder, File):
            if holder.current_version is not None and content_of(upload).is_same_as(
                content_of(holder.current_version)
            ):
                return self._keep(upload, holder)
            if upload.on_conflict == OnConflict.NEW_VERSION:
                self._superseded.append(file.pk)
                return self._show(upload, holder)
        if upload.on_conflict == OnConflict.FAIL:
            raise name_taken(holder)
        if upload.on_conflict == OnConflict.KEEP_BOTH and file.status == FileStatus.PENDING:
            file.parent_folder_id = folder_id
            file.name = self._names.first_free(
                folder_id, numbered_names(file.name, is_folder=False)
            )
            file.name_key = name_key(file.name)
            if (original := self._original_of(upload)) is not None:
                self._note_conflict(upload, original, copy=file, kind=upload.conflict_kind)
            return self._show(upload, file)
        return self._copy(upload, beside=holder, folder_id=folder_id, name=file.name)

    def _keep(self, upload: FileVersion, file: File) -> Committed:
        """The file has this content already: no version is made."""
        current = file.current_version
        if current is None:
            raise AssertionError("Only a file with a version can have the same content.")
        if current.is_damaged and current.blocks_digest != upload.blocks_digest:
            # Cut otherwise, so its blocks heal nothing: then it takes the damaged one's place.
            if upload.file_id != file.pk:
                self._superseded.append(upload.file_id)
            return self._show(upload, file)
        if upload.base_version_id == current.pk and (
            (file.executable, file.client_modified_ns)
            != (upload.executable, upload.client_modified_ns)
        ):
            file.executable = upload.executable
            file.client_modified_ns = upload.client_modified_ns
            self._change(file)
        if current.is_damaged and current.blocks_digest == upload.blocks_digest:
            # The device had the content and has healed it: every block was found readable.
            current.is_damaged = False
            self._versions[current.pk] = current
            self._change(file)
        upload.status = VersionStatus.SAME
        upload.same_as_id = current.pk
        upload.outcome_file_id = file.pk
        self._versions[upload.pk] = upload
        self._released.append(upload.pk)
        quota.release(self._account, upload.size_bytes)
        return Committed(Outcome.SAME, file, current.pk)

    def _show(self, upload: FileVersion, file: File) -> Committed:
        """Make the upload the current version of a file; the one before stays a version."""
        upload.file = file
        upload.status = VersionStatus.COMMITTED
        upload.committed_at = self._now
        upload.outcome_file_id = file.pk
        file.status = FileStatus.UPLOADED
        file.current_version = upload
        file.size_bytes = upload.size_bytes
        file.content_hash = upload.content_hash
        file.executable = upload.executable
        file.client_modified_ns = upload.client_modified_ns
        self._versions[upload.pk] = upload
        self._placed.append(upload)
        quota.spend(self._account, upload.size_bytes)
        self._change(file)
        return Committed(Outcome.COMMITTED, file, upload.pk)

    def _copy(
        self,
        upload: FileVersion,
        *,
        beside: Folder | File,
        folder_id: UUID,
        name: str | None = None,
    ) -> Committed:
        """Show the upload in a new file beside the one that it cannot replace."""
        copy = upload.file
        kind = ConflictKind.CREATE_CREATE
        if copy.status != FileStatus.PENDING:
            kind = self._kind(upload)
            copy = File(user=self._device.user, namespace=self._namespace)
        copy.parent_folder_id = folder_id
        copy.name = self._names.first_free(
            folder_id,
            conflict_names(
                name or beside.name, device_name=self._device.name, day=self._now.date()
            ),
        )
        copy.name_key = name_key(copy.name)
        self._show(upload, copy)
        upload.is_conflict_copy = True
        original: Folder | File = beside
        if (told := self._original_of(upload)) is not None:
            # Its name was taken, but by what it is the copy of, the device knows.
            original, kind = told, ConflictKind(upload.conflict_kind)
        if isinstance(original, Folder):
            return Committed(Outcome.CONFLICT_COPY, copy, upload.pk)
        self._note_conflict(upload, original, copy=copy, kind=kind)
        return Committed(Outcome.CONFLICT_COPY, copy, upload.pk, original.pk)

    def _original_of(self, upload: FileVersion) -> File | None:
        """The file of which a new one is the conflict copy, as its device says."""
        if upload.conflict_of_id is None or upload.conflict_of_id not in self._originals:
            return None
        return self._files.get(upload.conflict_of_id, self._originals[upload.conflict_of_id])

    def _note_conflict(self, upload: FileVersion, original: File, *, copy: File, kind: str) -> None:
        self._conflicts.append(
            Conflict(
                namespace=self._namespace,
                file=original,
                copy=copy,
                kind=kind,
                base_version_id=upload.base_version_id,
                file_version_id=original.current_version_id,
                copy_version_id=upload.pk,
                device=self._device,
            )
        )

    def _kind(self, upload: FileVersion) -> ConflictKind:
        """What an upload for a file that was there before conflicts with."""
        if not self._is_live(upload.file):
            return ConflictKind.EDIT_DELETE
        if upload.base_version_id is None:
            return ConflictKind.CREATE_CREATE
        return ConflictKind.EDIT_EDIT

    def _change(self, file: File) -> None:
        self._changed[file.pk] = file
        self._names.take(file)

    # --- Writing, each table once -------------------------------------------------------

    def _write(self) -> None:
        files = list(self._changed.values())
        upsert(File, files, _FILE_FIELDS)
        upsert(FileVersion, list(self._versions.values()), _VERSION_FIELDS)
        Conflict.objects.bulk_create(self._conflicts)
        if self._superseded:
            File.objects.filter(
                pk__in=self._superseded, status=FileStatus.PENDING, versions__isnull=True
            ).delete()
        quota.save(self._account)
        # Before the journal's own message: whoever is woken asks for these blocks.
        outbox.add_committed(
            (upload.pk, upload.file_id, self._namespace.pk) for upload in self._placed
        )
        outbox.add_released(self._released)
        journal.append(
            self._namespace,
            [(ChangeAction.UPSERT, file) for file in files],
            device=self._device,
        )


def content_of(version: FileVersion) -> Content:
    """What is known of a version's content."""
    return Content(
        size_bytes=version.size_bytes,
        blocks_digest=version.blocks_digest,
        content_hash=version.content_hash,
        is_content_hash_confirmed=version.is_content_hash_confirmed,
    )


def _is_its_only_block(upload: FileVersion) -> bool:
    """Whether the content hash is that of the one block, which is verified by now (or of none)."""
    if upload.block_count > 1:
        return False
    only = bytes.fromhex(upload.content_hash) if upload.block_count else b""
    return hashlib.sha256(only).hexdigest() == upload.blocks_digest


def upsert(model: type[Row], rows: Sequence[Row], fields: Sequence[str]) -> None:
    """Insert new rows and write these fields of the others, in a query per few hundred rows.

    Many times faster than an UPDATE with a CASE for each field.
    """
    # An insertion sets it anew on the instance, though the row keeps its own.
    created = [(row, row.created_at) for row in rows if row.created_at is not None]
    model._default_manager.bulk_create(
        rows, update_conflicts=True, unique_fields=["pk"], update_fields=fields
    )
    for row, created_at in created:
        row.created_at = created_at

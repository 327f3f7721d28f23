"""Files without bytes: for stories about the tree, in which content plays no part."""

import hashlib
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from files import journal, queries
from files.models import (
    ChangeAction,
    File,
    FileStatus,
    FileVersion,
    Folder,
    StorageAccount,
    UserDevice,
    VersionStatus,
)
from files.names import name_key
from files.services.folders import live_folder_for
from files.services.locking import lock_account, lock_folder


def put_file(
    device: UserDevice, parent_folder_id: UUID, name: str, *, size_bytes: int = 1_000
) -> File:
    """A committed file as an upload leaves it, with its entry in the journal."""
    with transaction.atomic():
        namespace, parent = lock_folder(device, parent_folder_id, live=False)
        parent = live_folder_for(namespace, parent, device=device)
        account = lock_account(namespace.owner_id)
        file = File.objects.create(
            user=device.user,
            namespace=namespace,
            parent_folder=parent,
            name=queries.free_name(parent, name, is_folder=False),
            name_key=name_key(queries.free_name(parent, name, is_folder=False)),
        )
        _show_new_version(file, account, device, size_bytes)
        file.save()
        journal.append(namespace, [(ChangeAction.UPSERT, file)], device=device)
    return file


def edit_file(device: UserDevice, file: File, *, size_bytes: int = 2_000) -> File:
    """A new content; brings a trashed file back, as a commit does."""
    with transaction.atomic():
        namespace, parent = lock_folder(device, file.parent_folder_id, live=False)
        file = queries.get_file(device.user, file.pk, write=True, live=False)
        place = live_folder_for(namespace, parent, device=device)
        account = lock_account(namespace.owner_id)
        if file.is_deleted or place != file.parent_folder:
            file.name = queries.free_name(place, file.name, is_folder=False, besides=file.pk)
            file.name_key = name_key(file.name)
        file.parent_folder, file.deleted_at, file.deleted_by_device = place, None, None
        _show_new_version(file, account, device, size_bytes)
        file.save()
        journal.append(namespace, [(ChangeAction.UPSERT, file)], device=device)
    return file


def begin_upload(device: UserDevice, parent: Folder, name: str, *, size_bytes: int) -> FileVersion:
    """What init leaves: a pending file and a pending version, with its bytes reserved."""
    with transaction.atomic():
        account = lock_account(parent.namespace.owner_id)
        file = File.objects.create(
            user=device.user,
            namespace_id=parent.namespace_id,
            parent_folder=parent,
            name=name,
            name_key=name_key(name),
        )
        version = FileVersion.objects.create(
            file=file,
            size_bytes=size_bytes,
            content_hash="00" * 32,
            author=device.user,
            device=device,
            expires_at=timezone.now() + timedelta(days=7),
        )
        account.reserved_bytes += size_bytes
        account.save()
    return version


def _show_new_version(
    file: File, account: StorageAccount, device: UserDevice, size_bytes: int
) -> None:
    version = FileVersion.objects.create(
        file=file,
        size_bytes=size_bytes,
        block_count=1,
        content_hash=hashlib.sha256(f"{file.pk}{size_bytes}".encode()).hexdigest(),
        author=device.user,
        device=device,
        status=VersionStatus.COMMITTED,
        expires_at=timezone.now(),
        committed_at=timezone.now(),
    )
    file.current_version = version
    file.status = FileStatus.UPLOADED
    file.size_bytes, file.content_hash = size_bytes, version.content_hash
    account.used_bytes += size_bytes
    account.save()


def used_bytes(device: UserDevice) -> int:
    return StorageAccount.objects.get(owner=device.user).used_bytes

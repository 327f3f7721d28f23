"""Renaming and moving, and the few facts about a file that change without new content.

All of it writes one row and one entry, however much lies below.
"""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from drive_project.common.errors import InvalidRequest, MoveIntoItself, NotFound
from files import journal, queries
from files.conflicts import is_conflict_name
from files.models import ChangeAction, Conflict, File, Folder, Settled, UserDevice
from files.names import check_name, name_key
from files.services.folders import name_taken
from files.services.locking import check_rev, lock_file, lock_folder


def update_folder(
    *,
    device: UserDevice,
    folder_id: UUID,
    rev: int,
    name: str | None = None,
    parent_folder_id: UUID | None = None,
) -> Folder:
    """Rename a folder, move it, or both; None leaves as it is. Nothing new writes nothing.

    rev: the revision that the device has seen. Raises StalePrecondition, NameTaken,
    MoveIntoItself, and InvalidRequest for a root or another namespace.
    """
    with transaction.atomic():
        namespace, folder = lock_folder(device, folder_id)
        check_not_root(folder)
        check_rev(folder, rev)
        if not _place(device, folder, name, parent_folder_id):
            return folder
        folder.save()
        journal.append(namespace, [(ChangeAction.UPSERT, folder)], device=device)
    return folder


def update_file(
    *,
    device: UserDevice,
    file_id: UUID,
    rev: int,
    name: str | None = None,
    parent_folder_id: UUID | None = None,
    executable: bool | None = None,
    client_modified_ns: int | None = None,
    conflict_of_file_id: UUID | None = None,
    conflict_kind: str | None = None,
) -> File:
    """Rename or move a file, or set what its file system says of it; else like a folder.

    conflict_of_file_id, conflict_kind: the device had to give it the name of a conflict copy,
    because that file has its own. So they are in conflict, and written as such. Raises
    NotFound for a file that the person cannot read, or of another namespace.
    """
    if (conflict_of_file_id is None) != (conflict_kind is None):
        raise InvalidRequest("conflict_of_file_id and conflict_kind go together.")
    with transaction.atomic():
        namespace, file = lock_file(device, file_id)
        check_rev(file, rev)
        original = _original(device, file, conflict_of_file_id)
        name_before = file.name
        is_changed = _place(device, file, name, parent_folder_id)
        if executable is not None and executable != file.executable:
            file.executable = executable
            is_changed = True
        if client_modified_ns is not None and client_modified_ns != file.client_modified_ns:
            file.client_modified_ns = client_modified_ns
            is_changed = True
        if original is not None:
            _note_conflict(original, copy=file, kind=str(conflict_kind), device=device)
        if not is_changed:
            return file
        file.save()
        if is_conflict_name(name_before) and not is_conflict_name(file.name):
            settle_by_hand(copy=file, device=device)
        journal.append(namespace, [(ChangeAction.UPSERT, file)], device=device)
    return file


def _original(device: UserDevice, copy: File, file_id: UUID | None) -> File | None:
    """The file of which another one is the conflict copy, as the device says."""
    if file_id is None:
        return None
    if file_id == copy.pk:
        raise InvalidRequest("A file is not a conflict copy of itself.")
    original = queries.get_file(device.user, file_id, live=False)
    if original.namespace_id != copy.namespace_id:
        raise NotFound
    return original


def _note_conflict(original: File, *, copy: File, kind: str, device: UserDevice) -> None:
    """Write the conflict of two files that are there, unless the copy is in an open one."""
    if Conflict.objects.filter(copy=copy, settled_at__isnull=True).exists():
        return
    # A settled one of this copy is history that the new one takes the place of.
    Conflict.objects.filter(copy=copy).delete()
    Conflict.objects.create(
        namespace_id=copy.namespace_id,
        file=original,
        copy=copy,
        kind=kind,
        file_version_id=original.current_version_id,
        copy_version_id=copy.current_version_id,
        device=device,
    )


def settle_by_hand(*, copy: File, device: UserDevice) -> None:
    """A conflict copy has been given a name of its own: whoever did so wants both files."""
    Conflict.objects.filter(copy=copy, settled_at__isnull=True).update(
        settled_at=timezone.now(), settled_how=Settled.BY_HAND, settled_by=device
    )


def check_not_root(folder: Folder) -> None:
    """Raises InvalidRequest for the root of a namespace."""
    if folder.is_root:
        raise InvalidRequest("A root folder has no name and keeps its place.")


def _place(
    device: UserDevice, item: Folder | File, name: str | None, parent_folder_id: UUID | None
) -> bool:
    """Give the instance its name and parent, after all checks; whether anything is new.

    Under the namespace's lock, so two moves cannot close a circle between them.
    """
    new_name = item.name if name is None else check_name(name)
    is_moving = parent_folder_id is not None and parent_folder_id != item.parent_folder_id
    if not is_moving and new_name == item.name:
        return False
    parent: Folder | None
    if parent_folder_id is not None and is_moving:
        parent = queries.get_folder(device.user, parent_folder_id, write=True)
        if parent.namespace_id != item.namespace_id:
            raise InvalidRequest("An item cannot be moved between shared folders; copy it there.")
        if isinstance(item, Folder) and queries.is_below(parent.pk, item.pk):
            raise MoveIntoItself
    else:
        parent = item.parent_folder
        if parent is None:
            raise AssertionError("a root is not renamed")
    key = name_key(new_name)
    taken = queries.item_named(parent, key, besides=item.pk)
    if taken is not None:
        raise name_taken(taken)
    item.parent_folder, item.name, item.name_key = parent, new_name, key
    return True

"""Making folders: on request, and where something needs a live place to go."""

from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from drive_project.common.errors import InvalidRequest, NameTaken
from files import journal, queries
from files.models import ChangeAction, File, Folder, Namespace, UserDevice
from files.names import check_name, name_key
from files.services.locking import lock_folder


class CreatedFolder(NamedTuple):
    """A folder, and whether it is new or was there already."""

    folder: Folder
    is_new: bool


def create_folder(
    *, device: UserDevice, parent_folder_id: UUID, name: str, folder_id: UUID | None = None
) -> CreatedFolder:
    """The live folder of this name in the parent, made where there was none.

    folder_id: the id that a client chose; it counts only for a new folder. Below a trashed
    parent a new chain of folders of the same names is made. Raises NameTaken where a file
    has the name, InvalidRequest for an id that is in use.
    """
    check_name(name)
    with transaction.atomic():
        namespace, parent = lock_folder(device, parent_folder_id, live=False)
        parent = live_folder_for(namespace, parent, device=device)
        taken = queries.item_named(parent, name_key(name))
        if isinstance(taken, Folder):
            return CreatedFolder(taken, is_new=False)
        if taken is not None:
            raise name_taken(taken)
        check_new_id(folder_id, "folder_id")
        folder = _new_folder(parent, name, folder_id)
        journal.append(namespace, [(ChangeAction.UPSERT, folder)], device=device)
    return CreatedFolder(folder, is_new=True)


def live_folder_for(namespace: Namespace, folder: Folder, *, device: UserDevice | None) -> Folder:
    """The folder itself while it is live, else a live one in its stead.

    That is the end of a new chain of folders of the same names, from the lowest ancestor
    that is still live; live folders of these names are used, a name that a file has taken
    gets a counter. The caller holds the namespace's lock; new folders are in the journal.
    """
    root, *steps = queries.path_of(folder)
    place, made = root, []
    is_astray = False
    for step in steps:
        if not is_astray and not step.is_deleted:
            place = step
            continue
        is_astray = True
        found = queries.item_named(place, step.name_key)
        if not isinstance(found, Folder):
            found = _new_folder(place, queries.free_name(place, step.name, is_folder=True))
            made.append((ChangeAction.UPSERT, found))
        place = found
    journal.append(namespace, made, device=device)
    return place


def _new_folder(parent: Folder, name: str, folder_id: UUID | None = None) -> Folder:
    folder = Folder(
        namespace_id=parent.namespace_id,
        parent_folder=parent,
        name=name,
        name_key=name_key(name),
    )
    if folder_id is not None:
        folder.folder_id = folder_id
    folder.save(force_insert=True)
    return folder


def check_new_id(item_id: UUID | None, field: str) -> None:
    """Raises InvalidRequest when an id that a client chose is in use, by whomever."""
    if item_id is not None and queries.id_is_taken(item_id):
        message = "This id is in use; choose another one."
        raise InvalidRequest(message, errors={field: [message]})


def name_taken(item: Folder | File) -> NameTaken:
    """The refusal that names who has the name."""
    return NameTaken(item_id=str(item.pk), item_type=journal.type_of(item).value)

"""Making folders: on request, and where something needs a live place to go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from drive_project.common.errors import DriveError, InvalidRequest, NameTaken, NotFound
from files import journal, queries
from files.models import ChangeAction, File, Folder, Namespace, UserDevice
from files.names import check_name, name_key
from files.queries import many
from files.services.locking import lock_namespaces


@dataclass(frozen=True, slots=True)
class NewFolder:
    """A folder to be made. folder_id: as the client chose it; counts only for a new folder."""

    parent_folder_id: UUID
    name: str
    folder_id: UUID | None = None


class CreatedFolder(NamedTuple):
    """A folder, and whether it is new or was there already."""

    folder: Folder
    is_new: bool


def create_folder(
    *, device: UserDevice, parent_folder_id: UUID, name: str, folder_id: UUID | None = None
) -> CreatedFolder:
    """The live folder of this name in the parent, made where there was none.

    Below a trashed parent a new chain of folders of the same names is made. Raises NotFound
    or PermissionDenied for the parent, NameTaken where a file has the name, InvalidRequest
    for an invalid name or an id that is in use.
    """
    (made,) = create_folders(device=device, wanted=[NewFolder(parent_folder_id, name, folder_id)])
    if isinstance(made, DriveError):
        raise made
    return made


def create_folders(
    *, device: UserDevice, wanted: Sequence[NewFolder]
) -> list[CreatedFolder | DriveError]:
    """The same for many, in order, in a few queries: a folder, or why it was refused.

    One that is refused leaves the others standing. A parent may be made by the same call
    before it is named.
    """
    with transaction.atomic():
        making = _Making(device, wanted)
        made = [making.make(each) for each in wanted]
        making.write()
    return made


class _Making:
    """What a call needs to know, read under the lock at once, and what it has made so far."""

    def __init__(self, device: UserDevice, wanted: Sequence[NewFolder]) -> None:
        self._device = device
        parent_ids = {each.parent_folder_id for each in wanted}
        self._roles = many.roles_of(device.user)
        self._namespaces = lock_namespaces(
            Folder.objects.filter(pk__in=parent_ids, namespace__in=self._roles).values_list(
                "namespace_id", flat=True
            )
        )
        self._parents = many.folders_by_id(self._namespaces, parent_ids)
        standings = queries.standings(self._parents)
        self._live = {pk for pk in self._parents if standings[pk].is_live}
        self._named = queries.items_named(self._live, {name_key(each.name) for each in wanted})
        self._taken_ids = queries.taken_ids(each.folder_id for each in wanted if each.folder_id)
        self._unwritten: list[Folder] = []

    def make(self, wanted: NewFolder) -> CreatedFolder | DriveError:
        try:
            check_name(wanted.name)
            parent = self._parent(wanted.parent_folder_id)
        except DriveError as error:
            return error
        taken = self._item_named(parent, name_key(wanted.name))
        if isinstance(taken, Folder):
            return CreatedFolder(taken, is_new=False)
        if taken is not None:
            return name_taken(taken)
        if wanted.folder_id in self._taken_ids:
            return id_in_use("folder_id")
        folder = _folder(parent, wanted.name, wanted.folder_id)
        self._taken_ids.add(folder.pk)
        self._unwritten.append(folder)
        self._parents[folder.pk] = folder
        self._live.add(folder.pk)
        self._named[parent.pk, folder.name_key] = folder
        return CreatedFolder(folder, is_new=True)

    def write(self) -> None:
        """Write the rows and the journal entries of what was made."""
        Folder.objects.bulk_create(self._unwritten)
        for namespace in self._namespaces.values():
            journal.append(
                namespace,
                [
                    (ChangeAction.UPSERT, folder)
                    for folder in self._unwritten
                    if folder.namespace_id == namespace.pk
                ],
                device=self._device,
            )
        self._unwritten = []

    def _parent(self, folder_id: UUID) -> Folder:
        parent = self._parents.get(folder_id)
        if parent is None:
            raise NotFound
        queries.check_role(self._roles[parent.namespace_id], write=True)
        if folder_id in self._live:
            return parent
        # What is made next has to know of what was made here.
        self.write()
        place = live_folder_for(self._namespaces[parent.namespace_id], parent, device=self._device)
        self._parents[place.pk] = place
        return place

    def _item_named(self, parent: Folder, key: str) -> Folder | File | None:
        if parent.pk in self._live:
            return self._named.get((parent.pk, key))
        return queries.item_named(parent, key)


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
            found = _folder(place, queries.free_name(place, step.name, is_folder=True))
            found.save(force_insert=True)
            made.append((ChangeAction.UPSERT, found))
        place = found
    journal.append(namespace, made, device=device)
    return place


def _folder(parent: Folder, name: str, folder_id: UUID | None = None) -> Folder:
    folder = Folder(
        namespace_id=parent.namespace_id,
        parent_folder=parent,
        name=name,
        name_key=name_key(name),
    )
    if folder_id is not None:
        folder.folder_id = folder_id
    return folder


def id_in_use(field: str) -> InvalidRequest:
    """The refusal of an id that a client chose and that is in use, by whomever."""
    message = "This id is in use; choose another one."
    return InvalidRequest(message, errors={field: [message]})


def name_taken(item: Folder | File) -> NameTaken:
    """The refusal that names who has the name."""
    return NameTaken(item_id=str(item.pk), item_type=journal.type_of(item).value)

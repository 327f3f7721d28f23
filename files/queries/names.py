"""Which names and ids are taken. A name is unique across the folders and files of a folder."""

from itertools import count
from uuid import UUID

from files.models import File, FileStatus, Folder
from files.names import name_key, numbered


def item_named(parent: Folder, key: str, *, besides: UUID | None = None) -> Folder | File | None:
    """The live child with this name key, other than the item `besides`.

    Read under the namespace's lock, the answer holds to the end of the transaction.
    """
    folder = Folder.objects.filter(
        parent_folder=parent, name_key=key, deleted_at__isnull=True
    ).first()
    if folder is not None and folder.pk != besides:
        return folder
    file = (
        File.objects.filter(
            parent_folder=parent,
            name_key=key,
            deleted_at__isnull=True,
            status=FileStatus.UPLOADED,
        )
        .select_related("current_version")
        .first()
    )
    return None if file is None or file.pk == besides else file


def free_name(parent: Folder, name: str, *, is_folder: bool, besides: UUID | None = None) -> str:
    """The name itself or, where it is taken, `name (2).ext` and so on."""
    wanted = name
    for number in count(2):
        if item_named(parent, name_key(wanted), besides=besides) is None:
            break
        wanted = numbered(name, number, is_folder=is_folder)
    return wanted


def id_is_taken(item_id: UUID) -> bool:
    """Whether any folder or file, of anybody, has this id. Clients may choose new ones."""
    return (
        Folder.objects.filter(pk=item_id)
        .values_list("pk")
        .union(File.objects.filter(pk=item_id).values_list("pk"))
        .exists()
    )

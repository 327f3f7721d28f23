"""Which names and ids are taken. A name is unique across the folders and files of a folder."""

from uuid import UUID

from files.models import File, FileStatus, Folder


def item_named(parent: Folder, key: str, *, besides: UUID | None = None) -> Folder | File | None:
    """The live child with this name key, other than the item `besides`.

    Read under the namespace's lock, the answer holds to the end of the transaction.
    """
    folder = (
        Folder.objects.filter(parent_folder=parent, name_key=key, deleted_at__isnull=True)
        .exclude(pk=besides)
        .first()
    )
    if folder is not None:
        return folder
    return (
        File.objects.filter(
            parent_folder=parent,
            name_key=key,
            deleted_at__isnull=True,
            status=FileStatus.UPLOADED,
        )
        .exclude(pk=besides)
        .select_related("current_version")
        .first()
    )


def id_is_taken(item_id: UUID) -> bool:
    """Whether any folder or file, of anybody, has this id. Clients may choose new ones."""
    return (
        Folder.objects.filter(pk=item_id)
        .values_list("pk")
        .union(File.objects.filter(pk=item_id).values_list("pk"))
        .exists()
    )

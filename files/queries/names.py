"""Which names and ids are taken. A name is unique across the folders and files of a folder."""

from collections.abc import Collection, Iterable
from itertools import chain
from uuid import UUID

from files.models import File, FileStatus, Folder
from files.names import name_key, numbered_names


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
    return next(
        wanted
        for wanted in chain([name], numbered_names(name, is_folder=is_folder))
        if item_named(parent, name_key(wanted), besides=besides) is None
    )


def items_named(
    parent_ids: Collection[UUID], keys: Collection[str]
) -> dict[tuple[UUID | None, str], Folder | File]:
    """The live children of these folders with one of these name keys, by (parent, name key)."""
    files = File.objects.filter(status=FileStatus.UPLOADED).select_related("current_version")
    return {
        (item.parent_folder_id, item.name_key): item
        for rows in (files, Folder.objects.all())
        for item in rows.filter(
            parent_folder__in=parent_ids, name_key__in=keys, deleted_at__isnull=True
        )
    }


def taken_ids(item_ids: Iterable[UUID]) -> set[UUID]:
    """Those ids that any folder or file, of anybody, has. Clients may choose new ones."""
    wanted = set(item_ids)
    return {
        item_id
        for model in (Folder, File)
        for item_id in model._default_manager.filter(pk__in=wanted).values_list("pk", flat=True)
    }

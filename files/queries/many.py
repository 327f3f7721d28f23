"""Many objects at once on behalf of one person, for batches: a query per table, not per item.

What the person may not see is left out of the answer, like what does not exist.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from django.db.models import Q

from drive_project.common.errors import NotFound
from files.models import (
    File,
    FileStatus,
    FileVersion,
    Folder,
    Membership,
    PurgedUpload,
    User,
    UserDevice,
)
from files.names import name_key
from files.queries.ancestry import standings
from files.queries.names import items_named


class Place(NamedTuple):
    """A name in a folder."""

    parent_folder_id: UUID
    name: str


def roles_of(user: User) -> dict[UUID, str]:
    """The person's role in each namespace of which they are a member."""
    return dict(Membership.objects.filter(user=user).values_list("namespace_id", "role"))


def owners_of(user: User, file_ids: Iterable[UUID], folder_ids: Iterable[UUID]) -> set[UUID]:
    """Whose namespaces these files and folders are in, as far as the person is a member."""
    owners: set[UUID] = set()
    for model, ids in ((File, set(file_ids)), (Folder, set(folder_ids))):
        if ids:
            owners.update(
                model._default_manager.filter(pk__in=ids, namespace__memberships__user=user)
                .values_list("namespace__owner_id", flat=True)
                .distinct()
            )
    return owners


def folders_by_id(readable: Collection[UUID], folder_ids: Iterable[UUID]) -> dict[UUID, Folder]:
    """These folders with their namespaces, in the trash or not, but none that is being
    deleted for ever.
    """
    found = {
        folder.pk: folder
        for folder in Folder.objects.filter(
            pk__in=set(folder_ids), namespace__in=readable
        ).select_related("namespace")
    }
    standing = standings(found)
    return {pk: folder for pk, folder in found.items() if not standing[pk].is_purging}


def items_at(user: User, places: Sequence[Place]) -> list[Folder | File | NotFound | None]:
    """Who has each of these places; None while it is free, NotFound without a live folder."""
    parents = {place.parent_folder_id for place in places}
    folders = folders_by_id(roles_of(user), parents)
    standing = standings(folders)
    live = {pk for pk in folders if standing[pk].is_live}
    named = items_named(live, {name_key(place.name) for place in places})
    return [
        named.get((place.parent_folder_id, name_key(place.name)))
        if place.parent_folder_id in live
        else NotFound("There is no such folder.")
        for place in places
    ]


def files_by_id(user: User, file_ids: Iterable[UUID]) -> dict[UUID, File]:
    """These files with their current versions and namespaces, in the trash or not.

    Without those that are being deleted for ever, and without those that somebody else has
    begun to upload and not committed yet.
    """
    wanted = set(file_ids)
    if not wanted:
        return {}
    found = {
        file.pk: file
        for file in File.objects.filter(
            Q(status=FileStatus.UPLOADED) | Q(user=user),
            pk__in=wanted,
            namespace__memberships__user=user,
            is_purging=False,
        ).select_related("current_version", "namespace")
    }
    standing = standings({file.parent_folder_id for file in found.values()})
    return {
        pk: file for pk, file in found.items() if not standing[file.parent_folder_id].is_purging
    }


def live_items(user: User, item_ids: Iterable[UUID]) -> dict[UUID, Folder | File]:
    """These folders and files, as far as they are there: neither deleted nor below what is."""
    wanted = set(item_ids)
    found: dict[UUID, Folder | File] = {}
    found.update(folders_by_id(roles_of(user), wanted))
    found.update(
        (pk, file)
        for pk, file in files_by_id(user, wanted - found.keys()).items()
        if file.status == FileStatus.UPLOADED and not file.is_deleted
    )
    # A folder stands for itself, a file where its folder is.
    places = {
        pk: item.parent_folder_id if isinstance(item, File) else pk for pk, item in found.items()
    }
    standing = standings(places.values())
    return {pk: item for pk, item in found.items() if standing[places[pk]].is_live}


def uploads_by_id(device: UserDevice, upload_ids: Iterable[UUID]) -> dict[UUID, FileVersion]:
    """The uploads that this device has begun, decided or not, with their files."""
    return {
        version.pk: version
        for version in FileVersion.objects.filter(
            pk__in=set(upload_ids),
            device=device,
            file__namespace__memberships__user=device.user_id,
        ).select_related("file", "file__namespace")
    }


def purged_among(device: UserDevice, upload_ids: Iterable[UUID]) -> set[UUID]:
    """Those of the device's uploads whose files were deleted for ever before their commit."""
    wanted = set(upload_ids)
    if not wanted:
        return set()
    return set(
        PurgedUpload.objects.filter(pk__in=wanted, device=device).values_list("pk", flat=True)
    )

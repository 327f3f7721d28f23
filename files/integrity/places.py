"""Where people see what a finding is about: paths, for those who run the server."""

from collections.abc import Collection, Iterable
from typing import NamedTuple
from uuid import UUID

from files.models import File, FileVersion, Folder
from files.queries import ancestors, lineage


class Place(NamedTuple):
    """An item's path in its namespace, "/" in front, and whose namespace it is (e-mail)."""

    path: str
    owner: str


def places_of_versions(version_ids: Collection[UUID]) -> dict[UUID, Place]:
    """Where the files of these versions are; without versions that are gone."""
    versions = {
        version.pk: version.file
        for version in FileVersion.objects.filter(pk__in=version_ids).select_related(
            "file__namespace__owner"
        )
    }
    places = _places({file.pk: file for file in versions.values()}.values())
    return {pk: places[file.pk] for pk, file in versions.items()}


def places_of_items(item_ids: Collection[UUID]) -> dict[UUID, Place]:
    """Where these files and folders are; without those that are gone."""
    files = File.objects.filter(pk__in=item_ids).select_related("namespace__owner")
    folders = Folder.objects.filter(pk__in=item_ids).select_related("namespace__owner")
    return _places(files) | _places(folders)


def _places(items: Iterable[File | Folder]) -> dict[UUID, Place]:
    known_items = list(items)
    known = ancestors(
        item.parent_folder_id for item in known_items if item.parent_folder_id is not None
    )
    places = {}
    for item in known_items:
        line = lineage(item.parent_folder_id, known)
        path = "/".join([folder.name for folder in reversed(line)] + [item.name])
        places[item.pk] = Place(path or "/", item.namespace.owner.email)
    return places

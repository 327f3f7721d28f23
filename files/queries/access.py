"""One object on behalf of one person: the only place where the API and the pages fetch them.

NotFound is raised alike for what does not exist, what is somebody else's and what is being
deleted for ever; PermissionDenied only for a member who may read but not write.
"""

from typing import NamedTuple
from uuid import UUID

from django.db.models import F

from drive_project.common.errors import NotFound, PermissionDenied
from files.models import (
    File,
    FileStatus,
    FileVersion,
    Folder,
    Membership,
    Namespace,
    Role,
    StorageAccount,
    User,
    VersionStatus,
)
from files.queries.ancestry import standing_of

WRITERS = (Role.EDITOR, Role.OWNER)


def readable_namespaces(user: User) -> list[UUID]:
    """The namespaces of which the person is a member, their own root among them."""
    return list(
        Membership.objects.filter(user=user)
        .order_by("namespace_id")
        .values_list("namespace_id", flat=True)
    )


def writable_namespaces(user: User) -> list[UUID]:
    """Those in which the person may change something."""
    return list(
        Membership.objects.filter(user=user, role__in=WRITERS)
        .order_by("namespace_id")
        .values_list("namespace_id", flat=True)
    )


def check_role(role: str, *, write: bool) -> None:
    if write and role not in WRITERS:
        raise PermissionDenied("You may only read here.")


def get_namespace(user: User, namespace_id: UUID, *, write: bool = False) -> Namespace:
    """A namespace that the person can read, or write."""
    namespace = (
        Namespace.objects.filter(pk=namespace_id, memberships__user=user)
        .annotate(role=F("memberships__role"))
        .first()
    )
    if namespace is None:
        raise NotFound
    check_role(namespace.role, write=write)
    return namespace


class MemberOf(NamedTuple):
    """A namespace, its root folder, and what the person may do there."""

    namespace: Namespace
    root_folder_id: UUID
    role: str


def namespaces_of(user: User) -> list[MemberOf]:
    """All namespaces of which the person is a member."""
    roots = Folder.objects.filter(namespace__memberships__user=user, parent_folder__isnull=True)
    return [
        MemberOf(root.namespace, root.pk, root.role)
        for root in roots.annotate(role=F("namespace__memberships__role"))
        .select_related("namespace")
        .order_by("namespace_id")
    ]


def storage_of(user: User) -> StorageAccount:
    """What the person has stored and may store. Raises NotFound."""
    account = StorageAccount.objects.filter(owner=user).first()
    if account is None:
        raise NotFound
    return account


def version_count(file: File) -> int:
    """How many contents are kept of a file that was fetched for the caller."""
    return FileVersion.objects.filter(file=file, status=VersionStatus.COMMITTED).count()


def own_root(user: User) -> Folder:
    """The root folder of the person's own namespace."""
    folder = Folder.objects.filter(
        namespace__owner=user, namespace__is_root=True, parent_folder__isnull=True
    ).first()
    if folder is None:
        raise NotFound
    return folder


def namespace_id_of_folder(user: User, folder_id: UUID) -> UUID:
    """Whose lock to take before the folder itself is read. Raises NotFound."""
    found = Folder.objects.filter(pk=folder_id, namespace__memberships__user=user)
    namespace_id = found.values_list("namespace_id", flat=True).first()
    if namespace_id is None:
        raise NotFound
    return namespace_id


def namespace_id_of_file(user: User, file_id: UUID) -> UUID:
    """The same for a file."""
    found = File.objects.filter(pk=file_id, namespace__memberships__user=user)
    namespace_id = found.values_list("namespace_id", flat=True).first()
    if namespace_id is None:
        raise NotFound
    return namespace_id


def get_folder(user: User, folder_id: UUID, *, write: bool = False, live: bool = True) -> Folder:
    """A folder. live=False also finds one that is in the trash or below something there."""
    folder = (
        Folder.objects.filter(pk=folder_id, namespace__memberships__user=user)
        .annotate(role=F("namespace__memberships__role"))
        .first()
    )
    if folder is None:
        raise NotFound
    standing = standing_of(folder)
    if standing.is_purging or (live and not standing.is_live):
        raise NotFound
    check_role(folder.role, write=write)
    return folder


def get_file(
    user: User,
    file_id: UUID,
    *,
    write: bool = False,
    live: bool = True,
) -> File:
    """A file with its current version.

    live=False also finds one that is in the trash or below something there. One that an
    upload has begun and not committed yet is not found.
    """
    file = (
        File.objects.filter(pk=file_id, namespace__memberships__user=user)
        .annotate(role=F("namespace__memberships__role"))
        .select_related("current_version")
        .first()
    )
    if file is None or file.status != FileStatus.UPLOADED:
        raise NotFound
    standing = standing_of(file)
    if standing.is_purging or (live and not standing.is_live):
        raise NotFound
    check_role(file.role, write=write)
    return file

"""Share links: anyone who has one may download one file or folder until it ends.

The token in the URL is an HMAC of the link's id under the server's key, so a repeated
request is answered with the same URL although only a digest of the token is stored.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from drive_project.common.errors import InvalidRequest, NotFound
from drive_project.common.tokens import token_digest
from files import queries
from files.models import File, Folder, ShareLink, User
from files.queries.pages import Place, newest_first

# Where the pages serve links: /s/TOKEN.
LINK_PATH = "/s/"
_SALT = "files.links"


class OpenFile(NamedTuple):
    """A file that a visitor may download, and by which link."""

    link: ShareLink
    file: File


class OpenFolder(NamedTuple):
    """A folder that a visitor may list, and by which link."""

    link: ShareLink
    folder: Folder


def token_of(link_id: UUID) -> str:
    """The secret of the link's URL: 256 bits, safe in URLs."""
    digest = salted_hmac(_SALT, link_id.hex, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def path_of(link_id: UUID) -> str:
    """Where the link leads on this server. A secret: shown once, never logged."""
    return f"{LINK_PATH}{token_of(link_id)}"


def create_link(
    *,
    user: User,
    file_id: UUID | None = None,
    folder_id: UUID | None = None,
    expires_at: datetime | None = None,
) -> ShareLink:
    """A new link to a live file or folder that the person may write; None: it does not expire.

    Raises InvalidRequest unless exactly one target is given, and for a moment that is over.
    """
    if (file_id is None) == (folder_id is None):
        raise InvalidRequest("A link has one target: file_id or folder_id.")
    if expires_at is not None and expires_at <= timezone.now():
        message = "This moment is over."
        raise InvalidRequest(message, errors={"expires_at": [message]})
    with transaction.atomic():
        link = ShareLink(created_by=user, expires_at=expires_at)
        if file_id is not None:
            link.file = queries.get_file(user, file_id, write=True)
        if folder_id is not None:
            link.folder = queries.get_folder(user, folder_id, write=True)
        link.token_digest = token_digest(token_of(link.pk))
        link.save(force_insert=True)
    return link


def links_of(
    user: User, *, after: Place | None = None, limit: int
) -> tuple[Sequence[ShareLink], Place | None]:
    """The person's links that still open, the newest first; where the next page begins after."""
    links = _open_links(user).select_related("file", "folder")
    return newest_first(links, "created_at", after=after, limit=limit)


def link_count(user: User, item: File | Folder) -> int:
    """How many of the person's links lead to an item itself and still open."""
    target = Q(file=item.pk) if isinstance(item, File) else Q(folder=item.pk)
    return _open_links(user).filter(target).count()


def _open_links(user: User) -> QuerySet[ShareLink]:
    return ShareLink.objects.filter(
        Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()),
        created_by=user,
        revoked_at__isnull=True,
    )


def revoke_link(*, user: User, link_id: UUID) -> None:
    """Close a link at once. Raises NotFound for what is not an open link of the person."""
    closed = ShareLink.objects.filter(pk=link_id, created_by=user, revoked_at__isnull=True).update(
        revoked_at=timezone.now()
    )
    if not closed:
        raise NotFound


def open_link(token: str) -> ShareLink:
    """The link that a visitor holds, with its target. The one place that decides.

    Raises NotFound alike for an unknown, expired or revoked link, for a target that is not
    live any more, and where its maker is gone or may no longer share the target.
    """
    link = (
        ShareLink.objects.select_related("created_by", "file", "folder")
        .filter(token_digest=token_digest(token), revoked_at__isnull=True)
        .first()
    )
    if link is None or (link.expires_at is not None and link.expires_at <= timezone.now()):
        raise NotFound
    if not link.created_by.is_active:
        raise NotFound
    namespaces = queries.writable_namespaces(link.created_by)
    target = link.folder or link.file
    if target is None or target.namespace_id not in namespaces or not queries.is_live(target):
        raise NotFound
    return link


def open_linked_folder(token: str, folder_id: UUID | None = None) -> OpenFolder:
    """A linked folder, or a live one below it. Raises NotFound, also for a link to a file."""
    link = open_link(token)
    if link.folder is None:
        raise NotFound
    if folder_id is None or folder_id == link.folder.pk:
        return OpenFolder(link, link.folder)
    folder = Folder.objects.filter(pk=folder_id, namespace=link.folder.namespace_id).first()
    if folder is None or not _is_live_below(folder.pk, link.folder.pk):
        raise NotFound
    return OpenFolder(link, folder)


def open_linked_file(token: str, file_id: UUID | None = None) -> OpenFile:
    """A linked file, or a live one below a linked folder. Raises NotFound."""
    link = open_link(token)
    if link.file is not None:
        if file_id not in (None, link.file.pk):
            raise NotFound
        return OpenFile(link, link.file)
    file = (
        File.objects.filter(pk=file_id).select_related("current_version").first()
        if file_id is not None
        else None
    )
    if file is None or link.folder is None or not queries.is_live(file):
        raise NotFound
    if not queries.is_below(file.parent_folder_id, link.folder.pk):
        raise NotFound
    return OpenFile(link, file)


def _is_live_below(folder_id: UUID, top_id: UUID) -> bool:
    line = queries.lineage(folder_id, queries.ancestors([folder_id]))
    return any(folder.pk == top_id for folder in line) and not any(
        folder.is_deleted for folder in line
    )


def count_download(link: ShareLink) -> None:
    """One more download by this link."""
    ShareLink.objects.filter(pk=link.pk).update(download_count=F("download_count") + 1)

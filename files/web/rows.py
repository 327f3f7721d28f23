"""Items as the lists show them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.urls import reverse

from files.models import File, Folder
from files.web import words


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list. `size_bytes` is None for a folder."""

    id: UUID
    type: str
    name: str
    href: str
    # A file's page, where href is its content.
    view_href: str
    icon: str
    kind: str
    rev: int
    modified_at: datetime
    size_bytes: int | None
    # A part of its content cannot be read; a device that has it, or an old version, heals it.
    is_damaged: bool = False

    @property
    def is_folder(self) -> bool:
        return self.type == "folder"


def row_of(item: Folder | File) -> Row:
    """An item of the person's own drive: its page."""
    if isinstance(item, Folder):
        return _row(item, reverse("web:folder", args=[item.pk]))
    return _row(item, reverse("web:file", args=[item.pk]))


def linked_row_of(item: Folder | File, token: str) -> Row:
    """The same for whoever came by a link; `href` is a file's content."""
    if isinstance(item, Folder):
        return _row(item, reverse("web:link-folder", args=[token, item.pk]))
    return _row(
        item,
        reverse("web:link-file", args=[token, item.pk]),
        view_href=reverse("web:link-view", args=[token, item.pk]),
    )


def _row(item: Folder | File, href: str, *, view_href: str = "") -> Row:
    is_folder = isinstance(item, Folder)
    icon, kind = ("folder", "folder") if is_folder else words.kind_of(item.name)
    return Row(
        id=item.pk,
        type="folder" if is_folder else "file",
        name=item.name,
        href=href,
        view_href=view_href or href,
        icon=icon,
        kind=kind,
        rev=item.rev,
        modified_at=item.modified_at,
        size_bytes=None if isinstance(item, Folder) else item.size_bytes,
        is_damaged=isinstance(item, File) and item.is_damaged,
    )

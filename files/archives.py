"""Folders and selections as one ZIP: streamed, its length known before the first byte.

Who may see what is decided by whoever fetches the items; here everything below them is read
at once, so that a change during a long download neither adds nor moves anything. What has
been deleted for ever meanwhile, or cannot be read, breaks the connection.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from blocks.service import get_block_service
from drive_project.common.errors import ContentDamaged, InvalidRequest, NotFound
from files import queries
from files.content import CONTENT_POLICY, attachment
from files.models import File, Folder, User
from files.queries import many
from files.zipping import MAX_PATH_BYTES, Entry, SafeNames, archive, archive_length

# Items that a person can name in one request.
MAX_SELECTED = 10_000


class _Content(NamedTuple):
    """A file of the archive: what is read for it."""

    version_id: UUID
    size_bytes: int


def items_of(user: User, item_ids: Iterable[UUID]) -> list[Folder | File]:
    """Live folders and files that the person may read, in their order, each once.

    Raises NotFound if one of them is not there, and InvalidRequest for none or too many.
    """
    wanted = list(dict.fromkeys(item_ids))
    if not wanted:
        raise InvalidRequest("Choose at least one file or folder.")
    if len(wanted) > MAX_SELECTED:
        raise InvalidRequest(f"Choose at most {MAX_SELECTED:,} files and folders at once.")
    found = many.live_items(user, wanted)
    if len(found) < len(wanted):
        raise NotFound("One of these files and folders is not there any more.")
    return [found[item_id] for item_id in wanted]


def zip_response(items: Sequence[Folder | File]) -> StreamingHttpResponse:
    """The items, each with all that is live below it, as an attachment.

    Raises InvalidRequest where there are more than ZIP_MAX_ENTRIES of them or a path is too
    long for the format, and ContentDamaged for a file that is known to be damaged: after the
    first byte nothing but a broken connection could say so.
    """
    entries, contents = _listed(items)

    def read(index: int) -> Iterator[bytes]:
        content = contents[index]
        if content is None:
            raise EOFError("A folder has no content.")
        return get_block_service().read_version(
            file_version_id=content.version_id, start=0, length=content.size_bytes
        )

    return StreamingHttpResponse(
        archive(entries, read),
        content_type="application/zip",
        headers={
            "Content-Length": str(archive_length(entries)),
            "Content-Disposition": attachment(_archive_name(items)),
            "Cache-Control": "private, no-store",
            "Content-Security-Policy": CONTENT_POLICY,
            "X-Content-Type-Options": "nosniff",
        },
    )


def _archive_name(items: Sequence[Folder | File]) -> str:
    if len(items) == 1:
        return f"{items[0].name or 'Files'}.zip"
    return f"{len(items)} items.zip"


def _listed(items: Sequence[Folder | File]) -> tuple[list[Entry], list[_Content | None]]:
    """What the archive holds, folders before what is in them; beside it what is read for it."""
    below = _everything_in([item for item in items if isinstance(item, Folder)])
    names = SafeNames()
    entries: list[Entry] = []
    contents: list[_Content | None] = []
    # A stack, not recursion: trees may be deeper than Python likes.
    waiting = [("", item) for item in reversed(items)]
    while waiting:
        place, item = waiting.pop()
        path = place
        # The root of a namespace has no name: what is in it stands on top.
        if item.name:
            is_folder = isinstance(item, Folder)
            path += names.take(place, item.name, is_folder=is_folder) + ("/" if is_folder else "")
            if len(path.encode()) > MAX_PATH_BYTES:
                raise InvalidRequest("A path in here is too long for a ZIP archive.")
            if len(entries) == settings.ZIP_MAX_ENTRIES:
                raise _too_many()
            entry, content = _entry(path, item)
            entries.append(entry)
            contents.append(content)
        if isinstance(item, Folder):
            waiting += [(path, each) for each in reversed(below.get(item.pk, []))]
    return entries, contents


def _everything_in(tops: Sequence[Folder]) -> dict[UUID, list[Folder | File]]:
    """What is live in and below these folders, by the folder it is in, in order of names."""
    below: dict[UUID, list[Folder | File]] = {}
    folders, files = queries.live_below([folder.pk for folder in tops])
    rows: Sequence[QuerySet[Any]] = (folders, files.select_related("current_version"))
    for some in rows:
        found = list(some.order_by("name_key")[: settings.ZIP_MAX_ENTRIES + 1])
        if len(found) > settings.ZIP_MAX_ENTRIES:
            raise _too_many()
        for item in found:
            below.setdefault(item.parent_folder_id, []).append(item)
    return below


def _too_many() -> InvalidRequest:
    return InvalidRequest(
        f"These are more than {settings.ZIP_MAX_ENTRIES:,} files and folders. Download fewer of"
        " them at once, or link the folder to a device."
    )


def _entry(path: str, item: Folder | File) -> tuple[Entry, _Content | None]:
    if isinstance(item, Folder):
        return Entry(path, 0, int(item.modified_at.timestamp()) * 1_000_000_000), None
    version = item.current_version
    if version is None:
        raise NotFound
    if version.is_damaged:
        raise ContentDamaged(
            f"A part of {item.name!r} cannot be read now. Download the others without it, or"
            " restore an earlier version of it."
        )
    entry = Entry(path, version.size_bytes, item.client_modified_ns, item.executable)
    return entry, _Content(version.pk, version.size_bytes)

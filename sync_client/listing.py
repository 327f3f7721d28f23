"""Folders and files of the server by their path."""

import unicodedata
from collections.abc import Iterator
from typing import Any

from sync_client.errors import SyncError
from sync_client.linking import remote_names
from sync_client.ports import Api


class NotThere(SyncError):
    """Nothing on the server has this path."""


def items_at(api: Api, path: str) -> list[dict[str, Any]]:
    """What is in a folder of the server, folders first; for a file's path, that file.

    Raises NotThere.
    """
    item = item_at(api, path)
    return [item] if item["type"] == "file" else list(children(api, item["folder_id"]))


def item_at(api: Api, path: str) -> dict[str, Any]:
    """The folder or file of the server with a path. Raises NotThere, and Refused for what is
    no path."""
    return item_below(api, "root", remote_names(path), path)


def item_below(api: Api, folder_id: str, names: tuple[str, ...], path: str) -> dict[str, Any]:
    """The item that these names lead to from a folder; `path`: how people call it."""
    item = api.request("GET", f"folders/{folder_id}")
    for name in names:
        found = None if item["type"] == "file" else child(api, item["folder_id"], name)
        if found is None:
            raise NotThere(f"{path!r} is not on the server. See: drive ls")
        item = found
    return item


def child(api: Api, folder_id: str, name: str) -> dict[str, Any] | None:
    """The item of this name in a folder, however its accents are composed."""
    for item in children(api, folder_id):
        if composed(item["name"]) == composed(name):
            return item
    return None


def composed(name: str) -> str:
    """A name in the one form that its accents have in all its spellings."""
    return unicodedata.normalize("NFC", name)


def children(api: Api, folder_id: str) -> Iterator[dict[str, Any]]:
    """What is in a folder, folders first."""
    return pages(api, f"folders/{folder_id}/children")


def pages(api: Api, path: str) -> Iterator[dict[str, Any]]:
    """All items of a list of the server, page by page."""
    params = {"limit": "1000"}
    while True:
        page = api.request("GET", path, params=params)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]


def id_of(item: dict[str, Any]) -> str:
    return str(item["folder_id"] if item["type"] == "folder" else item["file_id"])

"""Folders of the server by their path."""

from collections.abc import Iterator
from typing import Any

from sync_client.api import HttpApi
from sync_client.errors import SyncError


def items_at(api: HttpApi, path: str) -> list[dict[str, Any]]:
    """What is in a folder of the server, folders first; for a file's path, that file.

    Raises SyncError where nothing has that path.
    """
    names = [name for name in path.split("/") if name]
    folder_id = "root"
    for position, name in enumerate(names):
        found = next((item for item in children_of(api, folder_id) if item["name"] == name), None)
        is_last = position == len(names) - 1
        if found is None or (found["type"] == "file" and not is_last):
            raise SyncError(f"{'/' + '/'.join(names[: position + 1])!r} is not on the server.")
        if found["type"] == "file":
            return [found]
        folder_id = found["folder_id"]
    return list(children_of(api, folder_id))


def children_of(api: HttpApi, folder_id: str) -> Iterator[dict[str, Any]]:
    params = {"limit": "1000"}
    while True:
        page = api.request("GET", f"folders/{folder_id}/children", params=params)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]

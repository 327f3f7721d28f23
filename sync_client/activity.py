"""What happened lately on the server, from the journal, as people read it."""

import datetime
from collections import deque
from typing import Any

from sync_client.listing import pages
from sync_client.ports import Api

PAGE = 5_000
# The row of an item is made a moment before its entry in the journal.
JUST_MADE = datetime.timedelta(minutes=1)


def recent(api: Api, *, count: int, since: datetime.datetime | None = None) -> list[dict[str, Any]]:
    """The last changes, newest first: `{"changed_at", "what", "type", "path", "old_path",
    "size_bytes", "device_id", "device"}`.

    what: added (restored, too), edited, moved, deleted, changed (times and modes, or what came
    before is not kept any more). device: its name; None where it is not one of one's own.
    since: none before that.
    """
    names = {device["device_id"]: device["name"] for device in pages(api, "devices")}
    found: deque[dict[str, Any]] = deque(maxlen=count)
    # The journal is read from its beginning: a path is told by all that came before.
    before: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    while True:
        body: dict[str, Any] = {"limit": PAGE}
        if cursor is not None:
            body["cursor"] = cursor
        page = api.request("POST", "changes", json=body)
        for entry in page["entries"]:
            change = _change(before, entry)
            if change is None:
                continue
            if since is None or datetime.datetime.fromisoformat(entry["changed_at"]) >= since:
                found.append({**change, "device": names.get(entry["device_id"])})
        cursor = page["cursor"]
        if not page["has_more"]:
            return list(reversed(found))


def _change(before: dict[str, dict[str, Any]], entry: dict[str, Any]) -> dict[str, Any] | None:
    """One entry for people; None for the root, which nobody made. Notes its item in `before`."""
    item = entry["item"]
    item_id = item["folder_id"] if item["type"] == "folder" else item["file_id"]
    old = before.get(item_id)
    old_path = _path(before, old) if old is not None else None
    if entry["action"] == "delete":
        before.pop(item_id, None)
    else:
        before[item_id] = item
    if item["parent_folder_id"] is None:
        return None
    path = _path(before, item)
    if entry["action"] == "delete":
        what = "deleted"
    elif old is None:
        what = "added" if _is_new(entry) else "changed"
    elif item.get("current_version_id") != old.get("current_version_id"):
        what = "edited"
    else:
        what = "moved" if path != old_path else "changed"
    return {
        "changed_at": entry["changed_at"],
        "what": what,
        "type": item["type"],
        "path": path,
        "old_path": old_path if what == "moved" else None,
        "size_bytes": item.get("size_bytes"),
        "device_id": entry["device_id"],
    }


def _path(before: dict[str, dict[str, Any]], item: dict[str, Any]) -> str:
    """Where an item is, as far as the folders above it are known."""
    names = [item["name"]]
    above = before.get(item["parent_folder_id"])
    while above is not None and above["parent_folder_id"] is not None:
        names.append(above["name"])
        above = before.get(above["parent_folder_id"])
    return "/" + "/".join(reversed(names))


def _is_new(entry: dict[str, Any]) -> bool:
    """Whether the first entry that is kept of an item is the one that made it."""
    made, changed = (
        datetime.datetime.fromisoformat(text)
        for text in (entry["item"]["created_at"], entry["changed_at"])
    )
    return abs(changed - made) < JUST_MADE

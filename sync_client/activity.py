"""What happened lately on the server, as people read it."""

import datetime
from collections.abc import Iterator
from itertools import islice
from typing import Any

from sync_client.ports import Api

MOST_AT_ONCE = 1_000
# What documents of this command do not tell apart.
_WORDS = {"renamed": "moved", "restored": "added"}


def recent(api: Api, *, count: int, since: datetime.datetime | None = None) -> list[dict[str, Any]]:
    """The last changes, newest first: `{"changed_at", "what", "type", "path", "old_path",
    "size_bytes", "device_id", "device"}`.

    what: added (restored, too), edited, moved, deleted, changed (times and modes, or what came
    before is not kept any more). device: its name; None for what the server did by itself.
    since: none before that. Costs what is shown, and not what there ever was.
    """
    found = []
    for event in islice(_events(api, at_once=min(count, MOST_AT_ONCE)), count):
        if since is not None and datetime.datetime.fromisoformat(event["changed_at"]) < since:
            break
        found.append(_change(event))
    return found


def _events(api: Api, *, at_once: int) -> Iterator[dict[str, Any]]:
    params = {"limit": str(at_once)}
    while True:
        page = api.request("GET", "activity", params=params)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        params["cursor"] = page["next_cursor"]


def _change(event: dict[str, Any]) -> dict[str, Any]:
    item = event["item"]
    what = _WORDS.get(event["what"], event["what"])
    return {
        "changed_at": event["changed_at"],
        "what": what,
        "type": item["type"],
        "path": event["path"],
        "old_path": event["old_path"] if what == "moved" else None,
        "size_bytes": item.get("size_bytes"),
        "device_id": event["device_id"],
        "device": event["device"],
    }

"""Names of conflict copies that this device makes itself (pure).

Most are made by the server inside the commit. The device needs one where it must free a
name before anything can be committed: a folder against a file, two moves onto one name.
"""

import datetime
import re

from sync_client.names import MAX_NAME_BYTES

_MARK = re.compile(r" \(conflicted copy, [^()]*\)$")


def conflict_name(name: str, *, device_name: str, day: datetime.date, counter: int = 1) -> str:
    """`stem (conflicted copy, DEVICE, YYYY-MM-DD).ext`, at most 255 bytes of UTF-8.

    A counter above 1 stands before the bracket. The name of a conflict copy is made from
    the original stem, and the extension is kept.
    """
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > 32 or " " in extension:
        stem, dot, extension = name, "", ""
    stem = _MARK.sub("", stem)
    device = re.sub(r"[/\\()\x00-\x1f]", " ", device_name).strip() or "device"
    number = f" {counter}" if counter > 1 else ""
    mark = f" (conflicted copy, {_cut(device, 64)}, {day.isoformat()}{number})"
    tail = f"{mark}{dot}{extension}"
    return _cut(stem, MAX_NAME_BYTES - len(tail.encode())) + tail


def _cut(text: str, size_bytes: int) -> str:
    return text.encode()[:size_bytes].decode("utf-8", "ignore")

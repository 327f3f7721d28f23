"""What a commit does about a file that has moved on, and the names of conflict copies (pure).

Decided by versions only, never by clocks: the date in a name is for people.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from files.names import MAX_NAME_BYTES, cut, split_extension

# Of the device's name. The rest of the mark is short, so most of a name is its stem.
MAX_DEVICE_BYTES = 64

_MARK = re.compile(r" \(conflicted copy, [^()]*, \d{4}-\d{2}-\d{2}(?: \d+)?\)$")
_NOT_IN_A_MARK = re.compile(r"[/\\()\x00-\x1f\x7f\ud800-\udfff]")


class Judgement(StrEnum):
    """How an uploaded content relates to the file it was made for."""

    SAME_CONTENT = "same content"
    IN_ORDER = "in order"
    MOVED_ON = "moved on"


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of a content without reading it.

    blocks_digest: over the ordered block list, "" where unknown. A content hash that is not
    confirmed is a claim of somebody's, which proves nothing.
    """

    size_bytes: int
    blocks_digest: str
    content_hash: str
    is_content_hash_confirmed: bool

    def is_same_as(self, other: "Content") -> bool:
        """Surely the same bytes: an equal block list, or equal confirmed hashes."""
        if self.size_bytes != other.size_bytes:
            return False
        if self.blocks_digest and self.blocks_digest == other.blocks_digest:
            return True
        return (
            self.is_content_hash_confirmed
            and other.is_content_hash_confirmed
            and self.content_hash == other.content_hash
        )


def judge(
    *,
    current_version_id: UUID | None,
    current: Content | None,
    base_version_id: UUID | None,
    uploaded: Content,
) -> Judgement:
    """Compare an upload with the file's current version (both None: it has none yet).

    Equal content is never a conflict and never a new version, whatever its base.
    """
    if current is not None and uploaded.is_same_as(current):
        return Judgement.SAME_CONTENT
    if base_version_id == current_version_id:
        return Judgement.IN_ORDER
    return Judgement.MOVED_ON


def conflict_name(name: str, *, device_name: str, day: date, counter: int = 1) -> str:
    """`stem (conflicted copy, DEVICE, YYYY-MM-DD).ext`, at most 255 bytes of UTF-8.

    A counter above 1 stands before the closing bracket. The extension is kept and the stem
    is cut. The copy of a conflict copy is named after the original.
    """
    stem, extension = split_extension(name)
    stem = _MARK.sub("", stem) or stem
    device = cut(_NOT_IN_A_MARK.sub(" ", device_name).strip(), MAX_DEVICE_BYTES) or "device"
    number = f" {counter}" if counter > 1 else ""
    tail = f" (conflicted copy, {device}, {day.isoformat()}{number}){extension}"
    return cut(stem, MAX_NAME_BYTES - len(tail.encode())) + tail


def is_conflict_name(name: str) -> bool:
    """Whether a name is one that `conflict_name` makes."""
    return _MARK.search(split_extension(name)[0]) is not None


def name_without_mark(name: str) -> str:
    """What a conflict copy was made of: `stem.ext`. Another name is left as it is."""
    stem, extension = split_extension(name)
    return (_MARK.sub("", stem) or stem) + extension


def conflict_names(name: str, *, device_name: str, day: date) -> Iterator[str]:
    """The names to try, in order; all have different keys."""
    counter = 1
    while True:
        yield conflict_name(name, device_name=device_name, day=day, counter=counter)
        counter += 1

"""Where objects lie in the store: a location of its own for every upload.

`b/<2 hex>/<block hash>/<uuid>` holds one block, `p/<2 hex>/<sha256>/<uuid>` a pack. The
uuid makes every upload another object, so that deleting one can never hit another.
"""

import re
from uuid import UUID

from drive_project.common.errors import InvalidRequest
from drive_project.common.hashes import is_sha256

HASH_RULE = "A hash is the SHA-256 in lower-case hex, 64 characters."
_LOCATION = re.compile(
    r"[bp]/(?P<start>[0-9a-f]{2})/(?P<sha256>[0-9a-f]{64})/"
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


def block_location(block_hash: str, upload_id: UUID) -> str:
    return f"b/{block_hash[:2]}/{block_hash}/{upload_id}"


def pack_location(sha256: str, upload_id: UUID) -> str:
    return f"p/{sha256[:2]}/{sha256}/{upload_id}"


def is_location(text: str) -> bool:
    """Whether this is a location as it is made here: nothing that could leave the store."""
    match = _LOCATION.fullmatch(text)
    return match is not None and match["sha256"].startswith(match["start"])


def for_the_log(location: str) -> str:
    """A location with the first 12 digits of its hash, which is all that a log may hold.

    The uuid at its end tells the object from all others.
    """
    return re.sub("([0-9a-f]{12})[0-9a-f]{52}", r"\1…", location)


def check_hash(block_hash: str) -> None:
    """Raises InvalidRequest for what is not a SHA-256 in lower-case hex."""
    if not is_sha256(block_hash):
        raise InvalidRequest(HASH_RULE)

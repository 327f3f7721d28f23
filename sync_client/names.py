"""Names: which two are the same, and what cannot be synced (pure).

The rules are the server's (docs/protocol.md, "Items"); what they refuse is set aside here
and listed, never renamed or dropped.
"""

import unicodedata

from sync_client.ports import Kind, Observation

MAX_NAME_BYTES = 255

# Everything of the client's own lives in this folder of the root, which scans leave out.
OWN_FOLDER = ".drive"

# An item on its way through a swap of two names has such a name for a moment. It says
# nothing about where a person wants the item to be.
PARKED_PREFIX = ".drive-parked-"


def name_key(name: str) -> str:
    """What must be unique among the entries of a folder: NFC, then folds of one character."""
    if name.isascii():
        return name.lower()
    key = "".join(
        folded if len(folded := character.casefold()) == 1 else character
        for character in unicodedata.normalize("NFC", name)
    )
    # Bytes that are no text cannot be stored as text; the server never sees such a name.
    return key.encode("utf-8", "backslashreplace").decode()


def is_parked(name: str) -> bool:
    """Whether this is the passing name of an item in a swap."""
    return name.startswith(PARKED_PREFIX)


# Why an entry of the disk cannot be on the server, for people.
REFUSALS = {
    "not-a-file": "Only files and folders are synced; this is a link or a device.",
    "invalid-name": "The name is not valid UTF-8, or longer than 255 bytes.",
    "other-file-system": "Another file system is mounted here; it is left alone.",
    "linked-folder": "This folder is linked by itself; it is left alone.",
    "clients-own": "The sync client's own folder of a link that is no more; it is left alone.",
}


def refusal(seen: Observation) -> str | None:
    """Why an entry of the disk cannot be on the server, a code; None if it can."""
    if seen.kind is Kind.OTHER:
        return seen.apart or "not-a-file"
    try:
        encoded = seen.name.encode()
    except UnicodeEncodeError:
        return "invalid-name"
    return "invalid-name" if len(encoded) > MAX_NAME_BYTES else None


def refusal_of_remote(name: str, *, at_root: bool) -> tuple[str, str] | None:
    """Why an item of the server cannot be on this disk, or None if it can."""
    if at_root and name_key(name) == OWN_FOLDER:
        return "reserved-name", f"{OWN_FOLDER} is the client's own folder."
    return None


def printable(path: tuple[str, ...]) -> str:
    """A path for people and JSON: bytes that are no text become "�"."""
    return "/".join(path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")

"""Names of files and folders: what is refused, and which two are the same (pure)."""

import unicodedata

from drive_project.common.errors import InvalidName

MAX_NAME_BYTES = 255


def check_name(name: str) -> str:
    """The name, exactly as given. Raises InvalidName with the reason."""
    if not name:
        raise InvalidName("A name cannot be empty.")
    if name in {".", ".."}:
        raise InvalidName(f"{name!r} is not a name.")
    if "/" in name or "\0" in name:
        raise InvalidName("A name cannot contain '/' or the NUL character.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidName("A name must be valid Unicode (it has a lone surrogate).") from None
    if size > MAX_NAME_BYTES:
        raise InvalidName(f"A name has at most {MAX_NAME_BYTES} bytes in UTF-8; this has {size}.")
    return name


def name_key(name: str) -> str:
    """What must be unique among the live children of a folder.

    NFC, then each character is folded whose case fold is one character: "A" and "a" are
    the same, while "Maße" and "Masse" may both live.
    """
    return "".join(
        folded if len(folded := character.casefold()) == 1 else character
        for character in unicodedata.normalize("NFC", name)
    )

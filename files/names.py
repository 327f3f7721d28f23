"""Names of files and folders: what is refused, and which two are the same (pure)."""

import unicodedata
from collections.abc import Iterator
from itertools import count

from drive_project.common.errors import InvalidName

MAX_NAME_BYTES = 255
# What stands after the last dot counts as an extension up to this size, the dot included.
MAX_EXTENSION_BYTES = 32


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


def split_extension(name: str) -> tuple[str, str]:
    """Stem and extension with its dot, "" for none; a leading dot begins no extension."""
    stem, dot, extension = name.rpartition(".")
    # Without a letter before the dot this is a hidden file's name; with a blank after it,
    # or very long, it is a sentence.
    if not stem.strip(".") or " " in extension:
        return name, ""
    if len(extension.encode()) + 1 > MAX_EXTENSION_BYTES:
        return name, ""
    return stem, dot + extension


def cut(text: str, max_bytes: int) -> str:
    """The longest beginning of a text that has so many bytes in UTF-8."""
    return text.encode()[:max_bytes].decode(errors="ignore")


def numbered(name: str, number: int, *, is_folder: bool) -> str:
    """`name (2).ext`: another name for an item whose own is taken, at most MAX_NAME_BYTES long."""
    stem, extension = (name, "") if is_folder else split_extension(name)
    tail = f" ({number}){extension}"
    return cut(stem, MAX_NAME_BYTES - len(tail.encode())) + tail


def numbered_names(name: str, *, is_folder: bool) -> Iterator[str]:
    """The names to try where `name` is taken, in order; all have different keys."""
    return (numbered(name, number, is_folder=is_folder) for number in count(2))

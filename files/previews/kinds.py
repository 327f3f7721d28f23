"""What a file is, for showing it. Pure: a name and the first bytes in, a decision out.

A browser gets somebody's bytes to show only where the name and the bytes agree on one of a
few types that run nothing. All else is text, pictures that we make, or a download.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

# So many of the first bytes decide.
HEAD_BYTES = 4096


class Kind(StrEnum):
    """image, audio, video: shown by the browser. The others: made into a page by us."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    PDF = "pdf"
    MARKDOWN = "markdown"
    TEXT = "text"
    NONE = "none"


class Shown(NamedTuple):
    """How a file is shown. `media_type` where its own bytes may go to a browser's eyes."""

    kind: Kind
    media_type: str = ""


def _begins(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _is_riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == form


def _is_iso_media(*brands: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[4:8] == b"ftyp" and head[8:12].startswith(brands)


def _is_mp3(head: bytes) -> bool:
    if head[:3] == b"ID3":
        return True
    # Eleven bits that are set, and layer III.
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2


def _is_webm(head: bytes) -> bool:
    return head[:4] == b"\x1a\x45\xdf\xa3" and b"webm" in head[:64]


_MP4 = _is_iso_media(b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp4", b"avc1", b"M4V", b"dash")
_OGG = _begins(b"OggS")

_MEDIA: dict[str, tuple[Kind, str, Callable[[bytes], bool]]] = {
    "png": (Kind.IMAGE, "image/png", _begins(b"\x89PNG\r\n\x1a\n")),
    "jpg": (Kind.IMAGE, "image/jpeg", _begins(b"\xff\xd8\xff")),
    "jpeg": (Kind.IMAGE, "image/jpeg", _begins(b"\xff\xd8\xff")),
    "gif": (Kind.IMAGE, "image/gif", _begins(b"GIF87a", b"GIF89a")),
    "webp": (Kind.IMAGE, "image/webp", _is_riff(b"WEBP")),
    "avif": (Kind.IMAGE, "image/avif", _is_iso_media(b"avif", b"avis")),
    "mp3": (Kind.AUDIO, "audio/mpeg", _is_mp3),
    "m4a": (Kind.AUDIO, "audio/mp4", _is_iso_media(b"M4A", b"isom", b"iso2", b"mp4")),
    "flac": (Kind.AUDIO, "audio/flac", _begins(b"fLaC")),
    "wav": (Kind.AUDIO, "audio/wav", _is_riff(b"WAVE")),
    "ogg": (Kind.AUDIO, "audio/ogg", _OGG),
    "oga": (Kind.AUDIO, "audio/ogg", _OGG),
    "opus": (Kind.AUDIO, "audio/ogg", _OGG),
    "mp4": (Kind.VIDEO, "video/mp4", _MP4),
    "m4v": (Kind.VIDEO, "video/mp4", _MP4),
    "webm": (Kind.VIDEO, "video/webm", _is_webm),
    "ogv": (Kind.VIDEO, "video/ogg", _OGG),
}


def shown(name: str, head: bytes) -> Shown:
    """How to show a file of this name that begins with these bytes (HEAD_BYTES, or all)."""
    extension = name.rpartition(".")[2].lower()
    if extension in _MEDIA:
        kind, media_type, agrees = _MEDIA[extension]
        if agrees(head):
            return Shown(kind, media_type)
    elif extension == "pdf" and head.startswith(b"%PDF-"):
        return Shown(Kind.PDF)
    if decoded(head) is None:
        return Shown(Kind.NONE)
    return Shown(Kind.MARKDOWN if extension in ("md", "markdown") else Kind.TEXT)


def decoded(data: bytes) -> str | None:
    """Bytes as text, the last character perhaps cut off; None for what is no text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(data, "utf-16", spare=3)
    # No text has these; nearly everything else has one of them early on.
    if any(byte in data for byte in b"\x00\x01\x02\x03\x04\x05\x06\x0e\x0f\x1c"):
        return None
    return _decoded(data, "utf-8-sig", spare=3)


def _decoded(data: bytes, encoding: str, *, spare: int) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(data) - spare:
            return None
        return data[: error.start].decode(encoding)

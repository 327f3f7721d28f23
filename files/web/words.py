"""Sizes, times and kinds as people read them. `static/js/format.js` writes the same words."""

import math
from datetime import datetime, timedelta

UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def size(size_bytes: int) -> str:
    """ "84 KB", "2.1 MB": powers of 1,000, one decimal below ten."""
    value = float(size_bytes)
    unit = 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value /= 1000
        unit += 1
    tenths = math.floor(value * 10 + 0.5) / 10
    shown = str(math.floor(value + 0.5)) if unit == 0 or tenths >= 10 else f"{tenths:.1f}"
    return f"{shown} {UNITS[unit]}"


def exact_size(size_bytes: int) -> str:
    """ "1,234,567 bytes", for where the exact number is wanted."""
    return f"{size_bytes:,} {'byte' if size_bytes == 1 else 'bytes'}"


def date(moment: datetime) -> str:
    return f"{moment.day} {moment:%b %Y}"


def ago(moment: datetime, now: datetime) -> str:
    """ "now", "5 min ago", "3 days ago", or the date for what is older than a week."""
    passed = now - moment
    seconds = math.floor(passed.total_seconds())
    if seconds < -60:
        return date(moment)
    if seconds < 60:
        return "now"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 86400:
        return f"{seconds // 3600} h ago"
    if passed.days == 1:
        return "yesterday"
    return f"{passed.days} days ago" if passed < timedelta(days=7) else date(moment)


def ahead(moment: datetime, now: datetime) -> str:
    """ "in 3 days", "in 2 h": how long something still lasts."""
    seconds = (moment - now).total_seconds()
    if seconds <= 0:
        return "now"
    if seconds < 3600:
        return f"in {math.ceil(seconds / 60)} min"
    if seconds < 86400:
        return f"in {math.ceil(seconds / 3600)} h"
    days = math.floor(seconds / 86400 + 0.5)
    return "in a day" if days == 1 else f"in {days} days"


def duration(length: timedelta) -> str:
    """ "24 hours", "10 minutes": a setting in its largest whole unit."""
    seconds = round(length.total_seconds())
    for unit, unit_seconds in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= unit_seconds and seconds % unit_seconds == 0:
            number = seconds // unit_seconds
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds} seconds"


# How a file is shown: extensions, then an icon of the sprite and one of seven hues.
_KINDS = [
    ("txt md markdown rst log rtf odt doc docx pages tex epub", "file-text", "text"),
    ("pdf", "file-type", "text"),
    ("jpg jpeg png gif webp avif heic heif bmp tif tiff svg ico psd raw cr2 nef dng", "file-image",
     "image"),
    ("mp3 flac wav ogg oga opus m4a aac wma mid midi", "file-music", "media"),
    ("mp4 mkv webm mov avi m4v mpg mpeg wmv ogv", "file-video-camera", "media"),
    ("csv tsv ods xls xlsx numbers parquet sqlite sqlite3 db", "file-spreadsheet", "table"),
    ("ppt pptx odp key", "file-chart-column", "media"),
    ("py js mjs ts tsx jsx html htm css scss json xml yaml yml toml ini cfg c h cc cpp hpp rs go "
     "java kt swift rb php pl lua sql ipynb vue svelte proto", "file-code", "code"),
    ("sh bash zsh fish bat ps1 cmd", "file-terminal", "code"),
    ("zip tar gz tgz bz2 xz zst 7z rar iso dmg deb rpm jar whl apk", "file-archive", "archive"),
    ("pem crt cer gpg asc kdbx", "file-key", "other"),
]  # fmt: skip

KINDS: dict[str, tuple[str, str]] = {
    extension: (icon, kind) for extensions, icon, kind in _KINDS for extension in extensions.split()
}


def kind_of(name: str) -> tuple[str, str]:
    """The icon and the hue of a file with this name."""
    stem, dot, extension = name.rpartition(".")
    known = KINDS.get(extension.lower()) if dot and stem else None
    return known or ("file", "other")


_KIND_NAMES = {
    "text": "Text",
    "image": "Image",
    "media": "Audio or video",
    "table": "Table",
    "code": "Source code",
    "archive": "Archive",
    "other": "File",
}


def kind_name(name: str) -> str:
    """What kind of file this is by its name: "Image", "Table"."""
    return _KIND_NAMES[kind_of(name)[1]]

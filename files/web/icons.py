"""The icons of all pages as one SVG sprite, made of the lucide package when it is first asked.

They are not kept in the repository: the package brings them, under its own licence.
"""

import hashlib
from functools import cache
from importlib.resources import files as resources
from io import BytesIO
from xml.etree import ElementTree
from zipfile import ZipFile

from files.web.words import KINDS

_NAMESPACE = "http://www.w3.org/2000/svg"
NAMES = sorted(
    {
        "activity",
        "arrow-down",
        "arrow-left",
        "arrow-up",
        "check",
        "chevron-down",
        "chevron-left",
        "chevron-right",
        "chevron-up",
        "circle-alert",
        "circle-check",
        "circle-question-mark",
        "clock",
        "copy",
        "download",
        "ellipsis",
        "clipboard-paste",
        "eye",
        "file",
        "file-pen",
        "file-plus",
        "file-up",
        "folder",
        "folder-input",
        "folder-open",
        "folder-plus",
        "folder-up",
        "gauge",
        "globe",
        "hard-drive",
        "history",
        "info",
        "key",
        "keyboard",
        "laptop",
        "layout-grid",
        "list",
        "list-checks",
        "panel-right",
        "link",
        "log-out",
        "monitor",
        "moon",
        "pause",
        "pencil",
        "play",
        "plus",
        "refresh-cw",
        "rotate-ccw",
        "search",
        "share-2",
        "smartphone",
        "sun",
        "sun-moon",
        "trash-2",
        "triangle-alert",
        "undo-2",
        "upload",
        "user",
        "wifi-off",
        "x",
        *(icon for icon, _ in KINDS.values()),
    }
)


@cache
def sprite() -> bytes:
    """One <symbol> per icon; colour and stroke are the page's."""
    root = ElementTree.Element("svg", xmlns=_NAMESPACE)
    packed = resources("lucide").joinpath("lucide.zip").read_bytes()
    with ZipFile(BytesIO(packed)) as archive:
        for name in NAMES:
            drawing = ElementTree.fromstring(archive.read(f"{name}.svg"))  # noqa: S314 - our own
            symbol = ElementTree.SubElement(root, "symbol", id=f"i-{name}", viewBox="0 0 24 24")
            for shape in drawing:
                shape.tag = shape.tag.removeprefix(f"{{{_NAMESPACE}}}")
                shape.tail = None
                symbol.append(shape)
    return ElementTree.tostring(root)


@cache
def sprite_version() -> str:
    """Changes with the sprite, so that browsers may keep it for ever."""
    return hashlib.sha256(sprite()).hexdigest()[:12]

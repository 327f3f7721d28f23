"""What is shown of a version, for a page. The caller has checked that the person may read it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import nh3
from django.utils.safestring import SafeString, mark_safe

from blocks.service import get_block_service
from files.models import FileVersion
from files.previews import limited
from files.previews.kinds import HEAD_BYTES, Kind, Shown, decoded, shown

# Of a text so much is shown; a PDF beyond its limit is only downloaded.
TEXT_BYTES = 256 * 1024
PDF_BYTES = 64 << 20
# Rows of a comparison.
MAX_LINES = 2_000

_LINKS = ("http://", "https://", "mailto:")
_MARKDOWN_TAGS = {
    *("h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "blockquote", "pre", "code"),
    *("em", "strong", "s", "a", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td"),
}


@dataclass(frozen=True, slots=True)
class Text:
    """HTML that runs nothing, and whether it is all there is."""

    html: SafeString
    is_whole: bool


def shown_of(version: FileVersion) -> Shown:
    """How this version of a file is shown."""
    if version.size_bytes == 0:
        return Shown(Kind.TEXT)
    found = shown(version.file.name, b"".join(_bytes(version, HEAD_BYTES)))
    if found.kind is Kind.PDF and version.size_bytes > PDF_BYTES:
        return Shown(Kind.NONE)
    return found


def text_of(version: FileVersion, kind: Kind) -> Text:
    """A text, its code coloured, or its Markdown set. What cannot be is shown as it is."""
    text = plain_text_of(version, TEXT_BYTES)
    if text is None:
        raise limited.CannotShow
    action = "markdown" if kind is Kind.MARKDOWN else "code"
    try:
        html = limited.run(action, version.file.name, [text.encode()]).decode()
    except limited.CannotShow:
        html = f"<pre>{escape(text)}</pre>" if kind is Kind.MARKDOWN else escape(text)
    # Whatever the program was made to say: only these tags leave it.
    if kind is Kind.MARKDOWN:
        clean = nh3.clean(
            html,
            tags=_MARKDOWN_TAGS,
            attributes={"a": {"href"}},
            attribute_filter=_without_own_addresses,
            link_rel="noopener noreferrer nofollow",
            set_tag_attribute_values={"a": {"target": "_blank"}},
        )
    else:
        clean = nh3.clean(html, tags={"span"}, attributes={"span": {"class"}})
    return Text(mark_safe(clean), version.size_bytes <= TEXT_BYTES)  # noqa: S308 - cleaned above


@dataclass(frozen=True, slots=True)
class Line:
    """A row of two texts side by side; `what` is "equal", "replace", "delete" or "insert"."""

    what: str
    old_number: int | None
    old: str
    new_number: int | None
    new: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """None among the lines: equal ones are left out here."""

    lines: list[Line | None]
    is_whole: bool


def compare(old: FileVersion, new: FileVersion) -> Comparison:
    """Two versions of a text, line by line. Raises CannotShow."""
    texts = [plain_text_of(each, TEXT_BYTES) for each in (old, new)]
    before, after = ("" if each is None else each for each in texts)
    if None in texts:
        raise limited.CannotShow
    first = before.encode()
    rows = json.loads(limited.run("compare", str(len(first)), [first, after.encode()]))
    lines = [None if row is None else Line(*row) for row in rows[:MAX_LINES]]
    is_whole = len(rows) <= MAX_LINES and max(old.size_bytes, new.size_bytes) <= TEXT_BYTES
    return Comparison(lines, is_whole)


def plain_text_of(version: FileVersion, limit_bytes: int) -> str | None:
    """The first bytes of a version as text; None for what is no text."""
    return decoded(b"".join(_bytes(version, limit_bytes)))


def page_count(version: FileVersion) -> int:
    """How many pages a PDF has. Raises CannotShow."""
    return int(limited.run("pdf", "0", _bytes(version, PDF_BYTES)))


def pdf_page(version: FileVersion, number: int) -> bytes:
    """A page (from 1) of a PDF as a PNG. Raises CannotShow, also where there is none."""
    if number < 1:
        raise limited.CannotShow
    return limited.run("pdf", str(number), _bytes(version, PDF_BYTES))


def _bytes(version: FileVersion, limit_bytes: int) -> Iterator[bytes]:
    length = min(version.size_bytes, limit_bytes)
    if length == 0:
        return iter(())
    return get_block_service().read_version(file_version_id=version.pk, start=0, length=length)


def _without_own_addresses(_tag: str, name: str, value: str) -> str | None:
    # A relative address would be one of ours, and do there what its reader may.
    return value if name != "href" or value.lower().startswith(_LINKS) else None

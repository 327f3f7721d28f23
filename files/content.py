"""The content of a version over HTTP: streamed, in ranges, and never run by a browser.

For browsers, curl and links; devices fetch blocks. A few hundred KiB are in memory at a
time, however large the file is.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from blocks.service import get_block_service
from drive_project.common.errors import NotFound
from files.models import File, FileVersion

# Of bytes that somebody uploaded nothing may run, even where a browser shows them.
CONTENT_POLICY = "default-src 'none'; sandbox"
# Of every answer that carries a file's content, or a picture of it.
CONTENT_HEADERS = {
    # Kept by the browser alone, and asked for again each time: rights may change.
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    # No page of another site gets at it, not even to show it.
    "Cross-Origin-Resource-Policy": "same-origin",
}

# One range, as RFC 9110 spells it: from-to, from-, or -length.
_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_ETAG = re.compile(r'(?:W/)?"[^"]*"')
# Longer numbers are beyond any file; Python also refuses to read very long ones.
_MAX_DIGITS = 19


class ByteRange(NamedTuple):
    """Bytes from `start`, `length` of them (at least 1)."""

    start: int
    length: int


class UnsatisfiableRange(Exception):
    """A range that begins behind the end."""


def content_response(
    request: HttpRequest,
    file: File,
    version: FileVersion | None = None,
    *,
    media_type: str = "",
) -> HttpResponseBase:
    """A GET or HEAD of a file's content, of its current version unless another one is given.

    media_type: what `files.previews.kinds` has found harmless to show; without one, it is an
    attachment. Answers 200, 206, 304 or 416. The caller has checked that the person may read
    the file. Raises NotFound for a file without a version, and what the Block Service raises before
    the first byte; a fault after it ends the connection short of Content-Length.
    """
    version = version or file.current_version
    if version is None:
        raise NotFound
    etag = f'"{version.pk}"'
    headers = {**CONTENT_HEADERS, "ETag": etag, "Accept-Ranges": "bytes"}
    if _names(request.headers.get("If-None-Match", ""), etag):
        return HttpResponse(status=304, headers=headers)
    try:
        wanted = _wanted_range(request, etag, version.size_bytes)
    except UnsatisfiableRange:
        headers["Content-Range"] = f"bytes */{version.size_bytes}"
        return HttpResponse(status=416, headers=headers)
    whole = ByteRange(0, version.size_bytes)
    start, length = wanted or whole
    headers["Content-Length"] = str(length)
    headers["Content-Disposition"] = "inline" if media_type else attachment(file.name)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{version.size_bytes}"
    status = 200 if wanted is None else 206
    content_type = media_type or "application/octet-stream"
    if request.method == "HEAD":
        return HttpResponse(status=status, headers=headers, content_type=content_type)
    return StreamingHttpResponse(
        _begun(version, start, length),
        status=status,
        headers=headers,
        content_type=content_type,
    )


def attachment(name: str) -> str:
    """Content-Disposition for a download under this name (RFC 6266, RFC 8187).

    `filename` is for old programs, in characters that none of them takes for something else.
    """
    plain = re.sub(r'[^\x20-\x7e]|["\\%;]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def parse_range(header: str, size_bytes: int) -> ByteRange | None:
    """The one range that a Range header asks for; None where the whole content is due.

    That is for several ranges at once, and for what is no byte range. Raises
    UnsatisfiableRange.
    """
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        return None
    first, last = found.groups()
    if len(first) > _MAX_DIGITS or len(last) > _MAX_DIGITS or not (first or last):
        return None
    if not first:
        length = min(int(last), size_bytes)
        start = size_bytes - length
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        length = (min(int(last) + 1, size_bytes) if last else size_bytes) - start
    if length < 1:
        raise UnsatisfiableRange
    return ByteRange(start, length)


def _wanted_range(request: HttpRequest, etag: str, size_bytes: int) -> ByteRange | None:
    header = request.headers.get("Range", "")
    # A validator other than this very version: the part that the client has is of another.
    if_range = request.headers.get("If-Range", "").strip()
    if not header or request.method != "GET" or (if_range and if_range != etag):
        return None
    return parse_range(header, size_bytes)


def _names(if_none_match: str, etag: str) -> bool:
    """Whether If-None-Match names this version (weak comparison, as RFC 9110 wants)."""
    if if_none_match.strip() == "*":
        return True
    return etag in {each.removeprefix("W/") for each in _ETAG.findall(if_none_match)}


def _begun(version: FileVersion, start: int, length: int) -> Iterator[bytes]:
    """The bytes, the first of them read already: a store that is away is still a 5xx."""
    if not length:
        return iter(())
    stream = get_block_service().read_version(
        file_version_id=version.pk, start=start, length=length
    )
    return chain([next(stream, b"")], stream)

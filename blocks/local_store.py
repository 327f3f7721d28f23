"""The embedded store's door: a bare ASGI application for `/blocks/…`.

Block bytes do not pass through Django's request stack, which costs a thread and more per
request. A request is let in by its signed URL alone; what touches the disk runs on threads.
"""

import asyncio
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings

from blocks import disk
from blocks.locations import is_location
from blocks.presign import LocalPresigner, LocalRequest, checksum_header, range_header
from drive_project.common.errors import (
    DriveError,
    InvalidUrl,
    LengthRequired,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
    TooLarge,
    WrongBytes,
)
from drive_project.common.problem import MEDIA_TYPE, problem_of

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
T = TypeVar("T")

# What goes to or comes from a thread at once. Bodies come in far smaller pieces.
PIECE_BYTES = 1024 * 1024
THREADS = 8

# These are bytes of users on our own origin: nothing may ever run or show them.
SAFE_HEADERS: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cache-control", b"private, no-store"),
]


class _Disconnected(Exception):
    """The device is gone; nobody waits for an answer."""


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="local-store")


async def _on_thread(function: Callable[..., T], *args: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads(), function, *args)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """PUT, GET and HEAD of one object by a signed URL; all else is refused."""
    if scope["type"] != "http":
        raise ValueError(f"Only HTTP is spoken here, not {scope['type']}.")
    try:
        await _answer(scope, receive, send)
    except _Disconnected:
        return
    except DriveError as error:
        await _problem(send, error)
    except OSError:
        # A full or broken disk. The message of the exception may hold a location, which
        # is no secret; the URL is, and is not in it.
        log.exception("The embedded block store failed.")
        await _problem(send, ServiceUnavailable("The block store failed; try again later."))


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    method = scope["method"]
    location = scope["path"].removeprefix(LocalPresigner.PREFIX)
    if not is_location(location):
        raise NotFound()
    if method not in {"GET", "HEAD", "PUT"}:
        raise MethodNotAllowed()
    presigner = LocalPresigner(settings.SECRET_KEY)
    allowed = presigner.read(
        method, location, scope["query_string"].decode("latin-1"), now=datetime.now(UTC)
    )
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if method == "PUT":
        await _put(allowed, headers, receive, send)
    else:
        await _get(allowed, headers, method, send)


# --- PUT --------------------------------------------------------------------------------


async def _put(
    allowed: LocalRequest, headers: dict[bytes, str], receive: Receive, send: Send
) -> None:
    size_bytes = _check_put(allowed, headers)
    incoming = await _on_thread(_open_incoming, settings.BLOCKS_DIR)
    try:
        async for piece in _body(receive, size_bytes):
            await _on_thread(incoming.write, piece)
        await _on_thread(
            lambda: incoming.finish(allowed.location, size_bytes=size_bytes, sha256=allowed.sha256)
        )
    finally:
        await _on_thread(incoming.close)
    await _respond(send, 200, [(b"content-length", b"0")])


def _open_incoming(root: Path) -> disk.IncomingFile:
    return disk.IncomingFile(root).__enter__()


def _check_put(allowed: LocalRequest, headers: dict[bytes, str]) -> int:
    """The length of the body. Raises where the headers are not those that were signed."""
    if allowed.size_bytes is None:
        raise InvalidUrl()
    length = headers.get(b"content-length", "")
    if not length.isdigit():
        raise LengthRequired()
    if int(length) > allowed.size_bytes:
        raise TooLarge(f"This URL is for {allowed.size_bytes} bytes.")
    if int(length) < allowed.size_bytes:
        raise WrongBytes(f"This URL is for {allowed.size_bytes} bytes.")
    checksum = headers.get(b"x-amz-checksum-sha256")
    if checksum is not None and checksum != checksum_header(allowed.sha256):
        raise WrongBytes("This URL is for bytes of another SHA-256.")
    if headers.get(b"if-none-match", "*") != "*":
        raise InvalidUrl("This URL is for If-None-Match: *.")
    return allowed.size_bytes


async def _body(receive: Receive, size_bytes: int) -> Any:
    """The body, in pieces worth a trip to a thread. Raises TooLarge as soon as it is."""
    waiting = bytearray()
    received = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Disconnected
        waiting += message.get("body", b"")
        received += len(message.get("body", b""))
        if received > size_bytes:
            raise TooLarge(f"This URL is for {size_bytes} bytes.")
        more = message.get("more_body", False)
        if waiting and (len(waiting) >= PIECE_BYTES or not more):
            yield bytes(waiting)
            waiting.clear()
        if not more:
            return


# --- GET --------------------------------------------------------------------------------


async def _get(allowed: LocalRequest, headers: dict[bytes, str], method: str, send: Send) -> None:
    try:
        handle = await _on_thread(_open_object, settings.BLOCKS_DIR / allowed.location)
    except FileNotFoundError as error:
        raise NotFound() from error
    try:
        size_bytes = os.fstat(handle).st_size
        start, end, is_part = _range_of(allowed, headers.get(b"range"), size_bytes)
        answer: list[Header] = [
            *SAFE_HEADERS,
            (b"content-type", b"application/octet-stream"),
            (b"content-disposition", b"attachment"),
            (b"accept-ranges", b"bytes"),
        ]
        if start >= size_bytes:
            answer += [
                (b"content-range", f"bytes */{size_bytes}".encode()),
                (b"content-length", b"0"),
            ]
            await _respond(send, 416, answer)
            return
        if is_part:
            answer.append((b"content-range", f"bytes {start}-{end - 1}/{size_bytes}".encode()))
        answer.append((b"content-length", str(end - start).encode()))
        await send(
            {
                "type": "http.response.start",
                "status": 206 if is_part else 200,
                "headers": answer,
            }
        )
        if method == "GET":
            for position, length in _pieces(start, end):
                data = await _on_thread(os.pread, handle, length, position)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        os.close(handle)


def _open_object(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    for position in range(start, end, PIECE_BYTES):
        yield position, min(PIECE_BYTES, end - position)


def _range_of(allowed: LocalRequest, asked: str | None, size_bytes: int) -> tuple[int, int, bool]:
    """[start, end) and whether it is a part. A signed range has to be asked for as signed."""
    if allowed.start is not None and allowed.length is not None:
        if asked != range_header(allowed.start, allowed.length):
            raise InvalidUrl("This URL is for the Range that comes with it.")
        return allowed.start, min(allowed.start + allowed.length, size_bytes), True
    match = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", asked or "")
    if match is None or match[0] == "bytes=-":
        # Several ranges, other units: a server may answer with the whole.
        return 0, size_bytes, False
    if not match[1]:
        return max(size_bytes - int(match[2]), 0), size_bytes, True
    start = int(match[1])
    end = min(int(match[2]) + 1, size_bytes) if match[2] else size_bytes
    if match[2] and int(match[2]) < start:
        return 0, size_bytes, False
    return start, end, True


# --- Answers ------------------------------------------------------------------------------


async def _respond(send: Send, status: int, headers: list[Header], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _problem(send: Send, error: DriveError) -> None:
    body = json.dumps(problem_of(error)).encode()
    headers: list[Header] = [
        *SAFE_HEADERS,
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await _respond(send, error.status, headers, body)

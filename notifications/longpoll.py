"""GET /api/v1/notifications/poll: answered when something has changed, or in time.

A bare ASGI application: a Django view, even an async one, holds a thread while it waits,
and a Channels HTTP consumer does not notice that its client has gone.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from django.http import HttpResponse
from django.utils.dateparse import parse_datetime

from drive_project.common.errors import (
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotAuthenticated,
    TooManyRequests,
)
from drive_project.common.problem import drive_error_of, problem_response
from drive_project.common.rendering import to_json
from files import public
from files.public import Session, Standing
from notifications.connections import Ending, TooManyConnections, UserSessionDetails
from notifications.dispatch import Dispatcher, dispatcher
from notifications.handshake import Scope, credentials_of

DEFAULT_TIMEOUT_SECONDS = 55
LONGEST_TIMEOUT_SECONDS = 300
# Two programs with one token would replace each other without end; so they do it slowly.
REPLACED_RETRY_SECONDS = 5
BUSY_RETRY_SECONDS = 30

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PollRequest:
    """What was asked: since this moment, or else since this cursor ("": the beginning)."""

    cursor: str
    last_sync_time: datetime | None
    timeout_seconds: int

    @classmethod
    def parse(cls, query_string: bytes) -> "PollRequest":
        """Raises InvalidRequest."""
        query = parse_qs(query_string.decode("latin-1"), keep_blank_values=True)
        cursor, moment = query.get("cursor"), query.get("last_sync_time")
        if cursor is not None and moment is not None:
            raise InvalidRequest("Name either a cursor or a last_sync_time.")
        last_sync_time = None
        if moment is not None:
            last_sync_time = _moment(moment[0])
        return cls(
            cursor=cursor[0] if cursor else "",
            last_sync_time=last_sync_time,
            timeout_seconds=_timeout(query.get("timeout", [str(DEFAULT_TIMEOUT_SECONDS)])[0]),
        )


def _moment(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = "Not a moment like 2026-01-31T12:00:00Z (a + in a URL is written %2B)."
        raise InvalidRequest(message, errors={"last_sync_time": [message]})
    return moment


def _timeout(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= 3
    if not is_number or not 1 <= int(text) <= LONGEST_TIMEOUT_SECONDS:
        message = f"A whole number of seconds from 1 to {LONGEST_TIMEOUT_SECONDS}."
        raise InvalidRequest(message, errors={"timeout": [message]})
    return int(text)


async def long_poll(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    answering = asyncio.ensure_future(_answer(scope))
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            await send_response(send, answering.result())
    finally:
        for task in (answering, gone):
            task.cancel()
        # The connection is taken out before we are done, not some time later.
        await asyncio.gather(answering, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(scope: Scope) -> HttpResponse:
    try:
        return HttpResponse(to_json(await _poll(scope)), content_type="application/json")
    except Exception as error:
        known = drive_error_of(error)
        if known is None:
            logger.exception("long poll failed")
            known = InternalError()
        response = problem_response(known)
        if isinstance(known, MethodNotAllowed):
            response["Allow"] = "GET"
        return response


async def _poll(scope: Scope) -> dict[str, Any]:
    if scope["method"] != "GET":
        raise MethodNotAllowed
    service = dispatcher()
    session = await credentials_of(scope, must_name_origin=False).sign_in(service)
    if session is None:
        raise NotAuthenticated
    request = PollRequest.parse(scope["query_string"])
    try:
        async with service.connection(session) as details:
            standing = await _compare(service, session, request)
            details.learn(standing.seen)
            if standing.newer:
                answer = _changes(standing)
            else:
                answer = await _wait(details, standing, request.timeout_seconds)
            details.comes_back = True
            retry_after_seconds = service.retry_after_seconds()
            if retry_after_seconds is not None:
                answer.setdefault("retry_after_seconds", retry_after_seconds)
            return answer
    except TooManyConnections:
        jittered = random.randint(BUSY_RETRY_SECONDS // 2, BUSY_RETRY_SECONDS)  # noqa: S311
        raise TooManyRequests(retry_after_seconds=jittered) from None


async def _compare(service: Dispatcher, session: Session, request: PollRequest) -> Standing:
    if request.last_sync_time is not None:
        return await service.ask(public.compare_time, session.user_id, request.last_sync_time)
    return await service.compare(session.user_id, request.cursor)


async def _wait(
    details: UserSessionDetails, standing: Standing, timeout_seconds: int
) -> dict[str, Any]:
    try:
        async with asyncio.timeout(timeout_seconds):
            await details.inbox.wait()
    except TimeoutError:
        return {"result": "timeout", "action": "full_sync", "cursor": standing.cursor}
    changed, ending = details.inbox.take()
    match ending:
        case Ending.REVOKED:
            raise NotAuthenticated("This device has been signed out.")
        case Ending.REPLACED if not changed:
            return {
                "result": "timeout",
                "action": "full_sync",
                "cursor": standing.cursor,
                "retry_after_seconds": REPLACED_RETRY_SECONDS,
            }
        case _:
            return _changes(standing)


def _changes(standing: Standing) -> dict[str, Any]:
    return {"result": "changes", "action": "sync", "cursor": standing.cursor}


async def send_response(send: Send, response: HttpResponse) -> None:
    """Answer with this, to be kept by nobody."""
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Length"] = str(len(response.content))
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in response.items()
            ],
        }
    )
    await send({"type": "http.response.body", "body": response.content})

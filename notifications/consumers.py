"""WS /ws/notifications: the open socket of one device or one tab of a browser.

It carries "changed" signals and acknowledgements, never file data. A bare ASGI application:
signals come from our own dispatcher, so a Channels consumer would only add its layer.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.db import Error as DatabaseFault

from drive_project.common.errors import DriveError, NotAuthenticated
from drive_project.common.problem import drive_error_of, problem_of
from drive_project.common.rendering import to_json
from files import public
from files.public import Session
from notifications.connections import Ending, TooManyConnections, UserSessionDetails
from notifications.dispatch import Dispatcher, dispatcher
from notifications.handshake import Credentials, Scope, credentials_of

# Close codes, as in docs/protocol.md.
MALFORMED = 4400
SIGN_IN_AGAIN = 4401
SILENT_TOO_LONG = 4408
REPLACED = 4409
MESSAGE_TOO_LARGE = 4413
TOO_MANY = 4429

MAX_MESSAGE_BYTES = 64 * 1024
# So many at once; the allowance is full again after a minute.
MAX_MESSAGES = 60
MESSAGES_WITHIN_SECONDS = 60.0

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger(__name__)


class Allowance:
    """`limit` at once, refilled steadily within `within_seconds` (a token bucket)."""

    def __init__(self, limit: int, *, within_seconds: float) -> None:
        self._limit = limit
        self._per_second = limit / within_seconds
        self._left = float(limit)
        self._filled_at = time.monotonic()

    def take(self) -> bool:
        """Use one; False where none is left."""
        now = time.monotonic()
        self._left = min(self._limit, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class DeviceSocket:
    """The ASGI application. The intervals are parameters for the sake of tests."""

    def __init__(
        self,
        *,
        ping_seconds: float = 30.0,
        silence_seconds: float = 60.0,
        # What no event tells: a session that ended, a person who was switched off.
        sign_in_again_seconds: float = 120.0,
    ) -> None:
        self.ping_seconds = ping_seconds
        self.silence_seconds = silence_seconds
        self.sign_in_again_seconds = sign_in_again_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        service = dispatcher()
        try:
            credentials = credentials_of(scope, must_name_origin=True)
            session = await credentials.sign_in(service)
            if session is None:
                raise NotAuthenticated
        except DriveError:
            # Before it is accepted: the handshake is answered with 403.
            await send({"type": "websocket.close"})
            return
        try:
            await self._converse(service, credentials, session, receive, send)
        except TooManyConnections:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": TOO_MANY})

    async def _converse(
        self,
        service: Dispatcher,
        credentials: Credentials,
        session: Session,
        receive: Receive,
        send: Send,
    ) -> None:
        async with service.connection(session) as details:
            # Registered first, compared second: see Dispatcher.connection.
            known = await service.heads_of(session.user_id)
            details.learn(known)
            conversation = _Conversation(self, service, credentials, details, receive, send)
            await send({"type": "websocket.accept"})
            spelled = {str(namespace_id): seq for namespace_id, seq in known.items()}
            await conversation.say({"type": "hello", "heads": spelled})
            code = await conversation.run()
        if code is not None:
            await send({"type": "websocket.close", "code": code})


class _Conversation:
    """An accepted socket: three tasks, of which the first to end decides the close code."""

    def __init__(
        self,
        socket: DeviceSocket,
        service: Dispatcher,
        credentials: Credentials,
        details: UserSessionDetails,
        receive: Receive,
        send: Send,
    ) -> None:
        self._socket = socket
        self._service = service
        self._credentials = credentials
        self._details = details
        self._receive = receive
        self._send = send
        self._allowance = Allowance(MAX_MESSAGES, within_seconds=MESSAGES_WITHIN_SECONDS)
        self._heard_at = time.monotonic()

    async def run(self) -> int | None:
        """The code to close with; None when the client has closed."""
        tasks = [
            asyncio.ensure_future(part) for part in (self._listen(), self._tell(), self._watch())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        codes = [task.result() for task in done]
        # A client that has gone needs no code, whatever else happened at that moment.
        return None if None in codes else codes[0]

    async def say(self, message: Message) -> None:
        """Send one JSON message."""
        await self._send({"type": "websocket.send", "text": to_json(message).decode()})

    async def _tell(self) -> int:
        """Send what the dispatcher puts into the inbox."""
        while True:
            await self._details.inbox.wait()
            changed, ending = self._details.inbox.take()
            match ending:
                case Ending.REVOKED:
                    return SIGN_IN_AGAIN
                case Ending.REPLACED:
                    return REPLACED
            for namespace_id, seq in changed.items():
                await self.say({"type": "changed", "namespace_id": namespace_id, "seq": seq})

    async def _watch(self) -> int:
        """Ping; notice a silent client, and one that is no longer signed in."""
        signed_in_at = time.monotonic()
        while True:
            await asyncio.sleep(self._socket.ping_seconds)
            now = time.monotonic()
            if now - self._heard_at >= self._socket.silence_seconds:
                return SILENT_TOO_LONG
            if now - signed_in_at >= self._socket.sign_in_again_seconds:
                try:
                    if not await self._is_signed_in():
                        return SIGN_IN_AGAIN
                    signed_in_at = now
                except DatabaseFault:
                    # Not the client's fault: it stays, and we ask again with the next ping.
                    logger.warning("a sign-in could not be checked again", exc_info=True)
            await self.say({"type": "ping"})

    async def _is_signed_in(self) -> bool:
        if self._details.is_browser:
            return await self._credentials.sign_in(self._service) is not None
        return await self._service.is_signed_in(self._details.device_id)

    async def _listen(self) -> int | None:
        """Obey the client's messages. None: it has closed."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return None
            self._heard_at = time.monotonic()
            if not self._allowance.take():
                return TOO_MANY
            text = message.get("text")
            if text is None:
                return MALFORMED
            if len(text.encode()) > MAX_MESSAGE_BYTES:
                return MESSAGE_TOO_LARGE
            try:
                said = json.loads(text)
            except (ValueError, RecursionError):
                return MALFORMED
            match said:
                case {"type": "ack", "cursor": str(cursor)}:
                    await self._acknowledge(cursor)
                case {"type": "ack"}:
                    return MALFORMED
                case {"type": str()}:
                    # A pong has done its work by arriving. What a newer client may say
                    # beyond this protocol is not held against it.
                    pass
                case _:
                    return MALFORMED

    async def _acknowledge(self, cursor: str) -> None:
        try:
            moment = await self._service.ask(public.record_ack, self._details.device_id, cursor)
        except Exception as error:
            known = drive_error_of(error)
            if known is None:
                raise
            await self.say({"type": "problem", "problem": problem_of(known)})
        else:
            self._details.last_sync_time = moment or self._details.last_sync_time

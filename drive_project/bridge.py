"""Pages and API under ASGI: Django's WSGI application on threads that stay.

Django's own ASGI handler makes a thread and a database connection for every request; kept
threads keep their connections and answer three times as many. What Django streams (whole
files, archives) moves to threads of its own, so slow readers never hold up the API.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from tempfile import SpooledTemporaryFile
from typing import Any

from a2wsgi.wsgi import build_environ
from django.db import close_old_connections

logger = logging.getLogger(__name__)

# A longer request body waits for its thread on disk.
SPOOL_BYTES = 256 * 1024
WORKER_NAME = "request"
STREAM_NAME = "stream"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Environ = MutableMapping[str, Any]
WsgiApplication = Callable[[Any, Callable[..., Any]], Iterable[bytes]]


class ClientGone(OSError):
    """Nobody reads the answer any more."""


class WsgiBridge:
    """An ASGI application that answers with a WSGI one.

    workers: requests answered at once. streams: bodies sent at once, for as long as their
    readers take. The server below must hand over whole, bounded request bodies and hold
    back `send` while the reader is slow (drive_project.server does both).
    """

    def __init__(self, application: WsgiApplication, *, workers: int, streams: int) -> None:
        self._application = application
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix=WORKER_NAME)
        self._streams = ThreadPoolExecutor(streams, thread_name_prefix=STREAM_NAME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with SpooledTemporaryFile(SPOOL_BYTES) as body:
            is_whole = False
            while not is_whole:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body.write(message.get("body", b""))
                is_whole = not message.get("more_body", False)
            body.seek(0)
            # a2wsgi reads its own kind of body; ours has arrived whole.
            environ: Environ = dict(build_environ(scope, body))  # type: ignore[arg-type]
            environ["wsgi.errors"] = sys.stderr
            answer = _Answer(asyncio.get_running_loop(), send)
            watch = asyncio.create_task(answer.watch(receive))
            try:
                await answer.run(self._workers, lambda: answer.begin(self._application, environ))
                if answer.is_streaming:
                    await answer.run(self._streams, answer.stream)
            finally:
                watch.cancel()

    def close(self, *, timeout_seconds: float) -> None:
        """Take no more requests; wait a while for those that threads still work on."""
        deadline = time.monotonic() + timeout_seconds
        for threads in (self._workers, self._streams):
            threads.shutdown(wait=False, cancel_futures=True)
        for thread in threading.enumerate():
            if thread.name.startswith((WORKER_NAME, STREAM_NAME)):
                thread.join(max(0, deadline - time.monotonic()))


class _Answer:
    """One answer on its way from a thread to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Send) -> None:
        self._loop = loop
        self._send = send
        self._gone = threading.Event()
        self._start: Message = {}
        self._chunks: Iterable[bytes] = ()
        self.is_streaming = False

    async def run(self, threads: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        working = self._loop.run_in_executor(threads, work)
        try:
            await asyncio.shield(working)
        except ClientGone:
            logger.debug("The client left before the end of its answer")
        except asyncio.CancelledError:
            # The server has given up on this request; its thread learns of it at the next
            # piece that it wants to send.
            self._gone.set()
            working.add_done_callback(_look_at)
            raise

    async def watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    def begin(self, application: WsgiApplication, environ: Environ) -> None:
        """Answer in a worker thread; leave a streamed body for `stream`."""
        chunks = application(environ, self._start_response)
        if getattr(chunks, "streaming", False):
            self._chunks, self.is_streaming = chunks, True
            # Django does so at the end of the answer, which another thread comes to.
            close_old_connections()
            return
        try:
            body = b"".join(chunks)
        finally:
            _close(chunks)
        self._deliver(self._start)
        self._deliver({"type": "http.response.body", "body": body})

    def stream(self) -> None:
        """Send a body piece by piece in a stream thread."""
        try:
            self._deliver(self._start)
            for chunk in self._chunks:
                self._deliver({"type": "http.response.body", "body": chunk, "more_body": True})
            self._deliver({"type": "http.response.body", "body": b""})
        finally:
            _close(self._chunks)

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        self._start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ],
        }

        def write(chunk: bytes) -> None:
            raise NotImplementedError("Django returns bodies, it never writes them")

        return write

    def _deliver(self, message: Message) -> None:
        if self._gone.is_set():
            raise ClientGone
        asyncio.run_coroutine_threadsafe(self._pass_on(message), self._loop).result()

    async def _pass_on(self, message: Message) -> None:
        await self._send(message)


def _look_at(working: "asyncio.Future[None]") -> None:
    """How work ended that nobody waits for any more. A fault in it has been logged by Django."""
    if not working.cancelled():
        working.exception()


def _close(chunks: Iterable[bytes]) -> None:
    # Django ends the request here: it lets go of files and old database connections.
    close = getattr(chunks, "close", None)
    if close is not None:
        close()

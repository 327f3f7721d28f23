"""`python -m drive_project.server`: Daphne with the limits that must sit below ASGI.

Daphne hands a request over only after its last byte, and takes an answer as fast as it is
produced. Here a body has a limit before anybody looks at it, and whoever answers waits for a
slow reader, so the memory of this process is bounded whatever clients do.
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import socket
from functools import partial
from typing import IO, Any

import daphne.server
from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server as DaphneServer
from daphne.ws_protocol import WebSocketFactory
from twisted.internet.endpoints import AdoptedStreamServerEndpoint

# The largest body is a pack of blocks, 8 MiB; JSON has its own, lower limit.
MAX_BODY_BYTES = 8 * 1024 * 1024 + 64 * 1024
# A refused body is still read this far, unkept: most clients look at the answer only then.
MAX_DISCARDED_BYTES = 64 * 1024 * 1024
# How long a reader may take nothing at all before its connection is dropped.
STALLED_READER_SECONDS = 60
# A WebSocket message may have so many bytes; a longer one ends its connection with code 1009.
MAX_MESSAGE_BYTES = 64 * 1024
# When thousands come at once, as after a restart, the last must not be sent away: how many
# connections wait to be accepted, and how long each may then wait for its handshake.
BACKLOG = 4096
HANDSHAKE_SECONDS = 60
# How long running requests may take to end when the server stops.
DRAIN_SECONDS = 3


class Request(WebRequest):  # type: ignore[misc]  # Daphne has no types
    """One HTTP request, with a limit on its body and with back-pressure on its answer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received_bytes = 0
        self._is_too_large = False
        self._has_room = asyncio.Event()
        self._has_room.set()

    # --- Receiving

    def gotLength(self, length: int | None) -> None:
        self._is_too_large = length is not None and length > MAX_BODY_BYTES
        super().gotLength(0 if self._is_too_large else length)

    def handleContentChunk(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if not self._is_too_large and self._received_bytes > MAX_BODY_BYTES:
            self._is_too_large = True
            self.content.close()
            super().gotLength(0)
        if not self._is_too_large:
            super().handleContentChunk(data)
        elif self._received_bytes > MAX_DISCARDED_BYTES:
            self.channel.transport.abortConnection()

    def process(self) -> Any:
        if self._is_too_large:
            return self._refuse()
        # Daphne would let any client name the path that we are mounted at.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        return super().process()

    def _refuse(self) -> None:
        problem = {
            "type": "/problems/too-large",
            "title": "The request is too large",
            "status": 413,
            "code": "too-large",
            "detail": f"A request body has at most {MAX_BODY_BYTES} bytes.",
        }
        headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
        self.handle_reply({"type": "http.response.start", "status": 413, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": json.dumps(problem).encode()})

    def handle_exception(self, exception: BaseException) -> None:
        """Called when the application failed. A begun answer is broken off, never padded."""
        if not self._response_started:
            super().handle_exception(exception)
        elif self.channel is not None:
            self.channel.transport.abortConnection()

    # --- Answering

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and not self.finished and self.channel:
            is_last = not message.get("more_body", False)
            if is_last and self.producer:
                self.unregisterProducer()
            elif not is_last and not self.producer:
                self.registerProducer(self, True)
        super().handle_reply(message)

    # Twisted calls these three while the answer is streamed.
    def pauseProducing(self) -> None:
        self._has_room.clear()

    def resumeProducing(self) -> None:
        self._has_room.set()

    def stopProducing(self) -> None:
        self._has_room.set()

    def connectionLost(self, reason: Any) -> None:
        self._has_room.set()
        super().connectionLost(reason)

    async def room(self) -> None:
        """Wait until the reader has taken what was sent; drop it when it takes nothing."""
        try:
            await asyncio.wait_for(self._has_room.wait(), STALLED_READER_SECONDS)
        except TimeoutError:
            if self.channel is not None:
                self.channel.transport.abortConnection()


class BodyQueue:
    """What an application receives, with a body that stays in its file until it is read.

    Daphne puts the whole body of every request into memory; with many large uploads at once
    that would be all of it.
    """

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._put_bytes = 0

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Called by Daphne for each piece of the body, then when the client has gone."""
        if message["type"] == "http.request":
            size_bytes = len(message["body"])
            message = {**message, "body": (self._put_bytes, size_bytes)}
            self._put_bytes += size_bytes
        self._messages.put_nowait(message)

    async def get(self) -> dict[str, Any]:
        """The application's `receive`."""
        message = await self._messages.get()
        if message["type"] != "http.request":
            return message
        start, size_bytes = message["body"]
        if self._content.closed:
            # The client has gone in the meantime, and its body with it.
            return {"type": "http.disconnect"}
        self._content.seek(start)
        return {**message, "body": self._content.read(size_bytes)}


class Server(DaphneServer):  # type: ignore[misc]
    """Daphne, answering with our requests."""

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if not isinstance(protocol, Request):
            return super().create_application(protocol, scope)
        if protocol not in self.connections:
            return None
        received = BodyQueue(protocol.content)
        answering = self.application(
            scope={**scope, "asgi": {"version": "3.0"}},
            receive=received.get,
            send=partial(self.handle_reply, protocol),
        )
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(answering)
        return received

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if isinstance(protocol, Request):
            await protocol.room()


class RequestFactory(HTTPFactory):  # type: ignore[misc]
    """Makes our requests out of connections."""

    def buildProtocol(self, addr: Any) -> Any:
        connection = super().buildProtocol(addr)
        connection.requestFactory = Request
        return connection


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Makes WebSockets that say why they end, where Daphne's would just be dropped."""

    def setProtocolOptions(self, **options: Any) -> None:
        super().setProtocolOptions(**options, failByDrop=False)


def serve(application: Any, *, bind: str | None = None, fd: int = 0) -> None:
    """Answer on an address, or on an inherited socket that listens, until SIGTERM or SIGINT."""
    allow_many_files()
    # What Daphne has no arguments for: our requests, and a socket of any family.
    daphne.server.HTTPFactory = RequestFactory
    daphne.server.WebSocketFactory = SocketFactory
    if bind is not None:
        host, _, port = bind.rpartition(":")
        endpoints = [
            f"{endpoint}:backlog={BACKLOG}"
            for endpoint in build_endpoint_description_strings(host=host, port=int(port))
        ]
    else:
        endpoints = [f"fd:fileno={fd}"]
        daphne.server.serverFromString = lambda reactor, _: inherited(reactor, fd)
    server = Server(
        application=application,
        endpoints=endpoints,
        # JSON and blocks reach the application in a few pieces instead of hundreds.
        request_buffer_size=1024 * 1024,
        # A connection that nobody hears from is found by the pings; there is no other end.
        websocket_timeout=-1,
        # Ours are those of the protocol that devices speak; two kinds would be twice the work.
        ping_interval=24 * 3600,
        websocket_handshake_timeout=HANDSHAKE_SECONDS,
        websocket_connect_timeout=HANDSHAKE_SECONDS,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        websocket_max_frame_size=MAX_MESSAGE_BYTES,
        server_name="",
        verbosity=1,
    )
    server.run()
    if server.abort_start:
        raise SystemExit(f"Cannot listen on {bind or endpoints[0]}.")


def allow_many_files() -> None:
    """As many open files, so connections, as the system lets this user have without asking."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def inherited(reactor: Any, fd: int) -> Any:
    """The endpoint of a socket that listens already."""
    with socket.socket(fileno=os.dup(fd)) as listener:
        # Twisted has types, but not for this.
        return AdoptedStreamServerEndpoint(reactor, fd, listener.family)  # type: ignore[no-untyped-call]


def main() -> None:
    """Serve `drive_project.asgi` on the address or socket that the command line names."""
    options = argparse.ArgumentParser(prog="python -m drive_project.server")
    where = options.add_mutually_exclusive_group(required=True)
    where.add_argument("--bind", metavar="HOST:PORT", help="address to listen on")
    where.add_argument("--fd", type=int, metavar="N", help="inherited socket that listens")
    chosen = options.parse_args()

    from drive_project import asgi

    serve(asgi.application, bind=chosen.bind, fd=chosen.fd or 0)
    asgi.pages.close(timeout_seconds=DRAIN_SECONDS)
    logging.shutdown()
    # A thread may still wait for a reader who will never come: do not wait for it.
    os._exit(0)


if __name__ == "__main__":
    main()

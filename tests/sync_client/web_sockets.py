"""A proxy before a real server that treats WebSockets as some networks do."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from urllib.parse import urlsplit


class WebSockets(Enum):
    """What becomes of them."""

    REFUSED = "refused"
    # Opened, and then nothing gets through.
    SWALLOWED = "swallowed"
    # The greeting gets through, nothing after it.
    MUTED = "muted"


class Proxy:
    """Passes everything else on, and remembers the first line of each request."""

    def __init__(self, upstream: str, web_sockets: WebSockets) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._web_sockets = web_sockets
        self._open: list[socket.socket] = []
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # A thread that waits in accept() hears of a shutdown, not of a close.
        for one in (self._listener, *self._open):
            with suppress(OSError):  # It may have ended by itself.
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                head = _until(client, b"\r\n\r\n")
                self._note(head)
                is_web_socket = b"upgrade: websocket" in head.lower()
                if is_web_socket and self._web_sockets is WebSockets.REFUSED:
                    client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                    return
                with socket.create_connection(self._upstream) as server:
                    self._open.append(server)
                    server.sendall(head)
                    if is_web_socket:
                        self._hinder(client, server)
                    else:
                        back = threading.Thread(target=_pass_on, args=(server, client))
                        back.start()
                        _pass_on(client, server, noting=self._note)
                        back.join()
        except OSError:
            pass  # One side has gone.

    def _note(self, request: bytes) -> None:
        # Those that are asked here have no body, and each comes in one piece.
        self.asked.append(request.split(b"\r\n")[0].decode("latin-1"))

    def _hinder(self, client: socket.socket, server: socket.socket) -> None:
        is_muted = self._web_sockets is WebSockets.MUTED
        passed = _until(server, b'"hello"' if is_muted else b"\r\n\r\n")
        end = len(passed) if is_muted else passed.index(b"\r\n\r\n") + 4
        client.sendall(passed[:end])
        if is_muted:
            # The rest of the greeting comes with it or soon after.
            client.sendall(_until(server, b"}}") if b"}}" not in passed else b"")
        while client.recv(65536):
            pass


def _until(source: socket.socket, end: bytes) -> bytes:
    received = b""
    while end not in received:
        some = source.recv(65536)
        if not some:
            raise ConnectionError("ended in the middle")
        received += some
    return received


def _pass_on(
    source: socket.socket,
    target: socket.socket,
    *,
    noting: Callable[[bytes], None] = lambda some: None,
) -> None:
    try:
        while some := source.recv(65536):
            noting(some)
            target.sendall(some)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # One side has gone.

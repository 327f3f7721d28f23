"""Something between a device and the server that a test can make misbehave."""

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.sync_client.web import Answer

# What concerns one connection only, and what the two would have to agree on.
OF_ONE_HOP = {
    "accept-encoding", "connection", "content-length", "keep-alive", "te", "transfer-encoding",
    "upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions",
}  # fmt: skip


class Proxy:
    """Passes requests on to a server, except where `answer` has something else to say.

    `rewrite` gives the path that the server is to see. `loses`: asked once the server has
    answered; if so, the connection breaks in place of the answer. WebSockets do not get
    through; blocks do, since the server signs its URLs for the address that was asked.
    """

    def __init__(self, server_url: str) -> None:
        self.answer: Callable[[str, bytes], Answer | None] = lambda path, body: None
        self.rewrite: Callable[[str, str], str] = lambda method, path: path
        self.loses: Callable[[str, str], bool] = lambda method, path: False
        proxy = self
        client = httpx.Client(base_url=server_url, timeout=60)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = proxy.answer(self.path, body)
                if answer is None:
                    headers = {
                        name: value
                        for name, value in self.headers.items()
                        if name.lower() not in OF_ONE_HOP
                    }
                    path = proxy.rewrite(self.command, self.path)
                    got = client.request(self.command, path, content=body, headers=headers)
                    kind = {"Content-Type": got.headers.get("Content-Type", "text/plain")}
                    answer = Answer(got.status_code, got.content, kind)
                    if proxy.loses(self.command, self.path):
                        self.close_connection = True
                        return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *args: Any) -> None:
                # A client that is gone, or a long poll that is under way at the end.
                if not proxy._is_closed and not isinstance(sys.exception(), ConnectionError):
                    super().handle_error(*args)

        self._is_closed = False
        self._client = client
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._is_closed = True
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

"""A small HTTP server that answers what a test says, and remembers what it was asked."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    # The connection breaks in the middle of the body.
    is_cut: bool = False


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def problem(status: int, code: str, detail: str = "", **extra: Any) -> Answer:
    document = {"type": f"/problems/{code}", "title": code, "status": status, "code": code}
    body = json.dumps({**document, "detail": detail, **extra}).encode()
    return Answer(status, body, {"Content-Type": "application/problem+json"})


class Web:
    """Answers come in the order of `answers`, the last one for ever, or from `answer`."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque([Answer()])
        self.answer: Callable[[Asked], Answer] | None = None
        self.asked: list[Asked] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                length = int(self.headers.get("Content-Length", 0))
                asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
                web.asked.append(asked)
                if web.answer:
                    answer = web.answer(asked)
                elif len(web.answers) > 1:
                    answer = web.answers.popleft()
                else:
                    answer = web.answers[0]
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if answer.is_cut:
                    self.wfile.write(answer.body[: len(answer.body) // 2])
                    self.close_connection = True
                    return
                self.wfile.write(answer.body)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

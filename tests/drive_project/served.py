"""A small application behind the real server, run as a process by test_server.py.

python -m tests.drive_project.served PORT
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from drive_project.bridge import WsgiBridge
from drive_project.server import serve

PIECE = b"x" * 64 * 1024
STREAM_PIECES = 8192  # 512 MiB


class Streamed:
    """Like Django's StreamingHttpResponse: marked, iterated once, closed at the end."""

    streaming = True
    open_count = 0

    def __iter__(self) -> Iterator[bytes]:
        Streamed.open_count += 1
        for _ in range(STREAM_PIECES):
            yield PIECE

    def close(self) -> None:
        Streamed.open_count -= 1


class FailingStream(Streamed):
    """Breaks off after its first piece."""

    def __iter__(self) -> Iterator[bytes]:
        yield next(super().__iter__())
        raise RuntimeError("the disk has gone")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """/echo, /length, /stream, /failing-stream, /open-streams, /memory, /slow?seconds"""
    headers = [("X-Path", environ["PATH_INFO"]), ("X-Script", environ["SCRIPT_NAME"])]
    start_response("200 OK", headers)
    match environ["PATH_INFO"]:
        case "/echo":
            return [environ["wsgi.input"].read()]
        case "/length":
            return [str(len(environ["wsgi.input"].read())).encode()]
        case "/stream":
            return Streamed()
        case "/failing-stream":
            return FailingStream()
        case "/open-streams":
            return [str(Streamed.open_count).encode()]
        case "/slow":
            time.sleep(float(environ["QUERY_STRING"]))
    return [str(os.getpid()).encode()]


if __name__ == "__main__":
    serve(WsgiBridge(application, workers=2, streams=3), bind=f"127.0.0.1:{sys.argv[1]}")
    os._exit(0)

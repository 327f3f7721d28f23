"""How the commands talk to the daemon: one JSON line each way over a UNIX socket.

The socket lies in the configuration folder, which only its owner may enter. A path that is
too long for a socket moves to a private folder of its own, named in `daemon.socket-path`.
"""

import contextlib
import json
import os
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sync_client.errors import SyncError

# sun_path has 108 bytes on Linux and 104 elsewhere, with the final NUL.
LONGEST_PATH_BYTES = 100
ANSWER_SECONDS = 30.0

Handler = Callable[[dict[str, Any], socket.socket], dict[str, Any]]


class NotRunning(SyncError):
    """No daemon answers for this configuration folder."""

    def __init__(self) -> None:
        super().__init__("The sync client is not running. Start it: drive start")


class ControlServer:
    """Answers commands from threads of its own."""

    def __init__(self, folder: Path, handle: Handler) -> None:
        """handle: gets the request and the connection, on a thread of this request."""
        self._pointer = folder / "daemon.socket-path"
        self._private: Path | None = None
        path = folder / "daemon.sock"
        if len(os.fsencode(path)) > LONGEST_PATH_BYTES:
            self._private = Path(tempfile.mkdtemp(prefix="drive-"))
            path = self._private / "daemon.sock"
            self._pointer.write_text(os.fspath(path))
        else:
            self._pointer.unlink(missing_ok=True)
        # Left by a daemon that was killed; the lock says that none runs.
        path.unlink(missing_ok=True)
        self._path = path
        self._server = _Server(os.fspath(path), _handler_class(handle))
        path.chmod(0o600)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="control", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)
        if self._private:
            self._pointer.unlink(missing_ok=True)
            shutil.rmtree(self._private, ignore_errors=True)


def ask(
    folder: Path, command: str, *, timeout_seconds: float | None = ANSWER_SECONDS, **details: Any
) -> dict[str, Any]:
    """The daemon's answer. timeout_seconds: None waits as long as it takes.

    Raises NotRunning, also when the daemon ends before it answers.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.closing(connection):
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(os.fspath(_path_of(folder)))
            connection.sendall(json.dumps({"command": command, **details}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        except TimeoutError as error:
            raise SyncError("The sync client does not answer. See its log: drive log") from error
        except OSError as error:
            raise NotRunning from error
    if not line:
        raise NotRunning
    answer: dict[str, Any] = json.loads(line)
    return answer


def has_hung_up(connection: socket.socket) -> bool:
    """Whether the asking command has gone."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _path_of(folder: Path) -> Path:
    try:
        return Path((folder / "daemon.socket-path").read_text())
    except FileNotFoundError:
        return folder / "daemon.sock"


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False


def _handler_class(handle: Handler) -> type[socketserver.BaseRequestHandler]:
    class OneCommand(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                request = json.loads(self.rfile.readline(64 * 1024))
            except ValueError:
                return
            answer = handle(request, self.connection)
            # Whoever asked may have been interrupted meanwhile.
            with contextlib.suppress(OSError):
                self.wfile.write(json.dumps(answer).encode() + b"\n")

    return OneCommand

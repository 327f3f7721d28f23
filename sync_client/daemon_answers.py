"""What the daemon answers to the commands, each on a thread of its own."""

import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sync_client.control import ControlServer, has_hung_up
from sync_client.status import Exit

if TYPE_CHECKING:
    from sync_client.daemon import Daemon

# Somebody who waits looks up this often even if nothing has happened.
LOOK_UP_SECONDS = 0.5


class Answers:
    """The control socket of a daemon, from `start` to `close`."""

    def __init__(self, daemon: "Daemon", folder: Path) -> None:
        self._daemon = daemon
        self._ended = threading.Event()
        self._server = ControlServer(folder, self._answer)

    def start(self) -> None:
        self._server.start()

    def close(self) -> None:
        self._ended.set()
        self._server.close()

    def _answer(self, request: dict[str, Any], connection: socket.socket) -> dict[str, Any]:
        match request.get("command"):
            case "ping":
                return {"ok": True}
            case "status":
                return self._status()
            case "wait":
                return self._wait(request, connection)
            case "confirm-deletes":
                return {"held_deletions": self._daemon.confirm_deletions()}
            case "limit":
                self._daemon.set_limits()
                return {"ok": True}
            case "reload":
                self._daemon.reload()
                return {"ok": True}
            case "stop":
                self._daemon.stop()
                return {"ok": True}
        return {"error": "unknown command"}

    def _status(self) -> dict[str, Any]:
        return {"status": self._daemon.document(), "moved_bytes": self._daemon.moved_bytes()}

    def _wait(self, request: dict[str, Any], connection: socket.socket) -> dict[str, Any]:
        """The exit code, once all that there was before the call is done.

        wait_seconds: at most so long. once: do not wait for a server that does not answer.
        """
        daemon = self._daemon
        timeout_seconds: float | None = request.get("wait_seconds")
        is_once = bool(request.get("once"))
        number = daemon.ask_for_everything()
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while (outcome := daemon.outcome(number, is_once=is_once)) is None:
            left = LOOK_UP_SECONDS if until is None else until - time.monotonic()
            if left <= 0:
                outcome = Exit.TIMED_OUT
                break
            if self._ended.is_set() or has_hung_up(connection):
                outcome = Exit.NOT_RUNNING
                break
            with daemon.changed:
                daemon.changed.wait(min(left, LOOK_UP_SECONDS))
        return {"exit_code": int(outcome), "status": daemon.document()}

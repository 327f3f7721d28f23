"""Hear from the server that there is something new: long poll first, then a WebSocket.

Signals are hints. Lost ones cost time only: the daemon also asks by itself, on every
(re)connect and every few minutes.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import ClientConnection, connect

from sync_client.api import USER_AGENT, HttpApi
from sync_client.errors import ApiProblem, LoginRevoked, SyncError, Transient
from sync_client.logs import trace_of
from sync_client.system import jitter
from sync_client.trust import trusted

FIRST_PAUSE_SECONDS = 1.0
# A server that is back is found within this. Thousands that come together are promised to be
# back 30 s after a restart, however long that took: the rest of it is the server's.
LONGEST_PAUSE_SECONDS = 20.0
# What a server with a crowd may ask for.
LONGEST_RETRY_AFTER_SECONDS = 300.0
# On coming online the long poll only asks; the socket does the waiting.
CATCH_UP_SECONDS = 1
POLL_SECONDS = 55
# A network that lets no WebSocket through is asked again after this.
POLLING_SECONDS = 600.0
# The server greets at once. A proxy that opens a WebSocket and lets nothing through is worse
# than one that refuses it.
GREETING_SECONDS = 15.0
# The server pings every 30 s.
SILENCE_SECONDS = 65.0
# The server takes 60 messages a minute.
ACK_EVERY_SECONDS = 3.0
REPLACED = 4409

logger = logging.getLogger("drive.notify")
# The handshake, which websockets logs at DEBUG, has the token in it.
logging.getLogger("websockets").setLevel(logging.WARNING)


class Contact(StrEnum):
    """How the device and the server stand with each other."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    OFFLINE = "offline"
    REVOKED = "revoked"


class Notifier:
    """Listens on a thread of its own, from `start` to `stop`."""

    def __init__(
        self,
        api: HttpApi,
        server_url: str,
        token: str,
        *,
        cursor: Callable[[], str | None],
        on_signal: Callable[[], None],
    ) -> None:
        """cursor: up to where this device knows the journal. on_signal: pull now; also
        called when `contact` changes. Both are called on the notifier's thread."""
        self._api = api
        self._token = token
        self._uri = _socket_uri(server_url)
        self._cursor = cursor
        self._on_signal = on_signal
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._socket: ClientConnection | None = None
        self._to_acknowledge: str | None = None
        self._acknowledged_at = 0.0
        self._failures = 0
        self.contact = Contact.CONNECTING
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End soon; does not wait for a request that is under way."""
        self._stopping.set()
        with self._lock:
            socket = self._socket
        if socket is not None:
            socket.close()

    def acknowledge(self, cursor: str) -> None:
        """Tell the server, at the next opportunity, up to where everything is applied."""
        with self._lock:
            self._to_acknowledge = cursor

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._catch_up()
                if not self._listen():
                    self._poll()
            except LoginRevoked:
                self._turn(Contact.REVOKED)
                return
            except SyncError as error:
                logger.info("no contact with the server: %s", error)
                self._turn(Contact.OFFLINE)
                self._pause()
            except Exception as error:  # noqa: BLE001
                # Whatever it was, the daemon must go on hearing.
                logger.error("listening failed: %s", trace_of(error))
                self._turn(Contact.OFFLINE)
                self._pause()

    def _pause(self) -> None:
        longest = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 16)
        self._stopping.wait(jitter(longest))

    def _turn(self, contact: Contact) -> None:
        if self.contact is not contact:
            self.contact = contact
            self._on_signal()

    def _catch_up(self) -> None:
        """Ask what happened while nobody listened, and have it pulled in any case."""
        self._ask(CATCH_UP_SECONDS)
        self.contact = Contact.CONNECTED
        self._on_signal()

    def _ask(self, timeout_seconds: int) -> tuple[bool, float]:
        """One long poll; whether there is something to do: news, or, after a time without
        any, a look whether that is true (docs/protocol.md, "full_sync"). And after how many
        seconds the server wishes to be asked again."""
        params = {"timeout": str(timeout_seconds)}
        cursor = self._cursor()
        if cursor is not None:
            params["cursor"] = cursor
        try:
            answer = self._api.request(
                "GET", "notifications/poll", params=params, timeout_seconds=timeout_seconds + 30
            )
        except ApiProblem as problem:
            if problem.code != "invalid-cursor":
                raise Transient(str(problem)) from problem
            # The server was restored; pulling finds out and sorts it out.
            return True, 0.0
        pause = answer.get("retry_after_seconds", 0)
        is_number = isinstance(pause, int | float) and not isinstance(pause, bool)
        return (
            answer.get("action") in {"sync", "full_sync"},
            min(max(0.0, pause), LONGEST_RETRY_AFTER_SECONDS) if is_number else 0.0,
        )

    def _poll(self) -> None:
        """Long polls, for networks without WebSocket; some minutes, then the socket again."""
        until = time.monotonic() + POLLING_SECONDS
        while time.monotonic() < until and not self._stopping.is_set():
            began = time.monotonic()
            has_news, pause = self._ask(POLL_SECONDS)
            if has_news:
                self._on_signal()
                # News that we do not pull at once, or our own, would be answered for ever.
                pause = max(pause, 1.0 - (time.monotonic() - began))
            self._stopping.wait(max(0.0, pause))
            self._failures = 0

    def _listen(self) -> bool:
        """Hold a WebSocket until it ends. False: use long polls for a while instead."""
        try:
            socket = connect(
                self._uri,
                ssl=trusted() if self._uri.startswith("wss:") else None,
                additional_headers={"Authorization": f"Bearer {self._token}"},
                user_agent_header=USER_AGENT,
                open_timeout=10,
                close_timeout=1,
                max_size=1024 * 1024,
            )
        except (OSError, InvalidHandshake, InvalidURI, ValueError) as error:
            # The API answered just now, so it is the socket that does not get through.
            logger.info("no WebSocket (%s); polling instead", type(error).__name__)
            return False
        with self._lock:
            self._socket = socket
        try:
            with socket:
                opened_at = time.monotonic()
                heard_at: float | None = None
                while not self._stopping.is_set():
                    self._send_acknowledgement(socket)
                    try:
                        message = json.loads(socket.recv(timeout=ACK_EVERY_SECONDS))
                    except TimeoutError:
                        now = time.monotonic()
                        if heard_at is None and now - opened_at > GREETING_SECONDS:
                            logger.info("the WebSocket is open and silent; polling instead")
                            return False
                        if now - (heard_at or opened_at) > SILENCE_SECONDS:
                            return True
                        continue
                    heard_at = time.monotonic()
                    self._failures = 0
                    match message.get("type"):
                        case "hello" | "changed":
                            self._on_signal()
                        case "ping":
                            socket.send(json.dumps({"type": "pong"}))
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
            logger.info("the WebSocket ended with code %s", code)
            if code == REPLACED:
                # Another process is this device, too: taking turns would be endless.
                return False
            self._pause()
        finally:
            with self._lock:
                self._socket = None
        return True

    def _send_acknowledgement(self, socket: ClientConnection) -> None:
        if time.monotonic() - self._acknowledged_at < ACK_EVERY_SECONDS:
            return
        with self._lock:
            cursor, self._to_acknowledge = self._to_acknowledge, None
        if cursor is not None:
            socket.send(json.dumps({"type": "ack", "cursor": cursor}))
            self._acknowledged_at = time.monotonic()


def _socket_uri(server_url: str) -> str:
    parts = urlsplit(server_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/ws/notifications", "", ""))

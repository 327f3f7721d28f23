"""A real server process on the databases of the test, and how a device waits at it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from queue import Queue
from typing import Any, Self

import httpx
import pytest
from django.conf import settings
from django.db import connections
from django.db.models import F
from websockets.sync.client import ClientConnection, connect

from files import events
from files.models import Change, Membership, Namespace, UserDevice
from tests.notifications.served import PATIENT
from tests.people import Api, token_of
from tests.services import dies_with_parent, free_port
from tests.services.redis import PrivateRedis

# The promise to a person: another device wakes within a second.
PROMISED_SECONDS = 1.0


def database_url(alias: str) -> str:
    """The test's own database, as the environment of another process names it."""
    given = connections[alias].settings_dict
    if connections[alias].vendor == "sqlite":
        return f"sqlite:///{given['NAME']}"
    where = f"{given['HOST']}:{given['PORT']}" if given["PORT"] else given["HOST"]
    who = ":".join(filter(None, [given["USER"], given["PASSWORD"]]))
    return f"postgresql://{who}@{where}/{given['NAME']}"


class Server:
    """A running server process."""

    def __init__(
        self, *, redis_url: str, log: Path, events_url: str = "", is_apart: bool = False
    ) -> None:
        """is_apart: only the Notification Service, as `manage.py run_notifications`."""
        port = free_port()
        address = f"127.0.0.1:{port}"
        web = ["-m", "tests.notifications.served", address]
        self.log = log
        self.address = address
        self.url = f"http://{address}"
        self._command = [
            sys.executable,
            *(["manage.py", "run_notifications"] if is_apart else web),
        ]
        self._environment = {
            **os.environ,
            "DATABASE_URL": database_url("default"),
            "BLOCKS_DATABASE_URL": database_url("blocks"),
            "REDIS_URL": redis_url,
            "EVENTS_REDIS_URL": events_url,
            "NOTIFICATIONS_BIND": address,
        }
        log.unlink(missing_ok=True)
        self.start()

    def start(self) -> None:
        """Start it, also after it was killed, and wait until it answers."""
        self._is_killed = False
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=settings.BASE_DIR,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with_parent(),
            )
        # On a busy machine a start takes long.
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{self.url}/healthz").raise_for_status()
                return
            except httpx.TransportError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise AssertionError(
                        f"The server does not start:\n{self.log.read_text()}"
                    ) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End it as `make up` does, where it lives; it must not complain."""
        if self._is_killed:
            return
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(10) == 0
        assert "Traceback" not in self.log.read_text()

    def kill(self) -> None:
        """As a crash of its machine ends it."""
        self._is_killed = True
        self._process.kill()
        self._process.wait(10)

    def poll(self, device: UserDevice | None, **query: Any) -> httpx.Response:
        """A long poll of a device; the keyword arguments are its query."""
        headers = {} if device is None else {"Authorization": f"Bearer {token_of(device)}"}
        return self.get("/api/v1/notifications/poll", headers=headers, **query)

    def get(self, path: str, *, headers: dict[str, str], **query: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", params=query, headers=headers, timeout=30)

    def waiting(self, device: UserDevice, **query: Any) -> "Waiting":
        """A long poll that goes on beside the test."""
        return Waiting(lambda: self.poll(device, **query))

    @contextmanager
    def socket(
        self,
        device: UserDevice | None = None,
        *,
        path: str = PATIENT,
        headers: dict[str, str] | None = None,
    ) -> Iterator["Socket"]:
        """The WebSocket of a device, after its hello."""
        sent = dict(headers or {})
        if device is not None:
            sent["Authorization"] = f"Bearer {token_of(device)}"
        url = self.url.replace("http", "ws", 1) + path
        with connect(url, additional_headers=sent) as connection:
            yield Socket(connection)


class Waiting:
    """A request that has been sent and not been answered yet."""

    def __init__(self, request: Callable[[], httpx.Response]) -> None:
        self._answers: Queue[httpx.Response | Exception] = Queue()

        def run() -> None:
            try:
                self._answers.put(request())
            except httpx.HTTPError as error:
                self._answers.put(error)

        threading.Thread(target=run, daemon=True).start()

    @property
    def is_answered(self) -> bool:
        return not self._answers.empty()

    def answer(self, within: float = PROMISED_SECONDS) -> httpx.Response:
        """The answer; fails when it takes longer."""
        answer = self._answers.get(timeout=within)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Socket:
    """A WebSocket that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def hear(self, within: float = PROMISED_SECONDS) -> dict[str, Any]:
        """The next message; fails when it takes longer."""
        message: dict[str, Any] = json.loads(self.connection.recv(timeout=within))
        return message

    def say(self, message: Any) -> Self:
        self.connection.send(json.dumps(message))
        return self


def until(condition: Callable[[], object], *, within: float = 5) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def let_go_of_the_database(work: Callable[[], object]) -> None:
    """Do something on a thread that stays: its connections would outlive the test."""
    try:
        work()
    finally:
        connections.close_all()


StartServer = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def start_server(django_db_setup: None) -> StartServer:
    """Starts a server of the test's own, for instance on a Redis that will be stopped."""

    @contextmanager
    def start(redis_url: str, name: str, **options: Any) -> Iterator[Server]:
        log = Path(settings.DATA_DIR) / f"{name}.log"
        server = Server(redis_url=redis_url, log=log, **options)
        try:
            yield server
        finally:
            server.stop()

    return start


@pytest.fixture(scope="session")
def _server(start_server: StartServer) -> Iterator[Server]:
    with start_server(os.environ["REDIS_URL"], "server") as server:
        yield server


@pytest.fixture
def server(_server: Server, transactional_db: None) -> Server:
    """A running server that sees what the test has committed."""
    return _server


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    """A Redis that the test may stop."""
    with PrivateRedis() as private:
        yield private


@pytest.fixture
def fragile_server(
    start_server: StartServer, redis: PrivateRedis, transactional_db: None, settings: Any
) -> Iterator[Server]:
    """A server on that Redis; the test's own process uses the same."""
    settings.REDIS_URL = settings.EVENTS_REDIS_URL = redis.url
    events._client.cache_clear()
    with start_server(redis.url, "fragile-server") as server:
        yield server
    events._client.cache_clear()


@pytest.fixture
def age_journal(db: None) -> Callable[[timedelta], None]:
    """Date everything that has happened so far this much earlier."""

    def age(by: timedelta) -> None:
        Change.objects.update(changed_at=F("changed_at") - by)
        Namespace.objects.update(last_changed_at=F("last_changed_at") - by)
        Membership.objects.update(created_at=F("created_at") - by)

    return age


@pytest.fixture
def cursor(api: Callable[[UserDevice], Api], laptop: UserDevice, transactional_db: None) -> str:
    """Where Alice's devices are: at the end."""
    found: str = api(laptop).get("/changes/latest").json()["cursor"]
    return found


@pytest.fixture
def new_folder(
    api: Callable[[UserDevice], Api], laptop: UserDevice, transactional_db: None
) -> Callable[..., None]:
    """Something changes in Alice's files."""
    root = api(laptop).get("/account").json()["root_folder_id"]

    def make(name: str = "Photos") -> None:
        made = api(laptop).post("/folders", {"op_id": name, "parent_folder_id": root, "name": name})
        assert made.status_code == 201, made.json()

    return make

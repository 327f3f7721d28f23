"""Single objects to and from the block store, by presigned requests.

A presigned request is a secret: it is neither logged nor put into an error's text, and the
device's token is never sent along.
"""

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, as_completed, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from sync_client.api import ATTEMPTS, USER_AGENT, pause_before
from sync_client.errors import Stopped, Transient, Unreachable
from sync_client.limits import Limits
from sync_client.trust import trusted

PARALLEL_REQUESTS = 8
TIMEOUT = httpx.Timeout(60, connect=10)
_WORTH_REPEATING = {408, 425, 429}
# So many objects that fail one after another are no longer the trouble of each.
FAILURES_OF_THE_STORE = 3 * PARALLEL_REQUESTS


@dataclass(frozen=True, slots=True)
class Presigned:
    """A right to do one request on the block store."""

    method: str
    url: str
    headers: dict[str, str]

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Presigned":
        return cls(document["method"], document["url"], document["headers"])


class StaleUrl(Exception):
    """The store refused the request: ask the server for a new URL."""


class ObjectTrouble(Exception):
    """The store answers, but did not give or take this object, however often it was tried."""


class BlockStore:
    """PUT and GET whole objects, from many threads, each tried up to four times.

    One object that fails is its own trouble; so many without a success between them are the
    store's.
    """

    def __init__(self, stopped: threading.Event, limits: Limits) -> None:
        """stopped: when set, no further attempt is made. limits: how fast it may be."""
        self._stopped = stopped
        self._limits = limits
        # Since the last success; threads may lose a count, which matters to nobody.
        self._failures = 0
        self._client = httpx.Client(
            verify=trusted(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=PARALLEL_REQUESTS),
            follow_redirects=False,
        )

    def close(self) -> None:
        self._client.close()

    def put(self, presigned: Presigned, content: bytes) -> None:
        """Store an object; one that is there already counts as stored.

        Raises StaleUrl, ObjectTrouble or Transient.
        """
        self._repeatedly(lambda: self._put_once(presigned, content))

    def get(self, presigned: Presigned, size_bytes: int) -> memoryview:
        """Exactly so many bytes. Raises StaleUrl, ObjectTrouble (also for another length) or
        Transient."""
        content = bytearray(size_bytes)
        self._repeatedly(lambda: self._get_once(presigned, content))
        return memoryview(content)

    def _put_once(self, presigned: Presigned, content: bytes) -> None:
        headers = httpx.Headers(presigned.headers)
        # Said before, or the pieces would go as chunks, which no store takes.
        headers["Content-Length"] = str(len(content))
        response = self._client.request(
            presigned.method,
            presigned.url,
            headers=headers,
            content=self._limits.sending(content, stopped=self._stopped),
        )
        # 412: the object is there; whether it is the right one, the server verifies.
        if not response.is_success and response.status_code != 412:
            raise _refusal(response.status_code)

    def _get_once(self, presigned: Presigned, content: bytearray) -> None:
        arrived = 0
        with self._client.stream(
            presigned.method, presigned.url, headers=presigned.headers
        ) as response:
            if response.status_code not in {200, 206}:
                raise _refusal(response.status_code)
            for part in response.iter_raw():
                self._limits.down.take(len(part), stopped=self._stopped)
                if arrived + len(part) > len(content):
                    raise ObjectTrouble("It is longer than the server had said.")
                content[arrived : arrived + len(part)] = part
                arrived += len(part)
        if arrived != len(content):
            raise ObjectTrouble("It is shorter than the server had said.")

    def _repeatedly(self, attempt_once: Callable[[], None]) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            if self._stopped.is_set():
                raise Stopped("The transfer was stopped.")
            try:
                attempt_once()
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                # Its text could hold the URL; the chain goes nowhere but a traceback of ours.
                trouble: Exception = Unreachable("The block store cannot be reached.")
                trouble.__cause__ = error
            except httpx.TransportError as error:
                trouble = ObjectTrouble("The connection to the block store broke.")
                trouble.__cause__ = error
            except ObjectTrouble as error:
                trouble = error
            else:
                self._failures = 0
                return
            if attempt < ATTEMPTS:
                self._stopped.wait(pause_before(attempt + 1))
        self._failures += 1
        if self._failures >= FAILURES_OF_THE_STORE and isinstance(trouble, ObjectTrouble):
            raise Transient(f"The block store is in trouble. {trouble}") from trouble
        raise trouble


T = TypeVar("T")


@contextmanager
def finishing(jobs: Collection[Future[T]]) -> Iterator[Iterator[Future[T]]]:
    """The jobs as they are done. At the end none runs any more, also after an error: a job
    must not write to a file that somebody has closed and whose number another file has."""
    try:
        yield as_completed(jobs)
    finally:
        for job in jobs:
            job.cancel()
        wait(jobs)


def _refusal(status: int) -> Exception:
    if status in _WORTH_REPEATING or status >= 500:
        return ObjectTrouble(f"The block store answered {status}.")
    # The URL has expired, or the location is no longer the one to use: ask for another.
    return StaleUrl()

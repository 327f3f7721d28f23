"""Questions to the File Service from the event loop, on a few threads that stay.

Django's own way under ASGI makes a thread and a database connection for every request.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections

# A question takes a millisecond; more threads would wait for each other.
THREADS = 4

P = ParamSpec("P")
T = TypeVar("T")


def _with_fresh_connections(question: Callable[[], T]) -> T:
    # As Django does around a request: too old, or broken by an error, means a new one.
    close_old_connections()
    try:
        return question()
    finally:
        close_old_connections()


class Questions:
    """A small pool of threads with database connections of their own."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="notifications")

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's answer, or the error that it raised."""
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, _with_fresh_connections, partial(question, *args, **kwargs)
        )

    def close(self) -> None:
        """Close every thread's database connections, then end the threads."""
        # None ends before all are there, so each thread gets one of these.
        together = threading.Barrier(self._threads)

        def close_connections() -> None:
            together.wait(10)
            connections.close_all()

        for done in [self._pool.submit(close_connections) for _ in range(self._threads)]:
            done.result()
        self._pool.shutdown()

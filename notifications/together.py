"""One question for all who come while the one before it is being answered."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """Asks about one key for each who comes; about many keys at once when many come.

    Nobody is given the answer to a question that was asked before they came: what they have
    done until then (registered, for instance) was done when the database was read.
    """

    def __init__(
        self,
        ask: Callable[[Collection[K]], Awaitable[Mapping[K, V]]],
        *,
        within_seconds: float = 0.0,
    ) -> None:
        """within_seconds: wait so long for others, even where nothing is being asked."""
        self._ask_about = ask
        self._within_seconds = within_seconds
        self._keys: set[K] = set()
        self._next: asyncio.Task[Mapping[K, V]] | None = None
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[Mapping[K, V]]] = set()
        # Asked and not answered yet.
        self.waiting = 0

    async def ask(self, key: K) -> V | None:
        """What the answer says of this key, or the error that the question raised."""
        self._keys.add(key)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._run())
            self._running.add(self._next)
            self._next.add_done_callback(self._running.discard)
        self.waiting += 1
        try:
            # Shielded: one who goes away must not take the answer from the others.
            return (await asyncio.shield(self._next)).get(key)
        finally:
            self.waiting -= 1

    async def _run(self) -> Mapping[K, V]:
        if self._within_seconds:
            await asyncio.sleep(self._within_seconds)
        async with self._turn:
            keys, self._keys, self._next = self._keys, set(), None
            return await self._ask_about(keys)

    @property
    def running(self) -> frozenset[asyncio.Task[Mapping[K, V]]]:
        """What is to be cancelled when the service ends."""
        return frozenset(self._running)

"""From an event to the connections that it concerns."""

import asyncio
import logging
import math
import random
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseFault
from django.utils import timezone
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from drive_project.common.errors import InvalidCursor
from drive_project.common.redis_clients import connect_async
from drive_project.common.redis_urls import is_cluster
from files import events, public
from files.events import Changed, DeviceRevoked
from files.public import Session, Standing
from notifications import presence
from notifications.connections import Connections, Ending, UserSessionDetails
from notifications.database import Questions
from notifications.intake import BLOCK_SECONDS, Heard, Intake
from notifications.presence import Connected, Presence
from notifications.together import Together

# A Redis that neither answers nor closes is taken for dead after this.
REDIS_TIMEOUT_SECONDS = BLOCK_SECONDS + 5
CONNECT_SECONDS = 2.0
# A device that was signed out is promised to be cut off within 2 seconds. The event says so
# at once; the database is asked this often, since a Redis that is away says nothing.
REVOCATIONS_SECONDS = 1.0
# Sockets ask from time to time whether their device is still signed in; those that do within
# this are asked for together.
ROLL_CALL_SECONDS = 0.2

# So many devices a second are answered in comfort; those of a larger crowd are asked to come
# back one after the other.
CROWD = 100
LONGEST_RETRY_SECONDS = 60

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Dispatcher:
    """The Notification Service of one process: connections, intake, presence.

    Everything but the questions runs on one event loop. Who is told is decided by
    membership at the moment of the signal, never by what a client said.
    """

    def __init__(self, redis_url: str, events_url: str) -> None:
        """events_url: where the event streams are, redis_url: where presence is."""
        self.connections = Connections()
        self._questions = Questions()
        self._own_questions = Questions(threads=2)
        # Who was signed out must not wait for a comparison of ten thousand.
        self._revocations = Questions(threads=1)
        self._redis = _client(redis_url)
        self._events_redis = self._redis if events_url == redis_url else _client(events_url)
        self._intakes = [
            Intake(redis, streams, on_events=self.deliver, on_doubt=self.compare_all)
            for redis, streams in self._sources(is_cluster=is_cluster(events_url))
        ]
        self._presence = Presence(self._redis)
        # What each who comes asks; by thousands after a restart.
        self._sign_ins = Together(lambda asked: self.ask(public.sign_in_with_tokens, asked))
        self._heads = Together(lambda asked: self.ask(public.heads_of, asked))
        self._standings = Together(lambda asked: self.ask(public.compare, asked))
        self._roll_call = Together(self._call_roll, within_seconds=ROLL_CALL_SECONDS)
        # In a cluster each stream has an intake, and they lose sight of Redis together.
        self._comparison = Together(self._compare_everybody)
        self._sent_back: deque[float] = deque()
        self._running: set[asyncio.Task[None]] = set()

    def _sources(self, *, is_cluster: bool) -> list[tuple[Redis, Sequence[str]]]:
        """What is read together: the streams of one server; in a cluster each is elsewhere."""
        if self._events_redis is self._redis:
            return [(self._redis, (*events.STREAMS, presence.STREAM))]
        together = [(stream,) for stream in events.STREAMS] if is_cluster else [events.STREAMS]
        return [
            (self._redis, (presence.STREAM,)),
            *((self._events_redis, streams) for streams in together),
        ]

    def start(self) -> None:
        """Begin to read events; connections may come before the first is read."""
        for intake in self._intakes:
            self._spawn(intake.run())
        self._spawn(self._presence.run())
        self._spawn(self._renew_presence())
        self._spawn(self._watch_revocations())

    async def close(self) -> None:
        """End all that `start` began."""
        running: set[asyncio.Task[Any]] = set(self._running)
        for together in self._all_together:
            running |= together.running
        while running:
            for task in running:
                task.cancel()
            # Once may not do: redis-py writes, as it does on connecting, under
            # asyncio.wait_for, which up to Python 3.11 forgets a cancellation that comes in
            # the pass of the loop in which the write has ended (CPython's issue 86296). A
            # task that reads from a fresh connection with a socket_timeout and is cancelled
            # some passes after its start goes on reading; without that timeout it ends.
            _, running = await asyncio.wait(running, timeout=0.1)
        for redis in {self._redis, self._events_redis}:
            await redis.aclose()
        self._questions.close()
        self._own_questions.close()
        self._revocations.close()

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a function of `files.public`, for one who is connected or wants to be."""
        return await self._questions.ask(question, *args, **kwargs)

    async def ask_at_once(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for the service itself: what concerns all does not wait behind a crowd."""
        return await self._own_questions.ask(question, *args, **kwargs)

    async def sign_in_with_token(self, token: str) -> Session | None:
        """The device of a bearer token; None for an unknown, revoked or switched-off one."""
        return await self._sign_ins.ask(token)

    async def heads_of(self, user_id: UUID) -> Mapping[UUID, int]:
        """The head seq of every namespace that this person can read."""
        return await self._heads.ask(user_id) or {}

    async def compare(self, user_id: UUID, cursor: str) -> Standing:
        """Where a cursor stands. Raises InvalidCursor for one that is not this server's."""
        standing = await self._standings.ask((user_id, cursor))
        if standing is None:
            raise InvalidCursor
        return standing

    async def is_signed_in(self, device_id: UUID) -> bool:
        """Whether a device that is connected still is who it was."""
        return await self._roll_call.ask(device_id) is not None

    async def _call_roll(self, device_ids: Collection[UUID]) -> dict[UUID, bool]:
        return dict.fromkeys(await self.ask_at_once(public.signed_in_devices, device_ids), True)

    @property
    def _all_together(self) -> tuple[Together[Any, Any], ...]:
        asked = (self._sign_ins, self._heads, self._standings)
        return (*asked, self._roll_call, self._comparison)

    def retry_after_seconds(self) -> int | None:
        """How long a device that is being answered should wait before it asks again.

        None while there is no crowd. In a crowd each gets another time, in proportion.
        """
        now = monotonic()
        while self._sent_back and self._sent_back[0] < now - 1:
            self._sent_back.popleft()
        self._sent_back.append(now)
        waiting = sum(each.waiting for each in (self._sign_ins, self._heads, self._standings))
        crowd = len(self._sent_back) + waiting
        if crowd <= CROWD:
            return None
        longest = min(crowd / CROWD, LONGEST_RETRY_SECONDS)
        return math.ceil(random.uniform(0, longest))  # noqa: S311 - not a secret

    @asynccontextmanager
    async def connection(self, session: Session) -> AsyncIterator[UserSessionDetails]:
        """A registered connection, for as long as the block runs.

        Inside, first compare and `learn`, then wait: a change in between is signalled,
        perhaps needlessly. The other order could miss it. Raises TooManyConnections.
        """
        details = UserSessionDetails(
            user_id=session.user_id,
            device_id=session.device_id,
            last_sync_time=session.last_sync_time,
            is_browser=session.is_browser,
            since=timezone.now(),
        )
        replaced = self.connections.register(details)
        if replaced is not None:
            replaced.inbox.end(Ending.REPLACED)
        self._presence.announce(details)
        try:
            yield details
        finally:
            # Nothing is awaited here: the server may be cancelling us.
            self.connections.remove(details.connection_id)
            if not self.connections.of_device(details.user_id, details.device_id):
                self._presence.leave(
                    details,
                    within_seconds=presence.BETWEEN_POLLS_SECONDS if details.comes_back else 0,
                )

    async def deliver(self, heard: Sequence[Heard]) -> None:
        """Tell those whom these events concern."""
        heads: dict[UUID, int] = {}
        for event in heard:
            match event:
                case Changed(namespace_id, seq):
                    heads[namespace_id] = max(seq, heads.get(namespace_id, 0))
                case DeviceRevoked(device_id):
                    self._end_revoked({device_id})
                case Connected():
                    for details in presence.leave_behind(self.connections, event):
                        details.inbox.end(Ending.REPLACED)
        if not heads or not self.connections:
            return
        members = await self.ask_at_once(public.members_of, heads.keys())
        for namespace_id, seq in heads.items():
            for details in self.connections.of_users(members.get(namespace_id, ())):
                details.signal(namespace_id, seq)

    async def compare_all(self) -> None:
        """Tell everybody who does not know the heads; end what was revoked meanwhile."""
        await self._comparison.ask(None)

    async def _compare_everybody(self, _: Collection[None]) -> dict[None, None]:
        # Whoever connects while we ask compares by itself.
        present = list(self.connections)
        if not present:
            return {}
        heads = await self.ask_at_once(public.heads_of, {details.user_id for details in present})
        signed_in = await self.ask_at_once(
            public.signed_in_devices, {details.device_id for details in present}
        )
        for details in present:
            if details.device_id in signed_in:
                details.compare(heads[details.user_id])
            else:
                details.inbox.end(Ending.REVOKED)
        return {}

    async def _watch_revocations(self) -> None:
        since = timezone.now()
        while True:
            await asyncio.sleep(REVOCATIONS_SECONDS)
            if not self.connections:
                continue
            asked_at = timezone.now()
            try:
                self._end_revoked(await self._revocations.ask(public.revoked_since, since))
                since = asked_at
            except DatabaseFault as error:
                # It sees that nobody is let in meanwhile; the next question reaches back.
                logger.warning("notifications: revocations are not known: %r", error)

    def _end_revoked(self, device_ids: Collection[UUID]) -> None:
        for details in self.connections if device_ids else ():
            if details.device_id in device_ids:
                details.inbox.end(Ending.REVOKED)

    async def _renew_presence(self) -> None:
        while True:
            await asyncio.sleep(presence.RENEW_SECONDS)
            self._presence.renew(self.connections)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        # The loop itself holds tasks weakly only.
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("notifications: a background task failed", exc_info=error)


def _client(url: str) -> Redis:
    return connect_async(
        url,
        decode_responses=True,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        # The intake has a rhythm of its own, presence does not insist.
        retry=Retry(NoBackoff(), 0),
    )


_dispatchers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Dispatcher] = (
    weakref.WeakKeyDictionary()
)


def dispatcher() -> Dispatcher:
    """The one of this process (of the running event loop), started when first asked for."""
    loop = asyncio.get_running_loop()
    found = _dispatchers.get(loop)
    if found is None:
        found = _dispatchers[loop] = Dispatcher(settings.REDIS_URL, settings.EVENTS_REDIS_URL)
        found.start()
    return found

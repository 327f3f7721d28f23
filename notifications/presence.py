"""Who is connected anywhere: told to the other processes through Redis, with an expiry.

Two things hang on it: `files.events.online_devices`, and that a device which connects to
another process leaves its old connection behind. Both are niceties: when Redis is away,
nothing else stops working.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from drive_project.common.redis_clients import REDIS_AWAY
from files.events import online_key
from notifications.connections import Connections, UserSessionDetails

# Renewed every RENEW_SECONDS; a process that dies takes its devices along this soon.
ONLINE_SECONDS = 75
RENEW_SECONDS = 25
# A device whose long poll was answered comes back at once; until then it counts as here.
BETWEEN_POLLS_SECONDS = 15
# Announcements of devices that have connected, to all processes.
STREAM = "drive:connected"
MAX_ANNOUNCEMENTS = 10_000
# Of one pipeline: many enough to save round trips, few enough to leave the event loop alone.
WORDS_AT_ONCE = 500

# Only the connection that wrote the key last may change it.
_EXPIRE_OWN = """
if redis.call("GET", KEYS[1]) == ARGV[1] then
    return redis.call("EXPIRE", KEYS[1], ARGV[2])
end
return 0
"""

# A command to Redis, put into a pipeline.
Word = Callable[[Pipeline], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connected:
    """A device, not a browser, has connected to some process."""

    user_id: UUID
    device_id: UUID
    connection_id: UUID


def decode(fields: Mapping[str, str]) -> Connected:
    """The announcement in an entry of STREAM. Raises ValueError."""
    try:
        return Connected(
            UUID(fields["user_id"]), UUID(fields["device_id"]), UUID(fields["connection_id"])
        )
    except KeyError as missing:
        raise ValueError(f"an announcement without {missing}") from None


def leave_behind(connections: Connections, said: Connected) -> list[UserSessionDetails]:
    """The connections here that this announcement makes old.

    Announcements come to every process in one order. What is said after our own word came
    back is newer than our connection; what came before it is older.
    """
    old = []
    for details in connections.of_device(said.user_id, said.device_id):
        if details.connection_id == said.connection_id:
            details.is_announced = True
        elif details.is_announced:
            old.append(details)
    return old


class Presence:
    """Says in Redis who is connected to this process. Failures are logged and forgotten.

    Nobody waits for Redis here: what is to be said is noted, and said in this order, together
    with all that was noted meanwhile.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._noted: deque[Word] = deque()
        self._is_noted = asyncio.Event()

    def announce(self, details: UserSessionDetails) -> None:
        """A device has connected."""
        self._note(partial(_announce, details))

    def leave(self, details: UserSessionDetails, *, within_seconds: int = 0) -> None:
        """A connection has ended. within_seconds: the device may well be back by then."""
        self._note(partial(_leave, details, within_seconds))

    def renew(self, connections: Connections) -> None:
        """All that are connected are still here."""
        for details in connections:
            self._note(partial(_renew, details))

    def _note(self, word: Word) -> None:
        self._noted.append(word)
        self._is_noted.set()

    async def run(self) -> None:
        """Say what is noted. Never returns; ends by being cancelled."""
        while True:
            await self._is_noted.wait()
            count = min(len(self._noted), WORDS_AT_ONCE)
            async with self._redis.pipeline(transaction=False) as pipeline:
                for _ in range(count):
                    self._noted.popleft()(pipeline)
                if not self._noted:
                    self._is_noted.clear()
                try:
                    await pipeline.execute()
                except Exception as error:
                    # What was noted meanwhile is dropped too: a Redis that hangs must not
                    # leave us with more and more. Who is here is said again soon.
                    count += len(self._noted)
                    self._noted.clear()
                    self._is_noted.clear()
                    is_known = isinstance(error, REDIS_AWAY)
                    logger.warning("presence: %s not said: %r", count, error, exc_info=not is_known)


def _announce(details: UserSessionDetails, pipeline: Pipeline) -> None:
    _renew(details, pipeline)
    if not details.is_browser:
        pipeline.xadd(
            STREAM,
            {
                "user_id": details.user_id.hex,
                "device_id": details.device_id.hex,
                "connection_id": details.connection_id.hex,
            },
            maxlen=MAX_ANNOUNCEMENTS,
        )


def _renew(details: UserSessionDetails, pipeline: Pipeline) -> None:
    pipeline.set(online_key(details.device_id), details.connection_id.hex, ex=ONLINE_SECONDS)


def _leave(details: UserSessionDetails, within_seconds: int, pipeline: Pipeline) -> None:
    key = online_key(details.device_id)
    pipeline.eval(_EXPIRE_OWN, 1, key, details.connection_id.hex, str(within_seconds))

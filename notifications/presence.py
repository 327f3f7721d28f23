"""Who is connected anywhere: told to the other processes through Redis, with an expiry.

Two things hang on it: `files.events.online_devices`, and that a device which connects to
another process leaves its old connection behind. Both are niceties: when Redis is away,
nothing else stops working.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis

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

# Only the connection that wrote the key last may change it.
_EXPIRE_OWN = """
if redis.call("GET", KEYS[1]) == ARGV[1] then
    return redis.call("EXPIRE", KEYS[1], ARGV[2])
end
return 0
"""

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
    """Says in Redis who is connected to this process. Failures are logged and forgotten."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._expire_own = redis.register_script(_EXPIRE_OWN)

    async def announce(self, details: UserSessionDetails) -> None:
        """A device has connected."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.set(
                online_key(details.device_id), details.connection_id.hex, ex=ONLINE_SECONDS
            )
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
            try:
                await pipeline.execute()
            except REDIS_AWAY as error:
                logger.warning("presence: a device was not announced: %r", error)

    async def renew(self, connections: Connections) -> None:
        """All that are connected are still here."""
        if not connections:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for details in connections:
                pipeline.set(
                    online_key(details.device_id), details.connection_id.hex, ex=ONLINE_SECONDS
                )
            try:
                await pipeline.execute()
            except REDIS_AWAY as error:
                logger.warning("presence: not renewed: %r", error)

    async def leave(self, details: UserSessionDetails, *, within_seconds: int = 0) -> None:
        """A connection has ended. within_seconds: the device may well be back by then."""
        try:
            await self._expire_own(
                keys=[online_key(details.device_id)],
                args=[details.connection_id.hex, within_seconds],
            )
        except REDIS_AWAY as error:
            logger.warning("presence: a device was not signed off: %r", error)

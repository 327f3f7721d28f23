"""Events from the message queue: each process reads them all, with a position of its own.

Every process must hear every event, so there is no consumer group. The position is not
kept: a process that starts has no connections yet, and one that lost Redis compares heads.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from redis.asyncio import Redis

from drive_project.common.redis_clients import REDIS_AWAY
from files import events
from files.events import Changed, DeviceRevoked
from notifications import presence
from notifications.presence import Connected

Heard = Changed | DeviceRevoked | Connected

# How long one read waits for an event.
BLOCK_SECONDS = 5.0
EVENTS_AT_ONCE = 500
# Without any doubt the heads are compared this often all the same: whatever was lost in
# ways that nobody thought of is noticed then.
COMPARE_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0

logger = logging.getLogger(__name__)

# The id of an entry: milliseconds and a counter.
Position = tuple[int, int]


def _position(text: str) -> Position:
    milliseconds, _, counter = text.partition("-")
    return int(milliseconds), int(counter)


class Intake:
    """Reads the streams for as long as the process lives, through every fault.

    on_events gets what has come, in the order of each stream. on_doubt is called when
    events may have been lost (at the start, after any fault, and every COMPARE_SECONDS);
    it must compare heads. When one of them fails, that too is a fault: later it is asked
    to compare again.
    """

    def __init__(
        self,
        redis: Redis,
        streams: Sequence[str],
        *,
        on_events: Callable[[Sequence[Heard]], Awaitable[None]],
        on_doubt: Callable[[], Awaitable[None]],
    ) -> None:
        self._redis = redis
        self._streams = streams
        self._on_events = on_events
        self._on_doubt = on_doubt

    async def run(self) -> None:
        """Never returns; ends by being cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                # First where we stand, then the comparison: what comes after the one is
                # read, what came before is seen by the other.
                positions = await self._ends()
                await self._on_doubt()
                compared_at = time.monotonic()
                while True:
                    heard = await self._read(positions)
                    pause = FIRST_PAUSE_SECONDS
                    if heard:
                        await self._on_events(heard)
                    elif await self._has_gone_back(positions):
                        logger.warning("intake: the streams were emptied, comparing heads")
                        break
                    if time.monotonic() - compared_at >= COMPARE_SECONDS:
                        await self._on_doubt()
                        compared_at = time.monotonic()
            except REDIS_AWAY as error:
                logger.warning("intake: Redis does not answer, trying again: %r", error)
            except Exception:
                # Whatever it is: a reader that ends would silence everybody.
                logger.exception("intake: interrupted, trying again")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _ends(self) -> dict[str, Position]:
        """The id of the last entry of each stream."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for stream in self._streams:
                pipeline.xrevrange(stream, count=1)
            lasts = await pipeline.execute()
        return {
            stream: _position(last[0][0]) if last else (0, 0)
            for stream, last in zip(self._streams, lasts, strict=True)
        }

    async def _has_gone_back(self, positions: dict[str, Position]) -> bool:
        """Whether a stream ends before our position: it was emptied, and starts anew.

        With a clock that was set back, new entries would stay below our position for long.
        """
        ends = await self._ends()
        return any(ends[stream] < position for stream, position in positions.items())

    async def _read(self, positions: dict[str, Position]) -> list[Heard]:
        """What comes next, after waiting for it a little; moves the positions."""
        answer = await self._redis.xread(
            {
                stream: f"{milliseconds}-{counter}"
                for stream, (milliseconds, counter) in positions.items()
            },
            count=EVENTS_AT_ONCE,
            block=int(BLOCK_SECONDS * 1000),
        )
        heard: list[Heard] = []
        for stream, entries in answer or ():
            decode = presence.decode if stream == presence.STREAM else events.decode
            for entry_id, fields in entries:
                try:
                    heard.append(decode(fields))
                except ValueError as error:
                    # Perhaps from a newer release beside us; the heads will tell.
                    logger.warning("intake: %s %s: %s", stream, entry_id, error)
                positions[stream] = _position(entry_id)
        return heard

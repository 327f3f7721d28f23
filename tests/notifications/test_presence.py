"""Who is here is said in Redis by the way, and never at anybody's cost."""

import asyncio
import logging
from uuid import UUID

from django.utils import timezone

from drive_project.common.redis_clients import connect_async
from notifications.connections import UserSessionDetails
from notifications.presence import Presence


def new(number):
    return UserSessionDetails(
        user_id=UUID(int=1),
        device_id=UUID(int=number),
        last_sync_time=None,
        is_browser=False,
        since=timezone.now(),
    )


async def test_what_a_redis_that_is_away_was_not_told_is_not_kept(caplog):
    caplog.set_level(logging.WARNING, "notifications.presence")
    presence = Presence(connect_async("redis://127.0.0.1:1"))
    for number in range(2_000):
        presence.announce(new(number))
        presence.leave(new(number))
    running = asyncio.ensure_future(presence.run())
    async with asyncio.timeout(60):
        while not caplog.records:
            await asyncio.sleep(0.01)
    running.cancel()
    # All of it at the first failure, and said once.
    assert not presence._noted
    assert [record.args[0] for record in caplog.records] == [4_000]

"""The service ends when it is told to, whatever it is doing."""

import asyncio

import pytest

from notifications.dispatch import Dispatcher
from tests.services.redis import PrivateRedis


@pytest.fixture(scope="module")
def redis():
    with PrivateRedis() as private:
        yield private


# A pass of the event loop each; the first ones are spent on connecting to Redis.
@pytest.mark.parametrize("passes", [0, 1, 3, 6, 10, 15, 25, 100])
async def test_it_ends_at_any_moment_of_its_start(redis, passes):
    service = Dispatcher(redis.url, redis.url)
    service.start()
    for _ in range(passes):
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await service.close()
    assert not service._running

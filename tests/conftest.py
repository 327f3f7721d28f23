"""Alice has a laptop and a phone, Bob works with her, and Mallory is a stranger."""

import os
from collections.abc import Callable, Iterator

import pytest
import redis

from files.models import User, UserDevice
from tests.people import Api, new_device, new_person


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> None:
    """Argon2 is slow by design; the tests are not about it. Journeys use the real one."""
    from django.conf import settings

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(scope="session")
def _redis_of_the_session() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        yield client


@pytest.fixture(autouse=True)
def _empty_redis(_redis_of_the_session: redis.Redis) -> None:
    """No test sees another one's cache, throttles or events."""
    _redis_of_the_session.flushdb()


@pytest.fixture
def alice(db: None) -> User:
    return new_person("alice")


@pytest.fixture
def bob(db: None) -> User:
    return new_person("bob")


@pytest.fixture
def mallory(db: None) -> User:
    """A user of the same server to whom nothing here belongs."""
    return new_person("mallory")


@pytest.fixture
def laptop(alice: User) -> UserDevice:
    return new_device(alice, "laptop")


@pytest.fixture
def phone(alice: User) -> UserDevice:
    return new_device(alice, "phone")


@pytest.fixture
def stranger(mallory: User) -> UserDevice:
    """Mallory's device."""
    return new_device(mallory, "stranger")


@pytest.fixture
def api(db: None) -> Callable[[UserDevice | None], Api]:
    """`api(laptop)` speaks to the server as that device, `api(None)` as nobody."""
    return Api

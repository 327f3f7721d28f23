"""Browsers in which somebody has signed in."""

from collections.abc import Callable

import pytest
from django.test import Client

from files.models import User

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def browser(db: None) -> Callable[[User | None], Client]:
    """`browser(alice)` is a browser in which Alice has signed in; `browser(None)` a fresh one."""

    def opened(user: User | None) -> Client:
        client = Client(headers={"user-agent": BROWSER})
        if user is not None:
            client.force_login(user)
        return client

    return opened

"""A running product and a browser for the journeys of a module."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.journeys.browser import PLAIN_HOST, Tab, Window, start_browser, window
from tests.services.drive import RunningDrive


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDrive]:
    with RunningDrive(tmp_path_factory.mktemp("drive"), ALLOWED_HOSTS=PLAIN_HOST) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # For this module alone: while Playwright is open, its event loop counts as running.
    with sync_playwright() as playwright:
        browser = start_browser(playwright)
        yield browser
        browser.close()


@pytest.fixture
def person(server: RunningDrive) -> str:
    """Somebody with an empty drive; signs in by this address."""
    return server.new_account()


@pytest.fixture
def windows(chromium: Browser, server: RunningDrive) -> Iterator[Callable[..., Window]]:
    """`windows()` opens a browser of its own; what one complained about fails the test."""
    with ExitStack() as opened:

        def another(url: str = server.url, **options: object) -> Window:
            return opened.enter_context(window(chromium, url, **options))

        yield another


@pytest.fixture
def tab(windows: Callable[..., Window], person: str) -> Tab:
    """Signed in, at the empty drive."""
    return windows().tab().sign_in(person).wait_until_live()

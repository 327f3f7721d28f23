"""What commands share: the settings of this device, its server and its daemon."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sync_client.config import Store, config_dir

if TYPE_CHECKING:
    from sync_client.api import HttpApi


def opened_store() -> Store:
    store = Store(config_dir())
    store.prepare()
    return store


def api_of(store: Store) -> "HttpApi":
    from sync_client.api import HttpApi

    return HttpApi(store.load().signed_in().server_url, store.token())


@contextmanager
def server_of(store: Store) -> Iterator["HttpApi"]:
    """The server, for as long as a command needs it."""
    api = api_of(store)
    try:
        yield api
    finally:
        api.close()


def tell_daemon(command: str) -> bool:
    """Whether a daemon runs and has heard it."""
    from sync_client.control import NotRunning, ask

    try:
        ask(opened_store().folder, command)
    except NotRunning:
        return False
    return True

"""What commands share: the settings of this device, its server and its daemon."""

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


def tell_daemon(command: str) -> bool:
    """Whether a daemon runs and has heard it."""
    from sync_client.control import NotRunning, ask

    try:
        ask(opened_store().folder, command)
    except NotRunning:
        return False
    return True

"""Which folders of this machine are the same as which of the server."""

from pathlib import Path
from typing import Annotated

import typer

from sync_client.cli.device import api_of, opened_store, tell_daemon
from sync_client.cli.output import harmless, say


def link(
    folder: Annotated[Path, typer.Argument(help="Folder of this machine; made if missing.")],
    path: Annotated[
        str, typer.Option("--path", help="Folder of the server; made if missing.")
    ] = "/",
) -> None:
    """Keep a folder the same as one of the server. Equal files are adopted, nothing is deleted."""
    from sync_client import linking

    store = opened_store()
    with store.changing():
        config = store.load()
        api = api_of(store)
        try:
            root = linking.link(store, config, api, folder=folder, remote=path)
        finally:
            api.close()
    say(f"Linked {harmless(root.path)} with {harmless(root.remote_path)}.")
    if not tell_daemon("reload"):
        say("Next: drive start")


def unlink(
    folder: Annotated[Path, typer.Argument(help="Folder of this machine that is linked.")],
) -> None:
    """Sync a folder no longer. Its files stay, here and on the server."""
    from sync_client import linking, running
    from sync_client.control import NotRunning
    from sync_client.daemon_work import only_one

    store = opened_store()
    root = linking.linked_root(store.load(), folder)
    store.drop_root(root)
    try:
        running.wait_until_left(store, root)
    except NotRunning:
        with only_one(store.folder):
            store.drop_old_states()
            linking.clear_own_folder(store, root)
    else:
        linking.clear_own_folder(store, root)
    say(f"Unlinked {harmless(root.path)}. Its files are still here and on the server.")
    if not store.load().roots:
        say("Next: drive link FOLDER")

"""One linked folder, put together: its state, the ports and the engine over them."""

import shlex
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sync_client.api import HttpApi
from sync_client.config import Login, Root, Store
from sync_client.database import SCHEMA_VERSION, is_damage, read_only, state_errors
from sync_client.engine import Engine, RemoteRoot
from sync_client.filesystem import LocalFileSystem
from sync_client.limits import Limits
from sync_client.names import printable
from sync_client.pending import Status, status_in
from sync_client.root_lock import RootLock
from sync_client.selection import Waiting, Wishes, waiting_in
from sync_client.system import SystemClock, SystemRandomness
from sync_client.transfer import HttpTransfers
from sync_client.transfer_state import TransferState
from sync_client.trees import VIEW, Trees
from sync_client.view import View, load_view

TREES = "trees.sqlite3"

T = TypeVar("T")


class LinkedFolder:
    """What the daemon and `drive sync --once` run. Close it when done."""

    def __init__(
        self,
        store: Store,
        login: Login,
        root: Root,
        api: HttpApi,
        *,
        stopping: threading.Event,
        limits: Limits | None = None,
        ignore: tuple[str, ...] = (),
        on_progress: Callable[[], None] = lambda: None,
        on_bytes: Callable[[int, int], None] = lambda up, down: None,
    ) -> None:
        self.root = root
        state = store.state_dir(root)
        self._fs = fs = LocalFileSystem(
            Path(root.path), root_id=root.root_id, stash=store.stash_dir(root)
        )
        self._lock = RootLock(Path(root.path))
        with state_errors(state / TREES):
            self._trees = Trees(state / TREES, root=_remote_root(root))
        self._transfers = HttpTransfers(
            api,
            fs,
            self._trees,
            TransferState(state / "transfers.sqlite3"),
            limits=limits,
            on_bytes=on_bytes,
        )
        self.engine = Engine(
            trees=self._trees,
            fs=fs,
            api=api,
            transfers=self._transfers,
            clock=SystemClock(stopping),
            randomness=SystemRandomness(),
            device_name=login.device_name,
            on_progress=on_progress,
            wishes=Wishes(ignore, frozenset(each.folder_id for each in root.deselected)),
        )

    def check_root(self) -> None:
        """Hold the right to work on the folder. Raises RootMissing unless it is there, with its
        marker, and InUse."""
        self._fs.check_root()
        self._lock.claim()

    def stop(self) -> None:
        """End a running cycle soon; from any thread."""
        self._transfers.stop()

    def close(self) -> None:
        self._transfers.close()
        self._trees.database.close()
        self._lock.release()


def last_status(store: Store, root: Root) -> Status:
    """What was left to do when a folder was last worked on, without working on it."""
    path = store.state_dir(root) / TREES
    if not path.exists():
        return Status()
    try:
        with read_only(path) as connection:
            if connection.execute("PRAGMA user_version").fetchone() != (SCHEMA_VERSION,):
                # Of another release: the next sync begins it anew.
                return Status()
            return status_in(connection, _remote_root(root))
    except sqlite3.DatabaseError as error:
        # The next sync finds out the same, and begins anew.
        return Status(is_rebuilt=is_damage(error))


def last_view(store: Store, root: Root) -> View:
    """What was followed when a folder was last worked on; all of it if that is not known."""
    found = _read_last(store, root, lambda connection: _meta(connection, VIEW))
    return load_view(found)


def last_waiting(store: Store, root: Root) -> list[Waiting]:
    """The deselected folders that had to stay when a folder was last worked on."""
    return _read_last(store, root, waiting_in) or []


def _meta(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row and str(row[0])


def _read_last(
    store: Store, root: Root, read: Callable[[sqlite3.Connection], T | None]
) -> T | None:
    path = store.state_dir(root) / TREES
    if not path.exists():
        return None
    try:
        with read_only(path) as connection:
            return read(connection)
    except sqlite3.DatabaseError:
        # Damaged, or of another release: the next sync says so and begins it anew.
        return None


def link_command(root: Root) -> str:
    """The command that links a folder again as it is linked now."""
    path = shlex.quote(printable((root.path,)))
    where = "" if root.remote_path == "/" else f" --path {shlex.quote(root.remote_path)}"
    return f"drive link {path}{where}"


def _remote_root(root: Root) -> RemoteRoot:
    return RemoteRoot(namespace_id=root.namespace_id, folder_id=root.folder_id)

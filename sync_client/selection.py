"""Folders of the server that a device does not keep.

A folder leaves this device only when nothing in it is missing on the server. Until then it
stays, is synced like any other, and what keeps it is listed. When it leaves, the files go the
way of every file that is removed here: checked in hand, into the stash. That is no deletion:
the server hears nothing of it, and it does not count as one.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from sync_client import compare, rail
from sync_client.names import printable
from sync_client.nodes import RemoteItem
from sync_client.ports import Clock, FileSystem
from sync_client.scanner import scan_below
from sync_client.trees import Trees

# In `meta`: why folders that were deselected are still here.
WAITS = "deselect_waits"
# A few names say what is the matter.
MOST_NAMED = 20
# A file that was hashed in the moment of a write is looked at again after this.
RACY_WAIT_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Wishes:
    """What somebody wants to be left out on this device.

    ignore: rules besides those of `.driveignore` files. deselected: ids of folders of the
    server.
    """

    ignore: tuple[str, ...] = ()
    deselected: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A deselected folder that is still here. paths: a few of the things that keep it."""

    item_id: str
    folder: str
    paths: tuple[str, ...]
    count: int


def select_again(trees: Trees, wished: frozenset[str]) -> None:
    """Follow what is not deselected any more; it comes as if it were new on the server."""
    back = trees.view.deselected - wished
    if not back:
        return
    with trees.changing_view():
        trees.set_view(replace(trees.view, deselected=trees.view.deselected - back))
        for item_id in back:
            for each in [item_id, *trees.remote_below(item_id)]:
                trees.mark_item(each)


def leave_out_absent(trees: Trees, wished: frozenset[str]) -> None:
    """Leave out at once what is deselected and not here: it must not come first."""
    for item in _pending(trees, wished):
        path = trees.path_in_view(item.item_id)
        if path is None or trees.synced(item.item_id) is not None:
            continue
        if trees.local_id_at(path) is None:
            _leave_out(trees, item, ())


def release(trees: Trees, fs: FileSystem, clock: Clock, wished: frozenset[str]) -> bool:
    """Leave out each deselected folder of which the server has everything; whether there is
    something to plan for then.

    To be called when nothing else is left to do. What keeps a folder here is noted.
    """
    if not wished and trees.meta(WAITS) is None:
        return False
    waiting: list[Waiting] = []
    left_before = trees.count_due(now_ns=clock.now_ns())
    has_left = False
    for item in _pending(trees, wished):
        path = trees.path_in_view(item.item_id)
        synced = trees.synced(item.item_id)
        if path is None or synced is None or trees.local(synced.local_id) is None:
            continue
        here = trees.path_of(synced.local_id)
        # Not from memory: whatever was written a moment ago keeps the folder here.
        again = scan_below(trees, fs, clock, here).again
        below = [synced.local_id, *trees.local_below(synced.local_id)]
        keeping = [local_id for local_id in below if _keeps(trees, local_id)]
        if again or keeping:
            named = [printable(trees.path_of(local_id)) for local_id in keeping[:MOST_NAMED]]
            waiting.append(Waiting(item.item_id, printable(here), tuple(named), len(keeping)))
        else:
            _leave_out(trees, item, below)
            has_left = True
    _note(trees, waiting)
    return has_left or trees.count_due(now_ns=clock.now_ns()) > left_before


def waits_ns(trees: Trees, wished: frozenset[str]) -> int | None:
    """After how long another try to leave out folders is worth while by itself, if at all."""
    is_waiting = bool(wished - trees.view.deselected) and trees.meta(WAITS) is not None
    return RACY_WAIT_NS if is_waiting and trees.racy_locals() else None


def waiting_in(connection: sqlite3.Connection) -> list[Waiting]:
    """The deselected folders that are still here, as a state database tells. Any thread."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (WAITS,)).fetchone()
    if row is None:
        return []
    return [Waiting(**{**each, "paths": tuple(each["paths"])}) for each in json.loads(row[0])]


def _pending(trees: Trees, wished: frozenset[str]) -> Iterator[RemoteItem]:
    """The folders that are deselected and not left out yet."""
    for item_id in sorted(wished - trees.view.deselected):
        item = trees.remote(item_id)
        if item is not None and item.is_folder and item_id != trees.root.folder_id:
            yield item


def _keeps(trees: Trees, local_id: int) -> bool:
    """Whether an entry may be only here: changed, new, not synced, or not known for sure."""
    node, synced = trees.local(local_id), trees.synced_of_local(local_id)
    if node is None or node.set_aside is not None or synced is None:
        return True
    item = trees.remote(synced.item_id)
    if item is None or compare.is_stale(node, item, synced):
        return True
    return trees.is_open(local_id, synced.item_id)


def _leave_out(trees: Trees, item: RemoteItem, below: Sequence[int]) -> None:
    with trees.changing_view():
        trees.set_view(replace(trees.view, deselected=trees.view.deselected | {item.item_id}))
        rail.leave(trees, below)
        for item_id in [item.item_id, *trees.remote_below(item.item_id)]:
            trees.mark_item(item_id)


def _note(trees: Trees, waiting: list[Waiting]) -> None:
    text = json.dumps([asdict(each) for each in waiting]) if waiting else None
    if text != trees.meta(WAITS):
        trees.set_meta(WAITS, text)

"""Steps that change only what we know: settle, adopt, forget, set aside."""

from dataclasses import replace

from sync_client.nodes import SyncedItem
from sync_client.operations import Action, Operation
from sync_client.workbench import Workbench

ACTIONS = frozenset(
    {Action.SETTLE, Action.ADOPT, Action.FORGET, Action.FORGET_TREE, Action.SET_ASIDE}
)


def apply_books(bench: Workbench, operations: list[Operation]) -> None:
    """Carry out all of them in one transaction."""
    with bench.trees.transaction():
        for operation in operations:
            _apply(bench, operation)


def _apply(bench: Workbench, operation: Operation) -> None:
    trees = bench.trees
    match operation.action:
        case Action.SETTLE:
            _settle(bench, operation)
        case Action.ADOPT:
            local = trees.local(operation.node)
            remote = trees.remote(operation.item)
            if local is not None and remote is not None:
                trees.put_synced(bench.is_one_thing(local, remote))
        case Action.FORGET:
            trees.drop_synced(operation.item)
        case Action.FORGET_TREE:
            _forget_tree(bench, operation)
        case Action.SET_ASIDE:
            bench.set_aside(operation, str(operation.code), str(operation.message))


def _settle(bench: Workbench, operation: Operation) -> None:
    trees = bench.trees
    synced = trees.synced(operation.item)
    local = trees.local(operation.node)
    remote = trees.remote(operation.item)
    if synced is None or local is None or remote is None:
        return
    settled = bench.is_one_thing(local, remote)
    if _same_metadata(local.signature.mtime_ns, local.signature.executable, synced):
        # Nobody touched it here. What the disk made of the server's time may be coarser.
        settled = replace(settled, mtime_ns=synced.mtime_ns, executable=synced.executable)
    trees.put_synced(settled)


def _same_metadata(mtime_ns: int, executable: bool, synced: SyncedItem) -> bool:
    return (mtime_ns, executable) == (synced.signature.mtime_ns, synced.signature.executable)


def _forget_tree(bench: Workbench, operation: Operation) -> None:
    """Forget an entry, and all below it that only one side has: it is new to the other."""
    trees = bench.trees
    synced = trees.synced(operation.item)
    if synced is None:
        return
    if trees.local(synced.local_id) is not None:
        below = [
            each
            for local_id in trees.local_below(synced.local_id)
            if (each := trees.synced_of_local(local_id)) is not None
            and trees.remote(each.item_id) is None
        ]
    else:
        below = [
            each
            for item_id in trees.remote_below(synced.item_id)
            if (each := trees.synced(item_id)) is not None and trees.local(each.local_id) is None
        ]
    trees.drop_synced(synced.item_id)
    for each in below:
        trees.drop_synced(each.item_id)

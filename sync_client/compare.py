"""One entry in three trees: what changed since both sides agreed, and whose wins (pure)."""

from sync_client.names import is_parked
from sync_client.nodes import LocalNode, RemoteItem, SyncedItem
from sync_client.operations import Action, Conflict, Operation


def is_moved_locally(local: LocalNode, synced: SyncedItem) -> bool:
    """Whether somebody moved or renamed it on the disk."""
    if is_parked(local.name):
        return False
    return (local.parent_id, local.name) != (synced.parent_local_id, synced.name)


def is_moved_remotely(remote: RemoteItem, synced: SyncedItem) -> bool:
    """Whether somebody moved or renamed it on the server."""
    if is_parked(remote.name):
        return False
    return (remote.parent_id, remote.name) != (synced.parent_id, synced.name)


def is_newer(remote: RemoteItem, synced: SyncedItem) -> bool:
    """Whether the server has another content than the one both agreed on."""
    if remote.version_id == synced.version_id:
        return False
    return remote.content_hash is None or remote.content_hash != synced.content_hash


def is_unknown(local: LocalNode, synced: SyncedItem) -> bool:
    """Whether only reading the file can tell if its content is another one."""
    return (
        local.content_hash is None
        and local.signature != synced.signature
        and local.signature.size_bytes == synced.size_bytes
    )


def is_edited(local: LocalNode, synced: SyncedItem) -> bool:
    """Whether the disk has another content than the one both agreed on (if known)."""
    if local.content_hash is not None:
        return local.content_hash != synced.content_hash
    return local.signature != synced.signature


def contents(local: LocalNode, remote: RemoteItem, synced: SyncedItem) -> Operation | None:
    """The next step for content and metadata of a file both sides have; None if settled."""
    if local.is_folder:
        return None

    def step(action: Action, conflict: Conflict | None = None) -> Operation:
        return Operation(action, synced.item_id, local.local_id, conflict=conflict)

    if is_unknown(local, synced):
        return step(Action.HASH)
    here, there = is_edited(local, synced), is_newer(remote, synced)
    if here and there:
        if local.signature.size_bytes == remote.size_bytes:
            if local.content_hash is None:
                return step(Action.HASH)
            if local.content_hash == remote.content_hash:
                return step(Action.SETTLE)
        return step(Action.UPLOAD, Conflict.EDIT_EDIT)
    runs_here = local.signature.executable != synced.signature.executable
    runs_there = remote.executable != synced.executable
    if here:
        if runs_there and not runs_here:
            # Made executable there, edited here: both count. The commit carries the bit.
            return step(Action.SET_METADATA)
        return step(Action.UPLOAD)
    if there:
        if runs_here and not runs_there:
            # The same, the other way round.
            return step(Action.PATCH_REMOTE)
        return step(Action.DOWNLOAD)
    touched_here = runs_here or local.signature.mtime_ns != synced.signature.mtime_ns
    touched_there = runs_there or remote.mtime_ns != synced.mtime_ns
    if touched_there:
        return step(Action.SET_METADATA)
    if touched_here:
        return step(Action.PATCH_REMOTE)
    # What is here is what the server has lost a part of: sent again, it is whole again.
    return step(Action.UPLOAD) if remote.is_damaged else None


def is_stale(local: LocalNode, remote: RemoteItem, synced: SyncedItem) -> bool:
    """Whether Synced has to be written anew although both sides are the same."""
    if (local.parent_id, local.name) != (synced.parent_local_id, synced.name):
        return True
    if (remote.parent_id, remote.name) != (synced.parent_id, synced.name):
        return True
    if local.is_folder:
        return local.signature.identity != synced.signature.identity
    return local.signature != synced.signature or remote.version_id != synced.version_id

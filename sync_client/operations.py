"""What a plan consists of."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """One step; which tree it changes, and how."""

    # Only the books
    SETTLE = "settle"  # both sides are the same already
    ADOPT = "adopt"  # a node and an item, each new, are one thing
    FORGET = "forget"  # they are not one thing any more
    FORGET_TREE = "forget-tree"  # the same, with all below that the other side lacks
    SET_ASIDE = "set-aside"  # cannot be synced: list it, go on
    # The disk
    HASH = "hash"
    MOVE_LOCAL = "move-local"
    RENAME_ASIDE = "rename-aside"
    PARK_LOCAL = "park-local"
    CREATE_LOCAL = "create-local"
    DELETE_LOCAL = "delete-local"
    SET_METADATA = "set-metadata"
    # The server
    CREATE_REMOTE = "create-remote"
    MOVE_REMOTE = "move-remote"
    PARK_REMOTE = "park-remote"
    PATCH_REMOTE = "patch-remote"
    DELETE_REMOTE = "delete-remote"
    # Contents
    UPLOAD = "upload"
    DOWNLOAD = "download"


class Conflict(StrEnum):
    """Both sides changed what hangs together; the names are the literature's (Syncpal)."""

    CREATE_CREATE = "create-create"
    EDIT_EDIT = "edit-edit"
    MOVE_CREATE = "move-create"
    EDIT_DELETE = "edit-delete"
    MOVE_DELETE = "move-delete"
    MOVE_PARENT_DELETE = "move-parent-delete"
    CREATE_PARENT_DELETE = "create-parent-delete"
    MOVE_MOVE_SOURCE = "move-move-source"
    MOVE_MOVE_DEST = "move-move-dest"
    MOVE_MOVE_CYCLE = "move-move-cycle"


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of a plan. Its subject is an item, a node, or both where they are one thing.

    parent_local_id, parent_item_id and name say where to, for moves. rival_id: the item of the
    server for whose name this one is renamed aside. A download with a place to go to takes the
    place of another file, which goes there.
    """

    action: Action
    item_id: str | None
    local_id: int | None
    conflict: Conflict | None = None
    parent_local_id: int | None = None
    parent_item_id: str | None = None
    name: str | None = None
    rival_id: str | None = None
    code: str | None = None
    message: str | None = None

    @property
    def item(self) -> str:
        """The item's id, for steps that always have one."""
        if self.item_id is None:
            raise ValueError(f"{self.action} without an item")
        return self.item_id

    @property
    def node(self) -> int:
        """The node's id, for steps that always have one."""
        if self.local_id is None:
            raise ValueError(f"{self.action} without a node")
        return self.local_id

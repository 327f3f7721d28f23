"""The tables of the File Service, by subject."""

from files.models.accounts import StorageAccount, User
from files.models.conflicts import Conflict, ConflictKind, Settled
from files.models.devices import DeviceKind, UserDevice
from files.models.journal import (
    Change,
    ChangeAction,
    IdempotencyRecord,
    ItemType,
    OutboxMessage,
)
from files.models.sharing import Membership, Mount, Role, ShareLink
from files.models.tree import File, FileStatus, Folder, Namespace
from files.models.versions import FileVersion, OnConflict, PurgedUpload, VersionStatus

__all__ = [
    "Change",
    "ChangeAction",
    "Conflict",
    "ConflictKind",
    "DeviceKind",
    "File",
    "FileStatus",
    "FileVersion",
    "Folder",
    "IdempotencyRecord",
    "ItemType",
    "Membership",
    "Mount",
    "Namespace",
    "OnConflict",
    "OutboxMessage",
    "PurgedUpload",
    "Role",
    "Settled",
    "ShareLink",
    "StorageAccount",
    "User",
    "UserDevice",
    "VersionStatus",
]

"""What the three trees hold: an item of the server, a node of the disk, what both agreed on."""

from dataclasses import dataclass

from sync_client.ports import Kind, Signature

# The local node of the linked folder itself.
ROOT_ID = 1


@dataclass(frozen=True, slots=True)
class RemoteRoot:
    """The folder of the server that a local folder is linked to."""

    namespace_id: str
    folder_id: str


@dataclass(frozen=True, slots=True)
class RemoteItem:
    """A live folder or file of the server, as the feed last told it."""

    item_id: str
    parent_id: str | None
    name: str
    is_folder: bool
    rev: int
    version_id: str | None
    content_hash: str | None
    size_bytes: int
    mtime_ns: int
    executable: bool
    # The server has lost a part of this content.
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class LocalNode:
    """An entry of the disk, as a scan last saw it.

    `content_hash` is None where nobody has read the content that this signature stands for.
    `set_aside` is the code of the reason why the entry cannot be synced.
    """

    local_id: int
    parent_id: int | None
    name: str
    kind: Kind
    signature: Signature
    content_hash: str | None
    set_aside: str | None

    @property
    def is_folder(self) -> bool:
        return self.kind is Kind.FOLDER


@dataclass(frozen=True, slots=True)
class SyncedItem:
    """What both sides last agreed on for an item, and which local node it is.

    `mtime_ns` and `executable` are the server's; `signature` is what the disk made of them,
    which may be coarser.
    """

    item_id: str
    local_id: int
    parent_id: str | None
    parent_local_id: int | None
    name: str
    is_folder: bool
    version_id: str | None
    content_hash: str | None
    size_bytes: int
    mtime_ns: int
    executable: bool
    signature: Signature


@dataclass(frozen=True, slots=True)
class CopyOf:
    """Of which file of the server one here is the conflict copy, and by what conflict.

    base_version_id: what both had before, where the two have a version in common.
    """

    original: str
    kind: str
    base_version_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in up to three trees, to be compared."""

    local: LocalNode | None
    remote: RemoteItem | None
    synced: SyncedItem | None


@dataclass(frozen=True, slots=True)
class Intent:
    """A step on the disk that may be half done, written down before it begins.

    place: a staged file goes to a free path. exchange: it changes places with a file.
    Where that file is another item, which is to be elsewhere, it goes there: `aside` is the
    path, `aside_id` its node.
    take: a file goes from its path to staging, to be deleted. `staged_signature` is that
    of the staged file (place, exchange); `expected` that of the file which stood there.
    """

    staged: str
    step: str
    item_id: str
    local_id: int
    path: tuple[str, ...]
    staged_signature: Signature | None
    expected: Signature | None
    remote: RemoteItem | None
    aside: tuple[str, ...] | None = None
    aside_id: int | None = None

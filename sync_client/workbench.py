"""What the parts of apply share: the ports, the books, and what a round has brought up."""

import datetime
import zlib
from collections.abc import Callable, Set
from dataclasses import dataclass, field

from sync_client import compare
from sync_client.conflicts import conflict_name
from sync_client.errors import ApiProblem, PathProblem, SyncError, Transient
from sync_client.feed import Feed
from sync_client.names import is_parked, name_key
from sync_client.nodes import LocalNode, RemoteItem, SyncedItem
from sync_client.operations import Operation
from sync_client.pending import Pending
from sync_client.ports import Api, Clock, FileSystem, Path, Randomness, Transfers
from sync_client.trees import Trees

# A file that is being written is looked at again after this, in nanoseconds.
BUSY_NS = 1_000_000_000

# What did not work although it might have is tried again after this, then after twice as
# long, and so on; from the third time on it is listed.
FIRST_RETRY_NS = 5 * 1_000_000_000
LONGEST_RETRY_NS = 3600 * 1_000_000_000
LISTED_FROM = 3

# A path with a problem is tried again after this, or when it changes.
PROBLEM_NS = 600 * 1_000_000_000

# A step that was refused this often although it looked right is a problem of its path.
MAX_REFUSALS = 3

TRY_LATER = "try-later"

# So long, another device may be in the middle of exchanging two names.
EXCHANGE_NS = 60 * 1_000_000_000

# Refusals that say our picture of the server is old: pull, then plan again.
STALE_CODES = frozenset(
    {"stale-precondition", "not-found", "name-taken", "move-into-itself", "upload-expired",
     "version-conflict"}
)  # fmt: skip


# Refusals that may mean: of what this is the conflict copy, that is gone for ever (or the
# server knows nothing of such copies). Then it is sent as a file like any other.
NO_COPY_CODES = frozenset({"not-found", "invalid-request"})


@dataclass(slots=True)
class Workbench:
    """One round's tools and findings."""

    trees: Trees
    fs: FileSystem
    api: Api
    transfers: Transfers
    feed: Feed
    pending: Pending
    clock: Clock
    randomness: Randomness
    device_name: str
    on_progress: Callable[[], None]
    # Files that nobody has open for writing, as far as the watcher can tell.
    closed: Set[Path] = frozenset()
    # Folders in which something was not as Local has it.
    rescan: set[Path] = field(default_factory=set)
    # Whether the server has news, ours included.
    pull: bool = False
    # Whether the digests of both trees have to be compared at once.
    is_in_doubt: bool = False
    _refusals: dict[tuple[object, ...], int] = field(default_factory=dict)
    _attempts: dict[tuple[object, ...], int] = field(default_factory=dict)
    # Since when an item of the server was found on its way from one name to another.
    _parked_ns: dict[str, int] = field(default_factory=dict)

    def look_again(self, *folders: Path) -> None:
        """The disk is not as expected there: scan before the next plan."""
        self.rescan.update(folders)

    def wait_for_writer(self, operation: Operation, folder: Path) -> None:
        """Somebody is writing the file: leave it alone for a moment."""
        self.look_again(folder)
        self.trees.postpone(
            item_id=operation.item_id,
            local_id=operation.local_id,
            due_ns=self.clock.now_ns() + BUSY_NS,
        )

    def try_later(
        self, operation: Operation, code: str, message: str, *, retry_after: float | None = None
    ) -> None:
        """It may work at another time: leave the entry alone, longer each time."""
        attempts = self._attempts[_subject(operation)] = (
            self._attempts.get(_subject(operation), 0) + 1
        )
        pause_ns = self._jittered(
            min(FIRST_RETRY_NS << min(attempts - 1, 20), LONGEST_RETRY_NS), operation
        )
        # A server that starts again may answer with half a block, too.
        is_listed = attempts >= LISTED_FROM
        self.trees.postpone(
            item_id=operation.item_id,
            local_id=operation.local_id,
            due_ns=self.clock.now_ns() + max(pause_ns, int((retry_after or 0) * 1e9)),
            code=code if is_listed else None,
            message=message if is_listed else None,
        )

    def _jittered(self, pause_ns: int, operation: Operation) -> int:
        """Between three quarters of a pause and all of it: neither the files of a device nor
        the devices come back all at one moment. Without chance, so that a run can be replayed."""
        seed = f"{self.device_name} {_subject(operation)} {pause_ns}".encode()
        return pause_ns * (768 + zlib.crc32(seed) % 257) // 1024

    def is_in_exchange(self, operation: Operation) -> bool:
        """Whether another device is just giving the item a new name: then it is left alone.

        If that device is never heard of again, the item gets a name from us.
        """
        item = self.trees.remote(operation.item_id) if operation.item_id is not None else None
        if item is None or not is_parked(item.name):
            return False
        synced, local = self.trees.synced(item.item_id), self.trees.local(operation.local_id or 0)
        if synced is None or local is None or compare.is_moved_locally(local, synced):
            # It was moved here as well: that is a conflict, whatever the other device does.
            return False
        now_ns = self.clock.now_ns()
        since_ns = self._parked_ns.setdefault(item.item_id, now_ns)
        if abs(now_ns - since_ns) >= EXCHANGE_NS:
            del self._parked_ns[item.item_id]
            return False
        self.trees.postpone(
            item_id=operation.item_id, local_id=operation.local_id, due_ns=now_ns + BUSY_NS
        )
        return True

    def taken(self, operation: Operation) -> None:
        """The name is taken on the disk, although nothing that we know of has it.

        Seldom somebody was quicker; again and again, the disk takes two names for one that
        are two on the server (FAT, a folder without case).
        """
        key = _subject(operation)
        self._refusals[key] = self._refusals.get(key, 0) + 1
        if self._refusals[key] >= MAX_REFUSALS:
            del self._refusals[key]
            self.set_aside(
                operation, "name-taken-here", "On this disk, another name is the same as this."
            )

    def worked(self, operation: Operation) -> None:
        """The step is done: the next trouble with its entry is another one."""
        self._attempts.pop(_subject(operation), None)
        self._refusals.pop(_subject(operation), None)

    def failed(self, operation: Operation, error: SyncError, folder: Path) -> None:
        """A file could not be sent or fetched; `folder`: where it is, or is to be.

        Raises what does not concern this file alone.
        """
        match error:
            case PathProblem():
                self.trouble(operation, error, folder)
            case ApiProblem():
                self.refused(operation, error)
            case Transient() if not error.concerns_all:
                self.try_later(operation, TRY_LATER, str(error), retry_after=error.retry_after)
            case _:
                raise error

    def set_aside(self, operation: Operation, code: str, message: str) -> None:
        """List the entry as a problem and go on with the others."""
        self.trees.postpone(
            item_id=operation.item_id,
            local_id=operation.local_id,
            due_ns=self.clock.now_ns() + PROBLEM_NS,
            code=code,
            message=message,
        )

    def refused(self, operation: Operation, problem: ApiProblem) -> None:
        """The server refused: our picture of it is old, or the entry has a problem."""
        if problem.code in STALE_CODES:
            self.pull = True
            key = _subject(operation)
            self._refusals[key] = self._refusals.get(key, 0) + 1
            if self._refusals[key] < MAX_REFUSALS:
                return
            # Pulling did not help: is our picture of the server still its own?
            self.is_in_doubt = True
            del self._refusals[key]
        self.set_aside(operation, problem.code, problem.detail)

    def trouble(self, operation: Operation, problem: PathProblem, folder: Path) -> None:
        """The disk refused one path."""
        if problem.code in {"changed-while-reading", "changed-meanwhile"}:
            self.wait_for_writer(operation, folder)
        elif problem.code == "content-unavailable":
            self.try_later(operation, problem.code, str(problem))
        else:
            self.set_aside(operation, problem.code, str(problem))

    def node_of(self, item_id: str | None) -> LocalNode | None:
        """The local folder that a folder of the server is."""
        synced = self.trees.synced(item_id) if item_id is not None else None
        return self.trees.local(synced.local_id) if synced is not None else None

    def item_of(self, local_id: int | None) -> RemoteItem | None:
        """The folder of the server that a local folder is."""
        synced = self.trees.synced_of_local(local_id) if local_id is not None else None
        return self.trees.remote(synced.item_id) if synced is not None else None

    def free_conflict_name(self, node: LocalNode) -> str:
        """A name beside a node that neither the disk nor the server has yet.

        Of one that is parked, and whose own name nobody knows: that of something found.
        """
        day = datetime.datetime.fromtimestamp(self.clock.now_ns() / 1e9, datetime.UTC).date()
        folder = self.item_of(node.parent_id)
        counter = 1
        while True:
            if is_parked(node.name):
                name = f"found {day.isoformat()}{f' {counter}' if counter > 1 else ''}"
            else:
                name = conflict_name(
                    node.name, device_name=self.device_name, day=day, counter=counter
                )
            key = name_key(name)
            taken = bool(node.parent_id and self.trees.local_in_place(node.parent_id, key)) or (
                folder is not None and bool(self.trees.remote_in_place(folder.item_id, key))
            )
            if not taken:
                return name
            counter += 1

    def is_one_thing(self, local: LocalNode, remote: RemoteItem) -> SyncedItem:
        """Both were found to have the same content; what differs besides is the server's say.

        Synced gets the disk's name, time and executable bit, so that whatever the server has
        differently looks like its change, and is applied here.
        """
        return SyncedItem(
            item_id=remote.item_id,
            local_id=local.local_id,
            parent_id=remote.parent_id,
            parent_local_id=local.parent_id,
            name=local.name,
            is_folder=remote.is_folder,
            version_id=remote.version_id,
            content_hash=remote.content_hash,
            size_bytes=remote.size_bytes,
            mtime_ns=local.signature.mtime_ns if not remote.is_folder else 0,
            executable=local.signature.executable,
            signature=local.signature,
        )


def _subject(operation: Operation) -> tuple[object, ...]:
    return operation.action, operation.item_id, operation.local_id

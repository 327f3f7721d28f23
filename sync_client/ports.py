"""The only doors to the outside: file system, API, blocks, clock, randomness.

The engine sees nothing else of the world, so a whole run can be simulated and replayed
from a seed. `filesystem.py`, `api.py`, `transfer.py` are the real ones.

Paths inside a linked folder are tuples of names from its root, as text decoded with
`surrogateescape`; the root itself is `()`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from sync_client.errors import SyncError

Path = tuple[str, ...]

# Where files of the client's own are on their way in or out of the folder.
STAGING: Path = (".drive", "staging")


def displaced_name(staged: str) -> str:
    """The name in staging of what stood where a staged file goes, if they cannot be exchanged."""
    return f"{staged}.displaced"


class Kind(StrEnum):
    """What stands at a path. other: a symlink, socket, device or FIFO, set aside."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Signature:
    """What the file system says about a file without reading it.

    An equal signature older than a moment means equal content. `birth_ns` (0 where the
    file system has none) tells an inode that was used again from the one before.
    """

    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int
    executable: bool

    @property
    def identity(self) -> tuple[int, int]:
        """What stays the same when a file is renamed or edited in place."""
        return self.inode, self.birth_ns


class Observation(NamedTuple):
    """One entry of a folder as a scan saw it. A scan makes one for each: a tuple is quick.

    apart: the code of the reason why it is not ours whatever it is, such as another file
    system that is mounted there. Its kind is `other` then, and what it covers is unknown.
    """

    name: str
    kind: Kind
    signature: Signature
    apart: str | None = None


@dataclass(frozen=True, slots=True)
class Displaced:
    """What stood at a path before something took its place: kept in staging under `name`."""

    name: str
    signature: Signature


class Why(StrEnum):
    """Why a file was removed here."""

    REPLACED = "replaced"  # another content came in its place
    DELETED = "deleted"  # somebody deleted it elsewhere
    DESELECTED = "deselected"  # its folder is not kept on this device any more
    LEFT_OVER = "left-over"  # it lay in staging after a crash, and nobody knew what it was
    UNKNOWN = "unknown"  # removed by an older release, which did not say


class Contents(Protocol):
    """What transfers need of a place on the disk: files to read, and new ones to assemble.

    Raises as FileSystem does.
    """

    def observe(self, path: Path) -> Observation | None:
        """One entry; None where nothing is. Raises PathProblem where it cannot be told."""

    def open_blocks(self, path: Path) -> Iterator[tuple[bytes, Signature]]:
        """The file's content as blocks (docs/protocol.md), each with the signature at opening.

        Raises PathProblem `changed-while-reading` when the signature is another at the end.
        """

    def read_at(self, path: Path, offset: int, length: int) -> bytes:
        """Bytes of a file, for the reuse of local blocks; may be short."""

    def stage(self, name: str) -> "StagedFile":
        """A file under the staging folder, continued where it was left if it exists."""


class FileSystem(Contents, Protocol):
    """One linked folder. Never follows a symlink below the root, never leaves the root.

    Raises PathProblem for what concerns one path, RootMissing when root or marker is gone,
    FileNotFoundError, FileExistsError and NotADirectoryError where the tree is not as
    expected: the caller then looks again.
    """

    def check_root(self) -> None:
        """Raises RootMissing unless the root and its marker are there."""

    def one_root(self) -> AbstractContextManager[None]:
        """For several looks at one and the same root, whatever becomes of its path meanwhile.

        Raises RootMissing at the end, too: then what was seen may be of a disk that left.
        """

    def listdir(self, path: Path) -> list[Observation]:
        """The entries of a folder, without the client's own. Raises PathProblem if unreadable."""

    def content_hash(self, path: Path) -> tuple[str, Signature]:
        """SHA-256 of a file's content, and the signature it had before and after.

        Raises PathProblem `changed-while-reading` when they differ.
        """

    def staged(self) -> dict[str, Signature]:
        """What lies in staging, by name."""

    def sync_staged(self, names: Sequence[str]) -> None:
        """Make the contents of staged files durable, before they become visible."""

    def drop_staged(self, name: str) -> None:
        """Delete a staged download that nobody wants any more."""

    def place_new(self, staged: str, path: Path) -> None:
        """Move a finished staged file to a free path. Raises FileExistsError if taken."""

    def exchange(self, staged: str, path: Path) -> Displaced:
        """Put a finished staged file in the place of a file, which is kept in staging.

        Where the two cannot be exchanged, and putting it there fails halfway, the file that
        stood there is in staging under its `displaced_name`.
        """

    def unwritten(self) -> AbstractContextManager["Unwritten"]:
        """For downloads that get their place: what nobody writes to until the end of it."""

    def take(self, path: Path, name: str) -> Displaced:
        """Move a file into staging under `name`."""

    def restore_displaced(self, displaced: Displaced, path: Path) -> None:
        """Give displaced user data a free path of its own. Raises FileExistsError if taken."""

    def discard(self, displaced: Displaced, original: Path, *, why: Why = Why.UNKNOWN) -> None:
        """Move what is no longer needed to the stash that people can restore from."""

    def move(self, source: Path, target: Path) -> None:
        """Rename within the root without overwriting. Raises FileExistsError if taken."""

    def make_folder(self, path: Path) -> Signature:
        """Raises FileExistsError."""

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder. Raises OSError (ENOTEMPTY) otherwise."""

    def set_metadata(
        self, path: Path, expected: Signature, *, mtime_ns: int, executable: bool
    ) -> Signature:
        """Set modification time and executable bit; the signature afterwards.

        Raises PathProblem `changed-meanwhile` when the file is not the expected one.
        """

    def sync(self, folders: Sequence[Path]) -> None:
        """Make what happened in these folders durable (fsync, or one syncfs for many)."""

    def sweep_stash(self, before_ns: int) -> None:
        """Delete what was put into the stash before a moment."""

    def free_bytes(self) -> int:
        """Space left on the file system of the root."""


class StagedFile(Protocol):
    """A file being assembled under the staging folder."""

    def write_at(self, offset: int, data: bytes) -> None: ...

    def read_at(self, offset: int, length: int) -> bytes: ...

    def finish(self, *, size_bytes: int, mtime_ns: int, executable: bool) -> Signature:
        """Set length, time and mode, close; the signature that Local will have.

        Durable only after `FileSystem.sync_staged`, which the engine calls for a whole batch.
        """

    def close(self) -> None:
        """Leave it as it is; `FileSystem.stage` of the same name continues it."""

    def abandon(self) -> None:
        """Delete it."""


class Unwritten(Protocol):
    """Files of staging that nobody can have written to unnoticed."""

    def hold(self, staged: str) -> None:
        """Keep writers of a staged file waiting from now on, wherever it is moved."""

    def signatures(self) -> dict[str, Signature]:
        """By staged name, what stands for the content that the file had when it was held.

        Only of files that nobody has written to since; a later write makes another one.
        """


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block of a file: its name, its size and where it begins in the file."""

    block_hash: str
    size_bytes: int
    offset: int


class Api(Protocol):
    """The server's HTTP API, request by request (docs/protocol.md); answers are its JSON.

    Raises Transient, ApiProblem, LoginRevoked.
    """

    def request(
        self,
        method: str,
        path: str,
        *,
        json: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """One request under /api/v1; an empty answer is {}."""


@dataclass(frozen=True, slots=True)
class FileToSend:
    """One file that is to become a version. `op_id` makes a repeated init harmless.

    A new file has no `file_id`, and no `base_version_id` unless it is a conflict copy. `name`
    and `parent_folder_id` are always given: they count where the file is gone on the server.
    """

    op_id: str
    path: Path
    signature: Signature
    file_id: str | None
    base_version_id: str | None
    parent_folder_id: str
    name: str
    # What the server does where somebody was quicker: conflict_copy, or fail.
    on_conflict: str = "conflict_copy"
    # Of a new file that was made here as a conflict copy: of which file, and by what conflict.
    # Its base is the version that both sides had before.
    conflict_of: str | None = None
    conflict_kind: str | None = None


@dataclass(frozen=True, slots=True)
class FileToFetch:
    """One version that is to be assembled in staging under `staged`."""

    file_id: str
    file_version_id: str
    size_bytes: int
    mtime_ns: int
    executable: bool
    staged: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a file that was sent: the commit's own answer for it, with its `file`."""

    answer: dict[str, Any]
    content_hash: str
    blocks: tuple[BlockRef, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified, finished staged file: what `StagedFile.finish` answered, and its blocks."""

    signature: Signature
    content_hash: str
    blocks: tuple[BlockRef, ...]


class LocalBlocks(Protocol):
    """Where blocks are on this disk already. Given to the constructor of the real Transfers.

    Call it on the thread that called `fetch` only: it reads the state database.
    """

    def places_of(self, block_hash: str) -> Sequence[tuple[Path, int]]:
        """Files that had the block when they were last synced, and its offset in each.

        A hint: read with `FileSystem.read_at` and verify the hash. Empty if unknown.
        """


class Transfers(Protocol):
    """Whole files up and down, many at a time, resumable at the level of blocks.

    One file's failure is given to `on_result` (PathProblem, ApiProblem); what concerns all
    of them is raised (Transient, LoginRevoked), after the results that are there already.
    """

    def send(
        self,
        files: Sequence[FileToSend],
        *,
        on_result: Callable[[FileToSend, Sent | SyncError], None],
    ) -> None:
        """Hash, init, PUT and commit. For each file `on_result` gets what became of it; it
        is called on the caller's thread, as results come, and its errors pass through.

        PathProblem `changed-while-reading` when the signature at opening is not the given
        one any more, or is another at the end: nothing has been committed then. The version
        gets the modification time and the executable bit of `file.signature`.
        """

    def fetch(
        self,
        files: Sequence[FileToFetch],
        *,
        on_result: Callable[[FileToFetch, Fetched | SyncError], None],
    ) -> None:
        """Assemble verified contents in staging; `on_result` as for `send`. ApiProblem
        `not-found` when the version is gone meanwhile.
        """


class Clock(Protocol):
    """Time, for "old enough to trust" and "not before", never for conflicts."""

    def now_ns(self) -> int:
        """Wall clock in nanoseconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """May return early when there is something to do."""


class Randomness(Protocol):
    """Chance: ids that nobody else has."""

    def new_id(self) -> str: ...

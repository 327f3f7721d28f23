"""Objects as plain files: complete, durable and never overwritten."""

import hashlib
import os
import secrets
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from drive_project.common.errors import ObjectExists, WrongBytes

# Inside the store's folder, so that a finished file can be linked to its place.
INCOMING = "incoming"

# Folders of two hex digits whose own entry, and those above, this process has fsynced.
_durable_folders: set[Path] = set()
# Locations whose entries it has fsynced, the latest last.
_durable_objects: dict[str, None] = {}
_durable_lock = threading.Lock()
DURABLE_OBJECTS_REMEMBERED = 100_000


class IncomingFile:
    """A file that is being received; `finish` gives it its place, leaving early drops it.

    Use it as a context manager. Its methods block on the disk: keep them off an event loop.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        folder = root / INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        self._draft = folder / secrets.token_hex(16)
        self._digest = hashlib.sha256()
        # A receiver that is cancelled closes the file while its last write may still run on
        # a thread: that must not reach a file that has got the same descriptor since.
        self._lock = threading.Lock()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        self._file = self._draft.open("xb", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._file.close()
        self._draft.unlink(missing_ok=True)

    def write(self, data: bytes | memoryview) -> None:
        """Append and hash."""
        self._digest.update(data)
        self.size_bytes += len(data)
        rest = memoryview(data)
        with self._lock:
            while rest:
                rest = rest[self._file.write(rest) :]

    def finish(self, location: str, *, size_bytes: int, sha256: str) -> None:
        """Put the file to its location; when this returns, it survives a power cut.

        Raises WrongBytes when it is not what was promised, ObjectExists when the location
        is taken; that object is not touched.
        """
        if self.size_bytes != size_bytes:
            raise WrongBytes(f"{self.size_bytes} bytes came, {size_bytes} were announced.")
        if self._digest.hexdigest() != sha256:
            raise WrongBytes("The SHA-256 of the body is another one.")
        os.fsync(self._file.fileno())
        place = self._root / location
        try:
            self._link(place)
        except FileExistsError as error:
            # Whoever wrote it may have died before its last fsync, or not come to it yet.
            make_durable(self._root, location)
            raise ObjectExists() from error
        make_durable(self._root, location)

    def _link(self, place: Path) -> None:
        """Give the draft its name. A link, since a rename would overwrite."""
        while True:
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                place.hardlink_to(self._draft)
            except FileNotFoundError:
                if not self._draft.exists():
                    raise
                # A deletion took the empty folder away between the two steps.
                continue
            return


def make_durable(root: Path, location: str) -> None:
    """Fsync the entries that lead to an object whose bytes are on the disk already.

    Whoever made the folders: another upload that did may not have come to its own fsync yet.
    Those above the hash's are never removed, so once for each process is enough.
    """
    folder = (root / location).parent
    _fsync_folder(folder)
    _fsync_folder(folder.parent)
    if folder.parent not in _durable_folders:
        for above in folder.parent.parents:
            _fsync_folder(above)
            if above == root:
                break
        _durable_folders.add(folder.parent)
    with _durable_lock:
        _durable_objects[location] = None
        if len(_durable_objects) > DURABLE_OBJECTS_REMEMBERED:
            # The oldest; by then its upload has long been looked at.
            del _durable_objects[next(iter(_durable_objects))]


def is_known_durable(location: str) -> bool:
    """Whether this process has seen the object survive: `make_durable` has returned."""
    return location in _durable_objects


def remove(root: Path, location: str) -> None:
    """Delete an object and the folder that held only it. Nothing happens where it is gone."""
    place = root / location
    place.unlink(missing_ok=True)
    try:
        place.parent.rmdir()
    except OSError:
        # Not empty: another upload of the same hash lies there. Or gone already.
        return


def remove_abandoned(root: Path, *, older_than_seconds: float) -> int:
    """Delete drafts that a crash left behind; the bytes that this freed."""
    freed = 0
    limit = time.time() - older_than_seconds
    for draft in (root / INCOMING).glob("*"):
        try:
            status = draft.stat()
        except FileNotFoundError:
            continue
        if status.st_mtime < limit:
            draft.unlink(missing_ok=True)
            freed += status.st_size
    return freed


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

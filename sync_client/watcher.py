"""Where to look: folders in which something happened, as the kernel (inotify) tells.

A hint and nothing more. Whatever makes it incomplete (its queue overflowed, the limit of
watches is reached, a folder vanished while it was being watched) is said as "everything",
and the daemon scans the whole folder.
"""

import ctypes
import errno
import os
import pathlib
import select
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sync_client.names import OWN_FOLDER
from sync_client.ports import Path

_libc = ctypes.CDLL(None, use_errno=True)

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE = 0x2, 0x4, 0x8
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_UNMOUNT = 0x400, 0x800, 0x2000
IN_Q_OVERFLOW, IN_IGNORED, IN_ISDIR = 0x4000, 0x8000, 0x40000000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK = 0x1000000, 0x2000000, 0x4000000

_WATCHED = (
    IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
    | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK
)  # fmt: skip
_EVENT = struct.Struct("@iIII")


@dataclass(slots=True)
class Hints:
    """What to look at. `everything`: the set may be incomplete, scan the whole folder.

    closed: files that were closed after writing, or moved here, and not written to since:
    there is nothing to wait for. written: files that were written to and not closed since.
    """

    folders: set[Path] = field(default_factory=set)
    everything: bool = False
    closed: set[Path] = field(default_factory=set)
    written: set[Path] = field(default_factory=set)

    def __bool__(self) -> bool:
        return self.everything or bool(self.folders)

    def add(self, later: "Hints") -> None:
        """Take in what was noted after these."""
        self.folders |= later.folders
        self.everything |= later.everything
        self.closed = (self.closed - later.written) | later.closed
        self.written = (self.written - later.closed) | later.written


class Watcher:
    """Watches a linked folder from a thread of its own.

    on_change is called on that thread after something was noted; `take` gives what was
    noted since the last time. `is_complete` is False where the system's limit of watches
    (fs.inotify.max_user_watches) does not suffice, or the root was not there: then only
    regular scans find changes. Watches are on what was at the root's path at the start: a
    root that left and came back needs another watcher.
    """

    def __init__(
        self,
        root: pathlib.Path,
        *,
        on_change: Callable[[], None],
        ignores: Callable[[Path], bool] = lambda folder: False,
    ) -> None:
        """ignores: says of a folder, if none above it is ignored, whether it is."""
        self._root = root
        self._ignores = ignores
        self._on_change = on_change
        self._lock = threading.Lock()
        self._hints = Hints(everything=True)
        self._paths: dict[int, Path] = {}
        self._watches: dict[Path, int] = {}
        self._inotify = -1
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.is_complete = True

    def start(self) -> None:
        """Begin; whatever happens from now on is noted. Raises OSError without inotify."""
        self._inotify = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._inotify < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._watch_tree(())
        self._thread.start()

    def stop(self) -> None:
        """End the thread and free the watches."""
        os.close(self._stop_write)
        if self._thread.is_alive():
            self._thread.join()
        os.close(self._stop_read)
        if self._inotify >= 0:
            os.close(self._inotify)

    def take(self) -> Hints:
        """What was noted since the last call; the first time, everything."""
        with self._lock:
            hints, self._hints = self._hints, Hints()
            return hints

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._inotify, select.POLLIN)
        poll.register(self._stop_read, select.POLLIN | select.POLLHUP)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._stop_read in ready:
                return
            try:
                events = os.read(self._inotify, 256 * 1024)
            except BlockingIOError:
                continue
            if self._note_all(events):
                self._on_change()

    def _note_all(self, events: bytes) -> bool:
        position = 0
        noted = False
        while position < len(events):
            watch, mask, _, length = _EVENT.unpack_from(events, position)
            position += _EVENT.size
            name = os.fsdecode(events[position : position + length].rstrip(b"\0"))
            position += length
            noted = self._note(watch, mask, name) or noted
        return noted

    def _note(self, watch: int, mask: int, name: str) -> bool:
        if mask & (IN_Q_OVERFLOW | IN_UNMOUNT):
            self._add(everything=True)
            return True
        path = self._paths.get(watch)
        if path is None:
            return False
        if mask & IN_IGNORED:
            del self._paths[watch]
            if self._watches.get(path) == watch:
                del self._watches[path]
            return False
        if not path and name == OWN_FOLDER:
            return False
        if mask & (IN_DELETE_SELF | IN_MOVE_SELF):
            # Its parent tells the same, except for the root.
            self._add(everything=not path)
            return not path
        if mask & IN_ISDIR:
            below = (*path, name)
            if mask & IN_MOVED_FROM:
                self._forget_tree(below)
            if mask & (IN_MOVED_TO | IN_CREATE):
                self._watch_tree(below)
        elif mask & (IN_CLOSE_WRITE | IN_MOVED_TO):
            self._add(path, closed=(*path, name))
            return True
        elif mask & IN_MODIFY:
            self._add(path, written=(*path, name))
            return True
        self._add(path)
        return True

    def _add(
        self,
        *folders: Path,
        everything: bool = False,
        closed: Path | None = None,
        written: Path | None = None,
    ) -> None:
        later = Hints(set(folders), everything)
        if closed is not None:
            later.closed.add(closed)
        if written is not None:
            later.written.add(written)
        with self._lock:
            self._hints.add(later)

    def _watch_tree(self, top: Path) -> None:
        """Watch a folder and all below. Each is noted: it may have filled before its watch."""
        stack = [top]
        while stack:
            path = stack.pop()
            if path and self._ignores(path):
                # A watch for each folder of build output would cost memory and wake us.
                continue
            absolute = os.path.join(self._root, *path)  # noqa: PTH118  (names that are no text)
            watch = _libc.inotify_add_watch(self._inotify, os.fsencode(absolute), _WATCHED)
            if watch < 0:
                number = ctypes.get_errno()
                if number in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES}:
                    if path:
                        continue
                    # Nothing is watched at all.
                    self.is_complete = False
                    self._add(everything=True)
                    return
                self.is_complete = False
                self._add(everything=True)
                return
            if (old := self._paths.get(watch)) is not None and self._watches.get(old) == watch:
                # The same folder under its old name: it was moved.
                del self._watches[old]
            self._paths[watch] = path
            self._watches[path] = watch
            self._add(path)
            try:
                with os.scandir(absolute) as entries:
                    stack.extend(
                        (*path, entry.name)
                        for entry in entries
                        if entry.is_dir(follow_symlinks=False)
                        and (path or entry.name != OWN_FOLDER)
                    )
            except OSError:
                # Gone or closed to us meanwhile; the scan will meet the same and say so.
                self._add(everything=True)

    def _forget_tree(self, top: Path) -> None:
        """Stop watching what left: its paths are not true any more."""
        depth = len(top)
        for path in [path for path in self._watches if path[:depth] == top]:
            watch = self._watches.pop(path)
            self._paths.pop(watch, None)
            _libc.inotify_rm_watch(self._inotify, watch)

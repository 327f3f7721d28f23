"""One linked folder as the daemon works on it: what is to be done next, and when."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from sync_client.engine import CycleResult
from sync_client.errors import MustStop, Transient
from sync_client.ignore import Rules
from sync_client.linked import LinkedFolder
from sync_client.pending import Status
from sync_client.system import jitter
from sync_client.view import View
from sync_client.watcher import Hints, Watcher

# Changes that come in a burst are looked at together: once nothing more came for the shorter
# time, at the latest after the longer one.
QUIET_SECONDS = 0.05
DEBOUNCE_SECONDS = 0.2
PULL_EVERY_SECONDS = 240.0
RESCAN_EVERY_SECONDS = 900.0
# Where the system's limit of watches does not suffice.
RESCAN_UNWATCHED_SECONDS = 60.0
# A folder that is gone (an unplugged disk) is looked for this often.
MISSING_ROOT_SECONDS = 15.0
# A cycle that is to be repeated at once leaves room for others.
SHORTEST_PAUSE_SECONDS = 0.05
# After trouble, pauses double between these.
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 300.0

logger = logging.getLogger("drive.daemon")


class AlreadyRunning(Transient):
    """Another process works on this configuration folder."""

    def __init__(self) -> None:
        super().__init__("Another process is syncing these folders already. See: drive status")


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the right to work on the linked folders. Raises AlreadyRunning.

    The kernel lets go of it when the process dies, however it dies.
    """
    with (folder / "daemon.lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning from None
        yield


class Backoff:
    """When to try again after trouble: in a second, then in twice as long, and so on."""

    def __init__(self) -> None:
        self.until = 0.0
        self._seconds = 0.0

    def lengthen(self, asked_seconds: float | None = None) -> float:
        """Wait from now on; the answer is how long. asked_seconds: what the server wants."""
        self._seconds = min(max(self._seconds * 2, FIRST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)
        pause = asked_seconds or jitter(self._seconds)
        self.until = time.monotonic() + pause
        return pause

    def end(self) -> None:
        self.until = self._seconds = 0.0


class Work:
    """A linked folder, what is to be done about it, and how the last cycle ended.

    covered: the number of the last request for everything (scan and pull) that a cycle has
    carried out. confirmed: how many held deletions somebody lets go. trouble: why no cycle
    is possible until the user acts. offline: why the last cycle did not come to its end,
    which passes; failure: the same for what nobody had expected.

    `changed` is held while any of this changes, so that it is always of one moment.
    """

    def __init__(
        self, folder: LinkedFolder, *, changed: threading.Condition, on_change: Callable[[], None]
    ) -> None:
        self.folder = folder
        self._changed = changed
        self.backoff = Backoff()
        self.offline: str | None = None
        self.failure: str | None = None
        self.covered = 0
        self.confirmed = 0
        self.result: CycleResult | None = None
        self.trouble: MustStop | None = None
        self.status = Status()
        self.cursor = folder.engine.cursor
        self.pulled_at = 0.0
        self._asked = 0
        self._hints = Hints(everything=True)
        self._pull = True
        self._due_at: float | None = None
        self._next_pull_at = self._next_rescan_at = 0.0
        self._on_change = on_change
        # Those by which the watcher chose its folders.
        self._rules = Rules()
        # None while the folder is not there, or where the system lets nothing be watched.
        self._watcher: Watcher | None = None

    def close(self) -> None:
        self._stop_watching()
        self.folder.close()

    def want(self, *, asked: int, pull: bool) -> None:
        """Note what others want of the next cycle."""
        confirmed, self.confirmed = self.confirmed, 0
        if confirmed:
            self.folder.engine.confirm_deletes(confirmed)
        if asked > self.covered:
            self._asked = asked
            self._hints.everything = self._pull = True
        self._pull |= pull

    def is_due(self, interrupt: threading.Event) -> bool:
        """Whether there is a reason for a cycle now."""
        now = time.monotonic()
        if self._take_hints():
            # More of the same burst may be on its way.
            until = now + DEBOUNCE_SECONDS
            while not interrupt.wait(QUIET_SECONDS) and self._take_hints():
                if time.monotonic() >= until:
                    break
        self._hints.everything |= now >= self._next_rescan_at
        self._pull |= now >= self._next_pull_at
        is_due = self._due_at is not None and now >= self._due_at
        if self.trouble:
            return is_due or self._asked > self.covered
        return bool(self._hints) or self._pull or is_due

    def cycle(self) -> None:
        """Run the engine. Raises what it raises; then all is still to be done."""
        # Also of a disk that came in the place of another.
        self.folder.check_root()
        if self._watcher is None:
            # Before the scan, so that nothing happens between the two; on the root itself.
            self._rules = self.folder.engine.view.rules
            self._watcher = _watch(Path(self.folder.root.path), self._on_change, self._rules)
            self._hints.everything = True
        hints, pull, asked = self._hints, self._pull, self._asked
        result = self.folder.engine.cycle(
            dirty=hints.folders,
            closed=hints.closed,
            rescan=hints.everything,
            pull=pull,
            # Somebody asks for all of it, and may have made room.
            retry=asked > self.covered,
        )
        status = self.folder.engine.status()
        now = time.monotonic()
        self._hints, self._pull = Hints(), False
        if self.folder.engine.view.rules != self._rules:
            # Other folders are to be watched: by another watcher, and all is looked at again.
            self._stop_watching()
            self._hints.everything = True
        if self.trouble:
            logger.info("the linked folder is there again")
        with self._changed:
            self.result, self.status = result, status
            self.trouble = self.offline = self.failure = None
            self.cursor = self.folder.engine.cursor
            if pull and hints.everything:
                self.covered = asked
            self._changed.notify_all()
        self.backoff.end()
        if pull:
            self.pulled_at = now
            self._next_pull_at = now + jitter(PULL_EVERY_SECONDS)
        if hints.everything:
            self._next_rescan_at = now + jitter(
                RESCAN_EVERY_SECONDS if self.is_watched else RESCAN_UNWATCHED_SECONDS
            )
        retry_after = result.retry_after
        self._due_at = (
            None if retry_after is None else now + max(retry_after, SHORTEST_PAUSE_SECONDS)
        )

    @property
    def is_watched(self) -> bool | None:
        """Whether each change is noticed at once; None where nobody looks at present."""
        return None if self._watcher is None else self._watcher.is_complete

    def suspend(self, trouble: MustStop) -> None:
        """No cycle before the user has acted; look now and then whether that is so."""
        # Watches are on the folder that left, not on its path; and what happened meanwhile
        # nobody knows.
        self._stop_watching()
        self._hints, self._pull = Hints(everything=True), True
        self._due_at = time.monotonic() + MISSING_ROOT_SECONDS
        self.backoff.end()
        with self._changed:
            self.trouble = trouble
            self.result = self.offline = self.failure = None
            # Whatever was asked for has its answer: it is impossible now.
            self.covered = self._asked
            self._changed.notify_all()

    def postpone(self, *, offline: str | None = None, failure: str | None = None) -> None:
        """The cycle did not come to its end; all of it is tried again."""
        if failure is not None:
            # Who knows what was left undone.
            self._hints.everything = self._pull = True
        with self._changed:
            self.offline, self.failure = offline, failure
            self._changed.notify_all()

    def next_at(self) -> float:
        """When, on the monotonic clock, a cycle is due even if nothing happens."""
        if self.trouble and self._due_at is not None:
            return self._due_at
        moments = [self._next_pull_at, self._next_rescan_at]
        if self._due_at is not None:
            moments.append(self._due_at)
        if self._hints or self._pull:
            moments.append(0.0)
        return max(min(moments), self.backoff.until)

    def _stop_watching(self) -> None:
        if self._watcher:
            self._watcher.stop()
        self._watcher = None

    def _take_hints(self) -> bool:
        found = self._watcher.take() if self._watcher else Hints()
        self._hints.add(found)
        return bool(found)


def _watch(root: Path, on_change: Callable[[], None], rules: Rules) -> Watcher | None:
    view = View(rules)
    watcher = Watcher(
        root, on_change=on_change, ignores=lambda folder: view.ignores(folder, is_folder=True)
    )
    try:
        watcher.start()
    except OSError as error:
        # Regular scans find the changes then.
        logger.warning("changes cannot be watched: %s", error.strerror)
        return None
    if not watcher.is_complete:
        logger.warning("not all folders can be watched: fs.inotify.max_user_watches is too low")
    return watcher

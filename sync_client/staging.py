"""Files under `.drive/staging` of a linked folder: being assembled, or on their way out."""

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sync_client import linux
from sync_client.ports import Signature

# Without O_NONBLOCK, opening a FIFO that took a file's place would wait for ever.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

# The clock of time stamps goes on every few milliseconds.
LONGEST_TICK_SECONDS = 0.1


class LocalStagedFile:
    """`ports.StagedFile`: one file under `.drive/staging`."""

    def __init__(self, descriptor: int, *, umask: int, drop: Callable[[], None]) -> None:
        """umask: what the file's mode leaves out. drop: deletes it."""
        self._drop = drop
        self._descriptor = descriptor
        self._umask = umask

    def write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view = view[written:]
            offset += written

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def finish(self, *, size_bytes: int, mtime_ns: int, executable: bool) -> Signature:
        with opened(self._descriptor):
            os.ftruncate(self._descriptor, size_bytes)
            os.fchmod(self._descriptor, mode_with(0o666 & ~self._umask, executable))
            os.utime(self._descriptor, ns=(time.time_ns(), mtime_ns))
            return linux.statx(self._descriptor, "").signature

    def close(self) -> None:
        os.close(self._descriptor)

    def abandon(self) -> None:
        os.close(self._descriptor)
        self._drop()


class Unwritten:
    """`ports.Unwritten`, by leases: the kernel keeps whoever would open such a file for
    writing, or cut it, waiting until we have let go, and tells us that somebody waits."""

    def __init__(self, staging: int) -> None:
        self._staging = staging
        self._held: dict[str, int] = {}

    def hold(self, staged: str) -> None:
        descriptor = os.open(staged, FILE_FLAGS, dir_fd=self._staging)
        self._held[staged] = descriptor
        # Not every file system has leases. Without one, the file is read again.
        with contextlib.suppress(OSError):
            # The signal by default would end the process; this one is ignored by default.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)

    def signatures(self) -> dict[str, Signature]:
        found = {name: linux.statx(each, "").signature for name, each in self._held.items()}
        # Until the clock of time stamps has gone on: whatever is written after this shows.
        latest = max((each.ctime_ns for each in found.values()), default=0)
        until = time.monotonic() + LONGEST_TICK_SECONDS
        while time.clock_gettime_ns(linux.CLOCK_REALTIME_COARSE) <= latest:
            if time.monotonic() > until:
                return {}
            time.sleep(0.001)
        return {
            name: signature
            for name, signature in found.items()
            if signature.ctime_ns % 1_000_000 and self._is_held(self._held[name])
        }

    def release(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _is_held(self, descriptor: int) -> bool:
        """Whether nobody has written to the file, or waits to."""
        try:
            return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        except OSError:
            return False


@contextmanager
def opened(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def mode_with(mode: int, executable: bool) -> int:
    """A mode whose executable bits follow its readable ones, or are all off."""
    if not executable:
        return mode & ~0o111
    return mode | ((mode & 0o444) >> 2) | 0o100

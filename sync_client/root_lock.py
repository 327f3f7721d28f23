"""One sync client at a time works on a linked folder, whatever settings it has.

Of one configuration folder, `daemon_work.only_one` sees to that. But settings can be copied,
and two clients with the same link would take each other's staged files for their own.
"""

import contextlib
import os
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from sync_client.errors import MustStop
from sync_client.names import OWN_FOLDER

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class InUse(MustStop):
    """Another process works on the linked folder."""


class RootLock:
    """The right to work on a linked folder: a lock on the client's own folder in it.

    The kernel lets go of it when the process dies.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: int | None = None

    def claim(self) -> None:
        """Hold it from now on; may be repeated, since the disk of the folder may be another.

        Raises InUse; FileNotFoundError and NotADirectoryError where no folder is linked.
        """
        own = os.open(self._root / OWN_FOLDER, _FLAGS)
        if self._held is not None:
            if os.path.sameopenfile(own, self._held):
                os.close(own)
                return
            self.release()
        try:
            flock(own, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            os.close(own)
            raise InUse(
                f"Another sync client works on {self._root}, with other settings.",
                next_step="Stop it, or unlink the folder there.",
            ) from None
        except OSError:
            # This file system has no locks: then we have to trust that there is no other.
            pass
        self._held = own

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(OSError):
                os.close(held)

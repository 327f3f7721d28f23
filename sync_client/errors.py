"""Errors, sorted by what happens next.

SyncError
├── Transient       again later, with back-off: network, 5xx, 429
│   ├── Unreachable     no connection at all: nothing else need be tried now
│   ├── Paused          somebody wants nothing to be synced now
│   ├── Stopped         we were told to end: nothing else is tried
│   └── NotDrive        somebody else answered: a proxy, the sign-in page of a network
├── PathProblem     set this path aside, tell the user, go on with the rest
├── ApiProblem      the server refused one request: a code of docs/protocol.md
├── StateDamaged    the record of a folder cannot be read: begin it anew, by merging
└── MustStop        wait for the user
    ├── NotLinked       no login or no folder (exit 3)
    ├── LoginRevoked    the server no longer knows this device (exit 3)
    └── RootMissing     the folder or its marker is gone: never a deletion (exit 7)
"""

import errno
import os
from typing import Any


class SyncError(Exception):
    """Base of all errors of the client. The message is for people."""


class Transient(SyncError):
    """Worth trying again by itself. `retry_after` in seconds, where the server said so.

    concerns_all: whatever else is under way would meet the same.
    """

    concerns_all = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(Transient):
    """There is no connection to the server, or to its block store."""

    concerns_all = True


class Paused(Transient):
    """Nothing is synced until somebody resumes, or the time of the pause is over."""

    concerns_all = True


class Stopped(Transient):
    """We were told to end."""

    concerns_all = True


class NotDrive(Transient):
    """The answer did not come from a Drive server."""


class PathProblem(SyncError):
    """One path cannot be synced. `code` is for programs, the message for people."""

    def __init__(self, path: str, code: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.code = code


def path_problem(path: str, error: OSError) -> PathProblem:
    """What the system's refusal of one path means to a person."""
    code, message = _REFUSALS.get(error.errno or 0, ("disk", f"{os.strerror(error.errno or 0)}."))
    return PathProblem(path, code, message)


def changed_while_read(path: str) -> PathProblem:
    """What was read of a file is of two moments: it counts for nothing."""
    return PathProblem(path, "changed-while-reading", "The file changed while it was read.")


_NO_SPACE = ("disk-full", "There is no space left on this disk.")
_NO_PERMISSION = ("no-permission", "The system does not permit it.")
_REFUSALS = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: ("read-only", "The disk can only be read."),
    errno.ENAMETOOLONG: ("name-too-long", "The name is too long for this disk."),
    errno.EXDEV: ("other-file-system", "Another file system is mounted here."),
    errno.EBUSY: ("other-file-system", "Another file system is mounted here."),
}


class ApiProblem(SyncError):
    """The server answered with a problem document; `extra` holds its further members."""

    def __init__(self, status: int, code: str, detail: str, extra: dict[str, Any]) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.extra = extra


class StateDamaged(SyncError):
    """What is known of a linked folder cannot be read any more."""


class MustStop(SyncError):
    """Nothing more can be done without the user. `next_step`: what to do, in a few words."""

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.next_step = next_step


class NotLinked(MustStop):
    """Sign in or link a folder first."""


class LoginRevoked(MustStop):
    """The server no longer knows this device."""


class RootMissing(MustStop):
    """The linked folder, or the marker in it, is not there."""

"""The Linux calls that Python lacks: statx for birth times, renameat2, syncfs."""

import ctypes
import errno
import os
import stat
import struct
import sys
import threading
from typing import NamedTuple

from sync_client.ports import Kind, Signature

_libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
STATX_BASIC_STATS = 0x7FF
STATX_BTIME = 0x800
STATX_MNT_ID = 0x1000
# The clock of time stamps, which goes on in ticks.
CLOCK_REALTIME_COARSE = 5
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_FLAGS = (RENAME_NOREPLACE, RENAME_EXCHANGE)

# What a file system says that does not know the flags of renameat2.
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

# struct statx: mask, mode, inode, size; birth, change and modification time; device, mount.
_unpack = struct.Struct("@I24xHxxQQ32xqI4xqI4xqI4x8xIIQ104x").unpack
_WANTED = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID
_LOOK = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT
_LOOK_AT_IT = _LOOK | AT_EMPTY_PATH
_FORM = 0o170000
# Looked up once: a scan asks for them with each entry.
_FILE, _FOLDER, _OTHER = Kind.FILE, Kind.FOLDER, Kind.OTHER
_IS_FILE, _IS_FOLDER, _RUNS = stat.S_IFREG, stat.S_IFDIR, stat.S_IXUSR
_statx = _libc.statx
_ENCODING, _ENCODE_ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


class _Mine(threading.local):
    """What each thread has for itself: others look at files at the same time."""

    def __init__(self) -> None:
        self.buffer = (ctypes.c_char * 256)()


_mine = _Mine()


class Status(NamedTuple):
    """What statx says about one entry. `mount`: the file system it is on, and where that is
    mounted; nothing can be renamed from one to another."""

    kind: Kind
    mode: int
    mount: tuple[int, ...]
    signature: Signature


def statx(directory: int, name: str) -> Status:
    """An entry of an open folder, symlinks not followed; "" is the open file itself.

    A scan spends most of its time here: it is written for speed.
    """
    buffer = _mine.buffer
    if _statx(
        directory,
        name.encode(_ENCODING, _ENCODE_ERRORS),
        _LOOK if name else _LOOK_AT_IT,
        _WANTED,
        buffer,
    ):
        _raise(name)
    (
        mask, mode, inode, size, birth, birth_ns, change, change_ns, modified, modified_ns,
        device_major, device_minor, mount,
    ) = _unpack(buffer)  # fmt: skip
    form = mode & _FORM
    is_file = form == _IS_FILE
    return Status(
        _FILE if is_file else _FOLDER if form == _IS_FOLDER else _OTHER,
        mode,
        (device_major, device_minor, mount),
        Signature(
            inode,
            size if is_file else 0,
            modified * 1_000_000_000 + modified_ns,
            change * 1_000_000_000 + change_ns,
            birth * 1_000_000_000 + birth_ns if mask & STATX_BTIME else 0,
            is_file and bool(mode & _RUNS),
        ),
    )


def renameat2(
    source_folder: int, source: str, target_folder: int, target: str, *, flags: int
) -> None:
    """Rename, without overwriting or by exchanging. Raises OSError with the system's errno."""
    if _libc.renameat2(
        source_folder, os.fsencode(source), target_folder, os.fsencode(target), flags
    ):
        _raise(target)


def syncfs(descriptor: int) -> None:
    """Make everything on the file system of an open file durable."""
    if _libc.syncfs(descriptor):
        _raise("")


def _raise(name: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), name)

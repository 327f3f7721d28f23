"""The Linux calls that Python lacks: statx for birth times, renameat2, syncfs."""

import ctypes
import errno
import os
import stat
import struct
from dataclasses import dataclass

from sync_client.ports import Kind, Signature

_libc = ctypes.CDLL(None, use_errno=True)

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

# What a file system says that does not know the flags of renameat2.
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

# struct statx: mask, mode, inode, size; birth, change and modification time; device, mount.
_STATX = struct.Struct("@I24xHxxQQ32xqI4xqI4xqI4x8xIIQ104x")


_Buffer = ctypes.c_char * 256


@dataclass(frozen=True, slots=True)
class Status:
    """What statx says about one entry. `mount`: the file system it is on, and where that is
    mounted; nothing can be renamed from one to another."""

    kind: Kind
    mode: int
    mount: tuple[int, ...]
    signature: Signature


def statx(directory: int, name: str) -> Status:
    """An entry of an open folder, symlinks not followed; "" is the open file itself."""
    # A buffer of its own for every call: other threads hash files at the same time.
    buffer = _Buffer()
    flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (0 if name else AT_EMPTY_PATH)
    wanted = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID
    if _libc.statx(directory, os.fsencode(name), flags, wanted, buffer):
        _raise(name)
    mask, mode, inode, size, birth, birth_ns, change, change_ns, modified, modified_ns, *mount = (
        _STATX.unpack(buffer)
    )
    if stat.S_ISREG(mode):
        kind = Kind.FILE
    elif stat.S_ISDIR(mode):
        kind = Kind.FOLDER
    else:
        kind = Kind.OTHER
    return Status(
        kind=kind,
        mode=mode,
        mount=tuple(mount),
        signature=Signature(
            inode=inode,
            size_bytes=size if kind is Kind.FILE else 0,
            mtime_ns=modified * 1_000_000_000 + modified_ns,
            ctime_ns=change * 1_000_000_000 + change_ns,
            birth_ns=birth * 1_000_000_000 + birth_ns if mask & STATX_BTIME else 0,
            executable=kind is Kind.FILE and bool(mode & stat.S_IXUSR),
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

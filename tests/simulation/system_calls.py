"""The client's own file system code, loaded to run on a model of a disk.

`load` executes the modules of sync_client that touch a disk once more, with the system's
calls replaced. Nothing of theirs is written anew: the order of syncs, the exchange and its
check, staging, the stash and the leases are those of the real client.
"""

import builtins
import errno
import fcntl
import importlib.util
import io
import os
import types
from typing import Any

from sync_client import linux
from tests.simulation.kernel import Inode, Kernel, failure

# In the order of their imports.
MODULES = ("sync_client.staging", "sync_client.stash", "sync_client.filesystem")
_CODE: dict[str, types.CodeType] = {}


class DiskPath:
    """What the client uses of `pathlib`, on the model: a path from the top of the disk."""

    def __init__(self, calls: "SystemCalls", *names: str) -> None:
        self._calls = calls
        self.names = names

    def __truediv__(self, name: str) -> "DiskPath":
        return DiskPath(self._calls, *self.names, name)

    def __str__(self) -> str:
        return "/" + "/".join(self.names)

    def place(self) -> tuple[Inode, str]:
        """The folder it is in, and its name there."""
        kernel = self._calls.kernel
        above = "/".join(self.names[:-1])
        return (kernel.look_up(kernel.top, above) if above else kernel.top), self.names[-1]

    def mkdir(self, mode: int = 0o777, *, parents: bool = False, exist_ok: bool = False) -> None:
        folder, name = self.place()
        if not (exist_ok and name in folder.entries):
            self._calls.kernel.make_folder(folder, name, mode)

    def open(self, mode: str, *, encoding: str) -> Any:
        assert mode == "w"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        return self._calls.open_file(self._calls.open(self, flags, 0o600), mode, encoding=encoding)

    def replace(self, target: "DiskPath") -> None:
        (source, name), (other, new_name) = self.place(), target.place()
        kernel = self._calls.kernel
        # The marker of the client's own is the one thing that is replaced.
        kernel.by_person, before = True, kernel.by_person
        try:
            kernel.rename(source, name, other, new_name, 0)
        finally:
            kernel.by_person = before


class OpenFile(io.RawIOBase):
    """What `open` gives for a descriptor."""

    def __init__(self, calls: "SystemCalls", descriptor: int, *, closefd: bool) -> None:
        self._calls = calls
        self._descriptor = descriptor
        self._closefd = closefd
        self._position = 0

    def fileno(self) -> int:
        return self._descriptor

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return self._calls.kernel.handles[self._descriptor].writes

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        size = len(self._calls.kernel.inode_of(self._descriptor).data)
        self._position = (0, self._position, size)[whence] + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self._calls.pread(self._descriptor, min(len(buffer), 65_536), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def write(self, data: Any) -> int:
        written = self._calls.pwrite(self._descriptor, data, self._position)
        self._position += written
        return written

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self._closefd:
                self._calls.close(self._descriptor)


class SystemCalls:
    """`os`, as far as the client uses it, with an effect before and after each change."""

    path = os.path
    strerror = staticmethod(os.strerror)
    fsencode = staticmethod(os.fsencode)

    def __init__(self, kernel: Kernel, new_bytes: Any) -> None:
        self.kernel = kernel
        self.urandom = new_bytes
        for name in dir(os):
            if name.startswith("O_"):
                setattr(self, name, getattr(os, name))

    def _folder(self, dir_fd: int | None) -> Inode:
        assert dir_fd is not None
        return self.kernel.inode_of(dir_fd)

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        kernel = self.kernel
        kernel.effect("open", str(path))
        if isinstance(path, DiskPath):
            folder, name = path.place()
        else:
            folder, name = self._folder(dir_fd), path
        return kernel.open(folder, name, flags, mode)

    def close(self, descriptor: int) -> None:
        self.kernel.close(descriptor)

    def dup(self, descriptor: int) -> int:
        return self.kernel.dup(descriptor)

    def listdir(self, descriptor: int) -> list[str]:
        self.kernel.effect("listdir", "")
        return list(self.kernel.inode_of(descriptor).entries)

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        self.kernel.effect("pread", "")
        return self.kernel.pread(descriptor, length, offset)

    def pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        kernel = self.kernel
        kernel.effect("pwrite", "")
        # A short write now and then: who calls must go on.
        count = kernel.pwrite(descriptor, bytes(data)[:6], offset)
        kernel.effect("pwritten", "")
        return count

    def ftruncate(self, descriptor: int, size: int) -> None:
        self.kernel.effect("ftruncate", "")
        self.kernel.truncate(descriptor, size)

    def fsync(self, descriptor: int) -> None:
        kernel = self.kernel
        kernel.effect("fsync", "")
        inode = kernel.inode_of(descriptor)
        kernel.sync_file(inode)
        if inode.is_folder:
            kernel.flush(inode)
        kernel.effect("fsynced", "")

    def fchmod(self, descriptor: int, mode: int) -> None:
        self.kernel.effect("fchmod", "")
        self.kernel.set_mode(self.kernel.inode_of(descriptor), mode)

    def chmod(self, name: str, mode: int, *, dir_fd: int) -> None:
        self.kernel.effect("chmod", name)
        self.kernel.set_mode(self.kernel.look_up(self._folder(dir_fd), name), mode)

    def utime(self, descriptor: int, *, ns: tuple[int, int]) -> None:
        self.kernel.effect("utime", "")
        self.kernel.set_times(self.kernel.inode_of(descriptor), ns[1])

    def fstat(self, descriptor: int) -> Any:
        inode = self.kernel.inode_of(descriptor)
        return types.SimpleNamespace(st_mode=inode.kind | inode.mode, st_ino=inode.number, st_dev=1)

    def stat(self, name: str, *, dir_fd: int, follow_symlinks: bool) -> Any:
        assert not follow_symlinks
        inode = self.kernel.look_up(self._folder(dir_fd), name)
        return types.SimpleNamespace(st_mode=inode.kind | inode.mode, st_ino=inode.number, st_dev=1)

    def fstatvfs(self, descriptor: int) -> Any:
        return types.SimpleNamespace(f_bavail=1 << 30, f_frsize=1)

    def mkdir(self, name: str, mode: int = 0o777, *, dir_fd: int) -> None:
        kernel = self.kernel
        kernel.effect("mkdir", name)
        kernel.make_folder(self._folder(dir_fd), name, mode & ~0o022)
        kernel.effect("made", name)

    def rmdir(self, name: str, *, dir_fd: int) -> None:
        kernel = self.kernel
        kernel.effect("rmdir", name)
        kernel.remove_folder(self._folder(dir_fd), name)
        kernel.effect("removed", name)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        kernel = self.kernel
        kernel.effect("unlink", name)
        kernel.unlink(self._folder(dir_fd), name)
        kernel.effect("unlinked", name)

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        kernel = self.kernel
        kernel.effect("rename", f"{source} {target}")
        kernel.rename(self._folder(src_dir_fd), source, self._folder(dst_dir_fd), target, 0)
        kernel.effect("renamed", target)

    def link(
        self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool
    ) -> None:
        assert not follow_symlinks
        kernel = self.kernel
        kernel.effect("link", f"{source} {target}")
        kernel.link(self._folder(src_dir_fd), source, self._folder(dst_dir_fd), target)
        kernel.effect("linked", target)

    def umask(self, mask: int) -> int:
        return 0o022

    def setxattr(self, descriptor: int, name: str, value: bytes) -> None:
        self.kernel.inode_of(descriptor).attributes[name] = value

    def getxattr(self, descriptor: int, name: str) -> bytes:
        attributes = self.kernel.inode_of(descriptor).attributes
        if name not in attributes:
            raise failure(errno.ENODATA, name)
        return attributes[name]

    def open_file(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        closefd: bool = True,
    ) -> Any:
        """The builtin `open`, of a descriptor."""
        raw = OpenFile(self, file, closefd=closefd)
        if encoding is not None:
            return io.TextIOWrapper(
                io.BufferedWriter(raw) if "w" in mode else io.BufferedReader(raw), encoding=encoding
            )
        return raw


class LinuxCalls:
    """`sync_client.linux` on the model."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        for name in dir(linux):
            if name.isupper():
                setattr(self, name, getattr(linux, name))

    def statx(self, directory: int, name: str) -> linux.Status:
        kernel = self._kernel
        folder = kernel.inode_of(directory)
        if not name:
            return kernel.status(folder)
        kernel.effect("statx", name)
        return kernel.status(kernel.look_up(folder, name))

    def renameat2(
        self, source_folder: int, source: str, target_folder: int, target: str, *, flags: int
    ) -> None:
        kernel = self._kernel
        what = "exchange" if flags & linux.RENAME_EXCHANGE else "rename"
        kernel.effect(what, f"{source} {target}")
        kernel.rename(
            kernel.inode_of(source_folder), source, kernel.inode_of(target_folder), target, flags
        )
        kernel.effect(f"{what}d", target)

    def syncfs(self, descriptor: int) -> None:
        self._kernel.effect("syncfs", "")
        self._kernel.sync_all()
        self._kernel.effect("syncfsed", "")


class TimeCalls:
    """`time` on the model's clock."""

    def __init__(self, kernel: Kernel, sleep: Any) -> None:
        self._kernel = kernel
        self.sleep = sleep

    def time_ns(self) -> int:
        return self._kernel.now()

    def monotonic(self) -> float:
        return self._kernel.now() / 1e9

    def clock_gettime_ns(self, clock: int) -> int:
        assert clock == linux.CLOCK_REALTIME_COARSE
        return self._kernel.coarse()


class FileControl:
    """`fcntl` on the model: leases."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        for name in ("F_SETSIG", "F_SETLEASE", "F_GETLEASE", "F_RDLCK", "F_UNLCK"):
            setattr(self, name, getattr(fcntl, name))

    def fcntl(self, descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETLEASE:
            self._kernel.effect("lease", "")
            self._kernel.lease(descriptor)
        if command == fcntl.F_GETLEASE:
            return fcntl.F_RDLCK if self._kernel.has_lease(descriptor) else fcntl.F_UNLCK
        return 0


def load(kernel: Kernel, *, new_bytes: Any, sleep: Any) -> types.ModuleType:
    """`sync_client.filesystem`, on this disk."""
    calls = SystemCalls(kernel, new_bytes)
    replaced: dict[str, Any] = {
        "os": calls,
        "time": TimeCalls(kernel, sleep),
        "fcntl": FileControl(kernel),
        "sync_client.linux": LinuxCalls(kernel),
    }

    def bring(name: str, globals_=None, locals_=None, fromlist=(), level=0):
        if name in replaced:
            return replaced[name]
        module = __import__(name, globals_, locals_, fromlist, level)
        if name == "sync_client" and fromlist:
            return types.SimpleNamespace(
                **{
                    each: replaced.get(f"sync_client.{each}") or getattr(module, each)
                    for each in fromlist
                }
            )
        return module

    own_builtins = {
        **vars(builtins),
        "__import__": bring,
        "open": calls.open_file,
    }
    for name in MODULES:
        module = types.ModuleType(name)
        module.__dict__["__builtins__"] = own_builtins
        exec(_code(name), module.__dict__)  # noqa: S102  (the client's own source)
        replaced[name] = module
    module.__dict__["DISK"] = DiskPath(calls, "root")
    return module


def _code(name: str) -> types.CodeType:
    if name not in _CODE:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        code = spec.loader.get_code(name)  # type: ignore[attr-defined]
        assert code is not None
        _CODE[name] = code
    return _CODE[name]

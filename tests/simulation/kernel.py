"""A model of one machine's POSIX file system: what `sync_client/filesystem.py` runs on.

Inodes are used again at once, as ext4 does, and tell themselves apart by their time of birth.
Time stamps come from a coarse clock. Renaming sets the change time. Files stay while they are
open. A read lease keeps whoever opens the file for writing waiting, and tells its holder.

What a power cut leaves: of a file that was written and not synced, the old content or the
new; of the changes to folders, a prefix of their order (a journal), at least up to the last
one that somebody has synced. People's own changes count as synced, so that whatever is
missing afterwards is the client's doing.
"""

import errno
import os
import stat as modes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sync_client import linux
from sync_client.ports import Kind, Signature

TICK_NS = 4_000_000
# Ticks are not in step with the second.
OFFSET_NS = 1_234_567
FIRST_DESCRIPTOR = 1_000_000


class Violation(AssertionError):
    """The client did what it must never do."""


@dataclass(eq=False)
class Inode:
    """A file, folder or link."""

    number: int
    kind: int
    mode: int
    birth_ns: int
    mtime_ns: int
    ctime_ns: int
    data: bytes = b""
    entries: dict[str, "Inode"] = field(default_factory=dict)
    parent: "Inode | None" = None
    # The folders that it is in, once for each of its names.
    homes: list["Inode"] = field(default_factory=list)
    links: int = 0
    attributes: dict[str, bytes] = field(default_factory=dict)
    # What a power cut leaves at least: content, modification time and mode.
    synced: tuple[bytes, int, int] | None = None
    writers: int = 0
    opened: int = 0
    # None: no lease. False: a lease that somebody waits for.
    lease: bool | None = None

    @property
    def is_folder(self) -> bool:
        return self.kind == modes.S_IFDIR

    @property
    def is_file(self) -> bool:
        return self.kind == modes.S_IFREG


@dataclass(eq=False)
class Handle:
    """An open file."""

    inode: Inode
    position: int = 0
    writes: bool = False
    leased: bool = False


@dataclass
class Change:
    """A change to folders that is not on the disk yet, and how to undo it."""

    undo: Callable[[], None]
    folders: tuple[Inode, ...]
    freed: Inode | None = None


def failure(number: int, name: str = "") -> OSError:
    return OSError(number, os.strerror(number), name)


class Kernel:
    """One machine's disk. `/root` is the linked folder, all else is outside.

    effect: called before and after whatever the client asks, by name; it may raise.
    """

    def __init__(self, now_ns: Callable[[], int], effect: Callable[[str, str], None]) -> None:
        self._now_ns = now_ns
        self.effect = effect
        self._free: list[int] = []
        self._last_inode = 10
        self._births = 0
        self._last_descriptor = FIRST_DESCRIPTOR
        self.handles: dict[int, Handle] = {}
        self._journal: list[Change] = []
        # Whoever acts: the client, or a person.
        self.by_person = False
        # Contents that may be shown to people: what somebody wrote, whole.
        self.known: set[bytes] = {b""}
        self.is_full = False
        # The flags of renameat2 that the file system knows.
        self.flags = linux.RENAME_NOREPLACE | linux.RENAME_EXCHANGE
        self.top = self._make(modes.S_IFDIR, 0o755)
        self.top.links = 1
        self.root = self.add_folder(self.top, "root")
        self.outside = self.add_folder(self.top, "outside")

    # Time

    def now(self) -> int:
        return self._now_ns()

    def coarse(self) -> int:
        return (self._now_ns() - OFFSET_NS) // TICK_NS * TICK_NS + OFFSET_NS

    # Inodes

    def _make(self, kind: int, mode: int) -> Inode:
        if self.is_full and not self.by_person:
            raise failure(errno.ENOSPC)
        number = self._free.pop() if self._free else self._last_inode + 1
        self._last_inode = max(self._last_inode, number)
        stamp = self.coarse()
        # The birth is told more exactly than the ticks, so that one inode is never twice.
        self._births = (self._births + 1) % 1_000_000
        return Inode(number, kind, mode, stamp + self._births, stamp, stamp)

    def _release(self, inode: Inode) -> None:
        if inode.links == 0 and inode.opened == 0:
            self._free.append(inode.number)
            inode.links = -1

    def add_folder(self, parent: Inode, name: str) -> Inode:
        """Made by a person."""
        inode = self._make(modes.S_IFDIR, 0o755)
        self._attach(parent, name, inode)
        return inode

    def _attach(self, parent: Inode, name: str, inode: Inode) -> None:
        parent.entries[name] = inode
        inode.links += 1
        inode.homes.append(parent)
        inode.parent = parent
        parent.mtime_ns = parent.ctime_ns = self.coarse()

    def _detach(self, parent: Inode, name: str) -> Inode:
        inode = parent.entries.pop(name)
        inode.links -= 1
        inode.homes.remove(parent)
        # One that is gone is still known by the place it had.
        inode.parent = inode.homes[-1] if inode.homes else parent
        parent.mtime_ns = parent.ctime_ns = self.coarse()
        return inode

    def _changed(
        self, undo: Callable[[], None], *folders: Inode, freed: Inode | None = None
    ) -> None:
        self._journal.append(Change(undo, folders, freed))
        if self.by_person:
            self.flush(*folders)

    def flush(self, *folders: Inode) -> None:
        """Changes to folders are on the disk, up to the last that concerns one of these."""
        wanted: set[int] = set()
        for folder in folders:
            here: Inode | None = folder
            while here is not None and id(here) not in wanted:
                wanted.add(id(here))
                here = here.parent if self.by_person else None
        last = 0
        for index, change in enumerate(self._journal):
            if any(id(each) in wanted for each in change.folders):
                last = index + 1
        self._settle(last)

    def _settle(self, count: int) -> None:
        done, self._journal = self._journal[:count], self._journal[count:]
        for change in done:
            if change.freed is not None:
                self._release(change.freed)

    def sync_file(self, inode: Inode) -> None:
        inode.synced = (inode.data, inode.mtime_ns, inode.mode)

    def sync_all(self) -> None:
        for inode in self.walk(self.top):
            self.sync_file(inode)
        self._settle(len(self._journal))

    def walk(self, top: Inode) -> Iterator[Inode]:
        stack = [top]
        while stack:
            inode = stack.pop()
            yield inode
            stack.extend(inode.entries.values())

    def die(self) -> None:
        """The client ended: what it had open is closed."""
        for descriptor in list(self.handles):
            self.close(descriptor)

    def cut_power(self, chance: Random) -> None:
        """What was not synced may be gone."""
        keep = chance.randint(0, len(self._journal))
        lost, self._journal = self._journal[keep:], self._journal[:keep]
        for change in reversed(lost):
            change.undo()
        self._settle(len(self._journal))
        for inode in self.walk(self.top):
            current = (inode.data, inode.mtime_ns, inode.mode)
            if inode.is_file and inode.synced != current:
                # Delayed allocation: a file that was never synced has its name, and nothing in it.
                old = inode.synced or (b"", inode.mtime_ns, inode.mode)
                inode.data, inode.mtime_ns, inode.mode = chance.choice([old, old, current])
                self.sync_file(inode)

    # Guards: what must hold at each moment

    def _is_own(self, folder: Inode) -> bool:
        """Whether a folder is the client's own, below `.drive` of the root."""
        own = self.root.entries.get(".drive")
        here: Inode | None = folder
        while here is not None:
            if here is own:
                return True
            here = here.parent
        return False

    def is_shown(self, inode: Inode) -> bool:
        """Whether it has a name that people see."""
        return any(not self._is_own(each) for each in inode.homes)

    def _check_inside(self, folder: Inode) -> None:
        here: Inode | None = folder
        while here is not None:
            if here is self.root:
                return
            here = here.parent
        if not self.by_person:
            raise Violation("the client changes what is outside the root")

    def _check_shown(self, folder: Inode, inode: Inode) -> None:
        """What the client shows to people must be a content that somebody wrote, whole."""
        is_shown = inode.is_file and not self.by_person and not self._is_own(folder)
        if is_shown and inode.data not in self.known:
            raise Violation(f"a content that nobody wrote is shown: {inode.data!r}")

    def _check_hidden(self, inode: Inode) -> None:
        """The client writes into no file that people see."""
        if not self.by_person and self.is_shown(inode):
            raise Violation("the client writes into a file that people see")

    # Paths

    def folder_of(self, descriptor: int) -> Inode:
        return self.handles[descriptor].inode

    def inode_of(self, descriptor: int) -> Inode:
        if descriptor not in self.handles:
            raise failure(errno.EBADF)
        return self.handles[descriptor].inode

    def look_up(self, folder: Inode, name: str) -> Inode:
        here = folder
        for part in name.split("/"):
            if not here.is_folder:
                raise failure(errno.ENOTDIR, name)
            if not here.mode & 0o100:
                raise failure(errno.EACCES, name)
            if part == "..":
                here = here.parent or here
                continue
            if part not in here.entries:
                raise failure(errno.ENOENT, name)
            here = here.entries[part]
        return here

    def _writable(self, folder: Inode, name: str) -> None:
        if folder.links <= 0:
            raise failure(errno.ENOENT, name)
        if len(os.fsencode(name)) > 255:
            raise failure(errno.ENAMETOOLONG, name)
        if folder.mode & 0o300 != 0o300:
            raise failure(errno.EACCES, name)
        self._check_inside(folder)

    # System calls; those of the client come through `simulated_os.py`

    def open(self, folder: Inode, name: str, flags: int, mode: int = 0o777) -> int:
        write = flags & os.O_ACCMODE != os.O_RDONLY
        try:
            inode = self.look_up(folder, name) if name else folder
        except FileNotFoundError:
            if not flags & os.O_CREAT or "/" in name:
                raise
            self._writable(folder, name)
            inode = self._make(modes.S_IFREG, mode)
            self._attach(folder, name, inode)
            self._changed(lambda: self._undo_create(folder, name), folder)
        else:
            if flags & os.O_CREAT and flags & os.O_EXCL:
                raise failure(errno.EEXIST, name)
            if inode.kind == modes.S_IFLNK:
                if flags & os.O_DIRECTORY:
                    raise failure(errno.ENOTDIR, name)
                raise failure(errno.ELOOP, name)
            if flags & os.O_DIRECTORY and not inode.is_folder:
                raise failure(errno.ENOTDIR, name)
            if inode.is_folder and write:
                raise failure(errno.EISDIR, name)
            if not inode.mode & (0o200 if write else 0o400):
                raise failure(errno.EACCES, name)
        if write and inode.lease is not None:
            inode.lease = False
            raise failure(errno.EWOULDBLOCK, name)
        if flags & os.O_TRUNC and write:
            self._check_hidden(inode)
            self._write(inode, b"")
        inode.opened += 1
        inode.writers += write
        self._last_descriptor += 1
        self.handles[self._last_descriptor] = Handle(inode, writes=write)
        return self._last_descriptor

    def _undo_create(self, folder: Inode, name: str) -> None:
        self._detach(folder, name)

    def close(self, descriptor: int) -> None:
        handle = self.handles.pop(descriptor, None)
        if handle is None:
            raise failure(errno.EBADF)
        handle.inode.opened -= 1
        handle.inode.writers -= handle.writes
        if handle.leased:
            handle.inode.lease = None
        self._release(handle.inode)

    def dup(self, descriptor: int) -> int:
        handle = self.handles[descriptor]
        handle.inode.opened += 1
        handle.inode.writers += handle.writes
        self._last_descriptor += 1
        self.handles[self._last_descriptor] = Handle(handle.inode, writes=handle.writes)
        return self._last_descriptor

    def _write(self, inode: Inode, data: bytes) -> None:
        if self.is_full and not self.by_person and len(data) > len(inode.data):
            raise failure(errno.ENOSPC)
        inode.data = data
        inode.mtime_ns = inode.ctime_ns = self.coarse()
        if self.by_person:
            self.sync_file(inode)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        handle = self.handles[descriptor]
        if not handle.writes:
            raise failure(errno.EBADF)
        self._check_hidden(handle.inode)
        old = handle.inode.data
        old = old + bytes(max(0, offset - len(old)))
        self._write(handle.inode, old[:offset] + bytes(data) + old[offset + len(data) :])
        return len(data)

    def truncate(self, descriptor: int, size: int) -> None:
        inode = self.inode_of(descriptor)
        self._check_hidden(inode)
        if len(inode.data) != size:
            self._write(inode, inode.data[:size] + bytes(max(0, size - len(inode.data))))

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        return self.inode_of(descriptor).data[offset : offset + length]

    def set_times(self, inode: Inode, mtime_ns: int) -> None:
        inode.mtime_ns, inode.ctime_ns = mtime_ns, self.coarse()
        if self.by_person:
            self.sync_file(inode)

    def set_mode(self, inode: Inode, mode: int) -> None:
        inode.mode, inode.ctime_ns = mode, self.coarse()
        if self.by_person:
            self.sync_file(inode)

    def make_folder(self, folder: Inode, name: str, mode: int) -> Inode:
        self._writable(folder, name)
        if name in folder.entries:
            raise failure(errno.EEXIST, name)
        inode = self._make(modes.S_IFDIR, mode)
        self._attach(folder, name, inode)
        self._changed(lambda: self._undo_create(folder, name), folder)
        return inode

    def make_link(self, folder: Inode, name: str, target: str) -> None:
        inode = self._make(modes.S_IFLNK, 0o777)
        inode.data = target.encode()
        self._attach(folder, name, inode)

    def remove_folder(self, folder: Inode, name: str) -> None:
        inode = self.look_up(folder, name)
        self._writable(folder, name)
        if not inode.is_folder:
            raise failure(errno.ENOTDIR, name)
        if inode.entries:
            raise failure(errno.ENOTEMPTY, name)
        self._detach(folder, name)
        self._changed(lambda: self._attach(folder, name, inode), folder, inode, freed=inode)

    def unlink(self, folder: Inode, name: str) -> None:
        inode = self.look_up(folder, name)
        self._writable(folder, name)
        if inode.is_folder:
            raise failure(errno.EISDIR, name)
        if not self.by_person and not self._is_own(folder):
            raise Violation(f"the client unlinks {name!r}, which is not its own")
        self._detach(folder, name)
        inode.ctime_ns = self.coarse()
        self._changed(lambda: self._attach(folder, name, inode), folder, freed=inode)

    def rename(self, source: Inode, name: str, target: Inode, new_name: str, flags: int) -> None:
        inode = self.look_up(source, name)
        self._writable(source, name)
        self._writable(target, new_name)
        other = target.entries.get(new_name)
        if inode.is_folder:
            here: Inode | None = target
            while here is not None:
                if here is inode:
                    raise failure(errno.EINVAL, new_name)
                here = here.parent
        if flags & linux.RENAME_EXCHANGE:
            if other is None:
                raise failure(errno.ENOENT, new_name)
            self._check_flags(flags)
            self._check_shown(target, inode)
            self._exchange(source, name, target, new_name)
            self._changed(lambda: self._exchange(source, name, target, new_name), source, target)
            return
        if other is not None and flags & linux.RENAME_NOREPLACE:
            raise failure(errno.EEXIST, new_name)
        self._check_flags(flags)
        if other is inode:
            return
        if other is not None:
            # An empty folder holds nothing: that much the client may risk where it must.
            if not self.by_person and not (inode.is_folder and other.is_folder):
                raise Violation(f"the client renames over {new_name!r}")
            if other.is_folder != inode.is_folder:
                raise failure(errno.EISDIR if other.is_folder else errno.ENOTDIR, new_name)
            if other.entries:
                raise failure(errno.ENOTEMPTY, new_name)
        self._check_shown(target, inode)
        if other is not None:
            self._detach(target, new_name)
        self._detach(source, name)
        self._attach(target, new_name, inode)
        inode.ctime_ns = self.coarse()

        def undo() -> None:
            self._detach(target, new_name)
            self._attach(source, name, inode)
            if other is not None:
                self._attach(target, new_name, other)

        self._changed(undo, source, target, freed=other)

    def _check_flags(self, flags: int) -> None:
        # After what the kernel itself answers, as the file system does.
        if flags & ~self.flags:
            raise failure(errno.EINVAL)

    def link(self, source: Inode, name: str, target: Inode, new_name: str) -> None:
        """A second name for a file."""
        inode = self.look_up(source, name)
        self._writable(target, new_name)
        if inode.is_folder:
            raise failure(errno.EPERM, new_name)
        if new_name in target.entries:
            raise failure(errno.EEXIST, new_name)
        self._check_shown(target, inode)
        self._attach(target, new_name, inode)
        inode.ctime_ns = self.coarse()
        self._changed(lambda: self._undo_create(target, new_name), target)

    def _exchange(self, source: Inode, name: str, target: Inode, new_name: str) -> None:
        one, other = self._detach(source, name), self._detach(target, new_name)
        self._attach(source, name, other)
        self._attach(target, new_name, one)
        one.ctime_ns = other.ctime_ns = self.coarse()

    def status(self, inode: Inode) -> linux.Status:
        kind = Kind.FILE if inode.is_file else Kind.FOLDER if inode.is_folder else Kind.OTHER
        return linux.Status(
            kind=kind,
            mode=inode.kind | inode.mode,
            mount=(0, 1, 1),
            signature=Signature(
                inode=inode.number,
                size_bytes=len(inode.data) if inode.is_file else 0,
                mtime_ns=inode.mtime_ns,
                ctime_ns=inode.ctime_ns,
                birth_ns=inode.birth_ns,
                executable=inode.is_file and bool(inode.mode & modes.S_IXUSR),
            ),
        )

    def lease(self, descriptor: int) -> None:
        handle = self.handles[descriptor]
        if handle.inode.writers:
            raise failure(errno.EAGAIN)
        handle.inode.lease, handle.leased = True, True

    def has_lease(self, descriptor: int) -> bool:
        return self.handles[descriptor].inode.lease is True

    # What people see

    def parent_of(self, path: tuple[str, ...]) -> Inode:
        """The folder in which a path ends; of the names that a file may have, that one."""
        folder = self.root
        for name in path[:-1]:
            folder = folder.entries[name]
        return folder

    def tree(self) -> dict[tuple[str, ...], Inode]:
        """Everything in the linked folder that is not the client's own, by path."""
        found: dict[tuple[str, ...], Inode] = {}
        stack: list[tuple[tuple[str, ...], Inode]] = [((), self.root)]
        while stack:
            path, folder = stack.pop()
            for name, inode in folder.entries.items():
                if path or name != ".drive":
                    found[*path, name] = inode
                    if inode.is_folder:
                        stack.append(((*path, name), inode))
        return found


def described(inode: Inode) -> Any:
    """A folder's whole content, to be compared with what it was."""
    if inode.is_folder:
        return {name: described(each) for name, each in inode.entries.items()}
    return inode.kind, inode.data, inode.mode

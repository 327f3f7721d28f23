"""The linked folder on a Linux disk, through folder descriptors that follow no symlink.

What the client keeps in the folder lives under `<root>/.drive`: `root.json` (the marker that
tells a missing disk from an emptied folder), `staging` (files being assembled, and what they
displaced) and, where nothing outside is on the same file system, `stash` (what was removed
here, kept for a while). At rest it is the same in all copies, so that `diff -r` of two linked
folders finds nothing.

Rename is the only step by which user data changes its place, and never onto anything:
RENAME_NOREPLACE, or RENAME_EXCHANGE with the displaced file in hand.
"""

# Descriptors all the way: pathlib knows only paths.
# ruff: noqa: PTH123, PTH208

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sync_client import chunker, linux
from sync_client import stash as stash_entries
from sync_client.errors import PathProblem, RootMissing, changed_while_read, path_problem
from sync_client.names import OWN_FOLDER, printable
from sync_client.ports import (
    STAGING,
    Displaced,
    Kind,
    Observation,
    Path,
    Signature,
    Why,
    displaced_name,
)
from sync_client.staging import (
    FILE_FLAGS,
    LocalStagedFile,
    Unwritten,
    mode_with,
    opened,
)
from sync_client.stash import Stashed

MARKER = "root.json"
STASH: Path = (OWN_FOLDER, "stash")
# Whose link it is stands beside the marker's content, where the disk can keep that.
MARKER_ATTRIBUTE = "user.drive.link"
MARKER_NOTE = {"about": "Drive keeps this folder the same on several devices. Leave this here."}

# From this many folders or files on, one syncfs is cheaper than an fsync for each.
MANY = 16

# The way to the root itself may lead through links.
_ROOT_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HASH_BUFFER_BYTES = 1024 * 1024


def prepare_root(root: pathlib.Path, *, root_id: str, device_id: str) -> None:
    """Make a folder ready to be linked: it, its staging, its stash and its marker.

    May be repeated; the marker is written last, and anew. A power cut leaves the old one or
    the new one.
    """
    root.mkdir(parents=True, exist_ok=True)
    own = root / OWN_FOLDER
    for folder in (own, own / "staging", own / "stash"):
        folder.mkdir(mode=0o700, exist_ok=True)
    half = own / f"{MARKER}.new"
    link = {"root_id": root_id, "device_id": device_id}
    with half.open("w", encoding="utf-8") as marker:
        try:
            os.setxattr(marker.fileno(), MARKER_ATTRIBUTE, json.dumps(link).encode())
        except OSError:
            # This file system keeps no attributes.
            note = link
        else:
            note = MARKER_NOTE
        marker.write(json.dumps(note) + "\n")
        marker.flush()
        os.fsync(marker.fileno())
    half.replace(own / MARKER)
    for folder in (own, root):
        with opened(os.open(folder, _ROOT_FLAGS)) as descriptor:
            os.fsync(descriptor)


def read_marker(marker: int | pathlib.Path) -> dict[str, str]:
    """The `root_id` and `device_id` of a marker, by its path or an open descriptor.

    Empty where it names nobody: a copy, made without its attributes. Raises OSError, and
    ValueError for a damaged one.
    """
    with open(marker, encoding="utf-8") as file:
        link = json.load(file)
        if link == MARKER_NOTE:
            try:
                link = json.loads(os.getxattr(file.fileno(), MARKER_ATTRIBUTE))
            except OSError:
                return {}
    if not isinstance(link, dict):
        raise ValueError("no marker")
    return {name: str(value) for name, value in link.items()}


class LocalFileSystem:
    """`ports.FileSystem` on a real folder."""

    def __init__(
        self,
        root: pathlib.Path,
        *,
        root_id: str,
        stash: pathlib.Path | None = None,
        exchange_works: bool = True,
    ) -> None:
        """stash: where removed files go if it is on the file system of the root, made if
        missing; else they go below the root. exchange_works: False where renameat2 is known
        to be unsupported (tests).
        """
        self._root = root
        self._root_id = root_id
        self._stash_outside = stash
        # Flags of renameat2 that this file system is known not to have: some know one only.
        self._unsupported = set() if exchange_works else {*linux.RENAME_FLAGS}
        self._umask = _current_umask()
        # The root, open, while several looks have to be at the same one.
        self._held: int | None = None

    @property
    def root(self) -> pathlib.Path:
        """Where the folder is."""
        return self._root

    # Looking

    def check_root(self) -> None:
        try:
            with self._folder((OWN_FOLDER,)) as own:
                found = read_marker(os.open(MARKER, FILE_FLAGS, dir_fd=own))
            staging_there = self._is_folder(STAGING) and self._is_folder(STASH)
        except (OSError, PathProblem, ValueError) as error:
            raise RootMissing(
                f"{self._root} is not there, or is not the folder that was linked ({error})."
                " Nothing was deleted on the server."
            ) from error
        if found.get("root_id") != self._root_id:
            raise RootMissing(f"{self._root} belongs to another link. Link the folder again.")
        if not staging_there:
            prepare_root(self._root, root_id=self._root_id, device_id=found.get("device_id", ""))

    @contextmanager
    def one_root(self) -> Iterator[None]:
        self.check_root()
        self._held = os.open(self._root, _ROOT_FLAGS)
        try:
            # The one we hold, not what stood at its path a moment ago.
            self.check_root()
            yield
        finally:
            held, self._held = self._held, None
            os.close(held)
        self.check_root()

    def listdir(self, path: Path) -> list[Observation]:
        found: list[Observation] = []
        try:
            with self._folder(path, is_strict=True) as folder:
                mount = linux.statx(folder, "").mount
                for name in os.listdir(folder):
                    if not path and name == OWN_FOLDER:
                        continue
                    try:
                        found.append(_observation(folder, name, mount))
                    except FileNotFoundError:
                        # Gone between the listing and now: not there.
                        continue
        except OSError as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                raise
            raise _unreadable(path, error) from error
        return found

    def observe(self, path: Path) -> Observation | None:
        try:
            with self._folder(path[:-1], is_strict=True) as folder:
                name = path[-1]
                return _observation(folder, name, linux.statx(folder, "").mount)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path[:-1], error) from error

    def content_hash(self, path: Path) -> tuple[str, Signature]:
        digest = hashlib.sha256()
        buffer = bytearray(_HASH_BUFFER_BYTES)
        with self._file(path) as descriptor:
            before = linux.statx(descriptor, "").signature
            with open(descriptor, "rb", buffering=0, closefd=False) as stream:
                while count := stream.readinto(buffer):
                    digest.update(memoryview(buffer)[:count])
            _check_unchanged(path, before, linux.statx(descriptor, "").signature)
        return digest.hexdigest(), before

    def open_blocks(self, path: Path) -> Iterator[tuple[bytes, Signature]]:
        with self._file(path) as descriptor:
            before = linux.statx(descriptor, "").signature
            total = 0
            with open(descriptor, "rb", buffering=0, closefd=False) as stream:
                for block in chunker.split(stream):
                    total += len(block)
                    yield block, before
            after = linux.statx(descriptor, "").signature
            _check_unchanged(path, before, after)
            if total != after.size_bytes:
                raise changed_while_read(printable(path))

    def read_at(self, path: Path, offset: int, length: int) -> bytes:
        with self._file(path) as descriptor:
            return os.pread(descriptor, length, offset)

    def free_bytes(self) -> int:
        with self._folder(()) as root:
            numbers = os.fstatvfs(root)
            return numbers.f_bavail * numbers.f_frsize

    # Staging

    def stage(self, name: str) -> LocalStagedFile:
        with self._folder(STAGING) as staging:
            descriptor = os.open(
                name,
                os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=staging,
            )
        return LocalStagedFile(descriptor, umask=self._umask, drop=lambda: self.drop_staged(name))

    def staged(self) -> dict[str, Signature]:
        with self._folder(STAGING) as staging:
            return {name: linux.statx(staging, name).signature for name in os.listdir(staging)}

    def sync_staged(self, names: Sequence[str]) -> None:
        with self._folder(STAGING) as staging:
            if len(names) > MANY:
                linux.syncfs(staging)
                return
            for name in names:
                descriptor = os.open(name, FILE_FLAGS, dir_fd=staging)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            # The names too: an intent must never outlive the file that it names.
            os.fsync(staging)

    def drop_staged(self, name: str) -> None:
        with self._folder(STAGING) as staging, contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=staging)

    # Changing what people see

    def place_new(self, staged: str, path: Path) -> None:
        with self._folder(STAGING) as staging, self._parent(path) as (folder, name):
            self._rename_free(staging, staged, folder, name)

    def exchange(self, staged: str, path: Path) -> Displaced:
        with self._folder(STAGING) as staging, self._parent(path) as (folder, name):
            old = linux.statx(folder, name)
            if old.kind is not Kind.FILE:
                raise FileExistsError(errno.EEXIST, "not a file any more", name)
            # People's own choice of who may read the file outlives its new content.
            new_mode = mode_with(
                stat.S_IMODE(old.mode), linux.statx(staging, staged).signature.executable
            )
            os.chmod(staged, new_mode, dir_fd=staging)
            try:
                self._renameat2(staging, staged, folder, name, linux.RENAME_EXCHANGE)
            except _Unsupported:
                return self._exchange_by_steps(staging, staged, folder, name)
            displaced = linux.statx(staging, staged)
            if displaced.kind is not Kind.FILE:
                # Somebody put a folder or a link there just now: give it back.
                self._renameat2(staging, staged, folder, name, linux.RENAME_EXCHANGE)
                raise FileExistsError(errno.EEXIST, "not a file any more", name)
            return Displaced(name=staged, signature=displaced.signature)

    @contextmanager
    def unwritten(self) -> Iterator[Unwritten]:
        with self._folder(STAGING) as staging:
            guard = Unwritten(staging)
            try:
                yield guard
            finally:
                guard.release()

    def take(self, path: Path, name: str) -> Displaced:
        with self._folder(STAGING) as staging, self._parent(path) as (folder, last):
            self._take(folder, last, staging, name)
            return Displaced(name=name, signature=linux.statx(staging, name).signature)

    def restore_displaced(self, displaced: Displaced, path: Path) -> None:
        self.place_new(displaced.name, path)

    def discard(self, displaced: Displaced, original: Path, *, why: Why = Why.UNKNOWN) -> None:
        # One folder per file, named by the moment: nothing in the stash can collide, and
        # the sweep needs no time stamp of the file itself.
        entry = stash_entries.new_entry(time.time_ns())
        with self._folder(STAGING) as staging, self._stash() as stash:
            os.mkdir(entry, 0o700, dir_fd=stash)
            with opened(os.open(entry, _FOLDER_FLAGS, dir_fd=stash)) as folder:
                self._rename_free(staging, displaced.name, folder, original[-1])
                descriptor = os.open(
                    stash_entries.note_name(original[-1]),
                    os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                    0o600,
                    dir_fd=folder,
                )
                with open(descriptor, "wb") as origin:
                    origin.write(stash_entries.note_text(original, why))

    def move(self, source: Path, target: Path) -> None:
        with self._parent(source) as (folder, name), self._parent(target) as (other, new_name):
            try:
                self._renameat2(folder, name, other, new_name, linux.RENAME_NOREPLACE)
            except _Unsupported:
                if _is_folder_at(folder, name):
                    self._rename_free(folder, name, other, new_name)
                else:
                    self._move_by_steps(folder, name, other, new_name, source)

    def make_folder(self, path: Path) -> Signature:
        with self._folder(path[:-1], is_strict=True) as folder:
            name = path[-1]
            os.mkdir(name, dir_fd=folder)
            return linux.statx(folder, name).signature

    def remove_folder(self, path: Path) -> None:
        with self._parent(path) as (folder, name):
            os.rmdir(name, dir_fd=folder)

    def set_metadata(
        self, path: Path, expected: Signature, *, mtime_ns: int, executable: bool
    ) -> Signature:
        with self._file(path) as descriptor:
            now = linux.statx(descriptor, "")
            if now.signature != expected:
                raise PathProblem(
                    printable(path), "changed-meanwhile", "The file has changed meanwhile."
                )
            os.fchmod(descriptor, mode_with(stat.S_IMODE(now.mode), executable))
            os.utime(descriptor, ns=(time.time_ns(), mtime_ns))
            after = linux.statx(descriptor, "")
            if after.signature.executable != executable:
                # Somebody changed it in this moment, or the file system cannot keep it: what
                # a second attempt leaves is the file system's. Else somebody's change would
                # be taken for what both sides had agreed on.
                os.fchmod(descriptor, mode_with(stat.S_IMODE(after.mode), executable))
                after = linux.statx(descriptor, "")
            return after.signature

    def sync(self, folders: Sequence[Path]) -> None:
        distinct = set(folders)
        if len(distinct) > MANY:
            self._sync_all()
            return
        for path in distinct:
            # A folder that is gone again has nothing left to lose.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                try:
                    with self._folder(path) as folder:
                        os.fsync(folder)
                except PermissionError:
                    # Somebody has just closed it to us; what we did in it must last.
                    self._sync_all()
                    return

    def _sync_all(self) -> None:
        with self._folder(()) as root:
            linux.syncfs(root)

    def stashed(self) -> list[Stashed]:
        """What was removed here and can be given back, the latest first."""
        found: list[Stashed] = []
        with self._folder(STASH) as inside:
            found += stash_entries.stashed(inside)
            with self._stash() as reachable:
                if not os.path.sameopenfile(inside, reachable):
                    found += stash_entries.stashed(reachable)
        return sorted(found, key=lambda each: each.removed_ns, reverse=True)

    def delete_stashed(self, stashed: Stashed) -> None:
        """Delete a file of the stash for ever; nothing where it is gone already."""
        with self._folder(STASH) as inside, self._stash() as reachable:
            for stash in (inside, reachable):
                with contextlib.suppress(FileNotFoundError):
                    _delete_entry(stash, stashed.entry)

    def give_back(self, stashed: Stashed, path: Path) -> None:
        """Move a file of the stash to a free path; missing folders are made.

        Raises FileExistsError where the path is taken, FileNotFoundError where the file is no
        longer in the stash, NotADirectoryError where no folder can be on the way.
        """
        for depth in range(1, len(path)):
            with contextlib.suppress(FileExistsError):
                self.make_folder(path[:depth])
        with self._folder(STASH) as inside, self._stash() as reachable:
            for stash in (inside, reachable):
                if not _exists(stash, stashed.entry):
                    continue
                with (
                    opened(os.open(stashed.entry, _FOLDER_FLAGS, dir_fd=stash)) as entry,
                    self._parent(path) as (folder, name),
                ):
                    self._rename_free(entry, stashed.name, folder, name)
                    os.fsync(folder)
                    # The file is back; what is left of the entry is swept one day anyway.
                    with contextlib.suppress(OSError):
                        os.unlink(stash_entries.note_name(stashed.name), dir_fd=entry)
                with contextlib.suppress(OSError):
                    os.rmdir(stashed.entry, dir_fd=stash)
                return
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), stashed.name)

    def sweep_stash(self, before_ns: int) -> None:
        with self._folder(STASH) as stash:
            _sweep(stash, before_ns)
        with self._stash() as stash:
            _sweep(stash, before_ns)

    # Descriptors

    @contextmanager
    def _stash(self) -> Iterator[int]:
        """Where removed files go, out of the root if a rename can bring them there."""
        with self._folder(STASH) as inside:
            outside = self._reachable_stash(linux.statx(inside, "").mount)
            if outside is None:
                yield inside
            else:
                with opened(outside):
                    yield outside

    def _reachable_stash(self, mount: tuple[int, ...]) -> int | None:
        """The stash outside, open; None where there is none in this mount."""
        if self._stash_outside is None:
            return None
        try:
            self._stash_outside.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._stash_outside, _FOLDER_FLAGS)
        except OSError:
            return None
        if linux.statx(descriptor, "").mount == mount:
            return descriptor
        os.close(descriptor)
        return None

    @contextmanager
    def _folder(self, path: Path, *, is_strict: bool = False) -> Iterator[int]:
        """A folder below the root, reached without following a link.

        Raises OSError (EXDEV) where something is mounted over it; is_strict: even another
        folder of the same file system, into which the kernel lets nothing be renamed anyway.
        """
        descriptor = os.open(self._root, _ROOT_FLAGS) if self._held is None else os.dup(self._held)
        try:
            home = _place_of(descriptor, is_strict=is_strict)
            for name in path:
                try:
                    below = os.open(name, _FOLDER_FLAGS, dir_fd=descriptor)
                except OSError as error:
                    if error.errno == errno.ELOOP:
                        # O_NOFOLLOW met a link: for us, no folder stands here.
                        raise NotADirectoryError(errno.ENOTDIR, "a link", name) from error
                    raise
                os.close(descriptor)
                descriptor = below
            if path and _place_of(descriptor, is_strict=is_strict) != home:
                # Something was mounted over a folder of ours, which is still there below it.
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path[-1])
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _parent(self, path: Path) -> Iterator[tuple[int, str]]:
        with self._folder(path[:-1]) as folder:
            yield folder, path[-1]

    @contextmanager
    def _file(self, path: Path) -> Iterator[int]:
        """A regular file, open for reading."""
        with self._parent(path) as (folder, name):
            try:
                descriptor = os.open(name, FILE_FLAGS, dir_fd=folder)
            except PermissionError as error:
                raise PathProblem(
                    printable(path), "unreadable", "The file cannot be read: no permission."
                ) from error
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENXIO}:
                    raise changed_while_read(printable(path)) from error
                raise
        with opened(descriptor):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise changed_while_read(printable(path))
            yield descriptor

    def _is_folder(self, path: Path) -> bool:
        try:
            with self._folder(path):
                return True
        except FileNotFoundError:
            return False

    # Renaming

    def _renameat2(self, source: int, name: str, target: int, new_name: str, flags: int) -> None:
        if flags in self._unsupported:
            raise _Unsupported
        try:
            linux.renameat2(source, name, target, new_name, flags=flags)
        except OSError as error:
            if error.errno not in linux.UNSUPPORTED:
                raise
            if error.errno == errno.EINVAL and _would_be_inside_itself(source, name, target):
                raise
            self._unsupported.add(flags)
            raise _Unsupported from error

    def _rename_free(self, source: int, name: str, target: int, new_name: str) -> None:
        """Rename to a free name, whatever the file system knows about it.

        A file only from where nobody else works (staging, the stash): without renameat2, what
        gets its name in that very moment would be lost.
        """
        try:
            self._renameat2(source, name, target, new_name, linux.RENAME_NOREPLACE)
            return
        except _Unsupported:
            pass
        if _is_folder_at(source, name):
            # rename(2) of a folder replaces at most an empty folder, which holds no data.
            if _exists(target, new_name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
            os.rename(name, new_name, src_dir_fd=source, dst_dir_fd=target)
            return
        # link(2) refuses a taken name in one step; then the old name goes.
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        os.unlink(name, dir_fd=source)

    def _take(self, folder: int, name: str, staging: int, new_name: str) -> None:
        """Bring whatever is at a path of people into staging, where the name is free."""
        try:
            self._renameat2(folder, name, staging, new_name, linux.RENAME_NOREPLACE)
        except _Unsupported:
            # Nobody else works there, so it cannot be taken after this look.
            if _exists(staging, new_name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=staging)

    def _move_by_steps(
        self, source: int, name: str, target: int, new_name: str, path: Path
    ) -> None:
        """Move a file of people to a free name, on file systems without RENAME_NOREPLACE.

        For a moment it has both names. What goes away after that is first taken into staging
        and looked at: a program may have saved another file under the old name.
        """
        # link(2) refuses a taken name in one step.
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        with self._folder(STAGING) as staging:
            left = f"left-{time.time_ns()}"
            try:
                self._take(source, name, staging, left)
            except FileNotFoundError:
                # Somebody has deleted the old name already.
                return
            taken, moved = (
                os.stat(each, dir_fd=folder, follow_symlinks=False)
                for each, folder in ((left, staging), (new_name, target))
            )
            if os.path.samestat(taken, moved):
                os.unlink(left, dir_fd=staging)
                return
            try:
                self._rename_free(staging, left, source, name)
            except FileExistsError:
                # And a third one came. Nobody can tell which counts: this one is kept.
                signature = linux.statx(staging, left).signature
                self.discard(Displaced(left, signature), path)

    def _exchange_by_steps(self, staging: int, staged: str, folder: int, name: str) -> Displaced:
        """For file systems without RENAME_EXCHANGE: for a moment, nothing is at the path.

        If that is where it ends (somebody filled the gap, or the system refused), what stood
        there is in staging, under the name that `displaced_name` says.
        """
        aside = displaced_name(staged)
        self._take(folder, name, staging, aside)
        displaced = Displaced(name=aside, signature=linux.statx(staging, aside).signature)
        self._rename_free(staging, staged, folder, name)
        return displaced


class _Unsupported(Exception):
    """The file system does not know the flags of renameat2."""


def _sweep(stash: int, before_ns: int) -> None:
    for entry in os.listdir(stash):
        stamp = entry.partition("-")[0]
        if not stamp.isdecimal() or int(stamp) >= before_ns:
            continue
        # What somebody has put there, or what cannot be deleted, is left alone.
        with contextlib.suppress(OSError):
            _delete_entry(stash, entry)


def _delete_entry(stash: int, entry: str) -> None:
    with opened(os.open(entry, _FOLDER_FLAGS, dir_fd=stash)) as folder:
        for name in os.listdir(folder):
            os.unlink(name, dir_fd=folder)
    os.rmdir(entry, dir_fd=stash)


def _place_of(descriptor: int, *, is_strict: bool) -> tuple[int, ...]:
    """The file system, and if asked for the mount, of an open folder."""
    if is_strict:
        return linux.statx(descriptor, "").mount
    return (os.fstat(descriptor).st_dev,)


def _observation(folder: int, name: str, mount: tuple[int, ...]) -> Observation:
    kind, _, its_mount, signature = linux.statx(folder, name)
    if its_mount != mount:
        # Mounted below the root: nothing can be renamed into it.
        return Observation(name, Kind.OTHER, signature, "other-file-system")
    if kind is Kind.FOLDER:
        if _exists(folder, f"{name}/{OWN_FOLDER}/{MARKER}"):
            return Observation(name, Kind.OTHER, signature, "linked-folder")
        if name == OWN_FOLDER and _is_clients_own(folder):
            return Observation(name, Kind.OTHER, signature, "clients-own")
    return Observation(name, kind, signature)


def _unreadable(path: Path, error: OSError) -> PathProblem:
    if error.errno == errno.EXDEV:
        return path_problem(printable(path), error)
    return PathProblem(
        printable(path), "unreadable", f"The folder cannot be read: {error.strerror}."
    )


def _check_unchanged(path: Path, before: Signature, after: Signature) -> None:
    if before != after:
        raise changed_while_read(printable(path))


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False
    return True


def _is_folder_at(folder: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _is_clients_own(folder: int) -> bool:
    """Whether a folder of the client's own name is one that the client had made."""
    return _exists(folder, f"{OWN_FOLDER}/{STAGING[-1]}") and _exists(
        folder, f"{OWN_FOLDER}/{STASH[-1]}"
    )


def _would_be_inside_itself(source: int, name: str, target: int) -> bool:
    """Whether `target` is, or lies below, the entry: rename(2) answers EINVAL to that too."""
    entry = os.stat(name, dir_fd=source, follow_symlinks=False)
    if not stat.S_ISDIR(entry.st_mode):
        return False
    here = os.dup(target)
    while True:
        status = os.fstat(here)
        if os.path.samestat(status, entry):
            os.close(here)
            return True
        above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
        at_top = os.path.samestat(status, os.fstat(above))
        os.close(here)
        here = above
        if at_top:
            os.close(here)
            return False


def _current_umask() -> int:
    """The process's umask; the system call can only read it by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask

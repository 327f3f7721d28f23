"""Files that are in no linked folder, for single transfers: `ports.Contents` on plain paths."""

import contextlib
import errno
import os
import pathlib
import stat
from collections.abc import Iterator
from fcntl import LOCK_EX, LOCK_NB, flock

from sync_client import chunker, linux
from sync_client.errors import PathProblem, Transient, changed_while_read, path_problem
from sync_client.names import printable
from sync_client.ports import Kind, Observation, Path, Signature
from sync_client.staging import FILE_FLAGS, LocalStagedFile, opened

STAGED_PREFIX = ".drive-get-"


class LooseFiles:
    """Paths are tuples of names below `base`; what is assembled lies where it is to be, under a
    name that says so, until `place`."""

    def __init__(self, base: pathlib.Path) -> None:
        self._base = base
        self._umask = os.umask(0o022)
        os.umask(self._umask)

    def observe(self, path: Path) -> Observation | None:
        try:
            status = linux.statx(linux.AT_FDCWD, os.fspath(self._at(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise path_problem(printable(path), error) from error
        return Observation(name=path[-1], kind=status.kind, signature=status.signature)

    def open_blocks(self, path: Path) -> Iterator[tuple[bytes, Signature]]:
        with self._open(path) as descriptor:
            before = linux.statx(descriptor, "").signature
            with open(descriptor, "rb", buffering=0, closefd=False) as stream:
                for block in chunker.split(stream):
                    yield block, before
            if linux.statx(descriptor, "").signature != before:
                raise changed_while_read(printable(path))

    def read_at(self, path: Path, offset: int, length: int) -> bytes:
        with self._open(path) as descriptor:
            return os.pread(descriptor, length, offset)

    def stage(self, name: str) -> LocalStagedFile:
        """name: the path of the staged file below base. Raises Transient while another command
        assembles the same one."""
        path = self._base / name
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Transient("Another command is getting the same file to the same place.") from None
        return LocalStagedFile(
            descriptor, umask=self._umask, drop=lambda: path.unlink(missing_ok=True)
        )

    def drop(self, name: str) -> None:
        (self._base / name).unlink(missing_ok=True)

    def place(self, staged: str, path: Path, *, replace: bool) -> None:
        """Give a finished staged file its name, durably: the name has all of it or nothing.

        replace: also where a file has the name. Raises FileExistsError else, and for a folder.
        """
        source, target = self._base / staged, self._at(path)
        with opened(os.open(source, FILE_FLAGS)) as descriptor:
            os.fsync(descriptor)
        if replace and not target.is_dir():
            source.replace(target)
        else:
            _rename_free(source, target)
        with opened(os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)) as folder:
            os.fsync(folder)

    @contextlib.contextmanager
    def _open(self, path: Path) -> Iterator[int]:
        with opened(os.open(self._at(path), FILE_FLAGS)) as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PathProblem(printable(path), "not-a-file", "It is not a file any more.")
            yield descriptor

    def _at(self, path: Path) -> pathlib.Path:
        return self._base.joinpath(*path)


def files_below(
    folder: pathlib.Path,
) -> Iterator[tuple[Path, Kind, Signature | None, str]]:
    """Everything below a folder, each folder before what is in it, without following links.

    The last is why an entry cannot be read; it has no signature then.
    """
    waiting: list[Path] = [()]
    while waiting:
        here = waiting.pop()
        try:
            names = sorted(entry.name for entry in os.scandir(folder.joinpath(*here)))
        except OSError as error:
            yield here, Kind.FOLDER, None, f"It cannot be read: {error.strerror}."
            continue
        for name in names:
            path = (*here, name)
            try:
                status = linux.statx(linux.AT_FDCWD, os.fspath(folder.joinpath(*path)))
            except FileNotFoundError:
                # Gone since the listing.
                continue
            except OSError as error:
                yield path, Kind.OTHER, None, f"It cannot be read: {error.strerror}."
                continue
            if status.kind is Kind.FOLDER:
                waiting.append(path)
            yield path, status.kind, status.signature, ""


def _rename_free(source: pathlib.Path, target: pathlib.Path) -> None:
    try:
        linux.renameat2(
            *(linux.AT_FDCWD, os.fspath(source), linux.AT_FDCWD, os.fspath(target)),
            flags=linux.RENAME_NOREPLACE,
        )
    except OSError as error:
        if error.errno not in linux.UNSUPPORTED or error.errno == errno.EEXIST:
            raise
        # A second name fails where one is, too.
        os.link(source, target)
        source.unlink()

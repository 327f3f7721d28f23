"""What was removed from a linked folder here, and is kept for 7 days: list it, give it back.

Each entry is a folder of its own, named by the moment and by chance. In it lie the file under
its name and a note of where it came from and why it had to go.
"""

import contextlib
import datetime
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sync_client import linux
from sync_client.errors import PathProblem, path_problem
from sync_client.names import MAX_NAME_BYTES, printable
from sync_client.ports import Kind, Path, Why

NOTE = ".origin"
# Where the file itself has that name.
OTHER_NOTE = ".origin-of-it"
# People can get back what was removed here for so long.
STASH_KEPT_NS = 7 * 24 * 3600 * 1_000_000_000
_ENTRY = re.compile(r"(\d{1,20})-[0-9a-f]{8}")
_LARGEST_NOTE_BYTES = 64 * 1024
# So many names are tried for a file whose own is taken.
MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Stashed:
    """One file of the stash. `path`: where it was in the linked folder."""

    entry: str
    name: str
    path: Path
    why: Why
    removed_ns: int
    size_bytes: int


class Giving(Protocol):
    """What gives files back: `filesystem.LocalFileSystem`."""

    def give_back(self, stashed: Stashed, path: Path) -> None: ...


def restore(fs: Giving, stashed: Stashed, path: Path, *, day: datetime.date) -> Path:
    """Give a file back at a path, or at a free one beside it; never onto anything.

    The answer: where it is now. Raises PathProblem where it cannot be.
    """
    for number in range(MOST_NAMES):
        name = path[-1] if number == 0 else restored_name(path[-1], day=day, number=number)
        target = (*path[:-1], name)
        try:
            fs.give_back(stashed, target)
        except FileExistsError:
            continue
        except NotADirectoryError as error:
            raise PathProblem(
                printable(path), "not-a-folder", "A file or a link is in the way of its folder."
            ) from error
        except FileNotFoundError as error:
            raise PathProblem(
                printable(path), "not-in-stash", "It is no longer in the stash."
            ) from error
        except OSError as error:
            raise path_problem(printable(path), error) from error
        return target
    raise PathProblem(printable(path), "name-taken", "All names beside it are taken.")


def restored_name(name: str, *, day: datetime.date, number: int) -> str:
    """`stem (restored, YYYY-MM-DD).ext`, at most 255 bytes; from the second on with a number."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(os.fsencode(extension)) > 32:
        stem, dot, extension = name, "", ""
    mark = f" (restored, {day.isoformat()}{f' {number}' if number > 1 else ''}){dot}{extension}"
    room = MAX_NAME_BYTES - len(os.fsencode(mark))
    return os.fsencode(stem)[:room].decode("utf-8", "ignore") + mark


def new_entry(now_ns: int) -> str:
    """The name of an entry that nobody else makes."""
    return f"{now_ns}-{os.urandom(4).hex()}"


def note_text(path: Path, why: Why) -> bytes:
    """What the note of an entry says."""
    # ASCII: a name that is not UTF-8 has lone surrogates, which only escapes can carry.
    return json.dumps({"path": list(path), "why": why}).encode("ascii")


def note_name(name: str) -> str:
    """The name of the note beside a file of this name."""
    return NOTE if name != NOTE else OTHER_NOTE


def stashed(stash: int) -> Iterator[Stashed]:
    """What lies in a stash, by its descriptor; what was put there by somebody else is left out."""
    for entry in os.listdir(stash):
        found = _ENTRY.fullmatch(entry)
        if found is None:
            continue
        # Swept, or given back, in this very moment.
        with contextlib.suppress(OSError):
            folder = os.open(
                entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stash
            )
            try:
                name = _content_in(folder)
                if name is None or (status := linux.statx(folder, name)).kind is not Kind.FILE:
                    continue
                path, why = _read_note(folder, note_name(name))
                yield Stashed(
                    entry=entry,
                    name=name,
                    path=path or (name,),
                    why=why,
                    removed_ns=int(found[1]),
                    size_bytes=status.signature.size_bytes,
                )
            finally:
                os.close(folder)


def _content_in(folder: int) -> str | None:
    """The name of the file of an entry; None where there is none."""
    names = set(os.listdir(folder))
    if names == {NOTE, OTHER_NOTE}:
        # Of a file that has the name of a note, the note has another: which of them is it?
        path, _ = _read_note(folder, NOTE)
        return OTHER_NOTE if path[-1:] == (OTHER_NOTE,) else NOTE
    return next(iter(names - {NOTE}), None)


def _read_note(folder: int, note: str) -> tuple[Path, Why]:
    try:
        descriptor = os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return (), Why.UNKNOWN
    with open(descriptor, "rb") as file:  # noqa: PTH123
        content = file.read(_LARGEST_NOTE_BYTES)
    try:
        document = json.loads(content)
        return tuple(str(name) for name in document["path"]), Why(document["why"])
    except (ValueError, KeyError, TypeError):
        # Until this release, a note was the path alone.
        return tuple(os.fsdecode(content).split("/")), Why.UNKNOWN

"""The ZIP format as far as a stream needs it: stored entries, Zip64, UTF-8 names (pure).

Written here because the length has to be known before the first byte: the same functions make
the headers and measure them. No entry is compressed, so a file costs its size and what names
it. Source: APPNOTE 6.3.10 of PKWARE, and the extended timestamps of Info-ZIP.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import NamedTuple
from zlib import crc32

from files.names import name_key, numbered

# Bit 3: sum and sizes follow the content; bit 11: the name is UTF-8.
_FLAGS = 0x0008 | 0x0800
_DIRECTORY_FLAGS = 0x0800
_VERSION = 20
_VERSION_ZIP64 = 45
_MADE_ON_UNIX = 3 << 8
_MOST_16 = 0xFFFF
_MOST_32 = 0xFFFFFFFF
# What the two bytes of a length can say.
MAX_PATH_BYTES = _MOST_16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR, _LAST_YEAR = 1980, 2107
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]|(?<=^[A-Za-z]):|^\.{1,2}$|^$")


class Entry(NamedTuple):
    """A file, or a folder: its path ends with "/". modified_ns: since 1970, may be negative."""

    path: str
    size_bytes: int
    modified_ns: int
    is_executable: bool = False

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


def safe_name(name: str) -> str:
    """One step of a path that no program unpacks anywhere but below its folder.

    A separator of any system, a control character and a drive's letter become "_".
    """
    return _UNSAFE.sub("_", name)


class SafeNames:
    """Safe names that are unique in each folder of an archive; what had to change is counted."""

    def __init__(self) -> None:
        # By folder and key of the name the last number that was tried with it.
        self._taken: dict[tuple[object, str], int] = {}

    def take(self, folder: object, name: str, *, is_folder: bool) -> str:
        """The name under which an item goes into a folder of the archive."""
        wanted = chosen = safe_name(name)
        first = (folder, name_key(wanted))
        while (folder, name_key(chosen)) in self._taken:
            self._taken[first] += 1
            chosen = numbered(wanted, self._taken[first], is_folder=is_folder)
        self._taken[folder, name_key(chosen)] = 1
        return chosen


def archive_length(entries: Iterable[Entry]) -> int:
    """The bytes that `archive` makes of these entries."""
    position = directory = count = 0
    for entry in entries:
        directory += len(_central_header(entry, 0, position))
        position += len(_local_header(entry)) + entry.size_bytes + len(_descriptor(entry, 0))
        count += 1
    return position + directory + len(_end(count, directory, position))


def archive(entries: Sequence[Entry], read: Callable[[int], Iterator[bytes]]) -> Iterator[bytes]:
    """The archive, piece by piece. read: from an entry's index to its content.

    A content that is not as long as its entry says raises EOFError: the stream ends there,
    and never looks like a whole archive.
    """
    sums: list[int] = []
    for index, entry in enumerate(entries):
        yield _local_header(entry)
        left, crc = entry.size_bytes, 0
        if left:
            for piece in read(index):
                left -= len(piece)
                crc = crc32(piece, crc)
                yield piece
        if left:
            raise EOFError("A content is not as long as it was recorded.")
        sums.append(crc)
        if not entry.is_folder:
            yield _descriptor(entry, crc)
    position = directory = 0
    for entry, crc in zip(entries, sums, strict=True):
        header = _central_header(entry, crc, position)
        directory += len(header)
        position += len(_local_header(entry)) + entry.size_bytes + len(_descriptor(entry, crc))
        yield header
    yield _end(len(entries), directory, position)


def _local_header(entry: Entry) -> bytes:
    is_large = entry.size_bytes >= _MOST_32
    extra = _zip64_extra(0, 0) if is_large else b""
    extra += _timestamp(entry)
    name = entry.path.encode()
    size = _MOST_32 if is_large else 0
    return (
        pack(
            "<4s5H3L2H",
            b"PK\x03\x04",
            _VERSION_ZIP64 if is_large else _VERSION,
            _DIRECTORY_FLAGS if entry.is_folder else _FLAGS,
            0,
            *_dos_time(entry.modified_ns),
            0,
            size,
            size,
            len(name),
            len(extra),
        )
        + name
        + extra
    )


def _descriptor(entry: Entry, crc: int) -> bytes:
    """Sum and sizes, behind the content of a file."""
    if entry.is_folder:
        return b""
    form = "<4sLQQ" if entry.size_bytes >= _MOST_32 else "<4sLLL"
    return pack(form, b"PK\x07\x08", crc, entry.size_bytes, entry.size_bytes)


def _central_header(entry: Entry, crc: int, position: int) -> bytes:
    is_large = entry.size_bytes >= _MOST_32
    is_far = position >= _MOST_32
    large = [entry.size_bytes, entry.size_bytes] if is_large else []
    large += [position] if is_far else []
    extra = (_zip64_extra(*large) if large else b"") + _timestamp(entry)
    name = entry.path.encode()
    size = _MOST_32 if is_large else entry.size_bytes
    version = _VERSION_ZIP64 if large else _VERSION
    return (
        pack(
            "<4s6H3L5H2L",
            b"PK\x01\x02",
            _MADE_ON_UNIX | version,
            version,
            _DIRECTORY_FLAGS if entry.is_folder else _FLAGS,
            0,
            *_dos_time(entry.modified_ns),
            crc,
            size,
            size,
            len(name),
            len(extra),
            0,
            0,
            0,
            _mode(entry),
            _MOST_32 if is_far else position,
        )
        + name
        + extra
    )


def _end(count: int, directory_bytes: int, directory_at: int) -> bytes:
    """The end of the archive, with the Zip64 one before where a number is too large."""
    zip64 = b""
    if count >= _MOST_16 or directory_bytes >= _MOST_32 or directory_at >= _MOST_32:
        zip64 = pack(
            "<4sQ2H2L4Q",
            b"PK\x06\x06",
            44,
            _MADE_ON_UNIX | _VERSION_ZIP64,
            _VERSION_ZIP64,
            0,
            0,
            count,
            count,
            directory_bytes,
            directory_at,
        ) + pack("<4sLQL", b"PK\x06\x07", 0, directory_at + directory_bytes, 1)
    entries = min(count, _MOST_16)
    return zip64 + pack(
        "<4s4H2LH",
        b"PK\x05\x06",
        0,
        0,
        entries,
        entries,
        min(directory_bytes, _MOST_32),
        min(directory_at, _MOST_32),
        0,
    )


def _zip64_extra(*numbers: int) -> bytes:
    return pack(f"<2H{len(numbers)}Q", 0x0001, 8 * len(numbers), *numbers)


def _timestamp(entry: Entry) -> bytes:
    """The exact second in UTC, as far as its four bytes reach: 1901 to 2038."""
    seconds = entry.modified_ns // 1_000_000_000
    if not -(2**31) <= seconds < 2**31:
        return b""
    return pack("<2HBl", 0x5455, 5, 1, seconds)


def _dos_time(modified_ns: int) -> tuple[int, int]:
    """Time and date as DOS had them: two seconds exact, from 1980 on."""
    try:
        moment = _EPOCH + timedelta(microseconds=modified_ns // 1000)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC) if modified_ns > 0 else _EPOCH
    if moment.year < _FIRST_YEAR:
        moment = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC)
    elif moment.year > _LAST_YEAR:
        moment = datetime(_LAST_YEAR, 12, 31, 23, 59, 58, tzinfo=UTC)
    return (
        moment.hour << 11 | moment.minute << 5 | moment.second // 2,
        (moment.year - _FIRST_YEAR) << 9 | moment.month << 5 | moment.day,
    )


def _mode(entry: Entry) -> int:
    """The mode as Unix has it, and the mark of a folder as DOS has it."""
    if entry.is_folder:
        return 0o40755 << 16 | 0x10
    return (0o100755 if entry.is_executable else 0o100644) << 16

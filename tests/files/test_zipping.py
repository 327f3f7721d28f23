"""The archives as other programs read them, and the length that was promised for them."""

import io
import shutil
import subprocess
import zipfile
from datetime import UTC, datetime
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.zipping import Entry, SafeNames, archive, archive_length, safe_name

SECOND = 1_000_000_000
MARCH = int(datetime(2024, 3, 5, 12, 30, 41, tzinfo=UTC).timestamp()) * SECOND
GIB4 = 2**32


def zipped(contents):
    """contents: by path, b"" for a folder."""
    entries = [
        Entry(path, len(data), MARCH, is_executable=path.endswith(".sh"))
        for path, data in contents.items()
    ]
    data = list(contents.values())
    whole = b"".join(archive(entries, lambda index: iter([data[index][:3], data[index][3:]])))
    assert archive_length(entries) == len(whole)
    return whole


def test_what_was_put_in_comes_out():
    contents = {
        "Märchen 🦊/": b"",
        "Märchen 🦊/run.sh": b"#!/bin/sh\n",
        "Märchen 🦊/empty/": b"",
        "nothing": b"",
        "a" * 255: b"long name",
    }

    with zipfile.ZipFile(io.BytesIO(zipped(contents))) as read:
        assert read.testzip() is None
        assert {info.filename: read.read(info) for info in read.infolist()} == contents
        infos = {info.filename: info for info in read.infolist()}
    script = infos["Märchen 🦊/run.sh"]
    assert script.date_time == (2024, 3, 5, 12, 30, 40)
    assert script.external_attr >> 16 == 0o100755
    assert script.flag_bits & 0x800
    assert infos["Märchen 🦊/empty/"].is_dir()
    assert infos["nothing"].external_attr >> 16 == 0o100644


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip here")
def test_unzip_finds_nothing_to_complain_about(tmp_path):
    path = tmp_path / "whole.zip"
    path.write_bytes(zipped({"ä/": b"", "ä/b": b"1234567", "c": b"", **_many(300)}))

    tested = subprocess.run(["unzip", "-tqq", path], capture_output=True, text=True)

    assert (tested.returncode, tested.stdout, tested.stderr) == (0, "", "")


def _many(count):
    return {f"file {number}": b"x" * (number % 7) for number in range(count)}


def test_more_entries_than_two_bytes_can_count():
    whole = zipped(_many(70_000))

    with zipfile.ZipFile(io.BytesIO(whole)) as read:
        assert len(read.infolist()) == 70_000
        assert read.read("file 69999") == b"x" * (69_999 % 7)


class _Holes(io.RawIOBase):
    """An archive of which only the headers are kept; its contents are zeros."""

    def __init__(self, pieces, zeros):
        self.parts = []
        self.length = 0
        for piece in pieces:
            if piece is not zeros:
                self.parts.append((self.length, piece))
            self.length += len(piece)
        self.at = 0

    def seekable(self):
        return True

    def readable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.length)[whence]
        return self.at

    def readinto(self, buffer):
        size = min(len(buffer), self.length - self.at)
        found = bytearray(size)
        for start, piece in self.parts:
            first, last = max(start, self.at), min(start + len(piece), self.at + size)
            if first < last:
                found[first - self.at : last - self.at] = piece[first - start : last - start]
        buffer[:size] = found
        self.at += size
        return size


@pytest.mark.parametrize("size", [GIB4 - 2, GIB4 - 1, GIB4 + 5])
def test_beyond_four_gib_lengths_and_places_hold(size, monkeypatch):
    # The sum of so many zeros is not what this is about.
    monkeypatch.setattr(
        "files.zipping.crc32", lambda piece, crc: crc32(piece, crc) if len(piece) == 5 else 0
    )
    zeros = bytes(1 << 24)
    entries = [Entry("large", size, MARCH), Entry("folder/", 0, MARCH), Entry("after", 5, MARCH)]

    def read(index):
        left = entries[index].size_bytes
        while left:
            piece = zeros if left >= len(zeros) else bytes(left)
            left -= len(piece)
            yield piece

    whole = _Holes(archive(entries, read), zeros)

    assert whole.length == archive_length(entries)
    with zipfile.ZipFile(whole) as found:
        assert [(info.filename, info.file_size) for info in found.infolist()] == [
            ("large", size),
            ("folder/", 0),
            ("after", 5),
        ]
        with found.open("after") as after:
            assert after.read() == bytes(5)


@pytest.mark.parametrize("wrong", [b"short", b"much too long"])
def test_a_content_of_another_length_ends_the_stream(wrong):
    entries = [Entry("file", 8, MARCH)]
    sent = []

    with pytest.raises(EOFError):
        sent.extend(archive(entries, lambda index: iter([wrong])))
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"".join(sent)))


@pytest.mark.parametrize(
    ("modified_ns", "shown"),
    [
        (-5 * SECOND, (1980, 1, 1, 0, 0, 0)),
        (0, (1980, 1, 1, 0, 0, 0)),
        (2**62, (2107, 12, 31, 23, 59, 58)),
        (-(2**62), (1980, 1, 1, 0, 0, 0)),
    ],
)
def test_any_time_can_be_packed(modified_ns, shown):
    entries = [Entry("file", 0, modified_ns)]
    whole = b"".join(archive(entries, lambda index: iter(())))

    with zipfile.ZipFile(io.BytesIO(whole)) as read:
        [info] = read.infolist()
    assert (info.date_time, len(whole)) == (shown, archive_length(entries))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("..", "_"),
        (".", "_"),
        ("..\\..\\evil.exe", ".._.._evil.exe"),
        ("/etc/passwd", "_etc_passwd"),
        ("C:evil", "C_evil"),
        ("12:30", "12:30"),
        ("a\nb\x7f\x9b", "a_b__"),
        ("...", "..."),
        ("…/‮gpj.exe", "…_‮gpj.exe"),
    ],
)
def test_no_name_leads_out_of_its_folder(name, safe):
    assert safe_name(name) == safe


@given(st.lists(st.tuples(st.booleans(), st.text("a./\\:\n_()2 ", min_size=1, max_size=4))))
def test_names_are_unique_in_their_folder(wanted):
    names = SafeNames()
    taken = [names.take("folder", name, is_folder=is_folder) for is_folder, name in wanted]

    assert len({name.casefold() for name in taken}) == len(taken)
    assert not any(set(name) & set("/\\\n") or name in {".", ".."} for name in taken)

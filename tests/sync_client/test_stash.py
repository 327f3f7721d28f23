"""What was removed from a linked folder here can be listed and given back, onto nothing."""

import datetime
import os
import pathlib

import pytest

from sync_client.errors import PathProblem
from sync_client.filesystem import LocalFileSystem, prepare_root
from sync_client.ports import Path, Why
from sync_client.selection import Wishes
from sync_client.stash import MOST_NAMES, restore, restored_name
from tests.fakes.server import FakeServer
from tests.sync_client.devices import Device, settle

DAY = datetime.date(2026, 11, 28)


@pytest.fixture(params=[True, False], ids=["outside", "inside"])
def fs(request, tmp_path: pathlib.Path) -> LocalFileSystem:
    root = tmp_path / "root"
    prepare_root(root, root_id="1", device_id="laptop")
    stash = tmp_path / "stash" if request.param else None
    return LocalFileSystem(root, root_id="1", stash=stash)


def removed(fs: LocalFileSystem, path: Path, content: bytes, why: Why = Why.DELETED) -> None:
    """A file that the client removed."""
    target = pathlib.Path(os.fspath(fs.root), *path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    fs.discard(fs.take(path, "gone"), path, why=why)


@pytest.mark.parametrize(
    "name", ["plain", ".origin", ".origin-of-it", "n\udcffo text", "x" * 255, "a\nb"]
)
def test_the_stash_says_what_was_where_and_why(fs: LocalFileSystem, name: str):
    removed(fs, ("folder", name), b"content", Why.REPLACED)
    (found,) = fs.stashed()
    assert (found.path, found.why, found.size_bytes) == (("folder", name), Why.REPLACED, 7)

    assert restore(fs, found, found.path, day=DAY) == found.path
    assert fs.read_at(("folder", name), 0, 100) == b"content"
    assert fs.stashed() == []


def test_a_file_comes_back_beside_what_has_its_name(fs: LocalFileSystem):
    for number in range(3):
        removed(fs, ("a", "note.txt"), b"%d" % number)
    latest, second, first = fs.stashed()
    root = pathlib.Path(os.fspath(fs.root))
    (root / "a").rmdir()

    assert restore(fs, first, first.path, day=DAY) == ("a", "note.txt")
    assert restore(fs, second, second.path, day=DAY)[-1] == "note (restored, 2026-11-28).txt"
    assert restore(fs, latest, ("b", "c", "d"), day=DAY) == ("b", "c", "d")

    assert (root / "a" / "note.txt").read_bytes() == b"0"
    assert (root / "a" / "note (restored, 2026-11-28).txt").read_bytes() == b"1"
    assert (root / "b" / "c" / "d").read_bytes() == b"2"
    with pytest.raises(PathProblem, match="no longer"):
        restore(fs, first, ("elsewhere",), day=DAY)


def test_nothing_is_given_back_through_a_link_or_a_file(fs: LocalFileSystem, tmp_path):
    removed(fs, ("a", "b"), b"content")
    (found,) = fs.stashed()
    root = pathlib.Path(os.fspath(fs.root))
    (root / "a").rmdir()
    (tmp_path / "outside").mkdir()
    (root / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(PathProblem, match="in the way"):
        restore(fs, found, found.path, day=DAY)
    assert list((tmp_path / "outside").iterdir()) == []
    assert fs.stashed() == [found]


def test_a_note_of_an_older_release_and_what_is_no_entry(fs: LocalFileSystem):
    removed(fs, ("a", "b"), b"content")
    root = pathlib.Path(os.fspath(fs.root))
    (note,) = root.parent.rglob(".origin")
    note.write_bytes(b"a/b")
    for odd in ("README", "12-notours"):
        (note.parent.parent / odd).mkdir()
    (note.parent.parent / "34-00000000").write_text("a file")
    (found,) = fs.stashed()
    assert (found.path, found.why) == (("a", "b"), Why.UNKNOWN)

    note.unlink()
    (found,) = fs.stashed()
    assert (found.path, found.why) == (("b",), Why.UNKNOWN)
    assert restore(fs, found, found.path, day=DAY) == ("b",)


def test_a_restored_name_fits(fs: LocalFileSystem):
    for number in (1, MOST_NAMES):
        name = restored_name("ü" * 120 + ".jpeg", day=DAY, number=number)
        assert len(name.encode()) <= 255
        assert name.endswith(").jpeg")


def test_the_engine_says_why_it_removed_a_file(tmp_path: pathlib.Path):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server)
    for name in ("replaced", "deleted", "big/deselected"):
        server.put(*name.split("/"), content=b"first")
    settle(laptop)
    server.put("replaced", content=b"second")
    found = server.find("deleted")
    assert found is not None
    server.delete(found)
    settle(laptop)
    laptop.wishes = Wishes(deselected=frozenset({server.folder("big")["folder_id"]}))
    settle(laptop)

    assert {"/".join(each.path): each.why.value for each in laptop.fs.stashed()} == {
        "replaced": "replaced",
        "deleted": "deleted",
        "big/deselected": "deselected",
    }
    laptop.stop()

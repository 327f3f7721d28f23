"""The disk: nothing is lost to a writer in the same moment, nothing happens outside."""

import errno
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from sync_client.errors import PathProblem, RootMissing
from sync_client.filesystem import LocalFileSystem, prepare_root
from sync_client.ports import Kind, displaced_name


@pytest.fixture(params=[True, False], ids=["renameat2", "fallback"])
def fs(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> LocalFileSystem:
    prepare_root(tmp_path / "root", root_id="r", device_id="d")
    return LocalFileSystem(tmp_path / "root", root_id="r", exchange_works=request.param)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "root"


def stage(fs: LocalFileSystem, name: str, content: bytes, *, executable: bool = False):
    file = fs.stage(name)
    file.write_at(0, content)
    return file.finish(size_bytes=len(content), mtime_ns=10**18 + 1, executable=executable)


def test_a_listing_shows_kinds_and_leaves_out_the_clients_own(fs, root):
    (root / "file").write_text("x")
    (root / "folder").mkdir()
    (root / "link").symlink_to("file")
    os.mkfifo(root / "pipe")
    found = {each.name: each.kind for each in fs.listdir(())}
    assert found == {
        "file": Kind.FILE,
        "folder": Kind.FOLDER,
        "link": Kind.OTHER,
        "pipe": Kind.OTHER,
    }


def test_a_signature_sees_a_write_that_restores_the_time(fs, root):
    path = root / "a"
    path.write_bytes(b"one")
    before = fs.observe(("a",)).signature
    path.write_bytes(b"two")
    os.utime(path, ns=(before.mtime_ns, before.mtime_ns))
    after = fs.observe(("a",)).signature
    assert after.mtime_ns == before.mtime_ns
    assert after != before
    assert after.identity == before.identity


def test_a_new_file_is_told_from_the_one_whose_inode_it_got(fs, root):
    path = root / "a"
    seen = set()
    for number in range(20):
        path.write_bytes(b"%d" % number)
        seen.add(fs.observe(("a",)).signature.identity)
        path.unlink()
    assert len(seen) == 20


@pytest.mark.parametrize("below", [("link", "file"), ("link",)])
def test_nothing_is_reached_through_a_link(fs, root, tmp_path, below):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("not ours")
    (root / "link").symlink_to(outside)
    stage(fs, "s", b"ours")
    with pytest.raises((NotADirectoryError, PathProblem)):
        fs.content_hash(below)
    with pytest.raises((NotADirectoryError, FileExistsError)):
        fs.exchange("s", below)
    with pytest.raises((NotADirectoryError, FileExistsError)):
        fs.place_new("s", below)
    if len(below) == 2:
        with pytest.raises(NotADirectoryError):
            fs.take(below, "gone")
        with pytest.raises(NotADirectoryError):
            fs.make_folder(("link", "new"))
        with pytest.raises(NotADirectoryError):
            fs.move(below, ("mine",))
        with pytest.raises(NotADirectoryError):
            fs.listdir(("link",))
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "not ours"


def test_a_fifo_in_a_files_place_does_not_hang(fs, root):
    os.mkfifo(root / "pipe")
    with pytest.raises(PathProblem, match="changed"):
        fs.content_hash(("pipe",))


def test_a_download_takes_only_a_free_path(fs, root):
    stage(fs, "s", b"new", executable=True)
    fs.place_new("s", ("a",))
    assert (root / "a").read_bytes() == b"new"
    assert (root / "a").stat().st_mode & 0o100
    stage(fs, "s", b"newer")
    with pytest.raises(FileExistsError):
        fs.place_new("s", ("a",))
    assert (root / "a").read_bytes() == b"new"


def test_an_exchange_keeps_the_old_file_and_its_permissions(fs, root):
    (root / "a").write_bytes(b"old")
    (root / "a").chmod(0o600)
    old = fs.observe(("a",)).signature
    new = stage(fs, "s", b"new")
    displaced = fs.exchange("s", ("a",))
    assert (root / "a").read_bytes() == b"new"
    assert (root / "a").stat().st_mode & 0o777 == 0o600
    assert displaced.signature.identity == old.identity
    assert fs.observe(("a",)).signature.identity == new.identity

    fs.restore_displaced(displaced, ("b",))
    assert (root / "b").read_bytes() == b"old"
    assert fs.staged() == {}


def test_what_is_discarded_can_be_restored_by_hand_for_a_while(fs, root):
    (root / "a").write_bytes(b"old")
    displaced = fs.take(("a",), "gone")
    assert not (root / "a").exists()
    fs.discard(displaced, ("folder", "a"))
    (kept,) = (root / ".drive" / "stash").glob("*/a")
    assert kept.read_bytes() == b"old"
    assert json.loads((kept.parent / ".origin").read_text())["path"] == ["folder", "a"]

    moment = int(kept.parent.name.partition("-")[0])
    fs.sweep_stash(moment)
    assert kept.exists()
    fs.sweep_stash(moment + 1)
    assert not kept.parent.exists()


def test_a_folder_is_moved_but_not_onto_anything_or_into_itself(fs, root):
    (root / "a" / "b").mkdir(parents=True)
    (root / "taken").mkdir()
    with pytest.raises(FileExistsError):
        fs.move(("a",), ("taken",))
    with pytest.raises(OSError, match="Invalid argument"):
        fs.move(("a",), ("a", "b", "a"))
    fs.move(("a",), ("taken", "a"))
    assert (root / "taken" / "a" / "b").is_dir()
    # A refused move into itself must not be taken for a file system without renameat2.
    fs.move(("taken", "a"), ("a",))


def test_a_staged_file_is_continued_where_it_was_left(fs):
    first = fs.stage("s")
    first.write_at(0, b"01234")
    again = fs.stage("s")
    assert again.read_at(0, 5) == b"01234"
    again.write_at(5, b"56789 and too much")
    assert again.finish(size_bytes=10, mtime_ns=-1, executable=False).mtime_ns == -1
    assert fs.read_at((".drive", "staging", "s"), 0, 100) == b"0123456789"


def test_times_and_modes_are_set_on_the_expected_file_only(fs, root):
    (root / "a").write_bytes(b"x")
    expected = fs.observe(("a",)).signature
    after = fs.set_metadata(("a",), expected, mtime_ns=-5, executable=True)
    assert (after.mtime_ns, after.executable) == (-5, True)
    assert after == fs.observe(("a",)).signature
    with pytest.raises(PathProblem, match="meanwhile"):
        fs.set_metadata(("a",), expected, mtime_ns=0, executable=False)


def test_a_mode_that_somebody_sets_in_the_same_moment_is_not_taken_for_ours(fs, root, monkeypatch):
    (root / "a").write_bytes(b"x")
    set_times = os.utime

    def interfere(*arguments, **named):
        set_times(*arguments, **named)
        (root / "a").chmod(0o644)

    monkeypatch.setattr(os, "utime", interfere)
    after = fs.set_metadata(("a",), fs.observe(("a",)).signature, mtime_ns=-5, executable=True)
    assert after.executable
    assert after == fs.observe(("a",)).signature


def test_a_file_that_changes_while_it_is_read_is_a_problem_of_its_path(fs, root):
    path = root / "a"
    path.write_bytes(b"x" * (300 * 1024))
    blocks = fs.open_blocks(("a",))
    next(blocks)
    path.write_bytes(b"short now")
    with pytest.raises(PathProblem, match="changed"):
        list(blocks)


@pytest.mark.parametrize("where", ["beside", "on-another-disk"])
def test_what_is_discarded_leaves_the_root_where_a_rename_can(tmp_path, root, where):
    prepare_root(root, root_id="r", device_id="d")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other_disk:
        outside = (tmp_path if where == "beside" else pathlib.Path(other_disk)) / "stash" / "r"
        fs = LocalFileSystem(root, root_id="r", stash=outside)
        (root / "a").write_bytes(b"old")
        fs.discard(fs.take(("a",), "gone"), ("a",))
        stash = outside if where == "beside" else root / ".drive" / "stash"
        (kept,) = stash.glob("*/a")
        assert kept.read_bytes() == b"old"
        assert len([*outside.glob("*"), *(root / ".drive" / "stash").glob("*")]) == 1
        fs.sweep_stash(time.time_ns())
        assert not kept.exists()


def test_the_marks_of_two_devices_are_the_same_file(tmp_path, root, monkeypatch):
    """So `diff -r` of their folders finds nothing."""
    other = tmp_path / "other"
    prepare_root(root, root_id="r", device_id="d")
    prepare_root(other, root_id="s", device_id="e")
    assert (root / ".drive/root.json").read_bytes() == (other / ".drive/root.json").read_bytes()
    with pytest.raises(RootMissing):
        LocalFileSystem(root, root_id="s").check_root()

    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", root, copy], check=True)
    with pytest.raises(RootMissing):
        LocalFileSystem(copy, root_id="r").check_root()

    def refuse(*args):
        raise OSError(errno.ENOTSUP, "as on a disk without attributes")

    monkeypatch.setattr(os, "setxattr", refuse)
    prepare_root(other, root_id="t", device_id="e")
    LocalFileSystem(other, root_id="t").check_root()


def test_blocks_are_the_content(fs, root):
    content = os.urandom(3 << 20)
    (root / "a").write_bytes(content)
    assert b"".join(block for block, _ in fs.open_blocks(("a",))) == content
    (root / "empty").touch()
    assert list(fs.open_blocks(("empty",))) == []


def test_a_missing_or_foreign_marker_is_never_an_empty_folder(fs, root, tmp_path):
    fs.check_root()
    (root / ".drive" / "staging").rmdir()
    fs.check_root()
    assert (root / ".drive" / "staging").is_dir()
    with pytest.raises(RootMissing):
        LocalFileSystem(root, root_id="another").check_root()
    (root / ".drive" / "root.json").write_text("{")
    with pytest.raises(RootMissing):
        fs.check_root()
    with pytest.raises(RootMissing):
        LocalFileSystem(tmp_path / "nowhere", root_id="r").check_root()


@pytest.mark.parametrize("many", [3, 40])
def test_durability_is_asked_for_one_by_one_or_at_once(fs, root, many):
    names = [f"s{number}" for number in range(many)]
    for name in names:
        stage(fs, name, b"x")
        (root / name).mkdir()
    fs.sync_staged(names)
    fs.sync([(name,) for name in [*names, "gone"]])
    for name in names:
        fs.drop_staged(name)
    assert fs.staged() == {}


def after_link(monkeypatch: pytest.MonkeyPatch, step: Callable[[], None]) -> None:
    """Something happens in the moment after the first second name that is given."""
    link, is_done = os.link, []

    def linked(*names: Any, **options: Any) -> None:
        link(*names, **options)
        if not is_done:
            is_done.append(True)
            step()

    monkeypatch.setattr(os, "link", linked)


@pytest.fixture
def old_fs(tmp_path: pathlib.Path) -> LocalFileSystem:
    """A disk without renameat2."""
    prepare_root(tmp_path / "root", root_id="r", device_id="d")
    return LocalFileSystem(tmp_path / "root", root_id="r", exchange_works=False)


def test_a_save_while_the_file_is_moved_by_steps_is_kept(old_fs, root, monkeypatch):
    (root / "a").write_bytes(b"first")
    (root / "half").write_bytes(b"saved")
    after_link(monkeypatch, lambda: (root / "half").replace(root / "a"))
    old_fs.move(("a",), ("b",))
    assert (root / "b").read_bytes() == b"first"
    assert (root / "a").read_bytes() == b"saved"
    assert old_fs.staged() == {}


def test_a_file_that_is_deleted_while_it_is_moved_by_steps_has_moved(old_fs, root, monkeypatch):
    (root / "a").write_bytes(b"first")
    after_link(monkeypatch, (root / "a").unlink)
    old_fs.move(("a",), ("b",))
    assert {each.name for each in old_fs.listdir(())} == {"b"}


def test_nothing_is_moved_by_steps_onto_anything(old_fs, root):
    for name in ("a", "b"):
        (root / name).write_bytes(name.encode())
    with pytest.raises(FileExistsError):
        old_fs.move(("a",), ("b",))
    stage(old_fs, "taken", b"an earlier one")
    with pytest.raises(FileExistsError):
        old_fs.take(("a",), "taken")
    assert {path.name: path.read_bytes() for path in root.glob("?")} == {"a": b"a", "b": b"b"}


def test_an_exchange_by_steps_that_ends_halfway_leaves_the_file_in_hand(old_fs, root, monkeypatch):
    (root / "a").write_bytes(b"there")
    stage(old_fs, "s", b"download")

    def full(*names: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="space"):
        old_fs.exchange("s", ("a",))
    assert set(old_fs.staged()) == {"s", displaced_name("s")}


def test_a_hostile_writer_loses_nothing(tmp_path, root):
    """Saves go on while downloads arrive: each content is at the path or in our hands."""
    prepare_root(root, root_id="r", device_id="d")
    fs = LocalFileSystem(root, root_id="r")
    (root / "a").write_bytes(b"begin")
    written: list[bytes] = []
    stop = threading.Event()

    def save() -> None:
        number = 0
        while not stop.is_set():
            content = b"user %d" % number
            (root / "half").write_bytes(content)
            (root / "half").replace(root / "a")
            written.append(content)
            number += 1

    writer = threading.Thread(target=save)
    writer.start()
    in_hand: list[bytes] = []
    try:
        for number in range(300):
            stage(fs, f"s{number}", b"download %d" % number)
            displaced = fs.exchange(f"s{number}", ("a",))
            in_hand.append((root / ".drive" / "staging" / displaced.name).read_bytes())
            fs.discard(displaced, ("a",))
    finally:
        stop.set()
        writer.join()
    # Whatever a download displaced is what stood there; whatever a save replaced was a
    # download or another save, and the writer's own rename chose to replace it.
    assert all(content == b"begin" or content in written or content[:8] == b"download"
               for content in in_hand)  # fmt: skip
    users = [content for content in in_hand if content.startswith(b"user")]
    assert len(users) == len(set(users)), "one content was displaced twice"
    assert users, "the writer never got between"

"""The process dies between any two steps on the disk; the next start loses nothing."""

import contextlib
import errno
import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from sync_client.ports import Displaced
from tests.fakes.server import FakeServer
from tests.sync_client.devices import Device, settle


class Crash(BaseException):
    """Nothing catches it, like a kill."""


# The steps between which a program can die while it puts downloads in place or deletes.
STEPS = [
    "place_new", "exchange", "take", "discard", "sync_staged", "sync", "move", "make_folder",
    "remove_folder", "set_metadata", "restore_displaced",
]  # fmt: skip


def dying(device: Device, left: int, *, after: bool) -> None:
    """Let the device die before or after its step number `left`."""
    counter = itertools.count()

    def wrap(method):
        def step(*args, **kwargs):
            number = next(counter)
            if number == left and not after:
                raise Crash
            answer = method(*args, **kwargs)
            if number == left and after:
                raise Crash
            return answer

        return step

    for name in STEPS:
        setattr(device.fs, name, wrap(getattr(device.fs, name)))


def dies_and_comes_back(laptop: Device, left: int, *, after: bool) -> bool:
    """A round with a crash in it, as `dying` says, and the next start; whether it came to that."""
    dying(laptop, left, after=after)
    try:
        laptop.sync()
    except Crash:
        died = True
    else:
        died = False
    laptop.stop()
    laptop.start()
    settle(laptop)
    return died


@pytest.mark.parametrize("exchange_works", [True, False], ids=["exchange", "without"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("left", range(14))
def test_a_crash_at_any_step_loses_nothing(
    tmp_path: pathlib.Path, left: int, after: bool, exchange_works: bool
):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server, exchange_works=exchange_works)
    server.put("changed", content=b"first")
    server.put("deleted", content=b"deleted")
    server.put("folder", "moved", content=b"moved")
    server.put("old", "x", content=b"x")
    settle(laptop)

    server.put("changed", content=b"second")
    server.put("new", "file", content=b"new")
    gone, moved, old = server.find("deleted"), server.find("folder"), server.find("old")
    assert gone is not None
    assert moved is not None
    assert old is not None
    server.delete(gone)
    server.delete(old)
    server.move(moved, name="renamed")
    died = dies_and_comes_back(laptop, left, after=after)

    assert laptop.tree() == server.tree()
    assert server.tree() == {
        ("changed",): b"second",
        ("new",): None,
        ("new", "file"): b"new",
        ("renamed",): None,
        ("renamed", "moved"): b"moved",
    }
    assert list((laptop.root / ".drive" / "staging").iterdir()) == []
    assert died or left > 8, "the sequence has fewer steps than this test thinks"
    laptop.stop()


@pytest.mark.parametrize("exchange_works", [True, False], ids=["exchange", "without"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("left", range(6))
def test_a_crash_while_two_edits_get_their_places_loses_neither(
    tmp_path: pathlib.Path, left: int, after: bool, exchange_works: bool
):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server, exchange_works=exchange_works)
    server.put("a", content=b"base")
    settle(laptop)
    (laptop.root / "a").write_bytes(b"from here")
    server.put("a", content=b"from there")
    died = dies_and_comes_back(laptop, left, after=after)

    assert laptop.tree() == server.tree()
    assert laptop.tree()["a",] == b"from there"
    assert sorted(laptop.tree().values(), key=str) == [b"from here", b"from there"]
    assert list((laptop.root / ".drive" / "staging").iterdir()) == []
    assert died or left > 3, "the sequence has fewer steps than this test thinks"
    laptop.stop()


@pytest.mark.parametrize("is_update", [False, True], ids=["new", "update"])
def test_a_download_whose_staged_file_is_gone_was_not_placed(
    tmp_path: pathlib.Path, is_update: bool
):
    """Staging was emptied, or the disk lost it: that says nothing about the path."""
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server)
    if is_update:
        server.put("report", content=b"first")
        settle(laptop)
    server.put("report", content=b"second")

    def dies(*_):
        raise Crash

    laptop.fs.place_new = laptop.fs.exchange = dies  # type: ignore[method-assign]
    with pytest.raises(Crash):
        laptop.sync()
    laptop.stop()
    for lost in (laptop.root / ".drive" / "staging").iterdir():
        lost.unlink()
    laptop.start()
    settle(laptop)

    assert laptop.tree() == server.tree() == {("report",): b"second"}
    laptop.stop()


@pytest.mark.parametrize("is_update", [False, True], ids=["new", "update"])
def test_a_placed_download_that_was_saved_over_before_the_next_start_is_an_edit(
    tmp_path: pathlib.Path, is_update: bool
):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server)
    if is_update:
        server.put("report", content=b"first")
        settle(laptop)
    server.put("report", content=b"second")

    def dies(*_):
        raise Crash

    laptop.fs.sync = dies  # type: ignore[method-assign]
    with pytest.raises(Crash):
        laptop.sync()
    laptop.stop()
    draft = laptop.root / "draft"
    draft.write_bytes(b"edited")
    draft.rename(laptop.root / "report")
    laptop.start()
    settle(laptop)

    assert laptop.tree() == server.tree()
    assert b"edited" in server.tree().values()
    assert b"second" in server.contents.values()
    laptop.stop()


def test_without_exchange_a_file_that_was_set_aside_returns(tmp_path: pathlib.Path):
    """Where nothing can be exchanged, a crash may leave no file at the path at all."""
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server)
    server.put("report", content=b"first")
    settle(laptop)
    server.put("report", content=b"second")

    def half(staged, path):
        (laptop.root / "report").write_bytes(b"edited just before")
        (laptop.root / "report").rename(laptop.root / ".drive" / "staging" / f"{staged}.displaced")
        raise Crash

    laptop.fs.exchange = half  # type: ignore[method-assign]
    with pytest.raises(Crash):
        laptop.sync()
    laptop.stop()
    laptop.start()
    settle(laptop)

    assert laptop.tree() == server.tree()
    assert b"edited just before" in laptop.tree().values()
    laptop.stop()


@pytest.mark.parametrize("exchange_works", [True, False], ids=["exchange", "without"])
def test_an_edit_in_the_moment_of_a_download_is_kept(tmp_path: pathlib.Path, exchange_works: bool):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server, exchange_works=exchange_works)
    server.put("a", content=b"first")
    settle(laptop)
    server.put("a", content=b"second")
    exchange = laptop.fs.exchange

    def edited_just_before(staged, path):
        (laptop.root / "a").write_bytes(b"edited")
        return exchange(staged, path)

    laptop.fs.exchange = edited_just_before  # type: ignore[method-assign]
    laptop.sync()
    laptop.fs.exchange = exchange  # type: ignore[method-assign]
    settle(laptop)

    assert laptop.tree() == server.tree()
    assert laptop.tree()[("a",)] == b"second"
    assert sorted(laptop.tree().values(), key=str) == [b"edited", b"second"]
    laptop.stop()


@pytest.mark.parametrize("fails", ["full", "taken"])
def test_an_exchange_by_steps_that_ends_halfway_loses_neither_an_edit_nor_the_path(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, fails: str
):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server, exchange_works=False)
    server.put("a", content=b"first")
    settle(laptop)
    server.put("a", content=b"second")
    exchange, link, tried = laptop.fs.exchange, os.link, itertools.count()
    edits: list[int] = []

    def edited_just_before(staged: str, path: tuple[str, ...]) -> Displaced:
        if fails == "taken" and not edits:
            edits.append((laptop.root / "a").write_bytes(b"edited"))
        return exchange(staged, path)

    def fails_once(*names: Any, **options: Any) -> None:
        if not next(tried):
            if fails == "full":
                raise OSError(errno.ENOSPC, "full")
            (laptop.root / "a").write_bytes(b"saved in the gap")
        link(*names, **options)

    laptop.fs.exchange = edited_just_before  # type: ignore[method-assign]
    monkeypatch.setattr(os, "link", fails_once)
    laptop.sync()
    monkeypatch.undo()
    laptop.fs.exchange = exchange  # type: ignore[method-assign]
    assert "a" in {path[-1] for path in laptop.tree()}
    if fails == "full":
        laptop.clock.ahead_ns += 3_600_000_000_000
    settle(laptop)

    assert laptop.tree() == server.tree()
    kept = sorted(laptop.tree().values(), key=str)
    assert kept == ([b"second"] if fails == "full" else [b"edited", b"saved in the gap", b"second"])
    assert laptop.fs.staged() == {}
    laptop.stop()


@pytest.mark.parametrize("exchange_works", [True, False], ids=["exchange", "without"])
def test_an_edit_in_the_moment_of_a_deletion_is_kept(tmp_path: pathlib.Path, exchange_works: bool):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server, exchange_works=exchange_works)
    server.put("a", content=b"first")
    settle(laptop)
    gone = server.find("a")
    assert gone is not None
    server.delete(gone)
    take = laptop.fs.take

    def edited_just_before(path, name):
        (laptop.root / "a").write_bytes(b"edited")
        return take(path, name)

    laptop.fs.take = edited_just_before  # type: ignore[method-assign]
    laptop.sync()
    laptop.fs.take = take  # type: ignore[method-assign]
    settle(laptop)

    assert laptop.tree() == server.tree() == {("a",): b"edited"}
    laptop.stop()


def edited_unseen(path: pathlib.Path) -> None:
    """An edit that keeps size and modification time: only the content tells."""
    before = path.stat()
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextlib.contextmanager
def edited_just_before(laptop: Device, step: str) -> Iterator[None]:
    """The file `a` is edited unseen in the moment before each such step of the file system."""
    whole = getattr(laptop.fs, step)

    def edited(*arguments: Any) -> Any:
        edited_unseen(laptop.root / "a")
        return whole(*arguments)

    setattr(laptop.fs, step, edited)
    yield
    setattr(laptop.fs, step, whole)


def test_an_edit_in_the_moment_of_a_download_is_kept_though_size_and_time_are_the_same(
    tmp_path: pathlib.Path,
):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server)
    server.put("a", content=b"first")
    settle(laptop)
    server.put("a", content=b"second")
    with edited_just_before(laptop, "exchange"):
        laptop.sync()
    settle(laptop)

    assert laptop.tree() == server.tree()
    assert sorted(laptop.tree().values(), key=str) == [b"FIRST", b"second"]
    laptop.stop()


def test_an_edit_in_the_moment_of_a_deletion_is_kept_though_size_and_time_are_the_same(
    tmp_path: pathlib.Path,
):
    server = FakeServer()
    laptop = Device("laptop", tmp_path, server)
    server.put("a", content=b"first")
    settle(laptop)
    gone = server.find("a")
    assert gone is not None
    server.delete(gone)
    with edited_just_before(laptop, "take"):
        laptop.sync()
    settle(laptop)

    assert laptop.tree() == server.tree() == {("a",): b"FIRST"}
    laptop.stop()


def test_staging_without_its_books_goes_to_the_stash(tmp_path: pathlib.Path):
    """What lies there may be what a download had displaced a moment before."""
    laptop = Device("laptop", tmp_path, FakeServer())
    (laptop.root / ".drive" / "staging" / "x.part").write_bytes(b"perhaps a user's")
    laptop.lose_state()
    laptop.sync()
    (kept,) = (laptop.root / ".drive" / "stash").glob("*/x.part")
    assert kept.read_bytes() == b"perhaps a user's"
    laptop.stop()

"""The watcher is a hint: it names folders, or says that everything must be looked at."""

import ctypes
import pathlib
import threading

import pytest

from sync_client import watcher as watcher_module
from sync_client.watcher import Hints, Watcher


@pytest.fixture
def watched(tmp_path: pathlib.Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".drive").mkdir()
    noted = threading.Event()
    watcher = Watcher(tmp_path, on_change=noted.set)
    watcher.start()
    watcher.take()

    def seen(*, until: tuple[str, ...] | None) -> Hints:
        """What is noted, once the folder `until` is among it (None: everything)."""
        total = Hints()
        for _ in range(100):
            assert noted.wait(5), f"nothing more after {total}"
            noted.clear()
            hints = watcher.take()
            total.add(hints)
            if (until in total.folders) if until is not None else total.everything:
                return total
        raise AssertionError(total)

    yield tmp_path, seen, watcher
    watcher.stop()


def test_it_begins_with_everything(tmp_path: pathlib.Path):
    watcher = Watcher(tmp_path, on_change=lambda: None)
    assert watcher.take().everything
    assert not watcher.take()
    watcher.stop()


def test_a_write_names_its_folder(watched):
    root, seen, _ = watched
    (root / "a" / "b" / "file").write_text("x")
    assert not seen(until=("a", "b")).everything


def test_a_file_counts_as_closed_until_somebody_writes_to_it_again(watched, tmp_path_factory):
    root, seen, _ = watched
    with (root / "file").open("w") as file:
        file.write("x")
        file.flush()
        # Another folder's change comes after it in the kernel's queue.
        (root / "a" / "one").mkdir()
        hints = seen(until=("a",))
        assert (hints.written, hints.closed) == ({("file",)}, set())
        with (root / "file").open("a") as other:
            other.write("y")
        (root / "a" / "two").mkdir()
        hints.add(seen(until=("a",)))
        assert (hints.written, hints.closed) == (set(), {("file",)})
        file.write("z")
        file.flush()
        (root / "a" / "three").mkdir()
        hints.add(seen(until=("a",)))
        assert (hints.written, hints.closed) == ({("file",)}, set())
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    elsewhere.write_text("x")
    elsewhere.rename(root / "moved in")
    (root / "a" / "four").mkdir()
    assert ("moved in",) in seen(until=("a",)).closed


def test_a_new_folder_is_watched_with_all_that_it_came_with(watched, tmp_path_factory):
    root, seen, _ = watched
    source = tmp_path_factory.mktemp("source") / "tree"
    (source / "deep").mkdir(parents=True)
    source.rename(root / "tree")
    seen(until=("tree", "deep"))
    (root / "tree" / "deep" / "file").write_text("x")
    seen(until=("tree", "deep"))


def test_a_moved_folder_is_known_by_its_new_place(watched):
    root, seen, _ = watched
    (root / "a" / "b").rename(root / "c")
    seen(until=("c",))
    (root / "c" / "file").write_text("x")
    hints = seen(until=("c",))
    assert ("a", "b") not in hints.folders


def test_the_clients_own_folder_is_not_watched(watched):
    root, seen, _ = watched
    (root / ".drive" / "x").write_text("x")
    (root / "a" / "y").write_text("y")
    hints = seen(until=("a",))
    assert not any(path[:1] == (".drive",) for path in hints.folders)


def test_an_overflow_means_everything(watched):
    _, _, watcher = watched
    overflow = watcher_module._EVENT.pack(-1, watcher_module.IN_Q_OVERFLOW, 0, 0)
    assert watcher._note_all(overflow)
    assert watcher.take().everything


def test_too_few_watches_mean_everything(tmp_path: pathlib.Path, monkeypatch):
    (tmp_path / "a").mkdir()

    class NoSpace:
        def __getattr__(self, name):
            return getattr(ctypes.CDLL(None, use_errno=True), name)

        def inotify_add_watch(self, *_):
            ctypes.set_errno(28)
            return -1

    monkeypatch.setattr(watcher_module, "_libc", NoSpace())
    watcher = Watcher(tmp_path, on_change=lambda: None)
    watcher.start()
    assert watcher.take().everything
    assert not watcher.is_complete
    watcher.stop()


def test_a_root_that_is_not_there_is_not_watched_and_says_so(tmp_path: pathlib.Path):
    watcher = Watcher(tmp_path / "unplugged", on_change=lambda: None)
    watcher.start()
    assert not watcher.is_complete
    assert watcher.take().everything
    watcher.stop()


def test_what_is_ignored_costs_no_watch(tmp_path: pathlib.Path):
    (tmp_path / "build" / "deep").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    noted = threading.Event()
    watcher = Watcher(tmp_path, on_change=noted.set, ignores=lambda path: path[-1] == "build")
    watcher.start()
    try:
        assert watcher.take().folders == {(), ("a",)}
        (tmp_path / "a" / "build" / "deep").mkdir(parents=True)
        found: set[tuple[str, ...]] = set()
        while ("a",) not in found:
            assert noted.wait(5)
            noted.clear()
            found |= watcher.take().folders
        (tmp_path / "a" / "build" / "deep" / "file").write_text("x")
        (tmp_path / "a" / "seen").write_text("x")
        assert noted.wait(5)
        assert not any("build" in path for path in found | watcher.take().folders)
    finally:
        watcher.stop()

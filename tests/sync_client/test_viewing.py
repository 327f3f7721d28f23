"""What a device leaves out, by rules or by choice: nothing is lost by that, on either side."""

import pathlib

import pytest

from sync_client.ports import Observation
from sync_client.selection import Wishes
from tests.fakes.server import FakeServer
from tests.sync_client.devices import Device, settle


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def laptop(tmp_path: pathlib.Path, server: FakeServer):
    device = Device("laptop", tmp_path, server)
    yield device
    device.stop()


@pytest.fixture
def phone(tmp_path: pathlib.Path, server: FakeServer):
    device = Device("phone", tmp_path, server)
    yield device
    device.stop()


def codes(device: Device) -> dict[str, str]:
    return {each.path: each.code for each in device.engine.status().problems}


def write(device: Device, path: str, content: str = "content") -> pathlib.Path:
    target = device.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)
    return target


def names(tree: dict[tuple[str, ...], bytes | None]) -> set[str]:
    return {"/".join(path) for path in tree}


def stashed(device: Device) -> list[str]:
    found = (device.root / ".drive" / "stash").rglob("*")
    return sorted(path.name for path in found if path.is_file() and path.name != ".origin")


# Rules


def test_what_is_ignored_is_not_uploaded_and_the_rules_are(
    laptop: Device, phone: Device, server: FakeServer
):
    write(laptop, ".driveignore", "*.o\nbuild/\n")
    write(laptop, "main.c")
    write(laptop, "main.o")
    write(laptop, "sub/build/out")
    settle(laptop, phone)

    assert names(server.tree()) == {".driveignore", "main.c", "sub"}
    assert phone.tree() == server.tree()
    assert laptop.sync().is_settled
    assert codes(laptop) == {}


def test_the_first_look_does_not_go_into_what_is_ignored(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    write(laptop, ".driveignore", "/build/\n")
    write(laptop, "build/deep/out")
    write(laptop, "sub/.driveignore", "node_modules/\n")
    write(laptop, "sub/node_modules/package/file")
    write(laptop, "sub/main.js")
    write(laptop, "cache/x")
    laptop.wishes = Wishes(ignore=("cache/",))
    listdir, listed = laptop.fs.listdir, set()

    def noted(path: tuple[str, ...]) -> list[Observation]:
        listed.add("/".join(path))
        return listdir(path)

    monkeypatch.setattr(laptop.fs, "listdir", noted)
    settle(laptop)

    assert listed == {"", "sub"}
    assert names(server.tree()) == {".driveignore", "sub", "sub/.driveignore", "sub/main.js"}
    assert laptop.sync().is_settled


def test_rules_that_change_during_the_first_look_count_as_they_are_then(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    write(laptop, ".driveignore", "*.o\nsub/\n")
    for path in ("main.o", "main.c", "sub/main.c"):
        write(laptop, path)
    read_at = laptop.fs.read_at

    def replaced(path: tuple[str, ...], offset: int, length: int) -> bytes:
        content = read_at(path, offset, length)
        monkeypatch.undo()
        write(laptop, ".driveignore", "*.c\n")
        return content

    monkeypatch.setattr(laptop.fs, "read_at", replaced)
    settle(laptop)
    assert names(server.tree()) == {".driveignore", "main.o", "sub"}

    (laptop.root / ".driveignore").unlink()
    settle(laptop)
    assert names(server.tree()) == {"main.o", "main.c", "sub", "sub/main.c"}


def test_rules_that_are_gone_after_the_first_look_ignore_nothing(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    rules = write(laptop, ".driveignore", "*.c\n")
    write(laptop, "main.c")
    read_at = laptop.fs.read_at

    def removed(path: tuple[str, ...], offset: int, length: int) -> bytes:
        content = read_at(path, offset, length)
        monkeypatch.undo()
        rules.unlink()
        return content

    monkeypatch.setattr(laptop.fs, "read_at", removed)
    settle(laptop)
    assert names(server.tree()) == {"main.c"}


def test_what_is_ignored_is_not_downloaded_not_even_before_the_rules_are_here(
    laptop: Device, server: FakeServer
):
    server.put("sub", ".driveignore", content=b"/build/\n*.o\n")
    server.put("sub", "build", "out", content=b"out")
    server.put("sub", "main.o", content=b"o")
    server.put("sub", "deep", "main.o", content=b"o")
    server.put("sub", "main.c", content=b"c")
    server.put("main.o", content=b"not ignored")
    settle(laptop)

    assert names(laptop.tree()) == {
        "sub", "sub/.driveignore", "sub/main.c", "sub/deep", "main.o"
    }  # fmt: skip
    assert laptop.transfers.fetched_files == 3
    assert laptop.sync().is_settled


def test_what_becomes_ignored_stays_on_both_sides_and_is_not_followed(
    laptop: Device, phone: Device, server: FakeServer
):
    write(laptop, "notes/a.txt", "first")
    write(laptop, "notes/b.txt", "first")
    write(laptop, "c.txt", "first")
    settle(laptop, phone)

    write(laptop, ".driveignore", "notes/\n")
    settle(laptop, phone)
    assert names(laptop.tree()) == names(server.tree())
    assert names(phone.tree()) == names(server.tree())

    write(laptop, "notes/a.txt", "only here")
    (laptop.root / "notes" / "b.txt").unlink()
    write(laptop, "notes/new.txt", "only here")
    server.put("notes", "c.txt", content=b"only there")
    settle(laptop, phone)
    assert server.tree()["notes", "a.txt"] == b"first"
    assert ("notes", "b.txt") in server.tree()
    assert ("notes", "new.txt") not in server.tree()
    assert not (laptop.root / "notes" / "c.txt").exists()
    assert not (phone.root / "notes" / "c.txt").exists()


def test_what_is_ignored_no_longer_is_merged_and_nothing_is_lost(
    laptop: Device, server: FakeServer
):
    write(laptop, "notes/same", "same")
    write(laptop, "notes/edited", "first")
    write(laptop, "notes/removed", "removed")
    settle(laptop)
    laptop.wishes = Wishes(ignore=("notes/",))
    settle(laptop)
    write(laptop, "notes/edited", "from here")
    (laptop.root / "notes" / "removed").unlink()
    server.put("notes", "edited", content=b"from there")
    settle(laptop)
    sent = laptop.transfers.sent_bytes

    laptop.wishes = Wishes()
    settle(laptop)

    assert laptop.tree() == server.tree()
    contents = set(server.tree().values())
    assert {b"same", b"from here", b"from there", b"removed"} <= contents
    assert laptop.transfers.sent_bytes == sent + len("from here")


def test_rules_of_one_device_leave_the_other_alone(
    laptop: Device, phone: Device, server: FakeServer
):
    laptop.wishes = Wishes(ignore=("*.raw",))
    write(phone, "photo.raw")
    write(phone, "photo.jpg")
    settle(phone, laptop)

    assert names(server.tree()) == {"photo.raw", "photo.jpg"}
    assert names(laptop.tree()) == {"photo.jpg"}
    write(laptop, "own.raw")
    settle(laptop, phone)
    assert ("own.raw",) not in server.tree()


def test_a_deleted_folder_stays_for_what_is_ignored_in_it(
    laptop: Device, phone: Device, server: FakeServer
):
    write(laptop, ".driveignore", "node_modules/\n")
    write(laptop, "project/main.js")
    write(laptop, "project/node_modules/lib.js")
    settle(laptop, phone)

    (phone.root / "project" / "main.js").unlink()
    (phone.root / "project").rmdir()
    settle(phone, laptop)

    assert names(server.tree()) == {".driveignore"}
    assert (laptop.root / "project" / "node_modules" / "lib.js").exists()
    assert codes(laptop) == {"project": "folder-kept"}


def test_a_folder_deleted_here_stays_on_the_server_for_what_is_ignored_here(
    laptop: Device, server: FakeServer
):
    laptop.wishes = Wishes(ignore=("big/",))
    server.put("project", "big", "unseen", content=b"never seen here")
    server.put("project", "small", content=b"small")
    settle(laptop)

    (laptop.root / "project" / "small").unlink()
    (laptop.root / "project").rmdir()
    settle(laptop)

    assert server.tree()["project", "big", "unseen"] == b"never seen here"
    assert ("project", "small") not in server.tree()


def test_a_folder_above_moves_with_what_is_ignored_in_it(
    laptop: Device, phone: Device, server: FakeServer
):
    laptop.wishes = Wishes(ignore=("/new/build/",))
    write(laptop, "old/build/out", "out")
    write(laptop, "old/main", "main")
    settle(laptop, phone)

    (laptop.root / "old").rename(laptop.root / "new")
    settle(laptop, phone)

    # It became ignored by the move of the folder above: left as it is on both sides.
    assert laptop.tree()["new", "build", "out"] == b"out"
    assert server.tree()["new", "build", "out"] == b"out"
    assert phone.tree()["new", "build", "out"] == b"out"
    assert stashed(laptop) == []
    assert codes(laptop) == {}

    (phone.root / "new").rename(phone.root / "old")
    settle(phone, laptop)
    assert laptop.tree() == phone.tree() == server.tree()


def test_what_moves_to_where_it_is_ignored_leaves_recoverably(
    laptop: Device, phone: Device, server: FakeServer
):
    laptop.wishes = Wishes(ignore=("attic/",))
    write(laptop, "a", "moved here")
    write(laptop, "b", "moved there")
    (phone.root / "attic").mkdir()
    settle(laptop, phone)

    (laptop.root / "attic").mkdir()
    (laptop.root / "a").rename(laptop.root / "attic" / "a")
    (phone.root / "b").rename(phone.root / "attic" / "b")
    settle(laptop, phone)

    assert names(server.tree()) == {"attic", "attic/b"}
    assert names(laptop.tree()) == {"attic", "attic/a"}
    assert stashed(laptop) == ["b"]


def test_rules_that_cannot_be_read_count_as_they_were(laptop: Device, server: FakeServer):
    rules = write(laptop, ".driveignore", "*.o\n")
    write(laptop, "a.o")
    settle(laptop)

    rules.write_bytes(b"x" * 300 * 1024)
    write(laptop, "b.o")
    settle(laptop)
    assert names(server.tree()) == {".driveignore"}

    rules.write_text("nothing\n")
    settle(laptop)
    assert names(server.tree()) == {".driveignore", "a.o", "b.o"}


def test_rules_hold_across_a_restart_and_those_of_a_hidden_folder_once_it_is_followed(
    laptop: Device, server: FakeServer
):
    laptop.wishes = Wishes(ignore=("outer/",))
    write(laptop, "outer/.driveignore", "inner\n")
    write(laptop, "outer/inner", "hidden twice")
    write(laptop, "outer/plain", "hidden once")
    settle(laptop)
    assert server.tree() == {}

    laptop.stop()
    laptop.start()
    settle(laptop)
    assert server.tree() == {}

    laptop.wishes = Wishes()
    settle(laptop)
    assert names(server.tree()) == {"outer", "outer/.driveignore", "outer/plain"}


def test_a_name_that_is_ignored_there_and_not_here_is_never_made_one(
    laptop: Device, server: FakeServer
):
    """`build/` means folders: a file of that name here, a folder of it there."""
    laptop.wishes = Wishes(ignore=("build/", "/a"))
    server.put("build", "out", content=b"there")
    server.put("a", content=b"equal")
    write(laptop, "build", "here")
    write(laptop, "A", "equal")
    settle(laptop)

    assert server.tree()["build", "out"] == b"there"
    assert server.tree()["a",] == b"equal"
    assert b"here" in server.tree().values()
    assert set(laptop.tree().values()) == {b"equal", b"here"}


# Selective sync


def chosen(server: FakeServer, *path: str) -> Wishes:
    return Wishes(deselected=frozenset({server.folder(*path)["folder_id"]}))


def test_a_deselected_folder_leaves_this_device_only(
    laptop: Device, phone: Device, server: FakeServer
):
    write(laptop, "big/a", "a")
    write(laptop, "big/deep/b", "b")
    write(laptop, "small", "small")
    settle(laptop, phone)
    before = server.tree()
    changes = server.head_seq

    laptop.wishes = chosen(server, "big")
    settle(laptop, phone)

    assert names(laptop.tree()) == {"small"}
    assert stashed(laptop) == ["a", "b"]
    assert server.tree() == phone.tree() == before
    assert server.head_seq == changes
    assert laptop.sync().is_settled
    assert codes(laptop) == {}

    write(phone, "big/c", "c")
    settle(phone, laptop)
    assert names(laptop.tree()) == {"small"}

    laptop.wishes = Wishes()
    settle(laptop)
    assert laptop.tree() == phone.tree() == server.tree()


def test_a_folder_is_kept_until_the_server_has_everything_in_it(laptop: Device, server: FakeServer):
    write(laptop, "big/a", "a")
    write(laptop, "big/cache/x", "ignored")
    settle(laptop)
    laptop.wishes = Wishes(ignore=("cache/",), deselected=chosen(server, "big").deselected)
    write(laptop, "big/new", "new")
    settle(laptop)

    assert server.tree()["big", "new"] == b"new"
    assert laptop.tree()["big", "a"] == b"a"
    assert codes(laptop) == {"big": "deselected-kept"}
    (problem,) = laptop.engine.status().problems
    assert "big/cache" in problem.message

    (laptop.root / "big" / "cache" / "x").unlink()
    (laptop.root / "big" / "cache").rmdir()
    settle(laptop)
    assert laptop.tree() == {}
    assert server.tree()["big", "a"] == b"a"
    assert codes(laptop) == {}


def test_a_deselected_folder_never_comes_to_a_new_device(laptop: Device, server: FakeServer):
    server.put("big", "a", content=b"a")
    server.put("small", content=b"small")
    laptop.wishes = chosen(server, "big")
    settle(laptop)
    assert names(laptop.tree()) == {"small"}
    assert laptop.transfers.fetched_files == 1

    laptop.lose_state()
    settle(laptop)
    assert names(laptop.tree()) == {"small"}


def test_a_folder_made_under_the_name_of_a_deselected_one_keeps_its_content(
    laptop: Device, server: FakeServer
):
    server.put("big", "a", content=b"there")
    laptop.wishes = chosen(server, "big")
    settle(laptop)

    write(laptop, "big/a", "here")
    settle(laptop)

    (name,) = {path[0] for path in laptop.tree()}
    assert name.startswith("big (conflicted copy")
    assert server.tree()["big", "a"] == b"there"
    assert server.tree()[name, "a"] == b"here"


def test_deselecting_most_of_a_folder_is_no_mass_deletion(laptop: Device, server: FakeServer):
    for number in range(130):
        write(laptop, f"big/{number}")
    for number in range(20):
        write(laptop, f"small/{number}")
    settle(laptop)
    laptop.wishes = chosen(server, "big")
    (laptop.root / "small" / "1").unlink()
    settle(laptop)

    assert laptop.engine.status().held_deletions == 0
    assert len(laptop.tree()) == 20
    assert len(server.tree()) == 151


def test_deselecting_does_not_hide_a_mass_deletion(laptop: Device, server: FakeServer):
    for number in range(130):
        write(laptop, f"big/{number}")
        write(laptop, f"small/{number}")
    settle(laptop)
    laptop.wishes = chosen(server, "big")
    for path in (laptop.root / "small").iterdir():
        path.unlink()
    settle(laptop)

    assert laptop.engine.status().held_deletions == 130
    assert len(server.tree()) == 262


def test_an_edit_while_a_folder_leaves_goes_to_the_server(
    laptop: Device, server: FakeServer, monkeypatch
):
    write(laptop, "big/a", "first")
    write(laptop, "big/b", "first")
    settle(laptop)
    laptop.wishes = chosen(server, "big")
    take = laptop.fs.take

    def edited(path, name):
        monkeypatch.undo()
        write(laptop, "big/b", "edited meanwhile")
        write(laptop, "big/new", "new meanwhile")
        return take(path, name)

    monkeypatch.setattr(laptop.fs, "take", edited)
    settle(laptop)

    contents = set(server.tree().values())
    assert {b"first", b"edited meanwhile", b"new meanwhile"} <= contents
    assert server.tree()["big", "a"] == b"first"


def test_the_parent_of_a_deselected_folder_can_be_deleted_without_it(
    laptop: Device, server: FakeServer
):
    write(laptop, "parent/big/a", "a")
    write(laptop, "parent/b", "b")
    settle(laptop)
    laptop.wishes = chosen(server, "parent", "big")
    settle(laptop)
    (laptop.root / "parent" / "b").unlink()
    (laptop.root / "parent").rmdir()
    settle(laptop)

    assert server.tree()["parent", "big", "a"] == b"a"
    assert ("parent", "b") not in server.tree()

"""One engine, or two, on real folders: each case is what a person would see."""

import errno
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from sync_client.errors import ApiProblem, MustStop, RootMissing, Transient
from sync_client.names import PARKED_PREFIX
from sync_client.pending import status_in
from sync_client.ports import STAGING, Displaced, Path
from tests.fakes.server import FakeApi, FakeServer
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


def writes(server: FakeServer) -> int:
    return server.head_seq


# The plain cases


def test_what_is_new_here_appears_there(laptop: Device, phone: Device, server: FakeServer):
    (laptop.root / "a" / "b").mkdir(parents=True)
    (laptop.root / "a" / "b" / "note.txt").write_bytes(b"hello")
    (laptop.root / "empty").write_bytes(b"")
    (laptop.root / "empty folder").mkdir()

    assert laptop.sync().is_settled
    assert phone.sync().is_settled

    assert phone.tree() == laptop.tree() == server.tree()


def test_what_the_server_has_lost_a_part_of_is_sent_again(
    laptop: Device, phone: Device, server: FakeServer
):
    for name in ("lost", "fine"):
        (laptop.root / name).write_text(name)
    settle(laptop, phone)
    server.damage("lost")
    commits = server.commits

    assert laptop.sync().is_settled
    assert phone.sync().is_settled

    assert server.commits == commits + 1
    assert [item["is_damaged"] for item in server.items.values() if "is_damaged" in item] == [
        False,
        False,
    ]
    assert phone.tree() == laptop.tree() == server.tree()


def test_an_edit_comes_before_healing_what_it_replaces(laptop: Device, server: FakeServer):
    (laptop.root / "lost").write_text("lost")
    laptop.sync()
    server.damage("lost")
    (laptop.root / "lost").write_text("edited")

    assert laptop.sync().is_settled

    assert server.tree() == laptop.tree()


def test_an_edit_a_rename_and_a_deletion_arrive(laptop: Device, phone: Device):
    for name in ("edited", "renamed", "deleted"):
        (laptop.root / name).write_text(name)
    settle(laptop, phone)

    (phone.root / "edited").write_text("edited again")
    (phone.root / "renamed").rename(phone.root / "new name")
    (phone.root / "deleted").unlink()
    settle(phone, laptop)

    assert laptop.tree() == {("edited",): b"edited again", ("new name",): b"renamed"}


def test_a_renamed_folder_costs_one_request_and_no_bytes(
    laptop: Device, phone: Device, server: FakeServer
):
    (laptop.root / "photos" / "2026").mkdir(parents=True)
    for number in range(30):
        (laptop.root / "photos" / "2026" / f"{number}.jpg").write_bytes(b"%d" % number)
    settle(laptop, phone)
    before, sent = writes(server), laptop.transfers.sent_bytes
    fetched = phone.transfers.fetched_files

    (laptop.root / "photos").rename(laptop.root / "pictures")
    settle(laptop, phone)

    assert writes(server) == before + 1
    assert laptop.transfers.sent_bytes == sent
    assert phone.transfers.fetched_files == fetched
    assert phone.tree() == laptop.tree()


def test_only_files_that_may_be_open_for_writing_are_waited_for(laptop: Device, monkeypatch):
    laptop.sync()

    def written(name: str) -> None:
        """A file that was written in this very moment, however slow the machine is."""
        (laptop.root / name).write_text(name)
        moment = (laptop.root / name).stat().st_mtime_ns
        laptop.clock.ahead_ns = 0
        monkeypatch.setattr(laptop.clock, "now_ns", lambda: moment + laptop.clock.ahead_ns)

    written("closed")
    laptop.engine.cycle(dirty={()}, closed={("closed",)})
    assert laptop.server.find("closed")
    assert laptop.clock.ahead_ns == 0
    written("perhaps open")
    laptop.engine.cycle(dirty={()})
    assert laptop.server.find("perhaps open")
    assert laptop.clock.ahead_ns > 0


def test_a_writer_that_nobody_noticed_spoils_no_version(laptop: Device, server: FakeServer):
    laptop.sync()
    file = laptop.root / "a"
    file.write_text("begun")

    def write_on(moment: str) -> None:
        if moment == "before send":
            file.write_text("begun, and written on")
            laptop.fault = lambda _: None

    laptop.fault = write_on
    laptop.engine.cycle(dirty={()}, closed={("a",)})
    assert server.every_content() == set()
    laptop.sync()
    assert server.every_content() == {b"begun, and written on"}


def test_a_file_keeps_its_id_when_a_program_saves_by_renaming(laptop: Device, server: FakeServer):
    (laptop.root / "report").write_text("first")
    laptop.sync()
    before = server.find("report")

    (laptop.root / "report.tmp").write_text("second version")
    (laptop.root / "report.tmp").replace(laptop.root / "report")
    laptop.sync()

    after = server.find("report")
    assert before is not None
    assert after is not None
    assert after["file_id"] == before["file_id"]
    assert len(server.versions[after["file_id"]]) == 2


def test_an_edit_of_the_same_size_that_restores_the_time_is_seen(
    laptop: Device, server: FakeServer
):
    path = laptop.root / "sheet"
    path.write_bytes(b"aaaa")
    laptop.sync()
    status = path.stat()

    path.write_bytes(b"bbbb")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    laptop.sync()

    assert server.tree() == {("sheet",): b"bbbb"}


@pytest.mark.parametrize("is_update", [False, True], ids=["new", "update"])
def test_a_download_is_not_read_again(laptop: Device, server: FakeServer, monkeypatch, is_update):
    names = [f"{number:03}" for number in range(250)]
    if is_update:
        for name in names:
            server.put(name, content=b"first")
        settle(laptop)
    for name in names:
        server.put(name, content=name.encode())

    content_hash = laptop.fs.content_hash

    def reads(path):
        # What a download took the place of is read, once.
        assert path[:2] == STAGING, f"{path} is read"
        return content_hash(path)

    monkeypatch.setattr(laptop.fs, "content_hash", reads)
    settle(laptop)
    assert laptop.tree() == server.tree()


@pytest.mark.parametrize("is_update", [False, True], ids=["new", "update"])
@pytest.mark.parametrize("when", ["before it is checked", "after"])
def test_a_write_to_a_download_that_restores_the_time_is_seen_from_the_first_moment(
    laptop: Device, server: FakeServer, monkeypatch, is_update, when
):
    if is_update:
        server.put("a", content=b"zero")
        settle(laptop)
    server.put("a", content=b"once")
    writers = []

    def write():
        path = laptop.root / "a"
        status = path.stat()
        # Waits until the file is let go.
        path.write_bytes(b"edit")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def written_to(method):
        def step(*arguments):
            answer = method(*arguments)
            writers.append(threading.Thread(target=write))
            writers[-1].start()
            time.sleep(0.05 if when == "before it is checked" else 0)
            return answer

        return step

    monkeypatch.setattr(laptop.fs, "place_new", written_to(laptop.fs.place_new))
    monkeypatch.setattr(laptop.fs, "exchange", written_to(laptop.fs.exchange))
    laptop.engine.cycle(pull=True)
    monkeypatch.undo()
    (writer,) = writers
    writer.join()
    settle(laptop)
    assert server.tree()["a",] == b"edit"
    assert b"once" in server.contents.values()


def test_touching_a_file_sends_no_bytes_but_its_time(laptop: Device, phone: Device):
    (laptop.root / "song").write_bytes(b"la la la")
    settle(laptop, phone)
    sent = laptop.transfers.sent_bytes

    os.utime(laptop.root / "song", ns=(1, 1_234_567_890_123_456_789))
    settle(laptop, phone)

    assert laptop.transfers.sent_bytes == sent
    assert (phone.root / "song").stat().st_mtime_ns == 1_234_567_890_123_456_789


def test_the_executable_bit_travels_both_ways(laptop: Device, phone: Device):
    script = laptop.root / "run"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    settle(laptop, phone)
    assert (phone.root / "run").stat().st_mode & 0o100

    (phone.root / "run").chmod(0o644)
    settle(phone, laptop)
    assert not script.stat().st_mode & 0o111


def test_an_edit_here_and_an_executable_bit_there_both_count(laptop: Device, phone: Device):
    (laptop.root / "run").write_text("one")
    settle(laptop, phone)

    (laptop.root / "run").chmod(0o755)
    laptop.sync()
    (phone.root / "run").write_text("two, edited")
    settle(phone, laptop)

    assert (laptop.root / "run").read_text() == "two, edited"
    assert (laptop.root / "run").stat().st_mode & 0o100
    assert phone.engine.status().conflicts == 0


def test_a_file_that_becomes_a_folder_does_so_everywhere(laptop: Device, phone: Device):
    (laptop.root / "thing").write_text("a file")
    (laptop.root / "other").mkdir()
    (laptop.root / "other" / "inside").write_text("x")
    settle(laptop, phone)

    (laptop.root / "thing").unlink()
    (laptop.root / "thing").mkdir()
    (laptop.root / "thing" / "inside").write_text("now a folder")
    shutil.rmtree(laptop.root / "other")
    (laptop.root / "other").write_text("now a file")
    settle(laptop, phone)

    assert phone.tree() == laptop.tree()
    assert phone.tree()["thing", "inside"] == b"now a folder"


def test_a_change_of_case_is_a_rename(laptop: Device, phone: Device, server: FakeServer):
    (laptop.root / "readme").write_text("x")
    settle(laptop, phone)
    (laptop.root / "readme").rename(laptop.root / "README")
    settle(laptop, phone)
    assert list(phone.tree()) == [("README",)]
    assert server.commits == 1


def test_a_thousand_small_files_go_in_a_few_requests(laptop: Device, server: FakeServer):
    for folder in range(20):
        (laptop.root / str(folder)).mkdir()
        for number in range(50):
            (laptop.root / str(folder) / str(number)).write_bytes(b"%d" % number)
    server.requests.clear()
    laptop.sync()
    assert len(server.requests) < 20


def test_nothing_is_asked_twice_when_nothing_happened(laptop: Device, server: FakeServer):
    (laptop.root / "a").write_text("x")
    laptop.sync()
    head = writes(server)
    for _ in range(3):
        assert laptop.sync().operations == 0
    assert writes(server) == head


# Only a part of the account


def test_a_folder_of_the_server_is_linked_alone(tmp_path: pathlib.Path, server: FakeServer):
    server.put("work", "plan", content=b"plan")
    server.put("private", "diary", content=b"diary")
    office = Device("office", tmp_path, server, folder_id=server.folder("work")["folder_id"])
    office.sync()
    assert office.tree() == {("plan",): b"plan"}

    diary = server.find("private")
    assert diary is not None
    server.move(diary, parent=server.folder("work")["folder_id"])
    office.sync()
    assert office.tree()["private", "diary"] == b"diary"

    server.move(server.folder("work", "private"), parent=server.root_id)
    office.sync()
    assert office.tree() == {("plan",): b"plan"}
    assert server.find("private", "diary") is not None
    office.stop()


def test_an_edit_follows_a_file_that_left_the_linked_folder(
    tmp_path: pathlib.Path, server: FakeServer
):
    plan = server.put("work", "plan", content=b"plan")
    office = Device("office", tmp_path, server, folder_id=server.folder("work")["folder_id"])
    office.sync()
    (office.root / "plan").write_text("better plan")
    server.move(plan, parent=server.root_id)

    office.sync()
    office.sync()

    assert server.tree()[("plan",)] == b"better plan"
    assert office.tree() == {}
    office.stop()


# Conflicts, by the names of the literature


def both(laptop: Device, phone: Device) -> None:
    """Each syncs once with what it changed meanwhile, the laptop first; then both settle."""
    laptop.sync()
    phone.sync()
    settle(laptop, phone)


def in_conflict(server: FakeServer) -> list[tuple[str, str, str]]:
    """What the server lists: the kind, the name of the original and that of the copy."""
    return [
        (
            each["kind"],
            server.items[each["original"]]["name"],
            re.sub(r"\d{4}-\d\d-\d\d", "DAY", server.items[each["copy"]]["name"]),
        )
        for each in server.conflicts.values()
    ]


def test_create_create_with_other_content_keeps_both(laptop: Device, phone: Device):
    (laptop.root / "note.txt").write_text("laptop")
    (phone.root / "note.txt").write_text("phone!")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert laptop.tree()[("note.txt",)] == b"laptop"
    (copy,) = set(laptop.tree()) - {("note.txt",)}
    assert copy[0].startswith("note (conflicted copy, phone, ")
    assert copy[0].endswith(").txt")
    assert laptop.tree()[copy] == b"phone!"
    assert laptop.engine.status().conflicts == 1


def test_create_create_with_equal_content_is_one_file(
    laptop: Device, phone: Device, server: FakeServer
):
    for device in (laptop, phone):
        (device.root / "note.txt").write_text("the same")
    both(laptop, phone)
    assert laptop.tree() == phone.tree() == {("note.txt",): b"the same"}
    assert server.commits == 1


def test_create_create_of_folders_merges_them(laptop: Device, phone: Device):
    for device in (laptop, phone):
        (device.root / "photos").mkdir()
        (device.root / "photos" / device.name).write_text(device.name)
    both(laptop, phone)
    assert set(phone.tree()) == {("photos",), ("photos", "laptop"), ("photos", "phone")}
    assert laptop.tree() == phone.tree()


@pytest.mark.parametrize("first", ["file", "folder"])
def test_create_create_of_a_file_and_a_folder_keeps_both(laptop: Device, phone: Device, first: str):
    one, other = (laptop, phone) if first == "file" else (phone, laptop)
    (one.root / "x").write_text("a file")
    (other.root / "x").mkdir()
    (other.root / "x" / "inside").write_text("inside")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert {b"a file", b"inside"} <= set(laptop.tree().values())
    assert len(laptop.tree()) == 3


def test_edit_edit_keeps_the_first_and_copies_the_second(laptop: Device, phone: Device):
    (laptop.root / "a").write_text("base")
    settle(laptop, phone)
    (laptop.root / "a").write_text("laptop")
    (phone.root / "a").write_text("phone, later")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert laptop.tree()[("a",)] == b"laptop"
    assert sorted(laptop.tree().values(), key=str) == [b"laptop", b"phone, later"]


def test_the_path_of_two_edits_is_never_empty(
    laptop: Device, phone: Device, monkeypatch: pytest.MonkeyPatch
):
    (laptop.root / "a").write_text("base")
    settle(laptop, phone)
    (laptop.root / "a").write_text("from the laptop")
    (phone.root / "a").write_text("from the phone")
    laptop.sync()
    seen: list[str] = []

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            answer = method(*arguments)
            path = phone.root / "a"
            seen.append(path.read_text() if path.exists() else "nothing")
            return answer

        return step

    for name in ("exchange", "place_new", "move", "take", "restore_displaced", "make_folder"):
        monkeypatch.setattr(phone.fs, name, watched(getattr(phone.fs, name)))
    settle(phone)
    monkeypatch.undo()

    assert seen
    assert set(seen) == {"from the laptop"}
    settle(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert sorted(laptop.tree().values(), key=str) == [b"from the laptop", b"from the phone"]
    assert phone.transfers.fetched_files == 2


def test_what_cannot_be_fetched_leaves_the_file_here_at_its_path(
    laptop: Device, phone: Device, server: FakeServer
):
    (laptop.root / "a").write_text("base")
    settle(laptop, phone)
    (laptop.root / "a").write_text("from the laptop")
    (phone.root / "a").write_text("from the phone")
    laptop.sync()
    lost = server.find("a")
    assert lost is not None
    content = server.contents.pop(lost["current_version_id"])
    for _ in range(3):
        phone.sync()
        assert phone.tree() == {("a",): b"from the phone"}
    (phone.root / "a").write_text("and on")
    phone.sync()
    assert phone.tree() == {("a",): b"and on"}

    server.contents[lost["current_version_id"]] = content
    for _ in range(3):
        phone.clock.ahead_ns += 3_600_000_000_000
        settle(phone, laptop)
    assert laptop.tree() == phone.tree() == server.tree()
    assert sorted(laptop.tree().values(), key=str) == [b"and on", b"from the laptop"]


def test_edit_edit_with_equal_content_is_none(laptop: Device, phone: Device):
    (laptop.root / "a").write_text("base")
    settle(laptop, phone)
    for device in (laptop, phone):
        (device.root / "a").write_text("agreed")
    both(laptop, phone)
    assert laptop.tree() == phone.tree() == {("a",): b"agreed"}


def test_edit_delete_keeps_the_edit(laptop: Device, phone: Device):
    for name in ("deleted here", "deleted there"):
        (laptop.root / name).write_text("base")
    settle(laptop, phone)
    (laptop.root / "deleted here").unlink()
    (laptop.root / "deleted there").write_text("edited on the laptop")
    (phone.root / "deleted here").write_text("edited on the phone")
    (phone.root / "deleted there").unlink()
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert set(laptop.tree().values()) == {b"edited on the laptop", b"edited on the phone"}


def test_move_delete_keeps_what_was_moved(laptop: Device, phone: Device):
    (laptop.root / "folder").mkdir()
    (laptop.root / "folder" / "inside").write_text("x")
    (laptop.root / "file").write_text("y")
    settle(laptop, phone)
    shutil.rmtree(laptop.root / "folder")
    (laptop.root / "file").unlink()
    (phone.root / "folder").rename(phone.root / "kept")
    (phone.root / "file").rename(phone.root / "kept file")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert laptop.tree() == {
        ("kept",): None,
        ("kept", "inside"): b"x",
        ("kept file",): b"y",
    }


def test_move_parent_delete_keeps_what_was_moved_in(laptop: Device, phone: Device):
    (laptop.root / "dying").mkdir()
    (laptop.root / "dying" / "old").write_text("old")
    (laptop.root / "file").write_text("y")
    settle(laptop, phone)
    shutil.rmtree(laptop.root / "dying")
    (phone.root / "file").rename(phone.root / "dying" / "file")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert laptop.tree() == {("dying",): None, ("dying", "file"): b"y"}


def test_create_parent_delete_keeps_what_is_new(laptop: Device, phone: Device):
    (laptop.root / "dying" / "deep").mkdir(parents=True)
    (laptop.root / "dying" / "old").write_text("old")
    (laptop.root / "dying" / "deep" / "old too").write_text("old")
    settle(laptop, phone)
    shutil.rmtree(laptop.root / "dying")
    (phone.root / "dying" / "deep" / "new").write_text("new")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert laptop.tree() == {
        ("dying",): None,
        ("dying", "deep"): None,
        ("dying", "deep", "new"): b"new",
    }


def test_what_is_new_in_a_moved_folder_that_the_server_lost_meanwhile_is_in_one_place(
    laptop: Device, server: FakeServer
):
    (laptop.root / "b").mkdir()
    settle(laptop)
    (laptop.root / "c").mkdir()
    (laptop.root / "b").rename(laptop.root / "c" / "a")
    (laptop.root / "c" / "a" / "new").write_text("new")

    def delete(where: str) -> None:
        if where == "before /batch" and (folder := server.find("b")) is not None:
            server.delete(folder)
            laptop.fault = lambda where: None

    laptop.fault = delete
    settle(laptop)
    assert laptop.tree() == server.tree()
    assert [path for path, content in laptop.tree().items() if content == b"new"]


def test_a_deleted_folder_keeps_what_its_deleter_had_not_seen(laptop: Device, phone: Device):
    (laptop.root / "dying").mkdir()
    (laptop.root / "dying" / "old").write_text("old")
    settle(laptop, phone)
    (phone.root / "dying" / "new").write_text("new")
    phone.sync()
    shutil.rmtree(laptop.root / "dying")
    both(laptop, phone)
    assert laptop.tree() == phone.tree() == {("dying",): None, ("dying", "new"): b"new"}


def test_move_create_keeps_both(laptop: Device, phone: Device, server: FakeServer):
    (laptop.root / "a").write_text("moved")
    settle(laptop, phone)
    (laptop.root / "b").write_text("created")
    (phone.root / "a").rename(phone.root / "b")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert laptop.tree()[("b",)] == b"created"
    assert sorted(laptop.tree().values(), key=str) == [b"created", b"moved"]
    assert in_conflict(server) == [("move-create", "b", "b (conflicted copy, phone, DAY)")]


def test_a_copy_whose_original_is_gone_for_ever_is_a_file_like_any_other(
    laptop: Device, phone: Device, server: FakeServer
):
    (laptop.root / "a").write_text("moved")
    settle(laptop, phone)
    (laptop.root / "b").write_text("created")
    laptop.sync()
    (phone.root / "a").rename(phone.root / "b")

    def forget(where: str) -> None:
        if where == "before /batch" and (created := server.find("b")) is not None:
            del server.items[created["file_id"]]

    phone.fault = forget
    phone.sync()
    phone.fault = lambda where: None
    settle(phone)
    assert [path[-1][:19] for path in server.tree()] == ["b (conflicted copy,"]
    assert in_conflict(server) == []


def test_an_edit_in_the_moment_of_a_download_is_in_conflict_with_it(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    base = server.put("a", content=b"first")["current_version_id"]
    settle(laptop)
    server.put("a", content=b"from the web")
    exchange = laptop.fs.exchange

    def edited_before(staged: str, path: Path) -> Displaced:
        (laptop.root / "a").write_bytes(b"from here")
        return exchange(staged, path)

    monkeypatch.setattr(laptop.fs, "exchange", edited_before)
    laptop.sync()
    monkeypatch.undo()
    settle(laptop)

    assert in_conflict(server) == [("edit-edit", "a", "a (conflicted copy, laptop, DAY)")]
    assert [each["base_version_id"] for each in server.conflicts.values()] == [base]
    assert laptop.tree() == server.tree()


def test_move_move_source_follows_the_first(laptop: Device, phone: Device):
    (laptop.root / "a").write_text("x")
    settle(laptop, phone)
    (laptop.root / "a").rename(laptop.root / "laptop")
    (phone.root / "a").rename(phone.root / "phone")
    both(laptop, phone)
    assert laptop.tree() == phone.tree() == {("laptop",): b"x"}


def test_move_move_dest_keeps_both(laptop: Device, phone: Device, server: FakeServer):
    for name in ("one", "two"):
        (laptop.root / name).write_text(name)
    settle(laptop, phone)
    (laptop.root / "one").rename(laptop.root / "target")
    (phone.root / "two").rename(phone.root / "target")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert laptop.tree()[("target",)] == b"one"
    assert sorted(laptop.tree().values(), key=str) == [b"one", b"two"]
    assert in_conflict(server) == [
        ("move-move-dest", "target", "target (conflicted copy, phone, DAY)")
    ]


def test_move_move_cycle_undoes_the_second(laptop: Device, phone: Device):
    for name in ("one", "two"):
        (laptop.root / name).mkdir()
        (laptop.root / name / name).write_text(name)
    settle(laptop, phone)
    (laptop.root / "one").rename(laptop.root / "two" / "one")
    (phone.root / "two").rename(phone.root / "one" / "two")
    both(laptop, phone)
    assert laptop.tree() == phone.tree()
    assert laptop.tree()["two", "one", "one"] == b"one"
    assert laptop.tree()["two", "two"] == b"two"


def test_two_folders_exchange_their_names(laptop: Device, phone: Device, server: FakeServer):
    for name in ("one", "two"):
        (laptop.root / name).mkdir()
        (laptop.root / name / "inside").write_text(name)
    settle(laptop, phone)
    commits = server.commits
    (laptop.root / "one").rename(laptop.root / "three")
    (laptop.root / "two").rename(laptop.root / "one")
    (laptop.root / "three").rename(laptop.root / "two")
    settle(laptop, phone)
    assert phone.tree() == laptop.tree() == server.tree()
    assert phone.tree()["one", "inside"] == b"two"
    assert server.commits == commits


def test_what_was_parked_when_the_record_was_lost_gets_a_name_that_people_see(
    laptop: Device, phone: Device
):
    settle(laptop, phone)
    parked = laptop.root / f"{PARKED_PREFIX}{uuid4()}"
    parked.mkdir()
    (parked / "note").write_text("inside")
    settle(laptop, phone)

    (found,) = (path for path in phone.root.iterdir() if path.name.startswith("found "))
    assert (found / "note").read_text() == "inside"
    assert laptop.tree() == phone.tree()
    assert not parked.exists()


def test_a_hierarchy_is_turned_upside_down(laptop: Device, phone: Device):
    (laptop.root / "a" / "b" / "c").mkdir(parents=True)
    (laptop.root / "a" / "b" / "c" / "leaf").write_text("x")
    settle(laptop, phone)
    (laptop.root / "a" / "b" / "c").rename(laptop.root / "c")
    (laptop.root / "a" / "b").rename(laptop.root / "c" / "b")
    (laptop.root / "a").rename(laptop.root / "c" / "b" / "a")
    settle(laptop, phone)
    assert phone.tree() == laptop.tree()
    assert ("c", "b", "a") in phone.tree()


# Linking, losing state, being restored


def test_linking_a_folder_that_has_files_merges(laptop: Device, server: FakeServer):
    server.put("same", content=b"same")
    server.put("other", content=b"from the server")
    server.put("only there", content=b"there")
    (laptop.root / "same").write_bytes(b"same")
    (laptop.root / "other").write_bytes(b"from the disk")
    (laptop.root / "only here").write_bytes(b"here")
    commits = server.commits

    laptop.sync()
    laptop.sync()

    assert laptop.tree() == server.tree()
    assert sorted(laptop.tree().values(), key=str) == sorted(
        [b"same", b"from the server", b"there", b"from the disk", b"here"], key=str
    )
    assert laptop.tree()[("other",)] == b"from the server"
    assert server.commits == commits + 2


def test_a_lost_state_deletes_nothing(laptop: Device, server: FakeServer):
    for name in ("deleted here", "deleted there", "stays"):
        (laptop.root / name).write_text(name)
    laptop.sync()
    commits = server.commits
    (laptop.root / "deleted here").unlink()
    there = server.find("deleted there")
    assert there is not None
    server.delete(there)

    laptop.lose_state()
    laptop.sync()

    assert set(laptop.tree()) == {("deleted here",), ("deleted there",), ("stays",)}
    assert laptop.tree() == server.tree()
    assert server.commits == commits + 1


def test_a_restored_server_gets_back_what_it_lacks(
    tmp_path: pathlib.Path, laptop: Device, phone: Device, server: FakeServer
):
    (laptop.root / "old").write_text("old")
    (laptop.root / "edited").write_text("first")
    settle(laptop, phone)
    backup = FakeServer()
    backup.restore_backup(server)
    (laptop.root / "edited").write_text("second")
    (laptop.root / "new").write_text("new")
    (laptop.root / "old").unlink()
    settle(laptop, phone)

    server.restore_backup(backup)
    settle(laptop, phone)

    assert laptop.tree() == phone.tree() == server.tree()
    assert laptop.tree() == {("old",): b"old", ("edited",): b"second", ("new",): b"new"}


def test_a_drifted_tree_is_found_by_the_digest(laptop: Device, server: FakeServer):
    server.put("a", content=b"a")
    laptop.sync()
    # A change that the feed never told: the worst that a fault of the server could do.
    server.put("b", content=b"b")
    laptop.trees.set_meta("cursor", f"{server.epoch}:{server.head_seq}")
    laptop.trees.set_meta("head_seq", str(server.head_seq))
    laptop.sync()
    assert ("b",) not in laptop.tree()
    laptop.clock.ahead_ns += 25 * 3600 * 1_000_000_000
    laptop.sync()
    assert ("b",) in laptop.tree()


# What goes wrong


def sync_without_hearing_what_became_of_it(laptop: Device) -> None:
    """A round that sends a file, the answer to which is lost."""

    def lose(where: str) -> None:
        if where == "after send":
            raise Transient("the answer is lost")

    laptop.fault = lose
    with pytest.raises(Transient):
        laptop.sync()
    laptop.fault = lambda _: None


def test_an_answer_that_was_lost_makes_no_conflict_with_oneself(laptop: Device, server: FakeServer):
    path = laptop.root / "a"
    path.write_text("first")
    laptop.sync()
    path.write_text("second")
    sync_without_hearing_what_became_of_it(laptop)
    path.write_text("third, edited before the program was asked again")
    (laptop.root / "new").write_text("x")
    laptop.sync()

    assert server.tree() == {("a",): path.read_bytes(), ("new",): b"x"}


def test_an_edit_of_what_was_sent_counts_though_the_answer_was_lost(
    laptop: Device, server: FakeServer
):
    server.put("a", content=b"the first")
    (laptop.root / "a").write_bytes(b"sent")
    sync_without_hearing_what_became_of_it(laptop)
    (copy,) = set(server.tree()) - {("a",)}
    server.put(*copy, content=b"edited in the browser")

    settle(laptop)
    assert laptop.tree() == server.tree()
    assert laptop.tree() == {("a",): b"the first", copy: b"edited in the browser"}


def test_a_new_file_whose_answer_was_lost_is_not_doubled(laptop: Device, server: FakeServer):
    path = laptop.root / "a"
    path.write_text("first")
    sync_without_hearing_what_became_of_it(laptop)
    path.write_text("edited since")
    laptop.sync()

    assert server.tree() == laptop.tree() == {("a",): b"edited since"}


def test_what_was_set_aside_is_tried_again_when_somebody_asks(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    server.put("film", content=b"x" * 1000)
    monkeypatch.setattr(laptop.fs, "free_bytes", lambda: 0)
    laptop.sync()
    assert codes(laptop) == {"film": "disk-full"}
    monkeypatch.undo()
    laptop.engine.cycle(rescan=True)
    assert codes(laptop) == {"film": "disk-full"}

    assert laptop.engine.cycle(rescan=True, retry=True).is_settled
    assert laptop.tree() == server.tree()


def test_one_refused_file_does_not_stop_the_others(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    commit = server.commit

    def full(**request):
        if request["name"] == "large":
            raise ApiProblem(507, "quota-exceeded", "There is not enough storage left.", {})
        return commit(**request)

    monkeypatch.setattr(
        laptop.transfers,
        "_send",
        _refusing(laptop.transfers._send, "large", "quota-exceeded"),
    )
    (laptop.root / "large").write_text("x")
    (laptop.root / "small").write_text("y")
    result = laptop.sync()
    assert server.tree() == {("small",): b"y"}
    assert codes(laptop) == {"large": "quota-exceeded"}
    assert result.is_finished
    assert not result.is_settled

    monkeypatch.undo()
    laptop.clock.ahead_ns += 601 * 1_000_000_000
    assert laptop.sync().is_settled
    assert ("large",) in server.tree()


def _refusing(send, name: str, code: str):
    from tests.fakes.server import Refusal

    def refuse(file):
        if file.name == name:
            raise Refusal(507, code)
        return send(file)

    return refuse


def test_what_cannot_come_down_keeps_nothing_from_going_up(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    server.put("theirs", content=b"theirs")
    (laptop.root / "mine").write_text("mine")

    def broken(files, *, on_result):
        raise Transient("The block store is in trouble.")

    monkeypatch.setattr(laptop.transfers, "fetch", broken)
    with pytest.raises(Transient):
        laptop.sync()
    assert server.tree()["mine",] == b"mine"
    monkeypatch.undo()
    settle(laptop)
    assert laptop.tree() == server.tree()


def test_passing_trouble_with_one_file_postpones_that_file(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a", "bad", "c"):
        (laptop.root / name).write_text(name)
        server.put("theirs", name, content=name.encode())
    send, fetch = laptop.transfers.send, laptop.transfers.fetch
    busy = Transient("The server is busy with it.")

    def sending(files, *, on_result):
        for file in files:
            if file.name == "bad":
                on_result(file, busy)
            else:
                send([file], on_result=on_result)

    def fetching(files, *, on_result):
        for file in files:
            if server.contents[file.file_version_id] == b"bad":
                on_result(file, busy)
            else:
                fetch([file], on_result=on_result)

    monkeypatch.setattr(laptop.transfers, "send", sending)
    monkeypatch.setattr(laptop.transfers, "fetch", fetching)
    result = laptop.sync()
    assert not result.is_finished, "it passes: whoever waits, waits for it"
    assert result.retry_after is not None
    assert set(server.tree()) & {("a",), ("bad",), ("c",)} == {("a",), ("c",)}
    assert ("theirs", "c") in laptop.tree()
    assert codes(laptop) == {}

    for _ in range(3):
        laptop.clock.ahead_ns += 60_000_000_000
        laptop.sync()
    assert codes(laptop) == {"bad": "try-later", "theirs/bad": "try-later"}
    monkeypatch.undo()
    laptop.clock.ahead_ns += 600_000_000_000
    settle(laptop)
    assert laptop.sync().is_settled
    assert laptop.tree() == server.tree()


def test_what_cannot_be_synced_is_listed_and_left_alone(laptop: Device, server: FakeServer):
    (laptop.root / "target").write_text("x")
    (laptop.root / "link").symlink_to("target")
    os.mkfifo(laptop.root / "pipe")
    (laptop.root / "Name").write_text("first")
    (laptop.root / "name").write_text("second")
    undecodable = os.fsencode(laptop.root) + b"/caf\xe9"
    with open(undecodable, "wb") as file:  # noqa: PTH123  (no text, so no Path)
        file.write(b"latin-1")

    result = laptop.sync()

    assert server.tree() == {("target",): b"x", ("Name",): b"first"}
    assert codes(laptop) == {
        "link": "not-a-file",
        "pipe": "not-a-file",
        "name": "case-collision",
        "caf\ufffd": "invalid-name",
    }
    assert result.is_finished
    assert not result.is_settled
    assert (laptop.root / "link").is_symlink()

    (laptop.root / "Name").unlink()
    laptop.sync()
    laptop.sync()
    assert server.tree() == {("target",): b"x", ("name",): b"second"}


def test_an_unreadable_folder_is_unknown_and_not_empty(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    (laptop.root / "closed").mkdir()
    (laptop.root / "closed" / "inside").write_text("x")
    laptop.sync()
    listdir = laptop.fs.listdir

    def refuse(path):
        # Not by mode: root may read everything.
        if path == ("closed",):
            from sync_client.errors import PathProblem

            raise PathProblem("closed", "unreadable", "no permission")
        return listdir(path)

    monkeypatch.setattr(laptop.fs, "listdir", refuse)
    result = laptop.sync()
    assert server.tree()["closed", "inside"] == b"x"
    assert codes(laptop) == {"closed": "unreadable"}
    assert not result.is_settled
    monkeypatch.undo()
    assert laptop.sync().is_settled


def test_a_write_that_left_the_time_stamps_as_they_were_is_found_by_reading_again(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    """Clocks count in ticks: a write in the tick in which the file was read shows nothing."""
    (laptop.root / "a").write_text("one")
    laptop.sync()
    content_hash = laptop.fs.content_hash

    def same_tick(path):
        digest, _ = content_hash(path)
        (laptop.root / "a").write_text("two")
        return digest, content_hash(path)[1]

    monkeypatch.setattr(laptop.fs, "content_hash", same_tick)
    os.utime(laptop.root / "a")
    laptop.clock.ahead_ns = 0
    laptop.engine.cycle(rescan=True)
    monkeypatch.undo()
    assert server.tree()["a",] == b"one"
    laptop.sync()
    settle(laptop)
    assert server.tree()["a",] == b"two"


def test_a_disk_that_takes_two_names_for_one_lists_the_second(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    place_new, make_folder = laptop.fs.place_new, laptop.fs.make_folder

    def folded(method):
        def checked(*arguments):
            path = arguments[-1]
            if path[-1].casefold() in {
                each.name.casefold() for each in laptop.root.iterdir() if each.name != path[-1]
            }:
                raise FileExistsError(17, "File exists")
            return method(*arguments)

        return checked

    monkeypatch.setattr(laptop.fs, "place_new", folded(place_new))
    monkeypatch.setattr(laptop.fs, "make_folder", folded(make_folder))
    # One name to a folder without case, two to the server.
    for name in ("Masse", "Fluss"):
        (laptop.root / name).write_text("here")
    laptop.sync()
    server.put("Ma\u00dfe", content=b"there")
    server.folder("Flu\u00df")
    server.put("other", content=b"goes on")
    for _ in range(4):
        result = laptop.sync()

    assert result.is_finished
    assert (laptop.root / "other").exists()
    assert codes(laptop) == {"Ma\u00dfe": "name-taken-here", "Flu\u00df": "name-taken-here"}
    assert len(server.tree()) == 5


def test_a_full_disk_for_the_records_stops_and_goes_on_when_there_is_room(
    laptop: Device, server: FakeServer
):
    run = laptop.trees.database.connection.execute
    pages = run("PRAGMA page_count").fetchone()[0]
    run(f"PRAGMA max_page_count = {pages + 2}")
    for number in range(300):
        (laptop.root / f"{number} {'x' * 200}").write_text("x")
    with pytest.raises(MustStop, match="records") as caught:
        laptop.sync()
    assert caught.value.next_step == "Free some space."

    run("PRAGMA max_page_count = 1000000")
    settle(laptop)
    assert len(server.tree()) == 300


@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_damaged_record_is_kept_aside_and_both_sides_are_merged(
    laptop: Device, server: FakeServer, damage: str
):
    for number in range(200):
        (laptop.root / f"{number}").write_text(str(number))
    laptop.sync()
    laptop.stop()
    content = bytearray(laptop.state.read_bytes())
    if damage == "garbage":
        content[:] = b"not a database" * 100
    else:
        content[8192:-4096:7] = bytes(len(content[8192:-4096:7]))
    laptop.state.write_bytes(content)
    (laptop.root / "7").unlink()
    server.delete(server.find("8") or {})

    laptop.start()
    assert laptop.engine.status().is_rebuilt
    settle(laptop)

    assert not laptop.engine.status().is_rebuilt
    assert laptop.tree() == server.tree()
    assert len(server.tree()) == 200, "nothing is deleted"
    assert laptop.state.with_name("laptop.db.damaged").exists()


def test_a_displaced_file_that_is_gone_is_not_sought_for_ever(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    (laptop.root / "a").write_text("one")
    laptop.sync()
    gone = server.find("a")
    assert gone is not None
    server.delete(gone)
    take = laptop.fs.take

    def lost(path, name):
        (laptop.root / "a").write_text("edited")
        taken = take(path, name)
        staged = laptop.fs.staged

        def emptied():
            monkeypatch.setattr(laptop.fs, "staged", staged)
            found = staged()
            laptop.fs.drop_staged(name)
            return found

        monkeypatch.setattr(laptop.fs, "staged", emptied)
        return taken

    monkeypatch.setattr(laptop.fs, "take", lost)
    laptop.sync()
    monkeypatch.undo()
    settle(laptop)
    assert laptop.tree() == server.tree() == {}


@pytest.fixture
def mount(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Mounts something over a folder, until the test ends."""

    def mounted(folder: pathlib.Path, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments, folder], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.decode()}")
        request.addfinalizer(lambda: subprocess.run(["umount", folder], check=False))

    return mounted


@pytest.mark.parametrize("what", ["another disk", "another folder of the same disk"])
def test_what_is_mounted_over_a_folder_deletes_nothing_below_it(
    laptop: Device, server: FakeServer, mount, tmp_path: pathlib.Path, what: str
):
    folder = laptop.root / "photos"
    (folder / "2026").mkdir(parents=True)
    (folder / "2026" / "a").write_text("a")
    (folder / "b").write_text("b")
    laptop.sync()
    before = server.tree()

    if what == "another disk":
        mount(folder, "-t", "tmpfs", "tmpfs")
    else:
        (tmp_path / "elsewhere").mkdir()
        mount(folder, "--bind", str(tmp_path / "elsewhere"))
    (folder / "stranger").write_text("not ours")
    (laptop.root / "beside").write_text("goes on")
    server.folder("photos", "new")
    server.put("photos", "new", "c", content=b"c")
    result = laptop.sync()
    laptop.engine.cycle(dirty={("photos",), ("photos", "2026")})

    assert before.items() <= server.tree().items()
    assert server.tree()["beside",] == b"goes on"
    assert ("photos", "stranger") not in server.tree()
    assert [each.name for each in folder.iterdir()] == ["stranger"]
    assert not result.is_settled
    assert codes(laptop)["photos"] == "other-file-system"

    subprocess.run(["umount", folder], check=True)
    laptop.clock.ahead_ns += 600_000_000_000
    settle(laptop)
    assert laptop.sync().is_settled
    assert laptop.tree() == server.tree()
    assert server.tree()["photos", "2026", "a"] == b"a"


def test_a_missing_root_or_marker_stops_everything(laptop: Device, server: FakeServer):
    (laptop.root / "a").write_text("x")
    laptop.sync()
    (laptop.root / ".drive" / "root.json").unlink()
    (laptop.root / "a").unlink()
    with pytest.raises(RootMissing):
        laptop.sync()
    shutil.rmtree(laptop.root)
    with pytest.raises(RootMissing):
        laptop.sync()
    assert server.tree() == {("a",): b"x"}


@pytest.mark.parametrize("looks", ["at everything", "at what was named"])
def test_a_disk_that_goes_while_it_is_scanned_deletes_nothing(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch, looks: str
):
    (laptop.root / "folder").mkdir()
    for number in range(10):
        (laptop.root / "folder" / str(number)).write_text("x")
    laptop.sync()
    before = server.tree()
    away = laptop.root.with_name("unplugged")
    listdir = laptop.fs.listdir

    def unplugged(path):
        if not away.exists():
            # What is left is the empty folder on which the disk was mounted.
            laptop.root.rename(away)
            laptop.root.mkdir()
        return listdir(path)

    monkeypatch.setattr(laptop.fs, "listdir", unplugged)
    is_whole = looks == "at everything"
    with pytest.raises(RootMissing):
        laptop.engine.cycle(dirty={(), ("folder",)}, rescan=is_whole, pull=False)
    monkeypatch.undo()
    laptop.root.rmdir()
    away.rename(laptop.root)
    # Not even a scan: what Local has must be right.
    assert laptop.engine.cycle(pull=True).operations == 0
    assert laptop.tree() == server.tree() == before


def test_a_linked_folder_that_is_gone_on_the_server_stops_everything(
    tmp_path: pathlib.Path, server: FakeServer
):
    server.put("work", "plan", content=b"plan")
    office = Device("office", tmp_path, server, folder_id=server.folder("work")["folder_id"])
    office.sync()
    server.delete(server.folder("work"))
    with pytest.raises(RootMissing):
        office.sync()
    assert office.tree() == {("plan",): b"plan"}
    office.stop()


def test_deleting_most_of_the_tree_here_is_held_until_confirmed(laptop: Device, server: FakeServer):
    (laptop.root / "many").mkdir()
    for number in range(120):
        (laptop.root / "many" / str(number)).write_bytes(b"%d" % number)
    (laptop.root / "one").write_text("x")
    laptop.sync()
    shutil.rmtree(laptop.root / "many")

    (laptop.root / "new").write_text("goes on")
    result = laptop.sync()
    assert result.held_deletions == 121
    assert not result.is_settled
    assert len(server.tree()) == 123
    assert laptop.engine.status().held_deletions == 121

    laptop.engine.confirm_deletes(121)
    result = laptop.sync()
    assert result.is_settled
    assert set(server.tree()) == {("one",), ("new",)}
    assert laptop.engine.status().held_deletions == 0


def test_deleting_most_of_the_tree_there_is_held_until_confirmed(
    laptop: Device, server: FakeServer
):
    for number in range(120):
        server.put("many", str(number), content=b"%d" % number)
    laptop.sync()
    server.delete(server.folder("many"))
    assert laptop.sync().held_deletions == 121
    assert len(laptop.tree()) == 121
    laptop.engine.confirm_deletes(121)
    laptop.sync()
    laptop.sync()
    assert laptop.tree() == {}


def test_a_confirmation_is_for_what_is_held_and_for_no_more(laptop: Device, server: FakeServer):
    for number in range(400):
        (laptop.root / f"{number:03}").write_bytes(b"%d" % number)
    laptop.sync()

    laptop.engine.confirm_deletes(400)
    for number in range(250):
        (laptop.root / f"{number:03}").unlink()
    assert laptop.sync().held_deletions == 250, "nothing was held when it was confirmed"

    laptop.engine.confirm_deletes(laptop.engine.status().held_deletions)
    for number in range(250, 260):
        (laptop.root / f"{number:03}").unlink()
    assert laptop.sync().held_deletions == 260, "more than what was confirmed"
    assert len(server.tree()) == 400

    laptop.engine.confirm_deletes(260)
    assert laptop.sync().is_settled
    assert len(server.tree()) == 140
    for number in range(260, 400):
        (laptop.root / f"{number:03}").unlink()
    assert laptop.sync().held_deletions == 140, "the next deletion"


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_deletion_that_takes_time_is_held_as_a_whole(
    laptop: Device, server: FakeServer, side: str
):
    for number in range(1000):
        (laptop.root / f"{number:03}").write_bytes(b"%d" % number)
    laptop.sync()

    for number in range(1000):
        if side == "here":
            (laptop.root / f"{number:03}").unlink()
        else:
            gone = server.find(f"{number:03}")
            assert gone is not None
            server.delete(gone)
        if number % 40 == 0:
            # Half a second of a program that deletes 80 files a second.
            laptop.clock.ahead_ns += 500_000_000
            laptop.engine.cycle(rescan=True, pull=True)
    for _ in range(5):
        held = laptop.sync().held_deletions

    assert held >= 899
    assert len(server.tree() if side == "here" else laptop.tree()) == held
    laptop.engine.confirm_deletes(held)
    settle(laptop)
    assert laptop.tree() == server.tree() == {}


def test_many_deletions_that_are_not_most_go_once_they_rest(laptop: Device, server: FakeServer):
    for number in range(400):
        (laptop.root / f"{number:03}").write_bytes(b"%d" % number)
    laptop.sync()
    for number in range(150):
        (laptop.root / f"{number:03}").unlink()

    result = laptop.engine.cycle(rescan=True)
    assert (result.is_finished, result.held_deletions) == (False, 0)
    assert result.retry_after is not None
    assert 0 < result.retry_after <= 2
    assert len(server.tree()) == 400
    laptop.clock.ahead_ns += 2_000_000_000
    assert laptop.engine.cycle(pull=False).is_settled
    assert len(server.tree()) == 250


def test_what_programs_make_and_remove_all_day_is_no_mass_deletion(
    laptop: Device, server: FakeServer
):
    for number in range(150):
        (laptop.root / f"{number}.c").write_bytes(b"%d" % number)
    laptop.sync()
    for _ in range(5):
        for number in range(40):
            (laptop.root / f"{number}.o").write_bytes(b"%d" % number)
        laptop.sync()
        for number in range(40):
            (laptop.root / f"{number}.o").unlink()
        result = laptop.sync()
    settle(laptop)
    assert result.held_deletions == 0
    assert len(server.tree()) == 150


def test_a_folder_deleted_elsewhere_stays_for_what_cannot_be_synced(
    laptop: Device, server: FakeServer
):
    (laptop.root / "venv").mkdir()
    (laptop.root / "venv" / "file").write_text("x")
    (laptop.root / "venv" / "python").symlink_to("/usr/bin/python3")
    laptop.sync()
    server.delete(server.folder("venv"))
    laptop.sync()
    laptop.sync()
    assert [path.name for path in (laptop.root / "venv").iterdir()] == ["python"]
    assert server.tree() == {}
    assert codes(laptop)["venv"] == "folder-kept"


def test_a_file_that_is_being_written_is_left_until_it_rests(laptop: Device, server: FakeServer):
    path = laptop.root / "growing"
    path.write_text("begun")
    slept = laptop.clock.sleep

    def write_more(seconds: float) -> None:
        slept(seconds)
        path.write_text("begun, and written on")

    laptop.clock.sleep = write_more  # type: ignore[method-assign]
    result = laptop.engine.cycle(rescan=True)
    assert server.tree() == {}
    assert not result.is_finished
    assert result.retry_after is not None
    laptop.clock.sleep = slept  # type: ignore[method-assign]
    laptop.clock.ahead_ns += 2_000_000_000
    laptop.sync()
    assert server.tree() == {("growing",): b"begun, and written on"}


def test_what_a_deletion_took_away_is_in_the_stash_for_a_week(laptop: Device, server: FakeServer):
    server.put("a", content=b"precious")
    laptop.sync()
    (laptop.root / "b").write_text("x")
    gone = server.find("a")
    assert gone is not None
    server.delete(gone)
    laptop.sync()
    stash = laptop.root / ".drive" / "stash"
    (kept,) = stash.rglob("a")
    assert kept.read_bytes() == b"precious"

    # What somebody else has put there is no reason to stop, and stays.
    (stash / "note").write_text("x")
    (stash / "123-old" / "folder").mkdir(parents=True)
    laptop.clock.ahead_ns += 8 * 24 * 3600 * 1_000_000_000
    laptop.sync()
    assert {each.name for each in stash.iterdir()} == {"note", "123-old"}


# What the disk may hold, and refuse


def test_a_step_that_the_disk_broke_off_is_finished_by_the_next_cycle(
    laptop: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    (laptop.root / "a").write_text("first")
    settle(laptop)
    server.put("a", content=b"second")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(laptop.fs, "discard", full)
    with pytest.raises(MustStop, match="no space") as caught:
        laptop.sync()
    assert caught.value.next_step == "Free some space."

    monkeypatch.undo()
    settle(laptop)
    assert laptop.tree() == server.tree() == {("a",): b"second"}
    assert [each.path for each in laptop.fs.stashed()] == [("a",)]
    assert laptop.fs.staged() == {}


def test_two_names_of_one_file_are_two_files(laptop: Device, phone: Device, server: FakeServer):
    (laptop.root / "a").write_text("first")
    (laptop.root / "b").hardlink_to(laptop.root / "a")
    settle(laptop, phone)
    assert phone.tree() == {("a",): b"first", ("b",): b"first"}

    (laptop.root / "a").write_text("written through both names")
    settle(laptop, phone)
    assert set(phone.tree().values()) == {b"written through both names"}

    (phone.root / "a").write_text("only one, there")
    settle(phone, laptop)
    assert laptop.tree() == server.tree()
    assert laptop.tree()[("b",)] == b"written through both names"

    (laptop.root / "b").rename(laptop.root / "c")
    (laptop.root / "a").unlink()
    settle(laptop, phone)
    assert phone.tree() == server.tree() == {("c",): b"written through both names"}


def test_a_file_with_holes_arrives_as_its_content(laptop: Device, phone: Device):
    with (laptop.root / "sparse").open("wb") as file:
        file.seek(3_000_000)
        file.write(b"end")
    settle(laptop, phone)
    assert (phone.root / "sparse").read_bytes() == bytes(3_000_000) + b"end"


def test_the_longest_names_there_are(laptop: Device, phone: Device):
    names = ["x" * 255, "ü" * 127 + "x", "a" * 251 + ".txt"]
    for name in names:
        (laptop.root / name).write_text(name)
    settle(laptop, phone)
    for device in (laptop, phone):
        for name in names:
            (device.root / name).write_text(f"{device.name} {name}")
    settle(laptop, phone)

    assert laptop.tree() == phone.tree()
    assert len(phone.tree()) == 2 * len(names)
    assert all(len(path[-1].encode()) <= 255 for path in phone.tree())


def test_a_look_for_news_reads_only_what_has_to_be_compared(laptop: Device, server: FakeServer):
    (laptop.root / "a").mkdir()
    (laptop.root / "a" / "b.txt").write_bytes(b"hello")
    (laptop.root / "a" / ".driveignore").write_bytes(b"*.o")
    settle(laptop)
    connection = laptop.trees.database.connection
    asked: list[str] = []
    connection.set_trace_callback(asked.append)

    assert laptop.engine.cycle(pull=True).is_settled
    status_in(connection, laptop.trees.root)

    connection.set_trace_callback(None)
    whole = [
        f"{step[3]}: {each}"
        for each in asked
        if each.startswith(("SELECT", "WITH", "DELETE"))
        for step in connection.execute(f"EXPLAIN QUERY PLAN {each}")
        # By an index of its own: over the few that are special.
        if re.fullmatch(r"SCAN (local|remote|synced|blocks)", step[3])
    ]
    assert not whole


def test_a_deletion_that_the_network_delivers_late_takes_nothing_newer_along(
    laptop: Device, phone: Device, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    (laptop.root / "a").mkdir()
    (laptop.root / "a" / "old").write_bytes(b"old")
    settle(laptop, phone)
    ask = FakeApi.request
    late: list[Callable[[], object]] = []

    def swallow(api: FakeApi, method: str, path: str, **details: Any) -> dict[str, Any]:
        if path == "/batch" and not late:
            late.append(lambda: ask(api, method, path, **details))
            raise Transient("No answer.")
        return ask(api, method, path, **details)

    monkeypatch.setattr(FakeApi, "request", swallow)
    shutil.rmtree(laptop.root / "a")
    with pytest.raises(Transient):
        laptop.sync()
    (laptop.root / "a").mkdir()
    (laptop.root / "a" / "new").write_bytes(b"new")
    settle(laptop)
    assert server.tree()[("a", "new")] == b"new"

    late[0]()
    settle(laptop, phone)

    assert phone.tree() == laptop.tree() == server.tree() == {("a",): None, ("a", "new"): b"new"}

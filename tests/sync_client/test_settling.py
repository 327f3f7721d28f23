"""Settling conflicts from the command line: two devices, their folders and the real server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sync_client.linking import Refused
from sync_client.settling import HereConflict, Place, pick, word_of
from tests.services.drive import PASSWORD, RunningDrive
from tests.sync_client.conftest import Command, command_of

# --- Which edit is meant ----------------------------------------------------------------


def conflict(*, original: str | None, copy: str | None) -> dict[str, Any]:
    return {"original": {"device_id": original}, "copy": {"device_id": copy}}


@pytest.mark.parametrize(
    ("original", "copy", "keep", "word"),
    [
        ("other", "here", "local", "mine"),
        ("other", "here", "remote", "theirs"),
        # The edit of this device came first, so it is the original's.
        ("here", "other", "local", "theirs"),
        ("here", "other", "remote", "mine"),
        (None, "here", "local", "mine"),
        ("here", None, "local", "theirs"),
        *(
            (original, copy, keep, word)
            for original in ("here", "other", None)
            for copy in ("here", "other", None)
            for keep, word in (("both", "both"), ("copy", "mine"), ("original", "theirs"))
        ),
    ],
)
def test_local_is_the_edit_of_this_device_whichever_came_first(original, copy, keep, word):
    assert word_of(conflict(original=original, copy=copy), keep=keep, device_id="here") == word


@pytest.mark.parametrize("keep", ["local", "remote"])
@pytest.mark.parametrize("whose", ["here", "other", None])
def test_where_local_could_be_either_or_none_it_says_so(whose, keep):
    with pytest.raises(Refused, match="--keep copy or --keep original"):
        word_of(conflict(original=whose, copy=whose), keep=keep, device_id="here")


def here_conflict(folder: Path, original: str, copy: str) -> HereConflict:
    return HereConflict({}, Place(folder / original, True), Place(folder / copy, True))


def test_a_file_is_found_by_either_of_its_names(tmp_path):
    first = here_conflict(tmp_path, "a", "a copy")
    found = [
        first,
        here_conflict(tmp_path, "b", "b copy"),
        here_conflict(tmp_path, "b", "b copy 2"),
    ]

    assert pick(found, tmp_path / "a") is first
    (tmp_path / "link").symlink_to(tmp_path)
    assert pick(found, tmp_path / "link" / "a copy") is first
    assert pick(found, tmp_path / "b copy 2") is found[2]
    with pytest.raises(Refused, match=r"2 conflicts. Name the copy: .*b copy, .*b copy 2"):
        pick(found, tmp_path / "b")
    with pytest.raises(Refused, match="no open conflict"):
        pick(found, tmp_path / "c")
    alone = HereConflict(None, None, Place(tmp_path / "c", True))
    with pytest.raises(Refused, match="rename it or delete it"):
        pick([*found, alone], tmp_path / "c")


# --- Two devices ------------------------------------------------------------------------


class Device(NamedTuple):
    """One computer; nothing runs there between its commands."""

    drive: Command
    folder: Path

    def sync(self) -> None:
        done = self.drive("sync", "--once")
        # Conflicts are told by the exit code.
        assert done.returncode in {0, 6}, done.stdout + done.stderr

    def conflicts(self) -> list[dict[str, Any]]:
        done = self.drive("conflicts", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["schema"] == 1
        listed: list[dict[str, Any]] = document["conflicts"]
        return listed

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.folder.iterdir() if path.is_file()}

    def counted(self) -> int:
        count: int = json.loads(self.drive("status", "--json").stdout)["conflicts"]
        return count


@pytest.fixture
def device(server: RunningDrive, account: str, tmp_path: Path) -> Callable[[str], Device]:
    def make(name: str) -> Device:
        drive = command_of(tmp_path / name)
        done = drive(
            *("login", server.url, "--email", account, "--password-stdin", "--device", name),
            stdin=f"{PASSWORD}\n",
        )
        assert done.returncode == 0, done.stderr
        folder = tmp_path / name / "Drive"
        assert drive("link", folder).returncode == 0
        return Device(drive, folder)

    return make


@pytest.fixture
def devices(device: Callable[[str], Device]) -> tuple[Device, Device]:
    """Both have edited notes.txt: the laptop first, so the phone's edit lies in a copy."""
    laptop, phone = device("laptop"), device("phone")
    (laptop.folder / "notes.txt").write_text("agreed")
    laptop.sync()
    phone.sync()
    (laptop.folder / "notes.txt").write_text("from the laptop")
    (phone.folder / "notes.txt").write_text("from the phone")
    laptop.sync()
    phone.sync()
    laptop.sync()
    assert set(laptop.files().values()) == {"from the laptop", "from the phone"}
    return laptop, phone


def copy_of(device: Device) -> Path:
    [copy] = [path for path in device.folder.iterdir() if "conflicted copy" in path.name]
    return copy


def test_a_conflict_is_listed_with_its_two_files_and_who_made_them(devices):
    _, phone = devices
    [found] = phone.conflicts()

    assert found["kind"] == "edit-edit"
    assert found["original_path"] == str(phone.folder / "notes.txt")
    assert found["copy_path"] == str(copy_of(phone))
    assert (found["original"]["device"], found["original"]["is_local"]) == ("laptop", False)
    assert (found["copy"]["device"], found["copy"]["is_local"]) == ("phone", True)
    text = phone.drive("conflicts", "ls").stdout
    assert str(phone.folder / "notes.txt") in text
    assert "by laptop" in text
    assert "by this device" in text
    assert "drive conflicts resolve" in text
    assert "drive conflicts" in phone.drive("status").stdout


def test_keeping_the_local_edit_puts_it_in_the_file_on_both_devices(devices):
    laptop, phone = devices
    done = phone.drive("conflicts", "resolve", phone.folder / "notes.txt", "--keep", "local")

    assert done.returncode == 0, done.stderr
    laptop.sync()
    assert phone.files() == laptop.files() == {"notes.txt": "from the phone"}
    assert phone.conflicts() == laptop.conflicts() == []
    assert "No conflicts." in laptop.drive("conflicts").stdout
    assert phone.counted() == laptop.counted() == 0


def test_local_is_this_devices_edit_also_where_it_came_first(devices):
    laptop, phone = devices
    done = laptop.drive("conflicts", "resolve", copy_of(laptop), "--keep", "local")

    assert done.returncode == 0, done.stderr
    phone.sync()
    assert phone.files() == laptop.files() == {"notes.txt": "from the laptop"}


def test_keeping_both_leaves_two_ordinary_files_and_nothing_to_settle(devices):
    laptop, phone = devices
    done = phone.drive("conflicts", "resolve", "Drive/notes.txt", "--keep", "both")

    assert done.returncode == 0, done.stderr
    laptop.sync()
    expected = {"notes.txt": "from the laptop", "notes (2).txt": "from the phone"}
    assert phone.files() == laptop.files() == expected
    assert phone.conflicts() == laptop.conflicts() == []
    assert phone.counted() == laptop.counted() == 0


def test_an_edit_that_the_server_has_not_seen_is_sent_before_anything_is_settled(devices):
    laptop, phone = devices
    copy_of(phone).write_text("from the phone, improved")
    done = phone.drive("conflicts", "resolve", phone.folder / "notes.txt", "--keep", "copy")

    assert done.returncode == 0, done.stderr
    laptop.sync()
    assert phone.files() == laptop.files() == {"notes.txt": "from the phone, improved"}


def test_an_edit_of_another_device_that_comes_later_is_kept_beside(devices):
    laptop, phone = devices
    (laptop.folder / "notes.txt").write_text("late, from the laptop")
    (laptop.folder / copy_of(laptop).name).write_text("late, in the copy")
    assert (
        phone.drive(
            *("conflicts", "resolve", phone.folder / "notes.txt", "--keep", "copy")
        ).returncode
        == 0
    )
    laptop.sync()
    phone.sync()

    contents = {"from the phone", "late, from the laptop", "late, in the copy"}
    assert phone.files() == laptop.files()
    assert contents <= set(phone.files().values())


def test_a_file_that_is_only_named_like_a_copy_is_listed_and_not_settled(device):
    laptop = device("laptop")
    odd = laptop.folder / "a (conflicted copy, desk, 2026-03-09).txt"
    odd.write_text("of old")
    laptop.sync()

    [found] = laptop.conflicts()
    assert (found["conflict_id"], found["copy_path"]) == (None, str(odd))
    assert laptop.counted() == 1
    done = laptop.drive("conflicts", "resolve", odd, "--keep", "both")
    assert done.returncode == 2
    assert "rename it or delete it" in done.stderr


def test_without_the_server_nothing_is_settled(devices, server):
    _, phone = devices
    config = phone.folder.parent / ".config/drive/config.json"
    config.write_text(config.read_text().replace(server.url, "http://127.0.0.1:9"))
    before = phone.files()
    done = phone.drive("conflicts", "resolve", phone.folder / "notes.txt", "--keep", "local")

    assert done.returncode == 5
    assert phone.files() == before


def test_with_a_running_client_the_folder_follows_at_once(devices):
    _, phone = devices
    assert phone.drive("start").returncode == 0
    try:
        done = phone.drive("conflicts", "resolve", phone.folder / "notes.txt", "--keep", "remote")
        assert done.returncode == 0, done.stderr
        assert phone.files() == {"notes.txt": "from the laptop"}
        assert phone.counted() == 0
    finally:
        assert phone.drive("stop").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [("resolve",), ("resolve", "a"), ("resolve", "a", "--keep", "mine"), ("settle",)],
)
def test_a_wrong_use_is_exit_2(drive, arguments):
    assert drive("conflicts", *arguments).returncode == 2


def test_without_a_login_it_says_what_to_do(drive):
    for arguments in ((), ("ls", "--json"), ("resolve", "a", "--keep", "both")):
        done = drive("conflicts", *arguments)
        assert done.returncode == 3
        assert "drive login" in done.stderr

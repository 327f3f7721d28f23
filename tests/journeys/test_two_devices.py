"""The main promise: whatever happens in one folder happens in the other. Nothing is faked:
the server as `make up` starts it, two sync clients, real folders, HTTP between them.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.devices import Device, tree_of
from tests.services.drive import RunningDrive, is_running, wait_until

pytestmark = pytest.mark.journey

MIB = 1024 * 1024


@pytest.fixture
def owner(server: RunningDrive) -> str:
    """The address of a new user."""
    return server.new_account()


@pytest.fixture
def laptop(server: RunningDrive, owner: str, tmp_path: Path) -> Iterator[Device]:
    device = Device("laptop", tmp_path, server)
    device.sign_in_and_link(owner)
    device.start()
    yield device
    device.close()


@pytest.fixture
def phone(server: RunningDrive, owner: str, tmp_path: Path) -> Iterator[Device]:
    device = Device("phone", tmp_path, server)
    device.sign_in_and_link(owner)
    device.start()
    yield device
    device.close()


def write_source_tree(folder: Path) -> None:
    """About 200 files as a programmer has them: nested, small, some executable, some odd."""
    dice = random.Random(7)
    for package in range(12):
        place = folder / "project" / f"package_{package}" / "inner"
        place.mkdir(parents=True)
        for number in range(16):
            (place.parent if number % 2 else place).joinpath(f"module_{number}.py").write_bytes(
                dice.randbytes(dice.randint(1, 9000))
            )
    scripts = folder / "project" / "bin"
    scripts.mkdir()
    for name in ("build", "deploy.sh"):
        (scripts / name).write_text(f"#!/bin/sh\necho {name}\n")
        (scripts / name).chmod(0o755)
    odd = folder / "Übung – 計画 🗂"
    odd.mkdir()
    for name in (
        "naïve café.txt",
        "e\u0301 decomposed.txt",
        " leading",
        "trailing ",
        "a\nb",
        "%41",
    ):
        (odd / name).write_text(name)
    (folder / "empty file").touch()
    (folder / "empty folder" / "below").mkdir(parents=True)
    (folder / "film.bin").write_bytes(dice.randbytes(20 * MIB))
    old_ns = 1_000_000_000_123_456_789
    os.utime(folder / "project" / "bin" / "build", ns=(old_ns, old_ns))


def assert_same(one: Device, other: Device) -> None:
    one_tree, other_tree = one.tree(), other.tree()
    differing = {
        path: (one_tree.get(path, "absent"), other_tree.get(path, "absent"))
        for path in one_tree.keys() | other_tree.keys()
        if one_tree.get(path, "absent") != other_tree.get(path, "absent")
    }
    assert not differing


def sync(*devices: Device) -> None:
    for device in devices:
        device.wait()


def test_what_happens_in_one_folder_happens_in_the_other(laptop, phone, tmp_path):
    original = tmp_path / "original"
    original.mkdir()
    write_source_tree(original)
    write_source_tree(laptop.folder)
    sync(laptop, phone)

    assert_same(laptop, phone)
    contents = {path: file and file.digest for path, file in tree_of(original).items()}
    assert {path: file and file.digest for path, file in phone.tree().items()} == contents

    project = laptop.folder / "project"
    (project / "bin" / "build").write_text("#!/bin/sh\necho edited\n")
    (project / "bin" / "new").touch(mode=0o755)
    (project / "package_0").rename(project / "renamed")
    (project / "package_1").rename(laptop.folder / "moved")
    (project / "package_2" / "module_1.py").unlink()
    (project / "package_3" / "module_1.py").rename(laptop.folder / "moved" / "one.py")
    (project / "package_4" / "module_1.py").chmod(0o755)
    with (laptop.folder / "film.bin").open("r+b") as film:
        film.seek(10 * MIB)
        film.write(b"another scene")
    sync(laptop, phone)

    assert_same(laptop, phone)
    assert (phone.folder / "moved" / "one.py").exists()
    assert not (phone.folder / "project" / "package_2" / "module_1.py").exists()
    assert os.access(phone.folder / "project" / "bin" / "new", os.X_OK)

    (phone.folder / "film.bin").rename(phone.folder / "empty folder" / "film.bin")
    (phone.folder / "from the phone.txt").write_text("hello")
    sync(phone, laptop)

    assert_same(laptop, phone)
    # As anybody would compare them, what the client keeps there included.
    compared = subprocess.run(
        ["diff", "-r", laptop.folder, phone.folder], capture_output=True, text=True, check=False
    )
    assert (compared.returncode, compared.stdout) == (0, "")
    assert (laptop.folder / "from the phone.txt").read_text() == "hello"
    status = laptop.status()
    assert status["state"] == "up_to_date"
    assert status["problems"] == []
    assert status["conflicts"] == 0


def test_an_edit_is_on_the_other_device_within_seconds_without_asking(laptop, phone):
    (laptop.folder / "note.txt").write_text("quick")

    wait_until(
        lambda: (phone.folder / "note.txt").exists(), seconds=20, what="the note on the phone"
    )
    assert (phone.folder / "note.txt").read_text() == "quick"


def test_edits_on_both_sides_while_apart_leave_one_conflict_copy(laptop, phone):
    note = "meeting notes.txt"
    (laptop.folder / note).write_text("agreed")
    sync(laptop, phone)
    laptop.stop()
    phone.stop()

    (laptop.folder / note).write_text("from the laptop")
    (phone.folder / note).write_text("from the phone")
    (phone.folder / "unrelated").mkdir()
    laptop.start()
    sync(laptop)
    phone.start()
    # A conflict is something to look at, so `wait` may say so by its exit code.
    assert phone.run("wait", "--timeout", "3m").returncode in {0, 6}
    assert laptop.run("wait", "--timeout", "3m").returncode in {0, 6}

    assert_same(laptop, phone)
    copies = [path for path in laptop.tree() if "conflicted copy" in path]
    assert len(copies) == 1
    texts = {(laptop.folder / name).read_text() for name in (note, *copies)}
    assert texts == {"from the laptop", "from the phone"}
    # The first to come keeps the name.
    assert (laptop.folder / note).read_text() == "from the laptop"


def stored_objects(server: RunningDrive) -> int:
    blocks = server.data_dir / "blocks"
    return sum(1 for kind in ("b", "p") for path in (blocks / kind).rglob("*") if path.is_file())


def wait_for_objects(server: RunningDrive, count: int, sender: Device) -> None:
    wait_until(
        lambda: stored_objects(server) >= count,
        seconds=60,
        what=f"{count} objects",
        every=0.02,
        explain=sender.status,
    )


def distinct_blocks(server: RunningDrive) -> int:
    counted = server.manage(
        "shell", "-v0", "-c", "from blocks.models import Block; print(Block.objects.count())"
    )
    assert counted.returncode == 0, counted.stderr
    return int(counted.stdout.split()[-1])


def test_a_client_killed_in_mid_upload_sends_only_what_was_missing(laptop, phone, server):
    objects, blocks = stored_objects(server), distinct_blocks(server)
    content = random.randbytes(160 * MIB)
    (laptop.folder / "large.bin").write_bytes(content)
    wait_for_objects(server, objects + 20, laptop)
    laptop.kill()
    # What was under way when it died has ended by now.
    time.sleep(1)
    sent_before = stored_objects(server) - objects

    laptop.start()
    sync(laptop, phone)

    assert_same(laptop, phone)
    assert (phone.folder / "large.bin").read_bytes() == content
    needed = distinct_blocks(server) - blocks
    assert sent_before < needed, "it was killed too late for this test to mean anything"
    # Blocks that were on their way may have arrived twice; those that had arrived may not.
    assert stored_objects(server) - objects - needed <= 8


def staged_bytes(device: Device) -> int:
    """How much of files that are not complete yet has arrived on a device."""
    staging = device.folder / ".drive" / "staging"
    with os.scandir(staging) as entries:
        return sum(entry.stat().st_blocks * 512 for entry in entries if entry.is_file())


def test_a_client_killed_in_mid_download_finishes_afterwards(laptop, phone, server):
    content = random.randbytes(160 * MIB)
    phone.kill()
    (laptop.folder / "large.bin").write_bytes(content)
    sync(laptop)
    # Not waiting for it to answer: the whole download takes a second or two.
    phone.launch()
    wait_until(
        lambda: staged_bytes(phone) > MIB,
        seconds=60,
        what="the first blocks on the phone",
        every=0.005,
        explain=phone.status,
    )
    phone.kill()
    assert not (phone.folder / "large.bin").exists()

    phone.start()
    sync(phone)

    assert (phone.folder / "large.bin").read_bytes() == content
    assert_same(laptop, phone)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_restart_in_the_middle_costs_only_time(laptop, phone, server, how):
    objects = stored_objects(server)
    (laptop.folder / "large.bin").write_bytes(random.randbytes(100 * MIB))
    write_source_tree(laptop.folder)
    wait_for_objects(server, objects + 3, laptop)
    pids = server.all_pids()
    server.stop(how)
    wait_until(lambda: not any(is_running(pid) for pid in pids), seconds=10, what="its end")
    (laptop.folder / "written while it was away.txt").write_text("later")
    server.start()

    sync(laptop, phone)

    assert_same(laptop, phone)
    assert (phone.folder / "written while it was away.txt").read_text() == "later"


def test_a_folder_that_was_linked_after_the_others_gets_everything(server, owner, laptop, tmp_path):
    write_source_tree(laptop.folder)
    sync(laptop)
    desktop = Device("desktop", tmp_path, server)
    desktop.folder.mkdir()
    # The same file, and another one of a name that is taken.
    (desktop.folder / "empty file").touch()
    (desktop.folder / "film.bin").write_text("a quite different film")
    desktop.sign_in_and_link(owner)

    # In the background, as people start it.
    desktop.do("start")
    try:
        assert desktop.run("wait", "--timeout", "3m").returncode in {0, 6}
        assert laptop.run("wait", "--timeout", "3m").returncode in {0, 6}
        assert_same(laptop, desktop)
        films = [path for path in desktop.tree() if "film" in path]
        assert len(films) == 2
        assert {(desktop.folder / film).stat().st_size for film in films} == {20 * MIB, 22}
    finally:
        desktop.do("stop")

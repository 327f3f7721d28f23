"""fsck finds each thing that must not be, names the file it hurts, and loses nothing."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.models import F
from django.test import override_settings
from django.utils import timezone

from blocks import gc
from blocks.models import (
    Block,
    BlockList,
    BlockState,
    CondemnedObject,
    ListState,
    StoredObject,
)
from blocks.storage import get_object_store
from drive_project import fsck
from files import outbox
from files.models import (
    Change,
    Conflict,
    File,
    FileVersion,
    Folder,
    Namespace,
    OutboxMessage,
    StorageAccount,
    UserDevice,
    VersionStatus,
)
from tests.files.uploading import Uploader, sha256
from tests.people import new_person
from tests.services.drive import RunningDrive

ONE, OTHER = b"a" * 300_000, b"b" * 300_000


@pytest.fixture(autouse=True)
def blocks_dir(tmp_path: Path) -> Iterator[Path]:
    with override_settings(BLOCKS_DIR=tmp_path / "blocks"):
        get_object_store.cache_clear()
        yield tmp_path / "blocks"
        get_object_store.cache_clear()


def run(*arguments: str) -> dict[str, Any]:
    """The JSON of `manage.py fsck`, with its exit status."""
    output, status = StringIO(), 0
    try:
        call_command("fsck", "--json", *arguments, stdout=output)
    except SystemExit as end:
        status = int(end.code or 0)
    report: dict[str, Any] = json.loads(output.getvalue())
    assert report["ok"] is (status == 0)
    return report


class Told(NamedTuple):
    """What a test compares of a problem."""

    invariant: str
    rule: str
    path: str | None


def told(report: dict[str, Any]) -> list[Told]:
    return [
        Told(each["invariant"], each["detail"].partition(":")[0], each["path"])
        for each in report["problems"]
    ]


@pytest.fixture
def uploader(laptop: UserDevice) -> Uploader:
    """With some life behind it: folders, versions, a conflict, deletions, an open upload."""
    uploader = Uploader(laptop)
    api = uploader.api
    folder = api.post("/folders", {"parent_folder_id": uploader.root, "name": "Döcs"}).json()
    report = uploader.put(
        ONE + OTHER,
        name="report.pdf",
        parent_folder_id=folder["folder_id"],
        block_bytes=300_000,
    )
    uploader.put(b"", name="empty")
    file = uploader.file(report["file_id"])
    uploader.edit(file, OTHER)
    assert uploader.edit(file, b"late")["outcome"] == "conflict_copy"
    same = uploader.edit(uploader.file(report["file_id"]), OTHER, base=file["current_version_id"])
    assert same["outcome"] == "same"
    gone = api.post("/folders", {"parent_folder_id": folder["folder_id"], "name": "gone"}).json()
    for name in ("one", "two"):
        uploader.put(name.encode(), name=name, parent_folder_id=gone["folder_id"])
    api.delete(f"/folders/{gone['folder_id']}", if_match=gone["rev"])
    back = api.post("/folders", {"parent_folder_id": uploader.root, "name": "back"}).json()
    uploader.put(b"three", name="three", parent_folder_id=back["folder_id"])
    api.delete(f"/folders/{back['folder_id']}", if_match=back["rev"])
    assert api.post(f"/trash/{back['folder_id']}/restore").status_code == 200
    purged = uploader.put(b"for ever", name="purged")["file"]
    deleted = api.delete(f"/files/{purged['file_id']}", if_match=purged["rev"]).json()
    assert api.delete(f"/trash/{deleted['file_id']}").status_code == 204
    for name in "abcdefghij":
        uploader.put(name.encode() * 20, name=name)
    for name in ("open", "open too", "open long"):
        uploader.begin(name.encode(), name=name)
    given_up = uploader.begin(b"given up", name="given up")
    assert api.delete(f"/files/upload/{given_up}").status_code == 204
    return uploader


def test_an_ordinary_life_is_clean(uploader: Uploader) -> None:
    report = run("--deep")

    assert report["problems"] == []
    counts = report["checked"]
    assert counts["files"] == 20
    assert counts["versions"] == 22
    assert counts["bytes"] > 600_000
    assert run("--repair")["repaired"] == []


def test_people_can_read_it_too(uploader: Uploader) -> None:
    output = StringIO()
    call_command("fsck", stdout=output)
    assert output.getvalue().startswith("No problems. Checked: 1 namespaces, ")

    set_block(ONE, reference_count=7)
    output = StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("fsck", stdout=output)
    assert end.value.code == 1
    lines = output.getvalue().splitlines()
    assert lines[0].startswith("I2 [")
    assert "fsck --repair" in lines[0]
    assert lines[-1].startswith("1 problem. ")


# --- Each thing that can be wrong -----------------------------------------------------------


def version_of(name: str) -> UUID:
    """The current version of a file, or what an upload has begun of it."""
    return FileVersion.objects.filter(file__name=name).latest("created_at").pk


def set_list(name: str, **fields: Any) -> None:
    assert BlockList.objects.filter(pk=version_of(name)).update(**fields)


def set_version(name: str, **fields: Any) -> None:
    assert FileVersion.objects.filter(pk=version_of(name)).update(**fields)


def set_file(name: str, /, **fields: Any) -> None:
    assert File.objects.filter(name=name).update(**fields)


def set_block(data: bytes, **fields: Any) -> None:
    assert Block.objects.filter(pk=sha256(data)).update(**fields)


def object_of(block: bytes) -> Path:
    return Path(settings.BLOCKS_DIR) / StoredObject.objects.get(blocks=sha256(block)).pk


def unknown_list() -> None:
    BlockList.objects.create(file_version_id=uuid4(), state=ListState.COMMITTED)


def condemn_object_in_use() -> None:
    CondemnedObject.objects.create(
        s3_location=StoredObject.objects.get(blocks=sha256(b"a" * 20)).pk, due_at=timezone.now()
    )


def write_unknown_object() -> None:
    location = f"b/aa/{'aa' * 32}/{uuid4()}"
    get_object_store().write(location, b"lost", sha256=sha256(b"lost"))
    long_ago = timezone.now().timestamp() - 2 * 24 * 3600
    os.utime(Path(settings.BLOCKS_DIR) / location, (long_ago, long_ago))


def lose_message() -> None:
    OutboxMessage.objects.create(
        topic="released",
        payload={"versions": [str(uuid4())]},
        due_at=timezone.now() - timedelta(hours=1),
    )


def vanish(name: str) -> None:
    """A file goes without a trace, with what it had used."""
    file = File.objects.get(name=name)
    pk = version_of(name)
    set_list(name, state=ListState.RELEASED, released_at=timezone.now())
    set_file(name, status="pending", current_version=None)
    FileVersion.objects.filter(pk=pk).delete()
    File.objects.filter(pk=file.pk).delete()
    StorageAccount.objects.update(used_bytes=F("used_bytes") - file.size_bytes)


RELEASED = {"state": ListState.RELEASED, "released_at": timezone.now()}
OPEN = {"state": ListState.OPEN, "released_at": None}
Harm = tuple[Callable[[], object], set[Told]]

# What is done, and what fsck says then. Each harm is to other rows than the others.
PUT_RIGHT: dict[str, Harm] = {
    "a count too low": (
        lambda: set_block(OTHER, reference_count=0),
        {Told("I2", "reference-count", None)},
    ),
    "live bytes too low": (
        lambda: StoredObject.objects.filter(blocks=sha256(ONE)).update(live_bytes=1),
        {Told("I2", "live-bytes", None)},
    ),
    "an object of no block": (
        lambda: StoredObject.objects.create(
            s3_location=f"b/aa/{'aa' * 32}/{uuid4()}", size_bytes=0
        ),
        {Told("I2", "live-bytes", None), Told("I8", "upload-lost", None)},
    ),
    "an object in two places": (
        condemn_object_in_use,
        {Told("I8", "location-in-two-places", None)},
    ),
    "an object that no row knows": (write_unknown_object, {Told("I8", "object-unknown", None)}),
    "a list of no version": (unknown_list, {Told("I2", "list-unknown", None)}),
    "a list that was not told": (
        lambda: set_list("b", **OPEN),
        {Told("I2", "list-not-told", "/b")},
    ),
    "a list in another namespace": (
        lambda: set_list("c", namespace_id=uuid4()),
        {Told("I2", "list-elsewhere", "/c")},
    ),
    "an aborted upload with a list": (
        lambda: set_list("given up", **OPEN),
        {Told("I2", "list-not-released", "/given up")},
    ),
    "an open upload whose list is released": (
        lambda: set_list("open", **RELEASED),
        {Told("I2", "list-released-early", "/open")},
    ),
    "an open upload whose list is committed": (
        lambda: set_list("open too", state=ListState.COMMITTED),
        # Its bytes were sent and not verified yet.
        {
            Told("I1", "committed-without-bytes", "/open too"),
            Told("I2", "list-committed-early", "/open too"),
        },
    ),
    "an account that counts wrongly": (
        lambda: StorageAccount.objects.update(used_bytes=1, reserved_bytes=1),
        {Told("I7", "account", None)},
    ),
    "an upload that nobody aborted": (
        lambda: set_version("open long", expires_at=timezone.now() - timedelta(hours=2)),
        {Told("I10", "upload-overdue", "/open long")},
    ),
    "a message that nobody delivered": (lose_message, {Told("I10", "message-overdue", None)}),
}
LEFT: dict[str, Harm] = {
    "a lost object": (
        lambda: object_of(ONE).unlink(),
        {Told("I1", "object-lost", "/Döcs/report.pdf")},
    ),
    "a damaged block": (
        lambda: set_block(b"a" * 20, state=BlockState.DAMAGED),
        {Told("I1", "block-damaged", "/a")},
    ),
    "a list that was released": (
        lambda: set_list("b", **RELEASED),
        {Told("I1", "list-lost", "/b")},
    ),
    "blocks in another order": (
        lambda: set_version("c", blocks_digest="00" * 32),
        {Told("I7", "list-differs", "/c")},
    ),
    "a version of another length": (
        lambda: set_version("d", block_count=2),
        {Told("I7", "list-differs", "/d")},
    ),
    "a file of another size": (
        lambda: set_file("e", size_bytes=99),
        {Told("I3", "entry-differs", "/e"), Told("I7", "file-differs", "/e")},
    ),
    "a rename that the journal does not know": (
        lambda: set_file("f", name="new", name_key="new"),
        {Told("I3", "entry-differs", "/new")},
    ),
    "a file named like a folder": (
        lambda: set_file("g", name="Döcs", name_key="döcs"),
        {Told("I3", "entry-differs", "/Döcs"), Told("I6", "name-twice", "/Döcs")},
    ),
    "a name key of another name": (
        lambda: set_file("h", name_key="other"),
        {Told("I6", "name", "/h")},
    ),
    "a deletion that the journal does not know": (
        lambda: Folder.objects.filter(name="back").update(deleted_at=timezone.now()),
        {
            Told("I3", "entry-differs", "/back"),
            Told("I3", "replay-differs", "/back"),
            Told("I3", "replay-differs", "/back/three"),
        },
    ),
    "a file that vanished": (lambda: vanish("i"), {Told("I5", "vanished", None)}),
    "a current version that is none": (
        lambda: set_version("j", status=VersionStatus.ABORTED),
        {
            Told("I4", "current-version", "/j"),
            Told("I7", "account", None),
            Told("I2", "list-not-released", "/j"),
        },
    ),
}


def test_what_can_be_put_right_is_and_nobody_loses_anything(uploader: Uploader) -> None:
    contents = readable()
    for spoil, _ in PUT_RIGHT.values():
        spoil()

    report = run()

    assert set(told(report)) == {each for _, expected in PUT_RIGHT.values() for each in expected}
    assert all(". " in each["detail"] for each in report["problems"])
    repaired = run("--deep", "--repair")
    assert repaired["problems"] == []
    assert len(repaired["repaired"]) >= len(PUT_RIGHT)
    gc.collect(store=get_object_store(), grace=timedelta())
    assert run("--deep")["problems"] == []
    assert readable() == contents
    assert {name: uploader.read(file_id(name)) for name in "ab"} == {"a": b"a" * 20, "b": b"b" * 20}


def test_what_cannot_be_put_right_is_told_with_its_file_and_left_alone(uploader: Uploader) -> None:
    for spoil, _ in LEFT.values():
        spoil()
    before = readable()

    report = run()

    assert set(told(report)) == {each for _, expected in LEFT.values() for each in expected}
    repairable = {"account", "list-not-released"}
    left = {each for each in told(report) if each.rule not in repairable}
    assert set(told(run("--repair"))) == left
    assert readable() == before


def test_a_conflict_between_two_namespaces_is_forgotten(uploader: Uploader) -> None:
    conflict = Conflict.objects.get()
    other = Namespace.objects.get(owner=new_person("bob"))
    Conflict.objects.update(namespace=other)

    [found] = told(run())
    assert found == Told("I6", "conflict-elsewhere", f"/Döcs/{conflict.copy.name}")
    assert run("--repair")["problems"] == []
    assert {conflict.file.name, conflict.copy.name} <= set(
        File.objects.values_list("name", flat=True)
    )
    assert run()["problems"] == []


def test_a_folder_below_itself_is_found(uploader: Uploader) -> None:
    folder = Folder.objects.get(name="Döcs")
    Folder.objects.filter(pk=folder.pk).update(parent_folder=folder.pk)

    assert Told("I6", "unreachable", "Döcs/Döcs") in told(run())


def test_a_gap_in_the_journal_is_found(uploader: Uploader) -> None:
    Change.objects.filter(seq=3).update(seq=1_000_003)

    gaps = [each for each in run()["problems"] if "journal-gap" in each["detail"]]

    assert [each["invariant"] for each in gaps] == ["I3", "I3", "I3"]
    assert "entries 3 to 3 are missing" in gaps[0]["detail"]


def file_id(name: str) -> str:
    return str(File.objects.get(name=name).pk)


def readable() -> set[UUID]:
    """Versions that are kept and whose lists are complete."""
    return set(
        FileVersion.objects.filter(status=VersionStatus.COMMITTED).values_list("pk", flat=True)
    )


def test_only_a_deep_check_sees_a_flipped_bit(uploader: Uploader) -> None:
    path = object_of(ONE)
    data = bytearray(path.read_bytes())
    data[7] ^= 4
    path.write_bytes(data)

    assert run()["problems"] == []
    assert told(run("--deep")) == [Told("I1", "bytes-differ", "/Döcs/report.pdf")]


def test_what_was_removed_and_is_still_kept_is_no_problem(uploader: Uploader) -> None:
    """A version's blocks stay for BLOCK_GRACE after the version is gone."""
    removed = OutboxMessage.objects.filter(topic="released", due_at__gt=timezone.now())
    [message] = removed
    assert BlockList.objects.filter(pk=message.payload["versions"][0]).exists()

    assert run()["problems"] == []


def test_another_servers_lists_are_not_released(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two databases is not the right one: releasing would cost everything."""
    monkeypatch.setattr(fsck, "FEW_LISTS", 5)
    for _ in range(30):
        unknown_list()

    report = run("--repair")

    assert report["repaired"] == []
    assert [each.rule for each in told(report)] == ["list-unknown"] * 30
    assert BlockList.objects.exclude(state=ListState.RELEASED).count() >= 30


@pytest.mark.django_db(transaction=True)
def test_work_that_goes_on_is_no_problem(laptop: UserDevice) -> None:
    """Beside uploads, edits, deletions for ever, aborts and the collector, again and again."""
    is_over = Event()
    reports: list[dict[str, Any]] = []

    def live(number: int) -> None:
        uploader = Uploader(laptop)
        try:
            count = 0
            while not is_over.is_set():
                count += 1
                data = b"%d of %d" % (count, number)
                file = uploader.put(data, name=f"{number}-{count}")["file"]
                uploader.edit(file, data + b" edited")
                given_up = uploader.begin(data + b" given up", name=f"given up {number}-{count}")
                uploader.api.delete(f"/files/upload/{given_up}")
                gone = uploader.put(b"gone " + data, name=f"gone {number}-{count}")["file"]
                uploader.api.delete(f"/files/{gone['file_id']}", if_match=gone["rev"])
                uploader.api.delete(f"/trash/{gone['file_id']}")
                outbox.relay()
                gc.collect(store=get_object_store(), grace=timedelta())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as threads, override_settings(BLOCK_GRACE=timedelta()):
        lives = [threads.submit(live, number) for number in range(2)]
        try:
            deadline = time.monotonic() + 60
            while len(reports) < 4 or Change.objects.count() < 100:
                assert time.monotonic() < deadline, "nobody has worked"
                reports.append(run(*(["--deep"] if len(reports) % 2 else [])))
        finally:
            is_over.set()
        for each in lives:
            each.result()

    assert [report["problems"] for report in reports if report["problems"]] == []


def test_it_says_in_one_line_why_it_cannot_run(tmp_path: Path) -> None:
    drive = RunningDrive(tmp_path / "data")

    done = drive.manage("fsck", "--json")

    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "Start Drive once" in line

"""`manage.py scrub` names the files that the disk has harmed, and their devices hear of it."""

import json
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from blocks import tasks
from blocks.models import CondemnedObject, StoredObject
from blocks.storage import LocalObjectStore, get_object_store
from drive_project.celery import app
from drive_project.common.errors import ServiceUnavailable
from files.models import UserDevice
from files.tasks import note_damage
from tests.files.uploading import Uploader, sha256
from tests.services.drive import RunningDrive

ONE, OTHER = b"a" * 300_000, b"b" * 300_000


@pytest.fixture(autouse=True)
def blocks_dir(tmp_path: Path) -> Iterator[Path]:
    with override_settings(BLOCKS_DIR=tmp_path / "blocks"):
        get_object_store.cache_clear()
        yield tmp_path / "blocks"
        get_object_store.cache_clear()


@pytest.fixture
def uploader(laptop: UserDevice) -> Uploader:
    uploader = Uploader(laptop)
    folder = uploader.api.post("/folders", {"parent_folder_id": uploader.root, "name": "Döcs"})
    uploader.put(
        ONE + OTHER,
        name="report.pdf",
        parent_folder_id=folder.json()["folder_id"],
        block_bytes=300_000,
    )
    uploader.put(b"fine", name="fine")
    return uploader


def run(*arguments: str) -> dict[str, Any]:
    output, status = StringIO(), 0
    try:
        call_command("scrub", "--json", *arguments, stdout=output)
    except SystemExit as end:
        status = int(end.code or 0)
    report: dict[str, Any] = json.loads(output.getvalue())
    assert report["ok"] is (status == 0)
    return report


def object_of(block: bytes, blocks_dir: Path) -> Path:
    return blocks_dir / StoredObject.objects.get(blocks=sha256(block)).pk


def test_what_is_right_is_said_to_be(uploader: Uploader) -> None:
    report = run()

    assert report["problems"] == []
    assert report["checked"] == {
        "objects": 3,
        "blocks": 3,
        "bytes": 600_004,
        "damaged": 0,
        "healed": 0,
    }


def test_the_files_that_are_hurt_are_named_and_marked(
    uploader: Uploader, stranger: UserDevice, blocks_dir: Path
) -> None:
    Uploader(stranger).put(OTHER, name="hers", block_bytes=300_000)
    os.truncate(object_of(OTHER, blocks_dir), 299_999)

    report = run()

    named = {(each["invariant"], each["id"], each["path"]) for each in report["problems"]}
    assert named == {("I1", sha256(OTHER), "/Döcs/report.pdf"), ("I1", sha256(OTHER), "/hers")}
    assert {each["detail"].rpartition(" ")[2] for each in report["problems"]} == {
        "alice@example.com",
        "mallory@example.com",
    }
    [file] = [
        item
        for item in Uploader(stranger).api.get("/folders/root/children").json()["items"]
        if item["name"] == "hers"
    ]
    assert file["is_damaged"]
    output = StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("scrub", stdout=output)
    assert end.value.code == 1
    assert "I1 /hers [" in output.getvalue()
    assert "2 problems." in output.getvalue()


def test_a_part_at_a_time(uploader: Uploader) -> None:
    counts = [run("--subset", f"{number}/3")["checked"]["objects"] for number in (1, 2, 3)]
    assert sum(counts) == 3


@pytest.mark.parametrize(
    "wrong", [["--subset", "0/3"], ["--subset", "4/3"], ["--rate", "0"], ["--rate", "nan"]]
)
def test_what_makes_no_sense_is_refused(wrong: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("scrub", *wrong)


def test_a_store_that_does_not_answer_is_not_damage(
    uploader: Uploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: object, **options: object) -> None:
        raise ServiceUnavailable("The object store does not answer.")

    monkeypatch.setattr(LocalObjectStore, "read", away)
    output = StringIO()

    with pytest.raises(CommandError, match="does not answer") as error:
        call_command("scrub", "--json", stdout=output)

    assert (error.value.returncode, output.getvalue()) == (2, "")
    monkeypatch.undo()
    assert run()["ok"]


def test_an_object_of_no_row_is_condemned(uploader: Uploader, blocks_dir: Path) -> None:
    location = f"b/aa/{'aa' * 32}/01234567-89ab-cdef-0123-456789abcdef"
    get_object_store().write(location, b"lost", sha256=sha256(b"lost"))
    long_ago = timezone.now().timestamp() - 2 * 24 * 3600
    os.utime(blocks_dir / location, (long_ago, long_ago))

    assert run()["ok"]

    assert CondemnedObject.objects.filter(pk=location).exists()


def test_the_daily_tasks_do_the_same(uploader: Uploader, blocks_dir: Path) -> None:
    scheduled = app.conf.beat_schedule
    assert {"blocks.tasks.scrub_store", "blocks.tasks.sweep_store", "files.tasks.note_damage"} <= (
        scheduled.keys()
    )
    object_of(ONE, blocks_dir).unlink()
    data = bytearray(object_of(OTHER, blocks_dir).read_bytes())
    data[0] ^= 1
    object_of(OTHER, blocks_dir).write_bytes(data)

    def damaged() -> set[str]:
        return set(
            StoredObject.objects.filter(blocks__state="damaged").values_list("blocks", flat=True)
        )

    tasks.sweep_store()
    assert damaged() == {sha256(ONE)}
    tasks.scrub_store()
    assert damaged() == {sha256(ONE)}  # all was verified less than a month ago
    StoredObject.objects.update(last_verified_at=timezone.now() - 2 * tasks.SCRUB_BUDGET)
    with override_settings(SCRUB_INTERVAL=tasks.SCRUB_BUDGET):
        tasks.scrub_store()
    assert damaged() == {sha256(ONE), sha256(OTHER)}
    note_damage()
    [folder, _] = uploader.api.get("/folders/root/children").json()["items"]
    [file] = uploader.api.get(f"/folders/{folder['folder_id']}/children").json()["items"]
    assert file["is_damaged"]


def test_it_says_in_one_line_why_it_cannot_run(tmp_path: Path) -> None:
    done = RunningDrive(tmp_path / "data").manage("scrub")

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1

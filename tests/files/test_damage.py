"""A stored block goes bad: people are told which of their files it hurts, and how it heals."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from blocks import scrub
from blocks.models import StoredObject
from blocks.scrub import Scrubbed
from blocks.storage import get_object_store
from files.models import FileVersion, UserDevice
from files.services.confirmation import confirm_content_hashes
from files.services.damage import note_damage
from tests.files.uploading import Uploader, sha256

ONE, OTHER = b"a" * 300_000, b"b" * 300_000
CONTENT = ONE + OTHER


@pytest.fixture(autouse=True)
def blocks_dir(tmp_path: Path) -> Iterator[Path]:
    with override_settings(BLOCKS_DIR=tmp_path / "blocks"):
        get_object_store.cache_clear()
        yield tmp_path / "blocks"
        get_object_store.cache_clear()


def spoil(block: bytes) -> None:
    """The disk loses a block, and the scrub finds out."""
    location = StoredObject.objects.get(blocks=sha256(block)).pk
    (Path(settings.BLOCKS_DIR) / location).unlink()
    assert list(scrub.scrub(store=get_object_store(), done=Scrubbed()))


def changes(uploader: Uploader, cursor: str) -> tuple[list[tuple[str, str, bool | None]], str]:
    page = uploader.api.get("/changes", cursor=cursor).json()
    return [
        (entry["action"], entry["item"]["name"], entry["item"].get("is_damaged"))
        for entry in page["entries"]
    ], page["cursor"]


def test_a_damaged_file_is_marked_and_told(laptop: UserDevice) -> None:
    uploader = Uploader(laptop)
    file_id = uploader.put(CONTENT, name="film", block_bytes=300_000)["file_id"]
    uploader.put(b"fine", name="whole")
    _, cursor = changes(uploader, "")
    spoil(OTHER)

    noted = note_damage()
    again = note_damage()

    assert (noted.damaged, noted.healed, again.damaged, again.healed) == (1, 0, 0, 0)
    entries, _ = changes(uploader, cursor)
    assert entries == [("upsert", "film", True)]
    assert uploader.file(file_id)["is_damaged"]
    [version] = uploader.api.get(f"/files/{file_id}/versions").json()["items"]
    assert version["is_damaged"]
    assert uploader.api.get(f"/files/download/{file_id}").json()["is_damaged"]
    snapshot = uploader.api.get(
        "/changes/snapshot", namespace=uploader.file(file_id)["namespace_id"]
    ).json()
    marks = {item["name"]: item["is_damaged"] for item in snapshot["items"] if "file_id" in item}
    assert marks == {"film": True, "whole": False}


def test_the_whole_parts_of_a_damaged_file_can_be_read(laptop: UserDevice) -> None:
    uploader = Uploader(laptop)
    file_id = uploader.put(CONTENT, name="film", block_bytes=300_000)["file_id"]
    spoil(OTHER)
    note_damage()
    path = f"/files/{file_id}/content"

    whole = uploader.api.get(path)
    first: Any = uploader.api._send("GET", path, headers={"range": "bytes=0-299999"})
    over = uploader.api._send("GET", path, headers={"range": "bytes=299999-300000"})

    for refused in (whole, over):
        assert (refused.status_code, refused.json()["code"]) == (503, "content-damaged")
        assert "sent it again" in refused.json()["detail"]
    assert first.status_code == 206
    assert b"".join(first.streaming_content) == ONE


def test_a_device_that_sends_it_again_heals_every_version(
    laptop: UserDevice, phone: UserDevice, stranger: UserDevice
) -> None:
    uploader, mallory = Uploader(laptop), Uploader(stranger)
    film = uploader.put(CONTENT, name="film", block_bytes=300_000)
    mallory.put(OTHER, name="her own", block_bytes=300_000)
    uploader.edit(uploader.file(film["file_id"]), b"short", name="film")
    back = uploader.put(CONTENT, name="copy", block_bytes=300_000)
    spoil(OTHER)
    assert note_damage().damaged == 3
    _, cursor = changes(uploader, "")
    _, hers = changes(mallory, "")

    answer = Uploader(phone).edit(
        uploader.file(back["file_id"]), CONTENT, name="copy", block_bytes=300_000
    )
    noted = note_damage()

    assert answer["outcome"] == "same"
    # The one that it sent was healed by its commit; the others follow.
    assert (noted.damaged, noted.healed) == (0, 2)
    assert changes(uploader, cursor)[0] == [("upsert", "copy", False)]
    assert changes(mallory, hers)[0] == [("upsert", "her own", False)]
    old = uploader.api.get(f"/files/{film['file_id']}/versions").json()["items"]
    assert [version["is_damaged"] for version in old] == [False, False]
    assert uploader.read(film["file_id"], film["file_version_id"]) == CONTENT


def test_damage_in_the_trash_brings_nothing_back(laptop: UserDevice) -> None:
    uploader = Uploader(laptop)
    folder = uploader.api.post("/folders", {"parent_folder_id": uploader.root, "name": "old"})
    folder_id = folder.json()["folder_id"]
    uploader.put(ONE, name="below", parent_folder_id=folder_id)
    assert uploader.api.delete(f"/folders/{folder_id}", if_match=folder.json()["rev"]).status_code
    _, cursor = changes(uploader, "")
    spoil(ONE)

    assert note_damage().damaged == 1

    assert changes(uploader, cursor)[0] == [("delete", "below", True)]


def test_the_same_content_in_other_blocks_takes_the_place_of_a_damaged_version(
    laptop: UserDevice,
) -> None:
    uploader = Uploader(laptop)
    film = uploader.put(CONTENT, name="film", block_bytes=300_000)
    confirm_content_hashes(budget=timedelta(minutes=1))
    spoil(OTHER)
    note_damage()
    file = uploader.file(film["file_id"])
    first = uploader.begin(
        CONTENT,
        file_id=file["file_id"],
        base_version_id=file["current_version_id"],
        block_bytes=150_000,
    )
    # Its own hash is a claim until it is read; that of the damaged one was confirmed before.
    FileVersion.objects.filter(pk=first).update(is_content_hash_confirmed=True)

    answer = uploader.commit(first).json()

    assert answer["outcome"] == "committed"
    assert not uploader.file(film["file_id"])["is_damaged"]
    assert uploader.read(film["file_id"]) == CONTENT

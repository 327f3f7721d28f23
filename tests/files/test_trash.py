"""The trash: looked at, restored from, emptied, expired."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from drive_project.common.rendering import rfc3339
from files import tasks
from files.models import (
    Change,
    Conflict,
    File,
    FileVersion,
    Folder,
    OutboxMessage,
    PurgedUpload,
    ShareLink,
    StorageAccount,
)
from files.services import aborts, links, purging, trash
from tests.files.answers import names, problem
from tests.files.trees import begin_upload, edit_file, put_file
from tests.files.uploading import Uploader

pytestmark = pytest.mark.django_db


@pytest.fixture
def drop(api, laptop):
    """drop(item) -> moves a folder (as JSON) or a file (a row) to the trash."""

    def drop(item):
        kind, item_id = (
            ("files", item.pk) if isinstance(item, File) else ("folders", item["folder_id"])
        )
        rev = api(laptop).get(f"/{kind}/{item_id}").json()["rev"]
        assert api(laptop).delete(f"/{kind}/{item_id}", if_match=rev).status_code == 200

    return drop


def restore(api, device, item_id, **body):
    answer = api(device).post(f"/trash/{item_id}/restore", body)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_the_trash_shows_what_was_deleted_and_from_where(api, laptop, root, make, drop):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    file = put_file(laptop, inner["folder_id"], "a.txt")
    put_file(laptop, inner["folder_id"], "goes along")
    drop(file)
    drop(outer)
    items = api(laptop).get("/trash").json()["items"]

    assert [(item["name"], item["original_path"]) for item in items] == [
        ("outer", "/outer"),
        ("a.txt", "/outer/inner/a.txt"),
    ]
    row = Folder.objects.get(pk=outer["folder_id"])
    assert row.deleted_at is not None
    assert items[0]["expires_at"] == rfc3339(row.deleted_at + settings.TRASH_RETENTION)


def test_the_trash_comes_in_pages(api, laptop, root, make, drop):
    for index in range(3):
        drop(make(root, f"folder {index}"))
        drop(put_file(laptop, root["folder_id"], f"file {index}"))
    whole = names(api(laptop).get("/trash"))
    assert whole == ["file 2", "folder 2", "file 1", "folder 1", "file 0", "folder 0"]

    seen: list[str] = []
    cursor = None
    while cursor is not None or not seen:
        answer = api(laptop).get("/trash", limit=2, cursor=cursor)
        seen += names(answer)
        cursor = answer.json()["next_cursor"]
    assert seen == whole


def test_a_restored_folder_brings_back_what_went_with_it(api, laptop, root, make, drop):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    file = put_file(laptop, inner["folder_id"], "a")
    alone = put_file(laptop, inner["folder_id"], "deleted alone")
    drop(alone)
    drop(outer)
    before = Change.objects.count()
    restored = restore(api, laptop, outer["folder_id"])

    assert restored["deleted_at"] is None
    assert names(api(laptop).get(f"/folders/{inner['folder_id']}/children")) == ["a"]
    assert names(api(laptop).get("/trash")) == ["deleted alone"]
    entries = Change.objects.order_by("seq")[before:]
    assert [str(entry.item_id) for entry in entries] == [
        outer["folder_id"],
        inner["folder_id"],
        str(file.pk),
    ]


def test_a_taken_name_gets_a_counter(api, laptop, root, drop):
    first = put_file(laptop, root["folder_id"], "a.txt")
    drop(first)
    put_file(laptop, root["folder_id"], "A.txt")
    put_file(laptop, root["folder_id"], "a (2).txt")

    assert restore(api, laptop, first.pk)["name"] == "a (3).txt"


def test_a_long_name_is_cut_for_its_counter(api, laptop, root, make, drop):
    folder = make(root, "ä" * 127)
    drop(folder)
    make(root, "ä" * 127)

    assert restore(api, laptop, folder["folder_id"])["name"] == "ä" * 125 + " (2)"


def test_an_item_whose_folder_is_gone_goes_to_the_root(api, laptop, root, make, drop):
    folder = make(root, "folder")
    file = put_file(laptop, folder["folder_id"], "a")
    drop(file)
    drop(folder)

    assert restore(api, laptop, file.pk)["parent_folder_id"] == root["folder_id"]


def test_an_item_is_restored_to_where_the_person_says(api, laptop, root, make, drop):
    file = put_file(laptop, root["folder_id"], "a")
    folder = make(root, "folder")
    gone = make(root, "gone")
    drop(file)
    drop(gone)

    answer = api(laptop).post(f"/trash/{file.pk}/restore", {"parent_folder_id": gone["folder_id"]})
    problem(answer, 404, "not-found")
    there = restore(api, laptop, file.pk, parent_folder_id=folder["folder_id"])
    assert there["parent_folder_id"] == folder["folder_id"]


def test_only_what_is_in_the_trash_is_restored(api, laptop, root, make, drop):
    outer = make(root, "outer")
    inner = make(outer, "inner")

    for _ in range(2):
        for item_id in (inner["folder_id"], root["folder_id"]):
            problem(api(laptop).post(f"/trash/{item_id}/restore", {}), 404, "not-found")
            problem(api(laptop).delete(f"/trash/{item_id}"), 404, "not-found")
        if Folder.objects.get(pk=outer["folder_id"]).deleted_at is None:
            # Below a deleted folder is not in the trash either.
            drop(outer)


def test_a_stranger_restores_and_purges_nothing(api, laptop, stranger, root, drop):
    file = put_file(laptop, root["folder_id"], "a")
    drop(file)

    assert names(api(stranger).get("/trash")) == []
    problem(api(stranger).post(f"/trash/{file.pk}/restore", {}), 404, "not-found")
    problem(api(stranger).delete(f"/trash/{file.pk}"), 404, "not-found")
    assert api(stranger).delete("/trash").status_code == 204
    assert names(api(laptop).get("/trash")) == ["a"]


def test_deleted_for_ever_frees_the_quota_and_lets_blocks_go(api, laptop, root, make, drop):
    outer = make(root, "outer")
    inner = make(outer, "inner")
    first = put_file(laptop, inner["folder_id"], "a", size_bytes=10)
    edit_file(laptop, first, size_bytes=20)
    second = put_file(laptop, outer["folder_id"], "b", size_bytes=40)
    begun = begin_upload(laptop, Folder.objects.get(pk=inner["folder_id"]), "c", size_bytes=80)
    kept = put_file(laptop, root["folder_id"], "kept", size_bytes=100)
    link = links.create_link(user=laptop.user, file_id=second.pk)
    Conflict.objects.create(namespace_id=root["namespace_id"], file=first, copy=second)
    committed = {
        str(pk)
        for pk in FileVersion.objects.filter(file__in=[first, second]).values_list("pk", flat=True)
    }
    drop(outer)
    OutboxMessage.objects.all().delete()

    assert api(laptop).delete(f"/trash/{outer['folder_id']}").status_code == 204

    account = StorageAccount.objects.get(owner=laptop.user)
    assert (account.used_bytes, account.reserved_bytes) == (100, 0)
    assert list(File.objects.values_list("pk", flat=True)) == [kept.pk]
    assert [str(pk) for pk in Folder.objects.values_list("pk", flat=True)] == [root["folder_id"]]
    assert not ShareLink.objects.filter(pk=link.pk).exists()
    waiting = OutboxMessage.objects.get(topic="released")
    assert set(waiting.payload["versions"]) == committed
    assert waiting.due_at > timezone.now() + settings.BLOCK_GRACE - timedelta(minutes=1)
    # The one that was only begun needs no grace; the Block Service was told at once.
    assert str(begun.pk) not in waiting.payload["versions"]


def test_an_upload_whose_file_was_deleted_for_ever_has_to_begin_again(
    api, laptop, stranger, root, make, drop
):
    on_laptop = Uploader(laptop)
    folder = make(root, "folder")
    begun = on_laptop.init(b"x", name="new", parent_folder_id=folder["folder_id"], op_id="k").json()
    given_up = on_laptop.begin(b"y", name="other", parent_folder_id=folder["folder_id"])
    api(laptop).delete(f"/files/upload/{given_up}")
    drop(folder)
    assert api(laptop).delete(f"/trash/{folder['folder_id']}").status_code == 204
    assert not Folder.objects.filter(pk=folder["folder_id"]).exists()

    for upload_id in (begun["upload_id"], given_up):
        upload = f"/files/upload/{upload_id}"
        more = {"start_index": 0, "blocks": []}
        problem(on_laptop.commit(upload_id), 410, "upload-expired")
        problem(api(laptop).post(f"{upload}/urls", {}), 410, "upload-expired")
        problem(api(laptop).post(f"{upload}/blocks", more), 410, "upload-expired")
        problem(api(laptop).get(upload), 410, "upload-expired")
        assert api(laptop).delete(upload).status_code == 204
        problem(Uploader(stranger).commit(upload_id), 404, "not-found")
    again = on_laptop.item(b"x", name="new", parent_folder_id=folder["folder_id"], op_id="k")
    problem(api(laptop).post("/files/upload/init", again), 410, "upload-expired")

    PurgedUpload.objects.update(purged_at=timezone.now() - aborts.REMEMBERED_FOR)
    aborts.forget_old()
    problem(on_laptop.commit(begun["upload_id"]), 404, "not-found")


def test_deleting_for_ever_resumes_after_a_crash(api, laptop, root, make, drop, monkeypatch):
    monkeypatch.setattr(purging, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(purging, "FOLDERS_AT_ONCE", 1)
    monkeypatch.setattr(trash, "BATCHES_AT_ONCE", 2)
    outer = make(root, "outer")
    inner = make(outer, "inner")
    for index in range(3):
        put_file(laptop, inner["folder_id"], f"file {index}", size_bytes=10)
    drop(outer)
    api(laptop).delete(f"/trash/{outer['folder_id']}")

    # Two batches are done. What is left is nobody's any more, also not what lies below.
    assert File.objects.count() == 1
    assert names(api(laptop).get("/trash")) == []
    answer = api(laptop).post(f"/trash/{outer['folder_id']}/restore", {})
    problem(answer, 404, "not-found")
    body = {"parent_folder_id": inner["folder_id"], "name": "x"}
    problem(api(laptop).post("/folders", body), 404, "not-found")

    tasks.finish_deletions()
    assert File.objects.count() == 0
    assert Folder.objects.count() == 1
    assert StorageAccount.objects.get(owner=laptop.user).used_bytes == 0


def test_a_large_deletion_looks_its_folders_up_once(api, laptop, root, make, drop, monkeypatch):
    monkeypatch.setattr(purging, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(purging, "FOLDERS_AT_ONCE", 2)
    monkeypatch.setattr(trash, "BATCHES_AT_ONCE", 0)
    top = folder = make(root, "top")
    for index in range(4):
        folder = make(folder, f"{index}")
        put_file(laptop, folder["folder_id"], "file")
    drop(put_file(laptop, root["folder_id"], "alone"))
    drop(top)
    api(laptop).delete("/trash")
    with CaptureQueriesContext(connection) as queries:
        tasks.finish_deletions()

    recursive = [query for query in queries if "RECURSIVE" in query["sql"]]
    assert len(recursive) == 1
    assert (Folder.objects.count(), File.objects.count()) == (1, 0)
    assert StorageAccount.objects.get(owner=laptop.user).used_bytes == 0


def test_the_trash_is_emptied_whole(api, laptop, root, make, drop):
    folder = make(root, "folder")
    inside = put_file(laptop, folder["folder_id"], "inside")
    put_file(laptop, root["folder_id"], "kept")
    drop(inside)
    drop(folder)
    drop(put_file(laptop, root["folder_id"], "a"))

    assert api(laptop).delete("/trash").status_code == 204
    assert names(api(laptop).get("/trash")) == []
    assert names(api(laptop).get("/folders/root/children")) == ["kept"]
    assert (Folder.objects.count(), File.objects.count()) == (1, 1)


def test_what_was_long_in_the_trash_expires(api, laptop, root, make, drop):
    old = make(root, "old")
    put_file(laptop, old["folder_id"], "inside")
    drop(old)
    new = put_file(laptop, root["folder_id"], "new")
    drop(new)
    Folder.objects.filter(pk=old["folder_id"]).update(
        deleted_at=timezone.now() - settings.TRASH_RETENTION - timedelta(minutes=1)
    )

    for _ in range(2):
        trash.expire_trash()
        assert names(api(laptop).get("/trash")) == ["new"]
        assert Folder.objects.count() == 1
    trash.expire_trash(now=timezone.now() + settings.TRASH_RETENTION + timedelta(minutes=1))
    assert File.objects.count() == 0

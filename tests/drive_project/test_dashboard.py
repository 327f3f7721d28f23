"""The staff page: who may see it, and that its numbers are right."""

import pytest
from django.test import Client

from drive_project.dashboard import numbers
from files import queries
from files.services import devices
from files.services.deletions import delete_file
from tests.files.trees import edit_file, put_file
from tests.files.uploading import Uploader


def browser(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def staff(bob):
    bob.is_staff = bob.is_superuser = True
    bob.save()
    return bob


def test_the_dashboard_is_not_there_for_ordinary_people(alice, client):
    assert browser(alice).get("/dashboard/").status_code == 404
    assert client.get("/dashboard/").status_code == 302
    assert browser(alice).get("/admin/").status_code == 302


def test_staff_see_definitions_beside_the_numbers(staff, alice, laptop):
    answer = browser(staff).get("/dashboard/")
    page = answer.content.decode()

    assert answer.status_code == 200
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert " style=" not in page
    for words in ("Referenced divided by stored", "each counted once", "waiting for a worker"):
        assert words in page
    assert "alice@example.com" in page


def test_the_same_content_twice_is_stored_once(alice, laptop):
    uploader = Uploader(laptop)
    uploader.put(b"x" * 5000, name="one.bin")
    uploader.put(b"x" * 5000, name="two.bin")

    stats = numbers.blocks()

    assert (stats.referenced_bytes, stats.stored_bytes) == (10_000, 5_000)
    assert numbers.deduplication_ratio(stats) == 2


def test_current_earlier_and_trashed_versions_are_told_apart(alice, laptop):
    root = queries.own_root(alice)
    file = put_file(laptop, root.pk, "a", size_bytes=100)
    edit_file(laptop, file, size_bytes=30)
    gone = put_file(laptop, root.pk, "b", size_bytes=7)
    delete_file(device=laptop, file_id=gone.pk, rev=gone.rev)

    storage = numbers.storage()

    assert (storage.current_bytes, storage.earlier_bytes, storage.trashed_bytes) == (30, 100, 7)
    assert storage.file_count == 1


def test_people_and_devices_are_counted(alice, laptop, phone, mallory, stranger):
    mallory.is_active = False
    mallory.save()
    devices.revoke_device(user=alice, device_id=phone.pk)
    devices.browser_device(alice, "a-session")

    people, signed_in = numbers.people(), numbers.devices()

    assert (people.total, people.active_today, people.switched_off) == (2, 1, 1)
    assert (signed_in.sync_clients, signed_in.browsers, signed_in.online) == (1, 1, 0)


def test_without_redis_the_page_says_what_it_does_not_know(staff, monkeypatch):
    from drive_project.common.errors import ServiceUnavailable

    def away(ids):
        raise ServiceUnavailable

    # Redis is shared by the whole run, so it cannot be switched off for one test.
    monkeypatch.setattr(numbers, "online_devices", away)
    browser(staff).get("/")

    answer = browser(staff).get("/dashboard/")

    assert answer.status_code == 200
    assert b"unknown" in answer.content


@pytest.mark.parametrize(
    "path",
    [
        "", "files/user/", "files/storageaccount/", "files/userdevice/", "files/namespace/",
        "files/folder/", "files/file/", "files/fileversion/", "files/change/", "files/membership/",
        "files/sharelink/", "files/conflict/", "files/outboxmessage/", "blocks/block/",
        "blocks/storedobject/", "blocks/blocklist/", "blocks/blockupload/",
        "blocks/condemnedobject/", "blocks/collection/",
    ],
)  # fmt: skip
def test_the_records_can_be_looked_at_and_searched(staff, alice, laptop, path):
    Uploader(laptop).put(b"content", name="a.txt")
    tab = browser(staff)

    assert tab.get(f"/admin/{path}").status_code == 200
    assert tab.get(f"/admin/{path}?q=a").status_code == 200


@pytest.mark.parametrize("path", ["files/file/", "files/change/", "blocks/block/", "files/user/"])
def test_the_records_cannot_be_added_to(staff, path):
    assert browser(staff).get(f"/admin/{path}add/").status_code == 403


def test_a_quota_can_be_changed_and_what_is_used_cannot(staff, alice, laptop):
    put_file(laptop, queries.own_root(alice).pk, "a", size_bytes=100)

    answer = browser(staff).post(
        f"/admin/files/storageaccount/{alice.pk}/change/",
        {"limit_bytes": "5000", "used_bytes": "0", "reserved_bytes": "0"},
    )

    assert answer.status_code == 302
    alice.storage_account.refresh_from_db()
    assert alice.storage_account.limit_bytes == 5000
    assert alice.storage_account.used_bytes == 100


def test_nothing_of_the_tree_can_be_changed_or_deleted(staff, alice, laptop):
    file = put_file(laptop, queries.own_root(alice).pk, "a")
    tab = browser(staff)

    tab.post(f"/admin/files/file/{file.pk}/change/", {"name": "b"})
    deleted = tab.post(f"/admin/files/file/{file.pk}/delete/", {"post": "yes"})

    assert deleted.status_code == 403
    file.refresh_from_db()
    assert file.name == "a"

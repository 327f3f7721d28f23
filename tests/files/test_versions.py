"""The versions of a file: listed, gone back to, pruned."""

from uuid import UUID, uuid4

import pytest

from blocks.service import get_block_service
from files import outbox
from files.models import FileVersion, Membership, OutboxMessage, Role, StorageAccount
from files.services.versions import prune_versions
from tests.files.uploading import Uploader

pytestmark = pytest.mark.django_db


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def on_phone(phone):
    return Uploader(phone)


@pytest.fixture
def history(on_laptop, on_phone):
    """One file with three versions, the oldest first; each is the file as it was then."""
    first = on_laptop.put(b"first", name="a.txt", client_modified_ns=1)["file"]
    second = on_phone.edit(first, b"second", executable=True, client_modified_ns=2)["file"]
    third = on_laptop.edit(second, b"third", client_modified_ns=3)["file"]
    return [first, second, third]


def restore(api, file, version_id, **body):
    return api.post(f"/files/{file['file_id']}/versions/{version_id}/restore", body)


def test_versions_are_listed_newest_first(on_laptop, history):
    page = on_laptop.api.get(f"/files/{history[0]['file_id']}/versions").json()

    assert page["next_cursor"] is None
    items = page["items"]
    assert [item["file_version_id"] for item in items] == [
        file["current_version_id"] for file in reversed(history)
    ]
    assert [item["is_current"] for item in items] == [True, False, False]
    assert [item["device"] for item in items] == ["laptop", "phone", "laptop"]
    assert {item["author"] for item in items} == {"alice@example.com"}
    assert [item["size_bytes"] for item in items] == [5, 6, 5]
    assert [item["executable"] for item in items] == [False, True, False]
    assert [item["client_modified_ns"] for item in items] == [3, 2, 1]


def test_versions_come_in_pages(on_laptop, history):
    path = f"/files/{history[0]['file_id']}/versions"
    whole = on_laptop.api.get(path).json()["items"]
    first = on_laptop.api.get(path, limit=2).json()
    second = on_laptop.api.get(path, limit=2, cursor=first["next_cursor"]).json()

    assert first["items"] + second["items"] == whole
    assert [len(page["items"]) for page in (first, second)] == [2, 1]
    assert second["next_cursor"] is None
    for wrong in ("x", "WzFd", "WyJub3ciLCAibm8gaWQiXQ", "WyIyMDI2LTAxLTAxIiwgIngiXQ"):
        answer = on_laptop.api.get(path, cursor=wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


def test_an_old_version_becomes_the_current_one_as_a_new_version(on_laptop, on_phone, history):
    first, second, third = history
    answer = restore(on_phone.api, third, second["current_version_id"])

    assert answer.status_code == 200
    file = answer.json()
    assert answer["ETag"] == f'"{file["rev"]}"'
    assert file["current_version_id"] not in {each["current_version_id"] for each in history}
    assert (file["executable"], file["client_modified_ns"]) == (True, 2)
    assert on_laptop.read(file["file_id"]) == b"second"
    assert on_laptop.read(file["file_id"], first["current_version_id"]) == b"first"
    assert on_laptop.file(file["file_id"])["version_count"] == 4
    assert on_laptop.used() == (5 + 6 + 5 + 6, 0)


def test_restoring_is_harmless_to_repeat(on_laptop, history):
    version_id = history[0]["current_version_id"]
    first = restore(on_laptop.api, history[0], version_id, op_id="one").json()
    again = restore(on_laptop.api, history[0], version_id, op_id="one").json()
    reused = restore(on_laptop.api, history[0], history[1]["current_version_id"], op_id="one")

    assert again == first
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency-key-reused")
    assert on_laptop.file(history[0]["file_id"])["version_count"] == 4


def test_restoring_the_current_version_changes_nothing(on_laptop, history):
    third = history[-1]
    answer = restore(on_laptop.api, third, third["current_version_id"]).json()

    assert answer["current_version_id"] == third["current_version_id"]
    assert on_laptop.used() == (16, 0)


def test_restoring_a_version_brings_a_trashed_file_back(on_laptop, history):
    first, _, third = history
    on_laptop.api.delete(f"/files/{third['file_id']}", {}, if_match=third["rev"])
    file = restore(on_laptop.api, third, first["current_version_id"]).json()

    assert file["deleted_at"] is None
    assert on_laptop.names() == ["a.txt"]
    assert on_laptop.read(file["file_id"]) == b"first"


def test_restoring_over_quota_is_refused(on_laptop, alice, history):
    StorageAccount.objects.filter(owner=alice).update(limit_bytes=18)
    answer = restore(on_laptop.api, history[0], history[0]["current_version_id"])

    assert (answer.status_code, answer.json()["over_by_bytes"]) == (507, 3)
    assert on_laptop.used() == (16, 0)
    assert on_laptop.read(history[0]["file_id"]) == b"third"


def test_a_restore_that_cannot_reach_its_blocks_takes_nothing(on_laptop, history):
    """The Block Service lost the version, or has not heard of it yet."""
    first = history[0]
    version_id = first["current_version_id"]
    with_blocks = FileVersion.objects.get(pk=version_id)
    stranger_id = FileVersion.objects.create(
        file_id=with_blocks.file_id,
        size_bytes=5,
        block_count=1,
        content_hash=with_blocks.content_hash,
        author_id=with_blocks.author_id,
        status="committed",
        committed_at=with_blocks.committed_at,
        expires_at=with_blocks.expires_at,
    ).pk
    answer = restore(on_laptop.api, first, stranger_id, op_id="one")

    assert (answer.status_code, answer.json()["code"]) == (503, "service-unavailable")
    assert on_laptop.used() == (16, 0)
    # The key is free again.
    assert restore(on_laptop.api, first, version_id, op_id="one").status_code == 200


def test_what_is_not_there_cannot_be_restored(on_laptop, stranger, mallory, history):
    file = history[0]
    version_id = file["current_version_id"]
    other = on_laptop.put(b"x", name="other")

    assert restore(on_laptop.api, file, uuid4()).status_code == 404
    assert restore(on_laptop.api, file, other["file_version_id"]).status_code == 404
    assert restore(Uploader(stranger).api, file, version_id).status_code == 404
    assert Uploader(stranger).api.get(f"/files/{file['file_id']}/versions").status_code == 404
    Membership.objects.create(namespace_id=file["namespace_id"], user=mallory, role=Role.VIEWER)
    assert Uploader(stranger).api.get(f"/files/{file['file_id']}/versions").status_code == 200
    assert restore(Uploader(stranger).api, file, version_id).status_code == 403


def test_pruned_versions_give_their_bytes_back_and_the_current_one_stays(
    on_laptop, history, stranger, settings
):
    first, second, third = history
    hers = Uploader(stranger).put(b"hers", name="hers")
    everything = [UUID(each["current_version_id"]) for each in history]
    everything.append(UUID(hers["file_version_id"]))
    removed = prune_versions(namespace_id=UUID(first["namespace_id"]), version_ids=everything)

    assert removed == set(everything[:2])
    assert on_laptop.used() == (5, 0)
    versions = on_laptop.api.get(f"/files/{first['file_id']}/versions").json()["items"]
    assert [each["file_version_id"] for each in versions] == [third["current_version_id"]]
    message = OutboxMessage.objects.get(topic=outbox.RELEASED)
    assert sorted(message.payload["versions"]) == sorted(
        [first["current_version_id"], second["current_version_id"]]
    )
    assert message.due_at - message.created_at >= settings.BLOCK_GRACE * 0.99
    assert on_laptop.read(first["file_id"]) == b"third"
    # Until the grace is over a copy of the blocks can still be read.
    stream = get_block_service().read_version(
        file_version_id=UUID(first["current_version_id"]), start=0, length=5
    )
    assert b"".join(stream) == b"first"

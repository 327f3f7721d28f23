"""What the File Service does by itself: uploads that are too old, hashes that were claimed."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.utils import timezone

from blocks.models import BlockList, ListState
from files import tasks
from files.models import (
    Change,
    ChangeAction,
    File,
    FileVersion,
    IdempotencyRecord,
    VersionStatus,
)
from files.services import confirmation
from tests.files.uploading import Uploader, sha256

# As in production: a task begins outside of any transaction.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def on_phone(phone):
    return Uploader(phone)


def age(version_ids, by):
    FileVersion.objects.filter(pk__in=version_ids).update(expires_at=timezone.now() - by)


def test_an_upload_that_nobody_committed_in_time_is_aborted(on_laptop, stranger):
    other = Uploader(stranger).begin(b"hers", name="hers")
    old = [on_laptop.begin(b"%d" % n, name=f"{n}") for n in range(3)]
    fresh = on_laptop.begin(b"fresh", name="fresh")
    age([*old, other], timedelta(seconds=1))
    tasks.expire_uploads()
    tasks.expire_uploads()

    assert on_laptop.used() == (0, len(b"fresh"))
    assert Uploader(stranger).used() == (0, 0)
    for upload_id in old:
        assert on_laptop.commit(upload_id).status_code == 410
        assert BlockList.objects.get(pk=upload_id).state == ListState.RELEASED
    assert on_laptop.commit(fresh).status_code == 200


def test_an_upload_that_was_committed_is_not_touched(on_laptop):
    done = on_laptop.put(b"x", name="a")
    age([done["file_version_id"]], timedelta(days=365))
    tasks.expire_uploads()

    assert on_laptop.read(done["file_id"]) == b"x"
    assert FileVersion.objects.get(pk=done["file_version_id"]).status == VersionStatus.COMMITTED


def test_what_was_over_long_ago_is_forgotten(on_laptop, on_phone):
    file = on_laptop.put(b"x", name="a")["file"]
    same = on_phone.begin(b"x", name="a")
    on_phone.commit(same)
    aborted = on_laptop.begin(b"y", name="b")
    on_laptop.api.delete(f"/files/upload/{aborted}")
    IdempotencyRecord.objects.create(
        device=on_laptop.device, key="old", request_digest="0" * 64, status=200, answer={}
    )
    tasks.expire_uploads()
    assert FileVersion.objects.count() == 3
    assert File.objects.count() == 3
    age([same, aborted], timedelta(days=31))
    IdempotencyRecord.objects.update(created_at=timezone.now() - timedelta(days=31))
    tasks.expire_uploads()

    assert not IdempotencyRecord.objects.exists()
    assert [str(each.pk) for each in File.objects.all()] == [file["file_id"]]
    assert FileVersion.objects.count() == 1
    assert on_laptop.read(file["file_id"]) == b"x"


def two_blocks(sender, data, **fields):
    """A file in two blocks, whose hash nobody knows without reading it."""
    return sender.put(data, block_bytes=len(data) // 2 + 1, **fields)


def version_of(done):
    return FileVersion.objects.get(pk=done["file_version_id"])


def test_the_hash_of_one_block_is_confirmed_by_the_commit(on_laptop):
    assert version_of(on_laptop.put(b"x", name="a")).is_content_hash_confirmed
    assert version_of(on_laptop.put(b"", name="b")).is_content_hash_confirmed
    assert not version_of(two_blocks(on_laptop, b"two blocks", name="c")).is_content_hash_confirmed


def test_a_claim_about_one_block_that_was_named_later_is_not_believed(on_laptop):
    data = b"the truth"
    begun = on_laptop.init(
        data, name="a", blocks=[], block_count=1, content_hash=sha256(b"a lie")
    ).json()
    claim = {"block_hash": sha256(data), "size_bytes": len(data)}
    on_laptop.api.post(
        f"/files/upload/{begun['upload_id']}/blocks", {"start_index": 0, "blocks": [claim]}
    )
    on_laptop.send_blocks(begun["upload_id"], data)
    done = on_laptop.commit(begun["upload_id"]).json()
    assert not version_of(done).is_content_hash_confirmed
    tasks.confirm_content_hashes()

    assert on_laptop.file(done["file_id"])["content_hash"] == sha256(data)


def test_a_right_claim_is_confirmed_and_changes_nothing(on_laptop):
    done = two_blocks(on_laptop, b"two blocks", name="a")
    tasks.confirm_content_hashes()

    assert version_of(done).is_content_hash_confirmed
    assert on_laptop.file(done["file_id"])["rev"] == done["file"]["rev"]


def test_equal_contents_in_other_blocks_are_the_same_once_confirmed(on_laptop, on_phone):
    data = b"cut in different places"
    first = two_blocks(on_laptop, data, name="a")
    tasks.confirm_content_hashes()
    # One block: its hash is confirmed by the commit itself.
    second = on_phone.put(data, name="a")

    assert second["outcome"] == "same"
    assert second["file_id"] == first["file_id"]


def test_a_wrong_claim_is_corrected_and_the_devices_learn_of_it(on_laptop, on_phone):
    data = b"two blocks of it"
    done = two_blocks(on_laptop, data, name="a", content_hash=sha256(b"a lie"))
    tasks.confirm_content_hashes()
    tasks.confirm_content_hashes()

    file = on_phone.file(done["file_id"])
    assert file["content_hash"] == sha256(data)
    assert file["rev"] == done["file"]["rev"] + 1
    change = Change.objects.get(namespace=file["namespace_id"], seq=file["rev"])
    assert change.action == ChangeAction.UPSERT
    assert change.device_id is None
    assert change.item["content_hash"] == sha256(data)
    assert on_phone.read(done["file_id"]) == data


def test_the_correction_of_an_older_version_is_no_change_of_the_file(on_laptop):
    done = two_blocks(on_laptop, b"two blocks", name="a", content_hash=sha256(b"a lie"))
    edited = on_laptop.edit(done["file"], b"newer")
    tasks.confirm_content_hashes()

    assert version_of(done).content_hash == sha256(b"two blocks")
    assert on_laptop.file(done["file_id"])["rev"] == edited["file"]["rev"]


def test_a_correction_does_not_bring_a_trashed_file_back(on_laptop, on_phone):
    done = two_blocks(on_laptop, b"two blocks", name="a", content_hash=sha256(b"a lie"))
    file = done["file"]
    on_phone.api.delete(f"/files/{file['file_id']}", {}, if_match=file["rev"])
    tasks.confirm_content_hashes()

    entries = on_phone.api.get("/changes").json()["entries"]
    assert entries[-1]["action"] == "delete"
    assert on_phone.names() == []
    assert version_of(done).content_hash == sha256(b"two blocks")
    restored = on_phone.api.post(f"/trash/{file['file_id']}/restore", {}).json()
    assert restored["content_hash"] == sha256(b"two blocks")


def test_one_version_that_cannot_be_read_does_not_stop_the_others(on_laptop):
    broken = two_blocks(on_laptop, b"broken one", name="a")
    BlockList.objects.filter(pk=broken["file_version_id"]).update(state=ListState.RELEASED)
    whole = two_blocks(on_laptop, b"whole one", name="b")
    tasks.confirm_content_hashes()

    assert not version_of(broken).is_content_hash_confirmed
    assert version_of(whole).is_content_hash_confirmed


def test_pages_of_versions_are_all_met(on_laptop, monkeypatch):
    monkeypatch.setattr(confirmation, "VERSIONS_AT_ONCE", 2)
    done = [two_blocks(on_laptop, b"number %d" % n, name=f"{n}") for n in range(5)]
    # As if they had come in one batch.
    FileVersion.objects.update(committed_at=timezone.now())

    assert confirmation.confirm_content_hashes(budget=timedelta(minutes=1)) == 5
    assert all(version_of(each).is_content_hash_confirmed for each in done)


def test_a_version_is_read_by_one_at_a_time(on_laptop):
    done = two_blocks(on_laptop, b"two blocks", name="a")
    cache.set(f"confirming:{done['file_version_id']}", 1)
    assert confirmation.confirm_content_hashes(budget=timedelta(minutes=1)) == 0
    cache.delete(f"confirming:{done['file_version_id']}")
    assert confirmation.confirm_content_hashes(budget=timedelta(0)) == 0
    assert confirmation.confirm_content_hashes(budget=timedelta(minutes=1)) == 1


def test_the_relay_ends_when_nothing_is_due(on_laptop):
    on_laptop.put(b"x", name="a")
    tasks.relay_outbox()
    tasks.expire_trash()

    assert on_laptop.names() == ["a"]
    assert on_laptop.api.get(f"/files/{uuid4()}").status_code == 404

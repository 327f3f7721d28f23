"""docs/write-ordering.md, step by step: what a crash leaves, and who settles it."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from blocks import gc
from blocks.models import Block, BlockList, BlockUpload, ListState
from blocks.service import UploadReport, get_block_service
from blocks.storage import get_object_store
from drive_project.common.ids import new_id
from files import journal, outbox, tasks
from files.models import (
    File,
    FileVersion,
    Folder,
    Membership,
    Namespace,
    OutboxMessage,
    Role,
    VersionStatus,
)
from files.services import commits, uploads, versions
from tests.files.uploading import Uploader, sha256

pytestmark = pytest.mark.django_db(transaction=True)


class Crash(BaseException):
    """The process is gone: nothing may catch this and tidy up."""


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def on_phone(phone):
    return Uploader(phone)


def crash(*args, **kwargs):
    raise Crash


def relay_and_sweep():
    """The periodic tasks, ten minutes and seven days later."""
    OutboxMessage.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    FileVersion.objects.filter(status=VersionStatus.PENDING).update(expires_at=timezone.now())
    tasks.relay_outbox()
    tasks.expire_uploads()


def collect():
    """The collector, once no URL is in use any more."""
    gc.collect(store=get_object_store(), grace=timedelta(0))


def counted():
    """How many references there are."""
    return sum(Block.objects.values_list("reference_count", flat=True))


def lies_in_the_store(location):
    return bool(get_object_store().sizes([location]))


def check_at_rest(sender):
    """Nothing is reserved, nothing waits, and the Block Service knows every decision."""
    assert sender.used()[1] == 0
    assert not OutboxMessage.objects.exists()
    committed = set(
        FileVersion.objects.filter(status=VersionStatus.COMMITTED).values_list("pk", flat=True)
    )
    lists = BlockList.objects.filter(state=ListState.COMMITTED)
    assert set(lists.values_list("pk", flat=True)) == committed
    assert not BlockList.objects.filter(state=ListState.OPEN).exists()
    assert counted() == sum(block_list.rows.count() for block_list in lists)


def test_a_crash_before_the_references_are_taken(on_laptop, monkeypatch):
    item = on_laptop.item(b"x" * 10, name="a", op_id="one")
    with monkeypatch.context() as patched:
        patched.setattr(uploads, "get_block_service", crash)
        with pytest.raises(Crash):
            on_laptop.api.post("/files/upload/init", item)
    version = FileVersion.objects.get()
    assert version.status == VersionStatus.PENDING
    assert not BlockList.objects.exists()
    assert on_laptop.commit(str(version.pk)).status_code == 410
    state = on_laptop.api.get(f"/files/upload/{version.pk}").json()
    assert (state["status"], state["missing"]) == ("pending", None)
    again = on_laptop.api.post("/files/upload/init", item).json()

    assert again["upload_id"] == str(version.pk)
    on_laptop.send_blocks(again["upload_id"], b"x" * 10)
    assert on_laptop.commit(again["upload_id"]).status_code == 200
    relay_and_sweep()
    check_at_rest(on_laptop)


def test_a_crash_before_the_references_are_taken_and_nobody_comes_back(on_laptop, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(uploads, "get_block_service", crash)
        with pytest.raises(Crash):
            on_laptop.init(b"x", name="a")
    relay_and_sweep()

    check_at_rest(on_laptop)
    assert on_laptop.names() == []


def test_a_crash_after_the_references_are_taken(on_laptop, monkeypatch):
    """The answer to the init was never sent."""
    item = on_laptop.item(b"x" * 10, name="a", op_id="one")
    with monkeypatch.context() as patched:
        patched.setattr(uploads, "OpenUpload", crash)
        with pytest.raises(Crash):
            on_laptop.api.post("/files/upload/init", item)
    version = FileVersion.objects.get()
    assert BlockList.objects.get(pk=version.pk).state == ListState.OPEN
    assert counted() == 1
    again = on_laptop.api.post("/files/upload/init", item).json()

    assert again["upload_id"] == str(version.pk)
    assert counted() == 1
    on_laptop.send_blocks(again["upload_id"], b"x" * 10)
    assert on_laptop.commit(again["upload_id"]).status_code == 200
    relay_and_sweep()
    check_at_rest(on_laptop)


def test_a_crash_after_the_references_are_taken_and_nobody_comes_back(on_laptop, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(uploads, "OpenUpload", crash)
        with pytest.raises(Crash):
            on_laptop.init(b"x", name="a")
    relay_and_sweep()

    check_at_rest(on_laptop)
    assert BlockList.objects.get().state == ListState.RELEASED


def test_a_device_that_is_gone_after_it_has_sent_the_bytes(on_laptop):
    """It comes back: what has arrived is found."""
    upload_id = on_laptop.begin(b"x" * 10, name="a")
    assert BlockUpload.objects.get().verified_at is None
    resumed = on_laptop.urls(upload_id)

    assert resumed["missing"] == []
    assert on_laptop.commit(upload_id).status_code == 200
    relay_and_sweep()
    check_at_rest(on_laptop)


def test_a_device_that_is_gone_after_it_has_sent_the_bytes_and_does_not_come_back(on_laptop):
    on_laptop.begin(b"x" * 10, name="a")
    location = BlockUpload.objects.get().s3_location
    assert lies_in_the_store(location)
    relay_and_sweep()
    BlockUpload.objects.update(expires_at=timezone.now() - timedelta(days=1))
    collect()

    check_at_rest(on_laptop)
    assert not BlockUpload.objects.exists()
    assert not lies_in_the_store(location)


def test_a_crash_between_verified_blocks_and_the_decision(on_laptop, on_phone, monkeypatch):
    upload_id = on_laptop.begin(b"x" * 10, name="a")
    with monkeypatch.context() as patched:
        patched.setattr(commits, "lock_namespace", crash)
        with pytest.raises(Crash):
            on_laptop.commit(upload_id)
    assert on_phone.names() == []
    assert FileVersion.objects.get().status == VersionStatus.PENDING
    assert on_laptop.commit(upload_id).json()["outcome"] == "committed"
    relay_and_sweep()

    assert on_phone.names() == ["a"]
    check_at_rest(on_laptop)


def test_a_crash_between_verified_blocks_and_the_decision_and_nobody_comes_back(
    on_laptop, monkeypatch
):
    upload_id = on_laptop.begin(b"x" * 10, name="a")
    with monkeypatch.context() as patched:
        patched.setattr(commits, "lock_namespace", crash)
        with pytest.raises(Crash):
            on_laptop.commit(upload_id)
    relay_and_sweep()

    assert on_laptop.commit(upload_id).status_code == 410
    check_at_rest(on_laptop)


def test_a_crash_in_the_middle_of_the_decision_leaves_nothing_of_it(
    on_laptop, on_phone, monkeypatch
):
    file = on_laptop.put(b"base", name="a")["file"]
    on_phone.edit(file, b"newer")
    upload_id = on_laptop.begin(
        b"mine", file_id=file["file_id"], base_version_id=file["current_version_id"]
    )
    before = on_laptop.api.get("/changes").json()["entries"]
    with monkeypatch.context() as patched:
        # The last write of all.
        patched.setattr(journal, "append", crash)
        with pytest.raises(Crash):
            on_laptop.commit(upload_id)
    assert on_laptop.names() == ["a"]
    assert on_laptop.api.get("/changes").json()["entries"] == before
    assert on_laptop.used() == (len(b"base") + len(b"newer"), len(b"mine"))
    assert on_laptop.commit(upload_id).json()["is_conflict_copy"]
    relay_and_sweep()
    check_at_rest(on_laptop)


def test_a_crash_between_the_decision_and_the_telling(on_laptop, on_phone, monkeypatch):
    upload_id = on_laptop.begin(b"x" * 10, name="a")
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "_deliver", crash)
        with pytest.raises(Crash):
            on_laptop.commit(upload_id)
    assert BlockList.objects.get().state == ListState.OPEN
    # Decided is decided: it can be read at once, and a repeat gets the answer.
    assert on_phone.read(str(FileVersion.objects.get().file_id)) == b"x" * 10
    first = on_laptop.commit(upload_id).json()
    assert (first["outcome"], first["file_version_id"]) == ("committed", upload_id)
    relay_and_sweep()

    check_at_rest(on_laptop)
    assert on_phone.read(first["file_id"]) == b"x" * 10


def test_a_crash_between_an_abort_and_the_telling(on_laptop, monkeypatch):
    upload_id = on_laptop.begin(b"x" * 10, name="a")
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "_deliver", crash)
        with pytest.raises(Crash):
            on_laptop.api.delete(f"/files/upload/{upload_id}")
    assert on_laptop.used() == (0, 0)
    assert BlockList.objects.get().state == ListState.OPEN
    relay_and_sweep()

    check_at_rest(on_laptop)


@pytest.fixture
def history(on_laptop):
    """A file that was edited once; its first version."""
    first = on_laptop.put(b"first", name="a")["file"]
    on_laptop.edit(first, b"second")
    return first


def go_back(on_laptop, first):
    path = f"/files/{first['file_id']}/versions/{first['current_version_id']}/restore"
    return on_laptop.api.post(path, {"op_id": "back"})


@pytest.mark.parametrize("after", ["the pending version", "the copy of its blocks"])
def test_a_crash_while_going_back_to_a_version(on_laptop, history, monkeypatch, after):
    step = {
        "the pending version": "get_block_service",
        "the copy of its blocks": "commit_upload",
    }[after]
    with monkeypatch.context() as patched:
        patched.setattr(versions, step, crash)
        with pytest.raises(Crash):
            go_back(on_laptop, history)
    assert on_laptop.read(history["file_id"]) == b"second"
    assert on_laptop.used() == (5 + 6, 5)
    assert go_back(on_laptop, history).status_code == 200
    assert on_laptop.read(history["file_id"]) == b"first"
    assert on_laptop.used() == (5 + 6 + 5, 0)
    relay_and_sweep()

    check_at_rest(on_laptop)


@pytest.mark.parametrize("step", ["get_block_service", "commit_upload"])
def test_a_crash_while_going_back_to_a_version_and_nobody_asks_again(
    on_laptop, history, monkeypatch, step
):
    with monkeypatch.context() as patched:
        patched.setattr(versions, step, crash)
        with pytest.raises(Crash):
            go_back(on_laptop, history)
    relay_and_sweep()

    check_at_rest(on_laptop)
    assert on_laptop.read(history["file_id"]) == b"second"
    assert on_laptop.read(history["file_id"], history["current_version_id"]) == b"first"


class HearsAndDies:
    """The Block Service has done what it was told, and nobody learns of it."""

    def settle_versions(self, *, settlements):
        get_block_service().settle_versions(settlements=settlements)
        raise Crash


def test_a_crash_at_each_step_of_removing_a_version(on_laptop, history, monkeypatch):
    version_id = UUID(history["current_version_id"])
    location = Block.objects.get(pk=sha256(b"first")).s3_location_id
    # 1. The rows are gone, the message waits for its time: nothing else has happened.
    removed = versions.prune_versions(
        namespace_id=UUID(history["namespace_id"]), version_ids=[version_id]
    )
    assert removed == {version_id}
    assert on_laptop.used() == (6, 0)
    assert OutboxMessage.objects.get().due_at > timezone.now()
    assert BlockList.objects.get(pk=version_id).state == ListState.COMMITTED
    # It is due, and whoever tells it is killed before, then after it was heard.
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "get_block_service", crash)
        with pytest.raises(Crash):
            relay_and_sweep()
    assert BlockList.objects.get(pk=version_id).state == ListState.COMMITTED
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "get_block_service", HearsAndDies)
        with pytest.raises(Crash):
            relay_and_sweep()
    assert OutboxMessage.objects.exists()
    # 2. Released, and the object is still there; telling it twice lowers no count twice.
    assert BlockList.objects.get(pk=version_id).state == ListState.RELEASED
    relay_and_sweep()
    check_at_rest(on_laptop)
    assert lies_in_the_store(location)
    # 3. The object goes.
    collect()
    assert not lies_in_the_store(location)
    assert on_laptop.read(history["file_id"]) == b"second"


def test_a_file_that_has_moved_to_another_namespace_is_committed_there(
    on_laptop, on_phone, alice, monkeypatch
):
    file = on_laptop.put(b"base", name="a")["file"]
    upload_id = on_laptop.begin(
        b"newer", file_id=file["file_id"], base_version_id=file["current_version_id"]
    )
    shared = Namespace.objects.create(owner=alice, is_root=False)
    Membership.objects.create(namespace=shared, user=alice, role=Role.OWNER)
    top = Folder.objects.create(namespace=shared, parent_folder=None)
    verify = commits.verify

    def move_meanwhile(device, wanted):
        verdicts = verify(device, wanted)
        File.objects.filter(pk=file["file_id"]).update(namespace=shared, parent_folder=top)
        return verdicts

    monkeypatch.setattr(commits, "verify", move_meanwhile)
    done = on_laptop.commit(upload_id).json()

    assert done["outcome"] == "committed"
    assert done["file"]["namespace_id"] == str(shared.pk)
    shared.refresh_from_db()
    assert shared.head_seq == done["file"]["rev"] == 1
    assert on_phone.read(file["file_id"]) == b"newer"
    block_list = BlockList.objects.get(pk=upload_id)
    assert block_list.namespace_id == shared.pk


def test_a_late_beginning_finds_the_release_that_came_before_it(on_laptop):
    """The sweep aborted the upload while its references were still being taken."""
    item = on_laptop.item(b"x" * 10, name="a")
    version_id = new_id()
    outbox.add_released([version_id])
    assert BlockList.objects.get(pk=version_id).state == ListState.RELEASED
    begun = on_laptop.api.post("/files/upload/init", item).json()
    FileVersion.objects.filter(pk=begun["upload_id"]).update(status=VersionStatus.ABORTED)
    outbox.add_released([UUID(begun["upload_id"])])

    assert on_laptop.commit(begun["upload_id"]).status_code == 410
    [refreshed] = get_block_service().refresh_upload_urls(
        device_id=on_laptop.device.pk,
        reports=[UploadReport(UUID(begun["upload_id"]), done=(), want=())],
    )
    assert refreshed.is_expired

"""Many devices at the same moment: each commit is decided once, and nothing is lost."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.utils import timezone

from drive_project.common.errors import DriveError
from files.models import (
    Change,
    File,
    FileVersion,
    OutboxMessage,
    Settled,
    StorageAccount,
    UserDevice,
    VersionStatus,
)
from files.services.aborts import abort_expired, abort_upload
from files.services.commits import commit_upload, commit_uploads
from files.services.conflicts import settle_conflict
from files.services.outcomes import Committed, Outcome
from files.services.uploads import NewUpload, OpenUpload, begin_uploads
from tests.files.uploading import Uploader
from tests.people import new_device

pytestmark = pytest.mark.django_db(transaction=True)


def all_at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of calls that all begin at the same moment."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(run, call) for call in calls]]


def begin(sender: Uploader, data: bytes, **fields: Any) -> UUID:
    """An upload that has only to be committed."""
    return UUID(sender.begin(data, **fields))


def check_account(alice):
    """used and reserved are exact: the sums over the versions."""
    account = StorageAccount.objects.get(owner=alice)
    sums: Counter[str] = Counter()
    for version in FileVersion.objects.all():
        sums[version.status] += version.size_bytes
    assert account.used_bytes == sums[VersionStatus.COMMITTED]
    assert account.reserved_bytes == sums[VersionStatus.PENDING]


def check_journal(namespace_id):
    """oldest to head without a gap; each item's rev is the seq of its last entry."""
    changes = list(Change.objects.filter(namespace=namespace_id).order_by("seq"))
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    last = {change.item_id: change.seq for change in changes}
    for file in File.objects.filter(namespace=namespace_id, status="uploaded"):
        assert file.rev == last[file.pk]


def test_of_many_edits_on_one_base_one_is_current_and_the_others_are_copies(alice, laptop):
    count = 12
    report = Uploader(laptop).put(b"base", name="report.txt")["file"]
    devices = [Uploader(new_device(alice, f"device {n}")) for n in range(count)]
    contents = [b"edit number %d" % n for n in range(count)]
    uploads = [
        begin(
            each, content, file_id=report["file_id"], base_version_id=report["current_version_id"]
        )
        for each, content in zip(devices, contents, strict=True)
    ]
    results = all_at_once(
        [
            partial(commit_upload, device=each.device, upload_id=upload)
            for each, upload in zip(devices, uploads, strict=True)
        ]
    )

    outcomes = Counter(result.outcome for result in results)
    assert outcomes == {Outcome.COMMITTED: 1, Outcome.CONFLICT_COPY: count - 1}
    phone = devices[0]
    for result, content in zip(results, contents, strict=True):
        assert phone.read(str(result.file.pk)) == content
    assert len(phone.names()) == len(set(phone.names())) == count
    conflicts = phone.api.get("/conflicts", state="open").json()["items"]
    assert {each["copy"]["file"]["file_id"] for each in conflicts} == {
        str(result.file.pk) for result in results if result.is_conflict_copy
    }
    assert len(conflicts) == count - 1
    check_account(alice)
    check_journal(report["namespace_id"])
    assert not OutboxMessage.objects.exists()


def test_one_device_that_commits_twice_at_once_gets_one_answer(alice, laptop):
    sender = Uploader(laptop)
    report = sender.put(b"base", name="report.txt")["file"]
    Uploader(new_device(alice, "phone")).edit(report, b"newer")
    upload_id = begin(
        sender, b"mine", file_id=report["file_id"], base_version_id=report["current_version_id"]
    )
    results = all_at_once(
        [partial(commit_upload, device=laptop, upload_id=upload_id) for _ in range(6)]
    )

    assert {(each.outcome, each.file.pk, each.original_file_id) for each in results} == {
        (Outcome.CONFLICT_COPY, results[0].file.pk, results[0].original_file_id)
    }
    assert len(sender.names()) == 2
    check_account(alice)
    check_journal(report["namespace_id"])


def test_new_files_of_one_name_from_many_devices_all_stay(alice):
    devices = [Uploader(new_device(alice, f"device {n % 3}")) for n in range(8)]
    # Two each have the same content.
    uploads = [
        (each, begin(each, b"content %d" % (n // 2), name="Notes.txt"))
        for n, each in enumerate(devices)
    ]
    results = all_at_once(
        [partial(commit_upload, device=each.device, upload_id=upload) for each, upload in uploads]
    )

    contents = {devices[0].read(str(result.file.pk)) for result in results}
    assert contents == {b"content %d" % n for n in range(4)}
    # The namesake of the first one was adopted; a copy is a file of its own each time.
    assert Counter(result.outcome for result in results)[Outcome.COMMITTED] == 1
    check_account(alice)


def test_a_commit_and_an_abort_at_once_have_one_winner(alice, laptop):
    sender = Uploader(laptop)

    def commit(upload_id):
        [result] = commit_uploads(device=laptop, upload_ids=[upload_id])
        return result

    def abort(upload_id):
        try:
            abort_upload(device=laptop, upload_id=upload_id)
        except DriveError as error:
            return error
        return None

    def expire(upload_id):
        FileVersion.objects.filter(pk=upload_id).update(expires_at=timezone.now())
        return abort_expired()

    for n in range(5):
        upload_id = begin(sender, b"%d" % n, name=f"{n}.txt")
        committed, _, _ = all_at_once(
            [partial(call, upload_id) for call in (commit, abort, expire)]
        )
        version = FileVersion.objects.get(pk=upload_id)
        if isinstance(committed, Committed):
            assert version.status == VersionStatus.COMMITTED
            assert sender.read(str(version.file_id)) == b"%d" % n
        else:
            assert version.status == VersionStatus.ABORTED
            assert f"{n}.txt" not in sender.names()
        check_account(alice)


def test_batches_that_share_files_do_not_wait_for_each_other_for_ever(alice):
    """Two devices commit the same files in opposite orders, again and again."""
    one, two = (Uploader(new_device(alice, name)) for name in ("one", "two"))
    files = [one.put(b"base %d" % n, name=f"{n}.txt")["file"] for n in range(10)]
    for round_number in range(3):
        batches = []
        for each, order in ((one, files), (two, files[::-1])):
            batches.append(
                [
                    begin(
                        each,
                        f"{round_number} {each.device.name} {file['name']}".encode(),
                        file_id=file["file_id"],
                        base_version_id=each.file(file["file_id"])["current_version_id"],
                    )
                    for file in order
                ]
            )
        results = all_at_once(
            [
                partial(commit_uploads, device=each.device, upload_ids=batch)
                for each, batch in zip((one, two), batches, strict=True)
            ]
        )
        outcomes = Counter(result.outcome for batch in results for result in batch)
        assert outcomes == {Outcome.COMMITTED: 10, Outcome.CONFLICT_COPY: 10}
    check_account(alice)
    check_journal(files[0]["namespace_id"])


def test_the_same_init_at_once_begins_one_upload(alice, laptop):
    root = UUID(Uploader(laptop).root)
    upload = NewUpload(
        op_id="one", name="a", parent_folder_id=root, size_bytes=5,
        content_hash="0" * 64, block_count=2, blocks=(),
    )  # fmt: skip
    results = all_at_once(
        [partial(begin_uploads, device=laptop, uploads=[upload]) for _ in range(6)]
    )

    begun = [each for [each] in results if isinstance(each, OpenUpload)]
    assert len(begun) == 6
    assert len({each.version.pk for each in begun}) == 1
    check_account(alice)


def test_reservations_at_once_never_go_over_the_limit(alice):
    StorageAccount.objects.filter(owner=alice).update(limit_bytes=50)
    devices = [new_device(alice, f"device {n}") for n in range(8)]
    root = UUID(Uploader(devices[0]).root)
    uploads = [
        NewUpload(
            name=f"{n}", parent_folder_id=root, size_bytes=10,
            content_hash="0" * 64, block_count=2, blocks=(),
        )
        for n in range(8)
    ]  # fmt: skip
    results = all_at_once(
        [
            partial(begin_uploads, device=device, uploads=[upload])
            for device, upload in zip(devices, uploads, strict=True)
        ]
    )

    assert sum(isinstance(each, OpenUpload) for [each] in results) == 5
    check_account(alice)


def settled(device: UserDevice, conflict: Any, keep: Settled, op_id: str = "") -> str:
    """What a settlement came to: how, or the code of its refusal."""
    try:
        answer = settle_conflict(
            device=device,
            conflict_id=UUID(conflict["conflict_id"]),
            keep=keep,
            rev=conflict["rev"],
            op_id=op_id,
        )
    except DriveError as error:
        return error.code
    return str(answer.body["settled_how"])


@pytest.fixture
def clash(alice, laptop):
    """A conflict between two devices' edits, as the API shows it."""
    sender = Uploader(laptop)
    report = sender.put(b"base", name="report.txt")["file"]
    Uploader(new_device(alice, "phone")).edit(report, b"from the phone")
    sender.edit(report, b"from the laptop")
    [conflict] = sender.api.get("/conflicts").json()["items"]
    return conflict


def test_of_several_who_settle_a_conflict_at_once_one_decides(alice, clash):
    choices = [Settled.MINE, Settled.THEIRS, Settled.BOTH, Settled.MINE]
    devices = [new_device(alice, f"device {n}") for n in range(len(choices))]
    results = all_at_once(
        [
            partial(settled, device, clash, keep)
            for device, keep in zip(devices, choices, strict=True)
        ]
    )

    (how,) = set(results) - {"stale-precondition"}
    assert results.count(how) == 1
    reader = Uploader(devices[0])
    found = reader.api.get(f"/conflicts/{clash['conflict_id']}").json()
    assert (found["state"], found["settled_how"]) == ("settled", how)
    content = b"from the laptop" if how == "mine" else b"from the phone"
    assert reader.read(clash["original"]["file"]["file_id"]) == content
    assert len(reader.names()) == (2 if how == "both" else 1)
    check_account(alice)
    check_journal(clash["namespace_id"])
    assert not FileVersion.objects.filter(status=VersionStatus.PENDING).exists()


def test_one_device_that_settles_twice_at_once_gets_one_answer(alice, laptop, clash):
    results = all_at_once([partial(settled, laptop, clash, Settled.MINE, "once")] * 4)

    assert results == ["mine"] * 4
    reader = Uploader(laptop)
    # base, from the phone, from the laptop.
    assert reader.file(clash["original"]["file"]["file_id"])["version_count"] == 3
    check_account(alice)
    check_journal(clash["namespace_id"])


@pytest.mark.parametrize("keep", [Settled.MINE, Settled.THEIRS])
def test_an_edit_beside_a_settlement_is_never_lost(alice, laptop, clash, keep):
    phone = Uploader(new_device(alice, "another phone"))
    sides = [clash["original"]["file"], clash["copy"]["file"]]
    uploads = [
        begin(
            phone,
            b"newer " + side["name"].encode(),
            file_id=side["file_id"],
            base_version_id=side["current_version_id"],
        )
        for side in sides
    ]
    first, *edits = all_at_once(
        [
            partial(settled, laptop, clash, keep),
            *(partial(commit_upload, device=phone.device, upload_id=each) for each in uploads),
        ]
    )

    assert first in {keep, "stale-precondition"}
    for edit, side in zip(edits, sides, strict=True):
        assert isinstance(edit, Committed)
        assert phone.read(str(edit.file.pk)) == b"newer " + side["name"].encode()
        assert edit.file.name in phone.names()
    check_account(alice)
    check_journal(clash["namespace_id"])

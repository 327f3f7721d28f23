"""What the collector deletes, and above all what it does not."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from blocks import gc, references
from blocks.local import LocalBlockService
from blocks.models import (
    Block,
    BlockList,
    BlockProof,
    BlockUpload,
    Collection,
    CondemnedObject,
    StoredObject,
)
from blocks.service import LocationState
from blocks.storage import LocalObjectStore, get_object_store
from blocks.tasks import collect_garbage, sweep_store
from drive_project.common.errors import NotFound, ServiceUnavailable
from tests.blocks.devices import Device, sha256
from tests.blocks.worlds import collect_now, faults, let_time_pass

DAY = timedelta(days=1)
BIG = [bytes([65 + number]) * 300_000 for number in range(3)]
SMALL = [b"small block %d" % number for number in range(5)]


def test_a_removed_version_frees_its_bytes(laptop: Device, store: LocalObjectStore) -> None:
    version = laptop.upload(BIG)
    laptop.settle(version, is_committed=False)

    first = gc.collect(store=store)

    assert (first.deleted_block_count, first.deleted_object_count) == (3, 0)
    assert len(list(store.listing())) == 3  # their URLs may still be in use
    let_time_pass(timedelta(hours=2))
    second = gc.collect(store=store)
    assert (second.deleted_object_count, second.freed_bytes) == (3, 900_000)
    assert list(store.listing()) == []
    assert faults(store) == []


def test_what_somebody_needs_is_kept(
    laptop: Device, phone: Device, store: LocalObjectStore
) -> None:
    gone = laptop.upload(BIG[:2])
    kept = phone.upload(BIG[1:])
    waiting = laptop.version(BIG[:1])
    laptop.begin(waiting)
    laptop.settle(gone, is_committed=False)

    collect_now(store)

    assert phone.download(kept) == BIG[1:]
    # "Nothing to send" was a promise, and the open upload's reference keeps it.
    assert laptop.verdict(waiting).verdict == "ready"
    assert laptop.download(waiting) == BIG[:1]
    assert faults(store) == []


def test_a_block_that_comes_back_has_another_location(
    laptop: Device, store: LocalObjectStore
) -> None:
    first = laptop.upload(BIG[:1])
    laptop.settle(first, is_committed=False)
    gc.collect(store=store)
    second = laptop.upload(BIG[:1])

    let_time_pass(timedelta(hours=2))
    assert gc.collect(store=store).deleted_object_count == 1

    assert laptop.download(second) == BIG[:1]
    assert faults(store) == []


def test_the_newest_copy_wins_and_the_older_goes(
    laptop: Device, stranger: Device, store: LocalObjectStore
) -> None:
    first = laptop.upload(BIG[:1])
    old = StoredObject.objects.get().pk
    second = stranger.upload(BIG[:1])

    assert StoredObject.objects.get().pk != old
    assert CondemnedObject.objects.get().pk == old
    collect_now(store)
    assert laptop.read(first) == stranger.read(second) == BIG[0]
    assert faults(store) == []


def test_a_pack_goes_when_its_last_block_goes(laptop: Device, store: LocalObjectStore) -> None:
    one, other = laptop.version(SMALL[:2]), laptop.version(SMALL[2:])
    for version in (one, other):
        laptop.begin(version)
    laptop.send_pack(SMALL)
    for version in (one, other):
        assert laptop.verdict(version).verdict == "ready"
        laptop.settle(version)

    laptop.settle(one, is_committed=False)
    collect_now(store)

    pack = StoredObject.objects.get()
    assert (pack.size_bytes, pack.live_bytes) == (sum(map(len, SMALL)), 39)
    assert laptop.download(other) == SMALL[2:]
    laptop.settle(other, is_committed=False)
    collect_now(store)
    assert list(store.listing()) == []
    assert faults(store) == []


def test_the_blocks_of_a_pack_that_no_version_kept_prove_nothing_later(
    laptop: Device, stranger: Device, store: LocalObjectStore
) -> None:
    """Else a guess in a pack would tell by "held" whether a stranger has it."""
    stranger.upload(SMALL[:2])
    version, given_up = laptop.version(SMALL[4:]), laptop.version(SMALL[:4])
    laptop.begin(version)
    laptop.begin(given_up)
    laptop.send_pack(SMALL)
    assert laptop.verdict(version).verdict == "ready"
    laptop.settle(version)
    laptop.settle(given_up, is_committed=False)
    collect_now(store)

    told = laptop.begin(laptop.version(SMALL))

    assert [each.state for each in told] == [LocationState.SEND] * 4 + [LocationState.HELD]
    assert faults(store) == []


def test_an_upload_can_be_resumed_for_days(laptop: Device, store: LocalObjectStore) -> None:
    version = laptop.version(BIG + SMALL)
    laptop.begin(version)
    laptop.send(version, BIG[:2])
    laptop.send_pack(SMALL)
    laptop.refresh(version, done=BIG[:1])
    let_time_pass(timedelta(days=6))
    collect_now(store)

    laptop.send(version, BIG[2:])
    assert laptop.verdict(version).verdict == "ready"
    assert faults(store) == []


def test_what_an_upload_left_is_condemned_once_it_is_over(
    laptop: Device, store: LocalObjectStore
) -> None:
    version = laptop.version(BIG)
    laptop.begin(version)
    laptop.send(version, BIG)
    laptop.settle(version, is_committed=False)

    collect_now(store)
    assert BlockUpload.objects.count() == 3  # their URLs are still good
    let_time_pass(timedelta(hours=1))
    done = collect_now(store)

    assert (done.condemned_object_count, done.freed_bytes) == (3, 900_000)
    assert not BlockUpload.objects.exists()
    assert faults(store) == []


def test_verified_bytes_that_no_open_upload_needs_are_kept_for_an_hour(
    laptop: Device, store: LocalObjectStore
) -> None:
    """So an upload that is given up and begun anew sends nothing twice, and no more is kept
    than somebody's quota pays for."""
    version = laptop.version(BIG[:1])
    laptop.begin(version)
    laptop.send(version, BIG[:1])
    laptop.refresh(version, done=BIG[:1])
    laptop.settle(version, is_committed=False)

    let_time_pass(timedelta(minutes=50))
    collect_now(store)
    again = laptop.version(BIG[:1])
    [location] = laptop.begin(again)
    assert location.state == LocationState.HELD

    let_time_pass(timedelta(days=6))
    collect_now(store)
    [location] = laptop.begin(again)
    assert location.state == LocationState.HELD  # as long as it is open

    laptop.settle(again, is_committed=False)
    let_time_pass(timedelta(minutes=70))
    collect_now(store)
    assert not BlockProof.objects.exists()
    assert list(store.listing()) == []
    assert faults(store) == []


def test_a_server_copy_that_was_never_finished_goes(
    laptop: Device, store: LocalObjectStore
) -> None:
    BlockUpload.objects.create(
        s3_location=f"b/aa/{'aa' * 32}/{uuid4()}",
        sha256="aa" * 32,
        size_bytes=3,
        expires_at=timezone.now() + timedelta(hours=1),
    )
    collect_now(store)
    assert BlockUpload.objects.count() == 1

    let_time_pass(timedelta(hours=2))
    collect_now(store)
    assert not BlockUpload.objects.exists()


def test_a_wrong_count_costs_nobody_a_block(laptop: Device, store: LocalObjectStore) -> None:
    version = laptop.upload(BIG[:1])
    Block.objects.update(reference_count=0)

    assert collect_now(store).deleted_block_count == 0

    assert laptop.download(version) == BIG[:1]
    assert [fault.rule for fault in faults(store)] == ["reference-count"]


def test_a_location_in_use_is_never_deleted(
    laptop: Device, store: LocalObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    version = laptop.upload(BIG[:1])
    CondemnedObject.objects.create(
        s3_location=StoredObject.objects.get().pk, due_at=timezone.now() - DAY
    )

    assert collect_now(store).deleted_object_count == 0

    assert laptop.download(version) == BIG[:1]
    assert "is kept" in caplog.text
    assert [fault.rule for fault in faults(store)] == ["location-in-two-places"]


def test_a_release_that_was_interrupted_is_finished(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = laptop.upload(SMALL)
    monkeypatch.setattr(references, "RELEASE_AT_ONCE", 0)
    laptop.settle(version, is_committed=False)
    with pytest.raises(NotFound):
        laptop.download(version)
    assert faults(store) == []

    assert collect_now(store).deleted_block_count == 5
    assert faults(store) == []


def test_a_long_release_goes_in_batches(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "RELEASE_BATCH", 2)
    versions = [laptop.upload(SMALL), laptop.upload([SMALL[0], SMALL[0], SMALL[1]])]
    kept = laptop.upload(SMALL[:1])

    for version in versions:
        laptop.settle(version, is_committed=False)

    assert Block.objects.filter(reference_count=0).count() == 4
    assert laptop.download(kept) == SMALL[:1]
    assert faults(store) == []


def test_old_records_go(laptop: Device, store: LocalObjectStore) -> None:
    laptop.settle(laptop.upload(BIG[:1]), is_committed=False)
    kept = laptop.upload(SMALL)
    collect_now(store)
    let_time_pass(timedelta(days=31))
    collect_now(store)

    assert [each.pk for each in BlockList.objects.all()] == [kept.file_version_id]
    let_time_pass(timedelta(days=60))
    collect_now(store)
    assert Collection.objects.count() == 2


def test_a_late_put_is_swept_up(laptop: Device, store: LocalObjectStore) -> None:
    version = laptop.upload(BIG[:1])
    lost = f"b/aa/{'aa' * 32}/{uuid4()}"
    store.write(lost, b"late", sha256=sha256(b"late"))
    assert gc.sweep(store=store) == 0  # it is young: its row may be about to be written
    assert [fault.rule for fault in faults(store)] == ["object-unknown"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "UNKNOWN_KEPT", timedelta())
        assert gc.sweep(store=store) == 1
        assert gc.sweep(store=store) == 0
    assert faults(store) == []
    collect_now(store)

    assert store.read(lost) is None
    assert laptop.download(version) == BIG[:1]


def test_a_store_that_fails_ends_the_run_and_loses_nothing(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.settle(laptop.upload(BIG), is_committed=False)

    def fail(location: str) -> None:
        raise ServiceUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(store, "delete", fail)
        with pytest.raises(ServiceUnavailable):
            collect_now(store)
    assert CondemnedObject.objects.count() == 3
    assert Collection.objects.get().deleted_block_count == 3

    assert collect_now(store).deleted_object_count == 3
    assert faults(store) == []


def test_the_last_run_is_on_the_dashboard(
    laptop: Device, service: LocalBlockService, store: LocalObjectStore
) -> None:
    laptop.settle(laptop.upload(BIG), is_committed=False)
    assert service.stats().reclaimable_bytes == 0
    gc.collect(store=store)
    assert service.stats().reclaimable_bytes == 900_000
    collect_now(store)

    stats = service.stats()

    assert stats.last_collection is not None
    assert stats.last_collection.deleted_object_count == 3
    assert stats.last_collection.freed_bytes == 900_000
    assert abs(timezone.now() - stats.last_collection.finished_at) < timedelta(minutes=1)
    assert (stats.object_bytes, stats.reclaimable_bytes) == (0, 0)


def test_the_command_and_the_tasks(laptop: Device, blocks_dir: Path) -> None:
    get_object_store.cache_clear()
    laptop.settle(laptop.upload(BIG), is_committed=False)

    def run(*arguments: str) -> str:
        output = StringIO()
        call_command("collect_garbage", *arguments, stdout=output)
        return output.getvalue()

    try:
        assert "3 blocks would be removed" in run("--dry-run")
        collect_garbage()
        sweep_store()
        expected = {
            "dry_run": True,
            "held": False,
            "deleted_block_count": 0,
            "rewritten_pack_count": 0,
            "condemned_object_count": 0,
            "deleted_object_count": 3,
            "freed_bytes": 900_000,
        }
        assert json.loads(run("--dry-run", "--json", "--grace", "0")) == expected
        assert "3 objects deleted: 900000 bytes freed." in run("--grace", "0")
        for wrong in ("-1", "soon", "1.5", "9" * 30):
            with pytest.raises(CommandError, match="whole number of seconds"):
                run("--grace", wrong)
    finally:
        get_object_store.cache_clear()


def test_the_wait_covers_the_longest_url(laptop: Device, store: LocalObjectStore) -> None:
    laptop.settle(laptop.upload(BIG[:1]), is_committed=False)
    with override_settings(DOWNLOAD_URL_LIFETIME=timedelta(hours=7)):
        gc.collect(store=store)

    assert CondemnedObject.objects.get().due_at > timezone.now() + timedelta(hours=7, minutes=59)

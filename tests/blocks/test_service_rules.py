"""Rules that show only behind the interface: bounds of work, healing, transactions, secrets."""

import logging
from datetime import timedelta
from itertools import islice

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from blocks import refresh, uploads, verification
from blocks.local import LocalBlockService
from blocks.models import Block, BlockState, BlockUpload, CondemnedObject, StoredObject
from blocks.service import LocationState, UploadReport, Verdict, VersionRange, VersionToCommit
from blocks.storage import LocalObjectStore
from drive_project.common.errors import InvalidRequest, ServiceUnavailable, TooManyRequests
from tests.blocks.devices import Device, pack_of, sha256
from tests.blocks.worlds import collect_now, faults, let_time_pass

BIG = [bytes([65 + number]) * 300_000 for number in range(3)]
SMALL = [b"small block %d" % number for number in range(5)]


# --- Bounded work ---------------------------------------------------------------------------


def test_too_many_unverified_blocks_are_verified_first(
    laptop: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "MAX_UNVERIFIED", 2)
    version = laptop.version(BIG)
    laptop.begin(version)
    laptop.send(version, BIG)

    assert laptop.verdict(version).verdict == Verdict.VERIFY_FIRST

    answer = laptop.refresh(version, done=BIG)
    assert (len(answer.verified), answer.missing) == (3, ())
    assert laptop.verdict(version).verdict == Verdict.READY


def test_too_many_bytes_to_read_are_verified_first(
    laptop: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = laptop.version(SMALL)
    laptop.begin(version)
    laptop.send_pack(SMALL)

    monkeypatch.setattr(verification, "MAX_READ_BYTES", sum(map(len, SMALL)) - 1)
    assert laptop.verdict(version).verdict == Verdict.VERIFY_FIRST
    assert laptop.refresh(version, done=SMALL[:1]).missing == ()
    assert laptop.verdict(version).verdict == Verdict.READY


def test_what_a_report_leaves_is_neither_verified_nor_missing(
    laptop: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "MAX_READ_BYTES", 30)
    version = laptop.version(SMALL[:4])
    laptop.begin(version)
    laptop.send_pack(SMALL[:2])
    laptop.send_pack(SMALL[2:4])

    first = laptop.refresh(version, done=SMALL[:4])
    second = laptop.refresh(version, done=SMALL[:4])

    assert (len(first.verified), first.missing) == (2, ())
    assert (len(second.verified), second.missing) == (4, ())


def test_the_limit_is_that_of_the_call(laptop: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "MAX_UNVERIFIED", 3)
    versions = [laptop.version(BIG[:2]), laptop.version(SMALL[:2]), laptop.version(BIG[1:])]
    for version, data in zip(versions, [BIG[:2], SMALL[:2], BIG[1:]], strict=True):
        laptop.begin(version)
        laptop.send(version, data)

    def verdicts() -> list[Verdict]:
        asked = [
            VersionToCommit(
                version.file_version_id,
                laptop.device_id,
                sum(each.size_bytes for each in version.blocks),
                len(version.blocks),
            )
            for version in versions
        ]
        return [each.verdict for each in laptop.service.verify_versions(versions=asked)]

    first, second = verdicts(), verdicts()

    assert set(first) <= {Verdict.READY, Verdict.VERIFY_FIRST}
    assert Verdict.VERIFY_FIRST in first
    assert second == [Verdict.READY] * 3


def test_lists_of_a_call_are_bounded(laptop: Device) -> None:
    pk = laptop.version(BIG).file_version_id
    many = [sha256(b"%d" % number) for number in range(501)]

    for reports in (
        [UploadReport(pk, done=many, want=()), UploadReport(pk, done=many, want=())],
        [UploadReport(pk, done=(), want=many * 2)],
        [UploadReport(pk, done=(), want=())] * 1_001,
    ):
        with pytest.raises(InvalidRequest):
            laptop.service.refresh_upload_urls(device_id=laptop.device_id, reports=reports)
    pack, _ = pack_of(SMALL)
    with pytest.raises(InvalidRequest):
        laptop.service.create_pack_uploads(device_id=laptop.device_id, packs=[pack] * 1_001)


def test_a_device_cannot_pile_up_packs(laptop: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_WAITING_PACKED_BLOCKS", 2)
    laptop.begin(laptop.version(SMALL))
    for data in SMALL[:2]:
        laptop.service.create_pack_uploads(device_id=laptop.device_id, packs=[pack_of([data])[0]])
    for data in SMALL[:2]:  # asked for again, they are the same two
        laptop.service.create_pack_uploads(device_id=laptop.device_id, packs=[pack_of([data])[0]])

    with pytest.raises(TooManyRequests) as refused:
        laptop.service.create_pack_uploads(
            device_id=laptop.device_id, packs=[pack_of(SMALL[2:3])[0]]
        )

    assert refused.value.extra["retry_after_seconds"] == 900
    assert BlockUpload.objects.count() == 2
    let_time_pass(timedelta(minutes=16))
    laptop.service.create_pack_uploads(device_id=laptop.device_id, packs=[pack_of(SMALL[2:3])[0]])


def test_the_number_of_queries_does_not_grow_with_the_list(laptop: Device) -> None:
    def queries_for(count: int) -> list[int]:
        blocks = [b"%d of %d" % (number, count) for number in range(count)]
        version = laptop.version(blocks)
        counts = []
        for step in (
            lambda: laptop.begin(version),
            lambda: laptop.send_pack(blocks),
            lambda: laptop.verdict(version),
            lambda: laptop.settle(version),
            lambda: laptop.begin(version),
            lambda: laptop.service.get_block_download_urls(
                ranges=[VersionRange(version.file_version_id)]
            ),
            lambda: laptop.settle(version, is_committed=False),
        ):
            with CaptureQueriesContext(connections["blocks"]) as captured:
                step()
            counts.append(len(captured))
        return counts

    # More, and SQLite's limit of parameters splits a statement.
    assert queries_for(100) == queries_for(10)


# --- Damage and healing ---------------------------------------------------------------------


def test_a_damaged_block_is_not_held_and_heals_when_sent_again(
    laptop: Device, phone: Device, store: LocalObjectStore
) -> None:
    version = laptop.upload(BIG[:2])
    Block.objects.filter(pk=sha256(BIG[0])).update(state=BlockState.DAMAGED)
    again = phone.version(BIG[:2])

    told = phone.begin(again)
    assert [each.state for each in told] == [LocationState.SEND, LocationState.HELD]
    assert phone.verdict(again).missing == (sha256(BIG[0]),)
    phone.send(again, BIG[:1])
    assert phone.verdict(again).verdict == Verdict.READY
    phone.settle(again)

    assert not Block.objects.filter(state=BlockState.DAMAGED).exists()
    assert laptop.download(version) == phone.download(again) == BIG[:2]
    collect_now(store)
    assert faults(store) == []


def test_a_version_with_a_damaged_block_gives_its_other_blocks(
    laptop: Device, service: LocalBlockService
) -> None:
    version = laptop.upload(BIG)
    Block.objects.filter(pk=sha256(BIG[1])).update(state=BlockState.DAMAGED)

    found = service.get_block_download_urls(ranges=[VersionRange(version.file_version_id)])

    assert [block.index for block in found.versions[0].blocks] == [0, 1, 2]
    assert service.stats().damaged_count == 1


@pytest.mark.parametrize("harm", ["changed", "shortened", "deleted"])
def test_wrong_bytes_end_a_stream(
    laptop: Device, store: LocalObjectStore, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    version = laptop.upload(BIG)
    location = StoredObject.objects.get(blocks=sha256(BIG[1])).pk
    path = store._root / location
    if harm == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"x" * (300_000 if harm == "changed" else 10))

    stream = laptop.service.read_version(
        file_version_id=version.file_version_id, start=0, length=900_000
    )

    assert b"".join(islice(stream, 2)) == BIG[0]
    with pytest.raises(ServiceUnavailable):
        next(stream)
    assert sha256(BIG[1])[:12] in caplog.text
    assert sha256(BIG[1]) not in caplog.text
    assert "bytes-differ" in {fault.rule for fault in faults(store)}


def test_pieces_of_a_stream_are_small(laptop: Device) -> None:
    version = laptop.upload([b"a" * 3_000_000])

    stream = laptop.service.read_version(
        file_version_id=version.file_version_id, start=0, length=3_000_000
    )

    assert max(len(piece) for piece in stream) <= 256 * 1024


# --- Places ---------------------------------------------------------------------------------


def test_an_upload_row_is_there_before_its_url_is(laptop: Device, store: LocalObjectStore) -> None:
    locations = laptop.begin(laptop.version(BIG + SMALL))
    urls = [each.upload.url for each in locations if each.upload]
    pack, _ = pack_of(SMALL)
    urls.append(laptop.pack_url(pack).url)

    known = set(BlockUpload.objects.values_list("s3_location", flat=True))

    assert {url.partition("?")[0].removeprefix("/blocks/") for url in urls} == known
    assert sorted(location[0] for location in known) == ["b", "b", "b", "p"]


def test_two_devices_never_share_a_location(laptop: Device, phone: Device) -> None:
    one = laptop.begin(laptop.version(BIG[:1]))[0].upload
    other = phone.begin(phone.version(BIG[:1]))[0].upload

    assert one is not None
    assert other is not None
    assert one.url.partition("?")[0] != other.url.partition("?")[0]


def test_a_spoilt_location_is_condemned_and_replaced(
    laptop: Device, store: LocalObjectStore
) -> None:
    version = laptop.version(BIG[:1])
    laptop.begin(version)
    spoilt = BlockUpload.objects.get()
    # What only a broken or lax store lets happen.
    store.write(spoilt.s3_location, b"x" * 10, sha256=sha256(b"x" * 10))

    assert laptop.refresh(version, done=BIG[:1]).missing == (sha256(BIG[0]),)
    assert CondemnedObject.objects.get().pk == spoilt.s3_location
    laptop.send(version, BIG[:1])
    assert BlockUpload.objects.get().s3_location != spoilt.s3_location
    assert laptop.verdict(version).verdict == Verdict.READY
    assert faults(store) == []


def test_the_check_sees_what_is_wrong(laptop: Device, store: LocalObjectStore) -> None:
    laptop.upload(BIG)
    assert faults(store) == []
    stored = StoredObject.objects.order_by("pk").first()
    assert stored is not None

    StoredObject.objects.filter(pk=stored.pk).update(live_bytes=1)
    assert {fault.rule for fault in faults(store)} == {"live-bytes"}
    StoredObject.objects.filter(pk=stored.pk).update(live_bytes=300_000)
    store.delete(stored.pk)
    assert {fault.rule for fault in faults(store)} == {"object-lost", "bytes-differ"}


# --- Transactions and secrets ---------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("alias", ["default", "blocks"])
def test_a_call_inside_a_transaction_is_refused(service: LocalBlockService, alias: str) -> None:
    with transaction.atomic(using=alias), pytest.raises(RuntimeError, match=alias):
        service.stats()
    service.stats()


def test_urls_are_never_logged(laptop: Device, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    version = laptop.upload(BIG)
    laptop.download(version)

    ours = [
        record.getMessage()
        for record in caplog.records
        if not record.name.startswith(("httpx", "httpcore"))  # the device's, not the server's
    ]

    assert not [message for message in ours if "signature" in message]

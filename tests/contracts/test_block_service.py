"""What every Block Service promises, on every store. The actors are devices and namespaces."""

import hashlib
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from blocks.local import LocalBlockService
from blocks.service import (
    FIRST_URLS,
    MAX_BLOCK_BYTES,
    MAX_BLOCKS_PER_CALL,
    MAX_COPIES_PER_CALL,
    MAX_PACK_BYTES,
    BlockClaim,
    BlockService,
    LocationState,
    NewPack,
    NewVersion,
    PackedBlock,
    RecordedState,
    RecordedVersion,
    RefreshedUpload,
    Settlement,
    UploadReport,
    Verdict,
    VersionCopy,
    VersionPair,
    VersionRange,
    VersionToCommit,
)
from blocks.storage import ObjectStore
from drive_project.common.errors import InvalidRequest, NotFound, UploadExpired
from drive_project.common.ids import new_id
from tests.blocks.devices import Device, Door, pack_of, sha256
from tests.blocks.rpc.served import remote
from tests.fakes.blocks import FakeBlockService
from tests.fakes.object_store import FakeObjectStore

BIG = [bytes([65 + number]) * 300_000 for number in range(3)]
SMALL = [b"small block %d" % number for number in range(5)]


# (how the service is reached, on which store)
WORLDS = [
    pytest.param(("in-process", "local"), id="in-process", marks=pytest.mark.django_db),
    pytest.param(
        ("in-process", "strict"),
        id="in-process-s3-strict",
        marks=[pytest.mark.django_db, pytest.mark.s3],
    ),
    pytest.param(
        ("in-process", "lax"),
        id="in-process-s3-lax",
        marks=[pytest.mark.django_db, pytest.mark.s3],
    ),
    # Its threads have connections of their own, so what it writes is really committed.
    pytest.param(("grpc", "local"), id="grpc", marks=pytest.mark.django_db(transaction=True)),
    pytest.param(("fake", "fake"), id="fake"),
]


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> tuple[str, str]:
    way_and_store: tuple[str, str] = request.param
    return way_and_store


@pytest.fixture
def kind(world: tuple[str, str]) -> str:
    return world[1]


@pytest.fixture
def service(world: tuple[str, str], store: ObjectStore) -> Iterator[BlockService]:
    match world:
        case ("in-process", _):
            yield LocalBlockService(store)
        case ("grpc", _):
            with remote(LocalBlockService(store)) as service:
                yield service
        case _:
            assert isinstance(store, FakeObjectStore)
            yield FakeBlockService(store)


@pytest.fixture
def laptop(service: BlockService, door: Door) -> Device:
    """Alice's, in her namespace."""
    return Device(service, door)


@pytest.fixture
def phone(service: BlockService, door: Door, laptop: Device) -> Device:
    """Alice's too: the same namespace."""
    return Device(service, door, namespace_id=laptop.namespace_id)


@pytest.fixture
def stranger(service: BlockService, door: Door) -> Device:
    """Mallory's, in a namespace of her own."""
    return Device(service, door)


def states(device: Device, blocks: Sequence[bytes]) -> list[LocationState]:
    """What the device is told about these blocks, in an upload that is given up at once."""
    version = device.version(blocks)
    told = [location.state for location in device.begin(version)]
    device.settle(version, is_committed=False)
    return told


# --- The plain path -------------------------------------------------------------------------


def test_what_one_device_sends_another_reads(laptop: Device, phone: Device) -> None:
    blocks = [BIG[0], SMALL[0], BIG[1], BIG[0]]

    version = laptop.upload(blocks)

    assert phone.download(version) == blocks
    assert phone.read(version) == b"".join(blocks)


def test_a_verdict_has_the_digest_of_the_ordered_list(laptop: Device) -> None:
    version = laptop.version(BIG)
    laptop.begin(version)
    laptop.send(version, BIG)

    verdict = laptop.verdict(version)

    digest = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in BIG))
    assert (verdict.verdict, verdict.blocks_digest) == (Verdict.READY, digest.hexdigest())
    assert laptop.verdict(version) == verdict


def test_an_empty_file_is_ready_at_once(laptop: Device) -> None:
    version = laptop.version([])

    assert laptop.begin(version) == []
    assert laptop.verdict(version).verdict == Verdict.READY
    laptop.settle(version)
    assert laptop.download(version) == []
    assert laptop.read(version) == b""


def test_a_range_of_a_version(laptop: Device) -> None:
    version = laptop.upload([BIG[0], SMALL[0], BIG[1]])
    whole = BIG[0] + SMALL[0] + BIG[1]

    for start, length in [(0, 1), (299_990, 30), (300_005, 3), (299_000, 302_000), (7, 0)]:
        assert laptop.read(version, start, length) == whole[start : start + length]
    assert laptop.read(version, len(whole) - 3, 100) == whole[-3:]
    assert laptop.read(version, len(whole) + 1, 10) == b""


def test_each_distinct_block_is_named_once_in_order(laptop: Device) -> None:
    locations = laptop.begin(laptop.version([BIG[1], BIG[0], BIG[1]]))

    assert [location.block_hash for location in locations] == [sha256(BIG[1]), sha256(BIG[0])]
    assert [location.size_bytes for location in locations] == [300_000, 300_000]


def test_the_first_big_blocks_come_with_urls(laptop: Device) -> None:
    blocks = [b"%06d" % number * 50_000 for number in range(FIRST_URLS + 5)]

    locations = laptop.begin(laptop.version([SMALL[0], *blocks]))

    assert [location.upload is not None for location in locations] == [
        False,
        *[True] * FIRST_URLS,
        *[False] * 5,
    ]


def test_a_url_from_init_is_enough(laptop: Device) -> None:
    version = laptop.version(BIG)
    for location, data in zip(laptop.begin(version), BIG, strict=True):
        assert location.upload is not None
        laptop.put(location.upload, data)

    assert laptop.verdict(version).verdict == Verdict.READY


def test_several_versions_begin_in_one_call(service: BlockService, laptop: Device) -> None:
    versions = [laptop.version(BIG[:2]), laptop.version(BIG[1:]), laptop.version([])]

    answers = service.get_or_create_block_locations(versions=versions, readable=[])

    assert [[each.block_hash for each in answer] for answer in answers] == [
        [sha256(data) for data in BIG[:2]],
        [sha256(data) for data in BIG[1:]],
        [],
    ]
    # A block that two of them name comes with one URL.
    urls = [each.upload for answer in answers for each in answer if each.upload]
    assert len({url.url for url in urls}) == len(urls) == 3


# --- Held, and what strangers have ----------------------------------------------------------


def test_a_block_in_reach_is_held(laptop: Device, phone: Device) -> None:
    laptop.upload(BIG)

    assert states(phone, BIG) == [LocationState.HELD] * 3
    version = phone.version(BIG)
    phone.begin(version)
    assert phone.verdict(version).verdict == Verdict.READY


def test_a_strangers_block_is_answered_like_a_new_one(laptop: Device, stranger: Device) -> None:
    laptop.upload(BIG[:1])

    known, new = stranger.begin(stranger.version(BIG[:2]))

    assert known.state == new.state == LocationState.SEND
    assert known.upload is not None
    assert new.upload is not None
    assert known.upload.headers.keys() == new.upload.headers.keys()
    assert len(known.upload.url) == len(new.upload.url)


def test_naming_a_hash_is_no_way_to_its_bytes(
    service: BlockService, laptop: Device, stranger: Device
) -> None:
    secret = laptop.upload(BIG[:1])
    thief = stranger.version(BIG[:1])
    stranger.begin(thief)

    verdict = stranger.verdict(thief)

    assert (verdict.verdict, verdict.missing) == (Verdict.MISSING_BLOCKS, (sha256(BIG[0]),))
    with pytest.raises(NotFound):
        service.get_block_download_urls(ranges=[VersionRange(thief.file_version_id)])
    with pytest.raises(NotFound):
        service.read_version(file_version_id=thief.file_version_id, start=0, length=1)
    with pytest.raises(NotFound):
        service.copy_versions(copies=[VersionCopy(thief.file_version_id, stranger.version([]))])
    assert laptop.read(secret) == BIG[0]


def test_sending_the_bytes_is_the_proof(laptop: Device, stranger: Device) -> None:
    first = laptop.upload(BIG[:1])

    second = stranger.upload(BIG[:1])

    assert stranger.read(second) == laptop.read(first) == BIG[0]


def test_an_open_upload_holds_nothing_for_others(laptop: Device, phone: Device) -> None:
    version = laptop.version(BIG[:1])
    laptop.begin(version)
    laptop.send(version, BIG[:1])
    assert laptop.verdict(version).verdict == Verdict.READY

    assert states(phone, BIG[:1]) == [LocationState.SEND]


def test_a_removed_version_holds_nothing(laptop: Device, phone: Device) -> None:
    version = laptop.upload(BIG[:1])

    laptop.settle(version, is_committed=False)

    assert states(phone, BIG[:1]) == [LocationState.SEND]
    # For the device that sent it as well: "nothing to send" would tell of a stranger's.
    assert states(laptop, BIG[:1]) == [LocationState.SEND]


def test_what_a_device_proved_counts_for_its_open_uploads(laptop: Device, phone: Device) -> None:
    first, second = laptop.version(BIG[:1]), laptop.version(BIG[:1])
    laptop.begin(first)
    laptop.begin(second)
    laptop.send(first, BIG[:1])

    assert laptop.verdict(first).verdict == Verdict.READY
    assert laptop.verdict(second).verdict == Verdict.READY
    assert states(phone, BIG[:1]) == [LocationState.SEND]


def test_a_wrong_size_is_answered_like_a_new_block(laptop: Device, phone: Device) -> None:
    laptop.upload(BIG[:1])
    liar = phone.version([], blocks=[BlockClaim(sha256(BIG[0]), 299_999)])

    [location] = phone.begin(liar)

    assert location.state == LocationState.SEND
    assert phone.verdict(liar).verdict == Verdict.MISSING_BLOCKS


def test_held_moves_with_the_file(
    service: BlockService, laptop: Device, phone: Device, stranger: Device
) -> None:
    version = laptop.upload(BIG[:1])

    service.settle_versions(
        settlements=[
            Settlement(
                version.file_version_id,
                is_committed=True,
                file_id=version.file_id,
                namespace_id=stranger.namespace_id,
            )
        ]
    )

    assert states(stranger, BIG[:1]) == [LocationState.HELD]
    assert states(phone, BIG[:1]) == [LocationState.SEND]


# --- Sending, and resuming ------------------------------------------------------------------


def test_what_is_reported_is_verified(laptop: Device) -> None:
    version = laptop.version(BIG)
    laptop.begin(version)
    laptop.send(version, BIG[:2])

    answer = laptop.refresh(version, done=BIG)

    assert answer.verified == (sha256(BIG[0]), sha256(BIG[1]))
    assert answer.missing == (sha256(BIG[2]),)


def test_many_uploads_are_reported_in_one_call(
    laptop: Device, phone: Device, stranger: Device
) -> None:
    sent, resumed, wanted, given_up = (laptop.version(BIG[:2]) for _ in range(4))
    foreign = stranger.version(BIG[:1])
    for version in (sent, resumed, wanted, given_up):
        laptop.begin(version)
    stranger.begin(foreign)
    laptop.settle(given_up, is_committed=False)
    laptop.send(sent, BIG[:1])
    first, second = sha256(BIG[0]), sha256(BIG[1])

    def answers(*reports: UploadReport) -> list[RefreshedUpload]:
        return laptop.service.refresh_upload_urls(device_id=laptop.device_id, reports=reports)

    found = answers(
        UploadReport(sent.file_version_id, done=[first, second], want=()),
        UploadReport(given_up.file_version_id, done=[first], want=[second]),
        UploadReport(wanted.file_version_id, done=(), want=[second, first, sha256(b"none")]),
        UploadReport(foreign.file_version_id, done=[first], want=[first]),
        UploadReport(resumed.file_version_id, done=(), want=()),
        UploadReport(sent.file_version_id, done=(), want=[second]),
    )

    # What the device has sent for one of its uploads counts for the others.
    is_expired = [False, True, False, True, False, False]
    assert [answer.is_expired for answer in found] == is_expired
    assert [answer.missing for answer in found] == [
        () if each else (second,) for each in is_expired
    ]
    assert [answer.verified for answer in found] == [(first,), (), (), (), (), ()]
    assert [list(answer.urls) for answer in found] == [[], [], [second], [], [], [second]]
    one, other = (urlsplit(found[index].urls[second].url).path for index in (2, 5))
    assert one == other
    assert answers() == []
    laptop.put(found[2].urls[second], BIG[1])
    for version in (sent, resumed, wanted):
        assert laptop.verdict(version).verdict == Verdict.READY


def test_a_block_of_two_claimed_sizes_has_a_url_for_each(laptop: Device) -> None:
    """A claim is only that: the one that is wrong can never be verified."""
    right = laptop.version(BIG[:1])
    wrong = laptop.version([], blocks=[BlockClaim(sha256(BIG[0]), len(BIG[0]) - 1)])
    for version in (right, wrong):
        laptop.begin(version)
    name = sha256(BIG[0])

    one, other = laptop.service.refresh_upload_urls(
        device_id=laptop.device_id,
        reports=[
            UploadReport(version.file_version_id, done=(), want=[name])
            for version in (right, wrong)
        ],
    )

    assert one.urls[name].url != other.urls[name].url
    laptop.put(one.urls[name], BIG[0])
    assert laptop.verdict(right).verdict == Verdict.READY
    assert laptop.verdict(wrong).verdict == Verdict.MISSING_BLOCKS


def test_several_uploads_of_one_call_have_a_bounded_answer(laptop: Device) -> None:
    claims = [BlockClaim(sha256(b"%d" % number), 1) for number in range(MAX_BLOCKS_PER_CALL)]
    long, empty, short = (laptop.version([], blocks=blocks) for blocks in (claims, [], claims[:1]))
    laptop.service.get_or_create_block_locations(versions=[long, empty], readable=[])
    laptop.begin(short)

    def ask(*versions: NewVersion) -> list[int]:
        found = laptop.service.refresh_upload_urls(
            device_id=laptop.device_id,
            reports=[UploadReport(each.file_version_id, done=(), want=()) for each in versions],
        )
        return [len(answer.missing) for answer in found]

    assert ask(long, empty) == [MAX_BLOCKS_PER_CALL, 0]
    for versions in ([long, short], [long, long]):
        with pytest.raises(InvalidRequest, match="together"):
            ask(*versions)


def test_urls_come_for_what_is_wanted_and_missing(laptop: Device) -> None:
    version = laptop.version(BIG + SMALL)
    laptop.begin(version)
    laptop.send(version, BIG[:1])

    answer = laptop.refresh(version, done=BIG[:1], want=[BIG[0], SMALL[0], b"not in it"])

    assert answer.urls.keys() == {sha256(SMALL[0])}
    assert answer.missing == tuple(sha256(data) for data in BIG[1:] + SMALL)


def test_a_fresh_url_leads_to_the_same_place(laptop: Device) -> None:
    version = laptop.version(BIG[:1])
    [location] = laptop.begin(version)
    answer = laptop.refresh(version, want=BIG[:1])

    assert location.upload is not None
    first, second = location.upload.url, answer.urls[sha256(BIG[0])].url
    assert first.partition("?")[0] == second.partition("?")[0]


def test_an_upload_is_resumed_without_knowing_anything(laptop: Device) -> None:
    version = laptop.version(BIG + SMALL)
    laptop.begin(version)
    laptop.send(version, BIG[:2])
    laptop.send_pack(SMALL)

    answer = laptop.refresh(version)

    assert answer.missing == (sha256(BIG[2]),)


def test_beginning_again_takes_no_second_reference(laptop: Device, phone: Device) -> None:
    version = laptop.version(BIG)
    first = laptop.begin(version)
    again = laptop.begin(version)
    laptop.send(version, BIG)
    assert laptop.verdict(version).verdict == Verdict.READY
    laptop.settle(version)

    assert [each.block_hash for each in first] == [each.block_hash for each in again]
    assert laptop.download(version) == BIG
    assert [each.state for each in laptop.begin(version)] == [LocationState.HELD] * 3


def test_an_index_keeps_its_block(laptop: Device) -> None:
    version = laptop.version(BIG[:2])
    laptop.begin(version)

    other = laptop.version(BIG[1:], file_version_id=version.file_version_id)
    with pytest.raises(InvalidRequest):
        laptop.begin(other)

    laptop.send(version, BIG[:2])
    assert laptop.verdict(version).verdict == Verdict.READY


def test_a_long_list_comes_in_several_calls(laptop: Device) -> None:
    version = laptop.version(BIG + SMALL)
    for start in (4, 0, 2, 6):
        laptop.begin(
            laptop.version(
                (BIG + SMALL)[start : start + 2],
                file_version_id=version.file_version_id,
                start_index=start,
            )
        )
    laptop.send(version, BIG + SMALL)

    assert laptop.verdict(version).verdict == Verdict.READY
    laptop.settle(version)
    assert laptop.download(version) == BIG + SMALL


@pytest.mark.parametrize(
    ("size_change", "count_change", "start"), [(0, 0, 1), (1, 0, 0), (0, 1, 0), (0, -1, 0)]
)
def test_a_list_that_is_not_whole_is_refused(
    laptop: Device, size_change: int, count_change: int, start: int
) -> None:
    version = laptop.version(BIG, start_index=start)
    laptop.begin(version)
    laptop.send(version, BIG)

    [verdict] = laptop.service.verify_versions(
        versions=[
            VersionToCommit(
                version.file_version_id,
                laptop.device_id,
                900_000 + size_change,
                3 + count_change,
            )
        ]
    )

    assert verdict.verdict == Verdict.INCOMPLETE_LIST


@pytest.mark.parametrize(
    "blocks",
    [
        [BlockClaim("A" * 64, 1)],
        [BlockClaim("../" + "a" * 61, 1)],
        [BlockClaim("a" * 63, 1)],
        [BlockClaim("a" * 64, 0)],
        [BlockClaim("a" * 64, MAX_BLOCK_BYTES + 1)],
        [BlockClaim("a" * 64, 1), BlockClaim("a" * 64, 2)],
        [BlockClaim("a" * 64, 1)] * (MAX_BLOCKS_PER_CALL + 1),
    ],
    ids=["capitals", "path", "short", "empty", "large", "two-sizes", "too-many"],
)
def test_impossible_claims_are_refused(laptop: Device, blocks: list[BlockClaim]) -> None:
    version = laptop.version([], blocks=blocks)

    with pytest.raises(InvalidRequest):
        laptop.begin(version)
    assert laptop.verdict(laptop.version([])).verdict == Verdict.UPLOAD_EXPIRED


def test_an_upload_belongs_to_its_device(laptop: Device, phone: Device, stranger: Device) -> None:
    version = laptop.version(BIG[:1])
    laptop.begin(version)
    laptop.send(version, BIG[:1])

    for other in (phone, stranger):
        assert other.refresh(version, want=BIG[:1]) == RefreshedUpload(is_expired=True)
        assert other.verdict(version).verdict == Verdict.UPLOAD_EXPIRED
    assert laptop.verdict(version).verdict == Verdict.READY


def test_wrong_bytes_never_count(laptop: Device, kind: str) -> None:
    version = laptop.version(BIG[:1])
    [location] = laptop.begin(version)
    assert location.upload is not None
    laptop.door.request(location.upload, b"x" * 300_000)

    assert laptop.verdict(version).verdict == Verdict.MISSING_BLOCKS
    answer = laptop.refresh(version, done=BIG[:1], want=BIG[:1])
    assert answer.verified == ()
    # On a store that took the wrong bytes the place is spoilt: there is a new one.
    laptop.put(answer.urls[sha256(BIG[0])], BIG[0])
    assert laptop.verdict(version).verdict == Verdict.READY
    laptop.settle(version)
    assert laptop.download(version) == BIG[:1]


def test_bytes_cannot_be_exchanged_after_they_were_verified(laptop: Device) -> None:
    version = laptop.version(BIG[:1])
    [location] = laptop.begin(version)
    assert location.upload is not None
    laptop.put(location.upload, BIG[0])
    assert laptop.refresh(version, done=BIG[:1]).verified

    laptop.door.request(location.upload, b"x" * 300_000)

    assert laptop.verdict(version).verdict == Verdict.READY
    laptop.door.request(location.upload, b"x" * 300_000)
    laptop.settle(version)
    assert laptop.download(version) == BIG[:1]
    assert laptop.read(version) == BIG[0]


# --- Packs ----------------------------------------------------------------------------------


def test_small_blocks_travel_in_a_pack(laptop: Device, phone: Device) -> None:
    version = laptop.version(SMALL)
    laptop.begin(version)
    laptop.send_pack(SMALL)

    assert laptop.verdict(version).verdict == Verdict.READY
    laptop.settle(version)
    assert phone.download(version) == SMALL
    assert phone.read(version) == b"".join(SMALL)


def test_one_report_brings_in_the_whole_pack(laptop: Device) -> None:
    one, other = laptop.version(SMALL[:2]), laptop.version(SMALL[2:])
    laptop.begin(one)
    laptop.begin(other)
    laptop.send_pack(SMALL)

    assert laptop.refresh(one, done=SMALL[:1]).missing == ()
    assert laptop.refresh(other, want=SMALL[2:]).missing == ()
    assert laptop.verdict(other).verdict == Verdict.READY
    assert laptop.verdict(one).verdict == Verdict.READY


def test_neighbours_in_a_pack_come_in_one_request(laptop: Device) -> None:
    version = laptop.version(SMALL)
    laptop.begin(version)
    laptop.send_pack(SMALL)
    assert laptop.verdict(version).verdict == Verdict.READY
    laptop.settle(version)

    found = laptop.service.get_block_download_urls(ranges=[VersionRange(version.file_version_id)])

    [source] = found.sources
    assert source.size_bytes == sum(len(data) for data in SMALL)
    assert laptop.door.request(source.request).content == b"".join(SMALL)


def test_a_url_into_a_pack_covers_nothing_that_was_not_asked_for(laptop: Device) -> None:
    mine, private = laptop.version([SMALL[0], SMALL[1], SMALL[4]]), laptop.version(SMALL[2:4])
    for version in (mine, private):
        laptop.begin(version)
    laptop.send_pack(SMALL)
    for version in (mine, private):
        assert laptop.verdict(version).verdict == Verdict.READY
        laptop.settle(version)

    found = laptop.service.get_block_download_urls(ranges=[VersionRange(mine.file_version_id)])

    answers = [laptop.door.request(source.request).content for source in found.sources]
    assert sorted(answers) == sorted([SMALL[0] + SMALL[1], SMALL[4]])
    for source in found.sources:
        widened = laptop.door.request(source.request, headers={"Range": "bytes=0-70"})
        assert widened.status_code == 403
        assert laptop.door.request(source.request, headers={}).status_code == 403


def test_versions_share_the_sources_of_one_answer(laptop: Device) -> None:
    one, other = laptop.version(SMALL[:3]), laptop.version(SMALL[2:])
    for version in (one, other):
        laptop.begin(version)
    laptop.send_pack(SMALL)
    for version in (one, other):
        assert laptop.verdict(version).verdict == Verdict.READY
        laptop.settle(version)

    found = laptop.service.get_block_download_urls(
        ranges=[VersionRange(one.file_version_id), VersionRange(other.file_version_id)]
    )

    assert len(found.sources) == 1
    assert [len(part.blocks) for part in found.versions] == [3, 3]


def test_a_pack_with_a_wrong_block_brings_nothing(laptop: Device) -> None:
    version = laptop.version(SMALL)
    laptop.begin(version)
    pack, body = pack_of([*SMALL[:4], b"other block 4"])
    assert len(SMALL[4]) == len(b"other block 4")
    lie = PackedBlock(sha256(SMALL[4]), pack.blocks[4].offset, len(SMALL[4]))
    laptop.put(
        laptop.pack_url(NewPack(pack.sha256, pack.size_bytes, [*pack.blocks[:4], lie])), body
    )

    assert laptop.verdict(version).verdict == Verdict.MISSING_BLOCKS
    assert laptop.refresh(version, done=SMALL).verified == ()


@pytest.mark.parametrize("change", ["gap", "overlap", "sum", "empty", "large", "twice", "hash"])
def test_impossible_packs_are_refused(laptop: Device, change: str) -> None:
    laptop.begin(laptop.version(SMALL))
    pack, _ = pack_of(SMALL)
    first, second, *_ = pack.blocks
    blocks = {
        "gap": [first, PackedBlock(second.block_hash, second.offset + 1, 1)],
        "overlap": [first, PackedBlock(second.block_hash, second.offset - 1, 14)],
        "sum": [first],
        "empty": [],
        "large": [
            PackedBlock(sha256(b"%d" % number), number * MAX_BLOCK_BYTES, MAX_BLOCK_BYTES)
            for number in range(3)
        ],
        "twice": [first, PackedBlock(first.block_hash, second.offset, second.size_bytes)],
        "hash": [PackedBlock("../..", 0, pack.size_bytes)],
    }[change]
    size_bytes = 3 * MAX_BLOCK_BYTES if change == "large" else 28 if change == "twice" else 70
    assert MAX_PACK_BYTES < 3 * MAX_BLOCK_BYTES

    impossible = NewPack(pack.sha256, 0 if change == "empty" else size_bytes, blocks)

    refused, good = laptop.service.create_pack_uploads(
        device_id=laptop.device_id, packs=[impossible, pack]
    )

    assert refused.upload is None
    assert refused.refusal
    assert refused.unnamed == ()
    assert good.upload


def test_a_pack_carries_only_what_an_open_upload_of_its_device_names(
    laptop: Device, phone: Device
) -> None:
    """What is in the store is in somebody's reservation."""
    phone.begin(phone.version(SMALL))
    given_up = laptop.version(SMALL[:2])
    laptop.begin(given_up)
    laptop.settle(given_up, is_committed=False)
    laptop.begin(laptop.version(SMALL[1:]))

    one, other = laptop.service.create_pack_uploads(
        device_id=laptop.device_id, packs=[pack_of(SMALL)[0], pack_of(SMALL[1:])[0]]
    )

    assert (one.upload, one.unnamed) == (None, (sha256(SMALL[0]),))
    assert one.refusal
    assert other.upload is not None
    assert (other.refusal, other.unnamed) == ("", ())


def test_a_pack_of_another_device_proves_nothing(laptop: Device, stranger: Device) -> None:
    version = stranger.version(SMALL)
    stranger.begin(version)
    laptop.begin(laptop.version(SMALL))
    laptop.send_pack(SMALL)

    assert stranger.verdict(version).verdict == Verdict.MISSING_BLOCKS


# --- Decisions ------------------------------------------------------------------------------


def test_a_release_is_final(laptop: Device) -> None:
    version = laptop.version(BIG[:1])
    laptop.begin(version)
    laptop.settle(version, is_committed=False)
    laptop.settle(version)
    laptop.settle(version, is_committed=False)

    with pytest.raises(UploadExpired):
        laptop.begin(version)
    assert laptop.refresh(version) == RefreshedUpload(is_expired=True)
    assert laptop.verdict(version).verdict == Verdict.UPLOAD_EXPIRED
    with pytest.raises(NotFound):
        laptop.download(version)


def test_releasing_an_unknown_version_keeps_it_from_beginning(laptop: Device) -> None:
    version = laptop.version(BIG[:1])
    laptop.settle(version, is_committed=False)

    with pytest.raises(UploadExpired):
        laptop.begin(version)
    assert laptop.service.stats().block_count == 0


def test_what_others_still_need_outlives_a_release(laptop: Device, phone: Device) -> None:
    first = laptop.upload(BIG[:2])
    second = phone.upload(BIG[1:])

    laptop.settle(first, is_committed=False)

    assert phone.download(second) == BIG[1:]
    assert states(phone, BIG) == [LocationState.SEND, LocationState.HELD, LocationState.HELD]


def test_a_committed_list_takes_no_more_blocks(laptop: Device) -> None:
    version = laptop.upload(BIG[:1])

    with pytest.raises(InvalidRequest):
        laptop.begin(
            laptop.version(BIG[1:2], file_version_id=version.file_version_id, start_index=1)
        )


def test_a_version_is_readable_before_its_settlement_arrives(laptop: Device) -> None:
    version = laptop.version(BIG)
    laptop.begin(version)
    laptop.send(version, BIG)
    assert laptop.verdict(version).verdict == Verdict.READY

    assert laptop.download(version) == BIG
    assert laptop.read(version) == b"".join(BIG)


def test_a_copy_moves_no_bytes(laptop: Device, phone: Device) -> None:
    source = laptop.upload([*BIG, *SMALL, BIG[0]])
    copy = phone.version([])

    phone.service.copy_versions(copies=[VersionCopy(source.file_version_id, copy)])
    phone.service.copy_versions(copies=[VersionCopy(source.file_version_id, copy)])

    [verdict] = phone.service.verify_versions(
        versions=[
            VersionToCommit(
                copy.file_version_id, phone.device_id, sum(map(len, [*BIG, *SMALL, BIG[0]])), 9
            )
        ]
    )
    assert verdict.verdict == Verdict.READY
    phone.settle(copy)
    laptop.settle(source, is_committed=False)
    assert phone.download(copy) == [*BIG, *SMALL, BIG[0]]


def test_many_copies_are_one_call_and_each_keeps_its_blocks(laptop: Device, phone: Device) -> None:
    sources = [laptop.upload(BIG[:2]), laptop.upload(SMALL), laptop.upload([])]
    copies = [(source, phone.version([])) for source in [*sources, sources[0]]]

    phone.service.copy_versions(
        copies=[VersionCopy(source.file_version_id, copy) for source, copy in copies]
    )
    for _, copy in copies:
        phone.settle(copy)
    for source in sources:
        laptop.settle(source, is_committed=False)

    assert [phone.download(copy) for _, copy in copies[:2]] == [BIG[:2], SMALL]
    assert phone.download(copies[3][1]) == BIG[:2]
    with pytest.raises(InvalidRequest):
        phone.service.copy_versions(
            copies=[VersionCopy(new_id(), phone.version([]))] * (MAX_COPIES_PER_CALL + 1)
        )


def test_what_does_not_exist_cannot_be_read_or_copied(laptop: Device) -> None:
    with pytest.raises(NotFound):
        laptop.service.get_block_download_urls(ranges=[VersionRange(new_id())])
    with pytest.raises(NotFound):
        laptop.service.read_version(file_version_id=new_id(), start=0, length=1)
    with pytest.raises(NotFound):
        laptop.service.copy_versions(copies=[VersionCopy(new_id(), laptop.version([]))])


def test_a_refused_download_names_every_version_that_cannot_be_read(laptop: Device) -> None:
    """So the caller can ask again for the others."""
    good = laptop.upload(BIG[:1])
    begun = laptop.version(SMALL)
    laptop.begin(begun)
    unknown = new_id()
    ids = [unknown, good.file_version_id, begun.file_version_id]

    with pytest.raises(NotFound) as refused:
        laptop.service.get_block_download_urls(ranges=[VersionRange(pk) for pk in ids])

    assert refused.value.extra["file_version_ids"] == [str(unknown), str(begun.file_version_id)]


def test_downloads_are_paged(laptop: Device) -> None:
    version = laptop.upload(BIG + SMALL)

    found = laptop.service.get_block_download_urls(
        ranges=[VersionRange(version.file_version_id, start_index=2, limit=3)]
    )
    rest = laptop.service.get_block_download_urls(
        ranges=[VersionRange(version.file_version_id, start_index=5)]
    )

    assert [block.index for block in found.versions[0].blocks] == [2, 3, 4]
    assert found.versions[0].next_index == 5
    assert [block.index for block in rest.versions[0].blocks] == [5, 6, 7]
    assert rest.versions[0].next_index is None


def test_the_numbers_of_the_dashboard(laptop: Device, phone: Device) -> None:
    laptop.upload(BIG)
    phone.upload(BIG[:1])
    laptop.begin(laptop.version(SMALL))

    stats = laptop.service.stats()

    assert (stats.block_count, stats.stored_bytes) == (3, 900_000)
    assert stats.referenced_bytes == 1_200_000 + sum(map(len, SMALL))
    assert (stats.object_count, stats.open_upload_count, stats.damaged_count) == (3, 1, 0)
    assert stats.last_collection is None


def test_the_space_of_some_namespaces_counts_each_block_once(laptop: Device, phone: Device) -> None:
    first = laptop.upload(BIG)
    laptop.upload([*BIG[:1], *SMALL])
    phone.begin(phone.version(SMALL))
    laptop.settle(laptop.upload(BIG[1:]), is_committed=False)

    used = laptop.service.space_used(namespaces=[first.namespace_id])
    assert used.distinct_bytes == sum(map(len, [*BIG, *SMALL]))
    assert used.referenced_bytes == used.distinct_bytes + len(BIG[0])
    nothing = laptop.service.space_used(namespaces=[new_id()])
    assert (nothing.referenced_bytes, nothing.distinct_bytes) == (0, 0)


def test_blocks_that_a_version_does_not_share_with_another_are_counted(laptop: Device) -> None:
    whole, more = laptop.upload(BIG), laptop.upload([*BIG[:1], *SMALL])
    first, second = whole.file_version_id, more.file_version_id

    counts = laptop.service.changed_block_counts(
        pairs=[
            VersionPair(second, first),
            VersionPair(first, second),
            VersionPair(first, first),
            VersionPair(first, new_id()),
            VersionPair(new_id(), first),
        ]
    )

    assert counts == [len(SMALL), len(BIG) - 1, 0, len(BIG), 0]
    with pytest.raises(InvalidRequest):
        laptop.service.changed_block_counts(pairs=[VersionPair(first, second)] * 101)


def test_what_is_recorded_can_be_compared(laptop: Device, phone: Device) -> None:
    service = laptop.service
    committed, open_one, released = laptop.upload(BIG), phone.version(SMALL), laptop.upload(BIG[:1])
    phone.begin(open_one)
    laptop.settle(released, is_committed=False)
    verdict = laptop.verdict(committed)

    pages: list[list[UUID]] = []
    after = None
    while not pages or pages[-1]:
        pages.append(service.recorded_ids(after=after, limit=1))
        after = pages[-1][0] if pages[-1] else after

    ids = [pk for page in pages for pk in page]
    assert ids == sorted([committed.file_version_id, open_one.file_version_id])
    found = {
        each.file_version_id: each
        for each in service.recorded_versions(
            file_version_ids=[*ids, released.file_version_id, new_id()]
        )
    }
    assert found.keys() == {*ids, released.file_version_id}
    assert found[released.file_version_id].state == RecordedState.RELEASED
    assert found[open_one.file_version_id] == RecordedVersion(
        open_one.file_version_id,
        RecordedState.OPEN,
        open_one.file_id,
        open_one.namespace_id,
        5,
        sum(map(len, SMALL)),
        hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in SMALL)).hexdigest(),
        0,
    )
    whole = found[committed.file_version_id]
    assert (whole.state, whole.blocks_digest) == (RecordedState.COMMITTED, verdict.blocks_digest)
    assert (whole.block_count, whole.size_bytes) == (3, 900_000)
    assert service.damaged_ids(after=None, limit=10) == []


def test_pages_of_records_are_bounded(laptop: Device) -> None:
    for limit in (0, 1_001):
        with pytest.raises(InvalidRequest):
            laptop.service.recorded_ids(after=None, limit=limit)
        with pytest.raises(InvalidRequest):
            laptop.service.damaged_ids(after=None, limit=limit)
    with pytest.raises(InvalidRequest):
        laptop.service.recorded_versions(file_version_ids=[new_id() for _ in range(1_001)])

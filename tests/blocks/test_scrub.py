"""The scrub finds what the store has lost, all of it, and takes nothing else for lost."""

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models import F
from django.utils import timezone

from blocks import scrub
from blocks.local import LocalBlockService
from blocks.models import Block, BlockState, StoredObject
from blocks.scrub import Damage, Pace, Scrubbed, Subset
from blocks.service import LocationState
from blocks.storage import LocalObjectStore
from drive_project.common.errors import ServiceUnavailable
from tests.blocks.devices import Device, sha256
from tests.blocks.worlds import collect_now, faults

BIG = [bytes([65 + number]) * 300_000 for number in range(3)]
SMALL = [b"small block %d" % number for number in range(5)]


@pytest.fixture
def place(store: LocalObjectStore, blocks_dir: Path) -> "Place":
    return Place(blocks_dir)


class Place:
    """Where the object of a block lies on the disk, to be spoilt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, block: bytes) -> Path:
        return self._folder / StoredObject.objects.get(blocks=sha256(block)).pk

    def flip(self, block: bytes, at: int = 0) -> None:
        path = self.of(block)
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)


def run(store: LocalObjectStore, **options: object) -> tuple[list[Damage], Scrubbed]:
    done = Scrubbed()
    found = list(scrub.scrub(store=store, done=done, **options))  # type: ignore[arg-type]
    return found, done


def damaged() -> set[str]:
    return set(Block.objects.filter(state=BlockState.DAMAGED).values_list("pk", flat=True))


def test_what_is_whole_stays_as_it_is(laptop: Device, store: LocalObjectStore) -> None:
    version = laptop.upload(BIG)
    StoredObject.objects.update(last_verified_at=F("last_verified_at") - timedelta(days=1))
    before = timezone.now()

    found, done = run(store)

    assert found == []
    assert (done.object_count, done.block_count, done.size_bytes) == (3, 3, 900_000)
    assert not StoredObject.objects.filter(last_verified_at__lt=before).exists()
    assert laptop.download(version) == BIG


def test_flipped_shortened_lengthened_and_lost_objects_are_found(
    laptop: Device, store: LocalObjectStore, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    blocks = [*BIG, b"fine" * 100_000]
    laptop.upload(blocks)
    place.flip(BIG[0], at=299_999)
    os.truncate(place.of(BIG[1]), 299_999)
    place.of(BIG[2]).unlink()

    found, done = run(store)

    assert {each.block_hashes for each in found} == {(sha256(data),) for data in BIG}
    assert damaged() == {sha256(data) for data in BIG}
    assert (done.object_count, done.damaged_count) == (4, 3)
    for data in BIG:
        assert f"{sha256(data)[:12]}…/{place.of(data).name} is damaged" in caplog.text
        assert sha256(data) not in caplog.text
    with place.of(blocks[3]).open("ab") as file:
        file.write(b"more")
    assert sha256(blocks[3]) in {name for each in run(store)[0] for name in each.block_hashes}


def test_each_block_of_a_pack_is_judged_by_itself(
    laptop: Device, store: LocalObjectStore, place: Place
) -> None:
    version = laptop.version(SMALL)
    laptop.begin(version)
    laptop.send_pack(SMALL)
    assert laptop.verdict(version).verdict == "ready"
    laptop.settle(version)
    place.flip(SMALL[1], at=len(SMALL[0]))

    [found] = run(store)[0]

    assert found.block_hashes == (sha256(SMALL[1]),)
    assert damaged() == {sha256(SMALL[1])}


def test_damage_is_told_again_until_it_is_healed_by_a_device(
    laptop: Device, phone: Device, store: LocalObjectStore, place: Place
) -> None:
    version = laptop.upload(BIG)
    place.flip(BIG[0])
    assert len(run(store)[0]) == len(run(store)[0]) == 1
    assert laptop.service.damaged_ids(after=None, limit=10) == [version.file_version_id]

    again = phone.version(BIG)
    told = {each.block_hash: each.state for each in phone.begin(again)}
    assert told[sha256(BIG[0])] == LocationState.SEND
    phone.send(again, BIG[:1])
    assert phone.verdict(again).verdict == "ready"
    phone.settle(again)

    assert run(store)[0] == []
    assert laptop.service.damaged_ids(after=None, limit=10) == []
    assert laptop.download(version) == BIG
    collect_now(store)
    assert faults(store) == []


def test_a_store_that_was_mended_heals_too(
    laptop: Device, store: LocalObjectStore, place: Place
) -> None:
    version = laptop.upload(BIG)
    moved = place.of(BIG[0]).with_name("away")
    place.of(BIG[0]).rename(moved)
    run(store)

    moved.rename(place.of(BIG[0]))
    found, done = run(store)

    assert (found, done.healed_count, damaged()) == ([], 1, set())
    assert laptop.download(version) == BIG


def test_a_store_that_does_not_answer_is_not_damage(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.upload(BIG)
    read = store.read
    count = 0

    def read_two(location: str, **options: int) -> bytes | None:
        nonlocal count
        count += 1
        if count > 2:
            raise ServiceUnavailable
        return read(location, **options)

    monkeypatch.setattr(store, "read", read_two)
    with pytest.raises(ServiceUnavailable):
        run(store)

    assert damaged() == set()


def test_a_sector_that_cannot_be_read_is_damage_of_one_object(
    laptop: Device, store: LocalObjectStore, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.upload(BIG)
    broken = StoredObject.objects.get(blocks=sha256(BIG[1])).pk
    open_file = store._files.open

    def open_or_fail(name: str, *options: str) -> object:
        if name == broken:
            raise OSError(errno.EIO, "Input/output error")
        return open_file(name, *options)

    monkeypatch.setattr(store._files, "open", open_or_fail)

    run(store)

    assert damaged() == {sha256(BIG[1])}


def test_an_empty_store_is_taken_for_another_one(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "MANY", 3)
    laptop.upload(BIG)
    for each in list(store.listing()):
        store.delete(each.location)

    with pytest.raises(ServiceUnavailable, match="mounted"):
        run(store)
    with pytest.raises(ServiceUnavailable, match="mounted"):
        list(scrub.find_lost(store=store, done=Scrubbed()))

    assert damaged() == set()


def test_the_least_recently_verified_come_first_and_a_run_can_be_ended(
    laptop: Device, store: LocalObjectStore
) -> None:
    laptop.upload(BIG)
    order = [sha256(data) for data in (BIG[2], BIG[0], BIG[1])]
    now = timezone.now()
    for number, block_hash in enumerate(order):
        StoredObject.objects.filter(blocks=block_hash).update(
            last_verified_at=None if not number else now - timedelta(days=9 - number)
        )
    seen: list[str] = []

    class Watched(LocalObjectStore):
        def read(self, location: str, **options: int) -> bytes | None:  # type: ignore[override]
            seen.append(location.split("/")[2])
            return super().read(location, **options)

    watched = Watched(store._root, secret_key="x" * 50)
    run(watched, is_over=lambda: len(seen) == 2)
    assert seen == order[:2]
    run(watched, verified_before=now - timedelta(days=1))
    assert seen == order


def test_the_parts_of_a_scrub_are_the_whole(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "BATCH", 7)
    for number in range(40):
        laptop.upload([b"%d" % number])

    counts = [run(store, subset=Subset(number, 3))[1].object_count for number in (1, 2, 3)]

    assert sum(counts) == 40
    assert all(counts)


def test_lost_objects_are_found_without_reading_the_others(
    laptop: Device, store: LocalObjectStore, place: Place
) -> None:
    laptop.upload(BIG)
    place.of(BIG[0]).unlink()
    os.truncate(place.of(BIG[1]), 5)
    done = Scrubbed()

    found = list(scrub.find_lost(store=store, done=done))

    assert {each.block_hashes for each in found} == {(sha256(BIG[0]),), (sha256(BIG[1]),)}
    assert damaged() == {sha256(BIG[0]), sha256(BIG[1])}


def test_a_block_that_moves_while_it_is_read_is_not_blamed(
    laptop: Device, phone: Device, store: LocalObjectStore, place: Place
) -> None:
    laptop.upload(BIG[:1])
    place.of(BIG[0]).unlink()
    stale = place.of(BIG[0])

    class Slow(LocalObjectStore):
        """While it reads, another device sends the block."""

        def read(self, location: str, **options: int) -> bytes | None:  # type: ignore[override]
            data = super().read(location, **options)
            if data is None:
                Block.objects.update(state=BlockState.DAMAGED)  # so that it is asked for
                again = phone.version(BIG[:1])
                phone.begin(again)
                phone.send(again, BIG[:1])
                assert phone.verdict(again).verdict == "ready"
            return data

    found, _ = run(Slow(store._root, secret_key="x" * 50))

    assert (found, damaged()) == ([], set())
    assert place.of(BIG[0]) != stale


def test_a_pace_keeps_below_its_rate_and_saves_nothing_up() -> None:
    now = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    pace = Pace(1_000, clock=lambda: now, sleep=sleep)
    for _ in range(3):
        pace.spend(500)
    assert slept == [0.0, 0.5, 0.5]
    now += 60
    for _ in range(2):
        pace.spend(500)
    assert slept[3:] == [0.0, 0.5]


def spoil(paths: list[Path]) -> Iterator[str]:
    """Flip, shorten or delete each; how."""
    for number, path in enumerate(paths):
        match number % 3:
            case 0:
                data = bytearray(path.read_bytes())
                data[-1] ^= 0x80
                path.write_bytes(data)
                yield "flipped"
            case 1:
                os.truncate(path, path.stat().st_size - 1)
                yield "shortened"
            case _:
                path.unlink()
                yield "lost"


def test_a_thousand_damaged_objects_are_all_found(
    laptop: Device, service: LocalBlockService, store: LocalObjectStore, blocks_dir: Path
) -> None:
    contents = [b"object %d" % number for number in range(1_200)]
    versions = {}
    for start in range(0, 1_200, 100):
        some = contents[start : start + 100]
        version = laptop.version(some)
        laptop.begin(version)
        laptop.send(version, some)
        assert laptop.verdict(version).verdict == "ready"
        laptop.settle(version)
        versions[version.file_version_id] = some
    paths = sorted(path for path in (blocks_dir / "b").rglob("*") if path.is_file())
    assert len(paths) == 1_200
    hurt = paths[::2] + paths[1::6] + paths[3::6]
    assert len(hurt) == 1_000
    assert set(spoil(hurt)) == {"flipped", "shortened", "lost"}

    found, done = run(store)

    names = {name for each in found for name in each.block_hashes}
    assert names == {path.parent.name for path in hurt} == damaged()
    assert (done.object_count, done.damaged_count) == (1_200, 1_000)
    pairs = set(scrub.versions_hurt(names))
    assert pairs == {
        (sha256(data), pk)
        for pk, some in versions.items()
        for data in some
        if sha256(data) in names
    }

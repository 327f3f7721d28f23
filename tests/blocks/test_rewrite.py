"""Packs that are mostly dead are written anew, and nobody who reads notices."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from blocks import gc, rewrite
from blocks.models import Block, BlockState, BlockUpload, CondemnedObject, StoredObject
from blocks.service import NewVersion, VersionRange
from blocks.storage import LocalObjectStore
from drive_project.common.errors import ServiceUnavailable
from tests.blocks.devices import Device, Door, sha256
from tests.blocks.worlds import collect_now, faults, forget_everything, let_time_pass

SMALL = [bytes([65 + number]) * (1_000 + number) for number in range(10)]


def packed(device: Device, parts: list[list[bytes]]) -> list[NewVersion]:
    """A version of each part, all of their blocks in one pack."""
    versions = [device.version(part) for part in parts]
    for version in versions:
        device.begin(version)
    device.send_pack([block for part in parts for block in part])
    for version in versions:
        assert device.verdict(version).verdict == "ready"
        device.settle(version)
    return versions


def mostly_dead(device: Device, keep: list[bytes] = SMALL[6:9]) -> NewVersion:
    """A version of three blocks, alone alive in a pack of ten."""
    gone, kept = packed(device, [[block for block in SMALL if block not in keep], keep])
    device.settle(gone, is_committed=False)
    return kept


def test_a_pack_less_than_half_alive_shrinks_to_what_lives(
    laptop: Device, store: LocalObjectStore
) -> None:
    kept = mostly_dead(laptop)

    done = collect_now(store)

    assert (done.rewritten_pack_count, done.deleted_object_count) == (1, 1)
    [left] = store.listing()
    assert left.size_bytes == sum(map(len, SMALL[6:9]))
    assert laptop.download(kept) == SMALL[6:9]
    assert laptop.read(kept) == b"".join(SMALL[6:9])
    assert faults(store) == []
    again = collect_now(store)
    assert (again.rewritten_pack_count, again.deleted_object_count) == (0, 0)


def test_a_pack_half_alive_stays(laptop: Device, store: LocalObjectStore) -> None:
    halves = [b"a" * 500, b"b" * 500]
    gone, kept = packed(laptop, [halves[:1], halves[1:]])
    before = StoredObject.objects.get().pk
    laptop.settle(gone, is_committed=False)

    assert collect_now(store).rewritten_pack_count == 0

    assert StoredObject.objects.get().pk == before
    assert laptop.download(kept) == halves[1:]


def test_a_single_block_that_is_left_is_no_pack_any_more(
    laptop: Device, store: LocalObjectStore
) -> None:
    kept = mostly_dead(laptop, keep=SMALL[3:4])

    collect_now(store)

    assert StoredObject.objects.get().pk.startswith(f"b/{sha256(SMALL[3])[:2]}/")
    assert laptop.download(kept) == SMALL[3:4]
    assert faults(store) == []


def test_who_has_a_url_for_the_old_pack_goes_on(laptop: Device, store: LocalObjectStore) -> None:
    kept = mostly_dead(laptop)
    found = laptop.service.get_block_download_urls(ranges=[VersionRange(kept.file_version_id)])
    stream = laptop.service.read_version(
        file_version_id=kept.file_version_id, start=0, length=sum(map(len, SMALL[6:9]))
    )
    first = next(iter(stream))

    assert gc.collect(store=store).rewritten_pack_count == 1

    [source] = found.sources
    answer = laptop.door.request(source.request)
    assert answer.content == b"".join(SMALL[6:9])
    let_time_pass(timedelta(hours=2))
    assert gc.collect(store=store).deleted_object_count == 1
    # Who reads through the server finds the block wherever it is by then.
    assert first + b"".join(stream) == b"".join(SMALL[6:9])


def test_at_most_so_many_packs_in_one_run(laptop: Device, store: LocalObjectStore) -> None:
    for number in range(3):
        gone, _ = packed(laptop, [[b"%d gone " % number * 100], [b"%d kept" % number]])
        laptop.settle(gone, is_committed=False)

    counts = [gc.collect(store=store, rewrites=2).rewritten_pack_count for _ in range(3)]

    assert counts == [2, 1, 0]
    assert faults(store) == []


def test_a_block_that_rotted_stays_where_it_is_and_the_others_move(
    laptop: Device, store: LocalObjectStore, caplog: pytest.LogCaptureFixture, blocks_dir: Any
) -> None:
    kept = mostly_dead(laptop)
    pack = StoredObject.objects.get()
    bad = Block.objects.get(pk=sha256(SMALL[7]))
    with (blocks_dir / pack.pk).open("r+b") as file:
        file.seek(bad.offset)
        file.write(b"rot")

    assert collect_now(store).rewritten_pack_count == 1

    assert "holds other bytes" in caplog.text
    bad.refresh_from_db()
    assert bad.s3_location_id == pack.pk
    pack.refresh_from_db()
    # The scrub looks at it next, and no rewrite before that.
    assert (pack.live_bytes, pack.last_verified_at) == (len(SMALL[7]), None)
    assert collect_now(store).rewritten_pack_count == 0
    assert laptop.read(kept, 0, len(SMALL[6])) == SMALL[6]
    assert [fault.rule for fault in faults(store)] == ["bytes-differ"]


def test_a_damaged_block_is_not_moved(laptop: Device, store: LocalObjectStore) -> None:
    mostly_dead(laptop)
    Block.objects.filter(pk=sha256(SMALL[7])).update(state=BlockState.DAMAGED)
    old = StoredObject.objects.get().pk

    assert collect_now(store).rewritten_pack_count == 1
    assert collect_now(store).rewritten_pack_count == 0

    assert Block.objects.get(pk=sha256(SMALL[7])).s3_location_id == old
    assert [fault.rule for fault in faults(store)] == ["block-damaged"]


def test_a_store_that_does_not_give_a_pack_does_not_hold_up_the_rest(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = mostly_dead(laptop)
    single = laptop.upload([b"x" * 300_000])
    laptop.settle(single, is_committed=False)

    def fail(*args: object, **options: object) -> bytes:
        raise ServiceUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(store, "read", fail)
        done = collect_now(store)
    assert (done.rewritten_pack_count, done.deleted_object_count) == (0, 1)

    assert collect_now(store).rewritten_pack_count == 1
    assert laptop.download(kept) == SMALL[6:9]
    assert faults(store) == []


def test_a_copy_that_does_not_read_back_is_given_up(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = mostly_dead(laptop)
    old = StoredObject.objects.get().pk
    right = store.read

    def short(location: str, **part: Any) -> bytes | None:
        data = right(location, **part)
        return data if location == old or data is None else data[:-1]

    with monkeypatch.context() as patch:
        patch.setattr(store, "read", short)
        assert collect_now(store).rewritten_pack_count == 0
    assert StoredObject.objects.get().pk == old
    let_time_pass(timedelta(hours=2))
    collect_now(store)

    assert laptop.download(kept) == SMALL[6:9]
    assert len(list(store.listing())) == 1
    assert faults(store) == []


class Crash(BaseException):
    """The process is gone."""


class Steps:
    """Every statement on the block metadata and every call to the store, counted.

    With a number, the process "dies" when it is reached: before a statement (whose
    transaction is then rolled back), before a call to the store, or right after it.
    """

    def __init__(self, crash_at: int | None) -> None:
        self._crash_at = crash_at
        self.count = 0

    def step(self) -> None:
        self.count += 1
        if self.count == self._crash_at:
            raise Crash

    def _statement(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.step()
        return execute(*arguments)

    @contextmanager
    def of(self, store: LocalObjectStore) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("read", "write", "delete"):
                patch.setattr(store, name, self._around(getattr(store, name)))
            with connections["blocks"].execute_wrapper(self._statement):
                yield

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def around(*arguments: Any, **options: Any) -> Any:
            self.step()
            result = call(*arguments, **options)
            self.step()
            return result

        return around


@pytest.mark.django_db(transaction=True)
def test_a_collector_that_dies_at_any_step_loses_nothing(
    laptop: Device, store: LocalObjectStore
) -> None:
    crash_at = 0
    is_done = False
    while not is_done:
        crash_at += 1
        forget_everything(store)
        kept = mostly_dead(laptop)
        steps = Steps(crash_at)
        with steps.of(store):
            try:
                collect_now(store)
                is_done = True
            except Crash:
                pass
        at_step = f"dead at step {crash_at}"
        assert faults(store) == [], at_step
        assert laptop.download(kept) == SMALL[6:9], at_step
        # The next one finishes, once what the dead one held has expired.
        let_time_pass(timedelta(hours=2))
        collect_now(store)
        assert faults(store) == [], at_step
        assert StoredObject.objects.get().size_bytes == sum(map(len, SMALL[6:9])), at_step
        assert len(list(store.listing())) == 1, at_step
        assert not BlockUpload.objects.exists(), at_step
    assert crash_at > 30


class Meanwhile:
    """Lets something happen between the copying of a pack and the moving of its rows."""

    def __init__(self, store: LocalObjectStore, what: Callable[[], object]) -> None:
        self._write = store.write
        self._what: Callable[[], object] | None = what

    def __call__(self, location: str, data: bytes, *, sha256: str) -> None:
        self._write(location, data, sha256=sha256)
        if self._what is not None:
            what, self._what = self._what, None
            what()


@pytest.mark.parametrize("what", ["deleted", "uploaded anew", "rewritten", "in part"])
def test_what_happens_while_a_pack_is_copied(
    what: str,
    laptop: Device,
    phone: Device,
    store: LocalObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = mostly_dead(laptop)
    stranger = Device(laptop.service, Door())
    versions = [(laptop, kept, SMALL[6:9])]

    def meanwhile() -> None:
        match what:
            case "deleted":
                laptop.settle(versions.pop()[1], is_committed=False)
                collect_now(store)
            case "uploaded anew":
                # A stranger has to send them; her copies are newer, so all rows move there.
                versions.append((stranger, stranger.upload(SMALL[6:9]), SMALL[6:9]))
            case "rewritten":
                rewrite.rewrite_all(store)
            case "in part":
                versions.append((stranger, stranger.upload(SMALL[6:7]), SMALL[6:7]))
                versions.append((phone, phone.upload(SMALL[7:8]), SMALL[7:8]))

    monkeypatch.setattr(store, "write", Meanwhile(store, meanwhile))
    collect_now(store)
    monkeypatch.undo()

    assert faults(store) == []
    for device, version, data in versions:
        assert device.download(version) == data
    for device, version, _ in versions:
        device.settle(version, is_committed=False)
    let_time_pass(timedelta(days=8))
    collect_now(store)
    assert list(store.listing()) == []
    assert not CondemnedObject.objects.exists()


def test_a_rewrite_slower_than_its_row_lives_changes_nothing(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = mostly_dead(laptop)
    old = StoredObject.objects.get().pk

    def hours_pass() -> None:
        let_time_pass(timedelta(hours=2))
        gc.collect(store=store, rewrites=0)

    monkeypatch.setattr(store, "write", Meanwhile(store, hours_pass))
    assert collect_now(store).rewritten_pack_count == 0
    monkeypatch.undo()

    assert StoredObject.objects.get().pk == old
    assert laptop.download(kept) == SMALL[6:9]
    assert faults(store) == []


def test_random_packs_and_deletions_always_leave_the_living(
    laptop: Device, store: LocalObjectStore
) -> None:
    rng = random.Random(4)
    kept: list[tuple[NewVersion, list[bytes]]] = []
    for number in range(12):
        parts = [
            [b"%d %d %d " % (number, part, block) * rng.randint(1, 90) for block in range(3)]
            for part in range(rng.randint(2, 5))
        ]
        kept += zip(packed(laptop, parts), parts, strict=True)
        for _ in range(rng.randint(0, min(4, len(kept)))):
            laptop.settle(kept.pop(rng.randrange(len(kept)))[0], is_committed=False)
        collect_now(store)
        assert faults(store) == []
    for version, data in kept:
        assert laptop.download(version) == data
    stored = list(StoredObject.objects.all())
    assert all(2 * each.live_bytes >= each.size_bytes for each in stored)

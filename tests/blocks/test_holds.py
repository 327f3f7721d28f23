"""While a backup holds, nothing is taken away; a backup that was killed lets go by itself."""

from datetime import timedelta

import pytest

from blocks import gc, holds
from blocks.models import Block, Hold, StoredObject
from blocks.storage import LocalObjectStore
from drive_project.common.errors import ServiceUnavailable
from tests.blocks.devices import Device
from tests.blocks.worlds import collect_now, faults, let_time_pass

BIG = [bytes([65 + number]) * 300_000 for number in range(3)]


def test_nothing_is_released_or_deleted_while_something_holds(
    laptop: Device, store: LocalObjectStore
) -> None:
    released, removed = laptop.upload(BIG[:1]), laptop.upload(BIG[1:2])
    laptop.settle(released, is_committed=False)
    hold = holds.begin("a test")

    with pytest.raises(ServiceUnavailable):
        laptop.settle(removed, is_committed=False)
    done = collect_now(store)

    assert (done.deleted_block_count, done.deleted_object_count) == (0, 0)
    assert laptop.download(removed) == BIG[1:2]
    assert (Block.objects.count(), StoredObject.objects.count()) == (2, 2)
    holds.end(hold)
    laptop.settle(removed, is_committed=False)
    assert collect_now(store).deleted_object_count == 2
    assert faults(store) == []


def test_work_goes_on_while_something_holds(laptop: Device, store: LocalObjectStore) -> None:
    holds.begin("a test")

    version = laptop.upload(BIG)

    assert laptop.download(version) == BIG
    assert faults(store) == []


def test_a_run_that_has_begun_ends_at_its_next_batch(
    laptop: Device, store: LocalObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "BATCH", 1)
    for block in BIG:
        laptop.settle(laptop.upload([block]), is_committed=False)
    delete = store.delete

    def delete_and_hold(location: str) -> None:
        delete(location)
        if not holds.is_held():
            holds.begin("a test")

    monkeypatch.setattr(store, "delete", delete_and_hold)

    assert collect_now(store).deleted_object_count == 1
    assert len(list(store.listing())) == 2


def test_a_hold_lives_while_it_is_renewed(db: None) -> None:
    hold = holds.begin("a test")
    for _ in range(3):
        let_time_pass(holds.LIFETIME - timedelta(minutes=1))
        assert holds.is_held()
        holds.renew(hold)

    let_time_pass(holds.LIFETIME + timedelta(seconds=1))
    assert not holds.is_held()
    with pytest.raises(holds.HoldLost):
        holds.renew(hold)


def test_one_hold_does_not_end_with_another(db: None) -> None:
    first, second = holds.begin("one"), holds.begin("two")
    holds.end(first)
    assert holds.is_held()
    holds.end(second)
    holds.end(second)
    assert not holds.is_held()


def test_what_is_left_of_a_killed_holder_goes(db: None) -> None:
    holds.begin("killed")
    let_time_pass(holds.LIFETIME + timedelta(seconds=1))

    holds.begin("the next")

    assert [hold.reason for hold in Hold.objects.all()] == ["the next"]

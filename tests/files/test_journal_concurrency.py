"""Many writers at once: no gap, no double, and who reads meanwhile misses nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from uuid import UUID

import pytest
from django.db import connections

from drive_project.common.errors import DriveError
from files import queries
from files.idempotency import Answer
from files.journal import Position
from files.models import Change, Folder, Namespace, UserDevice
from files.services import batches, deletions, folders, moves
from files.services.batches import Step
from tests.files.trees import put_file
from tests.people import new_device, new_person

WRITERS = 6
WRITES_EACH = 12


@pytest.fixture
def alone(transactional_db):
    """Alice, whose rows are committed for real."""
    return new_person("alice")


def at_once(*work):
    """Run functions in threads of their own, each with its own connection; their results."""

    def run(function):
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(work)) as pool:
        return [one.result() for one in [pool.submit(run, function) for function in work]]


@pytest.mark.postgres
def test_a_reader_at_the_tail_sees_every_change_once_and_in_order(alone):
    root = queries.own_root(alone)
    seen: list[tuple[int, UUID]] = []
    done = threading.Event()

    def write(device: UserDevice):
        for index in range(WRITES_EACH):
            made = folders.create_folder(
                device=device, parent_folder_id=root.pk, name=f"{device.name} {index}"
            ).folder
            if index % 3 == 0:
                moves.update_folder(
                    device=device, folder_id=made.pk, rev=made.rev, name=f"{made.name} again"
                )
            if index % 4 == 0:
                put_file(device, made.pk, "file")

    def follow():
        positions: dict[UUID, Position] = {}
        limit = monotonic() + 120
        while monotonic() < limit:
            was_done = done.is_set()
            page = queries.changes_since(alone, positions, limit=7)
            assert not page.resets
            seen.extend((change.seq, change.change_id) for change in page.entries)
            positions = page.positions
            if was_done and not page.has_more:
                return
        raise AssertionError("the reader never came to the end")

    def write_all():
        try:
            devices = [new_device(alone, f"device {number}") for number in range(WRITERS)]
            at_once(*(lambda device=device: write(device) for device in devices))
        finally:
            done.set()

    at_once(write_all, follow)

    changes = list(Change.objects.order_by("seq").values_list("seq", "change_id"))
    assert seen == changes
    assert [seq for seq, _ in changes] == list(range(1, len(changes) + 1))
    assert Namespace.objects.get().head_seq == len(changes)
    moments = list(Change.objects.order_by("seq").values_list("changed_at", flat=True))
    assert moments == sorted(moments)


@pytest.mark.postgres
def test_two_moves_do_not_close_a_circle(alone):
    root = queries.own_root(alone)
    device = new_device(alone, "laptop")
    for attempt in range(8):
        one, two = (
            folders.create_folder(
                device=device, parent_folder_id=root.pk, name=f"{name} {attempt}"
            ).folder
            for name in ("one", "two")
        )
        start = threading.Barrier(2)

        def move(what: Folder, into: Folder, start=start):
            start.wait()
            try:
                moves.update_folder(
                    device=device, folder_id=what.pk, rev=what.rev, parent_folder_id=into.pk
                )
            except DriveError as error:
                return error.code
            return "moved"

        results = at_once(
            lambda one=one, two=two: move(one, two), lambda one=one, two=two: move(two, one)
        )
        assert sorted(results) == ["move-into-itself", "moved"]


@pytest.mark.postgres
def test_one_name_is_given_once(alone):
    root = queries.own_root(alone)
    device = new_device(alone, "laptop")

    def make():
        return folders.create_folder(device=device, parent_folder_id=root.pk, name="a")

    made = at_once(*[make] * WRITERS)

    assert [one.is_new for one in made].count(True) == 1
    assert len({one.folder.pk for one in made}) == 1


@pytest.mark.postgres
def test_equal_batches_at_once_are_carried_out_once(alone):
    root = queries.own_root(alone)
    device = new_device(alone, "laptop")

    def write(name):
        def run():
            made = folders.create_folder(device=device, parent_folder_id=root.pk, name=name)
            return Answer(201, {"folder_id": str(made.folder.pk), "rev": made.folder.rev})

        return run

    def batch():
        steps = [
            Step(key=f"k{index}", request=index, item_ids=[root.pk], write=write(f"n{index}"))
            for index in range(20)
        ]
        return batches.run(device=device, steps=steps)

    first, *others = at_once(*[batch] * 3)

    assert all(other == first for other in others)
    assert Folder.objects.count() == 21


@pytest.mark.postgres
@pytest.mark.parametrize("creator", ["phone", "laptop"])
def test_a_creation_below_a_folder_that_is_being_deleted_is_not_lost(alone, creator):
    root = queries.own_root(alone)
    laptop, phone = new_device(alone, "laptop"), new_device(alone, "phone")
    maker = {"phone": phone, "laptop": laptop}[creator]
    for attempt in range(8):
        folder = folders.create_folder(
            device=laptop, parent_folder_id=root.pk, name=f"folder {attempt}"
        ).folder

        def delete(folder=folder):
            return deletions.delete_folder(
                device=laptop, folder_id=folder.pk, rev=folder.rev, as_of_seq=folder.rev
            )

        def create(folder=folder):
            return folders.create_folder(
                device=maker, parent_folder_id=folder.pk, name="new"
            ).folder

        _, made = at_once(delete, create)
        made.refresh_from_db()
        assert queries.is_live(made)

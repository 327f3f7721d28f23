"""Devices and collectors at once, on real threads and connections, with a grace of nothing."""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connections

from blocks import gc
from blocks.local import LocalBlockService
from blocks.models import Block, BlockUpload
from blocks.service import NewVersion
from blocks.storage import LocalObjectStore
from drive_project.common.errors import UploadExpired
from tests.blocks.devices import Device, Door, claim, sha256
from tests.blocks.worlds import collect_now, faults

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "blocks"])

SECONDS = 4
BLOCKS = [b"shared block %d" % number for number in range(12)]


@pytest.fixture
def service(store: LocalObjectStore, transactional_db: None) -> LocalBlockService:
    return LocalBlockService(store)


def in_threads(*jobs: Callable[[], None]) -> None:
    """Run the jobs at once, each with database connections of its own; raise what they raise."""

    def job_and_close(job: Callable[[], None]) -> None:
        try:
            job()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(job_and_close, job) for job in jobs]:
            done.result()


def commit(device: Device, data: list[bytes], rng: random.Random) -> NewVersion:
    """One upload, partly in a pack, repeated as a device does when blocks are missing."""
    version = device.version(data)
    device.begin(version)
    for _ in range(20):
        verdict = device.verdict(version)
        if verdict.verdict == "ready":
            device.settle(version)
            return version
        assert verdict.verdict == "missing-blocks", verdict
        lacking = [block for block in dict.fromkeys(data) if sha256(block) in verdict.missing]
        packed = [block for block in lacking if rng.random() < 0.5]
        if packed:
            device.send_pack(packed)
        device.send(version, [block for block in lacking if block not in packed])
    raise AssertionError("after twenty attempts blocks are still missing")


def test_no_commit_beside_a_collector_loses_a_block(
    service: LocalBlockService, store: LocalObjectStore
) -> None:
    end = time.monotonic() + SECONDS
    kept: list[tuple[Device, NewVersion, list[bytes]]] = []

    def person(seed: int) -> Callable[[], None]:
        def live() -> None:
            rng = random.Random(seed)
            # Two share a namespace, so some blocks are held and some are not.
            device = Device(service, Door(), namespace_id=namespaces[seed % 2])
            mine: list[tuple[Device, NewVersion, list[bytes]]] = []
            while time.monotonic() < end or len(mine) < 2:
                data = rng.choices(BLOCKS, k=rng.randint(1, 5))
                mine.append((device, commit(device, data, rng), data))
                while len(mine) > 2:
                    device.settle(mine.pop(rng.randrange(len(mine)))[1], is_committed=False)
            kept.extend(mine)

        return live

    def collector() -> None:
        while time.monotonic() < end:
            collect_now(store)

    namespaces = [Device(service, Door()).namespace_id for _ in range(2)]
    in_threads(*(person(seed) for seed in range(4)), collector, collector)

    assert len(kept) == 8
    for device, version, data in kept:
        assert device.download(version) == data
    collect_now(store)
    assert faults(store) == []
    assert {found.location[0] for found in store.listing()} <= {"b", "p"}


def test_two_calls_at_once_agree_on_one_location(
    service: LocalBlockService, store: LocalObjectStore
) -> None:
    device = Device(service, Door())
    data = [bytes([65 + number]) * 300_000 for number in range(4)]
    barrier = threading.Barrier(4)

    def begin() -> None:
        version = device.version(data)
        barrier.wait()
        device.begin(version)

    in_threads(begin, begin, begin, begin)

    assert BlockUpload.objects.count() == 4
    assert set(Block.objects.values_list("reference_count", flat=True)) == {4}
    assert faults(store) == []


def test_a_repeated_commit_at_once_gives_one_answer(
    service: LocalBlockService, store: LocalObjectStore
) -> None:
    device = Device(service, Door())
    data = BLOCKS[:6]
    version = device.version(data)
    device.begin(version)
    device.send_pack(data[:3])
    device.send(version, data[3:])
    barrier = threading.Barrier(3)
    verdicts = []

    def ask() -> None:
        barrier.wait()
        verdicts.append(device.verdict(version))

    in_threads(ask, ask, ask)

    assert {verdict.verdict for verdict in verdicts} == {"ready"}
    device.settle(version)
    collect_now(store)
    assert device.download(version) == data
    assert faults(store) == []


def test_a_release_beside_a_begin_leaks_no_reference(
    service: LocalBlockService, store: LocalObjectStore
) -> None:
    device = Device(service, Door())
    for _ in range(15):
        version = device.version(BLOCKS[:3])
        parts = [
            device.version(
                [],
                blocks=[claim(BLOCKS[index])],
                start_index=index,
                file_version_id=version.file_version_id,
            )
            for index in range(3)
        ]
        barrier = threading.Barrier(2)

        def begin(parts: list[NewVersion] = parts, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                for part in parts:
                    device.begin(part)
            except UploadExpired:
                return

        def release(version: NewVersion = version, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            device.settle(version, is_committed=False)

        in_threads(begin, release)

    gc.collect(store=store)
    assert not Block.objects.exists()
    assert faults(store) == []


def test_beginning_and_reporting_at_once_never_wait_for_each_other(
    service: LocalBlockService,
) -> None:
    """Both touch the device's upload rows and its proofs, which have one order of locking."""
    device = Device(service, Door())
    known = [bytes([65 + number]) * 300_000 for number in range(8)]
    first = device.version(known)
    device.begin(first)
    device.send(first, known)
    device.refresh(first, done=known)

    def begin(version: NewVersion, barrier: threading.Barrier) -> None:
        barrier.wait()
        device.begin(version)

    def report(version: NewVersion, new: list[bytes], barrier: threading.Barrier) -> None:
        barrier.wait()
        device.refresh(version, done=new)

    for _ in range(30):
        new = [random.randbytes(300_000) for _ in range(4)]
        version = device.version([*known, *new])
        device.begin(version)
        device.send(version, new)
        # Its verification writes the proofs of the known blocks again.
        device.send_pack([*known, *new])
        barrier = threading.Barrier(2)
        in_threads(
            partial(begin, device.version([*known, *new]), barrier),
            partial(report, version, new, barrier),
        )

    assert device.verdict(version).verdict == "ready"

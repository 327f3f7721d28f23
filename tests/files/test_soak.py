"""The whole service under load, on PostgreSQL and S3: nothing is lost, doubled or out of order.

`make soak` runs the numbers that are promised; here they are smaller, the stories the same.
"""

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from blocks import gc, reconcile
from blocks.storage import ObjectStore, get_object_store
from files import outbox, queries
from files.journal import Position
from files.models import Change, Namespace, OutboxMessage, User
from files.services.commits import commit_upload
from files.services.uploads import NewUpload, OpenUpload, begin_uploads
from tests.files.uploading import Uploader, to_s3
from tests.people import new_device, new_person
from tests.services.s3 import PrivateS3

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

log = logging.getLogger("soak")

IS_FULL = os.environ.get("DRIVE_SOAK") == "full"
COMMITS, DELETIONS = (5_000, 1_000) if IS_FULL else (40, 12)
JOURNAL_COMMITS = 10_000 if IS_FULL else 96
DEVICES = 100 if IS_FULL else 24
# Each has a connection to both databases, and a test server takes a hundred.
THREADS = 40
BLOCK_BYTES = 1_000
SHARED = [b"block %2d " % number * 100 for number in range(20)]
MAX_RETRIED = 0.05


def at_once(calls: Sequence[Callable[[], Any]], threads: int = THREADS) -> list[Any]:
    """What the calls give, in their order, so many at a time."""

    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(threads) as pool:
        return [done.result() for done in [pool.submit(run, call) for call in calls]]


@pytest.fixture
def s3(tmp_path: Any) -> Iterator[ObjectStore]:
    """The configured object store is a real S3 server."""
    with PrivateS3.strict() as server:
        address = server.new_bucket()
        with override_settings(
            S3_BUCKET=address.bucket,
            S3_ENDPOINT=address.endpoint,
            S3_REGION=address.region,
            S3_ACCESS_KEY_ID=address.access_key,
            S3_SECRET_ACCESS_KEY=address.secret_key,
        ):
            get_object_store.cache_clear()
            to_s3()  # made before threads would each make one
            try:
                yield get_object_store()
            finally:
                get_object_store.cache_clear()
                to_s3().close()
                to_s3.cache_clear()


class Person:
    """Commits files of shared blocks, deletes some of them for ever, and remembers the rest."""

    def __init__(self, user: User, name: str, seed: int) -> None:
        self.device = Uploader(new_device(user, name))
        self._root = self.device.root
        self._rng = random.Random(seed)
        self._number = 0
        self.kept: dict[str, bytes] = {}
        self.retries = 0

    def commit(self) -> None:
        self._number += 1
        data = b"".join(self._rng.choices(SHARED, k=self._rng.randint(1, 3)))
        name = f"{self.device.device.name} {self._number}"
        begun = self.device.init(
            data, block_bytes=BLOCK_BYTES, name=name, parent_folder_id=self._root
        )
        assert begun.status_code == 201, begun.content
        upload_id = begun.json()["upload_id"]
        for attempt in range(10):
            self.device.send_blocks(upload_id, data, block_bytes=BLOCK_BYTES)
            answer = self.device.commit(upload_id)
            if answer.status_code == 200:
                self.retries += attempt > 0
                self.kept[answer.json()["file_id"]] = data
                return
            assert answer.json()["code"] == "missing-blocks", answer.content
        raise AssertionError("after ten attempts blocks are still missing")

    def delete(self) -> None:
        file_id = self._rng.choice(sorted(self.kept))
        rev = self.device.file(file_id)["rev"]
        assert self.device.api.delete(f"/files/{file_id}", if_match=rev).status_code == 200
        assert self.device.api.delete(f"/trash/{file_id}").status_code == 204
        del self.kept[file_id]


@pytest.mark.s3
@override_settings(BLOCK_GRACE=timedelta())
def test_a_collector_beside_commits_and_deletions_loses_nothing(
    s3: ObjectStore, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete_slowly(locations: Sequence[str]) -> None:
        for location in locations:
            time.sleep(0.005)
            s3.delete(location)

    monkeypatch.setattr(s3, "delete_all", delete_slowly)
    alice, mallory = new_person("alice"), new_person("mallory")
    # Two devices each, so a block is held by some and a stranger's to others.
    people = [
        Person(user, name, seed)
        for seed, (user, name) in enumerate(
            [(alice, "laptop"), (alice, "phone"), (mallory, "one"), (mallory, "two")]
        )
    ]
    is_over = threading.Event()

    def live(person: Person) -> None:
        commits, deletions = COMMITS // len(people), DELETIONS // len(people)
        for number in range(commits):
            person.commit()
            if number * deletions // commits < (number + 1) * deletions // commits:
                person.delete()

    def collect() -> Counter[str]:
        done: Counter[str] = Counter()
        while not is_over.is_set():
            run = gc.collect(store=s3, grace=timedelta())
            done["blocks"] += run.deleted_block_count
            done["objects"] += run.deleted_object_count
        return done

    def live_all() -> None:
        try:
            at_once([partial(live, person) for person in people])
        finally:
            is_over.set()

    began = time.monotonic()
    _, collected = at_once([live_all, collect])
    took = time.monotonic() - began

    OutboxMessage.objects.update(due_at=timezone.now())
    while outbox.relay():
        pass
    gc.collect(store=s3, grace=timedelta())
    assert list(reconcile.check(store=s3, unknown_kept=timedelta(), deep=True)) == []
    for person in people:
        for file_id, data in person.kept.items():
            assert person.device.read(file_id) == data
    assert sum(len(person.kept) for person in people) == COMMITS - DELETIONS
    retries = sum(person.retries for person in people)
    log.warning(
        "%d commits, %d deletions in %.1f s; collected %d blocks, %d objects; %d retries",
        *(COMMITS, DELETIONS, took, collected["blocks"], collected["objects"], retries),
    )
    assert retries <= MAX_RETRIED * COMMITS
    assert collected["objects"] > 0


def test_a_tail_reader_sees_every_commit_once_and_in_order(transactional_db: None) -> None:
    alice = new_person("alice")
    root = queries.own_root(alice)
    writers = 16
    is_over = threading.Event()
    seen: list[tuple[int, UUID]] = []

    def write(number: int) -> None:
        device = new_device(alice, f"device {number}")
        for count in range(JOURNAL_COMMITS // writers):
            upload = NewUpload(
                name=f"{number} {count}",
                parent_folder_id=root.pk,
                size_bytes=0,
                content_hash=EMPTY,
                block_count=0,
                blocks=(),
            )
            [begun] = begin_uploads(device=device, uploads=[upload])
            assert isinstance(begun, OpenUpload), begun
            commit_upload(device=device, upload_id=begun.version.pk)

    def write_all() -> None:
        try:
            at_once([partial(write, number) for number in range(writers)])
        finally:
            is_over.set()

    def follow() -> None:
        positions: dict[UUID, Position] = {}
        while True:
            was_over = is_over.is_set()
            page = queries.changes_since(alice, positions, limit=100)
            assert not page.resets
            seen.extend((change.seq, change.change_id) for change in page.entries)
            positions = page.positions
            if was_over and not page.has_more:
                return
            time.sleep(0.001)

    began = time.monotonic()
    at_once([write_all, follow])
    took = time.monotonic() - began

    written = list(Change.objects.order_by("seq").values_list("seq", "change_id"))
    assert seen == written
    # The root folder has an entry, too.
    assert [seq for seq, _ in written] == list(range(1, JOURNAL_COMMITS // writers * writers + 2))
    log.warning("%d commits in %.1f s", JOURNAL_COMMITS, took)


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_of_a_hundred_edits_at_once_one_is_current_and_all_can_be_read(
    transactional_db: None,
) -> None:
    alice = new_person("alice")
    first = Uploader(new_device(alice, "first"))
    report = first.put(b"base", name="report.txt")["file"]
    devices = [Uploader(new_device(alice, f"device {number}")) for number in range(DEVICES)]
    contents = [b"edit number %d" % number for number in range(DEVICES)]
    uploads = [
        device.begin(
            content,
            file_id=report["file_id"],
            base_version_id=report["current_version_id"],
        )
        for device, content in zip(devices, contents, strict=True)
    ]
    head = Namespace.objects.get().head_seq
    start = threading.Barrier(min(THREADS, DEVICES))

    def commit(number: int) -> Any:
        if number < THREADS:
            start.wait()
        return devices[number].commit(uploads[number])

    answers = at_once([partial(commit, number) for number in range(DEVICES)])

    assert {answer.status_code for answer in answers} == {200}
    outcomes = Counter(answer.json()["outcome"] for answer in answers)
    assert outcomes == {"committed": 1, "conflict_copy": DEVICES - 1}
    listed = first.api.get("/conflicts", state="open", limit=DEVICES).json()["items"]
    assert len(listed) == DEVICES - 1
    for answer, content in zip(answers, contents, strict=True):
        assert first.read(answer.json()["file_id"]) == content
    assert len(first.names()) == len(set(first.names())) == DEVICES
    entries = Change.objects.filter(seq__gt=head).order_by("seq").values_list("seq", flat=True)
    assert list(entries) == list(range(head + 1, head + DEVICES + 1))
    store = get_object_store()
    assert list(reconcile.check(store=store, unknown_kept=timedelta(days=1))) == []

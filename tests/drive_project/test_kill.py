"""A server process that is killed at any step of a file's life loses nothing acknowledged.

The process is a real one: it lives through init, PUT, report, commit, edit, deletion, release
and collection, and ends itself by SIGKILL at its n-th step, a step being a statement to one
of the databases, a commit there, an fsync, or a call of the store. Then the periodic tasks
run, as they do after a restart; nothing else puts anything right.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from blocks import gc, local_store
from blocks.storage import LocalObjectStore, get_object_store
from drive_project import fsck
from files import outbox, tasks
from files.models import FileVersion, OutboxMessage, User, VersionStatus
from tests.files.uploading import Uploader, send, sha256
from tests.people import new_device, new_person

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "blocks"])

# Every step in `make soak`, every so many-th in the tests.
STRIDE = 1 if os.environ.get("DRIVE_SOAK") == "full" else 23

FIRST = b"first " * 50_000
SECOND = b"second " * 50_000
SMALL = {f"small {number}": b"small %d " % number * 100 for number in range(5)}


class Steps:
    """Counts the steps of this process, and ends it at one of them."""

    def __init__(self, last: int) -> None:
        self._last = last
        self.count = 0

    def step(self) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """For the rest of the process."""
        for connection in connections.all():
            connection.ensure_connection()
            connection.execute_wrappers.append(self._statement)
            # Not `commit`, which also runs what waits for the commit.
            self._wrap(connection, "_commit")
        self._wrap(os, "fsync")
        for name in ("sizes", "read", "write", "delete"):
            self._wrap(LocalObjectStore, name)

    def _statement(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.step()
        return execute(*arguments)

    def _wrap(self, owner: object, name: str) -> None:
        call = getattr(owner, name)

        def around(*arguments: Any, **options: Any) -> Any:
            self.step()
            answer = call(*arguments, **options)
            self.step()
            return answer

        setattr(owner, name, around)


@dataclass(frozen=True, slots=True)
class Death:
    """How far a process came: what it was told, and its steps if it came to its end."""

    told: list[str]
    steps: int | None


def live_until(device: Uploader, last: int) -> Death:
    """Let a process live a file's life and die at this step (0: of nothing)."""
    connections.close_all()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            # A fork has none of its parent's threads.
            local_store._threads.cache_clear()
            steps = Steps(last)
            steps.install()
            life(device, lambda what: os.write(writer, f"{what}\n".encode()))
            os.write(writer, f"steps {steps.count}\n".encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as told:
        lines = told.read().splitlines()
    _, status = os.waitpid(child, 0)
    is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert is_killed or status == 0, f"the process failed: {lines}"
    if not is_killed:
        return Death(lines[:-1], int(lines.pop().split()[1]))
    return Death(lines, None)


def life(device: Uploader, tell: Callable[[str], object]) -> None:
    """From beginning to end, telling what was acknowledged."""
    file = device.put(FIRST, name="report", block_bytes=200_000)["file"]
    tell("first")
    file = device.edit(file, SECOND, block_bytes=200_000)["file"]
    tell("second")
    put_in_a_pack(device)
    tell("small")
    assert device.api.delete(f"/files/{file['file_id']}", if_match=file["rev"]).status_code == 200
    tell("deleted")
    assert device.api.delete(f"/trash/{file['file_id']}").status_code == 204
    tell("purged")
    settle()


def put_in_a_pack(device: Uploader) -> None:
    items = [device.item(data, name=name) for name, data in SMALL.items()]
    begun = device.api.post("/files/upload/init", {"items": items}).json()["items"]
    body = b"".join(SMALL.values())
    blocks, offset = [], 0
    for data in SMALL.values():
        blocks.append({"block_hash": sha256(data), "offset": offset, "size_bytes": len(data)})
        offset += len(data)
    pack = {"sha256": sha256(body), "size_bytes": len(body), "blocks": blocks}
    [signed] = device.api.post("/files/upload/packs", {"items": [pack]}).json()["items"]
    if "url" in signed:
        send(signed, body)
    done = device.api.post(
        "/files/upload/commit", {"items": [{"upload_id": each["upload_id"]} for each in begun]}
    ).json()["items"]
    assert [each["status"] for each in done] == [200] * len(SMALL), done


def settle() -> None:
    """The periodic tasks until nothing is left to do for them, with no time to wait for."""
    tasks.finish_deletions()
    OutboxMessage.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    while outbox.relay():
        pass
    tasks.expire_uploads()
    gc.collect(store=get_object_store(), grace=timedelta())


def check_what_was_told(device: Uploader, death: Death) -> None:
    """All of it, and of the rest each step wholly or not at all."""
    there = {name: device.read(file_id) for name, file_id in files_of(device)}
    report = there.pop("report", None)
    match death.told:
        case []:
            assert report in (None, FIRST)
        case ["first"]:
            assert report in (FIRST, SECOND)
        case ["first", "second", *more] if "deleted" not in more:
            # A deletion may have been decided, and its answer lost.
            assert report == SECOND or (report is None and "small" in more)
        case _:
            assert report is None
    if "small" in death.told:
        assert there == SMALL
    else:
        # One transaction for all items of a namespace.
        assert there in ({}, SMALL)


def files_of(device: Uploader) -> Iterator[tuple[str, str]]:
    page = device.api.get(f"/folders/{device.root}/children").json()
    for item in page["items"]:
        yield item["name"], item["file_id"]


@pytest.fixture
def a_device(transactional_db: None) -> Callable[[str], Uploader]:
    def a_device(name: str) -> Uploader:
        person: User = new_person(name)
        return Uploader(new_device(person, "laptop"))

    return a_device


def test_a_process_that_is_killed_at_any_step_loses_nothing_acknowledged(
    a_device: Callable[[str], Uploader],
) -> None:
    with override_settings(BLOCK_GRACE=timedelta()):
        whole = live_until(a_device("whole"), last=0)
        assert whole.steps is not None
        assert whole.told == ["first", "second", "small", "deleted", "purged"]
        told: Counter[int] = Counter()
        for last in range(1, whole.steps, STRIDE):
            device = a_device(f"dies-at-{last}")
            death = live_until(device, last)
            told[len(death.told)] += 1

            # A device repeats what it got no answer to; here it begins anew.
            FileVersion.objects.filter(status=VersionStatus.PENDING).update(
                expires_at=timezone.now()
            )
            settle()
            check_what_was_told(device, death)
            problems = list(fsck.check(store=get_object_store(), report=fsck.Report(), deep=True))
            assert problems == [], json.dumps([str(each) for each in problems], indent=1)
            assert device.used()[1] == 0
            again = device.put(b"after " * 100, name="after")
            assert device.read(again["file_id"]) == b"after " * 100
    # It died in every part of its life.
    assert set(told) == set(range(6))

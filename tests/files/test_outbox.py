"""What others must learn is not lost when they are away, and told once they are back."""

import html
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone
from redis import Redis

from blocks.models import BlockList, ListState
from drive_project.common.errors import InvalidRequest, ServiceUnavailable
from files import events, outbox, tasks
from files.models import OutboxMessage
from tests.files.uploading import Uploader

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def on_laptop(laptop):
    return Uploader(laptop)


@pytest.fixture
def redis(settings):
    with Redis.from_url(settings.REDIS_URL) as client:
        yield client


def heads(redis: Redis) -> dict[str, int]:
    """The newest announced seq of each namespace."""
    found: dict[str, int] = {}
    for stream in events.STREAMS:
        entries: Any = redis.xrange(stream)
        for _, fields in entries:
            if fields[b"type"] == b"changed":
                namespace_id = fields[b"namespace_id"].decode()
                found[namespace_id] = max(found.get(namespace_id, 0), int(fields[b"seq"]))
    return found


class BlocksAway:
    """The Block Service while it does not answer."""

    def settle_versions(self, *, settlements):
        raise ServiceUnavailable("away", retry_after_seconds=1)


def make_due():
    OutboxMessage.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_commit_is_told_at_once_and_leaves_nothing_behind(on_laptop, redis):
    done = on_laptop.put(b"x", name="a")

    assert not OutboxMessage.objects.exists()
    block_list = BlockList.objects.get(pk=done["file_version_id"])
    assert block_list.state == ListState.COMMITTED
    assert str(block_list.file_id) == done["file_id"]
    assert heads(redis)[UUID(done["file"]["namespace_id"]).hex] == (done["file"]["rev"])


def test_what_could_not_be_told_is_relayed_later(on_laptop, monkeypatch):
    upload_id = on_laptop.begin(b"x", name="a")
    with monkeypatch.context() as away:
        away.setattr(outbox, "get_block_service", BlocksAway)
        assert on_laptop.commit(upload_id).status_code == 200
        assert OutboxMessage.objects.get().topic == outbox.COMMITTED
        # The writer's own attempt comes first: it is not due yet.
        assert outbox.relay() == 0
        make_due()
        assert outbox.relay() == 1
        assert outbox.relay() == 0
    assert BlockList.objects.get(pk=upload_id).state == ListState.OPEN
    make_due()
    assert outbox.relay() == 1

    assert BlockList.objects.get(pk=upload_id).state == ListState.COMMITTED
    assert not OutboxMessage.objects.exists()


def test_a_message_that_nobody_can_take_does_not_hold_up_the_others(monkeypatch):
    good, bad = uuid4(), uuid4()
    told: list[UUID] = []

    class Picky:
        def settle_versions(self, *, settlements):
            if any(each.file_version_id == bad for each in settlements):
                raise ServiceUnavailable("not this one")
            told.extend(each.file_version_id for each in settlements)

    monkeypatch.setattr(outbox, "get_block_service", Picky)
    later = timezone.now() + timedelta(hours=1)
    for version_id in (bad, good):
        outbox.add_released([version_id], later)
    assert told == []
    make_due()
    assert outbox.relay() == 2

    assert told == [good]
    [left] = OutboxMessage.objects.all()
    assert left.payload == {"versions": [str(bad)]}
    assert left.due_at > timezone.now()


def test_when_a_receiver_is_away_few_attempts_are_made(monkeypatch):
    attempts = []

    class Away:
        def settle_versions(self, *, settlements):
            attempts.append(len(settlements))
            raise OSError("no route")

    monkeypatch.setattr(outbox, "get_block_service", Away)
    for _ in range(20):
        outbox.add_released([uuid4()], timezone.now() + timedelta(hours=1))
    make_due()
    outbox.relay()

    assert attempts == [20, 1, 1, 1]
    assert OutboxMessage.objects.filter(due_at__gt=timezone.now()).count() == 20


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (outbox.RELEASED, {"versions": ["no id"]}),
        (outbox.RELEASED, {}),
        (outbox.CHANGED, {"namespace_id": "no id", "seq": 1}),
        ("of the next release", {}),
    ],
)
def test_a_message_that_makes_no_sense_is_set_aside(topic, payload, client, bob):
    """It is not lost, and neither fails every run nor holds up the others."""
    poison = OutboxMessage.objects.create(topic=topic, payload=payload, due_at=timezone.now())
    good = uuid4()
    outbox.add_released([good], timezone.now() + timedelta(hours=1))
    make_due()
    tasks.relay_outbox()

    assert BlockList.objects.get(pk=good).state == ListState.RELEASED
    [left] = OutboxMessage.objects.all()
    assert (left.pk, left.payload) == (poison.pk, payload)
    assert left.set_aside_at is not None
    assert left.error
    assert left.due_at > timezone.now() + timedelta(minutes=50)
    bob.is_staff = bob.is_superuser = True
    bob.save()
    client.force_login(bob)
    page = client.get("/admin/files/outboxmessage/?set_aside_at__isempty=0").content.decode()
    assert html.escape(left.error) in page


def test_what_a_receiver_refuses_is_set_aside_until_it_takes_it(monkeypatch):
    refused = [uuid4() for _ in range(outbox.MAX_FAILURES + 1)]
    good = uuid4()
    told: list[UUID] = []

    class Strict:
        def settle_versions(self, *, settlements):
            if any(each.file_version_id in refused for each in settlements):
                raise InvalidRequest("not these")
            told.extend(each.file_version_id for each in settlements)

    monkeypatch.setattr(outbox, "get_block_service", Strict)
    for version_id in (*refused, good):
        outbox.add_released([version_id], timezone.now() + timedelta(hours=1))
    make_due()
    tasks.relay_outbox()
    assert told == [good]
    assert OutboxMessage.objects.filter(set_aside_at__isnull=False).count() == len(refused)
    refused.clear()
    make_due()
    tasks.relay_outbox()

    assert not OutboxMessage.objects.exists()


def test_a_transaction_that_is_rolled_back_tells_nothing(redis):
    with transaction.atomic():
        outbox.add_changed(uuid4(), 7)
        transaction.set_rollback(True)

    assert not OutboxMessage.objects.exists()
    assert heads(redis) == {}


def test_a_signal_that_redis_does_not_take_waits(on_laptop, monkeypatch, redis):
    def away(namespace_id, seq):
        raise ServiceUnavailable("redis")

    with monkeypatch.context() as patched:
        patched.setattr(events, "publish_changed", away)
        done = on_laptop.put(b"x", name="a")
    assert OutboxMessage.objects.get().topic == outbox.CHANGED
    make_due()
    outbox.relay()

    namespace_id = UUID(done["file"]["namespace_id"]).hex
    assert heads(redis)[namespace_id] == done["file"]["rev"]


def test_many_versions_go_in_portions_and_signals_of_a_namespace_as_one(monkeypatch, redis):
    calls = []

    class Counting:
        def settle_versions(self, *, settlements):
            calls.append(len(settlements))

    monkeypatch.setattr(outbox, "get_block_service", Counting)
    outbox.add_released([uuid4() for _ in range(2_500)], timezone.now() + timedelta(hours=1))
    namespace_id = uuid4()
    OutboxMessage.objects.bulk_create(
        OutboxMessage(
            topic=outbox.CHANGED,
            payload={"namespace_id": str(namespace_id), "seq": seq},
            due_at=timezone.now(),
        )
        for seq in (3, 9, 4)
    )
    assert OutboxMessage.objects.count() == 6
    make_due()
    outbox.relay()

    assert calls == [1_000, 1_000, 500]
    assert heads(redis) == {namespace_id.hex: 9}
    entries = sum(redis.xlen(stream) for stream in events.STREAMS)
    assert entries == 1

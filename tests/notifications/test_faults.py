"""Redis comes and goes; no change is slept through, and nobody waits for it."""

import time

import pytest
import redis as redis_client
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from websockets.exceptions import ConnectionClosed

from drive_project.common.errors import ServiceUnavailable
from files import events
from files.models import Namespace, OutboxMessage
from files.services.devices import revoke_device
from notifications import intake
from notifications.consumers import DeviceSocket
from notifications.dispatch import dispatcher
from tests.notifications.conftest import let_go_of_the_database
from tests.people import token_of


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_what_changed_while_redis_was_away_is_told_when_it_is_back(
    fragile_server, redis, phone, laptop, new_folder, cursor, kill
):
    with fragile_server.socket(phone) as socket:
        socket.hear()
        poll = fragile_server.waiting(laptop, cursor=cursor)
        time.sleep(0.5)

        redis.stop(kill=kill)
        new_folder()
        assert OutboxMessage.objects.filter(topic="changed").exists()
        with pytest.raises(TimeoutError):
            socket.hear(within=0.5)
        redis.start()

        # Without the outbox's help: the heads are compared.
        assert socket.hear(within=4)["seq"] == 2
        assert poll.answer(within=4).json()["result"] == "changes"

        new_folder("After")
        assert socket.hear()["seq"] == 3


def test_a_flushed_redis_loses_no_later_event(fragile_server, redis, phone, new_folder):
    with fragile_server.socket(phone) as socket:
        socket.hear()
        new_folder()
        socket.hear()
        with redis_client.Redis.from_url(redis.url) as client:
            client.flushall()
        new_folder("After")
        assert socket.hear()["seq"] == 3


def test_streams_that_begin_anew_below_our_position_are_noticed(
    fragile_server, redis, phone, laptop, new_folder, cursor
):
    """As after a flush with a clock that was set back."""
    with redis_client.Redis.from_url(redis.url) as client:
        for stream in events.STREAMS:
            client.xadd(stream, {"type": "from the future"}, id="9999999999999-0")
        with fragile_server.socket(phone) as socket:
            socket.hear()
            time.sleep(0.5)
            client.flushall()
            new_folder()
            assert socket.hear(within=8)["seq"] == 2


def test_a_device_connects_and_catches_up_without_redis(
    fragile_server, redis, phone, new_folder, cursor
):
    redis.stop()
    new_folder()
    with fragile_server.socket(phone) as socket:
        assert list(socket.hear(within=3)["heads"].values()) == [2]
    assert fragile_server.poll(phone, cursor=cursor).json()["result"] == "changes"


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_device_revoked_while_redis_is_away_is_cut_off_all_the_same(
    fragile_server, redis, alice, phone, laptop, cursor, kill
):
    with fragile_server.socket(phone) as lost, fragile_server.socket(laptop) as kept:
        lost.hear()
        kept.hear()
        redis.stop(kill=kill)
        revoke_device(user=alice, device_id=phone.pk)
        # That it takes no longer than 2 s is said by tests/contracts/test_patience.py.
        with pytest.raises(ConnectionClosed) as closed:
            lost.hear(within=30)
        assert closed.value.rcvd.code == 4401
        with pytest.raises(TimeoutError):
            kept.hear(within=0.2)
    # And those who hear Redis only later are told by the outbox.
    assert OutboxMessage.objects.get(topic="revoked").payload == {"device_id": str(phone.pk)}


def test_an_event_that_cannot_be_announced_is_an_error_soon(fragile_server, redis, phone):
    redis.stop()
    began = time.monotonic()
    for call in (
        lambda: events.publish_changed(phone.pk, 1),
        lambda: events.publish_device_revoked(phone.pk),
        lambda: events.online_devices([phone.pk]),
    ):
        with pytest.raises(ServiceUnavailable) as refused:
            call()
        assert refused.value.extra["retry_after_seconds"] > 0
    assert time.monotonic() - began < 2


def test_events_that_come_twice_late_or_wrong_tell_each_change_once(
    fragile_server, redis, phone, new_folder
):
    namespace_id = Namespace.objects.get(owner=phone.user).pk
    with (
        fragile_server.socket(phone) as socket,
        redis_client.Redis.from_url(redis.url) as client,
    ):
        socket.hear()
        new_folder("one")
        assert socket.hear(within=5)["seq"] == 2
        for seq in (2, 1, 2):
            events.publish_changed(namespace_id, seq)
        client.xadd(events.stream_of(namespace_id), {"type": "of a later release"})
        client.xadd(events.stream_of(namespace_id), {"type": "changed", "seq": "not a number"})
        new_folder("two")
        # Nothing between the two: what is known already is not told again.
        assert socket.hear(within=5)["seq"] == 3


async def test_a_change_whose_event_never_came_is_found_by_comparing(
    monkeypatch, settings, phone, new_folder
):
    monkeypatch.setattr(intake, "BLOCK_SECONDS", 0.1)
    monkeypatch.setattr(intake, "COMPARE_SECONDS", 0.1)
    service = dispatcher()
    headers = [(b"authorization", f"Bearer {token_of(phone)}".encode())]
    socket = WebsocketCommunicator(DeviceSocket(), "/ws/notifications", headers)
    await socket.connect()
    assert (await socket.receive_json_from(10))["type"] == "hello"

    settings.EVENTS_REDIS_URL = "redis://127.0.0.1:1"
    await sync_to_async(let_go_of_the_database)(new_folder)
    assert (await socket.receive_json_from(10))["seq"] == 2

    await socket.disconnect()
    await service.close()

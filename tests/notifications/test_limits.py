"""What a socket refuses by itself, whatever server is below it."""

import asyncio
import json
import threading
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator

from files.events import Changed
from files.models import Namespace
from files.services.devices import revoke_device
from notifications import connections, dispatch
from notifications.consumers import MAX_MESSAGE_BYTES, Allowance, DeviceSocket
from notifications.dispatch import CROWD, dispatcher
from tests.notifications.conftest import let_go_of_the_database
from tests.people import new_device, token_of


@pytest.fixture
async def service(transactional_db):
    """The Notification Service of this test's event loop."""
    service = dispatcher()
    yield service
    await service.close()


@pytest.fixture
def root(alice, transactional_db):
    return Namespace.objects.get(owner=alice).pk


@pytest.fixture
def many_devices(alice, transactional_db):
    return [new_device(alice, f"device {number}") for number in range(20)]


def socket_of(device):
    headers = [(b"authorization", f"Bearer {token_of(device)}".encode())]
    return WebsocketCommunicator(DeviceSocket(), "/ws/notifications", headers)


async def closed(socket, *, within=1):
    message = await socket.receive_output(within)
    assert message["type"] == "websocket.close"
    return message["code"]


async def test_a_message_over_64_kib_ends_the_connection(service, laptop):
    for size, expected in ((MAX_MESSAGE_BYTES, None), (MAX_MESSAGE_BYTES + 1, 4413)):
        socket = socket_of(laptop)
        await socket.connect()
        await socket.receive_json_from()
        # In bytes, not in letters: the second half of them takes two.
        empty = json.dumps({"type": "pong", "padding": ""}, ensure_ascii=False)
        letters = size - len(empty)
        text = empty[:-2] + "é" * (letters // 2) + "e" * (letters % 2) + empty[-2:]
        assert len(text.encode()) == size
        await socket.send_to(text_data=text)
        if expected:
            assert await closed(socket) == expected
        else:
            assert await socket.receive_nothing()
            await socket.disconnect()
    await asyncio.sleep(0)
    assert len(service.connections) == 0


async def test_one_person_has_a_bounded_number_of_connections(
    service, alice, laptop, phone, stranger, monkeypatch
):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS_PER_USER", 1)
    first, second, other = socket_of(laptop), socket_of(phone), socket_of(stranger)
    assert (await first.connect())[0]
    assert (await second.connect())[0]
    assert await closed(second) == 4429
    assert (await other.connect())[0]
    for socket in (first, other):
        await socket.disconnect()


def test_an_allowance_is_refilled_steadily(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("notifications.consumers.time.monotonic", lambda: now)
    allowance = Allowance(60, within_seconds=60)
    assert [allowance.take() for _ in range(61)] == [True] * 60 + [False]
    now += 1.5
    assert [allowance.take(), allowance.take()] == [True, False]
    now += 3600
    assert [allowance.take() for _ in range(61)] == [True] * 60 + [False]


async def test_every_socket_that_waits_is_told_by_one_question(
    service, root, many_devices, monkeypatch
):
    sockets = [socket_of(device) for device in many_devices]
    for socket in sockets:
        await socket.connect()
        await socket.receive_json_from()
    questions = []
    ask = service.ask_at_once

    async def counted(question, *args, **kwargs):
        questions.append(question.__name__)
        return await ask(question, *args, **kwargs)

    monkeypatch.setattr(service, "ask_at_once", counted)
    await service.deliver([Changed(root, seq) for seq in (2, 3, 4)])
    for socket in sockets:
        told = await socket.receive_json_from()
        assert told == {"type": "changed", "namespace_id": str(root), "seq": 4}
        await socket.disconnect()
    assert questions == ["members_of"]


async def test_who_is_no_member_any_more_when_the_push_is_made_hears_nothing(
    service, root, laptop, stranger
):
    """Both have known the namespace; what the connection knows gives no right to it."""
    sockets = [socket_of(device) for device in (laptop, stranger)]
    for socket in sockets:
        await socket.connect()
        await socket.receive_json_from(10)
    for details in service.connections:
        details.learn({root: 1})
    await service.deliver([Changed(root, 2)])
    assert (await sockets[0].receive_json_from(10))["seq"] == 2
    assert await sockets[1].receive_nothing()
    for socket in sockets:
        await socket.disconnect()


async def test_a_revocation_waits_behind_no_other_question(service, laptop, settings, monkeypatch):
    """So a second between two questions is enough for the two that are promised."""
    monkeypatch.setattr(dispatch, "REVOCATIONS_SECONDS", 0.05)
    settings.EVENTS_REDIS_URL = "redis://127.0.0.1:1"
    socket = socket_of(laptop)
    await socket.connect()
    await socket.receive_json_from(10)

    is_over = threading.Event()
    try:
        # Every thread that answers, of the crowd's and of the service's, is held.
        held = [
            asyncio.ensure_future(ask(is_over.wait))
            for ask in 8 * (service.ask, service.ask_at_once)
        ]
        await sync_to_async(let_go_of_the_database)(
            partial(revoke_device, user=laptop.user, device_id=laptop.pk)
        )
        assert await closed(socket, within=30) == 4401
    finally:
        is_over.set()
    await asyncio.gather(*held)


async def test_a_crowd_that_comes_at_once_is_few_questions(service, many_devices, monkeypatch):
    questions = []
    ask = service.ask

    async def counted(question, *args, **kwargs):
        questions.append(question.__name__)
        return await ask(question, *args, **kwargs)

    monkeypatch.setattr(service, "ask", counted)
    sockets = [socket_of(device) for device in many_devices]
    await asyncio.gather(*(socket.connect() for socket in sockets))
    for socket in sockets:
        assert (await socket.receive_json_from())["type"] == "hello"
        await socket.disconnect()
    assert set(questions) == {"sign_in_with_tokens", "heads_of"}
    assert len(questions) < len(sockets)


async def test_a_crowd_is_asked_to_come_back_one_after_the_other(service, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("notifications.dispatch.monotonic", lambda: now)
    assert {service.retry_after_seconds() for _ in range(CROWD)} == {None}
    pauses = [service.retry_after_seconds() for _ in range(900)]
    assert all(pause is not None and 0 <= pause <= 10 for pause in pauses)
    # Spread over the time that the crowd takes, not all at its end.
    assert len(set(pauses)) > 3

    now += 2
    assert service.retry_after_seconds() is None

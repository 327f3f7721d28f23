"""What a socket refuses by itself, whatever server is below it."""

import asyncio
import json

import pytest
from channels.testing import WebsocketCommunicator

from files.events import Changed
from files.models import Namespace
from notifications import connections
from notifications.consumers import MAX_MESSAGE_BYTES, Allowance, DeviceSocket
from notifications.dispatch import CROWD, dispatcher
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


async def closed(socket):
    message = await socket.receive_output()
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

"""A device listens on a WebSocket, at a real server process."""

import json
import time
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from files.events import online_devices
from files.models import Namespace, UserDevice
from files.services.devices import revoke_device
from tests.notifications.conftest import PROMISED_SECONDS, until
from tests.notifications.served import IMPATIENT


@pytest.fixture
def root(alice):
    return str(Namespace.objects.get(owner=alice).pk)


def close_code(socket, within=PROMISED_SECONDS):
    """The code with which the server closes, after whatever else it says; None: it hangs up."""
    deadline = time.monotonic() + within
    try:
        while True:
            socket.hear(within=max(0, deadline - time.monotonic()))
    except ConnectionClosed as closed:
        return closed.rcvd and closed.rcvd.code


def browser(client, user, origin):
    client.force_login(user)
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}", "Origin": origin}


def refusal(server, device=None, **options):
    """The status with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused, server.socket(device, **options):
        pass
    return refused.value.response.status_code


def test_a_device_is_greeted_with_the_heads_and_told_of_each_change(
    server, phone, root, new_folder
):
    with server.socket(phone) as socket:
        assert socket.hear() == {"type": "hello", "heads": {root: 1}}
        for seq, name in enumerate(["Photos", "Music"], start=2):
            new_folder(name)
            assert socket.hear(within=PROMISED_SECONDS) == {
                "type": "changed",
                "namespace_id": root,
                "seq": seq,
            }


def test_a_stranger_hears_only_of_their_own(server, stranger, mallory, new_folder):
    theirs = str(Namespace.objects.get(owner=mallory).pk)
    with server.socket(stranger) as socket:
        assert socket.hear() == {"type": "hello", "heads": {theirs: 1}}
        new_folder()
        with pytest.raises(TimeoutError):
            socket.hear(within=0.5)


def test_an_ack_moves_the_devices_last_sync_time(server, api, phone, cursor, new_folder):
    with server.socket(phone) as socket:
        socket.hear()
        new_folder()
        socket.hear()
        now = api(phone).get("/changes/latest").json()["cursor"]
        socket.say({"type": "ack", "cursor": now})
        until(lambda: UserDevice.objects.get(pk=phone.pk).cursor == now)
    assert UserDevice.objects.get(pk=phone.pk).last_sync_time is not None


def test_an_ack_of_nonsense_is_answered_and_moves_nothing(server, phone):
    with server.socket(phone) as socket:
        socket.hear()
        said = socket.say({"type": "ack", "cursor": "made-up"}).hear()
        assert said["type"] == "problem"
        assert said["problem"]["code"] == "invalid-cursor"
        socket.say({"type": "pong"})
    assert UserDevice.objects.get(pk=phone.pk).last_sync_time is None


def test_a_revoked_device_is_cut_off_within_two_seconds(server, alice, phone):
    with server.socket(phone) as socket:
        socket.hear()
        revoke_device(user=alice, device_id=phone.pk)
        assert close_code(socket, within=2) == 4401
    assert refusal(server, phone) == 403


def test_revoking_one_device_leaves_the_other_connected(server, alice, laptop, phone, new_folder):
    with server.socket(laptop) as socket:
        socket.hear()
        revoke_device(user=alice, device_id=phone.pk)
        new_folder()
        assert socket.hear()["type"] == "changed"


def test_the_second_socket_of_a_device_replaces_its_first(server, phone, laptop, new_folder):
    with server.socket(phone) as first, server.socket(laptop) as other:
        first.hear()
        other.hear()
        with server.socket(phone) as second:
            second.hear()
            assert close_code(first) == 4409
            new_folder()
            assert second.hear()["type"] == "changed"
            assert other.hear()["type"] == "changed"


def test_a_device_that_goes_to_another_process_leaves_its_connection_here(
    server, start_server, phone, new_folder, settings
):
    with (
        start_server(settings.REDIS_URL, "second-server") as second_server,
        server.socket(phone) as here,
    ):
        here.hear()
        # Its own announcement comes back; from then on another one is newer.
        time.sleep(0.2)
        with second_server.socket(phone) as there:
            there.hear()
            assert close_code(here) == 4409
            new_folder()
            assert there.hear()["type"] == "changed"
            assert online_devices([phone.pk]) == {phone.pk}


def test_each_tab_of_a_browser_has_its_own_socket(server, client, alice, new_folder):
    headers = browser(client, alice, server.url)
    with server.socket(headers=headers) as one, server.socket(headers=headers) as other:
        for tab in (one, other):
            assert tab.hear()["type"] == "hello"
        new_folder()
        for tab in (one, other):
            assert tab.hear()["type"] == "changed"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"]
)
def test_a_page_of_another_origin_cannot_use_the_session(server, client, alice, origin):
    headers = browser(client, alice, origin)
    assert refusal(server, headers=headers) == 403


def test_a_session_without_an_origin_is_refused(server, client, alice):
    headers = browser(client, alice, server.url)
    del headers["Origin"]
    assert refusal(server, headers=headers) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic eDp4"},
        {"Cookie": "sessionid=nonsense"},
    ],
)
def test_nobody_is_let_in_without_signing_in(server, headers):
    assert refusal(server, headers=headers | {"Origin": server.url}) == 403


def test_a_bad_token_is_not_saved_by_a_good_cookie(server, client, alice):
    headers = browser(client, alice, server.url) | {"Authorization": "Bearer nonsense"}
    assert refusal(server, headers=headers) == 403


@pytest.mark.parametrize(
    "text",
    ["", "hello", "[]", '"ack"', "{}", '{"type": 1}', '{"type": "ack"}',
     '{"type": "ack", "cursor": 7}', "[" * 20_000, b"\x00\x01"],
)  # fmt: skip
def test_what_is_no_message_ends_the_connection(server, phone, text):
    with server.socket(phone) as socket:
        socket.hear()
        socket.connection.send(text)
        assert close_code(socket) == 4400


def test_an_unknown_message_is_not_held_against_a_newer_client(server, phone, new_folder):
    with server.socket(phone) as socket:
        socket.hear()
        socket.say({"type": "wave", "hand": "left"})
        new_folder()
        assert socket.hear()["type"] == "changed"


def test_too_large_a_message_ends_the_connection(server, phone):
    with server.socket(phone) as socket:
        socket.hear()
        socket.connection.send(json.dumps({"type": "ack", "cursor": "x" * 64 * 1024}))
        # Below us, so with the code that every WebSocket library knows for it.
        assert close_code(socket) == 1009


def test_too_many_messages_end_the_connection(server, phone):
    with server.socket(phone) as socket:
        socket.hear()
        for _ in range(60):
            socket.say({"type": "pong"})
        with pytest.raises(TimeoutError):
            socket.hear(within=0.2)
        for _ in range(10):
            socket.say({"type": "pong"})
        assert close_code(socket) == 4429


def test_a_thousand_messages_at_once_end_their_connection_and_no_other(
    server, phone, laptop, new_folder
):
    with server.socket(phone) as flooding, server.socket(laptop) as other:
        flooding.hear()
        other.hear()
        with suppress(ConnectionClosed):
            for _ in range(1_000):
                flooding.say({"type": "ack", "cursor": ""})
        assert close_code(flooding, within=20) == 4429
        new_folder()
        assert other.hear(within=20)["type"] == "changed"


def test_a_silent_client_is_dropped(server, phone):
    with server.socket(phone, path=IMPATIENT) as socket:
        socket.hear()
        assert socket.hear() == {"type": "ping"}
        assert close_code(socket, within=3) == 4408


def test_a_client_that_answers_pings_stays(server, phone):
    with server.socket(phone, path=IMPATIENT) as socket:
        socket.hear()
        for _ in range(8):
            assert socket.hear() == {"type": "ping"}
            socket.say({"type": "pong"})


def test_a_browser_that_signs_out_is_cut_off(server, client, alice):
    headers = browser(client, alice, server.url)
    with server.socket(headers=headers, path=IMPATIENT) as socket:
        socket.hear()
        client.logout()
        assert close_code(socket) == 4401


def test_a_person_who_is_switched_off_is_cut_off(server, alice, phone):
    with server.socket(phone, path=IMPATIENT) as socket:
        socket.hear()
        alice.is_active = False
        alice.save()
        assert close_code(socket) == 4401


def test_a_device_is_online_while_its_socket_is_open(server, phone):
    with server.socket(phone) as socket:
        socket.hear()
        until(lambda: online_devices([phone.pk]))
    until(lambda: not online_devices([phone.pk]))

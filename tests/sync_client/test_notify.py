"""Hearing from the server: signals within moments, whichever way gets through."""

import json
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from sync_client import notify
from sync_client.api import HttpApi
from sync_client.notify import Contact, Notifier
from sync_client.system import new_id
from tests.services.drive import PASSWORD, wait_until
from tests.sync_client.web import Answer, Web, problem
from tests.sync_client.web_sockets import Proxy, WebSockets


def is_listening(notifier):
    """Whether its WebSocket is open."""
    return notifier._socket is not None


class Ears:
    """Counts signals."""

    def __init__(self):
        self.heard = threading.Semaphore(0)
        self.cursor = None

    def signal(self):
        self.heard.release()

    def hears(self, seconds):
        return self.heard.acquire(timeout=seconds)

    def hears_nothing_for(self, seconds):
        while self.heard.acquire(timeout=seconds):
            pass


def sign_in(server, account, name):
    anyone = HttpApi(server.url, None)
    answer = anyone.request(
        "POST",
        "devices/sign-in",
        json={
            "email": account,
            "password": PASSWORD,
            "name": name,
            "platform": "linux",
            "client_version": "1",
        },
    )
    anyone.close()
    return answer["token"]


@pytest.fixture
def listen():
    """Begin to listen at a server with a token; the Notifier and what it hears."""
    running = []

    def listen(url, token, cursor=None):
        ears = Ears()
        ears.cursor = cursor
        api = HttpApi(url, token)
        notifier = Notifier(api, url, token, cursor=lambda: ears.cursor, on_signal=ears.signal)
        running.append((notifier, api))
        notifier.start()
        return notifier, ears

    yield listen
    for notifier, api in running:
        notifier.stop()
        notifier._thread.join(10)
        api.close()


def make_folder(api, name):
    root = api.request("GET", "folders/root")["folder_id"]
    api.request("POST", "folders", json={"op_id": new_id(), "parent_folder_id": root, "name": name})


def test_what_another_device_does_is_signalled(server, account, listen):
    notifier, ears = listen(server.url, sign_in(server, account, "laptop"))
    wait_until(lambda: is_listening(notifier), seconds=20, what="the WebSocket")
    ears.hears_nothing_for(1)
    phone = HttpApi(server.url, sign_in(server, account, "phone"))

    make_folder(phone, "news")

    assert ears.hears(10)
    assert notifier.contact is Contact.CONNECTED
    phone.close()


def test_coming_online_is_a_reason_to_pull(server, account, listen):
    notifier, ears = listen(server.url, sign_in(server, account, "laptop"))
    assert ears.hears(20)
    assert notifier.contact is Contact.CONNECTED


def test_an_acknowledged_cursor_moves_the_time_of_the_last_sync(server, account, listen):
    token = sign_in(server, account, "laptop")
    api = HttpApi(server.url, token)
    notifier, _ = listen(server.url, token)
    wait_until(lambda: is_listening(notifier), seconds=20, what="the WebSocket")

    def last_sync():
        (device,) = [
            device for device in api.request("GET", "devices")["items"] if device["is_this"]
        ]
        return device["last_sync_time"]

    before = last_sync()
    make_folder(api, "done")
    notifier.acknowledge(api.request("GET", "changes/latest")["cursor"])

    wait_until(lambda: last_sync() not in {None, before}, seconds=20, what="the acknowledgement")
    api.close()


def test_a_revoked_device_hears_so_and_stops(server, account, listen):
    token = sign_in(server, account, "laptop")
    notifier, _ = listen(server.url, token)
    wait_until(lambda: is_listening(notifier), seconds=20, what="the WebSocket")
    phone = HttpApi(server.url, sign_in(server, account, "phone"))
    (laptop,) = [
        device for device in phone.request("GET", "devices")["items"] if device["name"] == "laptop"
    ]

    phone.request("DELETE", f"devices/{laptop['device_id']}", headers={"Idempotency-Key": "r"})

    wait_until(lambda: notifier.contact is Contact.REVOKED, seconds=30, what="the end of the login")
    phone.close()


def test_where_no_websocket_gets_through_long_polls_do(listen):
    web = Web()
    release = threading.Event()
    timeouts = []

    def answer(asked):
        if not asked.path.startswith("/api/v1/notifications/poll"):
            return Answer(403)
        timeouts.append(parse_qs(urlsplit(asked.path).query)["timeout"])
        if len(timeouts) == 2:
            release.wait(20)
            return Answer(body=json.dumps({"result": "changes", "action": "sync"}).encode())
        time.sleep(0.2)
        return Answer(body=json.dumps({"result": "timeout", "action": "full_sync"}).encode())

    web.answer = answer
    notifier, ears = listen(web.url, "token")
    assert ears.hears(10)
    ears.hears_nothing_for(0.5)

    release.set()

    assert ears.hears(10)
    assert timeouts[:2] == [["1"], ["55"]]
    assert not is_listening(notifier)
    notifier.stop()
    web.close()


POLL, SOCKET = "GET /api/v1/notifications/poll?", "GET /ws/notifications "


@pytest.fixture
def behind(server, account, listen, monkeypatch):
    """A laptop that listens through a proxy, and a phone that does not."""
    monkeypatch.setattr(notify, "ACK_EVERY_SECONDS", 0.1)
    phone = HttpApi(server.url, sign_in(server, account, "phone"))
    proxies = []

    def behind(web_sockets):
        proxy = Proxy(server.url, web_sockets)
        proxies.append(proxy)
        cursor = phone.request("GET", "changes/latest")["cursor"]
        notifier, ears = listen(proxy.url, sign_in(server, account, "laptop"), cursor)
        return proxy, notifier, ears, phone

    yield behind
    phone.close()
    for proxy in proxies:
        proxy.close()


@pytest.mark.parametrize("web_sockets", [WebSockets.REFUSED, WebSockets.SWALLOWED])
def test_behind_a_proxy_that_breaks_websockets_long_polls_tell_the_news(
    behind, web_sockets, monkeypatch
):
    monkeypatch.setattr(notify, "GREETING_SECONDS", 0.5)
    proxy, notifier, ears, phone = behind(web_sockets)

    def polls():
        return [line for line in proxy.asked if line.startswith(POLL) and "timeout=55" in line]

    wait_until(polls, seconds=20, what="the first long poll that waits")
    # First a long poll that only asks, then the socket, then the fallback.
    assert proxy.asked[0].startswith(f"{POLL}timeout=1&")
    assert proxy.asked[1].startswith(SOCKET)
    assert not is_listening(notifier)
    ears.hears_nothing_for(0.5)

    make_folder(phone, "news")

    assert ears.hears(20)


def test_a_socket_that_falls_silent_is_given_up_and_what_was_missed_is_asked_for(
    behind, monkeypatch
):
    monkeypatch.setattr(notify, "SILENCE_SECONDS", 0.5)
    proxy, _, _, _ = behind(WebSockets.MUTED)

    wait_until(lambda: len(proxy.asked) >= 4, seconds=20, what="the second socket")
    for asked in (proxy.asked[0:2], proxy.asked[2:4]):
        assert asked[0].startswith(f"{POLL}timeout=1&")
        assert asked[1].startswith(SOCKET)


def test_pauses_double_up_to_20_seconds_each_with_jitter(monkeypatch):
    nowhere = "http://127.0.0.1:1"
    api = HttpApi(nowhere, "token")
    notifier = Notifier(api, nowhere, "token", cursor=lambda: None, on_signal=lambda: None)
    pauses = []
    monkeypatch.setattr(notifier._stopping, "wait", pauses.append)
    for _ in range(40):
        notifier._pause()
    longest = [min(2**failures, 20) for failures in range(40)]
    assert all(half / 2 <= pause <= half for pause, half in zip(pauses, longest, strict=True))
    assert len(set(pauses[10:])) > 10
    api.close()


@pytest.mark.parametrize(
    ("said", "expected"),
    [(20, 20), (1000, 300), (-5, None), ("soon", None), (None, None), (True, None)],
)
def test_a_server_with_a_crowd_is_asked_again_when_it_says(said, expected, monkeypatch):
    web = Web()
    answer = {"result": "changes", "action": "sync", "retry_after_seconds": said}
    web.answers[0] = Answer(body=json.dumps(answer).encode())
    api = HttpApi(web.url, "token")
    notifier = Notifier(api, web.url, "token", cursor=lambda: None, on_signal=lambda: None)
    pauses = []

    def wait(seconds):
        pauses.append(seconds)
        notifier._stopping.set()

    monkeypatch.setattr(notifier._stopping, "wait", wait)
    notifier._poll()

    # Without a word of the server's: at most a second, so as not to ask without end.
    [pause] = pauses
    assert pause == expected if expected else 0 < pause <= 1
    api.close()
    web.close()


def test_a_server_that_is_away_is_asked_again_and_found(listen):
    web = Web()
    web.answers[0] = Answer(503, headers={"Retry-After": "30"})
    notifier, _ = listen(web.url, "token")
    wait_until(lambda: notifier.contact is Contact.OFFLINE, seconds=10, what="the absence")

    web.answers[0] = Answer(body=b'{"result": "timeout", "action": "full_sync"}')

    wait_until(lambda: notifier.contact is Contact.CONNECTED, seconds=20, what="the return")
    notifier.stop()
    web.close()


def test_a_refused_token_ends_it(listen):
    web = Web()
    web.answers[0] = problem(401, "not-authenticated")
    notifier, ears = listen(web.url, "token")
    wait_until(lambda: notifier.contact is Contact.REVOKED, seconds=10, what="the refusal")
    assert ears.hears(5)
    web.close()

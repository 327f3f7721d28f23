"""A device waits by long poll, at a real server process."""

import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from files.events import online_devices
from files.journal import decode_cursor
from files.services.devices import revoke_device
from tests.notifications.conftest import PROMISED_SECONDS, until


def waiting(server, device, **query):
    """A poll that the server has registered by now."""
    poll = server.waiting(device, **query)
    until(lambda: online_devices([device.pk]))
    return poll


def test_a_change_wakes_the_other_device_within_a_second(server, phone, cursor, new_folder):
    poll = waiting(server, phone, cursor=cursor)
    new_folder()

    answer = poll.answer(within=PROMISED_SECONDS)
    assert answer.status_code == 200
    assert answer.json() == {"result": "changes", "action": "sync", "cursor": cursor}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_what_is_newer_already_is_told_at_once(server, phone, cursor, new_folder):
    new_folder()
    answer = server.waiting(phone, cursor=cursor).answer()
    assert answer.json()["result"] == "changes"
    assert server.waiting(phone).answer().json()["result"] == "changes"


def test_the_answer_leads_to_the_change_and_the_next_poll_waits(
    server, api, phone, cursor, new_folder
):
    new_folder()
    told = server.poll(phone, cursor=cursor).json()["cursor"]
    page = api(phone).get("/changes", cursor=told).json()
    assert [entry["item"]["name"] for entry in page["entries"]] == ["Photos"]

    assert server.poll(phone, cursor=page["cursor"], timeout=1).json()["result"] == "timeout"


def test_a_quiet_poll_ends_in_time_and_asks_for_a_full_sync(server, phone, cursor):
    began = time.monotonic()
    answer = server.poll(phone, cursor=cursor, timeout=1)

    assert 1 <= time.monotonic() - began < 2
    assert answer.json() == {"result": "timeout", "action": "full_sync", "cursor": cursor}


def test_a_strangers_changes_wake_nobody_else(server, stranger, api, cursor, new_folder):
    theirs = api(stranger).get("/changes/latest").json()["cursor"]
    poll = waiting(server, stranger, cursor=theirs, timeout=1)
    new_folder()
    assert poll.answer(within=2).json()["result"] == "timeout"


def test_a_cursor_of_somebody_else_tells_nothing_about_them(server, stranger, cursor, new_folder):
    first = server.poll(stranger, cursor=cursor).json()
    new_folder()
    assert server.poll(stranger, cursor=cursor).json() == first


def test_a_revoked_device_is_refused_while_it_waits_and_after(server, alice, phone, cursor):
    poll = waiting(server, phone, cursor=cursor)
    revoke_device(user=alice, device_id=phone.pk)

    for answer in (poll.answer(within=2), server.poll(phone, cursor=cursor)):
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "not-authenticated"


def test_the_newer_poll_of_a_device_replaces_the_older(server, phone, cursor):
    older = waiting(server, phone, cursor=cursor)
    newer = server.waiting(phone, cursor=cursor, timeout=1)

    assert older.answer().json() == {
        "result": "timeout",
        "action": "full_sync",
        "cursor": cursor,
        "retry_after_seconds": 5,
    }
    assert "retry_after_seconds" not in newer.answer(within=2).json()


def test_a_device_that_hangs_up_is_forgotten(server, phone, cursor):
    poll = "/api/v1/notifications/poll"
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(
            f"{server.url}{poll}",
            params={"cursor": cursor},
            headers={"Authorization": f"Bearer token-of-{phone.pk}"},
            timeout=0.5,
        )
    until(lambda: not online_devices([phone.pk]))


def test_a_device_is_online_while_it_waits_and_a_little_longer(server, phone, laptop, cursor):
    poll = waiting(server, phone, cursor=cursor, timeout=1)
    assert online_devices([phone.pk, laptop.pk]) == {phone.pk}
    poll.answer(within=2)
    assert online_devices([phone.pk]) == {phone.pk}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"cursor": "made-up"}, "invalid-cursor"),
        ({"cursor": "\ud800".encode("utf-8", "surrogatepass")}, "invalid-cursor"),
        ({"cursor": "", "last_sync_time": "2026-01-01T00:00:00Z"}, "invalid-request"),
        ({"last_sync_time": "yesterday"}, "invalid-request"),
        ({"last_sync_time": "2026-01-01T00:00:00"}, "invalid-request"),
        ({"last_sync_time": "2026-02-31T00:00:00Z"}, "invalid-request"),
        ({"cursor": "", "timeout": 0}, "invalid-request"),
        ({"cursor": "", "timeout": 301}, "invalid-request"),
        ({"cursor": "", "timeout": "9" * 10_000}, "invalid-request"),
        ({"cursor": "", "timeout": "1.5"}, "invalid-request"),
        ({"cursor": "", "timeout": "٣"}, "invalid-request"),
    ],
)
def test_what_makes_no_sense_is_refused(server, phone, query, code):
    answer = server.poll(phone, **query)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["type"] == f"/problems/{code}"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic eDp4"},
        {"Cookie": "sessionid=nonsense"},
        {"Authorization": "Bearer \xff\xfe"},
    ],
)
def test_nobody_waits_without_signing_in(server, headers):
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = httpx.get(f"{server.url}/api/v1/notifications/poll", headers=encoded)
    assert answer.status_code == 401
    assert answer.json()["code"] == "not-authenticated"


def test_only_get_is_answered(server, phone):
    answer = httpx.post(f"{server.url}/api/v1/notifications/poll")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json()["code"] == "method-not-allowed"


def test_a_browser_waits_with_its_session_and_only_from_our_pages(server, client, alice, cursor):
    client.force_login(alice)
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    path = "/api/v1/notifications/poll"

    own = server.get(
        path, headers={"Cookie": cookie, "Origin": server.url}, cursor=cursor, timeout=1
    )
    assert own.json()["result"] == "timeout"
    plain = server.get(path, headers={"Cookie": cookie}, cursor=cursor, timeout=1)
    assert plain.json()["result"] == "timeout"
    foreign = server.get(
        path, headers={"Cookie": cookie, "Origin": "http://evil.example"}, cursor=cursor
    )
    assert foreign.status_code == 403
    assert foreign.json()["code"] == "permission-denied"


def test_a_last_sync_time_is_answered_with_a_cursor_that_is_not_too_late(
    server, api, phone, cursor, new_folder
):
    """The device was in step a minute ago as far as it knows; it gets what came since."""
    new_folder()
    moment = datetime.now(UTC).isoformat()

    answer = server.poll(phone, last_sync_time=moment).json()

    assert answer["result"] == "changes"
    page = api(phone).get("/changes", cursor=answer["cursor"]).json()
    assert [entry["item"]["name"] for entry in page["entries"]] == ["", "Photos"]


def test_a_last_sync_time_long_after_the_last_change_waits(server, phone, cursor, age_journal):
    age_journal(timedelta(minutes=2))
    moment = datetime.now(UTC).isoformat()

    answer = server.poll(phone, last_sync_time=moment, timeout=1).json()

    assert answer["result"] == "timeout"
    assert decode_cursor(answer["cursor"]) == decode_cursor(cursor)
